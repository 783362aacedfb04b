import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { fill } from "../../graph/build.ts";
import { ones, tensor } from "../../graph/create.ts";
import { normalFromTail } from "../../graph/functions/numerics.ts";
import { multiplyWide, threefry } from "../../graph/functions/threefry.ts";
import type { Attributes } from "../../graph/primitive.ts";
import * as random from "../../graph/random.ts";
import { Tensor } from "../../graph/tensor.ts";
import { installHost, sequence } from "./host.ts";

installHost();

const word = (value: number) => fill(value, [], "u32");
const hex = (values: Iterable<number>) =>
  [...values].map((value) => value.toString(16).padStart(8, "0"));
const numbers = async (x: Tensor): Promise<number[]> => [...await x.data()];
const SEED = 1234;

Deno.test("threefry() gives the known answers of Random123", async () => {
  const cases: [key: number[], counter: number[], answer: string[]][] = [
    [[0, 0], [0, 0], ["6b200159", "99ba4efe"]],
    [[0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], ["1cb996fc", "bb002be7"]],
    [[0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3], ["c4923a9c", "483df7a0"]],
  ];
  for (const [[k, l], [c, d], answer] of cases) {
    const pair = threefry([word(k!), word(l!)], [word(c!), word(d!)]);
    const values = await Promise.all(pair.map((node) => new Tensor(node).item()));
    assertEquals(hex(values), answer);
  }
});

Deno.test("key(), bits(), split() and foldIn() give the same as JAX", async () => {
  // jax.random 0.10: key_data(key(42)), bits(key, (5,)), split(key, 3), fold_in(key, 7), and so on.
  const key = random.key(42);
  assertEquals(await key.array(), [0, 42]);
  assertEquals(hex(await random.bits(key, [5]).data()), [
    "7d1c13a2",
    "ae0730d9",
    "9dc3f9f9",
    "8f9ec1d7",
    "735d7315",
  ]);
  assertEquals(await Promise.all(random.split(key, 3).map((k) => k.array())), [
    [1832780943, 270669613],
    [64467757, 2916123636],
    [2465931498, 255383827],
  ]);
  assertEquals(await random.foldIn(key, 7).array(), [2547012911, 1371500959]);
  const step = tensor(7, { dtype: "i32" });
  assertEquals(await random.foldIn(key, step).array(), [2547012911, 1371500959]);
  assertEquals(hex(await random.bits(random.key(0), [2, 3]).data()), [
    "f29a4fa7",
    "fa843692",
    "55110e28",
    "77faa835",
    "91e43bb7",
    "2a5e6943",
  ]);
  const [first] = random.split(random.key(0));
  assertEquals(await first.array(), [1797259609, 2579123966]);
  assertEquals(await random.key(2 ** 32 + 5).array(), [1, 5]);
});

Deno.test("keys that follow from numbers alone are made without the device, and are the same", async () => {
  const draw = sequence(SEED);
  for (let i = 0; i < 20; i++) {
    const key = random.key(Math.floor(draw() * 2 ** 53)), data = Math.floor(draw() * 2 ** 32);
    const other = tensor(await key.data());
    const own = [random.foldIn(key, data), ...random.split(key, 4)];
    const traced = [random.foldIn(other, data), ...random.split(other, 4)];
    for (const [j, key] of own.entries()) {
      assertEquals([key.node.op, traced[j]!.node.op], ["leaf", "concatenate"]);
      assertEquals(await key.array(), await traced[j]!.array());
      const further = random.foldIn(key, j);
      assertEquals(further.node.op, "leaf");
      assertEquals(await further.array(), await random.foldIn(traced[j]!, j).array());
    }
  }
  // A key that was given away is not used again, though the host remembers it.
  const given = random.key(SEED);
  const { storage } = given.node.attributes as Attributes["leaf"];
  storage.state = { at: "gone", reason: "it was donated" };
  assertEquals(random.foldIn(given, 1).node.op, "concatenate");
  assertEquals(random.split(given)[0].node.op, "concatenate");
});

Deno.test("a position's number does not depend on how the shape is folded", async () => {
  const key = random.key(SEED);
  const flat = await numbers(random.uniform(key, [12]));
  assertEquals(await numbers(random.uniform(key, [3, 4])), flat);
  assertEquals(await numbers(random.uniform(key, [3, 4]).slice(1, [2])), flat.slice(6, 8));
  assertNotEquals(await numbers(random.uniform(random.split(key)[0], [12])), flat);
});

