import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { arange, ones, tensor, zeros } from "../../graph/create.ts";
import { searchSorted } from "../../graph/operations.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad, vmap } from "../../graph/transforms.ts";
import { assertValues, counted, installHost } from "./host.ts";
import "../seed.ts";

installHost();

const whole = (data: number[]): Tensor => tensor(data, { dtype: "i32" });

Deno.test("cumsum() and the like run along any axis, both ways, with and without the element", async () => {
  const x = counted([2, 3]);
  await assertValues(x.cumsum(), [[0, 1, 3], [3, 7, 12]]);
  await assertValues(x.cumsum(0), [[0, 1, 2], [3, 5, 7]]);
  await assertValues(x.cumsum(1, { reverse: true }), [[3, 3, 2], [12, 9, 5]]);
  await assertValues(x.cumsum(1, { exclusive: true }), [[0, 0, 1], [0, 3, 7]]);
  await assertValues(x.cumsum(1, { exclusive: true, reverse: true }), [[3, 2, 0], [9, 5, 0]]);
  await assertValues(x.add(1).cumprod(), [[1, 2, 6], [4, 20, 120]]);
  const y = tensor([2, 5, 3, NaN, 7, -Infinity]);
  await assertValues(y.cummax(), [2, 5, 5, NaN, NaN, NaN]);
  await assertValues(y.cummin(0, { reverse: true }), [NaN, NaN, NaN, NaN, -Infinity, -Infinity]);
  await assertValues(tensor([true, false, true]).cumsum(), [1, 1, 2]);
  assertEquals(tensor([true]).cumsum().dtype, "i32");
  await assertValues(whole([2147483647, 1]).cumsum(), [2147483647, -2147483648]);
  await assertValues(whole([1, 2]).cummax(0, { exclusive: true }), [-2147483648, 1]);
  assertEquals(zeros([0, 3]).cumsum(0).shape, [0, 3]);
  assertThrows(() => ones([]).cumsum(), RangeError, "Cannot cumsum: axis is -1");
});

Deno.test("cumsum() of an infinity or NaN touches only what comes after it", async () => {
  const x = new Array<number>(70).fill(1);
  x[40] = Infinity;
  x[50] = -Infinity;
  const expected = x.map((_, i) => i < 40 ? i + 1 : i < 50 ? Infinity : NaN);
  await assertValues(tensor(x).cumsum(), expected);
  await assertValues(tensor([0, Infinity, 2]).cumprod(), [0, NaN, NaN]);
});

Deno.test("logCumSumExp() neither overflows nor loses -∞", async () => {
  await assertValues(
    tensor([-Infinity, 1000, 1000, -Infinity]).logCumSumExp(),
    [-Infinity, 1000, 1000 + Math.LN2, 1000 + Math.LN2],
    1e-6,
  );
  const x = Array.from({ length: 100 }, (_, i) => Math.sin(i) * 3);
  let sum = 0;
  await assertValues(tensor(x).logCumSumExp(), x.map((v) => Math.log(sum += Math.exp(v))), 1e-6);
});

Deno.test("the gradient of cumprod() knows zeros", async () => {
  const g = grad((x: Tensor) => x.cumprod().sum())(tensor([2, 0, 3, 0, 5]));
  await assertValues(g, [1, 2 + 6, 0, 0, 0]);
});

/** NumPy's order: NaN last, -0 beside 0, equal elements as they came. */
function order(x: readonly number[], descending = false): number[] {
  const compare = (a: number, b: number): number => {
    if (Number.isNaN(a) || Number.isNaN(b)) {
      return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
    }
    return a < b ? -1 : a > b ? 1 : 0;
  };
  return x.map((_, i) => i).sort((i, j) =>
    (descending ? compare(x[j]!, x[i]!) : compare(x[i]!, x[j]!)) || i - j
  );
}

Deno.test("argsort() is stable, with NaN last and -0 beside 0", async () => {
  const value = fc.constantFrom(
    0,
    -0,
    1,
    -1,
    NaN,
    Infinity,
    -Infinity,
    0.5,
    Math.fround(1e-40),
    2 ** 100,
  );
  await fc.assert(
    fc.asyncProperty(fc.array(value, { maxLength: 40 }), fc.boolean(), async (list, descending) => {
      const x = tensor(Float32Array.from(list));
      await assertValues(x.argsort(-1, { descending }), order(list, descending));
      await assertValues(x.sort(-1, { descending }), order(list, descending).map((i) => list[i]!));
    }),
    { numRuns: 60 },
  );
});

