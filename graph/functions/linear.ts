/**
 * Products of matrices on nodes, by NumPy's rules, lowered to the one contraction of the graph,
 * [b,m,k] × [b,k,n]. Where the right operand has no batch axes, those of the left are rows like
 * any other: one matrix product with shared weights.
 *
 * @module
 */
import { binary, broadcastTo, dot, type Operand, permute, reduce, reshape } from "../build.ts";
import { unify } from "../build.ts";
import { type DType, isFloat } from "../dtype.ts";
import type { Node } from "../node.ts";
import { broadcastShapes, type Shape, showShape, sizeOf } from "../shape.ts";
import { toNumber } from "./elementwise.ts";

function mismatch(action: string, a: Shape, b: Shape, expected: string): never {
  throw new TypeError(
    `Cannot ${action}: shapes are ${showShape(a)} and ${showShape(b)}, expected ${expected}`,
  );
}

/** Both operands in one numeric dtype. */
function operands(action: string, a: Node, b: Node): [Node, Node] {
  return unify(action, unify(action, [a, b]).map(toNumber)) as [Node, Node];
}

/**
 * The product of matrices in the last two axes; a vector is a row on the left, a column right.
 * Sums of f16 are made in f32; `dtype` says whether they stay so.
 */
export function matmul(left: Node, right: Node, action: string = "matmul", dtype?: DType): Node {
  const [a, b] = operands(action, left, right);
  if (a.shape.length === 0 || b.shape.length === 0) {
    mismatch(action, a.shape, b.shape, "at least one axis each (use mul for scalars)");
  }
  const x = a.shape.length === 1 ? reshape(a, [1, ...a.shape]) : a;
  const y = b.shape.length === 1 ? reshape(b, [...b.shape, 1]) : b;
  const [m, k] = x.shape.slice(-2) as [number, number];
  const [l, n] = y.shape.slice(-2) as [number, number];
  if (k !== l) {
    mismatch(
      action,
      a.shape,
      b.shape,
      `the inner sizes ${k} and ${l} to be equal`,
    );
  }
  const batch = broadcastShapes(x.shape.slice(0, -2), y.shape.slice(0, -2));
  if (batch === undefined) {
    mismatch(action, a.shape, b.shape, "batch axes that broadcast (sizes equal or 1)");
  }
  const product = isFloat(x.dtype)
    ? contract(x, y, batch, m, k, n, dtype)
    : integerProduct(x, y, batch, m, k, n);
  return reshape(product, [
    ...batch,
    ...(a.shape.length === 1 ? [] : [m]),
    ...(b.shape.length === 1 ? [] : [n]),
  ]);
}

function contract(
  x: Node,
  y: Node,
  batch: Shape,
  m: number,
  k: number,
  n: number,
  dtype?: DType,
): Node {
  const size = sizeOf(batch);
  if (sizeOf(y.shape.slice(0, -2)) === 1) {
    const rows = reshape(broadcastTo(x, [...batch, m, k]), [1, size * m, k]);
    return dot(rows, reshape(y, [1, k, n]), dtype);
  }
  return dot(
    reshape(broadcastTo(x, [...batch, m, k]), [size, m, k]),
    reshape(broadcastTo(y, [...batch, k, n]), [size, k, n]),
    dtype,
  );
}

/** Integers have no contraction of their own: products, summed, exact modulo 2^32. */
function integerProduct(x: Node, y: Node, batch: Shape, m: number, k: number, n: number): Node {
  const rows = reshape(broadcastTo(x, [...batch, m, k]), [...batch, m, k, 1]);
  const columns = reshape(broadcastTo(y, [...batch, k, n]), [...batch, 1, k, n]);
  return reduce("sum", binary("mul", rows, columns), [batch.length + 1]);
}

/** NumPy's dot: the last axis of a with the last but one of b, every row with every column. */
export function dotProduct(a: Operand, b: Operand): Node {
  const [x, y] = unify("dot", [a, b]) as [Node, Node];
  if (x.shape.length === 0 || y.shape.length === 0) return binary("mul", x, y, "dot");
  const rank = y.shape.length;
  if (rank === 1) return matmul(x, y, "dot");
  const k = x.shape.at(-1)!, axis = rank - 2;
  if (k !== y.shape[axis]) {
    mismatch("dot", x.shape, y.shape, `the inner sizes ${k} and ${y.shape[axis]} to be equal`);
  }
  const others = y.shape.map((_, i) => i).filter((i) => i !== axis);
  const rows = x.shape.slice(0, -1), columns = others.map((i) => y.shape[i]!);
  return reshape(
    matmul(
      reshape(x, [sizeOf(rows), k]),
      reshape(permute(y, [axis, ...others]), [k, sizeOf(columns)]),
    ),
    [...rows, ...columns],
  );
}

/** Every element of a times every element of b: [size of a, size of b]. */
export function outer(a: Node, b: Node): Node {
  return binary(
    "mul",
    reshape(a, [sizeOf(a.shape), 1]),
    reshape(b, [1, sizeOf(b.shape)]),
    "outer",
  );
}
