/**
 * How much a function can stretch: the largest singular value of its Jacobian J at a point, which
 * is its Lipschitz constant there. J is never built: Lanczos' iteration on JᵀJ needs products with
 * J (forward mode) and Jᵀ (the way back) alone, as the power iteration does, and keeps what that
 * throws away: the tridiagonal matrix whose largest eigenvalue converges much faster (Golub and
 * Van Loan, Matrix Computations, chapter 10).
 *
 * @module
 */
import { zeros } from "../graph/create.ts";
import { isFloat } from "../graph/dtype.ts";
import { where } from "../graph/operations.ts";
import { key as keyOf, normal } from "../graph/random.ts";
import { scan } from "../graph/scan.ts";
import { sizeOf } from "../graph/shape.ts";
import { readAll, type Tensor } from "../graph/tensor.ts";
import { jvp, vjp } from "../graph/transforms.ts";
import { compile } from "../runtime/compile.ts";

/** How long to iterate. */
export interface LipschitzOptions {
  /** Steps; each costs a product with J and one with its transpose. @default {24} */
  steps?: number;
  /** Seed of where to start. @default {0} */
  seed?: number;
}

/** What was found. */
export interface Lipschitz {
  /** The largest singular value of the Jacobian. */
  readonly value: number;
  /** That of every sample, where the function treats samples of the first axis apart. */
  readonly samples: readonly number[];
}

/**
 * The local Lipschitz constant (in the Euclidean norm) of a function at a point. The first axis of
 * the point is taken as samples: where the function treats them apart each is iterated by itself,
 * and the value is the largest of theirs; where it mixes them (batch norm) they are one vector.
 *
 * @throws {TypeError} If the point is no tensor of floats, or the function returns none.
 * @throws {RangeError} If `steps` is not a positive integer.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.linspace(-4, 4, 801).reshape(801, 1);
 * const { value } = await rg.train.localLipschitz((x) => x.sigmoid(), x);
 * assertAlmostEquals(value, 0.25, 1e-4);
 * ```
 */
export async function localLipschitz(
  f: (x: Tensor) => Tensor,
  x: Tensor,
  { steps = 24, seed = 0 }: LipschitzOptions = {},
): Promise<Lipschitz> {
  const action = "find a Lipschitz constant";
  if (!Number.isSafeInteger(steps) || steps < 1) {
    throw new RangeError(`Cannot ${action}: steps is ${steps}, expected a positive integer`);
  }
  if (!isFloat(x.dtype)) {
    throw new TypeError(`Cannot ${action}: the point is ${x}, expected floats`);
  }
  if (x.size === 0) return { value: 0, samples: [] };
  const apart = await treatsApart(f, x);
  const rows = apart ? x.shape[0]! : 1;
  const run = compile((x: Tensor) => lanczos(f, x, rows, steps, seed), { name: action });
  try {
    const [diagonal, beside] = await readAll(run(x));
    const values = Array.from({ length: rows }, (_, row) => {
      const of = (data: ArrayLike<number>) =>
        Array.from({ length: steps }, (_, i) => data[i * rows + row]!);
      return Math.sqrt(Math.max(0, largestEigenvalue(of(diagonal!), of(beside!))));
    });
    const value = values.reduce((a, b) => a > b || Number.isNaN(a) ? a : b);
    return { value, samples: values };
  } finally {
    run.dispose();
  }
}

/** Whether a tangent of the first sample is felt by no other. */
async function treatsApart(f: (x: Tensor) => Tensor, x: Tensor): Promise<boolean> {
  const rows = x.shape[0] ?? 1;
  if (x.rank === 0 || rows === 1) return false;
  const feel = compile((x: Tensor) => {
    const tangent = normal(keyOf(1), [1, ...x.shape.slice(1)]).cast(x.dtype);
    return jvp(f, [x], [tangent.pad(x.shape.map((_, i) => [0, i === 0 ? rows - 1 : 0]))])[1];
  }, { name: "see whether samples are mixed" });
  try {
    const felt = feel(x), own = felt.size / rows;
    if (felt.shape[0] !== rows) return false;
    return (await felt.data()).subarray(own).every((t) => t === 0);
  } finally {
    feel.dispose();
  }
}

