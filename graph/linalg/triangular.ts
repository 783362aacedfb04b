/**
 * Triangular systems, solved row by row, and Cholesky's factorization, column by column. Murray,
 * Differentiation of the Cholesky decomposition, 2016.
 *
 * @module
 */
import { zeros } from "../create.ts";
import { checkNames } from "../describe.ts";
import { where } from "../operations.ts";
import { loop } from "../scan.ts";
import type { Tensor } from "../tensor.ts";
import { customVjp } from "../transforms/custom.ts";
import { checkMatrices, inBatches, positions, sides, transposed } from "./batches.ts";

/** Which triangle is read, and how. */
export interface TriangularOptions {
  /**
   * The lower triangle, else the upper one; the other is not looked at.
   *
   * @default {true}
   */
  readonly lower?: boolean;
  /**
   * Solves with the transpose of the matrix.
   *
   * @default {false}
   */
  readonly transpose?: boolean;
  /**
   * The diagonal counts as ones and is not looked at.
   *
   * @default {false}
   */
  readonly unitDiagonal?: boolean;
}

/** Row by row from the first: what is left of the right side, divided by the diagonal. */
function substituted(t: Tensor, b: Tensor, unit: boolean): Tensor {
  const n = t.shape[1]!;
  const rows = positions(n, n, 1), columns = positions(n, 1, n);
  return loop(
    (x: Tensor, i: Tensor) => {
      const row = t.take(i, 1);
      // What is not yet known is 0, but 0 times what is not to be looked at may be NaN.
      const known = where(columns.less(i), row, 0).expandDims(1);
      const rest = b.take(i, 1).sub(known.matmul(x).squeeze(1));
      const value = unit ? rest : rest.div(row.take(i, 1).expandDims(1));
      return where(rows.equal(i), value.expandDims(1), x);
    },
    zeros(b.shape),
    { length: n, name: "triangular solve" },
  );
}

/** Any triangle as a lower one: transposed, or turned around on both axes. */
function solvedTriangle(
  a: Tensor,
  b: Tensor,
  { lower, transpose, unitDiagonal }: Triangle,
): Tensor {
  const t = transpose ? transposed(a) : a;
  if (lower !== transpose) return substituted(t, b, unitDiagonal);
  return substituted(t.flip([1, 2]), b.flip(1), unitDiagonal).flip(1);
}

/** On batches [b,n,n] and [b,n,m]. */
export function solveTriangle(a: Tensor, b: Tensor, options: Partial<Triangle>): Tensor {
  const triangle = { lower: true, transpose: false, unitDiagonal: false, ...options };
  const { lower, transpose, unitDiagonal } = triangle;
  const solve = customVjp(
    (a: Tensor, b: Tensor) => solvedTriangle(a, b, triangle),
    (g: Tensor, x: Tensor, a: Tensor) => {
      const right = solveTriangle(a, g, { ...triangle, transpose: !transpose });
      const outer = transpose ? x.matmul(transposed(right)) : right.matmul(transposed(x));
      const edge = unitDiagonal ? 1 : 0;
      return [(lower ? outer.tril(-edge) : outer.triu(edge)).neg(), right];
    },
  );
  return solve(a, b);
}

/**
 * The x with A·x = b for a triangular A [..., n, n] and b [..., n, m], or a vector [n]; batches
 * broadcast. A 0 on the diagonal gives infinities or NaN.
 *
 * @throws {TypeError} if shapes do not fit each other.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const a = rg.tensor([[2, 0], [1, 4]]);
 * assertEquals(await rg.linalg.triangularSolve(a, rg.tensor([2, 9])).array(), [1, 2]);
 * ```
 */
export function triangularSolve(
  a: Tensor,
  b: Tensor,
  options: TriangularOptions = {},
): Tensor {
  checkNames(
    options,
    { lower: "flag", transpose: "flag", unitDiagonal: "flag" },
    "triangularSolve",
  );
  const { lower = true, transpose = false, unitDiagonal = false } = options;
  const both = sides("triangularSolve", a, b);
  return both.finish(solveTriangle(both.a, both.b, { lower, transpose, unitDiagonal }));
}

/** Column by column: what is left of a column, divided by the root of its head. */
function factorized(a: Tensor): Tensor {
  const [batch, n] = a.shape as [number, number];
  const places = positions(n, 1, n);
  return loop(
    (l: Tensor, j: Tensor) => {
      const own = l.take(j, 1).expandDims(2);
      const rest = a.take(j, 2).sub(l.matmul(own).squeeze(2));
      const pivot = rest.take(j, 1).sqrt().expandDims(1);
      const column = where(places.greaterEqual(j), rest.div(pivot), 0);
      return where(places.equal(j), column.expandDims(2), l);
    },
    zeros([batch, n, n]),
    { length: n, name: "cholesky" },
  );
}

/** The lower triangle, its diagonal halved. */
const halved = (x: Tensor): Tensor => x.tril().sub(x.diagonal().diag().mul(0.5));

const choleskyOf = customVjp(factorized, (g: Tensor, l: Tensor) => {
  const p = halved(transposed(l).matmul(g));
  // L⁻ᵀ·P·L⁻¹
  const left = solveTriangle(l, p, { transpose: true });
  const s = transposed(solveTriangle(l, transposed(left), { transpose: true }));
  return [s.add(transposed(s)).mul(0.5)];
});

/**
 * The lower triangular L with L·Lᵀ = x, for symmetric positive definite matrices; of others the
 * symmetric part is taken, and where that is not positive definite the result has NaN. Its gradient
 * is symmetric.
 *
 * @throws {TypeError} if there are no square matrices in the last two axes.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([[4, 2], [2, 5]]);
 * assertEquals(await rg.linalg.cholesky(x).array(), [[2, 0], [1, 2]]);
 * ```
 */
export function cholesky(x: Tensor): Tensor {
  checkMatrices("cholesky", x, true);
  return inBatches(x, (a) => choleskyOf(a.add(transposed(a)).mul(0.5)));
}

interface Triangle {
  readonly lower: boolean;
  readonly transpose: boolean;
  readonly unitDiagonal: boolean;
}
