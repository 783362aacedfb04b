/**
 * The safetensors format: the length of the header as a 64-bit little-endian integer, the header as
 * JSON (name to dtype, shape and offsets), then the data. Files are also read by PyTorch and JAX.
 * What is read is checked entirely before anything is returned: a file that is cut short, damaged
 * or ambiguous is refused with the reason, and no header, however hostile, does anything else.
 *
 * The format is described at https://github.com/huggingface/safetensors.
 *
 * @module
 */
import type { DType, TypedArray } from "../graph/dtype.ts";
import { type Shape, showShape, sizeOf } from "../graph/shape.ts";
import { expectBytes, expectHost, expectMap, stored, type StoredName } from "./elements.ts";

/** A tensor on the host: bool as a `Uint32Array` of 0 and 1. */
export interface HostTensor {
  /** Element type. */
  readonly dtype: DType;
  /** Sizes of the axes. */
  readonly shape: Shape;
  /** The elements, row-major. */
  readonly data: TypedArray;
}

/** The contents of a safetensors file. */
export interface Safetensors {
  /** Tensors by name. */
  readonly tensors: ReadonlyMap<string, HostTensor>;
  /** Free text beside them. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** How our element types are called in a file. */
const ours: { readonly [D in DType]: string } = {
  f32: "F32",
  f16: "F16",
  i32: "I32",
  u32: "U32",
  bool: "BOOL",
};
/** What can be read, with the dtype that it becomes. */
const readable = new Map<string, { readonly as: StoredName; readonly dtype: DType }>([
  ...Object.entries(ours).map(([dtype, name]) =>
    [name, { as: dtype as DType, dtype: dtype as DType }] as const
  ),
  ["F64", { as: "f64", dtype: "f32" }],
  ["BF16", { as: "bf16", dtype: "f32" }],
  ["I64", { as: "i64", dtype: "i32" }],
  ["I16", { as: "i16", dtype: "i32" }],
  ["I8", { as: "i8", dtype: "i32" }],
  ["U64", { as: "u64", dtype: "u32" }],
  ["U16", { as: "u16", dtype: "i32" }],
  ["U8", { as: "u8", dtype: "i32" }],
]);

const LENGTH = 8;
/** The reference implementation refuses longer headers too. */
const LONGEST_HEADER = 100_000_000;
const METADATA = "__metadata__";

/**
 * The bytes of a safetensors file.
 *
 * @param tensors Tensors by name.
 * @param metadata Text to keep beside them.
 *
 * @throws {TypeError} If a name is `__metadata__`, or data, dtype and shape don't agree.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import * as rg from "@retrograd/retrograd";
 *
 * const weight = { dtype: "f32", shape: [2], data: Float32Array.of(1, 2) } as const;
 * const bytes = rg.data.encodeSafetensors(new Map([["weight", weight]]), { epoch: "3" });
 * const { tensors, metadata } = rg.data.decodeSafetensors(bytes);
 * assertEquals(tensors.get("weight"), weight);
 * assertEquals(metadata, { epoch: "3" });
 * ```
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  expectMap(tensors, "encode tensors");
  for (const [name, tensor] of tensors) expectHost(`tensor ${name}`, tensor);
  // Wide elements first, so that every tensor begins at a multiple of its element's width.
  const order = [...tensors].sort(([, a], [, b]) => stored[b.dtype].bytes - stored[a.dtype].bytes);
  const header = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) header.set(METADATA, metadata);
  let end = 0;
  for (const [name, { dtype, shape, data }] of order) {
    if (name === METADATA) {
      throw new TypeError(`Cannot encode tensors: a name is ${METADATA}, expected another`);
    }
    const begin = end;
    end += data.length * stored[dtype].bytes;
    header.set(name, { dtype: ours[dtype], shape, data_offsets: [begin, end] });
  }
  const members = [...header].map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`);
  const text = new TextEncoder().encode(`{${members.join(",")}}`);
  const length = Math.ceil(text.length / 8) * 8; // padded with spaces, so that the data is aligned
  const bytes = new Uint8Array(LENGTH + length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.fill(0x20, LENGTH, LENGTH + length);
  bytes.set(text, LENGTH);
  let at = LENGTH + length;
  for (const [, { dtype, data }] of order) {
    const raw = dtype === "bool"
      ? Uint8Array.from(data as Uint32Array)
      : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    bytes.set(raw, at);
    at += raw.length;
  }
  return bytes;
}

/**
 * Reads the bytes of a safetensors file.
 *
 * @param bytes The whole file.
 * @param name Names the file in errors.
 * @returns The tensors, copied, in the order of their data. BF16 and F64 become f32, small integers
 * i32, and 64-bit integers those of 32 bits, which have to hold them.
 *
 * @throws {RangeError} If the file is not exactly what the format demands: header and data
 * complete, names unique in every object, dtypes known, sizes right, no gap, no overlap, nothing after the end.
 */
export function decodeSafetensors(
  bytes: Uint8Array<ArrayBuffer>,
  name: string = "safetensors",
): Safetensors {
  const fail = (is: string, expected: string): never => {
    throw new RangeError(`Cannot read ${name}: ${is}, expected ${expected}`);
  };
  expectBytes(bytes, `read ${name}`);
  if (bytes.length < LENGTH) fail(`it has ${bytes.length} bytes`, "at least 8");
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > Math.min(LONGEST_HEADER, bytes.length - LENGTH)) {
    fail(`its header has ${length} bytes`, `at most ${bytes.length - LENGTH} (is it cut short?)`);
  }
  const { entries, metadata } = readHeader(bytes.subarray(LENGTH, LENGTH + length), fail);
  const body = bytes.subarray(LENGTH + length);
  const tensors = new Map<string, HostTensor>();
  let end = 0;
  for (const { label, as, dtype, shape, begin, end: next } of entries) {
    if (begin !== end) {
      fail(`${label} begins at byte ${begin}`, `${end}, where the tensor before it ends`);
    }
    if (next > body.length) {
      fail(
        `${label} ends at byte ${next} of the data`,
        `at most ${body.length} (is it cut short?)`,
      );
    }
    end = next;
    const data = stored[as].read(body.slice(begin, next).buffer);
    if (typeof data === "string") {
      return fail(`${label} holds ${data}`, as === "bool" ? "0 or 1" : "values of 32 bits");
    }
    tensors.set(label, { dtype, shape, data });
  }
  if (end !== body.length) fail(`${body.length - end} bytes follow the last tensor`, "none");
  return { tensors, metadata };
}

