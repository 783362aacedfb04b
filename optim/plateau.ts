/**
 * A rate that falls when a held-out measure stops getting better. The measure is known on the host,
 * after a validation pass, so this rate lives there too: a pure function from state and measure to
 * the next state, which is plain data that JSON keeps. The rate goes into a compiled step as a
 * number; numbers are inputs, so that it may change without another compile.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { checkCount, checkNumber } from "./check.ts";

/** What a plateau rate remembers; plain data. */
export interface PlateauState {
  /** The rate now. */
  readonly rate: number;
  /** The best measure so far; null before the first. */
  readonly best: number | null;
  /** Measures since then that were not better. */
  readonly waited: number;
  /** Measures that will still not be counted, after a fall. */
  readonly resting: number;
}

/** Options for {@linkcode plateau}. */
export interface PlateauOptions {
  /** What the rate is multiplied by at a fall. @default {0.1} */
  factor?: number;
  /** Measures in a row that may be no better before the rate falls. @default {10} */
  patience?: number;
  /** Measures after a fall that are not counted. @default {0} */
  cooldown?: number;
  /** Whether less or more of the measure is better. @default {"less"} */
  better?: "less" | "more";
  /** The part of the best measure by which another has to be better. @default {1e-4} */
  threshold?: number;
  /** The rate falls no further than to this. @default {0} */
  least?: number;
}

/** A rate that falls on plateaus. */
export interface Plateau {
  /** The state before the first measure. */
  init(): PlateauState;
  /**
   * The state after one more measure. NaN counts as no better.
   *
   * @throws {TypeError} If the measure is not a number.
   */
  observe(state: PlateauState, measure: number): PlateauState;
}

/**
 * The rate that is multiplied by `factor` after more than `patience` measures in a row that were no
 * better than the best.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const schedule = rg.optim.plateau(0.1, { patience: 1, factor: 0.5 });
 * let state = schedule.init();
 * for (const loss of [1, 0.8, 0.8, 0.9]) state = schedule.observe(state, loss);
 * assertEquals(state.rate, 0.05);
 * ```
 *
 * @example In a compiled step
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const step = rg.compile((w: rg.Tensor, gradient: rg.Tensor, rate: rg.Tensor) => {
 *   const optimizer = rg.optim.sgd({ rate });
 *   return optimizer.update(optimizer.init(w), gradient).params;
 * });
 * const schedule = rg.optim.plateau(0.1);
 * const state = schedule.init();
 * step(rg.ones([2]), rg.ones([2]), state.rate);
 * ```
 */
export function plateau(rate: number, options: PlateauOptions = {}): Plateau {
  const { factor = 0.1, patience = 10, cooldown = 0, better = "less" } = options;
  const { threshold = 1e-4, least = 0 } = options;
  const action = "a plateau rate";
  checkNames(options, {
    factor: true,
    patience: true,
    cooldown: true,
    better: true,
    threshold: true,
    least: true,
  }, `make ${action}`);
  checkNumber(action, "rate", rate, 0);
  checkNumber(action, "factor", factor, 0, 1);
  checkCount(action, "patience", patience, 0);
  checkCount(action, "cooldown", cooldown, 0);
  checkNumber(action, "threshold", threshold, 0, 1);
  checkNumber(action, "least", least, 0);
  const improves = (measure: number, best: number): boolean => {
    // Better by a part of the best's size, so that it means the same for measures below zero.
    const margin = threshold * Math.abs(best);
    return better === "less" ? measure < best - margin : measure > best + margin;
  };
  return {
    init: () => ({ rate, best: null, waited: 0, resting: 0 }),
    observe(state, measure) {
      if (typeof measure !== "number") {
        throw new TypeError(
          `Cannot observe a measure: it is a ${typeof measure}, expected a number`,
        );
      }
      const resting = Math.max(0, state.resting - 1);
      const first = state.best === null && !Number.isNaN(measure);
      if (first || (state.best !== null && improves(measure, state.best))) {
        return { rate: state.rate, best: measure, waited: 0, resting };
      }
      const waited = state.resting > 0 ? 0 : state.waited + 1;
      if (waited <= patience) return { ...state, waited, resting };
      // A rate that is below the least already does not rise to it.
      const next = Math.min(state.rate, Math.max(state.rate * factor, least));
      return { rate: next, best: state.best, waited: 0, resting: cooldown };
    },
  };
}
