/**
 * Strategies of the way back as users name them: what a loop takes for its `backward`. Each is a
 * plan around a schedule (plan.ts); `offload`, which has more to decide, is in offload.ts.
 *
 * @module
 */
import { checkNames, checkOptions, describe } from "../graph/describe.ts";
import type { Strategy } from "../graph/scan.ts";
import { type TapeOptions, TapeSizes } from "./arena.ts";
import { Online, type Segments } from "./online.ts";
import { demand, planOf, type PlanParts, SchedulePlan } from "./plan.ts";
import {
  keeping,
  type Leaf,
  nest,
  reverse as reverseAll,
  reversing,
  segments,
  taping,
} from "./reverse.ts";
import { leastAdvances, revolve as revolveAll } from "./revolve.ts";
import { type Action, turn } from "./schedule.ts";

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
 * In a loop that ends when its data say so, as `whileLoop`, the snapshots are those of
 * {@linkcode online}, which takes a few more steps; what lies between two of them is gone back over by
 * segments as here.
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
  checkNames(options, { snapshots: true, segment: true, leaf: true }, "make revolve");
  const { snapshots, segment, leaf = "store" } = options;
  demand("revolve", "snapshots", snapshots);
  if (segment === undefined && leaf === "store") {
    return {
      plan: planOf({
        name: `revolve(${snapshots})`,
        schedule: (length) => revolveAll(length, snapshots),
        slots: (length) => Math.min(snapshots, Math.max(1, length - 1)),
        open: snapshots,
        extraSteps: (length) => ({
          advances: leastAdvances(length, snapshots),
          inversions: 0,
          recorded: 0,
        }),
      }),
    };
  }
  demand("revolve", "segment", segment);
  const plan = revolveOver(snapshots, segment, leaf === "store" ? leaf : leafPlan(leaf));
  return { plan, ...(leaf !== "store" && { inverse: leaf.inverse! }) };
}

/** {@linkcode revolve} over segments, each stored or gone back over by a plan that inverts. */
export function revolveOver(
  snapshots: number,
  segment: number,
  leaf: "store" | SchedulePlan,
): SchedulePlan {
  const inner = innerOf(leaf);
  return planOf({
    ...over(snapshots, segment, inner),
    name: `revolve(${snapshots}) over segments of ${segment}: ${inner.name}`,
    schedule: (length) => {
      const outer = revolveAll(Math.ceil(length / segment), snapshots);
      return length === 0
        ? [turn(0, 0)]
        : nest(outer, segments(length, segment), inner.leaf(snapshots));
    },
  });
}

/** {@linkcode online} over segments that are gone back over by a plan that inverts. */
export function onlineOver(snapshots: number, segment: number, leaf: SchedulePlan): SchedulePlan {
  const inner = innerOf(leaf), parts = over(snapshots, segment, inner);
  return planOf({
    ...parts,
    name: `online(${snapshots}) over segments of ${segment}: ${inner.name}`,
    schedule: (length) => playOnline(length, snapshots, parts.within),
  });
}

/** What plans over segments have in common. */
function over(
  snapshots: number,
  segment: number,
  { check, slots, tape, leaf }: Inner,
): Omit<PlanParts, "name" | "schedule"> & { readonly within: Segments } {
  const within = (length: number): number => Math.min(segment, length);
  return {
    check,
    slots: (length) => snapshots + slots(within(length)),
    open: snapshots,
    within: { steps: segment, leaf: leaf(snapshots), slots: slots(segment) },
    outer: check === undefined ? undefined : online({ snapshots }).plan,
    tape: tape && { ...tape, segment: within },
  };
}

/** What goes back over a segment. */
type Inner = Pick<PlanParts, "name" | "check" | "slots" | "tape"> & {
  readonly leaf: (first: number) => Leaf;
};

