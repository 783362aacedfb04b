/**
 * Flags that programs raise on the device, and the errors they become. A flag is sticky: each run
 * of a program takes it, keeps the largest value, and gives it back, so that ten thousand runs
 * without an await cost no more memory than one. It is read with whatever is read next, in the same
 * wait.
 *
 * @module
 */
import { apply, leaf } from "../graph/build.ts";
import { type Check, type CheckMessage, Gauge } from "../graph/check.ts";
import { is, type Node } from "../graph/node.ts";
import { Storage } from "../graph/storage.ts";
import { topological } from "../graph/walk.ts";
import { CheckError } from "./errors.ts";

/** A flag that programs raise. */
export interface Flag {
  /** What could not be done if it is raised: `run step`. */
  readonly action: string;
  readonly message: CheckMessage;
  /** Where it is now. */
  storage: Storage;
}

/** A number that the device found out. */
export interface Measured {
  /** What it is. */
  readonly label: string;
  /** The largest so far; undefined until it was read with an await after a run. */
  readonly value: number | undefined;
}

/** The gauges among flags. */
export function measuredBy(flags: readonly Flag[]): Measured[] {
  return flags.flatMap(({ message }) =>
    message instanceof Gauge ? [{ label: message.label, value: message.value }] : []
  );
}

/** A flag that is not raised. */
export function makeFlag(action: string, message: CheckMessage): Flag {
  return { action, message, storage: lowered() };
}

function lowered(): Storage {
  const storage = new Storage("u32", 1, { at: "host", data: new Uint32Array(1) });
  storage.kind = "workspace";
  return storage;
}

/** True if everything an expression is computed from still has its data. */
function computable(node: Node): boolean {
  return topological([node]).every((x) =>
    !is(x, "leaf") || x.attributes.storage.state.at !== "gone"
  );
}

/** Checks that wait to be computed, at most: each keeps the data that it looks at. */
const mostWaiting = 16;

/** The flags of one device. */
export class Flags {
  /** Flags that a run may have raised since they were last read. */
  readonly #raised = new Set<Flag>();
  /** Flags of checks outside of any function, by message; they are computed with what is computed next. */
  readonly #loose = new Map<CheckMessage, Flag>();
  #waiting: Check[] = [];

  /** Has a check computed with whatever is computed next; true if that should be now. */
  await(check: Check): boolean {
    return this.#waiting.push(check) >= mostWaiting;
  }

  /**
   * The checks that wait to be computed, as nodes that take the flags so far, and what is to be
   * done with their values. What lost its data without having been computed needs no check.
   */
  take(): { readonly nodes: readonly Node[]; readonly done: (values: readonly Storage[]) => void } {
    const waiting = this.#waiting.filter(({ flag }) => computable(flag));
    this.#waiting = [];
    const flags = waiting.map(({ message }) => {
      const flag = this.#loose.get(message) ?? makeFlag("compute", message);
      this.#loose.set(message, flag);
      return flag;
    });
    const nodes = new Map<Flag, Node>();
    waiting.forEach(({ flag: node }, i) => {
      const flag = flags[i]!, sofar = nodes.get(flag) ?? leaf(flag.storage, []);
      nodes.set(flag, apply("max", [sofar, node], {}));
    });
    return {
      nodes: [...nodes.values()],
      done: (values) => [...nodes.keys()].forEach((flag, i) => this.note(flag, values[i]!)),
    };
  }

  /** Notes where a flag is after a run. */
  note(flag: Flag, storage: Storage): void {
    flag.storage = storage;
    this.#raised.add(flag);
  }

  /** The flags to be read now. */
  pending(): readonly Flag[] {
    const flags = [...this.#raised];
    this.#raised.clear();
    return flags;
  }

  /** Has flags read again whose reading failed. */
  again(flags: readonly Flag[]): void {
    for (const flag of flags) this.#raised.add(flag);
  }

  /** Throws the first of the flags that is raised, and lowers them all. Gauges stay where they are. */
  judge(flags: readonly Flag[], values: readonly number[]): void {
    const failed: { readonly flag: Flag; readonly what: string }[] = [];
    flags.forEach((flag, i) => {
      const { message } = flag, value = values[i]!;
      if (message instanceof Gauge) {
        const what = message.read(value);
        if (what !== undefined) failed.push({ flag, what });
      } else if (value !== 0) {
        failed.push({ flag, what: typeof message === "string" ? message : message(value) });
      }
    });
    if (failed.length === 0) return;
    for (const { flag } of failed) flag.storage = lowered();
    const { flag: { action }, what } = failed[0]!;
    const more = failed.length > 1 ? ` (and ${failed.length - 1} more after it)` : "";
    throw new CheckError(`Cannot ${action}: ${what}${more}`);
  }
}
