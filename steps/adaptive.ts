/**
 * Steps that choose their own length: embedded Runge–Kutta pairs under a controller. A step of the
 * loop is an *attempt*; if its error is too large it changes nothing but the length of the next one.
 * All of that happens on the device, under masks, so nobody waits for an answer between attempts:
 * see graph/while.ts.
 *
 * Time is kept as a share of the interval, from 0 to 1, whatever its length and direction. The
 * shares at which accepted steps end are logged, and the way back is that of a loop over those
 * steps: it differentiates what was computed, not how the lengths were chosen, and attempts that
 * failed take no part in it. With the shares held constant the length of each step moves with t0 and
 * t1, which is how they get their gradients.
 *
 * Hairer, Nørsett & Wanner, Solving ordinary differential equations I, 1993, II.4; Gustafsson,
 * Control-theoretic techniques for stepsize selection in explicit Runge–Kutta methods, 1991.
 *
 * @module
 */
import { unary } from "../graph/build.ts";
import { Gauge, noteCheck } from "../graph/check.ts";
import { arange, full, ones, zeros } from "../graph/create.ts";
import { where } from "../graph/operations.ts";
import type { Strategy } from "../graph/scan.ts";
import { Tensor } from "../graph/tensor.ts";
import { customVjp, stopGradient, vjp } from "../graph/transforms.ts";
import { flatten } from "../graph/tree.ts";
import { whileLoop } from "../graph/while.ts";
import { closeField, merged, varies } from "./close.ts";
import type { Field } from "./leapfrog.ts";
import { combined, increment, stages, type Tableau } from "./runge_kutta.ts";
import { add, addScaled, map, scale, type Tree } from "./tree.ts";

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

/** How an adaptive solution is found. */
export interface AdaptiveOptions<Y extends Tree> {
  readonly tableau: Tableau;
  readonly tolerance: Tolerance;
  /** Attempts, at most. */
  readonly maximum: number;
  /** The way back over the accepted steps. */
  readonly backward?: Strategy | undefined;
  /** The part of a state whose error counts; all of it by default. */
  readonly measured?: (y: Y) => Tree;
}

/** What is to be solved: dy/dt = field(y, t) from y(t0) = y0 over a time. */
export interface Problem<Y extends Tree> {
  readonly field: Field<Y>;
  readonly y0: Y;
  readonly t0: Tensor;
  /** t1 − t0. */
  readonly span: Tensor;
}

/** The steps that given moments fall into: where each begins and how long it takes, in shares. */
export interface Found<Y extends Tree> {
  readonly y: Y;
  readonly share: Tensor;
  readonly length: Tensor;
}

/** A solution at the end of the interval. */
export interface Solution<Y extends Tree> {
  readonly end: Y;
  /** The steps that the given shares fall into. */
  readonly found: Found<Y> | null;
}

/** The accepted steps: the shares from 0 on at which they begin and end, and how many they are. */
interface Log {
  readonly shares: Tensor;
  readonly count: Tensor;
}

/** What goes round. */
interface Carry<Y extends Tree> extends Log {
  readonly y: Y;
  readonly slope: Y;
  /** Share of the interval that is done, and of the next attempt. */
  readonly done: Tensor;
  readonly length: Tensor;
  /** Error of the last step accepted, in units of the tolerance. */
  readonly error: Tensor;
  /** True after an attempt that failed. */
  readonly failed: Tensor;
  readonly goes: Tensor;
  readonly found: Found<Y> | null;
}

const isTensor = (value: unknown): value is Tensor => value instanceof Tensor;

/** The sum as floats have it, whatever a driver thinks of what is done with it. */
function exactSum(a: Tensor, b: Tensor): Tensor {
  return new Tensor(unary("barrier", a.add(b).node));
}

/** The root of the mean square of a tree's elements in units of what each may be wrong by. */
function normOf(error: Tree, sizes: Tree, { rtol = 1e-4, atol = 1e-6 }: Tolerance): Tensor {
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
function firstLength<Y extends Tree>(
  { field, y0, t0, span }: Problem<Y>,
  { tableau, tolerance, measured = (y) => y }: AdaptiveOptions<Y>,
  slope: Y,
): Tensor {
  const norm = (y: Y): Tensor => normOf(measured(y), measured(y0), tolerance);
  const rate = scale(slope, span);
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
    bend.maximum(1e-15).reciprocal().mul(0.01).pow(1 / tableau.order),
  ).minimum(guess.mul(100));
  return where(length.isFinite(), length, 1e-3);
}

