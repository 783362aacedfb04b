/**
 * Reversal, exact: on a grid, where nothing is stored for it, and by the tape of differences, where
 * a few bits are; and what both do where plain floats fail.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import { timesOf } from "./chain.ts";
import { type Claim, type Experiment, megabytes } from "./experiment.ts";

type T = rg.Tensor;
type Motion = rg.steps.Motion<T>;

const normal = (seed: number, shape: readonly number[]): T =>
  rg.random.normal(rg.random.key(seed), shape);

/** Accelerations of bodies that attract one another, softened; x is [bodies, 3]. */
function attraction(x: T): T {
  const n = x.shape[0]!;
  const away = x.reshape(1, n, 3).sub(x.reshape(n, 1, 3));
  const near = away.square().sum(2, { keepDims: true }).add(0.05);
  return away.div(near.mul(near.sqrt())).sum(1).div(n);
}

/** Values whose bits differ after all steps and their inverses, of all values. */
async function returned(
  pair: rg.steps.ReversibleStep<Motion>,
  start: Motion,
  length: number,
): Promise<{ readonly differing: number; readonly of: number; readonly seconds: number }> {
  const began = performance.now();
  const trip = rg.compile((start: Motion): T => {
    const there = rg.loop(pair.step, start, { length });
    const back = rg.loop((c: Motion, i) => pair.inverse(c, i.neg().add(length - 1)), there, {
      length,
    });
    const count = (a: T, b: T): T => a.bitcast("u32").notEqual(b.bitcast("u32")).cast("i32").sum();
    return count(back.x, start.x).add(count(back.v, start.v));
  });
  const differing = await trip(start).item() as number;
  trip.dispose();
  const seconds = (performance.now() - began) / 1000;
  return { differing, of: start.x.size + start.v.size, seconds };
}

/** See the top of the file. */
export const grid: Experiment = {
  title: "A leapfrog on a grid, there and back",
  about:
    "A pendulum and 64 bodies that attract one another, a million steps forward and a million " +
    "backward, with sums on a grid and with plain floats. `--scale` takes fewer steps.",
  async run({ scale, progress }) {
    const length = Math.max(100, Math.round(1e6 * scale));
    const rows: (string | number)[][] = [], claims: Claim[] = [];
    const bodies = { x: normal(1, [64, 3]), v: normal(2, [64, 3]).mul(0.2) };
    const pendulum = { x: rg.tensor([1, 2, 0.5, -2.5]), v: rg.tensor([0, 0.25, 1, -0.5]) };
    const cases = [
      ["pendulum", pendulum, { force: (x: T) => x.sin().neg(), h: 0.05 }, { range: 8 }],
      ["64 bodies", bodies, { force: attraction, h: 0.01 }, { range: 1024, velocityRange: 16 }],
    ] as const;
    for (const [name, start, options, range] of cases) {
      const exact = rg.steps.exactLeapfrog({ ...options, ...range });
      const both = [
        ["grid", exact, exact.start(start)],
        ["floats", rg.steps.leapfrog(options), start],
      ] as const;
      for (const [kind, pair, first] of both) {
        progress(`${name}, ${kind}`);
        const { differing, of, seconds } = await returned(pair, first, length);
        rows.push([`${name}, ${kind}`, length, `${differing} of ${of}`, seconds.toFixed(0)]);
        const met = kind === "grid" ? differing === 0 : differing > 0;
        claims.push({ text: `${name}, ${kind}: ${differing} values differ`, met });
      }
    }
    return {
      tables: [{
        title: "There and back",
        columns: ["motion", "steps each way", "values that differ", "s"],
        rows,
      }],
      claims,
    };
  },
};

/** A loop to be gone back over: its loss, by strategy, and what it is the loss of. */
interface Case {
  readonly name: string;
  readonly args: readonly T[];
  readonly length: number;
  /** Elements of a state. */
  readonly elements: number;
  /** Bits an element and step that are to be shown, if any. */
  readonly most?: number;
  readonly loss: (tape: boolean, length: number) => (...args: T[]) => T;
}

/** Without a tape every state is stored. */
const backwardOf = (tape: boolean, inverse: (carry: never, x: never) => unknown): rg.Backward =>
  tape
    ? rg.reverse({ inverse: inverse as (c: unknown, x: unknown) => unknown, exact: "tape" })
    : "store";

function leapfrogCase(scale: number): Case {
  const size = 16384, pair = rg.steps.leapfrog({ force: (x: T) => x.sin().neg(), h: 0.05 });
  return {
    name: "leapfrog",
    args: [normal(1, [size]), normal(2, [size])],
    length: Math.max(20, Math.round(400 * scale)),
    elements: 2 * size,
    most: 0.9,
    loss: (tape, length) => (x, v) => {
      const end = rg.loop(pair.step, { x: x!, v: v! }, {
        length,
        backward: backwardOf(tape, pair.inverse as never),
      });
      return end.x.square().sum().add(end.v.sum());
    },
  };
}