/** One tensor of the header, checked by itself. */
interface Entry {
  readonly label: string;
  readonly as: StoredName;
  readonly dtype: DType;
  readonly shape: number[];
  readonly begin: number;
  readonly end: number;
}

type Fail = (is: string, expected: string) => never;

/** The header's tensors in the order of their data, and the metadata. */
function readHeader(
  bytes: Uint8Array,
  fail: Fail,
): { entries: Entry[]; metadata: Record<string, string> } {
  let text: string, json: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(text);
  } catch {
    return fail("its header is no JSON", "JSON");
  }
  if (!isRecord(json) || text[0] !== "{") return fail("its header is no JSON object", "one");
  const repeated = repeatedName(text);
  if (repeated !== undefined) fail(`its header has ${JSON.stringify(repeated)} twice`, "it once");
  const entries: Entry[] = [];
  let metadata: Record<string, string> = {};
  for (const [label, value] of Object.entries(json)) {
    if (label === METADATA) {
      if (!isRecord(value) || Object.values(value).some((v) => typeof v !== "string")) {
        fail("its metadata is no object of texts", "one");
      }
      metadata = value as Record<string, string>;
    } else {
      entries.push(readEntry(label, value, fail));
    }
  }
  // Empty tensors come before what begins at the same byte.
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  return { entries, metadata };
}

function readEntry(label: string, value: unknown, fail: Fail): Entry {
  if (!isRecord(value)) return fail(`${label} is no JSON object`, "one");
  const { dtype: stated, shape, data_offsets: offsets } = value;
  const { as, dtype } = readable.get(stated as string) ??
    fail(`${label} has the dtype ${JSON.stringify(stated)}`, `one of ${[...readable.keys()]}`);
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    return fail(`${label} has the shape ${JSON.stringify(shape)}`, "a list of sizes");
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return fail(`${label} has the offsets ${JSON.stringify(offsets)}`, "two byte offsets");
  }
  const [begin, end] = offsets as [number, number];
  const size = sizeOf(shape) * stored[as].bytes;
  if (!Number.isSafeInteger(size) || end - begin !== size) {
    fail(
      `${label} has ${end - begin} bytes`,
      `${size} for shape ${showShape(shape)} of ${stated}`,
    );
  }
  return { label, as, dtype, shape, begin, end };
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The first name that an object of the JSON has twice, whichever object it is. */
function repeatedName(json: string): string | undefined {
  const open: Set<string>[] = [];
  for (const [token, text, colon] of json.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[{}[\]]/g)) {
    if (token === "{" || token === "[") open.push(new Set());
    else if (text === undefined) open.pop();
    else if (colon !== undefined) {
      const name: string = JSON.parse(text), seen = open.at(-1)!;
      if (seen.has(name)) return name;
      seen.add(name);
    }
  }
}
