/**
 * Linear algebra that training uses, for small matrices in the last two axes (all axes before them
 * are batches): factorizations as loops over columns, so that the compiled program does not grow
 * with the size, and derivatives in closed form, which are made of the same functions and so
 * differentiate again.
 *
 * Giles, Collected matrix derivative results for forward and reverse mode AD, 2008; Murray,
 * Differentiation of the Cholesky decomposition, 2016; Roberts and Roberts, QR and LQ decomposition
 * matrix backpropagation algorithms, 2020.
 *
 * @module
 */
import { arange, eye, ones, zeros } from "./create.ts";
import { describe } from "./describe.ts";
import { where } from "./operations.ts";
import { loop } from "./scan.ts";
import { broadcastShapes, type Shape, showShape, sizeOf } from "./shape.ts";
import type { Tensor } from "./tensor.ts";
import { customVjp } from "./transforms/custom.ts";

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

/** The orthogonal factor [..., m, k] and the upper triangular one [..., k, n], k = min(m, n). */
export interface QR {
  /** Orthonormal columns. */
  readonly q: Tensor;
  /** Upper triangular. */
  readonly r: Tensor;
}

/** A determinant as sign and logarithm of its magnitude. */
export interface LogDeterminant {
  /** 1, -1, or 0 of a singular matrix. */
  readonly sign: Tensor;
  /** log |det|; -∞ of a singular matrix. */
  readonly logDeterminant: Tensor;
}

const transposed = (x: Tensor): Tensor => x.swapAxes(-1, -2);

function checkMatrices(action: string, x: Tensor, square: boolean): void {
  const [rows, columns] = x.shape.slice(-2);
  if (x.rank >= 2 && (!square || rows === columns)) return;
  throw new TypeError(
    `Cannot ${action}: the tensor is ${showShape(x.shape)}, expected ${
      square ? "square " : ""
    }matrices in the last two axes`,
  );
}

/** `f` on batches [b, m, n] of f32, and its results back in the batches and dtype of x. */
function inBatches(x: Tensor, f: (batch: Tensor) => Tensor): Tensor {
  const lead = x.shape.slice(0, -2), matrix = x.shape.slice(-2);
  const y = f(floats(x).reshape([sizeOf(lead), ...matrix]));
  return back(y.reshape([...lead, ...y.shape.slice(1)]), x);
}

const floats = (x: Tensor): Tensor => x.cast("f32");
const back = (y: Tensor, x: Tensor): Tensor => x.dtype === "f16" ? y.cast("f16") : y;

