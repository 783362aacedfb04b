/**
 * What to hold after a step of a schedule: what is wanted later, and all that it can be made from
 * again, as a problem of cut and knapsack (checkpoint/recompute.ts). Its entries are values, and runs
 * of regions that make several of them at once.
 *
 * @module
 */
import { selectWithin, smallest, type Value } from "../checkpoint/recompute.ts";
import { type Away, type Moment, savedIn, type TaskGraph } from "./schedule.ts";

/** What to hold, and what of the rest is moved outside of the device. */
export interface Choice {
  readonly kept: ReadonlySet<number>;
  readonly moved: ReadonlyMap<number, Away>;
}

/** What a choice has to respect. */
export interface Bounds {
  /** Values that are held in any case. */
  readonly held: ReadonlySet<number>;
  /** Values that can't be made again. */
  readonly fixed: ReadonlySet<number>;
  /** Bytes for all others that are held. */
  readonly room: number;
  /** Where values may go outside of the device. */
  readonly ways: ReadonlyMap<number, Away>;
}

/** The choice of least time. */
export function chosen(graph: TaskGraph, moment: Moment, bounds: Bounds): Choice {
  const problem = new Problem(graph, moment, bounds);
  const least = smallest(problem.entries);
  const { kept, fetched } = least.bytes >= bounds.room
    ? least
    : selectWithin(problem.entries, bounds.room);
  return {
    kept: new Set([...bounds.held, ...kept.flatMap((entry) => problem.heldBy(entry))]),
    moved: new Map(fetched.flatMap((entry) => problem.movedBy(entry))),
  };
}

/** See the top of the file. */
class Problem {
  readonly entries: Value[] = [];
  /** For each entry the values that are held if it is kept. */
  readonly #values: (readonly number[])[] = [];
  /** The entries of values, and those of runs by region. */
  readonly #entryOf = new Map<number, number>();
  readonly #runs = new Map<number, number>();
  /** What ran up to the moment. */
  readonly #ran: ReadonlySet<number>;

  constructor(
    private readonly graph: TaskGraph,
    private readonly moment: Moment,
    private readonly bounds: Bounds,
  ) {
    this.#ran = new Set(moment.schedule.slice(0, moment.at + 1));
    const needed = new Set(moment.wanted);
    for (const v of needed) this.#add(v, needed);
  }

  /** The values that are held if an entry is kept. */
  heldBy(entry: number): readonly number[] {
    return this.#values[entry]!;
  }

  /** The ways that the values of an entry go if it is moved, those that are not there already. */
  movedBy(entry: number): [number, Away][] {
    return this.#values[entry]!.flatMap((v): [number, Away][] =>
      this.#saved(v) === undefined ? [[v, this.bounds.ways.get(v)!]] : []
    );
  }

  /** Adds a value after all that it can be made from. */
  #add(root: number, needed: ReadonlySet<number>): void {
    const stack = [root];
    while (stack.length > 0) {
      const v = stack.at(-1)!, region = this.#entryOf.has(v) ? undefined : this.#remakerOf(v);
      const { reads } = region === undefined ? { reads: [] } : this.graph.tasks[region]!;
      const missing = reads.filter((x) => !this.#entryOf.has(x));
      if (missing.length > 0) {
        stack.push(...missing);
        continue;
      }
      stack.pop();
      if (this.#entryOf.has(v)) continue;
      const made = region === undefined ? this.#unmade(v) : this.#made(region);
      const value = { bytes: this.graph.bytes[v]!, needed: needed.has(v), ...this.#fetch(v) };
      this.#entryOf.set(v, this.#push({ ...value, ...made }, [v]));
    }
  }

  #push(entry: Value, values: readonly number[]): number {
    this.#values.push(values);
    return this.entries.push(entry) - 1;
  }

  /** The region that would make a value again. */
  #remakerOf(v: number): number | undefined {
    const { tasks, remaker, maker } = this.graph, { held, fixed } = this.bounds;
    if (held.has(v) || fixed.has(v)) return undefined;
    return [remaker[v]!, maker[v]!].find((r) => !tasks[r]!.doomed.some((x) => this.#ran.has(x)));
  }

  /** A value that is not made again: it is there, or it must be held. */
  #unmade(v: number): Pick<Value, "time" | "inputs" | "given" | "once"> {
    const isThere = this.bounds.held.has(v) || this.moment.made[v]! < 0;
    return { time: 0, inputs: [], ...(isThere ? { given: true } : { once: true }) };
  }

  /** A value that a region makes, alone or with others in one run. */
  #made(region: number): Pick<Value, "time" | "inputs"> {
    const { tasks, remaker, bytes } = this.graph, { time, reads, writes } = tasks[region]!;
    const inputs = reads.map((x) => this.#entryOf.get(x)!);
    // Others that the region writes may come from parts; it runs for those that do not.
    const own = writes.filter((x) => remaker[x] === region);
    if (own.length <= 1) return { time, inputs };
    let run = this.#runs.get(region);
    if (run === undefined) {
      const all = own.reduce((sum, x) => sum + bytes[x]!, 0);
      run = this.#push(
        { bytes: all, time, inputs },
        own.filter((x) => this.moment.made[x]! >= 0),
      );
      this.#runs.set(region, run);
    }
    return { time: 0, inputs: [run] };
  }

  /** Time to have a value back that is moved, or has been already. */
  #fetch(v: number): { readonly fetch?: number } {
    const { tasks } = this.graph, saved = this.#saved(v), way = this.bounds.ways.get(v);
    if (saved !== undefined) return { fetch: tasks[saved.load]!.time };
    return way === undefined ? {} : { fetch: tasks[way.save]!.time + tasks[way.load]!.time };
  }

  #saved(v: number): Away | undefined {
    return savedIn(this.graph, v, (ticket) => this.moment.made[ticket]! >= 0);
  }
}
