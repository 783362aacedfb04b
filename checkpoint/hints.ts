/**
 * Batching of transfers. The order in which a schedule writes and reads its snapshots is known long
 * before the data is there, so that several can leave the device in one go and come back before
 * they are asked for. The pass looks a bounded number of actions ahead and adds `flush` and
 * `prefetch`; it moves nothing, so that a runtime that ignores the hints is right too.
 *
 * Invariant: a prefetch names only snapshots that are in their slots and stay there until restored;
 * at most `batch` snapshots of a store wait to be flushed or to be restored.
 *
 * @module
 */
import { demandInteger } from "./revolve.ts";
import type { Action, Schedule, Store } from "./schedule.ts";

/** Options of {@linkcode batchTransfers}. */
export interface BatchOptions {
  /** Snapshots in one transfer at most: this many states of staging memory. @default 4 */
  readonly batch?: number;
  /** Actions to look ahead. @default 64 */
  readonly ahead?: number;
}

/** The schedule with hints for the stores outside the device. */
export function* batchTransfers(
  schedule: Schedule,
  { batch = 4, ahead = 64 }: BatchOptions = {},
): Generator<Action, void, undefined> {
  demandInteger("batch", batch, 1);
  demandInteger("ahead", ahead, 1);
  const source = schedule[Symbol.iterator]();
  const window: Action[] = [];
  const where = new Map<number, Store>();
  const unsent = new Map<Store, number>();
  /** Slots asked for and not restored yet. */
  const coming = new Set<number>();
  for (;;) {
    while (window.length < ahead) {
      const { done, value } = source.next();
      if (done) break;
      window.push(value);
    }
    const action = window[0];
    if (action === undefined) break;
    // Asked for when one is needed and not under way; what the window shows besides goes along.
    if (action.do === "restore" && !coming.has(action.slot)) {
      const store = where.get(action.slot);
      if (store !== undefined && store !== "device") {
        const slots = reads(window, store, where, batch);
        if (slots.length > 1) {
          yield { do: "prefetch", slots };
          for (const slot of slots) coming.add(slot);
        }
      }
    }
    window.shift();
    yield action;
    if (action.do === "restore") coming.delete(action.slot);
    else if (action.do === "drop") where.delete(action.slot);
    else if (action.do === "snapshot") {
      where.set(action.slot, action.store);
      if (action.store === "device") continue;
      const count = (unsent.get(action.store) ?? 0) + 1;
      unsent.set(action.store, count % batch);
      if (count === batch) yield { do: "flush", store: action.store };
    }
  }
  for (const [store, count] of unsent) if (count > 0) yield { do: "flush", store };
}

/**
 * The next slots that the window restores from a store, as long as each still holds what it holds.
 */
function reads(
  window: readonly Action[],
  store: Store,
  where: ReadonlyMap<number, Store>,
  most: number,
): number[] {
  const slots: number[] = [];
  const changed = new Set<number>();
  for (const action of window) {
    if (slots.length === most) break;
    if (action.do === "snapshot" || action.do === "drop") changed.add(action.slot);
    else if (action.do === "restore" && where.get(action.slot) === store) {
      if (!changed.has(action.slot) && !slots.includes(action.slot)) slots.push(action.slot);
    }
  }
  return slots;
}
