/**
 * Inverse functions of angles, circular and hyperbolic, and logarithms and powers by other bases, on
 * nodes. Everything rests on few primitives in forms that keep their digits at the ends of the
 * range, for values and derivatives alike; see numerics.ts for the habits behind that.
 *
 * @module
 */
import { binary, bitcast, cast, type Operand, unary, unify, where } from "../build.ts";
import { broadcastOrThrow } from "../infer.ts";
import type { Node } from "../node.ts";
import { classify, inF32, toFloat, toNumber } from "./elementwise.ts";
import { isFloat } from "../dtype.ts";
import { log1p } from "./numerics.ts";
import { add, and, div, equal, less, lessEqual, mul, or, sub } from "./operators.ts";

/** (1 - x)·(1 + x), whose root is the other side of the triangle. */
const rest = (x: Node): Node => mul(sub(1, x), add(x, 1));

/** The arc tangent. */
export function atan(operand: Node): Node {
  return unary("atan", toFloat(operand));
}

/** The arc sine: half the angle has the tangent x / (1 + √(1-x²)). */
export function asin(operand: Node): Node {
  return inF32(operand, (x) => {
    const half = div(x, add(unary("sqrt", rest(x)), 1));
    return mul(unary("atan", half), 2);
  });
}

/** The arc cosine: half the angle has the tangent √((1-x) / (1+x)). */
export function acos(operand: Node): Node {
  return inF32(operand, (x) => {
    const half = unary("sqrt", div(sub(1, x), add(x, 1)));
    return mul(unary("atan", half), 2);
  });
}

/** x with the sign bit of another. */
function withSignOf(size: Node, sign: Node): Node {
  const negative = less(bitcast(sign, "i32"), 0);
  return where(negative, unary("neg", size), size);
}

/** The angle of the point (x, y) in [-π, π], with C's answers for zeros and infinities. */
export function atan2(a: Operand, b: Operand): Node {
  const [y, x] = unify("atan2", [a, b]).map(toFloat) as [Node, Node];
  broadcastOrThrow("atan2", [y, x]);
  const dtype = y.dtype;
  const p = cast(y, "f32"), q = cast(x, "f32");
  const height = unary("abs", p), width = unary("abs", q);
  const steep = less(width, height);
  const near = where(steep, width, height), far = where(steep, height, width);
  // 0/0 is the angle 0, ∞/∞ that of the diagonal.
  const zero = equal(far, 0);
  const endless = and(classify.isInfinite(near), classify.isInfinite(far));
  const plain = div(where(endless, 1, near), where(or(zero, endless), 1, far));
  const slope = where(zero, 0, plain);
  const first = unary("atan", slope);
  const upper = where(steep, sub(Math.PI / 2, first), first);
  const half = where(less(bitcast(q, "i32"), 0), sub(Math.PI, upper), upper);
  const angle = withSignOf(half, p);
  const missing = or(classify.isNaN(p), classify.isNaN(q));
  return cast(where(missing, add(p, q), angle), dtype);
}

/** log(x + √(x²+1)), by log1p near 0, and without squaring what is large. */
export function asinh(operand: Node): Node {
  return inF32(operand, (x) => {
    const a = unary("abs", x);
    const large = less(1e4, a);
    const s = where(large, 1, a), square = mul(s, s);
    const small = log1p(add(s, div(square, add(unary("sqrt", add(square, 1)), 1))));
    const size = where(large, add(unary("log", where(large, a, 1)), Math.LN2), small);
    return where(classify.isNaN(x), x, withSignOf(size, x));
  });
}

/** log(x + √(x²-1)), by log1p of what is over 1. */
export function acosh(operand: Node): Node {
  return inF32(operand, (x) => {
    const large = less(1e4, x);
    const over = sub(where(large, 2, x), 1);
    const small = log1p(add(over, unary("sqrt", mul(over, add(over, 2)))));
    const inside = where(large, add(unary("log", where(large, x, 1)), Math.LN2), small);
    return where(less(x, 1), NaN, inside);
  });
}

/** ½·log((1+x) / (1-x)). */
export function atanh(operand: Node): Node {
  return inF32(operand, (x) => {
    const a = unary("abs", x);
    const size = mul(log1p(div(mul(a, 2), sub(1, a))), 0.5);
    return where(classify.isNaN(x), x, withSignOf(size, x));
  });
}

