/**
 * Initialisers: pure functions of a key and a shape. They keep the variance of activations or
 * gradients the same from layer to layer; how many inputs and outputs a weight has (its fans) is
 * read off its shape, inputs in the last axis but one, outputs in the last, any axes before them a
 * receptive field.
 *
 * Glorot and Bengio 2010 · He et al. 2015 · LeCun et al. 1998. Normal distributions are cut off at
 * two standard deviations and widened to make up for it, as in JAX and Keras.
 *
 * @module
 */
import { zeros as zerosOf } from "../graph/create.ts";
import { normal as drawNormal, truncatedNormal, uniform as drawUniform } from "../graph/random.ts";
import { type Shape, showShape, sizeOf } from "../graph/shape.ts";
import type { Tensor } from "../graph/tensor.ts";

/** Makes a parameter. */
export type Initializer = (key: Tensor, shape: Shape) => Tensor;

/** Numbers of inputs and outputs of a weight. */
export interface Fans {
  /** Inputs that one output sees. */
  readonly in: number;
  /** Outputs that one input reaches. */
  readonly out: number;
}

/**
 * Fans of a weight [...receptive field, inputs, outputs].
 *
 * @throws {TypeError} If the shape has fewer than two axes.
 */
export function fansOf(shape: Shape): Fans {
  if (shape.length < 2) {
    throw new TypeError(
      `Cannot initialise: the shape is ${
        showShape(shape)
      }, expected inputs and outputs as last axes`,
    );
  }
  const field = sizeOf(shape.slice(0, -2));
  return { in: field * shape.at(-2)!, out: field * shape.at(-1)! };
}

/** Which fan divides the variance. */
export type FanMode = "in" | "out" | "average";

/** Options for {@linkcode varianceScaling}. */
export interface VarianceScalingOptions {
  /** The variance times the fan. @default {1} */
  scale?: number;
  /** Which fan. @default {"in"} */
  mode?: FanMode;
  /** The distribution. @default {"normal"} */
  distribution?: "normal" | "uniform";
}

const fanBy: { readonly [M in FanMode]: (fans: Fans) => number } = {
  in: (fans) => fans.in,
  out: (fans) => fans.out,
  average: (fans) => (fans.in + fans.out) / 2,
};

/** Standard deviation of the standard normal distribution cut off at ±2. */
const CUT_DEVIATION = 0.87962566103423978;

/** The initialiser with mean 0 and variance scale / fan. */
export function varianceScaling(options: VarianceScalingOptions = {}): Initializer {
  const { scale = 1, mode = "in", distribution = "normal" } = options;
  return (key, shape) => {
    const deviation = Math.sqrt(scale / Math.max(1, fanBy[mode](fansOf(shape))));
    if (distribution === "normal") {
      return truncatedNormal(key, shape, { low: -2, high: 2 }).mul(deviation / CUT_DEVIATION);
    }
    const limit = deviation * Math.sqrt(3);
    return drawUniform(key, shape, { low: -limit, high: limit });
  };
}

/** Uniform, variance 2 / (inputs + outputs): for tanh and linear outputs. */
export const glorotUniform: Initializer = varianceScaling({
  mode: "average",
  distribution: "uniform",
});
/** Normal, variance 2 / (inputs + outputs): for tanh and linear outputs. */
export const glorotNormal: Initializer = varianceScaling({ mode: "average" });
/** Uniform, variance 2 / inputs: for ReLU. */
export const heUniform: Initializer = varianceScaling({ scale: 2, distribution: "uniform" });
/** Normal, variance 2 / inputs: for ReLU. */
export const heNormal: Initializer = varianceScaling({ scale: 2 });
/** Uniform, variance 1 / inputs: for SELU and linear outputs. */
export const lecunUniform: Initializer = varianceScaling({ distribution: "uniform" });
/** Normal, variance 1 / inputs: for SELU and linear outputs. */
export const lecunNormal: Initializer = varianceScaling();

/** All zero; the key is not used. */
export const zeros: Initializer = (_key, shape) => zerosOf(shape);

/** Normal with a given standard deviation, whatever the fans; not cut off. */
export function normal(deviation: number = 1): Initializer {
  return (key, shape) => drawNormal(key, shape).mul(deviation);
}
