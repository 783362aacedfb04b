/**
 * Conditions that the device tests while it computes. A check records a flag, a u32 that stays 0 as
 * long as all is well; whoever runs what it belongs to looks at the flags at the next await and
 * throws. Inside a function that is traced the flag becomes one more result of it: functions that
 * record bodies collect the checks that were made in there and hand them on, loops as one more
 * carry, so that a check holds for every step and costs no wait.
 *
 * @module
 */
import { apply, avalOf, cast, fill, parameter, reduce, reshape } from "./build.ts";
import { executor } from "./executor.ts";
import type { Node } from "./node.ts";
import { sizeOf } from "./shape.ts";
import { nodeOf } from "./methods/base.ts";
import type { Tensor } from "./tensor.ts";

/** A number that the device finds out and nobody is blamed for: the largest so far. */
export class Gauge {
  /** Not known before the first await after a run. */
  value: number | undefined;

  /** A gauge of what the label says. */
  constructor(readonly label: string) {}

  /** What it says to people. */
  get text(): string {
    return `${this.label}: ${this.value ?? "not read yet"}`;
  }

  /** Takes the bits of a float that is no less than 0. Says what is wrong, if something is. */
  read(bits: number): string | undefined {
    this.value = new Float32Array(Uint32Array.of(bits).buffer)[0]!;
    return undefined;
  }
}

/** What an error says: a text, or one made of the flag's value. A gauge is no error, but keeps it. */
export type CheckMessage = string | ((value: number) => string) | Gauge;

/** A condition as the graph knows it. */
export interface Check {
  /** A u32 scalar, other than 0 where the condition failed. */
  readonly flag: Node;
  /** What went wrong then. */
  readonly message: CheckMessage;
}

/** What a function checks whose flags are among its results. */
export interface Demands {
  readonly messages: readonly CheckMessage[];
}

/** What some checks demand, if there are any. */
export function demandsOf(checks: readonly Check[]): Demands | undefined {
  return checks.length === 0 ? undefined : { messages: checks.map(({ message }) => message) };
}

/** Checks made by the functions that are being recorded, the innermost last. */
const scopes: Check[][] = [];

const larger = (a: Node, b: Node): Node => apply("max", [a, b], {});

/** Notes a flag of whatever is being recorded; of nothing, and the executor watches it. */
export function noteCheck(check: Check): void {
  const scope = scopes.at(-1);
  if (scope === undefined) executor("check").check(check);
  else scope.push(check);
}

/** Runs a function that records, and returns the checks it made, one for each message. */
export function collectChecks<T>(
  f: () => T,
): { readonly value: T; readonly checks: readonly Check[] } {
  const scope: Check[] = [];
  scopes.push(scope);
  try {
    const value = f();
    const flags = new Map<CheckMessage, Node>();
    for (const { flag, message } of scope) {
      const other = flags.get(message);
      flags.set(message, other === undefined ? flag : larger(other, flag));
    }
    return { value, checks: [...flags].map(([message, flag]) => ({ message, flag })) };
  } finally {
    scopes.pop();
  }
}

/** What a loop needs to carry the checks of its body: values, parameters, and their next values. */
export interface CarriedChecks {
  readonly values: readonly Node[];
  readonly parameters: readonly Node<"parameter">[];
  readonly next: readonly Node[];
  /** Notes the checks of the whole loop, given these carries after its last step. */
  note(last: readonly Node[]): void;
}

/** Checks of a loop's body as carries of the loop: a flag keeps the largest value of all steps. */
export function carryChecks(checks: readonly Check[]): CarriedChecks {
  const parameters = checks.map(({ flag }, i) => parameter(i, avalOf(flag)));
  return {
    values: checks.map(({ flag }) => fill(0, flag.shape, flag.dtype)),
    parameters,
    next: checks.map(({ flag }, i) => larger(parameters[i]!, flag)),
    note: (last) => checks.forEach(({ message }, i) => noteCheck({ flag: last[i]!, message })),
  };
}

/** The largest of many flags, as a u32 scalar. */
export function anyFlag(flags: Node): Node {
  const wide = cast(flags, "u32");
  return reshape(reduce("reduceMax", wide, wide.shape.map((_, axis) => axis)), []);
}

/**
 * Demands that all elements of a condition are true, also inside functions that are compiled,
 * differentiated or batched, and inside the bodies of loops. The device tests it on the way; where
 * it is false, the next await that asks the device for values throws an error with the message and
 * the name of the program. Nothing is stopped before that, and nothing waits.
 *
 * @throws {TypeError} if the condition is no tensor of bool or the message is no text.
 * @throws {Error} outside of a traced function, if there is no device.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertRejects } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const root = rg.compile((x: rg.Tensor) => {
 *   rg.check(x.greaterEqual(0), "a value is negative, expected none");
 *   return x.sqrt();
 * }, { name: "root" });
 * await root(rg.tensor([1, 4])).data();
 * await assertRejects(
 *   () => root(rg.tensor([1, -4])).data(),
 *   rg.CheckError,
 *   "Cannot run root: a value is negative, expected none",
 * );
 * ```
 */
export function check(condition: Tensor, message: string): void {
  const node = nodeOf(condition);
  if (node.dtype !== "bool") {
    throw new TypeError(`Cannot check: the condition is ${condition}, expected bool`);
  }
  if (typeof message !== "string" || message === "") {
    throw new TypeError(
      `Cannot check: the message is ${JSON.stringify(message)}, expected what is wrong where ` +
        "the condition is false",
    );
  }
  if (sizeOf(node.shape) === 0) return;
  noteCheck({ flag: anyFlag(apply("not", [node], {})), message });
}
