/**
 * Products that are written in the order in which they are read: against the oracle, on several
 * kinds of devices, and what programs are made of then.
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { compileGraph } from "../../compile/compile.ts";
import type { Program } from "../../compile/program.ts";
import * as build from "../../graph/build.ts";
import type { Node } from "../../graph/node.ts";
import { type Shape, sizeOf } from "../../graph/shape.ts";
import {
  constantOf,
  firstDifference,
  gpu,
  runGraph,
  runWith,
  seed,
  type TargetPart,
} from "../gpu.ts";
import { evaluate } from "../oracle.ts";
import { target } from "./target.ts";

/** Small whole numbers, so that every sum is exact. */
const whole = (shape: Shape, from = 0): Node =>
  constantOf(Array.from({ length: sizeOf(shape) }, (_, i) => (i * 7 + from) % 11 - 5), shape);

/** A parameter for programs that are only looked at. */
const given = (index: number, shape: Shape): Node<"parameter"> =>
  build.parameter(index, { shape, dtype: "f32" });

const kernelsOf = (program: Program): string[] =>
  program.dispatches.map(({ kernel }) => kernel.wgsl);

function compiled(parameters: readonly Node<"parameter">[], results: readonly Node[]): Program {
  const graph = { name: "test", parameters, results };
  return compileGraph(graph, { verify: true }, target);
}

const targets: readonly TargetPart[] = [{}, { shuffle: false }, { kind: "discrete" }];

/** Runs on a kind of device against the oracle. */
async function assertRight(nodes: readonly Node[], which: TargetPart = {}): Promise<Program> {
  const wanted = evaluate(nodes);
  const { values, program } = await runWith(nodes, {}, which);
  nodes.forEach((node, i) => {
    const expected = Float32Array.from(wanted[i]!.data, (x) => x + 0);
    const actual = Float32Array.from(values[i]!, (x) => x + 0);
    const what = `${JSON.stringify(which)} [${node.shape}]`;
    assertEquals(firstDifference(actual, expected), undefined, what);
  });
  return program;
}

/** Heads of an attention: [batch·heads, rows, size], of which those of a row come together. */
function merged(product: Node, batch: number, heads: number): Node {
  const [, rows, size] = product.shape as [number, number, number];
  const apart = build.permute(build.reshape(product, [batch, heads, rows, size]), [0, 2, 1, 3]);
  return build.reshape(apart, [1, batch * rows, heads * size]);
}

Deno.test("heads that come together are read as if they had never been apart", async () => {
  const sizes = [[2, 3, 5, 8, 7, 6], [1, 4, 16, 4, 8, 12], [3, 2, 7, 5, 3, 1]] as const;
  for (const [i, [batch, heads, rows, size, deep, out]] of sizes.entries()) {
    const product = build.dot(
      whole([batch * heads, rows, deep]),
      whole([batch * heads, deep, size], 3),
    );
    const x = merged(product, batch, heads);
    const y = build.dot(x, whole([1, heads * size, out], 1));
    // The gradient of the weight reads it, too, and the other way round.
    const slope = build.dot(
      build.permute(x, [0, 2, 1]),
      whole([1, batch * rows, out], 2),
    );
    await assertRight([y, slope], targets[i]);
  }
});

Deno.test("kernels that read heads that come together are those that read a matrix", () => {
  const project = (x: Node, w: Node): Node => build.dot(x, build.reshape(w, [1, 96, 64]));
  const [a, b, w] = [given(0, [6, 40, 24]), given(1, [6, 24, 32]), given(2, [96, 64])] as const;
  const heads = compiled([a, b, w], [project(merged(build.dot(a, b), 2, 3), w)]);
  const [x, v] = [given(0, [1, 80, 96]), given(1, [96, 64])] as const;
  const plain = compiled([x, v], [project(x, v)]);
  assertEquals(heads.dispatches.length, 2);
  const named = (text: string): string => text.replaceAll(/buf[01]/g, "operand");
  assertEquals(named(kernelsOf(heads)[1]!), named(kernelsOf(plain)[0]!));
  // A vector of the product is a vector where it is written.
  assert(!kernelsOf(heads)[0]!.includes("array<f32>"), kernelsOf(heads)[0]);
});

