import { assertThrows } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { adaptiveClip, centralize, clipByNorm } from "../../optim/clip.ts";
import type { Transformation } from "../../optim/transformation.ts";
import type { Tree } from "../../optim/tree.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

function apply<T extends Tree>(transformation: Transformation, updates: T, params: Tree): T {
  const context = { params, step: tensor(0) };
  return transformation.update(updates, transformation.init(params), context)[0] as T;
}

Deno.test("clipByNorm() shortens each parameter's gradient by itself", async () => {
  const tree = { a: tensor([3, 4]), b: tensor([0.25]), c: tensor([0, 0]) };
  const { a, b, c } = apply(clipByNorm(1), tree, tree);
  await assertValues(a, [0.6, 0.8], 1e-6);
  await assertValues(b, [0.25]);
  await assertValues(c, [0, 0]);
});

Deno.test("adaptiveClip() bounds the gradient of each column by its weights", async () => {
  const weight = tensor([[3, 0, 0], [4, 0, 1]]), gradient = tensor([[6, 0.06, 0.1], [8, 0.08, 0]]);
  const clipped = apply(adaptiveClip(0.5, { epsilon: 0.1 }), gradient, weight);
  // Columns of length 5, 0 and 1 allow 2.5, 0.05 (by epsilon) and 0.5.
  await assertValues(clipped, [[1.5, 0.03, 0.1], [2, 0.04, 0]], 1e-6);
});

Deno.test("adaptiveClip() takes vectors as one unit, and leaves out what it should", async () => {
  const params = { a: tensor([3, 4]), b: tensor([3, 4]), c: tensor(2) };
  const gradient = { a: tensor([30, 40]), b: tensor([30, 40]), c: tensor(-8) };
  const { a, b, c } = apply(
    adaptiveClip(1, { applies: (_, path) => path !== "b" }),
    gradient,
    params,
  );
  await assertValues(a, [3, 4], 1e-6);
  await assertValues(b, [30, 40]);
  await assertValues(c, -2, 1e-6);
});

Deno.test("adaptiveClip() takes units along another axis", async () => {
  const weight = tensor([[3, 4], [0, 1]]), gradient = tensor([[6, 8], [0, 0.5]]);
  const clipped = apply(adaptiveClip(1, { axis: 0 }), gradient, weight);
  await assertValues(clipped, [[3, 4], [0, 0.5]], 1e-6);
});

Deno.test("centralize() takes the mean out of every column, and only of matrices", async () => {
  const tree = { w: tensor([[1, 2], [3, 6]]), b: tensor([1, 3]) };
  const { w, b } = apply(centralize(), tree, tree);
  await assertValues(w, [[-1, -2], [1, 2]]);
  await assertValues(b, [1, 3]);
  const rows = apply(centralize({ axis: 0 }), tree, tree).w as Tensor;
  await assertValues(rows, [[-0.5, 0.5], [-1.5, 1.5]]);
});

Deno.test("clipping refuses limits below zero", () => {
  assertThrows(() => clipByNorm(-1), RangeError, "limit is -1");
  assertThrows(() => adaptiveClip(NaN), RangeError, "limit is NaN");
  assertThrows(() => adaptiveClip(1, { epsilon: -1 }), RangeError, "epsilon is -1");
});
