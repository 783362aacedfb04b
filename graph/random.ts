/**
 * Random numbers from keys. A key is a u32 tensor of two words; the same key gives the same
 * numbers, so each is used once, and `split` and `foldIn` make new ones. There is no hidden state.
 * Every number is a function of the key and its own position alone: it does not depend on fusion,
 * and costs no memory to have again. Integers and uniforms are the same on every device; normals
 * are as exact as the device's logarithm.
 *
 * Keys, bits, `split` and `foldIn` are those of JAX (threefry, partitionable), to the bit.
 *
 * @module
 */
import { binary, bitcast, cast, concatenate, fill, iota, reshape, slice } from "./build.ts";
import { broadcastTo, unary, where } from "./build.ts";
import { checkNames } from "./describe.ts";
import { type DType, dtypes } from "./dtype.ts";
import { clip, toFloat } from "./functions/elementwise.ts";
import { inverseErf, normalFromTail } from "./functions/numerics.ts";
import { multiplyWide, threefry, threefryOf, type Words } from "./functions/threefry.ts";
import { tensor } from "./create.ts";
import { nodeOf } from "./methods/base.ts";
import { is, type Node } from "./node.ts";
import { checkShape, type Shape, showShape, sizeOf } from "./shape.ts";
import { Tensor, type TensorLike } from "./tensor.ts";

/** What random numbers follow from: a u32 tensor of shape [2]. */
export type Key = Tensor;

/** The dtype of random floats. */
export interface FloatOptions {
  /**
   * The element type.
   *
   * @default {"f32"}
   */
  readonly dtype?: "f32" | "f16";
}

/** Bounds and dtype of `uniform`. */
export interface UniformOptions extends FloatOptions {
  /**
   * The smallest value.
   *
   * @default {0}
   */
  readonly low?: number;
  /**
   * The bound above, itself never reached.
   *
   * @default {1}
   */
  readonly high?: number;
}

/** Bounds of `truncatedNormal`, and the dtype. */
export interface TruncatedNormalOptions extends FloatOptions {
  /**
   * The bound below.
   *
   * @default {-2}
   */
  readonly low?: number;
  /**
   * The bound above.
   *
   * @default {2}
   */
  readonly high?: number;
}

/** The dtype of random integers. */
export interface IntegerOptions {
  /**
   * The element type.
   *
   * @default {"i32"}
   */
  readonly dtype?: "i32" | "u32";
}

const WORD = 2 ** 32;
const floats: readonly DType[] = ["f32", "f16"];

/**
 * A key of a seed, a non-negative whole number below 2^53.
 *
 * @throws {RangeError} for other numbers.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const [first, second] = rg.random.split(rg.random.key(42));
 * const x = rg.random.uniform(first, [3]), y = rg.random.uniform(first, [3]);
 * assertEquals(await x.array(), await y.array());
 * assertEquals(rg.random.normal(second, [2, 2]).shape, [2, 2]);
 * ```
 */
export function key(seed: number): Key {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(
      `Cannot make a key: the seed is ${seed}, expected a whole number from 0 to 2^53 - 1`,
    );
  }
  return known([Math.floor(seed / WORD), seed % WORD]);
}

/**
 * The words of keys that follow from numbers alone. New keys from such are the host's to compute: a
 * kernel for each would take a driver longer than all that is drawn from it.
 */
const knownWords = new WeakMap<Node, Words>();

function known(words: Words): Key {
  const key = tensor(Uint32Array.from(words));
  knownWords.set(key.node, words);
  return key;
}

/** The words of a key that the host knows; not of one that was given away. */
function hostWords(action: string, key: Tensor): Words | undefined {
  const node = nodeOf(key, action, "a key");
  const gone = is(node, "leaf") && node.attributes.storage.state.at === "gone";
  return gone ? undefined : knownWords.get(node);
}

/** Throws unless the dtype is one of those that a distribution has. */
function checkAmong(action: string, dtype: DType, dtypes: readonly DType[]): void {
  if (dtypes.includes(dtype)) return;
  throw new TypeError(`Cannot ${action}: dtype is ${dtype}, expected ${dtypes.join(" or ")}`);
}

/** The two words of a key, each a scalar. */
function wordsOf(action: string, key: Tensor): [Node, Node] {
  const node = nodeOf(key, action, "a key");
  if (node.dtype !== "u32" || showShape(node.shape) !== "[2]") {
    throw new TypeError(
      `Cannot ${action}: the key is ${node.dtype}${
        showShape(node.shape)
      }, expected u32[2] as of key()`,
    );
  }
  // Keys made below are two words put together: no need to cut them apart again.
  const [x, y] = is(node, "concatenate") && node.inputs.length === 2
    ? node.inputs as [Node, Node]
    : [slice(node, [0], [1]), slice(node, [1], [1])];
  return [reshape(x, []), reshape(y, [])];
}

