/**
 * Solutions of stochastic differential equations: a loop over the steps of a method, along a
 * Brownian path that follows from a key.
 *
 * @module
 */
import type { Tensor } from "../graph/tensor.ts";
import type { Field } from "./leapfrog.ts";
import { checkSteps, type Course, follow, type SolveBackward } from "./solve.ts";
import { stochasticHeun } from "./stochastic.ts";
import { negated, plus, type TensorLike, times, type Tree } from "./tree.ts";

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
  /**
   * What the gradient keeps of the states on the way. Strategies that run backwards need a method
   * that is reversible.
   *
   * @default {"store"}
   */
  readonly backward?: SolveBackward;
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
