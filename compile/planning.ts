/**
 * The planning stage of one compile: nothing to do without a budget, or where everything fits; else
 * the fastest plan whose memory, uniforms included, is within the budget. A plan says which regions
 * run again, and in how much memory loops run.
 *
 * @module
 */
import type { Outside } from "../graph/loops/replay.ts";
import type { Node } from "../graph/node.ts";
import type { Limits } from "../kernels/legal.ts";
import type { Region } from "../kernels/region.ts";
import { type Asked, honoured } from "./again.ts";
import { insideOf, type Loops } from "./bodies.ts";
import { spread, undominated } from "./frontier.ts";
import type { Laid, Layout } from "./layout.ts";
import type { PreparedLoop } from "./prepared.ts";
import { partsOf } from "./parts.ts";
import { effortFor, type Plan, plansOf } from "./plan.ts";
import type { OutsidePlan } from "./program.ts";
import { isMove } from "./moves.ts";
import { liveBytes, type Schedule, type TaskGraph, taskGraphOf } from "./schedule.ts";

/** What was decided. */
export interface Decision {
  readonly laid: Laid;
  readonly loops: Loops;
  /** For each step whether its values had been made before. */
  readonly again: readonly boolean[];
}

/** Microseconds of a region, which may be a loop. */
type TimeOf = (region: Region, loop: PreparedLoop | undefined) => number;

/** What planning must know besides. */
export interface Known {
  readonly limits: Limits;
  /** Microseconds of a region, which may be such a loop: by these plans are found. */
  readonly timeOf: TimeOf;
  /** By these the fastest of them is picked; the same if nothing was measured. */
  readonly priceOf: TimeOf;
  /** Whether these were measured, so that what runs again may be the faster. */
  readonly isMeasured: boolean;
  /** What checkpoints ask for. */
  readonly asked: Asked | undefined;
  /** Bytes that may wait outside of the device. */
  readonly outside: OutsidePlan;
  /** How many plans are enough, if not as many as there are. */
  readonly enough: number | undefined;
  /** Loops in less and less memory, from what is alive besides while a region runs. */
  readonly smaller: (besides: (region: Region) => number) => readonly Loops[];
}

/** Stores in which values may wait, the nearest first. */
function storesOf(asked: Asked | undefined, outside: OutsidePlan): Outside[] {
  const used = (store: Outside): boolean =>
    outside[store] > 0 || (asked?.away.some((away) => away?.store === store) ?? false);
  return (["host", "disk"] as const).filter(used);
}

/** A plan with its loops. */
interface Candidate extends Plan {
  readonly layout: Layout;
}

/** A budget that no plan keeps to. */
export class BudgetError extends RangeError {
  override readonly name = "RangeError";

  /** Says so; the least is that which a plan keeps to. */
  constructor(message: string, readonly least: number) {
    super(message);
  }
}

/** The plans of one program. */
export class Planning {
  #parts: readonly ReadonlyMap<Node, Region>[] | undefined;
  readonly #graphs = new Map<Layout, TaskGraph>();
  #candidates: readonly Candidate[] | undefined;
  readonly #peaks = new Map<Candidate, number>();
  /** Where no budget asks for more: everything once, but for what checkpoints ask for. */
  readonly #start: Schedule;