function keyOf(x: Node, y: Node): Key {
  return new Tensor(concatenate([reshape(x, [1]), reshape(y, [1])], 0));
}

const zero = (): Node => fill(0, [], "u32");

/** Two random words for every position of a shape. */
function pairs(action: string, source: Key, shape: Shape): [Node, Node] {
  checkShape(shape, action);
  const size = sizeOf(shape);
  const [x, y] = threefry(wordsOf(action, source), [zero(), iota([size], 0, "u32")]);
  return [reshape(x, shape), reshape(y, shape)];
}

/** One random word for every position of a shape. */
function words(action: string, source: Key, shape: Shape): Node {
  const [x, y] = pairs(action, source, shape);
  return binary("xor", x, y);
}

/**
 * Two new keys, as different from each other and from the old one as chance; do not use the old
 * one again.
 */
export function split(key: Key, count?: 2): [Key, Key];
/** Three new keys. */
export function split(key: Key, count: 3): [Key, Key, Key];
/** Four new keys. */
export function split(key: Key, count: 4): [Key, Key, Key, Key];
/**
 * New keys, as different from each other and from the old one as chance; do not use the old one
 * again.
 *
 * @throws {RangeError} if the count is no positive whole number.
 */
export function split(key: Key, count: number): Key[];
export function split(key: Key, count: number = 2): Key[] {
  if (!Number.isInteger(count) || count < 1) {
    throw new RangeError(`Cannot split a key: into ${count}, expected a positive whole number`);
  }
  const host = hostWords("split a key", key);
  if (host !== undefined) {
    return Array.from({ length: count }, (_, i) => known(threefryOf(host, [0, i])));
  }
  const [x, y] = pairs("split a key", key, [count]);
  return Array.from({ length: count }, (_, i) => keyOf(slice(x, [i], [1]), slice(y, [i], [1])));
}

/**
 * A new key from a key and a number, such as the step of a loop: a whole number below 2^32 or an
 * integer scalar, which may be traced. `foldIn(key, i)` is `split(key, n)[i]`: use a key for one of
 * the two.
 *
 * @throws {TypeError} if the data is no integer scalar.
 */
export function foldIn(key: Key, data: TensorLike): Key {
  let index: Node;
  if (typeof data === "number") {
    if (!Number.isInteger(data) || data < 0 || data >= WORD) {
      throw new RangeError(
        `Cannot fold into a key: the data is ${data}, expected a whole number from 0 to 2^32 - 1`,
      );
    }
    const host = hostWords("fold into a key", key);
    if (host !== undefined) return known(threefryOf(host, [0, data]));
    index = fill(data, [], "u32");
  } else {
    const node = nodeOf(data, "fold into a key", "a whole number or an integer scalar");
    if (!dtypes[node.dtype].integer || sizeOf(node.shape) !== 1) {
      throw new TypeError(
        `Cannot fold into a key: the data is ${node.dtype}${
          showShape(node.shape)
        }, expected an integer scalar`,
      );
    }
    index = bitcast(reshape(node, []), "u32");
  }
  return keyOf(...threefry(wordsOf("fold into a key", key), [zero(), index]));
}

/** Random words: all 2^32 values of u32, equally likely. */
export function bits(key: Key, shape: Shape): Tensor {
  return new Tensor(words("draw bits", key, shape));
}

/** How many random bits a float in [0,1) gets: as many as its steps below 1 can show. */
const precision = { f32: 24, f16: 11 } as const;

/** Multiples of 2^-24 (f16: 2^-11) in [0,1), all equally likely. */
function fraction(word: Node, dtype: "f32" | "f16"): Node {
  const kept = precision[dtype];
  const whole = binary("shiftRight", word, fill(32 - kept, [], "u32"));
  return binary("mul", cast(whole, dtype), 2 ** -kept);
}

/** The largest float below x. */
function below(x: number, dtype: DType): number {
  const float = new dtypes[dtype].array(1);
  float[0] = x;
  const integer = dtype === "f16"
    ? new Int16Array(float.buffer, 0, 1)
    : new Int32Array(float.buffer, 0, 1);
  if (float[0] === 0) return dtype === "f16" ? -(2 ** -24) : -(2 ** -149);
  integer[0]! += float[0]! > 0 ? -1 : 1;
  return float[0]!;
}

/**
 * Floats in [low, high), equally distributed: in [0,1) all multiples of 2^-24 (f16: 2^-11).
 *
 * @throws {RangeError} unless low < high, both finite.
 */
export function uniform(
  key: Key,
  shape: Shape,
  options: UniformOptions = {},
): Tensor {
  const action = "draw uniform numbers";
  checkNames(options, { low: true, high: true, dtype: true }, action);
  const { low = 0, high = 1, dtype = "f32" } = options;
  checkAmong(action, dtype, floats);
  checkBounds(action, low, high);
  const unit = fraction(words(action, key, shape), dtype);
  if (low === 0 && high === 1) return new Tensor(unit);
  const scaled = binary("add", binary("mul", unit, high - low), fill(low, [], dtype));
  // Rounding could reach the bound above, which is promised never to happen.
  return new Tensor(binary("min", scaled, fill(below(high, dtype), [], dtype)));
}

