/**
 * The way back of a loop: a schedule played over up to three programs. `advance` is what its loop
 * runs forward, the same kernels without those that the state does not need; `pull` takes cotangents
 * over one step; `invert` goes a step back. All of them work on one state, the working state, and
 * snapshots are copies of it. Each combination of where things can lie has its dispatches; which of
 * them run in what order is the schedule's affair, and is made while it is played. So compiling does
 * not grow with the length, and every plan, storing everything included, gives the same bits.
 *
 * @module
 */
import type { Segments } from "../checkpoint/online.ts";
import { scheduleOf, SchedulePlan } from "../checkpoint/plan.ts";
import type { Taping } from "../checkpoint/reverse.ts";
import type { Action } from "../checkpoint/schedule.ts";
import { online } from "../checkpoint/strategy.ts";
import { forwardOf, type Replay, replayInputs } from "../graph/loops/replay.ts";
import type { Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { compareKernel, fillKernel, placeKernel, setKernel, takeKernel } from "../kernels/copy.ts";
import { conduct, type Repertoire } from "./conduct.ts";
import { Asked, type Errand, runErrands } from "./errands.ts";
import {
  beginIn,
  copyAll,
  type Memory,
  playRounds,
  type PreparedLoop,
  type Scratch,
  startingIn,
} from "./loop.ts";
import { inverseMover, movePart, type Mover, type Place, placesOf, type Stage } from "./movers.ts";
import { bytesOf } from "./order.ts";
import { type Dispatch, type OutsidePlan, runAgain, type Target } from "./program.ts";
import { Recorder } from "./recorder.ts";
import { backOpen } from "./open.ts";
import type { ScriptLoop } from "./script.ts";
import { bytesOfState, snapshotName, Snapshots } from "./snapshots.ts";
import {
  assemble,
  bodyPart,
  bytesOfCarry,
  type Compile,
  compileSteps,
  type LoopSteps,
  type Make,
  makerFor,
  Names,
  onlyResults,
  type Part,
  type Steps,
  together,
  withoutIdleCounter,
} from "./steps.ts";
import { type TapeWatch, watched } from "./watch.ts";
import { effortOf, expectedSteps, sumOf } from "./work.ts";

/** A way back; `forward` gives the steps of the loop that it belongs to. */
export function prepareBack(
  node: Node<"loop">,
  outputs: readonly Node[],
  pull: Steps,
  forward: (loop: Node<"loop">) => LoopSteps,
  compile: Compile,
  target: Target,
): PreparedLoop {
  const replay = node.attributes.replay!;
  const source = replay.plan === undefined ? undefined : moversOf(node, replay, forward, compile);
  const { body, carries } = node.attributes;
  const stacks = body.results.length > carries || replay.plan === undefined;
  return new Back(
    node,
    outputs,
    withoutIdleCounter(pull, stacks),
    replay,
    source,
    target,
  );
}

function moversOf(
  node: Node<"loop">,
  replay: Replay,
  forward: (loop: Node<"loop">) => LoopSteps,
  compile: Compile,
): Mover[] {
  const { loop, state } = forwardOf(node);
  const { inverse } = replayInputs(node.attributes, replay, node.inputs);
  const { carries, length, reverse } = loop.attributes;
  const { steps: whole, inverse: recorded } = forward(loop);
  const parts = Array.from({ length: carries + 1 }, (_, i) => {
    const part = i === 0 ? 0 : state.indexOf(i - 1) + 1;
    return i > 0 && part === 0 ? undefined : part;
  });
  // The tape finds its place by the counter.
  const counted = recorded !== undefined;
  const advance = onlyResults(whole, state.map((carry) => carry + 1), counted);
  const movers: Mover[] = [{ steps: advance, parts, operands: loop.inputs.slice(carries) }];
  const { invert, invertedRows, states } = replay;
  if (invert !== undefined) {
    const body = { ...invert, carries: states, stacked: invertedRows };
    const steps = recorded ??
      compileSteps({ ...body, length, reverse, backwards: true }, compile);
    movers.push(inverseMover(withoutIdleCounter(steps, counted), inverse));
  }
  return movers;
}

/** See {@linkcode prepareBack}. */
class Back implements PreparedLoop {
  readonly scratch: readonly Scratch[];
  private readonly own: readonly string[];
  private readonly names = new Names();
  private readonly starts: ReadonlyMap<string, Node>;
  private readonly ends = new Map<string, Node>();
  private readonly rounds: ReturnType<typeof playRounds>["rounds"];
  private readonly places: readonly Place[];
  private readonly states: readonly (readonly Node[])[];
  private readonly wanted: ReadonlyMap<number, Node>;
  private readonly plan: SchedulePlan | undefined;
  /** Snapshots of a loop that ends when its data say so. */
  private readonly open: number | undefined;
  private readonly within: Segments | undefined;
  private readonly snapshots: Snapshots;
  private readonly make: Make;
  private readonly recorder: Recorder | undefined;
  /** For each place what records the step from there. */
  private recordings: readonly ((stage: Stage) => Part)[] = [];

  constructor(
    private readonly node: Node<"loop">,
    outputs: readonly Node[],
    private readonly pull: Steps,
    replay: Replay,
    private readonly movers: readonly Mover[] | undefined,
    private readonly target: Target,
  ) {
    const { length, carries } = node.attributes, { names } = this;
    this.make = makerFor(node);
    this.open = replay.open ? replay.live - 1 : undefined;
    this.plan = replay.open ? undefined : replay.plan && scheduleOf(replay.plan);
    this.states = replayInputs(node.attributes, replay, node.inputs).states;
    this.within = replay.plan instanceof SchedulePlan ? replay.plan.parts.within : undefined;
    const besides = this.within?.slots ?? 0;
    this.snapshots = new Snapshots(this.plan, length, this.states, this.open, besides);
    const around = playRounds(pull, names, "around");
    this.rounds = around.rounds;
    this.wanted = new Map(
      outputs.map((output) => [(output as Node<"project">).attributes.index, output]),
    );
    const starts = new Map<string, Node>();
    if (!replay.open) {
      for (let i = 0; i < carries; i++) starts.set(around.initial[i + 1]!, node.inputs[i]!);
    }
    this.rounds[replay.open ? 0 : length % this.rounds.length]!.carries.forEach((name, i) => {
      const result = i === 0 ? undefined : this.wanted.get(i - 1);
      if (result !== undefined) this.ends.set(name, result);
    });
    const ofState = this.states.map((_, i) =>
      names.of(`state ${i}`, bytesOfCarry(pull, pullArgument(pull, this.states.length, i)))
    );
    if (movers === undefined) {
      this.places = [{ names: ["", ...ofState], moves: [] }];
    } else {
      const counterBytes = bytesOfCarry(pull, 0);
      const first = [names.of("counter", counterBytes), ...ofState];
      this.places = placesOf(movers, names, first);
      this.states.forEach((values, i) => starts.set(ofState[i]!, values[0]!));
      for (const { name, value } of this.snapshots.nameOwn(names, counterBytes)) {
        starts.set(name, value);
      }
      this.recorder = this.#recorder(movers, replay);
      const { tape } = replayInputs(node.attributes, replay, node.inputs);
      tape.forEach((value, i) => starts.set(this.recorder!.tape.names[i]!, value));
    }
    this.starts = starts;
    this.own = [...names.all.keys()].filter((name) => !this.ends.has(name));
    const operands = [...node.inputs, ...(movers ?? []).flatMap((mover) => mover.operands)];
    this.scratch = this.own.map((name) => {
      const bytes = names.all.get(name)!, value = starts.get(name);
      return value === undefined ? { bytes } : { bytes, ...startingIn(value, operands) };
    });
  }

  /** Records what the inverse gets wrong, if the loop forward began to. */
  #recorder(movers: readonly Mover[], { record }: Replay): Recorder | undefined {
    if (record === undefined) return undefined;
    const { names, make, target, states } = this, { length } = this.node.attributes;
    const taped = {
      state: states.map(([value]) => value!),
      memory: record.memory,
      segment: record.segment,
      length,
    };
    const recorder = new Recorder(taped, movers[1]!, names, make, target);
    this.recordings = this.places.map(({ names, moves }) =>
      recorder.after(names, this.places[moves[0]!.to]!.names)
    );
    return recorder;
  }

  /** See {@linkcode PreparedLoop}. */
  get name(): string {
    return this.node.attributes.body.name;
  }

  /** See {@linkcode PreparedLoop}. */
  get efforts(): PreparedLoop["efforts"] {
    const { pull, open, movers, states, recorder } = this;
    const length = expectedSteps(this.node.attributes.length, open !== undefined);
    const { plan: given } = this.node.attributes.replay!;
    // One that names no strategy keeps what comes.
    const plan = given instanceof SchedulePlan || open === undefined
      ? given as SchedulePlan | undefined
      : scheduleOf(online({ snapshots: open }).plan);
    const steps = effortOf(pull.program, pull.script, length);
    if (movers === undefined) {
      const bytes = 2 * bytesOfState(states);
      return { steps, besides: { bytes, flops: 0, dispatches: states.length * length } };
    }
    const [advance, inverse] = movers.map(({ steps }) => steps);
    const { advances, inversions, recorded } = plan!.extraSteps(length);
    const again = advances - Number(plan!.atTurn(length)[0]);
    const taken = recorder?.tape.restoring;
    return {
      steps,
      besides: sumOf([
        effortOf(advance!.program, advance!.script, again),
        ...inverse === undefined ? [] : [effortOf(inverse.program, inverse.script, inversions)],
        ...recorder === undefined || taken === undefined ? [] : [
          recorder.effort(recorded),
          { ...taken, bytes: inversions * taken.bytes, dispatches: inversions * taken.dispatches },
        ],
      ]),
    };
  }

  /** See {@linkcode PreparedLoop}. */
  get again(): number {
    return runAgain(this.pull.program);
  }

  /** See {@linkcode PreparedLoop}. */
  get transfers(): NonNullable<PreparedLoop["transfers"]> {
    return { times: this.snapshots.transfers(), bytes: bytesOfState(this.states) };
  }

  /** See {@linkcode PreparedLoop}. */
  get outside(): OutsidePlan {
    const own = this.snapshots.outside(), inside = this.pull.program.outside;
    return { host: own.host + inside.host, disk: own.disk + inside.disk };
  }

  describe(): string[] {
    const { length, body, replay } = this.node.attributes, { plan, states, snapshots } = this;
    const bytes = bytesOfState(states);
    if (this.open !== undefined) {
      return [
        `states ${replay!.plan!.name}: ${snapshots.slots} snapshots, ${bytes} B a state, as many ` +
        `steps of ${body.name} as its data say`,
      ];
    }
    if (plan === undefined) {
      return [`states stored: ${bytes} B for ${length} steps of ${body.name}`];
    }
    const { advances, inversions } = plan.extraSteps(length);
    const { host, disk } = this.snapshots.outside();
    return [
      `states ${plan.name}: ${plan.slots(length)} snapshots, ${bytes} B a state, ` +
      `${advances - Number(plan.atTurn(length)[0])} steps of ${length} run again, ` +
      `${inversions} run backwards`,
      ...host + disk > 0 ? [`outside of the device: host ${host} B, disk ${disk} B`] : [],
    ];
  }

  place({ slotOf, scratch }: Memory): Part {
    const { node, make, target: { maxBindings } } = this;
    const { length } = node.attributes;
    const memory = new Map(this.own.map((name, i) => [name, scratch[i]!]));
    for (const [name, result] of this.ends) memory.set(name, slotOf(result));
    for (const { name, value } of this.snapshots.given()) memory.set(name, slotOf(value));
    const at = (name: string): number => memory.get(name)!;
    const counter = this.pull.program.arguments[0]!;
    const set = (name: string, value: number): Dispatch =>
      make(setKernel(value), [at(name)], [counter]);
    const starts: Dispatch[] = [
      set(this.rounds[0]!.carries[0]!, 0),
      ...beginIn(
        [...this.starts].map(([name, value]) => ({ to: at(name), value })),
        slotOf,
        make,
        maxBindings,
      ),
    ];
    if (length === 0) return assemble(starts);
    const found = this.wanted.get(node.attributes.body.results.length);
    if (found !== undefined) {
      starts.push(make(fillKernel("u32", found.shape[0]!, 0), [slotOf(found)], [found]));
    }
    const stage: Stage = { at, slotOf, counter, found };
    if (this.movers === undefined) return assemble([...starts, this.#stored(stage)]);
    if (this.plan !== undefined) {
      starts.push(set(this.places[0]!.names[0]!, Number(this.plan.atTurn(length)[0])));
      for (const { slot, step } of this.snapshots.held) {
        starts.push(set(snapshotName(slot, 0), step));
      }
    }
    const gauged = this.recorder === undefined || found === undefined
      ? []
      : [{ from: at(this.recorder.tape.most), to: slotOf(found), value: found }];
    return assemble([...starts, this.#scheduled(stage), ...copyAll(gauged, make, maxBindings)]);
  }

  /** Every state is a row of a stack: it is taken from there, and pulled. */
  #stored(stage: Stage): Part {
    const { length } = this.node.attributes;
    const parts = this.rounds.map((round): Part => {
      const rows = this.states.flatMap(([stack], i) => {
        const shape = stack!.shape.slice(1), size = sizeOf(shape), { dtype } = stack!;
        if (size === 0) return [];
        const slots = [
          stage.slotOf(stack!),
          stage.at(this.places[0]!.names[i + 1]!),
          stage.at(round.carries[0]!),
        ];
        const kernel = takeKernel(dtype, size, { from: length - 1 });
        return [this.make(kernel, slots, [stack!, { shape, dtype }, stage.counter])];
      });
      return assemble([...rows, this.#pulled(stage, round, this.places[0]!)]);
    });
    const { dispatches, scripts } = together(parts);
    const loop: ScriptLoop = { length, rounds: scripts };
    return { dispatches, script: [loop] };
  }

  /** The pull of a step whose state lies at `place`. */
  #pulled(stage: Stage, round: (typeof this.rounds)[number], place: Place): Part {
    const { node, pull } = this, { carries, length, reverse, body } = node.attributes;
    const plain = body.parameters.length - this.states.length;
    const slotIn = (slot: number): number => {
      const where = round.slots[slot]!;
      if (typeof where === "string") return stage.at(where);
      if (where <= plain) return stage.slotOf(node.inputs[where - 1]!);
      return stage.at(place.names[where - plain]!);
    };
    const rows = pull.program.results.slice(pull.carries).flatMap(({ slot }, r) => {
      const stack = this.wanted.get(carries + r);
      if (stack === undefined || slot < 0) return [];
      const shape = stack.shape.slice(1), { dtype } = stack;
      const kernel = placeKernel(dtype, sizeOf(shape), reverse ? { from: length } : { plus: -1 });
      const slots = [slotIn(slot), stage.slotOf(stack), stage.at(round.next[0]!)];
      return [this.make(kernel, slots, [{ shape, dtype }, stack, stage.counter])];
    });
    return assemble([bodyPart(pull, slotIn), ...rows]);
  }

  /** The working state compared with the same state as it was. */
  #compared({ at, found, slotOf }: Stage, place: Place, was: (part: number) => number): Part {
    const { plan, checked } = this.node.attributes.replay!;
    if (found === undefined || plan!.check === "tape") return { dispatches: [], script: [] };
    return assemble(this.states.flatMap(([value], i) => {
      const { dtype, shape } = value!;
      if (sizeOf(shape) === 0) return [];
      const kernel = compareKernel(dtype, sizeOf(shape), checked[i]!, plan!.check === "bits");
      const slots = [at(place.names[i + 1]!), was(i), slotOf(found)];
      return [this.make(kernel, slots, [value!, value!, found])];
    }));
  }

  /** A snapshot made of the working state, or the other way round. */
  #copied(stage: Stage, place: Place, slot: number, restore: boolean): Part {
    const values = [stage.counter, ...this.states.map(([value]) => value!)];
    const names = this.snapshots.isAway(slot) ? place.names.slice(0, 1) : place.names;
    const pairs = names.map((name, i) => {
      const [from, to] = [stage.at(name), stage.at(snapshotName(slot, i))];
      return restore ? { from: to, to: from, value: values[i]! } : { from, to, value: values[i]! };
    });
    return assemble(copyAll(pairs, this.make, this.target.maxBindings));
  }

  /** All that can run, and the order in which the plan's schedule runs it. */
  #scheduled(stage: Stage): Part {
    const { plan, open, rounds, snapshots } = this, { length } = this.node.attributes;
    const parts: Part[] = [], asked = new Asked();
    const add = (part: Part): number => parts.push(part) - 1;
    const repertoires = this.places.map((_, place) => this.#repertoire(stage, place, add, asked));
    const watch = this.#watch(stage, asked);
    const order = (
      actions: Iterable<Action>,
      recorded: Taping | undefined,
      round = 0,
      held = snapshots.held,
    ): Iterable<number | Errand> => {
      const play = (actions: Iterable<Action>, look?: Errand) =>
        conduct(actions, round, repertoires, { held, slots: snapshots.slots }, look);
      return watch === undefined ? play(actions) : watched(actions, recorded, watch, play);
    };
    const begin = open === undefined ? [] : rounds.map((round) => add(this.#begun(stage, round)));
    const { dispatches, scripts } = together(parts);
    if (open !== undefined) {
      const steer = backOpen({
        snapshots: open,
        within: this.within,
        rounds: rounds.length,
        known: asked.add(stage.slotOf(this.states[0]![0]!)),
        begin: (round) => begin[round]!,
        order: (actions, round, live) => order(actions, undefined, round, live),
      });
      return { dispatches, script: [{ parts: scripts, slots: asked.slots, steer }] };
    }
    const all = () => order(plan!.back(length), watch && plan!.recorded(length));
    if (asked.slots.length > 0) {
      return {
        dispatches,
        script: [{ parts: scripts, slots: asked.slots, steer: runErrands(all) }],
      };
    }
    // Without snapshots elsewhere, and with room for the whole tape, there are no errands.
    return { dispatches, script: [{ parts: scripts, order: () => all() as Iterable<number> }] };
  }

  /** How full the tape is has to be asked for where it may be too small. */
  #watch({ at }: Stage, asked: Asked): TapeWatch | undefined {
    const tape = this.recorder?.tape;
    if (tape === undefined || !tape.mayOverflow) return undefined;
    return { pace: tape.shape.pace, words: tape.words, cursor: asked.add(at(tape.cursor)) };
  }

  /** What can run at a place; `add` gives parts their numbers. */
  #repertoire(
    stage: Stage,
    number: number,
    add: (part: Part) => number,
    asked: Asked,
  ): Repertoire {
    const { snapshots, states, recorder, plan } = this, place = this.places[number]!;
    const everySlot = Array.from({ length: snapshots.slots }, (_, slot) => slot);
    // The parts of a state that are somewhere: those of no bytes are nowhere.
    const present = states.flatMap(([value], i) => bytesOf(value!) > 0 ? [i + 1] : []);
    const initial = plan?.atTurn(this.node.attributes.length).indexOf(0) ?? -1;
    return {
      moved: this.movers!.map((mover, m) => {
        const { placed, to } = place.moves[m]!;
        return { part: add(movePart(mover, placed, stage)), to };
      }),
      saved: everySlot.map((slot) =>
        slot === snapshots.initial ? undefined : add(this.#copied(stage, place, slot, false))
      ),
      restored: everySlot.map((slot) => add(this.#copied(stage, place, slot, true))),
      pulled: this.rounds.map((round) => add(this.#pulled(stage, round, place))),
      compared: everySlot.map((slot) =>
        add(this.#compared(stage, place, (i) => stage.at(snapshotName(slot, i + 1))))
      ),
      ended: initial < 0
        ? undefined
        : add(this.#compared(stage, place, (i) => stage.slotOf(states[i]![initial]!))),
      begun: recorder &&
        add(assemble([this.make(setKernel(0), [stage.at(recorder.tape.cursor)], [stage.counter])])),
      recorded: recorder && add(this.recordings[number]!(stage)),
      mended: recorder && add(recorder.mend(place.names, stage)),
      away: everySlot.map((slot) =>
        snapshots.isAway(slot)
          ? asked.moves(present.map((part) => ({
            ticket: stage.at(snapshotName(slot, part)),
            slot: stage.at(place.names[part]!),
            bytes: bytesOf(states[part - 1]![0]!),
          })))
          : undefined
      ),
    };
  }

  /** The beginning in a round that is known when the number of steps is. */
  #begun(stage: Stage, { carries }: (typeof this.rounds)[number]): Part {
    return assemble([
      this.make(setKernel(0), [stage.at(carries[0]!)], [stage.counter]),
      ...beginIn(
        carries.slice(1).map((name, i) => ({ to: stage.at(name), value: this.node.inputs[i]! })),
        stage.slotOf,
        this.make,
        this.target.maxBindings,
      ),
    ]);
  }
}

/** The argument of `pull` that is a part of the state. */
function pullArgument({ program }: Steps, states: number, part: number): number {
  return program.arguments.length - states + part;
}
