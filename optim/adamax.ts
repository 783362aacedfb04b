/**
 * AdaMax (Kingma and Ba 2015, section 7.1): Adam with the largest gradient of late in place of the
 * root mean square, which needs no correction. Element-wise; two tensors of state per parameter.
 *
 * @module
 */
import { zerosLike } from "../graph/create.ts";
import { checkNames, type Names } from "../graph/describe.ts";
import { checkNumber, pick } from "./check.ts";
import {
  type AdaptiveOptions,
  type ComposedOptimizer,
  descend,
  descentNames,
} from "./optimizer.ts";
import { correction, type Transformation } from "./transformation.ts";
import { map, type Tree } from "./tree.ts";

/** Options for {@linkcode scaleByAdamax}. */
export interface AdamaxMoments {
  /** Decay of the mean of gradients. @default {0.9} */
  beta1?: number;
  /** Decay of the largest gradient. @default {0.999} */
  beta2?: number;
  /** Added to the size of each gradient. @default {1e-8} */
  epsilon?: number;
}

const adamaxMoments: Names<AdamaxMoments> = { beta1: true, beta2: true, epsilon: true };

/**
 * The mean of gradients, corrected, over the decaying largest of their sizes:
 * u ← max(β₂u, |g| + ε).
 *
 * @throws {RangeError} If a decay is not in [0, 1), or `epsilon` is negative.
 */
export function scaleByAdamax(options: AdamaxMoments = {}): Transformation {
  checkNames(options, adamaxMoments, "make AdaMax");
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = options;
  checkNumber("AdaMax", "beta1", beta1, 0, 1);
  checkNumber("AdaMax", "beta2", beta2, 0, 1);
  checkNumber("AdaMax", "epsilon", epsilon, 0);
  return {
    init: (params) => ({
      mean: map((p) => zerosLike(p), params),
      largest: map((p) => zerosLike(p), params),
    }),
    update(updates, state, { step }) {
      const { mean, largest } = state as { mean: Tree; largest: Tree };
      const m = map((g, m) => m.mul(beta1).add(g.mul(1 - beta1)), updates, mean);
      const u = map((g, u) => u.mul(beta2).maximum(g.abs().add(epsilon)), updates, largest);
      const c = correction(beta1, step);
      return [map((m, u) => m.mul(c).div(u), m, u), { mean: m, largest: u }];
    },
  };
}

/** Options for {@linkcode adamax}. */
export interface AdamaxOptions extends AdamaxMoments, AdaptiveOptions {}

/**
 * AdaMax. The rate is 2e-3 unless given.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.adamax({ rate: 1e-3 });
 * ```
 */
export function adamax(options: AdamaxOptions = {}): ComposedOptimizer {
  checkNames(options, { ...descentNames, ...adamaxMoments }, "make adamax");
  return descend(
    "adamax",
    [scaleByAdamax(pick(options, adamaxMoments))],
    options.rate ?? 2e-3,
    options,
  );
}
