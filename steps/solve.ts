/**
 * Solutions of ordinary differential equations as functions to be differentiated. What the methods
 * are is in methods.ts; equal steps are in course.ts, steps that choose their length in adaptive.ts.
 *
 * @module
 */
import { online, reverse, revolve } from "../checkpoint/strategy.ts";
import { arange } from "../graph/create.ts";
import { checkNames, checkOptions, describe, type Names } from "../graph/describe.ts";
import { auto } from "../graph/loops/auto.ts";
import type { Strategy } from "../graph/scan.ts";
import type { Tensor } from "../graph/tensor.ts";
import { type OpenBackward, solveAdaptively, type Undo } from "./adaptive.ts";
import { solveContinuously, type Solver } from "./continuous.ts";
import { equally, type SolveBackward, solveEqually } from "./course.ts";
import { sharesAt, stepsAt, valuesBetween, valuesWithin } from "./dense.ts";
import type { Field } from "./leapfrog.ts";
import {
  checkMethod,
  integratorOf,
  reversibleNames,
  type SolveMethod,
  stepperOf,
  withoutInverse,
} from "./methods.ts";
import { checkState, checkSteps, type Problem, timeAs } from "./problem.ts";
import { type Method, tableauOf } from "./runge_kutta.ts";
import { type Tolerance, toleranceOf } from "./tolerance.ts";
import { map, type TensorLike, type Tree } from "./tree.ts";

/** How {@linkcode odeSolve} solves. */
export interface OdeOptions<Y extends Tree> {
  /**
   * Where the solution begins.
   *
   * @default {0}
   */
  readonly t0?: TensorLike;
  /** Where it ends; before `t0` for one backwards in time. */
  readonly t1: TensorLike;
  /** Steps of equal length from `t0` to `t1`. This or `tolerance` is given, not both. */
  readonly steps?: number;
  /**
   * Steps choose their own length so that each errs by no more than this, relatively and absolutely,
   * or by what the parts say; element by element, in the mean of squares.
   */
  readonly tolerance?: number | Tolerance;
  /**
   * Attempts at a step, at most, with a tolerance; more are an error.
   *
   * @default {4096}
   */
  readonly maximum?: number;
  /**
   * An explicit method or its coefficients; a reversible one by name, the McCallum–Foster pair around
   * the midpoint rule for `"coupled"`; or what makes an integrator for a field. With a tolerance it
   * has to tell what a step errs by, as all named ones but `"euler"` and `"rk4"` do: a tableau by its
   * `error`, an integrator by its `trial`.
   *
   * @default {"rk4" of equal steps, "dopri5" with a tolerance}
   */
  readonly method?: SolveMethod<Y>;
  /**
   * What the gradient keeps of the states on the way.
   *
   * | backward         | of equal steps                                | with a tolerance                    |
   * |------------------|-----------------------------------------------|-------------------------------------|
   * | `"store"`        | all states                                    | those of up to 256 steps, and takes |
   * |                  |                                               | memory for as many                  |
   * | `revolve(…)`     | chosen ones, with the fewest steps run again  | as `online(…)`, by segments if      |
   * |                  |                                               | it says so                          |
   * | `online(…)`      | chosen ones                                   | chosen ones                         |
   * | `"reverse"`      | the last, and a tape of what the inverse of   | 16, and such a tape for segments of |
   * |                  | a reversible method gets wrong                | 64 steps between them               |
   * | a function of    | as the strategy says that it returns, with    | the same; a `reverse(…)` goes back  |
   * | the inverse      | `reverse(…)` alone or below `revolve(…)`      | over segments of 64 steps           |
   * | `"auto"`         | as the compiler decides                       | chosen ones, as many as fit, up to  |
   * |                  |                                               | 64                                  |
   * | `offload(…)`     | chosen ones, on host or disk                  | not: nobody knows before how many   |
   * |                  |                                               | steps there will be                 |
   *
   * All of these give one gradient, to the bit, but for a `reverse(…)` that is not exact: that of the
   * computed solution, with the steps that were chosen.
   *
   * `"continuous"` keeps nothing, and solves the adjoint equation backwards, by the same method and
   * with as many steps or the same tolerance: an approximation, good as far as the solution is exact
   * and can be gone back over.
   *
   * @default {"store" of equal steps, online({ snapshots: 16 }) with a tolerance}
   */
  readonly backward?: SolveBackward | "continuous";
  /**
   * What comes out: the solution at the end; after every step, with the first value before, stacked,
   * where steps are equal; or at these times, stacked, in any order, by the method's own
   * interpolation (of fourth order for `"dopri5"` and `"tsit5"`), or a cubic one.
   *
   * @default {"end"}
   */
  readonly saveAt?: "end" | "steps" | readonly number[] | Float32Array | Float64Array | Tensor;
}

