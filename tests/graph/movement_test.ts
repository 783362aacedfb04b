import { assertEquals, assertThrows } from "@std/assert";
import { ones, tensor, zeros } from "../../graph/create.ts";
import { broadcastTensors, concatenate, stack } from "../../graph/operations.ts";
import { stridesOf } from "../../graph/shape.ts";
import type { SliceSpec, Tensor } from "../../graph/tensor.ts";
import { assertValues, counted, installHost, sequence, shapes } from "./host.ts";

installHost();

/** Indices of all elements of a shape, in row-major order. */
function indices(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (all, n) => all.flatMap((index) => Array.from({ length: n }, (_, i) => [...index, i])),
    [[]],
  );
}

/** Checks a movement of `counted(from)` against where each index of the result comes from. */
async function assertMoves(
  x: Tensor,
  shape: readonly number[],
  from: readonly number[],
  source: (index: number[]) => number[],
): Promise<void> {
  assertEquals(x.shape, shape);
  const strides = stridesOf(from);
  await assertValues(
    x,
    indices(shape).map((index) => source(index).reduce((sum, n, i) => sum + n * strides[i]!, 0)),
  );
}

Deno.test("reshape() takes a shape or sizes, one of them -1", async () => {
  const x = counted([2, 6]);
  for (const y of [x.reshape(3, 4), x.reshape([3, 4]), x.reshape(3, -1), x.reshape([-1, 4])]) {
    assertEquals(y.shape, [3, 4]);
    await assertValues(y, await x.array());
  }
  assertEquals(zeros([0, 3]).reshape(3, 0).shape, [3, 0]);
  assertEquals(ones([1]).reshape().shape, []);
  assertEquals(ones([1]).reshape([]).shape, []);
  assertEquals(zeros([0, 3]).reshape(-1, 3).shape, [0, 3]);
  for (const shape of [[-1, -1], [5, -1], [0, -1], [5]]) {
    assertThrows(() => x.reshape(shape), TypeError, `Cannot reshape: [2,6] to [${shape}]`);
  }
  assertThrows(() => x.reshape(-2, -6), RangeError, "Cannot reshape");
});

Deno.test("flatten(), squeeze(), expandDims() and unsqueeze() change axes of size 1", () => {
  const x = zeros([1, 3, 1]);
  const cases: [Tensor, number[]][] = [
    [x.flatten(), [3]],
    [x.squeeze(), [3]],
    [x.squeeze(0), [3, 1]],
    [x.squeeze([0, -1]), [3]],
    [x.expandDims(0), [1, 1, 3, 1]],
    [x.unsqueeze(-1), [1, 3, 1, 1]],
    [x.expandDims([0, 2, -1]), [1, 1, 1, 3, 1, 1]],
    [ones([]).expandDims(0), [1]],
  ];
  for (const [y, shape] of cases) assertEquals(y.shape, shape);
  assertThrows(() => x.squeeze(1), RangeError, "axis 1 of [1,3,1] has size 3, expected size 1");
  assertThrows(() => x.expandDims(5), RangeError, "Cannot expandDims: axis is 5");
});

Deno.test("transpose(), T, swapAxes() and moveAxis() permute", async () => {
  for (const shape of shapes) {
    await assertMoves(counted(shape).T, [...shape].reverse(), shape, (i) => [...i].reverse());
  }
  const from = [2, 3, 5], x = counted(from);
  await assertMoves(x.transpose([1, 2, 0]), [3, 5, 2], from, ([a, b, c]) => [c!, a!, b!]);
  await assertMoves(x.transpose([-1, 0, 1]), [5, 2, 3], from, ([a, b, c]) => [b!, c!, a!]);
  await assertMoves(x.swapAxes(0, -1), [5, 3, 2], from, ([a, b, c]) => [c!, b!, a!]);
  await assertMoves(x.moveAxis(0, -1), [3, 5, 2], from, ([a, b, c]) => [c!, a!, b!]);
  await assertMoves(x.moveAxis([0, 1], [2, 0]), [3, 5, 2], from, ([a, b, c]) => [c!, a!, b!]);
  await assertMoves(x.moveAxis([0, 1], [1, 2]), [5, 2, 3], from, ([a, b, c]) => [b!, c!, a!]);
  assertThrows(() => x.transpose([0, 1]), TypeError, "expected each axis once");
  assertThrows(() => x.transpose([0, 1, 1]), TypeError, "expected each axis once");
  assertThrows(() => x.swapAxes(0, 3), RangeError, "Cannot swapAxes: axis is 3");
  assertThrows(() => x.moveAxis([0, 0], [1, 2]), RangeError, "Cannot moveAxis");
});

