/**
 * Rates as functions of the step. A rate gets the number of updates done so far, as an f32 scalar
 * on the device, and is part of the compiled step: a rate that changes costs neither an upload nor
 * another compile. The first update sees step 0.
 *
 * Warm-up: Goyal et al. 2017. Cosine and its restarts: Loshchilov and Hutter 2017 (SGDR). A rate
 * that depends on a measure is `plateau`, one that depends on the loss itself `lineSearch`.
 *
 * @module
 */
import { full } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkCount, checkNumber, checkRate } from "./check.ts";

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

/** Options for {@linkcode exponential}: either `decay`, with or without `steps`, or `alpha`. */
export interface ExponentialOptions {
  /** What the rate is multiplied by in `steps` steps; positive. */
  decay?: number;
  /** The same as an exponent: `decay` is e^(-alpha), for rate · e^(-alpha·step). */
  alpha?: number;
  /** Steps that multiply the rate by `decay`. @default {1} */
  steps?: number;
  /** Decay at multiples of `steps` at once instead of a little at every step. @default {false} */
  staircase?: boolean;
}

/**
 * rate · decay^(step / steps), or rate · e^(-alpha · step / steps).
 *
 * @throws {RangeError} If `decay` or `steps` is not positive, or `alpha` negative.
 * @throws {TypeError} Unless exactly one of `decay` and `alpha` is given.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.sgd({ rate: rg.optim.exponential(0.1, { alpha: 1e-4 }) });
 * ```
 */
export function exponential(
  rate: number,
  options: ExponentialOptions,
): Schedule {
  checkNames(
    options,
    { decay: true, alpha: true, steps: true, staircase: "flag" },
    "make an exponential rate",
  );
  const { decay, alpha, steps = 1, staircase = false } = options;
  if ((decay === undefined) === (alpha === undefined)) {
    throw new TypeError(
      `Cannot make an exponential rate: ${decay === undefined ? "neither" : "both"} of decay and ` +
        "alpha given, expected one",
    );
  }
  checkNumber("an exponential rate", "rate", rate, 0);
  checkNumber("an exponential rate", "decay", decay ?? 1, Number.MIN_VALUE);
  checkNumber("an exponential rate", "alpha", alpha ?? 0, 0);
  checkNumber("an exponential rate", "steps", steps, Number.MIN_VALUE);
  // The logarithm in double precision: decay rounded to f32 first would lose digits at every step.
  const log = decay === undefined ? -alpha! : Math.log(decay);
  return (step) => {
    const periods = step.div(steps);
    return (staircase ? periods.floor() : periods).mul(log).exp().mul(rate);
  };
}

/** Options for {@linkcode stepDecay}. */
export interface StepDecayOptions {
  /** Steps between two falls. */
  every: number;
  /** What the rate is multiplied by at each. @default {0.1} */
  factor?: number;
}

/**
 * rate · factor^⌊step / every⌋: the rate falls at once, and stays for `every` steps.
 *
 * @throws {RangeError} If `every` is no positive integer, or `factor` not positive.
 */
export function stepDecay(rate: number, options: StepDecayOptions): Schedule {
  checkNames(options, { every: true, factor: true }, "make a step rate");
  const { every, factor = 0.1 } = options;
  checkCount("a step rate", "every", every);
  checkNumber("a step rate", "factor", factor, Number.MIN_VALUE);
  return exponential(rate, { decay: factor, steps: every, staircase: true });
}

/** Options for {@linkcode inverse}. */
export interface InverseOptions {
  /** How fast the rate falls: it is half of what it was at step 1 / alpha. */
  alpha: number;
}

/**
 * rate / (1 + alpha · step).
 *
 * @throws {RangeError} If `alpha` is negative.
 */
export function inverse(rate: number, options: InverseOptions): Schedule {
  checkNames(options, { alpha: true }, "make an inverse rate");
  const { alpha } = options;
  checkNumber("an inverse rate", "rate", rate, 0);
  checkNumber("an inverse rate", "alpha", alpha, 0);
  return (step) => step.mul(alpha).add(1).reciprocal().mul(rate);
}

/** Options for {@linkcode cosine}. */
export interface CosineOptions {
  /** Steps until the rate is at its end; it stays there, unless there are restarts. */
  steps: number;
  /** The rate at the end. @default {0} */
  end?: number;
  /**
   * Begin anew at the end, each time with this many times as many steps, an integer; 0 for no
   * restarts.
   *
   * @default {0}
   */
  restarts?: number;
}

