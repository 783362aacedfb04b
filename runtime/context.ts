/**
 * What the runtime is made of while a device is open: the device, the ledger of its memory, the
 * collector of what died, and the pipelines compiled so far. There is one at a time, since tensors
 * belong to the device they are on.
 *
 * @module
 */
import { lessonsLearned } from "../checkpoint/arena.ts";
import { type CostModel, measured, modelled, rooflines } from "../checkpoint/cost.ts";
import type { Storage } from "../graph/storage.ts";
import { Flags } from "./flags.ts";
import { Collector, Lease } from "./collect.ts";
import type { PendingPrint } from "./debug.ts";
import type { Device } from "./device.ts";
import { Line } from "./line.ts";
import { type Block, Ledger } from "./memory.ts";
import { OutsideCounts } from "./outside.ts";
import { Pipelines } from "./pipelines.ts";

/** Everything that belongs to one open device. */
export class Context {
  readonly ledger: Ledger;
  readonly collector: Collector;
  readonly pipelines: Pipelines;
  /** Whatever reaches the device goes this way. */
  readonly line: Line;
  /** Bytes of runs on host and disk. */
  readonly outside: OutsideCounts = new OutsideCounts();
  /** What traced functions want printed, at the next await. */
  readonly prints: PendingPrint[] = [];
  /** What programs demand of the device, judged at the next await. */
  readonly checks: Flags = new Flags();

  /** The context of an open device. */
  constructor(readonly device: Device) {
    this.line = new Line((error) => device.errors.add(error));
    this.ledger = new Ledger(device, (buffer) => this.line.pass(() => buffer.destroy()));
    this.collector = new Collector((block) => this.ledger.release(block));
    this.ledger.onTake = (bytes) => this.collector.noteTaken(bytes);
    this.ledger.onGive = (bytes) => this.collector.noteGiven(bytes);
    this.pipelines = new Pipelines(device);
  }

  /** What regions cost: measured where they were profiled, else by the model. */
  get costs(): CostModel {
    return measured(
      new Map(this.device.tuning.times),
      modelled(rooflines[this.device.target.kind]),
    );
  }

  /** What compiled programs rest on besides their graph: others need another compile. */
  get lessons(): string {
    return `${lessonsLearned()} ${this.device.tuning.version}`;
  }

  /** What a storage on this device has of its memory. */
  leaseOf(storage: Storage, action: string): Lease {
    const { state } = storage;
    if (state instanceof Lease) {
      if (state.handle.ledger === this.ledger) return state;
      throw new Error(
        `Cannot ${action}: the tensor was on a device that is shut down, expected one made since`,
      );
    }
    const why = state.at === "gone" ? state.reason : "it is not on the device";
    throw new Error(
      `Cannot ${action}: the tensor has no data, ${why}, expected one that still has it`,
    );
  }

  /** The block that a storage on this device owns. */
  blockOf(storage: Storage, action: string): Block {
    return this.leaseOf(storage, action).handle;
  }

  /** Gives storages that were made together the blocks that hold their data. */
  adopt(storages: readonly Storage[], blocks: readonly Block[]): void {
    const leases = this.collector.watch(blocks);
    storages.forEach((storage, i) => storage.state = leases[i]!);
  }

  /** Gives a storage's memory back. */
  release(storage: Storage, reason: string): void {
    const { state } = storage;
    if (state.at === "gone") return;
    storage.state = { at: "gone", reason };
    if (state instanceof Lease && state.handle.ledger === this.ledger) this.end(state);
  }

  /** Gives the memory of a lease back that no storage has any more. */
  end(lease: Lease): void {
    this.collector.forget(lease);
    this.ledger.release(lease.handle);
  }
}

let current: Context | undefined;

/** Makes a context the one in charge. */
export function setContext(context: Context | undefined): void {
  current = context;
}

/** The context in charge, if there is one. */
export function currentContext(): Context | undefined {
  return current;
}

/** The context in charge, or an error in the name of the action. */
export function context(action: string): Context {
  if (current === undefined) {
    throw new Error(`Cannot ${action}: there is no device yet, expected \`await init()\` before`);
  }
  return current;
}
