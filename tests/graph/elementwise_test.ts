import { assertEquals, assertThrows } from "@std/assert";
import { ones, tensor, zeros } from "../../graph/create.ts";
import { maximum, minimum, where } from "../../graph/operations.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { assertValues, counted, installHost, sequence, shapes } from "./host.ts";

installHost();

/** The series of erf in float64. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x, sum = x;
  for (let n = 1; n < 120; n++) {
    term *= -x * x / n;
    sum += term / (2 * n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * sum;
}

const special = [0, -0, 1, -1, 0.5, -0.5, 2.5, -2.5, 3.5, 1e-6, -1e-6, 20, -20, 88, -88, 1e30];
const infinite = [NaN, Infinity, -Infinity];

/** A function, its definition in float64, and what it makes of NaN, ∞ and -∞. */
type UnaryCase = [
  name: string,
  f: (x: Tensor) => Tensor,
  reference: (x: number) => number,
  limits: readonly [number, number, number],
  inputs?: readonly number[],
];

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const even = (x: number) => {
  const low = Math.floor(x);
  return x - low === 0.5 ? (low % 2 === 0 ? low : low + 1) : Math.round(x);
};
const positive = special.filter((x) => x >= 0);
const moderate = special.filter((x) => Math.abs(x) <= 20);

