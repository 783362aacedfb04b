/**
 * Solutions of ordinary differential equations as functions to be differentiated: a loop over the
 * steps of a method, whose way back is chosen apart from the method.
 *
 * @module
 */
import { online, reverse } from "../checkpoint/strategy.ts";
import { checkNames, checkOptions, describe } from "../graph/describe.ts";
import { arange, tensor } from "../graph/create.ts";
import { isFloat } from "../graph/dtype.ts";
import { concatenate } from "../graph/operations.ts";
import { type Backward, scan, type Strategy } from "../graph/scan.ts";
import { Tensor } from "../graph/tensor.ts";
import { flatten, leafPaths } from "../graph/tree.ts";
import { type Problem, type Solution, solveAdaptively, type Tolerance } from "./adaptive.ts";
import { checkedField } from "./close.ts";
import { solveContinuously, type Solver } from "./continuous.ts";
import { sharesOf, stepsAt, valuesBetween, valuesWithin } from "./dense.ts";
import {
  asynchronousLeapfrog,
  type Field,
  type FieldOptions,
  type Integrator,
  reversibleHeun,
} from "./leapfrog.ts";
import {
  coupled,
  explicit,
  type Method,
  type Tableau,
  tableauOf,
  tableaux,
} from "./runge_kutta.ts";
import { map, type TensorLike, type Tree } from "./tree.ts";

/** A reversible integrator by name. */
export type ReversibleMethod = "asynchronousLeapfrog" | "reversibleHeun" | "coupled";

/** Makes an integrator for a field. */
export type IntegratorOf<Y extends Tree> = (options: FieldOptions<Y>) => Integrator<Y, Tree>;

/** How the way back gets its states: a strategy, or one made with the inverse of the step. */
export type SolveBackward =
  | Backward
  /** Backwards with a tape of what the inverse gets wrong: the gradient of `"store"`, to the bit. */
  | "reverse"
  | ((inverse: (carry: Tree, step: Tensor) => Tree) => Backward);

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
   * Attempts at a step, at most, where steps choose their own length; more are an error.
   *
   * @default {4096}
   */
  readonly maximum?: number;
  /**
   * An explicit method or its coefficients; a reversible one by name, the McCallum–Foster pair around
   * the midpoint rule for `"coupled"`; or what makes an integrator for a field. With a tolerance it
   * needs an embedded one of lower order, as `"bs3"`, `"dopri5"` and `"tsit5"` have.
   *
   * @default {"rk4" of equal steps, "dopri5" with a tolerance}
   */
  readonly method?: Method | ReversibleMethod | IntegratorOf<Y>;
  /**
   * What the gradient keeps of the states on the way. With equal steps: `"store"`, any strategy of
   * loops, `"reverse"` for methods that are reversible. With a tolerance: `online`,
   * since nobody knows the number of steps before; `"store"` keeps all states of up to 256 steps, and
   * takes memory for as many. All of these give one gradient, to the bit: that of the computed
   * solution, with the steps that were chosen.
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
  readonly saveAt?: "end" | "steps" | readonly number[] | Tensor;
}

const reversible: {
  readonly [M in ReversibleMethod]: <Y extends Tree>(o: FieldOptions<Y>) => unknown;
} = {
  asynchronousLeapfrog,
  reversibleHeun,
  coupled,
};

const isTensor = (value: unknown): value is Tensor => value instanceof Tensor;
const action = "solve an ODE";

/** The steps of a method, with an inverse if there is one. */
export interface Course<Y extends Tree> {
  readonly start: (y: Y) => Tree;
  readonly value: (carry: Tree) => Y;
  readonly step: (carry: Tree, i: Tensor) => Tree;
  readonly inverse?: (carry: Tree, i: Tensor) => Tree;
}

function isReversible(method: unknown): method is ReversibleMethod {
  return typeof method === "string" && Object.hasOwn(reversible, method);
}

function courseOf<Y extends Tree>(
  method: OdeOptions<Y>["method"],
  options: FieldOptions<Y>,
): Course<Y> {
  if (typeof method === "function") return method(options);
  if (isReversible(method)) return reversible[method](options) as Course<Y>;
  const { step } = explicit({ ...options, method: method ?? "rk4" });
  return {
    start: (y) => y,
    value: (y) => y as Y,
    step: step as unknown as Course<Y>["step"],
  };
}

/** Throws unless steps are a positive integer. */
export function checkSteps(action: string, steps: unknown): asserts steps is number {
  if (typeof steps === "number" && Number.isSafeInteger(steps) && steps >= 1) return;
  throw new RangeError(`Cannot ${action}: steps is ${describe(steps)}, expected an integer ≥ 1`);
}

