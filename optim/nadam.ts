/**
 * NAdam (Dozat 2016): Adam that looks ahead along its momentum, as Nesterov's does. The momentum
 * itself grows from β₁/2 to β₁ as training goes on, and the correction is the product of all its
 * values so far, a scalar of state. Element-wise; two tensors of state per parameter.
 *
 * @module
 */
import { ones, zerosLike } from "../graph/create.ts";
import { checkNames, type Names } from "../graph/describe.ts";
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

/** Options for {@linkcode scaleByNadam}. */
export interface NadamMoments {
  /** Decay of the mean of gradients, in the end. @default {0.9} */
  beta1?: number;
  /** Decay of the mean of their squares. @default {0.999} */
  beta2?: number;
  /** Added to the root of the mean square. @default {1e-8} */
  epsilon?: number;
  /** How fast the momentum grows: μ_t = β₁(1 - .96^(t·this) / 2). @default {4e-3} */
  momentumDecay?: number;
}

const nadamMoments: Names<NadamMoments> = {
  beta1: true,
  beta2: true,
  epsilon: true,
  momentumDecay: true,
};

/**
 * Nesterov's mean of gradients over the root of the mean of their squares:
 * (μ_{t+1} m / (1 - Π_{t+1}) + (1 - μ_t) g / (1 - Π_t)) / (√(s / (1 - β₂ᵗ)) + ε), where Π_t is the
 * product of μ_1 … μ_t.
 *
 * @throws {RangeError} If a decay is not in [0, 1), or another number is negative.
 */
export function scaleByNadam(options: NadamMoments = {}): Transformation {
  checkNames(options, nadamMoments, "make NAdam");
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, momentumDecay = 4e-3 } = options;
  checkNumber("NAdam", "beta1", beta1, 0, 1);
  checkNumber("NAdam", "beta2", beta2, 0, 1);
  checkNumber("NAdam", "epsilon", epsilon, 0);
  checkNumber("NAdam", "momentumDecay", momentumDecay, 0);
  const log = Math.log(0.96) * momentumDecay;
  const momentum = (t: Tensor) => t.mul(log).exp().mul(-beta1 / 2).add(beta1);
  return {
    init: (params) => ({
      mean: map((p) => zerosLike(p), params),
      square: map((p) => zerosLike(p), params),
      product: ones([]),
    }),
    update(updates, state, { step }) {
      const { mean, square, product } = state as { mean: Tree; square: Tree; product: Tensor };
      const m = map((g, m) => m.mul(beta1).add(g.mul(1 - beta1)), updates, mean);
      const s = map((g, s) => s.mul(beta2).add(g.square().mul(1 - beta2)), updates, square);
      const now = momentum(step.add(1)), after = momentum(step.add(2));
      const done = product.mul(now);
      const ofMean = after.div(done.mul(after).neg().add(1));
      const ofGradient = now.neg().add(1).div(done.neg().add(1));
      const c = correction(beta2, step);
      const result = map(
        (g, m, s) => m.mul(ofMean).add(g.mul(ofGradient)).div(s.mul(c).sqrt().add(epsilon)),
        updates,
        m,
        s,
      );
      return [result, { mean: m, square: s, product: done }];
    },
  };
}

/** Options for {@linkcode nadam}. */
export interface NadamOptions extends NadamMoments, AdaptiveOptions {}

/**
 * NAdam. The rate is 2e-3 unless given.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.nadam({ rate: 1e-3 });
 * ```
 */
export function nadam(options: NadamOptions = {}): ComposedOptimizer {
  checkNames(options, { ...descentNames, ...nadamMoments }, "make nadam");
  return descend(
    "nadam",
    [scaleByNadam(pick(options, nadamMoments))],
    options.rate ?? 2e-3,
    options,
  );
}
