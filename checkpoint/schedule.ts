/**
 * The vocabulary of the way back. A chain of steps 0 … length−1 leads from state 0 to state
 * `length`; step i leads from state i to state i+1. One state, the working state, is where the
 * chain stands; the others are snapshots in slots. A schedule is an iterator of actions over these:
 * it decides and never runs. {@linkcode simulate} plays one without a device, refuses what could
 * not run, and counts.
 *
 * Invariant: every strategy, storing everything included, is a schedule of the same programs
 * (advance, pull, invert), so that the gradient is the same to the bit whatever was chosen. The
 * words are those of Griewank & Walther 2000 (TOMS 799).
 *
 * @module
 */

/** Where a snapshot lies, from hot to cold. */
export type Store = "device" | "host" | "disk";

/** The stores, from hot to cold. */
export const stores: readonly Store[] = ["device", "host", "disk"];

/** One thing for the runtime to do. */
export type Action =
  /** Run the steps `from` … `to`−1 forward; `tape`: record what the inverse gets wrong. */
  | { readonly do: "advance"; readonly from: number; readonly to: number; readonly tape?: true }
  /** Copy the working state, which is state `step`, into an empty slot. */
  | {
    readonly do: "snapshot";
    readonly step: number;
    readonly slot: number;
    readonly store: Store;
  }
  /**
   * Make the snapshot in a slot, which is state `step`, the working state. It stays in its slot.
   */
  | { readonly do: "restore"; readonly step: number; readonly slot: number }
  /** Empty a slot. */
  | { readonly do: "drop"; readonly slot: number }
  /**
   * Give the result, state `to`, and start the way back. The working state stays `from`, which is
   * `to`, or `to`−1 with the last step run beside it: a carry has two sets of memory.
   */
  | { readonly do: "turn"; readonly from: number; readonly to: number }
  /** Take the cotangent of state `step`+1 to that of state `step`, which is the working state. */
  | { readonly do: "pull"; readonly step: number }
  /** Run the steps `from`−1 … `to` backwards; `tape`: with what was recorded on the way there. */
  | { readonly do: "invert"; readonly from: number; readonly to: number; readonly tape?: true }
  /** A hint: these slots, in one store outside the device, are restored soon and in this order. */
  | { readonly do: "prefetch"; readonly slots: readonly number[] }
  /** A hint: what was written to this store since the last flush can go there in one transfer. */
  | { readonly do: "flush"; readonly store: Store };

/** Actions in the order in which they are to be run. */
export type Schedule = Iterable<Action>;

/** Makes an `advance`. */
export function advance(from: number, to: number, tape = false): Action {
  return tape ? { do: "advance", from, to, tape } : { do: "advance", from, to };
}
/** Makes a `snapshot`, by default on the device. */
export function snapshot(step: number, slot: number, store: Store = "device"): Action {
  return { do: "snapshot", step, slot, store };
}
/** Makes a `restore`. */
export function restore(step: number, slot: number): Action {
  return { do: "restore", step, slot };
}
/** Makes a `drop`. */
export function drop(slot: number): Action {
  return { do: "drop", slot };
}
/** Makes a `turn`. */
export function turn(from: number, to: number): Action {
  return { do: "turn", from, to };
}
/** Makes a `pull`. */
export function pull(step: number): Action {
  return { do: "pull", step };
}
/** Makes an `invert`. */
export function invert(from: number, to: number, tape = false): Action {
  return tape ? { do: "invert", from, to, tape } : { do: "invert", from, to };
}

/** An action as text, for printing and for errors: `advance(0, 5)`. */
export function show(action: Action): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(action)) {
    if (name === "tape") parts.push("tape");
    else if (name !== "do") parts.push(String(value));
  }
  return `${action.do}(${parts.join(", ")})`;
}

/** What a store outside or on the device saw. */
export interface Traffic {
  /** Snapshots written to it. */
  readonly writes: number;
  /** Snapshots restored from it. */
  readonly reads: number;
  /** Transfers that these took, when the hints are followed. */
  readonly transfers: number;
  /** The most snapshots that lay in it at once. */
  readonly peak: number;
}

/** What a schedule costs. */
export interface Account {
  /** Steps run forward, those inside `turn` and `pull` not counted: the t(l, s) of the tables. */
  readonly advances: number;
  /** Steps run backwards. */
  readonly inversions: number;
  /** Steps pulled: the length. */
  readonly pulls: number;
  /** The most snapshots alive at once. */
  readonly snapshots: number;
  /** The most states alive at once: the snapshots and the working state. */
  readonly states: number;
  /** The most steps on the tape at once. */
  readonly taped: number;
  /** The most often that any one step was run forward. */
  readonly repetitions: number;
  /** Slots are numbered from 0 to this, exclusive. */
  readonly slots: number;
  /** What each store saw. */
  readonly traffic: Readonly<Record<Store, Traffic>>;
}

/** What {@linkcode simulate} holds a schedule to. */
export interface SimulateOptions {
  /** The most snapshots that may be alive at once. @default any number */
  readonly snapshots?: number;
}

