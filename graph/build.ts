/**
 * Building nodes. Each function checks its operands through the table in infer.ts, drops what is
 * plainly the identity (a reshape to the same shape), and returns the hash-consed node. Transforms
 * and tensor methods are written in these; the element-wise ones broadcast and promote as the
 * user's operators do.
 *
 * @module
 */
import { type DType, dtypes, isFloat, promote, round } from "./dtype.ts";
import { broadcastOrThrow, infer } from "./infer.ts";
import { loopResults } from "./loops/results.ts";
import { type CustomRule, kinds, type Primitive } from "./primitive.ts";
import type { Attributes } from "./primitive.ts";
import type { Outside } from "./loops/replay.ts";
import { type Aval, type Graph, is, makeGraph, makeNode, type Node, unique } from "./node.ts";
import { checkShape, sameShape, type Shape, showShape, sizeOf } from "./shape.ts";
import { standingFor } from "./source.ts";
import type { Storage } from "./storage.ts";
import { topological } from "./walk.ts";

/** Names of the one-operand element-wise primitives without attributes. */
export type Unary =
  | "neg"
  | "abs"
  | "sign"
  | "floor"
  | "ceil"
  | "round"
  | "sqrt"
  | "exp"
  | "log"
  | "sin"
  | "cos"
  | "atan"
  | "tanh"
  | "erf"
  | "not"
  | "barrier"
  | "stop";
/** Names of the two-operand element-wise primitives. */
export type Binary =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "floorDiv"
  | "mod"
  | "pow"
  | "max"
  | "min"
  | "and"
  | "or"
  | "xor"
  | "shiftLeft"
  | "shiftRight"
  | "equal"
  | "notEqual"
  | "less"
  | "lessEqual";
/** Names of the reductions. */
export type Reduction = "sum" | "prod" | "reduceMax" | "reduceMin";
/** An operand: a node, or a number that takes the dtype of the other operands. */
export type Operand = Node | number;

const scalar: Aval = { shape: [], dtype: "f32" };

/**
 * The node of a primitive, checked; `wanted` fills in what the operands leave open, `action` names
 * it in errors.
 */
export function apply<P extends Primitive>(
  op: P,
  inputs: readonly Node[],
  attributes: Attributes[P],
  wanted: Aval = scalar,
  action?: string,
): Node<P> {
  const { shape, dtype } = infer[op](inputs, attributes, wanted, action);
  return makeNode(op, inputs, shape, dtype, attributes);
}

/** One value everywhere. The value is rounded to the dtype. */
export function fill(value: number, shape: Shape = [], dtype: DType = "f32"): Node<"fill"> {
  checkShape(shape, "fill");
  return makeNode("fill", [], shape, dtype, { value: round(dtype, value) });
}

/** 0, 1, 2 … along an axis. */
export function iota(shape: Shape, axis: number, dtype: DType = "i32"): Node {
  checkShape(shape, "iota");
  return apply("iota", [], { axis }, { shape, dtype });
}

const none: readonly Node[] = [];

/** The leaf over data: one for each storage (and shape, where it is looked at in several). */
export function leaf(storage: Storage, shape: Shape): Node {
  const known = storage.leaf;
  if (known !== undefined && sameShape(known.shape, shape)) return known;
  // Made for every result of every call, so not by way of the table.
  const attributes = { storage }, aval = { shape, dtype: storage.dtype };
  infer.leaf(none, attributes, aval);
  return storage.leaf = makeNode("leaf", none, shape, storage.dtype, attributes);
}

/** A fresh placeholder for an argument. */
export function parameter(index: number, { shape, dtype }: Aval): Node<"parameter"> {
  return makeNode("parameter", [], shape, dtype, { index, unique: unique() });
}

/** A fresh identity on x, equal to no other. */
export function mark(x: Node): Node {
  return makeNode("mark", [x], x.shape, x.dtype, { unique: unique() });
}

/** An identity on x, from which on values are computed again: see the primitive. */
export function again(x: Node, group: number, store?: Outside): Node {
  return makeNode("again", [x], x.shape, x.dtype, { group, ...(store && { store }) });
}

/** The identity on what a way back holds in memory: see the primitive. */
export function hold(x: Node, label: string, estimate = false): Node {
  return makeNode("hold", [x], x.shape, x.dtype, { label, estimate });
}

/** One-operand element-wise. */
export function unary(op: Unary, x: Node, action: string = op): Node {
  return apply(op, [x], {}, scalar, action);
}

/**
 * Converts; floats to integers truncate towards zero and saturate, NaN becomes 0; between integers
 * the bits stay.
 */
