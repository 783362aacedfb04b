/**
 * Reverse mode: cotangents of sources from cotangents of results. Rules build graph, so gradients
 * differentiate again, fuse again and plan again. A rule is asked only for operands that the sources
 * reach. Cotangents that meet at a node are added in an order that depends on the graph's structure
 * alone.
 *
 * Only floats carry cotangents; what passes through an integer or a bool has none.
 *
 * Griewank and Walther, Evaluating Derivatives, 2nd ed., chapter 3.
 *
 * @module
 */
import {
  apply,
  broadcastTo,
  cast,
  dot,
  fill,
  flip,
  gather,
  pad,
  permute,
  reduce,
  reshape,
  scatterAdd,
  slice,
  where,
} from "./build.ts";
import { add, div, less, like, mul } from "./arithmetic.ts";
import { pushforward } from "./jvp.ts";
import { pullLoop } from "./loops/pull.ts";
import { is, type Node, showAval } from "./node.ts";
import { inputGradient, kernelGradient, spreadOut, unwindow } from "./windows.ts";
import type { Primitive } from "./primitive.ts";
import { sameShape, type Shape, sizeOf } from "./shape.ts";
import { type Sloped, slopes, winners } from "./slopes.ts";
import { differentiating } from "./source.ts";
import { inlineCalls } from "./substitute.ts";
import { activeNodes, topological } from "./walk.ts";

/** The cotangent of one operand from that of the result; undefined where it is zero. */
export type VjpRule<P extends Primitive> = (
  node: Node<P>,
  cotangent: Node,
  operand: number,
) => Node | undefined;

/** Primitives of several results: their cotangents are needed together, so no row serves them. */
export type Boundary = "call" | "loop" | "project";

/**
 * What `CustomRule.pull` is: cotangents of the inputs; undefined where zero. The rule may answer
 * for the first inputs only: the others are values that the function closes over.
 */
export type CustomPull = (
  inputs: readonly Node[],
  results: readonly Node[],
  cotangents: readonly Node[],
) => readonly (Node | undefined)[];

/** No operands, an operand that takes no cotangent, or a slope of zero wherever there is one. */
const none = (): undefined => undefined;

/** Everything that equals the extremum shares its cotangent. */
function extremumOver(y: Node<"reduceMax"> | Node<"reduceMin">, g: Node): Node {
  const x = y.inputs[0]!, winner = winners(y);
  const share = cast(div(cast(g, "f32"), winner.count), g.dtype);
  return where(winner.where, broadcastTo(share, x.shape), like(x, 0));
}

/** A cotangent by the slope of the operand. */
const bySlope = (y: Node<Sloped>, g: Node, operand: number): Node | undefined =>
  slopes[y.op][operand]!(g, y);

/** Inverse of a permutation. */
function inverse(order: readonly number[]): number[] {
  const result = new Array<number>(order.length);
  order.forEach((axis, i) => result[axis] = i);
  return result;
}

/** The transpose of a slice: elements back at their places, zeros between. */
function unslice(g: Node, shape: Shape, start: readonly number[], step: readonly number[]): Node {
  if (sizeOf(g.shape) === 0) return fill(0, shape, g.dtype);
  const spread = spreadOut(g, step);
  return pad(spread, start, shape.map((n, i) => n - start[i]! - spread.shape[i]!));
}

/**
 * Products of all elements but one, without dividing, so that zeros are no special case: a scan of
 * doubling strides from both sides, whose memory does not grow with the square of the length.
 */
export function productsOfOthers(x: Node, axes: readonly number[]): Node {
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const order = [...kept, ...axes];
  const moved = permute(x, order);
  const rows = sizeOf(kept.map((i) => x.shape[i]!)), n = sizeOf(axes.map((i) => x.shape[i]!));
  const flat = reshape(moved, [rows, n]);
  const shifted = (y: Node, by: number, forward: boolean): Node => {
    const part = slice(y, [0, forward ? 0 : by], [rows, n - by]);
    return forward ? pad(part, [0, by], [0, 0], 1) : pad(part, [0, 0], [0, by], 1);
  };
  const scan = (forward: boolean): Node => {
    let y = n === 0 ? flat : shifted(flat, 1, forward);
    for (let stride = 1; stride < n; stride *= 2) y = mul(y, shifted(y, stride, forward));
    return y;
  };
  return permute(reshape(mul(scan(true), scan(false)), moved.shape), inverse(order));
}

