/**
 * Steps that choose their own length, under a controller. A step of the loop is an *attempt*; if its
 * error is too large it changes nothing but the length of the next one. All of that happens on the
 * device, under masks, so nobody waits for an answer between attempts: see graph/while.ts.
 *
 * Time is kept as a share of the interval, from 0 to 1, whatever its length and direction. The
 * shares at which accepted steps end are logged, and the way back is that of a loop over those
 * steps: it differentiates what was computed, not how the lengths were chosen, and attempts that
 * failed take no part in it. With the shares held constant the length of each step moves with t0 and
 * t1, which is how they get their gradients. A step in the log is one that can be undone, if the
 * method is reversible.
 *
 * @module
 */
import { unary } from "../graph/build.ts";
import { Gauge, noteCheck } from "../graph/check.ts";
import { arange, full, ones, zeros } from "../graph/create.ts";
import { concatenate, where } from "../graph/operations.ts";
import type { Strategy } from "../graph/scan.ts";
import { Tensor } from "../graph/tensor.ts";
import { customVjp, stopGradient, vjp } from "../graph/transforms.ts";
import { flatten } from "../graph/tree.ts";
import { whileLoop } from "../graph/while.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { badStart, blame, notFinite, tooMany, tooShort } from "./blame.ts";
import { closeField, merged, varies } from "./close.ts";
import type { Attempts, Moment, Replay, Stepper } from "./methods.ts";
import type { Found, Problem, Solution } from "./problem.ts";
import { firstLength, nextLength, normOf, shareOf, type Tolerance } from "./tolerance.ts";
import { map, type Tree } from "./tree.ts";

/** The way back over steps of a log, from the inverse of one if there is any. */
export type OpenBackward = (inverse: Undo | undefined) => Strategy | undefined;

/** The carry before a step, by its number. */
export type Undo = (carry: Tree, step: Tensor) => Tree;

/** How an adaptive solution is found. */
export interface AdaptiveOptions<Y extends Tree> {
  readonly stepper: Stepper;
  readonly tolerance: Tolerance;
  /** Attempts, at most. */
  readonly maximum: number;
  /** The way back over the accepted steps. */
  readonly backward?: OpenBackward | undefined;
  /** The part of a state whose error counts; all of it by default. */
  readonly measured?: (y: Y) => Tree;
}

/** The accepted steps: the shares from 0 on at which they begin and end, and how many they are. */
interface Log {
  readonly shares: Tensor;
  readonly count: Tensor;
}

/** Values at both ends of the steps that given shares fall into; `to` only where it is needed. */
type Rows<Y extends Tree> = { readonly from: Y; readonly to: Y | null };

/** What goes round. */
interface Carry<Y extends Tree> extends Log {
  readonly state: Tree;
  /** Share of the interval that is done, and of the next attempt. */
  readonly done: Tensor;
  readonly length: Tensor;
  /** Error of the last step accepted, in units of the tolerance. */
  readonly error: Tensor;
  /** True after an attempt that failed. */
  readonly failed: Tensor;
  readonly goes: Tensor;
  readonly found: { rows: Rows<Y>; share: Tensor; length: Tensor } | null;
}

/** The sum as floats have it, whatever a driver thinks of what is done with it. */
function exactSum(a: Tensor, b: Tensor): Tensor {
  return new Tensor(unary("barrier", a.add(b).node));
}

/** When a step runs that takes the time from one share of the interval to another. */
function momentOf(
  { t0, span }: Pick<Problem<Tree>, "t0" | "span">,
  from: Tensor,
  to: Tensor,
): Moment {
  return { t: t0.add(span.mul(from)), h: span.mul(to.sub(from)), end: t0.add(span.mul(to)) };
}

/** Rows for shares of which none has fallen into a step yet. */
function rowsFor<Y extends Tree>(y: Y, { shape: [count] }: Tensor, both: boolean): Rows<Y> {
  const repeated = map((y) => y.expandDims(0).broadcastTo([count!, ...y.shape]), y);
  return { from: repeated, to: both ? repeated : null };
}

/** Rows with the ends of a step where shares fall into it. */
function rowsWith<Y extends Tree>(chosen: Tensor, { from, to }: Rows<Y>, y: Y, next: Y): Rows<Y> {
  const put = (rows: Y, y: Y): Y =>
    map(
      (rows, y) =>
        where(
          chosen.reshape(chosen.shape[0]!, ...y!.shape.map(() => 1)),
          y!.expandDims(0),
          rows,
        ),
      rows,
      y,
    );
  return { from: put(from, y), to: to && put(to, next) };
}

/** All rows, those of the ends after those of the beginnings. */
function allRows<Y extends Tree>({ from, to }: Rows<Y>): Y {
  return to === null ? from : map((from, to) => concatenate([from, to!], 0), from, to);
}

/** True if all numbers of a tree are finite. */
function isFinite(y: Tree): Tensor {
  return flatten(y, isTensor, "a state").leaves.reduce(
    (all, x) => x.size === 0 ? all : all.logicalAnd(x.isFinite().all()),
    ones([], { dtype: "bool" }),
  );
}

