/**
 * Columns: one value per sample, kept on the device whole and read by row. Bytes stay bytes: four
 * to a u32 word, unpacked inside the kernel that reads them, so that 60 000 images of 784 pixels
 * take 47 MB and a batch of them is one gather fused with whatever follows.
 *
 * @module
 */
import { arange, tensor } from "../graph/create.ts";
import { checkNames, describe } from "../graph/describe.ts";
import { type Shape, showShape, sizeOf } from "../graph/shape.ts";
import type { Tensor } from "../graph/tensor.ts";

/** One value per sample. */
export interface Column {
  /** Number of samples. */
  readonly size: number;
  /** Shape of one sample's value. */
  readonly shape: Shape;
  /** Values by row: integers [n] to [n, ...shape]. May be traced. */
  take(rows: Tensor): Tensor;
}

/** The first axis of a tensor as samples. */
export function tensorColumn(values: Tensor): Column {
  if (values.rank === 0) {
    throw new TypeError(
      `Cannot make a column: the values are ${values}, expected an axis of samples`,
    );
  }
  const [size, ...shape] = values.shape as [number, ...number[]];
  return { size, shape, take: (rows) => values.take(rows) };
}

/** Options for {@linkcode byteColumn}. */
export interface ByteColumnOptions {
  /** What a byte is multiplied by to make a float. @default {1 / 255} */
  scale?: number;
}

/**
 * Bytes as samples, read as f32.
 *
 * @param bytes Samples one after the other.
 * @param shape Shape of one sample, one byte per element.
 *
 * @throws {TypeError} If the bytes are not a whole number of samples.
 */
export function byteColumn(
  bytes: Uint8Array<ArrayBuffer>,
  shape: Shape,
  options: ByteColumnOptions = {},
): Column {
  checkNames(options, { scale: true }, "make a byte column");
  const { scale = 1 / 255 } = options;
  if (!Number.isFinite(scale)) {
    throw new RangeError(
      `Cannot make a byte column: scale is ${describe(scale)}, expected a finite number`,
    );
  }
  const width = sizeOf(shape);
  const size = width === 0 ? 0 : bytes.length / width;
  if (!Number.isInteger(size) || size === 0) {
    throw new TypeError(
      `Cannot make a column: ${bytes.length} bytes for samples of shape ${
        showShape(shape)
      }, expected a positive multiple of ${width}`,
    );
  }
  const columns = Math.ceil(width / 4);
  const words = tensor(packWords(bytes, width), { shape: [size, columns], dtype: "u32" });
  return {
    size,
    shape,
    take(rows) {
      const shifts = arange(4).cast("u32").mul(8);
      const unpacked = words.take(rows).expandDims(-1).rightShift(shifts).bitwiseAnd(255);
      const flat = unpacked.reshape(rows.size, columns * 4);
      const whole = width === columns * 4 ? flat : flat.slice(null, [0, width]);
      return whole.reshape(rows.size, ...shape).cast("f32").mul(scale);
    },
  };
}

/** Rows of bytes as rows of whole words, the first byte lowest, filled up with zeros. */
export function packWords(bytes: Uint8Array<ArrayBuffer>, width: number): Uint32Array {
  const columns = Math.ceil(width / 4), size = bytes.length / width;
  const aligned = bytes.byteOffset % 4 === 0 && width % 4 === 0;
  if (aligned && littleEndian) {
    return new Uint32Array(bytes.buffer, bytes.byteOffset, size * columns);
  }
  const words = new Uint32Array(size * columns);
  for (let row = 0; row < size; row++) {
    for (let i = 0; i < width; i++) {
      words[row * columns + (i >> 2)]! |= bytes[row * width + i]! << (8 * (i & 3));
    }
  }
  return words;
}

const littleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
