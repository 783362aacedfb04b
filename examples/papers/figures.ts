/**
 * Figures that papers give in a line, each computed anew: Lipschitz constants of activations (Qi et
 * al. 2023), ONNX's optimizer operators, variances of single terms of Neumann's series (Baydin,
 * Pearlmutter and Siskind 2016) and of sketches (Oktay et al. 2020), and what rounding makes of small
 * steps (Gupta et al. 2015).
 *
 * @module
 */
import * as rg from "@retrograd/retrograd";
import type { Claim, Experiment, Table } from "../../bench/memory/experiment.ts";

/** One kind of figure: its table, and how far off it may be. */
interface Figures {
  readonly table: Table;
  readonly claims: readonly Claim[];
}

const columns = ["figure", "published", "measured"];

/** Rows of names, published and measured figures; the claim is that none is further off. */
function compared(
  title: string,
  rows: readonly (readonly [name: string, published: number, measured: number])[],
  off: (published: number, measured: number) => number,
  [most, unit]: readonly [number, string],
): Figures {
  const worst = Math.max(...rows.map(([, published, measured]) => off(published, measured)));
  return {
    table: {
      title,
      columns,
      rows: rows.map(([name, published, measured]) => [
        name,
        published,
        Number(measured.toPrecision(7)),
      ]),
    },
    claims: [{
      text: `${title}: at most ${worst.toExponential(1)} ${unit}, ${most} allowed`,
      met: worst <= most,
    }],
  };
}

const apart = (a: number, b: number): number => Math.abs(a - b);
const byPart = (a: number, b: number): number => Math.abs(b / a - 1);

/** Activations, and their largest slopes as published. */
export const steepest: readonly (readonly [string, (x: rg.Tensor) => rg.Tensor, number])[] = [
  ["ReLU", rg.nn.relu, 1],
  ["tanh", rg.nn.tanh, 1],
  ["softplus", rg.nn.softplus, 1],
  ["sigmoid", rg.nn.sigmoid, 0.25],
  ["SiLU", rg.nn.silu, 1.09984],
  ["GELU", rg.nn.gelu, 1.128904],
  ["SELU", rg.nn.selu, 1.7581],
];

/** The largest slopes, measured. */
async function lipschitz(): Promise<Figures> {
  const count = 2001, points = rg.linspace(-12, 12, count).reshape(count, 1);
  const rows: [string, number, number][] = [];
  for (const [name, f, slope] of steepest) {
    rows.push([name, slope, (await rg.train.localLipschitz(f, points, { steps: 2 })).value]);
  }
  const half = await rg.train.localLipschitz((x) => x.softmax(-1), rg.tensor([[5, 5, -30]]));
  rows.push(["softmax", 0.5, half.value]);
  return compared("Lipschitz constants", rows, apart, [1e-3, "off"]);
}

/** X and what is remembered after one step of ONNX's operators. */
async function operators(): Promise<Figures> {
  const { addDecayedWeights, chain, fromTransformation, scaleByAdam, scaleByRate, sgd } = rg.optim;
  const gradient = rg.tensor([-0.94, -2.5]), v = rg.tensor([1.7, 3.6]);
  const step = async (optimizer: rg.optim.Optimizer, own: Record<string, rg.Tensor>) => {
    const params = rg.tensor([1.2, 2.8]), step = rg.tensor(0, { dtype: "u32" });
    const after = optimizer.update({ params, step, memory: [null, own, null] }, gradient);
    const remembered = Object.values((after.memory as unknown as typeof own[])[1]!);
    return (await rg.readAll([after.params, ...remembered])).flatMap((x) => [...x]);
  };
  const moments = { beta1: 0.95, beta2: 0.1, epsilon: 1e-7, biasCorrection: false };
  const momentum = { rate: 0.1, momentum: 0.95, weightDecay: 0.001, dampening: 0.9 };
  const nesterov = { rate: 0.1, momentum: 0.95, weightDecay: 0.01, nesterov: true };
  const adam = fromTransformation(
    chain(addDecayedWeights(0.001), scaleByAdam(moments), scaleByRate(0.1)),
  );
  const results = [
    ["Momentum", ["X", "V"], [1.13238, 2.70772, 0.6762, 0.9228], sgd(momentum), { velocity: v }],
    ["Nesterov", ["X"], [1.227535, 2.95714], sgd(nesterov), { velocity: v }],
    [
      "Adam",
      ["X", "V", "H"],
      [1.025036, 2.661033, 1.56806, 3.29514, 0.803211, 5.622407],
      adam,
      { mean: v, square: rg.tensor([0.1, 0.1]) },
    ],
  ] as const;
  const rows: [string, number, number][] = [];
  for (const [name, letters, published, optimizer, own] of results) {
    const found = await step(optimizer, own);
    published.forEach((value, i) =>
      rows.push([`${name}, ${letters[i >> 1]}[${i & 1}]`, value, found[i]!])
    );
  }
  return compared("ONNX's optimizer operators", rows, byPart, [1e-6, "of it off"]);
}

