/**
 * Schedules that run the chain backwards instead of keeping states, and chains of chains: an outer
 * schedule over segments each of which an inner one reverses. "Tricks from Deep Learning" (Baydin,
 * Pearlmutter & Siskind 2016) asks for the combination: the outer Revolve keeps few states, the
 * leaves are long because an inverse with a tape of its errors needs almost no memory.
 *
 * Invariant: with `tape`, a step is inverted only with what was recorded when it was last run
 * forward, last in, first out. Peak of the combination: s·|state| + leaf·D·b/8 bytes, for leaves of
 * `leaf` steps, D elements and b bits per element and step.
 *
 * @module
 */
import { demandInteger, reverseSegment } from "./revolve.ts";
import {
  type Action,
  advance,
  drop,
  invert,
  pull,
  restore,
  type Schedule,
  snapshot,
  turn,
} from "./schedule.ts";

/**
 * Reverses the steps `to`−1 … `from`, with the working state at `from` before and after, and gives
 * the result before the first pull if the segment is the `last` of the chain.
 */
export type Leaf = (from: number, to: number, last: boolean) => Schedule;

/** A leaf that runs forward to its end and then the inverse, step by step. */
export function reversing(tape: boolean): Leaf {
  return function* (from, to, last): Generator<Action, void, undefined> {
    if (to > from) yield advance(from, to, tape);
    if (last) yield turn(to, to);
    for (let step = to - 1; step >= from; step--) {
      yield invert(step + 1, step, tape);
      yield pull(step);
    }
  };
}

/**
 * A leaf that goes forward with a tape and then the inverse, step by step. It goes there when the
 * way back is about to begin: so its tape lives only while it is read. What that takes besides is
 * the state that it begins with, in this slot, for the leaf at the end of the chain.
 */
export function taping(slot: number): Leaf {
  return function* (from, to, last): Generator<Action, void, undefined> {
    if (last && to > from) {
      yield snapshot(from, slot);
      yield advance(from, to);
      yield turn(to, to);
      yield restore(from, slot);
      yield drop(slot);
    } else if (last) yield turn(to, to);
    yield* reversing(true)(from, to, false);
  };
}

/** A leaf that keeps states in these slots, as many as it needs to run no step twice if it can. */
export function keeping(slots: readonly number[]): Leaf {
  return (from, to, last) => reverseSegment(from, to, slots, { last });
}

/**
 * The schedule that keeps nothing but the end, and inverts.
 *
 * @param tape Record what the inverse gets wrong, so that the states come back exactly.
 * @throws {RangeError} If `length` is negative.
 */
export function reverse(length: number, tape: boolean): Schedule {
  demandInteger("length", length, 0);
  return reversing(tape)(0, length, true);
}

/** The first steps of segments of equal length, the last one shorter, and the end of the chain. */
export function segments(length: number, segment: number): number[] {
  demandInteger("length", length, 0);
  demandInteger("segment", segment, 1);
  const bounds: number[] = [];
  for (let step = 0; step < length; step += segment) bounds.push(step);
  return [...bounds, length];
}

/**
 * A schedule over steps from one over segments: what `outer` takes for its step k are the steps
 * `bounds[k]` … `bounds[k+1]`−1, and `leaf` reverses them where `outer` pulls.
 *
 * @param outer A schedule for `bounds.length`−1 steps that turns right before its first pull.
 * @throws {Error} If `outer` runs backwards itself, or turns elsewhere.
 */
export function* nest(
  outer: Schedule,
  bounds: readonly number[],
  leaf: Leaf,
): Generator<Action, void, undefined> {
  const at = (segment: number): number => bounds[segment]!;
  let turning = false;
  for (const action of outer) {
    if (turning && action.do !== "pull") {
      throw new Error(`Cannot nest a schedule: ${action.do} follows its turn, expected a pull`);
    }
    switch (action.do) {
      case "advance":
        yield advance(at(action.from), at(action.to));
        break;
      case "snapshot":
        yield { ...action, step: at(action.step) };
        break;
      case "restore":
        yield restore(at(action.step), action.slot);
        break;
      case "turn":
        if (action.from === action.to) yield turn(at(action.from), at(action.to));
        else turning = true;
        break;
      case "pull":
        yield* leaf(at(action.step), at(action.step + 1), turning);
        turning = false;
        break;
      case "invert":
        throw new Error("Cannot nest a schedule: it inverts, expected one that keeps snapshots");
      default:
        yield action;
    }
  }
}
