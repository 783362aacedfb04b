/**
 * H⁻¹·v from products with H alone, or with random matrices whose mean is H, a fresh one in every
 * factor, such as the Hessians of single samples. Both methods stand on the Neumann series
 * H⁻¹ = Σ (I-H)^i: LiSSA runs its recursion to a depth, which leaves a bias; the single-term
 * estimator draws one term at random and divides it by its probability, which leaves none. Both need
 * the eigenvalues of every factor between bounds, and watch on the device that they are.
 *
 * Agarwal, Bullins and Hazan, Second-order stochastic optimization for machine learning in linear
 * time, 2017. Baydin, Pearlmutter and Siskind, Tricks from deep learning, 2016.
 *
 * @module
 */
import { check } from "../graph/check.ts";
import { tensor, zerosLike } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import { bits, foldIn, type Key } from "../graph/random.ts";
import { loop } from "../graph/scan.ts";
import type { Tensor } from "../graph/tensor.ts";
import { whileLoop } from "../graph/while.ts";
import { checkCount, checkNumber } from "./check.ts";
import { innerProduct, map, type Tree } from "./tree.ts";

/** H·v, or an estimate of it from a key: the same matrix for the same key. */
export type Product<P extends Tree> = (v: P, key: Key) => P;

/** Options that both methods have. */
interface SeriesOptions {
  /** What the random draws come from. */
  key: Key;
  /** How many independent estimates are averaged. @default {1} */
  draws?: number;
}

/** The mean of independent estimates. */
function meanOver<P extends Tree>(
  { key, draws = 1 }: SeriesOptions,
  like: P,
  estimate: (key: Key) => P,
): P {
  if (draws === 1) return estimate(key);
  const sum = loop(
    (sum: P, draw: Tensor) => map((a, b) => a.add(b), sum, estimate(foldIn(key, draw))),
    map((v) => zerosLike(v), like),
    { length: draws, name: "average" },
  );
  return map((x) => x.mul(1 / draws), sum);
}

/** Options for {@linkcode lissa}. */
export interface LissaOptions extends SeriesOptions {
  /** Terms of the series after the first; the bias is H⁻¹(I-H)^(depth+1)·v. */
  depth: number;
}

/**
 * LiSSA: X₀ = v, Xⱼ = v + (I - Ĥⱼ)·Xⱼ₋₁, with a fresh Ĥ in every step; the mean of X at the end over
 * `draws` runs. Needs 0 ≤ Ĥ ≤ 1: scale the loss so that the Hessian of a single sample is no larger
 * than 1, and the result by the same. A vector that grows as it can't under that condition is an
 * error at the next await.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assert } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const h = rg.tensor([0.5, 0.8]);
 * const x = rg.optim.lissa((v: rg.Tensor) => v.mul(h), rg.ones([2]), {
 *   depth: 60,
 *   key: rg.random.key(0),
 * });
 * const [a, b] = await x.data();
 * assert(Math.abs(a! - 2) + Math.abs(b! - 1.25) < 1e-5);
 * ```
 */
export function lissa<P extends Tree>(product: Product<P>, v: P, options: LissaOptions): P {
  checkNames(options, { key: true, draws: true, depth: true }, "make a LiSSA estimate");
  const { depth, draws = 1 } = options;
  checkCount("a LiSSA estimate", "depth", depth, 0);
  checkCount("a LiSSA estimate", "draws", draws);
  const size = innerProduct(v, v).sqrt();
  return meanOver(options, v, (key) =>
    loop(
      (x: P, step: Tensor) => {
        const next = map(
          (v, x, hx) => v.add(x).sub(hx),
          v,
          x,
          product(x, foldIn(key, step)),
        );
        const most = step.cast("f32").add(2).mul(size).mul(1.001);
        check(
          innerProduct(next, next).sqrt().lessEqual(most),
          "a product with the Hessian is longer than its vector, expected a matrix of norm 1 at " +
            "most in every step (scale the loss)",
        );
        return next;
      },
      v,
      { length: depth, name: "LiSSA" },
    ));
}

/** Options for {@linkcode inverseProduct}. */
export interface InverseProductOptions extends SeriesOptions {
  /** The least and the largest eigenvalue that the matrix has, in any draw. */
  spectrum: readonly [least: number, most: number];
  /**
   * The chance to stop after each factor: the term i is drawn with q(1-q)^i.
   *
   * @default {1 - ρ, where ρ is the largest |1 - eigenvalue|: the least variance}
   */
  stop?: number;
}

/** An estimate of H⁻¹·v without bias. */
export interface InverseProductResult<P extends Tree> {
  /** The estimate, the mean of `draws`. */
  readonly x: P;
  /** The number of products that went into it, u32. */
  readonly products: Tensor;
}

/** -log of the smallest number that a draw can be. */
const longest = 49 * Math.LN2;
/** A matrix as near to 1 as this has no shorter series. */
const leastRho = 1e-3;

