/**
 * The snapshots of a way back: copies of its working state, part by part, part 0 being the counter.
 * Some are there at the turn, given by the loop forward; some lie outside of the device, where a
 * ticket stands for them. The initial state is one that stays where it lies.
 *
 * @module
 */
import type { Held } from "../checkpoint/online.ts";
import type { SchedulePlan } from "../checkpoint/plan.ts";
import type { Store } from "../checkpoint/schedule.ts";
import type { Node } from "../graph/node.ts";
import { bytesOf } from "./order.ts";
import type { OutsidePlan } from "./program.ts";
import type { Names } from "./steps.ts";
import type { Transfers } from "./work.ts";

/** Bytes of what stands for memory that lies elsewhere. */
const ticketBytes = 16;

/** Memory of a part of a snapshot. */
export function snapshotName(slot: number, part: number): string {
  return `snapshot ${slot} part ${part}`;
}

/** Bytes of a state. */
export function bytesOfState(states: readonly (readonly Node[])[]): number {
  return states.reduce((sum, [value]) => sum + bytesOf(value!), 0);
}

/** See the top of the file. */
export class Snapshots {
  /** Those at the turn; where the length is not known, any may be there, and the first is. */
  readonly held: readonly Held[];
  /** How many there are at most: one to a slot. */
  readonly slots: number;
  readonly #isAway: readonly boolean[];

  /**
   * Of a loop of so many steps: those that a plan takes, or as many as an `open` loop has, and those
   * that it takes `besides` on the way back.
   *
   * @param states For each part of a state its values at the turn: the working state, then snapshots.
   */
  constructor(
    private readonly plan: SchedulePlan | undefined,
    private readonly length: number,
    private readonly states: readonly (readonly Node[])[],
    open: number | undefined,
    besides: number,
  ) {
    this.slots = open === undefined ? plan?.slots(length) ?? 0 : open + besides;
    this.held = open === undefined
      ? plan?.held(length) ?? []
      : Array.from({ length: open }, (_, slot) => ({ slot, step: slot === 0 ? 0 : -1 }));
    this.#isAway = Array.from(
      { length: this.slots },
      (_, slot) =>
        plan !== undefined && plan.storeOf(slot, length) !== "device" && slot !== this.initial,
    );
  }

  /** The slot of the initial state, if it is held in one: no schedule writes over it. */
  get initial(): number | undefined {
    return this.held.find(({ step }) => step === 0)?.slot;
  }

  /** True if the snapshot in a slot lies elsewhere; the initial state is on the device anyway. */
  isAway(slot: number): boolean {
    return this.#isAway[slot]!;
  }

  /** What lies where its value lies: memory by name that is no memory of its own. */
  given(): { readonly name: string; readonly value: Node }[] {
    return this.held.flatMap(({ slot }, index) =>
      slot === this.initial || this.isAway(slot)
        ? this.states.map((values, i) => ({
          name: snapshotName(slot, i + 1),
          value: values[index + 1]!,
        }))
        : []
    );
  }

  /** Names the memory of all others, and gives the values that some of it begins with. */
  nameOwn(names: Names, counterBytes: number): { readonly name: string; readonly value: Node }[] {
    const starts: { name: string; value: Node }[] = [];
    for (let slot = 0; slot < this.slots; slot++) {
      const index = this.held.findIndex((snapshot) => snapshot.slot === slot);
      names.of(snapshotName(slot, 0), counterBytes);
      if (slot === this.initial) continue;
      this.states.forEach((values, i) => {
        const value = index < 0 ? undefined : values[index + 1]!;
        // A ticket that the loop forward gave is known by where that loop left it.
        if (this.isAway(slot) && value !== undefined) return;
        const bytes = this.isAway(slot) ? ticketBytes : bytesOf(values[0]!);
        const name = names.of(snapshotName(slot, i + 1), bytes);
        if (value !== undefined) starts.push({ name, value });
      });
    }
    return starts;
  }

  /** How often a state goes to each store, or comes back from it. */
  transfers(): Transfers[] {
    const times = { host: 0, disk: 0 }, bytes = bytesOfState(this.states);
    if (!this.#isAway.includes(true)) return [];
    for (const action of this.plan!.schedule(this.length)) {
      if (action.do !== "snapshot" && action.do !== "restore") continue;
      const store = this.plan!.storeOf(action.slot, this.length);
      if (this.isAway(action.slot) && store !== "device") times[store]++;
    }
    return (["host", "disk"] as const).flatMap((store) =>
      times[store] === 0 ? [] : [{ store, bytes, times: times[store] }]
    );
  }

  /** Bytes of the states that lie outside of the device at the fullest moment of each store. */
  outside(): OutsidePlan {
    const peak = { host: 0, disk: 0 }, now = { host: 0, disk: 0 };
    const stores = new Map<number, Store>();
    if (!this.#isAway.includes(true)) return peak;
    for (const action of this.plan!.schedule(this.length)) {
      if (action.do !== "snapshot" && action.do !== "drop") continue;
      if (!this.isAway(action.slot)) continue;
      const store = action.do === "drop" ? stores.get(action.slot) : action.store;
      if (store === undefined || store === "device") continue;
      if (action.do === "drop") now[store]--;
      else {
        stores.set(action.slot, store);
        peak[store] = Math.max(peak[store], ++now[store]);
      }
    }
    const bytes = bytesOfState(this.states);
    return { host: peak.host * bytes, disk: peak.disk * bytes };
  }
}
