/**
 * How much error a step may make, what that is in units of what is allowed, and the length that an
 * error asks for.
 *
 * Hairer, Nørsett & Wanner, Solving ordinary differential equations I, 1993, II.4; Gustafsson,
 * Control-theoretic techniques for stepsize selection in explicit Runge–Kutta methods, 1991.
 *
 * @module
 */
import { full, zeros } from "../graph/create.ts";
import { describe } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { stopGradient } from "../graph/transforms.ts";
import { flatten } from "../graph/tree.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import type { Problem } from "./problem.ts";
import { addScaled, map, scale, type Tree } from "./tree.ts";

/** How much error a step may make, and what lengths are allowed. Lengths are positive times. */
export interface Tolerance {
  /**
   * Error in a step relative to the value.
   *
   * @default {1e-4}
   */
  readonly rtol?: number;
  /**
   * Error in a step where the value is small.
   *
   * @default {1e-6}
   */
  readonly atol?: number;
  /** Length of the first attempt; by Hairer's rule, from the field around y0, if it is not given. */
  readonly first?: number;
  /**
   * The least length of a step; one that would have to be shorter is an error.
   *
   * @default {"as long as it moves the time"}
   */
  readonly least?: number;
  /**
   * The greatest length of a step.
   *
   * @default {"the interval"}
   */
  readonly most?: number;
}

/** The parts of a tolerance, if they make sense. */
export function toleranceOf(action: string, tolerance: unknown): Tolerance {
  const parts = typeof tolerance === "number" ? { rtol: tolerance, atol: tolerance } : tolerance;
  if (typeof parts !== "object" || parts === null) {
    throw new TypeError(
      `Cannot ${action}: the tolerance is ${
        describe(parts)
      }, expected a positive number or its parts`,
    );
  }
  for (const [name, value] of Object.entries(parts)) {
    const known = ["rtol", "atol", "first", "least", "most"].includes(name);
    if (
      known && (value === undefined || (typeof value === "number" && value > 0 && value < Infinity))
    ) {
      continue;
    }
    const zero = value === 0 && ["rtol", "atol", "least"].includes(name);
    if (zero) continue;
    throw new RangeError(
      known
        ? `Cannot ${action}: ${name} is ${describe(value)}, expected a positive number`
        : `Cannot ${action}: the tolerance has ${name}, expected rtol, atol, first, least, most`,
    );
  }
  const { rtol = 1e-4, atol = 1e-6, least = 0, most = Infinity, first } = parts as Tolerance;
  if (least > most) {
    throw new RangeError(`Cannot ${action}: least is ${least}, expected at most ${most}, the most`);
  }
  if (first !== undefined && (first < least || first > most)) {
    throw new RangeError(
      `Cannot ${action}: first is ${first}, expected a length from ${least} to ${most}`,
    );
  }
  if (rtol > 0 || atol > 0) return parts;
  throw new RangeError(`Cannot ${action}: rtol and atol are 0, expected one of them above`);
}

/** The root of the mean square of a tree's elements in units of what each may be wrong by. */
export function normOf(error: Tree, sizes: Tree, { rtol = 1e-4, atol = 1e-6 }: Tolerance): Tensor {
  const errors = flatten(stopGradient(error), isTensor, "the error").leaves;
  const values = flatten(stopGradient(sizes), isTensor, "the value").leaves;
  let sum = zeros([]), count = 0;
  errors.forEach((e, i) => {
    if (e.size === 0) return;
    // Of nothing at all nothing may be wrong, but nothing is no error.
    const allowed = values[i]!.cast("f32").abs().mul(rtol).add(atol).maximum(2 ** -126);
    sum = sum.add(e.cast("f32").div(allowed).square().sum());
    count += e.size;
  });
  return sum.div(Math.max(1, count)).sqrt();
}

/** Hairer's length of the first step, as a share: so that an Euler step errs by about a hundredth. */
export function firstLength<Y extends Tree>(
  { field, y0, t0, span }: Problem<Y>,
  order: number,
  tolerance: Tolerance,
  measured: (y: Y) => Tree,
): Tensor {
  const norm = (y: Y): Tensor => normOf(measured(y), measured(y0), tolerance);
  const slope = field(y0, t0), rate = scale(slope, span);
  const [d0, d1] = [norm(y0), norm(rate)];
  const small = d0.less(1e-5).logicalOr(d1.less(1e-5));
  // The book's 1e-6 is for doubles: here it would drown in rounding.
  const guess = where(small, 1e-4, d0.div(d1.maximum(1e-5)).mul(0.01)).minimum(1);
  const after = field(addScaled(y0, guess, rate), t0.add(guess.mul(span)));
  const d2 = norm(map((a, b) => a.sub(b!).mul(span), after, slope)).div(guess);
  const bend = d1.maximum(d2);
  const length = where(
    bend.lessEqual(1e-15),
    1,
    bend.maximum(1e-15).reciprocal().mul(0.01).pow(1 / order),
  ).minimum(guess.mul(100));
  // Where nothing may be wrong, as at 0 with no atol, the rule has no answer: NaN, or no length at all.
  return where(length.greater(0), length, 1e-3);
}

/** The length after a step of a length: by its error, and that of the last accepted one. */
export function nextLength(
  length: Tensor,
  order: number,
  { error, last, good, failed }: {
    readonly error: Tensor;
    readonly last: Tensor;
    readonly good: Tensor;
    /** The step before failed: then none grows. */
    readonly failed: Tensor;
  },
): Tensor {
  const safe = error.maximum(1e-10), power = 1 / order;
  const grown = safe.pow(-0.7 * power).mul(last.pow(0.4 * power)).mul(0.9)
    .clip(0.2, where(failed, 1, 10));
  const shrunk = where(error.isFinite(), safe.pow(-power).mul(0.9).clip(0.1, 0.9), 0.1);
  return length.mul(where(good, grown, shrunk));
}

/** The share of the interval that a length of time is; all of it if there is none. */
export function shareOf(time: number, span: Tensor): Tensor {
  const size = stopGradient(span).abs(), empty = size.equal(0);
  return where(empty, 1, full([], time).div(where(empty, 1, size)));
}
