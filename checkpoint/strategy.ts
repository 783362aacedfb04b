/**
 * Strategies of the way back as users name them: what a loop takes for its `backward`. Each is a
 * plan (graph/loops/replay.ts) that can be asked for its schedule; compile/ plays that. Equal plans
 * are one object, so that loops which differ in nothing are one node.
 *
 * @module
 */
import type { Gauge } from "../graph/check.ts";
import { ArenaSizes, type TapeOptions } from "./arena.ts";
import type { Plan, When } from "../graph/loops/replay.ts";
import type { Strategy } from "../graph/scan.ts";
import { type Held, Online } from "./online.ts";
import { batchTransfers } from "./hints.ts";
import { type Level, offload as offloadAll } from "./levels.ts";
import {
  keeping,
  type Leaf,
  nest,
  reverse as reverseAll,
  reversing,
  segments,
  taping,
} from "./reverse.ts";
import { demandInteger, leastAdvances, revolve as revolveAll } from "./revolve.ts";
import { type Action, type Schedule, type Store, stores, turn } from "./schedule.ts";

/** A plan that has a schedule. */
export class SchedulePlan implements Plan {
  /** A plan by its name in words, which says all about it. */
  constructor(
    readonly name: string,
    /** See {@linkcode Plan}; undefined if nothing is inverted. */
    readonly check: "drift" | "bits" | "tape" | undefined,
    /** The actions for a chain of so many steps. */
    readonly schedule: (length: number) => Schedule,
    /** Slots that the schedule uses: 0 to this, exclusive. */
    readonly slots: (length: number) => number,
    /** See {@linkcode Plan}. */
    readonly open?: number,
    /** Where the snapshot in a slot lies. */
    readonly storeOf: (slot: number, length: number) => Store = () => "device",
    /** Set if it records what the inverse gets wrong. */
    readonly tape?: {
      readonly sizes: ArenaSizes;
      /** Steps that are recorded before they are taken back, of a loop of so many. */
      readonly segment: (length: number) => number;
    },
  ) {}

  /** See {@linkcode Plan}. */
  gauge(loop: string): Gauge {
    return this.tape!.sizes.gauge(loop);
  }

  /** See {@linkcode Plan}. */
  get inverts(): boolean {
    return this.check !== undefined;
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

  /** The actions from the turn on. */
  *back(length: number): Generator<Action, void, undefined> {
    let turned = false;
    for (const action of this.schedule(length)) {
      if (turned) yield action;
      turned ||= action.do === "turn";
    }
  }

  #turn(length: number): { readonly at: number; readonly held: readonly Held[] } {
    const live = new Map<number, number>();
    for (const action of this.schedule(length)) {
      if (action.do === "snapshot") live.set(action.slot, action.step);
      else if (action.do === "drop") live.delete(action.slot);
      else if (action.do === "turn") {
        const held = [...live].map(([slot, step]) => ({ slot, step }));
        return { at: action.from, held: held.sort((a, b) => a.slot - b.slot) };
      }
    }
    throw new Error(`Cannot plan ${this.name}: its schedule never turns`);
  }
}

const known = new Map<string, SchedulePlan>();

function planOf(...parts: ConstructorParameters<typeof SchedulePlan>): SchedulePlan {
  const [name] = parts;
  let plan = known.get(name);
  if (plan === undefined) known.set(name, plan = new SchedulePlan(...parts));
  return plan;
}

/** The plan as one that has a schedule. */
export function scheduleOf(plan: Plan): SchedulePlan {
  if (plan instanceof SchedulePlan) return plan;
  throw new TypeError(`Cannot play ${plan.name}: it has no schedule`);
}

function demand(strategy: string, what: string, value: unknown): asserts value is number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1) return;
  throw new RangeError(
    `Cannot make ${strategy}: ${what} is ${String(value)}, expected an integer of at least 1`,
  );
}

/** How {@linkcode revolve} goes back. */
export interface RevolveOptions {
  /** States kept at once, the initial one among them. */
  readonly snapshots: number;
  /**
   * Steps that are one step of the schedule: snapshots lie between segments of so many, and `leaf`
   * goes back over each.
   *
   * @default {1}
   */
  readonly segment?: number;
  /**
   * How a segment is gone back over: `"store"` keeps its states, {@linkcode reverse} inverts them.
   *
   * @default {"store"}
   */
  readonly leaf?: "store" | Strategy;
}

