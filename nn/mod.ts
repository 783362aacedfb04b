/**
 * Layers as pure `init` and `apply`, activations, initialisers and losses.
 *
 * @module
 */
export * from "./activations.ts";
export * from "./batch_norm.ts";
export * from "./dropout.ts";
export {
  type FanMode,
  type Fans,
  fansOf,
  glorotNormal,
  glorotUniform,
  heNormal,
  heUniform,
  type Initializer,
  lecunNormal,
  lecunUniform,
  normal,
  varianceScaling,
  type VarianceScalingOptions,
  zeros,
} from "./initializers.ts";
export type { ApplyOptions, Layer, StatefulLayer } from "./layer.ts";
export * from "./linear.ts";
export * from "./losses.ts";
export {
  layerNorm,
  type LayerNormParams,
  type NormalizationOptions,
  rmsNorm,
  type RmsNormParams,
} from "./normalization.ts";
export * from "./sequential.ts";
