/**
 * Loops as users write them: a body on trees of tensors, recorded once however often it runs. What
 * the body closes over becomes an input of the loop, so that derivatives flow to it, summed over
 * the steps.
 *
 * @module
 */
import { avalOf, iota, loop as loopNode, parameter } from "./build.ts";
import { carryChecks, collectChecks } from "./check.ts";
import { closeOver } from "./close.ts";
import { sameShape, type Shape, showShape } from "./shape.ts";
import type { Tensor } from "./tensor.ts";
import { difference } from "./tree.ts";
import { handle, leafName, nameOf, type Parts, partsOf, run, treeOf } from "./transforms/trace.ts";

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

function checkLength(action: string, length: number): void {
  if (Number.isInteger(length) && length >= 0) return;
  throw new RangeError(`Cannot ${action}: the length is ${length}, expected an integer ≥ 0`);
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
      `Cannot ${action}: the body returned ${show(returned)}, expected [carry, y] ` +
        "(with null for y where there is none)",
    );
  }
  const next = partsOf(returned[0], "the carry"), y = partsOf(returned[1], "y");
  checkCarry(action, first, next);
  const carried = carryChecks(checks);
  const { graph, captured } = closeOver(
    name,
    [...before, ...carried.parameters, ...rows],
    [...next.nodes, ...carried.next, ...y.nodes],
  );
  const inputs = [...first.nodes, ...carried.values, ...stacked.nodes, ...captured];
  const carries = before.length + checks.length;
  const results = loopNode(graph, inputs, {
    length,
    carries,
    stacked: rows.length,
    reverse: options.reverse ?? false,
  });
  carried.note(results.slice(before.length, carries));
  return [
    treeOf(first.structure, results.slice(0, before.length)) as C,
    treeOf(y.structure, results.slice(carries)) as Y,
  ];
}

/** How a loop runs. */
export interface LoopOptions {
  /** Number of steps. */
  readonly length: number;
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
  { length, name }: LoopOptions,
): C {
  const called = name ?? (body.name === "" ? "loop" : body.name);
  checkLength(`loop ${called}`, length);
  const steps = handle(iota([length], 0, "u32"));
  const step = (carry: C, i: Tensor): [C, null] => [body(carry, i), null];
  return scan(step, carry, steps, { name: called })[0];
}

function show(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (value !== null && typeof value === "object") return `an object {${Object.keys(value)}}`;
  return String(value);
}
