/**
 * Methods of tensors that reduce axes, and the normalisations made of them. `axis` is one axis,
 * several, or left out for all; negative ones count from the end. Sums follow an order that is a
 * function of shape and dtype alone, so they are the same on every run.
 *
 * @module
 */
import { checkNames, type Names } from "../describe.ts";
import * as reductions from "../functions/reduction.ts";
import type { Tensor } from "../tensor.ts";
import { MovementTensor } from "./movement.ts";

/** Which axes to reduce: one, several, or all where left out. */
export type AxisSpec = number | readonly number[];

/** Options of every reduction. */
export interface ReduceOptions {
  /**
   * Reduced axes stay, with size 1, so that the result broadcasts against the operand.
   *
   * @default {false}
   */
  readonly keepDims?: boolean;
}

/** Options of `variance` and `std`. */
export interface VarianceOptions extends ReduceOptions {
  /**
   * The divisor is the number of elements less this; 1 gives the unbiased estimate.
   *
   * @default {0}
   */
  readonly correction?: number;
}

/** Options of `norm`. */
export interface NormOptions extends ReduceOptions {
  /**
   * The exponent: 1, 2, any positive number, or ±Infinity for the largest or smallest magnitude.
   *
   * @default {2}
   */
  readonly order?: number;
}

const names: Names<ReduceOptions> = { keepDims: "flag" };
const varianceNames: Names<VarianceOptions> = { ...names, correction: true };
const normNames: Names<NormOptions> = { ...names, order: true };

/** Whether reduced axes stay, of options that have nothing but these names. */
function keepDims<O extends ReduceOptions>(
  options: O,
  action: string,
  known: Names<O> = names as Names<O>,
): boolean {
  checkNames(options, known, action);
  return options.keepDims ?? false;
}

/** The reductions; every method returns a new tensor. */
export abstract class ReductionTensor extends MovementTensor {
  /**
   * The sum; bool counts in i32, other dtypes stay, and f16 is added up in f32.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * const x = rg.tensor([[1, 2, 3], [4, 5, 6]]);
   * assertEquals(await x.sum().item(), 21);
   * assertEquals(await x.sum(0).array(), [5, 7, 9]);
   * assertEquals(await x.sum(-1, { keepDims: true }).array(), [[6], [15]]);
   * ```
   */
  sum(axis?: AxisSpec, options: ReduceOptions = {}): Tensor {
    return this.wrap(reductions.reduction("sum", this.node, axis, keepDims(options, "sum")));
  }

  /** The product; bool counts in i32. */
  prod(axis?: AxisSpec, options: ReduceOptions = {}): Tensor {
    return this.wrap(reductions.reduction("prod", this.node, axis, keepDims(options, "prod")));
  }

  /**
   * The largest element; NaN if any is.
   *
   * @throws {RangeError} if there are no elements to compare.
   */
  max(axis?: AxisSpec, options: ReduceOptions = {}): Tensor {
    return this.wrap(reductions.reduction("max", this.node, axis, keepDims(options, "max")));
  }

  /**
   * The smallest element; NaN if any is.
   *
   * @throws {RangeError} if there are no elements to compare.
   */
  min(axis?: AxisSpec, options: ReduceOptions = {}): Tensor {
    return this.wrap(reductions.reduction("min", this.node, axis, keepDims(options, "min")));
  }

  /** The arithmetic mean, a float; NaN of no elements. */
  mean(axis?: AxisSpec, options: ReduceOptions = {}): Tensor {
    return this.wrap(reductions.mean(this.node, axis, keepDims(options, "mean")));
  }

  /** The mean square distance from the mean, a float, computed in two passes. */
  variance(axis?: AxisSpec, options: VarianceOptions = {}): Tensor {
    const keep = keepDims(options, "variance", varianceNames), { correction = 0 } = options;
    return this.wrap(reductions.variance(this.node, axis, correction, keep));
  }

  /** The square root of the variance; of equal elements its gradient is 0. */
  std(axis?: AxisSpec, options: VarianceOptions = {}): Tensor {
    const keep = keepDims(options, "std", varianceNames), { correction = 0 } = options;
    return this.wrap(reductions.deviation(this.node, axis, correction, keep));
  }

  /** True where all elements are not 0, and of no elements. Result: bool. */
  all(axis?: AxisSpec, options: ReduceOptions = {}): Tensor {
    return this.wrap(reductions.quantifier("all", this.node, axis, keepDims(options, "all")));
  }

  /** True where any element is not 0. Result: bool. */
  any(axis?: AxisSpec, options: ReduceOptions = {}): Tensor {
    return this.wrap(reductions.quantifier("any", this.node, axis, keepDims(options, "any")));
  }

  /**
   * The i32 index of the largest element along an axis, or in the flattened tensor without one: the
   * first of equals, and of a NaN if there is one.
   *
   * @throws {RangeError} if there are no elements to compare.
   */
  argmax(axis?: number, options: ReduceOptions = {}): Tensor {
    return this.wrap(reductions.arg("argmax", this.node, axis, keepDims(options, "argmax")));
  }

  /**
   * The i32 index of the smallest element along an axis, or in the flattened tensor without one:
   * the first of equals, and of a NaN if there is one.
   *
   * @throws {RangeError} if there are no elements to compare.
   */
  argmin(axis?: number, options: ReduceOptions = {}): Tensor {
    return this.wrap(reductions.arg("argmin", this.node, axis, keepDims(options, "argmin")));
  }

  /**
   * log Σ exp without overflow: -∞ where all elements are, with gradient 0, and ∞ where any is.
   *
   * @throws {RangeError} if there are no elements.
   */
  logSumExp(axis?: AxisSpec, options: ReduceOptions = {}): Tensor {
    return this.wrap(reductions.logSumExp(this.node, axis, keepDims(options, "logSumExp")));
  }

  /**
   * The norm of vectors along the axes, (Σ |x|^order)^(1/order); at 0 its gradient is 0, and so it
   * is where an element is 0, even of orders below 1. Squares beyond the range of the dtype
   * overflow.
   *
   * @throws {RangeError} if the order is neither positive nor -Infinity.
   */
  norm(axis?: AxisSpec, options: NormOptions = {}): Tensor {
    const keep = keepDims(options, "norm", normNames), { order = 2 } = options;
    return this.wrap(reductions.norm(this.node, order, axis, keep));
  }

  /**
   * exp(x) / Σ exp(x) along axes, without overflow. A slice that is all -∞, or has ∞ or NaN in it,
   * becomes NaN.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * assertEquals(await rg.tensor([1000, 1000]).softmax().array(), [0.5, 0.5]);
   * ```
   */
  softmax(axis: AxisSpec = -1): Tensor {
    return this.wrap(reductions.softmax(this.node, axis));
  }

  /** log(softmax(x)), without overflow or loss of small probabilities. */
  logSoftmax(axis: AxisSpec = -1): Tensor {
    return this.wrap(reductions.logSoftmax(this.node, axis));
  }
}
