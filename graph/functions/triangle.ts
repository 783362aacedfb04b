/**
 * Triangles of matrices on nodes: masks over the last two axes, and diagonals.
 *
 * @module
 */
import { binary, fill, iota, pad, reduce, reshape, slice, where } from "../build.ts";
import { describe } from "../describe.ts";
import type { Node } from "../node.ts";
import { type Shape, showShape } from "../shape.ts";

function checkMatrix(action: string, shape: Shape): [rows: number, columns: number] {
  if (shape.length >= 2) return shape.slice(-2) as [number, number];
  throw new TypeError(
    `Cannot ${action}: the tensor is ${showShape(shape)}, expected matrices in the last two axes`,
  );
}

function checkOffset(action: string, offset: number): void {
  if (Number.isInteger(offset)) return;
  throw new TypeError(`Cannot ${action}: the diagonal is ${describe(offset)}, expected an integer`);
}

/** True on and below (or above) a diagonal of [rows, columns]: bool. */
export function triangleMask(
  side: "lower" | "upper",
  rows: number,
  columns: number,
  offset: number,
  action: string = "triangularMask",
): Node {
  checkOffset(action, offset);
  const shape = [rows, columns];
  const reach = binary("add", iota(shape, 0, "i32"), offset), column = iota(shape, 1, "i32");
  return side === "lower" ? binary("lessEqual", column, reach) : binary("lessEqual", reach, column);
}

/** x with zeros above (or below) a diagonal of the last two axes. */
export function triangle(side: "lower" | "upper", x: Node, offset: number): Node {
  const action = side === "lower" ? "tril" : "triu";
  const [rows, columns] = checkMatrix(action, x.shape);
  return where(triangleMask(side, rows, columns, offset, action), x, fill(0, x.shape, x.dtype));
}

/** The diagonal of the last two axes, as a new last axis. */
export function diagonal(x: Node, offset: number, action: string = "diagonal"): Node {
  checkOffset(action, offset);
  const [rows, columns] = checkMatrix(action, x.shape), rank = x.shape.length;
  const top = Math.max(0, -offset), left = Math.max(0, offset);
  const n = Math.max(0, Math.min(rows - top, columns - left));
  const lead = x.shape.slice(0, -2);
  if (n === 0) return fill(0, [...lead, 0], x.dtype);
  const zeros = lead.map(() => 0);
  const square = slice(x, [...zeros, top, left], [...lead, n, n]);
  // Every (n+1)-th element of the square, row after row.
  const line = reshape(square, [...lead, n * n]);
  const steps = [...lead.map(() => 1), n + 1];
  const result = slice(line, [...zeros, 0], [...lead, n], steps);
  return rank === 2 ? reshape(result, [n]) : result;
}

/** Matrices with the last axis on a diagonal, zeros elsewhere. */
export function diagonalMatrix(x: Node, offset: number): Node {
  checkOffset("diag", offset);
  if (x.shape.length === 0) {
    throw new TypeError("Cannot diag: the tensor is a scalar, expected at least one axis");
  }
  const n = x.shape.at(-1)!, lead = x.shape.slice(0, -1), side = n + Math.abs(offset);
  const shape = [...lead, side, side], rank = shape.length;
  const row = iota(shape, rank - 2, "i32"), column = iota(shape, rank - 1, "i32");
  const on = binary("equal", binary("add", row, offset), column);
  const along = reshape(x, [...lead, n, 1]);
  const wide = offset >= 0 ? padRows(along, 0, offset) : padRows(along, -offset, 0);
  return where(on, wide, fill(0, shape, x.dtype));
}

function padRows(x: Node, before: number, after: number): Node {
  const rank = x.shape.length;
  const at = (n: number): number[] => x.shape.map((_, i) => i === rank - 2 ? n : 0);
  return pad(x, at(before), at(after));
}

/** The sum of the diagonal of the last two axes. */
export function trace(x: Node, offset: number): Node {
  const line = diagonal(x, offset, "trace"), axis = line.shape.length - 1;
  return reshape(reduce("sum", line, [axis]), line.shape.slice(0, -1));
}
