/**
 * Movement of elements on nodes: what users write (one -1 in a reshape, negative axes, Python's
 * slices) worked out into the explicit numbers that the primitives want. All of it becomes index
 * arithmetic inside kernels; nothing here copies.
 *
 * @module
 */
import { broadcastTo, concatenate, flip, pad, permute, reshape, slice } from "../build.ts";
import { describe } from "../describe.ts";
import { isFloat, round } from "../dtype.ts";
import type { Node } from "../node.ts";
import { normalizeAxes, normalizeAxis, type Shape, showShape, sizeOf } from "../shape.ts";

/** A shape in which one -1 stands for what is left. */
export function inferredReshape(x: Node, shape: Shape): Node {
  const open = shape.indexOf(-1);
  if (open < 0) return reshape(x, shape);
  const size = sizeOf(x.shape);
  const known = sizeOf(shape.filter((_, i) => i !== open));
  if (shape.lastIndexOf(-1) !== open || known === 0 || !(known > 0) || size % known !== 0) {
    throw new TypeError(
      `Cannot reshape: ${showShape(x.shape)} to ${
        showShape(shape)
      }, expected one -1 at most, and the other sizes to divide ${size}`,
    );
  }
  return reshape(x, shape.map((n) => n === -1 ? size / known : n));
}

/** Drops axes of size 1: the named ones, or all. */
export function squeeze(x: Node, axis: number | readonly number[] | undefined): Node {
  const { shape } = x;
  const axes = axis === undefined
    ? shape.flatMap((n, i) => n === 1 ? [i] : [])
    : normalizeAxes(axis, shape.length, "squeeze");
  for (const at of axes) {
    if (shape[at] === 1) continue;
    throw new RangeError(
      `Cannot squeeze: axis ${at} of ${showShape(shape)} has size ${shape[at]}, expected size 1`,
    );
  }
  return reshape(x, shape.filter((_, i) => !axes.includes(i)));
}

/** Puts in axes of size 1, so that they have these numbers in the result. */
export function expandDims(x: Node, axis: number | readonly number[]): Node {
  const extra = Array.isArray(axis) ? axis.length : 1;
  const axes = normalizeAxes(axis, x.shape.length + extra, "expandDims");
  const shape = [...x.shape];
  for (const at of axes) shape.splice(at, 0, 1);
  return reshape(x, shape);
}

/** The axes in another order; reversed without one. */
export function transpose(x: Node, order: readonly number[] | undefined): Node {
  const rank = x.shape.length;
  const axes = order ?? x.shape.map((_, i) => rank - 1 - i);
  if (!Array.isArray(axes)) {
    throw new TypeError(
      `Cannot transpose: the order is ${describe(axes)}, expected an array of ${rank} axes`,
    );
  }
  return permute(x, axes.map((axis) => normalizeAxis(axis, rank, "transpose")), "transpose");
}

/** Two axes exchanged. */
export function swapAxes(x: Node, a: number, b: number): Node {
  const rank = x.shape.length;
  const first = normalizeAxis(a, rank, "swapAxes"), second = normalizeAxis(b, rank, "swapAxes");
  const order = x.shape.map((_, i) => i);
  order[first] = second;
  order[second] = first;
  return permute(x, order);
}

/** Axes moved to new places; the others keep their order. */
export function moveAxis(
  x: Node,
  from: number | readonly number[],
  to: number | readonly number[],
): Node {
  const rank = x.shape.length;
  const places = (axes: number | readonly number[]): number[] =>
    [axes].flat().map((axis) => normalizeAxis(axis, rank, "moveAxis"));
  const sources = places(from), targets = places(to);
  const distinct = new Set(sources).size === sources.length &&
    new Set(targets).size === targets.length && sources.length === targets.length;
  if (!distinct) {
    throw new RangeError(
      `Cannot moveAxis: from ${showShape(sources)} to ${
        showShape(targets)
      }, expected as many places as axes, each once`,
    );
  }
  const order = x.shape.map((_, i) => i).filter((i) => !sources.includes(i));
  const moves = sources.map((source, i) => ({ source, target: targets[i]! }));
  moves.sort((a, b) => a.target - b.target);
  for (const { source, target } of moves) order.splice(target, 0, source);
  return permute(x, order);
}

