/**
 * Newton's method without matrices: the system for the step is solved by conjugate gradients from
 * Hessian-vector products, no further than is worth it, and the step is searched along. Also the
 * products of the Gauss-Newton matrix, which has no downward curvature.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import type { Tensor } from "../graph/tensor.ts";
import { hvp, jvp, valueAndGrad, vjp } from "../graph/transforms.ts";
import { conjugateGradient } from "./conjugate_gradient.ts";
import { checkNumber } from "./check.ts";
import { lineSearch, type LineSearchOptions } from "./line_search.ts";
import { along, innerProduct, map, type Tree } from "./tree.ts";

/**
 * The Gauss-Newton matrix of loss(f(x)) times a vector: Jᵀ·H·J·v, with J the Jacobian of f and H the
 * Hessian of the loss with respect to what f returns. For a convex loss it is positive semidefinite
 * whatever f is; where f is linear it is the Hessian. Costs a jvp, a vjp and a small product.
 *
 * Schraudolph, Fast curvature matrix-vector products for second-order gradient descent, 2002.
 *
 * @throws {TypeError} If the loss is no float scalar, or `v` does not fit `x`.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const f = (x: rg.Tensor) => x.mul(x);
 * const loss = (y: rg.Tensor) => y.square().sum().mul(0.5);
 * // J = diag(2x), H = 1.
 * const product = rg.optim.gaussNewtonProduct(f, loss, rg.tensor([1, 2]), rg.tensor([1, 1]));
 * assertEquals(await product.array(), [4, 16]);
 * ```
 */
export function gaussNewtonProduct<P extends Tree, Y extends Tree>(
  f: (x: P) => Y,
  loss: (y: Y) => Tensor,
  x: P,
  v: P,
): P {
  const [y, pull] = vjp(f, x);
  const tangent = jvp(f, [x], [v])[1];
  const [product] = pull(hvp(loss, y, tangent));
  return product;
}

/** Options for {@linkcode newtonStep}. */
export interface NewtonOptions<P extends Tree> {
  /** Products with the Hessian in one step, at most. @default {50} */
  iterations?: number;
  /**
   * The part of the gradient that the system's residual may have.
   *
   * @default {min(0.01, √‖g‖), which gives superlinear convergence (Dembo and Steihaug 1983)}
   */
  tolerance?: number | Tensor;
  /** Added to the curvature in every direction (Levenberg 1944). @default {0} */
  damping?: number | Tensor;
  /** Products of another matrix than the Hessian: Gauss-Newton's, or of a part of the data. */
  product?: (v: P) => P;
  /** How far along the step to go; `direction` is the step. */
  search?: Omit<LineSearchOptions, "direction">;
}

/** What a Newton step found. */
export interface NewtonResult<P extends Tree> {
  /** The parameters after the step, or as they were where no step lessens the loss. */
  readonly params: P;
  /** The loss there, f32. */
  readonly value: Tensor;
  /** The norm of the gradient before the step, f32. */
  readonly norm: Tensor;
  /** The part of the step that was taken, f32; 0 if none was good. */
  readonly rate: Tensor;
  /** Products that were worth computing, u32. */
  readonly iterations: Tensor;
}

/**
 * One step of Newton's method by conjugate gradients: p + t·d with (H + damping)·d = -g. Where the
 * Hessian curves downwards, d is what was found before, or the way down at first.
 *
 * Nocedal and Wright, Numerical optimization, 2nd ed., algorithm 7.1.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assert } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const rosenbrock = (x: rg.Tensor) => {
 *   const [a, b] = [x.slice(0), x.slice(1)];
 *   return b.sub(a.square()).square().mul(100).add(a.sub(1).square());
 * };
 * const step = rg.compile((x: rg.Tensor) => rg.optim.newtonStep(rosenbrock, x).params);
 * let x = rg.tensor([-1.2, 1]);
 * for (let i = 0; i < 25; i++) x = step(x);
 * assert(await rosenbrock(x).item() < 1e-9);
 * ```
 */
export function newtonStep<P extends Tree>(
  loss: (params: P) => Tensor,
  params: P,
  options: NewtonOptions<P> = {},
): NewtonResult<P> {
  checkNames(options, {
    iterations: true,
    tolerance: true,
    damping: true,
    product: true,
    search: true,
  }, "make a Newton step");
  const { iterations = 50, damping = 0, search = {} } = options;
  if (typeof damping === "number") checkNumber("a Newton step", "damping", damping, 0);
  const [, gradient] = valueAndGrad(loss)(params) as [Tensor, P];
  const norm = innerProduct(gradient, gradient).sqrt();
  const plain = options.product ?? ((v: P) => hvp(loss, params, v));
  const product = damping === 0 ? plain : (v: P) => along(plain(v), damping, v);
  const solved = conjugateGradient(product, map((g) => g.neg(), gradient), {
    iterations,
    tolerance: options.tolerance ?? norm.sqrt().minimum(0.01),
  });
  const found = lineSearch(loss, params, gradient, { ...search, direction: solved.x });
  return {
    params: found.params,
    value: found.value,
    norm,
    rate: found.rate,
    iterations: solved.iterations,
  };
}
