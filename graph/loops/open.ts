/**
 * Loops that end when their data say so, and their derivatives. How often such a way back runs is
 * not known to the graph, so what is derived from it is derived from the loop forward. Let J be the
 * derivative of the loop: the way back is the linear map Jᵀ, and
 *
 * - its derivative in a direction is what reverse mode makes of the tangents of the loop:
 *   d(Jᵀg) = Jᵀ dg + ∂⟨g, J d⟩, where d is the direction;
 * - its transpose is J itself, forward mode, and ∂⟨g, J h⟩ for a cotangent h of Jᵀg;
 * - over a batch it is the way back of the loop over the batch.
 *
 * @module
 */
import { apply, broadcastTo, fill, loop, mark, reshape } from "../build.ts";
import { type Graph, is, type Node } from "../node.ts";
import { substitute } from "../substitute.ts";
import type { Batch, Batched, Transform } from "./activity.ts";
import { replayInputs } from "./replay.ts";

/** The results of a body in a step that is taken: whatever `running` chooses is chosen. */
export function unmasked({ parameters, results }: Graph, running: number): readonly Node[] {
  const flag = parameters[running]!, yes = fill(1, [], "bool");
  const isYes = (x: Node): boolean => {
    while (is(x, "reshape") || is(x, "broadcast")) x = x.inputs[0]!;
    return x === yes;
  };
  return substitute(
    results,
    new Map<Node, Node>([[flag, yes]]),
    (node) => is(node, "where") && isYes(node.inputs[0]!) ? node.inputs[1]! : node,
  );
}

/** A way back as what it is of: the loop's results over its inputs, and what it takes and gives. */
interface Opened {
  /** The inputs of the loop, marked. */
  readonly sources: readonly Node[];
  /** The results that have cotangents, and these. */
  readonly results: readonly Node[];
  readonly cotangents: readonly Node[];
  /** Where the inputs of the loop begin among those of the way back. */
  readonly first: number;
  /** For each carry of the way back the input of the loop whose cotangent it becomes. */
  readonly around: readonly number[];
  /** The carries that begin as a cotangent; others begin as a sum, of nothing at first. */
  readonly given: readonly number[];
}

function open(node: Node<"loop">, mapped: (x: Node) => Node = (x) => x): Opened {
  const { length, replay } = node.attributes, { body, around, ...how } = replay!.forward!;
  const { own, forward } = replayInputs(node);
  const sources = forward.map((x) => mark(mapped(x)));
  const { state: _, ...options } = how;
  const results = loop(body, sources, { ...options, length });
  const given = around.flatMap((i, k) => i < how.carries ? [k] : []);
  return {
    sources,
    results: given.map((k) => results[around[k]!]!),
    cotangents: given.map((k) => own[k]!),
    first: node.inputs.length - forward.length,
    around,
    given,
  };
}

const add = (a: Node | undefined, b: Node): Node => a === undefined ? b : apply("add", [a, b], {});

/** Tangents of the results of a way back from those of its inputs. */
export function pushOpen(
  node: Node<"loop">,
  tangents: readonly (Node | undefined)[],
  pullback: Transform,
  pushforward: Transform,
): readonly (Node | undefined)[] {
  const { sources, results, cotangents, first, around, given } = open(node);
  const pushed = pushforward(results, sources, sources.map((_, i) => tangents[first + i]));
  const pulled = pullback([...results, ...pushed], sources, [
    ...given.map((k) => tangents[k]),
    ...cotangents,
  ]);
  return node.results!.map((_, k) => {
    const source = around[k];
    if (source === undefined) return undefined;
    return add(given.includes(k) ? undefined : tangents[k], pulled[source]!);
  });
}

/** Cotangents of the inputs of a way back from those of its results. */
export function pullOpen(
  node: Node<"loop">,
  parts: readonly (Node | undefined)[],
  pullback: Transform,
  pushforward: Transform,
): readonly (Node | undefined)[] {
  const { sources, results, cotangents, first, around, given } = open(node);
  const directions = new Map(around.map((i, k) => [i, parts[k]]));
  const pushed = pushforward(results, sources, sources.map((_, i) => directions.get(i)));
  const pulled = pullback(pushed, sources, cotangents);
  return node.inputs.map((_, i) => {
    if (i >= first) return pulled[i - first];
    const at = given.indexOf(i);
    return at >= 0 ? pushed[at] : parts[i];
  });
}

/** The results of a way back for each example of a batch. */
export function batchOpen(
  node: Node<"loop">,
  operands: readonly Batched[],
  size: number,
  batch: Batch,
  pullback: Transform,
): Batched[] {
  const wide = ({ node, batched }: Batched): Node =>
    batched ? node : broadcastTo(reshape(node, [1, ...node.shape]), [size, ...node.shape]);
  const { sources, results, first, around, given } = open(node);
  const examples = sources.map((_, i) => mark(wide(operands[first + i]!)));
  const values = batch(results, sources, examples.map((node) => ({ node, batched: true })), size);
  const pulled = pullback(values.map(wide), examples, given.map((k) => wide(operands[k]!)));
  return node.results!.map((result, k) => {
    const source = around[k];
    if (source === undefined) return { node: fill(0, result.shape, result.dtype), batched: false };
    const sum = given.includes(k) ? undefined : wide(operands[k]!);
    return { node: add(sum, pulled[source]!), batched: true };
  });
}
