/**
 * Schedules of regions: the order in which they run, some of them again. A value that is made again
 * is not another value but another run of its region, so a schedule is a list of numbers, and what
 * it keeps follows from it: a value lives from where it is made to the last who reads it before it
 * is made next. {@linkcode forgetting} is the one operation: at some moments values are let go of,
 * and made again right before they are read, or loaded, where they were saved outside of the device.
 *
 * Invariant: whoever runs finds everything that it reads, and nobody runs for nothing.
 *
 * @module
 */
import type { Node } from "../graph/node.ts";
import { type Outside, outsideOf } from "../graph/loops/replay.ts";
import type { Region } from "../kernels/region.ts";
import { movesOf } from "./moves.ts";
import { isArgument } from "./store.ts";
import { bytesOf } from "./order.ts";

/** Something that can run: a region of the program, a part of one, or a move. */
export interface Task {
  readonly region: Region;
  /** Microseconds. */
  readonly time: number;
  /** Bytes that it needs while it runs, besides what it reads and writes. */
  readonly inside: number;
  /** Values that it reads and writes, by number; arguments are not among them. */
  readonly reads: readonly number[];
  readonly writes: readonly number[];
  /**
   * Regions after which it can't run any more: those that overwrite an argument that it reads; and
   * itself, if it keeps states outside of the device, which would be there twice.
   */
  readonly doomed: readonly number[];
}

/** How a value can wait outside of the device. */
export interface Away {
  readonly store: Outside;
  /** What is there as long as the value is kept outside, as a value. */
  readonly ticket: number;
  /** The tasks that move it. */
  readonly save: number;
  readonly load: number;
}

/** All that can run, and the values that tasks hand on to each other. */
export interface TaskGraph {
  /** Values of the program, then tickets. */
  readonly values: readonly Node[];
  readonly bytes: readonly number[];
  /** Regions of the program in the order without a budget, then parts, then moves. */
  readonly tasks: readonly Task[];
  /** How many of the tasks are regions of the program. */
  readonly regions: number;
  /** For each value the region that makes it, and the cheapest task that does. */
  readonly maker: readonly number[];
  readonly remaker: readonly number[];
  /** Values that must be there at the end. */
  readonly results: ReadonlySet<number>;
  /** For each value the stores in which it may wait. */
  readonly away: readonly (readonly Away[])[];
}

/** Tasks by number in the order in which they run. */
export type Schedule = readonly number[];

/** The regions of a program in the order in which they run, and what is known of them. */
export interface Runs {
  readonly regions: readonly Region[];
  /** For each region the parts that make single values of it. */
  readonly parts: readonly ReadonlyMap<Node, Region>[];
  readonly results: readonly Node[];
  /** For each result that overwrites an argument that argument. */
  readonly takeovers: ReadonlyMap<Node, Node>;
  /** Microseconds that a region, a part or a move takes. */
  readonly timeOf: (region: Region) => number;
  /** Bytes that a region needs while it runs. @default none */
  readonly insideOf?: (region: Region) => number;
}

/** Gathers what can run; values may be moved to `stores`. */
export function taskGraphOf(
  { regions, parts, results, takeovers, timeOf, insideOf = () => 0 }: Runs,
  stores: readonly Outside[] = [],
): TaskGraph {
  const values = regions.flatMap(({ outputs }) => outputs);
  const numbers = new Map(values.map((node, i) => [node, i]));
  const maker = regions.flatMap(({ outputs }, i) => outputs.map(() => i));
  const destroyer = new Map<Node, number>();
  for (const [result, argument] of takeovers) destroyer.set(argument, maker[numbers.get(result)!]!);
  const task = (region: Region): Task => ({
    region,
    time: timeOf(region),
    inside: insideOf(region),
    reads: region.inputs.filter((x) => !isArgument(x)).map((x) => numbers.get(x)!),
    writes: region.outputs.map((x) => numbers.get(x)!),
    doomed: region.inputs.flatMap((x) => destroyer.get(x) ?? []),
  });
  const tasks = regions.map((region, r): Task => {
    const once = task(region);
    return sendsStates(region) ? { ...once, doomed: [...once.doomed, r] } : once;
  });
  const remaker = [...maker];
  parts.forEach((own, i) => {
    for (const [node, part] of own) {
      const made = task(part);
      if (made.time > 0.5 * tasks[i]!.time) continue;
      remaker[numbers.get(node)!] = tasks.length;
      tasks.push(made);
    }
  });
  const wanted = new Set(results);
  const away = values.slice().map((node) =>
    wanted.has(node) ? [] : stores.map((store): Away => {
      const { ticket, save, load } = movesOf(node, store);
      numbers.set(ticket, values.push(ticket) - 1);
      const moves = [save, load].map((region) => tasks.push(task(region)) - 1);
      maker.push(moves[0]!);
      remaker.push(moves[0]!);
      return { store, ticket: values.length - 1, save: moves[0]!, load: moves[1]! };
    })
  );
  return {
    values,
    bytes: values.map(bytesOf),
    tasks,
    regions: regions.length,
    maker,
    remaker,
    results: new Set(results.map((x) => numbers.get(x)!)),
    away,
  };
}