Deno.test("a product that somebody reads as it is stays as it is", async () => {
  const product = build.dot(whole([6, 5, 7]), whole([6, 7, 8], 3));
  const x = merged(product, 2, 3);
  const y = build.dot(x, whole([1, 24, 4], 1));
  const other = build.dot(product, whole([6, 8, 3], 2));
  const program = await assertRight([y, other]);
  assertEquals(program.dispatches.length, 3);
  assertEquals(program.memory.workspace, 16 * Math.ceil(4 * 6 * 5 * 8 / 16));
});

Deno.test("one product in several orders is computed once", async () => {
  const permuted = (): { product: Node; orders: Node[] } => {
    const product = build.dot(whole([6, 5, 7]), whole([6, 7, 8], 3));
    const apart = build.reshape(product, [2, 3, 5, 8]);
    const orders = [[0, 2, 1, 3], [2, 1, 0, 3], [3, 0, 2, 1]];
    return { product, orders: orders.map((order) => build.permute(apart, order)) };
  };
  const { product, orders } = permuted();
  assertEquals((await assertRight([...orders, product])).dispatches.length, 1);
  // Whoever reads them reads one product, as it is.
  const read = permuted().orders.map((x, i) =>
    build.dot(build.reshape(x, [1, 10, 24]), whole([1, 24, 4], i))
  );
  assertEquals((await assertRight(read)).dispatches.length, 4);
});

Deno.test("a product in any order of its axes is one kernel", async () => {
  const sizes = fc.integer({ min: 1, max: 5 });
  const recipes = fc.record({
    outer: fc.array(sizes, { minLength: 0, maxLength: 2 }),
    rows: fc.array(sizes, { minLength: 1, maxLength: 2 }),
    columns: fc.array(fc.constantFrom(1, 2, 3, 4, 8), { minLength: 1, maxLength: 2 }),
    deep: sizes,
    keys: fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 6, maxLength: 6 }),
    which: fc.constantFrom(...targets),
  });
  const samples = fc.sample(recipes, { seed: seed(), numRuns: 12 });
  for (const { outer, rows, columns, deep, keys, which } of samples) {
    const [b, m, n] = [outer, rows, columns].map(sizeOf) as [number, number, number];
    const product = build.dot(whole([b, m, deep]), whole([b, deep, n], 3));
    const apart = build.reshape(product, [...outer, ...rows, ...columns]);
    const order = apart.shape.map((_, axis) => axis).sort((x, y) => keys[x]! - keys[y]!);
    const { dispatches } = await assertRight([build.permute(apart, order)], which);
    assertEquals(dispatches.length, 1, `[${apart.shape}] in order ${order}`);
  }
});

Deno.test("products side by side are each in an order of their own", async () => {
  const left = whole([6, 5, 7]);
  const [a, b] = [1, 2].map((from) => build.dot(left, whole([6, 7, 8], from))) as [Node, Node];
  const x = merged(a, 2, 3), y = merged(b, 3, 2);
  const program = await assertRight([
    build.dot(x, whole([1, 24, 4], 1)),
    build.dot(y, whole([1, 16, 4], 1)),
    build.dot(build.permute(x, [0, 2, 1]), whole([1, 10, 3], 4)),
  ]);
  assert(program.print("regions").includes("dot dot"), program.print("regions"));
});

Deno.test("what is written in another order is not written over what is read in the first", async () => {
  await gpu();
  const [a, b, y] = [given(0, [6, 5, 7]), given(1, [6, 7, 8]), given(2, [6, 5, 8])] as const;
  const product = build.dot(a, b);
  const permuted = build.permute(build.reshape(product, [2, 3, 5, 8]), [0, 2, 1, 3]);
  const results = [permuted, build.binary("add", product, y)];
  const graph = { name: "test", parameters: [a, b, y], results };
  const args = [[6, 5, 7], [6, 7, 8], [6, 5, 8]].map((shape, from) =>
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => (i * 7 + from) % 11 - 5)
  );
  const plain = await runGraph(graph, args, { maxOperations: 1 });
  const { values, program } = await runGraph(graph, args, { donate: [2] });
  assertEquals(values, plain.values);
  assertEquals(program.dispatches.length, 1);
  // The sum takes the place of what is added, the other one has its own.
  assertEquals(program.memory.results, 4 * 240);
});
