/**
 * Shapes: lists of non-negative sizes, row-major, NumPy's rules for broadcasting and axes.
 * Everything here is a pure function on arrays of numbers.
 *
 * @module
 */
import { describe } from "./describe.ts";

/** Sizes of the axes, outermost first; `[]` is a scalar. */
export type Shape = readonly number[];

/** Number of elements. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (let i = 0; i < shape.length; i++) size *= shape[i]!;
  return size;
}

/** Same rank and same sizes. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a === b || a.length === b.length && a.every((n, i) => n === b[i]);
}

/** `[2,3]`, for messages and printing. */
export function showShape(shape: Shape): string {
  return `[${shape.join(",")}]`;
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i]!;
  }
  return strides;
}

/** NumPy's broadcast of several shapes, or undefined where they do not fit together. */
export function broadcastShapes(...shapes: Shape[]): number[] | undefined {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const result = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    const offset = rank - shape.length;
    for (let i = 0; i < shape.length; i++) {
      const n = shape[i]!, m = result[offset + i]!;
      if (n === m || n === 1) continue;
      if (m !== 1) return undefined;
      result[offset + i] = n;
    }
  }
  return result;
}

/**
 * Axes as sorted, distinct, non-negative numbers; negative ones count from the end and
 * `undefined` means all of them.
 */
export function normalizeAxes(
  axes: number | readonly number[] | undefined,
  rank: number,
  action: string,
): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = typeof axes === "number" ? [axes] : axes;
  if (!Array.isArray(list)) {
    throw new TypeError(
      `Cannot ${action}: the axis is ${describe(list)}, expected a number, or an array of numbers`,
    );
  }
  const result = list.map((axis) => normalizeAxis(axis, rank, action));
  const distinct = [...new Set(result)].sort((a, b) => a - b);
  if (distinct.length !== result.length) {
    throw new RangeError(
      `Cannot ${action}: axes are ${showShape(list)}, expected each axis once`,
    );
  }
  return distinct;
}

/** One axis as a non-negative number; a negative one counts from the end. */
export function normalizeAxis(axis: number, rank: number, action: string): number {
  if (typeof axis !== "number") {
    throw new TypeError(`Cannot ${action}: axis is ${describe(axis)}, expected an integer`);
  }
  const result = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || result < 0 || result >= rank) {
    throw new RangeError(
      `Cannot ${action}: axis is ${axis}, expected ${
        rank === 0 ? "no axis, for the tensor is a scalar" : `an integer in [${-rank}, ${rank - 1}]`
      }`,
    );
  }
  return result;
}

/** Throws unless every size is a non-negative integer and the product stays addressable. */
export function checkShape(shape: Shape, action: string): void {
  if (!Array.isArray(shape)) {
    throw new TypeError(
      `Cannot ${action}: the shape is ${describe(shape)}, expected an array of sizes`,
    );
  }
  for (const n of shape) {
    if (!Number.isInteger(n) || n < 0) {
      throw new RangeError(
        `Cannot ${action}: shape is ${showShape(shape)}, expected non-negative integers`,
      );
    }
  }
  if (sizeOf(shape) > 0x7fffffff) {
    throw new RangeError(
      `Cannot ${action}: shape ${
        showShape(shape)
      } has more than 2^31-1 elements, expected fewer (indices are 32-bit)`,
    );
  }
}
