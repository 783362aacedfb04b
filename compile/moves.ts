/**
 * Values that wait outside of the device: one region saves a value, another loads it, and neither
 * has a kernel. What is saved is known by a ticket, sixteen bytes of device memory of which only the
 * place counts; so a schedule, the allocator and loops around a program treat both like any region.
 *
 * @module
 */
import { fill, mark } from "../graph/build.ts";
import type { Node } from "../graph/node.ts";
import type { Outside } from "../graph/loops/replay.ts";
import type { Region } from "../kernels/region.ts";
import type { Stay } from "./allocate.ts";
import { Asked, runErrands } from "./errands.ts";
import { bytesOf } from "./order.ts";
import type { Part } from "./steps.ts";
import { idle } from "./work.ts";

/** How a value goes to a store and comes back. */
export interface Moves {
  readonly ticket: Node;
  readonly save: Region;
  readonly load: Region;
}

/** A move, as a region. */
export interface MoveRegion extends Region {
  readonly frame: Extract<Region["frame"], { readonly is: "save" | "load" }>;
}

/** The regions that move a value. */
export function movesOf(node: Node, store: Outside): Moves {
  const { shape } = node, ticket = mark(fill(0, [4], "u32"));
  return {
    ticket,
    save: { frame: { is: "save", shape, store }, inputs: [node], outputs: [ticket] },
    load: { frame: { is: "load", shape, store }, inputs: [ticket], outputs: [node] },
  };
}

/** True of a region that moves a value. */
export function isMove(region: Region): region is MoveRegion {
  return region.frame.is === "save" || region.frame.is === "load";
}

/** What is moved. */
export function movedBy(
  { frame, inputs, outputs }: MoveRegion,
): { readonly value: Node; readonly ticket: Node } {
  const [read, written] = [inputs[0]!, outputs[0]!];
  return frame.is === "save" ? { value: read, ticket: written } : { value: written, ticket: read };
}

/** Bytes that are moved. */
export function bytesMoved(move: MoveRegion): number {
  return bytesOf(movedBy(move).value);
}

/** What a move does between dispatches; the last load of what was saved lets go of it. */
export function movePart(move: MoveRegion, slotOf: (node: Node) => number, isLast: boolean): Part {
  const { frame: { is, store } } = move, { value, ticket } = movedBy(move);
  const asked = new Asked();
  const moves = asked.moves([
    { ticket: slotOf(ticket), slot: slotOf(value), bytes: bytesOf(value) },
  ]);
  const steer = runErrands(() => [async ({ outside }, slots) => {
    if (is === "save") return await outside.save(store, moves(slots));
    await outside.load(moves(slots));
    if (isLast) outside.drop(moves(slots).map(({ ticket }) => ticket));
  }]);
  const effort = { ...idle, transfers: [{ store, bytes: bytesOf(value), times: 1 }] };
  return { dispatches: [], script: [{ parts: [], slots: asked.slots, effort, steer }] };
}

/** For each step that loads, whether nobody loads what was saved there after it. */
export function lastLoads(steps: readonly Region[], stays: readonly Stay[]): boolean[] {
  const last = steps.map(() => false), tickets = new Set<Node>();
  for (const step of steps) if (isMove(step)) tickets.add(movedBy(step).ticket);
  for (const { node, from, to } of stays) if (tickets.has(node) && to > from) last[to] = true;
  return last;
}
