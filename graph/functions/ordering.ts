/**
 * Sorting on nodes. Values become u32 keys whose order is theirs (NaN last, -0 beside 0); a short
 * row is sorted by rank, the number of elements that come before each; a long one is cut into blocks
 * that are sorted so and then merged, twice as long in every step, where every result finds its
 * place in two sorted runs by bisection (Green, McColl and Bader, GPU Merge Path, 2012). All of it is
 * gathered, so nothing depends on timing, and equal elements keep their order.
 *
 * @module
 */
import {
  binary,
  bitcast,
  broadcastTo,
  cast,
  fill,
  gather,
  iota,
  loop,
  pad,
  parameter,
  permute,
  reduce,
  reshape,
  slice,
  unary,
  where,
} from "../build.ts";
import { isFloat } from "../dtype.ts";
import type { Node } from "../node.ts";
import { normalizeAxis, type Shape, showShape, sizeOf } from "../shape.ts";
import { classify } from "./elementwise.ts";
import { takeAlongAxis } from "./indexing.ts";
import { add, and, equal, less, lessEqual, mul, not, or, sub, xor } from "./operators.ts";

const LAST = 0xffffffff, SIGN = 0x80000000;

/** u32 in the order of x: descending where asked for. */
function keysOf(operand: Node, descending: boolean): Node {
  const x = unary("stop", operand);
  let keys: Node;
  if (isFloat(x.dtype)) {
    const wide = cast(x, "f32");
    const bits = bitcast(where(equal(wide, 0), 0, wide), "u32");
    // Negative numbers grow towards 0 as their bits fall.
    const ordered = where(lessEqual(SIGN, bits), not(bits), or(bits, SIGN));
    keys = where(classify.isNaN(wide), LAST, ordered);
  } else if (x.dtype === "i32") keys = xor(bitcast(x, "u32"), SIGN);
  else keys = cast(x, "u32");
  return descending ? not(keys) : keys;
}

/** Rows up to this are sorted by rank alone. */
const SHORT = 128;
/** Blocks of longer ones. */
const BLOCK = 32;

/** The order of each row of keys [rows, n] by rank: element i comes after all that are before it. */
function orderByRank(keys: Node): Node {
  const [rows, n] = keys.shape as [number, number];
  const square = [1, n, n];
  const own = iota(square, 1, "i32"), other = iota(square, 2, "i32");
  const mine = reshape(keys, [rows, n, 1]), theirs = reshape(keys, [rows, 1, n]);
  const before = or(less(theirs, mine), and(equal(theirs, mine), less(other, own)));
  const rank = reshape(reduce("sum", cast(before, "i32"), [2]), [rows, 1, n]);
  // The inverse: which element has rank i.
  const found = where(equal(rank, own), other, 0);
  return reshape(reduce("reduceMax", found, [2]), [rows, n]);
}

/**
 * Every so many results one searches from where its neighbour is: every 64th all of a run, from
 * there every fourth, and the rest from these.
 */
const STRIDES = [1, 4, 64];

/**
 * Of every `stride`-th result when neighbouring sorted runs of `run` keys (a u32 scalar, a power of
 * two) are merged: where it is, its place in its pair of runs, and how many of those before it come
 * from the left one. That is found by bisection, in so many steps; fewer where a neighbour's is known.
 */
function splits(
  keys: Node,
  run: Node,
  steps: number,
  stride: number,
): { readonly p: Node; readonly place: Node; readonly low: Node } {
  const size = keys.shape[0]! / stride;
  const p = mul(iota([size], 0, "u32"), stride), wide = broadcastTo(run, [size]);
  const place = and(p, sub(binary("shiftLeft", wide, 1), 1));
  const base = sub(p, place), right = add(base, wide);
  let low = where(less(wide, place), sub(place, wide), fill(0, [size], "u32"));
  let high = binary("min", place, wide);
  let halvings = steps;
  const next = STRIDES[STRIDES.indexOf(stride) + 1];
  if (next !== undefined) {
    const count = next / stride, groups: Shape = [size / count, count];
    const far = reshape(splits(keys, run, steps, next).low, [size / count, 1]);
    const near = reshape(broadcastTo(far, groups), [size]);
    low = binary("max", low, near);
    high = binary("min", high, add(near, and(p, next - 1)));
    halvings = Math.ceil(Math.log2(next - stride + 1));
  }
  for (let i = 0; i < halvings; i++) {
    const middle = binary("shiftRight", add(low, high), 1);
    const open = less(low, high);
    const a = gather(keys, add(base, middle));
    const b = gather(keys, sub(add(right, sub(place, middle)), 1));
    const taken = lessEqual(a, b);
    low = where(and(open, taken), add(middle, 1), low);
    high = where(and(open, not(taken)), middle, high);
  }
  return { p, place, low };
}

/** Merges neighbouring sorted runs: gives the place that each result comes from. */
function mergeOnce(keys: Node, run: Node, steps: number): Node {
  const { p, place, low } = splits(keys, run, steps, 1);
  const wide = broadcastTo(run, keys.shape), base = sub(p, place), right = add(base, wide);
  const rest = sub(place, low);
  const inLeft = less(low, wide), inRight = less(rest, wide);
  const a = gather(keys, add(base, low)), b = gather(keys, add(right, rest));
  const left = and(inLeft, or(not(inRight), lessEqual(a, b)));
  return where(left, add(base, low), add(right, rest));
}