function checkBounds(action: string, low: number, high: number): void {
  if (low < high && Number.isFinite(high - low)) return;
  throw new RangeError(
    `Cannot ${action}: the bounds are ${low} and ${high}, expected finite ones, the first below`,
  );
}

/**
 * Floats of the standard normal distribution, by its inverse (Giles, Approximating the erfinv
 * function, 2010): sign and a tail probability of 31 bits, so that values reach ±6.3 and are
 * always finite. f16 is computed in f32.
 */
export function normal(key: Key, shape: Shape, options: FloatOptions = {}): Tensor {
  checkNames(options, { dtype: true }, "draw normal numbers");
  const { dtype = "f32" } = options;
  checkAmong("draw normal numbers", dtype, floats);
  const word = words("draw normal numbers", key, shape);
  const negative = binary("less", word, fill(2 ** 31, [], "u32"));
  const tail = cast(binary("and", word, fill(2 ** 31 - 1, [], "u32")), "f32");
  const size = normalFromTail(binary("mul", binary("add", tail, 0.5), 2 ** -31));
  return new Tensor(cast(where(negative, unary("neg", size), size), dtype));
}

/**
 * Floats of the standard normal distribution given that they lie in [low, high]. The bounds are
 * meant to have the middle of the distribution between them; beyond ±5 f32 cannot tell its
 * probabilities from 1.
 *
 * @throws {RangeError} unless low < high.
 */
export function truncatedNormal(
  key: Key,
  shape: Shape,
  options: TruncatedNormalOptions = {},
): Tensor {
  const action = "draw truncated normal numbers";
  checkNames(options, { low: true, high: true, dtype: true }, action);
  const { low = -2, high = 2, dtype = "f32" } = options;
  checkAmong(action, dtype, floats);
  checkBounds(action, low, high);
  const unit = fraction(words(action, key, shape), "f32");
  const from = unary("erf", fill(low * Math.SQRT1_2)), to = unary("erf", fill(high * Math.SQRT1_2));
  const x = binary("add", binary("mul", unit, binary("sub", to, from)), from);
  const z = binary("mul", inverseErf(x), Math.SQRT2);
  return new Tensor(cast(clip(z, low, high), dtype));
}

/**
 * True with the given probability: a number, or a tensor that broadcasts to the shape, of multiples
 * of 2^-24. Result: bool.
 *
 * @throws {RangeError} if the number is no probability.
 */
export function bernoulli(key: Key, probability: TensorLike, shape?: Shape): Tensor {
  const action = "draw bernoulli numbers";
  if (typeof probability === "number") {
    if (!(probability >= 0 && probability <= 1)) {
      throw new RangeError(
        `Cannot ${action}: the probability is ${probability}, expected a number from 0 to 1`,
      );
    }
    const unit = fraction(words(action, key, shape ?? []), "f32");
    return new Tensor(binary("less", unit, probability));
  }
  const size = shape ?? probability.shape;
  const unit = fraction(words(action, key, size), "f32");
  return new Tensor(binary("less", unit, broadcastTo(toFloat(probability.node), size)));
}

/**
 * Whole numbers in [low, high). Each is the upper word of a 64-bit random number times the width
 * of the range, so that the probabilities of any two differ by less than 2^-32 of their value.
 *
 * @throws {RangeError} unless low < high, whole numbers that the dtype holds.
 */
export function randint(
  key: Key,
  shape: Shape,
  low: number,
  high: number,
  options: IntegerOptions = {},
): Tensor {
  checkNames(options, { dtype: true }, "draw whole numbers");
  const { dtype = "i32" } = options;
  checkAmong("draw whole numbers", dtype, ["i32", "u32"]);
  const { lowest, highest } = dtypes[dtype];
  const ok = Number.isInteger(low) && Number.isInteger(high) && lowest <= low && low < high &&
    high <= highest + 1;
  if (!ok) {
    throw new RangeError(
      `Cannot draw whole numbers: the bounds are ${low} and ${high}, ` +
        `expected whole numbers of ${dtype}, the first below`,
    );
  }
  const [x, y] = pairs("draw whole numbers", key, shape);
  let index: Node;
  if (high - low === WORD) index = x;
  else {
    // (x·2^32 + y)·width / 2^64, the carry of the lower words included.
    const first = multiplyWide(x, high - low), second = multiplyWide(y, high - low);
    const sum = binary("add", first.low, second.high);
    const carry = cast(binary("less", sum, second.high), "u32");
    index = binary("add", first.high, carry);
  }
  return new Tensor(binary("add", bitcast(index, dtype), fill(low, [], dtype)));
}
