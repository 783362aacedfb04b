/**
 * What a schedule does besides running parts: states are saved outside of the device and come back,
 * and the device is asked what it found out. A state's memory out there is known by a ticket, which
 * is a slot like others, so that loops in bodies that are placed many times need nothing special.
 *
 * @module
 */
import type { Host, Move, Steered } from "./script.ts";

/** Something to be done before the order goes on. */
export type Errand = (host: Host, slots: readonly number[]) => void | Promise<void>;

/** The slots that errands are about, which know them by their places here. */
export class Asked {
  readonly #slots: number[] = [];

  /** All of them. */
  get slots(): readonly number[] {
    return this.#slots;
  }

  /** Adds one, and gives it once it is known where it really lies. */
  add(slot: number): (slots: readonly number[]) => number {
    const place = this.#slots.push(slot) - 1;
    return (slots) => slots[place]!;
  }

  /** Adds those of some moves, and gives the moves between them. */
  moves(pairs: readonly Move[]): (slots: readonly number[]) => Move[] {
    const first = this.#slots.length;
    for (const { ticket, slot } of pairs) this.#slots.push(ticket, slot);
    return (slots) =>
      pairs.map(({ bytes }, i) => ({
        ticket: slots[first + 2 * i]!,
        slot: slots[first + 2 * i + 1]!,
        bytes,
      }));
  }
}

/** Runs parts in an order, with errands in between. */
export function runErrands(order: () => Iterable<number | Errand>): Steered["steer"] {
  return async function* (play, host, slots) {
    const all = order()[Symbol.iterator]();
    let errand: Errand | undefined;
    function* from(first: number): Generator<number, void, undefined> {
      yield first;
      for (;;) {
        const next = all.next();
        if (next.done) return;
        if (typeof next.value !== "number") {
          errand = next.value;
          return;
        }
        yield next.value;
      }
    }
    for (;;) {
      const next = all.next();
      if (next.done) return;
      if (typeof next.value === "number") yield* play(from(next.value));
      else errand = next.value;
      await errand?.(host, slots);
      errand = undefined;
    }
  };
}
