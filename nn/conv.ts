/**
 * Convolutions as layers, and pooling as links between them. Images are [batch, height, width,
 * channels], signals [batch, length, channels].
 *
 * @module
 */
import { checkNames, describe, type Names } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import { checkGeometry, perAxis } from "../graph/functions/geometry.ts";
import { split } from "../graph/random.ts";
import { averagePool as averageOver, conv as convolve } from "../graph/spatial.ts";
import { convTranspose as transposed, maxPool as largestOf } from "../graph/spatial.ts";
import type { Padding, PerAxis, PoolOptions } from "../graph/spatial.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Activation } from "./activations.ts";
import { heNormal, type Initializer, zeros } from "./initializers.ts";
import { checkApply, expectSize, expectTensors, type Layer } from "./layer.ts";

/** Parameters of {@linkcode conv} and {@linkcode convTranspose}. */
export type ConvParams = {
  /** [...size, inputs / groups, outputs]; of the transpose [...size, outputs / groups, inputs]. */
  readonly weight: Tensor;
  /** [outputs]; missing without bias. */
  readonly bias?: Tensor;
};

/** Options for {@linkcode conv} and {@linkcode convTranspose}. */
export interface ConvLayerOptions {
  /** From one place to the next. @default {1} */
  stride?: PerAxis;
  /** Zeros around the input: `same` keeps sizes for stride 1. @default {"same"} */
  padding?: Padding;
  /** From one tap of the weight to the next. @default {1} */
  dilation?: PerAxis;
  /** Channels in so many parts that do not see each other; as many as inputs is depthwise. @default {1} */
  groups?: number;
  /** Whether to add a bias. @default {true} */
  bias?: boolean;
  /** Makes the weight. @default {heNormal} */
  weightInit?: Initializer;
  /** Makes the bias. @default {zeros} */
  biasInit?: Initializer;
}

/** How a layer convolves. */
interface Kind {
  readonly name: string;
  /** Which of inputs and outputs is the weight's last axis. */
  readonly weight: (inputs: number, outputs: number, groups: number) => readonly number[];
  readonly run: typeof convolve;
}

const optionNames: Names<ConvLayerOptions> = {
  stride: true,
  padding: true,
  dilation: true,
  groups: true,
  bias: "flag",
  weightInit: true,
  biasInit: true,
};

function convolution(
  kind: Kind,
  inputs: number,
  outputs: number,
  size: number | readonly number[],
  options: ConvLayerOptions,
): Layer<ConvParams> {
  const { stride = 1, padding = "same", dilation = 1, groups = 1, bias: biased = true } = options;
  const { weightInit = heNormal, biasInit = zeros } = options;
  if (typeof size !== "number" && !Array.isArray(size)) {
    throw new TypeError(
      `Cannot make ${kind.name}: the size is ${
        describe(size)
      }, expected a number or an array of them`,
    );
  }
  const field: readonly number[] = typeof size === "number" ? [size, size] : size;
  const name = `${kind.name}(${inputs}, ${outputs}, ${field.join("×")})`;
  checkNames(options, optionNames, `make ${name}`);
  expectSize(name, "the number of inputs", inputs);
  expectSize(name, "the number of outputs", outputs);
  expectSize(name, "the number of groups", groups);
  field.forEach((n) => expectSize(name, "the size", n));
  if (field.length === 0 || inputs % groups !== 0 || outputs % groups !== 0) {
    throw new RangeError(
      field.length === 0
        ? `Cannot make ${name}: the size has no axes, expected one or more`
        : `Cannot make ${name}: ${groups} groups, expected a divisor of inputs and outputs`,
    );
  }
  checkGeometry(`make ${name}`, { stride, padding, dilation }, field.length);
  const shape = [...field, ...kind.weight(inputs, outputs, groups)];
  return {
    name,
    init(key) {
      const [first, second] = split(key, 2);
      const weight = weightInit(first, shape);
      return biased ? { weight, bias: biasInit(second, [outputs]) } : { weight };
    },
    apply(params, x, options) {
      checkApply(name, options);
      const { weight } = expectTensors(name, "parameter", params, { weight: shape });
      if (!isFloat(x.dtype) || x.rank !== field.length + 2 || x.shape.at(-1) !== inputs) {
        throw new TypeError(
          `Cannot apply ${name}: the input is ${x}, expected floats [batch, ${
            field.length === 2 ? "height, width" : `${field.length} spatial axes`
          }, ${inputs}]`,
        );
      }
      const y = kind.run(x, weight, { stride, padding, dilation, groups });
      if (!biased) return y;
      return y.add(expectTensors(name, "parameter", params, { bias: [outputs] }).bias);
    },
  };
}

