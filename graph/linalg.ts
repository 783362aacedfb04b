/**
 * Linear algebra that training uses, for small matrices in the last two axes (all axes before them
 * are batches): factorizations as loops over columns, so that the compiled program does not grow
 * with the size, and derivatives in closed form, which are made of the same functions and so
 * differentiate again.
 *
 * @module
 */
import { describe } from "./describe.ts";
import { checkMatrices } from "./linalg/batches.ts";
import type { Tensor } from "./tensor.ts";

export { determinant, type LogDeterminant, slogdet } from "./linalg/determinant.ts";
export { inverse, type QR, qr, solve } from "./linalg/orthogonal.ts";
export { cholesky, type TriangularOptions, triangularSolve } from "./linalg/triangular.ts";

/**
 * Norms of matrices: the root of the sum of squares, or the largest (or with -1 and -Infinity the
 * smallest) sum of magnitudes of a column (1) or a row (Infinity). For norms of vectors see
 * `Tensor.norm`.
 *
 * @throws {TypeError} if there are no matrices in the last two axes.
 * @throws {RangeError} if the norm is another.
 */
export function matrixNorm(x: Tensor, norm: "frobenius" | number = "frobenius"): Tensor {
  checkMatrices("matrixNorm", x, false);
  if (norm === "frobenius") return x.norm([x.rank - 2, x.rank - 1]);
  const axis = Math.abs(norm) === 1 ? -2 : Math.abs(norm) === Infinity ? -1 : undefined;
  if (axis === undefined) {
    throw new RangeError(
      `Cannot matrixNorm: the norm is ${describe(norm)}, expected "frobenius", ±1 or ±Infinity`,
    );
  }
  const sums = x.abs().sum(axis);
  return norm > 0 ? sums.max(-1) : sums.min(-1);
}
