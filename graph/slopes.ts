/**
 * Slopes of the element-wise primitives. Each is its own transpose: reverse mode multiplies a
 * cotangent by it, forward mode a tangent, so both read this one table. A slope prefers the
 * primitive's output over its input where that lets the input go (exp, tanh, sqrt, max with a
 * constant).
 *
 * @module
 */
import { add, div, equal, less, like, mul, neg, sub, times } from "./arithmetic.ts";
import { apply, broadcastTo, cast, reduce, where } from "./build.ts";
import { is, type Node } from "./node.ts";

/** What `g` becomes by the slope of one operand at `y`, the result; undefined where that is zero. */
export type Slope = (g: Node, y: Node) => Node | undefined;

const same: Slope = (g) => g;

/** The larger (or smaller) operand takes all; equal ones share. */
function extremum(larger: boolean): readonly Slope[] {
  const wins = (a: Node, b: Node): Node => larger ? less(b, a) : less(a, b);
  return [0, 1].map((operand) => (g: Node, y: Node): Node => {
    const x = y.inputs[operand]!, other = y.inputs[1 - operand]!;
    // Against a constant the result says who won, and x need not be kept: relu' at 0 is 0.
    if (is(other, "fill")) return where(wins(y, other), g, like(g, 0));
    const rest = where(equal(x, other), times(g, 0.5), like(g, 0));
    return where(wins(x, other), g, rest);
  });
}

/** x^(p-1)·p, with a constant exponent reduced by hand: 0^0 is 1, and p = 0 has no slope. */
function powBase(g: Node, y: Node): Node | undefined {
  const [x, p] = y.inputs as [Node, Node];
  if (is(p, "fill")) {
    const c = p.attributes.value;
    if (c === 0) return undefined;
    if (c === 1) return g;
    if (c === 2) return mul(g, times(x, 2));
    return mul(g, times(apply("pow", [x, like(x, c - 1)], {}), c));
  }
  // 0^p has the slope 0 at p = 0, and so has what is so small that x^-1 is infinite. Elsewhere p = 0
  // is no special case: its own slope there is x^-1.
  const size = apply("abs", [x], {}), tiny = like(x, x.dtype === "f16" ? 2 ** -16 : 2 ** -128);
  const flat = apply("and", [equal(p, like(p, 0)), apply("lessEqual", [size, tiny], {})], {});
  const lower = sub(where(flat, like(p, 1), p), like(p, 1));
  const slope = mul(mul(g, p), apply("pow", [x, lower], {}));
  return where(flat, like(g, 0), slope);
}

/** x^p·log x, zero at x = 0 as the limit from above for p > 0. */
function powExponent(g: Node, y: Node): Node {
  const x = y.inputs[0]!;
  const base = where(equal(x, like(x, 0)), like(x, 1), x);
  return mul(mul(g, y), apply("log", [base], {}));
}

/** Primitives with slopes. */
export type Sloped =
  | "neg"
  | "abs"
  | "sqrt"
  | "exp"
  | "log"
  | "sin"
  | "cos"
  | "atan"
  | "tanh"
  | "erf"
  | "barrier"
  | "again"
  | "hold"
  | "name"
  | "mark"
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "mod"
  | "pow"
  | "max"
  | "min";

/** The slope of every operand. */
export const slopes: { readonly [P in Sloped]: readonly Slope[] } = {
  neg: [(g) => neg(g)],
  abs: [(g, y) => mul(g, apply("sign", y.inputs, {}))],
  sqrt: [(g, y) => div(times(g, 0.5), y)],
  exp: [(g, y) => mul(g, y)],
  log: [(g, y) => div(g, y.inputs[0]!)],
  sin: [(g, y) => mul(g, apply("cos", y.inputs, {}))],
  cos: [(g, y) => neg(mul(g, apply("sin", y.inputs, {})))],
  atan: [(g, y) => div(g, add(mul(y.inputs[0]!, y.inputs[0]!), like(y, 1)))],
  tanh: [(g, y) => mul(g, sub(like(y, 1), mul(y, y)))],
  erf: [(g, y) => {
    const x = y.inputs[0]!;
    return mul(g, times(apply("exp", [neg(mul(x, x))], {}), 2 / Math.sqrt(Math.PI)));
  }],
  barrier: [same],
  again: [same],
  hold: [same],
  name: [same],
  mark: [same],
  add: [same, same],
  sub: [same, (g) => neg(g)],
  mul: [(g, y) => mul(g, y.inputs[1]!), (g, y) => mul(g, y.inputs[0]!)],
  div: [
    (g, y) => div(g, y.inputs[1]!),
    (g, y) => neg(mul(div(g, y.inputs[1]!), y)),
  ],
  mod: [same, (g, y) => {
    const [a, b] = y.inputs as [Node, Node];
    // Rounded, because (a - y) / b is a whole number only up to rounding.
    return neg(mul(g, apply("round", [div(sub(a, y), b)], {})));
  }],
  pow: [powBase, powExponent],
  max: extremum(true),
  min: extremum(false),
};

/**
 * Where a maximum or minimum over axes is reached, and by how many: they share its slope. A NaN is
 * reached by none, and then nothing has a slope.
 */
export function winners(
  y: Node<"reduceMax"> | Node<"reduceMin">,
): { readonly where: Node; readonly count: Node } {
  const x = y.inputs[0]!;
  const ties = equal(x, broadcastTo(y, x.shape));
  // Counted in f32: f16 is exact only up to 2048.
  const count = reduce("sum", cast(ties, "f32"), y.attributes.axes);
  return { where: ties, count: apply("max", [count, like(count, 1)], {}) };
}
