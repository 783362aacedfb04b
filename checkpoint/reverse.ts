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
 * A leaf that goes forward with a tape and then the inverse, step by step. The state that it begins
 * with stays in this slot: should the tape not take it all, it is gone back over {@linkcode
 * inPieces}.
 */
export function taping(slot: number): Leaf {
  return function* (from, to, last): Generator<Action, void, undefined> {
    if (to > from) yield snapshot(from, slot);
    yield* reversing(true)(from, to, last);
    if (to > from) yield drop(slot);
  };
}

/** Steps that are recorded before they are taken back, from the state in a slot. */
export interface Taping {
  readonly from: number;
  readonly to: number;
  readonly slot: number;
}

/** How full the tape of a leaf is: what it took, and what there was. */
export interface Fullness {
  readonly used: number;
  readonly words: number;
}

/**
 * The way back over a leaf whose tape did not take it all: from its first state forward again and
 * again, each time recording as many of the last steps as should fit, and fewer where they did not.
 *
 * @param pace Steps that share blocks: pieces begin at multiples of it.
 * @param fullness Of the tape since it was last begun.
 */
function* inPieces(
  { from, to, slot }: Taping,
  pace: number,
  fullness: () => Fullness,
): Generator<Action, void, undefined> {
  const fitting = (steps: number): number => {
    const { used, words } = fullness();
    // Not all pieces are alike, so that there is some room besides.
    const fit = Math.floor(0.75 * steps * words / used / pace) * pace;
    return Math.max(pace, Math.min(fit, steps - pace));
  };
  let most = fitting(to - from);
  for (let end = to; end > from;) {
    const begin = from + Math.max(0, Math.ceil((end - from - most) / pace) * pace);
    yield restore(from, slot);
    if (begin > from) yield advance(from, begin);
    yield advance(begin, end, true);
    if (fullness().used > fullness().words && end - begin > pace) {
      most = fitting(end - begin);
      continue;
    }
    for (let step = end - 1; step >= begin; step--) {
      yield invert(step + 1, step, true);
      yield pull(step);
    }
    end = begin;
  }
}

/**
 * A schedule with tapes, from the turn on, as it is played: where `fullness` says that what was
 * recorded did not all fit, its leaf is gone back over in pieces, and the leaf's own actions, up to
 * the pull of its first step, are passed over.
 *
 * Invariant of the schedule, which {@linkcode taping} keeps: the last snapshot before an advance that
 * is recorded is of the state where that advance begins, and its slot is neither written nor dropped
 * before the pull of that step. So the leaf can be run again from there as often as it takes.
 *
 * @param recorded What was recorded before the turn.
 */
export function* withinTape(
  schedule: Schedule,
  recorded: Taping | undefined,
  pace: number,
  fullness: () => Fullness,
): Generator<Action, void, undefined> {
  const overflows = (): boolean => fullness().used > fullness().words;
  let leaf = recorded, kept = { step: -1, slot: -1 }, skipping = false;
  if (leaf !== undefined && overflows()) {
    yield* inPieces(leaf, pace, fullness);
    skipping = true;
  }
  for (const action of schedule) {
    if (skipping) {
      skipping = !(action.do === "pull" && action.step === leaf!.from);
      continue;
    }
    yield action;
    if (action.do === "snapshot") kept = action;
    if (action.do !== "advance" || !action.tape) continue;
    leaf = { from: action.from, to: action.to, slot: kept.slot };
    if (overflows()) {
      yield* inPieces(leaf, pace, fullness);
      skipping = true;
    }
  }
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
