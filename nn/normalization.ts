/**
 * Normalisations of one sample by itself: layer norm (Ba et al. 2016) and RMS norm (Zhang and
 * Sennrich 2019), over the last axis. Both fuse into one dispatch.
 *
 * @module
 */
import { ones, zeros } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import type { Tensor } from "../graph/tensor.ts";
import {
  checkApply,
  expectEpsilon,
  expectFeatures,
  expectSize,
  expectTensors,
  type Layer,
} from "./layer.ts";

/** Parameters of {@linkcode layerNorm}. */
export type LayerNormParams = {
  /** [features], ones at first. */
  readonly scale: Tensor;
  /** [features], zeros at first. */
  readonly bias: Tensor;
};

/** Parameters of {@linkcode rmsNorm}. */
export type RmsNormParams = {
  /** [features], ones at first. */
  readonly scale: Tensor;
};

/** Options of the normalisations. */
export interface NormalizationOptions {
  /** Added to the variance or the mean square. @default {1e-5} */
  epsilon?: number;
}

/**
 * (x - mean) / √(variance + ε) · scale + bias, over the last axis.
 *
 * @throws {RangeError} If `features` is not a positive integer, or `epsilon` negative.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.layerNorm(8);
 * const params = layer.init(rg.random.key(0));
 * assertEquals(layer.apply(params, rg.ones([4, 8])).shape, [4, 8]);
 * ```
 */
export function layerNorm(
  features: number,
  options: NormalizationOptions = {},
): Layer<LayerNormParams> {
  const name = `layerNorm(${features})`, { epsilon = 1e-5 } = options;
  checkNames(options, { epsilon: true }, `make ${name}`);
  expectEpsilon(name, epsilon);
  return affine(name, features, (x, scale, bias) => {
    expectFeatures(name, x, features);
    return standardize(x, [-1], epsilon).y.mul(scale).add(bias);
  });
}

/** A layer with a scale and a bias for every feature, at first ones and zeros. */
export function affine(
  name: string,
  features: number,
  apply: (x: Tensor, scale: Tensor, bias: Tensor) => Tensor,
): Layer<LayerNormParams> {
  expectSize(name, "the number of features", features);
  const shape = [features], shapes = { scale: shape, bias: shape };
  return {
    name,
    init: () => ({ scale: ones(shape), bias: zeros(shape) }),
    apply(params, x, options) {
      checkApply(name, options);
      const { scale, bias } = expectTensors(name, "parameter", params, shapes);
      return narrowed(apply(x, scale, bias), x, scale);
    },
  };
}

/**
 * x / √(mean of x² + ε) · scale, over the last axis.
 *
 * @throws {RangeError} If `features` is not a positive integer, or `epsilon` negative.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.rmsNorm(8);
 * const params = layer.init(rg.random.key(0));
 * assertEquals(layer.apply(params, rg.ones([4, 8])).shape, [4, 8]);
 * ```
 */
export function rmsNorm(
  features: number,
  options: NormalizationOptions = {},
): Layer<RmsNormParams> {
  const name = `rmsNorm(${features})`, { epsilon = 1e-5 } = options;
  checkNames(options, { epsilon: true }, `make ${name}`);
  expectEpsilon(name, epsilon);
  expectSize(name, "the number of features", features);
  const shape = [features];
  return {
    name,
    init: () => ({ scale: ones(shape) }),
    apply(params, x, options) {
      checkApply(name, options);
      const { scale } = expectTensors(name, "parameter", params, { scale: shape });
      expectFeatures(name, x, features);
      const wide = x.cast("f32");
      const square = wide.square().mean(-1, { keepDims: true });
      return narrowed(wide.mul(square.add(epsilon).rsqrt()).mul(scale), x, scale);
    },
  };
}

/**
 * x with mean 0 and variance 1 over axes, and the statistics with these axes of size 1, all in f32:
 * in f16 the square of 256 is infinite, and ε next to nothing.
 */
export function standardize(
  x: Tensor,
  axes: readonly number[],
  epsilon: number,
): { y: Tensor; mean: Tensor; variance: Tensor } {
  const wide = x.cast("f32");
  const mean = wide.mean(axes, { keepDims: true });
  const centred = wide.sub(mean);
  // Two passes: the mean of squares less the square of the mean cancels.
  const variance = centred.square().mean(axes, { keepDims: true });
  return { y: centred.mul(variance.add(epsilon).rsqrt()), mean, variance };
}

/** What was computed in f32, in f16 where that was given. */
export function narrowed(y: Tensor, ...given: readonly Tensor[]): Tensor {
  return given.every(({ dtype }) => dtype === "f16") ? y.cast("f16") : y;
}
