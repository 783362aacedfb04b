/**
 * Convolution, pooling and resizing on nodes: what users write (strides and paddings in many forms,
 * channels first or last, groups) worked out into the primitives, which know one form.
 *
 * @module
 */
import {
  binary,
  broadcastTo,
  cast,
  convolve,
  fill,
  flip,
  leaf,
  pad,
  permute,
  reduce,
  reshape,
  window,
} from "../build.ts";
import { describe } from "../describe.ts";
import { dtypes } from "../dtype.ts";
import type { Node } from "../node.ts";
import { type Shape, showShape } from "../shape.ts";
import { Storage } from "../storage.ts";
import { toFloat, toNumber } from "./elementwise.ts";
import { take } from "./indexing.ts";

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

function fail(action: string, what: string, expected: string): never {
  throw new TypeError(`Cannot ${action}: ${what}, expected ${expected}`);
}

function outside(action: string, what: string, expected: string): never {
  throw new RangeError(`Cannot ${action}: ${what}, expected ${expected}`);
}

/** Number of spatial axes of a tensor with a batch and channels. */
function spatialRank(action: string, x: Node): number {
  const rank = x.shape.length - 2;
  if (rank >= 1) return rank;
  return fail(action, `the input is ${showShape(x.shape)}`, "a batch, spatial axes, and channels");
}

