/**
 * Shapes and dtypes of what a loop returns, and whether its body, its inputs and what it is to keep
 * fit each other.
 *
 * @module
 */
import { fail } from "../describe.ts";
import { type Aval, showAval } from "../node.ts";
import type { Attributes } from "../primitive.ts";
import { outsideOf, type Recording, type Replay } from "./replay.ts";

const same = (a: Aval, b: Aval): boolean => showAval(a) === showAval(b);
const avalOf = ({ shape, dtype }: Aval): Aval => ({ shape, dtype });

/** What stands for a value that lies outside of the device. */
const ticket: Aval = { shape: [], dtype: "u32" };

/** Inputs of a way back after those of its body: states at the turn, operands of other bodies. */
function extraInputs({ states, live, invert, forward, record }: Replay): number {
  const inverse = invert === undefined ? 0 : invert.parameters.length - states;
  return states * live + inverse + (forward?.body.parameters.length ?? 0) +
    (record?.memory.length ?? 0);
}

/** Inputs of a loop that records, after those of its body: what the inverse reads besides. */
function operandsOf({ invert, state }: Recording): number {
  return invert.parameters.length - state.length;
}

/**
 * The results of a loop over inputs: final carries, the stacked results, kept carries.
 *
 * @throws {TypeError} where body, inputs and attributes do not fit each other.
 */
export function loopResults(inputs: readonly Aval[], attributes: Attributes["loop"]): Aval[] {
  const { body, length, carries, stacked, running, kept, replay, record } = attributes;
  const { parameters, results, name } = body;
  const action = `loop ${name}`;
  if (!Number.isInteger(length) || length < 0) {
    throw new RangeError(`Cannot ${action}: the length is ${length}, expected an integer ≥ 0`);
  }
  const plain = parameters.length - (replay?.states ?? 0);
  const wanted = plain + (replay === undefined ? 0 : extraInputs(replay)) +
    (record === undefined ? 0 : operandsOf(record));
  const enough = carries >= 0 && stacked >= 0 && carries + stacked <= plain;
  if (!enough || carries > results.length || inputs.length !== wanted) {
    fail(
      action,
      `${inputs.length} inputs (${carries} carries, ${stacked} stacked) for a body of ` +
        `${parameters.length} parameters and ${results.length} results`,
      "as many inputs as parameters, and a result for each carry",
    );
  }
  inputs.slice(0, plain).forEach((input, i) => {
    const wanted = parameters[i]!;
    if (i < carries || i >= carries + stacked) {
      if (same(input, wanted)) return;
      fail(
        action,
        `input ${i} is ${showAval(input)}`,
        `${showAval(wanted)} as its body's parameter`,
      );
    }
    if (same(input, { shape: [length, ...wanted.shape], dtype: wanted.dtype })) return;
    fail(
      action,
      `stacked operand ${i - carries} is ${showAval(input)}`,
      `${length} rows of ${showAval(wanted)}`,
    );
  });
  if (replay !== undefined) {
    parameters.slice(plain).forEach(({ shape, dtype }, i) => {
      const { plan, open, live } = replay;
      const turn = open ? [] : plan?.atTurn(length) ?? [];
      const state: Aval = { shape: plan === undefined ? [length, ...shape] : shape, dtype };
      inputs.slice(plain + i * live, plain + (i + 1) * live).forEach((input, k) => {
        const wanted = outsideOf(turn[k] ?? 0) === undefined ? state : ticket;
        if (same(input, wanted)) return;
        fail(action, `a value of state ${i} is ${showAval(input)}`, showAval(wanted));
      });
    });
  }
  for (let i = 0; i < carries; i++) {
    if (same(parameters[i]!, results[i]!)) continue;
    fail(
      action,
      `carry ${i} is ${showAval(parameters[i]!)} and its body returns ${showAval(results[i]!)}`,
      "a carry of the same shape and dtype after every step",
    );
  }
  if (running !== undefined) {
    const flag = running < carries ? parameters[running] : undefined;
    if (flag === undefined || !same(flag, { shape: [], dtype: "bool" })) {
      const what = flag === undefined ? `result ${running}` : showAval(flag);
      fail(action, `it runs as long as ${what} says`, "a carry that is a bool scalar");
    }
    if (stacked > 0 || carries < results.length) {
      fail(action, "it may end early and has stacked operands or results", "carries only");
    }
  }
  const stack = ({ shape, dtype }: Aval): Aval => ({ shape: [length, ...shape], dtype });
  return [
    ...results.map((result, i) => i < carries ? avalOf(result) : stack(result)),
    ...kept.map(([carry, step]) => {
      const whole = carry >= 0 && carry < carries && (typeof step === "string" || step <= length);
      if (!whole) fail(action, `it keeps carry ${carry} before step ${step}`, "one that it has");
      if (outsideOf(step) !== undefined) return ticket;
      return step === "every" ? stack(parameters[carry]!) : avalOf(parameters[carry]!);
    }),
    ...replay !== undefined && replay.checks > 0
      ? [{ shape: [replay.checks], dtype: "u32" } as const]
      : [],
    ...record?.memory ?? [],
  ];
}
