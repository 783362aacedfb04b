/**
 * The planning stage of one compile: nothing to do without a budget, or where everything fits; else
 * the fastest plan whose memory, uniforms included, is within the budget.
 *
 * @module
 */
import type { Outside } from "../graph/loops/replay.ts";
import type { Limits } from "../kernels/legal.ts";
import type { Region } from "../kernels/region.ts";
import { type Asked, honoured } from "./again.ts";
import type { Laid, Layout } from "./layout.ts";
import { partsOf } from "./parts.ts";
import { effortFor, type Plan, plansOf } from "./plan.ts";
import type { Offer, OutsidePlan } from "./program.ts";
import { isMove } from "./moves.ts";
import { bytesAway, type Kitchen, kitchenOf, type Schedule } from "./schedule.ts";

/** What was decided. */
export interface Decision {
  readonly laid: Laid;
  /** For each step whether its values had been made before. */
  readonly again: readonly boolean[];
}

/** What planning must know besides. */
export interface Known {
  readonly limits: Limits;
  /** Microseconds of a region. */
  readonly timeOf: (region: Region) => number;
  /** What checkpoints ask for. */
  readonly asked: Asked | undefined;
  /** Bytes that may wait outside of the device. */
  readonly outside: OutsidePlan;
}

/** Stores in which values may wait, the nearest first. */
function storesOf(asked: Asked | undefined, outside: OutsidePlan): Outside[] {
  const used = (store: Outside): boolean =>
    outside[store] > 0 || (asked?.away.some((away) => away?.store === store) ?? false);
  return (["host", "disk"] as const).filter(used);
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
  #kitchen: Kitchen | undefined;
  #plans: readonly Plan[] | undefined;
  readonly #peaks = new Map<Schedule, number>();
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
      : honoured(known.asked, this.#recipes(), regions, once);
  }

  /**
   * The fastest plan within a budget.
   *
   * @throws {RangeError} if there is none, naming the least that would do.
   */
  within(budget: number | undefined, name: string): Decision {
    const first = this.#decide(this.#start);
    if (budget === undefined || first.laid.memory.peak <= budget) return first;
    const plans = this.#all();
    let least = Infinity;
    for (const { schedule, bytes } of plans) {
      if (bytes > budget) continue;
      const peak = this.#peakOf(schedule);
      if (peak <= budget) return this.#decide(schedule);
      least = Math.min(least, peak);
    }
    // Uniforms come on top: the last plan is the smallest but for them.
    for (const { schedule, bytes } of plans.toReversed()) {
      if (bytes >= least) break;
      least = Math.min(least, this.#peakOf(schedule));
    }
    const { memory } = first.laid;
    throw new BudgetError(
      `Cannot compile ${name}: the budget is ${budget} bytes, expected at least ${least} ` +
        `(arguments take ${memory.arguments}, results ${memory.results}; ` +
        `${memory.peak} if nothing is computed twice)`,
      least,
    );
  }

  /** Bytes against time, from the fastest plan to the smallest. */
  offers(): Offer[] {
    const offers: Offer[] = [];
    for (const { schedule, time } of this.#all()) {
      const peak = this.#peakOf(schedule);
      if (peak < (offers.at(-1)?.bytes ?? Infinity)) {
        const { recipes } = this.#recipes();
        const moves = schedule.filter((r) => isMove(recipes[r]!.region));
        offers.push({
          bytes: peak,
          time,
          again: schedule.length - this.regions.length - moves.length,
          ...(moves.length > 0 && { outside: bytesAway(this.#recipes(), schedule) }),
        });
      }
    }
    return offers;
  }

  #all(): readonly Plan[] {
    return this.#plans ??= plansOf(
      this.#recipes(),
      this.#start,
      effortFor(this.regions.length),
      (schedule) => this.layout.bytesOf(this.#regionsOf(schedule)),
      this.known.outside,
    );
  }

  #recipes(): Kitchen {
    if (this.#kitchen !== undefined) return this.#kitchen;
    const { results, takeovers } = this.layout.given;
    const { limits, timeOf, asked, outside } = this.known;
    const parts = this.regions.map((region) => partsOf(region, limits));
    return this.#kitchen = kitchenOf(
      this.regions,
      parts,
      results,
      takeovers,
      timeOf,
      storesOf(asked, outside),
    );
  }

  #regionsOf(schedule: Schedule): Region[] {
    if (this.#kitchen === undefined) return schedule.map((r) => this.regions[r]!);
    const { recipes } = this.#recipes();
    return schedule.map((r) => recipes[r]!.region);
  }

  /** Bytes of everything, known only when its kernels are written. */
  #peakOf(schedule: Schedule): number {
    let peak = this.#peaks.get(schedule);
    if (peak === undefined) {
      peak = this.layout.lay(this.#regionsOf(schedule)).memory.peak;
      this.#peaks.set(schedule, peak);
    }
    return peak;
  }

  #decide(schedule: Schedule): Decision {
    const ran = new Set<number>();
    const again = schedule.map((r) => {
      const known = r >= this.regions.length || ran.has(r);
      ran.add(r);
      return known;
    });
    const regions = this.#regionsOf(schedule);
    return {
      laid: this.layout.lay(regions),
      again: again.map((known, i) => known && !isMove(regions[i]!)),
    };
  }
}
