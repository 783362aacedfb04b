/**
 * Checks of the numbers that optimizers and rates are made with. A wrong one is reported where it
 * was given, in the name of the function that got it.
 *
 * @module
 */
import { describe, type Names } from "../graph/describe.ts";
import { Tensor } from "../graph/tensor.ts";
import type { Rate } from "./rate.ts";

/**
 * Throws unless `low <= value < high`, or `value <= high` where `closed`. The least number of all
 * as `low` asks for a positive one.
 */
export function checkNumber(
  action: string,
  name: string,
  value: number,
  low: number,
  high: number = Infinity,
  closed: boolean = false,
): void {
  const isNumber = typeof value === "number";
  if (isNumber && value >= low && (value < high || (closed && value === high))) return;
  const positive = low === Number.MIN_VALUE;
  const range = high === Infinity
    ? positive ? "a positive number" : `a number >= ${low}`
    : `a number in ${positive ? "(0" : `[${low}`}, ${high}${closed ? "]" : ")"}`;
  throw new RangeError(
    `Cannot make ${action}: ${name} is ${isNumber ? value : describe(value)}, expected ${range}`,
  );
}

/** Throws unless the value is an integer of at least `low`. */
export function checkCount(action: string, name: string, value: number, low: number = 1): void {
  if (Number.isSafeInteger(value) && value >= low) return;
  throw new RangeError(
    `Cannot make ${action}: ${name} is ${value}, expected an integer >= ${low}`,
  );
}

/** Throws where a rate is a negative number, or nothing that a rate can be. */
export function checkRate(action: string, rate: Rate): void {
  if (typeof rate === "number") return checkNumber(action, "rate", rate, 0);
  if (typeof rate === "function" || rate instanceof Tensor) return;
  throw new TypeError(
    `Cannot make ${action}: rate is ${describe(rate)}, expected a number, a scalar tensor, or a ` +
      "function of the step",
  );
}

/** Those of an optimizer's options that have these names: what its direction is told. */
export function pick<O extends object>(options: NoInfer<O>, names: Names<O>): O {
  const chosen = Object.entries(options).filter(([name]) => Object.hasOwn(names, name));
  return Object.fromEntries(chosen) as O;
}
