/**
 * Optimizers, the gradient transformations that they are composed of, and rates.
 *
 * | subject     | functions                                                                     |
 * |-------------|-------------------------------------------------------------------------------|
 * | optimizers  | `sgd` (momentum, Nesterov), `adagrad`, `adadelta`, `rmsprop`, `adam`, `adamw`, |
 * |             | `adamax`, `nadam`, `radam`, `amsgrad`, `lion`, `lars`, `lamb`                 |
 * | rates       | `constant`, `stepDecay`, `exponential`, `inverse`, `cosine`, `warmup`, `join`, |
 * |             | `plateau`, `lineSearch`                                                       |
 * | gradients   | `clipByValue`, `clipByNorm`, `clipByGlobalNorm`, `adaptiveClip`, `centralize` |
 * | weights     | `addDecayedWeights`, `clipWeights`, `spectralNorm`, `ema`                     |
 * | precision   | `mixedPrecision`, `fixedPoint`, `toFixedPoint`                                |
 * | curvature   | `newtonStep`, `conjugateGradient`, `gaussNewtonProduct`, `lissa`,             |
 * |             | `inverseProduct`                                                              |
 * | runs        | `trainingRun`, `hypergradient`                                                |
 * | composition | `chain`, `fromTransformation`, `groups`, `accumulate`, `microBatches`         |
 *
 * @module
 */
export * from "./accumulate.ts";
export * from "./adadelta.ts";
export * from "./adagrad.ts";
export * from "./adamax.ts";
export * from "./amsgrad.ts";
export {
  adaptiveClip,
  type AdaptiveClipOptions,
  centralize,
  type CentralizeOptions,
  clipByGlobalNorm,
  clipByNorm,
  clipByValue,
  globalNorm,
} from "./clip.ts";
export * from "./conjugate_gradient.ts";
export * from "./ema.ts";
export {
  type FixedPoint,
  fixedPoint,
  type FixedPointOptions,
  toFixedPoint,
} from "./fixed_point.ts";
export * from "./groups.ts";
export * from "./hypergradient.ts";
export type { Hyperparameter, TrainingSchedule } from "./hypergradient/schedule.ts";
export * from "./inverse_product.ts";
export * from "./layerwise.ts";
export * from "./line_search.ts";
export * from "./lion.ts";
export * from "./mixed.ts";
export * from "./nadam.ts";
export * from "./newton.ts";
export * from "./optimizer.ts";
export * from "./plateau.ts";
export * from "./radam.ts";
export * from "./rate.ts";
export * from "./rmsprop.ts";
export * from "./training_run.ts";
export {
  type AdamMoments,
  addDecayedWeights,
  chain,
  type Context,
  type DecayOptions,
  scaleByAdam,
  scaleByRate,
  trace,
  type TraceOptions,
  type Transformation,
} from "./transformation.ts";
export type { Applies } from "./tree.ts";
export * from "./weights.ts";
