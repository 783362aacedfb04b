/**
 * Normalisations of one sample over positions: group norm (Wu and He 2018), over positions and a
 * group of neighbouring channels; and instance norm (Ulyanov et al. 2016), over positions alone.
 * Neither looks at other samples, so training and use are the same.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import { normalizeAxis } from "../graph/shape.ts";
import type { Tensor } from "../graph/tensor.ts";
import { expectEpsilon, expectSize, type Layer } from "./layer.ts";
import { affine, type NormalizationOptions, standardize } from "./normalization.ts";

/** Parameters of {@linkcode groupNorm} and {@linkcode instanceNorm}. */
export type GroupNormParams = {
  /** [features], ones at first. */
  readonly scale: Tensor;
  /** [features], zeros at first. */
  readonly bias: Tensor;
};

/** Options for {@linkcode groupNorm} and {@linkcode instanceNorm}. */
export interface GroupNormOptions extends NormalizationOptions {
  /** The axis of channels; the first axis is of samples, all others are positions. @default {-1} */
  axis?: number;
}

/**
 * (x - mean) / √(variance + ε) · scale + bias, with statistics of each sample over all positions
 * and the channels of a group.
 *
 * @throws {RangeError} If a number is not a positive integer, groups do not divide features, or
 * `epsilon` is negative.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.groupNorm(2, 8);
 * const params = layer.init(rg.random.key(0));
 * assertEquals(layer.apply(params, rg.ones([4, 5, 5, 8])).shape, [4, 5, 5, 8]);
 * ```
 */
export function groupNorm(
  groups: number,
  features: number,
  options: GroupNormOptions = {},
): Layer<GroupNormParams> {
  const name = `groupNorm(${groups}, ${features})`;
  expectSize(name, "the number of groups", groups);
  expectSize(name, "the number of features", features);
  if (features % groups !== 0) {
    throw new RangeError(
      `Cannot make ${name}: ${features} features in ${groups} groups, expected groups of equal size`,
    );
  }
  return grouped(name, groups, features, options);
}

/**
 * (x - mean) / √(variance + ε) · scale + bias, with statistics of each sample and channel over all
 * positions.
 *
 * @throws {RangeError} If `features` is not a positive integer, or `epsilon` negative.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.instanceNorm(3);
 * const params = layer.init(rg.random.key(0));
 * assertEquals(layer.apply(params, rg.ones([4, 5, 5, 3])).shape, [4, 5, 5, 3]);
 * ```
 */
export function instanceNorm(
  features: number,
  options: GroupNormOptions = {},
): Layer<GroupNormParams> {
  const name = `instanceNorm(${features})`;
  expectSize(name, "the number of features", features);
  return grouped(name, features, features, options);
}

function grouped(
  name: string,
  groups: number,
  features: number,
  options: GroupNormOptions,
): Layer<GroupNormParams> {
  const { epsilon = 1e-5, axis = -1 } = options;
  checkNames(options, { epsilon: true, axis: true }, `make ${name}`);
  expectEpsilon(name, epsilon);
  return affine(name, features, (x, scale, bias) => {
    const at = x.rank < 2 ? 0 : normalizeAxis(axis, x.rank, `apply ${name}`);
    if (!isFloat(x.dtype) || at === 0 || x.shape[at] !== features) {
      throw new TypeError(
        `Cannot apply ${name}: the input is ${x}, expected floats with samples along axis 0 and ` +
          `${features} features along axis ${axis}`,
      );
    }
    // The channels' axis in two, groups and members; statistics over all but samples and groups.
    const split = x.shape.flatMap((n, i) => i === at ? [groups, features / groups] : [n]);
    const axes = split.flatMap((_, i) => i === 0 || i === at ? [] : [i]);
    const { y } = standardize(x.reshape(split), axes, epsilon);
    const wide = x.shape.map((_, i) => i === at ? features : 1);
    return y.reshape(x.shape).mul(scale.reshape(wide)).add(bias.reshape(wide));
  });
}
