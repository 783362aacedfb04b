/**
 * Functions that are simple on paper and wrong when written that way: each is stated in a form
 * without cancellation or overflow, for values and for derivatives alike. Two habits serve both:
 * the branch of a `where` that is not taken gets an argument at which it is harmless (0·∞ would
 * make the gradient NaN), and where two branches meet, both sides take the same one.
 *
 * WGSL allows `log` an absolute error of 2^-21 near 1, so log1p cannot be built on it there.
 *
 * @module
 */
import { fill, unary, where } from "../build.ts";
import type { Node } from "../node.ts";
import { toFloat } from "./elementwise.ts";
import { add, and, div, equal, less, mul, sub } from "./operators.ts";

/** c[0] + c[1]·x + c[2]·x² + …, by Horner's rule. */
export function polynomial(x: Node, coefficients: readonly number[]): Node {
  let result: Node = fill(coefficients.at(-1)!, x.shape, x.dtype);
  for (let i = coefficients.length - 2; i >= 0; i--) {
    result = add(mul(result, x), coefficients[i]!);
  }
  return result;
}

/** 1/1!, 1/2! … 1/9!: the series of (exp(x)-1)/x, complete to f32 for |x| < 1/2. */
const expm1Series = Array.from({ length: 9 }, (_, i) => {
  let factorial = 1;
  for (let k = 2; k <= i + 1; k++) factorial *= k;
  return 1 / factorial;
});

/** exp(x) - 1. */
export function expm1(operand: Node): Node {
  const x = toFloat(operand);
  const near = less(unary("abs", x), 0.5);
  const small = where(near, x, 0);
  return where(near, mul(small, polynomial(small, expm1Series)), sub(unary("exp", x), 1));
}

/** 2, 2/3, 2/5 …: the series of 2·atanh(s)/s in s². */
const atanhSeries = Array.from({ length: 7 }, (_, i) => 2 / (2 * i + 1));

/** log(1 + x) = 2·atanh(x / (2 + x)). */
export function log1p(operand: Node): Node {
  const x = toFloat(operand);
  const near = and(less(-0.4, x), less(x, 0.5));
  const small = where(near, x, 0);
  const s = div(small, add(small, 2));
  const series = mul(s, polynomial(mul(s, s), atanhSeries));
  return where(near, series, unary("log", where(near, 1, add(x, 1))));
}

/** √x of a sum of squares: where they are all 0, 0 is among its slopes, and is the one that is taken. */
export function rootOfSum(x: Node): Node {
  const zero = equal(x, 0);
  return where(zero, 0, unary("sqrt", where(zero, 1, x)));
}

/** log x of a sum of exponentials: where they are all 0, it is -∞ and moves with none of them. */
export function logOfSum(x: Node): Node {
  const zero = equal(x, 0);
  return where(zero, -Infinity, unary("log", where(zero, 1, x)));
}

/** -|x|, whose derivative at 0 is that of x, and whether x > 0. */
function folded(x: Node): { readonly positive: Node; readonly negative: Node } {
  const positive = less(0, x);
  return { positive, negative: where(positive, unary("neg", x), x) };
}

/** 1 / (1 + exp(-x)) with exp of a negative argument only. */
export function sigmoid(operand: Node): Node {
  const x = toFloat(operand);
  const { positive, negative } = folded(x);
  const e = unary("exp", negative);
  return div(where(positive, 1, e), add(e, 1));
}

/** log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)). */
export function softplus(operand: Node): Node {
  const x = toFloat(operand);
  const { positive, negative } = folded(x);
  return add(where(positive, x, 0), log1p(unary("exp", negative)));
}

/** x·sigmoid(x). */
export function silu(operand: Node): Node {
  const x = toFloat(operand);
  return mul(x, sigmoid(x));
}

