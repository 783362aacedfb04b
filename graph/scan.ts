/**
 * Loops as users write them: a body on trees of tensors, recorded once however often it runs. What
 * the body closes over becomes an input of the loop, so that derivatives flow to it, summed over
 * the steps.
 *
 * @module
 */
import { avalOf, iota, loop as loopNode, parameter } from "./build.ts";
import { carryChecks, type Check, collectChecks, demandsOf } from "./check.ts";
import { closeOver } from "./close.ts";
import { checkNames, describe, describeTree } from "./describe.ts";
import { auto } from "./loops/auto.ts";
import type { Plan } from "./loops/replay.ts";
import type { Node } from "./node.ts";
import { sameShape, type Shape, showShape } from "./shape.ts";
import type { Tensor } from "./tensor.ts";
import { difference } from "./tree.ts";
import { handle, leafName, nameOf, type Parts, partsOf, run, treeOf } from "./transforms/trace.ts";

/**
 * How the gradient of a loop gets the states that its steps went through; made by `revolve`,
 * `online` and `reverse`.
 */
export interface Strategy {
  /** What is kept, and what is computed again. */
  readonly plan: Plan;
  /** The state before a step from the one after it, for strategies that run backwards. */
  readonly inverse?: (carry: never, x: never) => unknown;
}

/**
 * How the gradient of a loop gets its states: `"store"` keeps all of them, `"auto"` leaves it to the
 * compiler, see `auto`.
 */
export type Backward = "store" | "auto" | Strategy;

/** How a scan runs. */
export interface ScanOptions {
  /** Number of steps; needed where there are no stacked operands to say it. */
  readonly length?: number;
  /**
   * Takes rows from the last to the first, and writes results at the places of the rows read.
   *
   * @default {false}
   */
  readonly reverse?: boolean;
  /**
   * What the way back keeps of the states that the steps go through: all of them, or as a strategy
   * says. It decides about memory and time; the gradient is the same to the bit, but for `reverse`
   * with an inverse that is not exact.
   *
   * @default {"store"}
   */
  readonly backward?: Backward;
  /** What the loop is called in printed graphs and errors; the body's name by default. */
  readonly name?: string;
}

/** Rows as a tree of stacked tensors: every tensor has one more axis, the first. */
function rowsOf(action: string, xs: Parts, length: number | undefined): number {
  let steps = length;
  xs.nodes.forEach((node, i) => {
    const name = leafName("xs", xs, i);
    if (node.shape.length === 0) {
      throw new TypeError(
        `Cannot ${action}: ${name} is a scalar, expected a first axis with a row for each step`,
      );
    }
    const rows = node.shape[0]!;
    if (steps !== undefined && steps !== rows) {
      throw new TypeError(
        `Cannot ${action}: ${name} has ${rows} rows, expected ${steps} as ` +
          (length === undefined ? "the tensors before it" : "the length says"),
      );
    }
    steps = rows;
  });
  if (steps === undefined) {
    throw new TypeError(
      `Cannot ${action}: there are no stacked tensors and no length, expected one of them`,
    );
  }
  checkLength(action, steps);
  return steps;
}

function checkLength(action: string, length: unknown): void {
  if (typeof length === "number" && Number.isInteger(length) && length >= 0 && length < 2 ** 31) {
    return;
  }
  throw new RangeError(
    `Cannot ${action}: the length is ${describe(length)}, expected an integer from 0 to 2^31 - 1`,
  );
}

/** Throws, naming the place and both, unless a carry is what it was. */
export function checkCarry(action: string, before: Parts, after: Parts): void {
  const found = difference(before.structure, after.structure);
  if (found !== undefined) {
    throw new TypeError(
      `Cannot ${action}: the carry and what the body returned for it differ ${found}, expected ` +
        "the same structure after every step",
    );
  }
  before.nodes.forEach((node, i) => {
    const next = after.nodes[i]!;
    if (node.dtype === next.dtype && sameShape(node.shape, next.shape)) return;
    throw new TypeError(
      `Cannot ${action}: ${leafName("carry", before, i)} is ${node.dtype}${
        showShape(node.shape)
      } and the body returned ${next.dtype}${
        showShape(next.shape)
      }, expected the same shape and dtype after every step`,
    );
  });
}

/**
 * Runs `body(carry, x)` once for each row of `xs`: it returns the next carry and a result, which
 * are stacked. Returns the last carry and the stacked results. All trees may hold any number of
 * tensors; the carry keeps its structure, shapes and dtypes. With null for `xs`, `length` says how
 * often.
 *
 * The body is recorded once, so neither the graph nor the compiled program grows with the length.
 *
 * @throws {TypeError} if the carry changes its structure, shape or dtype over a step, or stacked
 * tensors differ in length; the message names the place.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const [total, sums] = rg.scan(
 *   (sum: rg.Tensor, x: rg.Tensor) => [sum.add(x), sum.add(x)],
 *   rg.tensor(0),
 *   rg.tensor([1, 2, 3, 4]),
 * );
 * assertEquals(await total.item(), 10);
 * assertEquals(await sums.array(), [1, 3, 6, 10]);
 * ```
 */
