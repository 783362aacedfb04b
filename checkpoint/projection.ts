/**
 * Random projections of examples: a matrix R with E[R·Rᵀ] = I turns n numbers x into k, x·R, and
 * those into an unbiased estimate of all n, x·R·Rᵀ. R follows from a key by the counter-based
 * generator and is never stored. Every function here is a composition of primitives.
 *
 * Oktay, McGreivy, Aduol, Beatson and Adams, Randomized Automatic Differentiation, 2020, section 4.
 *
 * @module
 */
import { arange } from "../graph/create.ts";
import { searchSorted, where } from "../graph/operations.ts";
import { bits, foldIn, type Key, randint } from "../graph/random.ts";
import type { Tensor } from "../graph/tensor.ts";

/** Which random matrices project. */
export type SketchKind = "sparse" | "project";

/** There and back for k of n numbers of every example: [examples, n] to [examples, k]. */
export interface Projection {
  /** x·R. */
  readonly compress: (x: Tensor, key: Key) => Tensor;
  /** s·Rᵀ, from the same key. */
  readonly expand: (s: Tensor, key: Key) => Tensor;
  /** R·t of k rows, [k, m] to [n, m]; missing where every example has an R of its own. */
  readonly spread?: (t: Tensor, key: Key) => Tensor;
}

/** What a projection is made for. */
export interface ProjectionSizes {
  /** Numbers of an example. */
  readonly n: number;
  /** How many of them are kept. */
  readonly k: number;
  /** How many examples there are. */
  readonly examples: number;
}

/** k of n numbers, drawn for each row with replacement, as ascending indices into all rows. */
function draw(key: Key, rows: number, k: number, n: number): Tensor {
  // Sorted, so that where a number stands among those kept is found by bisection.
  const index = randint(key, [rows, k], 0, n).sort(-1);
  return index.add(arange(rows, { dtype: "i32" }).mul(n).reshape(rows, 1)).reshape(rows * k);
}

/** Rows of what was kept at the places that they were drawn from, n/k times as often as drawn. */
function putBack(kept: Tensor, index: Tensor, { n, k }: ProjectionSizes): Tensor {
  const places = arange(index.size / k * n, { dtype: "i32" });
  const first = searchSorted(index, places), end = searchSorted(index, places.add(1));
  const one = kept.shape.slice(1).map(() => 1), size = places.size;
  const times = end.sub(first).reshape(size, ...one);
  const values = kept.take(first.minimum(index.size - 1)).mul(
    times.cast("f32").mul(n / k).cast(kept.dtype),
  );
  // What was not drawn is 0, whatever number stands in its place.
  return where(times.greater(0), values, 0);
}

/**
 * k of the n numbers, drawn with replacement. R has one entry √(n/k) in each column; what is kept
 * are the numbers themselves, and the estimate multiplies them by n/k for every time that they were
 * drawn. Var(x̂_j) = x_j²·(n - 1)/k.
 */
function sparse(sizes: ProjectionSizes, shared: boolean): Projection {
  const { n, k, examples } = sizes;
  if (!shared) {
    return {
      compress: (x, key) => x.reshape(x.size).take(draw(key, examples, k, n)).reshape(examples, k),
      expand: (s, key) =>
        putBack(s.reshape(s.size), draw(key, examples, k, n), sizes).reshape(examples, n),
    };
  }
  const spread = (t: Tensor, key: Key): Tensor => putBack(t, draw(key, 1, k, n), sizes);
  return {
    compress: (x, key) => x.take(draw(key, 1, k, n), 1),
    expand: (s, key) => spread(s.transpose(), key).transpose(),
    spread,
  };
}

/**
 * k sums of all n numbers with random signs: R has entries ±1/√k. Var(x̂_j) = (‖x‖² - x_j²)/k.
 *
 * Examples apart have R_b = D_b·R, with a diagonal D_b of random signs for each. That is a matrix of
 * independent signs again; and since R·Rᵀ has 1 on its diagonal, whatever R is, and the signs beside
 * it have mean 0, errors of two examples are not correlated: they average out as if R were drawn for
 * each, which would take as many words of random bits as there are examples, times n·k/32.
 */
function project({ n, k, examples }: ProjectionSizes, shared: boolean): Projection {
  const scale = 1 / Math.sqrt(k);
  const matrix = (key: Key, x: Tensor): Tensor => signs(key, n, k).cast(x.dtype);
  const compress = (x: Tensor, key: Key): Tensor => x.matmul(matrix(key, x)).mul(scale);
  const expand = (s: Tensor, key: Key): Tensor => s.matmul(matrix(key, s).transpose()).mul(scale);
  if (shared) {
    return { compress, expand, spread: (t, key) => matrix(key, t).matmul(t).mul(scale) };
  }
  const turned = (x: Tensor, key: Key): Tensor => x.mul(signs(key, examples, n).cast(x.dtype));
  return {
    compress: (x, key) => compress(turned(x, foldIn(key, 0)), foldIn(key, 1)),
    expand: (s, key) => turned(expand(s, foldIn(key, 1)), foldIn(key, 0)),
  };
}

/** Signs in one word. */
const SIGNS = 32;

/** ±1, [rows, columns], a random bit each. */
function signs(key: Key, rows: number, columns: number): Tensor {
  const words = Math.ceil(columns / SIGNS);
  const places = arange(SIGNS, { dtype: "u32" });
  const drawn = bits(key, [rows, words, 1]).rightShift(places).bitwiseAnd(1);
  return drawn.reshape(rows, words * SIGNS).slice(null, [0, columns]).cast("f32").mul(2).sub(1);
}

/** Both kinds, with one R for all examples or one for each. */
export const projections: {
  readonly [K in SketchKind]: (sizes: ProjectionSizes, shared: boolean) => Projection;
} = { sparse, project };
