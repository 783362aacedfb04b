/**
 * What of a general graph is kept for the way back, under a budget of bytes, and what is run again.
 * Each value is kept, or fetched from where it was moved to meanwhile, or run again from others that
 * are there or run again, or not there. The cheapest choice at given prices of a byte and of a unit
 * of time is a minimum cut, in which a value that is there costs what is cheaper, being kept or
 * fetched; prices between
 * those that are just too large and just small enough give the corners of the trade of bytes
 * against time, and a knapsack fills what a corner leaves of the budget. The cut alone with the
 * knapsack's choice excluded from running again is PyTorch's `activation_memory_budget`; it is
 * tried too, so that the outcome is never worse.
 *
 * Invariant: the bytes of what is kept, counted exactly, are within the budget. The time counts
 * each value that is run again once.
 *
 * @module
 */
import { knapsack } from "./knapsack.ts";
import { Network } from "./mincut.ts";

/** A value of the forward pass. Its inputs come before it in the list. */
export interface Value {
  /** Bytes that it takes if kept. */
  readonly bytes: number;
  /** Time to run it again; 0 where it fuses into its readers. */
  readonly time: number;
  /** Indices of the values it is made of. */
  readonly inputs: readonly number[];
  /** Read on the way back. @default false */
  readonly needed?: boolean;
  /** There on the way back anyway, as arguments and results are. @default false */
  readonly given?: boolean;
  /** Must not be run again. @default false */
  readonly once?: boolean;
  /** Time to move it elsewhere and back; undefined where it has to be kept or run again. */
  readonly fetch?: number;
}

/** What to keep, what to move away and fetch, and what to run again. */
export interface Selection {
  /** Values to keep, ascending. */
  readonly kept: readonly number[];
  /** Values to move away and fetch, ascending. */
  readonly fetched: readonly number[];
  /** Values to run again, ascending, which is an order in which they can run. */
  readonly rerun: readonly number[];
  /** Bytes of what is kept. */
  readonly bytes: number;
  /** Time of what is fetched and run again. */
  readonly time: number;
}

/**
 * What must be run again if exactly these values are kept and fetched, without those among them that
 * nothing reads; undefined if something that must not be run again would have to be.
 */
export function select(
  values: readonly Value[],
  keep: ReadonlySet<number>,
  fetch: ReadonlySet<number> = new Set(),
): Selection | undefined {
  const reads = new Uint8Array(values.length);
  const kept: number[] = [], fetched: number[] = [];
  const rerun: number[] = [];
  let [bytes, time] = [0, 0];
  for (let i = values.length - 1; i >= 0; i--) {
    const value = values[i]!;
    if (!value.needed && reads[i] === 0 || value.given) continue;
    if (keep.has(i)) {
      kept.push(i);
      bytes += value.bytes;
    } else if (fetch.has(i) && value.fetch !== undefined) {
      fetched.push(i);
      time += value.fetch;
    } else if (value.once) return undefined;
    else {
      rerun.push(i);
      time += value.time;
      for (const input of value.inputs) reads[input] = 1;
    }
  }
  return { kept: kept.reverse(), fetched: fetched.reverse(), rerun: rerun.reverse(), bytes, time };
}

/** The cheapest selection at these prices, with some values excluded from all but being kept. */
function cheapest(
  values: readonly Value[],
  byte: number,
  unit: number,
  excluded: (index: number) => boolean = () => false,
): Selection {
  // On the sink's side: node 2i+1 if value i is there on the way back, node 2i if it is run again.
  const [source, sink] = [2 * values.length, 2 * values.length + 1];
  const network = new Network(2 * values.length + 2);
  let total = 0;
  for (const value of values) total += value.bytes * byte + value.time * unit;
  // Capacities are whole numbers; at least one, so that nothing is chosen that is not needed.
  const scale = 2 ** 50 / (total || 1);
  const whole = (price: number): number => price > 0 ? Math.max(1, Math.round(price * scale)) : 0;
  const isFetched = (i: number): boolean => {
    const { fetch, bytes } = values[i]!;
    return fetch !== undefined && unit > 0 && !excluded(i) && fetch * unit < bytes * byte;
  };
  values.forEach((value, i) => {
    const there = isFetched(i) ? value.fetch! * unit : value.bytes * byte;
    network.edge(2 * i, 2 * i + 1, value.given ? 0 : whole(there));
    if (value.needed) network.edge(2 * i + 1, sink, Infinity);
    if (value.given) return;
    const fixed = value.once || excluded(i);
    network.edge(source, 2 * i, fixed ? Infinity : whole(value.time * unit));
    for (const input of value.inputs) network.edge(2 * input + 1, 2 * i, Infinity);
  });
  const { side } = network.cut(source, sink);
  const keep = new Set<number>(), fetch = new Set<number>();
  values.forEach((_, i) => {
    if (side[2 * i] === 1 && side[2 * i + 1] === 0) (isFetched(i) ? fetch : keep).add(i);
  });
  return select(values, keep, fetch)!;
}

/** Weight of what only breaks ties, against what decides. */
const tie = 1e-7;

