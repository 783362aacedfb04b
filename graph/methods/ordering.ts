/**
 * Methods of tensors that go along an axis in order: running sums and the like, sorting.
 *
 * @module
 */
import { checkNames } from "../describe.ts";
import { cumulative } from "../functions/cumulative.ts";
import * as ordering from "../functions/ordering.ts";
import type { Tensor } from "../tensor.ts";
import { ReductionTensor } from "./reduction.ts";

/** Options of running sums and the like. */
export interface CumulativeOptions {
  /**
   * Each element gets what those before it come to, without itself.
   *
   * @default {false}
   */
  readonly exclusive?: boolean;
  /**
   * From the last element to the first.
   *
   * @default {false}
   */
  readonly reverse?: boolean;
}

/** Options of sorting. */
export interface SortOptions {
  /**
   * From the largest to the smallest.
   *
   * @default {false}
   */
  readonly descending?: boolean;
}

/** Options of `topK`. */
export interface TopKOptions {
  /**
   * The axis to look along.
   *
   * @default {-1}
   */
  readonly axis?: number;
  /**
   * The largest elements, or else the smallest.
   *
   * @default {true}
   */
  readonly largest?: boolean;
}

function plain(options: CumulativeOptions, action: string): Required<CumulativeOptions> {
  checkNames(options, { exclusive: "flag", reverse: "flag" }, action);
  const { exclusive = false, reverse = false } = options;
  return { exclusive, reverse };
}

/** The methods that follow an order; every method returns a new tensor. */
export abstract class OrderingTensor extends ReductionTensor {
  /**
   * Running sums along an axis; bool counts in i32, f16 is added up in f32.
   *
   * @throws {RangeError} if there is no such axis.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * const x = rg.tensor([1, 2, 3]);
   * assertEquals(await x.cumsum().array(), [1, 3, 6]);
   * assertEquals(await x.cumsum(0, { exclusive: true, reverse: true }).array(), [5, 3, 0]);
   * ```
   */
  cumsum(axis: number = -1, options: CumulativeOptions = {}): Tensor {
    return this.wrap(cumulative("cumsum", this.node, axis, plain(options, "cumsum")));
  }

  /** Running products along an axis. */
  cumprod(axis: number = -1, options: CumulativeOptions = {}): Tensor {
    return this.wrap(cumulative("cumprod", this.node, axis, plain(options, "cumprod")));
  }

  /** Running maxima along an axis; NaN from the first NaN on. */
  cummax(axis: number = -1, options: CumulativeOptions = {}): Tensor {
    return this.wrap(cumulative("cummax", this.node, axis, plain(options, "cummax")));
  }

  /** Running minima along an axis; NaN from the first NaN on. */
  cummin(axis: number = -1, options: CumulativeOptions = {}): Tensor {
    return this.wrap(cumulative("cummin", this.node, axis, plain(options, "cummin")));
  }

  /** Running log Σ exp along an axis, without overflow. */
  logCumSumExp(axis: number = -1, options: CumulativeOptions = {}): Tensor {
    return this.wrap(cumulative("logCumSumExp", this.node, axis, plain(options, "logCumSumExp")));
  }

  /**
   * Sorted along an axis; equal elements keep their order, and NaN counts as the largest. Gradients
   * go back to where the elements were.
   *
   * @throws {RangeError} if there is no such axis.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * const x = rg.tensor([3, 1, 2]);
   * assertEquals(await x.sort().array(), [1, 2, 3]);
   * assertEquals(await x.argsort(-1, { descending: true }).array(), [0, 2, 1]);
   * ```
   */
  sort(axis: number = -1, options: SortOptions = {}): Tensor {
    checkNames(options, { descending: "flag" }, "sort");
    const { descending = false } = options;
    return this.wrap(ordering.sort(this.node, axis, descending));
  }

  /** The i32 indices that sort along an axis: see `sort`. */
  argsort(axis: number = -1, options: SortOptions = {}): Tensor {
    checkNames(options, { descending: "flag" }, "argsort");
    const { descending = false } = options;
    return this.wrap(ordering.argsort(this.node, axis, descending));
  }

  /**
   * The k largest elements along an axis, in descending order, and their i32 indices; of equal ones
   * the first.
   *
   * @throws {RangeError} if k is more than there are elements.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * const { values, indices } = rg.tensor([1, 4, 2, 3]).topK(2);
   * assertEquals([await values.array(), await indices.array()], [[4, 3], [1, 3]]);
   * ```
   */
  topK(
    k: number,
    options: TopKOptions = {},
  ): { readonly values: Tensor; readonly indices: Tensor } {
    checkNames(options, { axis: true, largest: "flag" }, "topK");
    const { axis = -1, largest = true } = options;
    const { values, indices } = ordering.topK(this.node, k, axis, largest);
    return { values: this.wrap(values), indices: this.wrap(indices) };
  }
}
