/**
 * Values of an ONNX graph as tensors. ONNX has more element types than a GPU: 64-bit numbers are
 * held in 32 bits where they fit, and narrow integers in i32 or u32, wrapped after every operation.
 *
 * @module
 */
import { tensor } from "../../graph/create.ts";
import type { DType } from "../../graph/dtype.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { evaluate } from "../oracle.ts";
import type { Long, TensorProto } from "./proto.ts";

/** Thrown by operators where a case asks for what is not there. */
export class Unsupported extends Error {}

/** Element types by the number they have in files, as far as they map onto ours. */
export const elementTypes: {
  readonly [code: number]: {
    readonly name: string;
    readonly dtype: DType;
    /** Bits of a narrow integer, which wraps. */
    readonly bits?: number;
  };
} = {
  1: { name: "float", dtype: "f32" },
  2: { name: "uint8", dtype: "u32", bits: 8 },
  3: { name: "int8", dtype: "i32", bits: 8 },
  4: { name: "uint16", dtype: "u32", bits: 16 },
  5: { name: "int16", dtype: "i32", bits: 16 },
  6: { name: "int32", dtype: "i32" },
  7: { name: "int64", dtype: "i32" },
  9: { name: "bool", dtype: "bool" },
  10: { name: "float16", dtype: "f16" },
  11: { name: "double", dtype: "f32" },
  12: { name: "uint32", dtype: "u32" },
  13: { name: "uint64", dtype: "u32" },
};

/** Element types that do not map onto ours, in words. */
const others: { readonly [code: number]: string } = {
  8: "strings",
  14: "complex numbers",
  15: "complex numbers",
  16: "bfloat16",
};

/** A tensor and its ONNX element type. */
export interface Value {
  readonly x: Tensor;
  readonly type: number;
}

/** The element type, if it maps onto one of ours. */
export function elementType(code: number): (typeof elementTypes)[number] {
  const type = elementTypes[code];
  if (type === undefined) throw new Unsupported(others[code] ?? `element type ${code}`);
  return type;
}

/** A value of an element type; narrow integers wrap. */
export function valueOf(x: Tensor, type: number): Value {
  const { dtype, bits } = elementType(type);
  let y = x.dtype === dtype ? x : x.cast(dtype);
  if (bits !== undefined && dtype === "u32") y = y.bitwiseAnd(2 ** bits - 1);
  if (bits !== undefined && dtype === "i32") y = y.leftShift(32 - bits).rightShift(32 - bits);
  return { x: y, type };
}

/** A 64-bit integer as a number. */
export function numberOf(value: Long): number {
  return Number(typeof value === "number" ? value : value.toString());
}

/** The elements of a tensor in a file, as numbers. */
export function numbersOf(proto: TensorProto): number[] {
  const { rawData: raw, dataType: type } = proto;
  if (raw.length > 0) {
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    const read = readers[type];
    if (read === undefined) throw new Unsupported(`element type ${type}`);
    const [bytes, get] = read;
    return Array.from({ length: raw.length / bytes }, (_, i) => get(view, i * bytes));
  }
  switch (type) {
    case 1:
      return [...proto.floatData];
    case 7:
      return proto.int64Data.map(numberOf);
    case 10: {
      const words = new DataView(new ArrayBuffer(2));
      return proto.int32Data.map((bits) => {
        words.setUint16(0, bits);
        return words.getFloat16(0);
      });
    }
    case 11:
      return [...proto.doubleData];
    case 12:
    case 13:
      return proto.uint64Data.map(numberOf);
    default:
      elementType(type);
      return [...proto.int32Data];
  }
}

const readers: {
  readonly [code: number]: readonly [bytes: number, (view: DataView, at: number) => number];
} = {
  1: [4, (view, at) => view.getFloat32(at, true)],
  2: [1, (view, at) => view.getUint8(at)],
  3: [1, (view, at) => view.getInt8(at)],
  4: [2, (view, at) => view.getUint16(at, true)],
  5: [2, (view, at) => view.getInt16(at, true)],
  6: [4, (view, at) => view.getInt32(at, true)],
  7: [8, (view, at) => Number(view.getBigInt64(at, true))],
  9: [1, (view, at) => view.getUint8(at)],
  10: [2, (view, at) => view.getFloat16(at, true)],
  11: [8, (view, at) => view.getFloat64(at, true)],
  12: [4, (view, at) => view.getUint32(at, true)],
  13: [8, (view, at) => Number(view.getBigUint64(at, true))],
};

/** A tensor from a file. 64-bit integers beyond 32 bits are held at the ends of the range. */
export function fromProto(proto: TensorProto): Value {
  const { dtype } = elementType(proto.dataType);
  const [low, high] = dtype === "i32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  const isFloat = dtype === "f32" || dtype === "f16";
  const numbers = numbersOf(proto).map((v) => isFloat ? v : Math.min(high, Math.max(low, v)));
  const arrays = {
    ...{ f32: Float32Array, f16: Float16Array, i32: Int32Array, u32: Uint32Array },
    bool: Uint8Array,
  };
  const data = arrays[dtype].from(numbers);
  const shape = proto.dims.map(numberOf);
  return { x: tensor(data, { shape, dtype }), type: proto.dataType };
}

/** The elements of a value that the graph needs to know before it runs: shapes, axes, counts. */
export function known({ x }: Value): number[] {
  const [value] = evaluate([x.node]);
  return [...value!.data];
}
