/**
 * A program is what a graph compiles to: slots of device memory and a list of dispatches over them,
 * still without a device. Everything that will be allocated is known here, so the peak it predicts
 * is what will be counted.
 *
 * @module
 */
import type { Work } from "../checkpoint/cost.ts";
import type { Outside } from "../graph/loops/replay.ts";
import type { Aval } from "../graph/node.ts";
import type { Kernel } from "../kernels/kernel.ts";
import type { Tuning } from "../kernels/tuning.ts";
import type { Script } from "./script.ts";

/** What a slot of memory is for. Arguments and results come from and go to the caller. */
export type SlotRole =
  | { readonly is: "argument"; readonly index: number }
  | { readonly is: "result" }
  | { readonly is: "workspace" };

/** A buffer that the program runs on. */
export interface Slot {
  /** Its size, a multiple of 16. */
  readonly bytes: number;
  /** What it is for. */
  readonly role: SlotRole;
}

/** One dispatch: a kernel over slots, in the order of the kernel's bindings. */
export interface Dispatch {
  /** What runs. */
  readonly kernel: Kernel;
  /** The slots it runs on, in the order of the kernel's bindings. */
  readonly slots: readonly number[];
  /** What lies in each of these slots: before the dispatch if it is read, else after it. */
  readonly avals: readonly Aval[];
  /** The expression that the region computes, and where the user wrote it if known. */
  readonly expression: string;
  /** `file:line:column` of the user's code. */
  readonly source?: string;
}

/** Where a result of the program lies once it has run. Zero-sized results lie nowhere (-1). */
export interface Result extends Aval {
  /** Its slot, or -1. */
  readonly slot: number;
}

/** Bytes of device memory, by what they are for. */
export interface MemoryPlan {
  /** Arguments that the program reads, donated ones included. */
  readonly arguments: number;
  /** Results in memory of their own: those that took over no argument. */
  readonly results: number;
  /** Values that live within a run. */
  readonly workspace: number;
  /** Sizes and other constants of kernels. */
  readonly uniforms: number;
  /** All of it: what is alive at the fullest moment. */
  readonly peak: number;
}

/** Bytes that a program keeps outside of the device, at the fullest moment of each store. */
export type OutsidePlan = { readonly [S in Outside]: number };

/** Nothing outside of the device. */
export const nowhere: OutsidePlan = { host: 0, disk: 0 };

/** Plans in one, store by store: the sum of what is there at once, or the most of what is in turn. */
export function mergeOutside(
  plans: readonly OutsidePlan[],
  how: "at once" | "in turn",
): OutsidePlan {
  const merged = (store: Outside): number =>
    plans.reduce(
      (n, plan) => how === "at once" ? n + plan[store] : Math.max(n, plan[store]),
      0,
    );
  return { host: merged("host"), disk: merged("disk") };
}

/**
 * What a loop does for its way back besides its own steps: it keeps states, and takes them from
 * where they are kept, runs steps again or backwards, and records what the inverse gets wrong.
 */
export interface Besides {
  /** What the loop is called. */
  readonly of: string;
  /** How many kernels run for that. */
  readonly dispatches: number;
  /** Microseconds that it is expected to take. */
  readonly time: number;
}

/** One region that runs, or a loop. */
export interface Step {
  /** What it does. */
  readonly work: Work;
  /** Microseconds that it is expected to take. */
  readonly time: number;
  /** Of that, what a loop does besides its own steps: see {@linkcode Besides}. */
  readonly besides?: Besides;
  /** What it makes had been made before, and was let go of. */
  readonly again: boolean;
  /** It has no dispatches: a value goes to a store outside of the device, or comes back. */
  readonly move?: {
    readonly is: "save" | "load";
    readonly store: Outside;
    readonly bytes: number;
  };
  /** Of a loop: how many regions within a step of it run again. */
  readonly within?: number;
  /** Of a loop whose data say how long it runs: steps that its work and time are for. */
  readonly expected?: number;
  /** The number of its first dispatch. */
  readonly first: number;
  /** How many dispatches it has: loops have several. */
  readonly count: number;
}

/** A plan that a program could follow. */
export interface Offer {
  /** Device memory in bytes, all in all: the budget that it takes. */
  readonly bytes: number;
  /** Microseconds that the device is expected to take. */
  readonly time: number;
  /** How many regions run more often than once. */
  readonly again: number;
  /** Bytes that wait outside of the device at the fullest moment of each store, where any do. */
  readonly outside?: OutsidePlan;
  /** How loops are gone back over for which that is chosen. */
  readonly loops?: readonly string[];
}

/** What a program holds for a way back instead of what it was made from, in words and sizes. */
export interface Hold extends Aval {
  /** What it is. */
  readonly label: string;
  /** Whether the gradient that is made from it is an estimate. */
  readonly estimate: boolean;
  /** How many steps of loops hold one each; 1 outside of loops. */
  readonly steps: number;
}