/** A moment as a scalar of floats. */
export function timeAs(action: string, name: string, t: unknown): Tensor {
  if (typeof t === "number" && Number.isFinite(t)) return tensor(t);
  if (isTensor(t) && t.shape.length === 0 && isFloat(t.dtype)) return t.cast("f32");
  throw new TypeError(
    `Cannot ${action}: ${name} is ${isTensor(t) ? t : describe(t)}, expected a finite number or ` +
      "a scalar of floats",
  );
}

/** Throws unless a state is made of floats. */
export function checkState(action: string, y0: unknown): void {
  const { leaves, structure } = flatten(y0, isTensor, "y0");
  const paths = leafPaths(structure);
  const wrong = leaves.findIndex((x) => !isFloat(x.dtype));
  if (leaves.length > 0 && wrong < 0) return;
  const what = leaves.length === 0
    ? "y0 has no tensors"
    : `${paths[wrong] === "" ? "y0" : `y0.${paths[wrong]}`} is ${leaves[wrong]!.dtype}`;
  throw new TypeError(`Cannot ${action}: ${what}, expected a tree of tensors of floats`);
}

function backwardOf<Y extends Tree>(
  action: string,
  backward: SolveBackward,
  { inverse }: Course<Y>,
): Backward {
  if (backward !== "reverse" && typeof backward !== "function") return backward;
  if (inverse === undefined) {
    throw new TypeError(
      `Cannot ${action}: the method has no inverse, expected a reversible one (${
        Object.keys(reversible).join(", ")
      }) to run backwards`,
    );
  }
  return typeof backward === "function"
    ? backward(inverse)
    : reverse<Tree, Tensor>({ inverse, exact: "tape" });
}

/** The value at the end, and the values after all steps if they are asked for. */
export function follow<Y extends Tree>(
  action: string,
  course: Course<Y>,
  y0: Y,
  { steps, backward = "store" }: { readonly steps: number; readonly backward?: SolveBackward },
  all: boolean,
): { readonly end: Y; readonly path: Y | undefined } {
  const [last, path] = scan(
    (carry: Tree, i: Tensor): [Tree, Tree] => {
      const next = course.step(carry, i);
      return [next, all ? course.value(next) : null];
    },
    course.start(y0),
    arange(steps, { dtype: "u32" }),
    { backward: backwardOf(action, backward, course), name: action },
  );
  if (!all) return { end: course.value(last), path: undefined };
  const whole = map((y0, ys) => concatenate([y0.expandDims(0), ys!], 0), y0, path);
  return { end: course.value(last), path: whole };
}

/** Solves in equal steps; with any shares, all values between them are found. */
function equalSteps<Y extends Tree>(
  method: OdeOptions<Y>["method"],
  { field, y0, t0, span }: Problem<Y>,
  { steps, backward }: { readonly steps: number; readonly backward?: SolveBackward },
  shares: Tensor | null,
): Solution<Y> {
  const course = courseOf(method, { field: checkedField(field), h: span.div(steps), t0 });
  const how = { steps, ...(backward && { backward }) };
  const { end, path } = follow(action, course, y0, how, shares !== null);
  const share = arange(steps + 1).div(steps);
  const length = share.mul(0).add(1 / steps);
  return { end, found: path === undefined ? null : { y: path, share, length } };
}

/** Equal steps forwards and, for the adjoint, backwards. */
function equally(method: OdeOptions<Tree>["method"], steps: number): Solver {
  const run = <Y extends Tree>(
    problem: Problem<Y>,
    steps: number,
    shares: Tensor | null,
  ): Solution<Y> => equalSteps(method as OdeOptions<Y>["method"], problem, { steps }, shares);
  return {
    solve: <Y extends Tree>(problem: Problem<Y>, shares: Tensor | null) =>
      run(problem, steps, shares),
    back: <Y extends Tree>(problem: Problem<Y>, { part }: { readonly part: boolean }) =>
      run(problem, part ? 1 : steps, null).end,
  };
}

/** The parts of a tolerance, if they make sense. */
function toleranceOf(tolerance: unknown): Tolerance {
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
  const { rtol = 1e-4, atol = 1e-6, least = 0, most = Infinity } = parts as Tolerance;
  if (least > most) {
    throw new RangeError(`Cannot ${action}: least is ${least}, expected at most ${most}, the most`);
  }
  if (rtol > 0 || atol > 0) return parts;
  throw new RangeError(`Cannot ${action}: rtol and atol are 0, expected one of them above`);
}

/** The coefficients of a method that can choose its steps. */
function embedded(method: unknown): Tableau {
  const names = Object.entries(tableaux).filter(([, { error }]) => error).map(([name]) => name);
  const expected = `expected ${names.join(", ")} or a tableau with an error to choose its steps`;
  if (typeof method === "function" || isReversible(method)) {
    const what = typeof method === "function" ? "of its own" : method;
    throw new TypeError(`Cannot ${action} within a tolerance: the method is ${what}, ${expected}`);
  }
  const tableau = tableauOf(method as Method, action);
  if (tableau.error !== undefined) return tableau;
  const what = typeof method === "string" ? method : "a tableau without an error";
  throw new TypeError(`Cannot ${action} within a tolerance: the method is ${what}, ${expected}`);
}

