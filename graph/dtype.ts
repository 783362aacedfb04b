/**
 * Element types. A tensor holds one of five; `bool` is stored as a u32 of 0 or 1, everything else
 * as itself. Promotion follows the table below and never loses a value silently: mixing i32 with
 * u32 is an error, because no 32-bit type holds both.
 *
 * @module
 */

/** The element types of a tensor. */
export type DType = "f32" | "f16" | "i32" | "u32" | "bool";

/** Typed arrays that carry tensor data between host and device. */
export type TypedArray = Float32Array | Float16Array | Int32Array | Uint32Array;

/** What the runtime needs to know about one element type. */
interface DTypeInfo {
  /** Bytes of one element in device memory. */
  readonly bytes: number;
  readonly float: boolean;
  readonly integer: boolean;
  /** The name of the type inside a shader. */
  readonly wgsl: string;
  /** The name of the type in storage (bool has none there). */
  readonly stored: string;
  readonly array: new (length: number) => TypedArray;
  /** Smallest and largest values: the identities of max and min. */
  readonly lowest: number;
  readonly highest: number;
}

/** One row per element type. */
export const dtypes: { readonly [D in DType]: DTypeInfo } = {
  f32: {
    bytes: 4,
    float: true,
    integer: false,
    wgsl: "f32",
    stored: "f32",
    array: Float32Array,
    lowest: -Infinity,
    highest: Infinity,
  },
  f16: {
    bytes: 2,
    float: true,
    integer: false,
    wgsl: "f16",
    stored: "f16",
    array: Float16Array,
    lowest: -Infinity,
    highest: Infinity,
  },
  i32: {
    bytes: 4,
    float: false,
    integer: true,
    wgsl: "i32",
    stored: "i32",
    array: Int32Array,
    lowest: -2147483648,
    highest: 2147483647,
  },
  u32: {
    bytes: 4,
    float: false,
    integer: true,
    wgsl: "u32",
    stored: "u32",
    array: Uint32Array,
    lowest: 0,
    highest: 4294967295,
  },
  bool: {
    bytes: 4,
    float: false,
    integer: false,
    wgsl: "bool",
    stored: "u32",
    array: Uint32Array,
    lowest: 0,
    highest: 1,
  },
};

/**
 * The dtype, if it is one.
 *
 * @throws {TypeError} for anything else.
 */
export function checkDType(dtype: DType, action: string): DType {
  if (Object.hasOwn(dtypes, dtype)) return dtype;
  throw new TypeError(
    `Cannot ${action}: dtype is ${String(dtype)}, expected one of ${
      Object.keys(dtypes).join(", ")
    }`,
  );
}

/** True for f32 and f16. */
export function isFloat(dtype: DType): boolean {
  return dtypes[dtype].float;
}

const rank: { readonly [D in DType]: number } = { bool: 0, u32: 1, i32: 1, f16: 2, f32: 3 };

/** The type that holds the values of both, or undefined where none does (i32 with u32). */
export function promote(a: DType, b: DType): DType | undefined {
  if (a === b) return a;
  if (rank[a] === rank[b]) return undefined;
  return rank[a] > rank[b] ? a : b;
}

/**
 * Bytes of a device buffer for `size` elements: the data rounded up to 16 bytes, so that a kernel
 * may always work on whole vectors of four.
 */
export function storageBytes(dtype: DType, size: number): number {
  return Math.ceil(size * dtypes[dtype].bytes / 16) * 16;
}

/** The value as the element type would store it: what a `fill` of that value reads back as. */
export function round(dtype: DType, value: number): number {
  switch (dtype) {
    case "f32":
      return Math.fround(value);
    case "f16":
      return Math.f16round(value);
    case "i32":
      return saturate(value, -2147483648, 2147483647);
    case "u32":
      return saturate(value, 0, 4294967295);
    case "bool":
      return value === 0 ? 0 : 1;
  }
}

/** Float to integer as WGSL converts: towards zero, at the ends held, NaN to 0. */
function saturate(value: number, low: number, high: number): number {
  if (Number.isNaN(value)) return 0;
  return Math.min(high, Math.max(low, Math.trunc(value))) + 0;
}