/**
 * Keeps chosen states of a loop and computes the others again, with the fewest steps that so many
 * snapshots allow (Griewank & Walther 2000): for `length` ≤ C(s+r, s) no step runs more than r times
 * besides its own pull. The gradient is that of `"store"`, to the bit.
 *
 * Memory: `snapshots` + 1 states, and one more where a step cannot overwrite its state.
 *
 * @throws {RangeError} if `snapshots` or `segment` is no integer of at least 1.
 * @throws {TypeError} if `leaf` is neither `"store"` nor what `reverse` returns.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const orbit = (backward: rg.Backward) => (x: rg.Tensor) =>
 *   rg.loop((x) => x.mul(x.sub(1)).mul(-3.7), x, { length: 100, backward });
 * const x = rg.tensor(0.3);
 * const few = await rg.grad(orbit(rg.revolve({ snapshots: 5 })))(x).item();
 * assertEquals(few, await rg.grad(orbit("store"))(x).item());
 * ```
 */
export function revolve(options: RevolveOptions): Strategy {
  const { snapshots, segment, leaf = "store" } = options;
  demand("revolve", "snapshots", snapshots);
  if (segment === undefined && leaf === "store") {
    return {
      plan: planOf(
        `revolve(${snapshots})`,
        undefined,
        (length) => revolveAll(length, snapshots),
        (length) => Math.min(snapshots, Math.max(1, length - 1)),
      ),
    };
  }
  demand("revolve", "segment", segment);
  const inner = leafOf(leaf);
  const plan = planOf(
    `revolve(${snapshots}) over segments of ${segment}: ${inner.name}`,
    inner.check,
    (length) => {
      const count = Math.ceil(length / segment);
      const leaves = inner.leaf(snapshots, Math.min(segment, length));
      return length === 0
        ? [turn(0, 0)]
        : nest(revolveAll(count, snapshots), segments(length, segment), leaves);
    },
    (length) => snapshots + inner.slots(Math.min(segment, length)),
    undefined,
    undefined,
    inner.sizes && { sizes: inner.sizes, segment: (length) => Math.min(segment, length) },
  );
  return { plan, ...(leaf !== "store" && { inverse: leaf.inverse! }) };
}

/** What a segment is gone back over with, and the slots that takes. */
function leafOf(leaf: "store" | Strategy): {
  readonly name: string;
  readonly check: SchedulePlan["check"];
  readonly slots: (segment: number) => number;
  readonly leaf: (first: number, segment: number) => Leaf;
  readonly sizes?: ArenaSizes;
} {
  if (leaf === "store") {
    const slots = (segment: number): number => Math.max(1, segment - 1);
    return {
      name: "store",
      check: undefined,
      slots,
      leaf: (first, segment) =>
        keeping(Array.from({ length: slots(segment) }, (_, i) => first + i)),
    };
  }
  if (leaf?.inverse === undefined || !isReverse(leaf.plan)) {
    throw new TypeError(
      `Cannot make revolve: leaf is ${leaf?.plan?.name ?? String(leaf)}, expected "store" or ` +
        "reverse({ inverse })",
    );
  }
  const { name, check, tape } = leaf.plan;
  return {
    name,
    check,
    slots: () => tape === undefined ? 0 : 1,
    leaf: (first) => tape === undefined ? reversing(false) : taping(first),
    ...(tape && { sizes: tape.sizes }),
  };
}

/** True for what {@linkcode reverse} makes, as opposed to what nests it. */
function isReverse(plan: Plan | undefined): plan is SchedulePlan {
  return plan instanceof SchedulePlan && plan.name.startsWith("reverse");
}

/** How {@linkcode online} goes back. */
export interface OnlineOptions {
  /** States kept at once, the initial one among them. */
  readonly snapshots: number;
}

/**
 * As {@linkcode revolve}, for loops whose length is known only when they end: which states are kept
 * is decided while the loop runs (Wang, Moin & Iaccarino 2009; Stumm & Walther 2010). It takes a few
 * per cent more steps than `revolve`, which should be preferred where the length is known.
 *
 * @throws {RangeError} if `snapshots` is no integer of at least 1.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const decay = (backward: rg.Backward) => (x: rg.Tensor) =>
 *   rg.loop((x) => x.mul(0.9).sin(), x, { length: 50, backward });
 * const x = rg.tensor(1);
 * const few = await rg.grad(decay(rg.online({ snapshots: 4 })))(x).item();
 * assertEquals(few, await rg.grad(decay("store"))(x).item());
 * ```
 */
export function online({ snapshots }: OnlineOptions): Strategy {
  demand("online", "snapshots", snapshots);
  return {
    plan: planOf(
      `online(${snapshots})`,
      undefined,
      (length) => playOnline(length, snapshots),
      (length) => Math.min(snapshots, Math.max(1, length)),
      snapshots,
    ),
  };
}

