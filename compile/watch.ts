/**
 * A tape that may be too small for what a leaf of the schedule records. How full it became is asked
 * after each leaf, before anything is taken back; if it overflowed, the leaf is gone back over in
 * pieces that fit: slower, and right.
 *
 * @module
 */
import { type Fullness, type Taping, withinTape } from "../checkpoint/reverse.ts";
import type { Action, Schedule } from "../checkpoint/schedule.ts";
import type { Errand } from "./errands.ts";

/** What has to be known of a tape to watch it. */
export interface TapeWatch {
  /** Steps that share blocks. */
  readonly pace: number;
  /** Words of its arena. */
  readonly words: number;
  /** Where it is counted how many are taken. */
  readonly cursor: (slots: readonly number[]) => number;
}

/**
 * The order of a schedule from the turn on, before which something may have been `recorded`; `order`
 * makes one of actions.
 */
export function* watched(
  schedule: Schedule,
  recorded: Taping | undefined,
  { pace, words, cursor }: TapeWatch,
  order: (actions: Iterable<Action>, look: Errand) => Iterable<number | Errand>,
): Generator<number | Errand, void, undefined> {
  let used = 0;
  const look: Errand = async ({ read }, slots) => {
    [used] = await read([cursor(slots)]) as [number];
  };
  const fullness = (): Fullness => ({ used, words });
  yield look;
  yield* order(withinTape(schedule, recorded, pace, fullness), look);
}
