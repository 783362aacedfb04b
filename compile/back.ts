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
import type { Held } from "../checkpoint/online.ts";
import type { Action, Store } from "../checkpoint/schedule.ts";
import { extraSteps, scheduleOf, type SchedulePlan } from "../checkpoint/strategy.ts";
import { forwardOf, type Replay, replayInputs } from "../graph/loops/replay.ts";
import type { Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { compareKernel, fillKernel, placeKernel, setKernel, takeKernel } from "../kernels/copy.ts";
import { beginIn, copyAll, type Memory, playRounds, type PreparedLoop } from "./loop.ts";
import { type Scratch, startingIn } from "./loop.ts";
import { movePart, type Mover, type Place, placesOf, type Stage } from "./movers.ts";
import { bytesOf } from "./order.ts";
import type { Dispatch, OutsidePlan, Target } from "./program.ts";
import { Recorder } from "./recorder.ts";
import { type Errand, Pairs, runErrands } from "./errands.ts";
import { backOpen } from "./open.ts";
import type { ScriptLoop } from "./script.ts";
import {
  assemble,
  bodyPart,
  bytesOfCarry,
  type Compile,
  compileSteps,
  type Make,
  makerFor,
  Names,
  onlyResults,
  type Part,
  type Steps,
  together,
  withoutIdleCounter,
} from "./steps.ts";
import type { Taped } from "./tape.ts";

/** A way back; `forward` gives the steps of the loop that it belongs to. */
export function prepareBack(
  node: Node<"loop">,
  outputs: readonly Node[],
  pull: Steps,
  forward: (loop: Node<"loop">) => Steps,
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
  forward: (loop: Node<"loop">) => Steps,
  compile: Compile,
): Mover[] {
  const { loop, state } = forwardOf(node);
  const { inverse } = replayInputs(node.attributes, replay, node.inputs);
  const { carries, length, reverse } = loop.attributes;
  const whole = forward(loop);
  const parts = Array.from({ length: carries + 1 }, (_, i) => {
    const part = i === 0 ? 0 : state.indexOf(i - 1) + 1;
    return i > 0 && part === 0 ? undefined : part;
  });
  // The tape finds its place by the counter.
  const counted = replay.plan?.check === "tape";
  const advance = onlyResults(whole, state.map((carry) => carry + 1), counted);
  const movers: Mover[] = [{ steps: advance, parts, operands: loop.inputs.slice(carries) }];
  const { invert, invertedRows, states } = replay;
  if (invert !== undefined) {
    const body = { ...invert, carries: states, stacked: invertedRows };
    const steps = withoutIdleCounter(
      compileSteps({ ...body, length, reverse, backwards: true }, compile),
      counted,
    );
    movers.push({ steps, parts: steps.program.results.map((_, i) => i), operands: inverse });
  }
  return movers;
}

/** See {@linkcode prepareBack}. */
class Back implements PreparedLoop {
  readonly scratch: readonly Scratch[];
  readonly outside: OutsidePlan;
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
  /** Snapshots at the turn; where the length is not known, any may be there, and the first is. */
  private readonly held: readonly Held[];
  /** For each slot whether its snapshot lies elsewhere; the initial state is on the device anyway. */
  private readonly isAway: readonly boolean[];
  private readonly make: Make;
  private readonly tape: Recorder | undefined;

  constructor(
    private readonly node: Node<"loop">,
    outputs: readonly Node[],
    private readonly pull: Steps,
    replay: Replay,
    private readonly movers: readonly Mover[] | undefined,
    private readonly target: Target,
  ) {
    const { length, carries } = node.attributes;
    this.make = makerFor(node);
    this.open = replay.open ? replay.live - 1 : undefined;
    this.plan = replay.open ? undefined : replay.plan && scheduleOf(replay.plan);
    this.held = this.open === undefined
      ? this.plan?.held(length) ?? []
      : Array.from({ length: this.open }, (_, slot) => ({ slot, step: slot === 0 ? 0 : -1 }));
    this.isAway = Array.from(
      { length: this.plan?.slots(length) ?? 0 },
      (_, slot) =>
        this.plan!.storeOf(slot, length) !== "device" &&
        !this.held.some((held) => held.slot === slot && held.step === 0),
    );
    this.states = replayInputs(node.attributes, replay, node.inputs).states;
    const around = playRounds(pull, this.names, "around");
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
      this.names.of(`state ${i}`, bytesOfCarry(pull, pullArgument(pull, this.states.length, i)))
    );
    if (movers === undefined) {
      this.places = [{ names: ["", ...ofState], moves: [] }];
    } else {
      const first = [this.names.of("counter", bytesOfCarry(pull, 0)), ...ofState];
      this.places = placesOf(movers, this.names, first);
      this.states.forEach((values, i) => starts.set(ofState[i]!, values[0]!));
      this.#nameSnapshots(length, starts);
      this.tape = this.#recorder(movers, length);
    }
    this.outside = this.#outside();
    this.starts = starts;
    this.own = [...this.names.all.keys()].filter((name) => !this.ends.has(name));
    const operands = [...node.inputs, ...(movers ?? []).flatMap((mover) => mover.operands)];
    this.scratch = this.own.map((name) => {
      const bytes = this.names.all.get(name)!, value = starts.get(name);
      return value === undefined ? { bytes } : { bytes, ...startingIn(value, operands) };
    });
  }

  /** Slots for snapshots. */
  #slots(length: number): number {
    return this.open ?? this.plan!.slots(length);
  }

  /** Bytes of the states that lie outside of the device at the fullest moment of each store. */
  #outside(): OutsidePlan {
    const peak = { host: 0, disk: 0 }, now = { host: 0, disk: 0 };
    const stores = new Map<number, Store>();
    if (!this.isAway.includes(true)) return peak;
    for (const action of this.plan!.schedule(this.node.attributes.length)) {
      if (action.do !== "snapshot" && action.do !== "drop") continue;
      if (!this.isAway[action.slot]) continue;
      const store = action.do === "drop" ? stores.get(action.slot) : action.store;
      if (store === undefined || store === "device") continue;
      if (action.do === "drop") now[store]--;
      else {
        stores.set(action.slot, store);
        peak[store] = Math.max(peak[store], ++now[store]);
      }
    }
    const bytes = this.states.reduce((sum, [value]) => sum + bytesOf(value!), 0);
    return { host: peak.host * bytes, disk: peak.disk * bytes };
  }

  /** Records what the inverse gets wrong, if the plan asks for that and there is something. */
  #recorder(movers: readonly Mover[], length: number): Recorder | undefined {
    const { names, target, states, places, plan } = this, tape = plan?.tape;
    if (tape === undefined || states.every(([value]) => sizeOf(value!.shape) === 0)) {
      return undefined;
    }
    const taped: Taped = {
      loop: forwardOf(this.node).loop.attributes.body.name,
      state: states.map(([value]) => value!),
      length,
      segment: tape.segment(length),
      sizes: tape.sizes,
    };
    return new Recorder(taped, movers, places, names, target);
  }

  /** Names the memory of snapshots; the initial state is one that stays where it lies. */
  #nameSnapshots(length: number, starts: Map<string, Node>): void {
    const held = this.held;
    for (let slot = 0; slot < this.#slots(length); slot++) {
      const index = held.findIndex((snapshot) => snapshot.slot === slot);
      this.names.of(snapshotName(slot, 0), bytesOfCarry(this.pull, 0));
      this.states.forEach((values, i) => {
        const value = index < 0 ? undefined : values[index + 1]!;
        if (held[index]?.step === 0) return;
        const onDevice = !this.isAway[slot];
        // What lies elsewhere is known by a ticket, which the loop forward gave if it was there.
        if (!onDevice && value !== undefined) return;
        const bytes = onDevice ? bytesOf(values[0]!) : ticketBytes;
        const name = this.names.of(snapshotName(slot, i + 1), bytes);
        if (value !== undefined) starts.set(name, value);
      });
    }
  }

  describe(): string[] {
    const { length, body } = this.node.attributes, { plan, states } = this;
    const bytes = states.reduce((sum, [value]) => sum + bytesOf(value!), 0);
    if (plan === undefined) {
      return [`states stored: ${bytes} B for ${length} steps of ${body.name}`];
    }
    const { advances, inversions } = extraSteps(plan, length);
    const { host, disk } = this.outside;
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
    const initial = this.held.findIndex(({ step }) => step === 0);
    if (initial >= 0) {
      const { slot } = this.held[initial]!;
      this.states.forEach((values, i) =>
        memory.set(snapshotName(slot, i + 1), slotOf(values[initial + 1]!))
      );
    }
    this.held.forEach(({ slot }, index) => {
      if (!this.isAway[slot]) return;
      this.states.forEach((values, i) =>
        memory.set(snapshotName(slot, i + 1), slotOf(values[index + 1]!))
      );
    });
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
    if (this.open !== undefined) return assemble([...starts, this.#scheduled(stage)]);
    if (this.plan === undefined) return assemble([...starts, this.#stored(stage)]);
    starts.push(set(this.places[0]!.names[0]!, Number(this.plan.atTurn(length)[0])));
    if (this.tape !== undefined) starts.push(set(this.tape.cursor, 0));
    for (const { slot, step } of this.plan.held(length)) {
      starts.push(set(snapshotName(slot, 0), step));
    }
    return assemble([...starts, this.#scheduled(stage)]);
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

  /** All that can run, and the order in which the plan's schedule runs it. */
  #scheduled(stage: Stage): Part {
    const { places, rounds, states } = this, movers = this.movers!;
    const { plan, open } = this, { length } = this.node.attributes, slots = this.#slots(length);
    const parts: Part[] = [];
    const add = (part: Part): number => parts.push(part) - 1;
    const values = [undefined, ...states.map(([value]) => value!)];
    const { isAway } = this;
    const copies = (place: Place, slot: number, restore: boolean): Part => {
      const names = isAway[slot] ? place.names.slice(0, 1) : place.names;
      const pairs = names.map((name, i) => {
        const ends = [stage.at(name), stage.at(snapshotName(slot, i))] as const;
        const [from, to] = restore ? [ends[1], ends[0]] : ends;
        return { from, to, value: values[i] ?? stage.counter };
      });
      return assemble(copyAll(pairs, this.make, this.target.maxBindings));
    };
    const moved = places.map((place) =>
      movers.map((mover, m) => add(movePart(mover, place.moves[m]!.placed, stage)))
    );
    const everySlot = Array.from({ length: slots }, (_, slot) => slot);
    // The initial state lies where it was given: no schedule writes over it.
    const first = this.held.find(({ step }) => step === 0)?.slot;
    const saved = places.map((place) =>
      everySlot.map((slot) => slot === first ? undefined : add(copies(place, slot, false)))
    );
    const restored = places.map((place) => everySlot.map((slot) => add(copies(place, slot, true))));
    const pulled = places.map((place) =>
      rounds.map((round) => add(this.#pulled(stage, round, place)))
    );
    const compared = places.map((place) =>
      everySlot.map((slot) =>
        add(this.#compared(stage, place, (i) => stage.at(snapshotName(slot, i + 1))))
      )
    );
    const initial = plan?.atTurn(length).indexOf(0) ?? -1;
    const ended = initial < 0
      ? []
      : places.map((place) =>
        add(this.#compared(stage, place, (i) => stage.slotOf(states[i]![initial]!)))
      );
    const held = this.held;
    const pairs = new Pairs();
    // The parts of a state that are somewhere: those of no bytes are nowhere.
    const present = states.flatMap(([value], i) => bytesOf(value!) > 0 ? [i + 1] : []);
    const moves = places.map((place) =>
      everySlot.map((slot) =>
        isAway[slot]
          ? pairs.add(present.map((part) => ({
            ticket: stage.at(snapshotName(slot, part)),
            slot: stage.at(place.names[part]!),
            bytes: bytesOf(states[part - 1]![0]!),
          })))
          : undefined
      )
    );
    const { tape } = this;
    const recorded = tape && places.map((_, place) => {
      const { before, after } = tape.record(place, stage, this.make);
      return { before: add(before), after: add(after) };
    });
    const mended = tape && places.map((_, place) => add(tape.mend(place, stage, this.make)));
    const ticketsOf = (numbers: readonly number[], slots: readonly number[]): number[] =>
      numbers.flatMap((slot) => moves[0]![slot]?.(slots).map(({ ticket }) => ticket) ?? []);
    function* order(
      actions: Iterable<Action>,
      round: number,
    ): Generator<number | Errand, void, undefined> {
      let place = 0;
      // The steps that snapshots are of, and the one that the working state is of if it was inverted.
      const kept = new Map(held.map(({ slot, step }) => [slot, step]));
      let at = -1;
      const move = function* (mover: number, count: number): Generator<number, void, undefined> {
        for (let i = 0; i < count; i++) {
          yield moved[place]![mover]!;
          place = places[place]!.moves[mover]!.to;
        }
      };
      for (const action of actions) {
        if (action.do === "advance" && action.tape && recorded !== undefined) {
          for (let step = action.from; step < action.to; step++) {
            const { before, after } = recorded[place]!;
            yield before;
            yield* move(0, 1);
            yield after;
          }
        } else if (action.do === "invert" && action.tape && mended !== undefined) {
          for (let step = action.from; step > action.to; step--) {
            yield* move(1, 1);
            yield mended[place]!;
          }
        } else if (action.do === "advance") yield* move(0, action.to - action.from);
        else if (action.do === "invert") {
          yield* move(1, action.from - action.to);
          at = action.to;
        } else if (action.do === "restore") {
          yield restored[place]![action.slot]!;
          const away = moves[place]![action.slot];
          if (away !== undefined) yield (outside, slots) => outside.load(away(slots));
        } else if (action.do === "snapshot") {
          kept.set(action.slot, action.step);
          yield saved[place]![action.slot]!;
          const away = moves[place]![action.slot], { store } = action;
          if (away !== undefined && store !== "device") {
            yield (outside, slots) => outside.save(store, away(slots));
          }
        } else if (action.do === "prefetch") {
          yield (outside, slots) => outside.prefetch(ticketsOf(action.slots, slots));
        } else if (action.do === "flush") yield (outside) => outside.flush();
        else if (action.do === "pull") {
          yield pulled[place]![round]!;
          round = (round + 1) % rounds.length;
        } else if (action.do === "drop") {
          if (kept.get(action.slot) === at) yield compared[place]![action.slot]!;
          kept.delete(action.slot);
          if (moves[place]![action.slot] !== undefined) {
            yield (outside, slots) => outside.drop(ticketsOf([action.slot], slots));
          }
        }
        if (action.do === "advance" || action.do === "restore") at = -1;
      }
      if (at === 0 && slots === 0) yield ended[place]!;
    }
    if (pairs.slots.length > 0) {
      const { dispatches, scripts } = together(parts);
      const steer = runErrands(() => order(plan!.back(length), 0));
      return { dispatches, script: [{ parts: scripts, slots: pairs.slots, steer }] };
    }
    // Without snapshots elsewhere there are no errands.
    const plain = (actions: Iterable<Action>, round: number): Iterable<number> =>
      order(actions, round) as Iterable<number>;
    if (open === undefined) {
      const { dispatches, scripts } = together(parts);
      const schedule = { parts: scripts, order: () => plain(plan!.back(length), 0) };
      return { dispatches, script: [schedule] };
    }
    // In which round it begins is known when the number of steps is.
    const begin = rounds.map(({ carries }) =>
      add(assemble([
        this.make(setKernel(0), [stage.at(carries[0]!)], [stage.counter]),
        ...beginIn(
          carries.slice(1).map((name, i) => ({ to: stage.at(name), value: this.node.inputs[i]! })),
          stage.slotOf,
          this.make,
          this.target.maxBindings,
        ),
      ]))
    );
    const steer = backOpen(open, rounds.length, (round) => begin[round]!, plain);
    const { dispatches, scripts } = together(parts);
    const slotsKnown = [stage.slotOf(states[0]![0]!)];
    return { dispatches, script: [{ parts: scripts, slots: slotsKnown, steer }] };
  }
}

/** Bytes of what stands for memory that lies elsewhere. */
const ticketBytes = 16;

/** Memory of a part of a snapshot, 0 being the counter. */
function snapshotName(slot: number, part: number): string {
  return `snapshot ${slot} part ${part}`;
}

/** The argument of `pull` that is a part of the state. */
function pullArgument({ program }: Steps, states: number, part: number): number {
  return program.arguments.length - states + part;
}
