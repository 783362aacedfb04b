/**
 * Convolutions of an input that is spread out (those transposed, and gradients by the input of those
 * with a stride) as convolutions of the input itself. A place of the result meets only every
 * `spread`-th tap, the others fall on zeros; which ones depends on the place modulo `spread`, its
 * phase. All phases read the same window of the input, so they are channels of one convolution,
 * which then take their places side by side (Shi et al., Real-time single image and video
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

/** By a convolution of what is less spread, which `settle` lowers; undefined if there is none. */
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
  if (axes.some(({ places }) => places === 0)) return build.fill(0, shape, x.dtype);
  // [g,…k,c,o] to [g,…taps,c,…phases,o], the last phase having tap 0.
  const none = [0, 0], missing = list((a, i) => a.taps * a.phases - w.shape[1 + i]!);
  const filled = build.pad(w, w.shape.map(() => 0), [0, ...missing, ...none]);
  const cut = build.reshape(filled, [
    w.shape[0]!,
    ...axes.flatMap(({ taps, phases }) => [taps, phases]),
    ...w.shape.slice(-2),
  ]);
  const turned = build.flip(cut, spatial.map((i) => 2 + 2 * i));
  const kernel = build.permute(turned, [
    ...[0, ...spatial.map((i) => 1 + 2 * i), 1 + 2 * rank],
    ...[...spatial.map((i) => 2 + 2 * i), 2 + 2 * rank],
  ]);
  const phases = list((a) => a.phases), all = sizeOf(phases) * outputs;
  const taps = list((a) => a.taps);
  const dense = settle(build.convolve(
    x,
    build.reshape(kernel, [w.shape[0]!, ...taps, w.shape.at(-2)!, all]),
    {
      step: list((a) => a.step),
      dilation: list((a) => a.dilation),
      spread: list((a) => a.spread),
      before: list((a) => a.before),
      after: list((a, i) => {
        const reach = (a.places - 1) * a.step + (a.taps - 1) * a.dilation + 1;
        return reach - (x.shape[2 + i]! - 1) * a.spread - 1 - a.before;
      }),
    },
  ));
  // [g,b,…places,…phases·o] to [g,b,…(places, apart),o]
  const lead = shape.slice(0, 2), places = list((a) => a.places);
  const apart = build.permute(build.reshape(dense, [...lead, ...places, ...phases, outputs]), [
    ...[0, 1, ...spatial.flatMap((i) => [2 + i, 2 + rank + i]), 2 + 2 * rank],
  ]);
  const between = axes.flatMap((a) => [0, a.apart - a.phases]);
  const spread = build.pad(apart, apart.shape.map(() => 0), [...none, ...between, 0]);
  const flat = build.reshape(spread, [...lead, ...list((a) => a.places * a.apart), outputs]);
  return padOrCut(
    flat,
    [...none, ...list((a) => a.first), 0],
    [...none, ...list((a, i) => sizes[i]! - a.first - a.places * a.apart), 0],
  );
}