export function cast(x: Node, dtype: DType): Node {
  if (x.dtype === dtype) return x;
  // Between integers the bits stay, where fill would saturate.
  const wraps = !isFloat(x.dtype) && !isFloat(dtype) && x.dtype !== "bool" && dtype !== "bool";
  if (is(x, "fill") && !wraps) return fill(x.attributes.value, x.shape, dtype);
  return apply("cast", [x], {}, { shape: x.shape, dtype });
}

/** The same bits as another dtype. */
export function bitcast(x: Node, dtype: DType): Node {
  if (x.dtype === dtype) return x;
  return apply("bitcast", [x], {}, { shape: x.shape, dtype });
}

/** Operands brought to one dtype: numbers follow the nodes, i32 with u32 is an error. */
export function unify(action: string, operands: readonly Operand[]): Node[] {
  let dtype: DType | undefined;
  for (const x of operands) {
    if (typeof x === "number") continue;
    const wider = dtype === undefined ? x.dtype : promote(dtype, x.dtype);
    if (wider === undefined) {
      throw new TypeError(
        `Cannot ${action}: dtypes are ${dtype} and ${x.dtype}, expected an explicit cast (no 32-bit type holds both)`,
      );
    }
    dtype = wider;
  }
  for (const x of operands) {
    if (typeof x !== "number") continue;
    // A fraction turns integers into floats; a negative number is no u32.
    if (dtype === undefined || dtype === "bool") dtype = Number.isInteger(x) ? "i32" : "f32";
    if (!Number.isInteger(x) && dtype !== "f16") dtype = "f32";
    if (dtype === "u32" && x < 0) {
      throw new TypeError(
        `Cannot ${action}: u32 with the negative number ${x}, expected a cast to i32 first`,
      );
    }
  }
  const common = dtype ?? "f32";
  return operands.map((x) => {
    if (typeof x !== "number") return cast(x, common);
    const constant = fill(x, [], common);
    // Held at the end of the range it would be another number than was said.
    if (!isFloat(common) && constant.attributes.value !== x) {
      const { lowest, highest } = dtypes[common];
      throw new RangeError(
        `Cannot ${action}: ${common} with the number ${x}, expected one from ${lowest} to ` +
          `${highest}, or a cast to f32 first`,
      );
    }
    return constant;
  });
}

/** Two-operand element-wise, with promotion and broadcasting; `action` names it in errors. */
export function binary(op: Binary, a: Operand, b: Operand, action: string = op): Node {
  let [x, y] = unify(action, op === "div" || op === "pow" ? floats(a, b) : [a, b]) as [Node, Node];
  if (x.dtype === "bool" && isArithmetic(op)) [x, y] = [cast(x, "i32"), cast(y, "i32")];
  const shape = broadcastOrThrow(action, [x, y]);
  return apply(op, [broadcastTo(x, shape), broadcastTo(y, shape)], {}, scalar, action);
}

/** Operands of what is defined for floats: integers as f32, unless f16 is beside them. */
function floats(a: Operand, b: Operand): Operand[] {
  const half = [a, b].some((x) => typeof x !== "number" && x.dtype === "f16");
  if (half) return [a, b];
  return [a, b].map((x) => typeof x === "number" ? fill(x) : cast(x, "f32"));
}

function isArithmetic(op: Binary): boolean {
  return op === "add" || op === "sub" || op === "mul" || op === "max" || op === "min" ||
    op === "less" || op === "lessEqual" || op === "mod";
}

/** Choice by a bool condition, with promotion and broadcasting. */
export function where(condition: Node, a: Operand, b: Operand): Node {
  const [x, y] = unify("where", [a, b]) as [Node, Node];
  const shape = broadcastOrThrow("where", [condition, x, y]);
  return apply("where", [condition, x, y].map((n) => broadcastTo(n, shape)), {});
}

/** Same elements in the same order, another shape. */
export function reshape(x: Node, shape: Shape): Node {
  if (sameShape(x.shape, shape)) return x;
  checkShape(shape, "reshape");
  if (is(x, "reshape")) return reshape(x.inputs[0]!, shape);
  if (is(x, "fill") && sizeOf(x.shape) === sizeOf(shape)) {
    return fill(x.attributes.value, shape, x.dtype);
  }
  return apply("reshape", [x], {}, { shape, dtype: x.dtype });
}

/** Axis i of the result is axis order[i] of x. */
export function permute(x: Node, order: readonly number[], action: string = "permute"): Node {
  if (order.length === x.shape.length && order.every((axis, i) => axis === i)) return x;
  return apply("permute", [x], { order }, scalar, action);
}

