/**
 * Sampling on nodes: an input read at places between its elements, as the weighed sum of those
 * around. They are gathered, so the gradient by the input adds up in the order of places, and that
 * by the places goes through the weights.
 *
 * Jaderberg et al., Spatial transformer networks, 2015; Keys, Cubic convolution interpolation for
 * digital image processing, 1981.
 *
 * @module
 */
import { binary, cast, fill, gather, type Operand, reduce, reshape } from "../build.ts";
import { iota, slice, unary, where } from "../build.ts";
import { describe, fail, outOfRange } from "../describe.ts";
import type { Node } from "../node.ts";
import { showShape, sizeOf } from "../shape.ts";
import { clip, toFloat } from "./elementwise.ts";
import { type Channels, channelsLast, checkChannels, restored, spatialRank } from "./geometry.ts";
import { polynomial } from "./numerics.ts";
import { add, and, equal, less, lessEqual, mul, sub } from "./operators.ts";

/** How places become elements. */
export interface SamplingGeometry {
  readonly method: "nearest" | "linear" | "cubic";
  readonly outside: "zeros" | "border" | "reflection";
  readonly alignCorners: boolean;
  readonly channels: Channels;
}

/** The elements around a place on one axis: the first of them, and the weight of each. */
interface Taps {
  readonly first: Node;
  readonly weights: readonly Operand[];
}

/** How far Keys' cubic dips below 0, as in PyTorch. */
const DIP = -0.75;

const around: { readonly [M in SamplingGeometry["method"]]: (place: Node) => Taps } = {
  nearest: (place) => ({ first: unary("round", unary("stop", place)), weights: [1] }),
  linear: (place) => {
    const first = unary("floor", place), part = sub(place, first);
    return { first, weights: [sub(1, part), part] };
  },
  cubic: (place) => {
    const low = unary("floor", place), part = sub(place, low);
    const near = (d: Node): Node => polynomial(d, [1, 0, -(DIP + 3), DIP + 2]);
    const far = (d: Node): Node => polynomial(d, [-4 * DIP, 8 * DIP, -5 * DIP, DIP]);
    const rest = sub(1, part);
    const weights = [far(add(part, 1)), near(part), near(rest), far(add(rest, 1))];
    return { first: sub(low, 1), weights };
  },
};

/** An index into n elements for any whole number. */
const within: {
  readonly [O in SamplingGeometry["outside"]]: (at: Node, n: number, corners: boolean) => Node;
} = {
  zeros: (at) => at,
  border: (at, n) => clip(at, 0, n - 1),
  // Around the middle of the last element, or around its border.
  reflection: (at, n, corners) => {
    const period = corners ? 2 * (n - 1) : 2 * n;
    if (period === 0) return mul(at, 0);
    const rest = binary("mod", at, period);
    return binary("min", rest, sub(corners ? period : period - 1, rest));
  },
};

/** Beyond this, all that matters of a place is that it is outside. */
const FAR = 2 ** 30;

/** The input at places given by a grid [batch, …places, axes], which goes from -1 to 1. */
export function gridSample(
  input: Node,
  grid: Node,
  { method, outside, alignCorners, channels }: SamplingGeometry,
): Node {
  const action = "gridSample";
  checkChannels(action, channels);
  const rank = spatialRank(action, input);
  for (const [name, value, table] of [["method", method, around], ["outside", outside, within]]) {
    if (Object.hasOwn(table as object, value as string)) continue;
    fail(action, `${name} is ${describe(value)}`, Object.keys(table as object).join(", "));
  }
  const x = channelsLast(toFloat(input), channels);
  const [batch, sizes, width] = [x.shape[0]!, x.shape.slice(1, -1), x.shape.at(-1)!];
  if (grid.shape.length < 2 || grid.shape[0] !== batch || grid.shape.at(-1) !== rank) {
    fail(
      action,
      `the grid is ${showShape(grid.shape)} for an input of ${showShape(input.shape)}`,
      `[${batch}, …places, ${rank}]`,
    );
  }
  if (sizes.includes(0)) {
    outOfRange(action, `the input is ${showShape(input.shape)}`, "at least one element");
  }
  const places = grid.shape.slice(1, -1), count = sizeOf(places);
  const flat = reshape(cast(toFloat(grid), "f32"), [batch, count, rank]);
  // Everything is [batch, count, …taps], an axis of taps for each of the input's.
  const line = [batch, count, ...sizes.map(() => 1)], tapAxes = sizes.map((_, i) => 2 + i);
  let position = iota([batch, ...line.slice(1).map(() => 1)], 0, "i32");
  let inside: Node = fill(1, [], "bool"), weight: Node = fill(1, line, "f32");
  sizes.forEach((n, i) => {
    // The last axis comes first, as x comes before y.
    const own = reshape(slice(flat, [0, 0, rank - 1 - i], [batch, count, 1]), line);
    const place = alignCorners ? mul(add(own, 1), (n - 1) / 2) : sub(mul(add(own, 1), n / 2), 0.5);
    const { first, weights } = around[method](clip(place, -FAR, FAR));
    const tap = iota(line.map((_, axis) => axis === 2 + i ? weights.length : 1), 2 + i, "i32");
    const index = within[outside](add(cast(first, "i32"), tap), n, alignCorners);
    const fits = and(lessEqual(0, index), less(index, n));
    position = add(mul(position, n), index);
    inside = and(inside, fits);
    weight = mul(weight, weights.map((w, k) => where(equal(tap, k), w, 0)).reduce(add));
  });
  const lines = reshape(cast(x, "f32"), [sizeOf(x.shape) / Math.max(1, width), width]);
  const rows = gather(lines, where(inside, position, 0));
  const forChannels = (y: Node): Node => reshape(y, [...y.shape, 1]);
  const found = where(forChannels(inside), rows, 0);
  const sum = reduce("sum", mul(found, forChannels(weight)), tapAxes);
  return restored(cast(reshape(sum, [batch, ...places, width]), x.dtype), channels);
}
