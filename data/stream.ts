/**
 * Batches as streams: what a file, a socket or a worker delivers as typed arrays becomes trees of
 * tensors, a few of them ahead of their use; and tensors become typed arrays, many read in one wait
 * for the device.
 *
 * @module
 */
import { type ArrayData, tensor } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { readAll, Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import type { Tree } from "../graph/transforms.ts";
import { flatten, mapTree, type TreeOf, unflatten } from "../graph/tree.ts";
import { toTensor } from "./assign.ts";
import type { HostTensor } from "./safetensors.ts";

/** A batch as it comes: typed arrays (one axis), arrays with shape and dtype, or tensors. */
export type HostBatch = TreeOf<ArrayData | HostTensor | Tensor>;

/** How far a stream is read ahead. */
export interface PrefetchOptions {
  /** How many batches are asked for before they are needed. @default {2} */
  readonly prefetch?: number;
}

type HostLeaf = ArrayData | HostTensor | Tensor;

function isHostTensor(value: unknown): value is HostTensor {
  return typeof value === "object" && value !== null && "data" in value && "shape" in value &&
    "dtype" in value && ArrayBuffer.isView(value.data);
}

function isLeaf(value: unknown): value is HostLeaf {
  return ArrayBuffer.isView(value) || value instanceof Tensor || isHostTensor(value);
}

function fromHost(leaf: HostLeaf): Tensor {
  if (leaf instanceof Tensor) return leaf;
  return ArrayBuffer.isView(leaf) ? tensor(leaf as ArrayData) : toTensor(leaf);
}

/**
 * Batches of a stream as trees of tensors. While one is used the next are already on their way;
 * leaving the loop early cancels the stream.
 *
 * @param source What delivers batches.
 * @param options How far to read ahead.
 *
 * @throws {RangeError} If `prefetch` is not a positive integer.
 * @throws {TypeError} Where a batch is no tree of arrays.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const source = ReadableStream.from([{ x: Float32Array.of(1, 2) }, { x: Float32Array.of(3, 4) }]);
 * let total = rg.tensor(0);
 * for await (const { x } of rg.data.fromStream<{ x: rg.Tensor }>(source)) total = total.add(x.sum());
 * console.log(await total.item()); // 10
 * ```
 */
export async function* fromStream<B = { readonly [name: string]: Tensor }>(
  source: ReadableStream<HostBatch> | AsyncIterable<HostBatch> | Iterable<HostBatch>,
  options: PrefetchOptions = {},
): AsyncGenerator<B, void, undefined> {
  checkNames(options, { prefetch: true }, "read a stream");
  const { prefetch = 2 } = options;
  if (!Number.isSafeInteger(prefetch) || prefetch < 1) {
    throw new RangeError(
      `Cannot read a stream: prefetch is ${prefetch}, expected a positive integer`,
    );
  }
  const iterator = iteratorOf(source);
  const ahead: Promise<IteratorResult<HostBatch>>[] = [];
  // One after the other: not every source keeps its order when asked twice at once.
  let last: Promise<unknown> = Promise.resolve();
  const ask = () => {
    const next = last.then(() => iterator.next());
    next.catch(() => {}); // reported when its turn comes
    ahead.push(next);
    last = next;
  };
  try {
    for (let i = 0; i < prefetch; i++) ask();
    while (true) {
      const { done, value } = await ahead.shift()!;
      if (done) return;
      ask();
      yield mapTree(isLeaf, fromHost, value) as B;
    }
  } finally {
    // A source that is still busy with what nobody wants need not be waited for.
    Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

function iteratorOf(
  source: AsyncIterable<HostBatch> | Iterable<HostBatch>,
): AsyncIterator<HostBatch> | Iterator<HostBatch> {
  if (source instanceof ReadableStream && source.locked) {
    throw new TypeError("Cannot read a stream: it is locked, expected one that nobody else reads");
  }
  if (source !== null && typeof source === "object") {
    if (Symbol.asyncIterator in source) return source[Symbol.asyncIterator]();
    if (Symbol.iterator in source) return source[Symbol.iterator]();
  }
  throw new TypeError(
    `Cannot read a stream: it is ${typeof source}, expected a ReadableStream or an iterable`,
  );
}

/** How tensors are read for a stream. */
export interface ToStreamOptions {
  /** How many trees are read in one wait for the device, about 11 ms. @default {16} */
  readonly together?: number;
}

/**
 * Trees of tensors as a stream of trees of arrays with shape and dtype. The source is asked only
 * as fast as the stream is read.
 *
 * @throws {RangeError} If `together` is not a positive integer.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const squares = [1, 2, 3].map((x) => ({ y: rg.tensor([x]).square() }));
 * const values: number[] = [];
 * for await (const { y } of rg.data.toStream<{ y: rg.data.HostTensor }>(squares)) values.push(y.data[0]!);
 * assertEquals(values, [1, 4, 9]);
 * ```
 */
export function toStream<B = { readonly [name: string]: HostTensor }>(
  source: AsyncIterable<Tree> | Iterable<Tree>,
  options: ToStreamOptions = {},
): ReadableStream<B> {
  checkNames(options, { together: true }, "make a stream");
  const { together = 16 } = options;
  if (!Number.isSafeInteger(together) || together < 1) {
    throw new RangeError(
      `Cannot make a stream: together is ${together}, expected a positive integer`,
    );
  }
  async function* values(): AsyncGenerator<B, void, undefined> {
    let group: Tree[] = [];
    const read = async (): Promise<B[]> => {
      const { leaves, structure } = flatten(group, isTensor);
      const data = await readAll(leaves);
      group = [];
      const host = leaves.map(({ dtype, shape }, i) => ({ dtype, shape, data: data[i]! }));
      return unflatten(structure, host) as B[];
    };
    for await (const tree of source) {
      if (group.push(tree) === together) yield* await read();
    }
    if (group.length > 0) yield* await read();
  }
  return ReadableStream.from(values());
}
