/**
 * Loops whose number of steps the data decides. The body is recorded once, as in `scan`; a flag
 * among the carries says whether the condition still holds, and a step without it changes nothing.
 * So whoever runs the loop may look at the flag now and then, and late.
 *
 * @module
 */
import { apply, avalOf, broadcastTo, fill, loop as loopNode, parameter, where } from "./build.ts";
import { anyFlag, carryChecks, collectChecks, demandsOf, noteCheck } from "./check.ts";
import { closeOver } from "./close.ts";
import { checkNames, describe } from "./describe.ts";
import type { Node } from "./node.ts";
import { auto } from "./loops/auto.ts";
import type { Plan } from "./loops/replay.ts";
import { checkCarry, invert, type Strategy } from "./scan.ts";
import type { Tensor } from "./tensor.ts";
import { handle, isTensor, nameOf, partsOf, run, treeOf } from "./transforms/trace.ts";

/** How a `whileLoop` runs. */
export interface WhileOptions {
  /**
   * Steps, at most; if the condition holds after as many, that is an error.
   *
   * @default {2 ** 31 - 1}
   */
  readonly maximum?: number;
  /**
   * How its gradient gets the states before each step: `online({ snapshots })` keeps chosen ones
   * while the loop runs, and computes the others again on the way back. `revolve` does so, too, and
   * can go back over segments between them as its `leaf` says: `reverse` runs the inverse of the
   * body, which gets the carry and the number of the step, as in `loop`.
   * `"auto"` keeps as many as fit, 64 at most: how long the loop runs is not known, and with more
   * snapshots fewer steps run again, whatever the length. With 64, none of 2145 steps runs more than
   * twice again. `auto({ reverse })` may have fewer, and segments between them that run backwards.
   *
   * @default {online({ snapshots: 16 })}
   */
  readonly backward?: Strategy | "auto";
  /** What the loop is called in printed graphs and errors; the body's name by default. */
  readonly name?: string;
}

const mostSteps = 2 ** 31 - 1;

/** The plan of a loop that names none. */
const usual: Plan = {
  name: "online(16)",
  inverts: false,
  check: undefined,
  open: 16,
  atTurn: () => [],
};

/**
 * Runs `body(carry, step)` as long as `condition(carry, step)` is true, and returns the last carry
 * and the number of steps, a u32 scalar; `step` counts from 0 as a u32 scalar, and the condition is
 * asked before each step. The carry is any tree of tensors, which keeps its structure, shapes and
 * dtypes.
 *
 * The device decides when it is over: steps run in chunks, each under way before it is known
 * whether the one before was the last, and a step too much changes nothing. The program that
 * contains the loop returns at once like any other; what is called after it takes its turn behind
 * it. Under `vmap` each example ends by itself.
 *
 * Its gradient is that of a `loop` of as many steps, to the bit, and so are derivatives of any
 * order and mode. The memory it takes does not grow with the number of steps.
 *
 * @throws {TypeError} if the condition is no bool scalar, or the carry changes its structure, shape
 * or dtype over a step; the message names the place.
 * @throws {RangeError} if `maximum` is no integer from 1 to 2^31 - 1.
 * @throws {CheckError} at the next await, if the condition still holds after `maximum` steps.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * // The steps of Collatz until 1.
 * const [last, steps] = rg.whileLoop(
 *   (n: rg.Tensor) => n.greater(1),
 *   (n: rg.Tensor) => rg.where(n.mod(2).equal(0), n.floorDiv(2), n.mul(3).add(1)),
 *   rg.tensor(27, { dtype: "u32" }),
 * );
 * assertEquals([await last.item(), await steps.item()], [1, 111]);
 * ```
 */
