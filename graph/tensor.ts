/**
 * The tensor: a lazy array of numbers. Methods record what is to be computed and return at once;
 * nothing runs until a value is read. It owns no device memory before that, and needs no disposal
 * after.
 *
 * The class here ends the chain in methods/ with products of matrices and indexing; the work is
 * done by functions on nodes in functions/.
 *
 * @module
 */
import type { DType } from "./dtype.ts";
import * as indexing from "./functions/indexing.ts";
import * as linear from "./functions/linear.ts";
import { nodeOf, operandOf, type TensorLike } from "./methods/base.ts";
import { ReductionTensor } from "./methods/reduction.ts";
import type { Node } from "./node.ts";

export { type NestedArray, readAll, TensorBase, type TensorLike } from "./methods/base.ts";
export { ElementwiseTensor, type GeluOptions } from "./methods/elementwise.ts";
export { MovementTensor } from "./methods/movement.ts";
export {
  type AxisSpec,
  type NormOptions,
  type ReduceOptions,
  ReductionTensor,
  type VarianceOptions,
} from "./methods/reduction.ts";
export type { PadWidths, SliceSpec } from "./functions/movement.ts";

/**
 * A lazy, immutable array of f32, f16, i32, u32 or bool with NumPy's rules for shapes. Make one
 * with `tensor()`, `zeros()`, `arange()` and the like.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([[1, 2], [3, 4]]);
 * const y = x.matmul(x).add(1).sum(0); // nothing has run yet
 * assertEquals(await y.array(), [24, 34]);
 * ```
 */
export class Tensor extends ReductionTensor {
  /**
   * The result of a method on this tensor: another handle where nothing changed.
   *
   * @internal
   */
  protected override wrap(node: Node): Tensor {
    return new Tensor(node, node !== this.node);
  }

  /**
   * The product of matrices in the last two axes, by NumPy's rules: axes before them are batches
   * and broadcast; a vector on the left is a row, on the right a column, and its axis is dropped.
   * f16 is added up in f32; integers are multiplied exactly modulo 2^32.
   *
   * @throws {TypeError} if the inner sizes differ, or the batches do not broadcast.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * const x = rg.tensor([[1, 2], [3, 4]]);
   * assertEquals(await x.matmul(rg.tensor([1, 10])).array(), [21, 43]);
   * assertEquals(rg.zeros([5, 1, 2, 3]).matmul(rg.zeros([4, 3, 7])).shape, [5, 4, 2, 7]);
   * ```
   */
  matmul(other: Tensor): Tensor {
    return this.wrap(linear.matmul(this.node, nodeOf(other)));
  }

  /**
   * NumPy's `dot`: the inner product of vectors, the product of matrices, and in general every row
   * of the last axis with every column of the other's last but one: [...a, k] · [...b, k, n] is
   * [...a, ...b, n].
   *
   * @throws {TypeError} if the inner sizes differ.
   */
  dot(other: TensorLike): Tensor {
    return this.wrap(linear.dotProduct(this.node, operandOf(other)));
  }

  /** Every element times every element of the other, both flattened: [size, other.size]. */
  outer(other: Tensor): Tensor {
    return this.wrap(linear.outer(this.node, nodeOf(other)));
  }

  /**
   * Slices along an axis by integer indices: that axis is replaced by the axes of `indices`.
   * Negative indices count from the end; one that is outside reads NaN (integers 0, bool false).
   *
   * @throws {TypeError} if the indices are not integers.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * const table = rg.tensor([[1, 2], [3, 4], [5, 6]]);
   * const rows = rg.tensor([2, 0, -1], { dtype: "i32" });
   * assertEquals(await table.take(rows).array(), [[5, 6], [1, 2], [5, 6]]);
   * ```
   */
  take(indices: TensorLike, axis: number = 0): Tensor {
    return this.wrap(indexing.take(this.node, operandOf(indices), axis));
  }

  /**
   * Single elements along an axis: with axis 1, result[i,j] is this[i, indices[i,j]]. `indices` has
   * as many axes; sizes other than the axis's broadcast. Indices outside as in `take`.
   *
   * @throws {TypeError} if the indices are not integers or their shape does not fit.
   */
  takeAlongAxis(indices: Tensor, axis: number): Tensor {
    return this.wrap(indexing.takeAlongAxis(this.node, nodeOf(indices), axis));
  }

  /**
   * With `updates` added to rows of the first axis: result[indices[i]] += updates[i], in an order
   * that does not vary. `updates` broadcasts to the shape of `indices` followed by that of a row.
   * Negative indices count from the end; updates outside are dropped.
   *
   * @throws {TypeError} if the indices are not integers or the updates do not fit.
   */
  scatterAdd(indices: Tensor, updates: TensorLike): Tensor {
    return this.wrap(indexing.addRows(this.node, nodeOf(indices), operandOf(updates)));
  }

  /**
   * Integers as unit vectors along a new last axis of size n: 1 at the index, 0 elsewhere; an index
   * outside [0, n) gives zeros.
   *
   * @throws {TypeError} if this is not of an integer dtype.
   */
  oneHot(n: number, dtype: DType = "f32"): Tensor {
    return this.wrap(indexing.oneHot(this.node, n, dtype));
  }
}
