/**
 * RAdam (Liu et al. 2020): Adam whose first steps do not trust the mean of squares. As long as it
 * stands for too few gradients (at most 5), steps are those of momentum; afterwards it is rectified
 * by its variance. A warm-up without anything to tune. Element-wise; two tensors of state per
 * parameter.
 *
 * @module
 */
import { zerosLike } from "../graph/create.ts";
import { checkNames, type Names } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkNumber, pick } from "./check.ts";
import {
  type AdaptiveOptions,
  type ComposedOptimizer,
  descend,
  descentNames,
} from "./optimizer.ts";
import { correction, type Transformation } from "./transformation.ts";
import { map, type Tree } from "./tree.ts";

/** Options for {@linkcode scaleByRadam}. */
export interface RadamMoments {
  /** Decay of the mean of gradients. @default {0.9} */
  beta1?: number;
  /** Decay of the mean of their squares, in (0, 1). @default {0.999} */
  beta2?: number;
  /** Added to the root of the mean square. @default {1e-8} */
  epsilon?: number;
}

const radamMoments: Names<RadamMoments> = { beta1: true, beta2: true, epsilon: true };

/** Fewer gradients than this, and the variance of the step is infinite or nearly so. */
const LEAST = 5;

/**
 * How many gradients the mean of squares stands for: ρ∞ - 2tβᵗ / (1 - βᵗ), ρ∞ = 2 / (1 - β) - 1.
 * For small t this is a difference of two large numbers; with x = -t·log β it is
 * (ρ∞ - 2x/t) + (2x/t)·(1 - x/(eˣ - 1)), and the last factor has a series.
 */
function lengthOf(beta: number, step: Tensor): Tensor {
  const log = -Math.log(beta), x = step.add(1).mul(log), square = x.square();
  const series = x.div(2).sub(square.div(12)).add(square.square().div(720));
  const rest = x.div(x.expm1()).neg().add(1);
  return where(x.less(0.25), series, rest).mul(2 / log).add(2 / (1 - beta) - 1 - 2 / log);
}

/** √((ρ-4)(ρ-2)ρ∞ / ((ρ∞-4)(ρ∞-2)ρ)), for ρ above {@linkcode LEAST}. */
function rectification(beta: number, length: Tensor): Tensor {
  const end = 2 / (1 - beta) - 1, share = end / ((end - 4) * (end - 2));
  const safe = length.maximum(LEAST);
  return safe.sub(4).mul(safe.sub(2)).div(safe).mul(share).sqrt();
}

/**
 * The corrected mean of gradients m, or, once enough gradients have been seen, r·m over the root of
 * the corrected mean of squares.
 *
 * @throws {RangeError} If a decay is out of its range, or `epsilon` is negative.
 */
export function scaleByRadam(options: RadamMoments = {}): Transformation {
  checkNames(options, radamMoments, "make RAdam");
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = options;
  checkNumber("RAdam", "beta1", beta1, 0, 1);
  checkNumber("RAdam", "beta2", beta2, Number.MIN_VALUE, 1);
  checkNumber("RAdam", "epsilon", epsilon, 0);
  return {
    init: (params) => ({
      mean: map((p) => zerosLike(p), params),
      square: map((p) => zerosLike(p), params),
    }),
    update(updates, state, { step }) {
      const { mean, square } = state as { mean: Tree; square: Tree };
      const m = map((g, m) => m.mul(beta1).add(g.mul(1 - beta1)), updates, mean);
      const s = map((g, s) => s.mul(beta2).add(g.square().mul(1 - beta2)), updates, square);
      const c1 = correction(beta1, step), root = rootOf(correction(beta2, step));
      const length = lengthOf(beta2, step), enough = length.greater(LEAST);
      const r = rectification(beta2, length);
      const result = map(
        (m, s) => {
          const corrected = m.mul(c1);
          // Liu et al. write √(1 - βᵗ) / √s: epsilon is added to the uncorrected root.
          return where(enough, corrected.mul(r).div(s.sqrt().add(epsilon).mul(root)), corrected);
        },
        m,
        s,
      );
      return [result, { mean: m, square: s }];
    },
  };
}

function rootOf(x: Tensor | number): Tensor | number {
  return typeof x === "number" ? Math.sqrt(x) : x.sqrt();
}

/** Options for {@linkcode radam}. */
export interface RadamOptions extends RadamMoments, AdaptiveOptions {}

/**
 * RAdam. The rate is 1e-3 unless given.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.radam({ rate: 1e-3 });
 * ```
 */
export function radam(options: RadamOptions = {}): ComposedOptimizer {
  checkNames(options, { ...descentNames, ...radamMoments }, "make radam");
  return descend(
    "radam",
    [scaleByRadam(pick(options, radamMoments))],
    options.rate ?? 1e-3,
    options,
  );
}
