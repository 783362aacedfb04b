/**
 * Lion (Chen et al. 2023, algorithm 2): the sign of an interpolation between momentum and gradient.
 * Every element moves by exactly the rate. Element-wise; one tensor of state per parameter, half of
 * Adam's.
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
import type { Transformation } from "./transformation.ts";
import { map, type Tree } from "./tree.ts";

/** Options for {@linkcode scaleByLion}. */
export interface LionMoments {
  /** Share of the momentum in the step. @default {0.9} */
  beta1?: number;
  /** Decay of the momentum. @default {0.99} */
  beta2?: number;
}

const lionMoments: Names<LionMoments> = { beta1: true, beta2: true };

/**
 * sign(β₁m + (1 - β₁)g); then m ← β₂m + (1 - β₂)g.
 *
 * @throws {RangeError} If a decay is not in [0, 1).
 */
export function scaleByLion(options: LionMoments = {}): Transformation {
  checkNames(options, lionMoments, "make Lion");
  const { beta1 = 0.9, beta2 = 0.99 } = options;
  checkNumber("Lion", "beta1", beta1, 0, 1);
  checkNumber("Lion", "beta2", beta2, 0, 1);
  return {
    init: (params) => ({ mean: map((p) => zerosLike(p), params) }),
    update(updates, state) {
      const { mean } = state as { mean: Tree };
      const u = map((g, m) => m.mul(beta1).add(g.mul(1 - beta1)).sign(), updates, mean);
      const m = map((g, m) => m.mul(beta2).add(g.mul(1 - beta2)), updates, mean);
      return [u, { mean: m }];
    },
  };
}

/** Options for {@linkcode lion}. */
export interface LionOptions extends LionMoments, AdaptiveOptions {}

/**
 * Lion. The rate is 1e-4 unless given: a third to a tenth of what AdamW would take, with
 * `decoupledDecay` three to ten times as large.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.lion({ rate: 1e-4, decoupledDecay: 0.1 });
 * ```
 */
export function lion(options: LionOptions = {}): ComposedOptimizer {
  checkNames(options, { ...descentNames, ...lionMoments }, "make lion");
  return descend("lion", [scaleByLion(pick(options, lionMoments))], options.rate ?? 1e-4, options);
}
