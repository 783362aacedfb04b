/**
 * Resizing on nodes: spatial axes stretched by repeating elements, or by interpolating between
 * them.
 *
 * @module
 */
import { binary, broadcastTo, cast, leaf, reshape } from "../build.ts";
import { describe, fail, outOfRange } from "../describe.ts";
import type { Node } from "../node.ts";
import { type Shape, showShape } from "../shape.ts";
import { Storage } from "../storage.ts";
import { toFloat } from "./elementwise.ts";
import {
  type Channels,
  channelsLast,
  checkChannels,
  type PerAxis,
  perAxis,
  restored,
  spatialRank,
} from "./geometry.ts";
import { take } from "./indexing.ts";

/** How sizes grow. */
export interface UpsampleGeometry {
  readonly scale: PerAxis | undefined;
  readonly size: PerAxis | undefined;
  readonly method: "nearest" | "linear";
  readonly alignCorners: boolean;
  readonly channels: Channels;
}

function constantLeaf(data: Float32Array | Int32Array): Node {
  const dtype = data instanceof Int32Array ? "i32" : "f32";
  return leaf(new Storage(dtype, data.length, { at: "host", data }), [data.length]);
}

/** Spatial axes stretched, by repeating elements or by interpolating between them. */
export function upsample(input: Node, geometry: UpsampleGeometry): Node {
  const action = "upsample", { scale, size, method, alignCorners, channels } = geometry;
  checkChannels(action, channels);
  const rank = spatialRank(action, input);
  if (method !== "nearest" && method !== "linear") {
    fail(action, `the method is ${describe(method)}`, '"nearest" or "linear"');
  }
  if ((scale === undefined) === (size === undefined)) {
    fail(action, scale === undefined ? "no size" : "a scale and a size", "one of them");
  }
  let x = channelsLast(method === "linear" ? toFloat(input) : input, channels);
  const from = x.shape.slice(1, -1);
  if (from.includes(0)) {
    outOfRange(action, `the input is ${showShape(input.shape)}`, "at least one element");
  }
  const to = size !== undefined
    ? perAxis(action, "size", size, rank)
    : scaled(action, from, scale!);
  const { dtype } = x;
  if (method === "linear") x = cast(x, "f32");
  to.forEach((m, i) => {
    const n = from[i]!, axis = i + 1;
    if (m === n) return;
    x = method === "nearest" ? nearest(x, axis, n, m) : linear(x, axis, n, m, alignCorners);
  });
  return restored(cast(x, dtype), channels);
}

function scaled(action: string, from: readonly number[], scale: PerAxis): number[] {
  const factors = typeof scale === "number" ? from.map(() => scale) : scale;
  const fits = Array.isArray(factors) && factors.length === from.length &&
    factors.every((f) => Number.isFinite(f) && f > 0);
  if (!fits) {
    outOfRange(
      action,
      `the scale is ${JSON.stringify(scale)}`,
      `a positive number, or ${from.length}`,
    );
  }
  return from.map((n, i) => Math.max(1, Math.floor(n * factors[i]!)));
}

function nearest(x: Node, axis: number, n: number, m: number): Node {
  if (m % n === 0) {
    const wide: Shape = x.shape.flatMap((k, i) => i === axis ? [k, 1] : [k]);
    const repeated = broadcastTo(reshape(x, wide), wide.map((k, i) => i === axis + 1 ? m / n : k));
    return reshape(repeated, x.shape.map((k, i) => i === axis ? m : k));
  }
  const index = Int32Array.from({ length: m }, (_, i) => Math.floor(i * n / m));
  return take(x, constantLeaf(index), axis);
}

/** Between the two nearest elements, whose centres (or corners) are aligned. */
function linear(x: Node, axis: number, n: number, m: number, alignCorners: boolean): Node {
  const at = (i: number): number => {
    if (alignCorners) return m === 1 ? 0 : i * (n - 1) / (m - 1);
    return Math.min(n - 1, Math.max(0, (i + 0.5) * n / m - 0.5));
  };
  const low = Int32Array.from({ length: m }, (_, i) => Math.min(n - 1, Math.floor(at(i))));
  const high = low.map((i) => Math.min(n - 1, i + 1));
  const shape = x.shape.map((_, i) => i === axis ? m : 1);
  const part = reshape(constantLeaf(Float32Array.from(low, (l, i) => at(i) - l)), shape);
  const a = take(x, constantLeaf(low), axis), b = take(x, constantLeaf(high), axis);
  return binary("add", a, binary("mul", binary("sub", b, a), part));
}
