/**
 * Plans by measured times: whatever was measured, budgets that the model meets are met, more memory
 * is not slower, and no bit changes. Times are drawn here, far from the model, for some regions and
 * not for others.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  type CostModel,
  measured,
  modelled,
  rooflines,
  type Timing,
} from "../../checkpoint/cost.ts";
import { compileGraph } from "../../compile/compile.ts";
import type { Program } from "../../compile/program.ts";
import { timeOf } from "../../compile/program.ts";
import { parameter } from "../../graph/build.ts";
import { collectChecks } from "../../graph/check.ts";
import type { Graph } from "../../graph/node.ts";
import { type Backward, loop, scan } from "../../graph/scan.ts";
import { type Shape, sizeOf } from "../../graph/shape.ts";
import { Tensor } from "../../graph/tensor.ts";
import { checkpoint, grad } from "../../graph/transforms.ts";
import { firstDifference, randomOf, runGraph, seed } from "../gpu.ts";
import { graph as chain } from "./chains.ts";
import { target } from "./target.ts";

const model = modelled(rooflines[target.kind]);

/** A function of tensors as a graph. */
function traced(name: string, f: (...args: Tensor[]) => Tensor[], ...shapes: Shape[]): Graph {
  const parameters = shapes.map((shape, i) => parameter(i, { shape, dtype: "f32" }));
  const { value, checks } = collectChecks(() => f(...parameters.map((x) => new Tensor(x))));
  const results = [...value.map(({ node }) => node), ...checks.map(({ flag }) => flag)];
  return { name, parameters, results };
}

/** A scan whose body has much within a step. */
const deep = (h: Tensor, w: Tensor): [Tensor, null] => {
  let y = h;
  for (let i = 0; i < 3; i++) y = y.matmul(w).tanh().add(y.sin());
  return [y, null];
};

const scanned = (backward: Backward): Graph =>
  traced(
    `scan, ${typeof backward}`,
    (w, x) =>
      grad((w: Tensor, x: Tensor) => scan(deep, x, w, { backward })[0].square().mean(), {
        argnums: [0, 1],
      })(w, x) as Tensor[],
    [4, 16, 16],
    [32, 16],
  );

const graphs: readonly Graph[] = [
  chain("normalised", 4, 16),
  chain("residual", 4, 16),
  scanned("store"),
  scanned("auto"),
  traced(
    "two loops",
    (x) => {
      const step = (h: Tensor): Tensor => h.mul(1.1).sin();
      const f = (x: Tensor): Tensor => {
        const y = loop(step, x, { length: 20, backward: "auto" });
        return loop((h: Tensor) => h.tanh(), y.cos(), { length: 9, backward: "auto" }).sum();
      };
      return [grad(f)(x)];
    },
    [64],
  ),
  traced(
    "checkpoints",
    (w, x) => {
      const block = checkpoint((h: Tensor) => h.add(h.matmul(w).tanh().square()));
      return [grad((x: Tensor) => block(block(block(x))).cos().sum())(x)];
    },
    [16, 16],
    [8, 16],
  ),
];

/** What each graph gives by the model: its plans do not depend on the test. */
const byModel = new Map<Graph, readonly Program[]>();

function plansOf(graph: Graph): readonly Program[] {
  let found = byModel.get(graph);
  if (found === undefined) {
    byModel.set(graph, found = compileGraph(graph, { costs: model }, target).alternatives());
  }
  return found;
}

/** Times of some of what runs in these programs, by factors off the model. */
function drawn(programs: readonly Program[], start: number): CostModel {
  const random = randomOf(start), share = random(), times = new Map<string, Timing>();
  for (const { work } of programs.flatMap((program) => program.steps())) {
    const factor = 2 ** (10 * random() - 5);
    if (times.has(work.key) || random() > share) continue;
    times.set(work.key, { work, time: factor * model.time(work) });
  }
  return measured(times, model);
}

const bytesOf = (program: Program): number => program.memory.peak;

Deno.test("whatever was measured, a budget that the model meets is met", () => {
  fc.assert(
    fc.property(fc.nat(graphs.length - 1), fc.nat(), (which, start) => {
      const graph = graphs[which]!, plans = plansOf(graph), costs = drawn(plans, start);
      const sizes = plans.map(bytesOf), modelLeast = sizes.at(-1)!;
      const offers = compileGraph(graph, { costs }, target).sweep();
      const least = offers.at(-1)!.bytes;
      assert(least <= modelLeast, `${graph.name}: ${least}, by the model ${modelLeast}`);
      offers.slice(1).forEach(({ bytes, time }, i) =>
        assert(bytes < offers[i]!.bytes && time >= offers[i]!.time)
      );
      assert(bytesOf(compileGraph(graph, { costs, memory: modelLeast }, target)) <= modelLeast);
      assertThrows(
        () => compileGraph(graph, { costs, memory: least - 1 }, target),
        RangeError,
        `expected at least ${least} `,
      );
    }),
    { seed: seed(), numRuns: 6 },
  );
});

Deno.test("more memory is not slower by measured times, up to more than everything takes", () => {
  for (const graph of graphs) {
    const plans = plansOf(graph), sizes = plans.map(bytesOf);
    const costs = drawn(plans, 1);
    let before = Infinity;
    for (const memory of [sizes.at(-1)!, sizes[sizes.length >> 1]!, sizes[0]!, 2 * sizes[0]!]) {
      const time = timeOf(compileGraph(graph, { costs, memory }, target));
      assert(time <= before, `${graph.name}: ${memory} bytes take ${time}, less ${before}`);
      before = time;
    }
  }
});

Deno.test("plans by measured times give the same bits", async () => {
  for (const graph of [graphs[0]!, graphs[3]!]) {
    const random = randomOf(7), plans = plansOf(graph), costs = drawn(plans, 3);
    const data = graph.parameters.map(({ shape }) =>
      Float32Array.from({ length: sizeOf(shape) }, () => 0.4 * random() - 0.2)
    );
    const expected = await runGraph(graph, data);
    for (const memory of [plans.at(-1)!, plans[plans.length >> 1]!].map(bytesOf)) {
      const { values, program } = await runGraph(graph, data, { costs, memory });
      assert(program.memory.peak <= memory);
      values.forEach((value, i) =>
        assertEquals(firstDifference(value, expected.values[i]!), undefined, graph.name)
      );
    }
  }
});
