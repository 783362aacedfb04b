/**
 * Convolutions of an input that is spread out (those transposed, and gradients by the input of those
 * with a stride) as convolutions of the input itself. A place of the result meets only every
 * `spread`-th tap, the others fall on zeros; which ones depends on the place modulo `spread`, its
 * phase. Phases that have as many taps read the same window of the input, so they are channels of one
 * convolution, and then take their places side by side (Shi et al., Real-time single image and video
 * super-resolution using an efficient sub-pixel convolutional neural network, 2016). Terms are
 * added in the order that they had between zeros.
 *
 * @module
 */
import * as build from "../graph/build.ts";
import type { Node } from "../graph/node.ts";
import type { Convolution } from "../graph/primitive.ts";
import { sizeOf } from "../graph/shape.ts";
import { padOrCut } from "../graph/windows.ts";

/** An axis of the dense convolution, whose place m has places first + apart·m + phase. */
interface Axis {
  readonly step: number;
  readonly dilation: number;
  readonly spread: number;
  readonly before: number;
  readonly taps: number;
  readonly places: number;
  /** Places of the result for one of the dense one, of which the first `phases` are computed. */
  readonly apart: number;
  readonly phases: number;
  readonly first: number;
}

/** What becomes of an axis with k taps and `length` places in the result. */
function axisOf(attributes: Convolution, i: number, k: number, length: number): Axis {
  const step = attributes.step[i]!, dilation = attributes.dilation[i]!;
  const spread = attributes.spread[i]!, before = attributes.before[i]!;
  const down = Math.floor(before / spread), rest = before - spread * down;
  const dense = { step: 1, spread: 1, before: down, apart: spread };
  if (step === 1 && spread > 1 && (k === 1 || dilation % spread === 0)) {
    // All taps fall on elements, or none does.
    return {
      ...dense,
      dilation: k === 1 ? 1 : dilation / spread,
      taps: k,
      places: Math.max(0, Math.ceil((length - rest) / spread)),
      phases: 1,
      first: rest,
    };
  }
  if (step === 1 && spread > 1 && dilation === 1) {
    // Taps c, c + spread … meet elements m, m + 1 … at place before + spread·m - c.
    return {
      ...dense,
      dilation,
      taps: Math.ceil(k / spread),
      places: Math.ceil((length - 1 - before) / spread) + down + 1,
      phases: spread,
      first: rest - (spread - 1),
    };
  }
  const same = { step, dilation, spread, before };
  return { ...same, taps: k, places: length, apart: 1, phases: 1, first: 0 };
}

/** Some of an axis's phases, those that have as many taps: c, c + spread … for each c from `from`. */
interface Phases {
  readonly taps: number;
  readonly from: number;
  readonly count: number;
}

/**
 * Phases by the number of their taps, those that begin with later taps first. Were they filled up
 * with zeros, an element that is not finite would reach places that it does not meet.
 */
function phasesOf({ phases, taps }: Axis, k: number): Phases[] {
  const missing = taps * phases - k, full = phases - missing;
  const less = { taps: taps - 1, from: full, count: missing };
  const all = { taps, from: 0, count: full };
  return missing === 0 ? [all] : [less, all];
}

/** By convolutions of what is less spread, which `settle` lowers; undefined if there are none. */
export function withoutSpread(
  { inputs, attributes, shape }: Node<"convolve">,
  settle: (convolution: Node) => Node,
): Node | undefined {
  const [x, w] = inputs as [Node, Node];
  const rank = attributes.step.length, outputs = shape.at(-1)!;
  const sizes = shape.slice(2, -1), spatial = sizes.map((_, i) => i);
  const axes = sizes.map((n, i) => axisOf(attributes, i, w.shape[1 + i]!, n));
  const changes = axes.some(({ spread }, i) => spread !== attributes.spread[i]);
  if (!changes || sizeOf(shape) === 0 || sizeOf(x.shape) === 0 || sizeOf(w.shape) === 0) {
    return undefined;
  }
  const list = (f: (axis: Axis, i: number) => number): number[] => axes.map(f);
  const places = list(({ places }) => places), lead = shape.slice(0, 2), none = [0, 0];
  if (places.includes(0)) return build.fill(0, shape, x.dtype);
  // [g,…(taps, phases),c,o]
  const filled = build.pad(w, w.shape.map(() => 0), [
    ...[0, ...list(({ taps, phases }, i) => taps * phases - w.shape[1 + i]!), 0, 0],
  ]);
  const cut = build.reshape(filled, [
    w.shape[0]!,
    ...axes.flatMap(({ taps, phases }) => [taps, phases]),
    ...w.shape.slice(-2),
  ]);
  /** Places and these phases of every axis, the last phase having the first tap. */
  const some = (chosen: readonly Phases[]): Node => {
    const counts = chosen.map(({ count }) => count), taps = chosen.map(({ taps }) => taps);
    const result = [...lead, ...places, ...counts, outputs];
    if (taps.includes(0)) return build.fill(0, result, x.dtype);
    const own = build.slice(cut, [0, ...chosen.flatMap(({ from }) => [0, from]), 0, 0], [
      w.shape[0]!,
      ...chosen.flatMap(({ taps, count }) => [taps, count]),
      ...w.shape.slice(-2),
    ]);
    const turned = build.flip(own, spatial.map((i) => 2 + 2 * i));
    const kernel = build.permute(turned, [
      ...[0, ...spatial.map((i) => 1 + 2 * i), 1 + 2 * rank],
      ...[...spatial.map((i) => 2 + 2 * i), 2 + 2 * rank],
    ]);
    const all = build.reshape(kernel, [
      ...[w.shape[0]!, ...taps, w.shape.at(-2)!, sizeOf(counts) * outputs],
    ]);
    const dense = settle(build.convolve(x, all, {
      step: list(({ step }) => step),
      dilation: list(({ dilation }) => dilation),
      spread: list(({ spread }) => spread),
      before: list(({ before }) => before),
      after: list(({ step, dilation, spread, before, places }, i) => {
        const reach = (places - 1) * step + (taps[i]! - 1) * dilation + 1;
        return reach - (x.shape[2 + i]! - 1) * spread - 1 - before;
      }),
    }));
    return build.reshape(dense, result);
  };
  /** And all those of the axes that are not chosen yet. */
  const every = (...chosen: readonly Phases[]): Node => {
    const i = chosen.length;
    if (i === rank) return some(chosen);
    const parts = phasesOf(axes[i]!, w.shape[1 + i]!).map((own) => every(...chosen, own));
    return build.concatenate(parts, 2 + rank + i);
  };
  // [g,b,…(places, apart),o]
  const beside = build.permute(every(), [
    ...[0, 1, ...spatial.flatMap((i) => [2 + i, 2 + rank + i]), 2 + 2 * rank],
  ]);
  const between = axes.flatMap(({ apart, phases }) => [0, apart - phases]);
  const spread = build.pad(beside, beside.shape.map(() => 0), [...none, ...between, 0]);
  const flat = build.reshape(spread, [
    ...[...lead, ...list(({ places, apart }) => places * apart), outputs],
  ]);
  return padOrCut(
    flat,
    [...none, ...list(({ first }) => first), 0],
    [...none, ...list(({ first, places, apart }, i) => sizes[i]! - first - places * apart), 0],
  );
}