/**
 * The unbiased single-term estimate of H⁻¹·v: i is drawn with p(i) = q(1-q)^i, and the estimate is
 * (I-Ĥ₁)···(I-Ĥᵢ)·v / p(i). With eigenvalue h its second moment is (1/q) / (1 - (1-h)²/(1-q)), which
 * is finite if and only if (1-h)² < 1-q; where the spectrum does not promise that, there is an error
 * instead of an estimate. A product that breaks the promise is an error at the next await.
 *
 * How many products there are is drawn on the device, q⁻¹ - 1 for a draw on average, and the loop is
 * over when the last draw is.
 *
 * @throws {RangeError} If the variance would be infinite, or a number is out of its range.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assert } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const h = rg.tensor([0.5, 0.8]);
 * const { x } = rg.optim.inverseProduct((v: rg.Tensor) => v.mul(h), rg.ones([2]), {
 *   spectrum: [0.5, 0.8],
 *   draws: 400,
 *   key: rg.random.key(0),
 * });
 * const [a, b] = await x.data();
 * assert(Math.abs(a! - 2) < 0.5 && Math.abs(b! - 1.25) < 0.5);
 * ```
 */
export function inverseProduct<P extends Tree>(
  product: Product<P>,
  v: P,
  options: InverseProductOptions,
): InverseProductResult<P> {
  checkNames(
    options,
    { key: true, draws: true, spectrum: true, stop: true },
    "make an inverse product",
  );
  const { spectrum: [least, most], draws = 1 } = options;
  const action = "an inverse product";
  checkCount(action, "draws", draws);
  checkNumber(action, "spectrum[0]", least, -Infinity, Infinity);
  checkNumber(action, "spectrum[1]", most, least, Infinity);
  const rho = Math.max(leastRho, Math.abs(1 - least), Math.abs(1 - most));
  const { stop = 1 - rho } = options;
  if (!(rho < 1)) {
    throw new RangeError(
      `Cannot make ${action}: eigenvalues are in [${least}, ${most}], expected them in (0, 2), ` +
        "where the series converges (scale the matrix by 2 / (least + most))",
    );
  }
  checkNumber(action, "stop", stop, Number.MIN_VALUE, 1);
  if (!(rho * rho < 1 - stop)) {
    throw new RangeError(
      `Cannot make ${action}: stop is ${stop} and (1 - h)² is up to ${rho * rho} for eigenvalues ` +
        `in [${least}, ${most}], so the variance is infinite, expected (1 - h)² < 1 - stop`,
    );
  }
  const perTerm = -Math.log1p(-stop), length = Math.floor(longest / perTerm);
  const size = innerProduct(v, v).sqrt();
  const keyOf = (draw: Tensor, product: Tensor | number): Key =>
    foldIn(foldIn(options.key, draw), product);
  const termOf = (draw: Tensor): Tensor =>
    exponential(keyOf(draw, 0)).div(perTerm).floor().minimum(length).cast("u32");
  type State = {
    readonly draw: Tensor;
    /** The draw's term, and how many of its factors are done. */
    readonly term: Tensor;
    readonly done: Tensor;
    readonly w: P;
    readonly sum: P;
  };
  const none = tensor(0, { dtype: "u32" });
  // A step is a factor, or the end of a draw: so all draws are one loop as long as need be.
  const step = ({ draw, term, done, w, sum }: State): State => {
    const ended = done.equal(term), next = draw.add(1), after = done.add(1);
    const factor = map((w, hw) => w.sub(hw), w, product(w, keyOf(draw, after)));
    const bound = after.cast("f32").mul(Math.log(rho)).exp().mul(size).mul(1.001);
    // Far down, rounding is as large as what is left.
    const noise = size.mul(1e-6);
    check(
      innerProduct(factor, factor).sqrt().lessEqual(bound.add(noise)).logicalOr(ended),
      `a factor has an eigenvalue outside of the spectrum [${least}, ${most}] that was promised, ` +
        "expected bounds that hold for every draw",
    );
    const weight = term.cast("f32").mul(perTerm).sub(Math.log(stop)).exp().mul(1 / draws);
    return {
      draw: where(ended, next, draw),
      term: where(ended, termOf(next), term),
      done: where(ended, none, after),
      w: map((v, w) => where(ended, v, w), v, factor),
      sum: map((sum, w) => where(ended, sum.add(w.mul(weight)), sum), sum, w),
    };
  };
  const start: State = {
    draw: none,
    term: termOf(none),
    done: none,
    w: v,
    sum: map((v) => zerosLike(v), v),
  };
  const [{ sum }, steps] = whileLoop((state: State) => state.draw.less(draws), step, start, {
    maximum: draws * (length + 1),
    name: "terms of the series",
  });
  return { x: sum, products: steps.sub(draws) };
}

/** -log of a uniform draw of 48 bits, so that the tail is fine enough: f32 []. */
function exponential(key: Key): Tensor {
  const [high, low] = bits(key, [2]).rightShift(8).cast("f32").split(2) as [Tensor, Tensor];
  return high.add(low.add(0.5).mul(2 ** -24)).mul(2 ** -24).log().neg().reshape([]);
}
