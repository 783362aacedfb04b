/**
 * Adadelta (Zeiler 2012): Adagrad with a window, and in the units of the parameter: steps are
 * proportional to the root mean square of the steps before. Element-wise; two tensors of state per
 * parameter.
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

/** Options for {@linkcode scaleByAdadelta}. */
export interface AdadeltaMeans {
  /** Decay of both mean squares. @default {0.9} */
  rho?: number;
  /** Added to both mean squares; the first steps are as large as its root. @default {1e-6} */
  epsilon?: number;
}

const adadeltaMeans: Names<AdadeltaMeans> = { rho: true, epsilon: true };

/**
 * The gradient by the ratio of two root mean squares, of the steps and of the gradients:
 * s ← ρs + (1 - ρ)g²; u = √(d + ε) / √(s + ε) · g; d ← ρd + (1 - ρ)u².
 *
 * @throws {RangeError} If `rho` is not in [0, 1), or `epsilon` is negative.
 */
export function scaleByAdadelta(options: AdadeltaMeans = {}): Transformation {
  checkNames(options, adadeltaMeans, "make Adadelta");
  const { rho = 0.9, epsilon = 1e-6 } = options;
  checkNumber("Adadelta", "rho", rho, 0, 1);
  checkNumber("Adadelta", "epsilon", epsilon, 0);
  return {
    init: (params) => ({
      square: map((p) => zerosLike(p), params),
      delta: map((p) => zerosLike(p), params),
    }),
    update(updates, state) {
      const { square, delta } = state as { square: Tree; delta: Tree };
      const s = map((g, s) => s.mul(rho).add(g.square().mul(1 - rho)), updates, square);
      const u = map(
        (g, s, d) => d.add(epsilon).sqrt().div(s.add(epsilon).sqrt()).mul(g),
        updates,
        s,
        delta,
      );
      const d = map((u, d) => d.mul(rho).add(u.square().mul(1 - rho)), u, delta);
      return [u, { square: s, delta: d }];
    },
  };
}

/** Options for {@linkcode adadelta}. */
export interface AdadeltaOptions extends AdadeltaMeans, AdaptiveOptions {}

/**
 * Adadelta. The method finds the size of its steps itself: the rate is 1 unless given.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.adadelta({ rho: 0.95 });
 * ```
 */
export function adadelta(options: AdadeltaOptions = {}): ComposedOptimizer {
  checkNames(options, { ...descentNames, ...adadeltaMeans }, "make adadelta");
  return descend(
    "adadelta",
    [scaleByAdadelta(pick(options, adadeltaMeans))],
    options.rate ?? 1,
    options,
  );
}