Deno.test("multiplyWide() is a product of 64 bits", async () => {
  const draw = sequence(SEED), any = () => Math.floor(draw() * 2 ** 32);
  const cases = [[0xffffffff, 0xffffffff], [0, 7], [1, 0xffffffff], [0x10000, 0x10000]];
  for (let i = 0; i < 40; i++) cases.push([any(), any()]);
  for (const [a, b] of cases) {
    const { high, low } = multiplyWide(word(a!), b!);
    const product = BigInt(a!) * BigInt(b!);
    assertEquals(
      [await new Tensor(high).item(), await new Tensor(low).item()],
      [Number(product >> 32n), Number(product & 0xffffffffn)],
      `${a} · ${b}`,
    );
  }
});

/** Mean, deviation, extremes. */
function moments(x: readonly number[]) {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const square = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
  return { mean, deviation: Math.sqrt(square), low: Math.min(...x), high: Math.max(...x) };
}

const COUNT = 20_000;
/** Four standard errors of a mean of COUNT numbers of deviation 1. */
const ERROR = 4 / Math.sqrt(COUNT);

Deno.test("uniform() fills its range evenly and never reaches the end", async () => {
  const x = await numbers(random.uniform(random.key(SEED), [COUNT]));
  const { mean, deviation, low, high } = moments(x);
  assert(low >= 0 && high < 1 && low < 0.001 && high > 0.999);
  assert(Math.abs(mean - 0.5) < ERROR * 0.29, `seed ${SEED}: mean ${mean}`);
  assert(Math.abs(deviation - Math.sqrt(1 / 12)) < ERROR / 4, `deviation ${deviation}`);
  // In [1, 1 + 2^-20) only eight floats exist, and rounding would often reach the end.
  const tight = await numbers(
    random.uniform(random.key(SEED), [1000], { low: 1, high: 1 + 2 ** -20 }),
  );
  assert(tight.every((v) => v >= 1 && v < 1 + 2 ** -20));
  const negative = moments(
    await numbers(random.uniform(random.key(1), [COUNT], { low: -3, high: 0 })),
  );
  assert(negative.low >= -3 && negative.high < 0);
  const half = await numbers(random.uniform(random.key(2), [4000], { dtype: "f16" }));
  assert(half.every((v) => v >= 0 && v < 1 && Number.isInteger(v * 2048)));
});

Deno.test("normal() has the moments, the tails and no NaN", async () => {
  const x = await numbers(random.normal(random.key(SEED), [COUNT]));
  const { mean, deviation } = moments(x);
  assert(x.every(Number.isFinite));
  assert(Math.abs(mean) < ERROR && Math.abs(deviation - 1) < ERROR, `${mean}, ${deviation}`);
  const fourth = x.reduce((a, b) => a + b ** 4, 0) / COUNT;
  assert(Math.abs(fourth - 3) < 10 * ERROR, `seed ${SEED}: fourth moment ${fourth}`);
  // Probabilities of |x| > 1, 2, 3.
  for (const [size, p] of [[1, 0.3173], [2, 0.0455], [3, 0.0027]] as const) {
    const share = x.filter((v) => Math.abs(v) > size).length / COUNT;
    assert(Math.abs(share - p) < ERROR * Math.sqrt(p), `seed ${SEED}: ${share} beyond ${size}`);
  }
});

Deno.test("normal() inverts the distribution at the ends of its words", async () => {
  // P(|z| > size) by SciPy's ndtri, from the likeliest word to the least likely.
  const cases = [[1, 0], [0.5, 0.6744897502], [0.0455, 2.000002444], [1e-3, 3.290526731], [
    1e-6,
    4.891638476,
  ], [2 ** -32, 6.337957754]] as const;
  for (const [tail, size] of cases) {
    const z = await new Tensor(normalFromTail(fill(tail))).item();
    assert(Math.abs(z - size) < 4e-6, `${tail}: ${z}, expected ${size}`);
  }
});

Deno.test("truncatedNormal() stays inside and keeps the shape of the middle", async () => {
  const x = await numbers(random.truncatedNormal(random.key(SEED), [COUNT]));
  const { mean, deviation, low, high } = moments(x);
  assert(low >= -2 && high <= 2 && low < -1.98 && high > 1.98);
  assert(Math.abs(mean) < ERROR, `seed ${SEED}: mean ${mean}`);
  assert(Math.abs(deviation - 0.8796) < ERROR, `seed ${SEED}: deviation ${deviation}`);
  const right = await numbers(
    random.truncatedNormal(random.key(SEED), [1000], { low: 0, high: 0.5 }),
  );
  assert(right.every((v) => v >= 0 && v <= 0.5));
});

