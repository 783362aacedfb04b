/**
 * Fixed-point state that a training run can be taken back on: whole multiples of a unit, a power of
 * two, in i32. What is added is rounded to the unit first, so subtracting the same undoes it to the
 * bit; a factor n/d is undone with the help of an information buffer (checkpoint/buffer.ts has the
 * arithmetic and its oracle; this is the form that the device runs).
 *
 * A value that would leave the range becomes `out` and stays that, so that one look at the end tells
 * whether any ever did, at no cost on the way.
 *
 * Maclaurin, Duvenaud and Adams, Gradient-based hyperparameter optimization through reversible
 * learning, 2015, section 2.
 *
 * @module
 */
import { unary } from "../../graph/build.ts";
import { stack, where } from "../../graph/operations.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { handle } from "../../graph/transforms/trace.ts";

/** What a value is once it has left the range: below every value within. */
const out = -(2 ** 31 - 1);
/** Largest magnitude of a value, in units; f32, in which it is tested, is this much off at most. */
const limit = 2 ** 31 - 1024;

/** The unit, a power of two, with which i32 has at least this range. */
export function unitFor(range: number): number {
  return 2 ** (Math.ceil(Math.log2(range)) - 31);
}

/** As computed, not as a driver would rewrite it together with what follows. */
function held(x: Tensor): Tensor {
  return handle(unary("barrier", x.node));
}

/** The nearest multiple of the unit; `out` where that is beyond the range, or NaN. */
export function toFixed(x: Tensor, unit: number): Tensor {
  const units = x.mul(1 / unit);
  return where(units.abs().less(limit), units.round().cast("i32"), out);
}

/** The value as f32. */
export function fromFixed(x: Tensor, unit: number): Tensor {
  return x.cast("f32").mul(unit);
}

/** True where a value is, or once was, beyond the range. */
export function isOut(x: Tensor): Tensor {
  return x.less(-(limit + 512));
}

/** A float as units that are added and subtracted. */
function increment(by: Tensor, unit: number): Tensor {
  return held(held(by).mul(1 / unit).round());
}

/** x + by. */
export function plus(x: Tensor, by: Tensor, unit: number): Tensor {
  const units = increment(by, unit);
  // NaN is less than nothing.
  const fits = units.abs().maximum(x.cast("f32").add(units).abs()).less(limit);
  return where(fits.logicalAnd(isOut(x).logicalNot()), x.add(units.cast("i32")), out);
}

/** What {@linkcode plus} made x of. */
export function minus(x: Tensor, by: Tensor, unit: number): Tensor {
  return x.sub(increment(by, unit).cast("i32"));
}

/** A value and what its products have lost. */
export interface Held {
  /** i32. */
  readonly value: Tensor;
  /** u32. */
  readonly buffer: Tensor;
}

/**
 * The value times n/d, i32 scalars or tensors that broadcast, with 0 < n, d < 2^16; undone by the
 * same with n and d exchanged.
 */
export function scaled({ value, buffer }: Held, n: Tensor, d: Tensor): Held {
  const [un, ud] = [n.cast("u32"), d.cast("u32")];
  const quotient = value.floorDiv(d);
  const lost = value.sub(quotient.mul(d)).cast("u32");
  // With B = q·n + r: ⌊(B·d + lost)/n⌋ = q·d + ⌊(r·d + lost)/n⌋, and r·d + lost < n·d < 2^32.
  const q = buffer.floorDiv(un);
  const low = buffer.sub(q.mul(un)).mul(ud).add(lost);
  const carry = low.floorDiv(un);
  const product = quotient.mul(n).add(low.sub(carry.mul(un)).cast("i32"));
  return {
    value: where(isOut(value), value, product),
    buffer: q.mul(ud).add(carry),
  };
}

/** The 16 low bits of every buffer, two to a word: u32 [⌈size/2⌉]. */
export function lowHalves(buffer: Tensor): Tensor {
  const odd = buffer.size % 2;
  const pairs = buffer.bitwiseAnd(0xffff).reshape([buffer.size]).pad([[0, odd]]).reshape([-1, 2]);
  const half = (i: number): Tensor => pairs.slice(null, i);
  return half(0).bitwiseOr(half(1).leftShift(16));
}

/** Buffers with their low bits back: what they were before `buffer >> 16` and `lowHalves`. */
export function withLowHalves(buffer: Tensor, words: Tensor): Tensor {
  const halves = [words.bitwiseAnd(0xffff), words.rightShift(16)];
  const low = stack(halves, 1).reshape([-1]).slice([0, buffer.size]).reshape(buffer.shape);
  return buffer.leftShift(16).bitwiseOr(low);
}
