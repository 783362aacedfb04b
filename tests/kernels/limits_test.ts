/**
 * Right values where devices reach their limits: loops that a software driver would end after
 * 65 535 steps, and grids that are longer than a dispatch may be.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import * as build from "../../graph/build.ts";
import type { Node } from "../../graph/node.ts";
import { sizeOf } from "../../graph/shape.ts";
import { assertOracle, constantOf, firstWrong, run, runWith } from "../gpu.ts";
import { evaluate } from "../oracle.ts";

/** Whole numbers, so small that every sum of a million is exact. */
function whole(...shape: number[]): Node {
  return constantOf(Array.from({ length: sizeOf(shape) }, (_, i) => (i * 7) % 5 - 2), shape);
}

Deno.test("reductions over a million elements are right, in every direction", async () => {
  await assertOracle([
    build.reduce("sum", whole(1_000_000), [0]),
    build.reduce("sum", whole(1, 1_000_000), [1]),
    build.reduce("sum", whole(1_000_000, 1), [0]),
    build.reduce("sum", whole(60_000, 10), [0]),
    build.reduce("reduceMax", build.iota([1_000_003], 0, "f32"), [0]),
    build.reduce("reduceMin", whole(70_000, 3), [0]),
    build.reduce("sum", whole(100, 100, 60), [0, 1, 2]),
  ]);
});

Deno.test("many phases over long columns are right", async () => {
  // Each phase is a loop of 16 384 steps: together they must not be one kernel.
  const x = constantOf(Array.from({ length: 16384 * 256 }, (_, i) => (i * 7) % 5 - 2), [
    16384,
    256,
  ]);
  let y = x;
  for (const op of ["reduceMax", "sum", "reduceMin", "sum", "reduceMax"] as const) {
    const total = build.reduce(op, y, [0]);
    y = build.binary("sub", y, build.binary("mod", total, 3));
  }
  const wanted = evaluate([y])[0]!.data;
  const { values } = await runWith([y], {}, { shuffle: false });
  assertEquals(firstWrong(values[0]!, wanted, "f32"), undefined);
});

Deno.test("deep products are right", async () => {
  await assertOracle([
    build.dot(whole(1, 3, 200_000), whole(1, 200_000, 5)),
    build.dot(whole(1, 1, 70_001), whole(1, 70_001, 1)),
  ]);
  // Too many results for a sum of products of depth 256.
  const a = whole(1, 95, 70_000), b = whole(1, 1, 95);
  const rows = evaluate([build.reduce("sum", a, [2])])[0]!.data;
  const { values } = await runWith([build.dot(a, build.broadcastTo(b, [1, 70_000, 95]))]);
  const wanted = Float64Array.from({ length: 95 * 95 }, (_, i) => {
    return rows[Math.floor(i / 95)]! * ((i % 95 * 7) % 5 - 2);
  });
  assertEquals(firstWrong(values[0]!, wanted, "f32"), undefined);
});

Deno.test("scatterAdd of 100 000 rows is right", async () => {
  const index = build.binary("mod", build.iota([100_000], 0, "i32"), 11);
  await assertOracle([
    build.scatterAdd(whole(100_000), index, 10),
    build.scatterAdd(whole(100_000, 4), build.binary("sub", index, 1), 9),
  ]);
});

Deno.test("grids that are folded reach every element", async () => {
  const x = whole(5000), m = whole(40, 37);
  const nodes = [
    build.binary("add", x, 1),
    build.reduce("sum", m, [1]),
    build.reduce("sum", whole(40, 36), [0]),
    build.binary("sub", m, build.reduce("reduceMax", m, [1])),
    build.dot(whole(20, 3, 2), whole(20, 2, 3)),
    build.dot(whole(1, 300, 5), whole(1, 5, 7)),
    build.dot(whole(2, 5, 6), whole(2, 6, 300)),
    build.scatterAdd(whole(10, 3), build.iota([10], 0, "i32"), 300),
  ];
  const wanted = evaluate(nodes);
  for (const kind of ["software", "discrete"] as const) {
    const { values, program } = await runWith(nodes, {}, { maxWorkgroups: 4, kind });
    assertEquals(program.dispatches.some((d) => d.kernel.workgroups[1] > 1), true);
    nodes.forEach((node, i) => {
      const wrong = firstWrong(values[i]!, wanted[i]!.data, node.dtype);
      assertEquals(wrong, undefined, `${node.op} [${node.shape}], ${kind}`);
    });
  }
});

Deno.test("batches and heights beyond a dispatch's are right", async () => {
  const a = whole(70_000, 2, 2), tall = whole(1, 1_100_000, 3), flat = whole(1, 3, 2);
  const [x, left, right] = evaluate([a, tall, flat]).map(({ data }) => data);
  const [batch, product] = await run([build.dot(a, a), build.dot(tall, flat)]);
  const squares = Float64Array.from(x!, (_, i) => {
    const at = i - i % 4, row = at + (i % 4 >> 1) * 2, column = at + i % 2;
    return x![row]! * x![column]! + x![row + 1]! * x![column + 2]!;
  });
  assertEquals(firstWrong(batch!, squares, "f32"), undefined);
  const wanted = Float64Array.from({ length: 2_200_000 }, (_, i) => {
    const row = 3 * (i >> 1), column = i & 1;
    return left![row]! * right![column]! + left![row + 1]! * right![column + 2]! +
      left![row + 2]! * right![column + 4]!;
  });
  assertEquals(firstWrong(product!, wanted, "f32"), undefined);
});
