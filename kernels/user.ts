/**
 * A user's shader as a kernel: its text as it is, followed by declarations of its buffers and their
 * sizes. They come last, so that a message of the driver names the user's own lines.
 *
 * @module
 */
import { dtypes, storageBytes } from "../graph/dtype.ts";
import { is, type Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import type { Kernel } from "./kernel.ts";
import type { Region } from "./region.ts";
import { storedName } from "./wgsl.ts";

/** What the result's buffer is called. */
const RESULT = "result";

/** The kernel of a region that is one user's kernel, and its buffers in the order of bindings. */
export function wrapKernel(region: Region): { kernel: Kernel; buffers: readonly Node[] } {
  const [node] = region.outputs;
  if (node === undefined || !is(node, "kernel")) {
    throw new Error(`Cannot wrap a kernel: the output is ${node?.op}`);
  }
  const { source: { name, wgsl, inputs, vectors }, workgroups } = node.attributes;
  const isInput = new Set(region.inputs);
  /** A reshape of a stored value is that value. */
  const stored = (x: Node): Node => isInput.has(x) || !is(x, "reshape") ? x : stored(x.inputs[0]!);
  const buffers = [...node.inputs.map(stored), node];
  const shaped = [...node.inputs, node];
  const declarations = [...inputs, RESULT].flatMap((label, i) => {
    const { shape, dtype } = shaped[i]!, mode = i < inputs.length ? "read" : "read_write";
    const element = storedName(dtype, vectors.includes(label) ? 4 : 1);
    const sizes = shape.map((n) => `${n}u`).join(", ");
    return [
      `@group(0) @binding(${i}) var<storage, ${mode}> ${label}: array<${element}>;`,
      `const ${label}_size: u32 = ${sizeOf(shape)}u;`,
      ...shape.length === 0
        ? []
        : [`const ${label}_shape = array<u32, ${shape.length}>(${sizes});`],
    ];
  });
  const f16 = shaped.some(({ dtype }) => dtype === "f16");
  const enable = f16 && !/\benable\s+f16\b/.test(wgsl) ? "enable f16; " : "";
  return {
    kernel: {
      label: `${name} ${node.shape.join("×")}`,
      wgsl: `${enable}${wgsl}\n${declarations.join("\n")}\n`,
      access: buffers.map((_, i) => i < inputs.length ? "read" : "write"),
      workgroups,
      fixed: true,
      flops: dtypes[node.dtype].float ? sizeOf(node.shape) : 0,
      bytes: buffers.reduce((sum, { dtype, shape }) => sum + storageBytes(dtype, sizeOf(shape)), 0),
      f16,
    },
    buffers,
  };
}
