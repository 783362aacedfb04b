/**
 * Arithmetic on trees of tensors, as steps use it: the dtype of the first operand is that of the
 * result, so that a carry stays what it was whatever the step size is.
 *
 * @module
 */
import type { Tensor, TensorLike } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import type { Tree } from "../graph/transforms.ts";
import { mapTree } from "../graph/tree.ts";

export type { TensorLike, Tree };

/** The tree of `f` of corresponding leaves. */
export function map<T extends Tree>(
  f: (...leaves: Tensor[]) => Tensor,
  tree: T,
  ...others: readonly Tree[]
): T {
  return mapTree(
    isTensor,
    (...leaves) => f(...leaves).cast(leaves[0]!.dtype),
    tree,
    ...others,
  ) as T;
}

/** a + b. */
export function add<T extends Tree>(a: T, b: T): T {
  return map((x, y) => x.add(y!), a, b);
}

/** a − b. */
export function sub<T extends Tree>(a: T, b: T): T {
  return map((x, y) => x.sub(y!), a, b);
}

/** a·factor. */
export function scale<T extends Tree>(a: T, factor: TensorLike): T {
  return map((x) => x.mul(factor), a);
}

/**
 * a / divisor, which undoes a multiplication by it better than its reciprocal: that is rounded once
 * for all steps, so that what it is off by adds up over them.
 */
export function over<T extends Tree>(a: T, divisor: number): T {
  return map((x) => x.div(divisor), a);
}

/** a + factor·b. */
export function addScaled<T extends Tree>(a: T, factor: TensorLike, b: T): T {
  return map((x, y) => x.add(y!.mul(factor)), a, b);
}

/** The number negated. */
export function negated(x: TensorLike): TensorLike {
  return typeof x === "number" ? -x : x.neg();
}

/** The product of two numbers. */
export function times(x: TensorLike, factor: number): TensorLike {
  return typeof x === "number" ? x * factor : x.mul(factor);
}

/** The sum of two numbers. */
export function plus(x: TensorLike, y: TensorLike): TensorLike {
  if (typeof x === "number") return typeof y === "number" ? x + y : y.add(x);
  return x.add(y);
}
