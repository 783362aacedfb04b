/**
 * Reversible steps: what a loop can run backwards instead of keeping its states. A pair of one's own is
 * checked by `reversible`; `odeSolve` and `sdeSolve` run integrators.
 *
 * | subject     | functions                                                                    |
 * |-------------|------------------------------------------------------------------------------|
 * | forces      | `leapfrog`; on a grid, exact to the bit, `exactLeapfrog`                     |
 * | fields      | `asynchronousLeapfrog`, `reversibleHeun`, `coupled` (any explicit method)    |
 * | waves       | `staggered`, `wave`                                                          |
 * | layers      | `additiveCoupling`, on a grid `exactCoupling`, `momentumBlock`,              |
 * |             | `contractiveBlock`                                                           |
 * | noise       | `stochasticHeun`, `brownian`, and `brownianPath`, with a value at any time   |
 * | anything    | `byIteration`, for steps that change little, like those of optimizers        |
 *
 * @module
 */
export * from "./blocks.ts";
export { type BrownianPath, brownianPath, type BrownianPathOptions } from "./brownian.ts";
export {
  type ExactCoupling,
  exactCoupling,
  type ExactLeapfrog,
  exactLeapfrog,
  type ExactLeapfrogOptions,
  Grid,
  grid,
  type GridOptions,
} from "./grid.ts";
export * from "./leapfrog.ts";
export {
  type Coupled,
  coupled,
  type CoupledOptions,
  explicit,
  type Method,
  type MethodName,
  type Tableau,
  tableaux,
} from "./runge_kutta.ts";
export type { Clock, ReversibleStep } from "./step.ts";
export { brownian, type Noise, stochasticHeun, type StochasticOptions } from "./stochastic.ts";
export * from "./wave.ts";
