/**
 * Plans: what they keep and run again, replayed without a device and compared to the bit on one.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { modelled, rooflines } from "../../checkpoint/cost.ts";
import { allocate } from "../../compile/allocate.ts";
import { compileGraph } from "../../compile/compile.ts";
import { bytesOutside } from "../../compile/away.ts";
import { isMove, lastLoads, movesOf } from "../../compile/moves.ts";
import { partsOf } from "../../compile/parts.ts";
import { chosen } from "../../compile/hold.ts";
import { effortFor, plansOf } from "../../compile/plan.ts";
import {
  bytesAway,
  liveBytes,
  momentOf,
  remake,
  type Schedule,
  type TaskGraph,
  taskGraphOf,
  timeOfSchedule,
} from "../../compile/schedule.ts";
import { chainSchedules } from "../../compile/stages.ts";
import { workOf } from "../../compile/work.ts";
import * as build from "../../graph/build.ts";
import { graph as differentiated } from "./chains.ts";
import type { Graph, Node } from "../../graph/node.ts";
import { sizeOf } from "../../graph/shape.ts";
import type { Region } from "../../kernels/region.ts";
import { pullback } from "../../graph/vjp.ts";
import type { TypedArray } from "../../graph/dtype.ts";
import { firstDifference, randomOf, runGraph, seed } from "../gpu.ts";
import { graphOf, parametrized, type Recipe, recipes } from "../graphs.ts";
import { limits, prepare, type Prepared, replay, target } from "./replay.ts";

const costs = modelled(rooflines.software);

function tasksOf({ regions, takeovers, wanted }: Prepared): TaskGraph {
  const parts = regions.map((region) => partsOf(region, limits));
  const timeOf = (region: Region): number => costs.time(workOf(region));
  return taskGraphOf({ regions, parts, results: wanted, takeovers, timeOf });
}

/** Few operations to a kernel, so that small graphs have many regions. */
const small = { ...limits, maxOperations: 8 };

const eight = { maxBindings: 8 };

/** A random graph's loss, the sum of squares of its results, and its gradient by all leaves. */
function learning(recipe: Recipe): { graph: Graph; data: TypedArray[] } {
  const { graph, data } = parametrized(graphOf(recipe, "smooth"));
  const squares = graph.results.map((x) => {
    const axes = x.shape.map((_, i) => i);
    return build.reshape(build.reduce("sum", build.binary("mul", x, x), axes), []);
  });
  const loss = squares.reduce((a, b) => build.binary("add", a, b));
  const gradient = pullback([loss], graph.parameters, [build.fill(1)]);
  return { graph: { ...graph, results: [loss, ...gradient] }, data };
}

/** All plans of a graph, each replayed: bytes and time. */
function plans(graph: Graph, donate: readonly number[] = []): { bytes: number; time: number }[] {
  const prepared = prepare(graph, donate, small);
  const from = tasksOf(prepared), start = prepared.regions.map((_, i) => i);
  return plansOf(
    from,
    start,
    effortFor(start.length),
    (schedule) => replay(prepared, schedule.map((r) => from.tasks[r]!.region)),
  );
}

Deno.test("plans of random graphs keep values apart, and trade bytes for time", () => {
  let traded = 0;
  fc.assert(
    fc.property(recipes(5, 30), fc.nat(15), (recipe, donate) => {
      const { graph } = learning(recipe);
      const found = plans(graph, graph.parameters.map((_, i) => i).filter((i) => donate >> i & 1));
      found.forEach(({ bytes, time }, i) => {
        if (i === 0) return;
        traded++;
        assert(bytes < found[i - 1]!.bytes && time >= found[i - 1]!.time);
      });
    }),
    { seed: seed(), numRuns: 60 },
  );
  assert(traded > 20, `only ${traded} plans run anything again`);
});

