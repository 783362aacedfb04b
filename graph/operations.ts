/**
 * Functions of several tensors, for where a method would read oddly. Numbers stand for scalars
 * that take the dtype of the tensors beside them.
 *
 * @module
 */
import { binary, unify } from "./build.ts";
import { describe } from "./describe.ts";
import { choose } from "./functions/elementwise.ts";
import { einsum as einsumNodes } from "./functions/einsum.ts";
import { concatenateBy, stack as stackNodes } from "./functions/movement.ts";
import { searchSorted as searchSortedNodes } from "./functions/ordering.ts";
import { triangleMask } from "./functions/triangle.ts";
import { broadcastOrThrow } from "./infer.ts";
import { nodeOf, operandOf } from "./methods/base.ts";
import type { Node } from "./node.ts";
import { checkShape } from "./shape.ts";
import { Tensor, type TensorLike } from "./tensor.ts";

/**
 * `a` where the condition holds (is not 0), else `b`; all three broadcast. The gradient of the
 * branch not taken is 0 times its derivative: give it a harmless argument where that is infinite.
 *
 * @throws {TypeError} if shapes do not broadcast, or for i32 with u32.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([-1, 2, -3]);
 * assertEquals(await rg.where(x.less(0), 0, x).array(), [0, 2, 0]);
 * ```
 */
export function where(condition: Tensor, a: TensorLike, b: TensorLike): Tensor {
  return new Tensor(
    choose(nodeOf(condition, "where"), operandOf(a, "where"), operandOf(b, "where")),
  );
}

/** The larger of both, broadcast; NaN if either is. */
export function maximum(a: TensorLike, b: TensorLike): Tensor {
  return new Tensor(
    binary(
      "max",
      operandOf(a, "take the maximum"),
      operandOf(b, "take the maximum"),
      "take the maximum",
    ),
  );
}

/** The smaller of both, broadcast; NaN if either is. */
export function minimum(a: TensorLike, b: TensorLike): Tensor {
  return new Tensor(
    binary(
      "min",
      operandOf(a, "take the minimum"),
      operandOf(b, "take the minimum"),
      "take the minimum",
    ),
  );
}

/** {@linkcode Tensor.matmul} */
export function matmul(a: Tensor, b: Tensor): Tensor {
  return a.matmul(b);
}

/** {@linkcode Tensor.dot} */
export function dot(a: Tensor, b: TensorLike): Tensor {
  return a.dot(b);
}

/** {@linkcode Tensor.outer} */
export function outer(a: Tensor, b: Tensor): Tensor {
  return a.outer(b);
}

/** {@linkcode Tensor.oneHot} */
export function oneHot(indices: Tensor, n: number): Tensor {
  return indices.oneHot(n);
}

/**
 * The sum of products that an equation names, as NumPy's `einsum`: letters are axes, those missing
 * after "->" are summed over, and "..." stands for any others, which broadcast. Without "->" the
 * letters that occur once are kept, in alphabetical order. Pairs are contracted from left to right,
 * each by one product of matrices.
 *
 * @throws {TypeError} if the equation is malformed or does not fit the tensors.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const q = rg.ones([2, 5, 4, 8]), k = rg.ones([2, 7, 4, 8]);
 * assertEquals(rg.einsum("bqhd,bkhd->bhqk", q, k).shape, [2, 4, 5, 7]);
 * ```
 */
export function einsum(equation: string, ...tensors: Tensor[]): Tensor {
  return new Tensor(einsumNodes(equation, nodesOf("einsum", tensors)));
}

/**
 * The i32 places at which values belong in a sorted tensor of one axis, so that it stays sorted:
 * before equal elements ("left") or after them ("right"). NaN belongs at the end.
 *
 * @throws {TypeError} if `sorted` has not one axis.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const edges = rg.tensor([1, 2, 3]);
 * assertEquals(await rg.searchSorted(edges, rg.tensor([0, 2, 9])).array(), [0, 1, 3]);
 * ```
 */
export function searchSorted(
  sorted: Tensor,
  values: TensorLike,
  side: "left" | "right" = "left",
): Tensor {
  const [list, wanted] = unify("searchSorted", [
    nodeOf(sorted, "searchSorted"),
    operandOf(values, "searchSorted"),
  ]);
  return new Tensor(searchSortedNodes(list!, wanted!, side));
}

/**
 * True on and below a diagonal of a matrix, false above: which keys a query may see in causal
 * attention. Result: bool.
 */
export function triangularMask(rows: number, columns: number = rows, diagonal: number = 0): Tensor {
  checkShape([rows, columns], "triangularMask");
  return new Tensor(triangleMask("lower", rows, columns, diagonal));
}

function nodesOf(action: string, tensors: readonly Tensor[]): Node[] {
  if (!Array.isArray(tensors)) {
    throw new TypeError(`Cannot ${action}: ${describe(tensors)}, expected an array of tensors`);
  }
  return tensors.map((x) => nodeOf(x, action));
}

/**
 * End to end along an axis that all have; dtypes promote.
 *
 * @throws {TypeError} if there are none, or their shapes differ elsewhere.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(rg.concatenate([rg.zeros([2, 3]), rg.ones([2, 1])], -1).shape, [2, 4]);
 * ```
 */
export function concatenate(tensors: readonly Tensor[], axis: number = 0): Tensor {
  const result = concatenateBy(nodesOf("concatenate", tensors), axis);
  return new Tensor(result, result !== tensors[0]!.node);
}

/**
 * Side by side along a new axis; dtypes promote.
 *
 * @throws {TypeError} if there are none, or their shapes differ.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(rg.stack([rg.zeros([2, 3]), rg.ones([2, 3])], 1).shape, [2, 2, 3]);
 * ```
 */
export function stack(tensors: readonly Tensor[], axis: number = 0): Tensor {
  return new Tensor(stackNodes(nodesOf("stack", tensors), axis));
}

/** Tensors broadcast against each other, as NumPy's `broadcast_arrays`; their dtypes stay. */
export function broadcastTensors(...tensors: Tensor[]): Tensor[] {
  const shape = broadcastOrThrow("broadcast", nodesOf("broadcast", tensors));
  return tensors.map((x) => x.broadcastTo(shape));
}
