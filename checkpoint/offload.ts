/**
 * The strategy that keeps states outside of the device: which ones and where is planned over levels
 * of storage (levels.ts), and snapshots get slots whose numbers say where they lie.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import type { Strategy } from "../graph/scan.ts";
import { batchTransfers } from "./hints.ts";
import { type Level, offload as offloadAll } from "./levels.ts";
import { demand, planOf } from "./plan.ts";
import { type Action, type Schedule, type Store, stores } from "./schedule.ts";

/** How {@linkcode offload} goes back. */
export interface OffloadOptions {
  /** States kept on the device at once. @default {0} */
  readonly device?: number;
  /** States kept in the host's memory at once. @default {0} */
  readonly host?: number;
  /**
   * States kept on disk at once, in a file that is gone from its folder as soon as it is open.
   *
   * @default {0}
   */
  readonly disk?: number;
}

/** What a transfer costs, in steps: the snapshots that are used most lie where they cost least. */
const transfers: { readonly [S in Store]: number } = { device: 0, host: 0.5, disk: 2 };

/**
 * Keeps chosen states of a loop as {@linkcode revolve} does, the colder ones outside of the device:
 * in the host's memory, or on disk (Stumm & Walther 2009; Herrmann & Pallez 2020). For chains whose
 * states do not fit on the device, and whose steps take longer than moving a state. The initial
 * state stays on the device. The gradient is that of `"store"`, to the bit.
 *
 * A program with such a loop waits for its transfers, and what is called after it waits behind it.
 * States leave the device several at a time; `memory()` counts what is outside.
 *
 * @throws {RangeError} if a number of states is no integer of at least 0, or there are none.
 * @throws {Deno.errors.NotCapable} when a program runs that keeps states on disk, if it may not read
 * and write the folder for temporary files.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const heat = (backward: rg.Backward) => (x: rg.Tensor) =>
 *   rg.loop((x) => x.mul(0.9).sin(), x, { length: 40, backward }).sum();
 * const x = rg.tensor([1, 2]);
 * const moved = await rg.grad(heat(rg.offload({ device: 2, host: 6 })))(x).array();
 * assertEquals(moved, await rg.grad(heat("store"))(x).array());
 * ```
 */
export function offload(options: OffloadOptions): Strategy {
  checkNames(options, { device: true, host: true, disk: true }, "make offload");
  const { device = 0, host = 0, disk = 0 } = options;
  const counts: { readonly [S in Store]: number } = { device, host, disk };
  for (const store of stores) {
    const count: unknown = counts[store];
    if (typeof count === "number" && Number.isSafeInteger(count) && count >= 0) continue;
    throw new RangeError(
      `Cannot make offload: ${store} is ${String(count)}, expected an integer of at least 0`,
    );
  }
  demand("offload", "the number of states", device + host + disk);
  const slots = (length: number): { readonly [S in Store]: number } => {
    const most = Math.max(1, length);
    return {
      device: Math.min(device, most),
      host: Math.min(host, most),
      disk: Math.min(disk, most),
    };
  };
  const plans = new Map<number, Schedule>();
  const scheduleFor = (length: number): Schedule => {
    const known = plans.get(length);
    if (known !== undefined) return known;
    const levels = stores.map((store): Level => ({
      store,
      slots: counts[store],
      write: transfers[store],
      read: transfers[store],
    }));
    const found = offloadAll(length, levels.filter(({ slots }) => slots > 0));
    const schedule: Schedule = {
      [Symbol.iterator]: () => batchTransfers(byStore(found.schedule(), slots(length))),
    };
    plans.set(length, schedule);
    return schedule;
  };
  return {
    plan: planOf({
      name: `offload(${device}, ${host}, ${disk})`,
      schedule: scheduleFor,
      slots: (length) => stores.reduce((sum, store) => sum + slots(length)[store], 0),
      storeOf: (slot, length) => {
        const { device, host } = slots(length);
        return slot < device ? "device" : slot < device + host ? "host" : "disk";
      },
    }),
  };
}

/**
 * The schedule with slots numbered store after store, so that a number says where a snapshot lies.
 * A second copy of the initial state is the first: it is on the device anyway.
 */
function* byStore(
  schedule: Schedule,
  counts: { readonly [S in Store]: number },
): Generator<Action, void, undefined> {
  const free = { device: [] as number[], host: [] as number[], disk: [] as number[] };
  let next = 0;
  for (const store of stores) {
    for (let i = 0; i < counts[store]; i++) free[store].push(next++);
    free[store].reverse();
  }
  const places = new Map<number, { readonly slot: number; readonly store: Store }>();
  let initial: number | undefined;
  const copies = new Set<number>();
  for (const action of schedule) {
    switch (action.do) {
      case "snapshot": {
        if (action.step === 0 && initial !== undefined) {
          copies.add(action.slot);
          places.set(action.slot, places.get(initial)!);
          break;
        }
        const slot = free[action.store].pop()!;
        places.set(action.slot, { slot, store: action.store });
        if (action.step === 0) initial = action.slot;
        yield { ...action, slot };
        break;
      }
      case "restore":
        yield { ...action, slot: places.get(action.slot)!.slot };
        break;
      case "drop": {
        const { slot, store } = places.get(action.slot)!;
        places.delete(action.slot);
        if (copies.delete(action.slot)) break;
        free[store].push(slot);
        yield { ...action, slot };
        break;
      }
      default:
        yield action;
    }
  }
}