function* playOnline(length: number, snapshots: number): Generator<Action, void, undefined> {
  const chain = new Online({ snapshots });
  yield* chain.forward(Math.max(0, length - 1));
  yield* chain.back(length);
}

/** How {@linkcode offload} goes back. */
export interface OffloadOptions {
  /** States kept on the device at once. @default {0} */
  readonly device?: number;
  /** States kept in the host's memory at once. @default {0} */
  readonly host?: number;
  /**
   * States kept on disk at once, in a file that is gone from its folder as soon as it is open.
   *
   * @default {0}
   */
  readonly disk?: number;
}

/** What a transfer costs, in steps: the snapshots that are used most lie where they cost least. */
const transfers: { readonly [S in Store]: number } = { device: 0, host: 0.5, disk: 2 };

/**
 * Keeps chosen states of a loop as {@linkcode revolve} does, the colder ones outside of the device:
 * in the host's memory, or on disk (Stumm & Walther 2009; Herrmann & Pallez 2020). For chains whose
 * states do not fit on the device, and whose steps take longer than moving a state. The initial
 * state stays on the device. The gradient is that of `"store"`, to the bit.
 *
 * A program with such a loop waits for its transfers, and what is called after it waits behind it.
 * States leave the device several at a time; `memory()` counts what is outside.
 *
 * @throws {RangeError} if a number of states is no integer of at least 0, or there are none.
 * @throws {Deno.errors.NotCapable} when a program runs that keeps states on disk, if it may not read
 * and write the folder for temporary files.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const heat = (backward: rg.Backward) => (x: rg.Tensor) =>
 *   rg.loop((x) => x.mul(0.9).sin(), x, { length: 40, backward }).sum();
 * const x = rg.tensor([1, 2]);
 * const moved = await rg.grad(heat(rg.offload({ device: 2, host: 6 })))(x).array();
 * assertEquals(moved, await rg.grad(heat("store"))(x).array());
 * ```
 */
export function offload({ device = 0, host = 0, disk = 0 }: OffloadOptions): Strategy {
  const counts: { readonly [S in Store]: number } = { device, host, disk };
  for (const store of stores) {
    const count: unknown = counts[store];
    if (typeof count === "number" && Number.isSafeInteger(count) && count >= 0) continue;
    throw new RangeError(
      `Cannot make offload: ${store} is ${String(count)}, expected an integer of at least 0`,
    );
  }
  demand("offload", "the number of states", device + host + disk);
  const slots = (length: number): { readonly [S in Store]: number } => {
    const most = Math.max(1, length);
    return {
      device: Math.min(device, most),
      host: Math.min(host, most),
      disk: Math.min(disk, most),
    };
  };
  const plans = new Map<number, Schedule>();
  const scheduleFor = (length: number): Schedule => {
    const known = plans.get(length);
    if (known !== undefined) return known;
    const levels = stores.map((store): Level => ({
      store,
      slots: counts[store],
      write: transfers[store],
      read: transfers[store],
    }));
    const found = offloadAll(length, levels.filter(({ slots }) => slots > 0));
    const schedule: Schedule = {
      [Symbol.iterator]: () => batchTransfers(byStore(found.schedule(), slots(length))),
    };
    plans.set(length, schedule);
    return schedule;
  };
  return {
    plan: planOf(
      `offload(${device}, ${host}, ${disk})`,
      undefined,
      scheduleFor,
      (length) => stores.reduce((sum, store) => sum + slots(length)[store], 0),
      undefined,
      (slot, length) => {
        const { device, host } = slots(length);
        return slot < device ? "device" : slot < device + host ? "host" : "disk";
      },
    ),
  };
}

/**
 * The schedule with slots numbered store after store, so that a number says where a snapshot lies.
 * A second copy of the initial state is the first: it is on the device anyway.
 */
function* byStore(
  schedule: Schedule,
  counts: { readonly [S in Store]: number },
): Generator<Action, void, undefined> {
  const free = { device: [] as number[], host: [] as number[], disk: [] as number[] };
  let next = 0;
  for (const store of stores) {
    for (let i = 0; i < counts[store]; i++) free[store].push(next++);
    free[store].reverse();
  }
  const places = new Map<number, { readonly slot: number; readonly store: Store }>();
  let initial: number | undefined;
  const copies = new Set<number>();
  for (const action of schedule) {
    switch (action.do) {
      case "snapshot": {
        if (action.step === 0 && initial !== undefined) {
          copies.add(action.slot);
          places.set(action.slot, places.get(initial)!);
          break;
        }
        const slot = free[action.store].pop()!;
        places.set(action.slot, { slot, store: action.store });
        if (action.step === 0) initial = action.slot;
        yield { ...action, slot };
        break;
      }
      case "restore":
        yield { ...action, slot: places.get(action.slot)!.slot };
        break;
      case "drop": {
        const { slot, store } = places.get(action.slot)!;
        places.delete(action.slot);
        if (copies.delete(action.slot)) break;
        free[store].push(slot);
        yield { ...action, slot };
        break;
      }
      default:
        yield action;
    }
  }
}