Deno.test("sort() of every dtype, along every axis", async () => {
  const x = tensor([[3, 1, 2], [1, 1, 0]]);
  await assertValues(x.sort(), [[1, 2, 3], [0, 1, 1]]);
  await assertValues(x.sort(0), [[1, 1, 0], [3, 1, 2]]);
  await assertValues(x.argsort(0), [[1, 0, 1], [0, 1, 0]]);
  await assertValues(whole([3, -2147483648, 2147483647, -1]).sort(), [
    -2147483648,
    -1,
    3,
    2147483647,
  ]);
  await assertValues(tensor(new Uint32Array([3, 4294967295, 0])).sort(0, { descending: true }), [
    4294967295,
    3,
    0,
  ]);
  await assertValues(tensor([true, false, true]).argsort(), [1, 0, 2]);
  await assertValues(tensor([2, 1], { dtype: "f16" }).sort(), [1, 2]);
  assertEquals(zeros([0]).sort().shape, [0]);
  assertThrows(() => ones([]).sort(), RangeError, "Cannot sort: axis is -1");
  assertThrows(() => ones([2]).argsort(1), RangeError, "Cannot argsort: axis is 1");
});

Deno.test("long rows are merged from blocks, and stay stable", async () => {
  for (const n of [513, 1024, 1500]) {
    const list = Array.from(
      { length: 2 * n },
      (_, i) => (i * 7919) % 97 === 5 ? NaN : (i * 31) % 50,
    );
    const x = tensor(Float32Array.from(list), { shape: [2, n] });
    for (const descending of [false, true]) {
      const rows = [list.slice(0, n), list.slice(n)].flatMap((row) => order(row, descending));
      await assertValues(x.argsort(1, { descending }), rows);
    }
  }
});

Deno.test("topK() gives the largest in order, the first of equals first", async () => {
  const { values, indices } = tensor([[1, 4, 4, 2], [NaN, 0, 9, 1]]).topK(3);
  await assertValues(values, [[4, 4, 2], [NaN, 9, 1]]);
  await assertValues(indices, [[1, 2, 3], [0, 2, 3]]);
  const smallest = tensor([[1, 4], [0, 9]]).topK(1, { axis: 0, largest: false });
  await assertValues(smallest.values, [[0, 4]]);
  assertEquals(smallest.indices.dtype, "i32");
  const g = grad((x: Tensor) => x.topK(2).values.mul(tensor([1, 10])).sum());
  await assertValues(g(tensor([3, 1, 2])), [1, 0, 10]);
  assertThrows(() => ones([3]).topK(4), RangeError, "k is 4 for axis 0 of [3]");
  assertThrows(() => ones([3]).topK(0.5), RangeError, "k is 0.5");
});

Deno.test("searchSorted() finds the first or the last place that keeps the order", async () => {
  for (const n of [0, 1, 5, 64, 65, 200]) {
    const list = Array.from({ length: n }, (_, i) => Math.floor(i / 3));
    const wanted = [-1, 0, 0.5, 1, 7, 30, 66, 1e9, NaN, -Infinity];
    const place = (v: number, before: (x: number) => boolean): number =>
      Number.isNaN(v) ? n : list.filter(before).length;
    const [sorted, values] = [tensor(Float32Array.from(list)), tensor(wanted)];
    await assertValues(
      searchSorted(sorted, values),
      wanted.map((v) => place(v, (x) => x < v)),
    );
    await assertValues(
      searchSorted(sorted, values, "right"),
      wanted.map((v) => place(v, (x) => x <= v)),
    );
  }
  await assertValues(searchSorted(whole([1, 3]), 2.5), 1);
  assertThrows(() => searchSorted(ones([2, 2]), 1), TypeError, "the sorted tensor is [2,2]");
  assertThrows(() => searchSorted(ones([2]), 1, "up" as "left"), TypeError, "side is up");
});

Deno.test("vmap() over sorting is a loop", async () => {
  const x = counted([3, 4]).mul(7).mod(5);
  await assertValues(vmap((row: Tensor) => row.sort())(x), [...await x.sort(1).data()]);
  await assertValues(
    vmap((row: Tensor) => row.cumsum(0, { reverse: true }))(arange(6).reshape(2, 3)),
    [[3, 3, 2], [12, 9, 5]],
  );
});