/** A compiled graph. */
export interface Program {
  /** Name of the function it was compiled from. */
  readonly name: string;
  /** Shapes and dtypes of the arguments: the graph's parameters, then the leaves it closes over. */
  readonly arguments: readonly Aval[];
  /** Arguments whose memory the program may overwrite. */
  readonly donated: readonly number[];
  /** All memory it touches. */
  readonly slots: readonly Slot[];
  /** What runs, each once. */
  readonly dispatches: readonly Dispatch[];
  /** In which order. */
  readonly script: Script;
  /** Where its results lie. */
  readonly results: readonly Result[];
  /** The script without what these results do not need. */
  partial(results: readonly number[]): Script;
  /** The bytes it takes. */
  readonly memory: MemoryPlan;
  /** The bytes it keeps elsewhere while it runs. */
  readonly outside: OutsidePlan;
  /** The bytes that it may take, where somebody said so. */
  readonly budget?: number;
  /** What was chosen for loops whose way back was left to the compiler. */
  readonly choices?: readonly string[];
  /** What was weighed for them, each if nothing else is made twice. */
  weighed?(): Offer[];
  /** What runs, in order, and what it is expected to cost. */
  steps(): Step[];
  /** What other budgets would give, from the fastest to the smallest; this one is among them. */
  alternatives(): readonly Program[];
  /** Bytes against time: {@linkcode alternatives} in figures. */
  sweep(): Offer[];
  /** What would make it faster if it were known to have the same bits. */
  readonly probes: readonly Probe[];
  /** Sketches and the like: what way backs read that the user allowed to be something else. */
  readonly holds: readonly Hold[];
  /** What is alive in device memory while it runs, as an SVG picture that stands alone. */
  chart(): string;
  /** The stages of this compile as text, by name: graph, regions, wgsl, memory. */
  print(stage: "graph" | "regions" | "wgsl" | "memory"): string;
}

/** Microseconds that a program is expected to take. */
export function timeOf(program: Program): number {
  return program.steps().reduce((sum, { time }) => sum + time, 0);
}

/** How many regions run again, in bodies of loops once for all steps. */
export function runAgain(program: Program): number {
  return program.steps().reduce((sum, { again, within = 0 }) => sum + Number(again) + within, 0);
}

/** What a program offers. */
export function offerOf(program: Program): Offer {
  const { outside } = program;
  return {
    bytes: program.memory.peak,
    time: timeOf(program),
    again: runAgain(program),
    ...(outside.host + outside.disk > 0 && { outside }),
    ...(program.choices !== undefined && { loops: program.choices }),
  };
}

/** Uniforms begin at multiples of this. */
const uniformAlignment = 256;

/** Where each dispatch's uniforms lie in one buffer, and its bytes: equal contents lie there once. */
export function uniformsOf(
  dispatches: readonly Dispatch[],
): { readonly offsets: readonly (number | undefined)[]; readonly bytes: number } {
  const places = new Map<string, number>();
  let bytes = 0;
  const offsets = dispatches.map(({ kernel: { uniforms } }) => {
    if (uniforms === undefined) return undefined;
    const key = uniforms.join();
    let place = places.get(key);
    if (place === undefined) {
      places.set(key, place = bytes);
      bytes += Math.ceil(uniforms.byteLength / uniformAlignment) * uniformAlignment;
    }
    return place;
  });
  return { offsets, bytes };
}

/** A program that runs in a probe. */
export interface ProbeRun {
  /** What runs. */
  readonly program: Program;
  /** The numbers of its arguments. */
  readonly from: readonly number[];
}

/**
 * Ways of computing the same, of which it has to be seen whether they have the same bits: on the
 * device, from the same values. Values have numbers: those given, then the results of each run.
 */
export interface Probe {
  /** Names what runs; of one key, one probe is enough. */
  readonly key: string;
  /** What it is about, in messages. */
  readonly name: string;
  /** Samples to begin with. Where one counts, it is a whole number that is made for each sample. */
  readonly given: readonly (Aval & { readonly counts?: (sample: number) => number })[];
  /** What runs in turn, and the numbers of the results that are compared with the first way's. */
  readonly ways: readonly {
    readonly runs: readonly ProbeRun[];
    readonly results: readonly number[];
  }[];
}

/** Knows what came of probes on a device. */
export interface Probes {
  /** Whether all ways had the same bits; undefined if it was not tried yet. */
  same(key: string): boolean | undefined;
}

/** What compilation must know of a device, without having one. */
export interface Target {
  /** Storage buffers per stage. */
  readonly maxBindings: number;
  /** Bytes of the largest storage binding. */
  readonly maxBindingBytes: number;
  readonly maxWorkgroups: number;
  /** Which tiles to prefer. */
  readonly kind: "software" | "integrated" | "discrete";
  readonly f16: boolean;
  /** Subgroups work and have exactly 8 invocations when a workgroup has 8. */
  readonly shuffle: boolean;
  /** Bytes of memory that a workgroup shares. @default {16384} what WebGPU promises */
  readonly maxWorkgroupBytes?: number;
  /** What was measured on this adapter. */
  readonly tuning?: Tuning;
  /** What was tried on this device; without it, nothing is that would have to be tried. */
  readonly probes?: Probes;
}
