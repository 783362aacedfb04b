import { assertEquals, assertThrows } from "@std/assert";
import { arange, ones, tensor, zeros } from "../../graph/create.ts";
import { oneHot } from "../../graph/operations.ts";
import type { TensorData } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { assertValues, counted, installHost } from "./host.ts";

installHost();

const whole = (data: TensorData): Tensor => tensor(data, { dtype: "i32" });

Deno.test("take() replaces an axis by those of the index", async () => {
  const x = counted([2, 3]);
  await assertValues(x.take(whole([1, 0, -1])), [[3, 4, 5], [0, 1, 2], [3, 4, 5]]);
  await assertValues(x.take(whole([[2, 0]]), 1), [[[2, 0]], [[5, 3]]]);
  await assertValues(x.take(-1, -1), [2, 5]);
  await assertValues(x.take(whole(1)), [3, 4, 5]);
  assertEquals(counted([2, 3, 5]).take(zeros([4, 7], { dtype: "u32" }), 1).shape, [2, 4, 7, 5]);
  assertEquals(x.take(zeros([0], { dtype: "i32" })).shape, [0, 3]);
  assertEquals(zeros([5, 0]).take(whole([1])).shape, [1, 0]);
  const y = counted([3, 4, 5]), index = [[2, 0], [1, 3]];
  await assertValues(
    y.take(whole(index), 1),
    [0, 1, 2].flatMap((i) =>
      index.flat().flatMap((j) => Array.from({ length: 5 }, (_, k) => i * 20 + j * 5 + k))
    ),
  );
});

Deno.test("take() outside reads NaN, of integers 0", async () => {
  await assertValues(tensor([1, 2]).take(whole([2, -3, 1, -2])), [NaN, NaN, 2, 1]);
  await assertValues(whole([1, 2]).take(whole([2, -3, 1])), [0, 0, 2]);
  await assertValues(tensor([1, 2]).take(tensor(new Uint32Array([4294967295, 1]))), [NaN, 2]);
  assertThrows(() => ones([2]).take(ones([2])), TypeError, "Cannot take: the indices are f32");
  assertThrows(() => ones([]).take(0), RangeError, "Cannot take: axis is 0");
});

Deno.test("takeAlongAxis() picks single elements and broadcasts", async () => {
  const x = counted([2, 3]);
  await assertValues(x.takeAlongAxis(whole([[2], [-3]]), 1), [[2], [3]]);
  await assertValues(x.takeAlongAxis(whole([[1, 0, 1]]), 0), [[3, 1, 5]]);
  await assertValues(x.takeAlongAxis(whole([[0, 2]]), 1), [[0, 2], [3, 5]]);
  await assertValues(x.takeAlongAxis(whole([[3], [-4]]), -1), [[NaN], [NaN]]);
  await assertValues(counted([1, 3]).takeAlongAxis(whole([[2], [1]]), 1), [[2], [1]]);
  const y = counted([2, 3, 4]), order = y.neg().argmax(1, { keepDims: true });
  await assertValues(y.takeAlongAxis(order, 1), [[[0, 1, 2, 3]], [[12, 13, 14, 15]]]);
  await assertValues(
    counted([3]).takeAlongAxis(tensor(new Uint32Array([2 ** 31, 1])), 0),
    [NaN, 1],
  );
  assertThrows(() => x.takeAlongAxis(whole([0]), 1), TypeError, "indices of [1] into [2,3]");
  assertThrows(() => x.takeAlongAxis(whole([[0], [0], [0]]), 1), TypeError, "but for axis 1");
});

Deno.test("scatterAdd() sums updates into rows", async () => {
  const x = ones([3, 2]);
  await assertValues(
    x.scatterAdd(whole([2, 0, -1]), tensor([[1, 2], [3, 4], [5, 6]])),
    [[4, 5], [1, 1], [7, 9]],
  );
  await assertValues(x.scatterAdd(whole([1, 1]), 0.5), [[1, 1], [2, 2], [1, 1]]);
  await assertValues(x.scatterAdd(whole([3, -4]), 9), [[1, 1], [1, 1], [1, 1]]);
  await assertValues(zeros([2]).scatterAdd(whole([[0, 1], [1, 1]]), 1), [1, 3]);
  assertEquals(whole([1, 2]).scatterAdd(whole([0]), 1).dtype, "i32");
  assertThrows(
    () => x.scatterAdd(whole([0]), ones([3])),
    TypeError,
    "updates are [3], expected [1,2]",
  );
  assertThrows(() => x.scatterAdd(ones([1]), 1), TypeError, "the indices are f32");
  assertThrows(
    () => whole([1]).scatterAdd(whole([0]), ones([1])),
    TypeError,
    "updates of f32 to i32",
  );
  assertThrows(() => ones([]).scatterAdd(whole([0]), 1), TypeError, "the tensor is a scalar");
});

Deno.test("oneHot() gives unit vectors, and zeros outside", async () => {
  await assertValues(oneHot(whole([[1], [0]]), 2), [[[0, 1]], [[1, 0]]]);
  await assertValues(arange(3).oneHot(2), [[1, 0], [0, 1], [0, 0]]);
  await assertValues(whole(-1).oneHot(2), [0, 0]);
  assertEquals([whole(0).oneHot(2, "bool").dtype, oneHot(whole([0]), 0).shape], ["bool", [1, 0]]);
  assertThrows(() => ones([1]).oneHot(2), TypeError, "Cannot oneHot: the indices are f32");
});
