import { assertEquals, assertThrows } from "@std/assert";
import { full, ones, tensor, zeros } from "../../graph/create.ts";
import { stridesOf } from "../../graph/shape.ts";
import type { AxisSpec, ReduceOptions, Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import { assertValues, installHost, sequence } from "./host.ts";

installHost();

/** Groups of elements that are reduced together, in the order of the results. */
function groups(data: number[], shape: number[], axes: number[]): number[][] {
  const kept = shape.map((n, i) => axes.includes(i) ? 1 : n), strides = stridesOf(kept);
  const result = Array.from({ length: kept.reduce((a, b) => a * b, 1) }, (): number[] => []);
  const from = stridesOf(shape);
  data.forEach((value, position) => {
    let target = 0;
    shape.forEach((n, i) => {
      if (!axes.includes(i)) target += Math.floor(position / from[i]!) % n * strides[i]!;
    });
    result[target]!.push(value);
  });
  return result;
}

const sum = (x: number[]) => x.reduce((a, b) => a + b, 0);
const mean = (x: number[]) => sum(x) / x.length;
const variance = (x: number[], less = 0) =>
  sum(x.map((v) => (v - mean(x)) ** 2)) / (x.length - less);
const logSumExp = (x: number[]) => Math.log(sum(x.map(Math.exp)));

type Case = [
  name: string,
  f: (x: Tensor, axis?: AxisSpec, options?: ReduceOptions) => Tensor,
  reference: (x: number[]) => number,
];
const cases: readonly Case[] = [
  ["sum", (x, a, o) => x.sum(a, o), sum],
  ["prod", (x, a, o) => x.prod(a, o), (x) => x.reduce((a, b) => a * b, 1)],
  ["max", (x, a, o) => x.max(a, o), (x) => Math.max(...x)],
  ["min", (x, a, o) => x.min(a, o), (x) => Math.min(...x)],
  ["mean", (x, a, o) => x.mean(a, o), mean],
  ["variance", (x, a, o) => x.variance(a, o), (x) => variance(x)],
  [
    "variance of a sample",
    (x, a, o) => x.variance(a, { ...o, correction: 1 }),
    (x) => variance(x, 1),
  ],
  ["std", (x, a, o) => x.std(a, o), (x) => Math.sqrt(variance(x))],
  ["all", (x, a, o) => x.greater(-1).all(a, o), (x) => Number(x.every((v) => v > -1))],
  ["any", (x, a, o) => x.greater(1.5).any(a, o), (x) => Number(x.some((v) => v > 1.5))],
  ["logSumExp", (x, a, o) => x.logSumExp(a, o), logSumExp],
  ["norm", (x, a, o) => x.norm(a, o), (x) => Math.hypot(...x)],
  ["norm of order 1", (x, a, o) => x.norm(a, { ...o, order: 1 }), (x) => sum(x.map(Math.abs))],
  [
    "norm of order 3",
    (x, a, o) => x.norm(a, { ...o, order: 3 }),
    (x) => Math.cbrt(sum(x.map((v) => Math.abs(v) ** 3))),
  ],
  [
    "norm of order ∞",
    (x, a, o) => x.norm(a, { ...o, order: Infinity }),
    (x) => Math.max(...x.map(Math.abs)),
  ],
];

for (const [name, f, reference] of cases) {
  Deno.test(`${name}() reduces any axes and agrees with float64`, async () => {
    const random = sequence(3);
    for (const shape of [[1], [7], [3, 5], [2, 3, 5], [1, 5, 1]]) {
      const size = shape.reduce((a, b) => a * b, 1);
      const data = Array.from({ length: size }, () => Math.fround(random() * 4 - 2));
      const x = tensor(data, { shape }), rank = shape.length;
      for (const axis of [undefined, 0, -1, [0, rank - 1].slice(0, rank)]) {
        const axes = axis === undefined
          ? shape.map((_, i) => i)
          : [axis].flat().map((i) => i < 0 ? i + rank : i);
        const expected = groups(data, shape, axes).map(reference);
        const y = f(x, axis), kept = f(x, axis, { keepDims: true });
        await assertValues(y, expected, 1e-5, `${name} of [${shape}] over [${axes}]`);
        assertEquals(y.shape, shape.filter((_, i) => !axes.includes(i)));
        assertEquals(kept.shape, shape.map((n, i) => axes.includes(i) ? 1 : n));
        await assertValues(kept, expected, 1e-5);
      }
    }
    assertEquals(await f(tensor(0.5)).array(), await f(tensor([0.5])).array());
    assertThrows(() => f(ones([2]), 1), RangeError, "axis is 1, expected an integer in [-1, 0]");
    assertThrows(() => f(ones([2, 2]), [0, -2]), RangeError, "expected each axis once");
  });
}

Deno.test("reductions of nothing are their identities, or errors", async () => {
  const empty = zeros([2, 0]);
  await assertValues(empty.sum(1), [0, 0]);
  await assertValues(empty.prod(1), [1, 1]);
  await assertValues(empty.mean(1), [NaN, NaN]);
  await assertValues(empty.variance(1), [NaN, NaN]);
  await assertValues(empty.any(1), [0, 0]);
  await assertValues(empty.all(1), [1, 1]);
  await assertValues(empty.norm(1), [0, 0]);
  assertEquals(empty.max(0).shape, [0]);
  for (const name of ["max", "min", "logSumExp"] as const) {
    assertThrows(
      () => empty[name](1),
      RangeError,
      `Cannot ${name}: no elements along axes [1] of [2,0], expected at least one`,
    );
  }
  for (const name of ["argmax", "argmin"] as const) {
    assertThrows(() => empty[name](1), RangeError, `Cannot ${name}: no elements`);
    assertThrows(() => empty[name](), RangeError, `Cannot ${name}: no elements`);
  }
  assertEquals(empty.softmax().shape, [2, 0]);
});

Deno.test("reductions choose the dtype that holds the result", async () => {
  const flags = tensor([true, true, false]), whole = tensor([3, 4], { dtype: "u32" });
  assertEquals(await flags.sum().item(), 2);
  assertEquals([flags.sum().dtype, flags.mean().dtype, flags.max().dtype], ["i32", "f32", "i32"]);
  assertEquals([whole.sum().dtype, whole.mean().dtype], ["u32", "f32"]);
  assertEquals(await whole.mean().item(), 3.5);
  assertEquals(ones([2], { dtype: "f16" }).sum().dtype, "f16");
  assertEquals([flags.any().dtype, ones([2]).all().dtype], ["bool", "bool"]);
});

Deno.test("max() and min() are NaN if any element is", async () => {
  const x = tensor([[1, NaN], [3, Infinity]]);
  await assertValues(x.max(1), [NaN, Infinity]);
  await assertValues(x.min(1), [NaN, 3]);
  await assertValues(tensor([NaN, 0]).any(), [1]);
});

Deno.test("variance() of large numbers does not cancel", async () => {
  await assertValues(tensor([10001, 10002, 10003]).variance(), 2 / 3, 1e-6);
  await assertValues(full([5], 3e4).variance(), 0);
  await assertValues(tensor([2]).variance(0, { correction: 1 }), NaN);
});

Deno.test("reductions of f16 hold what f16 cannot on their way", async () => {
  // Sums beyond 65 504, squares likewise, and more elements than f16 can count.
  const x = tensor(Array.from({ length: 4096 }, (_, i) => i % 2 ? 200 : -200), { dtype: "f16" });
  const many = tensor(new Float16Array(100_000).fill(1));
  const f16 = (x: number): number => Math.f16round(x);
  await assertValues(x.variance(), 40_000);
  await assertValues(x.std(), 200);
  await assertValues(x.abs().mean(), 200);
  await assertValues(x.slice([0, 64]).mul(10).norm(), 16_000);
  await assertValues(many.mean(), 1);
  await assertValues(many.logSumExp(), f16(1 + Math.log(100_000)));
  await assertValues(many.softmax().slice([0, 1]), [f16(1e-5)]);
  await assertValues(many.logSoftmax().slice([0, 1]), [f16(-Math.log(100_000))]);
  assertEquals([x.mean(), x.std(), x.softmax()].map(({ dtype }) => dtype), ["f16", "f16", "f16"]);
});

Deno.test("argmax() and argmin() take the first of equals, and NaN first", async () => {
  const x = tensor([[1, 3, 3], [2, 2, 0], [NaN, 5, NaN], [1, NaN, -Infinity]]);
  assertEquals(await x.argmax(1).array(), [1, 0, 0, 1]);
  assertEquals(await x.argmin(-1).array(), [0, 2, 0, 1]);
  assertEquals(await x.argmax(0).array(), [2, 3, 2]);
  assertEquals(await x.argmax().item(), 6);
  assertEquals(x.argmax(1).dtype, "i32");
  assertEquals(x.argmax(1, { keepDims: true }).shape, [4, 1]);
  assertEquals(x.argmax(undefined, { keepDims: true }).shape, [1, 1]);
  assertEquals(await tensor([-Infinity, -Infinity]).argmax().item(), 0);
  assertEquals(await tensor(5).argmax().item(), 0);
  assertEquals(await tensor([false, true]).argmax().item(), 1);
  assertEquals(await tensor([4, 9, 9], { dtype: "u32" }).argmax().item(), 1);
});

Deno.test("logSumExp() does not overflow and knows infinities", async () => {
  const log2 = Math.log(2), inf = Infinity;
  await assertValues(tensor([1000, 1000]).logSumExp(), 1000 + log2, 1e-6);
  await assertValues(tensor([-1000, -1000]).logSumExp(), -1000 + log2, 1e-6);
  await assertValues(
    tensor([[-inf, -inf], [-inf, 3], [inf, 3], [inf, -inf], [NaN, 3], [inf, inf]]).logSumExp(1),
    [-inf, 3, inf, inf, NaN, inf],
  );
});

Deno.test("softmax() and logSoftmax() add up to 1, NaN as in PyTorch", async () => {
  const x = tensor([[1, 2, 3], [1000, 1000, -1000], [0, 0, 0]]);
  const e = [1, 2, 3].map(Math.exp), total = sum(e);
  const expected = [e.map((v) => v / total), [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]];
  await assertValues(x.softmax(), expected, 1e-6);
  await assertValues(x.T.softmax(0).T, expected, 1e-6);
  await assertValues(
    x.logSoftmax(),
    [...e.map((v) => Math.log(v / total)), -Math.log(2), -Math.log(2), -2000 - Math.log(2)]
      .concat(new Array(3).fill(-Math.log(3))),
    1e-6,
  );
  await assertValues(x.softmax([0, 1]).sum(), 1, 1e-6);
  const inf = Infinity;
  const odd = tensor([[-inf, -inf], [-inf, 0], [inf, 0], [NaN, 0]]);
  await assertValues(odd.softmax(), [NaN, NaN, 0, 1, NaN, NaN, NaN, NaN]);
  await assertValues(odd.logSoftmax(), [NaN, NaN, -inf, 0, NaN, NaN, NaN, NaN]);
});

Deno.test("norm() has gradients where elements are 0, of any order", async () => {
  const x = tensor([0, 1, 4]);
  const slope = (order: number) => grad((x: Tensor) => x.norm(undefined, { order }))(x);
  await assertValues(slope(0.5), [0, 3, 1.5], 1e-6);
  await assertValues(slope(1), [0, 1, 1]);
  await assertValues(slope(1.5), [0, 1, 2].map((v) => v / Math.cbrt(9)), 1e-6);
  await assertValues(slope(3), [0, 1, 16].map((v) => v / 65 ** (2 / 3)), 1e-6);
  const twice = grad((x: Tensor) => grad((x: Tensor) => x.norm(0, { order: 1.5 }))(x).sum())(x);
  await assertValues(twice.isFinite(), [1, 1, 1]);
  for (const order of [0.5, 1, 1.5, 2, 3, Infinity]) {
    const none = grad((x: Tensor) => x.norm(0, { order }))(zeros([2]));
    await assertValues(none, [0, 0], 0, `order ${order}`);
  }
});

Deno.test("norm() wants an order that makes one", () => {
  for (const order of [0, -1, NaN]) {
    assertThrows(() => ones([2]).norm(0, { order }), RangeError, `order is ${order}`);
  }
});
