/**
 * Forward mode: tangents of results from tangents of sources, in one sweep beside the values. Rules
 * build graph, like those of reverse mode, so forward over reverse gives Hessian-vector products.
 * An absent tangent is zero and costs nothing.
 *
 * @module
 */
import {
  apply,
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
import { pushLoop } from "./loops/differentiate.ts";
import { is, type Node } from "./node.ts";
import type { Primitive } from "./primitive.ts";
import { sameShape, showShape } from "./shape.ts";
import { differentiating } from "./source.ts";
import { inlineCalls } from "./substitute.ts";
import {
  type Boundary,
  inRange,
  onePlusSquare,
  productsOfOthers,
  pullback,
  pullCall,
} from "./vjp.ts";
import { topological } from "./walk.ts";

/** Tangents of the operands; undefined where zero. */
export type Tangents = readonly (Node | undefined)[];

/** The tangent of the result from those of the operands; undefined where it is zero. */
export type JvpRule<P extends Primitive> = (node: Node<P>, tangents: Tangents) => Node | undefined;

const add = (a: Node, b: Node): Node => apply("add", [a, b], {});
const sub = (a: Node, b: Node): Node => apply("sub", [a, b], {});
const mul = (a: Node, b: Node): Node => apply("mul", [a, b], {});
const div = (a: Node, b: Node): Node => apply("div", [a, b], {});
const neg = (a: Node): Node => apply("neg", [a], {});
const less = (a: Node, b: Node): Node => apply("less", [a, b], {});
const equal = (a: Node, b: Node): Node => apply("equal", [a, b], {});
const like = (x: Node, value: number): Node => fill(value, x.shape, x.dtype);
const times = (x: Node, factor: number): Node => mul(x, like(x, factor));

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

/** A rule of the two slopes: tangent = da·ta + db·tb, each asked for only where needed. */
function slopes<P extends Primitive>(
  da: (t: Node, a: Node, b: Node, y: Node) => Node | undefined,
  db: (t: Node, a: Node, b: Node, y: Node) => Node | undefined,
): JvpRule<P> {
  return (y, [ta, tb]) => {
    const [a, b] = y.inputs as [Node, Node];
    return total(ta && da(ta, a, b, y), tb && db(tb, a, b, y));
  };
}

/** The tangent of the winner; of the mean where both are equal; as in reverse mode at constants. */
function extremum<P extends "max" | "min">(larger: boolean): JvpRule<P> {
  const wins = (a: Node, b: Node): Node => larger ? less(b, a) : less(a, b);
  const part = (t: Node, x: Node, other: Node, y: Node): Node => {
    if (is(other, "fill")) return where(wins(y, other), t, like(t, 0));
    return where(wins(x, other), t, where(equal(x, other), times(t, 0.5), like(t, 0)));
  };
  return slopes(part, (t, a, b, y) => part(t, b, a, y));
}

/** The mean of the tangents of all that equal the extremum. */
function extremumOver(y: Node<"reduceMax"> | Node<"reduceMin">, [t]: Tangents): Node | undefined {
  if (t === undefined) return undefined;
  const x = y.inputs[0]!, { axes } = y.attributes;
  const ties = equal(x, broadcastTo(y, x.shape));
  const count = reduce("sum", cast(ties, "f32"), axes);
  const sum = reduce("sum", where(ties, t, like(t, 0)), axes);
  return cast(div(cast(sum, "f32"), count), t.dtype);
}

function powBase(t: Node, x: Node, p: Node): Node | undefined {
  if (is(p, "fill")) {
    const c = p.attributes.value;
    if (c === 0) return undefined;
    if (c === 1) return t;
    if (c === 2) return mul(t, times(x, 2));
    return mul(t, times(apply("pow", [x, like(x, c - 1)], {}), c));
  }
  const constant = equal(p, like(p, 0));
  const lower = where(constant, like(p, 1), sub(p, like(p, 1)));
  return where(constant, like(t, 0), mul(mul(t, p), apply("pow", [x, lower], {})));
}

function powExponent(t: Node, x: Node, _: Node, y: Node): Node {
  const base = where(equal(x, like(x, 0)), like(x, 1), x);
  return mul(mul(t, y), apply("log", [base], {}));
}

const zeroOr = (t: Node | undefined, x: Node): Node => t ?? like(x, 0);

/** The table: one row for each primitive. */
export const jvpRules: { readonly [P in Exclude<Primitive, Boundary>]: JvpRule<P> } = {
  leaf: none,
  parameter: none,
  fill: none,
  iota: none,

  neg: linear((t) => neg(t)),
  abs: linear((t, y) => mul(t, apply("sign", y.inputs, {}))),
  sign: none,
  floor: none,
  ceil: none,
  round: none,
  sqrt: linear((t, y) => div(times(t, 0.5), y)),
  exp: linear((t, y) => mul(t, y)),
  log: linear((t, y) => div(t, y.inputs[0]!)),
  sin: linear((t, y) => mul(t, apply("cos", y.inputs, {}))),
  cos: linear((t, y) => neg(mul(t, apply("sin", y.inputs, {})))),
  atan: linear((t, y) => div(t, onePlusSquare(y.inputs[0]!))),
  tanh: linear((t, y) => mul(t, sub(like(y, 1), mul(y, y)))),
  erf: linear((t, y) => {
    const x = y.inputs[0]!;
    return mul(t, times(apply("exp", [neg(mul(x, x))], {}), 2 / Math.sqrt(Math.PI)));
  }),
  not: none,
  cast: linear((t, y) => cast(t, y.dtype)),
  bitcast: none,
  barrier: linear((t) => t),
  mark: linear((t) => t),
  stop: none,

  add: (_, [ta, tb]) => total(ta, tb),
  sub: (_, [ta, tb]) => ta && tb ? sub(ta, tb) : ta ?? (tb && neg(tb)),
  mul: slopes((t, _, b) => mul(t, b), (t, a) => mul(t, a)),
  div: slopes((t, _, b) => div(t, b), (t, _, b, y) => neg(mul(div(t, b), y))),
  floorDiv: none,
  mod: slopes(
    (t) => t,
    (t, a, b, y) => neg(mul(t, apply("round", [div(sub(a, y), b)], {}))),
  ),
  pow: slopes(powBase, powExponent),
  max: extremum(true),
  min: extremum(false),
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

  dot: slopes((t, _, b) => dot(t, b), (t, a) => dot(a, t)),
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
  scatterAdd: (y, [t]) => t && scatterAdd(t, y.inputs[1]!, y.attributes.size),
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
  const opened = inlineCalls(results, stops, (call) => call.attributes.rule === undefined);
  const known = new Map<Node, Node>();
  sources.forEach((source, i) => {
    const t = tangents[i];
    if (t === undefined || !isFloat(source.dtype)) return;
    if (!sameShape(source.shape, t.shape) || source.dtype !== t.dtype) {
      throw new TypeError(
        `Cannot push forward: the tangent is ${t.dtype}${showShape(t.shape)}, expected ` +
          `${source.dtype}${showShape(source.shape)} as the value it belongs to`,
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
      ofCalls.set(node, differentiating(node, () => pushLoop(node, parts, pushforward)));
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
