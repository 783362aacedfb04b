/**
 * A storage is the data behind a leaf: at first typically an array on the host, from its first use
 * a buffer on the device. It is the only mutable thing the graph refers to, and only in where the
 * data is, never in what it is. A donated or disposed storage has no data any more, and says why.
 *
 * @module
 */
import { type DType, storageBytes, type TypedArray } from "./dtype.ts";
import type { Node } from "./node.ts";

/** What device memory is accounted as. */
export type MemoryKind =
  | "data"
  | "parameters"
  | "state"
  | "results"
  | "activations"
  | "workspace"
  | "staging";

const kinds: { readonly [K in MemoryKind]: true } = {
  data: true,
  parameters: true,
  state: true,
  results: true,
  activations: true,
  workspace: true,
  staging: true,
};
/** All kinds. */
export const memoryKinds: readonly MemoryKind[] = Object.keys(kinds) as MemoryKind[];

/** Where the data of a storage is. */
export type StorageState =
  | { readonly at: "host"; readonly data: TypedArray }
  /** On the device this object is the storage's alone: its death is that of the storage. */
  | { readonly at: "device"; readonly handle: object }
  | { readonly at: "gone"; readonly reason: string };

let counter = 0;

/** The data behind one leaf of the graph. */
export class Storage {
  /** Unique in the process. */
  readonly id: number = ++counter;
  /** Where the data is now. */
  state: StorageState;
  /** What its device memory is accounted as. */
  kind: MemoryKind = "data";
  /** The leaf over this storage; here and not in the table of nodes, so that both die together. */
  leaf?: Node;
  /** Some node has computed with the leaf, so that an unread value may still need the data. */
  used = false;

  /** A storage for `size` elements of `dtype`. */
  constructor(readonly dtype: DType, readonly size: number, state: StorageState) {
    this.state = state;
  }

  /** Bytes of the device buffer. */
  get bytes(): number {
    return storageBytes(this.dtype, this.size);
  }
}