Deno.test("broadcastTo() repeats along axes of size 1 and new ones", async () => {
  await assertMoves(
    counted([3, 1]).broadcastTo([2, 3, 4]),
    [2, 3, 4],
    [3, 1],
    ([, b]) => [b!, 0],
  );
  assertEquals(ones([]).broadcastTo([0, 2]).shape, [0, 2]);
  assertEquals(broadcastTensors(ones([3, 1]), ones([2])).map((x) => x.shape), [[3, 2], [3, 2]]);
  assertThrows(() => ones([3]).broadcastTo([2]), TypeError, "Cannot broadcast");
  assertThrows(() => ones([3, 1]).broadcastTo([3]), TypeError, "Cannot broadcast");
});

Deno.test("slice() agrees with Python's rules for ranges", async () => {
  const x = counted([5]);
  // Each row by `list(range(5))[start:stop:step]`.
  const cases: [SliceSpec, number[]][] = [
    [null, [0, 1, 2, 3, 4]],
    [[], [0, 1, 2, 3, 4]],
    [[2], [2, 3, 4]],
    [[1, 3], [1, 2]],
    [[-2], [3, 4]],
    [[null, -2], [0, 1, 2]],
    [[1, 100], [1, 2, 3, 4]],
    [[-100, 2], [0, 1]],
    [[3, 1], []],
    [[7, 9], []],
    [[null, null, 2], [0, 2, 4]],
    [[1, null, 3], [1, 4]],
    [[null, null, -1], [4, 3, 2, 1, 0]],
    [[null, null, -2], [4, 2, 0]],
    [[3, 0, -1], [3, 2, 1]],
    [[100, 1, -2], [4, 2]],
    [[-1, -4, -1], [4, 3, 2]],
    [[2, null, -1], [2, 1, 0]],
    [[2, -100, -1], [2, 1, 0]],
    [[0, 3, -1], []],
    [[null, null, 100], [0]],
    [[null, null, -100], [4]],
  ];
  for (const [spec, expected] of cases) {
    await assertValues(x.slice(spec), expected, 0, JSON.stringify(spec));
  }
});

Deno.test("slice() agrees with its definition on random ranges", async () => {
  const seed = 11, random = sequence(seed);
  const whole = (low: number, high: number) => low + Math.floor(random() * (high - low));
  for (let round = 0; round < 60; round++) {
    const n = whole(0, 8), step = (random() < 0.5 ? -1 : 1) * whole(1, 4);
    const start = random() < 0.2 ? null : whole(-10, 10);
    const stop = random() < 0.2 ? null : whole(-10, 10);
    const clamp = (v: number) =>
      step > 0
        ? Math.min(n, Math.max(0, v < 0 ? v + n : v))
        : Math.min(n - 1, Math.max(-1, v < 0 ? v + n : v));
    const expected: number[] = [];
    const from = start === null ? (step > 0 ? 0 : n - 1) : clamp(start);
    const to = stop === null ? (step > 0 ? n : -1) : clamp(stop);
    for (let i = from; step > 0 ? i < to : i > to; i += step) expected.push(i);
    await assertValues(
      counted([n]).slice([start, stop, step]),
      expected,
      0,
      `seed ${seed}: ${n} elements by ${start}:${stop}:${step}`,
    );
  }
});

Deno.test("slice() works on several axes and drops indexed ones", async () => {
  const from = [3, 4, 5], x = counted(from);
  await assertMoves(x.slice(1), [4, 5], from, ([a, b]) => [1, a!, b!]);
  await assertMoves(x.slice(-1, null, 2), [4], from, ([a]) => [2, a!, 2]);
  await assertMoves(x.slice([1, 3], 0, [null, null, -2]), [2, 3], from, ([a, b]) => {
    return [a! + 1, 0, 4 - 2 * b!];
  });
  assertEquals(x.slice().shape, from);
  assertThrows(() => x.slice(3), RangeError, "index 3 on axis 0 of [3,4,5], expected one in");
  assertThrows(() => x.slice(null, 1.5), RangeError, "Cannot slice: index 1.5 on axis 1");
  assertThrows(() => x.slice([0, 1, 0]), RangeError, "expected a step other than 0");
  assertThrows(() => x.slice(0, 0, 0, 0), RangeError, "4 specs for [3,4,5], expected 3 at most");
  assertThrows(() => zeros([0]).slice(0), RangeError, "for it is empty");
});

