/**
 * NumPy's files: npy, one array behind a header, and npz, a zip archive of them. Everything is
 * checked before anything is returned, also against files that are cut short. Element types that
 * we lack become the ones that hold their values: f64 is rounded to f32, small integers are i32,
 * and i64 and u64 are read if 32 bits hold all values.
 *
 * The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import type { DType } from "../graph/dtype.ts";
import { showShape, sizeOf } from "../graph/shape.ts";
import { expectBytes, expectHost, expectMap, stored, type StoredName } from "./elements.ts";
import type { HostTensor } from "./safetensors.ts";
import { readZip, writeZip } from "./zip.ts";

const MAGIC = "\x93NUMPY";

/** How we call our element types there; all are little-endian. */
const codes: { readonly [D in DType]: string } = {
  f32: "<f4",
  f16: "<f2",
  i32: "<i4",
  u32: "<u4",
  bool: "|b1",
};

/** Kinds by letter. */
const kinds: { readonly [letter: string]: string } = { f: "f", i: "i", u: "u" };

/**
 * The bytes of an npy file.
 *
 * @throws {TypeError} If data, dtype and shape do not agree.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const x = { dtype: "f32", shape: [2, 1], data: Float32Array.of(1, 2) } as const;
 * assertEquals(rg.data.decodeNpy(rg.data.encodeNpy(x)), x);
 * ```
 */
export function encodeNpy(x: HostTensor): Uint8Array<ArrayBuffer> {
  expectHost("an array", x);
  const { dtype, shape, data } = x;
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const dict = `{'descr': '${codes[dtype]}', 'fortran_order': False, 'shape': (${sizes}), }`;
  // Padded with spaces, so that the data begins at a multiple of 64.
  const length = Math.ceil((10 + dict.length + 1) / 64) * 64 - 10;
  const raw = dtype === "bool"
    ? Uint8Array.from(data as Uint32Array)
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const bytes = new Uint8Array(10 + length + raw.length);
  bytes.set(Uint8Array.from(MAGIC, (c) => c.charCodeAt(0)));
  bytes[6] = 1;
  new DataView(bytes.buffer).setUint16(8, length, true);
  bytes.set(new TextEncoder().encode(dict.padEnd(length - 1) + "\n"), 10);
  bytes.set(raw, 10 + length);
  return bytes;
}

type Fail = (is: string, expected: string) => never;

/**
 * Reads the bytes of an npy file.
 *
 * @param bytes The whole file.
 * @param name Names the file in errors.
 *
 * @throws {RangeError} If the file is not what the format demands, or of an element type that
 * cannot be read.
 */
