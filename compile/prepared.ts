/**
 * A loop whose bodies are compiled, forward or back: what it is to the program around it, and how its
 * values come into memory of its own.
 *
 * @module
 */
import { type Aval, is, type Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { copyKernel, fillKernel } from "../kernels/copy.ts";
import { bytesOf } from "./order.ts";
import type { Dispatch, OutsidePlan, Probe } from "./program.ts";
import { withoutReshapes } from "./store.ts";
import type { Make, Part } from "./steps.ts";
import type { Effort } from "./work.ts";

/** Memory that a loop needs while it runs. */
export interface Scratch {
  readonly bytes: number;
  /** A value that may be overwritten if the loop is its last reader: what begins in this memory. */
  readonly over?: Node;
}

/** Where the values of a program lie. */
export interface Memory {
  readonly slotOf: (node: Node) => number;
  readonly scratch: readonly number[];
}

/** A loop whose body is compiled, before it has its memory. */
export interface PreparedLoop {
  readonly name: string;
  readonly scratch: readonly Scratch[];
  /** Its dispatches in the memory given. */
  place(memory: Memory): Part;
  /** Lines about it for people. */
  describe?(): string[];
  /** How many regions of its bodies run again within a step. */
  readonly again: number;
  /** What it keeps outside of the device for its way back, from the loop forward on. */
  readonly outside: OutsidePlan;
  /** What its bodies have there besides, while it runs. */
  readonly inside: OutsidePlan;
  /** What would make it faster if it were known to have the same bits, bodies included. */
  readonly probes: readonly Probe[];
  /** Of a way back: inverse and pull of a step are one program. */
  readonly isAtOnce?: boolean;
  /** What it does: its steps, and what it does for a way back besides. */
  readonly efforts: { readonly steps: Effort; readonly besides: Effort };
}

/** Memory that begins in that of a value, if that is no other operand of the loop, too. */
export function startingIn(value: Node, operands: readonly Node[]): { readonly over?: Node } {
  const over = withoutReshapes(value);
  const uses = operands.filter((operand) => withoutReshapes(operand) === over);
  return uses.length === 1 ? { over } : {};
}

/** Dispatches that put values where a loop begins with them. */
export function beginIn(
  places: readonly { readonly to: number; readonly value: Node }[],
  slotOf: (node: Node) => number,
  make: Make,
  maxBindings: number,
): Dispatch[] {
  const fills: Dispatch[] = [];
  const copies: { readonly from: number; readonly to: number; readonly value: Node }[] = [];
  for (const { to, value } of places) {
    const base = withoutReshapes(value), size = sizeOf(value.shape);
    if (!is(base, "fill")) copies.push({ from: slotOf(value), to, value });
    else if (size > 0) {
      fills.push(make(fillKernel(value.dtype, size, base.attributes.value), [to], [value]));
    }
  }
  return [...fills, ...copyAll(copies, make, maxBindings)];
}

/** Copies of whole buffers, as many in one dispatch as the device binds. */
export function copyAll(
  pairs: readonly { readonly from: number; readonly to: number; readonly value: Aval }[],
  make: Make,
  maxBindings: number,
): Dispatch[] {
  const apart = pairs.filter(({ from, to, value }) => from !== to && bytesOf(value) > 0);
  const most = Math.max(1, Math.floor(maxBindings / 2));
  const dispatches: Dispatch[] = [];
  for (let i = 0; i < apart.length; i += most) {
    const some = apart.slice(i, i + most);
    dispatches.push(make(
      copyKernel(some.map(({ value }) => bytesOf(value))),
      some.flatMap(({ from, to }) => [from, to]),
      some.flatMap(({ value }) => [value, value]),
    ));
  }
  return dispatches;
}
