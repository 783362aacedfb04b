/**
 * Telling places in a sequence apart: rotary positions turn queries and keys by angles that grow
 * with the place, so that their product depends on the distance (Su et al. 2021); learned positions
 * are added to what comes in (Gehring et al. 2017); sinusoids are added and not learned (Vaswani et
 * al. 2017).
 *
 * @module
 */
import { arange } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import { concatenate, stack } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { type Initializer, normal } from "./initializers.ts";
import { checkApply, expectFeatures, expectSize, expectTensors, type Layer } from "./layer.ts";

/** Options for {@linkcode rotary}. */
export interface RotaryOptions {
  /** The longest wavelength is about 2π times this. @default {10000} */
  base?: number;
  /** The places, numbers [T]. @default {0, 1, 2 …} */
  positions?: Tensor;
  /**
   * Which features make a pair: neighbours, as in the paper, or one of each half, as in GPT-NeoX and
   * Llama.
   *
   * @default {false}
   */
  interleaved?: boolean;
}

/**
 * Pairs of features turned by position · base^(-2i/d): [..., T, d] to the same. Apply it to queries
 * and keys.
 *
 * @throws {TypeError} If the last axis is odd, or there are not as many positions as places.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([[1, 0], [1, 0]]);
 * const [first, second] = await rg.nn.rotary(x).array() as number[][];
 * assertEquals(first, [1, 0]);
 * assertEquals(second!.map((v) => v.toFixed(4)), ["0.5403", "0.8415"]);
 * ```
 */
export function rotary(
  x: Tensor,
  options: RotaryOptions = {},
): Tensor {
  checkNames(options, { base: true, positions: true, interleaved: "flag" }, "apply rotary");
  const { base = 10_000, positions, interleaved = false } = options;
  const [t, d] = [x.shape.at(-2), x.shape.at(-1)];
  if (!isFloat(x.dtype) || t === undefined || d === undefined || d % 2 !== 0) {
    throw new TypeError(
      `Cannot compute rotary: the input is ${x}, expected floats [..., T, d] with an even d`,
    );
  }
  if (!(base > 0 && Number.isFinite(base))) {
    throw new RangeError(`Cannot compute rotary: base is ${base}, expected a positive number`);
  }
  if (positions !== undefined && (positions.rank !== 1 || positions.size !== t)) {
    throw new TypeError(`Cannot compute rotary: positions are ${positions}, expected ${t} numbers`);
  }
  const half = d / 2, wide = x.cast("f32");
  const places = (positions ?? arange(t)).cast("f32").expandDims(1);
  const angles = places.mul(arange(half).cast("f32").mul(-2 / d * Math.log(base)).exp());
  const cos = angles.cos(), sin = angles.sin();
  const lead = x.shape.slice(0, -2), all = lead.map((): null => null);
  if (interleaved) {
    const pairs = wide.reshape([...lead, t, half, 2]);
    const a = pairs.slice(...all, null, null, 0), b = pairs.slice(...all, null, null, 1);
    const turned = stack([a.mul(cos).sub(b.mul(sin)), a.mul(sin).add(b.mul(cos))], -1);
    return turned.reshape(x.shape).cast(x.dtype);
  }
  const a = wide.slice(...all, null, [0, half]), b = wide.slice(...all, null, [half]);
  return concatenate([a.mul(cos).sub(b.mul(sin)), a.mul(sin).add(b.mul(cos))], -1).cast(x.dtype);
}

/** Parameters of {@linkcode learnedPositions}. */
export type PositionParams = {
  /** [length, features]. */
  readonly weight: Tensor;
};

/** Options for {@linkcode learnedPositions}. */
export interface PositionOptions {
  /** Makes the table. @default {normal(0.02)} */
  weightInit?: Initializer;
}

/**
 * x + table[place], [..., T, features] with T up to `length`.
 *
 * @throws {RangeError} If a size is not a positive integer.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.learnedPositions(128, 16);
 * const params = layer.init(rg.random.key(0));
 * assertEquals(layer.apply(params, rg.ones([4, 100, 16])).shape, [4, 100, 16]);
 * ```
 */
export function learnedPositions(
  length: number,
  features: number,
  options: PositionOptions = {},
): Layer<PositionParams> {
  checkNames(options, { weightInit: true }, "make learnedPositions");
  const { weightInit = normal(0.02) } = options;
  const name = `learnedPositions(${length}, ${features})`;
  expectSize(name, "the length", length);
  expectSize(name, "the number of features", features);
  const shape = [length, features];
  return {
    name,
    init: (key) => ({ weight: weightInit(key, shape) }),
    apply(params, x, options) {
      checkApply(name, options);
      const { weight } = expectTensors(name, "parameter", params, { weight: shape });
      expectFeatures(name, x, features);
      const t = x.shape.at(-2) ?? length + 1;
      if (t > length) {
        throw new TypeError(
          `Cannot apply ${name}: the input is ${x}, expected up to ${length} places along the ` +
            "last axis but one",
        );
      }
      return x.add(weight.slice([0, t]));
    },
  };
}

/**
 * sin and cos of position / 10000^(2i/d), in turns: f32 [length, features], to be added.
 *
 * @throws {RangeError} If a size is not a positive integer, or `features` is odd.
 */
export function sinusoidalPositions(length: number, features: number): Tensor {
  const name = `sinusoidalPositions(${length}, ${features})`;
  expectSize(name, "the length", length);
  expectSize(name, "the number of features", features);
  if (features % 2 !== 0) {
    throw new RangeError(`Cannot make ${name}: features are odd, expected pairs`);
  }
  const half = features / 2;
  const rates = arange(half).cast("f32").mul(-Math.log(10_000) / half).exp();
  const angles = arange(length).cast("f32").expandDims(1).mul(rates);
  return stack([angles.sin(), angles.cos()], -1).reshape(length, features);
}
