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
import { undominated } from "./frontier.ts";
import { type Choice, ladderOf, needOf } from "./ladder.ts";
import { attempted, type Priced, type Pricing, trade } from "./pricing.ts";
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

/** What came of compiling with them, without a budget. */
type Tried = Found<Priced>;

/** A rung that no other on its ladder beats in both bytes and time. */
interface Rung {
  readonly rung: number;
  readonly bytes: number;
  readonly time: number;
}

/** What is asked of a program. */
interface Terms {
  readonly budget: number | undefined;
  /** Storing all states has to be the fastest; otherwise it is enough where it fits. */
  readonly weighs: boolean;
  /** Bytes that may be kept outside of the device. */
  readonly outside: OutsidePlan;
  /** What the way down is found by, and what the fastest on it is picked by. */
  readonly pricing: Pricing;
}

/**
 * Compiles with choices, within a budget or without, and with what they leave for other values of
 * the bytes outside.
 */
type CompileChoices = (
  choices: Choices,
  budget: number | undefined,
  outside: OutsidePlan,
) => Priced;

/**
 * The fastest program that fits.
 *
 * @throws {RangeError} if none does, naming the least budget that would.
 */
export function choose(
  loops: readonly Node<"loop">[],
  terms: Terms,
  compile: CompileChoices,
): Program {
  return new Search(loops, terms, compile).fastest();
}

/** See {@linkcode choose}. */
class Search {
  readonly #groups: readonly (readonly Node<"loop">[])[];
  /** For each group its ladder. */
  readonly #ladders: readonly (readonly Choice[])[];
  readonly #tried = new Map<string, Tried | RangeError>();
  #ways: readonly Tried[] | undefined;
  #offered: readonly Program[] | undefined;