function perAxis(
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
  return outside(
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
function widthsOf(
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
  const list = typeof padding === "number" ? sizes.map(() => padding) : padding;
  const pairs = Array.isArray(list)
    ? (list as readonly (number | readonly [number, number])[])
      .map((p) => typeof p === "number" ? [p, p] as const : p)
    : [];
  const fits = pairs.length === sizes.length &&
    pairs.every((p) =>
      Array.isArray(p) && p.length === 2 && p.every((n) => Number.isInteger(n) && n >= 0)
    );
  if (!fits) {
    outside(
      action,
      `the padding is ${JSON.stringify(padding)}`,
      `"valid", "same", an integer ≥ 0, or ${sizes.length} such integers or [before, after]`,
    );
  }
  return { before: pairs.map((p) => p[0]), after: pairs.map((p) => p[1]) };
}

function checkChannels(action: string, channels: Channels): void {
  if (channels === "last" || channels === "first") return;
  fail(action, `channels are ${describe(channels)}`, '"last" or "first"');
}

const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => i + from);

/** [batch, …spatial, channels], whatever the order was. */
function channelsLast(x: Node, channels: Channels): Node {
  const rank = x.shape.length;
  return channels === "last" ? x : permute(x, [0, ...range(rank - 2, 2), 1]);
}

/** Back from [batch, …spatial, channels]. */
function restored(x: Node, channels: Channels): Node {
  const rank = x.shape.length;
  return channels === "last" ? x : permute(x, [0, rank - 1, ...range(rank - 2, 1)]);
}

/** [b,…s,g·c] to [g,b,…s,c]. */
function intoGroups(x: Node, groups: number): Node {
  const rank = x.shape.length, channels = x.shape[rank - 1]!;
  const split = reshape(x, [...x.shape.slice(0, -1), groups, channels / groups]);
  return permute(split, [rank - 1, ...range(rank - 1), rank]);
}

/** [g,b,…s,c] to [b,…s,g·c]. */
function outOfGroups(x: Node): Node {
  const rank = x.shape.length;
  const moved = permute(x, [...range(rank - 2, 1), 0, rank - 1]);
  return reshape(moved, [...moved.shape.slice(0, -2), x.shape[0]! * x.shape[rank - 1]!]);
}

/** Both operands as floats of one dtype. */
function floatsOf(action: string, x: Node, w: Node): [Node, Node] {
  const a = toFloat(x), b = toFloat(w);
  if (a.dtype === b.dtype) return [a, b];
  return a.dtype === "f32" || b.dtype === "f32"
    ? [cast(a, "f32"), cast(b, "f32")]
    : fail(action, `dtypes are ${x.dtype} and ${w.dtype}`, "floats");
}

/** The kernel as [...k, a, b], from [...k, a, b] or [b, a, ...k]. */
function kernelLast(w: Node, channels: Channels): Node {
  const rank = w.shape.length;
  return channels === "last" ? w : permute(w, [...range(rank - 2, 2), 1, 0]);
}

function checkGroups(action: string, groups: number, sizes: readonly number[]): void {
  const fits = Number.isInteger(groups) && groups >= 1 && sizes.every((n) => n % groups === 0);
  if (!fits) {
    outside(
      action,
      `groups are ${describe(groups)}`,
      `a divisor of ${sizes.join(" and ")} channels`,
    );
  }
}

/** A convolution (a cross-correlation, as everywhere in the field). */
export function conv(
  input: Node,
  kernel: Node,
  { stride, padding, dilation, channels, groups }: Geometry & { readonly groups: number },
): Node {
  const action = "conv";
  checkChannels(action, channels);
  const rank = spatialRank(action, input);
  const [floatInput, floatKernel] = floatsOf(action, input, kernel);
  if (kernel.shape.length !== rank + 2) {
    fail(
      action,
      `the kernel is ${showShape(kernel.shape)} for an input of ${showShape(input.shape)}`,
      `${rank + 2} axes: ${
        channels === "last"
          ? "spatial ones, channels in a group, channels out"
          : "channels out, channels in a group, spatial ones"
      }`,
    );
  }
  const x = channelsLast(floatInput, channels), w = kernelLast(floatKernel, channels);
  const taps = w.shape.slice(0, rank), into = w.shape[rank]!, out = w.shape[rank + 1]!;
  const given = x.shape.at(-1)!;
  checkGroups(action, groups, [given, out]);
  if (into * groups !== given) {
    fail(
      action,
      `the kernel ${showShape(kernel.shape)} takes ${into} channels and the input ` +
        `${showShape(input.shape)} has ${given} in ${groups} group${groups === 1 ? "" : "s"}`,
      `a kernel for ${given / groups}`,
    );
  }
  if (taps.includes(0)) {
    fail(action, `the kernel is ${showShape(kernel.shape)}`, "at least one tap");
  }
  const step = perAxis(action, "stride", stride, rank);
  const apart = perAxis(action, "dilation", dilation, rank);
  const sizes = x.shape.slice(1, -1);
  const widths = widthsOf(action, padding, sizes, extentOf(taps, apart), step);
  const result = convolve(intoGroups(x, groups), kernelGroups(w, groups), {
    step,
    dilation: apart,
    spread: sizes.map(() => 1),
    ...widths,
  });
  return restored(outOfGroups(result), channels);
}

/** [...k, c, g·o] to [g, ...k, c, o]. */
function kernelGroups(w: Node, groups: number): Node {
  const rank = w.shape.length, out = w.shape[rank - 1]!;
  const split = reshape(w, [...w.shape.slice(0, -1), groups, out / groups]);
  return permute(split, [rank - 1, ...range(rank - 1), rank]);
}

const extentOf = (taps: readonly number[], dilation: readonly number[]): number[] =>
  taps.map((k, i) => (k - 1) * dilation[i]! + 1);

/** The transpose of a convolution, by its input: what makes large what `conv` made small. */
export function convTranspose(
  input: Node,
  kernel: Node,
  { stride, padding, dilation, channels, groups, outputPadding }: Geometry & {
    readonly groups: number;
    readonly outputPadding: PerAxis;
  },
): Node {
  const action = "convTranspose";
  checkChannels(action, channels);
  const rank = spatialRank(action, input);
  const [floatInput, floatKernel] = floatsOf(action, input, kernel);
  const x = channelsLast(floatInput, channels);
  const given = x.shape.at(-1)!;
  const w = kernel.shape.length === rank + 2 ? kernelLast(floatKernel, channels) : undefined;
  if (w === undefined || w.shape[rank + 1] !== given) {
    fail(
      action,
      `the kernel is ${showShape(kernel.shape)} for an input of ${showShape(input.shape)}`,
      `the kernel of a conv with ${given} channels out: ${
        channels === "last" ? `[...k, c, ${given}]` : `[${given}, c, ...k]`
      }`,
    );
  }
  checkGroups(action, groups, [given]);
  const taps = w.shape.slice(0, rank), out = w.shape[rank]!;
  if (taps.includes(0)) {
    fail(action, `the kernel is ${showShape(kernel.shape)}`, "at least one tap");
  }
  const step = perAxis(action, "stride", stride, rank);
  const apart = perAxis(action, "dilation", dilation, rank);
  const extra = perAxis(action, "outputPadding", outputPadding, rank, 0);
  const extent = extentOf(taps, apart), sizes = x.shape.slice(1, -1);
  const before: number[] = [], after: number[] = [];
  if (padding === "same") {
    // n·stride results: what a "same" convolution with this stride began with.
    extent.forEach((e, i) => {
      const cut = Math.max(0, e - step[i]!);
      before.push(Math.floor(cut / 2));
      after.push(e - step[i]! - Math.floor(cut / 2));
    });
  } else {
    const widths = widthsOf(action, padding, sizes, extent, step);
    before.push(...widths.before);
    after.push(...widths.after);
  }
  sizes.forEach((n, i) => {
    const length = (n - 1) * step[i]! + extent[i]! - before[i]! - after[i]! + extra[i]!;
    if (n > 0 && length >= 0) return;
    outside(
      action,
      `padding [${before[i]},${after[i]}] of spatial axis ${i}, with ${n} elements`,
      "results that are left after cutting so much",
    );
  });
  // [...k, o, g·c] to [g, ...k, c, o], turned around.
  const grouped = kernelGroups(flip(w, range(rank)), groups);
  const turned = permute(grouped, [...range(rank + 1), rank + 2, rank + 1]);
  const result = convolve(intoGroups(x, groups), turned, {
    step: sizes.map(() => 1),
    dilation: apart,
    spread: step,
    before: extent.map((e, i) => e - 1 - before[i]!),
    after: extent.map((e, i) => e - 1 - after[i]! + extra[i]!),
  });
  if (out === 0) return restored(reshape(result, result.shape.slice(1)), channels);
  return restored(outOfGroups(result), channels);
}

/** Windows of x, [batch, …places, …size, channels], the padding filled with a value. */
function windowsOf(
  action: string,
  x: Node,
  size: PerAxis,
  { stride, padding, dilation }: Pick<Geometry, "padding" | "dilation"> & {
    readonly stride: PerAxis | undefined;
  },
  value: number,
): { readonly windows: Node; readonly axes: number[]; readonly count: number } {
  const rank = spatialRank(action, x);
  const taps = perAxis(action, "size", size, rank);
  const step = perAxis(action, "stride", stride ?? size, rank);
  const apart = perAxis(action, "dilation", dilation, rank);
  const sizes = x.shape.slice(1, -1), extent = extentOf(taps, apart);
  const { before, after } = widthsOf(action, padding, sizes, extent, step);
  extent.forEach((e, i) => {
    const late = Math.max(before[i]!, after[i]!) >= e;
    if (late) {
      outside(action, `padding ${Math.max(before[i]!, after[i]!)}`, `less than a window (${e})`);
    }
  });
  const wide = pad(x, [0, ...before, 0], [0, ...after, 0], value);
  const last = permute(wide, [0, rank + 1, ...range(rank, 1)]);
  const found = window(last, { size: taps, step, dilation: apart });
  const windows = permute(found, [0, ...range(2 * rank, 2), 1]);
  return {
    windows,
    axes: range(rank, rank + 1),
    count: taps.reduce((n, k) => n * k, 1),
  };
}

const dropped = (x: Node, axes: readonly number[]): Node =>
  reshape(x, x.shape.filter((_, i) => !axes.includes(i)));

/** How a window is reduced. */
export interface PoolGeometry extends Omit<Geometry, "stride"> {
  readonly stride: PerAxis | undefined;
}

/** The largest element of every window. */
export function maxPool(input: Node, size: PerAxis, geometry: PoolGeometry): Node {
  checkChannels("maxPool", geometry.channels);
  const x = channelsLast(toNumber(input), geometry.channels);
  const lowest = dtypes[x.dtype].lowest;
  const { windows, axes } = windowsOf("maxPool", x, size, geometry, lowest);
  return restored(dropped(reduce("reduceMax", windows, axes), axes), geometry.channels);
}

/** The mean of every window; padding counts as zeros or not at all. */
export function averagePool(
  input: Node,
  size: PerAxis,
  geometry: PoolGeometry & { readonly countPadding: boolean },
): Node {
  const action = "averagePool";
  checkChannels(action, geometry.channels);
  const x = channelsLast(toFloat(input), geometry.channels);
  const { windows, axes, count } = windowsOf(action, x, size, geometry, 0);
  const sums = dropped(reduce("sum", cast(windows, "f32"), axes), axes);
  const plain = geometry.countPadding || geometry.padding === "valid" || geometry.padding === 0;
  // How many elements a window has inside: of constants, so it is computed once for all channels.
  const ones = fill(1, [1, ...x.shape.slice(1, -1), 1]);
  const inside = plain ? count : dropped(
    reduce("sum", windowsOf(action, ones, size, geometry, 0).windows, axes),
    axes,
  );
  return restored(cast(binary("div", sums, inside), x.dtype), geometry.channels);
}

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
    outside(action, `the input is ${showShape(input.shape)}`, "at least one element");
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
    outside(
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