/** x·Φ(x), or the approximation of it by tanh. */
export function gelu(operand: Node, approximate: "none" | "tanh"): Node {
  const x = toFloat(operand);
  const inner = approximate === "none"
    ? unary("erf", mul(x, Math.SQRT1_2))
    : unary("tanh", mul(mul(x, Math.sqrt(2 / Math.PI)), add(mul(mul(x, x), 0.044715), 1)));
  return mul(mul(x, 0.5), add(inner, 1));
}

/** x, or alpha·(exp(x) - 1) where x is not positive. */
export function elu(operand: Node, alpha: number): Node {
  const x = toFloat(operand);
  const positive = less(0, x);
  return where(positive, x, mul(expm1(where(positive, 0, x)), alpha));
}

/** x, or slope·x where x is not positive. */
export function leakyRelu(operand: Node, slope: number): Node {
  const x = toFloat(operand);
  return where(less(0, x), x, mul(x, slope));
}

/** exp(x)/2, finite as long as the result is. */
function halfExp(x: Node): Node {
  const root = unary("exp", mul(x, 0.5));
  return mul(mul(root, 0.5), root);
}

/** (exp(x) - exp(-x)) / 2, through expm1 near 0. */
export function sinh(operand: Node): Node {
  const x = toFloat(operand);
  const near = less(unary("abs", x), 1);
  const m = expm1(where(near, x, 0));
  const small = mul(add(m, div(m, add(m, 1))), 0.5);
  return where(near, small, sub(halfExp(x), halfExp(unary("neg", x))));
}

/** (exp(x) + exp(-x)) / 2. */
export function cosh(operand: Node): Node {
  const x = toFloat(operand);
  return add(halfExp(x), halfExp(unary("neg", x)));
}

/** sin(x) / cos(x). */
export function tan(operand: Node): Node {
  const x = toFloat(operand);
  return div(unary("sin", x), unary("cos", x));
}

/** Coefficients of erfinv(x)/x in w - 2.5 and in √w - 3, w = -log(1 - x²), below and from w = 5. */
const erfInvSeries = {
  center: [
    1.50140941,
    0.246640727,
    -0.00417768164,
    -0.00125372503,
    0.00021858087,
    -4.39150654e-6,
    -3.5233877e-6,
    3.43273939e-7,
    2.81022636e-8,
  ],
  // Fitted anew, to 5e-7 as far as 1 - x = 2^-32, where the published ones end at 2^-24.
  tail: [
    2.832977294921875,
    1.0016809701919556,
    0.00942568201571703,
    -0.007705785799771547,
    0.00581952603533864,
    -0.0034268838353455067,
    0.0011462760157883167,
    -0.00011150927457492799,
    -0.000020873852917358139,
  ],
} as const;

/** The inverse of erf at x, given w = -log((1 - x)·(1 + x)). */
function inverseErfBy(x: Node, w: Node): Node {
  const { center, tail } = erfInvSeries;
  const central = less(w, 5);
  const t = where(central, sub(w, 2.5), sub(unary("sqrt", where(central, 1, w)), 3));
  let result = where(central, center.at(-1)!, tail.at(-1)!);
  for (let i = center.length - 2; i >= 0; i--) {
    result = add(mul(result, t), where(central, center[i]!, tail[i]!));
  }
  return mul(result, x);
}

/** The inverse of erf on (-1, 1). Giles, Approximating the erfinv function, 2010. */
export function inverseErf(operand: Node): Node {
  const x = toFloat(operand);
  return inverseErfBy(x, unary("neg", unary("log", mul(sub(1, x), add(x, 1)))));
}

/**
 * The size that a standard normal number exceeds, on either side, with probability v in (0, 1]:
 * √2·erfinv(1 - v), from v itself, for 1 - v would lose the tail.
 */
export function normalFromTail(v: Node): Node {
  const w = unary("neg", unary("log", mul(v, sub(2, v))));
  return mul(inverseErfBy(sub(1, v), w), Math.SQRT2);
}