/** NumPy's broadcast to a shape of the same or higher rank. */
export function broadcastTo(x: Node, shape: Shape): Node {
  checkShape(shape, "broadcast");
  if (sameShape(x.shape, shape)) return x;
  if (is(x, "fill") && x.shape.length === 0) return fill(x.attributes.value, shape, x.dtype);
  const missing = shape.length - x.shape.length;
  if (missing < 0) {
    throw new TypeError(
      `Cannot broadcast: ${showShape(x.shape)} to ${
        showShape(shape)
      }, expected a shape of at least the same rank`,
    );
  }
  const padded = reshape(x, [...new Array<number>(missing).fill(1), ...x.shape]);
  if (sameShape(padded.shape, shape)) return padded;
  return apply("broadcast", [padded], {}, { shape, dtype: x.dtype });
}

/** A window of `size` from `start`, every `step`-th element. */
export function slice(
  x: Node,
  start: readonly number[],
  size: Shape,
  step: readonly number[] = start.map(() => 1),
): Node {
  if (sameShape(size, x.shape) && start.every((s) => s === 0) && step.every((s) => s === 1)) {
    return x;
  }
  return apply("slice", [x], { start, step }, { shape: size, dtype: x.dtype });
}

/** Widths before and after every axis, filled with a value. */
export function pad(
  x: Node,
  before: readonly number[],
  after: readonly number[],
  value = 0,
): Node {
  if (before.every((n) => n === 0) && after.every((n) => n === 0)) return x;
  const result = apply("pad", [x], { before, after, value: round(x.dtype, value) });
  checkShape(result.shape, "pad");
  return result;
}

/** The order of elements along axes reversed. */
export function flip(x: Node, axes: readonly number[]): Node {
  return axes.length === 0 ? x : apply("flip", [x], { axes });
}

/** End to end along an axis. */
export function concatenate(inputs: readonly Node[], axis: number): Node {
  if (inputs.length === 0) {
    throw new TypeError("Cannot concatenate: no tensors, expected at least one");
  }
  const same = unify("concatenate", inputs);
  return same.length === 1 ? same[0]! : apply("concatenate", same, { axis });
}

/** A reduction that keeps the reduced axes, with size 1. */
export function reduce(op: Reduction, x: Node, axes: readonly number[]): Node {
  if (axes.length === 0) return x;
  return apply(op, [x], { axes });
}

/** [b,m,k] × [b,k,n]; of f16 also as f32, before the sums are rounded. */
export function dot(a: Node, b: Node, dtype: DType = a.dtype): Node {
  return apply("dot", [a, b], {}, { shape: [], dtype });
}

/** Windows over the last axes of x: [..., …n] → [..., …places, …size]. */
export function window(x: Node, attributes: Attributes["window"]): Node {
  const { size, step, dilation } = attributes, rank = size.length;
  if (rank === 0) return x;
  const { shape } = infer.window([x], attributes, scalar);
  checkShape(shape, "window");
  const apart = size.every((k, i) => k === 1 || (k === step[i] && dilation[i] === 1));
  if (!apart) return apply("window", [x], attributes);
  // Windows side by side share nothing: their axes are cut into pieces.
  const lead = shape.slice(0, -2 * rank), places = shape.slice(lead.length, lead.length + rank);
  const cut = slice(
    x,
    x.shape.map(() => 0),
    [...lead, ...places.map((n, i) => n * size[i]!)],
    [...lead.map(() => 1), ...size.map((k, i) => k === 1 ? step[i]! : 1)],
  );
  const pieces = reshape(cut, [...lead, ...places.flatMap((n, i) => [n, size[i]!])]);
  const axes = size.map((_, i) => lead.length + 2 * i);
  return permute(pieces, [...lead.map((_, i) => i), ...axes, ...axes.map((axis) => axis + 1)]);
}

/** Kernels [g,…k,c,o] over [g,b,…s,c]. */
export function convolve(x: Node, w: Node, attributes: Attributes["convolve"]): Node {
  return apply("convolve", [x, w], attributes);
}

/** Rows of x by index. */
export function gather(x: Node, index: Node): Node {
  return apply("gather", [x, index], {});
}

/** Sums rows of updates into `size` rows by index. */
export function scatterAdd(
  updates: Node,
  index: Node,
  size: number,
  dtype: DType = updates.dtype,
): Node {
  return apply("scatterAdd", [updates, index], { size }, { shape: [], dtype });
}

