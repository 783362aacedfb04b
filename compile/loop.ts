/**
 * Loops: the body compiles once, whatever the length (steps.ts), and the host replays it. Rows of
 * stacked results are copied to their place after each step, and carries that the loop keeps before
 * the steps that they are kept of. Nothing is asked of the device while a loop runs. After one round
 * or two memory is as in the beginning, so the script has as many, and the last step ends in the
 * memory of the result.
 *
 * @module
 */
import type { Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { placeKernel, type Row, setKernel } from "../kernels/copy.ts";
import { bytesOf } from "./order.ts";
import {
  type Dispatch,
  mergeOutside,
  nowhere,
  type OutsidePlan,
  type Probe,
  runAgain,
  type Target,
} from "./program.ts";
import { outsideOf, type Recording, type When } from "../graph/loops/replay.ts";
import { Asked, runErrands } from "./errands.ts";
import { inverseMover, type Stage } from "./movers.ts";
import { forwardOpen } from "./open.ts";
import {
  beginIn,
  copyAll,
  type Memory,
  type PreparedLoop,
  type Scratch,
  startingIn,
} from "./prepared.ts";
import { Recorder } from "./recorder.ts";
import { type Effort, effortOf, expectedSteps, idle, sumOf } from "./work.ts";
import type { Script } from "./script.ts";
import {
  assemble,
  bodyPart,
  bytesOfCarry,
  type LoopSteps,
  type Make,
  makerFor,
  Names,
  type Part,
  type Placed,
  placeStep,
  type Steps,
  together,
  withoutIdleCounter,
} from "./steps.ts";

/** A round of a loop: where its step lies, and its carries before it. */
interface Round extends Placed {
  readonly carries: readonly string[];
}

/** Steps that run one after the other until memory is as in the beginning: one, or two. */
function playRounds(
  steps: Steps,
  names: Names,
  prefix: string,
): { readonly rounds: readonly Round[]; readonly initial: readonly string[] } {
  const initial = Array.from(
    { length: steps.carries },
    (_, i) => names.of(`${prefix} ${i}`, bytesOfCarry(steps, i)),
  );
  const rounds: Round[] = [];
  let carries: readonly string[] = initial;
  do {
    const from = carries;
    const other = (i: number): string =>
      from[i] === initial[i]
        ? names.of(`${prefix} ${i} beside`, bytesOfCarry(steps, i))
        : initial[i]!;
    const placed = placeStep(steps, names, prefix, from, other);
    rounds.push({ ...placed, carries: from });
    carries = placed.next;
  } while (carries.join() !== initial.join());
  return { rounds, initial };
}

/** A loop forward; `outputs` are the results that are wanted. */
export function prepareLoop(
  loop: Node<"loop">,
  outputs: readonly Node[],
  compiled: LoopSteps,
  target: Target,
): PreparedLoop {
  return new Forward(loop, outputs, compiled, target);
}

/** A carry that is kept as it was before a step, and where. */
interface Keep {
  readonly carry: number;
  readonly step: When;
  readonly result: Node;
}

/** See {@linkcode prepareLoop}. */
class Forward implements PreparedLoop {
  readonly scratch: readonly Scratch[];
  private readonly names = new Names();
  readonly #bodies: readonly Steps[];
  private readonly steps: Steps;
  private readonly rounds: readonly Round[];
  private readonly initial: readonly string[];
  private readonly wanted: ReadonlyMap<number, Node>;
  private readonly keeps: readonly Keep[];
  /** What ends in the memory of a result; all else is the loop's own. */
  private readonly ends = new Map<string, Node>();
  private readonly own: readonly string[];
  private readonly make: Make;
  private readonly recorder: Recorder | undefined;
  /** For each round what records it. */
  private readonly recordings: readonly ((stage: Stage) => Part)[];

  constructor(
    private readonly loop: Node<"loop">,
    outputs: readonly Node[],
    { steps, inverse }: LoopSteps,
    private readonly target: Target,
  ) {
    this.#bodies = inverse === undefined ? [steps] : [steps, inverse];
    const { length, kept, carries, body, running, record } = loop.attributes, { names } = this;
    const stacks = body.results.length > carries || kept.some(([, step]) => step === "every");
    // The way back of a loop that ends early asks how many steps there were.
    const counted = stacks || running !== undefined || record !== undefined;
    this.make = makerFor(loop);
    this.steps = withoutIdleCounter(steps, counted);
    const { rounds, initial } = playRounds(this.steps, names, "carry");
    [this.rounds, this.initial] = [rounds, initial];
    this.wanted = new Map(
      outputs.map((node) => [(node as Node<"project">).attributes.index, node]),
    );
    this.keeps = kept.flatMap(([carry, step], i) => {
      const result = this.wanted.get(body.results.length + i);
      return result === undefined ? [] : [{ carry: carry + 1, step, result }];
    });
    // A loop that may end early runs all rounds or none, and so ends where it began.
    this.#before(running === undefined ? length : 0).forEach((name, i) => {
      const result = i === 0 ? undefined : this.wanted.get(i - 1);
      if (result !== undefined) this.ends.set(name, result);
    });
    this.recorder = record && this.#recorder(record, inverse!);
    this.recordings = this.recorder === undefined ? [] : rounds.map((round) => {
      const state = (carries: readonly string[]): string[] =>
        [0, ...record!.state.map((carry) => carry + 1)].map((carry) => carries[carry]!);
      return this.recorder!.after(state(round.carries), state(round.next));
    });
    this.own = [...names.all.keys()].filter((name) => !this.ends.has(name));
    this.scratch = this.own.map((name) => {
      const carry = initial.indexOf(name), bytes = names.all.get(name)!;
      return carry < 1 ? { bytes } : { bytes, ...startingIn(loop.inputs[carry - 1]!, loop.inputs) };
    });
  }

  /** See {@linkcode PreparedLoop}. */
  get name(): string {
    return this.loop.attributes.body.name;
  }

  /** See {@linkcode PreparedLoop}. */
  get again(): number {
    return runAgain(this.steps.program);
  }

  /** See {@linkcode PreparedLoop}. */
  get outside(): OutsidePlan {
    return nowhere;
  }

  /** See {@linkcode PreparedLoop}. */
  get inside(): OutsidePlan {
    return mergeOutside(this.#bodies.map(({ program }) => program.outside), "in turn");
  }

  /** See {@linkcode PreparedLoop}. */
  get probes(): readonly Probe[] {
    return this.steps.program.probes;
  }

  /** See {@linkcode PreparedLoop}. */
  get efforts(): PreparedLoop["efforts"] {
    const { steps, keeps, recorder, loop: { attributes: { length, record, running } } } = this;
    const taped = record === undefined ? 0 : length - record.from;
    return {
      steps: effortOf(steps.program, steps.script, expectedSteps(length, running !== undefined)),
      besides: sumOf([
        ...keeps.map(({ result }): Effort => ({
          bytes: 2 * bytesOf(result),
          flops: 0,
          dispatches: result.shape[0] === length ? length : 1,
        })),
        ...recorder === undefined ? [] : [recorder.effort(taped)],
      ]),
    };
  }

  /** Memory of the carries before a step. */
  #before(step: number): readonly string[] {
    return this.rounds[step % this.rounds.length]!.carries;
  }

  /** Records in memory that the way back takes over. */
  #recorder(record: Recording, inverse: Steps): Recorder {
    const { inputs, attributes: { body, kept, length } } = this.loop;
    const { state, memory, segment } = record;
    const taped = {
      state: state.map((carry) => body.parameters[carry]!),
      memory,
      segment,
      length,
    };
    const operands = inputs.slice(body.parameters.length);
    const mover = inverseMover(inverse, operands);
    const recorder = new Recorder(taped, mover, this.names, this.make, this.target);
    recorder.tape.names.forEach((name, i) => {
      const result = this.wanted.get(body.results.length + kept.length + i);
      if (result !== undefined) this.ends.set(name, result);
    });
    return recorder;
  }

  place({ slotOf, scratch }: Memory): Part {
    const { loop, initial, make, recorder, target: { maxBindings } } = this;
    const { length, running, record } = loop.attributes;
    const memory = new Map(this.own.map((name, i) => [name, scratch[i]!]));
    for (const [name, node] of this.ends) memory.set(name, slotOf(node));
    const at = (name: string): number => memory.get(name)!;
    const counter = this.steps.program.arguments[0]!;
    const starts = [
      initial[0]!,
      ...recorder === undefined ? [] : [recorder.tape.cursor, recorder.tape.most],
    ].map((name) => make(setKernel(0), [at(name)], [counter]));
    starts.push(...beginIn(
      initial.slice(1).map((name, i) => ({ to: at(name), value: loop.inputs[i]! })),
      slotOf,
      make,
      maxBindings,
    ));
    if (length === 0) return assemble(starts);
    const stage: Stage = { at, slotOf, counter, found: undefined };
    const stepped = this.rounds.map((round) => this.#stepped(stage, round));
    if (running !== undefined) return assemble([...starts, this.#open(stage, stepped)]);
    const recorded = recorder &&
      stepped.map((step, round) => assemble([step, this.recordings[round]!(stage)]));
    return assemble([...starts, this.#stretches(stage, stepped, record?.from, recorded)]);
  }

  /** One step: its dispatches, and the rows that it leaves. */
  #stepped({ at, slotOf, counter }: Stage, round: Round): Part {
    const { steps, loop, make } = this, { carries, length, reverse } = loop.attributes;
    const slotIn = (slot: number): number => {
      const where = round.slots[slot]!;
      return typeof where === "string" ? at(where) : slotOf(loop.inputs[where - 1]!);
    };
    const save = (from: number, stack: Node, row: Row, counted: string): Dispatch[] => {
      const shape = stack.shape.slice(1), size = sizeOf(shape), { dtype } = stack;
      if (size === 0) return [];
      const slots = [from, slotOf(stack), at(counted)];
      return [make(placeKernel(dtype, size, row), slots, [{ shape, dtype }, stack, counter])];
    };
    const saves = this.keeps.flatMap(({ carry, step, result }) =>
      step === "every"
        ? save(at(round.carries[carry]!), result, { plus: 0 }, round.carries[0]!)
        : []
    );
    const rows = steps.program.results.slice(steps.carries).flatMap(({ slot }, r) => {
      const stack = this.wanted.get(carries + r);
      if (stack === undefined || slot < 0) return [];
      return save(slotIn(slot), stack, reverse ? { from: length } : { plus: -1 }, round.next[0]!);
    });
    return assemble([...saves, bodyPart(steps, slotIn), ...rows]);
  }

  /** Copies of what is kept of some memory. */
  #kept({ at, slotOf }: Stage, keeps: readonly Keep[], carries: readonly string[]): Part {
    const pairs = keeps.map(({ carry, result }) => ({
      from: at(carries[carry]!),
      to: slotOf(result),
      value: result,
    }));
    return assemble(copyAll(pairs, this.make, this.target.maxBindings));
  }

  /** The steps of a loop that ends when its data say so. */
  #open(stage: Stage, stepped: readonly Part[]): Part {
    const { loop, rounds, keeps, initial } = this, { at, slotOf } = stage;
    const { length, running } = loop.attributes;
    const slots = keeps.map(({ step }) => Number(`${step}`.slice("slot ".length)));
    const most = Math.max(0, ...slots);
    // Rounds come first, then for each slot but the first, which is the beginning, each round.
    const parts = [...stepped];
    for (let slot = 1; slot <= most; slot++) {
      const own = keeps.filter((_, i) => slots[i] === slot);
      parts.push(...rounds.map(({ carries }) => this.#kept(stage, own, carries)));
    }
    const { dispatches, scripts } = together(parts);
    const steer = forwardOpen({
      most: length,
      rounds: rounds.length,
      snapshots: keeps.length === 0 ? 0 : most + 1,
      step: (round) => round,
      keep: (slot, round) => slot === 0 ? undefined : slot * rounds.length + round,
    });
    const asked = [at(initial[running! + 1]!), at(initial[0]!)];
    const known = [...this.ends.values()].map(slotOf);
    const effort = sumOf([this.efforts.steps, this.efforts.besides]);
    return { dispatches, script: [{ parts: scripts, slots: [...asked, ...known], effort, steer }] };
  }

  /** Steps in stretches, from one state that is kept to the next; from some step on `recorded`. */
  #stretches(
    stage: Stage,
    stepped: readonly Part[],
    from: number | undefined,
    recorded: readonly Part[] | undefined,
  ): Part {
    const { keeps, loop: { attributes: { length } } } = this;
    const { dispatches, scripts } = together([...stepped, ...recorded ?? []]);
    const [plain, taped] = [scripts.slice(0, stepped.length), scripts.slice(stepped.length)];
    const moments = keeps.map(({ step }) => outsideOf(step)?.step ?? step);
    const stops = new Set([...moments, from].filter((step) => typeof step === "number"));
    const script: Script[number][] = [], all = [...dispatches];
    let done = 0;
    const runTo = (step: number): void => {
      const rounds = from !== undefined && done >= from ? taped : plain;
      if (step > done) script.push({ length: step - done, rounds: turned(rounds, done) });
      done = step;
    };
    for (const stop of [...stops].sort((a, b) => a - b)) {
      runTo(stop);
      const own = keeps.filter(({ step }) => step === stop);
      for (const copy of this.#kept(stage, own, this.#before(stop)).dispatches) {
        script.push(all.push(copy) - 1);
      }
      script.push(...this.#sent(stage, keeps.filter((_, i) => moments[i] === stop), stop));
    }
    runTo(length);
    return { dispatches: all, script };
  }

  /** States that leave the device before a step. */
  #sent({ at, slotOf }: Stage, keeps: readonly Keep[], stop: number): Script {
    const { parameters } = this.loop.attributes.body;
    const away = keeps.filter(({ carry, step }) =>
      typeof step === "string" && sizeOf(parameters[carry - 1]!.shape) > 0
    );
    const stores = Map.groupBy(away, ({ step }) => outsideOf(step)!.store);
    return [...stores].map(([store, own]) => {
      const asked = new Asked();
      const moves = asked.moves(own.map(({ carry, result }) => ({
        ticket: slotOf(result),
        slot: at(this.#before(stop)[carry]!),
        bytes: bytesOf(parameters[carry - 1]!),
      })));
      const steer = runErrands(() => [({ outside }, slots) => outside.save(store, moves(slots))]);
      // The way back counts these, with those that come after.
      return { parts: [], slots: asked.slots, effort: idle, steer };
    });
  }
}

/** Rounds beginning with another than the first. */
function turned(rounds: readonly Script[], by: number): Script[] {
  return rounds.map((_, i) => rounds[(i + by) % rounds.length]!);
}
