/**
 * Solutions of differential equations as functions to be differentiated: a loop over the steps of a
 * method, whose way back is chosen apart from the method.
 *
 * @module
 */
import { reverse } from "../checkpoint/strategy.ts";
import { arange, tensor } from "../graph/create.ts";
import { concatenate } from "../graph/operations.ts";
import { type Backward, scan } from "../graph/scan.ts";
import { Tensor } from "../graph/tensor.ts";
import { vmap } from "../graph/transforms.ts";
import {
  asynchronousLeapfrog,
  type Field,
  type FieldOptions,
  type Integrator,
  reversibleHeun,
} from "./leapfrog.ts";
import { coupled, explicit, type Method } from "./runge_kutta.ts";
import { stochasticHeun } from "./stochastic.ts";
import { map, negated, plus, type TensorLike, times, type Tree } from "./tree.ts";

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

/** What solutions have in common. */
export interface SolveOptions {
  /**
   * Where the solution begins.
   *
   * @default {0}
   */
  readonly t0?: TensorLike;
  /** Where it ends; before `t0` for one backwards in time. */
  readonly t1: TensorLike;
  /** Steps of equal length from `t0` to `t1`. */
  readonly steps: number;
  /**
   * What the gradient keeps of the states on the way. Strategies that run backwards need a method
   * that is reversible.
   *
   * @default {"store"}
   */
  readonly backward?: SolveBackward;
}