/** True where an index lies in [0, size), with the shape of `x`, which begins with the index's. */
export function inRange(index: Node, size: number, x: Node): Node {
  const below = less(index, like(index, size));
  const inside = index.dtype === "u32"
    ? below
    : apply("and", [apply("lessEqual", [like(index, 0), index], {}), below], {});
  const rank = x.shape.length - index.shape.length;
  return broadcastTo(
    reshape(inside, [...index.shape, ...new Array<number>(rank).fill(1)]),
    x.shape,
  );
}

/** A user's kernel without a rule; one with a rule is behind a boundary that knows it. */
export function noRule({ attributes: { source } }: Node<"kernel">): never {
  throw new TypeError(
    `Cannot differentiate kernel ${source.name}: it has no vjp, expected that option where it is made`,
  );
}

const swapLast = (x: Node): Node => permute(x, [0, 2, 1]);

/** The table: one row for each primitive. */
const vjpRules: { readonly [P in Exclude<Primitive, Boundary>]: VjpRule<P> } = {
  leaf: none,
  parameter: none,
  fill: none,
  iota: none,

  neg: bySlope,
  abs: bySlope,
  sign: none,
  floor: none,
  ceil: none,
  round: none,
  sqrt: bySlope,
  exp: bySlope,
  log: bySlope,
  sin: bySlope,
  cos: bySlope,
  atan: bySlope,
  tanh: bySlope,
  erf: bySlope,
  not: none,
  cast: (y, g) => cast(g, y.inputs[0]!.dtype),
  bitcast: none,
  barrier: bySlope,
  mark: bySlope,
  again: bySlope,
  hold: bySlope,
  name: bySlope,
  stop: none,

  add: bySlope,
  sub: bySlope,
  mul: bySlope,
  div: bySlope,
  floorDiv: none,
  mod: bySlope,
  pow: bySlope,
  max: bySlope,
  min: bySlope,
  and: none,
  or: none,
  xor: none,
  shiftLeft: none,
  shiftRight: none,
  equal: none,
  notEqual: none,
  less: none,
  lessEqual: none,
  where: (y, g, operand) => {
    const zero = like(g, 0);
    return operand === 1 ? where(y.inputs[0]!, g, zero) : where(y.inputs[0]!, zero, g);
  },

  reshape: (y, g) => reshape(g, y.inputs[0]!.shape),
  permute: (y, g) => permute(g, inverse(y.attributes.order)),
  broadcast: (y, g) => {
    const from = y.inputs[0]!.shape;
    return reduce("sum", g, from.flatMap((n, i) => n === y.shape[i] ? [] : [i]));
  },
  slice: (y, g) => unslice(g, y.inputs[0]!.shape, y.attributes.start, y.attributes.step),
  pad: (y, g) => slice(g, y.attributes.before, y.inputs[0]!.shape),
  flip: (y, g) => flip(g, y.attributes.axes),
  concatenate: (y, g, operand) => {
    const { axis } = y.attributes;
    let offset = 0;
    for (let i = 0; i < operand; i++) offset += y.inputs[i]!.shape[axis]!;
    return slice(g, g.shape.map((_, i) => i === axis ? offset : 0), y.inputs[operand]!.shape);
  },

  window: (y, g) => unwindow(g, y.inputs[0]!.shape, y.attributes),

  sum: (y, g) => broadcastTo(g, y.inputs[0]!.shape),
  prod: (y, g) => {
    const x = y.inputs[0]!;
    return mul(broadcastTo(g, x.shape), productsOfOthers(x, y.attributes.axes));
  },
  reduceMax: extremumOver,
  reduceMin: extremumOver,

  dot: (y, g, operand) => {
    const [a, b] = y.inputs as [Node, Node];
    // An f32 product of f16 has cotangents in f32.
    const pulled = operand === 0
      ? dot(g, swapLast(cast(b, g.dtype)))
      : dot(swapLast(cast(a, g.dtype)), g);
    return cast(pulled, a.dtype);
  },
  convolve: (y, g, operand) => operand === 0 ? inputGradient(y, g) : kernelGradient(y, g),
  gather: (y, g, operand) =>
    operand === 0 ? scatterAdd(g, y.inputs[1]!, y.inputs[0]!.shape[0]!) : undefined,
  scatterAdd: (y, g, operand) => {
    if (operand === 1) return undefined;
    const index = y.inputs[1]!;
    const rows = gather(g, index);
    // An update that was dropped has no slope, and gather would read NaN there.
    const inside = where(inRange(index, y.attributes.size, rows), rows, like(rows, 0));
    return cast(inside, y.inputs[0]!.dtype);
  },
  kernel: noRule,
};

