/**
 * Learning through learning: whole training runs differentiated by going back through them. Whether
 * they come back to their first bit, what that costs in bits, and how the gradients compare, for
 * momentum with information buffers and for plain SGD and Adam with tapes; then the rates learned
 * (learned_rates.ts).
 *
 * @module
 */
import * as rg from "../../mod.ts";
import {
  backwards,
  begin,
  type End,
  type Exact,
  forwards,
  type Run,
} from "../../optim/hypergradient/sweeps.ts";
import { segmentsOf } from "../../optim/hypergradient/spills.ts";
import { unitFor } from "../../optim/hypergradient/fixed.ts";
import type { Claim, Experiment, Table } from "./experiment.ts";
import { learnedRates } from "./learned_rates.ts";
import type { Picture } from "./picture.ts";
import { inFloat64, small } from "./regression.ts";

/** There and back with one momentum: bits that differ, and bits that were kept. */
async function thereAndBack(
  steps: number,
  ratio: { n: number; d: number },
): Promise<{ differing: number; information: number; allocated: number; seconds: number }> {
  const x = small.x(), loss = small.loss(x, small.y(x));
  const run: Run = {
    loss,
    steps,
    denominator: ratio.d,
    segments: segmentsOf(steps, ratio),
    units: { position: unitFor(16), velocity: unitFor(4) },
  };
  const start = await rg.realize(small.start());
  const rows = (value: number): rg.Tensor[] => start.map(() => rg.full([steps], value));
  const schedule = { rates: rows(0.05), momenta: rows(ratio.n / ratio.d), decay: null };
  const there = rg.compile((start: rg.Tensor[]) => {
    const first = begin(run, start);
    return { first, end: forwards(run, first, schedule, []) };
  });
  const back = rg.compile((end: End): Exact => {
    const zero = end.state.x.map((x) => rg.zeros(x.shape));
    return backwards(run, end, schedule, [], { x: zero, v: zero })[0];
  });
  const began = performance.now();
  const { first, end } = there(start);
  const again = back(end);
  let differing = 0, information = 0, elements = 0;
  for (const part of ["x", "v", "b"] as const) {
    for (const [i, x] of again[part].entries()) {
      const a = new Uint32Array((await x.data()).buffer);
      const b = new Uint32Array((await first[part][i]!.data()).buffer);
      a.forEach((word, k) => differing += (word ^ b[k]!).toString(2).replaceAll("0", "").length);
    }
  }
  for (const b of end.state.b) {
    for (const value of await b.data()) information += Math.log2(value + 1);
    elements += b.size;
  }
  const kept = [...end.state.b, ...end.spilled].reduce((sum, { size }) => sum + 4 * size, 0);
  const seconds = (performance.now() - began) / 1000;
  const spilled = 16 * run.segments.count * elements;
  return {
    differing,
    information: (information + spilled) / elements / steps,
    allocated: 8 * kept / elements / steps,
    seconds,
  };
}

const ratios = [{ n: 9, d: 10 }, { n: 49, d: 50 }];

async function exactness(
  scale: number,
  progress: (text: string) => void,
): Promise<{ table: Table; claims: Claim[] }> {
  const rows: (string | number)[][] = [], claims: Claim[] = [];
  for (const ratio of ratios) {
    const ideal = Math.log2(ratio.d / ratio.n), momentum = ratio.n / ratio.d;
    for (const [steps, which] of [[2000, "information"], [1e5, "allocated"]] as const) {
      const length = steps === 2000 ? steps : Math.max(2000, Math.round(steps * scale));
      progress(`${length} steps at ${momentum}, and back`);
      const found = await thereAndBack(length, ratio);
      rows.push([
        momentum,
        length,
        found.differing,
        found.information.toFixed(5),
        found.allocated.toFixed(5),
        ideal.toFixed(5),
        found.seconds.toFixed(1),
      ]);
      claims.push({
        text: `${length} steps at ${momentum} lead back to the first bits: ` +
          `${found.differing} of them differ`,
        met: found.differing === 0,
      });
      // A buffer of 32 bits is much where the run is short: what is allocated counts in long ones.
      if (which === "allocated" && length < steps) continue;
      const off = found[which] / ideal - 1;
      claims.push({
        text: `${found[which].toFixed(5)} bits a value and step ` +
          `${which === "allocated" ? "allocated" : "in log2 B"} over ${length} steps, ` +
          `${(100 * off).toFixed(2)} % off ${ideal.toFixed(5)}, at most 2 %`,
        met: Math.abs(off) < 0.02,
      });
    }
  }
  const columns = ["momentum", "steps", "bits that differ", "log2 B", "allocated", "log2(d/n)"];
  return {
    table: {
      title: "There and back, and bits kept for each value and step",
      columns: [...columns, "s"],
      rows,
    },
    claims,
  };
}

