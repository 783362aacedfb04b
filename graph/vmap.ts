/**
 * Batching: a function of one example made a function of many, by giving every node that depends on
 * the batch one more axis, the first. What does not depend on it stays as it is. A rule sees the
 * operands as they are now and which of them are batched.
 *
 * @module
 */
import {
  apply,
  avalOf,
  broadcastTo,
  call as callGraph,
  convolve,
  dot,
  fill,
  flip,
  gather,
  iota,
  loop,
  pad,
  parameter,
  permute,
  reduce,
  reshape,
  scatterAdd,
  slice,
  where,
  window,
} from "./build.ts";
import { anyFlag, collectChecks, noteCheck } from "./check.ts";
import { batchLoop } from "./loops/batch.ts";
import { type Graph, is, makeGraph, type Node } from "./node.ts";
import type { Primitive } from "./primitive.ts";
import type { Shape } from "./shape.ts";
import { standingFor } from "./source.ts";
import { inlineCalls } from "./substitute.ts";
import { type Boundary, type CustomPull, inRange, pullback } from "./vjp.ts";
import { topological } from "./walk.ts";

/** An operand of a batched primitive. */
export interface Operand {
  /** Its value, for all examples or for one. */
  readonly node: Node;
  /** Its first axis is the batch. */
  readonly batched: boolean;
}

/** The batched result, its first axis the batch; called only if an operand is batched. */
export type BatchRule<P extends Primitive> = (
  node: Node<P>,
  operands: readonly Operand[],
  size: number,
) => Node;

/** The operand with a batch axis, repeated if it has none. */
function spread({ node, batched }: Operand, size: number): Node {
  return batched ? node : repeat(node, size);
}

/** Copies of a node along a new first axis. */
export function repeat(node: Node, size: number): Node {
  return broadcastTo(reshape(node, [1, ...node.shape]), [size, ...node.shape]);
}

/** The same primitive on operands that all have the batch axis. */
function elementwise<P extends Primitive>(
  node: Node<P>,
  operands: readonly Operand[],
  size: number,
) {
  const inputs = operands.map((operand) => spread(operand, size));
  return apply(node.op, inputs, node.attributes, { shape: inputs[0]!.shape, dtype: node.dtype });
}

/** A rule of a primitive with one operand. */
function one<P extends Primitive>(rule: (x: Node, node: Node<P>, size: number) => Node) {
  return (node: Node<P>, [x]: readonly Operand[], size: number): Node => rule(x!.node, node, size);
}

const later = (axes: readonly number[]): number[] => axes.map((axis) => axis + 1);

function reduction<P extends "sum" | "prod" | "reduceMax" | "reduceMin">(op: P): BatchRule<P> {
  return one((x, node) => reduce(op, x, later(node.attributes.axes)));
}

/** Axis `from` to the front, the others in order. */
function toFront(x: Node, from: number): Node {
  const rest = x.shape.map((_, i) => i).filter((i) => i !== from);
  return permute(x, [from, ...rest]);
}

/** The front axis to place `to`, the others in order. */
function fromFront(x: Node, to: number): Node {
  const order = x.shape.map((_, i) => i).slice(1);
  return permute(x, [...order.slice(0, to), 0, ...order.slice(to)]);
}

/**
 * A batch of matrices against one: more rows (or columns) of one product, which reads the shared
 * operand once. Two batches fold into the batch axis that the primitive has.
 */
function batchDot({ dtype }: Node<"dot">, [a, b]: readonly Operand[], size: number): Node {
  const x = a!.node, y = b!.node;
  if (a!.batched && b!.batched) {
    const [, p, m, k] = x.shape as [number, number, number, number], n = y.shape[3]!;
    const product = dot(reshape(x, [size * p, m, k]), reshape(y, [size * p, k, n]), dtype);
    return reshape(product, [size, p, m, n]);
  }
  if (a!.batched) {
    const [, p, m, k] = x.shape as [number, number, number, number], n = y.shape[2]!;
    const rows = reshape(permute(x, [1, 0, 2, 3]), [p, size * m, k]);
    return permute(reshape(dot(rows, y, dtype), [p, size, m, n]), [1, 0, 2, 3]);
  }
  const [p, m] = x.shape as [number, number, number], [, , k, n] = y.shape as number[];
  const columns = reshape(permute(y, [1, 2, 0, 3]), [p, k!, size * n!]);
  return permute(reshape(dot(x, columns, dtype), [p, m, size, n!]), [2, 0, 1, 3]);
}

/**
 * More inputs are more of the batch that the primitive has, more kernels more output channels, and
 * both together more groups.
 */