/** The pair of moves by which a value comes back, if something has saved it: its ticket is there. */
export function savedIn(
  { away }: TaskGraph,
  v: number,
  isThere: (ticket: number) => boolean,
): Away | undefined {
  return away[v]?.find(({ ticket }) => isThere(ticket));
}

/** Bytes outside of the device at a schedule's fullest moment, store by store. */
export function bytesAway(
  { away, bytes, tasks }: TaskGraph,
  schedule: Schedule,
): { readonly [S in Outside]: number } {
  const ends = new Map<number, number>();
  const owner = new Map<number, { readonly store: Outside; readonly bytes: number }>();
  away.forEach((ways, v) =>
    ways.forEach(({ ticket, store }) => owner.set(ticket, { store, bytes: bytes[v]! }))
  );
  schedule.forEach((r, i) => tasks[r]!.reads.forEach((v) => owner.has(v) && ends.set(v, i)));
  const now = { host: 0, disk: 0 }, peak = { host: 0, disk: 0 };
  schedule.forEach((r, i) => {
    const { reads, writes } = tasks[r]!;
    for (const v of writes) {
      const own = owner.get(v);
      if (own === undefined) continue;
      now[own.store] += own.bytes;
      peak[own.store] = Math.max(peak[own.store], now[own.store]);
    }
    for (const v of reads) if (ends.get(v) === i) now[owner.get(v)!.store] -= owner.get(v)!.bytes;
  });
  return peak;
}

/** Microseconds of all that runs. */
export function timeOfSchedule({ tasks }: TaskGraph, schedule: Schedule): number {
  return schedule.reduce((sum, r) => sum + tasks[r]!.time, 0);
}

/** For each step the bytes that are alive in it, arguments not counted. */
export function liveBytes(graph: TaskGraph, schedule: Schedule): Float64Array {
  const { tasks, bytes, results } = graph;
  const live = new Float64Array(schedule.length + 1);
  const end = new Int32Array(bytes.length).fill(-1);
  for (const v of results) end[v] = schedule.length;
  for (let i = schedule.length - 1; i >= 0; i--) {
    const { reads, writes, inside } = tasks[schedule[i]!]!;
    live[i]! += inside;
    live[i + 1]! -= inside;
    for (const v of writes) {
      live[i]! += bytes[v]!;
      const last = Math.max(end[v]!, i);
      if (last + 1 < live.length) live[last + 1]! -= bytes[v]!;
      end[v] = -1;
    }
    for (const v of reads) if (end[v]! < 0) end[v] = i;
  }
  for (let i = 1; i < live.length; i++) live[i]! += live[i - 1]!;
  return live.subarray(0, schedule.length);
}

/** What is there and wanted after a step of a schedule, from what was made up to it. */
export interface Moment {
  readonly schedule: Schedule;
  /** The step. */
  readonly at: number;
  /** Values made up to the step: the last step that made each, or -1. */
  readonly made: Int32Array;
  /** Values made up to the step: the last step up to it that reads each, or -1. */
  readonly read: Int32Array;
  /** Values that are read later, before they are made again, or are there at the end. */
  readonly wanted: readonly number[];
}

/** Looks at a schedule right after step `at`. */
export function momentOf(graph: TaskGraph, schedule: Schedule, at: number): Moment {
  const { tasks, bytes, results } = graph;
  const made = new Int32Array(bytes.length).fill(-1), read = new Int32Array(bytes.length).fill(-1);
  for (let i = 0; i <= at; i++) {
    const { reads, writes } = tasks[schedule[i]!]!;
    for (const v of reads) read[v] = i;
    for (const v of writes) made[v] = i;
  }
  const settled = new Uint8Array(bytes.length), wanted: number[] = [];
  const settle = (v: number, isRead: boolean): void => {
    if (settled[v] === 1 || made[v]! < 0) return;
    settled[v] = 1;
    if (isRead) wanted.push(v);
  };
  for (let i = at + 1; i < schedule.length; i++) {
    const { reads, writes } = tasks[schedule[i]!]!;
    for (const v of reads) settle(v, true);
    for (const v of writes) settle(v, false);
  }
  for (const v of results) settle(v, true);
  return { schedule, at, made, read, wanted };
}

