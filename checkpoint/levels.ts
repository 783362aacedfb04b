/**
 * Snapshots in several stores: device, host, disk. Short chains are planned exactly, by a dynamic
 * program over (steps left, free slots of each store, store of the segment's first state) in which
 * writing and reading have a price, as in H-Revolve (Herrmann & Pallez 2020). Long ones take
 * Revolve's schedule and rank its slots by what their traffic would cost, the hottest on the device
 * (Stumm & Walther 2009), with as few cold slots as pay.
 *
 * Invariant: no store holds more snapshots than it has slots, and the dynamic program is never
 * dearer than the ranking.
 *
 * @module
 */
import { demandInteger, revolve } from "./revolve.ts";
import {
  type Action,
  advance,
  drop,
  pull,
  restore,
  type Schedule,
  snapshot,
  type Store,
  turn,
} from "./schedule.ts";

/** A store, and what it takes to use it, in the unit of the cost of a step. */
export interface Level {
  /** Which store. */
  readonly store: Store;
  /** The most snapshots that fit. */
  readonly slots: number;
  /** Cost of writing a snapshot. */
  readonly write: number;
  /** Cost of restoring one. */
  readonly read: number;
}

/** Options of {@linkcode offload}. */
export interface OffloadOptions {
  /** Cost of advancing one step. @default 1 */
  readonly step?: number;
  /**
   * Work that the exact plan may take, in inner loops; past it the slots are ranked. @default 1e8
   */
  readonly effort?: number;
}

/** A schedule over several stores, and what it will cost. */
export interface Offload {
  /** Cost of all advances and transfers; the pulls, which are the same for all, not counted. */
  readonly cost: number;
  /** True if no nested schedule costs less. */
  readonly optimal: boolean;
  /** The actions. */
  schedule(): Schedule;
}

/**
 * Plans the way back of `length` steps over several stores.
 *
 * @param levels From hot to cold, one slot at least in all of them together.
 * @throws {RangeError} If there is no slot, or a length or a number of slots is no whole number.
 */
export function offload(
  length: number,
  levels: readonly Level[],
  { step = 1, effort = 1e8 }: OffloadOptions = {},
): Offload {
  demandInteger("length", length, 0);
  for (const level of levels) demandInteger(`slots on the ${level.store}`, level.slots, 0);
  demandInteger("slots of all stores", levels.reduce((sum, level) => sum + level.slots, 0), 1);
  // More slots than states serve nobody and swell the table.
  const useful = levels.map((level) => ({ ...level, slots: Math.min(level.slots, length) }));
  const combinations = useful.reduce((product, level) => product * (level.slots + 1), 1);
  const work = length ** 2 * combinations * levels.length ** 2 / 2;
  return work <= effort ? exact(length, useful, step) : ranked(length, useful, step);
}

/** How often a schedule writes and restores each of its slots, and how many steps it advances. */
function heat(schedule: Schedule): { writes: number[]; reads: number[]; advances: number } {
  const writes: number[] = [];
  const reads: number[] = [];
  let advances = 0;
  for (const action of schedule) {
    if (action.do === "advance") advances += action.to - action.from;
    else if (action.do === "snapshot") {
      writes[action.slot] = (writes[action.slot] ?? 0) + 1;
      reads[action.slot] ??= 0;
    } else if (action.do === "restore") reads[action.slot]!++;
  }
  return { writes, reads, advances };
}

/** Revolve with its hottest slots in the hottest store, and as few cold slots as pay. */
export function ranked(length: number, levels: readonly Level[], step = 1): Offload {
  const all = levels.flatMap((level) => Array.from({ length: level.slots }, () => level));
  let best: { cost: number; count: number; stores: Store[] } | undefined;
  const counts = new Set([all.length, ...levels.map((_, k) => sumSlots(levels, k + 1))]);
  for (let count = 1; count < all.length; count *= 2) counts.add(count);
  for (const count of counts) {
    if (count < 1) continue;
    const { writes, reads, advances } = heat(revolve(length, count));
    const slots = writes.map((_, slot) => slot);
    slots.sort((a, b) => writes[b]! + reads[b]! - writes[a]! - reads[a]! || a - b);
    let cost = advances * step;
    const stores: Store[] = [];
    slots.forEach((slot, rank) => {
      const level = all[rank]!;
      stores[slot] = level.store;
      cost += writes[slot]! * level.write + reads[slot]! * level.read;
    });
    if (best === undefined || cost < best.cost) best = { cost, count, stores };
  }
  const { cost, count, stores } = best!;
  function* schedule(): Generator<Action, void, undefined> {
    for (const action of revolve(length, count)) {
      yield action.do === "snapshot" ? { ...action, store: stores[action.slot]! } : action;
    }
  }
  return { cost, optimal: false, schedule };
}