/** How {@linkcode odeSolve} solves. */
export interface OdeOptions<Y extends Tree> extends SolveOptions {
  /**
   * An explicit method or its coefficients; a reversible one by name, the McCallum–Foster pair around
   * the midpoint rule for `"coupled"`; or what makes an integrator for a field.
   *
   * @default {"rk4"}
   */
  readonly method?: Method | ReversibleMethod | IntegratorOf<Y>;
  /**
   * What comes out: the solution at the end; after every step, with the first value before, stacked;
   * or at these times, stacked, by cubic interpolation between steps.
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

/** The steps of a method, with an inverse if there is one. */
interface Course<Y extends Tree> {
  readonly start: (y: Y) => Tree;
  readonly value: (carry: Tree) => Y;
  readonly step: (carry: Tree, i: Tensor) => Tree;
  readonly inverse?: (carry: Tree, i: Tensor) => Tree;
}

function courseOf<Y extends Tree>(
  method: OdeOptions<Y>["method"],
  options: FieldOptions<Y>,
): Course<Y> {
  if (typeof method === "function") return method(options);
  if (typeof method === "string" && Object.hasOwn(reversible, method)) {
    return reversible[method as ReversibleMethod](options) as Course<Y>;
  }
  const { step } = explicit({ ...options, method: (method ?? "rk4") as Method });
  return {
    start: (y) => y,
    value: (y) => y as Y,
    step: step as unknown as Course<Y>["step"],
  };
}

function checkSteps(action: string, steps: number): void {
  if (Number.isInteger(steps) && steps >= 1) return;
  throw new RangeError(`Cannot ${action}: steps is ${steps}, expected an integer ≥ 1`);
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
function follow<Y extends Tree>(
  action: string,
  course: Course<Y>,
  y0: Y,
  { steps, backward = "store" }: SolveOptions,
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

/** Cubic Hermite interpolation of a path between the steps around each time. */
function interpolate<Y extends Tree>(
  field: Field<Y>,
  path: Y,
  moments: Tensor,
  { t0, h, steps }: { readonly t0: TensorLike; readonly h: TensorLike; readonly steps: number },
): Y {
  const place = moments.sub(t0).div(h);
  const index = place.floor().clip(0, steps - 1);
  const left = index.cast("i32"), right = left.add(1);
  const share = place.sub(index);
  const rows = (i: Tensor): Y => map((x) => x.take(i), path);
  const slopes = (y: Y, i: Tensor): Y =>
    vmap((y: Y, t: Tensor) => field(y, t))(y, i.cast("f32").mul(h).add(t0));
  const [a, b] = [rows(left), rows(right)];
  const [da, db] = [slopes(a, left), slopes(b, right)];
  return map(
    (a, b, da, db) => {
      const s = share.reshape(share.shape[0]!, ...a.shape.slice(1).map(() => 1));
      const [from, to] = [da!.mul(h), db!.mul(h)];
      const change = b!.sub(a);
      const cubic = s.mul(s.sub(1));
      return a.add(change.mul(s)).add(
        cubic.mul(s.sub(1).mul(from).add(s.mul(to)).sub(change.mul(s.mul(2).sub(1)))),
      );
    },
    a,
    b,
    da,
    db,
  );
}

/**
 * The solution of dy/dt = field(y, t) from y(t0) = y0, in steps of equal length. Gradients flow to
 * y0, to t0 and t1, to what the field closes over, and through all times of `saveAt`.
 *
 * @param field The rate of change; it may ignore the time.
 * @param y0 A tree of tensors.
 * @throws {RangeError} if `steps` is not an integer ≥ 1.
 * @throws {TypeError} if the method is unknown, or `backward` needs an inverse that it has not.
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
 */
export function odeSolve<Y extends Tree>(field: Field<Y>, y0: Y, options: OdeOptions<Y>): Y {
  const { t0 = 0, t1, steps, method, saveAt = "end" } = options;
  checkSteps("solve an ODE", steps);
  const h = times(plus(t1, negated(t0)), 1 / steps);
  const course = courseOf(method, { field, h, t0 });
  if (saveAt === "end") return follow("solve an ODE", course, y0, options, false).end;
  const path = follow("solve an ODE", course, y0, options, true).path!;
  if (saveAt === "steps") return path;
  const at = saveAt instanceof Tensor ? saveAt : timesOf(saveAt);
  if (at.shape.length !== 1) {
    throw new TypeError(`Cannot solve an ODE: saveAt is ${at}, expected one axis of times`);
  }
  return interpolate(field, path, at, { t0, h, steps });
}

function timesOf(saveAt: readonly number[]): Tensor {
  if (!Array.isArray(saveAt) || saveAt.some((t) => typeof t !== "number")) {
    throw new TypeError(
      `Cannot solve an ODE: saveAt is ${JSON.stringify(saveAt)}, expected "end", "steps" or times`,
    );
  }
  return tensor([...saveAt]);
}

/** How {@linkcode sdeSolve} solves. */
export interface SdeOptions extends SolveOptions {
  /** What the Brownian paths come from, of `random.key`. */
  readonly key: Tensor;
  /**
   * What comes out: the solution at the end; or after every step, with the first value before,
   * stacked.
   *
   * @default {"end"}
   */
  readonly saveAt?: "end" | "steps";
}

/**
 * A solution of dy = drift(y, t) dt + diffusion(y, t) ∘ dW (Stratonovich) from y(t0) = y0, with a
 * Brownian path for each element of y, by reversible Heun. The path belongs to the key and the
 * number of steps; it is computed again wherever it is needed.
 *
 * @throws {RangeError} if `steps` is not an integer ≥ 1.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const path = rg.sdeSolve((y: rg.Tensor) => y.neg(), (y) => y.mul(0).add(0.3), rg.ones([5]), {
 *   key: rg.random.key(1),
 *   t1: 1,
 *   steps: 50,
 *   saveAt: "steps",
 * });
 * console.log(path.shape); // [51, 5]
 * ```
 */
export function sdeSolve<Y extends Tree>(
  drift: Field<Y>,
  diffusion: Field<Y>,
  y0: Y,
  options: SdeOptions,
): Y {
  const { t0 = 0, t1, steps, key, saveAt = "end" } = options;
  checkSteps("solve an SDE", steps);
  const h = times(plus(t1, negated(t0)), 1 / steps);
  const course = stochasticHeun({ drift, diffusion, key, h, t0 }) as unknown as Course<Y>;
  const { end, path } = follow("solve an SDE", course, y0, options, saveAt === "steps");
  return path ?? end;
}
