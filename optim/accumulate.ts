/**
 * Gradient accumulation: large batches in the memory of small ones. What is computed is ⟨∇E⟩, the
 * mean of the gradients of micro-batches, and not ∇⟨E⟩, the gradient of the mean of their losses:
 * the two are equal on paper, but the second has to keep every micro-batch's activations until the
 * last loss is known, and the first only those of one.
 *
 * The order of the sum is part of the promise: gradients are added in the order of the
 * micro-batches, ((g₀ + g₁) + g₂) + …, in the dtype of the parameters, each as it was computed by
 * itself, and the sum is multiplied by 1/n once, at the end.
 *
 * @module
 */
import { unary } from "../graph/build.ts";
import { arange, tensor, zeros, zerosLike } from "../graph/create.ts";
import { where } from "../graph/operations.ts";
import { scan } from "../graph/scan.ts";
import { Tensor } from "../graph/tensor.ts";
import { valueAndGrad } from "../graph/transforms.ts";
import { compile } from "../runtime/compile.ts";
import { checkCount } from "./check.ts";
import type { Optimizer, State } from "./optimizer.ts";
import { checkGradient, leaves, map, type Tree } from "./tree.ts";

/** A sum and one more, in this order; the first is taken as it is. */
function plus(sum: Tensor, x: Tensor, first: Tensor): Tensor {
  // As it was computed: no driver may merge the last product of a gradient with the sum.
  const exact = new Tensor(unary("barrier", x.node));
  return where(first, exact, sum.add(exact)).cast(sum.dtype);
}

/**
 * Like a compiled `valueAndGrad`, over `parts` equal parts of a batch one after the other: the
 * means of their losses and gradients. Every tensor of the batch is cut along axis 0, by the
 * device.
 *
 * The parts are the steps of a loop, whose body is compiled once: device memory is that of one
 * part, and one more gradient. Keep the function, since it is compiled at its first call; within a
 * compiled function it becomes part of that, with the same bits and the same memory.
 *
 * For a loss that is a mean over samples this is the gradient of the whole batch up to rounding; a
 * model that mixes samples (batch normalisation) sees micro-batches.
 *
 * @throws {RangeError} If `parts` is no positive integer, or, when called, if it does not divide a
 * batch.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const loss = (w: rg.Tensor, { x }: { x: rg.Tensor }) => x.mul(w).mean();
 * const both = rg.optim.microBatches(loss, 2);
 * const [value, gradient] = both(rg.tensor(3), { x: rg.tensor([1, 2, 3, 4]) });
 * assertEquals([await value.item(), await gradient.item()], [7.5, 2.5]);
 * ```
 */
export function microBatches<P extends Tree, B extends Tree>(
  loss: (params: P, batch: B) => Tensor,
  parts: number,
): (params: P, batch: B) => [value: Tensor, gradient: P] {
  checkCount("micro-batches", "parts", parts);
  type Sums = [value: Tensor, gradient: P];
  type Part = { readonly batch: B; readonly first: Tensor };
  const both = valueAndGrad<readonly [P, B]>(loss);
  return compile((params: P, batch: B): Sums => {
    for (const x of leaves(batch)) checkParts(x, parts);
    const xs: Part = {
      batch: map((x) => x.reshape([parts, x.shape[0]! / parts, ...x.shape.slice(1)]), batch),
      first: arange(parts).equal(0),
    };
    const nothing: Sums = [zeros([]), map((p) => zerosLike(p), params)];
    const [sums] = scan(
      (sums: Sums, { batch, first }: Part) => {
        return [map((s, x) => plus(s, x, first), sums, both(params, batch)), null];
      },
      nothing,
      xs,
      { name: "micro-batches" },
    );
    return map((x) => x.mul(1 / parts), sums);
  }, { name: "micro-batches" });
}

function checkParts(x: Tensor, parts: number): void {
  const rows = x.shape[0];
  if (rows !== undefined && rows % parts === 0) return;
  throw new RangeError(
    `Cannot take micro-batches: ${x} in ${parts} parts, expected axis 0 to be a multiple of ` +
      `${parts}`,
  );
}

/** What {@linkcode accumulate} remembers. */
export type Accumulated = {
  /** What the optimizer within remembers. */
  readonly inner: Tree;
  /** The sum of the gradients since its last update. */
  readonly sum: Tree;
  /** How many these are, a u32 scalar. */
  readonly count: Tensor;
};

/**
 * The optimizer that updates at every `every`-th gradient, with the mean of those since the update
 * before. Calls are small steps of one compiled program; the memory is that of one micro-batch and
 * one more gradient. `step` counts updates, not calls, so that rates mean the same as before.
 *
 * The decision is taken on the device: each call computes the update and selects it, or not, which
 * costs the optimizer's arithmetic and no branch.
 *
 * @throws {RangeError} If `every` is no positive integer.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.accumulate(rg.optim.adam({ rate: 1e-3 }), 8);
 * ```
 */
export function accumulate(optimizer: Optimizer, every: number): Optimizer {
  checkCount("an accumulating optimizer", "every", every);
  return {
    init<P extends Tree>(params: P): State<P> {
      const { step, memory } = optimizer.init(params);
      const accumulated: Accumulated = {
        inner: memory,
        sum: map((p) => zerosLike(p), params),
        count: tensor(0, { dtype: "u32" }),
      };
      return { params, step, memory: accumulated };
    },
    update<P extends Tree>({ params, step, memory }: State<P>, gradient: Tree): State<P> {
      checkGradient(params, gradient);
      const { inner, sum, count } = memory as Accumulated;
      const first = count.equal(0), full = count.equal(every - 1);
      const total = map((s, g) => plus(s, g, first), sum, gradient);
      const before: State<P> = { params, step, memory: inner };
      const after = optimizer.update(before, map((s) => s.mul(1 / every), total));
      const chosen = map((b, a) => where(full, a, b), before, after);
      const next: Accumulated = {
        inner: chosen.memory,
        sum: total,
        count: where(full, 0, count.add(1)).cast("u32"),
      };
      return { params: chosen.params, step: chosen.step, memory: next };
    },
  };
}