const action = "solve an ODE";

/** States that `"store"` keeps where nobody knows how many there will be. */
const mostStored = 256;
/** Snapshots, and steps between them that are undone together, where the steps are run backwards. */
const outer = { snapshots: 16, segment: 64 };

/** The way back over steps whose number is not known before. */
function openBackward(
  backward: SolveBackward | undefined,
  maximum: number,
  inverts: boolean,
): OpenBackward | undefined {
  if (backward === undefined) return undefined;
  if (backward === "store") {
    return () => online({ snapshots: Math.min(maximum, mostStored) });
  }
  if (backward === "reverse" || typeof backward === "function") {
    if (!inverts) throw withoutInverse(`${action} within a tolerance`, reversibleNames);
    const made = typeof backward === "function"
      ? (undo: Undo) => within(backward(undo))
      : (undo: Undo) => within(reverse<Tree, Tensor>({ inverse: undo, exact: "tape" }));
    // Whatever it returns, it is to be seen at once, and not when there is an inverse.
    made((carry) => carry);
    return (undo) => made(undo!);
  }
  const strategy = within(backward);
  return () => strategy;
}

/** A strategy that can go back over steps whose number is not known before. */
function within(backward: unknown): Strategy {
  if (backward === "auto") return auto();
  const { plan, inverse } = (backward ?? {}) as Partial<Strategy>;
  if (plan?.open !== undefined) return backward as Strategy;
  if (plan?.inverts && inverse !== undefined) {
    return revolve({ ...outer, leaf: backward as Strategy });
  }
  throw new TypeError(
    `Cannot ${action} within a tolerance: backward is ${plan?.name ?? describe(backward)}, ` +
      'expected "store", "auto", online({ snapshots }), revolve({ snapshots }), "reverse", a function ' +
      'of the inverse or "continuous" (nobody knows before how many steps there will be)',
  );
}

/**
 * The solution of dy/dt = field(y, t) from y(t0) = y0, in steps of equal length, or in steps that
 * choose their length within a tolerance. Gradients of any order and mode flow to y0, to t0 and t1,
 * to what the field closes over, and through all times of `saveAt`.
 *
 * Within a tolerance the device decides about each step: an attempt whose error is too large changes
 * nothing but the length of the next, and no value is waited for in between. What is differentiated
 * is the computed solution, over the steps that were accepted; they move with t0 and t1, and do not
 * depend on anything else. How many attempts it took is among what `measured()` of a compiled
 * function tells.
 *
 * @param field The rate of change; it may ignore the time.
 * @param y0 A tree of tensors of floats.
 * @throws {RangeError} if `steps`, `maximum` or a part of the tolerance is no positive number, or a
 * time of `saveAt` is not from t0 to t1.
 * @throws {TypeError} if both or none of `steps` and `tolerance` are given, the method is unknown or
 * cannot choose its steps where it should, or `backward` needs an inverse that it has not.
 * @throws {CheckError} at the next await, if the solution needs more attempts than `maximum`, or
 * shorter steps than there are, as at a pole, where the field gives NaN, or t0, t1 or y0 are no finite
 * numbers; it names the time.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const end = (rate: rg.Tensor) =>
 *   rg.odeSolve((y: rg.Tensor) => y.mul(rate), rg.tensor(1), {
 *     t1: 1,
 *     steps: 20,
 *     method: "reversibleHeun",
 *     backward: "reverse",
 *   });
 * assertAlmostEquals(await end(rg.tensor(-1)).item() as number, Math.exp(-1), 1e-3);
 * assertAlmostEquals(await rg.grad(end)(rg.tensor(-1)).item() as number, Math.exp(-1), 1e-3);
 * ```
 *
 * @example Steps that choose their length, and values at some times
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * type State = { x: rg.Tensor; v: rg.Tensor };
 * const swing = rg.odeSolve(
 *   ({ x, v }: State) => ({ x: v, v: x.neg() }),
 *   { x: rg.tensor(1), v: rg.tensor(0) },
 *   { t1: 10, tolerance: 1e-5, saveAt: [0, Math.PI, 2 * Math.PI] },
 * );
 * const [start, half, whole] = await swing.x.array() as number[];
 * assertAlmostEquals(start!, 1, 1e-3);
 * assertAlmostEquals(half!, -1, 1e-3);
 * assertAlmostEquals(whole!, 1, 1e-3);
 * ```
 */