/** Solves with attempts, and logs the steps that are accepted. */
function search<Y extends Tree>(
  problem: Problem<Y>,
  options: AdaptiveOptions<Y>,
  shares: Tensor | null,
): Solution<Y> & { readonly log: Log } {
  const { field, y0, t0, span } = problem;
  const { stepper, tolerance, maximum, measured = (y: Y) => y } = options;
  const { first, least = 0, most } = tolerance, { order, tableau } = stepper;
  const attempts: Attempts<Y> = stepper.attempts(field);
  const shortest = shareOf(least, span);
  const longest = most === undefined ? ones([]) : shareOf(most, span);
  const start = first === undefined
    ? firstLength(problem, order, tolerance, measured)
    : shareOf(first, span).minimum(1);
  const places = arange(maximum + 1, { dtype: "u32" });

  function attempt(carry: Carry<Y>, step: Tensor): Carry<Y> {
    const { state, done, found, failed, count } = carry;
    const ends = done.add(carry.length.mul(1.01)).greaterEqual(1);
    const next = where(ends, 1, exactSum(done, carry.length));
    const length = next.sub(done), when = momentOf(problem, done, next);
    const tried = attempts.step(state, when);
    const y = attempts.value(state), after = attempts.value(tried.next);
    const sizes = map((a, b) => a.abs().maximum(b!.abs()), y, after);
    const off = normOf(measured(tried.error), measured(sizes), tolerance);
    const good = off.lessEqual(1), bad = good.logicalNot(), finite = off.isFinite();
    const proposed = nextLength(length, order, { error: off, last: carry.error, good, failed })
      .minimum(longest);
    const now = where(good, next, done);
    const ended = good.logicalAnd(next.greaterEqual(1));
    // What does not move the time is no step, nor is one that failed already, or shorter than allowed.
    const then = exactSum(now, proposed);
    const again = then.greaterEqual(next).logicalOr(proposed.less(shortest));
    const stuck = then.lessEqual(now).logicalOr(bad.logicalAnd(again)).logicalAnd(
      ended.logicalNot(),
    );
    const goes = ended.logicalOr(stuck).logicalNot();
    const late = goes.logicalAnd(step.add(1).greaterEqual(maximum));
    blame(stuck.logicalAnd(finite), when.t, tooShort(least));
    blame(stuck.logicalAnd(finite.logicalNot()), when.t, notFinite);
    blame(late, when.t, tooMany);
    const over = shares?.greater(done).logicalAnd(shares.lessEqual(next)).logicalAnd(good);
    return {
      state: map((next, now) => where(good, next, now!), tried.next, state),
      done: now,
      length: proposed,
      error: where(good, off.maximum(1e-4), carry.error),
      failed: bad,
      goes: goes.logicalAnd(late.logicalNot()),
      shares: where(places.equal(count.add(1)).logicalAnd(good), next, carry.shares),
      count: count.add(good.cast("u32")),
      found: found && {
        rows: rowsWith(over!, found.rows, y, after),
        share: where(over!, done, found.share),
        length: where(over!, length, found.length),
      },
    };
  }

  const possible = isFinite(y0), length = stopGradient(start).minimum(longest);
  blame(possible.logicalNot(), t0, badStart);
  const [last, count] = whileLoop(({ goes }: Carry<Y>) => goes, attempt, {
    state: attempts.start(y0, t0),
    done: zeros([]),
    length,
    error: full([], 1e-4),
    failed: zeros([], { dtype: "bool" }),
    // Where a time is not finite somebody else says so.
    goes: possible.logicalAnd(isFinite([t0, span])),
    shares: zeros([maximum + 1]),
    count: zeros([], { dtype: "u32" }),
    found: shares && {
      rows: rowsFor(y0, shares, tableau === undefined),
      share: zeros(shares.shape),
      length: length.broadcastTo(shares.shape),
    },
  }, { name: "odeSolve" });
  noteCheck({
    flag: count.cast("f32").bitcast("u32").node,
    message: new Gauge("attempts of odeSolve"),
  });
  const log = { shares: last.shares, count: last.count };
  return { end: attempts.value(last.state), found: last.found && foundIn(last.found), log };
}

/** Rows as values at shares: at the ends of steps, too, if they are there. */
function foundIn<Y extends Tree>(
  { rows, share, length }: NonNullable<Carry<Y>["found"]>,
): Found<Y> {
  const y = allRows(rows);
  if (rows.to === null) return { y, share, length };
  const both = (a: Tensor, b: Tensor): Tensor => concatenate([a, b], 0);
  return { y, share: both(share, share.add(length)), length: both(length, length) };
}

/** Solves with the steps that were logged. */
function follow<Y extends Tree>(
  problem: Problem<Y>,
  { stepper, backward }: AdaptiveOptions<Y>,
  shares: Tensor | null,
  log: Log,
): { readonly end: Y; readonly rows: Y | null } {
  type State = { readonly carry: Tree; readonly rows: Rows<Y> | null };
  const { field, y0, t0 } = problem;
  const replay: Replay<Y> = stepper.replay(field), { inverse } = replay;
  const sharesOf = (step: Tensor): [from: Tensor, to: Tensor] => [
    log.shares.take(step),
    log.shares.take(step.add(1)),
  ];
  // What was found on the way is read by no step.
  const undo = inverse && (({ carry, rows }: State, step: Tensor): State => ({
    carry: inverse(carry, momentOf(problem, ...sharesOf(step))),
    rows,
  }));
  const strategy = backward?.(undo as Undo | undefined);
  const [{ carry, rows }] = whileLoop(
    (_: State, step) => step.less(log.count),
    ({ carry, rows }: State, step): State => {
      const [done, next] = sharesOf(step);
      const over = shares?.greater(done).logicalAnd(shares.lessEqual(next));
      const after = replay.step(carry, momentOf(problem, done, next));
      return {
        carry: after,
        rows: rows && rowsWith(over!, rows, replay.value(carry), replay.value(after)),
      };
    },
    {
      carry: replay.start(y0, t0),
      rows: shares && rowsFor(y0, shares, stepper.tableau === undefined),
    },
    { name: "odeSolve", ...(strategy && { backward: strategy }) },
  );
  return { end: replay.value(carry), rows: rows && allRows(rows) };
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