/** Diagonal and off-diagonal of the tridiagonal matrices, [steps, rows] each. */
function lanczos(
  f: (x: Tensor) => Tensor,
  x: Tensor,
  rows: number,
  steps: number,
  seed: number,
): readonly [Tensor, Tensor] {
  const [, pull] = vjp(f, x);
  /** JᵀJ v of every row, f32 [rows, elements]. */
  const product = (v: Tensor): Tensor => {
    const tangent = v.reshape(x.shape).cast(x.dtype);
    const [pulled] = pull(jvp(f, [x], [tangent])[1]);
    return pulled.cast("f32").reshape(rows, -1);
  };
  const inner = (a: Tensor, b: Tensor): Tensor => a.mul(b).sum(1, { keepDims: true });
  const unit = (v: Tensor, length: Tensor): Tensor => {
    const none = length.equal(0);
    return where(none, 0, v.div(where(none, 1, length)));
  };
  const body = ({ last, v, beta }: Record<"last" | "v" | "beta", Tensor>) => {
    const w = product(v).sub(last.mul(beta));
    const alpha = inner(w, v), rest = w.sub(v.mul(alpha));
    const length = inner(rest, rest).sqrt();
    // What rounding left of nothing is no direction.
    const next = where(length.lessEqual(alpha.abs().mul(1e-6)), 0, length);
    return [
      { last: v, v: unit(rest, next), beta: next },
      { alpha: alpha.reshape(rows), beta: next.reshape(rows) },
    ] as const;
  };
  const start = normal(keyOf(seed), [rows, x.size / rows]);
  const begin = {
    last: zeros(start.shape),
    v: unit(start, inner(start, start).sqrt()),
    beta: zeros([rows, 1]),
  };
  const [, { alpha, beta }] = scan(body, begin, null, { length: steps, name: "lanczos" });
  return [alpha, beta];
}

/**
 * The largest eigenvalue of a symmetric tridiagonal matrix, by bisection: x is above all of them if
 * elimination of T - x leaves negative pivots only.
 */
export function largestEigenvalue(
  diagonal: readonly number[],
  beside: readonly number[],
): number {
  const n = diagonal.length;
  if (diagonal.some((a) => !Number.isFinite(a)) || beside.some((b) => !Number.isFinite(b))) {
    return NaN;
  }
  // Gershgorin's circles.
  const reach = (i: number) =>
    Math.abs(beside[i - 1] ?? 0) + (i < n - 1 ? Math.abs(beside[i]!) : 0);
  let low = Math.min(...diagonal.map((a, i) => a - reach(i)));
  let high = Math.max(...diagonal.map((a, i) => a + reach(i)));
  const above = (x: number): boolean => {
    let pivot = diagonal[0]! - x;
    for (let i = 1; i < n; i++) {
      if (pivot >= 0) return false;
      pivot = diagonal[i]! - x - beside[i - 1]! ** 2 / pivot;
    }
    return pivot < 0;
  };
  for (let i = 0; i < 100 && high - low > 1e-12 * Math.max(Math.abs(low), Math.abs(high)); i++) {
    const middle = (low + high) / 2;
    if (above(middle)) high = middle;
    else low = middle;
  }
  return (low + high) / 2;
}

/** The largest singular value of a weight; all axes but the last are taken together as rows. */
export function spectralNormOf(weight: Tensor, options?: LipschitzOptions): Promise<number> {
  const matrix = weight.cast("f32").reshape(-1, weight.shape.at(-1)!);
  const point = zeros([1, sizeOf(matrix.shape.slice(0, 1))]);
  return localLipschitz((x) => x.matmul(matrix), point, options).then(({ value }) => value);
}
