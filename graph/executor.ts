/**
 * What the graph asks of whoever computes values. `runtime/` implements it and installs itself on
 * `init()`; the graph knows no devices.
 *
 * @module
 */
import type { Check } from "./check.ts";
import type { TypedArray } from "./dtype.ts";
import type { Node } from "./node.ts";
import type { Storage } from "./storage.ts";

/** Gives values to nodes. */
export interface Executor {
  /** Starts computing the nodes, one storage each; returns at once. */
  realize(nodes: readonly Node[]): Storage[];
  /** Moves to the device what is still on the host; returns at once. */
  upload(storages: readonly Storage[]): void;
  /** Reads storages back to the host, all in one wait. */
  read(storages: readonly Storage[]): Promise<TypedArray[]>;
  /** Computes a check with what is computed next, and fails the next read if it failed. */
  check(check: Check): void;
  /** Gives a storage's memory back now; reading it afterwards is an error that says `reason`. */
  release(storage: Storage, reason: string): void;
}

let current: Executor | undefined;

/** Makes an executor the one that values are asked of; `undefined` takes it away. */
export function installExecutor(executor: Executor | undefined): void {
  current = executor;
}

/** The executor in charge, or an error in the name of the action. */
export function executor(action: string): Executor {
  if (current === undefined) {
    throw new Error(`Cannot ${action}: there is no device yet, expected \`await init()\` before`);
  }
  return current;
}
