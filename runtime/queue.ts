/**
 * Data on its way between host and device. Uploads are checked before the call, since a bad one
 * ends the process; readbacks of many storages share one submit and one wait, since each wait
 * costs ten milliseconds. Everything that may have gone wrong on the device surfaces here.
 *
 * @module
 */
import { dtypes, type TypedArray } from "../graph/dtype.ts";
import type { Storage } from "../graph/storage.ts";
import type { Context } from "./context.ts";
import { DeviceError } from "./errors.ts";
import type { Block } from "./memory.ts";

/** Bytes of the largest staging buffer; what is larger comes back through several. */
const largestStaging = 256 * 2 ** 20;

/** The blocks of storages, uploading those whose data is still on the host. */
export function place(context: Context, storages: readonly Storage[], action: string): Block[] {
  return storages.map((storage) => {
    if (storage.state.at === "host" && storage.size > 0) upload(context, storage);
    return context.blockOf(storage, action);
  });
}

/** Moves a storage's data from the host to the device. */
export function upload(context: Context, storage: Storage): void {
  const { state } = storage;
  if (state.at !== "host") return;
  const words = toWords(storage, state.data);
  const block = context.ledger.take(storage.bytes, storage.kind);
  write(context, block, words);
  context.adopt([storage], [block]);
}

/** The data, checked against what the storage says of itself, filled up with zeros. */
function toWords({ dtype, size, bytes }: Storage, data: TypedArray): TypedArray {
  if (!(data instanceof dtypes[dtype].array) || data.length !== size) {
    throw new TypeError(
      `Cannot upload: ${data.length} values in a ${data.constructor.name}, ` +
        `expected ${size} in a ${dtypes[dtype].array.name} for ${dtype}`,
    );
  }
  if (dtype === "bool") return data.every((x) => x <= 1) ? data : data.map((x) => x === 0 ? 0 : 1);
  if (data.byteLength === bytes) return data;
  const padded = new dtypes[dtype].array(bytes / dtypes[dtype].bytes);
  padded.set(data);
  return padded;
}

/** Writes into a block from its start; a write that does not fit would end the process. */
export function write(context: Context, block: Block, words: TypedArray): void {
  const { buffer, byteOffset, byteLength } = words;
  if (byteLength > block.bytes || byteLength % 4 !== 0) {
    throw new RangeError(
      `Cannot write to the device: ${byteLength} bytes, ` +
        `expected at most ${block.bytes}, in whole words`,
    );
  }
  const { line, device: { gpu } } = context;
  // What has to wait is copied: the caller may write into its array meanwhile.
  const from = line.busy ? buffer.slice(byteOffset, byteOffset + byteLength) : buffer;
  const start = line.busy ? 0 : byteOffset;
  line.pass(() => gpu.queue.writeBuffer(block.gpu, 0, from as ArrayBuffer, start, byteLength));
}

/** A piece of a storage inside a staging buffer. */
interface Piece {
  readonly block: Block;
  readonly from: number;
  readonly bytes: number;
  /** Where it goes: byte `from` of this array. */
  readonly to: Uint8Array;
  readonly staging: number;
  readonly at: number;
}

/** Reads storages back: copies of their data, in one wait. */
export async function read(
  context: Context,
  storages: readonly Storage[],
): Promise<TypedArray[]> {
  const arrays = new Map<Storage, { data: TypedArray; size: number }>();
  const pieces: Piece[] = [];
  const sizes: number[] = [];
  for (const storage of storages) {
    if (arrays.has(storage)) continue;
    const { dtype, size, bytes, state } = storage;
    if (state.at === "host") {
      arrays.set(storage, { data: state.data.slice(), size });
      continue;
    }
    const block = context.blockOf(storage, "read");
    const data = new dtypes[dtype].array(bytes / dtypes[dtype].bytes);
    arrays.set(storage, { data, size });
    split(pieces, sizes, block, new Uint8Array(data.buffer));
  }
  if (pieces.length > 0) await copyBack(context, pieces, sizes);
  return storages.map((storage) => {
    const { data, size } = arrays.get(storage)!;
    return data.length === size ? data : data.slice(0, size);
  });
}

/** The first bytes of a block, after everything submitted so far. */
export async function readBlock(
  context: Context,
  block: Block,
  bytes: number,
): Promise<ArrayBuffer> {
  const to = new Uint8Array(bytes);
  const pieces: Piece[] = [], sizes: number[] = [];
  split(pieces, sizes, block, to);
  if (pieces.length > 0) await copyBack(context, pieces, sizes);
  return to.buffer;
}

/** Plans the copy of a block's first bytes, through as many staging buffers as it needs. */
function split(pieces: Piece[], sizes: number[], block: Block, to: Uint8Array): void {
  for (let from = 0; from < to.byteLength;) {
    if (sizes.length === 0 || sizes.at(-1) === largestStaging) sizes.push(0);
    const staging = sizes.length - 1, at = sizes[staging]!;
    const bytes = Math.min(to.byteLength - from, largestStaging - at);
    pieces.push({ block, from, bytes, to, staging, at });
    sizes[staging] = at + bytes;
    from += bytes;
  }
}

async function copyBack(
  context: Context,
  pieces: readonly Piece[],
  sizes: readonly number[],
): Promise<void> {
  const { ledger, device: { gpu, errors } } = context;
  errors.throwPending();
  // Powers of two, so that the next read of about this size finds the buffer again.
  const stagings = sizes.map((bytes) =>
    ledger.take(2 ** Math.ceil(Math.log2(Math.max(bytes, 256))), "staging", "staging")
  );
  try {
    await settled(context, () => {
      const encoder = gpu.createCommandEncoder({ label: "read" });
      for (const { block, from, staging, at, bytes } of pieces) {
        encoder.copyBufferToBuffer(block.gpu, from, stagings[staging]!.gpu, at, bytes);
      }
      gpu.queue.submit([encoder.finish()]);
      return stagings.map(({ gpu }, i) => gpu.mapAsync(GPUMapMode.READ, 0, sizes[i]!));
    });
    const bytesOf = stagings.map(({ gpu }, i) => new Uint8Array(gpu.getMappedRange(0, sizes[i]!)));
    for (const { staging, at, bytes, to, from } of pieces) {
      to.set(bytesOf[staging]!.subarray(at, at + bytes), from);
    }
  } catch (error) {
    // What fails because the device went away is told as its loss.
    errors.throwIfLost();
    throw error;
  } finally {
    for (const staging of stagings) {
      // A lost device refuses even this.
      if (staging.gpu.mapState === "mapped" && !errors.lost) staging.gpu.unmap();
      ledger.release(staging);
    }
  }
  errors.throwPending();
}

/** Waits for what `start` asks of the device, and throws what went wrong there until then. */
async function settled(
  context: Context,
  start: () => readonly Promise<unknown>[],
): Promise<void> {
  const { collector, line, device: { errors } } = context;
  collector.refill();
  const outcomes = await line.enter(() => Promise.allSettled(start()));
  collector.jobEnded();
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed !== undefined) {
    // The cause is reported by events, which may come a moment later.
    await new Promise((resolve) => setTimeout(resolve, 0));
    errors.throwPending();
    throw new DeviceError(`Cannot read: ${failed.reason}`);
  }
  errors.throwPending();
}

/** Waits until everything submitted so far has run, and throws what went wrong on the way. */
export async function finish(context: Context): Promise<void> {
  await settled(context, () => [context.device.gpu.queue.onSubmittedWorkDone()]);
}
