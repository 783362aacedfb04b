/**
 * Attention as functions: every query takes the mean of the values, weighed by how its scores with
 * the keys compare. Scores are dot products (Vaswani et al. 2017), cosines (Henry et al. 2020; Liu
 * et al. 2022; Qi et al. 2023) or negative squared distances (Kim, Papamakarios and Mnih 2021), of
 * which only the last two keep the map's Lipschitz constant bounded.
 *
 * Shapes: queries [..., T, d], keys [..., S, d], values [..., S, e], result [..., T, e]; axes
 * before are batches and heads, and broadcast.
 *
 * @module
 */
import { arange, ones } from "../graph/create.ts";
import { checkNames, type Names } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import { where } from "../graph/operations.ts";
import { broadcastShapes, type Shape, showShape } from "../graph/shape.ts";
import { Tensor, type TensorLike } from "../graph/tensor.ts";
import { stopGradient } from "../graph/transforms.ts";
import { leanAttention, unroundedProduct } from "./lean_attention.ts";
import { narrowed } from "./normalization.ts";

/** Who looks at whom, and in how much memory. */
export interface AttentionOptions {
  /**
   * Bool, broadcast to [..., T, S]: true where the query may look at the key. A query that may look
   * at nothing gets zeros. See {@linkcode paddingMask}.
   */
  mask?: Tensor;
  /**
   * Whether a query sees only keys up to its own place; the last query is at the last key's place.
   *
   * @default {false}
   */
  causal?: boolean;
  /**
   * What scores are multiplied by: a number, or a tensor [..., 1, 1] with one for each head.
   *
   * @default {1/√d; for cosines 10}
   */
  scale?: TensorLike;
  /**
   * `full` holds the scores, [..., T, S], and needs fewer dispatches; `lean` goes through
   * the keys in blocks, forwards and backwards, and never holds more than a block of scores
   * (Milakov and Gimelshein 2018; Rabe and Staats 2021; Dao et al. 2022).
   *
   * @default {"full" up to 128 keys, "lean" beyond}
   */
  memory?: "full" | "lean";
}

const attentionNames: Names<AttentionOptions> = {
  mask: true,
  causal: "flag",
  scale: true,
  memory: true,
};

/** Keys from which on scores are not held unless asked for. */
const MANY_KEYS = 128;

/**
 * softmax(scale · q kᵀ) v.
 *
 * @throws {TypeError} If shapes or dtypes do not fit.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const q = rg.ones([2, 4, 7, 8]), k = rg.ones([2, 4, 9, 8]), v = rg.ones([2, 4, 9, 5]);
 * assertEquals(rg.nn.dotProductAttention(q, k, v, { causal: true }).shape, [2, 4, 7, 5]);
 * ```
 */
export function dotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  checkNames(options, attentionNames, "apply dotProductAttention");
  check("dotProductAttention", q, k, v, options);
  const scale = options.scale ?? Math.max(1, q.shape.at(-1)!) ** -0.5;
  // A number belongs to the scores, where it is part of the product's kernel. A tensor's gradient
  // would then need the scores, and in f16 they might be too large before they are scaled.
  const late = typeof scale === "number" && q.dtype === "f32";
  return late ? attend(q, k, v, options, scale) : attend(q.mul(scale), k, v, options);
}

/** Options for {@linkcode cosineAttention}. */
export interface CosineAttentionOptions extends AttentionOptions {
  /** Added to squared lengths. @default {1e-6} */
  epsilon?: number;
}

/**
 * softmax(scale · cos(q, k)) v: scores lie between -scale and scale whatever the inputs' size.
 *
 * @throws {TypeError} If shapes or dtypes do not fit.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const x = rg.random.normal(rg.random.key(0), [2, 7, 8]);
 * assertEquals(rg.nn.cosineAttention(x, x, x, { scale: 5 }).shape, [2, 7, 8]);
 * ```
 */
export function cosineAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: CosineAttentionOptions = {},
): Tensor {
  checkNames(options, { ...attentionNames, epsilon: true }, "apply cosineAttention");
  const { epsilon = 1e-6, scale = 10 } = options;
  check("cosineAttention", q, k, v, options);
  const unit = (x: Tensor) => {
    const wide = x.cast("f32");
    const length = wide.square().sum(-1, { keepDims: true }).add(epsilon).rsqrt();
    return wide.mul(length).cast(x.dtype);
  };
  return attend(unit(q).mul(scale), unit(k), v, options);
}

/**
 * softmax(-scale · ‖q - k‖²) v. With keys that are the queries, as in {@linkcode
 * multiHeadAttention} with `score: "l2"`, its Lipschitz constant is bounded.
 *
 * @throws {TypeError} If shapes or dtypes do not fit.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const x = rg.random.normal(rg.random.key(0), [2, 7, 8]);
 * assertEquals(rg.nn.l2Attention(x, x, x).shape, [2, 7, 8]);
 * ```
 */
