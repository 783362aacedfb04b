/**
 * The tape of differences: what it takes in bits, bytes and time where steps are nearly reversible,
 * beside storing every state.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import { timesOf } from "./chain.ts";
import { type Claim, type Experiment, megabytes } from "./experiment.ts";
import type { Line } from "./picture.ts";

type T = rg.Tensor;

/** The bits an element and step that a tape is given, or nothing but stored states. */
type Way = number | "store";

/** A loop to be gone back over. */
interface Case {
  readonly name: string;
  readonly length: number;
  /** Elements of a state. */
  readonly elements: number;
  /** Bits an element and step that are to be shown, if any. */
  readonly most?: number;
  /** What the loss is of. */
  readonly args: readonly T[];
  readonly loss: (way: Way, length: number) => (...args: T[]) => T;
}

const normal = (seed: number, shape: readonly number[]): T =>
  rg.random.normal(rg.random.key(seed), shape);

const backwardOf = (way: Way, inverse: (carry: never, x: never) => unknown): rg.Backward =>
  way === "store" ? way : rg.reverse({
    inverse: inverse as (c: unknown, x: unknown) => unknown,
    exact: "tape",
    tape: { bits: way },
  });

function leapfrogCase(scale: number): Case {
  const size = 16384, pair = rg.steps.leapfrog({ force: (x: T) => x.sin().neg(), h: 0.05 });
  return {
    name: "leapfrog",
    length: Math.max(24, Math.round(400 * scale)),
    elements: 2 * size,
    most: 0.9,
    args: [normal(1, [size]), normal(2, [size])],
    loss: (way, length) => (x, v) => {
      const backward = backwardOf(way, pair.inverse);
      const end = rg.loop(pair.step, { x: x!, v: v! }, { length, backward });
      return end.x.square().sum().add(end.v.sum());
    },
  };
}

function couplingCase(scale: number): Case {
  type Weights = { f: T; g: T };
  const [width, rows] = [128, 128], length = Math.max(12, Math.round(64 * scale));
  const block = rg.steps.additiveCoupling(
    (x: T, { f }: Weights) => x.matmul(f).tanh(),
    (x: T, { g }: Weights) => x.matmul(g).tanh(),
  );
  // Layers whose weights are not what is measured: every layer has the same.
  const weights = (seed: number): T => normal(seed, [width, width]).mul(0.1 / Math.sqrt(width));
  return {
    name: "additive couplings",
    length,
    elements: 2 * width * rows,
    most: 1.5,
    args: [normal(3, [rows, width]), normal(4, [rows, width]), weights(5), weights(6)],
    loss: (way, length) => (a, b, f, g) => {
      const given = { f: f!, g: g! };
      const [y1, y2] = rg.loop(
        (x: [T, T]) => block.step(x, given),
        [a!, b!] as [T, T],
        { length, backward: backwardOf(way, (x: [T, T]) => block.inverse(x, given)) },
      );
      return y1.square().sum().add(y2.sum());
    },
  };
}

function optimizerCases(scale: number): Case[] {
  const [rows, width] = [256, 64], size = width * width;
  const length = Math.max(24, Math.round(200 * scale));
  const x = normal(7, [rows, width]), y = x.matmul(normal(8, [width, width])).tanh();
  const error = (w: T): T => x.matmul(w).tanh().sub(y).square().mean().mul(64);
  const slope = (w: T): T => rg.grad(error)(w);
  const start = normal(9, [width, width]).mul(0.3);
  const run = (
    name: string,
    parts: number,
    rate: number,
    options: { optimizer: "sgd"; iterations: number } | { optimizer: "adam" },
  ): Case => ({
    name,
    length,
    elements: parts * size,
    args: [start],
    loss: (way, steps) => {
      const given = way === "store" ? { backward: way } as const : { tape: { bits: way } };
      const train = rg.optim.trainingRun((w: T) => error(w), { steps, ...options, ...given });
      return (w) => error(train(w!, { rates: rate }, null).params);
    },
  });
  type State = { w: T; v: T };
  const momentum: rg.steps.ReversibleStep<State> = {
    step: ({ w, v }) => {
      const next = v.mul(0.9).add(slope(w));
      return { w: w.sub(next.mul(0.02)), v: next };
    },
    inverse: ({ w, v }) => {
      const before = w.add(v.mul(0.02));
      return { w: before, v: v.sub(slope(before)).div(0.9) };
    },
  };
  return [
    ...[1, 3, 6].map((iterations) =>
      run(`plain SGD, ${iterations} iterations`, 1, 0.1, { optimizer: "sgd", iterations })
    ),
    {
      name: "momentum SGD",
      length,
      elements: 2 * size,
      args: [start],
      loss: (way, length) => (w) => {
        const backward = backwardOf(way, momentum.inverse);
        const from = { w: w!, v: rg.zerosLike(w!) };
        return error(rg.loop(momentum.step, from, { length, backward }).w);
      },
    },
    run("Adam", 3, 0.001, { optimizer: "adam" }),
  ];
}

/** The gradient of a case, and what its program takes, which is there until it is disposed of. */
async function measure(one: Case, way: Way, length: number) {
  const argnums = one.args.map((_, i) => i);
  const run = rg.compile((...args: T[]): T[] =>
    rg.grad(one.loss(way, length), { argnums })(...args)
  );
  const gradients = await Promise.all(run(...one.args).map((g) => g.data()));
  const bits = gradients.map((x) => x.join()).join();
  const drop = (): void => run(...one.args).forEach((g) => g.dispose());
  const { peak } = run.programs().at(-1)!.memory;
  const rate = Number(run.explain().match(/bits an element and step: ([\d.]+)/)?.[1]);
  return { bits, peak, rate, run: drop, [Symbol.dispose]: () => run.dispose() };
}

