/**
 * The tensor: a lazy array of numbers. Methods record what is to be computed and return at once;
 * nothing runs until a value is read. It owns no device memory before that, and needs no disposal
 * after.
 *
 * The class here ends the chain in methods/ with products of matrices; the work is
 * done by functions on nodes in functions/.
 *
 * @module
 */
import * as linear from "./functions/linear.ts";
import { nodeOf, operandOf, type TensorLike } from "./methods/base.ts";
import { IndexingTensor } from "./methods/indexing.ts";
import type { Node } from "./node.ts";

export { type NestedArray, readAll, TensorBase, type TensorLike } from "./methods/base.ts";
export { ElementwiseTensor, type GeluOptions } from "./methods/elementwise.ts";
export { MovementTensor } from "./methods/movement.ts";
export { IndexingTensor } from "./methods/indexing.ts";
export {
  type CumulativeOptions,
  OrderingTensor,
  type SortOptions,
  type TopKOptions,
} from "./methods/ordering.ts";
export type { ScatterMode } from "./functions/scatter.ts";
export { SpecialTensor } from "./methods/special.ts";
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
export class Tensor extends IndexingTensor {
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
    return this.wrap(linear.matmul(this.node, nodeOf(other, "matmul")));
  }

  /**
   * NumPy's `dot`: the inner product of vectors, the product of matrices, and in general every row
   * of the last axis with every column of the other's last but one: [...a, k] · [...b, k, n] is
   * [...a, ...b, n].
   *
   * @throws {TypeError} if the inner sizes differ.
   */
  dot(other: TensorLike): Tensor {
    return this.wrap(linear.dotProduct(this.node, operandOf(other, "dot")));
  }

  /** Every element times every element of the other, both flattened: [size, other.size]. */
  outer(other: Tensor): Tensor {
    return this.wrap(linear.outer(this.node, nodeOf(other, "outer")));
  }
}
