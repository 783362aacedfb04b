/**
 * The IDX format of MNIST and its relatives: two zero bytes, one byte for the element type, one for
 * the number of axes, their sizes as big-endian 32-bit integers, then the elements, also big-endian.
 * A file is read whole or refused: its length must be exactly what its header says.
 *
 * The format is described at the end of http://yann.lecun.com/exdb/mnist/.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { expectBytes } from "./elements.ts";

/** Arrays that an IDX file can hold. */
export type IdxArray =
  | Uint8Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

/** Element types by the byte that names them in the header. */
const types = {
  0x08: { name: "u8", bytes: 1, array: Uint8Array },
  0x09: { name: "i8", bytes: 1, array: Int8Array },
  0x0b: { name: "i16", bytes: 2, array: Int16Array },
  0x0c: { name: "i32", bytes: 4, array: Int32Array },
  0x0d: { name: "f32", bytes: 4, array: Float32Array },
  0x0e: { name: "f64", bytes: 8, array: Float64Array },
} as const;

/** Names of the element types. */
export type IdxType = (typeof types)[keyof typeof types]["name"];

/** The contents of an IDX file. */
export interface Idx {
  /** Element type. */
  readonly type: IdxType;
  /** Sizes of the axes, outermost first. */
  readonly shape: readonly number[];
  /** The elements, row-major. For `u8` a view of the file's bytes, else a copy. */
  readonly data: IdxArray;
}

/** What a reader may demand of a file. */
export interface IdxOptions {
  /** Names the file in errors. @default {"IDX data"} */
  name?: string;
  /** The element type it must have. */
  type?: IdxType;
  /** The shape it must have; `null` for sizes that may be anything. */
  shape?: readonly (number | null)[];
}

/**
 * Reads the bytes of an IDX file.
 *
 * @param bytes The whole file, uncompressed.
 * @param options What the file must be.
 * @returns Element type, shape and elements.
 *
 * @throws {TypeError} If there are no bytes but something else.
 * @throws {RangeError} If the bytes are no IDX file, are cut short, go on after the end, or are not
 * of the type or shape demanded.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import * as rg from "@retrograd/retrograd";
 *
 * const { shape, data } = rg.data.readIdx(new Uint8Array([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]));
 * assertEquals(shape, [3]);
 * assertEquals([...data], [7, 2, 1]);
 * ```
 */
export function readIdx(bytes: Uint8Array<ArrayBuffer>, options: IdxOptions = {}): Idx {
  checkNames(options, { name: true, type: true, shape: true }, "read an IDX file");
  const name = options.name ?? "IDX data";
  const fail = (is: string, expected: string): never => {
    throw new RangeError(`Cannot read ${name}: ${is}, expected ${expected}`);
  };
  expectBytes(bytes, `read ${name}`);
  if (bytes.length < 4) fail(`it has ${bytes.length} bytes`, "a header of at least 4");
  if (bytes[0] !== 0 || bytes[1] !== 0) {
    fail(`it begins with the bytes ${bytes[0]} and ${bytes[1]}`, "two zeros (is it compressed?)");
  }
  const type = types[bytes[2]! as keyof typeof types] ??
    fail(`the byte of the element type is ${bytes[2]}`, "one of 8, 9, 11, 12, 13, 14");
  if (options.type !== undefined && type.name !== options.type) {
    fail(`its elements are ${type.name}`, options.type);
  }
  const rank = bytes[3]!, header = 4 + 4 * rank;
  if (bytes.length < header) {
    fail(`it has ${bytes.length} bytes`, `a header of ${header} for ${rank} axes`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  if (options.shape !== undefined && !fits(shape, options.shape)) {
    const expected = options.shape.map((n) => n ?? "any").join(",");
    fail(`its shape is [${shape.join(",")}]`, `[${expected}]`);
  }
  const size = shape.reduce((a, b) => a * b, 1);
  const length = header + size * type.bytes; // exact: a product of sizes that overflows is too long
  if (bytes.length !== length) {
    const cut = bytes.length < length ? "it is cut short" : "bytes follow its end";
    fail(
      `${cut}, with ${bytes.length} bytes`,
      `${length} for shape [${shape.join(",")}] of ${type.name}`,
    );
  }
  if (type.name === "u8") return { type: type.name, shape, data: bytes.subarray(header) };
  const data = new type.array(bytes.slice(header).buffer);
  if (littleEndian) swapBytes(new Uint8Array(data.buffer), type.bytes);
  return { type: type.name, shape, data };
}

function fits(shape: readonly number[], wanted: readonly (number | null)[]): boolean {
  return shape.length === wanted.length && wanted.every((n, i) => n === null || n === shape[i]);
}

const littleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** Reverses the bytes of each element. */
function swapBytes(bytes: Uint8Array, width: number): void {
  for (let i = 0; i < bytes.length; i += width) bytes.subarray(i, i + width).reverse();
}