/** Descent with momentum in floats, every state stored by the loop's own gradient. */
function storing(steps: number, loss: (x: readonly rg.Tensor[]) => rg.Tensor) {
  return (start: rg.Tensor[], rates: rg.Tensor, momenta: rg.Tensor): rg.Tensor => {
    type State = { x: rg.Tensor[]; v: rg.Tensor[] };
    const step = ({ x, v }: State, [rate, momentum]: rg.Tensor[]): [State, null] => {
      const g = rg.grad(loss as (x: rg.Tensor[]) => rg.Tensor)(x);
      const share = momentum!.neg().add(1);
      const next = v.map((v, i) => v.mul(momentum!).sub(g[i]!.mul(share)));
      return [{ x: x.map((x, i) => x.add(next[i]!.mul(rate!))), v: next }, null];
    };
    const state: State = { x: start, v: start.map((x) => rg.zerosLike(x)) };
    return loss(rg.scan(step, state, [rates, momenta], { length: steps })[0].x);
  };
}

async function memoryByLength(
  scale: number,
  progress: (text: string) => void,
): Promise<{ table: Table; picture: Picture; claims: Claim[] }> {
  const x = small.x(), loss = small.loss(x, small.y(x)), start = await rg.realize(small.start());
  const rows: (string | number)[][] = [], claims: Claim[] = [];
  for (const full of [100, 1000, 10_000]) {
    const steps = Math.max(20, Math.round(full * scale));
    progress(`memory of ${steps} steps`);
    const rates = rg.full([steps], 0.05), momenta = rg.full([steps], 0.9);
    const learning = rg.optim.hypergradient(loss, { steps, least: 0.9, denominator: 10 });
    type Args = [start: rg.Tensor[], rates: rg.Tensor, momenta: rg.Tensor];
    const exact = rg.compile((...[start, rates, momenta]: Args) => {
      const { value, gradients } = learning(start, { rates, momenta }, null);
      return [value, gradients.rates as rg.Tensor] as const;
    });
    const stored = rg.compile(rg.valueAndGrad(storing(steps, loss), { argnums: 1 }));
    const times: number[] = [], gradients: Float32Array[] = [];
    for (const f of [exact, stored]) {
      await f(start, rates, momenta)[1].data();
      const began = performance.now();
      gradients.push(await f(start, rates, momenta)[1].data() as Float32Array);
      times.push(performance.now() - began);
    }
    const [a, b] = gradients as [Float32Array, Float32Array];
    const most = b.reduce((m, g) => Math.max(m, Math.abs(g)), 0);
    const off = a.reduce((m, g, i) => Math.max(m, Math.abs(g - b[i]!)), 0) / most;
    // The slope along the gradient, by central differences of the run's own value at two distances.
    const size = Math.hypot(...a), reach = 0.05 * Math.sqrt(steps) * 0.05;
    const at = async (by: number): Promise<number> => {
      const moved = rg.tensor(a.map((g) => 0.05 + by * g / size));
      return await exact(start, moved, momenta)[0].item();
    };
    const central = async (by: number): Promise<number> =>
      (await at(by) - await at(-by)) / (2 * by);
    const slope = (4 * await central(reach / 2) - await central(reach)) / 3;
    const peak = [exact, stored].map((f) => f.programs()[0]!.memory.peak);
    const apart = Math.abs(slope / size - 1);
    // After 10^4 steps nothing is left to learn, and the slope is of the size of rounding.
    const telling = full < 10_000;
    rows.push([
      steps,
      peak[0]!,
      peak[1]!,
      times[0]!.toFixed(0),
      times[1]!.toFixed(0),
      telling ? off.toExponential(1) : "",
      telling ? apart.toExponential(1) : "",
    ]);
    if (telling) {
      claims.push({
        text: `${steps} steps: ${apart.toExponential(1)} off the central difference along the ` +
          "gradient, at most 1e-3",
        met: apart <= 1e-3,
      });
    }
    if (full === 100) {
      claims.push({
        text:
          `${steps} steps: ${off.toExponential(1)} of the largest off the gradient of the run ` +
          "that stores every state, at most 1e-6 (longer runs part by their rounding)",
        met: off <= 1e-6,
      });
    }
    exact.dispose();
    stored.dispose();
  }
  const line = (name: string, column: number) => ({
    name,
    points: rows.map((row) => [Number(row[0]), Number(row[column])] as const),
  });
  return {
    claims,
    table: {
      title: "A gradient through a run, 331 parameters; the float run stores every state",
      columns: [
        "steps",
        "exact, B",
        "stored, B",
        "exact, ms",
        "stored, ms",
        "off stored",
        "off central",
      ],
      rows,
    },
    picture: {
      name: "hypergradients-memory",
      title: "Memory of a gradient through training",
      xName: "steps",
      yName: "bytes",
      lines: [line("reversed exactly", 1), line("every state stored", 2)],
      log: "xy",
    },
  };
}