export function scan<C, X = null, Y = null>(
  body: (carry: C, x: X) => readonly [carry: C, y: Y],
  carry: C,
  xs: X | null = null,
  options: ScanOptions = {},
): [carry: C, ys: Y] {
  const name = options.name ?? (body.name === "" ? "scan" : body.name);
  const action = `scan ${options.name ?? nameOf(body)}`;
  checkNames(options, { length: true, reverse: "flag", backward: true, name: true }, action);
  const first = partsOf(carry, "the carry"), stacked = partsOf(xs, "xs");
  const length = rowsOf(action, stacked, options.length);
  const before = first.nodes.map((node, i) => parameter(i, avalOf(node)));
  const rows = stacked.nodes.map((node, i) => {
    const shape: Shape = node.shape.slice(1);
    return parameter(before.length + i, { shape, dtype: node.dtype });
  });
  const { value: returned, checks } = collectChecks(() =>
    run("scan", body as (...args: never[]) => unknown, [
      treeOf(first.structure, before),
      treeOf(stacked.structure, rows),
    ])
  );
  if (!Array.isArray(returned) || returned.length !== 2) {
    throw new TypeError(
      `Cannot ${action}: the body returned ${describeTree(returned)}, expected [carry, y] ` +
        "(with null for y where there is none)",
    );
  }
  const next = partsOf(returned[0], "the carry"), y = partsOf(returned[1], "y");
  checkCarry(action, first, next);
  const carried = carryChecks(checks);
  const { plan, inverse } = strategyOf(action, options.backward);
  const parameters = [...before, ...carried.parameters, ...rows];
  const undone = inverse && invert(action, inverse, first, before, treeOf(stacked.structure, rows));
  // On a grid the bits say in the end whether the inverse was right; what it demands of its values
  // as the step does, holds for them.
  const demanded =
    undone?.checks.filter(({ message }) =>
      plan?.check !== "bits" || checks.every((check) => check.message !== message)
    ) ?? [];
  const undoing = undone && [
    ...undone.before,
    ...carried.parameters,
    ...demanded.map(({ flag }) => flag),
  ];
  const own = [...next.nodes, ...carried.next, ...y.nodes];
  const { graph, captured } = closeOver(name, parameters, [...own, ...undoing ?? []]);
  const { results: all } = graph;
  const inputs = [...first.nodes, ...carried.values, ...stacked.nodes, ...captured];
  const carries = before.length + checks.length;
  const results = loopNode({ ...graph, results: all.slice(0, own.length) }, inputs, {
    length,
    carries,
    stacked: rows.length,
    reverse: options.reverse ?? false,
    plan,
    invert: undoing && { ...graph, name: `${name} inverse`, results: all.slice(own.length) },
    demands: demandsOf(demanded),
  });
  carried.note(results.slice(before.length, carries));
  return [
    treeOf(first.structure, results.slice(0, before.length)) as C,
    treeOf(y.structure, results.slice(carries)) as Y,
  ];
}

/** The strategy taken apart, or an error that says what there is. */
function strategyOf(action: string, backward: unknown): Partial<Strategy> {
  if (backward === undefined || backward === "store") return {};
  if (backward === "auto") return auto();
  const { plan, inverse } = (backward ?? {}) as Partial<Strategy>;
  if (typeof plan?.atTurn === "function") return { plan, ...(inverse && { inverse }) };
  throw new TypeError(
    `Cannot ${action}: backward is ${
      typeof backward === "string" ? JSON.stringify(backward) : describeTree(backward)
    }, expected "store", "auto" or what revolve, online, offload, reverse or auto returns`,
  );
}

/** What an inverse makes of the state after a step: a state like the one before; and its checks. */
export function invert(
  action: string,
  inverse: NonNullable<Strategy["inverse"]>,
  carry: Parts,
  parameters: readonly Node[],
  given: unknown,
): { readonly before: readonly Node[]; readonly checks: readonly Check[] } {
  const { value: returned, checks } = collectChecks(() =>
    run("invert", inverse, [treeOf(carry.structure, parameters), given])
  );
  const before = partsOf(returned, `what ${nameOf(inverse)} returned`);
  checkCarry(`${action}, inverse ${nameOf(inverse)}`, carry, before);
  return { before: before.nodes, checks };
}

/** How a loop runs. */
export interface LoopOptions {
  /** Number of steps. */
  readonly length: number;
  /**
   * What the way back keeps of the states: see {@linkcode ScanOptions.backward}.
   *
   * @default {"store"}
   */
  readonly backward?: Backward;
  /** What the loop is called in printed graphs and errors; the body's name by default. */
  readonly name?: string;
}

/**
 * Runs `body(carry, step)` a number of times and returns the last carry; `step` counts from 0 as a
 * u32 scalar.
 *
 * @throws {TypeError} if the carry changes its structure, shape or dtype over a step; the message
 * names the place.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const root = (x: rg.Tensor) =>
 *   rg.loop((y) => y.add(x.div(y)).mul(0.5), x, { length: 20 });
 * assertEquals(await root(rg.tensor(4)).item(), 2);
 * assertEquals(await rg.grad(root)(rg.tensor(4)).item(), 0.25);
 * ```
 */
export function loop<C>(
  body: (carry: C, step: Tensor) => C,
  carry: C,
  options: LoopOptions,
): C {
  checkNames(options, { length: true, backward: true, name: true }, `loop ${nameOf(body)}`);
  const { length, name, backward } = options;
  const called = name ?? (body.name === "" ? "loop" : body.name);
  checkLength(`loop ${called}`, length);
  const steps = handle(iota([length], 0, "u32"));
  const step = (carry: C, i: Tensor): [C, null] => [body(carry, i), null];
  return scan(step, carry, steps, { name: called, ...(backward && { backward }) })[0];
}
