/**
 * The ledger of device memory: the only place that makes and destroys buffers. Every byte is
 * counted while the device holds it, by what it is for. A buffer that is given back stays idle for
 * the next one of the same size, and no new memory is taken while enough of it lies idle: so the
 * peak is what was in use at the fullest moment, not what was ever used.
 *
 * @module
 */
import { type MemoryKind, memoryKinds } from "../graph/storage.ts";
import type { Device } from "./device.ts";
import { OutOfMemoryError } from "./errors.ts";

/** What a buffer may be used for: the shaders' data, their sizes, or the way back to the host. */
export type BufferClass = "storage" | "uniform" | "staging" | "query";

/** `idle` is memory that waits for its next use. */
export type CountedKind = MemoryKind | "idle";

/** Bytes now and at the fullest moment. */
export interface Counted {
  /** Now. */
  readonly live: number;
  /** At the fullest moment since the peak was reset. */
  readonly peak: number;
}

/** Device memory as it is counted. */
export interface DeviceMemory extends Counted {
  /** The same by what it is for. */
  readonly kinds: Readonly<Record<CountedKind, Counted>>;
  /** Buffers that exist. */
  readonly buffers: number;
}

/** Memory as it is counted, on the device and of runs that keep something elsewhere. */
export interface MemoryReport extends DeviceMemory {
  /** Bytes on the host that runs keep there while they are under way. */
  readonly host: Counted;
  /** Bytes on disk, likewise. */
  readonly disk: Counted;
}

/** A buffer of the device and who it is counted for. */
export class Block {
  /** Unique in the process, which the numbers of reused objects would not be. */
  readonly id: number = ++blocks;
  /** Storages and programs that refer to it; at none it becomes idle. */
  owners = 1;

  /** Made by the ledger alone. */
  constructor(
    readonly gpu: GPUBuffer,
    readonly bytes: number,
    readonly use: BufferClass,
    /** What it is counted as. */
    public kind: CountedKind,
    /** Whose it is. */
    readonly ledger: Ledger,
  ) {}
}
let blocks = 0;

const usages: { readonly [C in BufferClass]: () => number } = {
  storage: () => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  uniform: () => GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  staging: () => GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  query: () => GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
};

const counted: readonly CountedKind[] = [...memoryKinds, "idle"];

/** Idle bytes kept, at most. */
const mostIdle = 512 * 2 ** 20;

/** From this size on an allocation is watched for being out of memory, which costs two calls. */
const watched = 1 << 20;

interface Count {
  live: number;
  peak: number;
}

/** Makes, counts, reuses and destroys the buffers of one device. */
export class Ledger {
  readonly #total: Count = { live: 0, peak: 0 };
  readonly #kinds = {} as Record<CountedKind, Count>;
  /** Idle blocks by use and size; the last one given back is the first one taken. */
  readonly #idle = new Map<string, Block[]>();
  #buffers = 0;
  /** Called with the bytes that are about to be taken from the device. */
  onTake: (bytes: number) => void = () => {};
  /** Called with the bytes that nobody owns any more. */
  onGive: (bytes: number) => void = () => {};

  /** A ledger for the buffers of `device`, which `destroy` destroys in their turn. */
  constructor(
    private readonly device: Device,
    private readonly destroy: (buffer: GPUBuffer) => void = (buffer) => buffer.destroy(),
  ) {
    for (const kind of counted) this.#kinds[kind] = { live: 0, peak: 0 };
  }

  /** A buffer of exactly `bytes`, owned once. Its contents are undefined. */
  take(bytes: number, kind: MemoryKind, use: BufferClass = "storage"): Block {
    this.onTake(bytes);
    const block = this.#reuse(bytes, use);
    if (block !== undefined) {
      block.owners = 1;
      this.relabel(block, kind);
      return block;
    }
    return this.#make(bytes, kind, use);
  }

