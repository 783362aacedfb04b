/**
 * Loops whose way back is the compiler's to choose (graph/loops/auto.ts). Each has a ladder of
 * plans (ladder.ts). Which rungs go together is a trade of the bytes that a plan holds against the
 * time that it takes: from the fastest on, one loop after the other goes a rung down, each time
 * where a byte costs the least. Every step of this way is compiled, and the budget picks: so more
 * memory is not slower, and the least is the same whoever asks. Only where all states fit, and are
 * cheap to keep, is nothing else tried.
 *
 * Loops share what a program may keep outside of the device, each as much of it as it has of all
 * their states. What a plan leaves is for other values; and plans that take nothing are weighed, too.
 *
 * @module
 */
import { fill, loop as loopNode } from "../graph/build.ts";
import { AutoPlan } from "../graph/loops/auto.ts";
import { forwardOf, makeReplay, replayInputs, statesAt } from "../graph/loops/replay.ts";
import { replaceResults } from "../graph/loops/tidy.ts";
import { is, type Node } from "../graph/node.ts";
import { topological } from "../graph/walk.ts";
import { type Choice, ladderOf, needOf } from "./ladder.ts";
import { attempted, type Priced, type Pricing, trade } from "./pricing.ts";
import { undominated } from "./plan.ts";
import { offerOf, type OutsidePlan, type Program, timeOf } from "./program.ts";

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
    const { own, inverse, forward } = replayInputs(current);
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

/** Loops that are each given the plan that is best for itself, at most. */
const mostApart = 8;

/** Loops that go down their ladders together: each by itself, or if there are many those of a body. */
function together(loops: readonly Node<"loop">[]): (readonly Node<"loop">[])[] {
  if (loops.length <= mostApart) return loops.map((loop) => [loop]);
  const groups = Map.groupBy(
    loops,
    ({ attributes: { body, length, replay } }) => `${body.name} ${length} ${replay!.plan!.name}`,
  );
  return [...groups.values()];
}

/** Rungs that go together, one for each ladder. */
type Picked = readonly number[];

/** A program with some rungs. */
interface Found<P extends Program = Program> {
  readonly picked: Picked;
  readonly program: P;
  readonly time: number;
}

/** What came of compiling with them. */
type Tried = Found<Priced>;

/**
 * The fastest program that fits.
 *
 * @param weighs Whether storing all states has to be the fastest, or is enough where it fits.
 * @param outside Bytes that may be kept outside of the device.
 * @param pricing What the way down is found by, and what the fastest on it is picked by.
 * @param compile Compiles with choices, within a budget or without, and with what they leave for other
 * values of the bytes outside.
 * @throws {RangeError} if none does, naming the least budget that would.
 */
export function choose(
  loops: readonly Node<"loop">[],
  { budget, weighs, outside, pricing }: {
    readonly budget: number | undefined;
    readonly weighs: boolean;
    readonly outside: OutsidePlan;
    readonly pricing: Pricing;
  },
  compile: (choices: Choices, budget: number | undefined, outside: OutsidePlan) => Priced,
): Program {
  const groups = together(loops);
  const needs = loops.reduce((sum, loop) => sum + needOf(loop), 0);
  const ladders = groups.map(([loop]) =>
    ladderOf(loop!, needs === 0 ? 0 : needOf(loop!) / needs, outside)
  );
  const choicesFor = (picked: Picked): Choices =>
    new Map(groups.flatMap((group, g) => group.map((loop) => [loop, ladders[g]![picked[g]!]!])));
  const compiled = (picked: Picked, budget: number | undefined): Priced => {
    const choices = choicesFor(picked), left = { ...outside };
    for (const { lent } of choices.values()) {
      left.host -= lent.host;
      left.disk -= lent.disk;
    }
    return compile(choices, budget, left);
  };
  const tried = new Map<string, Tried | RangeError>();
  const attempt = (picked: Picked): Tried | RangeError => {
    const known = tried.get(picked.join());
    if (known !== undefined) return known;
    const result = attempted(() => {
      const program = compiled(picked, undefined);
      return { picked, program, time: timeOf(program) };
    });
    tried.set(picked.join(), result);
    return result;
  };
  let way: readonly Tried[] | undefined;
  const lends = ladders.flat().some(({ lent: { host, disk } }) => host + disk > 0);
  const all = (): readonly Tried[] =>
    way ??= [
      ...new Set([
        ...wayDown(ladders, attempt, pricing, ({ lent: { host, disk } }) => host + disk === 0),
        ...lends ? wayDown(ladders, attempt, pricing, () => true) : [],
      ]),
    ].sort((a, b) => a.time - b.time);

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
    offered ??= trade(
      all().flatMap(({ picked, program }) =>
        program.alternatives().map((other) => named(other, picked))
      ),
    );

  const fits = ({ memory }: Program): boolean => budget === undefined || memory.peak <= budget;
  // What stores everything computes nothing twice, and is soon compiled.
  const first = attempt(ladders.map(() => 0));
  let best: Found | undefined = first instanceof RangeError || !fits(first.program)
    ? undefined
    : first;
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
    compiled(smallest.picked, budget);
    throw new Error("Cannot choose: what did not fit does");
  }
  const { picked, program } = best;
  const chosen = budget === undefined ? program : compiled(picked, budget);
  return named(chosen, picked);
}

/** Where keeping states is little of what a program does, little can be faster. */
function keepsCheaply({ program, time }: Found): boolean {
  return program.steps().reduce((sum, { besides }) => sum + (besides?.time ?? 0), 0) < 0.1 * time;
}

/** Bytes of a program that lets go of whatever it can. */
function leastOf(program: Program): number {
  return program.alternatives().at(-1)!.memory.peak;
}

/**
 * Programs with rungs that go together, from the fastest on. What a rung takes is found out with the
 * other loops at their smallest. Only rungs that `may` be taken are.
 */
function wayDown(
  ladders: readonly (readonly Choice[])[],
  attempt: (picked: Picked) => Tried | RangeError,
  { found: costs }: Pricing,
  may: (choice: Choice) => boolean,
): Tried[] {
  const found = new Map<string, Tried>();
  const take = (picked: Picked): Tried | undefined => {
    const one = attempt(picked);
    if (one instanceof RangeError) return undefined;
    found.set(picked.join(), one);
    return one;
  };
  const smallest = ladders.map((ladder) =>
    ladder.reduce(
      (least, choice, r) => may(choice) && choice.bytes < ladder[least]!.bytes ? r : least,
      0,
    )
  );
  const rungs = ladders.map((ladder, g) =>
    undominated(ladder.flatMap((choice, rung) => {
      const one = may(choice) ? take(smallest.with(g, rung)) : undefined;
      return one === undefined
        ? []
        : [{ rung, bytes: choice.bytes, time: one.program.timeBy(costs) }];
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
  return [...found.values()];
}
