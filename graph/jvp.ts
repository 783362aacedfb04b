/**
 * Forward mode: tangents of results from tangents of sources, in one sweep beside the values. Rules
 * build graph, like those of reverse mode, so forward over reverse gives Hessian-vector products.
 * An absent tangent is zero and costs nothing.
 *
 * @module
 */
import {
  broadcastTo,
  cast,
  concatenate,
  convolve,
  dot,
  fill,
  flip,
  gather,
  mark,
  pad,
  permute,
  reduce,
  reshape,
  scatterAdd,
  slice,
  where,
  window,
} from "./build.ts";
import { isFloat } from "./dtype.ts";
import { add, div, like, mul, sub } from "./arithmetic.ts";
import { pushLoop } from "./loops/push.ts";
import { is, type Node, showAval } from "./node.ts";
import type { Primitive } from "./primitive.ts";
import { sameShape } from "./shape.ts";
import { type Sloped, slopes, winners } from "./slopes.ts";
import { differentiating } from "./source.ts";
import { inlineCalls } from "./substitute.ts";
import { type Boundary, inRange, noRule, productsOfOthers, pullback, pullCall } from "./vjp.ts";
import { topological } from "./walk.ts";

/** Tangents of the operands; undefined where zero. */
export type Tangents = readonly (Node | undefined)[];

/** The tangent of the result from those of the operands; undefined where it is zero. */
export type JvpRule<P extends Primitive> = (node: Node<P>, tangents: Tangents) => Node | undefined;

const none = (): undefined => undefined;

/** A rule that applies the primitive's own movement, or any linear map, to the one tangent. */
function linear<P extends Primitive>(map: (t: Node, node: Node<P>) => Node): JvpRule<P> {
  return (node, [t]) => t && map(t, node);
}

/** The sum of the terms that are there. */
function total(...terms: readonly (Node | undefined)[]): Node | undefined {
  let sum: Node | undefined;
  for (const term of terms) {
    if (term !== undefined) sum = sum === undefined ? term : add(sum, term);
  }
  return sum;
}

/** Every tangent by the slope of its operand. */
const bySlope = (y: Node<Sloped>, tangents: Tangents): Node | undefined =>
  total(...tangents.map((t, operand) => t && slopes[y.op][operand]!(t, y)));

/** The mean of the tangents of all that equal the extremum. */
function extremumOver(y: Node<"reduceMax"> | Node<"reduceMin">, [t]: Tangents): Node | undefined {
  if (t === undefined) return undefined;
  const winner = winners(y);
  const sum = reduce("sum", where(winner.where, t, like(t, 0)), y.attributes.axes);
  return cast(div(cast(sum, "f32"), winner.count), t.dtype);
}

const zeroOr = (t: Node | undefined, x: Node): Node => t ?? like(x, 0);

/** The table: one row for each primitive. */
const jvpRules: { readonly [P in Exclude<Primitive, Boundary>]: JvpRule<P> } = {
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
  cast: linear((t, y) => cast(t, y.dtype)),
  bitcast: none,
  barrier: bySlope,
  mark: bySlope,
  again: bySlope,
  hold: bySlope,
  name: bySlope,
  stop: none,

  add: bySlope,
  sub: (y, [ta, tb]) => ta && tb ? sub(ta, tb) : bySlope(y, [ta, tb]),
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
  where: (y, [, ta, tb]) =>
    ta || tb ? where(y.inputs[0]!, zeroOr(ta, y), zeroOr(tb, y)) : undefined,

  reshape: linear((t, y) => reshape(t, y.shape)),
  permute: linear((t, y) => permute(t, y.attributes.order)),
  broadcast: linear((t, y) => broadcastTo(t, y.shape)),
  slice: linear((t, y) => slice(t, y.attributes.start, y.shape, y.attributes.step)),
  pad: linear((t, y) => pad(t, y.attributes.before, y.attributes.after)),
  flip: linear((t, y) => flip(t, y.attributes.axes)),
  concatenate: (y, tangents) =>
    tangents.some((t) => t !== undefined)
      ? concatenate(y.inputs.map((x, i) => zeroOr(tangents[i], x)), y.attributes.axis)
      : undefined,

  window: linear((t, y) => window(t, y.attributes)),

  sum: linear((t, y) => reduce("sum", t, y.attributes.axes)),
  prod: linear((t, y) => {
    const { axes } = y.attributes;
    return reduce("sum", mul(t, productsOfOthers(y.inputs[0]!, axes)), axes);
  }),
  reduceMax: extremumOver,
  reduceMin: extremumOver,

  dot: ({ inputs: [a, b], dtype }, [ta, tb]) =>
    total(ta && dot(ta, b!, dtype), tb && dot(a!, tb, dtype)),
  convolve: (y, [tx, tw]) => {
    const [x, w] = y.inputs as [Node, Node];
    return total(tx && convolve(tx, w, y.attributes), tw && convolve(x, tw, y.attributes));
  },
  gather: (y, [t]) => {
    if (t === undefined) return undefined;
    const rows = gather(t, y.inputs[1]!);
    // NaN read from outside is a constant.
    return where(inRange(y.inputs[1]!, t.shape[0]!, rows), rows, like(rows, 0));
  },
  kernel: noRule,
  scatterAdd: (y, [t]) => t && scatterAdd(t, y.inputs[1]!, y.attributes.size, y.dtype),
};