/** Mean and variance of numbers, in float64. */
function moments(data: ArrayLike<number>): [mean: number, variance: number] {
  let sum = 0, square = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]!;
  const mean = sum / data.length;
  for (let i = 0; i < data.length; i++) square += (data[i]! - mean) ** 2;
  return [mean, square / (data.length - 1)];
}

/** Estimates of 1/h by single terms. */
async function singleTerms(draws: number): Promise<Figures> {
  const keys = rg.random.bits(rg.random.key(7), [draws, 2]), rows: [string, number, number][] = [];
  for (const [h, variance] of [[0.1, 35.71], [0.3, 30.19], [0.5, 23.14], [0.9, 18.98]] as const) {
    const { inverseProduct } = rg.optim, one = rg.tensor(1);
    const estimate = (key: rg.Tensor) =>
      inverseProduct((v: rg.Tensor) => v.mul(h), one, { spectrum: [h, h], stop: 0.05, key }).x;
    const [, found] = moments(await rg.compile(rg.vmap(estimate))(keys).data());
    rows.push([`h = ${h}`, variance, found]);
  }
  return compared("Variance of single terms, q = .05", rows, byPart, [0.05, "of it off"]);
}

/** Estimates of one example's numbers, as the gradient of a weight has them. */
async function sketches(draws: number): Promise<Figures> {
  const n = 8, keep = 0.5, k = 4, x = [1, -2, 0.5, 3, -1, 0.25, 2, -0.75];
  const norm = x.reduce((sum, v) => sum + v * v, 0);
  const keys = rg.random.bits(rg.random.key(3), [draws, 2]), rows: [string, number, number][] = [];
  for (const kind of ["sparse", "project"] as const) {
    const product = (x: rg.Tensor, w: rg.Tensor): rg.Tensor => x.matmul(w);
    const estimate = (key: rg.Tensor): rg.Tensor =>
      rg.grad((w: rg.Tensor) => rg.sketch(product, { keep, kind, key })(rg.tensor([x]), w).sum())(
        rg.zeros([n, 1]),
      );
    const data = await rg.compile(rg.vmap(estimate))(keys).data();
    x.forEach((v, j) => {
      const [, found] = moments(Array.from({ length: draws }, (_, i) => data[i * n + j]!));
      const wanted = kind === "sparse" ? v * v * (n - 1) / k : (norm - v * v) / k;
      rows.push([`${kind}, x = ${v}`, wanted, found]);
    });
  }
  return compared("Variance of sketches, 4 of 8 numbers", rows, byPart, [0.05, "of it off"]);
}

/** 1 with 2^-12 added 4096 times, in steps of 2^-8. */
async function rounding(): Promise<Figures> {
  const rows: [string, number, number][] = [];
  for (const [rounding, wanted] of [["nearest", 1], ["stochastic", 2]] as const) {
    const format = { integer: 3, fraction: 8, rounding };
    const add = (x: rg.Tensor, i: rg.Tensor): rg.Tensor =>
      rg.optim.toFixedPoint(x.add(2 ** -12), format, rg.random.foldIn(rg.random.key(1), i));
    const mean = await rg.loop(add, rg.ones([1024]), { length: 4096 }).mean().item();
    rows.push([rounding, wanted, mean as number]);
  }
  return compared("1 with 2^-12 added 4096 times in ⟨3,8⟩", rows, apart, [0.01, "off"]);
}

/** See the top of the file. */
export const figures: Experiment = {
  title: "Figures in a line",
  about:
    "Lipschitz constants, ONNX's optimizer operators, variances of estimates, and small steps in " +
    "fixed point: what is published beside what comes out. `--scale` draws fewer samples of 100 000.",
  async run({ scale, progress }) {
    const draws = Math.max(1000, Math.round(100_000 * scale)), found: Figures[] = [];
    for (
      const look of [
        lipschitz,
        operators,
        () => singleTerms(draws),
        () => sketches(draws),
        rounding,
      ]
    ) {
      found.push(await look());
      progress(found.at(-1)!.table.title);
    }
    return {
      tables: found.map(({ table }) => table),
      claims: found.flatMap(({ claims }) => claims),
    };
  },
};
