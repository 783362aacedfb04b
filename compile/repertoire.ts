/**
 * All that a way back can run, at each place where its working state and cotangents can lie, and its
 * script: a schedule played over these parts. What is alike at two places is there once.
 *
 * @module
 */
import type { Taping } from "../checkpoint/reverse.ts";
import type { Action } from "../checkpoint/schedule.ts";
import type { Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { compareKernel, placeKernel, setKernel, takeKernel } from "../kernels/copy.ts";
import { conduct, type MoverName, type Repertoire } from "./conduct.ts";
import { Asked, type Errand, runErrands } from "./errands.ts";
import { type Ground, type Movers, pullerOf } from "./ground.ts";
import { beginIn, copyAll } from "./prepared.ts";
import { movePart, type Place, slotsOf, type Stage } from "./movers.ts";
import { backOpen } from "./open.ts";
import { bytesOf } from "./order.ts";
import type { Dispatch, Target } from "./program.ts";
import type { ScriptLoop } from "./script.ts";
import { snapshotName } from "./snapshots.ts";
import { assemble, type Make, type Part, together } from "./steps.ts";
import { type TapeWatch, watched } from "./watch.ts";
import type { Effort } from "./work.ts";

/** What all parts are made from. */
export interface Scene {
  readonly node: Node<"loop">;
  readonly movers: Movers;
  readonly ground: Ground;
  readonly stage: Stage;
  readonly make: Make;
  readonly target: Target;
  /** What all of it is expected to do. */
  readonly effort: Effort;
}

/** Parts with numbers, each once. */
class Parts {
  readonly all: Part[] = [];
  readonly #numbers = new Map<string, number>();

  /** The number of the part with that key, which is made if it is new. */
  of(key: string, make: () => Part): number {
    let number = this.#numbers.get(key);
    if (number === undefined) this.#numbers.set(key, number = this.all.push(make()) - 1);
    return number;
  }
}

/** Every state is a row of a stack: it is taken from there, and pulled. */
export function stored(scene: Scene): Part {
  const { ground: { places, states }, node, stage, make } = scene, { length } = node.attributes;
  const parts: Part[] = [];
  let here = 0;
  do {
    const { names, moves } = places.all[here]!;
    const rows = states.flatMap(([stack], i) => {
      const shape = stack!.shape.slice(1), size = sizeOf(shape), { dtype } = stack!;
      if (size === 0) return [];
      const counter = stage.at(names[states.length + 1]!);
      const slots = [stage.slotOf(stack!), stage.at(names[i + 1]!), counter];
      const kernel = takeKernel(dtype, size, { from: length - 1 });
      return [make(kernel, slots, [stack!, { shape, dtype }, stage.counter])];
    });
    parts.push(assemble([...rows, moved(scene, "pull", places.all[here]!)]));
    here = moves.pull!.to;
  } while (here !== 0);
  const { dispatches, scripts } = together(parts);
  const loop: ScriptLoop = { length, rounds: scripts };
  return { dispatches, script: [loop] };
}

/** All that can run, and the order in which the plan's schedule runs it. */
export function scheduled(scene: Scene): Part {
  const { ground, node, stage, effort } = scene;
  const { plan, open, rounds, snapshots, places } = ground;
  const { length } = node.attributes;
  const parts = new Parts(), asked = new Asked();
  const repertoires = places.all.map((_, place) => repertoire(scene, place, parts, asked));
  const watch = watchOf(scene, asked);
  const order = (
    actions: Iterable<Action>,
    recorded: Taping | undefined,
    place = 0,
    held = snapshots.held,
  ): Iterable<number | Errand> => {
    const play = (actions: Iterable<Action>, look?: Errand) =>
      conduct(actions, place, repertoires, { held, slots: snapshots.slots }, look);
    return watch === undefined ? play(actions) : watched(actions, recorded, watch, play);
  };
  if (open !== undefined) {
    const begin = rounds.map((place) =>
      parts.of(`begin ${place}`, () => begun(scene, places.all[place]!))
    );
    const { dispatches, scripts } = together(parts.all);
    const steer = backOpen({
      snapshots: open,
      within: ground.within,
      rounds: rounds.length,
      known: asked.add(stage.slotOf(ground.states[0]![0]!)),
      begin: (round) => begin[round]!,
      order: (actions, round, live) => order(actions, undefined, rounds[round]!, live),
    });
    return { dispatches, script: [{ parts: scripts, slots: asked.slots, effort, steer }] };
  }
  const { dispatches, scripts } = together(parts.all);
  const all = () => order(plan!.back(length), watch && plan!.recorded(length));
  if (asked.slots.length > 0) {
    const steer = runErrands(all);
    return { dispatches, script: [{ parts: scripts, slots: asked.slots, effort, steer }] };
  }
  // Without snapshots elsewhere, and with room for the whole tape, there are no errands.
  return { dispatches, script: [{ parts: scripts, order: () => all() as Iterable<number> }] };
}

/** How full the tape is has to be asked for where it may be too small. */
function watchOf({ ground: { recorder }, stage: { at } }: Scene, asked: Asked) {
  const tape = recorder?.tape;
  if (tape === undefined || !tape.mayOverflow) return undefined;
  const watch: TapeWatch = {
    pace: tape.shape.pace,
    words: tape.words,
    cursor: asked.add(at(tape.cursor)),
  };
  return watch;
}

/** What can run at a place. */
function repertoire(scene: Scene, number: number, parts: Parts, asked: Asked): Repertoire {
  const { ground, movers, node, stage, make } = scene;
  const { snapshots, states, recorder, recordings, plan, places } = ground;
  const place = places.all[number]!, lies = place.names.slice(0, states.length + 1);
  const everySlot = Array.from({ length: snapshots.slots }, (_, slot) => slot);
  // The parts of a state that are somewhere: those of no bytes are nowhere.
  const present = states.flatMap(([value], i) => bytesOf(value!) > 0 ? [i + 1] : []);
  const initial = plan?.atTurn(node.attributes.length).indexOf(0) ?? -1;
  // Of the cotangents, only who pulls knows where they are.
  const ofState = (what: string, make: () => Part) => parts.of(`${what} ${lies}`, make);
  const moves = Object.fromEntries(
    (Object.keys(movers) as MoverName[]).map((name) => {
      const { placed, to } = place.moves[name]!;
      const where = `${name} ${placed.slots} ${placed.next} ${name === "pull" ? place.names : ""}`;
      return [name, { part: parts.of(where, () => moved(scene, name, place)), to }];
    }),
  );
  return {
    moved: moves,
    saved: everySlot.map((slot) =>
      slot === snapshots.initial
        ? undefined
        : ofState(`save ${slot}`, () => copied(scene, lies, slot, false))
    ),
    restored: everySlot.map((slot) =>
      ofState(`restore ${slot}`, () => copied(scene, lies, slot, true))
    ),
    compared: everySlot.map((slot) =>
      ofState(
        `compare ${slot}`,
        () => compared(scene, lies, (i) => stage.at(snapshotName(slot, i + 1))),
      )
    ),
    ended: initial < 0 ? undefined : ofState(
      "end",
      () => compared(scene, lies, (i) => stage.slotOf(states[i]![initial]!)),
    ),
    begun: recorder && parts.of(
      "begin the tape",
      () => assemble([make(setKernel(0), [stage.at(recorder.tape.cursor)], [stage.counter])]),
    ),
    recorded: recorder && ofState("record", () => recordings[number]!(stage)),
    mended: recorder && ofState("mend", () => recorder.mend(lies, stage)),
    away: everySlot.map((slot) =>
      snapshots.isAway(slot)
        ? asked.moves(present.map((part) => ({
          ticket: stage.at(snapshotName(slot, part)),
          slot: stage.at(lies[part]!),
          bytes: bytesOf(states[part - 1]![0]!),
        })))
        : undefined
    ),
  };
}

/** A step of a mover, and the rows that it leaves if it pulls. */
function moved(scene: Scene, name: MoverName, place: Place<MoverName>): Part {
  const { ground: { places, wanted, states }, movers, node, stage, make } = scene;
  const mover = movers[name]!, { placed, to } = place.moves[name]!;
  const step = movePart(mover, placed, stage, place.names);
  if (name !== pullerOf(movers).name) return step;
  const { length, carries, reverse } = node.attributes;
  const slotIn = slotsOf(mover, placed, stage, place.names), { names } = places.all[to]!;
  // One counts the steps that it has pulled, the other those that are left.
  const [counter, row] = name === "pull"
    ? [states.length + 1, reverse ? { from: length } : { plus: -1 }] as const
    : [0, reverse ? { plus: 0 } : { from: length - 1 }] as const;
  const rows = mover.steps.program.results.slice(mover.steps.carries).flatMap(({ slot }, r) => {
    const stack = wanted.get(carries + r);
    if (stack === undefined || slot < 0) return [];
    const shape = stack.shape.slice(1), { dtype } = stack;
    const slots = [slotIn(slot), stage.slotOf(stack), stage.at(names[counter]!)];
    const values = [{ shape, dtype }, stack, stage.counter];
    return [make(placeKernel(dtype, sizeOf(shape), row), slots, values)];
  });
  return assemble([step, ...rows]);
}

/** The working state compared with the same state as it was. */
function compared(
  { ground: { states }, node, stage: { at, found, slotOf }, make }: Scene,
  lies: readonly string[],
  was: (part: number) => number,
): Part {
  const { plan, checked } = node.attributes.replay!;
  if (found === undefined || plan!.check === "tape") return { dispatches: [], script: [] };
  return assemble(states.flatMap(([value], i) => {
    const { dtype, shape } = value!;
    if (sizeOf(shape) === 0) return [];
    const kernel = compareKernel(dtype, sizeOf(shape), checked[i]!, plan!.check === "bits");
    const slots = [at(lies[i + 1]!), was(i), slotOf(found)];
    return [make(kernel, slots, [value!, value!, found])];
  }));
}

/** A snapshot made of the working state, or the other way round. */
function copied(
  { ground: { states, snapshots }, stage, make, target }: Scene,
  lies: readonly string[],
  slot: number,
  restore: boolean,
): Part {
  const values = [stage.counter, ...states.map(([value]) => value!)];
  const names = snapshots.isAway(slot) ? lies.slice(0, 1) : lies;
  const pairs = names.map((name, i) => {
    const [from, to] = [stage.at(name), stage.at(snapshotName(slot, i))];
    return restore ? { from: to, to: from, value: values[i]! } : { from, to, value: values[i]! };
  });
  return assemble(copyAll(pairs, make, target.maxBindings));
}

/** The beginning at a place that is known when the number of steps is. */
function begun(scene: Scene, { names }: Place<MoverName>): Part {
  const { ground: { states }, node, stage, make, target } = scene, { at, slotOf } = stage;
  const cotangents = names.slice(states.length + 2);
  return assemble([
    ...setPulled(scene, names),
    ...beginIn(
      cotangents.map((name, i) => ({ to: at(name), value: node.inputs[i]! })),
      slotOf,
      make,
      target.maxBindings,
    ),
  ]);
}

/** Lets who pulls count from 0, if it counts for itself. */
export function setPulled(
  { ground: { states }, stage, make }: Scene,
  names: readonly string[],
): Dispatch[] {
  const name = names[states.length + 1]!;
  return name === "" ? [] : [make(setKernel(0), [stage.at(name)], [stage.counter])];
}