/** One axis of a slice, as in Python: an index, `[start, stop, step]`, or all of it. */
export type SliceSpec =
  | number
  | null
  | readonly [start?: number | null, stop?: number | null, step?: number | null];

interface Window {
  readonly start: number;
  readonly size: number;
  readonly step: number;
  readonly flipped: boolean;
  readonly dropped: boolean;
}

/** Python's rules: negative numbers count from the end, ranges are cut off at the ends. */
function windowOf(spec: SliceSpec, n: number, axis: number, shape: Shape): Window {
  const wrong = (what: string, expected: string): never => {
    throw new RangeError(
      `Cannot slice: ${what} on axis ${axis} of ${showShape(shape)}, expected ${expected}`,
    );
  };
  if (spec === null) return { start: 0, size: n, step: 1, flipped: false, dropped: false };
  if (typeof spec === "number") {
    const start = spec < 0 ? spec + n : spec;
    if (!Number.isInteger(spec) || start < 0 || start >= n) {
      wrong(`index ${spec}`, n === 0 ? "no index, for it is empty" : `one in [${-n}, ${n - 1}]`);
    }
    return { start, size: 1, step: 1, flipped: false, dropped: true };
  }
  if (!Array.isArray(spec) || spec.length > 3) {
    wrong(`spec ${describe(spec)}`, "an index, [start, stop, step], or null");
  }
  const [from, to, by] = spec;
  const step = by ?? 1;
  for (const value of [from ?? 0, to ?? 0, step]) {
    if (!Number.isInteger(value)) wrong(`range [${spec.join(", ")}]`, "integers or null");
  }
  if (step === 0) wrong(`range [${spec.join(", ")}]`, "a step other than 0");
  const [lowest, highest] = step > 0 ? [0, n] : [-1, n - 1];
  const hold = (value: number): number =>
    Math.min(highest, Math.max(lowest, value < 0 ? value + n : value));
  const start = from === undefined || from === null ? (step > 0 ? 0 : n - 1) : hold(from);
  const stop = to === undefined || to === null ? (step > 0 ? n : -1) : hold(to);
  const size = Math.max(0, Math.ceil((stop - start) / step));
  if (size === 0) return { start: 0, size, step: 1, flipped: false, dropped: false };
  if (step > 0) return { start, size, step, flipped: false, dropped: false };
  return {
    start: start + (size - 1) * step,
    size,
    step: -step,
    flipped: true,
    dropped: false,
  };
}

/** A window by specs for the first axes. */
export function sliceBy(x: Node, specs: readonly SliceSpec[]): Node {
  const { shape } = x;
  if (specs.length > shape.length) {
    throw new RangeError(
      `Cannot slice: ${specs.length} specs for ${
        showShape(shape)
      }, expected ${shape.length} at most`,
    );
  }
  const windows = shape.map((n, i) => windowOf(specs[i] ?? null, n, i, shape));
  const window = slice(
    x,
    windows.map((w) => w.start),
    windows.map((w) => w.size),
    windows.map((w) => w.step),
  );
  const turned = flip(window, windows.flatMap((w, i) => w.flipped ? [i] : []));
  return reshape(turned, turned.shape.filter((_, i) => !windows[i]!.dropped));
}

/** Widths of padding: all sides, before and after, or a pair for each axis. */
export type PadWidths =
  | number
  | readonly [before: number, after: number]
  | readonly (readonly [before: number, after: number])[];

/** Filled up around. */
export function padBy(x: Node, widths: PadWidths, value: number): Node {
  const rank = x.shape.length;
  const same = (before: number, after: number): [number, number][] =>
    x.shape.map(() => [before, after]);
  let pairs: readonly (readonly [number, number])[];
  if (typeof value !== "number" || round(x.dtype, value) !== value && !isFloat(x.dtype)) {
    throw new TypeError(`Cannot pad: ${x.dtype} with ${describe(value)}, expected a value of it`);
  }
  if (typeof widths === "number") pairs = same(widths, widths);
  else if (typeof widths?.[0] === "number") {
    pairs = same(widths[0], (widths as readonly [number, number])[1]);
  } else pairs = widths as readonly (readonly [number, number])[];
  const ok = Array.isArray(pairs) && pairs.length === rank &&
    pairs.every((pair) =>
      pair.length === 2 && pair.every((n: number) => Number.isInteger(n) && n >= 0)
    );
  if (!ok) {
    throw new RangeError(
      `Cannot pad: widths are ${JSON.stringify(widths)} for ${
        showShape(x.shape)
      }, expected a number, [before, after], or ${rank} such pairs, not negative`,
    );
  }
  return pad(x, pairs.map((p) => p[0]), pairs.map((p) => p[1]), value);
}

