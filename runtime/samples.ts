/**
 * Values to try kernels with, the same every time.
 *
 * @module
 */
import { type DType, dtypes, storageBytes, type TypedArray } from "../graph/dtype.ts";

/** Numbers that are made; longer data repeat them. A prime, so that no two rows begin alike. */
const period = 16381;

/**
 * Floats between 1/4 and 1, whose sums tell one order from another and of which roots and logarithms
 * are finite; small whole numbers, which will do as indices. Other kinds of floats have both signs
 * (1), and are of many magnitudes besides (2), or 0 here and there (3).
 */
export function sampleOf(dtype: DType, size: number, seed: number, kind = 0): TypedArray {
  const data = new dtypes[dtype].array(storageBytes(dtype, size) / dtypes[dtype].bytes);
  let state = 0x9e3779b9 ^ seed;
  for (let i = 0; i < Math.min(size, period); i++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5 | 0;
    const bits = (state ^ (state >>> 13)) >>> 0;
    if (!dtypes[dtype].float) data[i] = bits % (dtype === "bool" ? 2 : 8);
    else {
      const sign = kind > 0 && bits % 2 === 1 ? -1 : 1;
      const scale = kind === 2
        ? 2 ** ((bits >>> 8) % 25 - 12)
        : kind === 3 && bits % 7 === 0
        ? 0
        : 1;
      data[i] = sign * scale * (0.25 + 0.75 * (bits / 2 ** 32));
    }
  }
  for (let known = period; known < size; known *= 2) {
    data.set(data.subarray(0, Math.min(known, size - known)) as never, known);
  }
  return data;
}