Deno.test("what is outside is counted at the fullest moment, store by store", () => {
  const value = (size: number): Node => build.parameter(0, { shape: [size], dtype: "f32" });
  const large = movesOf(value(1000), "host"), small = movesOf(value(12), "host");
  const other = movesOf(value(20), "disk");
  // One round after the other: the last values that are saved are not the most.
  const steps = [large.save, other.save, large.load, small.save, other.load, small.load];
  const isLast = [false, false, true, false, true, true];
  assertEquals(bytesOutside(steps, isLast), { host: 4000, disk: 80 });
  // What is still to be loaded again stays.
  const stays = isLast.with(2, false);
  assertEquals(bytesOutside(steps, stays), { host: 4048, disk: 80 });
  assertEquals(bytesOutside([large.save, large.save], [false, false]), { host: 4000, disk: 0 });
});

Deno.test("plans that move values away keep them apart, within what may wait outside", () => {
  let [moved, both] = [0, 0];
  fc.assert(
    fc.property(
      recipes(10, 40),
      fc.nat(15),
      fc.nat(3000),
      fc.nat(3000),
      fc.integer({ min: 0, max: 15 }),
      (recipe, donate, host, disk, microseconds) => {
        const { graph } = learning(recipe);
        const given = graph.parameters.map((_, i) => i).filter((i) => donate >> i & 1);
        const prepared = prepare(graph, given, small);
        const { regions, takeovers, wanted } = prepared;
        const parts = regions.map((region) => partsOf(region, limits));
        const timeOf = (region: Region): number =>
          isMove(region) ? microseconds : costs.time(workOf(region));
        const runs = { regions, parts, results: wanted, takeovers, timeOf };
        const from = taskGraphOf(runs, ["host", "disk"]);
        const start = regions.map((_, i) => i), effort = effortFor(start.length);
        const regionsOf = (schedule: Schedule): Region[] =>
          schedule.map((r) => from.tasks[r]!.region);
        const bytesOf = (schedule: Schedule): number => replay(prepared, regionsOf(schedule));
        const found = plansOf(from, start, effort, bytesOf, { host, disk });
        for (const { schedule } of found) {
          const steps = regionsOf(schedule), away = bytesAway(from, schedule);
          const { stays } = allocate(steps, graph.parameters, wanted, takeovers);
          assertEquals(bytesOutside(steps, lastLoads(steps, stays)), away);
          assert(away.host <= host && away.disk <= disk, `${away.host} and ${away.disk} bytes`);
          const moves = steps.filter(isMove);
          const saves = moves.filter(({ frame }) => frame.is === "save");
          assertEquals(new Set(saves).size, saves.length, "a value is saved once");
          moved += saves.length;
          if (moves.length > 0 && schedule.length - moves.length > start.length) both++;
        }
        // Whatever is possible without moving anything stays possible, and as fast.
        const without = plansOf(from, start, effort, bytesOf);
        for (const { bytes, time } of without) {
          assert(found.some((plan) => plan.bytes <= bytes && plan.time <= time));
        }
      },
    ),
    { seed: seed(), numRuns: 100 },
  );
  assert(moved > 10 && both > 2, `${moved} values moved, ${both} plans that also run again`);
});

Deno.test("remake() gives what is read, whatever is kept, and runs nothing for nothing", () => {
  fc.assert(
    fc.property(recipes(10, 30), fc.nat(), fc.nat(), (recipe, at, keep) => {
      const prepared = prepare(learning(recipe).graph, [], small);
      const from = tasksOf(prepared), start = prepared.regions.map((_, i) => i);
      const step = at % Math.max(1, start.length);
      if (start.length === 0) return;
      const { wanted } = momentOf(from, start, step);
      const random = randomOf(keep);
      const kept = wanted.filter((v) => from.results.has(v) || random() < 0.5);
      const made = remake(from, start, step, kept);
      assert("schedule" in made);
      replay(prepared, made.schedule.map((r) => from.tasks[r]!.region));
      const [before, after] = [start, made.schedule].map((s) => timeOfSchedule(from, s));
      assert(after! >= before! * (1 - 1e-9), `${after} µs after ${before}`);
      // Everything kept is the schedule as it was.
      assertEquals(remake(from, start, step, wanted), { schedule: start });
    }),
    { seed: seed(), numRuns: 100 },
  );
});

