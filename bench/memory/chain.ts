/**
 * The residual chain: loss and gradient of layers h + tanh(h·W + b) of width 256, batch 256. What it
 * takes in bytes where everything is kept, by depth, and how long a run takes under budgets.
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

/** Milliseconds of runs of several functions, in turns, the least of each: other work only adds. */
export async function timesOf(runs: readonly (() => void)[], rounds: number): Promise<number[]> {
  const least = runs.map(() => Infinity);
  for (let round = 0; round < rounds; round++) {
    for (const [i, run] of runs.entries()) {
      const start = performance.now();
      run();
      await rg.synchronize();
      least[i] = Math.min(least[i]!, performance.now() - start);
    }
  }
  return least;
}

type Step = rg.Compiled<[Params, rg.Tensor], [rg.Tensor, Params]>;

function stepOf(depth: number, memory?: number): Step {
  return rg.compile(
    (p: Params, x: rg.Tensor) => rg.valueAndGrad(chainLoss(depth))(p, x),
    { name: `chain of ${depth}`, ...(memory !== undefined && { memory }) },
  );
}

/** All bits of loss and gradient, as one number. */
async function digest(f: Step, params: Params, x: rg.Tensor): Promise<string> {
  const [value, gradient] = f(params, x);
  const parts: Uint8Array[] = [];
  for (const tensor of [value, ...Object.values(gradient)]) {
    const { buffer, byteOffset, byteLength } = await tensor.data();
    parts.push(new Uint8Array(buffer, byteOffset, byteLength).slice());
    tensor.dispose();
  }
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of parts) {
    all.set(part, end);
    end += part.length;
  }
  const hash = await crypto.subtle.digest("SHA-256", all);
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const columns = ["depth", "peak, MB", "weights and gradients, MB", "dispatches", "first call, ms"];

/** What it takes where nothing is asked. */
async function byDepth(depths: readonly number[]): Promise<(string | number)[][]> {
  const rows: (string | number)[][] = [];
  for (const depth of depths) {
    const { params, x } = await chainInputs(depth);
    const f = stepOf(depth);
    const start = performance.now();
    discarding(f, params, x)();
    await rg.synchronize();
    const first = performance.now() - start;
    const { memory, dispatches } = f.programs()[0]!;
    const given = megabytes(memory.arguments + memory.results);
    rows.push([depth, megabytes(memory.peak), given, dispatches.length, first.toFixed(0)]);
    f.dispose();
  }
  return rows;
}

/** See the top of the file. */
export const chain: Experiment = {
  title: "A residual chain under a budget of bytes",
  about: "Loss and gradient of a chain of layers h + tanh(h·W + b) of width 256 for a batch of " +
    "256, with respect to all weights. `--scale` makes the chains shallower and the budgets " +
    "smaller.",
  async run({ scale, progress }) {
    const depth = Math.max(16, Math.round(256 * scale)), share = depth / 256;
    const depths = [depth / 16, depth / 4, depth].map(Math.round);
    progress(`everything kept, depth ${depths.join(", ")}`);
    const kept = await byDepth(depths);

    progress(`budgets, depth ${depth}`);
    const { params, x } = await chainInputs(depth);
    const store = stepOf(depth);
    const expected = await digest(store, params, x);
    const offers = store.programs()[0]!.sweep();
    // Of a shallow chain what is read beside the layers weighs more.
    const least = offers.at(-1)!.bytes;
    const named = [160e6 * share, Math.max(145e6 * share, least), least];
    const steps = named.map((memory) => stepOf(depth, memory));
    const digests: string[] = [];
    for (const f of steps) digests.push(await digest(f, params, x));
    const all = [store, ...steps];
    const times = await timesOf(all.map((f) => discarding(f, params, x)), 7);
    const ratios = times.map((time) => time / times[0]!);
    const predicted = all.map((f) =>
      f.programs()[0]!.steps().reduce((sum, { time }) => sum + time, 0)
    );
    const peaks = all.map((f) => f.programs()[0]!.memory.peak);
    const budgets = all.map((f, i) => [
      i === 0 ? "none" : megabytes(named[i - 1]!),
      megabytes(peaks[i]!),
      times[i]!.toFixed(0),
      ratios[i]!.toFixed(3),
      (predicted[i]! / predicted[0]!).toFixed(3),
      f.programs()[0]!.steps().filter(({ again }) => again).length,
    ]);
    const charts = [store, steps[1]!].map((f) => f.chart());
    for (const f of all) f.dispose();

    const short = Math.max(4, Math.round(depth / 8));
    progress(`every budget, depth ${short}`);
    const inputs = await chainInputs(short);
    const plain = stepOf(short);
    const bits = await digest(plain, inputs.params, inputs.x);
    const every = plain.programs()[0]!.sweep();
    let different = 0;
    for (const { bytes } of every) {
      const f = stepOf(short, bytes);
      if (await digest(f, inputs.params, inputs.x) !== bits) different++;
      f.dispose();
    }
    plain.dispose();
    const fits = steps.every((_, i) => peaks[i + 1]! <= named[i]!);
    return {
      tables: [
        { title: "Everything kept", columns, rows: kept },
        {
          title: `Depth ${depth} within a budget`,
          columns: [
            "budget, MB",
            "peak, MB",
            "run, ms",
            "of all kept",
            "predicted",
            "regions run again",
          ],
          rows: budgets,
        },
      ],
      pictures: [{
        name: "chain-sweep",
        title: `Chain of depth ${depth}: time against memory, predicted`,
        xName: "device memory, MB",
        yName: "time, of everything kept",
        lines: [{
          name: "plans",
          points: offers.map(({ bytes, time }) => [bytes / 1e6, time / offers[0]!.time] as const),
        }, {
          name: "measured",
          points: peaks.map((peak, i) => [peak / 1e6, ratios[i]!] as const)
            .sort((a, b) => b[0] - a[0]),
        }],
      }],
      files: { "chain-kept.svg": charts[0]!, "chain-budget.svg": charts[1]! },
      claims: [
        {
          text: `depth ${depth} takes ${kept.at(-1)![1]} MB where all is kept, at most ${
            300 * share
          }`,
          met: peaks[0]! <= 300e6 * share,
        },
        {
          text: `within ${megabytes(named[0]!)} MB it takes ${
            ratios[1]!.toFixed(2)
          } times as long, at most 1.35`,
          met: ratios[1]! <= 1.35,
        },
        {
          text: `within ${megabytes(named[1]!)} MB it takes ${
            ratios[2]!.toFixed(2)
          } times as long, at most 1.8`,
          met: ratios[2]! <= 1.8,
        },
        { text: "no budget is exceeded by a byte", met: fits },
        {
          text:
            `the gradient is the same to the bit for these budgets, and at depth ${short} for ` +
            `all ${every.length} that make a difference`,
          met: different === 0 && digests.every((d) => d === expected),
        },
      ],
    };
  },
};
