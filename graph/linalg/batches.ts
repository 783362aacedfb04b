/**
 * What functions of matrices share: batches of them as one axis, and their computation in f32.
 *
 * @module
 */
import { arange } from "../create.ts";
import { broadcastShapes, type Shape, showShape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";

/** Matrices with their last two axes swapped. */
export const transposed = (x: Tensor): Tensor => x.swapAxes(-1, -2);

/** Throws unless there are matrices in the last two axes. */
export function checkMatrices(action: string, x: Tensor, square: boolean): void {
  const [rows, columns] = x.shape.slice(-2);
  if (x.rank >= 2 && (!square || rows === columns)) return;
  throw new TypeError(
    `Cannot ${action}: the tensor is ${showShape(x.shape)}, expected ${
      square ? "square " : ""
    }matrices in the last two axes`,
  );
}

/** `f` on batches [b, m, n] of f32, and its results back in the batches and dtype of x. */
export function inBatches(x: Tensor, f: (batch: Tensor) => Tensor): Tensor {
  const lead = x.shape.slice(0, -2), matrix = x.shape.slice(-2);
  const y = f(floats(x).reshape([sizeOf(lead), ...matrix]));
  return back(y.reshape([...lead, ...y.shape.slice(1)]), x);
}

/** Factorizations are computed in f32. */
export const floats = (x: Tensor): Tensor => x.cast("f32");
/** And what they give is f16 where that was given. */
export const back = (y: Tensor, x: Tensor): Tensor => x.dtype === "f16" ? y.cast("f16") : y;

/** 0, 1, 2 … as u32, to be compared with the step of a loop. */
export const positions = (n: number, ...shape: number[]): Tensor =>
  arange(n, { dtype: "u32" }).reshape(shape);

/** Matrices and right sides, a vector as a column, in the batches that both have. */
export function sides(action: string, a: Tensor, b: Tensor): {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly finish: (x: Tensor) => Tensor;
} {
  checkMatrices(action, a, true);
  const vector = b.rank === 1, right = vector ? b.expandDims(1) : b;
  const n = a.shape.at(-1)!;
  const lead = right.rank >= 2
    ? broadcastShapes(a.shape.slice(0, -2), right.shape.slice(0, -2))
    : undefined;
  if (lead === undefined || right.shape.at(-2) !== n) {
    throw new TypeError(
      `Cannot ${action}: the right side is ${showShape(b.shape)} for ${showShape(a.shape)}, ` +
        `expected [..., ${n}, m] or [${n}], batches broadcast`,
    );
  }
  const batch = (x: Tensor): Tensor => {
    const matrix: Shape = x.shape.slice(-2);
    return floats(x).broadcastTo([...lead, ...matrix]).reshape([sizeOf(lead), ...matrix]);
  };
  // f16 only where both are.
  const narrow = a.dtype === "f16" ? b : a;
  return {
    a: batch(a),
    b: batch(right),
    finish: (x) => {
      const y = x.reshape([...lead, ...x.shape.slice(1)]);
      return back(vector ? y.squeeze(-1) : y, narrow);
    },
  };
}
