/**
 * Methods of tensors that move elements without computing. They cost no copy: inside kernels they
 * become index arithmetic.
 *
 * @module
 */
import { broadcastTo } from "../build.ts";
import * as movement from "../functions/movement.ts";
import type { PadWidths, SliceSpec } from "../functions/movement.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { SpecialTensor } from "./special.ts";

/** The movement methods; every method returns a new tensor. */
export abstract class MovementTensor extends SpecialTensor {
  /**
   * The same elements in the same order with another shape, given as an array or as arguments; one
   * size may be -1 and is worked out.
   *
   * @throws {TypeError} if the number of elements would change.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * assertEquals(rg.zeros([4, 6]).reshape(2, -1).shape, [2, 12]);
   * ```
   */
  reshape(...shape: number[] | [shape: Shape]): Tensor {
    return this.wrap(movement.inferredReshape(this.node, shape.flat() as number[]));
  }

  /** One axis of all elements. */
  flatten(): Tensor {
    return this.reshape(this.size);
  }

  /**
   * Without axes of size 1: the named ones, or all.
   *
   * @throws {RangeError} if a named axis has another size.
   */
  squeeze(axis?: number | readonly number[]): Tensor {
    return this.wrap(movement.squeeze(this.node, axis));
  }

  /** With new axes of size 1, which have the given numbers in the result. */
  expandDims(axis: number | readonly number[]): Tensor {
    return this.wrap(movement.expandDims(this.node, axis));
  }

  /** {@linkcode MovementTensor.expandDims}, as PyTorch calls it. */
  unsqueeze(axis: number): Tensor {
    return this.expandDims(axis);
  }

  /** The axes in another order: axis i of the result is axis order[i]. Reversed by default. */
  transpose(order?: readonly number[]): Tensor {
    return this.wrap(movement.transpose(this.node, order));
  }

  /** The axes in reverse order. */
  get T(): Tensor {
    return this.transpose();
  }

  /** Two axes exchanged. */
  swapAxes(a: number, b: number): Tensor {
    return this.wrap(movement.swapAxes(this.node, a, b));
  }

  /** Axes moved to new places; the others keep their order. */
  moveAxis(from: number | readonly number[], to: number | readonly number[]): Tensor {
    return this.wrap(movement.moveAxis(this.node, from, to));
  }

  /**
   * Repeated along axes of size 1, and along new axes in front, to a shape.
   *
   * @throws {TypeError} if the shape does not fit.
   */
  broadcastTo(shape: Shape): Tensor {
    return this.wrap(broadcastTo(this.node, shape));
  }

  /**
   * A window, by one spec for each of the first axes, as in Python's `x[…]`: a number takes that
   * index and drops the axis, `[start, stop, step]` takes a range, `null` takes all. Negative
   * numbers count from the end, missing ones mean the end itself, ranges are cut off at the ends.
   *
   * @throws {RangeError} if an index is outside, or there are more specs than axes.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * const x = rg.tensor([[1, 2, 3], [4, 5, 6]]);
   * assertEquals(await x.slice(1).array(), [4, 5, 6]);
   * assertEquals(await x.slice(null, [1]).array(), [[2, 3], [5, 6]]);
   * assertEquals(await x.slice(0, [null, null, -1]).array(), [3, 2, 1]);
   * ```
   */
  slice(...specs: SliceSpec[]): Tensor {
    return this.wrap(movement.sliceBy(this.node, specs));
  }

  /**
   * Filled up around: `widths` is a number for all sides, `[before, after]` for all axes, or such a
   * pair for each axis.
   *
   * @throws {RangeError} if a width is negative or the number of pairs is not that of the axes.
   */
  pad(widths: PadWidths, value: number = 0): Tensor {
    return this.wrap(movement.padBy(this.node, widths, value));
  }

  /** The order along axes reversed; along all of them by default. */
  flip(axis?: number | readonly number[]): Tensor {
    return this.wrap(movement.flipBy(this.node, axis));
  }

  /**
   * Cut along an axis, as in NumPy: a number of equal parts, or before each of the given indices.
   *
   * @throws {RangeError} if the number does not divide the axis.
   */
  split(parts: number | readonly number[], axis: number = 0): Tensor[] {
    return movement.split(this.node, parts, axis).map((part) => this.wrap(part));
  }

  /** The whole repeated along each axis; missing counts in front are 1. */
  tile(counts: number | readonly number[]): Tensor {
    return this.wrap(movement.tile(this.node, [counts].flat()));
  }

  /** Each element repeated along an axis. */
  repeat(count: number, axis: number): Tensor {
    return this.wrap(movement.repeat(this.node, count, axis));
  }
}
