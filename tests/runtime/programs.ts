/** Hand-written programs, so that the runtime can be tested without the compiler. */
import { type Program, type Result, type Slot, uniformsOf } from "../../compile/program.ts";
import type { Kernel } from "../../kernels/kernel.ts";
import { Context } from "../../runtime/context.ts";
import { complete, openDevice } from "../../runtime/device.ts";
import { storageBytes } from "../../graph/dtype.ts";
import { Storage } from "../../graph/storage.ts";

/** A context of its own, on whatever adapter there is. */
export async function openContext(): Promise<Context> {
  const context = new Context(await openDevice(complete({ software: "allow" })));
  context.collector.refill();
  await new Promise((resolve) => setTimeout(resolve, 0));
  context.collector.jobEnded();
  return context;
}

/** Closes it, and waits until it is closed. */
export async function close(context: Context): Promise<void> {
  const { gpu } = context.device;
  gpu.destroy();
  await gpu.lost;
}

/** `y = x·factor + add`, where the factor is a uniform; in place if `inPlace`. */
export function affineKernel(size: number, factor: number, add: number, inPlace = false): Kernel {
  const bits = new Uint32Array(Float32Array.of(factor, 0, 0, 0).buffer);
  const out = inPlace ? "x" : "y";
  return {
    label: `affine ${factor} ${add} ${size}`,
    wgsl: `
      @group(0) @binding(0) var<storage, ${inPlace ? "read_write" : "read"}> x: array<f32>;
      ${inPlace ? "" : "@group(0) @binding(1) var<storage, read_write> y: array<f32>;"}
      @group(0) @binding(${inPlace ? 1 : 2}) var<uniform> factor: vec4<f32>;
      @compute @workgroup_size(64)
      fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let i = id.x;
        if (i < ${size}u) { ${out}[i] = x[i] * factor.x + ${add.toFixed(1)}; }
      }`,
    access: inPlace ? ["update"] : ["read", "write"],
    uniforms: bits,
    workgroups: [Math.min(65535, Math.ceil(size / 64)), 1, 1],
    flops: 2 * size,
    bytes: 8 * size,
    f16: false,
  };
}

/** Bytes of a buffer for so many f32. */
export const bytesOf = (size: number): number => storageBytes("f32", size);

const sum = (slots: readonly Slot[], role: Slot["role"]["is"]): number =>
  slots.reduce((n, slot) => n + (slot.role.is === role ? slot.bytes : 0), 0);

/** A program of these parts. */
export function programOf(
  parts: Pick<Program, "slots" | "arguments" | "results"> & {
    readonly name?: string;
    readonly donated?: readonly number[];
    readonly dispatches: readonly (readonly [Kernel, ...number[]])[];
  },
): Program {
  const { slots } = parts;
  const [args, results, workspace] = [
    sum(slots, "argument"),
    sum(slots, "result"),
    sum(slots, "workspace"),
  ];
  const dispatches = parts.dispatches.map(([kernel, ...slots]) => ({
    kernel,
    slots,
    avals: kernel.access.map(() => ({ shape: [kernel.flops / 2], dtype: "f32" } as const)),
    expression: `expression of ${kernel.label}`,
    source: "train.ts:3:4",
  }));
  const uniforms = uniformsOf(dispatches).bytes;
  return {
    name: parts.name ?? "test",
    arguments: parts.arguments,
    donated: parts.donated ?? [],
    slots,
    partial: () => [],
    holds: [],
    probes: [],
    outside: { host: 0, disk: 0 },
    script: parts.dispatches.map((_, i) => i),
    dispatches,
    steps: () =>
      dispatches.map(({ kernel: { label: key, bytes, flops } }, first) => ({
        work: { key, bytes, flops },
        time: 1,
        again: false,
        first,
        count: 1,
      })),
    alternatives: () => [],
    sweep: () => [],
    chart: () => "",
    results: parts.results,
    memory: {
      arguments: args,
      results,
      workspace,
      uniforms,
      peak: args + results + workspace + uniforms,
    },
    print: (stage) => stage,
  };
}

/** x → 2·(3·x + 1) + 0, through a workspace. */
export function chain(size: number, donated: readonly number[] = []): Program {
  const bytes = bytesOf(size), aval: Result = { shape: [size], dtype: "f32", slot: 2 };
  return programOf({
    name: "chain",
    arguments: [{ shape: [size], dtype: "f32" }],
    donated,
    slots: [
      { bytes, role: { is: "argument", index: 0 } },
      { bytes, role: { is: "workspace" } },
      { bytes, role: { is: "result" } },
    ],
    dispatches: [[affineKernel(size, 3, 1), 0, 1], [affineKernel(size, 2, 0), 1, 2]],
    results: [aval],
  });
}

/** x ← x·factor + add, in the memory of its argument. */
export function update(size: number, factor = 2, add = 1): Program {
  return programOf({
    name: "update",
    arguments: [{ shape: [size], dtype: "f32" }],
    donated: [0],
    slots: [{ bytes: bytesOf(size), role: { is: "argument", index: 0 } }],
    dispatches: [[affineKernel(size, factor, add, true), 0]],
    results: [{ shape: [size], dtype: "f32", slot: 0 }],
  });
}

/** Values on the host, as a storage. */
export function storageOf(values: Iterable<number>): Storage {
  const data = Float32Array.from(values);
  return new Storage("f32", data.length, { at: "host", data });
}
