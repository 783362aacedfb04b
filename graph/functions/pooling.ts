/**
 * Pooling on nodes: reductions of a view that holds all windows.
 *
 * @module
 */
import { binary, cast, fill, pad, permute, reduce, reshape, window } from "../build.ts";
import { outOfRange } from "../describe.ts";
import { dtypes } from "../dtype.ts";
import type { Node } from "../node.ts";
import { toFloat, toNumber } from "./elementwise.ts";
import {
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

/** How windows are laid over an input. */
export interface PoolGeometry extends Omit<Geometry, "stride"> {
  readonly stride: PerAxis | undefined;
  readonly ceil: boolean;
}

/** Windows of an input. */
interface Windows {
  /** [batch, …places, …size, channels]. */
  readonly windows: Node;
  /** Those of the size. */
  readonly axes: number[];
  /** Elements of a window. */
  readonly count: number;
  /** Whether windows reach beyond the padding. */
  readonly beyond: boolean;
}

/** The padding is filled with one value, what is beyond it with another. */
function windowsOf(
  action: string,
  x: Node,
  size: PerAxis,
  { stride, padding, dilation, ceil }: Omit<PoolGeometry, "channels">,
  value: number,
  outside: number,
): Windows {
  const rank = spatialRank(action, x);
  const taps = perAxis(action, "size", size, rank);
  const step = perAxis(action, "stride", stride ?? size, rank);
  const apart = perAxis(action, "dilation", dilation, rank);
  const sizes = x.shape.slice(1, -1), extent = extentOf(taps, apart);
  const { before, after } = widthsOf(action, padding, sizes, extent, step);
  extent.forEach((e, i) => {
    const late = Math.max(before[i]!, after[i]!) >= e;
    if (late) {
      outOfRange(action, `padding ${Math.max(before[i]!, after[i]!)}`, `less than a window (${e})`);
    }
  });
  const extra = sizes.map((n, i) => {
    const whole = before[i]! + n + after[i]!, by = step[i]!;
    // A last window that is cut off has to begin before the input ends.
    const last = Math.min(
      Math.ceil((whole - extent[i]!) / by),
      Math.ceil((before[i]! + n) / by) - 1,
    );
    return ceil ? Math.max(0, last * by + extent[i]! - whole) : 0;
  });
  const padded = pad(x, [0, ...before, 0], [0, ...after, 0], value);
  const wide = pad(padded, x.shape.map(() => 0), [0, ...extra, 0], outside);
  const last = permute(wide, [0, rank + 1, ...range(rank, 1)]);
  const found = window(last, { size: taps, step, dilation: apart });
  const windows = permute(found, [0, ...range(2 * rank, 2), 1]);
  return {
    windows,
    axes: range(rank, rank + 1),
    count: taps.reduce((n, k) => n * k, 1),
    beyond: extra.some((n) => n > 0),
  };
}

const dropped = (x: Node, axes: readonly number[]): Node =>
  reshape(x, x.shape.filter((_, i) => !axes.includes(i)));

/** The largest element of every window. */
export function maxPool(input: Node, size: PerAxis, geometry: PoolGeometry): Node {
  checkChannels("maxPool", geometry.channels);
  const x = channelsLast(toNumber(input), geometry.channels);
  const lowest = dtypes[x.dtype].lowest;
  const { windows, axes } = windowsOf("maxPool", x, size, geometry, lowest, lowest);
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
  const { windows, axes, count, beyond } = windowsOf(action, x, size, geometry, 0, 0);
  const sums = dropped(reduce("sum", cast(windows, "f32"), axes), axes);
  const { padding, countPadding } = geometry;
  const plain = !beyond && (countPadding || padding === "valid" || padding === 0);
  // How many elements a window has inside: of constants, so it is computed once for all channels.
  const ones = fill(1, [1, ...x.shape.slice(1, -1), 1]), counted = countPadding ? 1 : 0;
  const inside = plain ? count : dropped(
    reduce("sum", windowsOf(action, ones, size, geometry, counted, 0).windows, axes),
    axes,
  );
  return restored(cast(binary("div", sums, inside), x.dtype), geometry.channels);
}