/**
 * Tangents of `results` from those of `sources`: the derivative applied. A source without a tangent
 * is constant; a result that depends on none gets zeros. Sources are independent variables: what
 * lies below them is not looked at.
 *
 * @throws {TypeError} where a tangent's shape or dtype is not its source's.
 */
export function pushforward(
  results: readonly Node[],
  sources: readonly Node[],
  tangents: Tangents,
): Node[] {
  const stops = new Set(sources);
  const opened = inlineCalls(
    results,
    stops,
    ({ attributes: { rule } }) => rule === undefined || rule.open === true,
  );
  const known = new Map<Node, Node>();
  sources.forEach((source, i) => {
    const t = tangents[i];
    if (t === undefined || !isFloat(source.dtype)) return;
    if (!sameShape(source.shape, t.shape) || source.dtype !== t.dtype) {
      throw new TypeError(
        `Cannot push forward: the tangent is ${showAval(t)}, expected ` +
          `${showAval(source)} as the value it belongs to`,
      );
    }
    known.set(source, t);
  });
  /** Tangents of the results of calls with a rule, and of loops. */
  const ofCalls = new Map<Node, Tangents>();
  for (const node of topological(opened, (node) => stops.has(node) ? [] : node.inputs)) {
    if (stops.has(node)) continue;
    if (is(node, "project")) {
      const t = ofCalls.get(node.inputs[0]!)?.[node.attributes.index];
      if (t !== undefined) known.set(node, t);
      continue;
    }
    const parts = node.inputs.map((input) => known.get(input));
    if (!parts.some((t) => t !== undefined)) continue;
    if (is(node, "call")) {
      ofCalls.set(node, differentiating(node, () => pushCall(node, parts)));
      continue;
    }
    if (is(node, "loop")) {
      ofCalls.set(node, differentiating(node, () => pushLoop(node, parts, pushforward, pullback)));
      continue;
    }
    if (!isFloat(node.dtype)) continue;
    const rule = jvpRules[node.op as keyof typeof jvpRules] as JvpRule<Primitive>;
    const t = differentiating(node, () => rule(node, parts));
    if (t !== undefined) known.set(node, t);
  }
  return opened.map((result) => known.get(result) ?? like(result, 0));
}

/**
 * Forward through a call that has only a reverse rule. The rule is linear in its cotangents, so its
 * transpose, found by reverse mode, is the forward derivative that the rule stands for.
 */
function pushCall(call: Node<"call">, tangents: Tangents): Tangents {
  // Zero only as a stand-in: the derivative of a linear map does not look at the point.
  const cotangents = call.results!.map(({ shape, dtype }) => mark(fill(0, shape, dtype)));
  const pulled = pullCall(call, cotangents, (i) => tangents[i] !== undefined);
  const live: Node[] = [], weights: Node[] = [];
  pulled.forEach((g, i) => {
    const t = tangents[i];
    if (g === undefined || t === undefined) return;
    live.push(g);
    weights.push(t);
  });
  return pullback(live, cotangents, weights);
}
