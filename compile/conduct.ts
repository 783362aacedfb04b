/**
 * What the actions of a schedule run: for each place where the working state can lie, the numbers of
 * the parts that can run there, and the order that a schedule makes of them while it is played.
 *
 * @module
 */
import type { Action } from "../checkpoint/schedule.ts";
import type { Errand } from "./errands.ts";
import type { Snapshots } from "./snapshots.ts";
import type { Move } from "./script.ts";

/** What moves the working state, its cotangents, or both. */
export type MoverName = "advance" | "invert" | "pull" | "undo";

/** What can run at a place of the working state, by number; slots are those of snapshots. */
export interface Repertoire {
  /** For each mover its step, and the place where that ends. */
  readonly moved: { readonly [M in MoverName]?: { readonly part: number; readonly to: number } };
  /** For each slot. */
  readonly saved: readonly (number | undefined)[];
  readonly restored: readonly number[];
  /** For each slot: the snapshot compared with the working state. */
  readonly compared: readonly number[];
  /** The initial state compared with the working state, where it is held in no slot. */
  readonly ended: number | undefined;
  /** What begins the tape anew, and what records the step that was taken from here. */
  readonly begun: number | undefined;
  readonly recorded: number | undefined;
  /** What puts a state right that was inverted. */
  readonly mended: number | undefined;
  /** For each slot how a snapshot that lies elsewhere moves. */
  readonly away: readonly (((slots: readonly number[]) => Move[]) | undefined)[];
}

/**
 * The parts that actions run, in order, and errands in between, beginning at a place. What was
 * recorded is looked at before the next action is asked for. Where one program inverts and pulls, it
 * runs for both.
 */
export function* conduct(
  actions: Iterable<Action>,
  first: number,
  repertoires: readonly Repertoire[],
  { held, slots }: Pick<Snapshots, "held" | "slots">,
  look?: Errand,
): Generator<number | Errand, void, undefined> {
  let place = first;
  // The steps that snapshots are of, and the one that the working state is of if it was inverted.
  const kept = new Map(held.map(({ slot, step }) => [slot, step]));
  let inverted = -1;
  // The step that was inverted where that happens as it is pulled.
  let undoing = -1;
  const here = (): Repertoire => repertoires[place]!;
  const move = function* (mover: MoverName): Generator<number, void, undefined> {
    const { part, to } = here().moved[mover]!;
    yield part;
    place = to;
  };
  // Where no slot lies elsewhere, as where the only one is that of the initial state, nothing moves.
  const moves = repertoires.some(({ away }) => away.some((of) => of !== undefined));
  const ticketsOf = (numbers: readonly number[], slots: readonly number[]): number[] =>
    numbers.flatMap((slot) => here().away[slot]?.(slots).map(({ ticket }) => ticket) ?? []);
  for (const action of actions) {
    switch (action.do) {
      case "advance":
        if (action.tape && here().begun !== undefined) yield here().begun!;
        for (let step = action.from; step < action.to; step++) {
          const { recorded } = here();
          yield* move("advance");
          if (action.tape && recorded !== undefined) yield recorded;
        }
        if (action.tape && look !== undefined) yield look;
        inverted = -1;
        break;
      case "invert":
        if (here().moved.undo !== undefined) {
          undoing = demandOne(action.from, action.to);
          inverted = action.to;
          break;
        }
        for (let step = action.from; step > action.to; step--) {
          yield* move("invert");
          const { mended } = here();
          if (action.tape && mended !== undefined) yield mended;
        }
        if (!action.tape) inverted = action.to;
        break;
      case "restore": {
        yield here().restored[action.slot]!;
        const away = here().away[action.slot];
        if (away !== undefined) yield ({ outside }, slots) => outside.load(away(slots));
        inverted = -1;
        break;
      }
      case "snapshot": {
        kept.set(action.slot, action.step);
        yield here().saved[action.slot]!;
        const away = here().away[action.slot], { store } = action;
        if (away !== undefined && store !== "device") {
          yield ({ outside }, slots) => outside.save(store, away(slots));
        }
        break;
      }
      case "prefetch":
        if (moves) yield ({ outside }, slots) => outside.prefetch(ticketsOf(action.slots, slots));
        break;
      case "flush":
        if (moves) yield ({ outside }) => outside.flush();
        break;
      case "pull":
        if (here().moved.undo === undefined) yield* move("pull");
        else {
          demandOne(undoing + 1, action.step);
          yield* move("undo");
          undoing = -1;
        }
        break;
      case "drop":
        if (kept.get(action.slot) === inverted) yield here().compared[action.slot]!;
        kept.delete(action.slot);
        if (here().away[action.slot] !== undefined) {
          yield ({ outside }, slots) => outside.drop(ticketsOf([action.slot], slots));
        }
        break;
      case "turn":
        break;
    }
  }
  const { ended } = here();
  if (inverted === 0 && slots === 0 && ended !== undefined) yield ended;
}

/** The step between two states, which has to be one: it is inverted and pulled at once. */
function demandOne(from: number, to: number): number {
  if (from - to === 1) return to;
  throw new Error(
    `Cannot undo the steps from ${from} to ${to} at once, expected a schedule that pulls each step ` +
      "as it inverts it",
  );
}
