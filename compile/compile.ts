/**
 * Compilation, device-free: simplify and lower the graph, fuse it into regions, order them, plan
 * which of them run again under a budget, give every value its memory, and write each region's
 * kernel. Every stage can be printed.
 *
 * @module
 */
import { type CostModel, modelled, rooflines } from "../checkpoint/cost.ts";
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
import { Bodies, BodyPrograms } from "./bodies.ts";
import { choose, decided, undecided } from "./choose.ts";
import { fuse } from "./fuse.ts";
import { type Alike, type Laid, Layout } from "./layout.ts";
import type { PreparedLoop } from "./prepared.ts";
import { lower } from "./lower.ts";
import { bytesOf, order } from "./order.ts";
import { type Decision, type Known, Planning } from "./planning.ts";
import { fastestBy, type Priced, type Pricing } from "./pricing.ts";
import { printMemory, printRegions } from "./print.ts";
import {
  type Dispatch,
  type Hold,
  nowhere,
  offerOf,
  type OutsidePlan,
  type Program,
  type Result,
  type Target,
} from "./program.ts";
import type { Script } from "./script.ts";
import { bytesMoved, isMove } from "./moves.ts";
import { recordLoops } from "./record.ts";
import { isArgument, withoutReshapes } from "./store.ts";
import { keepApart } from "./tickets.ts";
import { type Effort, expectedSteps, sumOf, timeOfWork, workOf } from "./work.ts";

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
  /** Plans that are enough to choose from. @default as many as there are */
  readonly enough?: number;
  /**
   * Whether a loop whose way back is the compiler's to choose has to be as fast as it can be, rather
   * than soon compiled.
   *
   * @default {true under a budget}
   */
  readonly weighs?: boolean;
  /** Checks every graph after every pass. @default false */
  readonly verify?: boolean;
  /** Operations in one kernel, at most; 1 turns fusion off, for tests. */
  readonly maxOperations?: number;
  /** Kernels that were written already, for the same device. @default none */
  readonly alike?: Alike;
}

/** The options of a compile to which the costs were given apart. */
type Unpriced = Omit<CompileOptions, "costs">;

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
  const { memory, costs = modelled(rooflines[target.kind]), ...given } = options;
  // Plans and bodies that are weighed have most of their kernels in common.
  const rest = { alike: new Map(), ...given };
  return fastestBy(costs, memory, (pricing, memory) => {
    const within = { ...rest, ...(memory !== undefined && { memory }) };
    return compilePriced(graph, within, pricing, target);
  });
}

/** Compiles a graph with plans found and picked by some costs. */
function compilePriced(
  graph: Graph,
  options: Unpriced,
  pricing: Pricing,
  target: Target,
): Program {
  const check = checking(graph, options);
  checkOwn(graph);
  check(graph.results);
  const simple = check(simplify(graph.results));
  const { memory: budget, ...rest } = options;
  // A body has no budget of its own: it takes what is left where it runs. Others are weighed against
  // its fastest program there, so that has to be it.
  const { outside = nowhere, weighs = budget !== undefined } = options;
  const ofBodies = { ...rest, weighs, inPlace: true, enough: 6 };
  const own = { found: pricing.found, picked: pricing.found };
  const bodies = new BodyPrograms((body, donate, away) => {
    const within = { ...ofBodies, donate, outside: away ? outside : nowhere };
    return compilePriced(body, within, own, target);
  });
  const loops = undecided(simple);
  if (loops.length === 0) return compileSimple(graph, simple, options, pricing, target, bodies);
  const how = { budget, weighs, outside, pricing };
  return choose(loops, how, (choices, memory, outside) => {
    const roots = check(simplify(decided(simple, choices)));
    const within = { ...rest, outside, ...(memory !== undefined && { memory }) };
    return compileSimple(graph, roots, within, pricing, target, bodies);
  });
}

