/**
 * Solutions of stochastic differential equations: a loop over the steps of a method, along a
 * Brownian path that follows from a key.
 *
 * @module
 */
import { checkNames, checkOptions, describe, type Names } from "../graph/describe.ts";
import type { Tensor } from "../graph/tensor.ts";
import { pathOver } from "./brownian.ts";
import type { Field } from "./leapfrog.ts";
import { follow, type SolveBackward } from "./course.ts";
import type { Course } from "./methods.ts";
import { checkState, checkSteps, timeAs } from "./problem.ts";
import {
  eulerMaruyama,
  heunStep,
  midpointStep,
  milstein,
  type Noise,
  pathLike,
  stochasticHeun,
  type StochasticOptions,
  type StochasticStep,
} from "./stochastic.ts";
import type { TensorLike, Tree } from "./tree.ts";

/** Itô's product of a diffusion and noise, or Stratonovich's. */
export type Sense = "ito" | "stratonovich";

/** A method for stochastic equations. */
export type StochasticMethod =
  | "eulerMaruyama"
  | "milstein"
  | "heun"
  | "midpoint"
  | "reversibleHeun";

/** How {@linkcode sdeSolve} solves. */
export interface SdeOptions {
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
  /** What the Brownian paths come from, of `random.key`. */
  readonly key: Tensor;
  /**
   * What the product of diffusion and noise means. Methods solve in one sense:
   *
   * | sense          | methods                                 |
   * |----------------|-----------------------------------------|
   * | `ito`          | `eulerMaruyama`, `milstein`             |
   * | `stratonovich` | `heun`, `midpoint`, `reversibleHeun`    |
   *
   * @default {"the method's, or Stratonovich's without one"}
   */
  readonly sense?: Sense;
  /**
   * The method: of strong order 1 for noise that commutes, as diagonal and scalar noise do, but
   * Euler–Maruyama, which is of order ½. Gradients of `"reversibleHeun"` can run backwards.
   *
   * @default {"reversibleHeun" in the sense of Stratonovich, "eulerMaruyama" in that of Itô}
   */
  readonly method?: StochasticMethod;
  /**
   * What drives the value: each element its own path (`"diagonal"`), all of them one (`"scalar"`),
   * or all of them m paths (`"general"`), with a diffusion that has one more axis, the last, of
   * size m.
   *
   * @default {"diagonal"}
   */
  readonly noise?: Noise;
  /**
   * The Brownian path: one that belongs to the key and the number of steps, drawn step by step; or
   * `"tree"`, the path of the key over the interval whatever the number of steps, so that solutions
   * with other steps are of the same noise. It takes more draws: see `steps.brownianPath`.
   *
   * @default {"steps"}
   */
  readonly path?: "steps" | "tree";
  /**
   * What the gradient keeps of the states on the way. Strategies that run backwards need a method
   * that is reversible.
   *
   * @default {"store"}
   */
  readonly backward?: SolveBackward;
  /**
   * What comes out: the solution at the end; or after every step, with the first value before,
   * stacked.
   *
   * @default {"end"}
   */
  readonly saveAt?: "end" | "steps";
}

const action = "solve an SDE";

/** The options of {@linkcode sdeSolve}. */
const optionNames: Names<SdeOptions> = {
  t0: true,
  t1: true,
  steps: true,
  key: true,
  sense: true,
  method: true,
  noise: true,
  path: true,
  backward: true,
  saveAt: true,
};

const withoutInverse = (
  method: <Y extends Tree>(o: StochasticOptions<Y>) => StochasticStep<Y>,
) =>
<Y extends Tree>(options: StochasticOptions<Y>): unknown => ({
  start: (y: Y) => y,
  value: (y: Y) => y,
  ...method(options),
});

