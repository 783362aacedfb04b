/**
 * Revolve (Griewank & Walther 2000, TOMS 799): schedules for a chain of known length whose steps and
 * states are alike, which run the fewest steps that `snapshots` allow.
 *
 * With β(s, r) = C(s+r, s), a chain of l ≤ β(s, r) steps needs no step more than r times. The least
 * number of advances, t(l, s) = r·l − β(s+1, r−1) for the least such r, satisfies
 * t(l, s) = min over i of i + t(i, s) + t(l−i, s−1): advance i, snapshot, reverse the rest with one
 * slot less, and come back. The best i form an interval that is known in closed form, so that a
 * schedule needs no table. Invariant: at most `snapshots` are alive, state 0 included.
 *
 * @module
 */
import { type Action, advance, drop, pull, restore, snapshot, turn } from "./schedule.ts";

/** Throws unless the value is an integer that is large enough. */
export function demandInteger(what: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new RangeError(
      `Cannot make a schedule: ${what} is ${value}, expected an integer of at least ${least}`,
    );
  }
}

/** β(s, r) = C(s+r, s): the longest chain that s snapshots reverse with r runs of each step. */
export function reach(snapshots: number, repetitions: number): number {
  if (repetitions < 0) return 0;
  const fewer = Math.min(snapshots, repetitions);
  const more = Math.max(snapshots, repetitions);
  let result = 1;
  // Each product is a binomial times i, hence divisible; past 2^53 only the size matters.
  for (let i = 1; i <= fewer && result < 2 ** 53; i++) result = result * (more + i) / i;
  return result;
}

/** The least r with β(s, r) ≥ length: how often the most repeated step must run. */
export function repetitions(length: number, snapshots: number): number {
  if (snapshots === 1) return Math.max(0, length - 1);
  let r = 0;
  let reached = 1;
  while (reached < length) {
    r++;
    reached = reached * (snapshots + r) / r;
  }
  return r;
}

/**
 * The least number of advances that reverse `length` steps with `snapshots`, state 0 among them;
 * the run of a step inside its own pull is not counted.
 */
export function leastAdvances(length: number, snapshots: number): number {
  demandInteger("length", length, 0);
  demandInteger("snapshots", snapshots, 1);
  if (length < 2) return 0;
  const r = repetitions(length, snapshots);
  return r * length - reach(snapshots + 1, r - 1);
}

/** How far to advance before the next snapshot: the largest of the optimal distances. */
export function split(length: number, snapshots: number): number {
  const r = repetitions(length, snapshots);
  return Math.min(reach(snapshots, r - 1), length - reach(snapshots - 1, r - 1));
}

/** What {@linkcode reverseSegment} finds and does besides pulling. */
export interface SegmentOptions {
  /** The first slot already holds state `from`. @default false */
  readonly held?: boolean;
  /** The segment is the last of the chain: give the result before the first pull. @default false */
  readonly last?: boolean;
}

/**
 * Actions that pull the steps `to`−1 … `from` with the fewest advances, with the working state at
 * `from` and these slots, of which all, or all but the first, are empty. Leaves all of them empty.
 */
export function* reverseSegment(
  from: number,
  to: number,
  slots: readonly number[],
  { held = false, last = false }: SegmentOptions = {},
): Generator<Action, void, undefined> {
  /** Segments still to reverse, the one in hand last; segment k has its first state in slot k. */
  const open = [{ from, to }];
  if (!held && to - from > 1) yield snapshot(from, slots[0]!);
  let kept = held || to - from > 1 ? 1 : 0;
  let turned = !last;
  while (open.length > 0) {
    const { to } = open.at(-1)!;
    let state = open.at(-1)!.from;
    while (to - state > 1) {
      const distance = split(to - state, slots.length - open.length + 1);
      yield advance(state, state + distance);
      state += distance;
      // The state next to the end is pulled at once: it needs no slot.
      if (to - state === 1) break;
      yield snapshot(state, slots[kept++]!);
      open.push({ from: state, to });
    }
    if (!turned) yield turn(to - 1, to);
    turned = true;
    yield pull(to - 1);
    const end = to - 1;
    while (open.length > 0 && open.at(-1)!.from === end) {
      open.pop();
      if (kept > open.length) yield drop(slots[--kept]!);
    }
    if (open.length === 0) break;
    const segment = open.at(-1)!;
    segment.to = end;
    yield restore(segment.from, slots[kept - 1]!);
  }
}

/** The numbers 0 … count−1. */
function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/**
 * The schedule with the fewest advances, t(length, snapshots).
 *
 * @throws {RangeError} If `length` is negative or `snapshots` less than 1.
 */
export function revolve(
  length: number,
  snapshots: number,
): Generator<Action, void, undefined> {
  demandInteger("length", length, 0);
  demandInteger("snapshots", snapshots, 1);
  return length === 0
    ? nothing()
    : reverseSegment(0, length, range(Math.min(snapshots, length)), { last: true });
}

/** The schedule of a chain without steps. */
function* nothing(): Generator<Action, void, undefined> {
  yield turn(0, 0);
}
