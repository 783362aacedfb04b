/**
 * Plans are found by costs: which values to let go of, and in how much memory loops run, is decided
 * by what it is expected to take. So other costs find other plans, and not always ones that are as
 * small. Where times were measured, what the model finds is weighed, too, by the measured times. So
 * what could be met before anything was measured can be met afterwards.
 *
 * @module
 */
import type { CostModel } from "../checkpoint/cost.ts";
import { undominated } from "./frontier.ts";
import { BudgetError } from "./planning.ts";
import { offerOf, type Program, timeOf } from "./program.ts";

/** By what plans are found and picked. */
export interface Pricing {
  readonly found: CostModel;
  readonly picked: CostModel;
}

/** A program of which it is known what it would take by other costs. */
export interface Priced extends Program {
  /** Microseconds. */
  timeBy(costs: CostModel): number;
}

/**
 * The fastest program within a budget, of those found by some costs and by what these are without
 * measurements.
 *
 * @param compile Gives the fastest of what is found, within a budget or without.
 * @throws {RangeError} if there is none, naming the least budget that would do.
 */
export function fastestBy(
  costs: CostModel,
  budget: number | undefined,
  compile: (pricing: Pricing, budget: number | undefined) => Program,
): Program {
  const { otherwise } = costs;
  const by = (found: CostModel, budget?: number): Program =>
    compile({ found, picked: costs }, budget);
  if (otherwise === undefined) return by(costs, budget);
  const models = [costs, otherwise];
  let all: readonly Program[] | undefined;
  const alternatives = (): readonly Program[] =>
    all ??= trade(models.flatMap((found) => by(found).alternatives()));
  const wider = (program: Program): Program => ({
    ...program,
    alternatives,
    sweep: () => alternatives().map(offerOf),
  });
  if (budget === undefined) return wider(by(costs));
  const tried = models.map((found) => attempted(() => by(found, budget)));
  const [fastest] = trade(tried.flatMap((one) => one instanceof RangeError ? [] : [one]));
  if (fastest !== undefined) return wider(fastest);
  throw leastOf(tried.flatMap((one) => one instanceof RangeError ? [one] : []));
}

/** Programs that no other beats in both bytes and time, from the fastest to the smallest. */
export function trade(programs: readonly Program[]): Program[] {
  return undominated(
    programs.map((program) => ({
      program,
      time: timeOf(program),
      bytes: program.memory.peak,
    })),
  ).map(({ program }) => program);
}

/** What a function gives, or why a device or a budget has no room for it. */
export function attempted<T>(f: () => T): T | RangeError {
  try {
    return f();
  } catch (error) {
    if (error instanceof RangeError) return error;
    throw error;
  }
}

/** The error that names the least budget. */
function leastOf(errors: readonly RangeError[]): RangeError {
  const least = (error: RangeError): number =>
    error instanceof BudgetError ? error.least : Infinity;
  return errors.reduce((a, b) => least(b) < least(a) ? b : a);
}
