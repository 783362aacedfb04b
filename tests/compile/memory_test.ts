/**
 * The order of regions and the memory of values, replayed without a device: at every moment each
 * slot holds one value, and whoever reads a slot finds the value it expects there.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { compileGraph } from "../../compile/compile.ts";
import * as build from "../../graph/build.ts";
import type { Graph, Node } from "../../graph/node.ts";
import { seed } from "../gpu.ts";
import { graphOf, parametrized, recipes } from "../graphs.ts";
import { prepare, replay, target } from "./replay.ts";

/** Compiles up to the allocation and replays it. Returns how many results took over an argument. */
function replayed(graph: Graph, donate: readonly number[]): number {
  const prepared = prepare(graph, donate);
  replay(prepared, prepared.regions);
  return prepared.takeovers.size;
}

Deno.test("allocate() never lets two values meet in a slot", () => {
  console.log(`seed ${seed()}`);
  let taken = 0;
  fc.assert(
    fc.property(recipes(5, 50), fc.boolean(), fc.nat(15), (recipe, exact, donate) => {
      const { graph } = parametrized(graphOf(recipe, exact ? "exact" : "smooth"));
      taken += replayed(graph, graph.parameters.map((_, i) => i).filter((i) => (donate >> i) & 1));
    }),
    { seed: seed(), numRuns: 300 },
  );
  assert(taken > 0, "no result ever took over an argument");
});

const parameter = (...shape: number[]): Node<"parameter"> =>
  build.parameter(0, { shape, dtype: "f32" });

/** A training step of an MLP with momentum, written out: parameters and state, then data. */
function step(layers: number, width: number): Graph {
  const parameters: Node<"parameter">[] = [];
  const make = (...shape: number[]): Node<"parameter"> => {
    const p = parameter(...shape);
    parameters.push(p);
    return p;
  };
  const weights = Array.from({ length: layers }, () => make(1, width, width));
  const momenta = weights.map(() => make(1, width, width));
  const x = make(1, 32, width);
  const t = (n: Node): Node => build.permute(n, [0, 2, 1]);
  const inputs: Node[] = [];
  let h: Node = x;
  for (const w of weights) {
    inputs.push(h);
    h = build.binary("max", build.dot(h, w), 0);
  }
  let gradient = build.binary("sub", h, 1);
  const results: Node[] = [];
  for (let i = layers - 1; i >= 0; i--) {
    const dw = build.dot(t(inputs[i]!), gradient);
    if (i > 0) {
      const positive = build.cast(build.binary("less", 0, inputs[i]!), "f32");
      gradient = build.binary("mul", build.dot(gradient, t(weights[i]!)), positive);
    }
    const v = build.binary("add", build.binary("mul", momenta[i]!, 0.9), dw);
    results.push(build.binary("sub", weights[i]!, build.binary("mul", v, 0.01)), v);
  }
  return { name: "step", parameters, results };
}

Deno.test("donated state is updated in place: a step needs no memory for its results", () => {
  const graph = step(4, 64);
  const donate = Array.from({ length: 8 }, (_, i) => i);
  assertEquals(replayed(graph, donate), 8);
  const { memory, slots, results } = compileGraph(graph, { donate, verify: true }, target);
  assertEquals(memory.results, 0);
  for (const { slot } of results) assertEquals(slots[slot]!.role.is, "argument");
  // Activations of all layers and what is passed back; nothing of the size of all gradients.
  assert(memory.workspace <= 8 * 32 * 64 * 4 + 2 * 64 * 64 * 4, `${memory.workspace} bytes`);
});

Deno.test("a program predicts the memory of its slots", () => {
  const { memory, slots, dispatches } = compileGraph(step(3, 32), {}, target);
  const sum = (role: string): number =>
    slots.reduce((n, s) => n + (s.role.is === role ? s.bytes : 0), 0);
  assertEquals(memory.arguments, sum("argument"));
  assertEquals(memory.results, sum("result"));
  assertEquals(memory.workspace, sum("workspace"));
  assertEquals(memory.peak, memory.arguments + memory.results + memory.workspace + memory.uniforms);
  for (const { slots: bound, kernel } of dispatches) {
    assertEquals(bound.length, kernel.access.length);
    assertEquals(new Set(bound).size, bound.length, kernel.label);
  }
});

Deno.test("values of a chain take turns in few slots", () => {
  const x = parameter(1, 64, 64);
  let y: Node = x;
  for (let i = 0; i < 20; i++) y = build.dot(y, y);
  const { memory } = compileGraph({ name: "chain", parameters: [x], results: [y] }, {}, target);
  assertEquals(memory.workspace, 64 * 64 * 4, "one slot besides the result's");
});

Deno.test("a donated argument that is itself a result is not overwritten", () => {
  const x = parameter(8, 8);
  const cases: Node[][] = [
    [x, build.binary("add", x, 1)],
    [build.reshape(x, [64]), build.binary("mul", x, 2)],
    [build.binary("add", x, 0), build.binary("mul", x, 2)],
  ];
  for (const results of cases) {
    const program = compileGraph({ name: "f", parameters: [x], results }, { donate: [0] }, target);
    const [first, second] = program.results;
    assert(first!.slot !== second!.slot, "both results lie in the argument's memory");
    assertEquals(program.slots[first!.slot]!.role.is, "argument");
  }
});

Deno.test("a region that overwrites an argument comes after all others that read it", () => {
  const x = parameter(64, 64), y = parameter(64, 64);
  // Reads x elsewhere than at its own place, so it can't be the one to overwrite it.
  const turned = build.binary("mul", build.permute(x, [1, 0]), y);
  const sums = build.reduce("sum", build.flip(x, [0]), [1]);
  const next = build.binary("sub", x, build.binary("mul", y, 0.1));
  const swapped = [build.binary("add", y, 1), build.binary("add", x, 1)];
  for (const results of [[next, turned, sums], [sums, next], swapped, [turned, next, ...swapped]]) {
    const taken = replayed({ name: "f", parameters: [x, y], results }, [0, 1]);
    assert(taken >= 1, "an argument could have been overwritten");
  }
});