/** Runs of plain descent and of Adam, taken back by tape, beside runs that store every state. */
async function byTape(
  scale: number,
  progress: (text: string) => void,
): Promise<{ table: Table; claims: Claim[] }> {
  const x = small.x(), loss = small.loss(x, small.y(x)), start = await rg.realize(small.start());
  const reference = await inFloat64(start, x, small.y(x));
  const rows: (string | number)[][] = [], claims: Claim[] = [];
  for (const [optimizer, rate] of [["sgd", 0.05], ["adam", 0.01]] as const) {
    for (const full of [100, 2000]) {
      const steps = Math.max(20, Math.round(full * scale));
      progress(`${steps} steps of ${optimizer}`);
      const rates = rg.full([steps], rate);
      const judged = (more: object) => {
        const learning = rg.optim.hypergradient(loss, { steps, optimizer, ...more });
        return rg.compile((start: rg.Tensor[], rates: rg.Tensor) => {
          const { value, gradients } = learning(start, { rates }, null);
          return [value, gradients.rates as rg.Tensor, gradients.params] as const;
        });
      };
      const both = [judged({ tape: { bits: 32 } }), judged({ backward: "store" })];
      const found: Float32Array[][] = [];
      for (const f of both) {
        const [, ...gradients] = f(start, rates);
        const all = [gradients[0], ...gradients[1]];
        found.push(await Promise.all(all.map((g) => g.data() as Promise<Float32Array>)));
      }
      const same = found[0]!.every((g, i) => g.join() === found[1]![i]!.join());
      const g = found[0]![0]!, size = Math.hypot(...g);
      // Over more steps runs in float64 and in floats part by their rounding.
      const telling = full === 100;
      const at = (by: number) => reference(optimizer, [...g].map((g) => rate + by * g / size));
      const apart = telling ? Math.abs((at(1e-6) - at(-1e-6)) / 2e-6 / size - 1) : 0;
      const off = telling ? apart.toExponential(1) : "";
      const bits = Number(both[0]!.explain().match(/bits an element and step: ([\d.]+)/)![1]);
      for (const f of both) f.dispose();
      const name = optimizer === "sgd" ? "plain SGD" : "Adam";
      rows.push([name, steps, bits, same ? "yes" : "no", off]);
      claims.push({
        text: `${name}, ${steps} steps: the gradient is that of store, to the bit`,
        met: same,
      });
      if (!telling) continue;
      claims.push({
        text: `${name}, ${steps} steps: ${off} off the central difference in float64, at most 1e-3`,
        met: apart <= 1e-3,
      });
    }
  }
  return {
    table: {
      title: "Plain SGD and Adam by the tape of differences, 331 parameters",
      columns: ["optimizer", "steps", "bits an element and step", "bits of store", "off central"],
      rows,
    },
    claims,
  };
}

/** See the top of the file. */
export const hypergradients: Experiment = {
  title: "Hypergradients by exact reversal",
  about:
    "Training with momentum in fixed point, led back through information buffers. There and back " +
    "for 2000 and 10^5 steps of a small regression; its gradient with respect to 100, 1000 and " +
    "10 000 rates beside one that stores every state; runs of plain SGD and Adam by tape; then 800 " +
    "learning rates (4 layers, weights and biases, 100 steps) of a network 784-50-50-50-10 learned " +
    "on 10 000 images of MNIST by 50 rounds of Adam. `--scale` makes the long runs shorter and the " +
    "images and rounds fewer; what shows only at full size is not claimed then.",
  async run({ scale, progress }) {
    const exact = await exactness(scale, progress);
    const memory = await memoryByLength(scale, progress);
    const taped = await byTape(scale, progress);
    const rates = await learnedRates(scale, progress);
    return {
      tables: [exact.table, memory.table, taped.table, ...rates.tables],
      pictures: [memory.picture, ...rates.pictures!],
      claims: [...exact.claims, ...memory.claims, ...taped.claims, ...rates.claims],
    };
  },
};
