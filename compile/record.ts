/**
 * Loops that are gone back over with a tape are recorded while they run forward: where a way back
 * and its loop are in one graph, as they are in every gradient, the loop gets the inverse and what
 * that reads as further inputs and gives the tape as further results, which the way back takes. A
 * loop records for one way back; for another, or where the inverse reads what the loop computes, it
 * runs beside itself.
 *
 * @module
 */
import { scheduleOf } from "../checkpoint/plan.ts";
import { loop as loopNode } from "../graph/build.ts";
import { forwardOf, makeReplay, type Recording, replayInputs } from "../graph/loops/replay.ts";
import { replaceResults } from "../graph/loops/tidy.ts";
import { is, type Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { topological } from "../graph/walk.ts";
import { tapeMemory } from "./tape.ts";

/** The roots, with loops that record. */
export function recordLoops(roots: readonly Node[]): Node[] {
  let current = [...roots];
  for (;;) {
    const back = topological(current).find(isUnrecorded);
    if (back === undefined) return current;
    current = recorded(current, back);
  }
}

function isUnrecorded(node: Node): node is Node<"loop"> {
  if (!is(node, "loop")) return false;
  const { replay } = node.attributes;
  if (replay?.plan?.check !== "tape" || replay.record !== undefined) return false;
  return replayInputs(node).states.some(([working]) => sizeOf(working!.shape) > 0);
}

/** The roots with a way back that takes its tape from the loop forward. */
function recorded(roots: readonly Node[], back: Node<"loop">): Node[] {
  const record = recordingOf(back), { loop } = forwardOf(back), { inverse } = replayInputs(back);
  const isBeside = loop.attributes.record !== undefined || topological(inverse).includes(loop);
  const { results, tape } = recordingLoop(loop, record, inverse);
  const recording = (state: Node): Node =>
    isBeside && is(state, "project") && state.inputs[0] === loop
      ? results[state.attributes.index]!
      : state;
  return replaceResults(roots, (original, current) => {
    if (original === loop && !isBeside) return results;
    if (original !== back) return undefined;
    const { body, ...attributes } = current.attributes;
    const { own, states, inverse, forward } = replayInputs(current);
    return loopNode(
      body,
      [...own, ...states.flat().map(recording), ...inverse, ...forward, ...tape],
      { ...attributes, replay: makeReplay({ ...attributes.replay!, record }) },
    );
  });
}

/** What the loop forward records for a way back. */
function recordingOf(back: Node<"loop">): Recording {
  const { length } = back.attributes, replay = back.attributes.replay!;
  const { loop, state } = forwardOf(back), plan = scheduleOf(replay.plan!), tape = plan.parts.tape!;
  const segment = tape.segment(length);
  return {
    // Where nobody knows the end, the leaves are recorded on the way back alone.
    from: replay.open ? length : plan.recorded(length)!.from,
    segment,
    state,
    invert: replay.invert!,
    invertedRows: replay.invertedRows,
    memory: tapeMemory(
      tape.sizes.of(replay.tape!, loop.attributes.body.name),
      replayInputs(back).states.map(([working]) => working!),
      length,
      segment,
    ),
  };
}

/** A loop that records for one way back alone, with what the inverse reads besides. */
function recordingLoop(
  { inputs, attributes: { body, ...attributes } }: Node<"loop">,
  record: Recording,
  inverse: readonly Node[],
): { readonly results: readonly Node[]; readonly tape: readonly Node[] } {
  const own = inputs.slice(0, body.parameters.length);
  const all = loopNode(body, [...own, ...inverse], { ...attributes, record });
  const count = body.results.length + attributes.kept.length;
  return { results: all.slice(0, count), tape: all.slice(count) };
}
