/**
 * Loops whose way back is the compiler's to choose (graph/loops/auto.ts). Each has a few plans: all
 * states stored, ever fewer of them and more steps run again, and what else was allowed. Programs
 * are compiled with them, so that what they take is known to the byte, and the fastest that fits is
 * the one. Loops are first given plans of one rung together, then each the best for itself.
 *
 * @module
 */
import { offload } from "../checkpoint/offload.ts";
import { scheduleOf, type SchedulePlan } from "../checkpoint/plan.ts";
import { leastAdvances } from "../checkpoint/revolve.ts";
import { revolve } from "../checkpoint/strategy.ts";
import { fill, loop as loopNode } from "../graph/build.ts";
import { AutoPlan } from "../graph/loops/auto.ts";
import { forwardOf, makeReplay, replayInputs, statesAt } from "../graph/loops/replay.ts";
import { replaceResults } from "../graph/loops/tidy.ts";
import { is, type Node } from "../graph/node.ts";
import { topological } from "../graph/walk.ts";
import { undominated } from "./plan.ts";
import { BudgetError } from "./planning.ts";
import type { Offer, Program } from "./program.ts";

/** How a loop may be gone back over; without a plan all states are stored. */
export interface Choice {
  readonly name: string;
  readonly plan: SchedulePlan | undefined;
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

/** The plans of a loop, from the fastest to the smallest, then those that were allowed besides. */
function choicesOf({ attributes: { replay, length } }: Node<"loop">): Choice[] {
  const { reverse, host, disk } = replay!.plan as AutoPlan;
  const choices: Choice[] = [{ name: "store", plan: undefined }];
  const add = (plan: SchedulePlan): void => void choices.push({ name: plan.name, plan });
  for (let snapshots = length >> 1; snapshots >= 1; snapshots >>= 1) {
    if (leastAdvances(length, snapshots) > mostAgain * length) break;
    add(scheduleOf(revolve({ snapshots }).plan));
  }
  if (reverse !== undefined) add(scheduleOf(reverse));
  if (host + disk > 0) add(scheduleOf(offload({ device: 1, host, disk }).plan));
  return choices;
}

/** Loops that are each given the plan that is best for itself, at most. */
const mostApart = 8;

/** A program compiled with some choices, or why it could not be. */
type Tried =
  | { readonly picked: readonly number[]; readonly program: Program; readonly time: number }
  | { readonly picked: readonly number[]; readonly error: RangeError };

/**
 * The fastest program that fits.
 *
 * @param compile Compiles with choices, within a budget or without.
 * @throws {RangeError} if none does, naming the least budget that would.
 */
export function choose(
  loops: readonly Node<"loop">[],
  budget: number | undefined,
  compile: (choices: Choices, budget: number | undefined) => Program,
): Program {
  const ladders = loops.map(choicesOf);
  const tried = new Map<string, Tried>();
  const choicesFor = (picked: readonly number[]): Choices =>
    new Map(loops.map((loop, i) => [loop, ladders[i]![picked[i]!]!]));
  const attempt = (picked: readonly number[]): Tried => {
    const key = picked.join();
    let result = tried.get(key);
    if (result === undefined) {
      tried.set(key, result = run(picked));
    }
    return result;
  };
  const run = (picked: readonly number[]): Tried => {
    try {
      const program = compile(choicesFor(picked), budget);
      return { picked, program, time: timeOf(program) };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return { picked, error };
    }
  };
  const rungs = Math.max(...ladders.map(({ length }) => length));
  const rung = (r: number): number[] => ladders.map(({ length }) => Math.min(r, length - 1));
  const first = attempt(rung(0));
  let best = "program" in first ? first : undefined;
  const better = (other: Tried): boolean =>
    "program" in other && (best === undefined || other.time < best.time);
  const consider = (picked: readonly number[]): void => {
    const other = attempt(picked);
    if (better(other)) best = other as typeof best;
  };
  // What stores everything and computes nothing twice is as fast as it gets.
  if (best === undefined || best.program.steps().some(({ again }) => again)) {
    for (let r = 1; r < rungs; r++) consider(rung(r));
    if (best !== undefined && loops.length > 1 && loops.length <= mostApart) {
      ladders.forEach((ladder, i) => ladder.forEach((_, r) => consider(best!.picked.with(i, r))));
    }
  }
  if (best === undefined) throw smallest([...tried.values()]);
  const { program, picked } = best;
  const names = (picked: readonly number[]): string[] =>
    loops.map((loop, i) => {
      const { body, length } = forwardOf(loop).loop.attributes;
      return `${body.name}, ${length} steps: ${ladders[i]![picked[i]!]!.name}`;
    });
  return {
    ...program,
    choices: names(picked),
    sweep: () => {
      const every = Array.from({ length: rungs }, (_, r) => rung(r));
      const offers = every.flatMap((picked): Offer[] => {
        try {
          const loops = picked.map((r, i) => ladders[i]![r]!.name).join(", ");
          return compile(choicesFor(picked), undefined).sweep().map((offer) => ({
            ...offer,
            loops,
          }));
        } catch (error) {
          if (error instanceof RangeError) return [];
          throw error;
        }
      });
      return undominated(offers);
    },
  };
}

/** Microseconds that a program is expected to take. */
function timeOf(program: Program): number {
  return program.steps().reduce((sum, { time }) => sum + time, 0);
}

/** The error that names the least. */
function smallest(tried: readonly Tried[]): RangeError {
  const errors = tried.flatMap((one) => "error" in one ? [one.error] : []);
  const least = (error: RangeError): number =>
    error instanceof BudgetError ? error.least : Infinity;
  return errors.reduce((a, b) => least(b) < least(a) ? b : a);
}
