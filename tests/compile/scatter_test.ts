/**
 * Scatters with sorted indices: the bits are those of looking through all of them, for every
 * dtype, any number of updates to a row, and indices outside of the result. Which way is taken is a
 * matter of sizes alone.
 *
 * @module
 */
import { assertAlmostEquals, assertEquals } from "@std/assert";
import { inOrder } from "../../compile/scatter.ts";
import * as build from "../../graph/build.ts";
import type { DType } from "../../graph/dtype.ts";
import type { Node } from "../../graph/node.ts";
import { sizeOf } from "../../graph/shape.ts";
import * as rg from "../../mod.ts";
import { compileFor, constantOf, firstDifference, gpu, randomOf, runWith } from "../gpu.ts";

/** A case: shape of the indices, of a row, rows of the result, dtypes, and what an index may be. */
interface Case {
  readonly index: readonly number[];
  readonly row: readonly number[];
  readonly size: number;
  readonly dtype?: DType;
  readonly at?: "i32" | "u32";
  readonly indexOf?: (random: () => number) => number;
}

const cases: readonly Case[] = [
  { index: [1], row: [], size: 1 },
  { index: [1], row: [3], size: 5 },
  { index: [13, 5], row: [2, 2], size: 11 },
  { index: [100], row: [8], size: 40, dtype: "f16" },
  { index: [100], row: [3], size: 40, dtype: "i32", at: "u32" },
  { index: [100], row: [], size: 13, at: "u32", indexOf: () => 0xffffffff },
  { index: [100], row: [1], size: 13, indexOf: () => -1 },
  { index: [2000], row: [2], size: 3, indexOf: () => 2 },
  // In more than one part, with rows that have none of the updates of one.
  { index: [33000], row: [3], size: 4, indexOf: (random) => Math.floor(3 * random()) },
];

function scatterOf(given: Case, seed = 3): Node<"scatterAdd"> {
  const { index, row, size, dtype = "f32", at = "i32" } = given, count = sizeOf(index);
  const random = randomOf(seed);
  const usual = () => Math.floor((size + 2) * random()) - (at === "i32" ? 1 : 0);
  const numbers = Array.from({ length: count }, () => (given.indexOf ?? usual)(random));
  const values = Array.from(
    { length: count * sizeOf(row) },
    () => dtype === "i32" ? Math.floor(2e9 * random()) : (random() - 0.5) * 10 ** (4 * random()),
  );
  const updates = constantOf(values, [...index, ...row], dtype);
  return build.scatterAdd(updates, constantOf(numbers, index, at), size) as Node<"scatterAdd">;
}

const wide = ({ dtype }: Node): DType => dtype === "f16" ? "f32" : dtype;

Deno.test("a scatter with sorted indices has the bits of one that looks through all", async () => {
  for (const given of cases) {
    const plain = scatterOf(given), sorted = inOrder(plain, wide(plain));
    const { values: [expected] } = await runWith([plain]);
    const { values: [actual], program } = await runWith([sorted]);
    assertEquals(firstDifference(actual!, expected!), undefined, JSON.stringify(given));
    const labels = program.dispatches.map(({ kernel }) => kernel.label);
    assertEquals(labels.some((label) => label.startsWith("scatter")), true, `${labels}`);
  }
});

Deno.test("a row may have more updates than a loop has steps, and more than one kernel takes", async () => {
  const count = 394_000, f32 = Math.fround;
  const values = Float32Array.from({ length: count }, (_, i) => Math.sin(i) * 10 ** (i % 4));
  const plain = build.scatterAdd(
    constantOf(values, [count]),
    constantOf(new Int32Array(count).fill(1), [count], "i32"),
    2,
  ) as Node<"scatterAdd">;
  let total = 0, part = 0;
  values.forEach((x, i) => {
    if (i > 0 && i % 16384 === 0) [total, part] = [f32(total + part), 0];
    part = f32(part + x);
  });
  const { values: [actual] } = await runWith([inOrder(plain, "f32")]);
  assertEquals([...actual!], [0, f32(total + part)]);
});

Deno.test("indices are sorted where results times indices are many, and nowhere else", async () => {
  const usesOrder = async (size: number, width: number, count: number): Promise<boolean> => {
    const updates = build.parameter(0, { shape: [count, width], dtype: "f32" });
    const index = build.parameter(1, { shape: [count], dtype: "i32" });
    const results = [build.scatterAdd(updates, index, size)];
    const program = await compileFor({ name: "test", parameters: [updates, index], results });
    return program.dispatches.length > 1;
  };
  assertEquals(await usesOrder(96, 128, 1024), false);
  assertEquals(await usesOrder(4096, 8, 1023), false);
  assertEquals(await usesOrder(4096, 8, 1024), true);
  // Few indices are looked through faster than rows are; and where rows begin has to be bound.
  assertEquals(await usesOrder(2 ** 22, 1, 31), false);
  assertEquals(await usesOrder(2 ** 20, 1, 32), true);
  assertEquals(await usesOrder(2 ** 25 - 1, 1, 32), true);
  assertEquals(await usesOrder(2 ** 25, 1, 32), false);
});

Deno.test("gradients of a large gather: to the bit, per example, and differentiated again", async () => {
  await gpu();
  const [rows, width, count] = [5000, 8, 1100], f32 = Math.fround;
  const at = Int32Array.from({ length: count }, (_, i) => (i * i * 37) % rows);
  const x = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i));
  const weights = Float32Array.from({ length: count * width }, (_, i) => Math.cos(3 * i));
  const table = rg.tensor(x, { shape: [rows, width] });
  const index = rg.tensor(at, { shape: [count], dtype: "i32" });
  const w = rg.tensor(weights, { shape: [count, width] });
  const sums = (f: (j: number, i: number) => number, list = at): Float32Array => {
    const result = new Float32Array(rows * width);
    list.forEach((row, j) => {
      for (let c = 0; c < width; c++) {
        const to = row * width + c;
        result[to] = f32(result[to]! + f(j * width + c, to));
      }
    });
    return result;
  };
  const loss = (t: rg.Tensor, i: rg.Tensor): rg.Tensor => t.take(i).mul(w).sum();
  const gradient = await rg.grad(loss)(table, index).data();
  assertEquals(firstDifference(gradient, sums((j) => weights[j]!)), undefined);

  const reversed = at.toReversed();
  const both = rg.stack([index, rg.tensor(reversed, { shape: [count], dtype: "i32" })]);
  const each = await rg.vmap((i: rg.Tensor) => rg.grad(loss)(table, i))(both).data();
  const second = sums((j) => weights[j]!, reversed);
  assertEquals(firstDifference(each.slice(rows * width), second), undefined);
  assertEquals(firstDifference(each.slice(0, rows * width), gradient), undefined);

  // The gradient of Σ w·t³ is 3w·t², and that of its sum of products with v is 6w·t·v.
  const cubes = (t: rg.Tensor): rg.Tensor => t.take(index).pow(3).mul(w).sum();
  const v = table.mul(0.5).add(1);
  const again = await rg.grad((t: rg.Tensor) => rg.grad(cubes)(t).mul(v).sum())(table).data();
  const expected = sums((j, i) => 6 * weights[j]! * x[i]! * (0.5 * x[i]! + 1));
  expected.forEach((value, i) => assertAlmostEquals(again[i]!, value, 1e-4));
});