/** How {@linkcode reverse} goes back. */
export interface ReverseOptions<C, X> {
  /**
   * The state before a step, from the state after it and the row that the step read (in `loop`, the
   * step's number). Like the body it works on trees, and may close over tensors.
   */
  readonly inverse: (carry: C, x: X) => C;
  /**
   * Whether the inverse gives the state back to the bit. `false`: no; how far the initial state has
   * drifted is measured on the device and told by `explain()` and `measured()` of the compiled
   * function. `"grid"`: yes, by its arithmetic, as of states that are multiples of a power of two;
   * other bits in the initial state are an error at the next await. `"tape"`: whatever the inverse
   * gets wrong is stored, a few bits for most of it; for that each step is run again when the way
   * back begins, and undone at once. The gradient is then that of `"store"`, to the bit.
   *
   * @default {false}
   */
  readonly exact?: false | "grid" | "tape";
  /**
   * How much memory the tape gets. One that is too small is an error at the next await, and larger
   * in the next run.
   */
  readonly tape?: TapeOptions;
}

/**
 * Keeps no states but the last: on the way back the inverse of the step computes the one before.
 * Memory does not grow with the length, and every step runs once forward and once backward. What
 * floating point rounds away forward does not come back, so that states drift from what they were:
 * see `exact`.
 *
 * @throws {TypeError} if `inverse` is no function.
 * @throws {RangeError} if the tape's bits are not above 0 and at most 32.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * type State = { x: rg.Tensor; v: rg.Tensor };
 * const h = 0.125;
 * const step = ({ x, v }: State): State => {
 *   const next = v.sub(x.sin().mul(h));
 *   return { x: x.add(next.mul(h)), v: next };
 * };
 * const inverse = ({ x, v }: State): State => {
 *   const before = x.sub(v.mul(h));
 *   return { x: before, v: v.add(before.sin().mul(h)) };
 * };
 * const swing = (backward: rg.Backward) => (x: rg.Tensor) =>
 *   rg.loop(step, { x, v: rg.zeros([]) }, { length: 80, backward }).x;
 * const x = rg.tensor(0.5);
 * const reversed = await rg.grad(swing(rg.reverse({ inverse })))(x).item();
 * assertAlmostEquals(reversed as number, await rg.grad(swing("store"))(x).item() as number, 1e-4);
 * ```
 */
export function reverse<C, X>(
  { inverse, exact = false, tape = {} }: ReverseOptions<C, X>,
): Strategy {
  if (typeof inverse !== "function") {
    throw new TypeError(
      `Cannot make reverse: inverse is ${String(inverse)}, expected a function of the carry and x`,
    );
  }
  if (exact !== false && exact !== "grid" && exact !== "tape") {
    throw new TypeError(
      `Cannot make reverse: exact is ${String(exact)}, expected false, "grid" or "tape"`,
    );
  }
  const { bits = 4 } = tape;
  if (!(bits > 0 && bits <= 32)) {
    throw new RangeError(
      `Cannot make reverse: the tape has ${bits} bits an element, expected more than 0 and at ` +
        "most 32",
    );
  }
  const plan = exact === "tape"
    ? planOf(
      `reverse with a tape of ${bits} bits`,
      "tape",
      (length) => taping(0)(0, length, true),
      () => 1,
      undefined,
      undefined,
      { sizes: new ArenaSizes(bits), segment: (length) => length },
    )
    : planOf(
      exact === false ? "reverse" : "reverse on a grid",
      exact === false ? "drift" : "bits",
      (length) => reverseAll(length, false),
      () => 0,
    );
  return { plan, inverse: inverse as (carry: never, x: never) => unknown };
}

/** Steps that a plan runs again, and runs backwards, for a loop of so many. */
export function extraSteps(
  plan: Plan,
  length: number,
): { readonly advances: number; readonly inversions: number } {
  const revolved = /^revolve\((\d+)\)$/.exec(plan.name);
  if (revolved !== null) {
    return { advances: leastAdvances(length, Number(revolved[1])), inversions: 0 };
  }
  demandInteger("length", length, 0);
  let advances = 0, inversions = 0;
  for (const action of scheduleOf(plan).schedule(length)) {
    if (action.do === "advance") advances += action.to - action.from;
    else if (action.do === "invert") inversions += action.from - action.to;
  }
  return { advances, inversions };
}