/** Steps are counted in f32, which knows no larger odd integer. */
const MOST_STEPS = 2 ** 24;

/** Where the cycles of a cosine with restarts begin, the first left out. */
function beginnings(steps: number, factor: number): number[] {
  const result: number[] = [];
  for (let at = steps, length = steps * factor; at < MOST_STEPS; at += length, length *= factor) {
    result.push(at);
  }
  return result;
}

/** A step's place within its cycle, and the length of that cycle. */
function cycle(step: Tensor, steps: number, factor: number): [Tensor, Tensor | number] {
  if (factor === 1) return [step.mod(steps), steps];
  // A list of at most 24 is exact, which logarithms of the step are not.
  let begin: Tensor = full([], 0), length: Tensor = full([], steps);
  beginnings(steps, factor).forEach((at, i) => {
    const reached = step.greaterEqual(at);
    begin = where(reached, at, begin);
    length = where(reached, steps * factor ** (i + 1), length);
  });
  return [step.sub(begin), length];
}

/**
 * From `rate` down to `end` along half a cosine, once or again and again.
 *
 * @throws {RangeError} If `steps` is not positive, or `restarts` no integer; with restarts `steps`
 * has to be an integer too.
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
export function cosine(
  rate: number,
  options: CosineOptions,
): Schedule {
  checkNames(options, { steps: true, end: true, restarts: true }, "make a cosine rate");
  const { steps, end = 0, restarts = 0 } = options;
  checkNumber("a cosine rate", "rate", rate, 0);
  checkNumber("a cosine rate", "end", end, 0);
  checkNumber("a cosine rate", "steps", steps, Number.MIN_VALUE);
  checkCount("a cosine rate", "restarts", restarts, 0);
  if (restarts > 0) checkCount("a cosine rate with restarts", "steps", steps);
  return (step) => {
    const [place, length] = restarts === 0
      ? [step.minimum(steps), steps]
      : cycle(step, steps, restarts);
    return place.div(length).mul(Math.PI).cos().add(1).mul((rate - end) / 2).add(end);
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
export function warmup(options: WarmupOptions): Schedule {
  checkNames(options, { steps: true, then: true, from: true }, "make a warm-up");
  const { steps, then, from = 0 } = options;
  checkRate("a warm-up", then);
  checkNumber("a warm-up", "from", from, 0);
  checkNumber("a warm-up", "steps", steps, Number.MIN_VALUE);
  return (step) => {
    const done = step.minimum(steps).div(steps);
    const target = rateAt(then, step.sub(steps).maximum(0));
    // Until the warm-up is over, `then` stands at its own step 0.
    return done.mul(target).add(done.neg().add(1).mul(from));
  };
}

/**
 * One rate after the other: `rates[i]` holds until step `boundaries[i]`, the last for good. Those
 * that are functions get the steps since they began. With numbers only it is a piecewise constant
 * rate.
 *
 * @throws {RangeError} Unless there is one boundary fewer than rates, and they are positive
 * integers in ascending order.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const { cosine, join, sgd } = rg.optim;
 * const optimizer = sgd({ rate: join([0.1, 0.01, cosine(0.01, { steps: 500 })], [1000, 1500]) });
 * ```
 */
export function join(
  rates: readonly (number | Schedule)[],
  boundaries: readonly number[],
): Schedule {
  if (rates.length !== boundaries.length + 1) {
    throw new RangeError(
      `Cannot join rates: ${boundaries.length} boundaries for ${rates.length} rates, expected ` +
        "one fewer than rates",
    );
  }
  for (const rate of rates) checkRate("a joined rate", rate);
  boundaries.forEach((at, i) =>
    checkCount("a joined rate", `boundary ${i}`, at, i === 0 ? 1 : boundaries[i - 1]! + 1)
  );
  const part = (i: number, step: Tensor): Tensor => {
    const own = i === 0 ? step : step.sub(boundaries[i - 1]!).maximum(0);
    const now = rateAt(rates[i]!, own);
    return typeof now === "number" ? full([], now) : now;
  };
  return (step) =>
    boundaries.reduce(
      (before, at, i) => where(step.less(at), before, part(i + 1, step)),
      part(0, step),
    );
}
