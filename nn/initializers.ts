/**
 * Initialisers: pure functions of a key and a shape. They keep the variance of activations or
 * gradients the same from layer to layer; how many inputs and outputs a weight has (its fans) is
 * read off its shape, inputs in the last axis but one, outputs in the last, any axes before them a
 * receptive field.
 *
 * Glorot and Bengio 2010 · He et al. 2015 · LeCun et al. 1998 · Saxe et al. 2014. Normal distributions are cut off at
 * two standard deviations and widened to make up for it, as in JAX and Keras.
 *
 * @module
 */
import { arange, eye, zeros as zerosOf } from "../graph/create.ts";
import { checkNames, describe } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import { foldIn, normal as drawNormal, truncatedNormal } from "../graph/random.ts";
import { uniform as drawUniform } from "../graph/random.ts";
import { loop } from "../graph/scan.ts";
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

function checkGain(what: string, gain: number): void {
  if (Number.isFinite(gain)) return;
  throw new RangeError(`Cannot make ${what}: gain is ${describe(gain)}, expected a finite number`);
}

/**
 * The initialiser with mean 0 and variance scale / fan.
 *
 * @throws {RangeError} If an option is out of its range.
 */
export function varianceScaling(options: VarianceScalingOptions = {}): Initializer {
  checkNames(options, { scale: true, mode: true, distribution: true }, "make an initialiser");
  const { scale = 1, mode = "in", distribution = "normal" } = options;
  const fail = (name: string, value: unknown, expected: string): never => {
    const shown = typeof value === "number" ? value : describe(value);
    throw new RangeError(
      `Cannot make an initialiser: ${name} is ${shown}, expected ${expected}`,
    );
  };
  if (!(scale >= 0 && scale < Infinity)) fail("scale", scale, "a number >= 0");
  if (!Object.hasOwn(fanBy, mode)) fail("mode", mode, '"in", "out" or "average"');
  if (distribution !== "normal" && distribution !== "uniform") {
    fail("distribution", distribution, '"normal" or "uniform"');
  }
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

/** Options for {@linkcode orthogonal} and {@linkcode identity}. */
export interface GainOptions {
  /** What the weight is multiplied by: √2 suits ReLU. @default {1} */
  gain?: number;
}

/**
 * Orthogonal: all singular values are the gain, and every direction is as likely as any other
 * (Saxe et al. 2014). A weight [...field, inputs, outputs] is taken as a matrix with the last axis
 * as columns; the shorter side is orthonormal.
 *
 * It is a product of random reflections, one for each row of the shorter side (Stewart 1980), in a
 * loop: no factorisation, and orthogonal to rounding.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const q = rg.nn.orthogonal()(rg.random.key(0), [5, 3]);
 * const length = await q.slice(null, 0).square().sum().item();
 * assertAlmostEquals(length, 1, 1e-5);
 * ```
 */
export function orthogonal(options: GainOptions = {}): Initializer {
  checkNames(options, { gain: true }, "make orthogonal weights");
  const { gain = 1 } = options;
  checkGain("orthogonal weights", gain);
  return (key, shape) => {
    const { columns, rows } = matrixOf(shape);
    const wide = columns > rows;
    const long = Math.max(rows, columns), short = Math.min(rows, columns);
    if (short === 0) return zerosOf(shape);
    const place = arange(long), column = arange(short);
    const reflect = (q: Tensor, step: Tensor): Tensor => {
      // From the last coordinate to the first: each reflection leaves those before its own alone.
      const k = step.neg().add(short - 1);
      const at = place.equal(k);
      const x = where(place.less(k), 0, drawNormal(foldIn(key, k), [long]));
      const norm = x.square().sum().sqrt(), first = where(at, x, 0).sum();
      const sign = where(first.less(0), -1, 1);
      const v = x.add(where(at, norm.mul(sign), 0));
      // ‖v‖² = 2‖x‖(‖x‖ + |first|); 2 of the reflection cancels.
      const half = norm.mul(norm.add(first.abs()));
      const turned = q.mul(where(column.equal(k), sign.neg(), 1));
      return turned.sub(v.div(half).expandDims(1).mul(v.matmul(turned)));
    };
    const q = loop((q: Tensor, step: Tensor) => reflect(q, step.cast("i32")), eye(long, short), {
      length: short,
      name: "orthogonal",
    });
    return (wide ? q.T : q).mul(gain).reshape(shape);
  };
}

/** A weight's shape as a matrix. */
function matrixOf(shape: Shape): { rows: number; columns: number } {
  if (shape.length < 2) fansOf(shape);
  return { rows: sizeOf(shape.slice(0, -1)), columns: shape.at(-1)! };
}

/**
 * The identity, as far as it goes: input i to output i. A receptive field [...field, inputs,
 * outputs] has it at its middle, so that a convolution hands on what it gets (Le et al. 2015 for
 * recurrent nets).
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * assertEquals(await rg.nn.identity()(rg.random.key(0), [2, 3]).array(), [[1, 0, 0], [0, 1, 0]]);
 * ```
 */
export function identity(options: GainOptions = {}): Initializer {
  checkNames(options, { gain: true }, "make identity weights");
  const { gain = 1 } = options;
  checkGain("identity weights", gain);
  return (_key, shape) => {
    if (shape.length < 2) fansOf(shape);
    const [inputs, outputs] = shape.slice(-2) as [number, number];
    const field = shape.slice(0, -2);
    const middle = field.map((n): [number, number] => [n >> 1, n - 1 - (n >> 1)]);
    if (field.includes(0)) return zerosOf(shape);
    return eye(inputs, outputs).mul(gain).reshape([...field.map(() => 1), inputs, outputs])
      .pad([...middle, [0, 0], [0, 0]]);
  };
}
