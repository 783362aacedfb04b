/**
 * Loops whose way back is the compiler's to choose (graph/loops/auto.ts). Each has a ladder of
 * plans: all states stored, ever fewer of them and more steps run again, and what else was allowed,
 * segments run backwards under an outer schedule among it. Which rungs go together is a trade of the
 * bytes that a plan holds against the time that it takes: from the fastest on, one loop after the
 * other goes a rung down, each time where a byte costs the least. Every step of this way is
 * compiled, and the budget picks: so more memory is not slower, and the least is the same whoever
 * asks. Only where all states fit, and are cheap to keep, is nothing else tried.
 *
 * @module
 */
import { offload } from "../checkpoint/offload.ts";
import { scheduleOf, type SchedulePlan } from "../checkpoint/plan.ts";
import { leastAdvances } from "../checkpoint/revolve.ts";
import { online, revolve, revolveOver } from "../checkpoint/strategy.ts";
import { fill, loop as loopNode } from "../graph/build.ts";
import { AutoPlan } from "../graph/loops/auto.ts";
import { forwardOf, makeReplay, replayInputs, statesAt } from "../graph/loops/replay.ts";
import { replaceResults } from "../graph/loops/tidy.ts";
import { is, type Node } from "../graph/node.ts";
import { topological } from "../graph/walk.ts";
import { spread, undominated } from "./plan.ts";
import { offerOf, type Program, timeOf } from "./program.ts";
import { bytesOfState } from "./snapshots.ts";
import { tapeShapeOf } from "./tape.ts";

/** How a loop may be gone back over; without a plan all states are stored. */
export interface Choice {
  readonly name: string;
  readonly plan: SchedulePlan | undefined;
  /** About what it holds, in bytes: states, and the tape. */
  readonly bytes: number;
}

/** What was chosen, by the way back that it is for. */
export type Choices = ReadonlyMap<Node, Choice>;

/** Ways back whose plan is still to be chosen. */
export function undecided(roots: readonly Node[]): Node<"loop">[] {
  return topological(roots).filter((node): node is Node<"loop"> =>
    is(node, "loop") && node.attributes.replay?.plan instanceof AutoPlan &&
    node.attributes.replay.states > 0
  );
}

/** The roots with ways back as they were chosen. */
export function decided(roots: readonly Node[], choices: Choices): Node[] {
  return replaceResults(roots, (original, current) => {
    const choice = choices.get(original);
    if (choice === undefined) return undefined;
    const { body, ...attributes } = current.attributes, replay = attributes.replay!;
    const { plan } = choice, { loop, state } = forwardOf(current);
    const { own, inverse, forward } = replayInputs(current.attributes, replay, current.inputs);
    const { live, states } = statesAt(loop, state, plan);
    const inverts = plan?.inverts ?? false;
    const results = loopNode(
      body,
      [...own, ...states, ...inverts ? inverse : [], ...forward],
      {
        ...attributes,
        replay: makeReplay({
          ...replay,
          plan,
          live,
          ...(!inverts && { invert: undefined, invertedRows: 0, checks: 0, checked: [] }),
        }),
      },
    );
    // Nothing is inverted, so nothing differs.
    const unchecked = !inverts && replay.checks > 0;
    return unchecked ? [...results, fill(0, [replay.checks], "u32")] : results;
  });
}

/** Steps that a plan may run again, as a multiple of the length. */
const mostAgain = 64;
/** Snapshots of a loop whose length is not known, at most: enough for 2145 steps with two runs each. */
const mostOpen = 64;
/** Plans that go back over segments, at most. */
const mostNested = 8;

/** A number halved, again and again, down to another. */
function* halves(from: number, to: number): Generator<number, void, undefined> {
  for (let n = from; n >= to; n >>= 1) yield n;
}

/** Numbers from one down to another, by a quarter each time, the small ones all. */
function counts(from: number, to: number): number[] {
  const all: number[] = [];
  for (let n = from; n >= to; n = Math.min(n - 1, Math.ceil(0.75 * n))) all.push(n);
  return all;
}

/** By how much plans have to differ in time to be worth a try, as a part of it. */
const worthwhile = 0.04;

/** A plan in numbers. */
interface Sketch {
  /** Steps that lie between two snapshots and are gone back over by tape, if they are. */
  readonly segment?: number;
  readonly snapshots: number;
  /** About what it holds. */
  readonly bytes: number;
  /** About what it runs besides what every plan does, in steps. */
  readonly time: number;
}

