/**
 * Movement as index arithmetic: where each operand of a node is read when the node is wanted at an
 * index. Fusion asks this to see who meets whom at which place; the emitter asks it to write loads.
 *
 * @module
 */
import { is, type Node } from "../graph/node.ts";
import { add, clamp, constant, flatten, type Index, offset, scale, unflatten } from "./index.ts";

/** Where the operands of an element-wise or movement node are read, given its own index. */
export function operandIndices(node: Node, index: readonly Index[]): (readonly Index[])[] {
  const [x] = node.inputs;
  if (is(node, "reshape")) return [reshapeIndex(index, node.shape, x!.shape)];
  if (is(node, "permute")) {
    const result = new Array<Index>(index.length);
    node.attributes.order.forEach((axis, i) => result[axis] = index[i]!);
    return [result];
  }
  if (is(node, "broadcast")) {
    return [index.map((e, i) => x!.shape[i] === 1 ? constant(0) : e)];
  }
  if (is(node, "slice")) {
    const { start, step } = node.attributes;
    return [index.map((e, i) => offset(scale(e, step[i]!), start[i]!))];
  }
  if (is(node, "flip")) {
    const { axes } = node.attributes;
    return [index.map((e, i) => axes.includes(i) ? offset(scale(e, -1), node.shape[i]! - 1) : e)];
  }
  if (is(node, "pad")) {
    const { before } = node.attributes;
    return [index.map((e, i) => clamp(offset(e, -before[i]!), 0, x!.shape[i]! - 1))];
  }
  if (is(node, "concatenate")) {
    const { axis } = node.attributes;
    let start = 0;
    return node.inputs.map((input) => {
      const size = input.shape[axis]!;
      const own = index.map((e, i) => i === axis ? clamp(offset(e, -start), 0, size - 1) : e);
      start += size;
      return own;
    });
  }
  if (is(node, "window")) {
    const { size, step, dilation } = node.attributes;
    const rank = size.length, lead = index.length - 2 * rank;
    return [[
      ...index.slice(0, lead),
      ...size.map((_, i) =>
        add(scale(index[lead + i]!, step[i]!), scale(index[lead + rank + i]!, dilation[i]!))
      ),
    ]];
  }
  return node.inputs.map(() => index);
}

/** Axes that a reshape leaves alone keep their index; only the others are flattened and split. */
function reshapeIndex(
  index: readonly Index[],
  from: readonly number[],
  to: readonly number[],
): Index[] {
  // Fast and exact for the common case of sizes 1 coming and going.
  const kept = from.map((n, i) => ({ n, i })).filter(({ n }) => n !== 1);
  const wanted = to.filter((n) => n !== 1);
  if (kept.length === wanted.length && kept.every(({ n }, i) => n === wanted[i])) {
    let next = 0;
    return to.map((n) => n === 1 ? constant(0) : index[kept[next++]!.i]!);
  }
  return unflatten(flatten(index, from), to);
}

const keys = new WeakMap<readonly Index[], string>();

/** Equal index vectors have equal keys. */
export function indexKey(index: readonly Index[]): string {
  let key = keys.get(index);
  if (key === undefined) keys.set(index, key = index.map((e) => e.key).join("|"));
  return key;
}