Deno.test("pad() takes one width, a pair, or a pair for each axis", async () => {
  const x = tensor([[1, 2]]);
  await assertValues(x.pad(1, 9), [[9, 9, 9, 9], [9, 1, 2, 9], [9, 9, 9, 9]]);
  await assertValues(x.pad([0, 1]), [[1, 2, 0], [0, 0, 0]]);
  await assertValues(x.pad([[0, 0], [2, 0]], -1), [[-1, -1, 1, 2]]);
  assertEquals(zeros([0]).pad(2).shape, [4]);
  assertEquals(ones([]).pad(2).shape, []);
  assertThrows(() => x.pad(-1), RangeError, "Cannot pad: widths are -1 for [1,2]");
  assertThrows(() => x.pad([[1, 1]]), RangeError, "or 2 such pairs");
});

Deno.test("flip() reverses all axes or the named ones", async () => {
  const from = [2, 3], x = counted(from);
  await assertMoves(x.flip(), from, from, ([a, b]) => [1 - a!, 2 - b!]);
  await assertMoves(x.flip(-1), from, from, ([a, b]) => [a!, 2 - b!]);
  await assertMoves(x.flip([0]), from, from, ([a, b]) => [1 - a!, b!]);
});

Deno.test("concatenate() and stack() join along old and new axes", async () => {
  const x = tensor([[1, 2]]), y = tensor([[3, 4]], { dtype: "i32" });
  await assertValues(concatenate([x, y]), [[1, 2], [3, 4]]);
  await assertValues(concatenate([x, y, x], -1), [[1, 2, 3, 4, 1, 2]]);
  assertEquals(concatenate([x, y]).dtype, "f32");
  assertEquals(concatenate([x]).shape, [1, 2]);
  assertEquals(concatenate([zeros([0, 2]), x]).shape, [1, 2]);
  await assertValues(stack([x, y], 1), [[[1, 2], [3, 4]]]);
  assertEquals(stack([x, y], -1).shape, [1, 2, 2]);
  await assertValues(stack([tensor(1), tensor(2)]), [1, 2]);
  assertThrows(() => concatenate([]), TypeError, "Cannot concatenate: no tensors");
  assertThrows(() => concatenate([x, ones([2])]), TypeError, "Cannot concatenate");
  assertThrows(() => concatenate([x, x], 2), RangeError, "Cannot concatenate: axis is 2");
  assertThrows(() => stack([]), TypeError, "Cannot stack: no tensors");
  assertThrows(() => stack([x, ones([2])]), TypeError, "shapes are [1,2] and [2]");
});

Deno.test("split() cuts into equal parts or before indices", async () => {
  const x = counted([6, 2]);
  const parts = async (list: Tensor[]) => await Promise.all(list.map((y) => y.array()));
  assertEquals((await parts(x.split(3))).map((y) => (y as number[][]).length), [2, 2, 2]);
  assertEquals(await parts(x.slice(null, 0).split([1, 4])), [[0], [2, 4, 6], [8, 10]]);
  assertEquals(x.split(2, 1).map((y) => y.shape), [[6, 1], [6, 1]]);
  assertEquals(x.split([]).map((y) => y.shape), [[6, 2]]);
  assertThrows(() => x.split(4), RangeError, "into 4 parts, expected a divisor of 6");
});

Deno.test("tile() repeats the whole, repeat() each element", async () => {
  const x = tensor([[1, 2]]);
  await assertValues(x.tile(2), [[1, 2, 1, 2]]);
  await assertValues(x.tile([2, 1]), [[1, 2], [1, 2]]);
  assertEquals(x.tile([2, 1, 3]).shape, [2, 1, 6]);
  assertEquals(x.tile(0).shape, [1, 0]);
  await assertValues(x.repeat(2, 1), [[1, 1, 2, 2]]);
  await assertValues(x.repeat(2, 0), [[1, 2], [1, 2]]);
  assertThrows(() => x.repeat(-1, 0), RangeError, "Cannot repeat: counts are [-1]");
});
