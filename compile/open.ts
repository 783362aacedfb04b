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
import { type Held, Online } from "../checkpoint/online.ts";
import type { Action } from "../checkpoint/schedule.ts";
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

/**
 * The way back: `begin` is the part that begins in a round, and the steps end in the first again;
 * `play` makes parts of actions. The slot is one that the way forward left its note under.
 */
export function backOpen(
  snapshots: number,
  rounds: number,
  begin: (round: number) => number,
  order: (actions: Iterable<Action>, round: number) => Iterable<number>,
): Steered["steer"] {
  return async function* (play, host, [known]) {
    const { steps, live } = host.notes.get(known!) as Ended;
    const round = (rounds - steps % rounds) % rounds;
    function* all(): Generator<number, void, undefined> {
      yield begin(round);
      yield* order(Online.resumed({ snapshots }, steps, live).back(steps), round);
    }
    yield* play(all());
  };
}