/** A segment whose states are kept. */
const stored: Inner = {
  name: "store",
  slots: (segment) => Math.max(1, segment - 1),
  leaf: (first) => (from, to, last) => {
    const slots = Array.from({ length: stored.slots(to - from) }, (_, i) => first + i);
    return keeping(slots)(from, to, last);
  },
};

function innerOf(leaf: "store" | SchedulePlan): Inner {
  return leaf === "store" ? stored : { ...leaf.parts, leaf: leaf.parts.leaf! };
}

/** What a strategy goes back over a segment with. */
function leafPlan(strategy: Strategy): SchedulePlan {
  const plan = strategy?.plan;
  if (plan instanceof SchedulePlan && plan.parts.leaf !== undefined) return plan;
  throw new TypeError(
    `Cannot make revolve: leaf is ${plan?.name ?? String(strategy)}, ` +
      'expected "store" or reverse({ inverse })',
  );
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
export function online(options: OnlineOptions): Strategy {
  checkNames(options, { snapshots: true }, "make online");
  const { snapshots } = options;
  demand("online", "snapshots", snapshots);
  return {
    plan: planOf({
      name: `online(${snapshots})`,
      schedule: (length) => playOnline(length, snapshots),
      slots: (length) => Math.min(snapshots, Math.max(1, length)),
      open: snapshots,
    }),
  };
}

function* playOnline(
  length: number,
  snapshots: number,
  within?: Segments,
): Generator<Action, void, undefined> {
  const chain = new Online({ snapshots });
  yield* chain.forward(Math.max(0, length - 1));
  yield* chain.back(length, within);
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
   * gets wrong is stored, a few bits for most of it; for that each step is undone at once on the
   * way forward. The gradient is then that of `"store"`, to the bit.
   *
   * @default {false}
   */
  readonly exact?: false | "grid" | "tape";
  /**
   * How much memory the tape gets. With one that is too small some steps run again, as often as it
   * takes, and the next run has a larger one. Only with `exact: "tape"`.
   */
  readonly tape?: TapeOptions;
}

/**
 * Keeps no states but the last: on the way back the inverse of the step computes the one before.
 * Memory does not grow with the length, and every step runs once forward and once backward. What
 * floating point rounds away forward does not come back, so that states drift from what they were:
 * see `exact`.
 *
 * @throws {TypeError} if `inverse` is no function, an option is not what it should be, or there are
 * options of a tape without one.
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
  // Often an integrator with its inverse, and what else there is of it.
  options: ReverseOptions<C, X>,
): Strategy {
  checkOptions(options, "make reverse", "{ inverse }");
  const { inverse, exact = false, tape: given } = options;
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
  if (given !== undefined && exact !== "tape") {
    throw new TypeError(
      `Cannot make reverse: there are options of a tape and exact is ${JSON.stringify(exact)}, ` +
        'expected exact: "tape" or no options of one',
    );
  }
  const tape = given === undefined ? {} : given;
  checkOptions(tape, "make reverse with a tape", "{ bits: 4 }");
  checkNames(tape, { bits: true }, "make reverse with a tape");
  const { bits = 4 } = tape;
  if (typeof bits !== "number" || !(bits > 0 && bits <= 32)) {
    throw new RangeError(
      `Cannot make reverse: the tape has ${
        describe(bits)
      } bits an element, expected more than 0 and at ` +
        "most 32",
    );
  }
  const plan = exact === "tape"
    ? planOf({
      name: `reverse with a tape of ${bits} bits`,
      check: "tape",
      schedule: (length) => taping(0)(0, length, true),
      slots: () => 1,
      tape: { sizes: new TapeSizes(bits), segment: (length) => length },
      leaf: taping,
    })
    : planOf({
      name: exact === false ? "reverse" : "reverse on a grid",
      check: exact === false ? "drift" : "bits",
      schedule: (length) => reverseAll(length, false),
      slots: () => 0,
      leaf: () => reversing(false),
    });
  return { plan, inverse: inverse as (carry: never, x: never) => unknown };
}