export function whileLoop<C>(
  condition: (carry: C, step: Tensor) => Tensor,
  body: (carry: C, step: Tensor) => C,
  carry: C,
  options: WhileOptions = {},
): [carry: C, steps: Tensor] {
  const name = options.name ?? (body.name === "" ? "while" : body.name);
  const action = `loop ${options.name ?? nameOf(body)}`;
  checkNames(options, { maximum: true, backward: true, name: true }, action);
  const maximum = options.maximum ?? mostSteps;
  if (!Number.isInteger(maximum) || maximum < 1 || maximum > mostSteps) {
    throw new RangeError(
      `Cannot ${action}: maximum is ${maximum}, expected an integer from 1 to ${mostSteps}`,
    );
  }
  const strategy = options.backward === "auto" ? auto() : options.backward;
  const plan = strategy === undefined ? usual : (strategy as Strategy | null)?.plan;
  if (plan?.open === undefined) {
    throw new TypeError(
      `Cannot ${action}: backward is ${plan?.name ?? describe(strategy)}, expected ` +
        'online({ snapshots }) or revolve({ snapshots, segment, leaf }), or "auto", where the number ' +
        "of steps is not known",
    );
  }
  const first = partsOf(carry, "the carry");
  const before = first.nodes.map((node, i) => parameter(i, avalOf(node)));
  const step = parameter(before.length, { shape: [], dtype: "u32" });
  const running = parameter(before.length + 1, { shape: [], dtype: "bool" });
  const asked = (nodes: readonly Node[], step: Node): Node => {
    const args = [treeOf(first.structure, nodes), handle(step)];
    return truthOf(action, run("loop", condition as (...args: never[]) => unknown, args));
  };
  const zero = fill(0, [], "u32");
  const starts = asked(first.nodes, zero);
  const after = apply("add", [step, fill(1, [], "u32")], {});
  const recorded = collectChecks(() => {
    const args = [treeOf(first.structure, before), handle(step)];
    const next = partsOf(run("loop", body as (...args: never[]) => unknown, args), "the carry");
    checkCarry(action, first, next);
    const goes = asked(next.nodes, after);
    const left = apply("less", [after, fill(maximum, [], "u32")], {});
    noteCheck({
      flag: anyFlag(apply("and", [goes, apply("not", [left], {})], {})),
      message: `${name} did not end within ${maximum} steps`,
    });
    return { next: next.nodes, goes: apply("and", [goes, left], {}) };
  });
  const inverse = plan.inverts ? strategy!.inverse : undefined;
  const previous = apply("sub", [step, fill(1, [], "u32")], {});
  const undone = inverse && invert(action, inverse, first, before, handle(previous));
  const masked = (next: Node, now: Node): Node => where(broadcastTo(running, now.shape), next, now);
  const { value: { next, goes }, checks } = recorded;
  const carried = carryChecks(
    checks.map(({ flag, message }) => ({ flag: masked(flag, zero), message })),
  );
  const own = [
    ...next.map((node, i) => masked(node, before[i]!)),
    masked(after, step),
    apply("and", [running, goes], {}),
    ...carried.next,
  ];
  // A step is undone only if it was taken.
  const back = undone && [
    ...undone.before,
    previous,
    fill(1, [], "bool"),
    ...carried.parameters,
    ...undone.checks.map(({ flag }) => flag),
  ];
  const { graph: { results: all, ...graph }, captured } = closeOver(
    name,
    [...before, step, running, ...carried.parameters],
    [...own, ...back ?? []],
  );
  const inputs = [...first.nodes, zero, starts, ...carried.values, ...captured];
  const count = before.length;
  const results = loopNode({ ...graph, results: all.slice(0, own.length) }, inputs, {
    length: maximum,
    carries: count + 2 + checks.length,
    stacked: 0,
    reverse: false,
    running: count + 1,
    plan,
    invert: back && { ...graph, name: `${name} inverse`, results: all.slice(own.length) },
    demands: demandsOf(undone?.checks ?? []),
  });
  carried.note(results.slice(count + 2));
  return [treeOf(first.structure, results.slice(0, count)) as C, handle(results[count]!)];
}

function truthOf(action: string, returned: unknown): Node {
  const fits = isTensor(returned) && returned.dtype === "bool" && returned.shape.length === 0;
  if (fits) return returned.node;
  const what = isTensor(returned) ? `${returned}` : describe(returned);
  throw new TypeError(`Cannot ${action}: the condition is ${what}, expected a bool scalar`);
}
