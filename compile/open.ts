/**
 * Loops that end when their data say so, as coroutines. Forward, steps run in chunks; after each
 * the device is asked whether it was the last, while the next is under way, and a step too much
 * changes nothing. Snapshots are taken on the way, as an online schedule chooses them (Stumm &
 * Walther 2010). The way back plays the rest of that schedule, from the number of steps that the
 * device has counted. What the one leaves for the other is a note under the memory of the last
 * state, which both know.
 *
 * @module
 */
import { type Held, Online, type Segments } from "../checkpoint/online.ts";
import type { Action } from "../checkpoint/schedule.ts";
import { type Errand, runErrands } from "./errands.ts";
import type { Steered } from "./script.ts";

/** Steps that run before the device is asked for the first time whether it was enough. */
const firstChunk = 4;
/** Milliseconds, about what an answer takes: as long as a chunk and its answer take less, it grows. */
const shortChunk = 25;

/** How a loop ended. */
interface Ended {
  readonly steps: number;
  readonly live: readonly Held[];
}

/** What an open loop runs: its parts by number, of which there is one of a kind in each round. */
export interface OpenLoop {
  /** Steps, at most. */
  readonly most: number;
  readonly rounds: number;
  readonly snapshots: number;
  /** The part that takes a step. */
  readonly step: (round: number) => number;
  /** The part that keeps the state before a step; undefined where it lies elsewhere anyway. */
  readonly keep: (slot: number, round: number) => number | undefined;
}

/**
 * The way forward; slots are the flag, the counter, and all memory that the way back may know it by.
 * It runs all rounds or none, so that it ends where it began.
 */
export function forwardOpen({ most, rounds, snapshots, step, keep }: OpenLoop): Steered["steer"] {
  return async function* (play, host, [running, counter, ...known]) {
    const chain = new Online({ snapshots: Math.max(1, snapshots) });
    let at = 0;
    function* chunk(steps: number): Generator<number, void, undefined> {
      if (snapshots === 0) {
        for (let i = 0; i < steps; i++) yield step(at++ % rounds);
        return;
      }
      for (const action of chain.forward(steps)) {
        if (action.do === "advance") {
          for (at = action.from; at < action.to; at++) yield step(at % rounds);
        } else if (action.do === "snapshot") {
          const part = keep(action.slot, action.step % rounds);
          if (part !== undefined) yield part;
        }
      }
    }
    let size = Math.ceil(firstChunk / rounds) * rounds;
    let left = Math.ceil(most / rounds) * rounds;
    let answer: Promise<readonly number[]> | undefined;
    while (left > 0) {
      const start = performance.now(), steps = Math.min(size, left);
      yield* play(chunk(steps));
      left -= steps;
      if (answer !== undefined && (await answer)[0] === 0) break;
      answer = host.read([running!, counter!]);
      if (performance.now() - start < shortChunk) size *= 2;
    }
    const [, steps] = await answer!;
    chain.stayed(steps!);
    // With one slot there is only the beginning, which lies elsewhere anyway.
    const live = snapshots > 0 ? chain.live : steps! > 0 ? [{ step: 0, slot: 0 }] : [];
    const ended: Ended = { steps: steps!, live };
    for (const slot of known) host.notes.set(slot, ended);
  };
}

/** What the way back of an open loop runs. */
export interface OpenBack {
  /** Snapshots, and how it goes back over what lies between two of them. */
  readonly snapshots: number;
  readonly within: Segments | undefined;
  readonly rounds: number;
  /** A slot that the way forward left its note under, among those that are asked for. */
  readonly known: (slots: readonly number[]) => number;
  /** The part that begins in a round; the steps end in the first again. */
  readonly begin: (round: number) => number;
  /** Makes parts of actions. */
  readonly order: (
    actions: Iterable<Action>,
    round: number,
    live: readonly Held[],
  ) => Iterable<number | Errand>;
}

/** The way back. */
export function backOpen(
  { snapshots, within, rounds, known, begin, order }: OpenBack,
): Steered["steer"] {
  return (play, host, slots) => {
    const { steps, live } = host.notes.get(known(slots)) as Ended;
    const round = (rounds - steps % rounds) % rounds;
    function* all(): Generator<number | Errand, void, undefined> {
      yield begin(round);
      const actions = Online.resumed({ snapshots }, steps, live).back(steps, within);
      yield* order(actions, round, live);
    }
    return runErrands(all)(play, host, slots);
  };
}
