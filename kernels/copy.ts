/**
 * The few kernels that loops need besides those of their bodies: a counter set to a number, values
 * copied to where the loop keeps them, a row written into its place in a stack or read from there,
 * and two values compared.
 *
 * @module
 */
import { type DType, dtypes, storageBytes } from "../graph/dtype.ts";
import type { Kernel } from "./kernel.ts";
import { storedName } from "./wgsl.ts";

const workgroupSize = 64;
/** Workgroups along x before the rest goes along y. */
const most = 32768;

function kernel(
  label: string,
  dtype: DType,
  vectors: boolean,
  count: number,
  buffers: readonly { readonly access: "read" | "write"; readonly type?: string }[],
  body: string,
  bytes: number,
): Kernel {
  const groups = Math.ceil(count / workgroupSize);
  const element = storedName(dtype, vectors ? 4 : 1);
  const declarations = buffers.map(({ access, type = element }, i) =>
    `@group(0) @binding(${i}) var<storage, ${
      access === "read" ? "read" : "read_write"
    }> buf${i}: array<${type}>;`
  );
  return {
    label,
    wgsl: [
      ...(dtype === "f16" ? ["enable f16;"] : []),
      ...declarations,
      `@compute @workgroup_size(${workgroupSize})`,
      "fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {",
      `let v = (group.x + group.y * ${most}u) * ${workgroupSize}u + local;`,
      `if (v >= ${count}u) { return; }`,
      body,
      "}",
      "",
    ].join("\n"),
    access: buffers.map(({ access }) => access),
    workgroups: groups <= most ? [groups, 1, 1] : [most, Math.ceil(groups / most), 1],
    flops: 0,
    bytes,
    f16: dtype === "f16",
  };
}

/** buf0 = value, one number; kernels that differ in the number share a text. */
export function setKernel(value: number): Kernel {
  return kernel("set", "u32", false, 1, [{ access: "write" }], `buf0[0] = u32(${value});`, 16);
}

/** One value in all elements of a buffer. */
export function fillKernel(dtype: DType, size: number, value: number): Kernel {
  const bytes = storageBytes(dtype, size);
  const [word] = new Uint32Array(new dtypes[dtype].array(2).fill(value).buffer, 0, 1);
  return kernel(
    `fill ${size}`,
    "u32",
    true,
    bytes / 16,
    [{ access: "write" }],
    `buf0[v] = vec4<u32>(${word}u);`,
    bytes,
  );
}

/** Whole buffers of so many bytes: buf1 = buf0, buf3 = buf2 … */
export function copyKernel(sizes: readonly number[]): Kernel {
  const vectors = sizes.map((bytes) => bytes / 16), most = Math.max(...vectors);
  const lines = vectors.map((count, i) => {
    const line = `buf${2 * i + 1}[v] = buf${2 * i}[v];`;
    return count === most ? line : `if (v < ${count}u) { ${line} }`;
  });
  return kernel(
    `copy ${sizes.join(" ")}`,
    "u32",
    true,
    most,
    sizes.flatMap(() => [{ access: "read" }, { access: "write" }] as const),
    lines.join("\n"),
    2 * sizes.reduce((sum, bytes) => sum + bytes, 0),
  );
}

/** A row of a stack as the counter in the last buffer says: counted from the first, or down from one. */
export type Row = { readonly plus: number } | { readonly from: number };

function rowKernel(
  label: string,
  dtype: DType,
  size: number,
  row: Row,
  body: (at: string) => string,
): Kernel {
  const vectors = size % 4 === 0, count = vectors ? size / 4 : size;
  const number = "from" in row
    ? `(u32(${row.from}) - buf2[0])`
    : row.plus === 0
    ? "buf2[0]"
    : row.plus < 0
    ? `(buf2[0] - ${-row.plus}u)`
    : `(buf2[0] + ${row.plus}u)`;
  return kernel(
    `${label} ${size}`,
    dtype,
    vectors,
    count,
    [{ access: "read" }, { access: "write" }, { access: "read", type: "u32" }],
    body(`${number} * ${count}u + v`),
    2 * size * dtypes[dtype].bytes,
  );
}

/** A row of buf1 = buf0. */
export function placeKernel(dtype: DType, size: number, row: Row): Kernel {
  return rowKernel("place", dtype, size, row, (at) => `buf1[${at}] = buf0[v];`);
}

/** buf1 = a row of buf0. */
export function takeKernel(dtype: DType, size: number, row: Row): Kernel {
  return rowKernel("take", dtype, size, row, (at) => `buf1[v] = buf0[${at}];`);
}

/** How far two words are apart, as floats that are no less than 0; f16 comes in pairs. */
const distances: { readonly [D in DType]: readonly string[] } = {
  f32: ["abs(bitcast<f32>(x) - bitcast<f32>(y))"],
  f16: ["x", "y"].map((lane) => `abs(unpack2x16float(x).${lane} - unpack2x16float(y).${lane})`),
  i32: ["f32(select(y - x, x - y, bitcast<i32>(x) > bitcast<i32>(y)))"],
  u32: ["f32(max(x, y) - min(x, y))"],
  bool: ["1.0"],
};

/**
 * Raises a number of buf2 by how far buf0 and buf1 are apart: to 1 if any `bits` differ, else to the
 * bits of the largest distance, which as of a float that is no less than 0 are in its order; NaN is
 * the largest.
 */
export function compareKernel(dtype: DType, size: number, index: number, bits: boolean): Kernel {
  const words = Math.ceil(size * dtypes[dtype].bytes / 4);
  const half = dtype === "f16" && size % 2 === 1;
  const word = (i: number): string =>
    half ? `select(buf${i}[v], buf${i}[v] & 0xffffu, v == ${words - 1}u)` : `buf${i}[v]`;
  const found = bits ? ["1u"] : distances[dtype].map((d) => `bitcast<u32>(${d}) & 0x7fffffffu`);
  return kernel(
    `compare ${size}`,
    "u32",
    false,
    words,
    [{ access: "read" }, { access: "read" }, { access: "write", type: "atomic<u32>" }],
    [
      `let x = ${word(0)};`,
      `let y = ${word(1)};`,
      "if (x == y) { return; }",
      ...found.map((value) => `atomicMax(&buf2[u32(${index})], ${value});`),
    ].join("\n"),
    8 * words,
  );
}
