/**
 * Memory outside of the device: where snapshots wait that a run has no room for. They leave the
 * device in batches, several in one buffer that is mapped once, since each wait costs ten
 * milliseconds whatever is in it; while one batch is on its way the next one fills. They come back
 * by writes into the device's own memory.
 *
 * Invariant: what is loaded is what was saved under the number, to the bit; a run that ends, in
 * whatever way, leaves nothing behind.
 *
 * @module
 */
import type { Move, OutsideMemory } from "../compile/script.ts";
import type { Outside as Store } from "../graph/loops/replay.ts";
import type { Context } from "./context.ts";
import type { Block, Counted } from "./memory.ts";
import type { Scratch } from "./scratch.ts";

/** Bytes outside of the device that runs hold now, and at the fullest moment. */
export class OutsideCounts {
  readonly #live = { host: 0, disk: 0 };
  readonly #peak = { host: 0, disk: 0 };

  /** Notes bytes taken, or given back where they are negative. */
  count(store: Store, bytes: number): void {
    this.#live[store] += bytes;
    this.#peak[store] = Math.max(this.#peak[store], this.#live[store]);
  }

  /** The counts of one store. */
  report(store: Store): Counted {
    return { live: this.#live[store], peak: this.#peak[store] };
  }

  /** Peaks count from here on. */
  resetPeak(): void {
    Object.assign(this.#peak, this.#live);
  }
}

/** Saves that leave in one transfer, at most; their bytes at most, unless one has more. */
const batchSaves = 4, batchBytes = 64 * 2 ** 20;

/** Several values in one buffer, on their way out. */
interface Batch {
  readonly staging: Block;
  readonly entries: Entry[];
  saves: number;
  bytes: number;
}

/** A value. */
interface Entry {
  readonly store: Store;
  readonly bytes: number;
  /** Set until it has left the device, with where it lies in the batch's buffer. */
  batch: { readonly of: Batch; readonly at: number } | undefined;
  /** Its bytes on the host, or where they begin on disk, or on their way from there. */
  data: Uint8Array | undefined;
  place: number | undefined;
  coming: Promise<Uint8Array> | undefined;
  dropped: boolean;
}

/** What one run keeps outside of the device. */
export class Outside implements OutsideMemory {
  readonly #entries = new Map<number, Entry>();
  #filling: Batch | undefined;
  #leaving: Promise<void> | undefined;
  /** Bytes kept now, and at the fullest moment of each store. */
  readonly #live = { host: 0, disk: 0 };
  readonly peak = { host: 0, disk: 0 };
  /** Memory of values that were dropped, for the next of the same size. */
  readonly #idle: Uint8Array[] = [];

  /** Memory for a run whose slots lie in these blocks, and a file for it if it keeps any on disk. */
  constructor(
    private readonly context: Context,
    private readonly blocks: readonly Block[],
    private readonly scratch: Scratch | undefined,
  ) {}

  /** See {@linkcode OutsideMemory}. */
  async save(store: Store, moves: readonly Move[]): Promise<void> {
    const bytes = moves.reduce((sum, move) => sum + move.bytes, 0);
    this.drop(moves.map(({ ticket }) => ticket));
    const batch = await this.#room(bytes);
    const { gpu } = this.context.device;
    const encoder = gpu.createCommandEncoder({ label: "save" });
    for (const { ticket, slot, bytes } of moves) {
      const at = batch.bytes;
      encoder.copyBufferToBuffer(this.blocks[slot]!.gpu, 0, batch.staging.gpu, at, bytes);
      batch.bytes += bytes;
      const entry: Entry = {
        store,
        bytes,
        batch: { of: batch, at },
        data: undefined,
        place: undefined,
        coming: undefined,
        dropped: false,
      };
      batch.entries.push(entry);
      this.#entries.set(ticket, entry);
    }
    gpu.queue.submit([encoder.finish()]);
    this.#count(store, bytes);
    if (++batch.saves === batchSaves) await this.flush();
  }

  /** The batch that is filling, or a new one where it is full. */
  async #room(bytes: number): Promise<Batch> {
    if (this.#filling !== undefined && this.#filling.bytes + bytes > this.#filling.staging.bytes) {
      await this.flush();
    }
    if (this.#filling === undefined) {
      const size = Math.max(bytes, Math.min(batchSaves * bytes, batchBytes));
      const staging = this.context.ledger.take(size, "staging", "staging");
      this.#filling = { staging, entries: [], saves: 0, bytes: 0 };
    }
    return this.#filling;
  }

  /** See {@linkcode OutsideMemory}. */
  async flush(): Promise<void> {
    await this.#leaving;
    const batch = this.#filling;
    if (batch === undefined) return;
    this.#filling = undefined;
    this.#leaving = this.#leave(batch);
    // Whoever waits for it is told of its failure, if anybody does.
    this.#leaving.catch(() => {});
  }

  async #leave({ staging, entries, bytes }: Batch): Promise<void> {
    const { collector, ledger, device: { errors } } = this.context;
    try {
      collector.refill();
      await staging.gpu.mapAsync(GPUMapMode.READ, 0, bytes);
      collector.jobEnded();
      const mapped = new Uint8Array(staging.gpu.getMappedRange(0, bytes));
      for (const entry of entries) {
        const { at } = entry.batch!;
        entry.batch = undefined;
        if (entry.dropped) continue;
        const data = mapped.subarray(at, at + entry.bytes);
        if (entry.store === "host") {
          entry.data = this.#hostMemory(entry.bytes);
          entry.data.set(data);
        } else {
          const place = await this.scratch!.write(data);
          if (entry.dropped) this.scratch!.free(place, entry.bytes);
          else entry.place = place;
        }
      }
    } finally {
      if (staging.gpu.mapState === "mapped" && !errors.lost) staging.gpu.unmap();
      ledger.release(staging);
    }
  }