/** 0, 1, 2 … as u32, to be compared with the step of a loop. */
const positions = (n: number, ...shape: number[]): Tensor =>
  arange(n, { dtype: "u32" }).reshape(shape);

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
function solveTriangle(a: Tensor, b: Tensor, options: Partial<Triangle>): Tensor {
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

/** Matrices and right sides, a vector as a column, in the batches that both have. */
function sides(action: string, a: Tensor, b: Tensor): {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly finish: (x: Tensor) => Tensor;
} {
  checkMatrices(action, a, true);
  const vector = b.rank === 1, right = vector ? b.expandDims(1) : b;
  const n = a.shape.at(-1)!;
  const lead = right.rank >= 2
    ? broadcastShapes(a.shape.slice(0, -2), right.shape.slice(0, -2))
    : undefined;
  if (lead === undefined || right.shape.at(-2) !== n) {
    throw new TypeError(
      `Cannot ${action}: the right side is ${showShape(b.shape)} for ${showShape(a.shape)}, ` +
        `expected [..., ${n}, m] or [${n}], batches broadcast`,
    );
  }
  const batch = (x: Tensor): Tensor => {
    const matrix: Shape = x.shape.slice(-2);
    return floats(x).broadcastTo([...lead, ...matrix]).reshape([sizeOf(lead), ...matrix]);
  };
  // f16 only where both are.
  const narrow = a.dtype === "f16" ? b : a;
  return {
    a: batch(a),
    b: batch(right),
    finish: (x) => {
      const y = x.reshape([...lead, ...x.shape.slice(1)]);
      return back(vector ? y.squeeze(-1) : y, narrow);
    },
  };
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
  { lower = true, transpose = false, unitDiagonal = false }: TriangularOptions = {},
): Tensor {
  const both = sides("triangularSolve", a, b);
  return both.finish(solveTriangle(both.a, both.b, { lower, transpose, unitDiagonal }));
}

interface Reflected extends QR {
  /** The determinant of the whole orthogonal factor. */
  readonly sign: Tensor;
}

/** Householder's reflections, column by column, of [b,m,n]: Q is [b,m,m]. */
function reflected(a: Tensor): Reflected {
  const [batch, m, n] = a.shape as [number, number, number];
  const rows = positions(m, 1, m);
  const start = {
    q: eye(m).broadcastTo([batch, m, m]),
    r: a,
    sign: ones([batch]),
  };
  // The last row has nothing below it.
  return loop(
    ({ q, r, sign }: Reflected, j: Tensor) => {
      const column = r.take(j, 2), head = column.take(j, 1).expandDims(1);
      const below = where(rows.greater(j), column, 0);
      const tail = below.square().sum(1, { keepDims: true });
      const idle = tail.equal(0);
      const length = where(idle, 1, head.square().add(tail)).sqrt();
      // Away from the head, so that nothing cancels.
      const pivot = where(head.less(0), length, length.neg());
      const v = where(rows.equal(j), head.sub(pivot), below);
      const scale = where(
        idle,
        0,
        where(idle, 1, v.square().sum(1, { keepDims: true })).reciprocal(),
      )
        .mul(2).expandDims(2);
      const [down, across] = [v.expandDims(2), v.expandDims(1)];
      return {
        q: q.sub(q.matmul(down).mul(scale).mul(across)),
        r: r.sub(down.mul(scale).mul(across.matmul(r))),
        sign: where(idle.squeeze(1), sign, sign.neg()),
      };
    },
    start,
    { length: Math.max(0, Math.min(m - 1, n)), name: "qr" },
  );
}

/** The lower triangle mirrored to the upper one. */
const mirrored = (x: Tensor): Tensor => x.tril().add(transposed(x.tril(-1)));

/** The cotangent of a matrix with at least as many rows as columns. */
function pullTall(q: Tensor, r: Tensor, gq: Tensor, gr: Tensor): Tensor {
  const m = r.matmul(transposed(gr)).sub(transposed(gq).matmul(q));
  const right = gq.add(q.matmul(mirrored(m)));
  return transposed(solveTriangle(r, transposed(right), { lower: false }));
}

const qrOf = customVjp(
  (a: Tensor): QR => {
    const { q, r } = reflected(a), k = Math.min(a.shape[1]!, a.shape[2]!);
    return { q: q.slice(null, null, [0, k]), r: r.slice(null, [0, k]).triu() };
  },
  ({ q: gq, r: gr }: QR, { q, r }: QR, a: Tensor) => {
    const [m, n] = a.shape.slice(1) as [number, number];
    if (m >= n) return [pullTall(q, r, gq, gr.triu())];
    // The square on the left has all of Q; the rest of R is Qᵀ times the rest of the matrix.
    const square = [0, m] as const, rest = [m, null] as const;
    const y = a.slice(null, null, rest), gv = gr.slice(null, null, rest);
    const whole = gq.add(y.matmul(transposed(gv)));
    const left = pullTall(
      q,
      r.slice(null, null, square),
      whole,
      gr.slice(null, null, square).triu(),
    );
    return [joined(left, q.matmul(gv))];
  },
);

/** Side by side. */
function joined(a: Tensor, b: Tensor): Tensor {
  const [wide, narrow] = [a.shape[2]!, b.shape[2]!];
  return a.pad([[0, 0], [0, 0], [0, narrow]]).add(b.pad([[0, 0], [0, 0], [wide, 0]]));
}

/**
 * The factors of x = Q·R: orthonormal columns Q [..., m, k] and an upper triangular R [..., k, n],
 * k = min(m, n), with signs as LAPACK chooses them. Gradients need the first k columns to be
 * independent.
 *
 * @throws {TypeError} if there are no matrices in the last two axes.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([[3, 1], [4, 2]]);
 * const { q, r } = rg.linalg.qr(x);
 * const error = q.matmul(r).sub(x).abs().max();
 * assertAlmostEquals(await error.item(), 0, 1e-5);
 * ```
 */
export function qr(x: Tensor): QR {
  checkMatrices("qr", x, false);
  const lead = x.shape.slice(0, -2);
  const { q, r } = qrOf(floats(x).reshape([sizeOf(lead), ...x.shape.slice(-2)]));
  const whole = (y: Tensor): Tensor => back(y.reshape([...lead, ...y.shape.slice(1)]), x);
  return { q: whole(q), r: whole(r) };
}

/** By orthogonal reflections, so that no pivots are needed. */
function solved(a: Tensor, b: Tensor): Tensor {
  const { q, r } = reflected(a);
  return solveTriangle(r, transposed(q).matmul(b), { lower: false });
}

const solveOf: (a: Tensor, b: Tensor) => Tensor = customVjp(
  solved,
  (g: Tensor, x: Tensor, a: Tensor) => {
    const right = solveOf(transposed(a), g);
    return [right.matmul(transposed(x)).neg(), right];
  },
);

/**
 * The x with A·x = b, for square matrices A [..., n, n] and b [..., n, m], or a vector [n]; batches
 * broadcast. A singular A gives infinities or NaN.
 *
 * @throws {TypeError} if shapes do not fit each other.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.linalg.solve(rg.tensor([[0, 2], [1, 1]]), rg.tensor([4, 5]));
 * assertAlmostEquals(await x.sum().item(), 5, 1e-5);
 * ```
 */
export function solve(a: Tensor, b: Tensor): Tensor {
  const both = sides("solve", a, b);
  return both.finish(solveOf(both.a, both.b));
}

/**
 * The inverse of square matrices; to solve equations, `solve` is more exact and less work. A
 * singular matrix gives infinities or NaN.
 *
 * @throws {TypeError} if there are no square matrices in the last two axes.
 */
export function inverse(x: Tensor): Tensor {
  checkMatrices("inverse", x, true);
  return inBatches(x, (a) => solveOf(a, eye(a.shape[1]!).broadcastTo(a.shape)));
}

const inverseTransposed = (a: Tensor): Tensor =>
  solveOf(transposed(a), eye(a.shape[1]!).broadcastTo(a.shape));

const determinantOf = customVjp(
  (a: Tensor): Tensor => {
    const { r, sign } = reflected(a);
    return r.diagonal().prod(-1).mul(sign);
  },
  (g: Tensor, y: Tensor, a: Tensor) => [inverseTransposed(a).mul(g.mul(y).expandDims([1, 2]))],
);

/**
 * The determinant of square matrices. Its gradient needs an invertible matrix.
 *
 * @throws {TypeError} if there are no square matrices in the last two axes.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([[1, 2], [3, 4]]);
 * assertAlmostEquals(await rg.linalg.determinant(x).item(), -2, 1e-5);
 * ```
 */
export function determinant(x: Tensor): Tensor {
  checkMatrices("determinant", x, true);
  const lead = x.shape.slice(0, -2);
  const a = floats(x).reshape([sizeOf(lead), ...x.shape.slice(-2)]);
  return back(determinantOf(a).reshape(lead), x);
}

const logDeterminantOf = customVjp(
  (a: Tensor): LogDeterminant => {
    const { r, sign } = reflected(a), diagonal = r.diagonal();
    return {
      sign: diagonal.sign().prod(-1).mul(sign),
      logDeterminant: diagonal.abs().log().sum(-1),
    };
  },
  ({ logDeterminant }: LogDeterminant, _: LogDeterminant, a: Tensor) => [
    inverseTransposed(a).mul(logDeterminant.expandDims([1, 2])),
  ],
);

/**
 * The sign of the determinant and the logarithm of its magnitude, where the determinant itself would
 * overflow. Gradients need an invertible matrix.
 *
 * @throws {TypeError} if there are no square matrices in the last two axes.
 */
export function slogdet(x: Tensor): LogDeterminant {
  checkMatrices("slogdet", x, true);
  const lead = x.shape.slice(0, -2);
  const a = floats(x).reshape([sizeOf(lead), ...x.shape.slice(-2)]);
  const { sign, logDeterminant } = logDeterminantOf(a);
  return {
    sign: back(sign.reshape(lead), x),
    logDeterminant: back(logDeterminant.reshape(lead), x),
  };
}

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
