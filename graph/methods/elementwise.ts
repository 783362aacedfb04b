/**
 * Element-wise methods of tensors. Operands broadcast as in NumPy. Dtypes promote: bool, then
 * i32 or u32, then f16, then f32; i32 with u32 is an error, since no 32-bit type holds both.
 * Functions of floats take integers as f32.
 *
 * @module
 */
import { type Binary, binary, bitcast, unary } from "../build.ts";
import { checkNames, describe } from "../describe.ts";
import { checkDType, type DType } from "../dtype.ts";
import * as elementwise from "../functions/elementwise.ts";
import * as numerics from "../functions/numerics.ts";
import type { Tensor } from "../tensor.ts";
import { operandOf, TensorBase, type TensorLike } from "./base.ts";

function checkFactor(action: string, name: string, value: unknown): void {
  if (typeof value === "number" && !Number.isNaN(value)) return;
  throw new TypeError(`Cannot ${action}: ${name} is ${describe(value)}, expected a number`);
}

/** Which form of GELU: by the error function, or the older approximation by tanh. */
export interface GeluOptions {
  /**
   * "none" is exact, "tanh" is what older models were trained with.
   *
   * @default {"none"}
   */
  readonly approximate?: "none" | "tanh";
}

/** The element-wise methods; every method returns a new tensor. */
export abstract class ElementwiseTensor extends TensorBase {
  /** A two-operand primitive with this as the first operand; `action` is the method's name. */
  private with(op: Binary, other: TensorLike, action: string = op): Tensor {
    return this.wrap(binary(op, this.node, operandOf(other, action), action));
  }

  /**
   * this + other, broadcast.
   *
   * @throws {TypeError} if shapes do not broadcast, or for i32 with u32.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * const column = rg.tensor([[1], [2]]);
   * const row = rg.tensor([10, 20]);
   * assertEquals(await column.add(row).array(), [[11, 21], [12, 22]]);
   * ```
   */
  add(other: TensorLike): Tensor {
    return this.with("add", other);
  }

  /** this - other, broadcast. */
  sub(other: TensorLike): Tensor {
    return this.with("sub", other);
  }

  /** this · other, broadcast; of matrices see `matmul`. */
  mul(other: TensorLike): Tensor {
    return this.with("mul", other);
  }

  /** this / other, broadcast; integers are divided as f32. */
  div(other: TensorLike): Tensor {
    return this.with("div", other);
  }

  /**
   * The quotient rounded down, in the dtype of the operands; of floats, the floor of the rounded
   * quotient.
   */
  floorDiv(other: TensorLike): Tensor {
    return this.wrap(elementwise.floorDiv(this.node, operandOf(other, "floorDiv")));
  }

  /** The remainder with the sign of the divisor, as Python's `%`. */
  mod(other: TensorLike): Tensor {
    return this.with("mod", other);
  }

  /**
   * this to the power `exponent`. Whole exponents up to 4 are multiplications; integers to a whole
   * non-negative power stay integers, all else is a float.
   */
  pow(exponent: TensorLike): Tensor {
    return this.wrap(elementwise.pow(this.node, operandOf(exponent, "pow")));
  }

  /**
   * The larger of both; NaN if either is. Its gradient goes to the larger; where both are equal, half
   * to each, but none against a number: that of `relu` at 0 is 0.
   */
  maximum(other: TensorLike): Tensor {
    return this.with("max", other, "take the maximum");
  }

  /** The smaller of both; NaN if either is. Its gradient is as that of `maximum`. */
  minimum(other: TensorLike): Tensor {
    return this.with("min", other, "take the minimum");
  }

  /**
   * Held between two bounds, either of which may be left out; NaN stays NaN. Its gradient at a bound
   * that is a number is 0.
   */
  clip(low?: TensorLike, high?: TensorLike): Tensor {
    const bound = (x: TensorLike | undefined) => x === undefined ? undefined : operandOf(x, "clip");
    return this.wrap(elementwise.clip(this.node, bound(low), bound(high)));
  }

  /** -this. */
  neg(): Tensor {
    return this.wrap(elementwise.numberUnary("neg", this.node));
  }

  /** The absolute value. */
  abs(): Tensor {
    return this.wrap(elementwise.numberUnary("abs", this.node));
  }

