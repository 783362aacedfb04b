/**
 * Reductions on nodes, by NumPy's rules: all axes unless some are named, reduced axes dropped
 * unless kept. Sums and products of bool count in i32; means and what follows from them are
 * floats.
 *
 * @module
 */
import { binary, cast, fill, iota, reduce, type Reduction, reshape, unary } from "../build.ts";
import { where } from "../build.ts";
import { describe } from "../describe.ts";
import { dtypes, isFloat } from "../dtype.ts";
import type { Node } from "../node.ts";
import { normalizeAxes, normalizeAxis, type Shape, showShape, sizeOf } from "../shape.ts";
import { classify, inF32, toBool, toNumber } from "./elementwise.ts";
import { logOfSum, rootOfSum } from "./numerics.ts";

/** One axis, several, or all of them; negative ones count from the end. */
export type Axes = number | readonly number[] | undefined;

/** How many elements go into each result. */
function count(shape: Shape, axes: readonly number[]): number {
  return sizeOf(axes.map((axis) => shape[axis]!));
}

/** Drops the reduced axes, which have size 1. */
function settle(x: Node, axes: readonly number[], keep: boolean): Node {
  return keep ? x : reshape(x, x.shape.filter((_, i) => !axes.includes(i)));
}

function atLeastOne(action: string, shape: Shape, axes: readonly number[]): void {
  if (count(shape, axes) > 0) return;
  throw new RangeError(
    `Cannot ${action}: no elements along axes ${showShape(axes)} of ${
      showShape(shape)
    }, expected at least one`,
  );
}

/** Names of the plain reductions, as users call them. */
export type ReductionName = "sum" | "prod" | "max" | "min";

const reductions: { readonly [K in ReductionName]: { op: Reduction; empty: boolean } } = {
  sum: { op: "sum", empty: true },
  prod: { op: "prod", empty: true },
  max: { op: "reduceMax", empty: false },
  min: { op: "reduceMin", empty: false },
};

/** sum, prod, max or min over axes. */
export function reduction(name: ReductionName, x: Node, axis: Axes, keep: boolean): Node {
  const axes = normalizeAxes(axis, x.shape.length, name);
  const { op, empty } = reductions[name];
  if (!empty) atLeastOne(name, x.shape, axes);
  return settle(reduce(op, toNumber(x), axes), axes, keep);
}

/** The arithmetic mean; NaN where there are no elements. */
export function mean(operand: Node, axis: Axes, keep: boolean): Node {
  const axes = normalizeAxes(axis, operand.shape.length, "mean");
  return inF32(operand, (x) => {
    return settle(binary("div", reduce("sum", x, axes), count(x.shape, axes)), axes, keep);
  });
}

/** The mean square distance from the mean, in two passes; divides by `count - correction`. */
export function variance(
  operand: Node,
  axis: Axes,
  correction: number,
  keep: boolean,
  action: string = "variance",
): Node {
  if (!Number.isFinite(correction)) {
    throw new RangeError(
      `Cannot ${action}: the correction is ${describe(correction)}, expected a finite number`,
    );
  }
  const axes = normalizeAxes(axis, operand.shape.length, action);
  return inF32(operand, (x) => {
    const distance = binary("sub", x, mean(x, axes, true));
    const squares = reduce("sum", binary("mul", distance, distance), axes);
    const divisor = Math.max(0, count(x.shape, axes) - correction);
    return settle(binary("div", squares, divisor), axes, keep);
  });
}

/** The square root of the variance. */
export function deviation(operand: Node, axis: Axes, correction: number, keep: boolean): Node {
  return inF32(operand, (x) => rootOfSum(variance(x, axis, correction, keep, "std")));
}

/** True where any (all) of the elements are not zero. */
export function quantifier(name: "any" | "all", x: Node, axis: Axes, keep: boolean): Node {
  const axes = normalizeAxes(axis, x.shape.length, name);
  const truth = cast(toBool(x), "i32");
  const reduced = reduce(name === "any" ? "reduceMax" : "reduceMin", truth, axes);
  const some = count(x.shape, axes) > 0;
  const result = some ? toBool(reduced) : fill(name === "any" ? 0 : 1, reduced.shape, "bool");
  return settle(result, axes, keep);
}

