/**
 * Compilation, device-free: simplify and lower the graph, fuse it into regions, order them, give
 * every value its memory, and write each region's kernel. Every stage can be printed.
 *
 * @module
 */
import { avalOf } from "../graph/build.ts";
import { type Graph, is, type Node } from "../graph/node.ts";
import { expression, numbered, printGraph } from "../graph/print.ts";
import { showShape, sizeOf } from "../graph/shape.ts";
import { simplify } from "../graph/simplify.ts";
import { verify } from "../graph/verify.ts";
import { topological } from "../graph/walk.ts";
import { writeDot } from "../kernels/dot.ts";
import { defaultMaxOperations } from "../kernels/legal.ts";
import { writeMap } from "../kernels/map.ts";
import type { Frame, Region } from "../kernels/region.ts";
import { writeRows } from "../kernels/rows.ts";
import { writeScatter } from "../kernels/scatter.ts";
import { type Body, type Job, writeKernel } from "../kernels/shader.ts";
import { wrapKernel } from "../kernels/user.ts";
import { allocate, type Allocation } from "./allocate.ts";
import { fuse } from "./fuse.ts";
import { prepareBack } from "./back.ts";
import { prepareLoop } from "./loop.ts";
import { lower } from "./lower.ts";
import { bytesOf, order } from "./order.ts";
import { printMemory, printRegions } from "./print.ts";
import type {
  Dispatch,
  MemoryPlan,
  OutsidePlan,
  Program,
  Result,
  Slot,
  Target,
} from "./program.ts";
import type { Script } from "./script.ts";
import { shareKernels } from "./share.ts";
import { assemble, type Compile, compileSteps, type Steps, together } from "./steps.ts";
import { isArgument, withoutReshapes } from "./store.ts";

/** Writers of kernel bodies by the frame of the region. */
const writers: { readonly [F in Exclude<Frame["is"], "loop" | "kernel">]: (job: Job) => Body } = {
  map: writeMap,
  rows: writeRows,
  dot: writeDot,
  scatter: writeScatter,
};

/** Options of a compile. */
export interface CompileOptions {
  /** Indices of parameters whose memory may be overwritten. */
  readonly donate?: readonly number[];
  /** Whether a result takes over only the argument of its own number: a loop's carries stay apart. */
  readonly inPlace?: boolean;
  /** Checks every graph after every pass. @default false */
  readonly verify?: boolean;
  /** Operations in one kernel, at most; 1 turns fusion off, for tests. */
  readonly maxOperations?: number;
}

/** Leaves that a graph closes over, in the order in which they become further arguments. */
export function closedLeaves(graph: Graph): Node<"leaf">[] {
  return topological(graph.results).filter((node) => is(node, "leaf")) as Node<"leaf">[];
}

/** Compiles a graph for a kind of device. */
export function compileGraph(
  graph: Graph,
  options: CompileOptions,
  target: Target,
): Program {
  const check = (roots: readonly Node[]): readonly Node[] => {
    if (options.verify) verify(roots, graph.parameters);
    return roots;
  };
  checkOwn(graph);
  const args: Node[] = [...graph.parameters, ...closedLeaves(graph)];
  check(graph.results);
  const simple = check(simplify(graph.results));
  const roots = check(simplify(lower(simple))).map(withoutReshapes);
  const results = [...new Set(roots.filter((n) => !isArgument(n) && sizeOf(n.shape) > 0))];
  const limits = {
    maxBindings: target.maxBindings,
    maxOperations: options.maxOperations ?? defaultMaxOperations,
  };
  // An argument that is itself a result is passed on, not overwritten.
  const donated = (options.donate ?? []).map((i) => args[i]!)
    .filter((n) => sizeOf(n.shape) > 0 && !roots.includes(n));
  const heirs = options.inPlace
    ? new Map(donated.map((x) => [roots[args.indexOf(x)]!, x]))
    : undefined;
  const { regions, takeovers } = order(fuse(results, limits), donated, results, heirs);
  const compile: Compile = (body, donate) =>
    compileGraph(body, { ...options, donate, inPlace: true }, target);
  const bodies = new Map<Node, Steps>();
  const loops = regions.map(({ frame, outputs }) => {
    if (frame.is !== "loop") return undefined;
    const { loop } = frame, { attributes } = loop;
    const steps = compileSteps({ ...attributes.body, ...attributes }, compile);
    bodies.set(loop, steps);
    return attributes.replay === undefined || attributes.replay.states === 0
      ? prepareLoop(loop, outputs, steps, target.maxBindings)
      : prepareBack(loop, outputs, steps, (of) => bodies.get(of)!, compile, target);
  });
  const scratch = loops.map((loop) => loop?.scratch ?? []);
  const allocation = allocate(regions, args, results, takeovers, scratch);
  const { dispatches: written, scripts } = together(regions.map((region, i) => {
    const loop = loops[i];
    return loop === undefined
      ? assemble([dispatchOf(region, allocation.aliases[i]!, allocation, target)])
      : loop.place({
        slotOf: (node) => allocation.slotOf.get(withoutReshapes(node))!,
        scratch: allocation.scratch[i]!,
      });
  }));
  const dispatches = shareKernels(written);
  checkFits(graph.name, [...args, ...allocation.slotOf.keys()], dispatches, target);
  const memory = memoryOf(allocation.slots, dispatches);
  return {
    name: graph.name,
    arguments: args.map(avalOf),
    donated: options.donate ?? [],
    slots: allocation.slots,
    dispatches,
    script: scripts.flat(),
    results: graph.results.map((result, i): Result => {
      const slot = allocation.slotOf.get(roots[i]!);
      return { shape: result.shape, dtype: result.dtype, slot: slot ?? -1 };
    }),
    partial: (wanted) => partial(regions, scripts, wanted.map((i) => roots[i]!)),
    memory,
    outside: outsideOf([...loops, ...[...bodies.values()].map(({ program }) => program)]),
    print(stage) {
      const printed: Graph = { ...graph, results: roots };
      const numbers = numbered(printed);
      const nameOf = (node: Node): string => numbers.has(node) ? `%${numbers.get(node)}` : "unused";
      switch (stage) {
        case "graph":
          return printGraph(printed);
        case "regions":
          return printRegions(regions, nameOf, loops);
        case "wgsl":
          return dispatches.map(({ kernel }) => `// ${kernel.label}\n${kernel.wgsl}`).join("\n");
        case "memory":
          return printMemory(regions, allocation, memory, nameOf);
      }
    },
  };
}

