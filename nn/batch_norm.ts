/**
 * Batch norm (Ioffe and Szegedy 2015): over all axes but one. While training it uses the batch's
 * own statistics and moves the running ones towards them; otherwise it uses the running ones. They
 * are an argument and a result, never hidden.
 *
 * @module
 */
import { ones, zeros } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import { normalizeAxis } from "../graph/shape.ts";
import type { Tensor } from "../graph/tensor.ts";
import { stopGradient } from "../graph/transforms.ts";
import {
  checkApply,
  expectEpsilon,
  expectSize,
  expectTensors,
  type StatefulLayer,
} from "./layer.ts";
import { narrowed, type NormalizationOptions, standardize } from "./normalization.ts";

/** Parameters of {@linkcode batchNorm}. */
export type BatchNormParams = {
  /** [features], ones at first. */
  readonly scale: Tensor;
  /** [features], zeros at first. */
  readonly bias: Tensor;
};

/** Running statistics of {@linkcode batchNorm}. */
export type BatchNormState = {
  /** [features], zeros at first. */
  readonly mean: Tensor;
  /** [features], ones at first. */
  readonly variance: Tensor;
};

/** Options for {@linkcode batchNorm}. */
export interface BatchNormOptions extends NormalizationOptions {
  /** The share of the newest batch in the running statistics, as in PyTorch. @default {0.1} */
  momentum?: number;
  /** The axis of the features; statistics are taken over all others. @default {-1} */
  axis?: number;
}

/**
 * (x - mean) / √(variance + ε) · scale + bias, per feature. The running variance is the unbiased
 * one, as in PyTorch.
 *
 * @throws {RangeError} If `features` is not a positive integer, `epsilon` negative, or `momentum`
 * not in [0, 1].
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.batchNorm(8);
 * const params = layer.init(rg.random.key(0));
 * const [y, state] = layer.apply(params, layer.initState(), rg.ones([4, 8]), { train: true });
 * assertEquals(y.shape, [4, 8]);
 * assertEquals(state.mean.shape, [8]);
 * ```
 */
export function batchNorm(
  features: number,
  options: BatchNormOptions = {},
): StatefulLayer<BatchNormParams, BatchNormState> {
  const name = `batchNorm(${features})`;
  const { epsilon = 1e-5, momentum = 0.1, axis = -1 } = options;
  checkNames(options, { epsilon: true, momentum: true, axis: true }, `make ${name}`);
  expectEpsilon(name, epsilon);
  expectSize(name, "the number of features", features);
  if (!(momentum >= 0 && momentum <= 1)) {
    throw new RangeError(`Cannot make ${name}: momentum is ${momentum}, expected one in [0, 1]`);
  }
  const shape = [features];
  return {
    name,
    init: () => ({ scale: ones(shape), bias: zeros(shape) }),
    initState: () => ({ mean: zeros(shape), variance: ones(shape) }),
    apply(params, state, x, options = {}) {
      checkApply(name, options);
      const { train = false } = options;
      const { scale, bias } = expectTensors(name, "parameter", params, {
        scale: shape,
        bias: shape,
      });
      const running = expectTensors(name, "state", state, { mean: shape, variance: shape });
      const at = normalizeAxis(axis, x.rank, `apply ${name}`);
      if (!isFloat(x.dtype) || x.shape[at] !== features) {
        throw new TypeError(
          `Cannot apply ${name}: the input is ${x}, expected floats with ${features} along axis ${at}`,
        );
      }
      const wide = x.shape.map((_, i) => i === at ? features : 1);
      const affine = (y: Tensor) =>
        narrowed(y.mul(scale.reshape(wide)).add(bias.reshape(wide)), x, scale);
      if (!train) {
        const factor = running.variance.add(epsilon).rsqrt();
        const y = x.cast("f32").sub(running.mean.reshape(wide)).mul(factor.reshape(wide));
        return [affine(y), running];
      }
      const count = x.size / features;
      if (count < 2) {
        throw new TypeError(
          `Cannot apply ${name}: the input is ${x}, expected more than one value per feature ` +
            "while training",
        );
      }
      const { y, mean, variance } = standardize(
        x,
        wide.flatMap((_, i) => i === at ? [] : i),
        epsilon,
      );
      const move = (old: Tensor, batch: Tensor) =>
        old.mul(1 - momentum).add(stopGradient(batch.reshape(shape)).mul(momentum));
      return [affine(y), {
        mean: move(running.mean, mean),
        variance: move(running.variance, variance.mul(count / (count - 1))),
      }];
    },
  };
}
