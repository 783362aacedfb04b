/**
 * What a schedule does outside of the device: states that are saved there and come back. A state's
 * memory there is known by a ticket, which is a slot like others, so that loops in bodies that are
 * placed many times need nothing special; what is moved between are steps like others.
 *
 * @module
 */
import type { Move, OutsideMemory, Steered } from "./script.ts";

/** Something to be done outside of the device before the order goes on. */
export type Errand = (
  outside: OutsideMemory,
  slots: readonly number[],
) => void | Promise<void>;

/** Slots by pairs of ticket and memory, which errands refer to by where they begin. */
export class Pairs {
  readonly #slots: number[] = [];

  /** All of them. */
  get slots(): readonly number[] {
    return this.#slots;
  }

  /** Adds some, and gives the moves between them, once it is known where they really lie. */
  add(pairs: readonly Move[]): (slots: readonly number[]) => Move[] {
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
  return async function* (play, { outside }, slots) {
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
      await errand?.(outside, slots);
      errand = undefined;
    }
  };
}
