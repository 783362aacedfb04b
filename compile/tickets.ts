/**
 * States that wait outside of the device are given back by the way back that they were kept for: it
 * lets go of each as soon as it can, and keeps others in its place. So where several ways back are of
 * one loop, as where a pullback is called twice, the loop keeps states for each of them.
 *
 * @module
 */
import { loop as loopNode } from "../graph/build.ts";
import { forwardOf, outsideOf, replayInputs } from "../graph/loops/replay.ts";
import { replaceResults } from "../graph/loops/tidy.ts";
import { is, type Node } from "../graph/node.ts";
import { topological } from "../graph/walk.ts";

/** The roots, with loops that keep states outside for one way back each. */
export function keepApart(roots: readonly Node[]): Node[] {
  let current = [...roots];
  for (;;) {
    const back = secondReader(current);
    if (back === undefined) return current;
    current = keptAgain(current, back);
  }
}

/** A way back that reads what another does. */
function secondReader(roots: readonly Node[]): Node<"loop"> | undefined {
  const taken = new Set<Node>();
  return topological(roots).find((node): node is Node<"loop"> => {
    const own = ticketsOf(node);
    const isSecond = own.some((ticket) => taken.has(ticket));
    for (const ticket of own) taken.add(ticket);
    return isSecond;
  });
}

/** What a way back has outside of the device when it begins. */
function ticketsOf(node: Node): Node<"project">[] {
  if (!is(node, "loop")) return [];
  const { replay } = node.attributes;
  if (replay?.plan === undefined || replay.states === 0) return [];
  const { states } = replayInputs(node);
  return states.flat().filter((value): value is Node<"project"> => {
    if (!is(value!, "project") || !is(value.inputs[0]!, "loop")) return false;
    const { body, kept } = value.inputs[0].attributes;
    const [, when] = kept[value.attributes.index - body.results.length] ?? [];
    return when !== undefined && outsideOf(when) !== undefined;
  });
}

/** The roots, with a loop that keeps what this way back takes once more, for it alone. */
function keptAgain(roots: readonly Node[], back: Node<"loop">): Node[] {
  const { loop } = forwardOf(back), { body, kept, ...rest } = loop.attributes;
  const tickets = [...new Set(ticketsOf(back))], first = body.results.length;
  const more = tickets.map(({ attributes: { index } }) => kept[index - first]!);
  const own = first + kept.length;
  let results: readonly Node[] = [];
  return replaceResults(roots, (original, { inputs, attributes }) => {
    if (original === loop) {
      results = loopNode(body, inputs, { ...rest, kept: [...kept, ...more] });
      return [...results.slice(0, own), ...results.slice(own + more.length)];
    }
    if (original !== back) return undefined;
    const given = back.inputs.map((input, i) => {
      const place = tickets.indexOf(input as Node<"project">);
      return place < 0 ? inputs[i]! : results[own + place]!;
    });
    return loopNode(attributes.body, given, attributes);
  });
}
