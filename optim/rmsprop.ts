/**
 * RMSProp (Tieleman and Hinton 2012, lecture 6.5): the gradient over the root of a decaying mean of
 * its squares. Centred (Graves 2013), the square of the mean is taken off first, which leaves the
 * variance. Element-wise; one to three tensors of state per parameter.
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
import { trace, type Transformation } from "./transformation.ts";
import { map, type Tree } from "./tree.ts";

/** Options for {@linkcode scaleByRms}. */
export interface RmsMeans {
  /** Decay of the means. @default {0.99} */
  alpha?: number;
  /** Added to the root. @default {1e-8} */
  epsilon?: number;
  /** Divide by the deviation instead of the root mean square. @default {false} */
  centered?: boolean;
}

const rmsMeans: Names<RmsMeans> = { alpha: true, epsilon: true, centered: "flag" };

/**
 * The gradient over its root mean square, s ← αs + (1 - α)g²; g / (√s + ε), or over its deviation,
 * m ← αm + (1 - α)g; g / (√(s - m²) + ε).
 *
 * @throws {RangeError} If `alpha` is not in [0, 1), or `epsilon` is negative.
 */
export function scaleByRms(options: RmsMeans = {}): Transformation {
  checkNames(options, rmsMeans, "make RMSProp");
  const { alpha = 0.99, epsilon = 1e-8, centered = false } = options;
  checkNumber("RMSProp", "alpha", alpha, 0, 1);
  checkNumber("RMSProp", "epsilon", epsilon, 0);
  return {
    init(params) {
      const zeros = () => map((p) => zerosLike(p), params);
      return centered ? { square: zeros(), mean: zeros() } : { square: zeros() };
    },
    update(updates, state) {
      const { square, mean } = state as { square: Tree; mean?: Tree };
      const s = map((g, s) => s.mul(alpha).add(g.square().mul(1 - alpha)), updates, square);
      if (mean === undefined) {
        return [map((g, s) => g.div(s.sqrt().add(epsilon)), updates, s), { square: s }];
      }
      const m = map((g, m) => m.mul(alpha).add(g.mul(1 - alpha)), updates, mean);
      // Rounding can make the variance of a constant gradient negative.
      const u = map(
        (g, s, m) => g.div(s.sub(m.square()).maximum(0).sqrt().add(epsilon)),
        updates,
        s,
        m,
      );
      return [u, { square: s, mean: m }];
    },
  };
}

/** Options for {@linkcode rmsprop}. */
export interface RmspropOptions extends RmsMeans, AdaptiveOptions {
  /** Momentum of what was divided, in [0, 1]. @default {0} */
  momentum?: number;
}

/**
 * RMSProp, with momentum if wanted. The rate is 1e-2 unless given.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.rmsprop({ rate: 1e-3, momentum: 0.9, centered: true });
 * ```
 */
export function rmsprop(options: RmspropOptions = {}): ComposedOptimizer {
  checkNames(options, {
    ...descentNames,
    ...rmsMeans,
    momentum: true,
  }, "make rmsprop");
  const { rate = 1e-2, momentum = 0 } = options;
  const direction = [
    scaleByRms(pick(options, rmsMeans)),
    ...momentum === 0 ? [] : [trace(momentum)],
  ];
  return descend("rmsprop", direction, rate, options);
}
