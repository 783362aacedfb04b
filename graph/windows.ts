/**
 * Windows and convolutions transposed: what reverse mode needs. A sum of overlapping windows is
 * gathered, not scattered: every element sums the windows that hold it, in an order that depends on
 * shapes alone. The gradients of a convolution are convolutions.
 *
 * Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016, chapter 4.
 *
 * @module
 */
import { convolve, fill, flip, pad, permute, reduce, reshape, slice } from "./build.ts";
import type { Node } from "./node.ts";
import type { Window } from "./primitive.ts";
import { type Shape, sizeOf } from "./shape.ts";

const zeros = (x: Shape): number[] => x.map(() => 0);

/**
 * Zeros between the elements of each axis, `by - 1` of them, and none at the ends:
 * [n] → [n,1] → [n,by] → [n·by] → [(n-1)·by + 1], on every axis at once.
 */
export function spreadOut(x: Node, by: readonly number[]): Node {
  if (by.every((n) => n === 1) || sizeOf(x.shape) === 0) return x;
  const lanes = reshape(x, x.shape.flatMap((n) => [n, 1]));
  const wide = pad(lanes, zeros(lanes.shape), by.flatMap((n) => [0, n - 1]));
  const flat = reshape(wide, x.shape.map((n, i) => n * by[i]!));
  return slice(flat, zeros(x.shape), x.shape.map((n, i) => (n - 1) * by[i]! + 1));
}

/**
 * Zeros before and after every axis; where a number is negative, elements cut off instead, and where
 * there are not so many, the zeros behind them.
 */
export function padOrCut(x: Node, before: readonly number[], after: readonly number[]): Node {
  const cut = before.map((n) => Math.max(0, -n));
  const size = x.shape.map((n, i) => Math.max(0, n - cut[i]! - Math.max(0, -after[i]!)));
  const kept = sizeOf(size) === 0 ? fill(0, size, x.dtype) : slice(x, cut, size);
  const zeros = x.shape.map((n, i) => before[i]! + n + after[i]! - size[i]!);
  const first = before.map((n, i) => Math.min(Math.max(0, n), zeros[i]!));
  return pad(kept, first, zeros.map((n, i) => n - first[i]!));
}

/** The transpose of `window`: the windows g laid back over a tensor of `shape`, and summed. */
export function unwindow(g: Node, shape: Shape, { size, step, dilation }: Window): Node {
  if (sizeOf(g.shape) === 0) return fill(0, shape, g.dtype);
  const rank = size.length, lead = shape.slice(0, -rank), n = shape.slice(-rank);
  const axes = size.map((_, i) => i), first = lead.length;
  // Element p of the result has tap k of the window that begins at p - k·dilation, if there is one:
  // spread by the step, and with room for all taps on the left.
  const reach = size.map((k, i) => (k - 1) * dilation[i]!);
  const ones = [...lead.map(() => 1), ...step, ...size.map(() => 1)];
  const wide = spreadOut(g, ones);
  const room = padOrCut(
    wide,
    [...zeros(lead), ...reach, ...zeros(size)],
    [...zeros(lead), ...n.map((m, i) => m - wide.shape[first + i]!), ...zeros(size)],
  );
  // From tap to tap everything moves by the dilation: rows of m elements read as rows of
  // m + dilation. Taps are taken from the last to the first, so that the move is to the right.
  const turned = flip(room, axes.map((i) => first + rank + i));
  const rows = permute(turned, [
    ...lead.map((_, i) => i),
    ...axes.flatMap((i) => [first + rank + i, first + i]),
  ]);
  const flat = reshape(rows, [...lead, ...size.map((k, i) => k * rows.shape[first + 2 * i + 1]!)]);
  const longer = pad(flat, zeros(flat.shape), [
    ...zeros(lead),
    ...size.map((k, i) => k * dilation[i]!),
  ]);
  const sheared = reshape(longer, [
    ...lead,
    ...axes.flatMap((i) => [size[i]!, rows.shape[first + 2 * i + 1]! + dilation[i]!]),
  ]);
  const aligned = slice(sheared, zeros(sheared.shape), [
    ...lead,
    ...axes.flatMap((i) => [size[i]!, n[i]!]),
  ]);
  return reshape(reduce("sum", aligned, axes.map((i) => first + 2 * i)), shape);
}

/** Elements from first to last on an axis once it is spread. */
const extent = (n: number, spread: number): number => n === 0 ? 0 : (n - 1) * spread + 1;

/** The cotangent of a convolution's input: a convolution with the kernel turned around. */
export function inputGradient(y: Node<"convolve">, g: Node): Node {
  const [x, w] = y.inputs as [Node, Node];
  const { step, dilation, spread, before } = y.attributes, rank = step.length;
  if (sizeOf(g.shape) === 0) return fill(0, x.shape, x.dtype);
  const taps = w.shape.slice(1, rank + 1);
  const axes = taps.map((_, i) => i + 1);
  const turned = permute(flip(w, axes), [0, ...axes, rank + 2, rank + 1]);
  return convolve(g, turned, {
    step: spread,
    dilation,
    spread: step,
    before: taps.map((k, i) => (k - 1) * dilation[i]! - before[i]!),
    after: taps.map((_, i) =>
      extent(x.shape[2 + i]!, spread[i]!) - extent(g.shape[2 + i]!, step[i]!) + before[i]!
    ),
  });
}

/**
 * The cotangent of a convolution's kernel: the input convolved with g, channels as the batch. Where
 * the input is spread more than the step would spread g, g with the input: taps from last to first.
 */
export function kernelGradient(y: Node<"convolve">, g: Node): Node {
  const [x, w] = y.inputs as [Node, Node];
  const { step, dilation, spread, before } = y.attributes, rank = step.length;
  if (sizeOf(g.shape) === 0 || sizeOf(x.shape) === 0) return fill(0, w.shape, w.dtype);
  const spatial = step.map((_, i) => i + 2);
  const swapped = sizeOf(spread) > sizeOf(step);
  const channels = (z: Node): Node => permute(z, [0, rank + 2, ...spatial, 1]);
  const kernels = (z: Node): Node => permute(z, [0, ...spatial, 1, rank + 2]);
  const taps = (i: number): number => (w.shape[1 + i]! - 1) * dilation[i]!;
  const wide = (z: Node, by: readonly number[], i: number): number =>
    extent(z.shape[2 + i]!, by[i]!);
  const left = step.map((_, i) => swapped ? taps(i) - before[i]! : before[i]!);
  const result = convolve(channels(swapped ? g : x), kernels(swapped ? x : g), {
    step: dilation,
    dilation: swapped ? spread : step,
    spread: swapped ? step : spread,
    before: left,
    after: step.map((_, i) => {
      const [into, by] = [wide(x, spread, i), wide(g, step, i)];
      return taps(i) + (swapped ? into - by : by - into) - left[i]!;
    }),
  });
  // [g,c,…taps,o], or swapped [g,o,…taps,c].
  if (!swapped) return permute(result, [0, ...spatial, 1, rank + 2]);
  return permute(flip(result, spatial), [0, ...spatial, rank + 2, 1]);
}
