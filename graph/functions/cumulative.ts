/**
 * Running sums, products and extremes on nodes. An axis is cut into blocks; within a block every
 * element reduces those before it behind a mask, and what the blocks before it came to is found the
 * same way, by recursion. So the order of every sum is a function of the axis alone, the work is
 * spread over all elements, and derivatives are those of reductions (Blelloch, Prefix sums and their
 * applications, 1990, with blocks of 16 in place of 2).
 *
 * @module
 */
import {
  binary,
  broadcastTo,
  cast,
  flip,
  iota,
  pad,
  permute,
  reduce,
  type Reduction,
  reshape,
  slice,
  unary,
  where,
} from "../build.ts";
import { dtypes } from "../dtype.ts";
import type { Node } from "../node.ts";
import { normalizeAxis } from "../shape.ts";
import { classify, toFloat, toNumber } from "./elementwise.ts";
import { logOfSum } from "./numerics.ts";

/** Elements of a block: each takes that many steps. */
const BLOCK = 16;

/** An operation whose results can be joined: what it leaves unchanged, and how it joins two. */
interface Monoid {
  readonly identity: (x: Node) => number;
  /** Over the last axis, which becomes 1. */
  readonly over: (x: Node) => Node;
  readonly join: (a: Node, b: Node) => Node;
}

const monoid = (
  op: Reduction,
  join: "add" | "mul" | "max" | "min",
  identity: (x: Node) => number,
): Monoid => ({
  identity,
  over: (x) => reduce(op, x, [x.shape.length - 1]),
  join: (a, b) => binary(join, a, b),
});

/** log Σ exp over the last axis; of nothing but -∞ it is -∞. */
function logSumExpOver(x: Node): Node {
  const axes = [x.shape.length - 1];
  const largest = unary("stop", reduce("reduceMax", x, axes));
  const shift = where(classify.isFinite(largest), largest, 0);
  const sum = reduce("sum", unary("exp", binary("sub", x, shift)), axes);
  return binary("add", logOfSum(sum), shift);
}

/** log(exp a + exp b). */
function logAddExp(a: Node, b: Node): Node {
  const larger = unary("stop", binary("max", a, b));
  const shift = where(classify.isFinite(larger), larger, 0);
  const part = (x: Node): Node => unary("exp", binary("sub", x, shift));
  return binary("add", logOfSum(binary("add", part(a), part(b))), shift);
}

/** Running operations, by name. */
export type CumulativeName = "cumsum" | "cumprod" | "cummax" | "cummin" | "logCumSumExp";

const monoids: { readonly [N in CumulativeName]: Monoid } = {
  cumsum: monoid("sum", "add", () => 0),
  cumprod: monoid("prod", "mul", () => 1),
  cummax: monoid("reduceMax", "max", (x) => dtypes[x.dtype].lowest),
  cummin: monoid("reduceMin", "min", (x) => dtypes[x.dtype].highest),
  logCumSumExp: {
    identity: () => -Infinity,
    over: logSumExpOver,
    join: logAddExp,
  },
};

/** Shifted by one along the last axis of [rows, n], the identity first. */
function shifted(x: Node, identity: number): Node {
  const [rows, n] = x.shape as [number, number];
  return n === 0 ? x : pad(slice(x, [0, 0], [rows, n - 1]), [0, 1], [0, 0], identity);
}

/** Running results along the last axis of [rows, n]. */
function running(x: Node, monoid: Monoid): Node {
  const [rows, n] = x.shape as [number, number];
  if (n <= 1) return x;
  const identity = monoid.identity(x);
  const block = Math.min(n, BLOCK), blocks = Math.ceil(n / block);
  const filled = pad(x, [0, 0], [0, blocks * block - n], identity);
  const cut = reshape(filled, [rows, blocks, 1, block]);
  const square = [1, 1, block, block];
  const upTo = binary("lessEqual", iota(square, 3, "i32"), iota(square, 2, "i32"));
  const within = reshape(monoid.over(where(upTo, cut, identity)), [rows, blocks, block]);
  if (blocks === 1) return reshape(within, [rows, n]);
  const totals = reshape(slice(within, [0, 0, block - 1], [rows, blocks, 1]), [rows, blocks]);
  const before = shifted(running(totals, monoid), identity);
  const whole = monoid.join(broadcastTo(reshape(before, [rows, blocks, 1]), within.shape), within);
  return slice(reshape(whole, [rows, blocks * block]), [0, 0], [rows, n]);
}

/** How a running operation goes along its axis. */
export interface CumulativeOptions {
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

/** A running operation along an axis. */
export function cumulative(
  name: CumulativeName,
  operand: Node,
  axis: number,
  { exclusive, reverse }: CumulativeOptions,
): Node {
  const given = name === "logCumSumExp" ? toFloat(operand) : toNumber(operand);
  const rank = given.shape.length, at = normalizeAxis(axis, rank, name);
  // Sums of f16 may be beyond its range on their way.
  const x = given.dtype === "f16" ? cast(given, "f32") : given;
  const n = x.shape[at]!;
  const order = [...x.shape.keys()].filter((i) => i !== at);
  const moved = permute(x, [...order, at]);
  const rows = order.reduce((size, i) => size * x.shape[i]!, 1);
  const flat = reshape(moved, [rows, n]);
  const turned = reverse ? flip(flat, [1]) : flat;
  const monoid = monoids[name];
  const run = running(turned, monoid);
  const result = exclusive ? shifted(run, monoid.identity(x)) : run;
  const back = reshape(reverse ? flip(result, [1]) : result, moved.shape);
  const places = [...order, at], inverse = places.map((_, i) => places.indexOf(i));
  return cast(permute(back, inverse), given.dtype);
}