/** Snapshots by themselves, and as many steps run again as they ask for. */
function revolving(length: number, bytes: number): Sketch[] {
  const kept: Sketch[] = [];
  for (const snapshots of counts(length >> 1, 1)) {
    const time = leastAdvances(length, snapshots);
    if (time > mostAgain * length) break;
    // Of those that take about the same the smallest. Forward once, and a pull is about three steps.
    const last = kept.at(-2)?.time ?? -Infinity;
    if (time - last < worthwhile * (4 * length + time)) kept.pop();
    kept.push({ snapshots, bytes: snapshots * bytes, time });
  }
  return kept;
}

/** Segments that go back by tape under an outer schedule, where snapshots by themselves are not as good. */
function nested(
  length: number,
  bytes: number,
  tapeOf: (segment: number) => number,
  others: readonly Sketch[],
): Sketch[] {
  const all = counts(length >> 1, 2).flatMap((segment) => {
    const segments = Math.ceil(length / segment), tape = tapeOf(segment);
    return counts(Math.min(segments, length >> 1), 1).map((snapshots): Sketch => ({
      segment,
      snapshots,
      bytes: snapshots * bytes + tape,
      // Each step runs once more to be recorded. How fast steps are undone is not known yet.
      time: leastAdvances(segments, snapshots) * segment + length,
    }));
  }).filter(({ time }) => time <= mostAgain * length);
  return undominated([...others, ...all]).filter(({ segment }) => segment !== undefined);
}

/** About what a tape of so many bits an element and step takes. */
function bytesOfTape(
  bits: number,
  state: readonly Node[],
  segment: number,
  length: number,
): number {
  const { elements, segment: steps, headerWords } = tapeShapeOf(state, segment, length);
  return elements * steps * bits / 8 + 4 * headerWords;
}

/** The plans of a loop. */
function choicesOf(back: Node<"loop">): Choice[] {
  const { replay, length } = back.attributes;
  const { reverse, host, disk } = replay!.plan as AutoPlan;
  const { states } = replayInputs(back.attributes, replay!, back.inputs);
  const state = states.map(([working]) => working!), bytes = bytesOfState(states);
  const choice = (plan: SchedulePlan, bytes: number): Choice => ({ name: plan.name, plan, bytes });
  if (replay!.open) {
    return [...halves(Math.min(mostOpen, length), 1)].map((snapshots) =>
      choice(scheduleOf(online({ snapshots }).plan), snapshots * bytes)
    );
  }
  const choices: Choice[] = [{ name: "store", plan: undefined, bytes: length * bytes }];
  const sketches = revolving(length, bytes);
  for (const { snapshots, bytes } of sketches) {
    choices.push(choice(scheduleOf(revolve({ snapshots }).plan), bytes));
  }
  if (reverse !== undefined) {
    const leaf = scheduleOf(reverse), { tape } = leaf.parts;
    const tapeOf = (segment: number): number =>
      tape === undefined ? 0 : bytesOfTape(tape.sizes.bits, state, segment, length);
    choices.push(choice(leaf, bytes + tapeOf(length)));
    // With no tape, what runs backwards holds nothing that a segment would have less of.
    const over = tape === undefined ? [] : nested(length, bytes, tapeOf, sketches);
    for (const { segment, snapshots, bytes } of spread(over, mostNested)) {
      choices.push(choice(revolveOver(snapshots, segment!, leaf), bytes));
    }
  }
  if (host + disk > 0) {
    for (const device of halves(length >> 1, 1)) {
      choices.push(choice(scheduleOf(offload({ device, host, disk }).plan), device * bytes));
    }
  }
  return choices;
}

/** Loops that are each given the plan that is best for itself, at most. */
const mostApart = 8;

/** Loops that go down their ladders together: each by itself, or if there are many those of a body. */
function together(loops: readonly Node<"loop">[]): (readonly Node<"loop">[])[] {
  if (loops.length <= mostApart) return loops.map((loop) => [loop]);
  const groups = Map.groupBy(loops, ({ attributes: { body, length } }) => `${body.name} ${length}`);
  return [...groups.values()];
}

/** Rungs that go together, one for each ladder. */
type Picked = readonly number[];

/** What came of compiling with some rungs. */
interface Tried {
  readonly picked: Picked;
  readonly program: Program;
  readonly time: number;
}

/**
 * The fastest program that fits.
 *
 * @param weighs Whether storing all states has to be the fastest, or is enough where it fits.
 * @param compile Compiles with choices, within a budget or without.
 * @throws {RangeError} if none does, naming the least budget that would.
 */
