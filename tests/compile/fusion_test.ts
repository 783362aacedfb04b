/**
 * Random graphs on the device: fused, unfused and by the oracle. On small whole numbers every bit
 * agrees. On floats a driver may rewrite across operations of one kernel (constants of two products
 * or sums are joined, a·c + b·c becomes (a + b)·c, (a + b) - a becomes b), so there the three agree
 * within a tolerance; with a barrier behind every value fused and unfused agree to the bit.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import * as build from "../../graph/build.ts";
import { type DType, dtypes, type TypedArray } from "../../graph/dtype.ts";
import type { Node } from "../../graph/node.ts";
import { constantOf, firstDifference, gpu, runGraph, runUnfused, runWith, seed } from "../gpu.ts";
import { graphOf, parametrized, type Recipe, recipes, sealed } from "../graphs.ts";
import { evaluate, type Value } from "../oracle.ts";

/** Recipes that are the same in every run with a seed. */
function sampled(count: number, from: number, to: number): Recipe[] {
  console.log(`seed ${seed()}`);
  return fc.sample(recipes(from, to), { seed: seed(), numRuns: count });
}

function arrayOf(dtype: DType, values: ArrayLike<number>): TypedArray {
  const array = new dtypes[dtype].array(values.length);
  array.set(values);
  return array;
}

/** Zeros have no sign here: x + 0 is x, also for -0. */
const unsigned = (values: TypedArray): TypedArray => values.map((x) => x + 0);

function assertExact(
  nodes: readonly Node[],
  actual: readonly TypedArray[],
  wanted: readonly Value[],
): void {
  nodes.forEach((node, i) => {
    const expected = arrayOf(node.dtype, wanted[i]!.data);
    const wrong = firstDifference(unsigned(actual[i]!), unsigned(expected));
    assertEquals(wrong, undefined, `${node.op} [${node.shape}]`);
  });
}

function assertClose(
  nodes: readonly Node[],
  actual: readonly TypedArray[],
  wanted: readonly Value[],
): void {
  nodes.forEach((node, i) => {
    wanted[i]!.data.forEach((e, j) => {
      const error = Math.abs(actual[i]![j]! - e) / (0.01 + Math.abs(e));
      assert(error < 2e-4, `${node.op} [${node.shape}] at ${j}: ${actual[i]![j]}, expected ${e}`);
    });
  });
}

function assertSame(a: readonly TypedArray[], b: readonly TypedArray[], what: string): void {
  a.forEach((values, i) => assertEquals(firstDifference(values, b[i]!), undefined, what));
}

const isComputed = (node: Node): boolean => node.op !== "leaf";

Deno.test("graphs of whole numbers have the oracle's bits, fused for any device", async () => {
  const targets = [
    { maxBindings: 8 },
    { maxBindings: 5, shuffle: false },
    { kind: "discrete", maxBindings: 32 },
  ] as const;
  for (const [i, recipe] of sampled(24, 20, 60).entries()) {
    const nodes = graphOf(recipe, "exact").filter(isComputed);
    if (nodes.length === 0) continue;
    const wanted = evaluate(nodes);
    const { values } = await runWith(nodes, {}, targets[i % 3]);
    assertExact(nodes, values, wanted);
  }
});

Deno.test("graphs of whole numbers have the oracle's bits, unfused", async () => {
  for (const recipe of sampled(4, 20, 40)) {
    const nodes = graphOf(recipe, "exact").filter(isComputed);
    if (nodes.length === 0) continue;
    const wanted = evaluate(nodes);
    assertExact(nodes, await runUnfused(nodes), wanted);
  }
});

Deno.test("graphs of floats are near the oracle, fused and unfused", async () => {
  for (const [i, recipe] of sampled(14, 20, 60).entries()) {
    const nodes = graphOf(recipe, "smooth").filter(isComputed);
    if (nodes.length === 0) continue;
    const wanted = evaluate(nodes);
    assertClose(nodes, (await runWith(nodes, {}, { maxBindings: 8 })).values, wanted);
    if (i % 4 === 0) assertClose(nodes, await runUnfused(nodes), wanted);
  }
});