Deno.test("a value that needs an overwritten argument is kept", () => {
  const x = build.parameter(0, { shape: [1, 64, 64], dtype: "f32" });
  const y = build.parameter(1, { shape: [1, 64, 64], dtype: "f32" });
  // x is overwritten by x + 1, after y·x is made and before it is read.
  const product = build.dot(y, x);
  const next = build.binary("add", x, 1);
  const late = build.dot(build.dot(build.dot(next, y), y), product);
  const graph: Graph = { name: "f", parameters: [x, y], results: [next, late] };
  const prepared = prepare(graph, [0]);
  assertEquals(prepared.takeovers.size, 1);
  const from = tasksOf(prepared), start = prepared.regions.map((_, i) => i);
  const at = prepared.regions.findIndex(({ outputs }) => outputs.includes(next));
  assert(at > prepared.regions.findIndex(({ outputs }) => outputs.includes(product)));
  const made = remake(from, start, at, from.results);
  assert("lost" in made);
  assertEquals([...made.lost].map((v) => from.values[v]), [product]);
  plans(graph, [0]);
});

Deno.test("a chain goes there and back by the dynamic program, in less memory than in one level", () => {
  for (const kind of ["residual", "gelu", "normalised"] as const) {
    const prepared = prepare(differentiated(kind, 40, 64), []);
    const from = tasksOf(prepared), start = prepared.regions.map((_, i) => i);
    const found = [...chainSchedules(from, start, 8)];
    assertEquals(found.length, 8);
    const bytes = [start, ...found].map((schedule) =>
      replay(prepared, schedule.map((r) => from.tasks[r]!.region))
    );
    const times = [start, ...found].map((schedule) => timeOfSchedule(from, schedule));
    for (let i = 1; i < times.length; i++) {
      assert(bytes[i]! <= bytes[0]! && times[i]! >= times[0]! * (1 - 1e-9), `${kind}, level ${i}`);
    }
    // Weights, their gradients and a few states, of forty.
    const value = 64 * 64 * 4;
    assert(bytes.at(-1)! < (81 + 12) * value, `${kind}: ${bytes.at(-1)! / value} values`);
    assert(times.at(-1)! > 1.5 * times[0]!, "it runs again more than once");
  }
});

/** Values for a graph's parameters. */
function dataOf({ parameters }: Graph, start: number): TypedArray[] {
  const random = randomOf(start);
  return parameters.map(({ shape }) =>
    Float32Array.from({ length: sizeOf(shape) }, () => 0.4 * random() - 0.2)
  );
}

Deno.test("a budget changes no bit of any result, and is never exceeded", async () => {
  let budgets = 0;
  await fc.assert(
    fc.asyncProperty(recipes(12, 25), fc.nat(15), async (recipe, donate) => {
      const { graph, data } = learning(recipe);
      const { maxOperations } = small;
      const options = {
        maxOperations,
        donate: data.map((_, i) => i).filter((i) => donate >> i & 1),
      };
      const expected = await runGraph(graph, data, options, eight);
      const offers = expected.program.sweep();
      const last = offers.length - 1;
      for (const { bytes } of offers.filter((_, i) => i > 0 && (i === last || i % 3 === 1))) {
        budgets++;
        const { values, program } = await runGraph(
          graph,
          data,
          { ...options, memory: bytes },
          eight,
        );
        assertEquals(program.memory.peak, bytes);
        values.forEach((value, i) =>
          assertEquals(firstDifference(value, expected.values[i]!), undefined)
        );
      }
    }),
    { seed: seed(), numRuns: 8 },
  );
  assert(budgets > 2, `only ${budgets} budgets that matter`);
});

