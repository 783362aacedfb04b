/**
 * Conjugate gradients (Hestenes and Stiefel 1952) on trees: A·x = b where A is known by its products
 * alone, as a Hessian is. The loop runs on the device; once it has converged, or met a direction
 * along which A curves downwards, further steps change nothing.
 *
 * @module
 */
import { tensor, zerosLike } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import { loop } from "../graph/scan.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkCount, checkNumber } from "./check.ts";
import { innerProduct, map, type Tree } from "./tree.ts";

/** Options for {@linkcode conjugateGradient}. */
export interface ConjugateGradientOptions {
  /** How many products at most. @default {50} */
  iterations?: number;
  /** The residual that will do, as part of b's norm. @default {1e-5} */
  tolerance?: number | Tensor;
}

/** What conjugate gradients found. */
export interface ConjugateGradientResult<P extends Tree> {
  /** The solution, or the best along directions of upward curvature. */
  readonly x: P;
  /** The norm of what is left of b, as part of b's, f32. */
  readonly residual: Tensor;
  /** How many products it took, u32. */
  readonly iterations: Tensor;
  /**
   * Whether A curved downwards along a direction, bool. Then x is what was found before; if it was
   * the first direction, x is b itself: as a step for a minimiser, steepest descent.
   */
  readonly indefinite: Tensor;
}

/**
 * Solves A·x = b for a symmetric A, given as the function v ↦ A·v.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example A Newton step without a matrix
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assert } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const loss = (x: rg.Tensor) => x.square().mul(rg.tensor([1, 10, 100])).sum().sub(x.sum());
 * const x = rg.zeros([3]);
 * const newton = rg.optim.conjugateGradient(
 *   (v: rg.Tensor) => rg.hvp(loss, x, v),
 *   rg.grad(loss)(x).neg(),
 * );
 * const [a, b, c] = await newton.x.data();
 * assert(Math.abs(a! - 0.5) + Math.abs(b! - 0.05) + Math.abs(c! - 0.005) < 1e-5);
 * ```
 */
export function conjugateGradient<P extends Tree>(
  product: (v: P) => P,
  b: P,
  options: ConjugateGradientOptions = {},
): ConjugateGradientResult<P> {
  checkNames(options, { iterations: true, tolerance: true }, "make conjugate gradients");
  const { iterations = 50, tolerance = 1e-5 } = options;
  checkCount("conjugate gradients", "iterations", iterations);
  if (typeof tolerance === "number") checkNumber("conjugate gradients", "tolerance", tolerance, 0);
  const size = innerProduct(b, b);
  const enough = size.mul(
    typeof tolerance === "number" ? tolerance * tolerance : tolerance.square(),
  );
  type State = {
    readonly x: P;
    readonly r: P;
    readonly p: P;
    readonly rr: Tensor;
    readonly count: Tensor;
    readonly indefinite: Tensor;
  };
  const step = ({ x, r, p, rr, count, indefinite }: State): State => {
    const ap = product(p), curvature = innerProduct(p, ap);
    const going = rr.greater(enough).logicalAnd(indefinite.logicalNot());
    const upward = curvature.greater(0);
    const move = going.logicalAnd(upward);
    // Divided by what is not 0 where nothing moves: NaN must not come near the state.
    const alpha = where(move, rr.div(where(move, curvature, 1)), 0);
    const next = map((r, ap) => where(move, r.sub(ap.mul(alpha)), r), r, ap);
    const after = innerProduct(next, next);
    const beta = where(move, after.div(where(move, rr, 1)), 0);
    const downward = going.logicalAnd(upward.logicalNot());
    const first = downward.logicalAnd(count.equal(0));
    return {
      x: map((x, p) => where(first, p, x.add(p.mul(alpha))), x, p),
      r: next,
      p: map((r, p) => where(move, r.add(p.mul(beta)), p), next, p),
      rr: after,
      count: count.add(going.cast("u32")),
      indefinite: indefinite.logicalOr(downward),
    };
  };
  const start: State = {
    x: map((b) => zerosLike(b), b),
    r: b,
    p: b,
    rr: size,
    count: tensor(0, { dtype: "u32" }),
    indefinite: tensor(false),
  };
  const end = loop(step, start, { length: iterations, name: "conjugate gradient" });
  return {
    x: end.x,
    residual: where(size.greater(0), end.rr.div(where(size.greater(0), size, 1)), 0).sqrt(),
    iterations: end.count,
    indefinite: end.indefinite,
  };
}