/** The order along axes reversed; along all of them without any named. */
export function flipBy(x: Node, axis: number | readonly number[] | undefined): Node {
  return flip(x, normalizeAxes(axis, x.shape.length, "flip"));
}

/** End to end along an existing axis. */
export function concatenateBy(inputs: readonly Node[], axis: number): Node {
  if (inputs.length === 0) return concatenate(inputs, axis);
  return concatenate(inputs, normalizeAxis(axis, inputs[0]!.shape.length, "concatenate"));
}

/** Side by side along a new axis. */
export function stack(inputs: readonly Node[], axis: number): Node {
  const [first] = inputs;
  if (first === undefined) {
    throw new TypeError("Cannot stack: no tensors, expected at least one");
  }
  const different = inputs.find((x) => showShape(x.shape) !== showShape(first.shape));
  if (different !== undefined) {
    throw new TypeError(
      `Cannot stack: shapes are ${showShape(first.shape)} and ${
        showShape(different.shape)
      }, expected equal shapes`,
    );
  }
  const at = normalizeAxis(axis, first.shape.length + 1, "stack");
  return concatenate(inputs.map((x) => expandDims(x, at)), at);
}

/** Cut along an axis: into equal parts, or before the given indices. */
export function split(x: Node, parts: number | readonly number[], axis: number): Node[] {
  const at = normalizeAxis(axis, x.shape.length, "split"), n = x.shape[at]!;
  let cuts: readonly number[];
  if (typeof parts === "number") {
    if (!Number.isInteger(parts) || parts < 1 || n % parts !== 0) {
      throw new RangeError(
        `Cannot split: axis ${at} of ${
          showShape(x.shape)
        } into ${parts} parts, expected a divisor of ${n}`,
      );
    }
    cuts = Array.from({ length: parts - 1 }, (_, i) => (i + 1) * n / parts);
  } else if (Array.isArray(parts)) cuts = parts;
  else {
    throw new TypeError(
      `Cannot split: parts are ${describe(parts)}, expected a number or an array of places`,
    );
  }
  const whole = x.shape.map(() => null);
  return [...cuts, null].map((stop, i) => {
    const specs: SliceSpec[] = [...whole];
    specs[at] = [i === 0 ? 0 : cuts[i - 1]!, stop];
    return sliceBy(x, specs);
  });
}

/** The whole repeated along each axis, as NumPy's tile. */
export function tile(x: Node, counts: readonly number[]): Node {
  checkCounts("tile", counts);
  const rank = Math.max(counts.length, x.shape.length);
  const times = [...new Array<number>(rank - counts.length).fill(1), ...counts];
  const shape = [...new Array<number>(rank - x.shape.length).fill(1), ...x.shape];
  const spread = reshape(x, shape.flatMap((n) => [1, n]));
  return reshape(
    broadcastTo(spread, shape.flatMap((n, i) => [times[i]!, n])),
    shape.map((n, i) => n * times[i]!),
  );
}

/** Each element repeated along an axis. */
export function repeat(x: Node, count: number, axis: number): Node {
  checkCounts("repeat", [count]);
  const at = normalizeAxis(axis, x.shape.length, "repeat");
  const spread = expandDims(x, at + 1);
  return reshape(
    broadcastTo(spread, spread.shape.map((n, i) => i === at + 1 ? count : n)),
    x.shape.map((n, i) => i === at ? n * count : n),
  );
}

function checkCounts(action: string, counts: readonly number[]): void {
  if (counts.every((n) => Number.isInteger(n) && n >= 0)) return;
  throw new RangeError(
    `Cannot ${action}: counts are ${showShape(counts)}, expected non-negative integers`,
  );
}
