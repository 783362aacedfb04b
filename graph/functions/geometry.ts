/**
 * What users write about windows over spatial axes, strides and paddings in many forms and channels
 * first or last, as numbers for each axis.
 *
 * @module
 */
import { permute } from "../build.ts";
import { describe, fail, outOfRange } from "../describe.ts";
import type { Node } from "../node.ts";
import { showShape } from "../shape.ts";

/** One number for all spatial axes, or one for each. */
export type PerAxis = number | readonly number[];

/**
 * Zeros around the spatial axes: none ("valid"), as many as give ⌈n / stride⌉ results, the odd one
 * after ("same"), a number for all sides, or a number or [before, after] for each axis.
 */
export type Padding =
  | "valid"
  | "same"
  | number
  | readonly (number | readonly [before: number, after: number])[];

/** Where the channels are: the last axis or the second. */
export type Channels = "last" | "first";

/** What windows are made of, one number for each spatial axis. */
export interface Geometry {
  readonly stride: PerAxis;
  readonly padding: Padding;
  readonly dilation: PerAxis;
  readonly channels: Channels;
}

/** Number of spatial axes of a tensor with a batch and channels. */
export function spatialRank(action: string, x: Node): number {
  const rank = x.shape.length - 2;
  if (rank >= 1) return rank;
  return fail(action, `the input is ${showShape(x.shape)}`, "a batch, spatial axes, and channels");
}

export function perAxis(
  action: string,
  name: string,
  value: PerAxis,
  rank: number,
  least = 1,
): readonly number[] {
  const list = typeof value === "number" ? new Array<number>(rank).fill(value) : value;
  const fits = Array.isArray(list) && list.length === rank &&
    list.every((n) => Number.isInteger(n) && n >= least);
  if (fits) return list;
  return outOfRange(
    action,
    `${name} is ${Array.isArray(value) ? showShape(value) : describe(value)}`,
    `an integer ≥ ${least}, or ${rank} of them`,
  );
}

interface Widths {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** Padding in numbers, for axes of these sizes and windows of this extent. */
export function widthsOf(
  action: string,
  padding: Padding,
  sizes: readonly number[],
  extent: readonly number[],
  stride: readonly number[],
): Widths {
  if (padding === "valid") return { before: sizes.map(() => 0), after: sizes.map(() => 0) };
  if (padding === "same") {
    const total = sizes.map((n, i) =>
      Math.max(0, (Math.ceil(n / stride[i]!) - 1) * stride[i]! + extent[i]! - n)
    );
    const before = total.map((n) => Math.floor(n / 2));
    return { before, after: total.map((n, i) => n - before[i]!) };
  }
  const pairs = pairsOf(action, padding, sizes.length);
  return { before: pairs.map((p) => p[0]), after: pairs.map((p) => p[1]) };
}

/** Padding in numbers that does not depend on sizes: before and after each axis. */
function pairsOf(
  action: string,
  padding: Exclude<Padding, string>,
  rank: number,
): readonly (readonly [number, number])[] {
  const list = typeof padding === "number" ? new Array<number>(rank).fill(padding) : padding;
  const pairs = Array.isArray(list)
    ? (list as readonly (number | readonly [number, number])[])
      .map((p) => typeof p === "number" ? [p, p] as const : p)
    : [];
  const fits = pairs.length === rank &&
    pairs.every((p) =>
      Array.isArray(p) && p.length === 2 && p.every((n) => Number.isInteger(n) && n >= 0)
    );
  if (fits) return pairs;
  return outOfRange(
    action,
    `the padding is ${JSON.stringify(padding)}`,
    `"valid", "same", an integer ≥ 0, or ${rank} such integers or [before, after]`,
  );
}

/** Throws unless windows can be laid out so, whatever they are laid over. */
export function checkGeometry(
  action: string,
  { stride, padding, dilation }: Omit<Geometry, "channels">,
  rank: number,
): void {
  perAxis(action, "stride", stride, rank);
  perAxis(action, "dilation", dilation, rank);
  if (padding !== "valid" && padding !== "same") pairsOf(action, padding, rank);
}

/** Throws unless there are channels where tensors have them. */
export function checkChannels(action: string, channels: Channels): void {
  if (channels === "last" || channels === "first") return;
  fail(action, `channels are ${describe(channels)}`, '"last" or "first"');
}

/** `n` whole numbers in order. */
export const range = (n: number, from = 0): number[] =>
  Array.from({ length: n }, (_, i) => i + from);

/** [batch, …spatial, channels], whatever the order was. */
export function channelsLast(x: Node, channels: Channels): Node {
  const rank = x.shape.length;
  return channels === "last" ? x : permute(x, [0, ...range(rank - 2, 2), 1]);
}

/** Back from [batch, …spatial, channels]. */
export function restored(x: Node, channels: Channels): Node {
  const rank = x.shape.length;
  return channels === "last" ? x : permute(x, [0, rank - 1, ...range(rank - 2, 1)]);
}

/** How far a window reaches on each axis. */
export const extentOf = (taps: readonly number[], dilation: readonly number[]): number[] =>
  taps.map((k, i) => (k - 1) * dilation[i]! + 1);