function batchConvolve(
  { attributes }: Node<"convolve">,
  [a, b]: readonly Operand[],
  size: number,
): Node {
  const x = a!.node, w = b!.node;
  if (a!.batched && b!.batched) {
    const y = convolve(merge(x), merge(w), attributes);
    return reshape(y, [size, x.shape[1]!, ...y.shape.slice(1)]);
  }
  if (a!.batched) {
    const [, g, n] = x.shape as [number, number, number];
    const inputs = reshape(fromFront(x, 1), [g, size * n, ...x.shape.slice(3)]);
    const y = convolve(inputs, w, attributes);
    return toFront(reshape(y, [g, size, n, ...y.shape.slice(2)]), 1);
  }
  const rank = w.shape.length - 1, outputs = w.shape[rank]!;
  const moved = fromFront(w, rank - 1);
  const y = convolve(x, reshape(moved, [...moved.shape.slice(0, -2), size * outputs]), attributes);
  return toFront(reshape(y, [...y.shape.slice(0, -1), size, outputs]), y.shape.length - 1);
}

/** Indices into rows of one example, as indices into all rows; outside stays outside. */
function offsetIndex(index: Node, rows: number, size: number): Node {
  const example = iota(index.shape, 0, index.dtype);
  const moved = apply("add", [
    index,
    apply("mul", [example, fill(rows, index.shape, index.dtype)], {}),
  ], {});
  const outside = fill(rows * size, index.shape, index.dtype);
  return where(inRange(index, rows, index), moved, outside);
}

const merge = (x: Node): Node => reshape(x, [x.shape[0]! * x.shape[1]!, ...x.shape.slice(2)]);

function batchGather(_: Node<"gather">, [x, index]: readonly Operand[], size: number): Node {
  if (!x!.batched) return gather(x!.node, index!.node);
  if (!index!.batched) {
    const rank = index!.node.shape.length;
    return toFront(gather(fromFront(x!.node, 1), index!.node), rank);
  }
  return gather(merge(x!.node), offsetIndex(index!.node, x!.node.shape[1]!, size));
}

function batchScatter(
  node: Node<"scatterAdd">,
  [updates, index]: readonly Operand[],
  size: number,
): Node {
  const rows = node.attributes.size;
  if (!index!.batched) {
    const moved = fromFront(updates!.node, index!.node.shape.length);
    return toFront(scatterAdd(moved, index!.node, rows, node.dtype), 1);
  }
  const all = spread(updates!, size);
  const moved = offsetIndex(index!.node, rows, size);
  const sums = scatterAdd(all, moved, rows * size, node.dtype);
  return reshape(sums, [size, rows, ...sums.shape.slice(1)]);
}

/** A shader is written for one example: the batch is a loop over them. */
function batchKernel(
  node: Node<"kernel">,
  operands: readonly Operand[],
  size: number,
): Node {
  const stacked = operands.filter(({ batched }) => batched);
  const shared = operands.filter(({ batched }) => !batched);
  const order = [...stacked, ...shared];
  const parameters = order.map((operand, i) =>
    parameter(i, node.inputs[operands.indexOf(operand)]!)
  );
  const inputs = operands.map((operand) => parameters[order.indexOf(operand)]!);
  const one = apply("kernel", inputs, node.attributes);
  const body = makeGraph(node.attributes.source.name, parameters, [one]);
  const [all] = loop(body, order.map(({ node }) => node), {
    length: size,
    carries: 0,
    stacked: stacked.length,
    reverse: false,
  });
  return all!;
}

/** Leaves are never asked: they have no operands. */
function unreachable(node: Node): never {
  throw new Error(`Cannot batch ${node.op}: it has no batched operand, expected one`);
}

/** The table: one row for each primitive. */
const batchRules: { readonly [P in Exclude<Primitive, Boundary>]: BatchRule<P> } = {
  leaf: unreachable,
  parameter: unreachable,
  fill: unreachable,
  iota: unreachable,

  neg: elementwise,
  abs: elementwise,
  sign: elementwise,
  floor: elementwise,
  ceil: elementwise,
  round: elementwise,
  sqrt: elementwise,
  exp: elementwise,
  log: elementwise,
  sin: elementwise,
  cos: elementwise,
  atan: elementwise,
  tanh: elementwise,
  erf: elementwise,
  not: elementwise,
  cast: elementwise,
  bitcast: elementwise,
  barrier: elementwise,
  mark: elementwise,
  again: elementwise,
  hold: elementwise,
  name: elementwise,
  stop: elementwise,
  add: elementwise,
  sub: elementwise,
  mul: elementwise,
  div: elementwise,
  floorDiv: elementwise,
  mod: elementwise,
  pow: elementwise,
  max: elementwise,
  min: elementwise,
  and: elementwise,
  or: elementwise,
  xor: elementwise,
  shiftLeft: elementwise,
  shiftRight: elementwise,
  equal: elementwise,
  notEqual: elementwise,
  less: elementwise,
  lessEqual: elementwise,
  where: elementwise,

  reshape: one((x, node, size) => reshape(x, [size, ...node.shape])),
  permute: one((x, node) => permute(x, [0, ...later(node.attributes.order)])),
  broadcast: one((x, node, size) => broadcastTo(x, [size, ...node.shape])),
  slice: one((x, { attributes: { start, step }, shape }, size) =>
    slice(x, [0, ...start], [size, ...shape], [1, ...step])
  ),
  pad: one((x, { attributes: { before, after, value } }) =>
    pad(x, [0, ...before], [0, ...after], value)
  ),
  flip: one((x, node) => flip(x, later(node.attributes.axes))),
  concatenate: (node, operands, size) =>
    apply("concatenate", operands.map((operand) => spread(operand, size)), {
      axis: node.attributes.axis + 1,
    }),

  window: one((x, node) => window(x, node.attributes)),

  sum: reduction("sum"),
  prod: reduction("prod"),
  reduceMax: reduction("reduceMax"),
  reduceMin: reduction("reduceMin"),

  dot: batchDot,
  convolve: batchConvolve,
  gather: batchGather,
  scatterAdd: batchScatter,
  kernel: batchKernel,
};

