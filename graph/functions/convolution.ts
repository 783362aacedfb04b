/**
 * Convolution and its transpose on nodes: groups, kernels and paddings as users write them, worked
 * out into the one form that the primitive knows.
 *
 * @module
 */
import { cast, convolve, flip, permute, reshape } from "../build.ts";
import { describe, fail, outOfRange } from "../describe.ts";
import type { Node } from "../node.ts";
import { showShape } from "../shape.ts";
import { toFloat } from "./elementwise.ts";
import {
  type Channels,
  channelsLast,
  checkChannels,
  extentOf,
  type Geometry,
  type PerAxis,
  perAxis,
  range,
  restored,
  spatialRank,
  widthsOf,
} from "./geometry.ts";

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
    outOfRange(
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
    outOfRange(
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