/** Compiles a graph whose results are simplified, and which leaves nothing to choose. */
function compileSimple(
  graph: Graph,
  simple: readonly Node[],
  options: Unpriced,
  { found, picked }: Pricing,
  target: Target,
  programs: BodyPrograms,
): Priced {
  const check = checking(graph, options);
  const args: Node[] = [...graph.parameters, ...closedLeaves(graph)];
  const nodes = topological(simple), ops = new Set(nodes.map(({ op }) => op));
  const lifted = ops.has("again") ? liftAgain(simple) : undefined;
  const lowered = check(
    lifted === undefined
      ? simplify(lower(simple, nodes))
      : simplify(lower(simplify([...lifted.results, ...lifted.followed]))),
  );
  const recording = ops.has("loop") ? check(keepApart(recordLoops(lowered))) : lowered;
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
  const effort = (loop: PreparedLoop | undefined): Effort | undefined =>
    loop && sumOf([loop.efforts.steps, loop.efforts.besides]);
  const timeBy = (costs: CostModel): Known["timeOf"] => (region, loop) => {
    if (isMove(region)) return costs.transfer(region.frame.store, bytesMoved(region));
    const done = effort(loop);
    return timeOfWork(workOf(region, done), done ?? {}, costs);
  };
  const timeOf = timeBy(found), priceOf = found === picked ? timeOf : timeBy(picked);
  const { outside = nowhere } = options;
  const bodies = new Bodies(regions, programs, target, timeOf, outside);
  const layout = new Layout(
    { args, results, takeovers, loops: bodies.fastest },
    target,
    options.alike,
  );
  const smaller: Known["smaller"] = (besides) => bodies.smaller(besides);
  const planning = new Planning(layout, regions, {
    limits,
    timeOf,
    priceOf,
    isMeasured: picked.otherwise !== undefined,
    asked,
    outside,
    smaller,
    enough: options.enough,
  });
  const programOf = ({ laid, loops, again }: Decision): Priced => {
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
      outside: laid.outside,
      probes: [...loops.values()].flatMap((loop) => loop.probes),
      ...(options.memory !== undefined && { budget: options.memory }),
      timeBy: (costs) =>
        steps.reduce((sum, { region }) => sum + timeBy(costs)(region, loops.get(region)), 0),
      steps: () =>
        steps.map(({ region, first, count }, i) => {
          const loop = loops.get(region), besides = loop?.efforts.besides;
          const done = workOf(region, effort(loop));
          return {
            work: done,
            time: priceOf(region, loop),
            again: again[i]!,
            ...(isMove(region) && { move: { ...region.frame, bytes: bytesMoved(region) } }),
            ...(loop !== undefined && loop.again > 0 && { within: loop.again }),
            ...expectation(region),
            first,
            count,
            ...(besides !== undefined && besides.dispatches > 0 && {
              besides: {
                dispatches: besides.dispatches,
                time: timeOfWork(
                  { ...done, key: `${done.key}, besides its steps`, ...besides },
                  besides,
                  picked,
                ),
                of: loop!.name,
              },
            }),
          };
        }),
      alternatives,
      sweep: () => alternatives().map(offerOf),
      holds: holdsOf(nodes),
      chart() {
        const times = steps.map(({ region }) => priceOf(region, loops.get(region)));
        return drawMemory(graph.name, { laid, again, times, results, budget: options.memory });
      },
      print(stage) {
        const numbers = numbered(printed);
        const nameOf = (node: Node): string =>
          numbers.has(node) ? `%${numbers.get(node)}` : "unused";
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
  };
  let all: readonly Program[] | undefined;
  const alternatives = (): readonly Program[] => all ??= planning.all().map(programOf);
  return programOf(planning.within(options.memory, graph.name));
}

/** Checks a graph after a pass, if that is wanted. */
function checking(
  { parameters }: Graph,
  { verify: wanted }: Unpriced,
): (roots: readonly Node[]) => readonly Node[] {
  return (roots) => {
    if (wanted) verify(roots, parameters);
    return roots;
  };
}

/** Steps that a loop is taken to run, where only its data know. */
function expectation({ frame }: Region): { readonly expected?: number } {
  if (frame.is !== "loop") return {};
  const { length, running, replay } = frame.loop.attributes;
  const open = running !== undefined || replay?.open === true;
  return open ? { expected: expectedSteps(length, open) } : {};
}

/** What is held for ways back, in loops once for every step. */
function holdsOf(nodes: readonly Node[], steps = 1): Hold[] {
  return nodes.flatMap((node): Hold[] => {
    if (is(node, "hold")) return [{ ...avalOf(node), ...node.attributes, steps }];
    const body = is(node, "loop") ? bodyOf(node) : undefined;
    return body === undefined
      ? []
      : holdsOf(topological(body.results), steps * (node as Node<"loop">).attributes.length);
  });
}

/** The scripts of the steps that some values need. */
function partial(steps: Laid["steps"], wanted: readonly Node[]): Script {
  const needed = new Set(wanted);
  const kept: Script[] = [];
  for (const { region: { outputs, inputs }, script } of steps.toReversed()) {
    if (!outputs.some((output) => needed.has(output))) continue;
    // Who made it before made it for others.
    for (const output of outputs) needed.delete(output);
    for (const input of inputs) needed.add(input);
    kept.push(script);
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
