import { assertEquals, assertThrows } from "@std/assert";
import { eye, ones, tensor, zeros } from "../../graph/create.ts";
import { einsum, triangularMask } from "../../graph/operations.ts";
import type { ScatterMode, Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import { assertValues, counted, installHost } from "./host.ts";

installHost();

const whole = (data: number[] | number[][]): Tensor => tensor(data, { dtype: "i32" });

Deno.test("scatter() writes rows, the last update wins", async () => {
  const x = zeros([3, 2]);
  const updates = tensor([[1, 2], [3, 4], [5, 6]]);
  await assertValues(x.scatter(whole([2, 0, -1]), updates), [[3, 4], [0, 0], [5, 6]]);
  await assertValues(x.scatter(whole([3, -4, 0]), updates), [[5, 6], [0, 0], [0, 0]]);
  await assertValues(x.scatter(whole([1]), 9), [[0, 0], [9, 9], [0, 0]]);
  await assertValues(zeros([3]).scatter(whole([[0, 1], [1, 2]]), tensor([[1, 2], [3, 4]])), [
    1,
    3,
    4,
  ]);
  await assertValues(tensor([NaN, 1]).scatter(whole([0]), 2), [2, 1]);
  await assertValues(ones([2]).scatter(whole([1]), NaN), [1, NaN]);
  await assertValues(tensor([true, true]).scatter(whole([0]), tensor(false)), [false, true]);
  assertEquals(x.scatter(zeros([0], { dtype: "i32" }), zeros([0, 2])).shape, [3, 2]);
});

Deno.test("scatter() joins updates in four ways", async () => {
  const x = tensor([2, 3, 4]), at = whole([0, 2, 0, 5]), updates = tensor([5, 1, -6, 7]);
  const expected: Record<Exclude<ScatterMode, "set">, number[]> = {
    add: [1, 3, 5],
    mul: [-60, 3, 4],
    min: [-6, 3, 1],
    max: [5, 3, 4],
  };
  for (const [mode, values] of Object.entries(expected)) {
    await assertValues(x.scatter(at, updates, mode as ScatterMode), values, 0, mode);
    const line = x.putAlongAxis(at, updates, 0, mode as ScatterMode);
    await assertValues(line, values, 0, `${mode} along an axis`);
    const i = x.cast("i32").scatter(at, updates.cast("i32"), mode as ScatterMode);
    assertEquals(i.dtype, "i32");
    await assertValues(i, values);
  }
});

Deno.test("scatter() joins truth values: add and max are or, mul and min are and", async () => {
  const x = tensor([true, true, false]), at = whole([0, 2, 0]);
  const updates = tensor([true, true, false]);
  for (const mode of ["add", "mul", "min", "max"] as const) {
    const wanted = mode === "add" || mode === "max" ? [true, true, true] : [false, true, false];
    for (const y of [x.scatter(at, updates, mode), x.putAlongAxis(at, updates, 0, mode)]) {
      assertEquals(y.dtype, "bool");
      assertEquals(await y.array(), wanted, mode);
    }
  }
});

Deno.test("putAlongAxis() is the reverse of takeAlongAxis()", async () => {
  const x = counted([2, 3]), order = whole([[2, 0, 1], [1, 2, 0]]);
  const taken = x.takeAlongAxis(order, 1);
  await assertValues(zeros([2, 3]).putAlongAxis(order, taken, 1), [[0, 1, 2], [3, 4, 5]]);
  await assertValues(x.putAlongAxis(whole([[1], [-1]]), 9, 1), [[0, 9, 2], [3, 4, 9]]);
  await assertValues(x.putAlongAxis(whole([[1, 1]]), tensor([[7, 8]]), 0), [[0, 1, 2], [7, 8, 5]]);
  await assertValues(x.putAlongAxis(whole([[0, 0, 0]]), tensor([[7, 8, 9]]), 1), [[9, 1, 2], [
    3,
    4,
    5,
  ]]);
});

Deno.test("gradients of scatter() go to what was kept", async () => {
  const at = whole([1, 1]), w = tensor([1, 10, 100]);
  const f = (x: Tensor, u: Tensor) => x.scatter(at, u).mul(w).sum();
  await assertValues(grad(f)(ones([3]), ones([2])), [1, 0, 100]);
  await assertValues(grad((u: Tensor) => f(ones([3]), u))(ones([2])), [0, 10]);
});

Deno.test("scatter() refuses what does not fit", () => {
  const x = ones([3, 2]);
  assertThrows(() => x.scatter(ones([1]), 1), TypeError, "Cannot scatter: the indices are f32");
  assertThrows(
    () => x.scatter(whole([0]), ones([3])),
    TypeError,
    "updates are [3], expected [1,2]",
  );
  assertThrows(() => x.scatter(whole([0]), 1, "sub" as "set"), TypeError, "the mode is");
  assertThrows(() => ones([]).scatter(whole([0]), 1), TypeError, "the tensor is a scalar");
  assertThrows(() => whole([1]).scatter(whole([0]), ones([1])), TypeError, "updates of f32 to i32");
  assertThrows(() => x.putAlongAxis(whole([0]), 1, 0), TypeError, "indices of [1] into [3,2]");
  assertThrows(
    () => x.putAlongAxis(whole([[0, 0, 0]]), 1, 0),
    TypeError,
    "sizes up to the tensor's",
  );
});

Deno.test("index() is NumPy's x[i, j]", async () => {
  const x = counted([2, 3, 2]);
  await assertValues(x.index(whole([0, 1]), whole([2, -1])), [[4, 5], [10, 11]]);
  await assertValues(x.index(1, 0), [6, 7]);
  await assertValues(x.index(whole([[0], [1]]), whole([0, 1]), 1), [[1, 3], [7, 9]]);
  await assertValues(x.index(whole([0]), whole([3])), [[NaN, NaN]]);
  await assertValues(grad((x: Tensor) => x.index(whole([0, 0]), 1).sum())(ones([2, 2])), [[0, 2], [
    0,
    0,
  ]]);
  assertThrows(() => x.index(0, 0, 0, 0), TypeError, "4 indices into [2,3,2], expected 3 at most");
  assertThrows(
    () => x.index(whole([0, 1]), whole([0, 1, 2])),
    TypeError,
    "expected shapes that broadcast",
  );
  assertThrows(() => x.index(0.5), TypeError, "an index is 0.5");
  assertThrows(() => x.index(ones([1])), TypeError, "the indices are f32");
});

Deno.test("einsum() contracts, takes diagonals, transposes and broadcasts", async () => {
  const a = counted([2, 3]), b = counted([3, 2]);
  await assertValues(einsum("ij,jk->ik", a, b), [[10, 13], [28, 40]]);
  await assertValues(einsum("ij,jk", a, b), [[10, 13], [28, 40]]);
  await assertValues(einsum("ij -> ji", a), [[0, 3], [1, 4], [2, 5]]);
  await assertValues(einsum("ij->", a), 15);
  await assertValues(einsum("ij->j", a), [3, 5, 7]);
  await assertValues(einsum("ii", counted([3, 3])), 12);
  await assertValues(einsum("ii->i", counted([3, 3])), [0, 4, 8]);
  await assertValues(einsum("i,j->ij", tensor([1, 2]), tensor([3, 4])), [[3, 4], [6, 8]]);
  await assertValues(einsum("ij,ij->i", a, a), [5, 50]);
  await assertValues(einsum("ij,j,jk->k", a, tensor([1, 0, 2]), b), [56, 73]);
  await assertValues(einsum("...j,j->...", a, tensor([1, 1, 1])), [3, 12]);
  assertEquals(einsum("b...i,bij->b...j", ones([2, 5, 7, 3]), ones([2, 3, 4])).shape, [2, 5, 7, 4]);
  await assertValues(einsum("i,i", whole([1, 2]), whole([3, 4])), 11);
  assertEquals(einsum("i,i", whole([1, 2]), whole([3, 4])).dtype, "i32");
  await assertValues(einsum("iji->j", counted([2, 2, 2])), [5, 9]);
});

Deno.test("einsum() refuses malformed equations", () => {
  const a = ones([2, 3]);
  const throws = (f: () => unknown, message: string): void => {
    assertThrows(f, TypeError, message);
  };
  throws(() => einsum("ij,jk", a), "has 2 operands and 1 are given");
  throws(() => einsum("ijk", a), 'operand 0 is [2,3] for "ijk"');
  throws(() => einsum("i1->i", a), 'the equation is "i1->i"');
  throws(() => einsum("ij->k", a), 'the result is "k"');
  throws(() => einsum("ij->ii", a), 'the result is "ii"');
  throws(() => einsum("ij,jk->ik", a, ones([4, 2])), '"j" has sizes 3 and 4');
  throws(() => einsum("ij->i->j", a), 'letters, commas, "...", and one "->" at most');
});

Deno.test("tril(), triu(), diagonals and masks", async () => {
  const x = counted([3, 3]).add(1);
  await assertValues(x.tril(), [[1, 0, 0], [4, 5, 0], [7, 8, 9]]);
  await assertValues(x.triu(1), [[0, 2, 3], [0, 0, 6], [0, 0, 0]]);
  await assertValues(x.tril(-5), [[0, 0, 0], [0, 0, 0], [0, 0, 0]]);
  await assertValues(tensor([[NaN, NaN]]).tril(), [[NaN, 0]]);
  await assertValues(x.diagonal(), [1, 5, 9]);
  await assertValues(x.diagonal(-1), [4, 8]);
  await assertValues(x.trace(), 15);
  await assertValues(counted([2, 2, 3]).diagonal(1), [[1, 5], [7, 11]]);
  await assertValues(tensor([1, 2]).diag(), [[1, 0], [0, 2]]);
  await assertValues(tensor([1, 2]).diag(-1), [[0, 0, 0], [1, 0, 0], [0, 2, 0]]);
  await assertValues(eye(3).mul(2).diagonal().diag(), [[2, 0, 0], [0, 2, 0], [0, 0, 2]]);
  await assertValues(triangularMask(2, 3), [[true, false, false], [true, true, false]]);
  assertEquals(whole([[1, 2], [3, 4]]).tril().dtype, "i32");
  assertThrows(() => ones([3]).tril(), TypeError, "expected matrices in the last two axes");
  assertThrows(() => ones([2, 2]).triu(0.5), TypeError, "the diagonal is 0.5");
});
