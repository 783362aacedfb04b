/**
 * What a program keeps outside of the device, moment by moment: values that wait there between two
 * moves, and states of loops from the loop forward to the end of its way back. The fullest moment of
 * each store is what a program says of itself.
 *
 * @module
 */
import { type Outside, outsideOf } from "../graph/loops/replay.ts";
import type { Node } from "../graph/node.ts";
import type { Region } from "../kernels/region.ts";
import type { Stay } from "./allocate.ts";
import type { Loops } from "./bodies.ts";
import { isMove, movedBy } from "./moves.ts";
import { bytesOf } from "./order.ts";
import { mergeOutside, nowhere, type OutsidePlan } from "./program.ts";

/** Something in a store. */
interface Kept {
  readonly store: Outside;
  readonly bytes: number;
}

/**
 * Bytes outside of the device at the fullest moment of each store.
 *
 * @param isLast For each step that loads, whether nobody loads what was saved there after it.
 * @param stays Who lies where and when: states are there for as long as what stands for them.
 */
export function bytesOutside(
  steps: readonly Region[],
  isLast: readonly boolean[],
  stays: readonly Stay[] = [],
  loops: Loops = new Map(),
): OutsidePlan {
  const now = { host: 0, disk: 0 }, kept = new Map<Node, Kept>();
  let peak = nowhere;
  const ends = new Map(stays.map(({ node, to }) => [node, to]));
  const drop = (ticket: Node): void => {
    const known = kept.get(ticket);
    if (known === undefined) return;
    now[known.store] -= known.bytes;
    kept.delete(ticket);
  };
  const keep = (ticket: Node, own: Kept): void => {
    // What is kept anew takes the place of what was.
    drop(ticket);
    kept.set(ticket, own);
    now[own.store] += own.bytes;
  };
  steps.forEach((step, i) => {
    const within: OutsidePlan[] = [now];
    if (isMove(step)) {
      const { frame: { is, store } } = step, { value, ticket } = movedBy(step);
      if (is === "save") keep(ticket, { store, bytes: bytesOf(value) });
      else if (isLast[i]) drop(ticket);
    } else {
      for (const [ticket, own] of statesKept(step)) keep(ticket, own);
      // A way back counts the states that it ends with as its own.
      for (const x of step.inputs) if (ends.get(x) === i) drop(x);
      const loop = loops.get(step);
      if (loop !== undefined) within.push(loop.outside, loop.inside);
    }
    peak = mergeOutside([peak, mergeOutside(within, "at once")], "in turn");
  });
  return peak;
}

/** States that a loop leaves outside for its way back, by what stands for them. */
function statesKept({ frame, outputs }: Region): [ticket: Node, kept: Kept][] {
  if (frame.is !== "loop") return [];
  const { body, kept } = frame.loop.attributes;
  return (outputs as readonly Node<"project">[]).flatMap((ticket) => {
    const [carry, when] = kept[ticket.attributes.index - body.results.length] ?? [];
    const away = when === undefined ? undefined : outsideOf(when);
    if (carry === undefined || away === undefined) return [];
    return [[ticket, { store: away.store, bytes: bytesOf(body.parameters[carry]!) }]];
  });
}