export function l2Attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  checkNames(options, attentionNames, "apply l2Attention");
  check("l2Attention", q, k, v, options);
  const scale = options.scale ?? Math.max(1, q.shape.at(-1)!) ** -0.5;
  // ‖q‖² is the same for all keys of a query, and softmax does not see it: what remains of
  // -‖q - k‖² is 2 q·k - ‖k‖², a dot product of vectors with one more component.
  // In f32, since ‖k‖² is soon beyond f16.
  const [a, b, values] = [q, k, v].map((x) => x.cast("f32")) as [Tensor, Tensor, Tensor];
  const one = ones([...a.shape.slice(0, -1), 1]);
  const length = b.square().sum(-1, { keepDims: true });
  const keys = join(b, length.neg().mul(scale));
  return narrowed(attend(join(a.mul(2).mul(scale), one), keys, values, options), q, k, v);
}

function join(x: Tensor, column: Tensor): Tensor {
  const before = x.shape.map((): [number, number] => [0, 0]);
  const features = x.shape.at(-1)!;
  const wide = x.pad([...before.slice(1), [0, 1]]);
  return wide.add(column.pad([...before.slice(1), [features, 0]]));
}

/** softmax(scale · q kᵀ) v, with what may not be seen left out. */
function attend(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions,
  scale: number = 1,
): Tensor {
  const { mask, causal = false } = options;
  const [t, s] = [q.shape.at(-2)!, k.shape.at(-2)!];
  const memory = options.memory ?? (s > MANY_KEYS ? "lean" : "full");
  if (memory === "lean" && s > 0) return leanAttention(q.mul(scale), k, v, mask, causal);
  const scores = unroundedProduct(q, k.swapAxes(-2, -1)).mul(scale);
  const visible = visibility(t, s, mask, causal);
  if (visible === undefined) return scores.softmax(-1).cast(v.dtype).matmul(v);
  const seen = where(visible, scores, -Infinity);
  const most = stopGradient(seen.max(-1, { keepDims: true }));
  const weights = seen.sub(where(most.isFinite(), most, 0)).exp();
  const sum = weights.sum(-1, { keepDims: true });
  return weights.div(where(sum.equal(0), 1, sum)).cast(v.dtype).matmul(v);
}

function visibility(t: number, s: number, mask: Tensor | undefined, causal: boolean) {
  if (!causal) return mask;
  const triangle = causalMask(t, s);
  return mask === undefined ? triangle : mask.logicalAnd(triangle);
}

/**
 * Who sees whom where nobody looks ahead: bool [queries, keys], true where key - query is at most
 * keys - queries.
 */
export function causalMask(queries: number, keys: number = queries): Tensor {
  const ahead = arange(keys).sub(arange(queries).expandDims(1));
  return ahead.lessEqual(keys - queries);
}

/**
 * The mask of sequences of unequal length that were filled up: bool [batch, 1, 1, keys], true at
 * the first `lengths[b]` keys; for [batch, heads, T, S] scores.
 *
 * @param lengths Integers, [batch].
 * @param keys Number of keys.
 *
 * @throws {TypeError} If `lengths` are not integers of one axis.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const mask = rg.nn.paddingMask(rg.tensor([1, 3], { dtype: "i32" }), 3);
 * assertEquals(await mask.reshape(2, 3).array(), [[true, false, false], [true, true, true]]);
 * ```
 */
export function paddingMask(lengths: Tensor, keys: number): Tensor {
  if (isFloat(lengths.dtype) || lengths.dtype === "bool" || lengths.rank !== 1) {
    throw new TypeError(
      `Cannot make a padding mask: lengths are ${lengths}, expected integers of one axis`,
    );
  }
  return arange(keys, { dtype: lengths.dtype }).less(lengths.expandDims(1)).reshape(-1, 1, 1, keys);
}

function check(
  action: string,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { mask, memory }: AttentionOptions,
): void {
  const fail = (what: string, expected: string): never => {
    throw new TypeError(`Cannot compute ${action}: ${what}, expected ${expected}`);
  };
  for (const [name, x] of [["queries", q], ["keys", k], ["values", v]] as const) {
    if (!(x instanceof Tensor) || !isFloat(x.dtype) || x.rank < 2) {
      fail(`${name} are ${x}`, "floats of at least two axes");
    }
  }
  if (q.dtype !== k.dtype || k.dtype !== v.dtype) {
    fail(`dtypes are ${q.dtype}, ${k.dtype} and ${v.dtype}`, "one dtype");
  }
  if (q.shape.at(-1) !== k.shape.at(-1)) {
    fail(`queries are ${q} and keys ${k}`, "the same last axis");
  }
  if (k.shape.at(-2) !== v.shape.at(-2)) {
    fail(`keys are ${k} and values ${v}`, "as many of either along the last axis but one");
  }
  const batch = broadcastShapes(...[q, k, v].map((x) => x.shape.slice(0, -2)));
  if (batch === undefined) {
    return fail(`queries are ${q}, keys ${k} and values ${v}`, "batch axes that broadcast");
  }
  if (memory !== undefined && memory !== "full" && memory !== "lean") {
    fail(`memory is ${memory}`, '"full" or "lean"');
  }
  if (mask === undefined) return;
  const wanted: Shape = [...batch, q.shape.at(-2)!, k.shape.at(-2)!];
  const fits = mask instanceof Tensor && mask.dtype === "bool" &&
    broadcastShapes(mask.shape, wanted)?.join() === wanted.join();
  if (!fits) fail(`the mask is ${mask}`, `bool that broadcasts to ${showShape(wanted)}`);
}
