/**
 * Steps in proportion to the weights they change, parameter by parameter, for large batches: LARS
 * (You, Gitman and Ginsburg 2017) for momentum, LAMB (You et al. 2020) for Adam. The norms need
 * sums over every parameter and its gradient, so an update is a few dispatches for each parameter
 * instead of a part of the gradient's kernel.
 *
 * @module
 */
import { checkNames, checkOptions } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkNumber, checkRate, pick } from "./check.ts";
import { rootOf, squares } from "./clip.ts";
import {
  type AdaptiveOptions,
  type ComposedOptimizer,
  descend,
  fromTransformation,
} from "./optimizer.ts";
import type { Rate } from "./rate.ts";
import {
  type AdamMoments,
  adamMoments,
  addDecayedWeights,
  chain,
  scaleByAdam,
  scaleByRate,
  stateless,
  trace,
  type Transformation,
} from "./transformation.ts";
import { type Applies, mapWhere } from "./tree.ts";

/** Options for {@linkcode scaleByTrustRatio}. */
export interface TrustOptions {
  /** Multiplies the ratio. @default {1} */
  coefficient?: number;
  /** A decay that the updates contain already: their norm is taken as ‖g‖ + decay·‖w‖. */
  decay?: number;
  /** Which parameters are scaled. @default {all of them} */
  applies?: Applies;
}

/** The norm of a parameter, f32. */
function normOf(x: Tensor): Tensor {
  return rootOf(squares(x));
}

/** coefficient·‖w‖ / norm, and 1 where either is 0. */
function ratio(coefficient: number, weight: Tensor, norm: Tensor): Tensor {
  const usable = weight.greater(0).logicalAnd(norm.greater(0));
  return where(usable, weight.mul(coefficient).div(where(usable, norm, 1)), 1);
}

/**
 * Scales each parameter's update to coefficient·‖w‖: the trust ratio, LAMB's φ being the identity.
 * Where a parameter or its update is zero the update stays as it is.
 *
 * @throws {RangeError} If `coefficient` is negative.
 */
export function scaleByTrustRatio(
  options: Omit<TrustOptions, "decay"> = {},
): Transformation {
  checkNames(options, { coefficient: true, applies: true }, "make a trust ratio");
  const { coefficient = 1, applies } = options;
  checkNumber("a trust ratio", "coefficient", coefficient, 0);
  return stateless((updates, { params }) =>
    mapWhere(applies, (u, p) => u.mul(ratio(coefficient, normOf(p), normOf(u))), updates, params)
  );
}

/** LARS's direction: (g + decay·w) · coefficient·‖w‖ / (‖g‖ + decay·‖w‖). */
function scaleByLars({ coefficient = 1, decay = 0, applies }: TrustOptions): Transformation {
  return stateless((updates, { params }) =>
    mapWhere(
      applies,
      (g, p) => {
        const weight = normOf(p), norm = normOf(g).add(weight.mul(decay));
        return (decay === 0 ? g : g.add(p.mul(decay))).mul(ratio(coefficient, weight, norm));
      },
      updates,
      params,
    )
  );
}

/** Options for {@linkcode lars}. */
export interface LarsOptions {
  /** Step size. */
  rate: Rate;
  /** Polyak's momentum, in [0, 1]. @default {0.9} */
  momentum?: number;
  /** An L2 penalty: this times the parameter is added to its gradient. @default {0} */
  weightDecay?: number;
  /** The size of a step as a part of the weights'. @default {1e-3} */
  coefficient?: number;
  /**
   * Which parameters are scaled and decay; the others get plain momentum.
   *
   * @default {all of them}
   */
  applies?: Applies;
}

/**
 * LARS: λ = coefficient·‖w‖ / (‖g‖ + decay·‖w‖) for each parameter;
 * v ← momentum·v + rate·λ·(g + decay·w); w ← w - v.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Biases and scales take plain steps
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.lars({ rate: 1, weightDecay: 1e-4, applies: (p) => p.rank > 1 });
 * ```
 */
export function lars(options: LarsOptions): ComposedOptimizer {
  checkOptions(options, "make lars", "{ rate: 0.1 }");
  const { rate, momentum = 0.9, weightDecay = 0, coefficient = 1e-3, applies } = options;
  checkNames(
    options,
    { rate: true, momentum: true, weightDecay: true, coefficient: true, applies: true },
    "make lars",
  );
  checkRate("lars", rate);
  checkNumber("lars", "weightDecay", weightDecay, 0);
  checkNumber("lars", "coefficient", coefficient, 0);
  const chosen = applies === undefined ? {} : { applies };
  // The rate is inside the momentum: a step already under way does not change with it.
  return fromTransformation(chain(
    scaleByLars({ coefficient, decay: weightDecay, ...chosen }),
    scaleByRate(rate),
    ...momentum === 0 ? [] : [trace(momentum)],
  ));
}

/** Options for {@linkcode lamb}. */
export interface LambOptions extends AdamMoments, Pick<AdaptiveOptions, "rate"> {
  /** This times the parameter is added to Adam's direction, before scaling. @default {0.01} */
  weightDecay?: number;
  /** Which parameters are scaled and decay; the others get Adam's steps. @default {all of them} */
  applies?: Applies;
}

/**
 * LAMB: Adam's direction and decay·w, scaled to ‖w‖. The rate is 1e-3 unless given, epsilon 1e-6.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Biases and scales take Adam's steps
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.lamb({ rate: 2e-3, applies: (p) => p.rank > 1 });
 * ```
 */
export function lamb(options: LambOptions = {}): ComposedOptimizer {
  checkNames(
    options,
    { rate: true, weightDecay: true, applies: true, ...adamMoments },
    "make lamb",
  );
  const { rate = 1e-3, weightDecay = 0.01, epsilon = 1e-6, applies } = options;
  checkNumber("lamb", "weightDecay", weightDecay, 0);
  const chosen = applies === undefined ? {} : { applies };
  const direction = [
    scaleByAdam({ ...pick(options, adamMoments), epsilon }),
    ...weightDecay === 0 ? [] : [addDecayedWeights(weightDecay, chosen)],
    scaleByTrustRatio(chosen),
  ];
  return descend("lamb", direction, rate, {});
}
