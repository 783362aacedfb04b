/**
 * Regions that are alike, as those of equal layers are: the same values in the same order over
 * operands of the same shapes, whoever these are. They have one text, so it is written once.
 *
 * @module
 */
import { attributeKey, type Node } from "../graph/node.ts";
import { kinds } from "../graph/primitive.ts";
import type { Region } from "./region.ts";

/** Everything that the text of a region follows from; equal for regions that are alike. */
export function structureOf({ frame, inputs, outputs }: Region): string {
  const given = new Map(inputs.map((x, i) => [x, i]));
  const inside = new Set<Node>(outputs), stack = [...outputs];
  while (stack.length > 0) {
    for (const x of stack.pop()!.inputs) {
      if (given.has(x) || inside.has(x)) continue;
      inside.add(x);
      stack.push(x);
    }
  }
  // In the order in which they were made, since reductions are taken in that order.
  const order = [...inside].sort((a, b) => a.id - b.id);
  const place = new Map(order.map((node, i) => [node, `v${i}`]));
  const placeOf = (node: Node): string => place.get(node) ?? `i${given.get(node)}`;
  return [
    JSON.stringify(frame),
    ...inputs.map(operand),
    ...order.map((node) => `${self(node)}${node.inputs.map(placeOf)}`),
    outputs.map(placeOf).join(),
  ].join("\n");
}

/**
 * How what is read from memory is laid out: a product looks through views that made it, up to where
 * one puts several values together (those would be told of as often as there are ways to them).
 */
function operand(node: Node): string {
  if (kinds[node.op] === "movement" && node.op !== "concatenate") {
    return `${self(node)}${operand(node.inputs[0]!)}`;
  }
  return node.op === "fill" ? self(node) : `${node.dtype} ${node.shape}`;
}

function self({ op, dtype, shape, attributes }: Node): string {
  return `${op} ${dtype} ${shape} ${attributeKey(attributes)} `;
}
