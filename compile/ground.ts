/**
 * Where a way back has what it works on: its working state, the cotangents, snapshots and the tape,
 * all of it memory by name, what begins in which and where it ends. A place is where the working
 * state and the cotangents lie at one moment; their parts are the state's counter, the parts of the
 * state, the counter of who pulls, and the cotangents.
 *
 * @module
 */
import type { Segments } from "../checkpoint/online.ts";
import { scheduleOf, SchedulePlan } from "../checkpoint/plan.ts";
import { replayInputs } from "../graph/loops/replay.ts";
import type { Node } from "../graph/node.ts";
import type { MoverName } from "./conduct.ts";
import { type Scratch, startingIn } from "./prepared.ts";
import { type Mover, Places, type Stage, valuesRead } from "./movers.ts";
import { bytesOf } from "./order.ts";
import type { Target } from "./program.ts";
import { Recorder } from "./recorder.ts";
import { Snapshots } from "./snapshots.ts";
import { type Make, Names, type Part } from "./steps.ts";

/** What a way back runs, by name: it pulls, after it has inverted or while it does. */
export type Movers = { readonly [M in MoverName]?: Mover };

/** Who pulls. */
export function pullerOf(
  { pull, undo }: Movers,
): { readonly name: MoverName; readonly mover: Mover } {
  return undo === undefined ? { name: "pull", mover: pull! } : { name: "undo", mover: undo };
}

/** See the top of the file. */
export interface Ground {
  readonly plan: SchedulePlan | undefined;
  /** Snapshots of a loop that ends when its data say so. */
  readonly open: number | undefined;
  /** How it is gone back over what lies between two of them, if not step by step. */
  readonly within: Segments | undefined;
  /** For each part of a state its values at the turn. */
  readonly states: readonly (readonly Node[])[];
  readonly snapshots: Snapshots;
  readonly places: Places<MoverName>;
  /** Places where a loop begins that ends when its data say so: see {@linkcode roundsOf}. */
  readonly rounds: readonly number[];
  readonly recorder: Recorder | undefined;
  /** For each place what records the step from there; without a recorder none. */
  readonly recordings: readonly ((stage: Stage) => Part)[];
  /** The results that are wanted, by number. */
  readonly wanted: ReadonlyMap<number, Node>;
  /** Memory that begins with a value. */
  readonly starts: ReadonlyMap<string, Node>;
  /** Memory that is a result's in the end. */
  readonly ends: ReadonlyMap<string, Node>;
  /** All other memory, and what it has to be. */
  readonly own: readonly string[];
  readonly scratch: readonly Scratch[];
}

/** The ground of a way back over some movers; the first place is 0. */
export function groundOf(
  node: Node<"loop">,
  outputs: readonly Node[],
  movers: Movers,
  make: Make,
  target: Target,
): Ground {
  const { length, replay: given } = node.attributes, replay = given!;
  const { states, tape } = replayInputs(node);
  const open = replay.open ? replay.live - 1 : undefined;
  const plan = replay.open ? undefined : replay.plan && scheduleOf(replay.plan);
  const within = replay.plan instanceof SchedulePlan ? replay.plan.parts.within : undefined;
  const snapshots = new Snapshots(plan, length, states, open, within?.slots ?? 0);
  const names = new Names();
  const places = new Places(movers, names, firstPlace(node, states, movers, names));
  const first = places.all[0]!.names, turns = roundsOf(places, movers, states.length);
  const rounds = open === undefined ? [0] : turns.map((names) => places.of(names));

  const starts = new Map<string, Node>();
  if (open === undefined) {
    first.slice(states.length + 2).forEach((name, i) => starts.set(name, node.inputs[i]!));
  }
  let recorder: Recorder | undefined, recordings: Ground["recordings"] = [];
  if (replay.plan !== undefined) {
    states.forEach((values, i) => starts.set(first[i + 1]!, values[0]!));
    const counterBytes = names.all.get(first[0]!)!;
    for (const { name, value } of snapshots.nameOwn(names, counterBytes)) starts.set(name, value);
    if (replay.record !== undefined) {
      const { memory, segment } = replay.record;
      const taped = { state: states.map(([value]) => value!), memory, segment, length };
      const made = recorder = new Recorder(taped, movers.invert!, names, make, target);
      const state = (number: number) => places.all[number]!.names.slice(0, states.length + 1);
      recordings = places.all.map(({ moves }, here) =>
        made.after(state(here), state(moves.advance!.to))
      );
      tape.forEach((value, i) => starts.set(made.tape.names[i]!, value));
    }
  }

  const wanted = new Map(
    outputs.map((output) => [(output as Node<"project">).attributes.index, output]),
  );
  const ends = new Map<string, Node>();
  turns[open === undefined ? length % turns.length : 0]!.slice(states.length + 2)
    .forEach((name, i) => {
      const result = wanted.get(i);
      if (result !== undefined) ends.set(name, result);
    });
  const own = [...names.all.keys()].filter((name) => !ends.has(name));
  const operands = [...node.inputs, ...valuesRead(Object.values(movers))];
  const scratch = own.map((name) => {
    const bytes = names.all.get(name)!, value = starts.get(name);
    return value === undefined ? { bytes } : { bytes, ...startingIn(value, operands) };
  });
  return {
    plan,
    open,
    within,
    states,
    snapshots,
    places,
    rounds,
    recorder,
    recordings,
    wanted,
    starts,
    ends,
    own,
    scratch,
  };
}

/** Where all is in the beginning; a counter that nobody counts with is nowhere. */
function firstPlace(
  { attributes: { body, carries, replay } }: Node<"loop">,
  states: readonly (readonly Node[])[],
  { pull }: Movers,
  names: Names,
): string[] {
  const counterBytes = bytesOf({ shape: [], dtype: "u32" });
  return [
    replay!.plan === undefined ? "" : names.of("counter", counterBytes),
    ...states.map((_, i) =>
      names.of(`state ${i}`, bytesOf(body.parameters[body.parameters.length - states.length + i]!))
    ),
    pull === undefined ? "" : names.of("pulled", counterBytes),
    ...body.parameters.slice(0, carries).map((p, i) => names.of(`around ${i}`, bytesOf(p))),
  ];
}

/**
 * Cotangents may take turns: where they are after as many pulls as that is the number of, with all
 * else as in the beginning. Who begins there is at home after as many as are left.
 */
function roundsOf(places: Places<MoverName>, movers: Movers, states: number): string[][] {
  const first = places.all[0]!, { to } = first.moves[pullerOf(movers).name]!;
  const next = places.all[to]!;
  const turned = [...first.names.slice(0, states + 1), ...next.names.slice(states + 1)];
  return turned.join() === first.names.join() ? [turned] : [[...first.names], turned];
}
