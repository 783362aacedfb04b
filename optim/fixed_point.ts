/**
 * Training in fixed point (Gupta et al. 2015): numbers ⟨IL, FL⟩ are multiples of ε = 2^-FL from
 * -2^(IL-1) to 2^(IL-1) - ε. They are held in f32, which is exact up to 24 bits. Rounding to the
 * nearest loses whatever is less than ε/2, again and again; stochastic rounding goes up with the
 * probability of what is left over, so that small updates count in the mean.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import { foldIn, key as keyOf, uniform } from "../graph/random.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkCount } from "./check.ts";
import type { Optimizer, State } from "./optimizer.ts";
import { type Applies, checkGradient, named, type Tree, treeOf } from "./tree.ts";

/** A fixed-point format ⟨integer, fraction⟩ and how numbers come to it. */
export interface FixedPoint {
  /** Bits before the point, the sign among them. */
  readonly integer: number;
  /** Bits after the point. */
  readonly fraction: number;
  /** To the nearest (ties up), or up with the probability of what is left over. @default {"nearest"} */
  readonly rounding?: "nearest" | "stochastic";
}

/** f32 tells so many bits apart. */
const MOST_BITS = 24;

/** Throws unless a format is one. */
export function checkFormat(action: string, format: FixedPoint): void {
  checkCount(action, "integer", format.integer);
  checkCount(action, "fraction", format.fraction, 0);
  const { integer, fraction, rounding = "nearest" } = format;
  if (integer + fraction > MOST_BITS) {
    throw new RangeError(
      `Cannot make ${action}: ⟨${integer},${fraction}⟩ has ${
        integer + fraction
      } bits, expected at ` +
        `most ${MOST_BITS}`,
    );
  }
  if (rounding !== "nearest" && rounding !== "stochastic") {
    throw new TypeError(
      `Cannot make ${action}: rounding is ${rounding}, expected "nearest" or "stochastic"`,
    );
  }
}

/**
 * The tensor in a fixed-point format, f32. What is too large becomes the largest there is, NaN
 * stays NaN. Its derivative is 0 almost everywhere; `nn.fixedPointLayer` passes gradients through.
 *
 * @param x Floats.
 * @param format The format.
 * @param key Randomness, for stochastic rounding.
 *
 * @throws {RangeError} If the format is none, or has more than 24 bits.
 * @throws {TypeError} If stochastic rounding has no key.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([0.3, -0.3, 100, -100]);
 * const y = rg.optim.toFixedPoint(x, { integer: 3, fraction: 2 });
 * assertEquals(await y.array(), [0.25, -0.25, 3.75, -4]);
 * ```
 */
export function toFixedPoint(x: Tensor, format: FixedPoint, key?: Tensor): Tensor {
  checkFormat("a fixed-point number", format);
  const { integer, fraction, rounding = "nearest" } = format;
  const limit = 2 ** (integer - 1), step = 2 ** -fraction;
  // Held first: only so is the product with 2^FL exact.
  const scaled = x.cast("f32").clip(-limit, limit).mul(2 ** fraction);
  const below = scaled.floor(), rest = scaled.sub(below);
  if (rounding === "stochastic" && key === undefined) {
    throw new TypeError("Cannot round stochastically: there is no key, expected one");
  }
  const up = rounding === "nearest" ? rest.greaterEqual(0.5) : uniform(key!, x.shape).less(rest);
  const rounded = where(up, below.add(1), below).mul(step);
  return rounded.minimum(limit - step);
}

/** Options for {@linkcode fixedPoint}. */
export interface FixedPointOptions {
  /** The format of parameters after every update; f32 without. */
  weights?: FixedPoint;
  /** The format of their gradients before the optimizer sees them; f32 without. */
  gradients?: FixedPoint;
  /** Which parameters are meant. @default {all of them} */
  applies?: Applies;
  /** Seed of stochastic rounding. @default {0} */
  seed?: number;
}

/**
 * The optimizer whose parameters, and the gradients that it is given, are in fixed point. What it
 * remembers (velocities, moments) stays f32. Activations are rounded by `nn.fixedPointLayer`.
 *
 * @throws {RangeError} If a format is none, or has more than 24 bits.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.fixedPoint(rg.optim.sgd({ rate: 0.1 }), {
 *   weights: { integer: 4, fraction: 12, rounding: "stochastic" },
 *   gradients: { integer: 2, fraction: 14, rounding: "stochastic" },
 * });
 * ```
 */
export function fixedPoint(optimizer: Optimizer, options: FixedPointOptions): Optimizer {
  checkNames(
    options,
    { weights: true, gradients: true, applies: true, seed: true },
    "make a fixed-point optimizer",
  );
  const { weights, gradients, applies, seed = 0 } = options;
  if (weights !== undefined) checkFormat("fixed-point weights", weights);
  if (gradients !== undefined) checkFormat("fixed-point gradients", gradients);
  const rounded = <T extends Tree>(
    tree: T,
    params: Tree,
    format: FixedPoint | undefined,
    key: Tensor,
  ): T => {
    if (format === undefined) return tree;
    const own = named(params, "params"), given = named(tree, "gradient").leaves;
    return treeOf(
      own.structure,
      given.map((x, i) => {
        const mine = applies === undefined || applies(own.leaves[i]!, own.paths[i]!);
        return mine ? toFixedPoint(x, format, foldIn(key, i)).cast(x.dtype) : x;
      }),
    ) as T;
  };
  return {
    init<P extends Tree>(params: P): State<P> {
      return optimizer.init(rounded(params, params, weights, foldIn(keyOf(seed), 0)));
    },
    update<P extends Tree>(state: State<P>, gradient: Tree): State<P> {
      checkGradient(state.params, gradient);
      const key = foldIn(foldIn(keyOf(seed), 1), state.step);
      const given = rounded(gradient, state.params, gradients, foldIn(key, 0));
      const after = optimizer.update(state, given);
      return { ...after, params: rounded(after.params, after.params, weights, foldIn(key, 1)) };
    },
  };
}
