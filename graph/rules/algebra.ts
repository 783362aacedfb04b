/**
 * Algebra that holds for every value a float can have. x + 0 → x is the one liberty: it keeps the
 * sign of -0, which IEEE addition would drop. 0·x is not 0, and x - x is not 0, because of NaN and
 * infinity; sums are not regrouped, because that would change their bits.
 *
 * @module
 */
import { apply, cast, where } from "../build.ts";
import { type DType, isFloat } from "../dtype.ts";
import { is, type Node } from "../node.ts";
import { constant, like, type Rule, rule, rules } from "./rule.ts";

const binary = (op: "add" | "sub" | "mul" | "div", a: Node, b: Node): Node => apply(op, [a, b], {});

/** Identities x ∘ c = x on the right; the constant's place is made the right one first. */
const neutral = [
  { op: "add", value: 0 },
  { op: "sub", value: 0 },
  { op: "mul", value: 1 },
  { op: "div", value: 1 },
  { op: "floorDiv", value: 1 },
  { op: "shiftLeft", value: 0 },
  { op: "shiftRight", value: 0 },
  { op: "or", value: 0 },
  { op: "xor", value: 0 },
] as const;

/** A power of two whose reciprocal is normal in f16 too: dividing by it is multiplying exactly. */
function isSafePowerOfTwo(value: number): boolean {
  const exponent = Math.log2(Math.abs(value));
  return Number.isInteger(exponent) && Math.abs(exponent) <= 14;
}

/** Casts that keep every value. */
function isLossless(from: DType, to: DType): boolean {
  return from === to || from === "bool" || (from === "f16" && to === "f32");
}

/** Small powers as products; roots as roots. */
const powers: ReadonlyMap<number, (x: Node) => Node> = new Map([
  [0, (x: Node) => like(x, 1)],
  [1, (x: Node) => x],
  [2, (x: Node) => binary("mul", x, x)],
  [3, (x: Node) => binary("mul", binary("mul", x, x), x)],
  [4, (x: Node) => binary("mul", binary("mul", x, x), binary("mul", x, x))],
  [-1, (x: Node) => binary("div", like(x, 1), x)],
  [-2, (x: Node) => binary("div", like(x, 1), binary("mul", x, x))],
  [0.5, (x: Node) => apply("sqrt", [x], {})],
  [-0.5, (x: Node) => binary("div", like(x, 1), apply("sqrt", [x], {}))],
]);

/** Rules of arithmetic and logic. */
export const algebraRules: readonly Rule[] = [
  ...rules(
    ["mark", "name", "stop"],
    "drop marker",
    "markers are for transforms, which are over by now",
    (node) => node.inputs[0],
  ),
  ...rules(
    ["add", "mul", "max", "min", "and", "or", "xor", "equal", "notEqual"],
    "constant to the right",
    "commutative to the bit; the other rules look for constants on the right only",
    (node) => {
      const [a, b] = node.inputs as [Node, Node];
      if (!is(a, "fill") || is(b, "fill")) return undefined;
      return apply(node.op, [b, a], {});
    },
  ),
  ...neutral.map(({ op, value }) =>
    rule(op, "drop neutral operand", "x ∘ c = x", (node) => {
      if (op === "or" && node.dtype === "bool") return undefined;
      return constant(node.inputs[1]) === value ? node.inputs[0] : undefined;
    })
  ),
  rule("mul", "integer times zero", "exact for integers, which have no NaN", (node) => {
    if (isFloat(node.dtype)) return undefined;
    return constant(node.inputs[1]) === 0 ? node.inputs[1] : undefined;
  }),
  rule("mul", "times -1", "negation is exact", (node) => {
    return constant(node.inputs[1]) === -1 ? apply("neg", [node.inputs[0]!], {}) : undefined;
  }),
  rule("div", "divide by a power of two", "its reciprocal is exact, and products are", (node) => {
    const value = constant(node.inputs[1]);
    if (value === undefined || !isSafePowerOfTwo(value)) return undefined;
    return binary("mul", node.inputs[0]!, like(node, 1 / value));
  }),
  rule("neg", "negation twice", "exact", (node) => {
    const x = node.inputs[0]!;
    return is(x, "neg") ? x.inputs[0] : undefined;
  }),
  rule("abs", "absolute value of a negation", "the sign is dropped", (node) => {
    const x = node.inputs[0]!;
    // Negation has no sign to drop where it wraps around.
    if (is(x, "neg") && node.dtype === "u32") return undefined;
    return is(x, "neg") || is(x, "abs") ? apply("abs", x.inputs, {}) : undefined;
  }),
  rule("not", "not twice", "exact", (node) => {
    const x = node.inputs[0]!;
    return is(x, "not") ? x.inputs[0] : undefined;
  }),
  rule("add", "add a negation", "x + (-y) = x - y to the bit", (node) => {
    const [a, b] = node.inputs as [Node, Node];
    if (is(b, "neg")) return binary("sub", a, b.inputs[0]!);
    return is(a, "neg") ? binary("sub", b, a.inputs[0]!) : undefined;
  }),
  rule("sub", "subtract a negation", "x - (-y) = x + y to the bit", (node) => {
    const [a, b] = node.inputs as [Node, Node];
    return is(b, "neg") ? binary("add", a, b.inputs[0]!) : undefined;
  }),
  ...rules(["mul", "div"], "product of negations", "signs cancel exactly", (node) => {
    const [a, b] = node.inputs as [Node, Node];
    if (!is(a, "neg") || !is(b, "neg")) return undefined;
    return binary(node.op, a.inputs[0]!, b.inputs[0]!);
  }),
  rule("pow", "small power", "a few products are faster than pow, and more exact", (node) => {
    const value = constant(node.inputs[1]);
    return value === undefined ? undefined : powers.get(value)?.(node.inputs[0]!);
  }),
  ...rules(
    ["and", "or"],
    "logic with a constant",
    "true and false are neutral or decide",
    (node) => {
      const value = constant(node.inputs[1]);
      if (node.dtype !== "bool" || value === undefined) return undefined;
      const decides = node.op === "and" ? value === 0 : value === 1;
      return decides ? node.inputs[1] : node.inputs[0];
    },
  ),
  ...rules(["and", "or"], "logic with itself", "idempotent", (node) => {
    return node.inputs[0] === node.inputs[1] ? node.inputs[0] : undefined;
  }),
  rule("cast", "cast to the same dtype", "nothing to convert", (node) => {
    return node.inputs[0]!.dtype === node.dtype ? node.inputs[0] : undefined;
  }),
  rule("cast", "cast of a cast", "the first one lost nothing", (node) => {
    const x = node.inputs[0]!;
    if (!is(x, "cast") || !isLossless(x.inputs[0]!.dtype, x.dtype)) return undefined;
    return cast(x.inputs[0]!, node.dtype);
  }),
  rule("where", "choice by a constant", "one branch is never taken", (node) => {
    const value = constant(node.inputs[0]);
    return value === undefined ? undefined : node.inputs[value !== 0 ? 1 : 2];
  }),
  rule("where", "choice between equals", "both branches are the same node", (node) => {
    return node.inputs[1] === node.inputs[2] ? node.inputs[1] : undefined;
  }),
  rule("where", "choice by a negation", "the branches trade places", (node) => {
    const [c, a, b] = node.inputs as [Node, Node, Node];
    return is(c, "not") ? where(c.inputs[0]!, b, a) : undefined;
  }),
];
