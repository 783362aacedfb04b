/**
 * Element-wise functions on nodes: the primitives with NumPy's leniency (integers become floats
 * where a function needs floats), and what is plainly a combination of them. Functions that need
 * care with cancellation and overflow are in numerics.ts.
 *
 * @module
 */
import { binary, bitcast, broadcastTo, cast, fill, type Operand, unary, unify } from "../build.ts";
import { type Unary, where } from "../build.ts";
import { checkDType, type DType, isFloat } from "../dtype.ts";
import type { Node } from "../node.ts";

/** Integers and bool as f32, floats as they are. */
export function toFloat(x: Node): Node {
  return isFloat(x.dtype) ? x : cast(x, "f32");
}

/**
 * A function of floats, for f16 computed in f32: what is on the way, squares or sums or a count, may
 * be beyond 65 504 where the result is not.
 */
export function inF32(operand: Node, f: (x: Node) => Node): Node {
  const x = toFloat(operand);
  return cast(f(cast(x, "f32")), x.dtype);
}

/** Bool as i32, numbers as they are. */
export function toNumber(x: Node): Node {
  return x.dtype === "bool" ? cast(x, "i32") : x;
}

/** True where x is not zero; NaN is true, as in NumPy. */
export function toBool(x: Operand): Node {
  if (typeof x === "number") return fill(x === 0 ? 0 : 1, [], "bool");
  return x.dtype === "bool" ? x : binary("notEqual", x, 0);
}

/** Another dtype; bool by comparison with zero. */
export function convert(x: Node, dtype: DType): Node {
  checkDType(dtype, "cast");
  return dtype === "bool" ? toBool(x) : cast(x, dtype);
}

/** One of the functions that have only floats as arguments. */
export function floatUnary(op: Unary, x: Node): Node {
  return unary(op, toFloat(x));
}

/** Rounding: integers are round already. */
export function rounding(op: "floor" | "ceil" | "round", x: Node): Node {
  return isFloat(x.dtype) ? unary(op, x) : x;
}

/** neg, abs, sign. */
export function numberUnary(op: Unary, x: Node): Node {
  return unary(op, toNumber(x));
}

/** The quotient rounded down: of floats, the floor of the rounded quotient. */
export function floorDiv(a: Operand, b: Operand): Node {
  const [x, y] = unify("floorDiv", [a, b]).map(toNumber) as [Node, Node];
  if (isFloat(x.dtype)) return unary("floor", binary("div", x, y, "floorDiv"));
  return binary("floorDiv", x, y);
}

/** The largest whole exponent that becomes multiplications. */
const LARGEST_UNROLLED = 4;

/**
 * a to the power b. Small whole exponents are multiplications, which are faster, more exact, and
 * right for negative bases on every driver; integers to such a power stay integers.
 */
export function pow(a: Operand, b: Operand): Node {
  if (typeof b === "number" && Number.isInteger(b) && typeof a !== "number") {
    const x = toNumber(a), n = Math.abs(b);
    if (b < 0 && n <= LARGEST_UNROLLED) return binary("div", 1, power(toFloat(x), n), "pow");
    if (b >= 0 && (n <= LARGEST_UNROLLED || !isFloat(x.dtype))) return power(x, n);
  }
  return binary("pow", a, b);
}

/** x to a whole power by repeated squaring. */
function power(x: Node, n: number): Node {
  let result: Node | undefined;
  for (let square = x; n > 0; n = Math.floor(n / 2)) {
    if (n % 2 === 1) result = result === undefined ? square : binary("mul", result, square);
    if (n > 1) square = binary("mul", square, square);
  }
  return result ?? fill(1, x.shape, x.dtype);
}

/** `and`, `or`, `xor` of truth values. */
export function logical(
  op: "and" | "or" | "xor",
  a: Operand,
  b: Operand,
  action: string,
): Node {
  return binary(op, toBool(a), toBool(b), action);
}

/** Choice, where any number counts as a condition. */
export function choose(condition: Node, a: Operand, b: Operand): Node {
  return where(toBool(condition), a, b);
}

/** Held between bounds, either of which may be missing; NaN stays NaN. */
export function clip(x: Node, low: Operand | undefined, high: Operand | undefined): Node {
  let result = x;
  if (low !== undefined) result = binary("max", result, low, "clip");
  if (high !== undefined) result = binary("min", result, high, "clip");
  return result;
}

/** The bits of a float without its sign, as u32 of the f32 format. */
function magnitudeBits(x: Node): Node {
  return binary("and", bitcast(cast(x, "f32"), "u32"), 0x7fffffff);
}

const INFINITY_BITS = 0x7f800000;

/**
 * Tests on the bits of floats: drivers may assume that there are no NaNs and make `x != x` false.
 * Integers are finite.
 */
export const classify: {
  readonly [K in "isNaN" | "isFinite" | "isInfinite"]: (x: Node) => Node;
} = {
  isNaN: (x) =>
    isFloat(x.dtype)
      ? binary("less", INFINITY_BITS, magnitudeBits(x))
      : broadcastTo(fill(0, [], "bool"), x.shape),
  isFinite: (x) =>
    isFloat(x.dtype)
      ? binary("less", magnitudeBits(x), INFINITY_BITS)
      : broadcastTo(fill(1, [], "bool"), x.shape),
  isInfinite: (x) =>
    isFloat(x.dtype)
      ? binary("equal", magnitudeBits(x), INFINITY_BITS)
      : broadcastTo(fill(0, [], "bool"), x.shape),
};