  #reuse(bytes: number, use: BufferClass): Block | undefined {
    return this.#idle.get(use + bytes)?.pop();
  }

  #make(bytes: number, kind: MemoryKind, use: BufferClass): Block {
    const { gpu, info, errors } = this.device;
    if (bytes > info.limits.maxBufferSize) {
      throw new OutOfMemoryError(
        `Cannot allocate ${bytes} bytes of device memory: one buffer holds at most ` +
          `${info.limits.maxBufferSize} on ${info.name}, expected a smaller tensor`,
      );
    }
    // New memory adds nothing to what the device holds while old memory lies idle.
    this.#free(bytes);
    const watch = bytes >= watched;
    if (watch) gpu.pushErrorScope("out-of-memory");
    const buffer = gpu.createBuffer({
      label: `${kind} ${bytes}`,
      size: bytes,
      usage: usages[use](),
    });
    if (watch) {
      const held = this.#total.live;
      // The answer comes later, when nothing can be retried any more; but nothing was left to
      // free either, for idle memory had been given back before this was asked for.
      gpu.popErrorScope().then((error) => {
        if (error === null) return;
        errors.add(
          new OutOfMemoryError(
            `Cannot allocate ${bytes} bytes of device memory for ${kind}: ${held} bytes are in ` +
              `use, expected a smaller batch or model (${error.message})`,
          ),
        );
      }, () => {});
    }
    this.#buffers++;
    const block = new Block(buffer, bytes, use, kind, this);
    this.#count(kind, bytes, true);
    return block;
  }

  /** One more owner. */
  retain(block: Block): void {
    block.owners++;
  }

  /** One owner less; without owners the block becomes idle. Work already submitted is not hurt. */
  release(block: Block): void {
    if (--block.owners > 0) return;
    this.onGive(block.bytes);
    this.relabel(block, "idle");
    const key = block.use + block.bytes;
    const list = this.#idle.get(key);
    if (list === undefined) this.#idle.set(key, [block]);
    else list.push(block);
    this.#free(this.#kinds.idle.live - mostIdle);
  }

  /** Counts a block as something else from now on. */
  relabel(block: Block, kind: CountedKind): void {
    if (block.kind === kind) return;
    this.#kinds[block.kind].live -= block.bytes;
    block.kind = kind;
    const count = this.#kinds[kind];
    count.live += block.bytes;
    if (count.live > count.peak) count.peak = count.live;
  }

  /** Destroys idle blocks, oldest sizes first, until so many bytes are free or none is idle. */
  #free(bytes: number): void {
    let missing = Math.min(bytes, this.#kinds.idle.live);
    if (missing <= 0) return;
    for (const [key, list] of this.#idle) {
      while (missing > 0 && list.length > 0) missing -= this.#destroy(list.shift()!);
      if (list.length === 0) this.#idle.delete(key);
      if (missing <= 0) return;
    }
  }

  /** Gives all idle memory back to the device. */
  trim(): void {
    this.#free(Infinity);
  }

  #destroy(block: Block): number {
    this.destroy(block.gpu);
    this.#buffers--;
    this.#count(block.kind, -block.bytes, false);
    return block.bytes;
  }

  #count(kind: CountedKind, bytes: number, grows: boolean): void {
    for (const count of [this.#total, this.#kinds[kind]]) {
      count.live += bytes;
      if (grows && count.live > count.peak) count.peak = count.live;
    }
  }

  /** Bytes that the device holds for us now. */
  get live(): number {
    return this.#total.live;
  }

  /** All the counts. */
  report(): DeviceMemory {
    const kinds = {} as Record<CountedKind, Counted>;
    for (const kind of counted) kinds[kind] = { ...this.#kinds[kind] };
    return { ...this.#total, kinds, buffers: this.#buffers };
  }

  /** Peaks count from here on. */
  resetPeak(): void {
    this.#total.peak = this.#total.live;
    for (const kind of counted) this.#kinds[kind].peak = this.#kinds[kind].live;
  }
}

/**
 * Blocks that are given back together. It knows nothing of what they are for, so that whoever gives
 * them back when a program has died does not keep the program alive.
 */
export class Holding {
  readonly #blocks = new Set<Block>();

  /** Takes a block from the ledger. */
  take(ledger: Ledger, ...what: Parameters<Ledger["take"]>): Block {
    const block = ledger.take(...what);
    this.#blocks.add(block);
    return block;
  }

  /** Gives all blocks back. */
  release(): void {
    for (const block of this.#blocks) block.ledger.release(block);
    this.#blocks.clear();
  }
}
