/**
 * Compilation, device-free: simplify and lower the graph, fuse it into regions, order them, plan
 * which of them run again under a budget, give every value its memory, and write each region's
 * kernel. Every stage can be printed.
 *
 * @module
 */
import { type CostModel, modelled, rooflines, type Work } from "../checkpoint/cost.ts";
import { avalOf } from "../graph/build.ts";
import { bodyOf, type Graph, is, type Node } from "../graph/node.ts";
import { expression, numbered, printGraph } from "../graph/print.ts";
import { showShape, sizeOf } from "../graph/shape.ts";
import { simplify } from "../graph/simplify.ts";
import { verify } from "../graph/verify.ts";
import { topological } from "../graph/walk.ts";
import { defaultMaxOperations } from "../kernels/legal.ts";
import type { Region } from "../kernels/region.ts";
import { liftAgain } from "./again.ts";
import { drawMemory } from "./chart.ts";
import { choose, decided, undecided } from "./choose.ts";
import { fuse } from "./fuse.ts";
import { prepareBack } from "./back.ts";
import { type Laid, Layout } from "./layout.ts";
import { type PreparedLoop, prepareLoop } from "./loop.ts";
import { lower } from "./lower.ts";
import { bytesOf, order } from "./order.ts";
import { Planning } from "./planning.ts";
import { printMemory, printRegions } from "./print.ts";
import type { Dispatch, Hold, OutsidePlan, Program, Result, Target } from "./program.ts";
import type { Script } from "./script.ts";
import { bytesMoved, isMove } from "./moves.ts";
import { recordLoops } from "./record.ts";
import { type Compile, compileLoop, type LoopSteps } from "./steps.ts";
import { isArgument, withoutReshapes } from "./store.ts";
import { sumOf, workOf } from "./work.ts";

/** Options of a compile. */
export interface CompileOptions {
  /** Indices of parameters whose memory may be overwritten. */
  readonly donate?: readonly number[];
  /** Whether a result takes over only the argument of its own number: a loop's carries stay apart. */
  readonly inPlace?: boolean;
  /** Bytes of device memory, all in all, that a run may take; what does not fit is run again. */
  readonly memory?: number;
  /** Bytes of values that may wait outside of the device, if they do not fit. @default none */
  readonly outside?: OutsidePlan;
  /** What regions cost. @default the model of bytes and flops for the kind of device */
  readonly costs?: CostModel;
  /** Checks every graph after every pass. @default false */
  readonly verify?: boolean;
  /** Operations in one kernel, at most; 1 turns fusion off, for tests. */
  readonly maxOperations?: number;
}

/** Leaves that a graph closes over, in the order in which they become further arguments. */
export function closedLeaves(graph: Graph): Node<"leaf">[] {
  return topological(graph.results).filter((node) => is(node, "leaf")) as Node<"leaf">[];
}

/**
 * Compiles a graph for a kind of device.
 *
 * @throws {RangeError} if no plan fits the budget, naming the least that would.
 */
export function compileGraph(
  graph: Graph,
  options: CompileOptions,
  target: Target,
): Program {
  const check = checking(graph, options);
  checkOwn(graph);
  check(graph.results);
  const simple = check(simplify(graph.results));
  const loops = undecided(simple);
  if (loops.length === 0) return compileSimple(graph, simple, options, target);
  return choose(loops, options.memory, (choices, memory) => {
    const roots = check(simplify(decided(simple, choices)));
    const within = { ...withoutBudget(options), ...(memory !== undefined && { memory }) };
    return compileSimple(graph, roots, within, target);
  });
}

