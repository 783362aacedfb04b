/**
 * Gradient accumulation: large batches in the memory of small ones. What is computed is ⟨∇E⟩, the
 * mean of the gradients of micro-batches, and not ∇⟨E⟩, the gradient of the mean of their losses:
 * the two are equal on paper, but the second has to keep every micro-batch's activations until the
 * last loss is known, and the first only those of one.
 *
 * The order of the sum is part of the promise: gradients are added in the order of the
 * micro-batches, ((g₀ + g₁) + g₂) + …, in the dtype of the parameters, and the sum is multiplied by
 * 1/n once, at the end. So the two ways below give the same bits where the gradients do.
 *
 * @module
 */
import { tensor, zerosLike } from "../graph/create.ts";
import { where } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { valueAndGrad } from "../graph/transforms.ts";
import { checkCount } from "./check.ts";
import type { Optimizer, State } from "./optimizer.ts";
import { checkGradient, map, type Tree } from "./tree.ts";

/**
 * Like `valueAndGrad`, over `parts` equal parts of a batch one after the other: the means of their
 * losses and gradients. Every tensor of the batch is cut along axis 0. It is one program: `parts`
 * copies of forward and backward, so for many parts prefer {@linkcode accumulate}.
 *
 * For a loss that is a mean over samples this is the gradient of the whole batch up to rounding; a
 * model that mixes samples (batch normalisation) sees micro-batches.
 *
 * @throws {RangeError} If `parts` is no positive integer, or does not divide a batch.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const loss = (w: rg.Tensor, { x }: { x: rg.Tensor }) => x.mul(w).mean();
 * const f = rg.compile(rg.optim.microBatches(loss, 2));
 * const [value, gradient] = f(rg.tensor(3), { x: rg.tensor([1, 2, 3, 4]) });
 * assertEquals([await value.item(), await gradient.item()], [7.5, 2.5]);
 * ```
 */
export function microBatches<P extends Tree, B extends Tree>(
  loss: (params: P, batch: B) => Tensor,
  parts: number,
): (params: P, batch: B) => [value: Tensor, gradient: P] {
  checkCount("micro-batches", "parts", parts);
  const both = valueAndGrad<readonly [P, B]>(loss);
  return (params, batch) => {
    let value: Tensor | undefined, gradient: P | undefined;
    for (let i = 0; i < parts; i++) {
      const [v, g] = both(params, map((x) => partOf(x, i, parts), batch));
      value = value === undefined ? v : value.add(v);
      gradient = gradient === undefined ? g : map((a, b) => a.add(b), gradient, g);
    }
    return [value!.mul(1 / parts), map((g) => g.mul(1 / parts), gradient!)];
  };
}

function partOf(x: Tensor, index: number, parts: number): Tensor {
  const rows = x.shape[0];
  if (rows === undefined || rows % parts !== 0) {
    throw new RangeError(
      `Cannot take micro-batches: ${x} in ${parts} parts, expected axis 0 to be a multiple of ` +
        `${parts}`,
    );
  }
  const size = rows / parts;
  return x.slice([index * size, (index + 1) * size]);
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
      const total = map((s, g) => where(first, g, s.add(g)).cast(s.dtype), sum, gradient);
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
