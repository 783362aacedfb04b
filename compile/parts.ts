/**
 * Parts: an output of a region that follows element by element from its other outputs, or from its
 * inputs, can be made again without the region's loops: `cos(z)` from z, where the region writes
 * both z, a product, and its cosine.
 *
 * A part must give the same bits as the region, on every driver. A region computes outputs from
 * what it writes for the others, never through them (kernels/emit.ts, `sealed`); and nothing of a
 * float that the part computes on the way is used elsewhere in the region, since drivers contract
 * or reorder what they see used once.
 *
 * @module
 */
import { isFloat } from "../graph/dtype.ts";
import { is, type Node } from "../graph/node.ts";
import { isElementwise } from "../graph/primitive.ts";
import { sizeOf } from "../graph/shape.ts";
import { isAnchor, legal, type Limits } from "../kernels/legal.ts";
import { frameSize, type Region } from "../kernels/region.ts";

/** For each output of a region that can be made alone, the region that makes it. */
export function partsOf(region: Region, limits: Limits): Map<Node, Region> {
  const parts = new Map<Node, Region>();
  const { frame, outputs } = region;
  if (outputs.length === 1 || frame.is === "loop") return parts;
  const ends = new Set<Node>([...region.inputs, ...outputs]);
  const bodies = new Map(outputs.map((node) => [node, bodyOf(node, ends)]));
  for (const node of outputs) {
    const { inside, reads } = bodies.get(node)!;
    if ([...inside].some((x) => isAnchor(x) || x.op === "loop" || x.op === "project")) continue;
    if ([...reads].some((x) => outputs.includes(x) && isThin(x))) continue;
    const shares = outputs.some((other) =>
      other !== node &&
      [...bodies.get(other)!.inside].some((x) =>
        inside.has(x) && isElementwise(x.op) && isFloat(x.dtype)
      )
    );
    const size = sizeOf(node.shape);
    const fits = size === frameSize(frame) || (frame.is === "rows" && size === frame.rows);
    if (shares || !fits) continue;
    const part: Region = { frame: { is: "map", size }, outputs: [node], inputs: [...reads] };
    const verdict = legal(
      { frame: part.frame, outputs: [node], isInput: (x) => reads.has(x) },
      limits,
    );
    if (typeof verdict !== "string") parts.set(node, part);
  }
  return parts;
}

/** What a value is made of down to `ends`, itself among it, and which of these ends it reads. */
function bodyOf(
  node: Node,
  ends: ReadonlySet<Node>,
): { readonly inside: Set<Node>; readonly reads: Set<Node> } {
  const inside = new Set<Node>([node]), reads = new Set<Node>();
  const stack = [node];
  while (stack.length > 0) {
    for (const x of stack.pop()!.inputs) {
      if (ends.has(x)) reads.add(x);
      else if (!inside.has(x)) {
        inside.add(x);
        stack.push(x);
      }
    }
  }
  return { inside, reads };
}

/** A product of one step is no loop: a driver may contract it with what follows. */
function isThin(node: Node): boolean {
  return is(node, "dot") && node.inputs[0]!.shape[2]! < 2;
}
