/**
 * Layers that multiply by a weight or look one up: linear, and embedding.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { dtypes } from "../graph/dtype.ts";
import { split } from "../graph/random.ts";
import type { Tensor } from "../graph/tensor.ts";
import { type Initializer, lecunNormal, normal, zeros } from "./initializers.ts";
import { checkApply, expectFeatures, expectSize, expectTensors, type Layer } from "./layer.ts";

/** Parameters of {@linkcode linear}. */
export type LinearParams = {
  /** [inputs, outputs]. */
  readonly weight: Tensor;
  /** [outputs]; missing without bias. */
  readonly bias?: Tensor;
};

/** Options for {@linkcode linear}. */
export interface LinearOptions {
  /** Whether to add a bias. @default {true} */
  bias?: boolean;
  /** Makes the weight. @default {lecunNormal} */
  weightInit?: Initializer;
  /** Makes the bias. @default {zeros} */
  biasInit?: Initializer;
}

/**
 * x · weight + bias, on the last axis: [..., inputs] to [..., outputs].
 *
 * @throws {RangeError} If a size is not a positive integer.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.linear(3, 2);
 * const params = layer.init(rg.random.key(0));
 * assertEquals(layer.apply(params, rg.ones([5, 3])).shape, [5, 2]);
 * ```
 */
export function linear(
  inputs: number,
  outputs: number,
  options: LinearOptions = {},
): Layer<LinearParams> {
  const { bias: biased = true, weightInit = lecunNormal, biasInit = zeros } = options;
  const name = `linear(${inputs}, ${outputs})`;
  checkNames(options, { bias: "flag", weightInit: true, biasInit: true }, `make ${name}`);
  expectSize(name, "the number of inputs", inputs);
  expectSize(name, "the number of outputs", outputs);
  return {
    name,
    init(key) {
      const [first, second] = split(key, 2) as [Tensor, Tensor];
      const weight = weightInit(first, [inputs, outputs]);
      return biased ? { weight, bias: biasInit(second, [outputs]) } : { weight };
    },
    apply(params, x, options) {
      checkApply(name, options);
      const { weight } = expectTensors(name, "parameter", params, { weight: [inputs, outputs] });
      expectFeatures(name, x, inputs);
      const y = x.matmul(weight);
      if (!biased) return y;
      return y.add(expectTensors(name, "parameter", params, { bias: [outputs] }).bias);
    },
  };
}

/** Parameters of {@linkcode embedding}. */
export type EmbeddingParams = {
  /** [entries, features]. */
  readonly weight: Tensor;
};

/** Options for {@linkcode embedding}. */
export interface EmbeddingOptions {
  /** Makes the table. @default {normal(1)} */
  weightInit?: Initializer;
}

/**
 * Rows of a table by index: integers [...] to [..., features]. An index outside the table gives
 * NaN.
 *
 * @throws {RangeError} If a size is not a positive integer.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.embedding(1000, 16);
 * const params = layer.init(rg.random.key(0));
 * const words = rg.tensor([[3, 1], [4, 1]], { dtype: "i32" });
 * assertEquals(layer.apply(params, words).shape, [2, 2, 16]);
 * ```
 */
export function embedding(
  entries: number,
  features: number,
  options: EmbeddingOptions = {},
): Layer<EmbeddingParams> {
  const name = `embedding(${entries}, ${features})`, { weightInit = normal(1) } = options;
  checkNames(options, { weightInit: true }, `make ${name}`);
  expectSize(name, "the number of entries", entries);
  expectSize(name, "the number of features", features);
  const shape = [entries, features];
  return {
    name,
    init: (key) => ({ weight: weightInit(key, shape) }),
    apply(params, x, options) {
      checkApply(name, options);
      const { weight } = expectTensors(name, "parameter", params, { weight: shape });
      if (!dtypes[x.dtype].integer) {
        throw new TypeError(`Cannot apply ${name}: the input is ${x}, expected integers`);
      }
      return weight.take(x);
    },
  };
}