Deno.test("with barriers, fused and unfused graphs of floats agree to the bit", async () => {
  for (const recipe of sampled(6, 20, 40)) {
    const nodes = sealed(graphOf(recipe, "smooth")).filter(isComputed);
    if (nodes.length === 0) continue;
    assertSame((await runWith(nodes)).values, await runUnfused(nodes), "fused against unfused");
  }
});

Deno.test("barrier() keeps what a driver would rewrite", async () => {
  const n = 1000;
  const q = constantOf(Array.from({ length: n }, (_, i) => Math.fround((i - 500) * 0.0137)), [n]);
  const d = constantOf(Array.from({ length: n }, (_, i) => Math.fround(1e4 / (i + 1))), [n]);
  const held = (x: Node): Node => build.unary("barrier", x);
  const big = 12582912, f = Math.fround;
  const nodes = [
    build.binary("sub", held(build.binary("add", q, d)), d),
    build.binary("sub", held(build.binary("add", q, big)), big),
    build.binary("mul", held(build.binary("mul", q, 0.1)), 10),
    build.binary("mul", held(build.flip(held(build.binary("mul", q, 0.75)), [0])), 0.625),
    held(held(held(q))),
  ];
  const [x, y] = evaluate([q, d]);
  const { values } = await runWith(nodes);
  const formulas: ((a: number, b: number, i: number) => number)[] = [
    (a, b) => f(f(a + b) - b),
    (a) => f(f(a + big) - big),
    (a) => f(f(a * f(0.1)) * 10),
    (_, __, i) => f(f(x!.data[n - 1 - i]! * 0.75) * 0.625),
    (a) => a,
  ];
  formulas.forEach((formula, k) => {
    const wanted = Float32Array.from(x!.data, (a, i) => formula(a, y!.data[i]!, i));
    assertEquals(firstDifference(values[k]!, wanted), undefined, `formula ${k}`);
  });
});

Deno.test("barrier() is the identity for every dtype", async () => {
  const cases: readonly (readonly [DType, readonly number[]])[] = [
    ["f32", [0, -0, 1.5, NaN, Infinity, -Infinity]],
    ["f16", [0, -0, 1.5, NaN, Infinity, 65504]],
    ["i32", [0, -1, 2147483647, -2147483648, 5, 6]],
    ["u32", [0, 1, 4294967295, 2147483648, 5, 6]],
    ["bool", [0, 1, 1, 0, 1, 1]],
  ];
  const nodes = cases.map(([dtype, list]) => build.unary("barrier", constantOf(list, [6], dtype)));
  const { values } = await runWith(nodes);
  cases.forEach(([dtype, list], i) => {
    assertEquals(firstDifference(values[i]!, arrayOf(dtype, list)), undefined, dtype);
  });
});

Deno.test("donating arguments does not change results", async () => {
  for (const [i, recipe] of sampled(10, 10, 40).entries()) {
    const nodes = graphOf(recipe, i % 2 ? "exact" : "smooth").filter(isComputed);
    // Results of the arguments' own shapes, so that there is something to take over.
    const { graph, data } = parametrized(nodes);
    const updates = graph.parameters.map((p) =>
      build.binary("sub", p, build.binary("mul", p, 0.1))
    );
    const whole = { ...graph, results: [...graph.results, ...updates] };
    const donate = graph.parameters.map((_, i) => i);
    const kept = await runGraph(whole, data), donated = await runGraph(whole, data, { donate });
    assertSame(donated.values, kept.values, "donated against kept");
    assert(donated.program.memory.peak <= kept.program.memory.peak);
  }
});

Deno.test("a program of the device's own target runs again with the same bits", async () => {
  await gpu();
  const [recipe] = sampled(1, 40, 60);
  const { graph, data } = parametrized(graphOf(recipe!, "smooth").filter(isComputed));
  assertSame((await runGraph(graph, data)).values, (await runGraph(graph, data)).values, "twice");
});
