/**
 * From a region to a {@linkcode Kernel}: buffers and bindings, the passes that settle which buffers
 * are vectors, and the text around the body. The bodies are written by map.ts, rows.ts, dot.ts and
 * scatter.ts, each in several ways; they differ in loops, not in how values are computed.
 *
 * @module
 */
import type { Node } from "../graph/node.ts";
import { dtypes, storageBytes } from "../graph/dtype.ts";
import { isElementwise, kinds } from "../graph/primitive.ts";
import { sizeOf } from "../graph/shape.ts";
import { type Buffer, Emitter } from "./emit.ts";
import type { Access, Kernel } from "./kernel.ts";
import { footprintOf, type Frame, type Region } from "./region.ts";
import type { Tuning } from "./tuning.ts";
import { helpers, storedName } from "./wgsl.ts";

/** What a kernel's text may depend on besides its region. */
export interface Adapter {
  /** Software adapters prefer work in one invocation, hardware prefers many that cooperate. */
  readonly kind: "software" | "integrated" | "discrete";
  readonly maxWorkgroups: number;
  /** Subgroups work and have exactly 8 invocations when a workgroup has 8. */
  readonly shuffle: boolean;
  /** Bytes of memory that a workgroup shares. @default {16384} what WebGPU promises */
  readonly maxWorkgroupBytes?: number;
  /** What was measured on this adapter. */
  readonly tuning?: Tuning;
}

/** The body of a kernel and how many workgroups run it. */
export interface Body {
  readonly workgroupSize: number;
  /** Workgroups needed, before they are folded into two dimensions; or exact x, y, z. */
  readonly workgroups: number | readonly [number, number, number];
  readonly lines: readonly string[];
  /** Declarations outside the function: workgroup memory. */
  readonly globals?: readonly string[];
  readonly flops: number;
  /** The body uses `invocation`, the number within the subgroup. */
  readonly subgroups?: boolean;
  /** What it is, for labels: `map`, `rows`, `dot 8x4`. */
  readonly name: string;
}

/** A region with its buffers, as a body writer sees it. */
export interface Job<F extends Frame = Frame> {
  readonly region: Region;
  readonly frame: F;
  readonly emitter: Emitter;
  /** Buffer of each output. */
  readonly outputs: readonly Buffer[];
  readonly adapter: Adapter;
}

/** One way of writing the body of a region. All ways of a region give the same bits. */
export interface Way {
  /** Tells it from the others: `blocks 128×128×8 of 8×8`. */
  readonly name: string;
  write(): Body;
}

/** The ways of a frame's regions; first what the rule of thumb prefers. */
export type Ways = (job: Job) => readonly Way[];

/** A region as a kernel. */
export interface Written {
  readonly kernel: Kernel;
  /** What lies in its buffers. */
  readonly buffers: readonly Node[];
  /** The way in which it is written, and the names of all that there are. */
  readonly way: string;
  readonly ways: readonly string[];
}

/**
 * Writes a region as a kernel, in the way of that name, if there is one, else as the rule of thumb
 * says. `aliases[i]` is the input whose memory output i overwrites.
 */
export function writeKernel(
  region: Region,
  waysOf: Ways,
  adapter: Adapter,
  aliases: ReadonlyMap<Node, Node> = new Map(),
  name?: string,
): Written {
  const singles = new Set<Node>();
  const sealed = sealedIn(region);
  for (;;) {
    const emitter = new Emitter();
    emitter.sealed = sealed;
    const order: Node[] = [];
    const access: Access[] = [];
    const byNode = new Map<Node, Buffer>();
    for (const node of region.inputs) {
      const buffer: Buffer = {
        name: `buf${order.length}`,
        dtype: node.dtype,
        vector: !singles.has(node) && sizeOf(node.shape) >= 4,
      };
      emitter.buffers.set(node, buffer);
      byNode.set(node, buffer);
      order.push(node);
      access.push("read");
    }
    const outputs = region.outputs.map((node) => {
      const input = aliases.get(node);
      if (input !== undefined) {
        access[order.indexOf(input)] = "update";
        return byNode.get(input)!;
      }
      const buffer: Buffer = {
        name: `buf${order.length}`,
        dtype: node.dtype,
        vector: !singles.has(node) && sizeOf(node.shape) >= 4,
      };
      byNode.set(node, buffer);
      order.push(node);
      access.push("write");
      return buffer;
    });
    const before = new Map([...byNode].map(([node, b]) => [node, b.vector]));
    const ways = waysOf({ region, frame: region.frame, emitter, outputs, adapter });
    const way = ways.find((way) => way.name === name) ?? ways[0]!;
    const body = way.write();
    if (emitter.stale) {
      for (const [node, b] of byNode) if (before.get(node) && !b.vector) singles.add(node);
      continue;
    }
    return {
      kernel: assemble(region, order, access, byNode, emitter, body, adapter),
      buffers: order,
      way: way.name,
      ways: ways.map(({ name }) => name),
    };
  }
}