function couplingCase(scale: number): Case {
  type Weights = { f: T; g: T };
  const [width, rows] = [128, 128], length = Math.max(8, Math.round(64 * scale));
  const block = rg.steps.additiveCoupling(
    (x: T, { f }: Weights) => x.matmul(f).tanh(),
    (x: T, { g }: Weights) => x.matmul(g).tanh(),
  );
  const weights = (seed: number): T =>
    normal(seed, [length, width, width]).mul(0.1 / Math.sqrt(width));
  return {
    name: "additive couplings",
    args: [normal(3, [rows, width]), normal(4, [rows, width]), weights(5), weights(6)],
    length,
    elements: 2 * width * rows,
    most: 1.5,
    loss: (tape, length) => (a, b, f, g) => {
      const [[y1, y2]] = rg.scan(
        (x: [T, T], w: Weights): [[T, T], null] => [block.step(x, w), null],
        [a!, b!] as [T, T],
        { f: f!.slice([0, length]), g: g!.slice([0, length]) },
        { backward: backwardOf(tape, block.inverse as never) },
      );
      return y1.square().sum().add(y2.sum());
    },
  };
}

type State = { w: T; m: T; v: T };

function optimizerCases(scale: number): Case[] {
  const [rows, width] = [256, 64];
  const x = normal(7, [rows, width]), y = x.matmul(normal(8, [width, 64])).tanh();
  const error = (w: T): T => x.matmul(w).tanh().sub(y).square().mean().mul(64);
  const slope = (w: T): T => rg.grad(error)(w);
  const kinds: Record<string, (s: State) => State> = {
    "plain SGD": ({ w, m, v }) => ({ w: w.sub(slope(w).mul(0.1)), m, v }),
    "momentum SGD": ({ w, m, v }) => {
      const next = m.mul(0.9).add(slope(w));
      return { w: w.sub(next.mul(0.02)), m: next, v };
    },
    Adam: ({ w, m, v }) => {
      const g = slope(w);
      const next = { m: m.mul(0.9).add(g.mul(0.1)), v: v.mul(0.999).add(g.square().mul(0.001)) };
      return { ...next, w: w.sub(next.m.div(next.v.sqrt().add(1e-8)).mul(0.001)) };
    },
  };
  const parts: Record<string, number> = { "plain SGD": 1, "momentum SGD": 2, Adam: 3 };
  return Object.entries(kinds).map(([name, step]) => {
    const { inverse } = rg.steps.byIteration(step, { iterations: 6 });
    return {
      name,
      args: [normal(9, [width, 64]).mul(0.3)],
      length: Math.max(10, Math.round(100 * scale)),
      elements: parts[name]! * width * 64,
      loss: (tape, length) => (w) => {
        const start = { w: w!, m: w!.mul(0), v: w!.mul(0).add(1e-3) };
        const backward = backwardOf(tape, inverse as never);
        return error(rg.loop(step, start, { length, backward }).w);
      },
    };
  });
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

/** Gradients of a case, compiled, and what its program takes. */
async function measure(one: Case, tape: boolean, length: number) {
  const argnums = one.args.map((_, i) => i);
  const run = rg.compile((...args: T[]): T[] =>
    rg.grad(one.loss(tape, length), { argnums })(...args)
  );
  const bitsOf = async (): Promise<string[]> =>
    await Promise.all(
      run(...one.args).map(async (g) => {
        const data = await g.data();
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        const digest = await crypto.subtle.digest("SHA-256", bytes.slice());
        return [...new Uint8Array(digest)].join();
      }),
    );
  // An arena that was too small is larger the second time.
  const bits = await bitsOf().catch((error) => {
    if (error instanceof rg.CheckError) return bitsOf();
    throw error;
  });
  const drop = () => run(...one.args).forEach((g) => g.dispose());
  const time = (await timesOf([drop], 3))[0]!;
  const { peak } = run.programs().at(-1)!.memory;
  const rate = run.explain().match(/bits an element and step: ([\d.]+)/)?.[1];
  run.dispose();
  return { bits: bits.join(), time, peak, rate: Number(rate) };
}

/** See the top of the file. */
export const tape: Experiment = {
  title: "The tape of differences",
  about:
    "Gradients through loops that are run backwards, with what the inverse gets wrong on a tape, " +
    "beside those with every state stored. The optimizers' inverses are six iterations. `--scale` " +
    "takes fewer steps.",
  async run({ scale, progress }) {
    const rows: (string | number)[][] = [], claims: Claim[] = [];
    for (const one of [leapfrogCase(scale), couplingCase(scale), ...optimizerCases(scale)]) {
      progress(one.name);
      const [store, taped] = [
        await measure(one, false, one.length),
        await measure(one, true, one.length),
      ];
      // What another step costs, counted as the tape's own bits.
      const slope = taped.rate / 32;
      const same = store.bits === taped.bits;
      rows.push([
        one.name,
        one.length,
        taped.rate.toFixed(3),
        megabytes(store.peak),
        megabytes(taped.peak),
        `${(100 * slope).toFixed(1)} %`,
        store.time.toFixed(0),
        taped.time.toFixed(0),
        same ? "yes" : "no",
      ]);
      claims.push({ text: `${one.name}: the gradient is that of store, to the bit`, met: same });
      if (one.most !== undefined) {
        claims.push({
          text: `${one.name}: ${taped.rate} bits an element and step, at most ${one.most}`,
          met: taped.rate <= one.most,
        }, {
          text: `${one.name}: ${(100 * slope).toFixed(1)} % of a state a step, at most 4 %`,
          met: slope <= 0.04,
        }, {
          text: `${one.name}: ${(taped.time / store.time).toFixed(2)} times the time, at most 2`,
          met: taped.time <= 2 * store.time,
        });
      }
    }
    return { tables: [{ title: "Stored and taped", columns, rows }], claims };
  },
};

/** See the top of the file. */
export const pairs: Experiment = {
  title: "McCallum–Foster pairs, far apart",
  about:
    "y′ = −y over T = 5 with the midpoint rule and λ = .99: how far the first value is from what " +
    "it was after all steps and their inverses, and whether the gradient with a tape is exact. " +
    "`--scale` leaves out the longer ones.",
  async run({ scale, progress }) {
    const rows: (string | number)[][] = [], claims: Claim[] = [];
    for (const length of [500, 2000, 10_000].filter((n) => n <= Math.max(500, 10_000 * scale))) {
      progress(`${length} steps`);
      const pair = rg.steps.coupled({ field: (y: T) => y.neg(), h: 5 / length, coupling: 0.99 });
      const y0 = rg.tensor([1]);
      const there = rg.loop(pair.step, pair.start(y0), { length });
      const back = rg.loop((c, i) => pair.inverse(c, i.neg().add(length - 1)), there, { length });
      const off = await back.y.sub(y0).abs().max().item() as number;
      const loss = (backward: rg.Backward) => (y0: T): T =>
        pair.value(rg.loop(pair.step, pair.start(y0), { length, backward })).square().sum();
      const [exact, stored] = [
        await rg.grad(loss(rg.reverse({ ...pair, exact: "tape" })))(y0).item(),
        await rg.grad(loss("store"))(y0).item(),
      ];
      rows.push([length, off.toPrecision(2), exact === stored ? "yes" : "no"]);
      claims.push({ text: `${length} steps: the gradient is exact`, met: exact === stored });
      if (length === 10_000) {
        claims.push({ text: `10 000 steps: diverges without the tape (${off})`, met: !(off < 1) });
      }
    }
    return {
      tables: [{ title: "Reconstruction", columns: ["steps", "off by", "tape exact"], rows }],
      claims,
    };
  },
};

/** See the top of the file. */
export const leaves: Experiment = {
  title: "Taped leaves under an outer schedule",
  about:
    "A leapfrog of 4096 pendulums over 10^5 steps: revolve keeps 50 states, the leaves of 2000 " +
    "steps between them are reversed by tape. Beside the model s·|state| + leaf·D·b/8 + |tape of one " +
    "step|. `--scale` takes shorter leaves.",
  async run({ scale, progress }) {
    const size = 4096, elements = 2 * size, snapshots = 50;
    const segment = Math.max(40, Math.round(2000 * scale));
    const length = snapshots * segment;
    const pair = rg.steps.leapfrog({ force: (x: T) => x.sin().neg(), h: 0.05 });
    const bits = 0.5;
    progress(`${length} steps`);
    const run = rg.compile((x: T, v: T): T =>
      rg.grad((x: T) =>
        rg.loop(pair.step, { x, v }, {
          length,
          backward: rg.revolve({
            snapshots,
            segment,
            leaf: rg.reverse({ ...pair, exact: "tape", tape: { bits } }),
          }),
        }).x.sum()
      )(x)
    );
    const args = [normal(1, [size]), normal(2, [size])] as const;
    const began = performance.now();
    const first = await run(...args).data().catch((error) => {
      if (error instanceof rg.CheckError) return run(...args).data();
      throw error;
    });
    const seconds = (performance.now() - began) / 1000;
    const { peak } = run.programs().at(-1)!.memory;
    const rate = Number(run.explain().match(/bits an element and step: ([\d.]+)/)![1]);
    const state = 4 * elements;
    // Of what is alive besides: the working state, its cotangent, the guess and the codes.
    const model = snapshots * state + segment * elements * rate / 8 + state;
    run.dispose();
    return {
      tables: [{
        title: "Peak",
        columns: ["steps", "leaf", "bits", "peak, MB", "model, MB", "states besides", "s"],
        rows: [[
          length,
          segment,
          rate.toFixed(3),
          megabytes(peak),
          megabytes(model),
          ((peak - model) / state).toFixed(1),
          seconds.toFixed(0),
        ]],
      }],
      claims: [{
        text: `the peak is ${(peak / model).toFixed(2)} times the model, at most 1.1`,
        met: peak <= 1.1 * model,
      }, { text: "the gradient is finite", met: first.every(Number.isFinite) }],
    };
  },
};