export function decodeNpy(bytes: Uint8Array<ArrayBuffer>, name: string = "npy"): HostTensor {
  const fail: Fail = (is, expected) => {
    throw new RangeError(`Cannot read ${name}: ${is}, expected ${expected}`);
  };
  expectBytes(bytes, `read ${name}`);
  if (bytes.length < 10 || String.fromCharCode(...bytes.subarray(0, 6)) !== MAGIC) {
    fail("it does not begin with NumPy's signature", "an npy file");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[6]!;
  if (version < 1 || version > 3) fail(`its version is ${version}`, "1, 2 or 3");
  const begin = version === 1 ? 10 : 12;
  if (bytes.length < begin) fail(`it has ${bytes.length} bytes`, "a header (is it cut short?)");
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (begin + length > bytes.length) {
    fail(`its header has ${length} bytes`, `at most ${bytes.length - begin} (is it cut short?)`);
  }
  const text = new TextDecoder(version === 3 ? "utf-8" : "latin1")
    .decode(bytes.subarray(begin, begin + length));
  const { type, swapped, fortran, shape } = readHeader(text, fail);
  const { bytes: width, read } = stored[type];
  const size = sizeOf(shape) * width, body = bytes.subarray(begin + length);
  if (!Number.isSafeInteger(size) || body.length !== size) {
    fail(
      `it has ${body.length} bytes of data`,
      `${size} for shape ${showShape(shape)}${body.length < size ? " (is it cut short?)" : ""}`,
    );
  }
  const own = body.slice();
  if (swapped) swapBytes(own, width);
  const data = read(own.buffer);
  if (typeof data === "string") return fail(`it holds ${data}`, "values of our element types");
  const dtype: DType = type === "bool"
    ? "bool"
    : data instanceof Float16Array
    ? "f16"
    : data instanceof Float32Array
    ? "f32"
    : data instanceof Int32Array
    ? "i32"
    : "u32";
  return { dtype, shape, data: fortran ? rowMajor(data, shape) : data };
}

/** The header: a literal of a Python dict with three entries, in any order. */
function readHeader(
  text: string,
  fail: Fail,
): { type: StoredName; swapped: boolean; fortran: boolean; shape: number[] } {
  const dict = /^\s*\{(.*)\}\s*$/s.exec(text)?.[1];
  if (dict === undefined) return fail("its header is no dict", "one");
  const found = new Map<string, string>();
  const entry = /\s*'(\w+)'\s*:\s*('(?:[^'\\])*'|True|False|\([\d\s,]*\)|\[[^\]]*\])\s*(?:,|$)/gys;
  let end = 0;
  for (const [whole, key, value] of dict.matchAll(entry)) {
    if (found.has(key!)) fail(`its header has ${key} twice`, "it once");
    found.set(key!, value!);
    end += whole.length;
  }
  const keys = [...found.keys()].sort().join();
  if (dict.slice(end).trim() !== "" || keys !== "descr,fortran_order,shape") {
    fail(`its header is ${text.trim()}`, "descr, fortran_order and shape");
  }
  const descr = found.get("descr")!, order = found.get("fortran_order")!;
  const sizes = found.get("shape")!;
  const [, endian, kind, width] = /^'([<>|=])([a-zA-Z])(\d+)'$/.exec(descr) ?? [];
  const type = kind === "b" && width === "1" ? "bool" : `${kinds[kind!]}${Number(width) * 8}`;
  if (!(type in stored)) fail(`its elements are ${descr}`, "floats, integers or bools");
  if (order !== "True" && order !== "False") fail(`fortran_order is ${order}`, "True or False");
  // Every repetition ends in a comma: a pattern that could end anywhere would try all ways to.
  if (!/^\(\s*(\d+\s*,\s*)*(\d+\s*)?\)$/.test(sizes)) fail(`its shape is ${sizes}`, "a tuple");
  const shape = [...sizes.matchAll(/\d+/g)].map(([digits]) => Number(digits));
  if (!shape.every(Number.isSafeInteger)) fail(`its shape is ${sizes}`, "sizes below 2^53");
  return { type: type as StoredName, swapped: endian === ">", fortran: order === "True", shape };
}

function swapBytes(bytes: Uint8Array, width: number): void {
  for (let at = 0; at < bytes.length; at += width) bytes.subarray(at, at + width).reverse();
}

/** Elements whose first axis varies fastest, in the order of the last. */
function rowMajor<A extends HostTensor["data"]>(data: A, shape: readonly number[]): A {
  const result = data.slice() as A, index = shape.map(() => 0);
  const strides: number[] = [];
  shape.reduce((stride, n, axis) => (strides[axis] = stride) * n, 1);
  for (let i = 0; i < data.length; i++) {
    result[i] = data[index.reduce((at, k, axis) => at + k * strides[axis]!, 0)]!;
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) {
      index[axis] = 0;
    }
  }
  return result;
}

/** Options for {@linkcode encodeNpz}. */
export interface NpzOptions {
  /** Whether to deflate the arrays, as `savez_compressed` does. @default {false} */
  readonly compress?: boolean;
}

/**
 * The bytes of an npz archive, as `numpy.load` reads it.
 *
 * @throws {TypeError} If data and shape do not agree.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const x = { dtype: "i32", shape: [3], data: Int32Array.of(1, 2, 3) } as const;
 * const bytes = await rg.data.encodeNpz(new Map([["x", x]]), { compress: true });
 * assertEquals((await rg.data.decodeNpz(bytes)).get("x"), x);
 * ```
 */
export async function encodeNpz(
  arrays: ReadonlyMap<string, HostTensor>,
  options: NpzOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  checkNames(options, { compress: "flag" }, "write an npz file");
  expectMap(arrays, "encode arrays");
  const { compress = false } = options;
  const files = [...arrays].map(([name, x]) => [`${name}.npy`, encodeNpy(x)] as const);
  return await writeZip(new Map(files), compress);
}

/**
 * Reads the bytes of an npz archive: arrays by name.
 *
 * @param bytes The whole file.
 * @param name Names the file in errors.
 *
 * @throws {RangeError} If the archive or an array in it is not what its format demands.
 */
export async function decodeNpz(
  bytes: Uint8Array<ArrayBuffer>,
  name: string = "npz",
): Promise<Map<string, HostTensor>> {
  const arrays = new Map<string, HostTensor>();
  for (const [file, contents] of await readZip(bytes, name)) {
    if (!file.endsWith(".npy")) {
      throw new RangeError(`Cannot read ${name}: it holds ${file}, expected npy files alone`);
    }
    arrays.set(file.slice(0, -4), decodeNpy(contents, `${file} of ${name}`));
  }
  return arrays;
}