/** Compiles a graph whose results are simplified, and which leaves nothing to choose. */
function compileSimple(
  graph: Graph,
  simple: readonly Node[],
  options: CompileOptions,
  target: Target,
): Program {
  const check = checking(graph, options);
  const args: Node[] = [...graph.parameters, ...closedLeaves(graph)];
  const lifted = liftAgain(simple);
  const lowered = check(
    lifted === undefined
      ? simplify(lower(simple))
      : simplify(lower(simplify([...lifted.results, ...lifted.followed]))),
  );
  const recording = check(recordLoops(lowered));
  const roots = recording.slice(0, simple.length).map(withoutReshapes);
  const asked = lifted && { ...lifted, became: recording.slice(simple.length) };
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
  const fused = fuse(results, limits, { donated, heirs });
  const { regions, takeovers } = order(fused, donated, results, heirs);
  const compile: Compile = (body, donate) =>
    compileGraph(body, { ...withoutBudget(options), donate, inPlace: true }, target);
  const loops = new Map<Region, PreparedLoop>(), bodies = new Map<Node, LoopSteps>();
  for (const region of regions) {
    const { frame, outputs } = region;
    if (frame.is !== "loop") continue;
    const { loop } = frame, { replay } = loop.attributes;
    const steps = compileLoop(loop, compile);
    bodies.set(loop, steps);
    const prepared = replay === undefined || replay.states === 0
      ? prepareLoop(loop, outputs, steps, target)
      : prepareBack(loop, outputs, steps.steps, (of) => bodies.get(of)!, compile, target);
    loops.set(region, prepared);
  }
  const work = (region: Region): Work => {
    const efforts = loops.get(region)?.efforts;
    return workOf(region, efforts && sumOf([efforts.steps, efforts.besides]));
  };
  const costs = options.costs ?? modelled(rooflines[target.kind]);
  const layout = new Layout({ args, results, takeovers, loops }, target);
  const timeOf = (region: Region): number =>
    isMove(region)
      ? costs.transfer(region.frame.store, bytesMoved(region))
      : costs.time(work(region));
  const outside = options.outside ?? { host: 0, disk: 0 };
  const planning = new Planning(layout, regions, { limits, timeOf, asked, outside });
  const { laid, again } = planning.within(options.memory, graph.name);
  const { allocation, dispatches, memory, steps } = laid;
  checkFits(graph.name, allocation.stays.map(({ node }) => node), dispatches, target);
  const printed: Graph = { ...graph, results: roots };
  return {
    name: graph.name,
    arguments: args.map(avalOf),
    donated: options.donate ?? [],
    slots: allocation.slots,
    dispatches,
    script: steps.flatMap(({ script }) => script),
    results: graph.results.map((result, i): Result => {
      const slot = allocation.slotOf.get(roots[i]!);
      return { shape: result.shape, dtype: result.dtype, slot: slot ?? -1 };
    }),
    partial: (wanted) => partial(steps, wanted.map((i) => roots[i]!)),
    memory,
    outside: outsideOf([
      laid,
      ...loops.values(),
      ...[...bodies.values()].map(({ steps }) => steps.program),
    ]),
    ...(options.memory !== undefined && { budget: options.memory }),
    steps: () =>
      steps.map(({ region, first, count }, i) => {
        const done = work(region), loop = loops.get(region), besides = loop?.efforts.besides;
        return {
          work: done,
          time: timeOf(region),
          again: again[i]!,
          ...(isMove(region) && { move: { ...region.frame, bytes: bytesMoved(region) } }),
          first,
          count,
          ...(besides !== undefined && besides.dispatches > 0 && {
            besides: {
              dispatches: besides.dispatches,
              time: costs.time({ key: `${done.key}, besides its steps`, ...besides }),
              of: loop!.name,
            },
          }),
        };
      }),
    sweep: () => planning.offers(),
    holds: holdsOf(simple),
    chart() {
      const times = steps.map(({ region }) => timeOf(region));
      return drawMemory(graph.name, { laid, again, times, results, budget: options.memory });
    },
    print(stage) {
      const numbers = numbered(printed);
      const nameOf = (node: Node): string => numbers.has(node) ? `%${numbers.get(node)}` : "unused";
      const order = steps.map(({ region }) => region);
      switch (stage) {
        case "graph":
          return printGraph(printed);
        case "regions":
          return printRegions(order, again, nameOf, loops);
        case "wgsl":
          return dispatches.map(({ kernel }) => `// ${kernel.label}\n${kernel.wgsl}`).join("\n");
        case "memory":
          return printMemory(allocation, memory, nameOf);
      }
    },
  };
}

/** Checks a graph after a pass, if that is wanted. */
function checking(
  { parameters }: Graph,
  { verify: wanted }: CompileOptions,
): (roots: readonly Node[]) => readonly Node[] {
  return (roots) => {
    if (wanted) verify(roots, parameters);
    return roots;
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

/** What is held for ways back, in loops once for every step. */
function holdsOf(roots: readonly Node[], steps = 1): Hold[] {
  return topological(roots).flatMap((node): Hold[] => {
    if (is(node, "hold")) return [{ ...avalOf(node), label: node.attributes.label, steps }];
    const body = is(node, "loop") ? bodyOf(node) : undefined;
    return body === undefined
      ? []
      : holdsOf(body.results, steps * (node as Node<"loop">).attributes.length);
  });
}

/** The scripts of the steps that some values need. */
function partial(steps: Laid["steps"], wanted: readonly Node[]): Script {
  const needed = new Set(wanted);
  const kept: Script[] = [];
  for (const { region: { outputs, inputs }, script } of steps.toReversed()) {
    if (!outputs.some((output) => needed.has(output))) continue;
    for (const input of inputs) needed.add(input);
    kept.push(script);
  }
  return kept.reverse().flat();
}

/** The budget is the whole program's; a body has none of its own. */
function withoutBudget({ memory: _, ...options }: CompileOptions): CompileOptions {
  return options;
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