/**
 * The same where it is known whose turn it is: row r adds, to the one it had, the updates that the
 * order names from starts[r] to starts[r+1].
 */
export function scatterSorted(
  [updates, order, starts]: readonly [updates: Node, order: Node, starts: Node],
  onto: Node | undefined,
  dtype: DType,
): Node {
  const inputs = [updates, order, starts, ...(onto === undefined ? [] : [onto])];
  const attributes = { size: starts.shape[0]! - 1, sorted: true } as const;
  return apply("scatterAdd", inputs, attributes, { shape: [], dtype });
}

/** The results of a graph applied to inputs, behind a boundary. */
export function call(graph: Graph, inputs: readonly Node[], rule?: CustomRule): Node[] {
  const attributes = { graph, name: graph.name, ...(rule && { rule }) };
  infer.call(inputs, attributes, scalar);
  const node = makeNode("call", inputs, [], "f32", attributes, graph.results.map(avalOf));
  return graph.results.map(({ shape, dtype }, index) =>
    makeNode("project", [node], shape, dtype, { index })
  );
}

/** How a loop runs: see the primitive. */
export type LoopOptions =
  & Pick<Attributes["loop"], "length" | "carries" | "stacked" | "reverse">
  & Partial<
    Pick<
      Attributes["loop"],
      "running" | "kept" | "plan" | "invert" | "demands" | "replay" | "record"
    >
  >;

/**
 * The parameter of a loop's body by its place. All bodies share these, because bodies are closed:
 * what two bodies compute alike is one node, and equal bodies are equal node by node.
 */
export function slot(index: number, { shape, dtype }: Aval): Node<"parameter"> {
  return makeNode("parameter", [], shape, dtype, { index, unique: 0 });
}

/** The results of a body run over inputs: final carries, stacked results, kept carries. */
export function loop(body: Graph, inputs: readonly Node[], options: LoopOptions): Node[] {
  const { length, carries, stacked, reverse, running, kept = [], plan, demands, replay, record } =
    options;
  const invert = options.invert && canonical(options.invert);
  const attributes: Attributes["loop"] = {
    body: canonical(body),
    length,
    carries,
    stacked,
    reverse,
    running,
    kept,
    plan,
    invert,
    demands,
    replay,
    record,
  };
  const results = loopResults(inputs, attributes);
  const node = makeNode("loop", inputs, [], "f32", attributes, results);
  return results.map(({ shape, dtype }, index) =>
    makeNode("project", [node], shape, dtype, { index })
  );
}

/** The body over {@linkcode slot} parameters: one object for equal bodies. */
export function canonical(body: Graph): Graph {
  const parameters = body.parameters.map((p, i) => slot(i, p));
  const replaced = new Map<Node, Node>();
  body.parameters.forEach((p, i) => replaced.set(p, parameters[i]!));
  const results = parameters.every((p, i) => p === body.parameters[i])
    ? body.results
    : substitute(body.results, replaced);
  return makeGraph(body.name, parameters, results);
}

/**
 * The roots with nodes replaced as `replacements` says. What is replaced is not walked further, so
 * a replacement may contain what it replaces. `change` sees every other node after its inputs.
 */
export function substitute(
  roots: readonly Node[],
  replacements: ReadonlyMap<Node, Node>,
  change: (node: Node) => Node = (node) => node,
): Node[] {
  const done = new Map<Node, Node>(replacements);
  const none: readonly Node[] = [];
  for (const node of topological(roots, (n) => replacements.has(n) ? none : n.inputs)) {
    if (done.has(node)) continue;
    done.set(node, change(rebuild(node, node.inputs.map((input) => done.get(input)!))));
  }
  return roots.map((root) => done.get(root)!);
}

/** Shape and dtype alone. */
export function avalOf({ shape, dtype }: Aval): Aval {
  return { shape, dtype };
}

/** The same primitive on other inputs, checked again: what passes rebuild graphs with. */
export function rebuild(node: Node, inputs: readonly Node[]): Node {
  if (inputs.every((input, i) => input === node.inputs[i])) return node;
  return standingFor(
    node,
    () =>
      kinds[node.op] === "call" || kinds[node.op] === "loop"
        ? makeNode(node.op, inputs, node.shape, node.dtype, node.attributes, node.results)
        : apply(node.op, inputs, node.attributes, node),
  );
}

/** Rows-major position of each element as u32, with the shape of x: 0, 1, 2 … size-1. */
export function positions(shape: Shape): Node {
  const size = sizeOf(shape);
  return reshape(iota([size], 0, "u32"), shape.length === 0 ? [] : shape);
}
