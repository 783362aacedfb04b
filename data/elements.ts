/**
 * Element types of files, and how each becomes one of ours: the same bits where we have the type,
 * else the narrowest of ours that holds the values. Doubles are rounded to f32; 64-bit integers
 * that 32 bits do not hold are refused.
 *
 * @module
 */
import { describe } from "../graph/describe.ts";
import { type DType, dtypes, type TypedArray } from "../graph/dtype.ts";
import { type Shape, showShape, sizeOf } from "../graph/shape.ts";

/** An element type in a file. */
export interface Stored {
  /** Bytes of an element. */
  readonly bytes: number;
  /** Elements from their bytes (little-endian, in a buffer of their own), or what is wrong. */
  readonly read: (buffer: ArrayBuffer) => TypedArray | string;
}

function narrowed<A extends Int32Array | Uint32Array>(
  wide: ArrayLike<bigint>,
  data: A,
): A | string {
  for (let i = 0; i < data.length; i++) {
    data[i] = Number(wide[i]);
    if (BigInt(data[i]!) !== wide[i]) return `${wide[i]}, which 32 bits do not hold`;
  }
  return data;
}

/** The table, by kind and width. */
export const stored = {
  f64: { bytes: 8, read: (b) => Float32Array.from(new Float64Array(b)) },
  f32: { bytes: 4, read: (b) => new Float32Array(b) },
  f16: { bytes: 2, read: (b) => new Float16Array(b) },
  /** The upper half of an f32. */
  bf16: {
    bytes: 2,
    read: (b) => new Float32Array(Uint32Array.from(new Uint16Array(b), (x) => x << 16).buffer),
  },
  i64: { bytes: 8, read: (b) => narrowed(new BigInt64Array(b), new Int32Array(b.byteLength / 8)) },
  i32: { bytes: 4, read: (b) => new Int32Array(b) },
  i16: { bytes: 2, read: (b) => Int32Array.from(new Int16Array(b)) },
  i8: { bytes: 1, read: (b) => Int32Array.from(new Int8Array(b)) },
  u64: {
    bytes: 8,
    read: (b) => narrowed(new BigUint64Array(b), new Uint32Array(b.byteLength / 8)),
  },
  u32: { bytes: 4, read: (b) => new Uint32Array(b) },
  // As in `tensor()`: small integers mix with indices and can be subtracted.
  u16: { bytes: 2, read: (b) => Int32Array.from(new Uint16Array(b)) },
  u8: { bytes: 1, read: (b) => Int32Array.from(new Uint8Array(b)) },
  bool: {
    bytes: 1,
    read: (b) => {
      const bytes = new Uint8Array(b), wrong = bytes.find((byte) => byte > 1);
      return wrong === undefined ? Uint32Array.from(bytes) : `the bool ${wrong}`;
    },
  },
} as const satisfies { readonly [name: string]: Stored };

/** Names of the table. */
export type StoredName = keyof typeof stored;

/**
 * Throws unless a value is an array of bytes: an `ArrayBuffer` has none to read by index.
 *
 * @throws {TypeError} If it is not.
 */
export function expectBytes(value: unknown, action: string): void {
  if (value instanceof Uint8Array) return;
  throw new TypeError(`Cannot ${action}: it is ${describe(value)}, expected a Uint8Array`);
}

/**
 * Throws unless data are what a dtype and a shape say: written as they are, others would make a file
 * that nobody can read, or other numbers.
 *
 * @throws {TypeError} If they are not.
 */
export function expectHost(
  what: string,
  { dtype, shape, data }: {
    readonly dtype: DType;
    readonly shape: Shape;
    readonly data: TypedArray;
  },
): void {
  const fail = (is: string, expected: string): never => {
    throw new TypeError(`Cannot encode ${what}: ${is}, expected ${expected}`);
  };
  if (!Object.hasOwn(dtypes, dtype)) {
    fail(`its dtype is ${describe(dtype)}`, Object.keys(dtypes).join(", "));
  }
  const { array } = dtypes[dtype];
  if (!(data instanceof array)) {
    fail(`its data are ${describe(data)}`, `a ${array.name} for ${dtype}`);
  }
  if (data.length === sizeOf(shape)) return;
  fail(`it has ${data.length} values for shape ${showShape(shape)}`, `${sizeOf(shape)}`);
}

/** Throws unless tensors are in a map by their names. */
export function expectMap(tensors: unknown, action: string): void {
  if (tensors instanceof Map) return;
  throw new TypeError(`Cannot ${action}: they are ${describe(tensors)}, expected a Map by name`);
}