/**
 * Plays a schedule for a chain of `length` steps without running anything, checks that every action
 * is possible when its turn comes, and counts.
 *
 * @throws {Error} If the schedule advances from a state that is not the working one, restores or
 * drops what is not there, writes over a snapshot, pulls out of order, pops what the tape does not
 * hold, keeps more than `snapshots`, or ends with a snapshot, a taped step or a step not pulled.
 */
export function simulate(
  schedule: Schedule,
  length: number,
  options: SimulateOptions = {},
): Account {
  const limit = options.snapshots ?? Infinity;
  const live = new Map<number, { readonly step: number; readonly store: Store }>();
  const tape: number[] = [];
  const runs = new Uint32Array(length);
  const counts = { writes: 0, reads: 0, transfers: 0, peak: 0, now: 0, unsent: 0 };
  const traffic = { device: { ...counts }, host: { ...counts }, disk: { ...counts } };
  const fetched = new Set<number>();
  let state = 0;
  let next = length;
  let turned = false;
  let [advances, inversions, snapshots, taped, slots] = [0, 0, 0, 0, 0];

  for (const action of schedule) {
    const demand = (holds: boolean, what: string, expected: string): void => {
      if (!holds) throw new Error(`Cannot ${show(action)}: ${what}, expected ${expected}`);
    };
    const at = (step: number): void =>
      demand(state === step, `the working state is ${state}`, `state ${step}`);
    const steps = (low: number, high: number): void =>
      demand(
        0 <= low && low < high && high <= length,
        `steps ${low} to ${high}`,
        `some within 0 to ${length}`,
      );
    switch (action.do) {
      case "advance":
        at(action.from);
        steps(action.from, action.to);
        for (let i = action.from; i < action.to; i++) {
          runs[i]!++;
          if (action.tape) tape.push(i);
        }
        taped = Math.max(taped, tape.length);
        advances += action.to - action.from;
        state = action.to;
        break;
      case "snapshot": {
        at(action.step);
        demand(!live.has(action.slot), `slot ${action.slot} is taken`, "an empty slot");
        live.set(action.slot, action);
        demand(live.size <= limit, `${live.size} snapshots are alive`, `at most ${limit}`);
        const store = traffic[action.store];
        store.writes++;
        store.unsent++;
        store.now++;
        store.peak = Math.max(store.peak, store.now);
        snapshots = Math.max(snapshots, live.size);
        slots = Math.max(slots, action.slot + 1);
        break;
      }
      case "restore": {
        const kept = live.get(action.slot);
        demand(
          kept?.step === action.step,
          `slot ${action.slot} holds ${kept === undefined ? "nothing" : `state ${kept.step}`}`,
          `state ${action.step}`,
        );
        traffic[kept!.store].reads++;
        if (!fetched.delete(action.slot)) traffic[kept!.store].transfers++;
        state = action.step;
        break;
      }
      case "drop": {
        const kept = live.get(action.slot);
        demand(kept !== undefined, `slot ${action.slot} is empty`, "a snapshot in it");
        live.delete(action.slot);
        fetched.delete(action.slot);
        traffic[kept!.store].now--;
        break;
      }
      case "turn":
        at(action.from);
        demand(!turned, "the schedule has turned", "one turn");
        demand(
          action.to === length && action.from <= length && action.from >= Math.max(0, length - 1),
          `it is for ${action.to} steps`,
          `a turn at the end, step ${length}`,
        );
        turned = true;
        break;
      case "pull":
        at(action.step);
        demand(turned, "the result is not known yet", "a turn before it");
        demand(action.step === next - 1, `step ${next - 1} is next`, "each step once, backwards");
        next = action.step;
        break;
      case "invert":
        at(action.from);
        steps(action.to, action.from);
        for (let i = action.from - 1; action.tape && i >= action.to; i--) {
          const top = tape.pop();
          demand(top === i, `the tape ends with step ${top}`, `step ${i}`);
        }
        inversions += action.from - action.to;
        state = action.to;
        break;
      case "prefetch":
        for (const slot of action.slots) {
          demand(live.has(slot), `slot ${slot} is empty`, "a snapshot in it");
          fetched.add(slot);
        }
        if (action.slots.length > 0) traffic[live.get(action.slots[0]!)!.store].transfers++;
        break;
      case "flush":
        if (traffic[action.store].unsent > 0) traffic[action.store].transfers++;
        traffic[action.store].unsent = 0;
        break;
    }
  }
  const finish = (holds: boolean, what: string, expected: string): void => {
    if (!holds) throw new Error(`Cannot end the schedule: ${what}, expected ${expected}`);
  };
  finish(turned, "it never turned", "one turn");
  finish(next === 0, `step ${next - 1} was not pulled`, "every step pulled");
  finish(live.size === 0, `${live.size} snapshots are alive`, "none");
  finish(tape.length === 0, `${tape.length} steps are on the tape`, "none");
  const close = (store: Store): Traffic => {
    const { writes, reads, transfers, peak, unsent } = traffic[store];
    return { writes, reads, transfers: transfers + unsent, peak };
  };
  return {
    advances,
    inversions,
    pulls: length,
    snapshots,
    states: snapshots + 1,
    taped,
    repetitions: runs.reduce((most, n) => Math.max(most, n), 0),
    slots,
    traffic: { device: close("device"), host: close("host"), disk: close("disk") },
  };
}
