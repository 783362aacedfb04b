/**
 * Weights kept in bounds. Clipping holds every element in a range after each update (Arjovsky et
 * al. 2017), and is element-wise. The spectral norm is found by power iteration whose vector is
 * explicit state: weights change little from step to step, so that one iteration a step is enough
 * (Miyato et al. 2018).
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import { normal } from "../graph/random.ts";
import type { Tensor } from "../graph/tensor.ts";
import { stopGradient } from "../graph/transforms.ts";
import { checkCount, checkNumber } from "./check.ts";
import type { Optimizer } from "./optimizer.ts";
import { type Applies, mapWhere } from "./tree.ts";

/** Options for {@linkcode clipWeights}. */
export interface ClipWeightsOptions {
  /** Which parameters are held. @default {all of them} */
  applies?: Applies;
}

/**
 * The optimizer after whose updates every parameter is between -limit and limit.
 *
 * @throws {RangeError} If `limit` is negative.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.clipWeights(rg.optim.rmsprop({ rate: 5e-5 }), 0.01);
 * ```
 */
export function clipWeights(
  optimizer: Optimizer,
  limit: number,
  options: ClipWeightsOptions = {},
): Optimizer {
  checkNames(options, { applies: true }, "make weight clipping");
  const { applies } = options;
  checkNumber("weight clipping", "limit", limit, 0);
  return {
    init: (params) => optimizer.init(params),
    update(state, gradient) {
      const next = optimizer.update(state, gradient), { params } = next;
      return { ...next, params: mapWhere(applies, (p) => p.clip(-limit, limit), params, params) };
    },
  };
}

/** What the power iteration remembers: a guess at the right singular vector, of length 1. */
export type SpectralState = {
  /** The guess, f32 [columns]. */
  readonly vector: Tensor;
};

/** Options for {@linkcode spectralNorm}. */
export interface SpectralOptions {
  /** Iterations in each call; two products with the weight each. @default {1} */
  iterations?: number;
  /** Added to lengths that are divided by. @default {1e-12} */
  epsilon?: number;
}

/** The largest singular value of a weight by power iteration. */
export interface SpectralNorm {
  /** A random guess for a weight of at least two axes; the last one makes the columns. */
  init(key: Tensor, weight: Tensor): SpectralState;
  /**
   * The norm, an f32 scalar that is differentiable in the weight, and the state that knows it
   * better.
   */
  norm(weight: Tensor, state: SpectralState): [norm: Tensor, state: SpectralState];
  /** The weight divided by its norm, and the state after. */
  normalize(weight: Tensor, state: SpectralState): [weight: Tensor, state: SpectralState];
}

/**
 * The spectral norm of weights. All axes but the last are taken together as rows. Derivatives take
 * the singular vectors as given, which is exact where the iteration has converged.
 *
 * @throws {RangeError} If `iterations` is no positive integer, or `epsilon` negative.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const spectral = rg.optim.spectralNorm({ iterations: 10 });
 * const weight = rg.tensor([[3, 0], [0, 1]]);
 * const state = spectral.init(rg.random.key(0), weight);
 * const [norm] = spectral.norm(weight, state);
 * assertAlmostEquals(await norm.item(), 3, 1e-4);
 * ```
 */
export function spectralNorm(
  options: SpectralOptions = {},
): SpectralNorm {
  checkNames(options, { iterations: true, epsilon: true }, "make a spectral norm");
  const { iterations = 1, epsilon = 1e-12 } = options;
  checkCount("a spectral norm", "iterations", iterations);
  checkNumber("a spectral norm", "epsilon", epsilon, 0);
  const unit = (x: Tensor) => {
    const square = x.square().sum(), zero = square.equal(0);
    // A weight of zeros keeps no direction, and its norm is 0.
    return x.div(where(zero, 1, square).sqrt().add(epsilon));
  };
  const norm = (weight: Tensor, { vector }: SpectralState): [Tensor, SpectralState] => {
    const matrix = matrixOf(weight), fixed = stopGradient(matrix);
    let v: Tensor = stopGradient(vector), u = unit(fixed.matmul(v));
    for (let i = 0; i < iterations; i++) {
      v = unit(u.matmul(fixed));
      u = unit(fixed.matmul(v));
    }
    return [u.mul(matrix.matmul(v)).sum(), { vector: v }];
  };
  return {
    init: (key, weight) => ({ vector: unit(normal(key, [matrixOf(weight).shape[1]!])) }),
    norm,
    normalize(weight, state) {
      const [value, next] = norm(weight, state);
      return [weight.div(value.add(epsilon)).cast(weight.dtype), next];
    },
  };
}

/** All axes but the last together, [rows, columns], f32. */
function matrixOf(weight: Tensor): Tensor {
  if (weight.rank < 2) {
    throw new RangeError(
      `Cannot take the spectral norm: the weight is ${weight}, expected at least 2 axes`,
    );
  }
  return weight.cast("f32").reshape([-1, weight.shape[weight.rank - 1]!]);
}