/** States that `"store"` keeps where nobody knows how many there will be. */
const mostStored = 256;

/** The way back over steps whose number is not known before. */
function openBackward(backward: SolveBackward | undefined, maximum: number): Strategy | undefined {
  if (backward === undefined) return undefined;
  if (backward === "store") return online({ snapshots: Math.min(maximum, mostStored) });
  if (typeof backward === "object" && backward?.plan?.open !== undefined) return backward;
  const what = typeof backward === "object" && backward !== null
    ? backward.plan?.name
    : typeof backward === "function"
    ? "made with an inverse"
    : describe(backward);
  throw new TypeError(
    `Cannot ${action} within a tolerance: backward is ${what}, expected "store", ` +
      'online({ snapshots }) or "continuous" (nobody knows before how many steps there will be)',
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
 * shorter steps than there are, as near a pole or where the field gives NaN; it names the time.
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
  const { steps, tolerance, maximum = 4096, method, backward, saveAt = "end" } = options;
  if (typeof field !== "function") {
    throw new TypeError(`Cannot ${action}: the field is ${describe(field)}, expected a function`);
  }
  checkState(action, y0);
  const t0 = timeAs(action, "t0", options.t0 ?? 0), t1 = timeAs(action, "t1", options.t1);
  if ((steps === undefined) === (tolerance === undefined)) {
    throw new TypeError(
      `Cannot ${action}: there are ${steps === undefined ? "neither" : "both"} steps ${
        steps === undefined ? "nor" : "and"
      } a tolerance, expected one of them`,
    );
  }
  if (tolerance === undefined) checkSteps(action, steps);
  const problem = { field, y0, t0, span: t1.sub(t0) };
  const shares = savedShares(options, problem);
  if (shares?.size === 0) return map((y) => y.expandDims(0).slice([0, 0]), y0);
  if (steps !== undefined) {
    const { end, found } = backward === "continuous"
      ? solveContinuously(problem, equally(method as OdeOptions<Tree>["method"], steps), shares)
      : equalSteps(method, problem, { steps, ...(backward && { backward }) }, shares);
    if (found === null) return end;
    if (saveAt === "steps") return found.y;
    if (typeof method === "function" || isReversible(method)) {
      return valuesBetween(problem, found.y, shares!, steps);
    }
    const tableau = tableauOf(method ?? "rk4", action);
    return valuesWithin(tableau, problem, stepsAt(found.y, shares!, steps), shares!);
  }
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
  const tableau = embedded(method ?? "dopri5");
  const how = { tableau, tolerance: toleranceOf(tolerance), maximum };
  const solver: Solver = {
    solve: (problem, shares) => solveAdaptively(problem, how, shares),
    back: (problem, { measured }) => solveAdaptively(problem, { ...how, measured }, null).end,
  };
  const { end, found } = backward === "continuous"
    ? solveContinuously(problem, solver, shares)
    : solveAdaptively(problem, { ...how, backward: openBackward(backward, maximum) }, shares);
  return found === null ? end : valuesWithin(tableau, problem, found, shares!);
}

/** The options of {@linkcode odeSolve}. */
const optionNames = ["t0", "t1", "steps", "tolerance", "maximum", "method", "backward", "saveAt"];

/** The shares of the interval at which values are asked for; null if only the end is. */
function savedShares<Y extends Tree>(
  { saveAt = "end", t0 = 0, t1, steps }: OdeOptions<Y>,
  problem: Problem<Y>,
): Tensor | null {
  if (saveAt === "end") return null;
  if (saveAt === "steps") return arange((steps ?? 1) + 1);
  if (isTensor(saveAt)) {
    if (saveAt.shape.length !== 1 || !isFloat(saveAt.dtype)) {
      throw new TypeError(
        `Cannot ${action}: saveAt is ${saveAt}, expected one axis of times, of floats`,
      );
    }
    return saveAt.size === 0 ? saveAt : sharesOf(saveAt.cast("f32"), problem.t0, problem.span);
  }
  if (!Array.isArray(saveAt) || saveAt.some((t) => typeof t !== "number")) {
    throw new TypeError(
      `Cannot ${action}: saveAt is ${describe(saveAt)}, expected "end", "steps" or times`,
    );
  }
  if (typeof t0 === "number" && typeof t1 === "number") {
    const [low, high] = [Math.min(t0, t1), Math.max(t0, t1)];
    const outside = saveAt.find((t) => !(t >= low && t <= high));
    if (outside !== undefined) {
      throw new RangeError(
        `Cannot ${action}: saveAt has ${outside}, expected times from ${low} to ${high}`,
      );
    }
  }
  return sharesOf(
    tensor(saveAt.length === 0 ? new Float32Array(0) : [...saveAt]),
    problem.t0,
    problem.span,
  );
}