/**
 * Cotangents of `sources` from those of `results`: the transposed derivative applied. A result
 * without a cotangent counts as zero; a source that no result depends on gets zeros. Sources are
 * independent variables: what lies below them is not looked at.
 *
 * @throws {TypeError} where a cotangent's shape or dtype is not its result's.
 */
export function pullback(
  results: readonly Node[],
  sources: readonly Node[],
  cotangents: readonly (Node | undefined)[],
): Node[] {
  const stops = new Set(sources);
  const opened = inlineCalls(results, stops, (call) => call.attributes.rule === undefined);
  const order = topological(opened, (node) => stops.has(node) ? [] : node.inputs);
  const active = activeNodes(order, stops);
  const sums = new Map<Node, Node>();
  const accumulate = (node: Node, g: Node | undefined): void => {
    if (g === undefined || !active.has(node)) return;
    const sum = sums.get(node);
    sums.set(node, sum === undefined ? g : add(sum, g));
  };
  opened.forEach((result, i) => {
    const g = cotangents[i];
    if (g !== undefined) checkCotangent(result, g);
    accumulate(result, g);
  });
  /** Cotangents of the results of a call or a loop, until its turn comes. */
  const waiting = new Map<Node, (Node | undefined)[]>();
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i]!;
    if (stops.has(node) || !active.has(node)) continue;
    if (is(node, "call") || is(node, "loop")) {
      const parts = waiting.get(node);
      if (parts === undefined) continue;
      const asked = (k: number): boolean => active.has(node.inputs[k]!);
      differentiating(node, () => {
        const pulled = is(node, "call")
          ? pullCall(node, parts, asked)
          : pullLoop(node, parts, asked, pullback, pushforward);
        pulled.forEach((g, k) => accumulate(node.inputs[k]!, g));
      });
      continue;
    }
    const g = sums.get(node);
    if (g === undefined) continue;
    sums.delete(node);
    if (is(node, "project")) {
      const call = node.inputs[0]!;
      const parts = waiting.get(call) ?? call.results!.map(() => undefined);
      parts[node.attributes.index] = g;
      waiting.set(call, parts);
      continue;
    }
    const rule = vjpRules[node.op as keyof typeof vjpRules] as VjpRule<Primitive>;
    differentiating(node, () => {
      for (let k = 0; k < node.inputs.length; k++) {
        const input = node.inputs[k]!;
        if (active.has(input)) accumulate(input, rule(node, g, k));
      }
    });
  }
  return sources.map((source) => sums.get(source) ?? like(source, 0));
}

/** Cotangents of a call's inputs by its rule; `active` says which of them are asked for. */
export function pullCall(
  call: Node<"call">,
  parts: readonly (Node | undefined)[],
  active: (input: number) => boolean,
): readonly (Node | undefined)[] {
  const { rule, name } = call.attributes;
  const results = call.results!.map(({ shape, dtype }, index) =>
    apply("project", [call], { index }, { shape, dtype })
  );
  const full = parts.map((g, i) => g ?? like(results[i]!, 0));
  const pulled = (rule!.pull as CustomPull)(call.inputs, results, full);
  for (let i = pulled.length; i < call.inputs.length; i++) {
    if (!active(i)) continue;
    throw new TypeError(
      `Cannot differentiate ${name}: it closes over ${
        showAval(call.inputs[i]!)
      } whose derivative ` +
        "is asked for, expected that as an argument (its rule knows only arguments)",
    );
  }
  pulled.forEach((g, i) => {
    if (g !== undefined) checkCotangent(call.inputs[i]!, g);
  });
  return pulled;
}

function checkCotangent(x: Node, g: Node): void {
  if (sameShape(x.shape, g.shape) && x.dtype === g.dtype) return;
  throw new TypeError(
    `Cannot pull back: the cotangent is ${showAval(g)}, expected ${showAval(x)} as the value it ` +
      "belongs to",
  );
}