/** The i32 index of the extreme along an axis (of the flattened elements without one). */
export function arg(
  name: "argmax" | "argmin",
  operand: Node,
  axis: number | undefined,
  keep: boolean,
): Node {
  let x = toNumber(operand);
  if (axis === undefined) {
    const index = arg(name, reshape(x, [sizeOf(x.shape)]), 0, false);
    return keep ? reshape(index, x.shape.map(() => 1)) : index;
  }
  const at = normalizeAxis(axis, x.shape.length, name);
  atLeastOne(name, x.shape, [at]);
  x = unary("stop", x);
  const extreme = reduce(name === "argmax" ? "reduceMax" : "reduceMin", x, [at]);
  let hit = binary("equal", x, extreme);
  // A NaN makes the extreme NaN, which equals nothing; then the hits are the NaNs themselves.
  if (isFloat(x.dtype)) hit = binary("or", hit, classify.isNaN(x));
  const index = where(hit, iota(x.shape, at, "i32"), fill(dtypes.i32.highest, [], "i32"));
  return settle(reduce("reduceMin", index, [at]), [at], keep);
}

/** log Σ exp, with the largest element taken out first where it is finite. */
export function logSumExp(operand: Node, axis: Axes, keep: boolean): Node {
  const axes = normalizeAxes(axis, operand.shape.length, "logSumExp");
  atLeastOne("logSumExp", operand.shape, axes);
  return inF32(operand, (x) => {
    const largest = unary("stop", reduce("reduceMax", x, axes));
    // ±∞ - ±∞ would be NaN; taking out 0 leaves -∞ for a sum of 0 and log ∞ = ∞.
    const shift = where(classify.isFinite(largest), largest, 0);
    const sum = reduce("sum", unary("exp", binary("sub", x, shift)), axes);
    return settle(binary("add", logOfSum(sum), shift), axes, keep);
  });
}

/** x less its largest element along the axes, as a constant. */
function shifted(x: Node, axes: readonly number[]): Node {
  // The largest element of an empty axis is -∞ and does no harm: there is nothing to shift.
  return binary("sub", x, unary("stop", reduce("reduceMax", x, axes)));
}

/** exp(x) / Σ exp(x). */
export function softmax(operand: Node, axis: Axes): Node {
  const axes = normalizeAxes(axis, operand.shape.length, "softmax");
  return inF32(operand, (x) => {
    const e = unary("exp", shifted(x, axes));
    return binary("div", e, reduce("sum", e, axes));
  });
}

/** x - log Σ exp(x). */
export function logSoftmax(operand: Node, axis: Axes): Node {
  const axes = normalizeAxes(axis, operand.shape.length, "logSoftmax");
  return inF32(operand, (x) => {
    const y = shifted(x, axes);
    return binary("sub", y, unary("log", reduce("sum", unary("exp", y), axes)));
  });
}

/** (Σ |x|^order)^(1/order); the Euclidean norm has gradient 0 at 0. */
export function norm(operand: Node, order: number, axis: Axes, keep: boolean): Node {
  return inF32(operand, (x) => normOf(x, order, axis, keep));
}

/** |x|^order. Where derivatives at 0 are infinite, an element that is 0 counts as a constant. */
function powersOf(x: Node, size: Node, order: number): Node {
  if (order === 2) return binary("mul", x, x);
  if (order > 2) return binary("pow", size, order);
  const zero = binary("equal", x, 0);
  return where(zero, 0, binary("pow", where(zero, 1, size), order));
}

function normOf(x: Node, order: number, axis: Axes, keep: boolean): Node {
  const axes = normalizeAxes(axis, x.shape.length, "norm");
  const size = unary("abs", x);
  if (order === 1) return settle(reduce("sum", size, axes), axes, keep);
  if (order === Infinity || order === -Infinity) {
    return reduction(order > 0 ? "max" : "min", size, axes, keep);
  }
  if (!(order > 0)) {
    throw new RangeError(
      `Cannot take the norm: order is ${order}, expected a positive number or -Infinity`,
    );
  }
  const sum = reduce("sum", powersOf(x, size, order), axes);
  if (order === 2) return settle(rootOfSum(sum), axes, keep);
  const zero = binary("equal", sum, 0);
  const root = binary("pow", where(zero, 1, sum), 1 / order);
  return settle(where(zero, 0, root), axes, keep);
}
