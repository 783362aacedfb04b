import { assertEquals, assertThrows } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import { accuracy, crossEntropy, mse } from "../../nn/losses.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

const labels = (...values: number[]) => tensor(values, { dtype: "i32" });

/** In float64, from the definition. */
function reference(logits: number[], target: number[]): number {
  const largest = Math.max(...logits);
  const log = Math.log(logits.reduce((sum, x) => sum + Math.exp(x - largest), 0)) + largest;
  return target.reduce((sum, p, i) => sum + (p === 0 ? 0 : p * (log - logits[i]!)), 0);
}

const rows = [[0.5, -1, 2], [3, 3, 3], [-700, 0, 700], [1e4, 1e4 + 1, -1e4]];

Deno.test("crossEntropy() follows the definition for classes and for probabilities", async () => {
  const classes = [2, 0, 1, 1];
  const losses = rows.map((row, i) =>
    reference(row, [0, 1, 2].map((c) => Number(c === classes[i])))
  );
  const x = tensor(rows);
  await assertValues(crossEntropy(x, labels(...classes), { reduction: "none" }), losses, 1e-6);
  const sum = losses.reduce((a, b) => a + b);
  await assertValues(crossEntropy(x, labels(...classes)), sum / 4, 1e-6);
  await assertValues(crossEntropy(x, labels(...classes), { reduction: "sum" }), sum, 1e-6);
  const oneHot = labels(...classes).oneHot(3);
  await assertValues(crossEntropy(x, oneHot, { reduction: "none" }), losses, 1e-6);
  const soft = [0.2, 0.3, 0.5];
  await assertValues(crossEntropy(tensor(rows[0]!), tensor(soft)), reference(rows[0]!, soft), 1e-6);
});

Deno.test("crossEntropy() takes labels of either integer dtype, of any rank", async () => {
  const x = tensor([rows.slice(0, 2), rows.slice(0, 2)]);
  const y = tensor([[2, 0], [2, 0]], { dtype: "u32" });
  const [a, b] = [reference(rows[0]!, [0, 0, 1]), reference(rows[1]!, [1, 0, 0])];
  await assertValues(crossEntropy(x, y, { reduction: "none" }), [[a, b], [a, b]], 1e-6);
});

Deno.test("crossEntropy() smooths labels", async () => {
  const target = [0.05, 0.05, 0.9].map((p, i) => i === 2 ? 1 - 0.15 + 0.05 : p);
  const expected = reference(rows[0]!, target);
  const options = { labelSmoothing: 0.15 };
  await assertValues(crossEntropy(tensor([rows[0]!]), labels(2), options), expected, 1e-6);
  await assertValues(
    crossEntropy(tensor([rows[0]!]), labels(2).oneHot(3), options),
    expected,
    1e-6,
  );
});

Deno.test("crossEntropy() smooths labels of f16 over more classes than its digits tell", async () => {
  const classes = 40_000, options = { labelSmoothing: 0.1 };
  // What each class has of a tenth is 2.5e-6, a thousandth more in f16.
  const logits = tensor(Float32Array.from({ length: classes }, (_, i) => i % 7), {
    shape: [1, classes],
  }).cast("f16");
  const soft = tensor([5], { dtype: "i32" }).oneHot(classes).cast("f16");
  const hard = await crossEntropy(logits, tensor([5], { dtype: "i32" }), options).item();
  await assertValues(crossEntropy(logits, soft, options), hard, 1e-5);
});

Deno.test("crossEntropy() has the gradient softmax - target, also where exp would overflow", async () => {
  const target = [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]];
  const expected = rows.map((row, r) => {
    const largest = Math.max(...row), e = row.map((x) => Math.exp(x - largest));
    const sum = e.reduce((a, b) => a + b);
    return e.map((v, i) => v / sum - target[r]![i]!);
  });
  const byClass = (x: Tensor) => crossEntropy(x, labels(2, 0, 1, 1), { reduction: "sum" });
  await assertValues(grad(byClass)(tensor(rows)), expected, 1e-6);
  const byTarget = (x: Tensor) => crossEntropy(x, tensor(target), { reduction: "sum" });
  await assertValues(grad(byTarget)(tensor(rows)), expected, 1e-6);
});