/**
 * The results with the sources replaced by `operands`, whose first axis is the batch where they say
 * so. Every result comes back with `batched` saying whether it depends on the batch.
 */
export function batch(
  results: readonly Node[],
  sources: readonly Node[],
  operands: readonly Operand[],
  size: number,
): Operand[] {
  const stops = new Set(sources);
  const opened = inlineCalls(results, stops, (call) => call.attributes.rule === undefined);
  const done = new Map<Node, Operand>(sources.map((source, i) => [source, operands[i]!]));
  /** Results of calls with a rule, and of loops. */
  const ofCalls = new Map<Node, readonly Operand[]>();
  // Sources that are replaced by something not batched change what is above them, too.
  const touched = new Set<Node>(sources);
  for (const node of topological(opened, (node) => stops.has(node) ? [] : node.inputs)) {
    if (stops.has(node)) continue;
    if (!node.inputs.some((input) => touched.has(input))) {
      done.set(node, { node, batched: false });
      continue;
    }
    touched.add(node);
    if (is(node, "project")) {
      const { index } = node.attributes;
      done.set(node, ofCalls.get(node.inputs[0]!)![index]!);
      continue;
    }
    const inputs = node.inputs.map((input) => done.get(input)!);
    const batched = inputs.some((input) => input.batched);
    standingFor(node, () => {
      if (is(node, "call")) {
        const closed = { sources, operands };
        const results = batchCall(node, inputs.map((input) => spread(input, size)), size, closed);
        ofCalls.set(node, results.map((result) => ({ node: result, batched: true })));
        done.set(node, { node, batched: true });
      } else if (is(node, "loop")) {
        ofCalls.set(node, batchLoop(node, inputs, size, batch, pullback));
        done.set(node, { node, batched });
      } else if (batched) {
        const rule = batchRules[node.op as keyof typeof batchRules] as BatchRule<Primitive>;
        done.set(node, { node: rule(node, inputs, size), batched });
      } else {
        const plain = inputs.map((input) => input.node);
        done.set(node, { node: apply(node.op, plain, node.attributes, node), batched });
      }
    });
  }
  return opened.map((result) => done.get(result)!);
}

/**
 * A call with a rule becomes a call of the batched body with the batched rule; `closed` is what the
 * rule may close over.
 */
function batchCall(
  call: Node<"call">,
  inputs: readonly Node[],
  size: number,
  closed: { readonly sources: readonly Node[]; readonly operands: readonly Operand[] },
): Node[] {
  const { graph, rule } = call.attributes;
  const wide = ({ shape, dtype }: Node): { shape: Shape; dtype: Node["dtype"] } => ({
    shape: [size, ...shape],
    dtype,
  });
  const parameters = graph.parameters.map((p, i) => parameter(i, wide(p)));
  const batched = (node: Node): Operand => ({ node, batched: true });
  const over = (
    roots: readonly Node[],
    sources: readonly Node[],
    operands: readonly Operand[],
  ): Node[] => batch(roots, sources, operands, size).map((result) => spread(result, size));
  const body: Graph = {
    name: graph.name,
    parameters,
    results: over(graph.results, graph.parameters, parameters.map(batched)),
  };
  const pull: CustomPull = (xs, ys, gs) => {
    const fresh = [...graph.parameters, ...graph.results, ...graph.results]
      .map((node, i) => parameter(i, avalOf(node)));
    const n = xs.length, m = ys.length;
    const { value: pulled, checks } = collectChecks(() =>
      (rule!.pull as CustomPull)(fresh.slice(0, n), fresh.slice(n, n + m), fresh.slice(n + m))
    );
    const present = pulled.filter((g) => g !== undefined);
    const flags = checks.map(({ flag }) => flag);
    // What the rule closes over of the example is there for each of them, too.
    const wideOnes = over(
      [...present, ...flags],
      [...fresh, ...closed.sources],
      [...[...xs, ...ys, ...gs].map(batched), ...closed.operands],
    );
    checks.forEach(({ message }, i) =>
      noteCheck({ flag: anyFlag(wideOnes[present.length + i]!), message })
    );
    let next = 0;
    return pulled.map((g) => g && wideOnes[next++]);
  };
  return callGraph(body, inputs, { ...rule!, pull });
}