  constructor(
    private readonly loops: readonly Node<"loop">[],
    private readonly terms: Terms,
    private readonly compile: CompileChoices,
  ) {
    this.#groups = together(loops);
    const needs = loops.reduce((sum, loop) => sum + needOf(loop), 0);
    this.#ladders = this.#groups.map(([loop]) =>
      ladderOf(loop!, needs === 0 ? 0 : needOf(loop!) / needs, terms.outside)
    );
  }

  /** See {@linkcode choose}. */
  fastest(): Program {
    const { budget, weighs } = this.terms;
    // What stores everything computes nothing twice, and is soon compiled.
    const first = this.#attempt(this.#ladders.map(() => 0));
    let best: Found | undefined = first instanceof RangeError || !this.#fits(first.program)
      ? undefined
      : first;
    if (best === undefined || (weighs && !keepsCheaply(best))) best = this.#fastestWay(best);
    if (best === undefined) {
      const [smallest] = this.#all().toSorted((a, b) => leastOf(a.program) - leastOf(b.program));
      if (smallest === undefined) throw first;
      // Says so, and what would do.
      this.#compiled(smallest.picked, budget);
      throw new Error("Cannot choose: what did not fit does");
    }
    const { picked, program } = best;
    return this.#named(picked, budget === undefined ? program : this.#compiled(picked, budget));
  }

  /** The fastest of all ways in a plan that fits, if it is faster than the one given. */
  #fastestWay(given: Found | undefined): Found | undefined {
    let best = given;
    for (const one of this.#all()) {
      if (best !== undefined && one.time >= best.time) break;
      const others = this.#fits(one.program) ? [one.program] : one.program.alternatives();
      const program = others.find((other) => this.#fits(other));
      if (program === undefined) continue;
      const time = timeOf(program);
      if (best === undefined || time < best.time) best = { ...one, program, time };
    }
    return best;
  }

  #fits({ memory }: Program): boolean {
    const { budget } = this.terms;
    return budget === undefined || memory.peak <= budget;
  }

  /** Compiled with rungs. */
  #compiled(picked: Picked, budget?: number): Priced {
    const choices = this.#choicesFor(picked), left = { ...this.terms.outside };
    for (const { lent } of choices.values()) {
      left.host -= lent.host;
      left.disk -= lent.disk;
    }
    return this.compile(choices, budget, left);
  }

  #choicesFor(picked: Picked): Choices {
    return new Map(
      this.#groups.flatMap((group, g) =>
        group.map((loop) => [loop, this.#ladders[g]![picked[g]!]!])
      ),
    );
  }

  /** What comes of rungs without a budget; they are compiled once. */
  #attempt(picked: Picked): Tried | RangeError {
    const known = this.#tried.get(picked.join());
    if (known !== undefined) return known;
    const result = attempted(() => {
      const program = this.#compiled(picked);
      return { picked, program, time: timeOf(program) };
    });
    this.#tried.set(picked.join(), result);
    return result;
  }

  /** All that is weighed, the fastest first. */
  #all(): readonly Tried[] {
    const isHere = ({ lent: { host, disk } }: Choice): boolean => host + disk === 0;
    return this.#ways ??= [
      ...new Set([
        ...this.#wayDown(isHere),
        ...this.#ladders.flat().every(isHere) ? [] : this.#wayDown(() => true),
      ]),
    ].sort((a, b) => a.time - b.time);
  }

  /** Programs with rungs that go together, from the fastest on; only rungs that `may` be taken are. */
  #wayDown(may: (choice: Choice) => boolean): Tried[] {
    const found = new Map<string, Tried>();
    const take = (picked: Picked): Tried | undefined => {
      const one = this.#attempt(picked);
      if (one instanceof RangeError) return undefined;
      found.set(picked.join(), one);
      return one;
    };
    const smallest = this.#ladders.map((ladder) =>
      ladder.reduce(
        (least, choice, r) => may(choice) && choice.bytes < ladder[least]!.bytes ? r : least,
        0,
      )
    );
    // What a rung takes is found out with the other loops at their smallest.
    const rungs = this.#ladders.map((ladder, g) =>
      undominated(ladder.flatMap((choice, rung): Rung[] => {
        const one = may(choice) ? take(smallest.with(g, rung)) : undefined;
        if (one === undefined) return [];
        return [{ rung, bytes: choice.bytes, time: one.program.timeBy(this.terms.pricing.found) }];
      }))
    );
    if (rungs.some(({ length }) => length === 0)) return [...found.values()];
    const at = rungs.map(() => 0);
    for (;;) {
      take(at.map((place, g) => rungs[g]![place]!.rung));
      const next = cheapestStep(rungs, at);
      if (next === undefined) return [...found.values()];
      at[next]!++;
    }
  }

  /** A program that says what was chosen, and what was weighed. */
  #named(picked: Picked, program: Program): Program {
    const choices = this.#choicesFor(picked);
    return {
      ...program,
      choices: this.loops.map((loop) => {
        const { body, length, running } = forwardOf(loop).loop.attributes;
        const steps = running === undefined ? length : "any number of";
        return `${body.name}, ${steps} steps: ${choices.get(loop)!.name}`;
      }),
      weighed: () => this.#all().map((one) => offerOf(this.#named(one.picked, one.program))),
      alternatives: () => this.#alternatives(),
      sweep: () => this.#alternatives().map(offerOf),
    };
  }

  /** What all ways could be with less memory, too: those that no other beats. */
  #alternatives(): readonly Program[] {
    return this.#offered ??= trade(
      this.#all().flatMap(({ picked, program }) =>
        program.alternatives().map((other) => this.#named(picked, other))
      ),
    );
  }
}

/** The ladder on which a byte costs the least if one goes a rung down. */
function cheapestStep(rungs: readonly (readonly Rung[])[], at: Picked): number | undefined {
  let next: number | undefined, least = Infinity;
  at.forEach((place, g) => {
    const here = rungs[g]![place]!, below = rungs[g]![place + 1];
    if (below === undefined) return;
    const price = (below.time - here.time) / (here.bytes - below.bytes);
    if (price < least) [next, least] = [g, price];
  });
  return next;
}

/** Where keeping states is little of what a program does, little can be faster. */
function keepsCheaply({ program, time }: Found): boolean {
  return program.steps().reduce((sum, { besides }) => sum + (besides?.time ?? 0), 0) < 0.1 * time;
}

/** Bytes of a program that lets go of whatever it can. */
function leastOf(program: Program): number {
  return program.alternatives().at(-1)!.memory.peak;
}
