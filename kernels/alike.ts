/**
 * Regions that are alike, as those of equal layers are: the same values in the same order over
 * operands of the same shapes, whoever these are. They have one text, so it is written once.
 *
 * @module
 */
import { attributeKey, type Node } from "../graph/node.ts";
import type { Region } from "./region.ts";

const structures = new WeakMap<Region, string>(), models = new WeakMap<Region, Region>();

/** Tells regions which of them is the first that they are alike. */
export function findAlike(regions: readonly Region[]): void {
  const first = new Map<string, Region>();
  for (const region of regions) {
    if (!(region.frame.is in written)) continue;
    const structure = structureOf(region), model = first.get(structure);
    if (model === undefined) first.set(structure, region);
    else models.set(region, model);
  }
}

/** Frames of which a text is written here. */
const written = { map: true, rows: true, dot: true, scatter: true };

/**
 * The region that a region is known to be alike, perhaps itself: whatever was found out about the
 * inputs and outputs of that one holds of those in the same places of this one.
 */
export function modelOf(region: Region): Region {
  return models.get(region) ?? region;
}

/** Everything that the text of a region follows from; equal for regions that are alike. */
export function structureOf(region: Region): string {
  const model = modelOf(region);
  let structure = structures.get(model);
  if (structure === undefined) structures.set(model, structure = describe(model));
  return structure;
}

function describe({ frame, inputs, outputs }: Region): string {
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

/** How what is read from memory is laid out. */
function operand(node: Node): string {
  return node.op === "fill" ? self(node) : `${node.dtype} ${node.shape}`;
}

function self({ op, dtype, shape, attributes }: Node): string {
  return `${op} ${dtype} ${shape} ${attributeKey(attributes)} `;
}