/**
 * A convolution and a bias: [batch, …n, inputs] to [batch, …m, outputs].
 *
 * @param inputs Channels of the input.
 * @param outputs Channels of the output.
 * @param size Of the weight: a number for a square of two axes, or one for each spatial axis.
 * @param options Stride, padding, groups, initialisation.
 *
 * @throws {RangeError} If a size is not a positive integer, or groups do not divide channels.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const { conv, linear, maxPool, relu, sequential } = rg.nn;
 * const model = sequential([
 *   conv(1, 8, 3),
 *   relu,
 *   maxPool(2),
 *   conv(8, 16, 3),
 *   relu,
 *   maxPool(2),
 *   rg.nn.flatten,
 *   linear(7 * 7 * 16, 10),
 * ]);
 * const params = model.init(rg.random.key(0));
 * assertEquals(model.apply(params, rg.ones([4, 28, 28, 1])).shape, [4, 10]);
 * ```
 */
export function conv(
  inputs: number,
  outputs: number,
  size: number | readonly number[],
  options: ConvLayerOptions = {},
): Layer<ConvParams> {
  const weight = (inputs: number, outputs: number, groups: number) => [inputs / groups, outputs];
  return convolution({ name: "conv", weight, run: convolve }, inputs, outputs, size, options);
}

/**
 * The transpose of a convolution from `outputs` to `inputs`, and a bias: it makes images larger by
 * the stride.
 *
 * @throws {RangeError} If a size is not a positive integer, or groups do not divide channels.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.convTranspose(16, 8, 4, { stride: 2 });
 * const params = layer.init(rg.random.key(0));
 * assertEquals(layer.apply(params, rg.ones([4, 7, 7, 16])).shape, [4, 14, 14, 8]);
 * ```
 */
export function convTranspose(
  inputs: number,
  outputs: number,
  size: number | readonly number[],
  options: ConvLayerOptions = {},
): Layer<ConvParams> {
  const weight = (inputs: number, outputs: number, groups: number) => [outputs / groups, inputs];
  const kind: Kind = { name: "convTranspose", weight, run: transposed };
  return convolution(kind, inputs, outputs, size, options);
}

/** Options for {@linkcode maxPool} and {@linkcode averagePool}; channels are last. */
export type PoolLayerOptions = Omit<PoolOptions, "channels">;

const poolNames: Names<PoolLayerOptions> = {
  stride: true,
  padding: true,
  dilation: true,
  ceil: "flag",
};

/** Throws unless there are such windows; how many axes they have may be known by the input alone. */
function checkPool(action: string, size: PerAxis, options: PoolLayerOptions): void {
  checkNames(options, poolNames, action);
  const { stride = size, padding = "valid", dilation = 1 } = options;
  const rank = [size, stride, dilation, padding].find((x) => Array.isArray(x))?.length ?? 1;
  perAxis(action, "size", size, rank);
  checkGeometry(action, { stride, padding, dilation }, rank);
}

/** A link that takes the largest of every window; see `rg.maxPool`. */
export function maxPool(size: PerAxis, options: PoolLayerOptions = {}): Activation {
  checkPool("make maxPool", size, options);
  return function maxPool(x: Tensor): Tensor {
    return largestOf(x, size, options);
  };
}

/** A link that takes the mean of every window; see `rg.averagePool`. */
export function averagePool(size: PerAxis, options: PoolLayerOptions = {}): Activation {
  checkPool("make averagePool", size, options);
  return function averagePool(x: Tensor): Tensor {
    return averageOver(x, size, options);
  };
}

/** The mean over all places: [batch, …n, channels] to [batch, channels]. */
export function globalAveragePool(x: Tensor): Tensor {
  if (x.rank < 3) {
    throw new TypeError(
      `Cannot apply globalAveragePool: the input is ${x}, expected [batch, …n, channels]`,
    );
  }
  return x.mean(Array.from({ length: x.rank - 2 }, (_, i) => i + 1));
}

/** All axes but the first as one. */
export function flatten(x: Tensor): Tensor {
  if (x.rank < 1) {
    throw new TypeError(
      `Cannot apply flatten: the input is ${x}, expected a first axis of samples`,
    );
  }
  return x.reshape(x.shape[0]!, x.shape.slice(1).reduce((a, b) => a * b, 1));
}
