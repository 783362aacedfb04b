/**
 * AMSGrad (Reddi, Kale and Kumar 2018): Adam that divides by the largest mean of squares there has
 * been, so that no step grows again once gradients have become small. Element-wise; three tensors
 * of state per parameter.
 *
 * @module
 */
import { zerosLike } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { checkNumber, pick } from "./check.ts";
import { type AdamOptions, type ComposedOptimizer, descend, descentNames } from "./optimizer.ts";
import {
  type AdamMoments,
  adamMoments,
  correction,
  type Transformation,
} from "./transformation.ts";
import { map, type Tree } from "./tree.ts";

/**
 * The mean of gradients over the root of the largest mean of their squares. The largest is taken
 * before the correction for starting at zero, as in PyTorch; the paper corrects nothing, which is
 * `biasCorrection: false`.
 *
 * @throws {RangeError} If a decay is not in [0, 1), or `epsilon` is negative.
 */
export function scaleByAmsgrad(options: AdamMoments = {}): Transformation {
  checkNames(options, adamMoments, "make AMSGrad");
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, biasCorrection = true } = options;
  checkNumber("AMSGrad", "beta1", beta1, 0, 1);
  checkNumber("AMSGrad", "beta2", beta2, 0, 1);
  checkNumber("AMSGrad", "epsilon", epsilon, 0);
  return {
    init(params) {
      const zeros = () => map((p) => zerosLike(p), params);
      return { mean: zeros(), square: zeros(), largest: zeros() };
    },
    update(updates, state, { step }) {
      const { mean, square, largest } = state as { mean: Tree; square: Tree; largest: Tree };
      const m = map((g, m) => m.mul(beta1).add(g.mul(1 - beta1)), updates, mean);
      const s = map((g, s) => s.mul(beta2).add(g.square().mul(1 - beta2)), updates, square);
      const l = map((s, l) => l.maximum(s), s, largest);
      const c1 = biasCorrection ? correction(beta1, step) : 1;
      const c2 = biasCorrection ? correction(beta2, step) : 1;
      const result = map((m, l) => m.mul(c1).div(l.mul(c2).sqrt().add(epsilon)), m, l);
      return [result, { mean: m, square: s, largest: l }];
    },
  };
}

/**
 * AMSGrad. The rate is 1e-3 unless given.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.amsgrad({ rate: 1e-3, decoupledDecay: 0.01 });
 * ```
 */
export function amsgrad(options: AdamOptions = {}): ComposedOptimizer {
  checkNames(options, { ...descentNames, ...adamMoments }, "make amsgrad");
  return descend(
    "amsgrad",
    [scaleByAmsgrad(pick(options, adamMoments))],
    options.rate ?? 1e-3,
    options,
  );
}
