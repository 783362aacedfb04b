/**
 * Indexing by tensors on nodes: everything is arithmetic on the index and then a gather (or a
 * scatter-add) of rows of axis 0. Negative indices count from the end; one that is outside even
 * so reads NaN (integers 0, bool false) and adds nothing.
 *
 * @module
 */
import {
  binary,
  broadcastTo,
  cast,
  fill,
  gather,
  iota,
  type Operand,
  permute,
  reshape,
  scatterAdd,
  unify,
  where,
} from "../build.ts";
import { checkDType, type DType, dtypes } from "../dtype.ts";
import type { Node } from "../node.ts";
import {
  broadcastShapes,
  checkShape,
  normalizeAxis,
  type Shape,
  showShape,
  sizeOf,
} from "../shape.ts";
import { moveAxis } from "./movement.ts";

/** The index as i32, negative ones counted from the end of an axis of size n. */
export function wrapped(action: string, index: Node, n: number): Node {
  if (!dtypes[index.dtype].integer) {
    throw new TypeError(
      `Cannot ${action}: the indices are ${index.dtype}, expected an integer (i32, u32)`,
    );
  }
  if (index.dtype === "u32") return index;
  return where(binary("less", index, 0), binary("add", index, n), index);
}

/** Slices of x along an axis, by index: that axis is replaced by the axes of the index. */
export function take(x: Node, indices: Operand, axis: number): Node {
  if (typeof indices === "number" && !Number.isInteger(indices)) {
    throw new TypeError(`Cannot take: the index is ${indices}, expected an integer`);
  }
  const index = typeof indices === "number" ? fill(indices, [], "i32") : indices;
  const at = normalizeAxis(axis, x.shape.length, "take");
  const rows = gather(moveAxis(x, at, 0), wrapped("take", index, x.shape[at]!));
  const added = index.shape.length;
  // [...index, ...before, ...after] to [...before, ...index, ...after]
  const order = rows.shape.map((_, i) => i < at ? added + i : i < at + added ? i - at : i);
  return permute(rows, order);
}

/**
 * Slices of x by indices into its first axes, broadcast against each other, as NumPy's x[i, j]: those
 * axes are replaced by the axes of the indices.
 */
export function indexBy(x: Node, indices: readonly Operand[]): Node {
  const action = "index", count = indices.length;
  if (count === 0) return x;
  if (count > x.shape.length) {
    throw new TypeError(
      `Cannot ${action}: ${count} indices into ${showShape(x.shape)}, expected ${x.shape.length} ` +
        "at most",
    );
  }
  const nodes = indices.map((index) => {
    if (typeof index !== "number") return index;
    if (Number.isInteger(index)) return fill(index, [], "i32");
    throw new TypeError(`Cannot ${action}: an index is ${index}, expected an integer`);
  });
  const shape = broadcastShapes(...nodes.map((index) => index.shape));
  if (shape === undefined) {
    throw new TypeError(
      `Cannot ${action}: indices are ${
        nodes.map((index) => showShape(index.shape)).join(" and ")
      }, expected shapes that broadcast (sizes equal or 1, aligned at the last axis)`,
    );
  }
  let position: Node | undefined, inside: Node | undefined;
  nodes.forEach((index, axis) => {
    const n = x.shape[axis]!;
    const at = broadcastTo(cast(wrapped(action, index, n), "i32"), shape);
    const fits = binary("and", binary("lessEqual", 0, at), binary("less", at, n));
    position = position === undefined ? at : binary("add", binary("mul", position, n), at);
    inside = inside === undefined ? fits : binary("and", inside, fits);
  });
  const [rows, rest] = [x.shape.slice(0, count), x.shape.slice(count)];
  return gather(reshape(x, [sizeOf(rows), ...rest]), where(inside!, position!, -1));
}

/** Elements of x along an axis: result[i,j] = x[i, index[i,j]]. */
export function takeAlongAxis(x: Node, index: Node, axis: number): Node {
  const action = "takeAlongAxis";
  const at = normalizeAxis(axis, x.shape.length, action), n = x.shape[at]!;
  const others = (shape: Shape): Shape => shape.map((size, i) => i === at ? 1 : size);
  const lead = index.shape.length === x.shape.length
    ? broadcastShapes(others(x.shape), others(index.shape))
    : undefined;
  if (lead === undefined) {
    throw new TypeError(
      `Cannot ${action}: indices of ${showShape(index.shape)} into ${
        showShape(x.shape)
      }, expected as many axes, and sizes that broadcast but for axis ${at}`,
    );
  }
  const shape = lead.map((size, i) => i === at ? index.shape[i]! : size);
  const chosen = broadcastTo(cast(wrapped(action, index, n), "i32"), shape);
  // The position in the flattened x, by its own strides; axes that broadcast stay where they are.
  let position: Node = fill(0, shape, "i32"), stride = 1;
  for (let i = x.shape.length - 1; i >= 0; i--) {
    const size = x.shape[i]!;
    const along = i === at ? chosen : iota(shape, i, "i32");
    if (i === at || size > 1) position = binary("add", position, binary("mul", along, stride));
    stride *= size;
  }
  const inside = binary(
    "and",
    binary("lessEqual", 0, chosen),
    binary("less", chosen, fill(n, [], "i32")),
  );
  return gather(reshape(x, [sizeOf(x.shape)]), where(inside, position, -1));
}

/** Updates in the dtype of x and the shape that is wanted, which `words` explain. */
export function fitted(
  action: string,
  x: Node,
  updates: Operand,
  shape: Shape,
  words: string,
): Node {
  const [, given] = unify(action, [x, updates]) as [Node, Node];
  if (given.dtype !== x.dtype) {
    throw new TypeError(
      `Cannot ${action}: updates of ${given.dtype} to ${x.dtype}, expected a cast of either`,
    );
  }
  const common = broadcastShapes(shape, given.shape);
  if (common === undefined || showShape(common) !== showShape(shape)) {
    throw new TypeError(
      `Cannot ${action}: updates are ${showShape(given.shape)}, expected ${
        showShape(shape)
      } (${words})`,
    );
  }
  return broadcastTo(given, shape);
}

/** x with updates added to its rows: result[index[i]] += updates[i]. */
export function addRows(x: Node, index: Node, updates: Operand): Node {
  const action = "scatterAdd";
  if (x.shape.length === 0) {
    throw new TypeError(`Cannot ${action}: the tensor is a scalar, expected at least one axis`);
  }
  const [size, ...row] = x.shape as [number, ...number[]];
  const shape = [...index.shape, ...row];
  const given = fitted(action, x, updates, shape, "the indices' shape, then a row's");
  const sums = scatterAdd(given, wrapped(action, index, size), size);
  return binary("add", x, sums);
}

/** 1 at the index and 0 elsewhere, along a new last axis of size n. */
export function oneHot(index: Node, n: number, dtype: DType): Node {
  checkDType(dtype, "oneHot");
  if (!dtypes[index.dtype].integer) {
    throw new TypeError(
      `Cannot oneHot: the indices are ${index.dtype}, expected an integer (i32, u32)`,
    );
  }
  const shape = [...index.shape, n];
  checkShape(shape, "oneHot");
  const spread = broadcastTo(reshape(index, [...index.shape, 1]), shape);
  return cast(binary("equal", spread, iota(shape, index.shape.length, index.dtype)), dtype);
}