export function choose(
  loops: readonly Node<"loop">[],
  { budget, weighs }: { readonly budget: number | undefined; readonly weighs: boolean },
  compile: (choices: Choices, budget: number | undefined) => Program,
): Program {
  const groups = together(loops), ladders = groups.map(([loop]) => choicesOf(loop!));
  const choicesFor = (picked: Picked): Choices =>
    new Map(groups.flatMap((group, g) => group.map((loop) => [loop, ladders[g]![picked[g]!]!])));
  const tried = new Map<string, Tried | RangeError>();
  const attempt = (picked: Picked): Tried | RangeError => {
    const known = tried.get(picked.join());
    if (known !== undefined) return known;
    const result = attempted(() => {
      const program = compile(choicesFor(picked), undefined);
      return { picked, program, time: timeOf(program) };
    });
    tried.set(picked.join(), result);
    return result;
  };
  let way: readonly Tried[] | undefined;
  const all = (): readonly Tried[] => way ??= wayDown(ladders, attempt);

  const named = (program: Program, picked: Picked): Program => ({
    ...program,
    choices: loops.map((loop) => {
      const { body, length, running } = forwardOf(loop).loop.attributes;
      const steps = running === undefined ? length : "any number of";
      return `${body.name}, ${steps} steps: ${choicesFor(picked).get(loop)!.name}`;
    }),
    weighed: () => all().map(({ picked, program }) => offerOf(named(program, picked))),
    alternatives,
    sweep: () => alternatives().map(offerOf),
  });
  let offered: readonly Program[] | undefined;
  const alternatives = (): readonly Program[] =>
    offered ??= undominated(
      all().flatMap(({ picked, program }) =>
        program.alternatives().map((other) => ({
          program: named(other, picked),
          time: timeOf(other),
          bytes: other.memory.peak,
        }))
      ),
    ).map(({ program }) => program);

  const fits = ({ memory }: Program): boolean => budget === undefined || memory.peak <= budget;
  // What stores everything computes nothing twice, and is soon compiled.
  const first = attempt(ladders.map(() => 0));
  let best = first instanceof RangeError || !fits(first.program) ? undefined : first;
  if (best === undefined || (weighs && !keepsCheaply(best))) {
    for (const one of all()) {
      if (best !== undefined && one.time >= best.time) break;
      const others = fits(one.program) ? [one.program] : one.program.alternatives();
      const program = others.find(fits);
      if (program === undefined) continue;
      const time = timeOf(program);
      if (best === undefined || time < best.time) best = { ...one, program, time };
    }
  }
  if (best === undefined) {
    const [smallest] = all().toSorted((a, b) => leastOf(a.program) - leastOf(b.program));
    if (smallest === undefined) throw first;
    // Says so, and what would do.
    compile(choicesFor(smallest.picked), budget);
    throw new Error("Cannot choose: what did not fit does");
  }
  const { picked, program } = best;
  const chosen = budget === undefined ? program : compile(choicesFor(picked), budget);
  return named(chosen, picked);
}

/** What a function gives, or why a device or a budget has no room for it. */
function attempted<T>(f: () => T): T | RangeError {
  try {
    return f();
  } catch (error) {
    if (error instanceof RangeError) return error;
    throw error;
  }
}

/** Where keeping states is little of what a program does, little can be faster. */
function keepsCheaply({ program, time }: Tried): boolean {
  return program.steps().reduce((sum, { besides }) => sum + (besides?.time ?? 0), 0) < 0.1 * time;
}

/** Bytes of a program that lets go of whatever it can. */
function leastOf(program: Program): number {
  return program.alternatives().at(-1)!.memory.peak;
}

/**
 * Programs from the fastest on, with rungs that go together. What a rung takes is found out with the
 * other loops at their smallest.
 */
function wayDown(
  ladders: readonly (readonly Choice[])[],
  attempt: (picked: Picked) => Tried | RangeError,
): Tried[] {
  const found = new Map<string, Tried>();
  const take = (picked: Picked): Tried | undefined => {
    const one = attempt(picked);
    if (one instanceof RangeError) return undefined;
    found.set(picked.join(), one);
    return one;
  };
  const smallest = ladders.map((ladder) =>
    ladder.reduce((least, { bytes }, r) => bytes < ladder[least]!.bytes ? r : least, 0)
  );
  const rungs = ladders.map((ladder, g) =>
    undominated(ladder.flatMap(({ bytes }, rung) => {
      const one = take(smallest.with(g, rung));
      return one === undefined ? [] : [{ rung, bytes, time: one.time }];
    }))
  );
  const at = rungs.map(() => 0);
  for (let next = 0; next >= 0 && rungs.every(({ length }) => length > 0);) {
    take(at.map((place, g) => rungs[g]![place]!.rung));
    next = -1;
    let least = Infinity;
    at.forEach((place, g) => {
      const here = rungs[g]![place]!, below = rungs[g]![place + 1];
      if (below === undefined) return;
      const price = (below.time - here.time) / (here.bytes - below.bytes);
      if (price < least) [next, least] = [g, price];
    });
    if (next >= 0) at[next]!++;
  }
  return [...found.values()].sort((a, b) => a.time - b.time);
}