Deno.test("crossEntropy() takes classes that are ruled out", async () => {
  const x = tensor([[0, -Infinity, 0]]);
  await assertValues(crossEntropy(x, labels(0)), Math.LN2, 1e-6);
  await assertValues(crossEntropy(x, tensor([[1, 0, 0]])), Math.LN2, 1e-6);
  await assertValues(crossEntropy(x, labels(1)), Infinity);
});

Deno.test("crossEntropy() counts a label outside the classes as none", async () => {
  await assertValues(crossEntropy(tensor([[1, 2], [1, 2]]), labels(-1, 7), { reduction: "none" }), [
    0,
    0,
  ]);
});

Deno.test("losses refuse what does not fit", () => {
  const x = tensor([[1, 2], [3, 4]]);
  assertThrows(() => crossEntropy(x, labels(0)), TypeError, "labels are Tensor i32[1]");
  assertThrows(() => crossEntropy(x, tensor([1, 2])), TypeError, "expected shape [2,2]");
  assertThrows(() => crossEntropy(labels(1, 2), labels(1)), TypeError, "expected logits as floats");
  assertThrows(() => accuracy(x, tensor([true, false])), TypeError, "expected logits as floats");
  assertThrows(() => crossEntropy(tensor(1), labels()), TypeError);
  assertThrows(
    () => crossEntropy(x, labels(0, 1), { labelSmoothing: 2 }),
    RangeError,
    "labelSmoothing is 2",
  );
  assertThrows(() => mse(x, tensor([1, 2])), TypeError, "expected equal shapes");
  const flags = tensor([[true, false], [true, true]]), counts = labels(1, 2, 3, 4).reshape(2, 2);
  for (const [output, target] of [[counts, x], [flags, x], [x, flags]] as const) {
    assertThrows(() => mse(output, target), TypeError, "expected an output of floats and a target");
  }
  const reduction = "avg" as "mean";
  const wrong = 'reduction is "avg", expected "mean" or "sum" or "none"';
  assertThrows(
    () => mse(x, x, { reduction }),
    RangeError,
    `Cannot take the squared error: ${wrong}`,
  );
  assertThrows(() => crossEntropy(x, x, { reduction }), RangeError, wrong);
  assertThrows(() => accuracy(x, x, { reduction }), RangeError, wrong);
});

Deno.test("mse() is the mean of squares", async () => {
  const a = tensor([[1, 2], [3, 4]]), b = tensor([[1, 0], [0, 0]]);
  await assertValues(mse(a, b), 29 / 4);
  await assertValues(mse(a, b, { reduction: "none" }), [[0, 4], [9, 16]]);
  await assertValues(mse(a, labels(1, 0, 0, 0).reshape(2, 2)), 29 / 4);
});

Deno.test("accuracy() compares the largest logit with the label", async () => {
  const x = tensor([[1, 2, 0], [5, 4, 3], [0, 0, 1], [NaN, 1, 0]]);
  await assertValues(accuracy(x, labels(1, 0, 0, 1), { reduction: "none" }), [1, 1, 0, 0]);
  await assertValues(accuracy(x, labels(1, 0, 0, 1)), 0.5);
  await assertValues(accuracy(x, labels(1, 0, 0, 1).oneHot(3)), 0.5);
  const counts = tensor([1, 0, 2, 2], { dtype: "u32" });
  await assertValues(accuracy(x, counts, { reduction: "sum" }), 3);
  assertEquals(accuracy(x, counts).dtype, "f32");
});

Deno.test("losses refuse options that nobody would read", () => {
  const wrong = { smoothing: 0.1 } as never, x = tensor([[1, 2]]), y = labels(1);
  const found = "there is an option smoothing";
  assertThrows(() => crossEntropy(x, y, wrong), TypeError, found);
  assertThrows(() => accuracy(x, y, wrong), TypeError, found);
  assertThrows(() => mse(x, x, wrong), TypeError, found);
});
