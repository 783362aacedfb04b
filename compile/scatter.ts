/**
 * Lowering of scatters. A result of few rows finds its updates by looking through all indices; of
 * many, indices are sorted first, and each row knows where its own begin. The order of every sum is
 * the same: that of the updates, in pieces of {@linkcode longestScatter}.
 *
 * @module
 */
import * as build from "../graph/build.ts";
import type { DType } from "../graph/dtype.ts";
import { argsort, searchSorted } from "../graph/functions/ordering.ts";
import type { Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { longestScatter, longestSorted } from "../kernels/scatter.ts";

/**
 * Elements of a result times indices, from which on sorting is worth its dispatches and pipelines:
 * on a software adapter it is faster from an eighth of that on, and half a second slower to compile.
 */
const many = 2 ** 25;

/** Indices below which looking through all of them is less than knowing where each row begins. */
const few = 32;

/** Rows from which on where each begins takes more bytes than every device binds (2^27). */
const mostRows = 2 ** 25;

/** The scatter in a form that kernels can do; undefined where it is one. */
export function scattered(node: Node<"scatterAdd">, wide: DType): Node | undefined {
  if (node.attributes.sorted) return undefined;
  const count = sizeOf(node.inputs[1]!.shape);
  const worthIt = count >= few && sizeOf(node.shape) * count >= many;
  if (worthIt && node.attributes.size < mostRows) return inOrder(node, wide);
  return count > longestScatter ? inPieces(node, wide) : undefined;
}

/** Updates [count,…r] and their indices [count]. */
interface List {
  readonly rows: Node;
  readonly at: Node;
}

/** The list of a scatter in pieces, and what adds them up, one after the other. */
function fold(
  node: Node<"scatterAdd">,
  longest: number,
  add: (piece: List, total: Node | undefined) => Node,
): Node {
  const [updates, index] = node.inputs as [Node, Node];
  const count = sizeOf(index.shape), rest = node.shape.slice(1);
  const rows = build.reshape(updates, [count, ...rest]), at = build.reshape(index, [count]);
  let total: Node | undefined;
  for (let start = 0; start < count; start += longest) {
    const length = Math.min(longest, count - start);
    const piece = build.slice(rows, [start, ...rest.map(() => 0)], [length, ...rest]);
    total = add({ rows: piece, at: build.slice(at, [start], [length]) }, total);
  }
  return build.cast(total!, node.dtype);
}

/** Every result looks through all indices, and a loop may only be so long. */
function inPieces(node: Node<"scatterAdd">, wide: DType): Node {
  return fold(node, longestScatter, ({ rows, at }, total) => {
    const part = build.scatterAdd(rows, at, node.attributes.size, wide);
    return total === undefined ? part : build.binary("add", total, part);
  });
}

/** Every row has its updates in order: equal indices keep theirs. Sums are kept in `wide`. */
export function inOrder(node: Node<"scatterAdd">, wide: DType): Node {
  return fold(node, longestSorted, ({ rows, at }, total) => {
    const order = argsort(at, 0, false), sorted = build.gather(at, order);
    const ends = build.iota([node.attributes.size + 1], 0, at.dtype);
    const starts = searchSorted(sorted, ends, "left");
    return build.scatterSorted([rows, order, starts], total, wide);
  });
}
