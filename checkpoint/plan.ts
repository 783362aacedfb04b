/**
 * Plans: what a strategy decides for the way back of a loop (graph/loops/replay.ts), as named parts
 * around a schedule; compile/ plays that. Equal plans are one object, so that loops which differ in
 * nothing are one node.
 *
 * @module
 */
import type { Gauge } from "../graph/check.ts";
import type { Plan, When } from "../graph/loops/replay.ts";
import type { TapeSizes } from "./arena.ts";
import type { Held, Segments } from "./online.ts";
import type { Leaf, Taping } from "./reverse.ts";
import type { Action, Schedule, Store } from "./schedule.ts";

/** What a schedule runs besides the pulls, in steps. */
export interface ExtraSteps {
  readonly advances: number;
  readonly inversions: number;
  /** Of the advances after the turn, those that are recorded. */
  readonly recorded: number;
}

/** How a plan records what the inverse gets wrong. */
export interface TapePlan {
  readonly sizes: TapeSizes;
  /** Steps that are recorded before they are taken back, of a loop of so many. */
  readonly segment: (length: number) => number;
}

/** What a plan is made of. */
export interface PlanParts {
  /** The plan in words, which say all about it: plans of one name are one. */
  readonly name: string;
  /** The actions for a chain of so many steps. */
  readonly schedule: (length: number) => Schedule;
  /** Slots that the schedule uses: 0 to this, exclusive. */
  readonly slots: (length: number) => number;
  /** See {@linkcode Plan}; undefined if nothing is inverted. */
  readonly check?: Plan["check"] | undefined;
  /** See {@linkcode Plan}. */
  readonly open?: number;
  /** How it goes back over the steps between the snapshots of such a loop, if not step by step. */
  readonly within?: Segments | undefined;
  /** See {@linkcode Plan}. */
  readonly outer?: Plan | undefined;
  /** Where the snapshot in a slot lies. @default the device */
  readonly storeOf?: (slot: number, length: number) => Store;
  /** Set if it records what the inverse gets wrong. */
  readonly tape?: TapePlan | undefined;
  /** How it goes back over a segment of an outer schedule, with slots from `first` on, if it can. */
  readonly leaf?: (first: number) => Leaf;
  /** What the schedule comes to, where that is known without playing it. */
  readonly extraSteps?: (length: number) => ExtraSteps;
}

/** A plan that has a schedule. */
export class SchedulePlan implements Plan {
  /** A plan of these parts. */
  constructor(readonly parts: PlanParts) {}

  /** See {@linkcode Plan}. */
  get name(): string {
    return this.parts.name;
  }

  /** See {@linkcode Plan}. */
  get check(): Plan["check"] {
    return this.parts.check;
  }

  /** See {@linkcode Plan}. */
  get open(): number | undefined {
    return this.parts.open;
  }

  /** See {@linkcode Plan}. */
  get outer(): Plan | undefined {
    return this.parts.outer;
  }

  /** See {@linkcode Plan}. */
  get inverts(): boolean {
    return this.check !== undefined;
  }

  /** See {@linkcode Plan}. */
  gauge(tape: string, loop: string): Gauge {
    return this.parts.tape!.sizes.of(tape, loop);
  }

  /** See {@linkcode PlanParts}. */
  schedule(length: number): Schedule {
    return this.parts.schedule(length);
  }

  /** See {@linkcode PlanParts}. */
  slots(length: number): number {
    return this.parts.slots(length);
  }

  /** See {@linkcode PlanParts}. */
  storeOf(slot: number, length: number): Store {
    return this.parts.storeOf?.(slot, length) ?? "device";
  }

  /** Snapshots at the turn, in the order of their slots. */
  held(length: number): readonly Held[] {
    return this.#turn(length).held;
  }

  /** See {@linkcode Plan}. */
  atTurn(length: number): readonly When[] {
    const { at, held } = this.#turn(length);
    const when = [
      at,
      ...held.map(({ slot, step }): When => {
        // The initial state is there anyway.
        const store = step === 0 ? "device" : this.storeOf(slot, length);
        return store === "device" ? step : `${store} ${step}`;
      }),
    ];
    return when.includes(0) ? when : [...when, 0];
  }

  /** What is recorded before the turn, if anything is. */
  recorded(length: number): Taping | undefined {
    return this.#turn(length).recorded;
  }

  /** The actions from the turn on. */
  *back(length: number): Generator<Action, void, undefined> {
    let turned = false;
    for (const action of this.schedule(length)) {
      if (turned) yield action;
      turned ||= action.do === "turn";
    }
  }

  /** Steps that it runs again, and runs backwards, for a loop of so many. */
  extraSteps(length: number): ExtraSteps {
    const known = this.parts.extraSteps?.(length);
    if (known !== undefined) return known;
    let advances = 0, inversions = 0, recorded = 0;
    for (const action of this.schedule(length)) {
      if (action.do === "turn") recorded = 0;
      else if (action.do === "invert") inversions += action.from - action.to;
      else if (action.do === "advance") {
        advances += action.to - action.from;
        if (action.tape) recorded += action.to - action.from;
      }
    }
    return { advances, inversions, recorded };
  }

  #turn(length: number): {
    readonly at: number;
    readonly held: readonly Held[];
    readonly recorded: Taping | undefined;
  } {
    const live = new Map<number, number>();
    let latest = -1, recorded: Taping | undefined;
    for (const action of this.schedule(length)) {
      if (action.do === "snapshot") live.set(latest = action.slot, action.step);
      else if (action.do === "drop") live.delete(action.slot);
      else if (action.do === "advance" && action.tape) {
        recorded = { from: action.from, to: action.to, slot: latest };
      } else if (action.do === "turn") {
        const held = [...live].map(([slot, step]) => ({ slot, step }));
        return { at: action.from, held: held.sort((a, b) => a.slot - b.slot), recorded };
      }
    }
    throw new Error(`Cannot plan ${this.name}: its schedule never turns`);
  }
}

const known = new Map<string, SchedulePlan>();

/** The one plan of these parts. */
export function planOf(parts: PlanParts): SchedulePlan {
  let plan = known.get(parts.name);
  if (plan === undefined) known.set(parts.name, plan = new SchedulePlan(parts));
  return plan;
}

/** The plan as one that has a schedule. */
export function scheduleOf(plan: Plan): SchedulePlan {
  if (plan instanceof SchedulePlan) return plan;
  throw new TypeError(`Cannot play ${plan.name}: it has no schedule`);
}

/** Demands a count that a strategy is given. */
export function demand(strategy: string, what: string, value: unknown): asserts value is number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1) return;
  throw new RangeError(
    `Cannot make ${strategy}: ${what} is ${String(value)}, expected an integer of at least 1`,
  );
}
