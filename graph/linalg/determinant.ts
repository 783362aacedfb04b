/**
 * Determinants, from the triangle that reflections leave. Giles, Collected matrix derivative results
 * for forward and reverse mode AD, 2008.
 *
 * @module
 */
import { eye } from "../create.ts";
import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { customVjp } from "../transforms/custom.ts";
import { back, checkMatrices, floats, transposed } from "./batches.ts";
import { reflected, solveOf } from "./orthogonal.ts";

/** A determinant as sign and logarithm of its magnitude. */
export interface LogDeterminant {
  /** 1, -1, or 0 of a singular matrix. */
  readonly sign: Tensor;
  /** log |det|; -∞ of a singular matrix. */
  readonly logDeterminant: Tensor;
}

const inverseTransposed = (a: Tensor): Tensor =>
  solveOf(transposed(a), eye(a.shape[1]!).broadcastTo(a.shape));

const determinantOf = customVjp(
  (a: Tensor): Tensor => {
    const { r, sign } = reflected(a);
    return r.diagonal().prod(-1).mul(sign);
  },
  (g: Tensor, y: Tensor, a: Tensor) => [inverseTransposed(a).mul(g.mul(y).expandDims([1, 2]))],
);

/**
 * The determinant of square matrices. Its gradient needs an invertible matrix.
 *
 * @throws {TypeError} if there are no square matrices in the last two axes.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([[1, 2], [3, 4]]);
 * assertAlmostEquals(await rg.linalg.determinant(x).item(), -2, 1e-5);
 * ```
 */
export function determinant(x: Tensor): Tensor {
  checkMatrices("determinant", x, true);
  const lead = x.shape.slice(0, -2);
  const a = floats(x).reshape([sizeOf(lead), ...x.shape.slice(-2)]);
  return back(determinantOf(a).reshape(lead), x);
}

const logDeterminantOf = customVjp(
  (a: Tensor): LogDeterminant => {
    const { r, sign } = reflected(a), diagonal = r.diagonal();
    return {
      sign: diagonal.sign().prod(-1).mul(sign),
      logDeterminant: diagonal.abs().log().sum(-1),
    };
  },
  ({ logDeterminant }: LogDeterminant, _: LogDeterminant, a: Tensor) => [
    inverseTransposed(a).mul(logDeterminant.expandDims([1, 2])),
  ],
);

/**
 * The sign of the determinant and the logarithm of its magnitude, where the determinant itself would
 * overflow. Gradients need an invertible matrix.
 *
 * @throws {TypeError} if there are no square matrices in the last two axes.
 */
export function slogdet(x: Tensor): LogDeterminant {
  checkMatrices("slogdet", x, true);
  const lead = x.shape.slice(0, -2);
  const a = floats(x).reshape([sizeOf(lead), ...x.shape.slice(-2)]);
  const { sign, logDeterminant } = logDeterminantOf(a);
  return {
    sign: back(sign.reshape(lead), x),
    logDeterminant: back(logDeterminant.reshape(lead), x),
  };
}