/** Bytes predicted and counted of the first run of a program and of its second, at some lengths. */
async function peaks(one: Case, bits: number): Promise<(string | number)[][]> {
  const rows: (string | number)[][] = [], argnums = one.args.map((_, i) => i);
  for (const length of [Math.round(one.length / 4), one.length]) {
    const run = rg.compile((...args: T[]): T[] =>
      rg.grad(one.loss(bits, length), { argnums })(...args)
    );
    for (const call of ["first", "second"]) {
      await Promise.all(run(...one.args).map((g) => g.data()));
      const text = run.explain();
      const [, predicted, counted] = text.match(/peak +(\d+) +(\d+)/)!;
      const [, given, taken] = text.match(/; (\d+) B predicted, (\d+) B taken/)!;
      rows.push([one.name, length, call, predicted!, counted!, given!, taken!]);
    }
    run.dispose();
  }
  return rows;
}

/** Bits an element of each of several stretches of a loop, in the middle of each. */
async function overTime(
  one: Case,
  stretches: number,
): Promise<readonly (readonly [number, number])[]> {
  const points: (readonly [number, number])[] = [];
  let [before, sum] = [0, 0];
  for (let i = 1; i <= stretches; i++) {
    const length = Math.round(one.length * i / stretches);
    using found = await measure(one, 32, length);
    const { rate } = found;
    points.push([(before + length) / 2, (rate * length - sum) / (length - before)]);
    [before, sum] = [length, rate * length];
  }
  return points;
}

const columns = [
  "step",
  "steps",
  "bits an element and step",
  "store, MB",
  "tape, MB",
  "slope of tape to store",
  "store, ms",
  "tape, ms",
  "same bits",
];

/** See the top of the file. */
export const tape: Experiment = {
  title: "The tape of differences",
  about:
    "Gradients through loops that are run backwards, with what the inverse gets wrong on a tape, " +
    "beside those with every state stored. A step of plain descent is undone by one, three or six " +
    "iterations, those of momentum and Adam in closed form. The slope is that of the peak from half " +
    "of the steps to all, with a tape of the length that was found to be needed. `--scale` takes " +
    "fewer steps.",
  async run({ scale, progress }) {
    const rows: (string | number)[][] = [], claims: Claim[] = [], lines: Line[] = [];
    const predictions: (string | number)[][] = [];
    for (const one of [leapfrogCase(scale), couplingCase(scale), ...optimizerCases(scale)]) {
      const { name, length, elements, most } = one;
      progress(name);
      using store = await measure(one, "store", length);
      using widest = await measure(one, 32, length);
      // The tape has its headers beside, so the bits that it took with them are enough.
      const fitting = Math.min(32, 1.01 * widest.rate);
      using taped = await measure(one, fitting, length);
      const times = await timesOf([store.run, taped.run], 5), ratio = times[1]! / times[0]!;
      const half = Math.floor(length / 2);
      using shorter = await measure(one, fitting, half);
      const slope = (taped.peak - shorter.peak) / (4 * elements * (length - half));
      const same = store.bits === taped.bits;
      rows.push([
        name,
        length,
        taped.rate.toFixed(3),
        megabytes(store.peak),
        megabytes(taped.peak),
        `${(100 * slope).toFixed(1)} %`,
        ...times.map((time) => time.toFixed(0)),
        same ? "yes" : "no",
      ]);
      lines.push({ name, points: await overTime(one, 6) });
      if (most !== undefined || name === "momentum SGD") {
        // With a tape that is large enough, and with one that is not, at first.
        predictions.push(...await peaks(one, fitting), ...await peaks(one, 0.3 * taped.rate));
      }
      claims.push({ text: `${name}: the gradient is that of store, to the bit`, met: same });
      if (most === undefined) continue;
      claims.push({
        text: `${name}: ${taped.rate} bits an element and step, at most ${most}`,
        met: taped.rate <= most,
      }, {
        text: `${name}: ${(100 * slope).toFixed(1)} % of a state a step, at most 4 %`,
        met: slope <= 0.04,
      }, {
        text: `${name}: ${ratio.toFixed(2)} times the time, at most 2`,
        met: ratio <= 2,
      });
    }
    const farthest = Math.max(
      ...predictions.map(([, , , predicted, counted]) => Number(predicted) / Number(counted) - 1),
    );
    claims.push({
      text:
        `peaks predicted are at most ${(100 * farthest).toFixed(1)} % above those counted, and ` +
        "never below; at most 2 %",
      met: farthest <= 0.02 &&
        predictions.every(([, , , predicted, counted]) => Number(predicted) >= Number(counted)),
    });
    return {
      tables: [{ title: "Stored and taped", columns, rows }, {
        title: "Peak of a run in bytes, predicted and counted, and the tape's part of it",
        columns: ["step", "steps", "run", "predicted", "counted", "tape, predicted", "tape, taken"],
        rows: predictions,
      }],
      pictures: [{
        name: "tape-bits",
        title: "Bits an element and step, over time",
        xName: "step",
        yName: "bits",
        lines,
        log: "y",
      }],
      claims,
    };
  },
};
