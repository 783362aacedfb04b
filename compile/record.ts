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
  const { states } = replayInputs(node.attributes, replay, node.inputs);
  return states.some(([working]) => sizeOf(working!.shape) > 0);
}

function recorded(roots: readonly Node[], back: Node<"loop">): Node[] {
  const { body, replay: unrecorded, length } = back.attributes, replay = unrecorded!;
  const plan = scheduleOf(replay.plan!);
  const { loop, state } = forwardOf(back);
  const { states, inverse } = replayInputs(back.attributes, replay, back.inputs);
  const record: Recording = {
    // Where nobody knows the end, the leaves are recorded on the way back alone.
    from: replay.open ? length : plan.recorded(length)!.from,
    segment: plan.parts.tape!.segment(length),
    state,
    invert: replay.invert!,
    invertedRows: replay.invertedRows,
    memory: tapeMemory(
      plan.parts.tape!.sizes.of(replay.tape!, loop.attributes.body.name),
      states.map(([working]) => working!),
      length,
      plan.parts.tape!.segment(length),
    ),
  };
  // Without what it may record for another.
  const { body: steps, kept } = loop.attributes;
  const inputs = loop.inputs.slice(0, steps.parameters.length);
  const all = loopNode(steps, [...inputs, ...inverse], { ...loop.attributes, record });
  const own = steps.results.length + kept.length;
  const results = all.slice(0, own), tape = all.slice(own);
  const apart = loop.attributes.record !== undefined ||
    topological(inverse).includes(loop);
  const plain = body.parameters.length - replay.states;
  const isState = (i: number): boolean => i >= plain && i < plain + replay.states * replay.live;
  return replaceResults(roots, (original, { inputs, attributes }) => {
    if (original === loop && !apart) return results;
    if (original !== back) return undefined;
    const given = inputs.map((input, i) => {
      if (!apart || !isState(i) || !is(input, "project") || input.inputs[0] !== loop) return input;
      return results[input.attributes.index]!;
    });
    return loopNode(body, [...given, ...tape], {
      ...attributes,
      replay: makeReplay({ ...replay, record }),
    });
  });
}