  /** Of regions in the order in which they run where nothing runs again. */
  constructor(
    private readonly layout: Layout,
    private readonly regions: readonly Region[],
    private readonly known: Known,
  ) {
    const once = regions.map((_, i) => i);
    this.#start = known.asked === undefined
      ? once
      : honoured(known.asked, this.#taskGraphOf(layout), regions, once);
  }

  /**
   * The fastest plan within a budget.
   *
   * @throws {RangeError} if there is none, naming the least that would do.
   */
  within(budget: number | undefined, name: string): Decision {
    const first = this.#decide(this.layout, this.#start);
    if (budget === undefined) return first;
    if (!this.known.isMeasured && first.laid.memory.peak <= budget) return first;
    const candidates = this.#all();
    let least = Infinity;
    for (const candidate of candidates) {
      if (candidate.bytes > budget) continue;
      const peak = this.#peakOf(candidate);
      if (peak <= budget) return this.#decide(candidate.layout, candidate.schedule);
      least = Math.min(least, peak);
    }
    // Uniforms come on top: the last plan is the smallest but for them.
    for (const candidate of candidates.toSorted((a, b) => a.bytes - b.bytes)) {
      if (candidate.bytes >= least) break;
      least = Math.min(least, this.#peakOf(candidate));
    }
    const { memory } = first.laid;
    throw new BudgetError(
      `Cannot compile ${name}: the budget is ${budget} bytes, expected at least ${least} ` +
        `(arguments take ${memory.arguments}, results ${memory.results}; ` +
        `${memory.peak} if nothing is computed twice)`,
      least,
    );
  }

  /** What any budget would give, from the fastest to the smallest. */
  all(): Decision[] {
    let least = Infinity;
    return spread(this.#all(), this.known.enough ?? Infinity).flatMap((candidate) => {
      const decision = this.#decide(candidate.layout, candidate.schedule);
      const { peak } = decision.laid.memory;
      if (peak >= least) return [];
      least = peak;
      return [decision];
    });
  }

  #all(): readonly Candidate[] {
    if (this.#candidates !== undefined) return this.#candidates;
    const { layout, known, regions } = this, graph = this.#taskGraphOf(layout);
    const alive = liveBytes(graph, this.#start);
    const besides = (region: Region): number => {
      const r = regions.indexOf(region);
      return alive[this.#start.lastIndexOf(r)]! - graph.tasks[r]!.inside;
    };
    // What bodies have outside while a loop runs is not there for values that wait meanwhile.
    const given = insideOf(layout.given.loops);
    const leftBeside = ({ given: { loops } }: Layout): OutsidePlan => {
      const inside = insideOf(loops), { host, disk } = known.outside;
      return { host: host + given.host - inside.host, disk: disk + given.disk - inside.disk };
    };
    const layouts = [layout, ...known.smaller(besides).map((loops) => layout.with(loops))];
    const effort = effortFor(regions.length * layouts.length, known.enough);
    const found = undominated(layouts.flatMap((layout) =>
      plansOf(
        this.#taskGraphOf(layout),
        this.#start,
        effort,
        (schedule) => layout.bytesOf(this.#regionsOf(schedule)),
        leftBeside(layout),
      ).map((plan) => ({ ...plan, layout }))
    ));
    return this.#candidates = known.priceOf === known.timeOf ? found : this.#priced(found);
  }

  /** Plans by what they are to be picked by, none left out: a plan is no larger for being slow. */
  #priced(found: readonly Candidate[]): Candidate[] {
    const prices = new Map<Layout, readonly number[]>();
    for (const { layout } of found) {
      if (prices.has(layout)) continue;
      const { tasks } = this.#taskGraphOf(layout), { loops } = layout.given;
      prices.set(
        layout,
        tasks.map(({ region }) => this.known.priceOf(region, loops.get(region))),
      );
    }
    return found.map((plan) => {
      const price = prices.get(plan.layout)!;
      return { ...plan, time: plan.schedule.reduce((sum, r) => sum + price[r]!, 0) };
    }).sort((a, b) => a.time - b.time || a.bytes - b.bytes);
  }

  #taskGraphOf(layout: Layout): TaskGraph {
    let graph = this.#graphs.get(layout);
    if (graph === undefined) {
      const { regions, known: { limits, timeOf, asked, outside } } = this;
      const { results, takeovers, loops } = layout.given;
      const parts = this.#parts ??= regions.map((region) => partsOf(region, limits));
      const runs = {
        regions,
        parts,
        results,
        takeovers,
        timeOf: (region: Region) => timeOf(region, loops.get(region)),
        insideOf: (region: Region) => scratchOf(loops.get(region)),
      };
      graph = taskGraphOf(runs, storesOf(asked, outside));
      this.#graphs.set(layout, graph);
    }
    return graph;
  }

  #regionsOf(schedule: Schedule): Region[] {
    // Whatever memory loops run in, regions have the same numbers.
    return schedule.map((r) => this.regions[r] ?? this.#taskGraphOf(this.layout).tasks[r]!.region);
  }

  /** Bytes of everything, known only when its kernels are written. */
  #peakOf(candidate: Candidate): number {
    let peak = this.#peaks.get(candidate);
    if (peak === undefined) {
      const { layout, schedule } = candidate;
      peak = layout.lay(this.#regionsOf(schedule)).memory.peak;
      this.#peaks.set(candidate, peak);
    }
    return peak;
  }

  #decide(layout: Layout, schedule: Schedule): Decision {
    const laid = layout.lay(this.#regionsOf(schedule));
    const ran = new Set<number>();
    const again = schedule.map((r) => {
      const known = r >= this.regions.length || ran.has(r);
      ran.add(r);
      return known;
    });
    return {
      laid,
      loops: layout.given.loops,
      again: again.map((known, i) => known && !isMove(laid.steps[i]!.region)),
    };
  }
}

/** Bytes that a loop needs while it runs, but for what begins in the memory of a value. */
function scratchOf(loop: PreparedLoop | undefined): number {
  return (loop?.scratch ?? []).reduce(
    (sum, { bytes, over }) => over === undefined ? sum + bytes : sum,
    0,
  );
}
