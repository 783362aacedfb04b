/**
 * Exponential moving averages of weights (Polyak and Juditsky 1992 in its decaying form): what a
 * model is evaluated with while the optimizer goes on with the weights themselves. Element-wise;
 * one tensor of state per parameter, which may be donated along with the optimizer's.
 *
 * @module
 */
import { ones, zeros, zerosLike } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkNumber } from "./check.ts";
import { map, type Tree } from "./tree.ts";

/** What a moving average remembers. */
export type EmaState<P extends Tree = Tree> = {
  /** The decaying sum, f32; with `debias` off it is the average. */
  readonly sum: P;
  /** The weight that the sum lacks: decay^updates, an f32 scalar; 0 with `debias` off. */
  readonly missing: Tensor;
};

/** Options for {@linkcode ema}. */
export interface EmaOptions {
  /**
   * Begin with nothing and make up for it, so that the first parameters do not weigh more than the
   * others; otherwise begin with the parameters.
   *
   * @default {true}
   */
  debias?: boolean;
}

/** A moving average of parameters. */
export interface Ema {
  /** The state before the first update. */
  init<P extends Tree>(params: P): EmaState<P>;
  /** The state after one more set of parameters. */
  update<P extends Tree>(state: EmaState<P>, params: P): EmaState<P>;
  /** The average; with `debias` and before the first update, zeros. */
  value<P extends Tree>(state: EmaState<P>): P;
}

/**
 * a ← decay·a + (1 - decay)·p.
 *
 * Averages are f32 whatever the parameters are: f16 cannot hold steps of a thousandth.
 *
 * @throws {RangeError} If `decay` is not in [0, 1).
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const average = rg.optim.ema(0.5, { debias: false });
 * let state = average.init(rg.tensor([0, 4]));
 * state = average.update(state, rg.tensor([2, 2]));
 * assertEquals(await average.value(state).array(), [1, 3]);
 * ```
 */
export function ema(decay: number, options: EmaOptions = {}): Ema {
  checkNames(options, { debias: "flag" }, "make a moving average");
  const { debias = true } = options;
  checkNumber("a moving average", "decay", decay, 0, 1);
  return {
    init<P extends Tree>(params: P): EmaState<P> {
      const wide = map((p) => p.cast("f32"), params);
      return debias
        ? { sum: map((p) => zerosLike(p), wide), missing: ones([]) }
        : { sum: wide, missing: zeros([]) };
    },
    update<P extends Tree>({ sum, missing }: EmaState<P>, params: P): EmaState<P> {
      const next = map((a, p) => a.mul(decay).add(p.cast("f32").mul(1 - decay)), sum, params);
      return { sum: next, missing: missing.mul(decay) };
    },
    value<P extends Tree>({ sum, missing }: EmaState<P>): P {
      const present = missing.neg().add(1);
      const factor = where(present.equal(0), 1, present).reciprocal();
      return map((a) => a.mul(factor), sum);
    },
  };
}