Deno.test("bernoulli() hits its probability, 0 and 1 always", async () => {
  const key = random.key(SEED);
  const x = random.bernoulli(key, 0.3, [COUNT]);
  assertEquals(x.dtype, "bool");
  const { mean } = moments(await numbers(x));
  assert(Math.abs(mean - 0.3) < ERROR * 0.46, `seed ${SEED}: ${mean}`);
  assertEquals(moments(await numbers(random.bernoulli(key, 0, [999]))).high, 0);
  assertEquals(moments(await numbers(random.bernoulli(key, 1, [999]))).low, 1);
  const each = tensor([0, 1, 1, 0]);
  assertEquals(await random.bernoulli(key, each).array(), [false, true, true, false]);
  assertEquals(random.bernoulli(key, each, [7, 4]).shape, [7, 4]);
});

Deno.test("randint() fills any range evenly", async () => {
  const key = random.key(SEED);
  const x = await numbers(random.randint(key, [COUNT], -3, 4));
  const counts = new Map<number, number>();
  for (const value of x) counts.set(value, (counts.get(value) ?? 0) + 1);
  assertEquals([...counts.keys()].sort((a, b) => a - b), [-3, -2, -1, 0, 1, 2, 3]);
  const expected = COUNT / 7;
  const chi = [...counts.values()].reduce((a, n) => a + (n - expected) ** 2 / expected, 0);
  assert(chi < 22.5, `seed ${SEED}: chi square ${chi} on 6 degrees of freedom`);
  const wide = await numbers(random.randint(key, [1000], -(2 ** 31), 2 ** 31));
  assert(Math.min(...wide) < -2e9 && Math.max(...wide) > 2e9);
  assertEquals(await random.randint(key, [3], 5, 6).array(), [5, 5, 5]);
  const high = await numbers(random.randint(key, [99], 2 ** 32 - 2, 2 ** 32, { dtype: "u32" }));
  assertEquals([...new Set(high)].sort(), [2 ** 32 - 2, 2 ** 32 - 1]);
});

Deno.test("random numbers of no elements and of scalars have their shapes", async () => {
  const key = random.key(SEED);
  for (const shape of [[], [0], [1], [2, 0, 3], [5, 1]]) {
    assertEquals(random.bits(key, shape).shape, shape);
    assertEquals(random.uniform(key, shape, { low: -1 }).shape, shape);
    assertEquals(random.normal(key, shape).shape, shape);
    assertEquals(random.randint(key, shape, 0, 10).shape, shape);
  }
  assert(Number.isFinite(await random.normal(key, []).item()));
});

Deno.test("random numbers reject what cannot be meant", () => {
  const key = random.key(SEED);
  assertThrows(() => random.key(-1), RangeError, "Cannot make a key: the seed is -1");
  assertThrows(() => random.key(0.5), RangeError, "the seed is 0.5");
  assertThrows(() => random.split(key, 0), RangeError, "Cannot split a key: into 0");
  assertThrows(() => random.foldIn(key, -1), RangeError, "Cannot fold into a key");
  assertThrows(() => random.foldIn(key, ones([])), TypeError, "expected an integer scalar");
  for (const none of [undefined, null, 3] as never[]) {
    const found = `an operand is ${none}, expected a key`;
    assertThrows(() => random.split(none), TypeError, `Cannot split a key: ${found}`);
    assertThrows(() => random.foldIn(none, 1), TypeError, `Cannot fold into a key: ${found}`);
  }
  assertThrows(() => random.foldIn(key, null as never), TypeError, "an operand is null, expected");
  assertThrows(() => random.bits(ones([2]), [1]), TypeError, "the key is f32[2], expected u32[2]");
  assertThrows(() => random.uniform(key, [1], { low: 1, high: 1 }), RangeError, "bounds are 1");
  assertThrows(() => random.bernoulli(key, 2), RangeError, "the probability is 2");
  assertThrows(() => random.randint(key, [1], 3, 3), RangeError, "bounds are 3 and 3");
  assertThrows(
    () => random.randint(key, [1], -1, 3, { dtype: "u32" }),
    RangeError,
    "bounds are -1",
  );
  const f32 = { dtype: "f32" } as unknown as random.IntegerOptions;
  const i32 = { dtype: "i32" } as unknown as random.FloatOptions;
  assertThrows(() => random.randint(key, [1], 0, 3, f32), TypeError, "expected i32 or u32");
  for (const draw of [random.normal, random.uniform, random.truncatedNormal]) {
    assertThrows(() => draw(key, [1], i32), TypeError, "dtype is i32, expected f32 or f16");
  }
  assertThrows(() => random.uniform(key, [-1]), RangeError, "expected non-negative integers");
});
