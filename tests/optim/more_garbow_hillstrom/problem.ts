/**
 * What a problem of Moré, Garbow and Hillstrom is (Testing unconstrained optimization software,
 * 1981): a sum of squares of residuals, by tensors and, with their derivatives written out, by
 * numbers in float64.
 *
 * @module
 */
import type { Tensor } from "../../../graph/tensor.ts";

/** One problem. */
export interface Problem {
  readonly name: string;
  /** The usual start. */
  readonly start: readonly number[];
  /** Sizes of the variables, by which a minimiser may scale them. */
  readonly scale?: readonly number[];
  /** Published values of minima. */
  readonly minima: readonly number[];
  /** Residuals, [m]. */
  readonly residuals: (x: Tensor) => Tensor;
  /** A residual's value and gradient, for each of them. */
  readonly rows: (x: readonly number[]) => readonly Row[];
}

/** A residual's value and gradient. */
export type Row = readonly [value: number, slope: readonly number[]];

/** A vector's elements, [1] each. */
export const parts = (x: Tensor): Tensor[] => x.split(x.size);

/** 1, 2 … n. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

/** The unit vector along an axis, counted from 1, times a number. */
export const unit = (n: number, axis: number, length = 1): number[] =>
  range(n).map((i) => i === axis ? length : 0);

/** The sum of squares. */
export function valueOf({ residuals }: Problem): (x: Tensor) => Tensor {
  return (x) => residuals(x).square().sum();
}

/** The sum of squares and its gradient, in float64. */
export function exactly({ rows }: Problem, x: readonly number[]): [number, number[]] {
  const gradient = x.map(() => 0);
  let value = 0;
  for (const [r, slope] of rows(x)) {
    value += r * r;
    slope.forEach((s, i) => gradient[i]! += 2 * r * s);
  }
  return [value, gradient];
}
