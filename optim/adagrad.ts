/**
 * Adagrad (Duchi, Hazan and Singer 2011): every parameter's step shrinks with all the gradients it
 * has seen, so that rare features keep learning. Element-wise; one tensor of state per parameter.
 *
 * @module
 */
import { full } from "../graph/create.ts";
import { checkNames, type Names } from "../graph/describe.ts";
import { checkNumber, pick } from "./check.ts";
import {
  type AdaptiveOptions,
  type ComposedOptimizer,
  descend,
  descentNames,
} from "./optimizer.ts";
import type { Transformation } from "./transformation.ts";
import { map, type Tree } from "./tree.ts";

/** Options for {@linkcode scaleByAdagrad}. */
export interface AdagradSums {
  /** What the sums of squares begin with. @default {0} */
  initial?: number;
  /** Added to the root of the sum of squares. @default {1e-10} */
  epsilon?: number;
}

const adagradSums: Names<AdagradSums> = { initial: true, epsilon: true };

/**
 * The gradient over the root of the sum of all squares so far: s ← s + g²; g / (√s + ε).
 *
 * @throws {RangeError} If `initial` or `epsilon` is negative.
 */
export function scaleByAdagrad(options: AdagradSums = {}): Transformation {
  checkNames(options, adagradSums, "make Adagrad");
  const { initial = 0, epsilon = 1e-10 } = options;
  checkNumber("Adagrad", "initial", initial, 0);
  checkNumber("Adagrad", "epsilon", epsilon, 0);
  return {
    init: (params) => ({ sum: map((p) => full(p.shape, initial, { dtype: p.dtype }), params) }),
    update(updates, state) {
      const { sum } = state as { sum: Tree };
      const next = map((g, s) => s.add(g.square()), updates, sum);
      return [map((g, s) => g.div(s.sqrt().add(epsilon)), updates, next), { sum: next }];
    },
  };
}

/** Options for {@linkcode adagrad}. */
export interface AdagradOptions extends AdagradSums, AdaptiveOptions {}

/**
 * Adagrad. The rate is 1e-2 unless given; it may fall as well: PyTorch's `lr_decay` is
 * {@linkcode inverse}.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.adagrad({ rate: rg.optim.inverse(0.1, { alpha: 1e-3 }) });
 * ```
 */
export function adagrad(options: AdagradOptions = {}): ComposedOptimizer {
  checkNames(options, { ...descentNames, ...adagradSums }, "make adagrad");
  return descend(
    "adagrad",
    [scaleByAdagrad(pick(options, adagradSums))],
    options.rate ?? 1e-2,
    options,
  );
}
