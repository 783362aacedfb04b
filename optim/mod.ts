/**
 * Optimizers, the gradient transformations that they are composed of, and rates.
 *
 * @module
 */
export * from "./optimizer.ts";
export * from "./rate.ts";
export {
  type AdamMoments,
  addDecayedWeights,
  chain,
  clipByGlobalNorm,
  clipByValue,
  type Context,
  type DecayOptions,
  globalNorm,
  scaleByAdam,
  scaleByRate,
  trace,
  type TraceOptions,
  type Transformation,
} from "./transformation.ts";