function assemble(
  region: Region,
  order: readonly Node[],
  access: readonly Access[],
  byNode: ReadonlyMap<Node, Buffer>,
  emitter: Emitter,
  body: Body,
  adapter: Adapter,
): Kernel {
  const declarations = order.map((node, i) => {
    const b = byNode.get(node)!;
    const mode = access[i] === "read" ? "read" : "read_write";
    const type = storedName(b.dtype, b.vector ? 4 : 1);
    return `@group(0) @binding(${i}) var<storage, ${mode}> ${b.name}: array<${type}>;`;
  });
  const functions = [...emitter.usedHelpers].sort().map((name) => helpers[name]!);
  const text = [...functions, ...body.lines].join("\n");
  const usesZero = /\bzero\b/.test(text);
  if (usesZero) {
    declarations.push(
      `@group(0) @binding(${order.length}) var<uniform> sizes: array<vec4<u32>, 1>;`,
      "var<private> zero: u32;",
    );
  }
  const { groups, lines } = gridOf(body, adapter.maxWorkgroups);
  const wgsl = [
    ...(emitter.usesF16 ? ["enable f16;"] : []),
    ...declarations,
    ...(body.globals ?? []),
    ...functions,
    `@compute @workgroup_size(${body.workgroupSize})`,
    `fn main(@builtin(workgroup_id) ${lines.length > 0 ? "folded" : "group"}: vec3<u32>, ` +
    "@builtin(local_invocation_index) local: u32" +
    (body.subgroups ? ", @builtin(subgroup_invocation_id) invocation: u32" : "") + ") {",
    ...(usesZero ? ["zero = sizes[0].x;"] : []),
    ...lines,
    ...body.lines,
    "}",
    "",
  ].join("\n");
  const gathered = gatheredElements(region);
  const bytes = order.reduce((sum, node, i) => {
    const elements = gathered.get(node) ?? sizeOf(node.shape);
    return sum + storageBytes(node.dtype, elements) * (access[i] === "update" ? 2 : 1);
  }, 0);
  return {
    label: labelOf(region, body.name),
    wgsl,
    access,
    ...(usesZero && { uniforms: new Uint32Array(4) }),
    workgroups: groups,
    flops: body.flops,
    bytes,
    f16: emitter.usesF16,
  };
}

/** Float outputs that other outputs are computed from: see {@linkcode Emitter.sealed}. */
function sealedIn({ inputs, outputs }: Region): Set<Node> {
  const sealed = new Set<Node>();
  if (outputs.length === 1) return sealed;
  const given = new Set(inputs), written = new Set(outputs);
  const seen = new Set<Node>(outputs), stack = [...outputs];
  while (stack.length > 0) {
    for (const x of stack.pop()!.inputs) {
      if (written.has(x) && dtypes[x.dtype].float) sealed.add(x);
      if (seen.has(x) || given.has(x)) continue;
      seen.add(x);
      stack.push(x);
    }
  }
  return sealed;
}

/**
 * Workgroups in three dimensions. A grid that is too long in one of them is folded into two, and
 * the kernel unfolds its place in the grid before it begins.
 */
function gridOf(
  { workgroups }: Body,
  most: number,
): { groups: readonly [number, number, number]; lines: readonly string[] } {
  if (typeof workgroups === "number") {
    return { groups: foldWorkgroups(workgroups, most), lines: [] };
  }
  const [x, y, z] = workgroups;
  if (Math.max(x, y, z) <= most) return { groups: workgroups, lines: [] };
  return {
    groups: foldWorkgroups(x * y * z, most),
    lines: [
      `let number = folded.x + folded.y * ${most}u;`,
      `if (number >= ${x * y * z}u) { return; }`,
      `let group = vec3<u32>(number % ${x}u, number / ${x}u % ${y}u, number / ${x * y}u);`,
    ],
  };
}

/** Workgroups in x and y; the kernel finds its number as x + y·(number in x). */
function foldWorkgroups(count: number, most: number): readonly [number, number, number] {
  return count <= most ? [count, 1, 1] : [most, Math.ceil(count / most), 1];
}

/** The number of this workgroup, in kernels that asked for a count of workgroups. */
export function groupNumber(count: number, adapter: Adapter): string {
  return count <= adapter.maxWorkgroups
    ? "i32(group.x)"
    : `i32(group.x + group.y * ${adapter.maxWorkgroups}u)`;
}

/** `rows softmax-like: exp sub sum 4096×1024` in short: name, operations, shape. */
function labelOf(region: Region, name: string): string {
  const names = new Set<string>();
  for (const node of footprintOf(region).body.keys()) {
    if (isElementwise(node.op) || node.inputs.length > 1 || kinds[node.op] === "reduce") {
      names.add(node.op);
    }
  }
  const shown = [...names].slice(0, 6).join("+") + (names.size > 6 ? "+…" : "");
  const { frame } = region;
  const shape = frame.is === "map"
    ? `${frame.size}`
    : frame.is === "dot"
    ? [...frame.shape, frame.k].join("×")
    : frame.shape.join("×");
  return `${name} ${shown || "copy"} ${shape}`;
}

/** Inputs of which a region reads only the rows it finds, with the number of elements it reads. */
function gatheredElements(region: Region): Map<Node, number> {
  const elements = new Map<Node, number>();
  for (const node of footprintOf(region).body.keys()) {
    const [x] = node.inputs;
    if (node.op !== "gather" || !region.inputs.includes(x!)) continue;
    elements.set(x!, Math.min(sizeOf(x!.shape), (elements.get(x!) ?? 0) + sizeOf(node.shape)));
  }
  return elements;
}

/** Element-wise operations in the text of a region. */
export function operationsOf(region: Region): number {
  let count = 0;
  for (const [node, places] of footprintOf(region).body) {
    if (isElementwise(node.op)) count += places.size;
  }
  return count;
}

/** Floating-point operations of the element-wise part of a region, each place counted once. */
export function elementFlops(region: Region): number {
  let flops = 0;
  for (const node of footprintOf(region).body.keys()) {
    if (isElementwise(node.op) && dtypes[node.dtype].float) flops += sizeOf(node.shape);
    if (node.op === "sum") flops += sizeOf(node.inputs[0]!.shape);
  }
  return flops;
}