/** What loops keep outside of the device, and those in their bodies. */
function outsideOf(
  parts: readonly ({ readonly outside?: OutsidePlan } | undefined)[],
): OutsidePlan {
  const sum = (store: keyof OutsidePlan): number =>
    parts.reduce((sum, part) => sum + (part?.outside?.[store] ?? 0), 0);
  return { host: sum("host"), disk: sum("disk") };
}

/** The scripts of the regions that some values need. */
function partial(
  regions: readonly Region[],
  scripts: readonly Script[],
  wanted: readonly Node[],
): Script {
  const needed = new Set(wanted);
  const kept: Script[] = [];
  for (let i = regions.length - 1; i >= 0; i--) {
    const { outputs, inputs } = regions[i]!;
    if (!outputs.some((output) => needed.has(output))) continue;
    for (const input of inputs) needed.add(input);
    kept.push(scripts[i]!);
  }
  return kept.reverse().flat();
}

/** Throws where a value leaked from another function's trace: nobody would pass it. */
function checkOwn({ name, parameters, results }: Graph): void {
  const own = new Set<Node>(parameters);
  const foreign = (node: Node): boolean => is(node, "parameter") && !own.has(node);
  const user = topological(results).find((node) => node.inputs.some(foreign)) ??
    results.find(foreign);
  if (user === undefined) return;
  throw new Error(
    `Cannot compile ${name}: ${expression(user, 2)} was traced inside another function, expected ` +
      `what that function returned when it was called`,
  );
}

/** Throws where the device can't do it, before anything reaches the device. */
function checkFits(
  name: string,
  values: readonly Node[],
  dispatches: readonly Dispatch[],
  target: Target,
): void {
  for (const node of values) {
    if (bytesOf(node) <= target.maxBindingBytes) continue;
    throw new RangeError(
      `Cannot compile ${name}: ${expression(node, 2)} is ${node.dtype}${showShape(node.shape)}, ${
        bytesOf(node)
      } bytes, expected at most ${target.maxBindingBytes} ` +
        `(the largest buffer that the device binds)`,
    );
  }
  const half = dispatches.find(({ kernel }) => kernel.f16 && !target.f16);
  if (half !== undefined) {
    throw new TypeError(
      `Cannot compile ${name}: ${half.expression} uses f16, which this device lacks, ` +
        `expected f32 (cast) or a device with shader-f16`,
    );
  }
}

function dispatchOf(
  region: Region,
  aliases: ReadonlyMap<Node, Node>,
  allocation: Allocation,
  target: Target,
): Dispatch {
  const { frame } = region;
  if (frame.is === "loop") throw new Error("Cannot write a loop as one kernel");
  const { kernel, buffers } = frame.is === "kernel"
    ? wrapKernel(region)
    : writeKernel(region, writers[frame.is], target, aliases);
  const main = region.outputs[region.outputs.length - 1]!;
  const source = region.outputs.map((o) => o.source?.line).find((s) => s !== undefined);
  return {
    kernel,
    slots: buffers.map((node) => allocation.slotOf.get(node)!),
    avals: buffers.map(avalOf),
    expression: expression(main, 4),
    ...(source !== undefined && { source }),
  };
}

function memoryOf(slots: readonly Slot[], dispatches: readonly Dispatch[]): MemoryPlan {
  const sum = (role: Slot["role"]["is"]): number =>
    slots.reduce((n, slot) => n + (slot.role.is === role ? slot.bytes : 0), 0);
  const uniforms = dispatches.reduce(
    (sum, { kernel }) => sum + Math.ceil((kernel.uniforms?.byteLength ?? 0) / 256) * 256,
    0,
  );
  const [args, results, workspace] = [sum("argument"), sum("result"), sum("workspace")];
  return {
    arguments: args,
    results,
    workspace,
    uniforms,
    peak: args + results + workspace + uniforms,
  };
}