/** Every method with the sense that it solves in. */
const methods: {
  readonly [M in StochasticMethod]: {
    readonly sense: Sense;
    readonly make: <Y extends Tree>(options: StochasticOptions<Y>) => unknown;
  };
} = {
  eulerMaruyama: { sense: "ito", make: withoutInverse(eulerMaruyama) },
  milstein: { sense: "ito", make: withoutInverse(milstein) },
  heun: { sense: "stratonovich", make: withoutInverse(heunStep) },
  midpoint: { sense: "stratonovich", make: withoutInverse(midpointStep) },
  reversibleHeun: { sense: "stratonovich", make: stochasticHeun },
};

function among(name: string, value: unknown, known: readonly string[]): void {
  if (typeof value === "string" && known.includes(value)) return;
  throw new TypeError(
    `Cannot ${action}: ${name} is ${describe(value)}, expected one of ${known.join(", ")}`,
  );
}

/** The method that fits the sense. */
function methodOf({ sense, method }: SdeOptions): StochasticMethod {
  if (sense !== undefined) among("sense", sense, ["ito", "stratonovich"]);
  if (method === undefined) return sense === "ito" ? "eulerMaruyama" : "reversibleHeun";
  among("method", method, Object.keys(methods));
  if (sense === undefined || methods[method].sense === sense) return method;
  const fitting = Object.entries(methods).filter(([, m]) => m.sense === sense).map(([n]) => n);
  throw new TypeError(
    `Cannot ${action}: the method is ${method}, which does not solve in the sense of ${
      sense === "ito" ? "Itô" : "Stratonovich"
    }, expected one of ${fitting.join(", ")}`,
  );
}

/** The steps of a path that is the same for any number of them. */
function treeSteps(
  like: Tree,
  { key, steps }: SdeOptions,
  span: Tensor,
): (step: Tensor) => Tree {
  // At multiples of a power of two, further halvings change nothing.
  const levels = Number.isInteger(Math.log2(steps)) ? Math.max(1, Math.log2(steps)) : 20;
  const path = pathOver(span, { key, like, levels });
  const share = (i: Tensor): Tensor => i.cast("f32").div(steps);
  return (i) => path.between(share(i), share(i.add(1)));
}

/**
 * A solution of dy = drift(y, t) dt + diffusion(y, t) dW from y(t0) = y0, in steps of equal length,
 * in the sense of Stratonovich, or Itô if that is said. The Brownian path follows from the key; it is
 * computed again wherever it is needed. Gradients flow to y0, to t0 and t1, and to what drift and
 * diffusion close over, along the path as it is.
 *
 * @param y0 A tree of tensors of floats.
 * @throws {RangeError} if `steps` is not an integer ≥ 1.
 * @throws {TypeError} if an option is unknown, the method does not solve in the sense that is asked
 * for, or drift or diffusion do not fit y0.
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
  checkOptions(options, action, "{ key, t1: 1, steps: 100 }");
  checkNames(options, optionNames, action);
  const { steps, key, noise = "diagonal", path = "steps", saveAt = "end" } = options;
  for (const [name, f] of Object.entries({ drift, diffusion })) {
    if (typeof f === "function") continue;
    throw new TypeError(`Cannot ${action}: ${name} is ${describe(f)}, expected a function`);
  }
  checkSteps(action, steps);
  checkState(action, y0);
  among("noise", noise, ["diagonal", "scalar", "general"]);
  among("path", path, ["steps", "tree"]);
  among("saveAt", saveAt, ["end", "steps"]);
  const method = methodOf(options);
  const t0 = timeAs(action, "t0", options.t0 === undefined ? 0 : options.t0),
    t1 = timeAs(action, "t1", options.t1);
  const span = t1.sub(t0);
  const equation = { drift, diffusion, key, noise, h: span.div(steps), t0 };
  const own: StochasticOptions<Y> = path === "tree"
    ? { ...equation, increments: treeSteps(pathLike(y0, equation), options, span) }
    : equation;
  const course = methods[method].make(own) as Course<Y>;
  const { end, path: all } = follow(action, course, y0, options, saveAt === "steps", [
    "reversibleHeun",
  ]);
  return all ?? end;
}
