/**
 * Checks of the numbers that optimizers and rates are made with. A wrong one is reported where it
 * was given, in the name of the function that got it.
 *
 * @module
 */

/** Throws unless `low <= value < high`, or `value <= high` where `closed`. */
export function checkNumber(
  action: string,
  name: string,
  value: number,
  low: number,
  high: number = Infinity,
  closed: boolean = false,
): void {
  if (value >= low && (value < high || (closed && value === high))) return;
  const range = high === Infinity
    ? `a number >= ${low}`
    : `a number in [${low}, ${high}${closed ? "]" : ")"}`;
  throw new RangeError(`Cannot make ${action}: ${name} is ${value}, expected ${range}`);
}