/**
 * x times 2 to a whole power, written into the bits: in two factors, since one alone may be beyond
 * the range where the product is not.
 */
function scaled(x: Node, exponent: Node): Node {
  const first = binary("shiftRight", exponent, 1), second = sub(exponent, first);
  const power = (n: Node): Node => bitcast(binary("shiftLeft", add(n, 127), 23), "f32");
  return mul(mul(x, power(first)), power(second));
}

/**
 * The logarithm with these values at 2 and at e: the exponent is read off the bits, and only the
 * rest, within [√½, √2), has a logarithm taken, so that nothing is lost near 1.
 */
function logarithm(x: Node, atTwo: number, atE: number): Node {
  const bits = bitcast(x, "u32");
  const normal = and(lessEqual(0x00800000, bits), less(bits, 0x7f800000));
  const held = where(normal, bits, 0x3f800000);
  // Counted from √½: a rest just below 1 belongs to the exponent above.
  const exponent = binary("shiftRight", bitcast(sub(held, 0x3f3504f3), "i32"), 23);
  const part = scaled(where(normal, x, 1), unary("neg", exponent));
  const whole = add(mul(cast(exponent, "f32"), atTwo), mul(log1p(sub(part, 1)), atE));
  return where(normal, whole, mul(unary("log", where(normal, 1, x)), atE));
}

/** The logarithm to base 2, exact for powers of two. */
export function log2(operand: Node): Node {
  return inF32(operand, (x) => logarithm(x, 1, Math.LOG2E));
}

/** The logarithm to base 10. */
export function log10(operand: Node): Node {
  return inF32(operand, (x) => logarithm(x, Math.log10(2), Math.LOG10E));
}

/** 2 to the power x, exact for whole numbers: the exponent is written into the bits. */
export function exp2(operand: Node): Node {
  return inF32(operand, (x) => {
    const held = binary("min", binary("max", x, -200), 200);
    const whole = unary("stop", unary("round", held));
    const exponent = cast(whole, "i32");
    const part = unary("exp", mul(sub(held, whole), Math.LN2));
    return scaled(part, exponent);
  });
}

/** The length of (a, b), without overflow on the way; its gradient at the origin is 0. */
export function hypot(a: Operand, b: Operand): Node {
  const [x, y] = unify("hypot", [a, b]).map(toFloat) as [Node, Node];
  broadcastOrThrow("hypot", [x, y]);
  const p = unary("abs", cast(x, "f32")), q = unary("abs", cast(y, "f32"));
  const turned = less(p, q);
  const far = where(turned, q, p), near = where(turned, p, q);
  const zero = equal(far, 0);
  const ratio = div(where(zero, 0, near), where(zero, 1, far));
  const length = where(zero, 0, mul(far, unary("sqrt", add(mul(ratio, ratio), 1))));
  const endless = or(classify.isInfinite(p), classify.isInfinite(q));
  const missing = or(classify.isNaN(p), classify.isNaN(q));
  const finite = where(missing, add(p, q), length);
  return cast(where(endless, Infinity, finite), x.dtype);
}

/** Towards zero; integers are as they were. */
export function trunc(x: Node): Node {
  if (!isFloat(x.dtype)) return x;
  return where(less(x, 0), unary("ceil", x), unary("floor", x));
}

/** The remainder with the sign of the dividend, as C's fmod. */
export function remainder(a: Operand, b: Operand): Node {
  const [x, y] = unify("remainder", [a, b]).map(toNumber) as [Node, Node];
  if (x.dtype === "u32") return binary("mod", x, y, "remainder");
  const size = binary("mod", unary("abs", x), unary("abs", y), "remainder");
  return where(less(x, 0), unary("neg", size), size);
}

/** The number of bits that are set, in the integer's dtype. */
export function bitCount(x: Node): Node {
  if (x.dtype !== "i32" && x.dtype !== "u32") {
    throw new TypeError(
      `Cannot bitCount: the operand is ${x.dtype}, expected an integer (i32, u32)`,
    );
  }
  const right = (v: Node, n: number): Node => binary("shiftRight", v, n);
  const bits = bitcast(x, "u32");
  const pairs = sub(bits, and(right(bits, 1), 0x55555555));
  const fours = add(and(pairs, 0x33333333), and(right(pairs, 2), 0x33333333));
  const eights = and(add(fours, right(fours, 4)), 0x0f0f0f0f);
  return cast(right(mul(eights, 0x01010101), 24), x.dtype);
}
