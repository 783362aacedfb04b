/**
 * The regression that runs of training are judged by, 30 tanh units with 331 parameters in three
 * leaves; and its runs in float64, written out by hand. What a run ends with bends sharply with the
 * rates (that of Adam is off its tangent by a third at a distance of 0.005), so that only a
 * difference over a tiny distance tells its slope, which floats are too coarse for.
 *
 * @module
 */
import * as rg from "../../mod.ts";

const inputs = 9, units = 30, samples = 32;

/** The regression, on the device. */
export const small = {
  start: (): rg.Tensor[] => [
    rg.random.normal(rg.random.key(1), [inputs, units]).mul(0.4),
    rg.zeros([units]),
    rg.random.normal(rg.random.key(2), [units, 1]).mul(0.3),
  ],
  loss: (x: rg.Tensor, y: rg.Tensor) => ([w, b, v]: readonly rg.Tensor[]): rg.Tensor =>
    x.matmul(w!).add(b!).tanh().matmul(v!).sub(y).square().mean(),
  x: (): rg.Tensor => rg.random.normal(rg.random.key(3), [samples, inputs]),
  y: (x: rg.Tensor): rg.Tensor => x.slice(null, [0, 1]).mul(2).sin(),
};

/** Runs whose rates are chosen step by step. */
export type Descent = "sgd" | "adam";

/** The loss after a run from `start` at some rates, on the host. */
export async function inFloat64(
  start: readonly rg.Tensor[],
  x: rg.Tensor,
  y: rg.Tensor,
): Promise<(by: Descent, rates: readonly number[]) => number> {
  const numbers = async (t: rg.Tensor) => Float64Array.from(await t.data() as Float32Array);
  const data = await numbers(x), wanted = await numbers(y);
  const from = await Promise.all(start.map(numbers));
  return (by, rates) => {
    const params = from.map((p) => p.slice());
    const means = from.map((p) => p.map(() => 0)), squares = from.map((p) => p.map(() => 0));
    rates.forEach((rate, step) => {
      const { gradients } = lossOf(params, data, wanted);
      const c1 = 1 - 0.9 ** (step + 1), c2 = 1 - 0.999 ** (step + 1);
      gradients.forEach((leaf, l) =>
        leaf.forEach((g, i) => {
          const m = means[l]![i] = 0.9 * means[l]![i]! + 0.1 * g;
          const s = squares[l]![i] = 0.999 * squares[l]![i]! + 0.001 * g ** 2;
          params[l]![i]! -= rate * (by === "sgd" ? g : m / c1 / (Math.sqrt(s / c2) + 1e-8));
        })
      );
    });
    return lossOf(params, data, wanted).loss;
  };
}

function lossOf(
  [w, b, v]: readonly Float64Array[],
  x: Float64Array,
  y: Float64Array,
): { loss: number; gradients: Float64Array[] } {
  const gradients = [w!, b!, v!].map((p) => p.map(() => 0)), [dw, db, dv] = gradients;
  let loss = 0;
  for (let n = 0; n < samples; n++) {
    const row = x.subarray(n * inputs, (n + 1) * inputs);
    const hidden = b!.map((bias, j) =>
      Math.tanh(row.reduce((sum, x, k) => sum + x * w![k * units + j]!, bias))
    );
    const off = hidden.reduce((sum, h, j) => sum + h * v![j]!, 0) - y[n]!;
    loss += off ** 2 / samples;
    hidden.forEach((h, j) => {
      const slope = 2 * off / samples * v![j]! * (1 - h ** 2);
      dv![j]! += 2 * off / samples * h;
      db![j]! += slope;
      row.forEach((x, k) => dw![k * units + j]! += slope * x);
    });
  }
  return { loss, gradients };
}