  /** -1, 0 or 1; NaN stays NaN. */
  sign(): Tensor {
    return this.wrap(elementwise.numberUnary("sign", this.node));
  }

  /** The next whole number below; integers are as they were. */
  floor(): Tensor {
    return this.wrap(elementwise.rounding("floor", this.node));
  }

  /** The next whole number above; integers are as they were. */
  ceil(): Tensor {
    return this.wrap(elementwise.rounding("ceil", this.node));
  }

  /** The nearest whole number, halves to the even one; integers are as they were. */
  round(): Tensor {
    return this.wrap(elementwise.rounding("round", this.node));
  }

  /** The square root; NaN below 0. */
  sqrt(): Tensor {
    return this.wrap(elementwise.floatUnary("sqrt", this.node));
  }

  /** 1 / √this. */
  rsqrt(): Tensor {
    return this.wrap(binary("div", 1, elementwise.floatUnary("sqrt", this.node)));
  }

  /** 1 / this. */
  reciprocal(): Tensor {
    return this.wrap(binary("div", 1, this.node));
  }

  /** this · this. */
  square(): Tensor {
    return this.wrap(binary("mul", this.node, this.node));
  }

  /** e to the power of this. */
  exp(): Tensor {
    return this.wrap(elementwise.floatUnary("exp", this.node));
  }

  /** exp(this) - 1, exact near 0. */
  expm1(): Tensor {
    return this.wrap(numerics.expm1(this.node));
  }

  /** The natural logarithm: -∞ of 0, NaN below. */
  log(): Tensor {
    return this.wrap(elementwise.floatUnary("log", this.node));
  }

  /** log(1 + this), exact near 0. */
  log1p(): Tensor {
    return this.wrap(numerics.log1p(this.node));
  }

  /** The sine, of radians. */
  sin(): Tensor {
    return this.wrap(elementwise.floatUnary("sin", this.node));
  }

  /** The cosine, of radians. */
  cos(): Tensor {
    return this.wrap(elementwise.floatUnary("cos", this.node));
  }

  /** The tangent, of radians. */
  tan(): Tensor {
    return this.wrap(numerics.tan(this.node));
  }

  /** The hyperbolic sine, exact near 0. */
  sinh(): Tensor {
    return this.wrap(numerics.sinh(this.node));
  }

  /** The hyperbolic cosine. */
  cosh(): Tensor {
    return this.wrap(numerics.cosh(this.node));
  }

  /** The hyperbolic tangent. */
  tanh(): Tensor {
    return this.wrap(elementwise.floatUnary("tanh", this.node));
  }

  /** The error function 2/√π ∫ exp(-t²) from 0 to this. */
  erf(): Tensor {
    return this.wrap(elementwise.floatUnary("erf", this.node));
  }

  /** 1 / (1 + exp(-this)), with finite derivatives everywhere. */
  sigmoid(): Tensor {
    return this.wrap(numerics.sigmoid(this.node));
  }

  /** max(this, 0); its derivative at 0 is that of `maximum`. */
  relu(): Tensor {
    return this.wrap(binary("max", this.node, 0, "relu"));
  }

  /** this, or slope · this where not positive. */
  leakyRelu(slope: number = 0.01): Tensor {
    checkFactor("leakyRelu", "slope", slope);
    return this.wrap(numerics.leakyRelu(this.node, slope));
  }

  /** log(1 + exp(this)), without overflow. */
  softplus(): Tensor {
    return this.wrap(numerics.softplus(this.node));
  }

  /** this · sigmoid(this), also called swish. */
  silu(): Tensor {
    return this.wrap(numerics.silu(this.node));
  }

  /** this · Φ(this), Φ the normal distribution function (Hendrycks and Gimpel, 2016). */
  gelu(options: GeluOptions = {}): Tensor {
    checkNames(options, { approximate: true }, "gelu");
    const { approximate = "none" } = options;
    if (approximate !== "none" && approximate !== "tanh") {
      throw new TypeError(
        `Cannot gelu: approximate is ${describe(approximate)}, expected "none" or "tanh"`,
      );
    }
    return this.wrap(numerics.gelu(this.node, approximate));
  }