const unaries: readonly UnaryCase[] = [
  ["neg", (x) => x.neg(), (x) => -x, [NaN, -Infinity, Infinity]],
  ["abs", (x) => x.abs(), Math.abs, [NaN, Infinity, Infinity]],
  ["sign", (x) => x.sign(), Math.sign, [NaN, 1, -1]],
  ["floor", (x) => x.floor(), Math.floor, [NaN, Infinity, -Infinity]],
  ["ceil", (x) => x.ceil(), Math.ceil, [NaN, Infinity, -Infinity]],
  ["round", (x) => x.round(), even, [NaN, Infinity, -Infinity]],
  ["sqrt", (x) => x.sqrt(), Math.sqrt, [NaN, Infinity, NaN], positive],
  ["rsqrt", (x) => x.rsqrt(), (x) => 1 / Math.sqrt(x), [NaN, 0, NaN], [0, 1, 4, 0.25, 1e30]],
  ["reciprocal", (x) => x.reciprocal(), (x) => 1 / x, [NaN, 0, 0]],
  ["square", (x) => x.square(), (x) => x * x, [NaN, Infinity, Infinity], moderate],
  ["exp", (x) => x.exp(), Math.exp, [NaN, Infinity, 0], [...moderate, 88, -88, 1e30]],
  ["expm1", (x) => x.expm1(), Math.expm1, [NaN, Infinity, -1], [...moderate, 88, -88]],
  ["log", (x) => x.log(), Math.log, [NaN, Infinity, NaN], positive],
  ["log1p", (x) => x.log1p(), Math.log1p, [NaN, Infinity, NaN], [...positive, -1, -0.5, -2, -1e-6]],
  ["sin", (x) => x.sin(), Math.sin, [NaN, NaN, NaN], moderate],
  ["cos", (x) => x.cos(), Math.cos, [NaN, NaN, NaN], moderate],
  ["tan", (x) => x.tan(), Math.tan, [NaN, NaN, NaN], [0, -0, 1, -1, 0.5, 2.5, 1e-6, 20]],
  ["sinh", (x) => x.sinh(), Math.sinh, [NaN, Infinity, -Infinity], [...moderate, 88, -89]],
  ["cosh", (x) => x.cosh(), Math.cosh, [NaN, Infinity, Infinity], [...moderate, 88, -89]],
  ["tanh", (x) => x.tanh(), Math.tanh, [NaN, 1, -1]],
  ["erf", (x) => x.erf(), erf, [NaN, 1, -1]],
  ["sigmoid", (x) => x.sigmoid(), sigmoid, [NaN, 1, 0]],
  ["relu", (x) => x.relu(), (x) => Math.max(x, 0), [NaN, Infinity, 0]],
  ["leakyRelu", (x) => x.leakyRelu(), (x) => x > 0 ? x : 0.01 * x, [NaN, Infinity, -Infinity]],
  [
    "softplus",
    (x) => x.softplus(),
    (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    [NaN, Infinity, 0],
  ],
  ["silu", (x) => x.silu(), (x) => x * sigmoid(x), [NaN, Infinity, NaN]],
  ["gelu", (x) => x.gelu(), (x) => x / 2 * (1 + erf(x / Math.SQRT2)), [NaN, Infinity, NaN]],
  [
    "gelu by tanh",
    (x) => x.gelu({ approximate: "tanh" }),
    (x) => x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    [NaN, Infinity, NaN],
    moderate,
  ],
  ["elu", (x) => x.elu(2), (x) => x > 0 ? x : 2 * Math.expm1(x), [NaN, Infinity, -2]],
];

for (const [name, f, reference, limits, inputs = special] of unaries) {
  Deno.test(`${name}() agrees with float64, NaN and infinities included`, async () => {
    const rounded = inputs.map(Math.fround);
    await assertValues(
      f(tensor(rounded)),
      rounded.map((x) => Math.fround(reference(x))),
      2e-6,
      name,
    );
    await assertValues(f(tensor(infinite)), [...limits], 0, name);
    for (const shape of shapes) assertEquals(f(ones(shape)).shape, shape);
  });
}

Deno.test("expm1() and log1p() keep their digits near 0", async () => {
  const x = [1e-7, -1e-7, 1e-4, -1e-4, 0.1, -0.1, 0.49, -0.39, 0.51, -0.51].map(Math.fround);
  for (const name of ["expm1", "log1p", "sinh"] as const) {
    const y = await tensor(x)[name]().data();
    x.forEach((value, i) => {
      const exact = Math[name](value);
      if (Math.abs(y[i]! / exact - 1) > 4e-7) throw new Error(`${name}(${value}) is ${y[i]}`);
    });
  }
});

Deno.test("functions of floats take integers and bool as f32", async () => {
  const x = tensor([0, 1, 4], { dtype: "i32" });
  for (const f of [x.sqrt(), x.exp(), x.sigmoid(), x.softplus(), x.gelu(), x.tan()]) {
    assertEquals(f.dtype, "f32");
  }
  assertEquals(await x.sqrt().array(), [0, 1, 2]);
  assertEquals(await x.floor().array(), [0, 1, 4]);
  assertEquals(x.floor().dtype, "i32");
  assertEquals(await tensor([true, false]).neg().array(), [-1, 0]);
  assertEquals(tensor([1], { dtype: "f16" }).expm1().dtype, "f16");
});

type Pair = [
  name: string,
  f: (a: Tensor, b: Tensor | number) => Tensor,
  (a: number, b: number) => number,
];
const modulo = (a: number, b: number) => a - b * Math.floor(a / b);
const pairs: readonly Pair[] = [
  ["add", (a, b) => a.add(b), (a, b) => a + b],
  ["sub", (a, b) => a.sub(b), (a, b) => a - b],
  ["mul", (a, b) => a.mul(b), (a, b) => a * b],
  ["div", (a, b) => a.div(b), (a, b) => a / b],
  ["floorDiv", (a, b) => a.floorDiv(b), (a, b) => Math.floor(a / b)],
  ["mod", (a, b) => a.mod(b), modulo],
  ["pow", (a, b) => a.pow(b), (a, b) => a ** b],
  ["maximum", (a, b) => a.maximum(b), Math.max],
  ["minimum", (a, b) => a.minimum(b), Math.min],
  ["equal", (a, b) => a.equal(b), (a, b) => Number(a === b)],
  ["notEqual", (a, b) => a.notEqual(b), (a, b) => Number(a !== b)],
  ["less", (a, b) => a.less(b), (a, b) => Number(a < b)],
  ["lessEqual", (a, b) => a.lessEqual(b), (a, b) => Number(a <= b)],
  ["greater", (a, b) => a.greater(b), (a, b) => Number(a > b)],
  ["greaterEqual", (a, b) => a.greaterEqual(b), (a, b) => Number(a >= b)],
];

for (const [name, f, reference] of pairs) {
  Deno.test(`${name}() broadcasts and agrees with float64`, async () => {
    const random = sequence(7), draw = () => Math.fround(random() * 6 - (name === "pow" ? 0 : 3));
    const a = Array.from({ length: 15 }, draw), b = Array.from({ length: 5 }, draw);
    const full = a.map((x, i) => reference(x, b[i % 5]!));
    const column = b.flatMap((y) => a.slice(0, 5).map((x) => reference(x, y)));
    const row = tensor(b), matrix = tensor(a, { shape: [3, 5] });
    await assertValues(f(matrix, row), full, 4e-6);
    await assertValues(f(tensor(a.slice(0, 5)), row.reshape(5, 1)), column, 4e-6);
    await assertValues(f(matrix, 2), a.map((x) => reference(x, 2)), 4e-6);
    assertEquals(f(zeros([0, 5]), row).shape, [0, 5]);
    assertThrows(() => f(matrix, ones([4])), TypeError, "shapes are");
  });
}

Deno.test("maximum(), minimum() and clip() keep NaN", async () => {
  const x = tensor([NaN, 1, -Infinity, 3]), y = tensor([0, NaN, 2, 2]);
  await assertValues(maximum(x, y), [NaN, NaN, 2, 3]);
  await assertValues(minimum(x, y), [NaN, NaN, -Infinity, 2]);
  await assertValues(x.clip(0, 2), [NaN, 1, 0, 2]);
  await assertValues(x.clip(undefined, 2), [NaN, 1, -Infinity, 2]);
  await assertValues(maximum(2, tensor([1, 3])), [2, 3]);
});

Deno.test("comparisons with NaN are false but for notEqual()", async () => {
  const x = tensor([NaN, NaN, 1]), y = tensor([NaN, 1, NaN]);
  for (const name of ["equal", "less", "lessEqual", "greater", "greaterEqual"] as const) {
    assertEquals(await x[name](y).array(), [false, false, false]);
  }
  assertEquals(await x.notEqual(y).array(), [true, true, true]);
});

Deno.test("dtypes promote without losing values silently", async () => {
  const i = tensor([7], { dtype: "i32" }), u = tensor([7], { dtype: "u32" });
  const h = tensor([7], { dtype: "f16" }), f = tensor([7]), b = tensor([true]);
  const cases: [Tensor, string][] = [
    [i.add(f), "f32"],
    [h.add(f), "f32"],
    [i.add(h), "f16"],
    [b.add(i), "i32"],
    [b.add(b), "i32"],
    [b.add(u), "u32"],
    [i.add(1), "i32"],
    [i.add(0.5), "f32"],
    [h.add(0.5), "f16"],
    [u.mul(2), "u32"],
    [i.div(2), "f32"],
    [h.div(2), "f16"],
    [i.floorDiv(2), "i32"],
    [i.pow(3), "i32"],
    [i.pow(-1), "f32"],
    [i.pow(0.5), "f32"],
    [where(b, i, f), "f32"],
    [f.equal(i), "bool"],
  ];
  for (const [x, dtype] of cases) assertEquals(x.dtype, dtype);
  assertEquals(await i.pow(3).array(), [343]);
  assertEquals(await i.pow(11).array(), [1977326743]);
  assertEquals(await f.pow(0).array(), [1]);
  assertEquals(await i.floorDiv(-2).array(), [-4]);
  assertThrows(() => i.add(u), TypeError, "Cannot add: dtypes are i32 and u32");
  assertThrows(() => u.add(-1), TypeError, "Cannot add: u32 with the negative number -1");
  // A number that an integer dtype cannot hold is an error, not the nearest that it can.
  assertThrows(() => i.less(2 ** 31), RangeError, "Cannot less: i32 with the number 2147483648");
  assertThrows(() => u.mul(2 ** 32), RangeError, "expected one from 0 to 4294967295");
  await assertValues(tensor([6], { dtype: "i32" }).div(3e9), [2e-9], 1e-6);
  await assertValues(tensor([6], { dtype: "u32" }).div(-4), [-1.5]);
  assertThrows(() => f.maximum(ones([2, 2])).add(ones([3])), TypeError, "Cannot add: shapes are");
  assertThrows(() => ones([2]).maximum(ones([3])), TypeError, "Cannot take the maximum: shapes");
});

Deno.test("logical functions take anything but 0 as true", async () => {
  const x = tensor([0, 2, NaN, 0]), y = tensor([true, true, false, false]);
  assertEquals(await x.logicalAnd(y).array(), [false, true, false, false]);
  assertEquals(await x.logicalOr(y).array(), [true, true, true, false]);
  assertEquals(await x.logicalXor(y).array(), [true, false, true, false]);
  assertEquals(await x.logicalNot().array(), [true, false, false, true]);
  assertEquals(await x.logicalAnd(1).array(), [false, true, true, false]);
});

Deno.test("bit functions work on integers only", async () => {
  const x = tensor(new Uint32Array([12, 0xffffffff])), y = tensor(new Int32Array([-8, 12]));
  assertEquals(await x.bitwiseAnd(10).array(), [8, 10]);
  assertEquals(await x.bitwiseOr(3).array(), [15, 4294967295]);
  assertEquals(await x.bitwiseXor(5).array(), [9, 4294967290]);
  assertEquals(await x.bitwiseNot().array(), [4294967283, 0]);
  assertEquals(await x.leftShift(1).array(), [24, 4294967294]);
  assertEquals(await x.rightShift(2).array(), [3, 1073741823]);
  assertEquals(await y.rightShift(1).array(), [-4, 6]);
  assertThrows(() => ones([1]).bitwiseAnd(1), TypeError, "expected bool or an integer");
  assertThrows(() => ones([1]).leftShift(1), TypeError, "expected an integer");
});

Deno.test("isNaN(), isFinite() and isInfinite() tell values apart in every dtype", async () => {
  const values = [NaN, Infinity, -Infinity, 0, -0, 65504, 1e-7];
  for (const dtype of ["f32", "f16"] as const) {
    const x = tensor(values, { dtype });
    assertEquals(await x.isNaN().array(), values.map(Number.isNaN));
    assertEquals(await x.isFinite().array(), values.map(Number.isFinite));
    assertEquals(await x.isInfinite().array(), values.map((v) => Math.abs(v) === Infinity));
  }
  const x = tensor([1, 0], { dtype: "i32" });
  assertEquals(await x.isNaN().array(), [false, false]);
  assertEquals(await x.isFinite().array(), [true, true]);
  assertEquals(await x.isInfinite().array(), [false, false]);
});

Deno.test("cast() truncates, saturates and tests for zero", async () => {
  const x = tensor([1.9, -1.9, 1e20, -1e20, NaN, 0]);
  assertEquals(await x.cast("i32").array(), [1, -1, 2147483647, -2147483648, 0, 0]);
  assertEquals(await x.cast("u32").array(), [1, 0, 4294967295, 0, 0, 0]);
  assertEquals(await x.cast("bool").array(), [true, true, true, true, true, false]);
  assertEquals(await tensor([true, false]).cast("f32").array(), [1, 0]);
});

Deno.test("bitcast() keeps the bits", async () => {
  assertEquals(await tensor([1, -2]).bitcast("u32").array(), [0x3f800000, 0xc0000000]);
  assertEquals(await tensor(new Int32Array([-1])).bitcast("u32").array(), [4294967295]);
  assertThrows(() => tensor([true]).bitcast("u32"), TypeError, "expected numbers of equal width");
});

Deno.test("where() broadcasts its condition and takes numbers", async () => {
  const condition = tensor([[true], [false]]);
  assertEquals(await where(condition, counted([3]), -1).array(), [[0, 1, 2], [-1, -1, -1]]);
  assertEquals(await where(tensor([2, 0]), 1, 0).array(), [1, 0]);
  assertThrows(() => where(condition, ones([3]), ones([4])), TypeError, "Cannot where: shapes");
});
