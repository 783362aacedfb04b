/**
 * How much a function can stretch: the largest singular value of its Jacobian J at a point, which
 * is its Lipschitz constant there. J is never built: Lanczos' iteration on JᵀJ needs products with
 * J (forward mode) and Jᵀ (the way back) alone, as the power iteration does, and keeps what that
 * throws away: the tridiagonal matrix whose largest eigenvalue converges much faster (Golub and
 * Van Loan, Matrix Computations, chapter 10). The products are the device's, those of several
 * functions in one program; the few sums between them are the host's, in float64.
 *
 * @module
 */
import { tensor } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { isFloat, type TypedArray } from "../graph/dtype.ts";
import { readAll, type Tensor } from "../graph/tensor.ts";
import { jvp, vjp } from "../graph/transforms.ts";
import { Generator } from "../data/shuffle.ts";
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
  options?: LipschitzOptions,
): Promise<Lipschitz> {
  return (await lipschitzOf([{ f, x }], options))[0]!;
}

/** A function, and where to look at it. */
export interface Place {
  readonly f: (x: Tensor) => Tensor;
  readonly x: Tensor;
}

/** As {@linkcode localLipschitz}, of several functions, which one program looks at. */
export async function lipschitzOf(
  places: readonly Place[],
  options: LipschitzOptions = {},
): Promise<Lipschitz[]> {
  checkNames(options, { steps: true, seed: true }, "find a Lipschitz constant");
  const { steps = 24, seed = 0 } = options;
  const action = "find a Lipschitz constant";
  if (!Number.isSafeInteger(steps) || steps < 1) {
    throw new RangeError(`Cannot ${action}: steps is ${steps}, expected a positive integer`);
  }
  const points = places.map(({ x }) => x);
  const integers = points.find(({ dtype }) => !isFloat(dtype));
  if (integers !== undefined) {
    throw new TypeError(`Cannot ${action}: the point is ${integers}, expected floats`);
  }
  const run = compile(
    (points: readonly Tensor[], tangents: readonly Tensor[]) =>
      places.map(({ f }, i) => {
        const x = points[i]!, [, pull] = vjp(f, x);
        const [, along] = jvp(f, [x], [tangents[i]!.cast(x.dtype)]);
        return pull(along)[0].cast("f32");
      }),
    { name: action },
  );
  /** JᵀJ·v of every function. */
  const product = (vectors: readonly Float32Array<ArrayBuffer>[]): Promise<TypedArray[]> =>
    readAll(run(points, vectors.map((v, i) => tensor(v, { shape: points[i]!.shape }))));
  try {
    const starts = points.map(({ size }) => noise(size, seed));
    const rows = await rowsApart(product, starts, points.map(({ shape }) => shape[0] ?? 1));
    const iterations = starts.map((start, i) =>
      cut(start, rows[i]!).map((part) => new Lanczos(part))
    );
    for (let step = 0; step < steps; step++) {
      const products = await product(
        iterations.map((parts) => Float32Array.from(parts.flatMap(({ vector }) => [...vector]))),
      );
      iterations.forEach((parts, i) =>
        cut(products[i]!, parts.length).forEach((part, row) => parts[row]!.advance(part))
      );
    }
    return iterations.map((parts) => {
      const samples = parts.map(({ value }) => value);
      return { value: samples.reduce((a, b) => a > b || Number.isNaN(a) ? a : b, 0), samples };
    });
  } finally {
    run.dispose();
  }
}

/** Numbers between -1 and 1. */
export function noise(size: number, seed: number): Float32Array<ArrayBuffer> {
  const generator = new Generator(seed);
  return Float32Array.from({ length: size }, () => generator.next() / 2 ** 31 - 1);
}

/** The values in so many parts of equal length; none where there are no values. */
function cut<A extends TypedArray>(values: A, parts: number): A[] {
  const width = values.length / parts;
  if (values.length === 0) return [];
  return Array.from({ length: parts }, (_, i) => values.subarray(i * width, (i + 1) * width) as A);
}

/**
 * How many rows each function treats apart: those of its first axis, or 1 where it mixes them. What
 * is treated apart changes its sign apart, to the bit in every format; and any two rows differ in a
 * bit of their numbers, by which signs are changed in turn.
 */
async function rowsApart(
  product: (vectors: readonly Float32Array<ArrayBuffer>[]) => Promise<TypedArray[]>,
  vectors: readonly Float32Array<ArrayBuffer>[],
  rows: readonly number[],
): Promise<number[]> {
  const apart = [...rows], most = Math.max(...rows);
  if (most < 2) return apart;
  const plain = await product(vectors);
  for (let bit = 1; bit < most; bit *= 2) {
    const turned = (values: TypedArray, i: number): Float32Array<ArrayBuffer> => {
      const width = values.length / rows[i]!;
      return Float32Array.from(values, (x, j) => Math.floor(j / width) & bit ? -x : x);
    };
    const expected = plain.map(turned), found = await product(vectors.map(turned));
    // What is not finite has no difference to speak of.
    found.forEach((values, i) => {
      if (expected[i]!.some((x, j) => Math.abs(x - values[j]!) > 0)) apart[i] = 1;
    });
  }
  return apart;
}

/** Lanczos' iteration on a symmetric matrix that is known by its products with vectors. */
class Lanczos {
  /** Of the tridiagonal matrix. */
  readonly #diagonal: number[] = [];
  readonly #beside: number[] = [];
  #last: Float64Array;
  /** What to multiply next. */
  vector: Float64Array;

  constructor(start: ArrayLike<number>) {
    const length = Math.sqrt(inner(start, start));
    this.#last = new Float64Array(start.length);
    this.vector = Float64Array.from(start, (x) => x / length);
  }

  /** Goes on with the product of the matrix and the vector. */
  advance(product: ArrayLike<number>): void {
    const v = this.vector, last = this.#last, beta = this.#beside.at(-1) ?? 0;
    const w = Float64Array.from(product, (x, i) => x - beta * last[i]!);
    const alpha = inner(w, v);
    const rest = w.map((x, i) => x - alpha * v[i]!), length = Math.sqrt(inner(rest, rest));
    // What rounding left of nothing is no direction.
    const next = length <= 1e-6 * Math.abs(alpha) ? 0 : length;
    this.#diagonal.push(alpha);
    this.#beside.push(next);
    this.#last = v;
    this.vector = next === 0 ? rest.fill(0) : rest.map((x) => x / next);
  }

  /** The root of the largest eigenvalue. */
  get value(): number {
    return Math.sqrt(Math.max(0, largestEigenvalue(this.#diagonal, this.#beside)));
  }
}

function inner(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
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

/**
 * The largest singular value of a weight, which is on the host anyway where its norm is taken; all
 * axes but the last, of `columns`, are taken together as rows.
 */
export function spectralNormOf(
  weight: ArrayLike<number>,
  columns: number,
  { steps = 24, seed = 0 }: LipschitzOptions = {},
): number {
  const iteration = new Lanczos(noise(columns, seed));
  for (let step = 0; step < steps; step++) {
    const v = iteration.vector, product = new Float64Array(columns);
    for (let at = 0; at < weight.length; at += columns) {
      let along = 0;
      for (let j = 0; j < columns; j++) along += weight[at + j]! * v[j]!;
      for (let j = 0; j < columns; j++) product[j]! += weight[at + j]! * along;
    }
    iteration.advance(product);
  }
  return iteration.value;
}
