/**
 * Checkpointing for a chain whose length is known only when it ends (Wang, Moin & Iaccarino 2009;
 * Stumm & Walther 2010). Snapshots are chosen while advancing: each new state is taken, and when
 * the slots are full the one is let go whose loss makes the way back from here least longer. After
 * the end each segment between snapshots is reversed by Revolve with the slots that are free by
 * then.
 *
 * The price of a set of snapshots, if the chain ended now, is known in closed form: the sum of
 * t(gap, free slots) over its gaps. Against the offline optimum the advances are a few per cent
 * more; tests/checkpoint/online_test.ts holds the figures. Invariant: state 0 is never let go, and
 * at most `snapshots` are alive.
 *
 * @module
 */
import { type Leaf, nest, segments } from "./reverse.ts";
import { demandInteger, leastAdvances, reverseSegment } from "./revolve.ts";
import { type Action, advance, drop, pull, restore, snapshot, turn } from "./schedule.ts";

/** Options of {@linkcode Online}. */
export interface OnlineOptions {
  /** Slots for snapshots, state 0 among them. */
  readonly snapshots: number;
  /**
   * Steps between states that may be kept. More of them means fewer copies, and a few more
   * advances.
   * @default 1
   */
  readonly every?: number;
}

/** Steps between snapshots that are gone back over together. */
export interface Segments {
  /** As many as these, or fewer. */
  readonly steps: number;
  readonly leaf: Leaf;
  /** Slots that the leaf needs, after those of the snapshots. */
  readonly slots: number;
}

/** A snapshot that is there. */
export interface Held {
  readonly step: number;
  readonly slot: number;
}

/**
 * A schedule that is asked for its actions piece by piece: `forward` until the end, then `back`.
 */
export class Online {
  readonly #snapshots: number;
  readonly #every: number;
  /** Snapshots alive, in the order of their steps. */
  #live: Held[] = [];
  #at = 0;

  /**
   * A chain at its first state.
   *
   * @throws {RangeError} If `snapshots` or `every` is less than 1.
   */
  constructor({ snapshots, every = 1 }: OnlineOptions) {
    demandInteger("snapshots", snapshots, 1);
    demandInteger("every", every, 1);
    this.#snapshots = snapshots;
    this.#every = every;
  }

  /** The step at which the working state is. */
  get at(): number {
    return this.#at;
  }

  /** Snapshots that are there. */
  get live(): readonly Held[] {
    return [...this.#live];
  }

  /** Says that steps from `length` on changed nothing: the working state is that state. */
  stayed(length: number): void {
    this.#at = length;
    this.#live = this.#live.filter(({ step }) => step < Math.max(1, length));
  }

  /** A chain that has come to state `at`, with these snapshots. */
  static resumed(options: OnlineOptions, at: number, live: readonly Held[]): Online {
    const chain = new Online(options);
    chain.#at = at;
    chain.#live = [...live];
    return chain;
  }

  /** Actions that advance the working state by `steps`. */
  *forward(steps: number): Generator<Action, void, undefined> {
    const end = this.#at + steps;
    while (this.#at < end) {
      yield* this.#keep();
      const every = this.#every;
      const next = Math.min(end, this.#at - this.#at % every + every);
      yield advance(this.#at, next);
      this.#at = next;
    }
  }

  /**
   * Actions for the way back of a chain that turned out to have `length` steps, over `within` so many
   * at a time. Cheapest when the working state is at the last step or at the end; from past it, the
   * end is computed again.
   *
   * @throws {RangeError} If the chain has not come to its last step yet.
   */
  *back(length: number, within?: Segments): Generator<Action, void, undefined> {
    demandInteger("length", length, 0);
    if (this.#at < length - 1) {
      throw new RangeError(
        `Cannot go back over ${length} steps: the chain is at ${this.#at}, expected ` +
          `${length - 1} at least`,
      );
    }
    let to = length;
    let last = false;
    if (this.#at === length || length === 0) yield turn(length, length);
    else if (this.#at === length - 1) {
      yield turn(length - 1, length);
      yield pull(--to);
    } else last = true;
    while (this.#live.length > 0) {
      const { step, slot } = this.#live.pop()!;
      if (step >= to) {
        yield drop(slot);
        continue;
      }
      yield restore(step, slot);
      const slots = [slot, ...this.#free(slot)], how = { held: true, last };
      if (within === undefined) yield* reverseSegment(step, to, slots, how);
      else {
        const bounds = segments(to - step, within.steps).map((first) => step + first);
        yield* nest(reverseSegment(0, bounds.length - 1, slots, how), bounds, within.leaf);
      }
      last = false;
      to = step;
    }
    this.#at = 0;
  }

  /** Slots that are empty, `besides` one. */
  #free(besides: number): number[] {
    const taken = new Set(this.#live.map(({ slot }) => slot)).add(besides);
    const free: number[] = [];
    for (let slot = 0; slot < this.#snapshots; slot++) if (!taken.has(slot)) free.push(slot);
    return free;
  }

  /** Takes the working state if it is worth more than a snapshot that is there. */
  *#keep(): Generator<Action, void, undefined> {
    const step = this.#at;
    const live = this.#live;
    if (step % this.#every !== 0 || live.at(-1)?.step === step) return;
    let slot = live.length;
    if (live.length === this.#snapshots) {
      const least = this.#least([...live.map((kept) => kept.step), step]);
      if (least === live.length) return;
      slot = live[least]!.slot;
      yield drop(slot);
      live.splice(least, 1);
    }
    yield snapshot(step, slot);
    live.push({ step, slot });
  }

  /**
   * Index of the step, of one more than there are slots, whose loss costs least; never the first.
   */
  #least(steps: readonly number[]): number {
    const count = steps.length;
    const ends = [...steps.slice(1), steps[count - 1]! + 1];
    const price = (from: number, to: number, before: number): number =>
      leastAdvances(ends[to]! - steps[from]!, this.#snapshots - before);
    // The gaps after the lost one have one snapshot less before them, so one free slot more.
    const after = new Array<number>(count + 1).fill(0);
    for (let k = count - 1; k > 1; k--) after[k] = after[k + 1]! + price(k, k, k - 1);
    let before = 0;
    let least = Infinity;
    let best = count - 1;
    for (let k = 1; k < count; k++) {
      const walk = k === count - 1 ? steps[k - 1]! : steps[count - 1]!;
      const total = walk + before + price(k - 1, k, k - 1) + after[k + 1]!;
      if (total <= least) [least, best] = [total, k];
      before += price(k - 1, k - 1, k - 1);
    }
    return best;
  }
}