/** A schedule, or the values that can't be made again: an argument they need is overwritten. */
export type Remade = { readonly schedule: Schedule } | { readonly lost: ReadonlySet<number> };

/**
 * The schedule in which, of what was made up to step `at`, only `kept` is held after it, and the
 * rest is there again right before it is read: loaded where it is `moved`, else made.
 */
export function remake(
  graph: TaskGraph,
  schedule: Schedule,
  at: number,
  kept: Iterable<number>,
  moved: ReadonlyMap<number, Away> = new Map(),
): Remade {
  const gone = new Set<number>();
  for (const r of schedule.slice(0, at + 1)) {
    for (const v of graph.tasks[r]!.writes) if (!isTicket(graph, v)) gone.add(v);
  }
  for (const v of kept) gone.delete(v);
  const saving = withSaves(graph, schedule, at, moved);
  return forgetting(graph, saving, new Map([[at + 1 + saving.length - schedule.length, gone]]));
}

/** True of a loop that keeps states outside of the device for its way back. */
function sendsStates({ frame }: Region): boolean {
  return frame.is === "loop" &&
    frame.loop.attributes.kept.some(([, when]) => outsideOf(when) !== undefined);
}

/** True of what stands for a value that waits outside of the device. */
export function isTicket({ away }: TaskGraph, v: number): boolean {
  return v >= away.length;
}

/** The schedule in which values are saved as soon as they are made for the last time up to `at`. */
export function withSaves(
  { tasks }: TaskGraph,
  schedule: Schedule,
  at: number,
  moved: ReadonlyMap<number, Away>,
): Schedule {
  const left = new Map(moved), after = new Map<number, number[]>();
  for (let i = at; i >= 0 && left.size > 0; i--) {
    for (const v of tasks[schedule[i]!]!.writes) {
      const away = left.get(v);
      if (away === undefined) continue;
      left.delete(v);
      after.set(i, [...after.get(i) ?? [], away.save]);
    }
  }
  return schedule.flatMap((r, i) => [r, ...after.get(i) ?? []]);
}

/** The schedule in which values are let go of before some steps, and made again before they are read. */
export function forgetting(
  graph: TaskGraph,
  schedule: Schedule,
  forgotten: ReadonlyMap<number, Iterable<number>>,
): Remade {
  const { tasks, maker, remaker } = graph;
  const isHere = (v: number): boolean => here.has(v);
  const here = new Set<number>(), ran = new Set<number>(), lost = new Set<number>();
  const steps: number[] = [];
  const run = (r: number): void => {
    steps.push(r);
    ran.add(r);
    for (const v of tasks[r]!.writes) here.add(v);
  };
  const runs = (r: number): boolean => !tasks[r]!.doomed.some((region) => ran.has(region));
  const make = (wanted: number): void => {
    const stack = [wanted];
    while (stack.length > 0) {
      const v = stack[stack.length - 1]!;
      if (here.has(v)) {
        stack.pop();
        continue;
      }
      const r = savedIn(graph, v, isHere)?.load ??
        (runs(remaker[v]!) ? remaker[v]! : maker[v]!);
      if (!runs(r)) {
        lost.add(v);
        here.add(v);
        continue;
      }
      const missing = tasks[r]!.reads.filter((x) => !here.has(x));
      if (missing.length > 0) stack.push(...missing);
      else run(r);
    }
  };
  schedule.forEach((r, i) => {
    for (const v of forgotten.get(i) ?? []) here.delete(v);
    for (const v of tasks[r]!.reads) if (!here.has(v)) make(v);
    run(r);
  });
  return lost.size > 0 ? { lost } : { schedule: pruned(graph, steps) };
}

/** The schedule without runs of which nobody reads anything. */
export function pruned({ tasks, bytes, results }: TaskGraph, schedule: Schedule): Schedule {
  const wanted = new Uint8Array(bytes.length);
  for (const v of results) wanted[v] = 1;
  const steps: number[] = [];
  for (let i = schedule.length - 1; i >= 0; i--) {
    const r = schedule[i]!;
    const { reads, writes } = tasks[r]!;
    if (!writes.some((v) => wanted[v] === 1)) continue;
    for (const v of writes) wanted[v] = 0;
    for (const v of reads) wanted[v] = 1;
    steps.push(r);
  }
  return steps.reverse();
}
