/**
 * Writing into tensors by index, on nodes. Every element of the result looks for the updates that
 * name it: the last of them wins, or their sum, product or extreme is joined to what was there. So
 * the outcome depends on the order of the updates and on nothing else.
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
  pad,
  permute,
  reduce,
  type Reduction,
  reshape,
  scatterAdd,
  where,
} from "../build.ts";
import { describe } from "../describe.ts";
import { dtypes } from "../dtype.ts";
import type { Node } from "../node.ts";
import { normalizeAxis, showShape, sizeOf } from "../shape.ts";
import { toBool } from "./elementwise.ts";
import { fitted, wrapped } from "./indexing.ts";

/** What an update does to what is there. */
export type ScatterMode = "set" | "add" | "mul" | "min" | "max";

const joined: {
  readonly [M in Exclude<ScatterMode, "set">]: {
    readonly op: Reduction;
    readonly join: "add" | "mul" | "min" | "max";
    readonly identity: (x: Node) => number;
  };
} = {
  add: { op: "sum", join: "add", identity: () => 0 },
  mul: { op: "prod", join: "mul", identity: () => 1 },
  min: { op: "reduceMin", join: "min", identity: (x) => dtypes[x.dtype].highest },
  max: { op: "reduceMax", join: "max", identity: (x) => dtypes[x.dtype].lowest },
};

function checkMode(action: string, mode: ScatterMode): void {
  if (mode === "set" || Object.hasOwn(joined, mode)) return;
  throw new TypeError(
    `Cannot ${action}: the mode is ${describe(mode)}, expected "set", "add", "mul", "min" or "max"`,
  );
}

/** Truth values joined as 0 and 1: a sum and the largest are "or", a product and the least "and". */
function asNumbers(x: Node, updates: Node, write: (x: Node, updates: Node) => Node): Node {
  return toBool(write(cast(x, "i32"), cast(updates, "i32")));
}

/** x with updates written to (or joined with) its rows: result[index[i]] = updates[i]. */
export function scatterRows(x: Node, index: Node, updates: Operand, mode: ScatterMode): Node {
  const action = "scatter";
  checkMode(action, mode);
  if (x.shape.length === 0) {
    throw new TypeError(`Cannot ${action}: the tensor is a scalar, expected at least one axis`);
  }
  const [rows, ...row] = x.shape as [number, ...number[]];
  const given = fitted(
    action,
    x,
    updates,
    [...index.shape, ...row],
    "the indices' shape, then a row's",
  );
  if (x.dtype === "bool" && mode !== "set") {
    return asNumbers(x, given, (y, list) => scatterRows(y, index, list, mode));
  }
  const count = sizeOf(index.shape), width = sizeOf(row);
  if (count === 0 || sizeOf(x.shape) === 0) return x;
  const at = reshape(cast(wrapped(action, index, rows), "i32"), [count]);
  const list = reshape(given, [count, width]), flat = reshape(x, [rows, width]);
  return reshape(writeRows(flat, at, list, mode), x.shape);
}

/** The same on [rows, width] with [count] and [count, width]. */
function writeRows(x: Node, at: Node, list: Node, mode: ScatterMode): Node {
  const [rows, width] = x.shape as [number, number], count = at.shape[0]!;
  if (mode === "add") return binary("add", x, scatterAdd(list, at, rows));
  const grid = [rows, count];
  const hit = binary("equal", reshape(at, [1, count]), iota(grid, 0, "i32"));
  if (mode === "set") {
    const last = reduce("reduceMax", where(hit, iota(grid, 1, "i32"), -1), [1]);
    const winner = reshape(last, [rows]);
    const chosen = gather(list, winner);
    return where(broadcastTo(binary("lessEqual", 0, last), [rows, width]), chosen, x);
  }
  const { op, join, identity } = joined[mode];
  const start = identity(x);
  // [rows, width, count]: reduced along the updates.
  const each = reshape(permute(list, [1, 0]), [1, width, count]);
  const all = where(reshape(hit, [rows, 1, count]), each, fill(start, [], x.dtype));
  return binary(join, x, reshape(reduce(op, all, [2]), [rows, width]));
}

/**
 * x with single elements written along an axis: with axis 1, result[i, index[i,j]] = values[i,j].
 * The other axes of the indices are those of x.
 */
export function putAlongAxis(
  x: Node,
  index: Node,
  values: Operand,
  axis: number,
  mode: ScatterMode,
): Node {
  const action = "putAlongAxis";
  checkMode(action, mode);
  const at = normalizeAxis(axis, x.shape.length, action), n = x.shape[at]!;
  const fits = index.shape.length === x.shape.length &&
    index.shape.every((size, i) => i === at || size <= x.shape[i]!);
  if (!fits) {
    throw new TypeError(
      `Cannot ${action}: indices of ${showShape(index.shape)} into ${
        showShape(x.shape)
      }, expected as many axes, and sizes up to the tensor's but for axis ${at}`,
    );
  }
  const given = fitted(action, x, values, index.shape, "the indices' shape");
  if (x.dtype === "bool" && mode !== "set") {
    return asNumbers(x, given, (y, list) => putAlongAxis(y, index, list, axis, mode));
  }
  if (sizeOf(index.shape) === 0) return x;
  const m = index.shape[at]!, others = [...x.shape.keys()].filter((i) => i !== at);
  const order = [...others, at], inverse = order.map((_, i) => order.indexOf(i));
  const rows = sizeOf(others.map((i) => x.shape[i]!));
  // Where the indices span only a corner of x, the rest has indices that name nothing.
  const room = x.shape.map((size, i) => i === at ? 0 : size - index.shape[i]!);
  const inRows = (y: Node, filler: number): Node =>
    reshape(permute(pad(y, room.map(() => 0), room, filler), order), [rows, 1, m]);
  const chosen = inRows(cast(wrapped(action, index, n), "i32"), -1), list = inRows(given, 0);
  const flat = reshape(permute(x, order), [rows, n]);
  const grid = [rows, n, m];
  const hit = binary("equal", chosen, iota(grid, 1, "i32"));
  let written: Node;
  if (mode === "set") {
    const last = reduce("reduceMax", where(hit, iota(grid, 2, "i32"), -1), [2]);
    const winner = reshape(last, [rows, n]), line = reshape(list, [rows * m]);
    const place = binary("add", winner, binary("mul", iota([rows, 1], 0, "i32"), m));
    const found = binary("lessEqual", 0, winner);
    written = where(found, gather(line, where(found, place, 0)), flat);
  } else {
    const { op, join, identity } = joined[mode];
    const all = where(hit, list, fill(identity(x), [], x.dtype));
    written = binary(join, flat, reshape(reduce(op, all, [2]), [rows, n]));
  }
  return permute(reshape(written, order.map((i) => x.shape[i]!)), inverse);
}