  /** this, or alpha · (exp(this) - 1) where not positive. */
  elu(alpha: number = 1): Tensor {
    checkFactor("elu", "alpha", alpha);
    return this.wrap(numerics.elu(this.node, alpha));
  }

  /** True where equal; NaN equals nothing. Result: bool. */
  equal(other: TensorLike): Tensor {
    return this.with("equal", other);
  }

  /** True where not equal; NaN differs from everything. Result: bool. */
  notEqual(other: TensorLike): Tensor {
    return this.with("notEqual", other);
  }

  /** this < other; false with NaN. Result: bool. */
  less(other: TensorLike): Tensor {
    return this.with("less", other);
  }

  /** this ≤ other; false with NaN. Result: bool. */
  lessEqual(other: TensorLike): Tensor {
    return this.with("lessEqual", other);
  }

  /** this > other; false with NaN. Result: bool. */
  greater(other: TensorLike): Tensor {
    return this.wrap(binary("less", operandOf(other, "greater"), this.node, "greater"));
  }

  /** this ≥ other; false with NaN. Result: bool. */
  greaterEqual(other: TensorLike): Tensor {
    return this.wrap(
      binary("lessEqual", operandOf(other, "greaterEqual"), this.node, "greaterEqual"),
    );
  }

  /** True where both are; anything but 0 counts as true. Result: bool. */
  logicalAnd(other: TensorLike): Tensor {
    return this.wrap(
      elementwise.logical("and", this.node, operandOf(other, "logicalAnd"), "logicalAnd"),
    );
  }

  /** True where either is; anything but 0 counts as true. Result: bool. */
  logicalOr(other: TensorLike): Tensor {
    return this.wrap(
      elementwise.logical("or", this.node, operandOf(other, "logicalOr"), "logicalOr"),
    );
  }

  /** True where exactly one is; anything but 0 counts as true. Result: bool. */
  logicalXor(other: TensorLike): Tensor {
    return this.wrap(
      elementwise.logical("xor", this.node, operandOf(other, "logicalXor"), "logicalXor"),
    );
  }

  /** True where this is 0. Result: bool. */
  logicalNot(): Tensor {
    return this.wrap(unary("not", elementwise.toBool(this.node)));
  }

  /** Bits set in both. Integers. */
  bitwiseAnd(other: TensorLike): Tensor {
    return this.with("and", other, "bitwiseAnd");
  }

  /** Bits set in either. Integers. */
  bitwiseOr(other: TensorLike): Tensor {
    return this.with("or", other, "bitwiseOr");
  }

  /** Bits set in exactly one. Integers. */
  bitwiseXor(other: TensorLike): Tensor {
    return this.with("xor", other, "bitwiseXor");
  }

  /** All bits inverted. Integers. */
  bitwiseNot(): Tensor {
    return this.wrap(unary("not", this.node, "bitwiseNot"));
  }

  /** Bits moved towards the high end by 0 to 31 places. Integers. */
  leftShift(places: TensorLike): Tensor {
    return this.with("shiftLeft", places, "leftShift");
  }

  /** Bits moved towards the low end by 0 to 31 places; i32 keeps its sign. Integers. */
  rightShift(places: TensorLike): Tensor {
    return this.with("shiftRight", places, "rightShift");
  }

  /** True where NaN. Result: bool. */
  isNaN(): Tensor {
    return this.wrap(elementwise.classify.isNaN(this.node));
  }

  /** True where neither NaN nor infinite. Result: bool. */
  isFinite(): Tensor {
    return this.wrap(elementwise.classify.isFinite(this.node));
  }

  /** True where infinite, of either sign. Result: bool. */
  isInfinite(): Tensor {
    return this.wrap(elementwise.classify.isInfinite(this.node));
  }

  /**
   * Another dtype. Floats become integers by truncation, held at the ends of the range, NaN 0;
   * anything but 0 becomes true.
   */
  cast(dtype: DType): Tensor {
    return this.wrap(elementwise.convert(this.node, dtype));
  }

  /**
   * The same bits read as another dtype of equal width (f32, i32, u32).
   *
   * @throws {TypeError} if the widths differ or either is bool.
   */
  bitcast(dtype: DType): Tensor {
    return this.wrap(bitcast(this.node, checkDType(dtype, "bitcast")));
  }
}
