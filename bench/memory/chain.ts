/**
 * The residual chain: loss and gradient of layers h + tanh(h·W + b) of width 256, batch 256, by
 * depth. What it takes in bytes where everything is kept, and how long a run is.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import { chainData } from "../data.ts";
import { type Experiment, megabytes } from "./experiment.ts";

type Params = Readonly<Record<string, rg.Tensor>>;

/** The weights and the input of a chain, on the device. */
export async function chainInputs(depth: number): Promise<{ params: Params; x: rg.Tensor }> {
  const { weights, x } = chainData(depth);
  const tensor = ({ data, shape }: { data: Float32Array; shape: readonly number[] }): rg.Tensor =>
    rg.tensor(data, { shape });
  const params = Object.fromEntries(
    Object.entries(weights).map(([name, values]) => [name, tensor(values)]),
  );
  return await rg.realize({ params, x: tensor(x) });
}

/** Mean square of what comes out of the chain. */
export function chainLoss(depth: number): (params: Params, x: rg.Tensor) => rg.Tensor {
  return (params, x) => {
    let h = x;
    for (let i = 0; i < depth; i++) {
      h = h.add(h.matmul(params[`w${i}`]!).add(params[`b${i}`]!).tanh());
    }
    return h.mul(h).mean();
  };
}

/** A step whose results nobody wants. */
export function discarding(
  f: (params: Params, x: rg.Tensor) => readonly [rg.Tensor, Params],
  params: Params,
  x: rg.Tensor,
): () => void {
  return () => {
    const [value, gradient] = f(params, x);
    value.dispose();
    Object.values(gradient).forEach((g) => g.dispose());
  };
}

/** Milliseconds of a run, the least of several: other work on the machine only ever adds. */
export async function timeOf(run: () => void, runs: number): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    run();
    await rg.synchronize();
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

/** See the top of the file. */
export const chain: Experiment = {
  title: "A residual chain under a budget of bytes",
  about: "Loss and gradient of a chain of layers h + tanh(h·W + b) of width 256 for a batch of " +
    "256, with respect to all weights. `--scale` makes the deepest chain shallower.",
  async run({ scale, progress }) {
    const rows: (string | number)[][] = [];
    const deepest = Math.max(4, Math.round(256 * scale));
    let bytes = 0;
    for (const depth of [deepest / 16, deepest / 4, deepest].map(Math.round)) {
      progress(`depth ${depth}`);
      const { params, x } = await chainInputs(depth);
      const f = rg.compile((p: Params, x: rg.Tensor) => rg.valueAndGrad(chainLoss(depth))(p, x));
      const run = discarding(f, params, x);
      const start = performance.now();
      run();
      await rg.synchronize();
      const first = performance.now() - start;
      const time = await timeOf(run, 3);
      const { memory, dispatches } = f.programs()[0]!;
      bytes = memory.peak;
      rows.push([
        depth,
        megabytes(memory.peak),
        megabytes(memory.arguments + memory.results),
        dispatches.length,
        time.toFixed(0),
        first.toFixed(0),
      ]);
      f.dispose();
    }
    return {
      tables: [{
        title: "Everything kept",
        columns: [
          "depth",
          "peak, MB",
          "weights and gradients, MB",
          "dispatches",
          "run, ms",
          "first call, ms",
        ],
        rows,
      }],
      claims: [{
        text: `depth ${deepest} takes ${megabytes(bytes)} MB, at most ${300 * scale}`,
        met: bytes <= 300e6 * scale,
      }],
    };
  },
};
