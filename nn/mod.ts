/**
 * Layers as pure `init` and `apply`, activations, initialisers and losses.
 *
 * @module
 */
export * from "./activations.ts";
export * from "./attention.ts";
export * from "./batch_norm.ts";
export * from "./conv.ts";
export * from "./dropout.ts";
export * from "./fixed_point.ts";
export * from "./gpt.ts";
export * from "./group_norm.ts";
export {
  type FanMode,
  type Fans,
  fansOf,
  type GainOptions,
  glorotNormal,
  glorotUniform,
  heNormal,
  heUniform,
  identity,
  type Initializer,
  lecunNormal,
  lecunUniform,
  normal,
  orthogonal,
  varianceScaling,
  type VarianceScalingOptions,
  zeros,
} from "./initializers.ts";
export {
  type ApplyOptions,
  type Layer,
  type Stage,
  stagesOf,
  type StatefulLayer,
} from "./layer.ts";
export * from "./lean_relu.ts";
export * from "./linear.ts";
export * from "./losses.ts";
export * from "./multi_head_attention.ts";
export {
  layerNorm,
  type LayerNormParams,
  type NormalizationOptions,
  rmsNorm,
  type RmsNormParams,
} from "./normalization.ts";
export * from "./positions.ts";
export * from "./recurrent.ts";
export * from "./residual.ts";
export * from "./resnet.ts";
export * from "./sequential.ts";
export * from "./sketch_layer.ts";
export * from "./weight_norm.ts";