/** The order of long rows: blocks by rank, then merged, all rows side by side in one line. */
function orderByMerging(keys: Node): Node {
  const [rows, n] = keys.shape as [number, number];
  const levels = Math.ceil(Math.log2(n / BLOCK)), length = BLOCK * 2 ** levels;
  const filled = pad(keys, [0, 0], [0, length - n], LAST);
  const blocks = reshape(filled, [rows * length / BLOCK, BLOCK]);
  const order = orderByRank(blocks);
  const total = rows * length;
  const start = mul(iota(blocks.shape, 0, "i32"), BLOCK);
  const first = reshape(cast(add(order, start), "u32"), [total]);
  const line = reshape(filled, [total]);
  // Carries: keys in order, and where each of them was.
  const shape: Shape = [total];
  const parameters = [
    parameter(0, { shape, dtype: "u32" }),
    parameter(1, { shape, dtype: "u32" }),
    parameter(2, { shape: [], dtype: "u32" }),
  ];
  const [sorted, places, level] = parameters as [Node, Node, Node];
  const run = binary("shiftLeft", fill(BLOCK, [], "u32"), level);
  const from = mergeOnce(sorted, run, Math.log2(length / 2) + 1);
  const results = [gather(sorted, from), gather(places, from)];
  const [, last] = loop(
    { name: "merge", parameters, results },
    [gather(line, first), first, iota([levels], 0, "u32")],
    { length: levels, carries: 2, stacked: 1, reverse: false },
  );
  const positions = reshape(cast(last!, "i32"), [rows, length]);
  const own = sub(positions, mul(iota([rows, 1], 0, "i32"), length));
  return slice(own, [0, 0], [rows, n]);
}

/** Rows along an axis: [rows, n], and the way back. */
function asRows(x: Node, at: number): { readonly flat: Node; readonly back: (y: Node) => Node } {
  const others = [...x.shape.keys()].filter((i) => i !== at), order = [...others, at];
  const rows = sizeOf(others.map((i) => x.shape[i]!));
  const inverse = order.map((_, i) => order.indexOf(i));
  return {
    flat: reshape(permute(x, order), [rows, x.shape[at]!]),
    back: (y) => permute(reshape(y, [...others.map((i) => x.shape[i]!), y.shape[1]!]), inverse),
  };
}

/** The i32 indices that would sort x along an axis; equal elements keep their order. */
export function argsort(x: Node, axis: number, descending: boolean, action = "argsort"): Node {
  const at = normalizeAxis(axis, x.shape.length, action);
  const { flat, back } = asRows(keysOf(x, descending), at);
  const n = x.shape[at]!;
  if (sizeOf(x.shape) === 0 || n === 1) return fill(0, x.shape, "i32");
  return back(n <= SHORT ? orderByRank(flat) : orderByMerging(flat));
}

/** x sorted along an axis. */
export function sort(x: Node, axis: number, descending: boolean): Node {
  return takeAlongAxis(x, argsort(x, axis, descending, "sort"), axis);
}

/** The k largest (or smallest) elements along an axis, in order, and their indices. */
export function topK(
  x: Node,
  k: number,
  axis: number,
  largest: boolean,
): { readonly values: Node; readonly indices: Node } {
  const at = normalizeAxis(axis, x.shape.length, "topK"), n = x.shape[at]!;
  if (!Number.isInteger(k) || k < 0 || k > n) {
    throw new RangeError(
      `Cannot topK: k is ${k} for axis ${at} of ${
        showShape(x.shape)
      }, expected an integer in [0, ${n}]`,
    );
  }
  const order = argsort(x, at, largest, "topK");
  const indices = slice(
    order,
    x.shape.map(() => 0),
    x.shape.map((size, i) => i === at ? k : size),
  );
  return { values: takeAlongAxis(x, indices, at), indices };
}

/** Sorted lists up to this are compared with one by one. */
const SCANNED = 64;

/** Where values belong in a sorted list: before the first that is not less, or after the last. */
export function searchSorted(sorted: Node, values: Node, side: "left" | "right"): Node {
  const action = "searchSorted";
  if (sorted.shape.length !== 1) {
    throw new TypeError(
      `Cannot ${action}: the sorted tensor is ${showShape(sorted.shape)}, expected one axis`,
    );
  }
  if (side !== "left" && side !== "right") {
    throw new TypeError(`Cannot ${action}: side is ${String(side)}, expected "left" or "right"`);
  }
  const n = sorted.shape[0]!;
  if (n === 0) return fill(0, values.shape, "i32");
  const keys = keysOf(sorted, false), wanted = keysOf(values, false);
  const isBefore = side === "left" ? less : lessEqual;
  if (n <= SCANNED) {
    const rank = values.shape.length;
    const each = reshape(wanted, [...values.shape, 1]);
    const before = isBefore(reshape(keys, [...new Array<number>(rank).fill(1), n]), each);
    return reshape(reduce("sum", cast(before, "i32"), [rank]), values.shape);
  }
  let low: Node = fill(0, values.shape, "i32"), high: Node = fill(n, values.shape, "i32");
  for (let width = n; width > 0; width = Math.floor(width / 2)) {
    const middle = binary("shiftRight", add(low, high), 1);
    const open = less(low, high), before = isBefore(gather(keys, middle), wanted);
    low = where(and(open, before), add(middle, 1), low);
    high = where(and(open, not(before)), middle, high);
  }
  return low;
}