export function odeSolve<Y extends Tree>(field: Field<Y>, y0: Y, options: OdeOptions<Y>): Y {
  checkOptions(options, action, "{ t1: 1, steps: 100 }");
  checkNames(options, optionNames, action);
  const { steps, tolerance } = options;
  if (typeof field !== "function") {
    throw new TypeError(`Cannot ${action}: the field is ${describe(field)}, expected a function`);
  }
  checkState(action, y0);
  checkMethod(options.method, action);
  if ((steps === undefined) === (tolerance === undefined)) {
    throw new TypeError(
      `Cannot ${action}: there are ${steps === undefined ? "neither" : "both"} steps ${
        steps === undefined ? "nor" : "and"
      } a tolerance, expected one of them`,
    );
  }
  const { t0 = 0, t1 } = options, start = timeAs(action, "t0", t0);
  const problem = { field, y0, t0: start, span: timeAs(action, "t1", t1).sub(start) };
  return steps === undefined ? withinTolerance(problem, options) : inSteps(problem, steps, options);
}

/** The options of {@linkcode odeSolve}. */
const optionNames: Names<OdeOptions<Tree>> = {
  t0: true,
  t1: true,
  steps: true,
  tolerance: true,
  maximum: true,
  method: true,
  backward: true,
  saveAt: true,
};

/** No values at all. */
function none<Y extends Tree>(y0: Y): Y {
  return map((y) => y.expandDims(0).slice([0, 0]), y0);
}

/** Solves in so many equal steps. */
function inSteps<Y extends Tree>(
  problem: Problem<Y>,
  steps: number,
  { method = "rk4", backward, saveAt = "end", maximum, ...times }: OdeOptions<Y>,
): Y {
  checkSteps(action, steps);
  if (maximum !== undefined) {
    throw new TypeError(
      `Cannot ${action}: there are steps and a maximum, which is one of attempts within a ` +
        "tolerance, expected one of them",
    );
  }
  const shares = saveAt === "steps" ? arange(steps + 1) : sharesAt(action, saveAt, times, problem);
  if (shares?.size === 0) return none(problem.y0);
  const { end, found } = backward === "continuous"
    ? solveContinuously(problem, equally(action, method as SolveMethod<Tree>, steps), shares)
    : solveEqually(action, method, problem, { steps, backward }, shares);
  if (found === null) return end;
  if (saveAt === "steps") return found.y;
  const reversible = integratorOf(method) !== undefined;
  const ends = stepsAt(found.y, shares!, steps, reversible);
  if (reversible) return valuesBetween(problem, ends, shares!);
  return valuesWithin(tableauOf(method as Method, action), problem, ends, shares!);
}

/** Solves in steps that choose their length. */
function withinTolerance<Y extends Tree>(
  problem: Problem<Y>,
  { tolerance, maximum = 4096, method = "dopri5", backward, saveAt = "end", ...times }: OdeOptions<
    Y
  >,
): Y {
  if (!Number.isSafeInteger(maximum) || maximum < 1 || maximum >= 2 ** 24) {
    throw new RangeError(
      `Cannot ${action}: maximum is ${describe(maximum)}, expected an integer from 1 to 2^24 - 1`,
    );
  }
  if (saveAt === "steps") {
    throw new TypeError(
      `Cannot ${action} within a tolerance: saveAt is "steps", expected "end" or times (nobody ` +
        "knows how many steps there will be)",
    );
  }
  const stepper = stepperOf(action, method, problem.field), { tableau } = stepper;
  const how = { stepper, tolerance: toleranceOf(action, tolerance), maximum };
  const open = backward === "continuous"
    ? undefined
    : openBackward(backward, maximum, stepper.inverts);
  const shares = sharesAt(action, saveAt, times, problem);
  if (shares?.size === 0) return none(problem.y0);
  const solver: Solver = {
    solve: (problem, shares) => solveAdaptively(problem, how, shares),
    back: (problem, { measured }) => solveAdaptively(problem, { ...how, measured }, null).end,
  };
  const { end, found } = backward === "continuous"
    ? solveContinuously(problem, solver, shares)
    : solveAdaptively(problem, { ...how, backward: open }, shares);
  if (found === null) return end;
  return tableau === undefined
    ? valuesBetween(problem, found, shares!)
    : valuesWithin(tableau, problem, found, shares!);
}