function sumSlots(levels: readonly Level[], count: number): number {
  return levels.slice(0, count).reduce((sum, level) => sum + level.slots, 0);
}

/**
 * The best nested schedule. `price[free][start][l]` is the cost of reversing l steps with the
 * working state at the first, which is kept in a slot of level `start`, when `free` slots are left;
 * either a snapshot is taken, here or on the way, or the last step is pulled and the rest reversed
 * as before.
 */
export function exact(length: number, levels: readonly Level[], step = 1): Offload {
  // A combination of free slots is a number in mixed radix; one slot of level m is worth unit[m].
  const unit: number[] = [];
  let combinations = 1;
  for (const level of levels) {
    unit.push(combinations);
    combinations *= level.slots + 1;
  }
  const has = (free: number, m: number): boolean =>
    Math.floor(free / unit[m]!) % (levels[m]!.slots + 1) > 0;
  const price: Float64Array[][] = [];
  /** The level of the snapshot taken, and after how many steps; -1 where none is. */
  const choice: Int32Array[][] = [];
  const distance: Int32Array[][] = [];
  for (let free = 0; free < combinations; free++) {
    price.push(levels.map(() => new Float64Array(length + 1)));
    choice.push(levels.map(() => new Int32Array(length + 1).fill(-1)));
    distance.push(levels.map(() => new Int32Array(length + 1)));
    for (let start = 0; start < levels.length; start++) {
      const own = price[free]![start]!;
      const { read } = levels[start]!;
      for (let l = 2; l <= length; l++) {
        let least = (l - 1) * step + read + own[l - 1]!;
        let level = -1;
        let at = l - 1;
        for (let m = 0; m < levels.length; m++) {
          if (!has(free, m)) continue;
          const rest = price[free - unit[m]!]![m]!;
          const { write } = levels[m]!;
          // A copy of the first state itself, in a store that is faster to read.
          if (write + rest[l]! < least) [least, level, at] = [write + rest[l]!, m, 0];
          const fixed = write + read;
          for (let i = 1; i < l - 1; i++) {
            const cost = i * step + fixed + rest[l - i]! + own[i]!;
            if (cost < least) [least, level, at] = [cost, m, i];
          }
        }
        own[l] = least;
        choice[free]![start]![l] = level;
        distance[free]![start]![l] = at;
      }
    }
  }
  const all = combinations - 1;
  let cost = 0;
  let first = -1;
  if (length > 1) {
    cost = Infinity;
    for (let m = 0; m < levels.length; m++) {
      if (!has(all, m)) continue;
      const total = levels[m]!.write + price[all - unit[m]!]![m]![length]!;
      if (total < cost) [cost, first] = [total, m];
    }
  }
  function* schedule(): Generator<Action, void, undefined> {
    if (length <= 1) {
      yield turn(0, length);
      if (length === 1) yield pull(0);
      return;
    }
    /** Segments still to reverse; segment k keeps its first state in slot k. */
    const open = [{ from: 0, to: length, level: first, free: all - unit[first]! }];
    yield snapshot(0, 0, levels[first]!.store);
    let turned = false;
    while (open.length > 0) {
      let segment = open.at(-1)!;
      let state = segment.from;
      for (;;) {
        const { from, to, level, free } = segment;
        const taken = choice[free]![level]![to - from]!;
        if (taken < 0) break;
        state = from + distance[free]![level]![to - from]!;
        if (state > from) yield advance(from, state);
        yield snapshot(state, open.length, levels[taken]!.store);
        segment = { from: state, to, level: taken, free: free - unit[taken]! };
        open.push(segment);
      }
      const end = segment.to - 1;
      if (state < end) yield advance(state, end);
      if (!turned) yield turn(end, length);
      turned = true;
      yield pull(end);
      while (open.at(-1)?.from === end) {
        open.pop();
        yield drop(open.length);
      }
      if (open.length === 0) break;
      open.at(-1)!.to = end;
      yield restore(open.at(-1)!.from, open.length - 1);
    }
  }
  return { cost, optimal: true, schedule };
}
