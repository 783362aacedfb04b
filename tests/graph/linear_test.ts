import { assertEquals, assertThrows } from "@std/assert";
import { ones, tensor, zeros } from "../../graph/create.ts";
import { dot, matmul, outer } from "../../graph/operations.ts";
import { broadcastShapes, sizeOf, stridesOf } from "../../graph/shape.ts";
import { topological } from "../../graph/walk.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { assertValues, counted, installHost, sequence } from "./host.ts";

installHost();

/** NumPy's matmul by its definition; operands as data and shape. */
function reference(a: number[], p: number[], b: number[], q: number[]): number[] {
  const x = p.length === 1 ? [1, ...p] : p, y = q.length === 1 ? [...q, 1] : q;
  const [m, k] = x.slice(-2) as [number, number], n = y.at(-1)!;
  const batch = broadcastShapes(x.slice(0, -2), y.slice(0, -2))!;
  const offset = (position: number, shape: number[], rows: number, columns: number): number => {
    const lead = shape.slice(0, -2), strides = stridesOf(lead), all = stridesOf(batch);
    return lead.reduce((sum, size, i) => {
      const at = Math.floor(position / all[i + batch.length - lead.length]!);
      return sum + (size === 1 ? 0 : at % batch[i + batch.length - lead.length]!) * strides[i]!;
    }, 0) * rows * columns;
  };
  const result: number[] = [];
  for (let c = 0; c < sizeOf(batch); c++) {
    const from = offset(c, x, m, k), other = offset(c, y, k, n);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) sum += a[from + i * k + l]! * b[other + l * n + j]!;
        result.push(sum);
      }
    }
  }
  return result;
}

const shapes: [a: number[], b: number[], result: number[]][] = [
  [[3], [3], []],
  [[3], [3, 5], [5]],
  [[2, 3], [3], [2]],
  [[2, 3], [3, 5], [2, 5]],
  [[1, 1], [1, 1], [1, 1]],
  [[7, 2, 3], [3, 5], [7, 2, 5]],
  [[7, 2, 3], [1, 3, 5], [7, 2, 5]],
  [[7, 2, 3], [3], [7, 2]],
  [[7, 2, 3], [7, 3, 5], [7, 2, 5]],
  [[2, 3], [7, 3, 5], [7, 2, 5]],
  [[3], [7, 3, 5], [7, 5]],
  [[4, 1, 2, 3], [7, 3, 5], [4, 7, 2, 5]],
  [[1, 2, 3], [4, 1, 3, 5], [4, 1, 2, 5]],
  [[2, 0], [0, 3], [2, 3]],
  [[0, 3], [3, 2], [0, 2]],
  [[2, 3], [0, 3, 5], [0, 2, 5]],
];

Deno.test("matmul() follows NumPy for vectors, batches and empty axes", async () => {
  const random = sequence(5), draw = () => Math.fround(random() * 2 - 1);
  for (const [p, q, shape] of shapes) {
    const a = Array.from({ length: sizeOf(p) }, draw), b = Array.from({ length: sizeOf(q) }, draw);
    const y = tensor(a, { shape: p }).matmul(tensor(b, { shape: q }));
    assertEquals(y.shape, shape, `[${p}] by [${q}]`);
    await assertValues(y, reference(a, p, b, q), 1e-6, `[${p}] by [${q}]`);
  }
});

Deno.test("matmul() makes one product of a batch with shared weights", () => {
  const y = ones([7, 2, 3]).matmul(ones([3, 5]));
  const product = topological([y.node]).find((node) => node.op === "dot");
  assertEquals(product?.shape, [1, 14, 5]);
});

Deno.test("matmul() promotes, and multiplies integers exactly", async () => {
  const whole = tensor([[65537, 1]], { dtype: "i32" });
  assertEquals(await whole.matmul(whole.T).array(), [[65537 * 65537 + 1 | 0]]);
  assertEquals(whole.matmul(ones([2, 1])).dtype, "f32");
  const half = ones([1, 2], { dtype: "f16" });
  assertEquals([half.matmul(half.T).dtype, half.matmul(whole.T).dtype], ["f16", "f16"]);
  assertEquals(await tensor([true, true]).matmul(tensor([true, true])).item(), 2);
});

Deno.test("matmul() shows both shapes when they do not fit", () => {
  const cases: [Tensor, Tensor, string][] = [
    [ones([2, 3]), ones([2, 3]), "[2,3] and [2,3], expected the inner sizes 3 and 2 to be equal"],
    [ones([3]), ones([2]), "[3] and [2], expected the inner sizes 3 and 2"],
    [ones([]), ones([2]), "[] and [2], expected at least one axis each"],
    [ones([2, 1, 3]), ones([4, 3, 5]), "[2,1,3] and [4,3,5], expected batch axes that broadcast"],
  ];
  for (const [a, b, message] of cases) {
    assertThrows(() => matmul(a, b), TypeError, `Cannot matmul: shapes are ${message}`);
  }
});

Deno.test("dot() is NumPy's", async () => {
  assertEquals(await dot(tensor([1, 2]), tensor([3, 4])).item(), 11);
  await assertValues(tensor([1, 2]).dot(3), [3, 6]);
  const a = counted([2, 3]), b = counted([4, 3, 5]);
  const y = a.dot(b);
  assertEquals(y.shape, [2, 4, 5]);
  await assertValues(y, await a.matmul(b.moveAxis(1, 0).reshape(3, 20)).array());
  assertEquals(counted([2, 3]).dot(counted([3])).shape, [2]);
  assertThrows(() => a.dot(ones([2, 3])), TypeError, "Cannot dot: shapes are [2,3] and [2,3]");
});

Deno.test("outer() flattens both", async () => {
  await assertValues(outer(tensor([1, 2]), tensor([[3], [4]])), [[3, 4], [6, 8]]);
  assertEquals(zeros([0]).outer(ones([3])).shape, [0, 3]);
});