/** The time a flag stands for. Zero would say that all is well, so the last bit is given up. */
function timeOfFlag(bits: number): string {
  const t = new Float32Array(Uint32Array.of(bits).buffer)[0]!;
  return String(Math.abs(t) < 1e-38 ? 0 : Number(t.toPrecision(6)));
}

const tooShort = (bits: number): string =>
  `the solution of an ODE needs shorter steps than there are near t = ${timeOfFlag(bits)}, ` +
  "expected a field that an explicit method can follow, or a wider tolerance";
const notFinite = (bits: number): string =>
  `the field of an ODE gives NaN or infinity near t = ${timeOfFlag(bits)}, however short the step`;
const tooMany = (bits: number): string =>
  `the solution of an ODE has come to t = ${timeOfFlag(bits)} with all attempts that it may ` +
  "make, expected t1 (a larger maximum or tolerance allows more; a stiff field needs too many)";

/** Notes what is wrong at a time, if something is. */
function blame(wrong: Tensor, t: Tensor, message: (bits: number) => string): void {
  const bits = stopGradient(t).cast("f32").bitcast("u32").bitwiseOr(1);
  noteCheck({ flag: wrong.cast("u32").mul(bits).node, message });
}

/** The share of the interval that a length of time is; all of it if there is none. */
function shareOf(time: number, span: Tensor): Tensor {
  const size = stopGradient(span).abs(), empty = size.equal(0);
  return where(empty, 1, full([], time).div(where(empty, 1, size)));
}

/** A tensor's rows where they are chosen, and the value elsewhere. */
function rowsWhere(chosen: Tensor, y: Tensor, rows: Tensor): Tensor {
  return where(chosen.reshape(chosen.shape[0]!, ...y.shape.map(() => 1)), y.expandDims(0), rows);
}

/** As many rows of a value as there are shares. */
function repeated<Y extends Tree>(y: Y, { shape: [count] }: Tensor): Y {
  return map((y) => y.expandDims(0).broadcastTo([count!, ...y.shape]), y);
}

/** Solves with attempts, and logs the steps that are accepted. */
function search<Y extends Tree>(
  problem: Problem<Y>,
  options: AdaptiveOptions<Y>,
  shares: Tensor | null,
): Solution<Y> & { readonly log: Log } {
  const { field, y0, t0, span } = problem;
  const { tableau, tolerance, maximum, measured = (y: Y) => y } = options;
  const { first, least = 0, most } = tolerance;
  const { b, order, error } = tableau;
  const shortest = shareOf(least, span);
  const longest = most === undefined ? ones([]) : shareOf(most, span);
  const slope = field(y0, t0);
  const start = first === undefined
    ? firstLength(problem, options, slope)
    : shareOf(first, span).minimum(1);
  const places = arange(maximum + 1, { dtype: "u32" });
  // The error of a pair is that of the lower order, which shrinks with one power more.
  const power = 1 / order;

  function attempt(carry: Carry<Y>, step: Tensor): Carry<Y> {
    const { y, slope, done, found, failed, count } = carry;
    const ends = done.add(carry.length.mul(1.01)).greaterEqual(1);
    const next = where(ends, 1, exactSum(done, carry.length));
    const length = next.sub(done);
    const t = t0.add(span.mul(done)), h = span.mul(length);
    const slopes = stages(tableau, field, y, t, h, slope);
    const after = addScaled(y, h, combined(slopes, b)!);
    slopes.push(field(after, t0.add(span.mul(next))));
    const wrong = scale(combined(slopes, error!)!, h);
    const sizes = map((a, b) => a.abs().maximum(b!.abs()), y, after);
    const off = normOf(measured(wrong), measured(sizes), tolerance);
    const good = off.lessEqual(1), bad = good.logicalNot(), finite = off.isFinite();
    const safe = off.maximum(1e-10);
    const grown = safe.pow(-0.7 * power).mul(carry.error.pow(0.4 * power)).mul(0.9)
      .clip(0.2, where(failed, 1, 10));
    const shrunk = where(finite, safe.pow(-power).mul(0.9).clip(0.1, 0.9), 0.1);
    const proposed = length.mul(where(good, grown, shrunk)).minimum(longest);
    // What does not move the time, or is shorter than allowed, is no step.
    const stuck = bad.logicalAnd(
      exactSum(done, proposed).lessEqual(done).logicalOr(proposed.less(shortest)),
    );
    const ended = good.logicalAnd(next.greaterEqual(1));
    const goes = ended.logicalOr(stuck).logicalNot();
    const late = goes.logicalAnd(step.add(1).greaterEqual(maximum));
    blame(stuck.logicalAnd(finite), t, tooShort);
    blame(stuck.logicalAnd(finite.logicalNot()), t, notFinite);
    blame(late, t, tooMany);
    const taken = <T extends Tree>(next: T, now: T): T =>
      map((next, now) => where(good, next, now!), next, now);
    const over = shares?.greater(done).logicalAnd(shares.lessEqual(next)).logicalAnd(good);
    return {
      y: taken(after, y),
      slope: taken(slopes.at(-1)!, slope),
      done: where(good, next, done),
      length: proposed,
      error: where(good, off.maximum(1e-4), carry.error),
      failed: bad,
      goes: goes.logicalAnd(late.logicalNot()),
      shares: where(places.equal(count.add(1)).logicalAnd(good), next, carry.shares),
      count: count.add(good.cast("u32")),
      found: found && {
        y: map((rows, y) => rowsWhere(over!, y!, rows), found.y, y),
        share: where(over!, done, found.share),
        length: where(over!, length, found.length),
      },
    };
  }

  const length = stopGradient(start).minimum(longest);
  const [last, attempts] = whileLoop(({ goes }: Carry<Y>) => goes, attempt, {
    y: y0,
    slope,
    done: zeros([]),
    length,
    error: full([], 1e-4),
    failed: zeros([], { dtype: "bool" }),
    goes: ones([], { dtype: "bool" }),
    shares: zeros([maximum + 1]),
    count: zeros([], { dtype: "u32" }),
    found: shares && {
      y: repeated(y0, shares),
      share: zeros(shares.shape),
      length: length.broadcastTo(shares.shape),
    },
  }, { name: "odeSolve" });
  noteCheck({
    flag: attempts.cast("f32").bitcast("u32").node,
    message: new Gauge("attempts of odeSolve"),
  });
  const log = { shares: last.shares, count: last.count };
  return { end: last.y, found: last.found, log };
}

