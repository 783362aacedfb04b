/**
 * The few kernels that loops need and that compute nothing: a counter set to zero, a value copied
 * to where the loop keeps it, and a row written into its place in a stack.
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

/** buf0 = 0, one number. */
export function zeroKernel(): Kernel {
  return kernel("zero", "u32", false, 1, [{ access: "write" }], "buf0[0] = 0u;", 16);
}

/** buf1 = buf0, whole. */
export function copyKernel(dtype: DType, size: number): Kernel {
  const bytes = storageBytes(dtype, size);
  return kernel(
    `copy ${size}`,
    "u32",
    true,
    bytes / 16,
    [{ access: "read" }, { access: "write" }],
    "buf1[v] = buf0[v];",
    2 * bytes,
  );
}

/**
 * A row of buf1 = buf0, where buf2 holds the number of steps done, this one included; rows count from
 * the last of `length` if `reverse`.
 */
export function placeKernel(
  dtype: DType,
  size: number,
  length: number,
  reverse: boolean,
): Kernel {
  const vectors = size % 4 === 0, count = vectors ? size / 4 : size;
  const row = reverse ? `(${length}u - buf2[0])` : "(buf2[0] - 1u)";
  return kernel(
    `place ${size}`,
    dtype,
    vectors,
    count,
    [{ access: "read" }, { access: "write" }, { access: "read", type: "u32" }],
    `buf1[${row} * ${count}u + v] = buf0[v];`,
    2 * size * dtypes[dtype].bytes,
  );
}
