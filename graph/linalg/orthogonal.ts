/**
 * Householder's reflections, and what they solve: the factors Q and R, square systems, inverses.
 * Roberts and Roberts, QR and LQ decomposition matrix backpropagation algorithms, 2020.
 *
 * @module
 */
import { eye, ones } from "../create.ts";
import { where } from "../operations.ts";
import { loop } from "../scan.ts";
import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { customVjp } from "../transforms/custom.ts";
import { back, checkMatrices, floats, inBatches, positions, sides, transposed } from "./batches.ts";
import { solveTriangle } from "./triangular.ts";

/** The orthogonal factor [..., m, k] and the upper triangular one [..., k, n], k = min(m, n). */
export interface QR {
  /** Orthonormal columns. */
  readonly q: Tensor;
  /** Upper triangular. */
  readonly r: Tensor;
}

/** The factors, and what becomes of determinants. */
export interface Reflected extends QR {
  /** The determinant of the whole orthogonal factor. */
  readonly sign: Tensor;
}

/** The power of two in numbers, by which to divide costs no digit; 1 where there is none. */
function powerOfTwo(x: Tensor): Tensor {
  const power = x.bitcast("u32").bitwiseAnd(0x7f800000).bitcast("f32");
  return where(power.isFinite().logicalAnd(power.greater(0)), power, 1);
}

/** Householder's reflections, column by column, of [b,m,n]: Q is [b,m,m]. */
export function reflected(a: Tensor): Reflected {
  const [batch, m, n] = a.shape as [number, number, number];
  const rows = positions(m, 1, m);
  const start = {
    q: eye(m).broadcastTo([batch, m, m]),
    r: a,
    sign: ones([batch]),
  };
  // The last row has nothing below it.
  const length = Math.max(0, Math.min(m - 1, n));
  if (length === 0) return start;
  return loop(
    ({ q, r, sign }: Reflected, j: Tensor) => {
      const left = where(rows.greaterEqual(j), r.take(j, 2), 0);
      // A reflection is the same at any size of the column, but squares of the very large and very
      // small are no floats.
      const column = left.div(powerOfTwo(left.abs().max(1, { keepDims: true })));
      const head = column.take(j, 1).expandDims(1);
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
    { length, name: "qr" },
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

/** Solves square systems, [b,n,n] and [b,n,m]. */
export const solveOf: (a: Tensor, b: Tensor) => Tensor = customVjp(
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
