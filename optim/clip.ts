/**
 * Gradients kept in bounds: by value, by the norm of the whole tree or of one parameter, in
 * proportion to the weights (AGC), and with their mean taken out (centralisation). Clipping by
 * value is element-wise; each of the others needs a sum over a gradient before its first element
 * can be updated, and so one or two dispatches more for each parameter.
 *
 * @module
 */
import { full } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkNumber } from "./check.ts";
import { stateless, type Transformation } from "./transformation.ts";
import { type Applies, leaves, map, mapWhere, type Tree } from "./tree.ts";

/**
 * Holds every element between -limit and limit.
 *
 * @throws {RangeError} If `limit` is negative.
 */
export function clipByValue(limit: number): Transformation {
  checkNumber("clipping", "limit", limit, 0);
  return stateless((updates) => map((u) => u.clip(-limit, limit), updates));
}

/**
 * Scales all updates together so that the norm of the whole tree is at most `limit` (Pascanu et
 * al. 2013).
 *
 * @throws {RangeError} If `limit` is negative.
 */
export function clipByGlobalNorm(limit: number): Transformation {
  checkNumber("clipping", "limit", limit, 0);
  return stateless((updates) => {
    const factor = shrink(globalNorm(updates), limit);
    return map((u) => u.mul(factor), updates);
  });
}

/** What brings a norm down to a limit. */
function shrink(norm: Tensor, limit: Tensor | number): Tensor {
  const large = norm.greater(limit);
  // Dividing by 1 where nothing is clipped keeps 1/0 out of the derivative.
  return where(large, where(large, norm, 1).reciprocal().mul(limit), 1);
}

/**
 * Scales each parameter's update by itself so that its norm is at most `limit`.
 *
 * @throws {RangeError} If `limit` is negative.
 */
export function clipByNorm(limit: number): Transformation {
  checkNumber("clipping", "limit", limit, 0);
  return stateless((updates) => map((u) => u.mul(shrink(rootOf(squares(u)), limit)), updates));
}

/** The root of the sum of the squares of all elements of a tree, an f32 scalar. */
export function globalNorm(tree: Tree): Tensor {
  return rootOf(leaves(tree).map((x) => squares(x)).reduce((a, b) => a.add(b), full([], 0)));
}

/** The root, whose derivative at 0 is infinite: that of a norm is taken to be 0 there. */
export function rootOf(sum: Tensor): Tensor {
  const zero = sum.equal(0);
  return where(zero, 0, where(zero, 1, sum).sqrt());
}

/** The sum of squares in f32, over all axes or over all but one, which then stays. */
export function squares(x: Tensor, but?: number): Tensor {
  const y = x.cast("f32").square();
  return but === undefined ? y.sum() : y.sum(othersThan(x, but), { keepDims: true });
}

function othersThan({ rank }: Tensor, axis: number): number[] {
  const kept = axis < 0 ? axis + rank : axis;
  return Array.from({ length: rank }, (_, i) => i).filter((i) => i !== kept);
}

/** Options for {@linkcode adaptiveClip}. */
export interface AdaptiveClipOptions {
  /** Weights that are smaller count as this. @default {1e-3} */
  epsilon?: number;
  /** The axis of a parameter along which its units lie. @default {-1} */
  axis?: number;
  /** Which gradients are clipped; the paper leaves the last layer out. @default {all of them} */
  applies?: Applies;
}

/**
 * Adaptive gradient clipping (AGC; Brock et al. 2021): the gradient of a unit, a column of a
 * weight, may be at most `limit` times as long as the unit's weights. Vectors and scalars are one
 * unit.
 *
 * @throws {RangeError} If `limit` or `epsilon` is negative.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const { adaptiveClip, chain, fromTransformation, scaleByRate, trace } = rg.optim;
 * const optimizer = fromTransformation(
 *   chain(adaptiveClip(0.01), trace(0.9, { nesterov: true }), scaleByRate(0.1)),
 * );
 * ```
 */
export function adaptiveClip(
  limit: number,
  options: AdaptiveClipOptions = {},
): Transformation {
  checkNames(options, { epsilon: true, axis: true, applies: true }, "make adaptive clipping");
  const { epsilon = 1e-3, axis = -1, applies } = options;
  checkNumber("adaptive clipping", "limit", limit, 0);
  checkNumber("adaptive clipping", "epsilon", epsilon, 0);
  return stateless((updates, { params }) =>
    mapWhere(
      applies,
      (u, p) => {
        const but = p.rank > 1 ? axis : undefined;
        const most = rootOf(squares(p, but)).maximum(epsilon).mul(limit);
        return u.mul(shrink(rootOf(squares(u, but)), most));
      },
      updates,
      params,
    )
  );
}

/** Options for {@linkcode centralize}. */
export interface CentralizeOptions {
  /** The axis of a parameter along which its units lie. @default {-1} */
  axis?: number;
  /** Which gradients are centred. @default {those of rank > 1} */
  applies?: Applies;
}

/**
 * Gradient centralisation (Yong et al. 2020): takes its mean out of the gradient of each unit, a
 * column of a weight. Vectors and scalars stay as they are.
 */
export function centralize(
  options: CentralizeOptions = {},
): Transformation {
  checkNames(options, { axis: true, applies: true }, "make a centralization");
  const { axis = -1, applies = (p) => p.rank > 1 } = options;
  return stateless((updates, { params }) =>
    mapWhere(
      applies,
      (u) => u.sub(u.mean(othersThan(u, axis), { keepDims: true })),
      updates,
      params,
    )
  );
}