  #hostMemory(bytes: number): Uint8Array {
    const at = this.#idle.findIndex((data) => data.byteLength === bytes);
    return at < 0 ? new Uint8Array(bytes) : this.#idle.splice(at, 1)[0]!;
  }

  /** See {@linkcode OutsideMemory}. */
  async load(moves: readonly Move[]): Promise<void> {
    const { queue } = this.context.device.gpu;
    for (const { ticket, slot } of moves) {
      const entry = this.#entries.get(ticket), block = this.blocks[slot]!;
      if (entry === undefined) {
        throw new Error(`Cannot restore a state: nothing is kept for ticket ${ticket}`);
      }
      if (entry.batch?.of === this.#filling && this.#filling !== undefined) await this.flush();
      if (entry.batch !== undefined) await this.#leaving;
      const data = entry.data ?? await (entry.coming ?? this.#fetch(entry));
      entry.coming = undefined;
      queue.writeBuffer(block.gpu, 0, data as Uint8Array<ArrayBuffer>, 0, entry.bytes);
    }
  }

  #fetch({ place, bytes }: Entry): Promise<Uint8Array> {
    if (place === undefined) throw new Error("Cannot restore a state: it did not reach the disk");
    return this.scratch!.read(place, bytes);
  }

  /** See {@linkcode OutsideMemory}. */
  prefetch(tickets: readonly number[]): void {
    for (const ticket of tickets) {
      const entry = this.#entries.get(ticket);
      if (entry?.place === undefined || entry.coming !== undefined) continue;
      entry.coming = this.#fetch(entry);
      entry.coming.catch(() => {});
    }
  }

  /** See {@linkcode OutsideMemory}. */
  drop(tickets: readonly number[]): void {
    for (const ticket of tickets) {
      const entry = this.#entries.get(ticket);
      if (entry === undefined) continue;
      this.#entries.delete(ticket);
      entry.dropped = true;
      if (entry.data !== undefined) this.#idle.push(entry.data);
      if (entry.place !== undefined) this.scratch!.free(entry.place, entry.bytes);
      this.#count(entry.store, -entry.bytes);
    }
  }

  #count(store: Store, bytes: number): void {
    this.#live[store] += bytes;
    this.peak[store] = Math.max(this.peak[store], this.#live[store]);
    this.context.outside.count(store, bytes);
  }

  /** Lets go of everything: the run has ended. */
  async close(): Promise<void> {
    this.drop([...this.#entries.keys()]);
    await this.#leaving?.catch(() => {});
    if (this.#filling !== undefined) this.context.ledger.release(this.#filling.staging);
    this.#filling = undefined;
    this.#idle.length = 0;
  }
}
