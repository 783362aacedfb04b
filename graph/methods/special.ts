/**
 * Less common element-wise methods: inverse trigonometric and hyperbolic functions, logarithms and
 * powers by other bases, remainders, bits.
 *
 * @module
 */
import * as angles from "../functions/angles.ts";
import type { Tensor } from "../tensor.ts";
import { operandOf, type TensorLike } from "./base.ts";
import { ElementwiseTensor } from "./elementwise.ts";

/** Further element-wise methods; every method returns a new tensor. */
export abstract class SpecialTensor extends ElementwiseTensor {
  /** The arc sine, in radians; NaN outside [-1, 1]. */
  asin(): Tensor {
    return this.wrap(angles.asin(this.node));
  }

  /** The arc cosine, in radians; NaN outside [-1, 1]. */
  acos(): Tensor {
    return this.wrap(angles.acos(this.node));
  }

  /** The arc tangent, in radians. */
  atan(): Tensor {
    return this.wrap(angles.atan(this.node));
  }

  /**
   * The angle of the point (x, this) in [-π, π], in radians; zeros and infinities as in C.
   *
   * @example
   * ```ts
   * import * as rg from "@retrograd/retrograd";
   * import { assertAlmostEquals } from "@std/assert";
   *
   * await rg.init({ software: "allow" });
   * assertAlmostEquals(await rg.tensor(1).atan2(-1).item(), 3 * Math.PI / 4, 1e-6);
   * ```
   */
  atan2(x: TensorLike): Tensor {
    return this.wrap(angles.atan2(this.node, operandOf(x, "atan2")));
  }

  /** The inverse of `sinh`, exact near 0. */
  asinh(): Tensor {
    return this.wrap(angles.asinh(this.node));
  }

  /** The inverse of `cosh`, exact near 1; NaN below 1. */
  acosh(): Tensor {
    return this.wrap(angles.acosh(this.node));
  }

  /** The inverse of `tanh`, exact near 0; ±∞ at ±1, NaN outside. */
  atanh(): Tensor {
    return this.wrap(angles.atanh(this.node));
  }

  /** The logarithm to base 2, exact for powers of two. */
  log2(): Tensor {
    return this.wrap(angles.log2(this.node));
  }

  /** The logarithm to base 10. */
  log10(): Tensor {
    return this.wrap(angles.log10(this.node));
  }

  /** 2 to the power of this, exact for whole numbers. */
  exp2(): Tensor {
    return this.wrap(angles.exp2(this.node));
  }

  /** √(this² + other²) without overflow; its gradient at the origin is 0. */
  hypot(other: TensorLike): Tensor {
    return this.wrap(angles.hypot(this.node, operandOf(other, "hypot")));
  }

  /** The next whole number towards zero; integers are as they were. */
  trunc(): Tensor {
    return this.wrap(angles.trunc(this.node));
  }

  /** The remainder with the sign of this, as C's `fmod` and JavaScript's `%`; see `mod`. */
  remainder(other: TensorLike): Tensor {
    return this.wrap(angles.remainder(this.node, operandOf(other, "remainder")));
  }

  /**
   * The number of bits that are set. Integers.
   *
   * @throws {TypeError} if this is not of an integer dtype.
   */
  bitCount(): Tensor {
    return this.wrap(angles.bitCount(this.node));
  }
}
