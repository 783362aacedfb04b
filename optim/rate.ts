/**
 * Rates as functions of the step. A rate gets the number of updates done so far, as an f32 scalar
 * on the device, and is part of the compiled step: a rate that changes costs neither an upload nor
 * another compile. The first update sees step 0.
 *
 * Warm-up: Goyal et al. 2017. Cosine: Loshchilov and Hutter 2017 (SGDR, without restarts).
 *
 * @module
 */
import { full } from "../graph/create.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkNumber } from "./check.ts";

/** A rate computed from the number of updates done. */
export type Schedule = (step: Tensor) => Tensor;

/** A rate: a number, a scalar tensor, or a function of the step. */
export type Rate = number | Tensor | Schedule;

/** The rate at a step. */
export function rateAt(rate: Rate, step: Tensor): Tensor | number {
  return typeof rate === "function" ? rate(step) : rate;
}

/** The same rate at every step. */
export function constant(rate: number): Schedule {
  return () => full([], rate);
}

/** Options for {@linkcode exponential}. */
export interface ExponentialOptions {
  /** What the rate is multiplied by in `steps` steps; positive. */
  decay: number;
  /** Steps that multiply the rate by `decay`. @default {1} */
  steps?: number;
  /** Decay at every multiple of `steps` at once instead of a little at every step. @default {false} */
  staircase?: boolean;
}

/**
 * rate · decay^(step / steps).
 *
 * @throws {RangeError} If `decay` or `steps` is not positive.
 */
export function exponential(
  rate: number,
  { decay, steps = 1, staircase = false }: ExponentialOptions,
): Schedule {
  checkNumber("an exponential rate", "decay", decay, Number.MIN_VALUE);
  checkNumber("an exponential rate", "steps", steps, Number.MIN_VALUE);
  // The logarithm in double precision: decay rounded to f32 first would lose digits at every step.
  const log = Math.log(decay);
  return (step) => {
    const periods = step.div(steps);
    return (staircase ? periods.floor() : periods).mul(log).exp().mul(rate);
  };
}

/** Options for {@linkcode cosine}. */
export interface CosineOptions {
  /** Steps until the rate is at its end; it stays there. */
  steps: number;
  /** The rate at the end. @default {0} */
  end?: number;
}

/**
 * From `rate` down to `end` along half a cosine.
 *
 * @throws {RangeError} If `steps` is not positive.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const { adamw, cosine, warmup } = rg.optim;
 * const rate = warmup({ steps: 100, then: cosine(1e-3, { steps: 2000 }) });
 * const optimizer = adamw({ rate });
 * ```
 */
export function cosine(rate: number, { steps, end = 0 }: CosineOptions): Schedule {
  checkNumber("a cosine rate", "steps", steps, Number.MIN_VALUE);
  return (step) => {
    const phase = step.minimum(steps).mul(Math.PI / steps);
    return phase.cos().add(1).mul((rate - end) / 2).add(end);
  };
}

/** Options for {@linkcode warmup}. */
export interface WarmupOptions {
  /** Steps until the rate is that of `then`. */
  steps: number;
  /** The rate afterwards; as a function it gets the steps since the warm-up. */
  then: number | Schedule;
  /** The rate at step 0. @default {0} */
  from?: number;
}

/**
 * From `from` up to another rate in a straight line.
 *
 * @throws {RangeError} If `steps` is not positive.
 */
export function warmup({ steps, then, from = 0 }: WarmupOptions): Schedule {
  checkNumber("a warm-up", "steps", steps, Number.MIN_VALUE);
  return (step) => {
    const done = step.minimum(steps).div(steps);
    const target = rateAt(then, step.sub(steps).maximum(0));
    // Until the warm-up is over, `then` stands at its own step 0.
    return done.mul(target).add(done.neg().add(1).mul(from));
  };
}