/** The selection of least time, and of least bytes among those. */
export function fastest(values: readonly Value[]): Selection {
  return cheapest(values, 1, 0, (i) => values[i]!.time > 0);
}

/** The selection of least bytes, and of little time among those. */
export function smallest(values: readonly Value[]): Selection {
  return smallestBut(values, () => false);
}

function smallestBut(values: readonly Value[], excluded: (index: number) => boolean): Selection {
  const { bytes, time } = totals(values);
  return cheapest(values, 1 / bytes, tie / time, excluded);
}

/** Sums to divide by: 1 where there is nothing. */
function totals(values: readonly Value[]): { bytes: number; time: number } {
  let [bytes, time] = [0, 0];
  for (const value of values) {
    bytes += value.bytes;
    time += value.time + (value.fetch ?? 0);
  }
  return { bytes: bytes || 1, time: time || 1 };
}

/** The corner of the trade between two selections, at prices that make both cost the same. */
function between(values: readonly Value[], a: Selection, b: Selection): Selection | undefined {
  const byte = Math.abs(a.time - b.time);
  const unit = Math.abs(a.bytes - b.bytes);
  if (byte === 0 || unit === 0) return undefined;
  const corner = cheapest(values, byte, unit);
  const price = (x: Selection): number => x.bytes * byte + x.time * unit;
  return price(corner) < price(a) * (1 - 1e-9) ? corner : undefined;
}

/**
 * The corners of the trade of bytes against time, from the fastest to the smallest: each is the
 * best for its bytes, and nothing lies below the line through two neighbours.
 */
export function corners(values: readonly Value[]): Selection[] {
  const found = [fastest(values)];
  const waiting = [smallest(values)];
  while (waiting.length > 0) {
    const corner = between(values, found.at(-1)!, waiting.at(-1)!);
    if (corner !== undefined) waiting.push(corner);
    else {
      const next = waiting.pop()!;
      if (next.bytes < found.at(-1)!.bytes) found.push(next);
    }
  }
  return found;
}

/**
 * What to keep within `budget` bytes so that little is run again.
 *
 * @throws {RangeError} If nothing fits, naming the least budget that could.
 */
export function selectWithin(values: readonly Value[], budget: number): Selection {
  const fast = fastest(values);
  if (fast.bytes <= budget) return fast;
  let fits = smallest(values);
  if (fits.bytes > budget) {
    throw new RangeError(
      `Cannot choose what to keep: the budget is ${budget} bytes, expected at least ${fits.bytes}`,
    );
  }
  for (let exceeds = fast;;) {
    const corner = between(values, exceeds, fits);
    if (corner === undefined) break;
    if (corner.bytes <= budget) fits = corner;
    else exceeds = corner;
  }
  const candidates = [fits, smallest(values), ...picked(values, fast, budget)];
  let best = fits;
  for (const candidate of candidates) {
    for (let filled = candidate;;) {
      if (filled.bytes <= budget && better(filled, best)) best = filled;
      const more = fill(values, filled, budget);
      if (more === undefined || !better(more, filled)) break;
      filled = more;
    }
  }
  return best;
}

function better(a: Selection, b: Selection): boolean {
  return a.time < b.time || a.time === b.time && a.bytes < b.bytes;
}

/** What the knapsack picks from the fastest selection, kept as it is, and the least cut for it. */
function picked(values: readonly Value[], fast: Selection, budget: number): Selection[] {
  const worth = (i: number): number => {
    const { time, once, fetch = Infinity } = values[i]!;
    return Math.min(once ? Infinity : time, fetch);
  };
  const fixed = fast.kept.filter((i) => worth(i) === Infinity);
  const open = fast.kept.filter((i) => worth(i) < Infinity);
  const room = budget - fixed.reduce((sum, i) => sum + values[i]!.bytes, 0);
  if (room < 0) return [];
  const chosen = knapsack(
    open.map((i) => ({ bytes: values[i]!.bytes, worth: worth(i) })),
    room,
  )
    .map((k) => open[k]!);
  const set = new Set(chosen);
  const moved = open.filter((i) => !set.has(i) && values[i]!.fetch === worth(i));
  const asIs = select(values, new Set([...fixed, ...chosen]), new Set(moved));
  const cut = smallestBut(values, (i) => set.has(i));
  return asIs === undefined ? [cut] : [asIs, cut];
}

/** The selection with more kept, from what the budget leaves. */
function fill(
  values: readonly Value[],
  selection: Selection,
  budget: number,
): Selection | undefined {
  const { kept, fetched, rerun, bytes } = selection;
  if (bytes > budget) return undefined;
  const items = [
    ...rerun.map((i) => ({ index: i, bytes: values[i]!.bytes, worth: values[i]!.time })),
    ...fetched.map((i) => ({ index: i, bytes: values[i]!.bytes, worth: values[i]!.fetch! })),
  ];
  const more = knapsack(items, budget - bytes).map((k) => items[k]!.index);
  if (more.length === 0) return undefined;
  return select(values, new Set([...kept, ...more]), new Set(fetched));
}
