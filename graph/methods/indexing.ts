/**
 * Methods of tensors that read and write elements by tensors of indices.
 *
 * @module
 */
import type { DType } from "../dtype.ts";
import * as indexing from "../functions/indexing.ts";
import { putAlongAxis, type ScatterMode, scatterRows } from "../functions/scatter.ts";
import * as triangle from "../functions/triangle.ts";
import type { Tensor } from "../tensor.ts";
import { nodeOf, operandOf, type TensorLike } from "./base.ts";
import { OrderingTensor } from "./ordering.ts";

/** The methods with indices; every method returns a new tensor. */
export abstract class IndexingTensor extends OrderingTensor {
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
    return this.wrap(indexing.take(this.node, operandOf(indices, "take"), axis));
  }

  /**
   * Single elements along an axis: with axis 1, result[i,j] is this[i, indices[i,j]]. `indices` has
   * as many axes; sizes other than the axis's broadcast. Indices outside as in `take`.
   *
   * @throws {TypeError} if the indices are not integers or their shape does not fit.
   */
  takeAlongAxis(indices: Tensor, axis: number): Tensor {
    return this.wrap(indexing.takeAlongAxis(this.node, nodeOf(indices, "takeAlongAxis"), axis));
  }

  /**
   * With `updates` added to rows of the first axis: result[indices[i]] += updates[i], in an order
   * that does not vary. `updates` broadcasts to the shape of `indices` followed by that of a row.
   * Negative indices count from the end; updates outside are dropped.
   *
   * @throws {TypeError} if the indices are not integers or the updates do not fit.
   */
  scatterAdd(indices: Tensor, updates: TensorLike): Tensor {
    return this.wrap(
      indexing.addRows(this.node, nodeOf(indices, "scatterAdd"), operandOf(updates, "scatterAdd")),
    );
  }

  /**
   * Slices by integer indices into the first axes, which broadcast against each other, as NumPy's
   * `x[i, j]`: those axes are replaced by the axes of the indices. Indices outside as in `take`.
   *
   * @throws {TypeError} if the indices are not integers, do not broadcast, or are too many.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * const x = rg.arange(6).reshape(2, 3);
   * const rows = rg.tensor([0, 1, 1], { dtype: "i32" });
   * const columns = rg.tensor([2, 0, -1], { dtype: "i32" });
   * assertEquals(await x.index(rows, columns).array(), [2, 3, 5]);
   * ```
   */
  index(...indices: TensorLike[]): Tensor {
    return this.wrap(
      indexing.indexBy(this.node, indices.map((index) => operandOf(index, "index"))),
    );
  }

  /**
   * With rows of the first axis written: result[indices[i]] = updates[i], where the last update of a
   * row wins, or with another mode joined to what is there: added, multiplied, or the smaller or
   * larger kept. `updates` broadcasts to the shape of `indices` followed by that of a row. Negative
   * indices count from the end; updates outside are dropped.
   *
   * @throws {TypeError} if the indices are not integers or the updates do not fit.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * const at = rg.tensor([0, 2, 0], { dtype: "i32" }), values = rg.tensor([5, 6, 7]);
   * assertEquals(await rg.ones([3]).scatter(at, values).array(), [7, 1, 6]);
   * assertEquals(await rg.ones([3]).scatter(at, values, "max").array(), [7, 1, 6]);
   * assertEquals(await rg.ones([3]).scatter(at, values, "add").array(), [13, 1, 7]);
   * ```
   */
  scatter(indices: Tensor, updates: TensorLike, mode: ScatterMode = "set"): Tensor {
    return this.wrap(
      scatterRows(this.node, nodeOf(indices, "scatter"), operandOf(updates, "scatter"), mode),
    );
  }

  /**
   * With single elements written along an axis, the reverse of `takeAlongAxis`: with axis 1,
   * result[i, indices[i,j]] = values[i,j]; the last wins, or see `scatter` for other modes.
   *
   * @throws {TypeError} if the indices are not integers or shapes do not fit.
   */
  putAlongAxis(
    indices: Tensor,
    values: TensorLike,
    axis: number,
    mode: ScatterMode = "set",
  ): Tensor {
    const written = putAlongAxis(
      this.node,
      nodeOf(indices, "putAlongAxis"),
      operandOf(values, "putAlongAxis"),
      axis,
      mode,
    );
    return this.wrap(written);
  }

  /**
   * With zeros above a diagonal of the last two axes: the main one, or so many further right.
   *
   * @throws {TypeError} if there are fewer than two axes.
   */
  tril(diagonal: number = 0): Tensor {
    return this.wrap(triangle.triangle("lower", this.node, diagonal));
  }

  /**
   * With zeros below a diagonal of the last two axes: the main one, or so many further right.
   *
   * @throws {TypeError} if there are fewer than two axes.
   */
  triu(diagonal: number = 0): Tensor {
    return this.wrap(triangle.triangle("upper", this.node, diagonal));
  }

  /**
   * A diagonal of the last two axes, as a new last axis.
   *
   * @throws {TypeError} if there are fewer than two axes.
   */
  diagonal(offset: number = 0): Tensor {
    return this.wrap(triangle.diagonal(this.node, offset));
  }

  /**
   * Matrices with the elements of the last axis on a diagonal and zeros elsewhere.
   *
   * @throws {TypeError} if this is a scalar.
   */
  diag(offset: number = 0): Tensor {
    return this.wrap(triangle.diagonalMatrix(this.node, offset));
  }

  /**
   * The sum of a diagonal of the last two axes.
   *
   * @throws {TypeError} if there are fewer than two axes.
   */
  trace(offset: number = 0): Tensor {
    return this.wrap(triangle.trace(this.node, offset));
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