/** Solves with the steps that were logged. */
function follow<Y extends Tree>(
  { field, y0, t0, span }: Problem<Y>,
  { tableau, backward }: AdaptiveOptions<Y>,
  shares: Tensor | null,
  log: Log,
): { readonly end: Y; readonly rows: Y | null } {
  type State = { readonly y: Y; readonly rows: Y | null };
  const [{ y, rows }] = whileLoop(
    (_: State, step) => step.less(log.count),
    ({ y, rows }: State, step): State => {
      const done = log.shares.take(step), next = log.shares.take(step.add(1));
      const over = shares?.greater(done).logicalAnd(shares.lessEqual(next));
      const h = span.mul(next.sub(done));
      return {
        y: add(y, increment(tableau, field, y, t0.add(span.mul(done)), h)),
        rows: rows && map((rows, y) => rowsWhere(over!, y!, rows), rows, y),
      };
    },
    { y: y0, rows: shares && repeated(y0, shares) },
    { name: "odeSolve", ...(backward && { backward }) },
  );
  return { end: y, rows };
}

/**
 * The solution of a problem with steps that choose their own length, and the steps that the given
 * shares of the interval fall into. How many attempts it took is a gauge.
 */
export function solveAdaptively<Y extends Tree>(
  problem: Problem<Y>,
  options: AdaptiveOptions<Y>,
  shares: Tensor | null,
): Solution<Y> {
  const { captured, fieldOf } = closeField(problem.field, problem.y0, problem.t0);
  type Args = [y0: Y, t0: Tensor, span: Tensor, shares: Tensor | null, captured: Tensor[]];
  const problemOf = ([y0, t0, span, , captured]: Args): Problem<Y> => {
    return { field: fieldOf(captured), y0, t0, span };
  };
  const solve = customVjp(
    (...args: Args) => search(problemOf(args), options, args[3]),
    (g, { log }, ...args) => {
      const [y0, t0, span, shares, captured] = args;
      const fixed = stopGradient({ shares, log });
      const [, pull] = vjp(
        ({ y0, t0, span, varying }: { y0: Y; t0: Tensor; span: Tensor; varying: Tensor[] }) => {
          const problem = problemOf([y0, t0, span, null, merged(captured, varying)]);
          return follow(problem, options, fixed.shares, fixed.log);
        },
        { y0, t0, span, varying: captured.filter(varies) },
      );
      const [of] = pull({ end: g.end, rows: g.found && g.found.y });
      return [of.y0, of.t0, of.span, null, merged(captured, of.varying)];
    },
    { forward: "function" },
  );
  const { end, found } = solve(problem.y0, problem.t0, problem.span, shares, [...captured]);
  return {
    end,
    found: found &&
      { ...found, share: stopGradient(found.share), length: stopGradient(found.length) },
  };
}