Deno.test("gradients of chains are the same for every budget", async () => {
  for (const kind of ["residual", "gelu", "normalised"] as const) {
    const graph = differentiated(kind, 10);
    const data = dataOf(graph, 5);
    const expected = await runGraph(graph, data);
    const offers = expected.program.sweep();
    assert(offers.length > 4, `${kind}: ${offers.length} offers`);
    const sizes = offers.map(({ bytes }) => bytes);
    for (const memory of [sizes[1]!, sizes[sizes.length >> 1]!, sizes.at(-1)!]) {
      const { values, program } = await runGraph(graph, data, { memory });
      assert(program.memory.peak <= memory);
      values.forEach((value, i) =>
        assertEquals(firstDifference(value, expected.values[i]!), undefined, `${kind} ${i}`)
      );
    }
  }
});

Deno.test("more memory never makes a program slower, and less than the least is an error", () => {
  const graph = differentiated("residual", 8);
  const program = compileGraph(graph, {}, target);
  const offers = program.sweep();
  assertEquals(offers[0]!.bytes, program.memory.peak);
  const timeAt = (memory: number): number =>
    compileGraph(graph, { memory }, target).steps().reduce((sum, { time }) => sum + time, 0);
  let last = Infinity;
  const [least, most] = [offers.at(-1)!.bytes, offers[0]!.bytes];
  for (let i = 0; i <= 12; i++) {
    const memory = Math.round(least + (most - least) * i / 12);
    const time = timeAt(memory);
    assert(time <= last, `${memory} bytes take ${time} µs, less memory took ${last}`);
    assert(compileGraph(graph, { memory }, target).memory.peak <= memory);
    last = time;
  }
  for (const memory of [least - 1, 1000]) {
    assertThrows(
      () => compileGraph(graph, { memory }, target),
      RangeError,
      `the budget is ${memory} bytes, expected at least ${least}`,
    );
  }
});

Deno.test("a cosine after a product is made again from the product alone", () => {
  const graph = differentiated("cosine", 4);
  const { regions } = prepare(graph, []);
  const parts = regions.flatMap((region) => [...partsOf(region, limits).values()]);
  assert(parts.length >= 3);
  for (const { frame, inputs } of parts) {
    assertEquals(frame.is, "map");
    assert(inputs.length <= 2);
  }
});

Deno.test("of an even chain is kept what PyTorch keeps", () => {
  // x.cos(), then five times a product and a cosine, of 512 × 512: test_ac.py of PyTorch, which
  // keeps five products where it may. Here it is four and what the last is used up for, as large.
  const prepared = prepare(differentiated("cosine", 5, 512), []);
  const from = tasksOf(prepared), start = prepared.regions.map((_, i) => i);
  const live = liveBytes(from, start);
  const at = live.indexOf(Math.max(...live));
  const moment = momentOf(from, start, at);
  const { reads, writes } = from.tasks[start[at]!]!;
  const present = new Set([...reads, ...writes, ...from.results]);
  const product = Math.max(...from.tasks.map(({ time }) => time));
  const bounds = { held: present, fixed: new Set<number>(), ways: new Map() };
  const MiB = 2 ** 20;
  for (let budget = 0; budget <= 10; budget++) {
    const { kept } = chosen(from, moment, { ...bounds, room: budget * MiB });
    const bytes = [...kept].filter((v) => !present.has(v))
      .reduce((sum, v) => sum + from.bytes[v]!, 0);
    const made = remake(from, start, at, kept);
    assert("schedule" in made);
    const products = made.schedule.filter((r) => from.tasks[r]!.time > product / 2).length -
      start.filter((r) => from.tasks[r]!.time > product / 2).length;
    // With more than five PyTorch keeps no more; here a cosine is a kernel, and worth its bytes.
    assertEquals([bytes / MiB, products], [Math.min(budget, 10), Math.max(0, 5 - budget)]);
  }
});
