/**
 * Second-order methods on a problem whose answer is known: logistic regression of MNIST's fours
 * against its nines, rows of length 1, with a penalty λ‖x‖², λ = 1e-4. Newton's method by conjugate
 * gradients and by LiSSA (Agarwal, Bullins and Hazan 2017), beside gradient descent with momentum,
 * against a dense Newton solve in float64; and the unbiased estimate of H⁻¹·g by a single term of
 * the Neumann series (Baydin, Pearlmutter and Siskind 2016).
 *
 * @module
 */
import * as rg from "@retrograd/retrograd";
import type { Experiment } from "../../bench/memory/experiment.ts";

const features = 784, lambda = 1e-4;

/** Fours and nines as rows of length 1, in float64, and -1 or 1 for each. */
async function foursAndNines(scale: number): Promise<{ x: Float64Array; y: Float64Array }> {
  const { train } = await rg.data.mnist();
  const every = rg.tensor(train.rows, { dtype: "u32" });
  const labels = await train.at(every).y.data();
  const wanted = [...labels.keys()].filter((i) => labels[i] === 4 || labels[i] === 9);
  const rows = wanted.slice(0, Math.max(200, Math.round(wanted.length * scale)));
  const pixels = await train.at(rg.tensor(rows, { dtype: "u32" })).x.data() as Float32Array;
  const x = new Float64Array(rows.length * features);
  rows.forEach((_, i) => {
    const row = pixels.subarray(i * features, (i + 1) * features), length = Math.hypot(...row);
    row.forEach((v, k) => x[i * features + k] = Math.fround(v / length));
  });
  return { x, y: Float64Array.from(rows, (i) => labels[i] === 4 ? -1 : 1) };
}

/** The loss and, if asked for, its gradient and Hessian, in float64. */
function exactly(x: Float64Array, y: Float64Array, w: Float64Array, derivatives: boolean) {
  const n = y.length, gradient = new Float64Array(features);
  const hessian = derivatives ? new Float64Array(features * features) : new Float64Array(0);
  let value = 0;
  for (let k = 0; k < features; k++) {
    value += lambda * w[k]! ** 2;
    gradient[k] = 2 * lambda * w[k]!;
    if (derivatives) hessian[k * features + k] = 2 * lambda;
  }
  for (let i = 0; i < n; i++) {
    const row = x.subarray(i * features, (i + 1) * features), on: number[] = [];
    let dot = 0;
    for (let k = 0; k < features; k++) {
      if (row[k] === 0) continue;
      on.push(k);
      dot += row[k]! * w[k]!;
    }
    const margin = -y[i]! * dot, p = 1 / (1 + Math.exp(-margin));
    value += (Math.max(margin, 0) + Math.log1p(Math.exp(-Math.abs(margin)))) / n;
    if (!derivatives) continue;
    const curve = p * (1 - p) / n;
    for (const k of on) {
      gradient[k]! -= y[i]! * p * row[k]! / n;
      for (const l of on) hessian[k * features + l]! += curve * row[k]! * row[l]!;
    }
  }
  return { value, gradient, hessian };
}

/** Solves a symmetric positive definite system in place, by Cholesky's factors. */
function solve(a: Float64Array, b: Float64Array): Float64Array {
  const n = b.length;
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= a[i * n + k]! * a[j * n + k]!;
      a[i * n + j] = i === j ? Math.sqrt(sum) : sum / a[j * n + j]!;
    }
  }
  const x = b.slice();
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i]! -= a[i * n + k]! * x[k]!;
    x[i]! /= a[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i]! -= a[k * n + i]! * x[k]!;
    x[i]! /= a[i * n + i]!;
  }
  return x;
}

/** The optimum, by Newton's method with dense matrices in float64. */
function optimum(x: Float64Array, y: Float64Array): { w: Float64Array; value: number } {
  let w: Float64Array = new Float64Array(features);
  for (let step = 0;; step++) {
    const { value, gradient, hessian } = exactly(x, y, w, true);
    if (Math.hypot(...gradient) < 1e-12 || step === 30) return { w, value };
    const move = solve(hessian, gradient);
    let t = 1;
    const at = (t: number): Float64Array => w.map((w, k) => w - t * move[k]!);
    // Once full steps are good, differences of values are no measure any more.
    while (t > 1e-3 && exactly(x, y, at(t), false).value > value + 1e-15) t /= 2;
    w = at(t);
  }
}

/** See the top of the file. */
export const curvature: Experiment = {
  title: "Second-order methods: fours against nines",
  about: "Logistic regression of MNIST's fours against its nines, rows of length 1, λ = 1e-4: " +
    "Newton by conjugate gradients, LiSSA and descent with momentum against a dense Newton solve " +
    "in float64; and the single-term estimate of H⁻¹·g. `--scale` takes fewer images.",
  async run({ scale, progress }) {
    const host = await foursAndNines(scale), n = host.y.length;
    progress(`${n} images; the dense solve`);
    const best = optimum(host.x, host.y);
    const x = rg.tensor(Float32Array.from(host.x), { shape: [n, features] });
    const y = rg.tensor(Float32Array.from(host.y));
    await rg.realize([x, y]);
    type Data = { x: rg.Tensor; y: rg.Tensor };
    const loss = (w: rg.Tensor, { x, y }: Data, decay = lambda): rg.Tensor =>
      x.matmul(w).mul(y).neg().softplus().mean().add(w.square().sum().mul(decay));
    const valueAt = async (w: rg.Tensor): Promise<number> =>
      exactly(host.x, host.y, Float64Array.from(await w.data()), false).value;

    type Step = (w: rg.Tensor, v: rg.Tensor, i: number) => { w: rg.Tensor; v: rg.Tensor };
    const newton = rg.compile((w: rg.Tensor, data: Data) =>
      rg.optim.newtonStep((w: rg.Tensor) => loss(w, data), w, { iterations: 80, tolerance: 1e-3 })
        .params
    );
    const depth = 1000, samples = 50;
    const lissa = rg.compile((w: rg.Tensor, data: Data, key: rg.Tensor) => {
      const g = rg.grad((w: rg.Tensor) => loss(w, data))(w);
      // Four times the Hessian is at most 1, whatever the samples; so is what comes out.
      const product = (v: rg.Tensor, key: rg.Tensor): rg.Tensor => {
        const rows = rg.random.randint(key, [samples], 0, n);
        const some = { x: data.x.take(rows), y: data.y.take(rows) };
        return rg.hvp((w: rg.Tensor) => loss(w, some).mul(3.9), w, v);
      };
      const d = rg.optim.lissa(product, g, { depth, key }).mul(3.9);
      const f = (w: rg.Tensor) => loss(w, data);
      return rg.optim.lineSearch(f, w, g, { direction: d.neg() }).params;
    });
    const descent = rg.compile((w: rg.Tensor, v: rg.Tensor, data: Data) => {
      const g = rg.grad((w: rg.Tensor) => loss(w, data))(w), next = v.mul(0.9).sub(g.mul(4));
      return { w: w.add(next), v: next };
    });
    const data = { x, y };
    const methods: { name: string; rounds: number; every: number; step: Step }[] = [
      {
        name: "Newton-CG",
        rounds: 10,
        every: 1,
        step: (w, v) => ({ w: newton(w, data), v }),
      },
      {
        name: "LiSSA",
        rounds: 25,
        every: 1,
        step: (w, v, i) => ({ w: lissa(w, data, rg.random.key(i)), v }),
      },
      { name: "momentum", rounds: 600, every: 20, step: (w, v) => descent(w, v, data) },
    ];
    const rows: (string | number)[][] = [], lines = [], ends = new Map<string, number>();
    let apart = NaN;
    for (const { name, rounds, every, step } of methods) {
      let state = { w: rg.zeros([features]), v: rg.zeros([features]) };
      const points: [number, number][] = [];
      const began = performance.now();
      let seconds = 0;
      for (let i = 0; i < rounds; i++) {
        state = step(state.w, state.v, i);
        if ((i + 1) % every !== 0) continue;
        await rg.synchronize();
        seconds = (performance.now() - began) / 1000;
        const off = await valueAt(state.w) - best.value;
        points.push([i + 1, Math.max(off, 1e-12)]);
        progress(`${name}, step ${i + 1}: ${off.toExponential(2)} above the optimum`);
      }
      const off = points.at(-1)![1];
      ends.set(name, off);
      if (name === "Newton-CG") {
        const w = await state.w.data();
        apart = Math.max(...w.map((v, k) => Math.abs(v - best.w[k]!))) /
          Math.max(...best.w.map(Math.abs));
      }
      lines.push({ name, points });
      rows.push([name, rounds, off.toExponential(2), seconds.toFixed(1)]);
    }

    // A larger penalty, so that the series is short: the estimate needs no bound on its bias.
    progress("single terms");
    const heavy = 0.02, draws = 300;
    const w = rg.zeros([features]);
    const single = rg.compile((data: Data, key: rg.Tensor) => {
      const f = (w: rg.Tensor) => loss(w, data, heavy);
      const g = rg.grad(f)(w), times = 3;
      const estimates = rg.vmap((draw: rg.Tensor) => {
        const { x } = rg.optim.inverseProduct(
          (v: rg.Tensor) => rg.hvp(f, w, v).mul(times),
          g,
          {
            spectrum: [2 * heavy * times, (0.25 + 2 * heavy) * times],
            key: rg.random.foldIn(key, draw),
          },
        );
        return x.mul(times).mul(g).sum();
      })(rg.arange(draws).cast("u32"));
      const exact = rg.optim.conjugateGradient((v: rg.Tensor) => rg.hvp(f, w, v), g, {
        iterations: 100,
        tolerance: 1e-6,
      });
      return { estimates, exact: exact.x.mul(g).sum() };
    });
    const few = Math.min(n, 500);
    const part = { x: x.slice([0, few]), y: y.slice([0, few]) };
    const { estimates, exact } = single(part, rg.random.key(5));
    const all = [...await estimates.data()], target = await exact.item();
    const mean = all.reduce((a, b) => a + b, 0) / draws;
    const deviation = Math.sqrt(all.reduce((s, v) => s + (v - mean) ** 2, 0) / (draws - 1));
    const error = deviation / Math.sqrt(draws);
    return {
      tables: [
        {
          title: `${n} images; the optimum is ${best.value.toFixed(8)}`,
          columns: ["method", "steps", "above the optimum", "s"],
          rows,
        },
        {
          title: `gᵀH⁻¹g by single terms of the series, λ = ${heavy}, ${few} images`,
          columns: ["draws", "mean", "standard error", "exact"],
          rows: [[draws, mean.toFixed(5), error.toFixed(5), target.toFixed(5)]],
        },
      ],
      pictures: [{
        name: "curvature",
        title: "Fours against nines: loss above the optimum",
        xName: "step",
        yName: "above the optimum",
        lines,
        log: "xy",
      }],
      claims: [
        {
          text:
            `Newton-CG ends ${ends.get("Newton-CG")!.toExponential(1)} above the dense solve, ` +
            `at most 1e-6 (weights ${apart.toExponential(1)} of the largest apart)`,
          met: ends.get("Newton-CG")! <= 1e-6,
        },
        {
          text: "LiSSA's 25 steps end lower than 600 steps of momentum",
          met: ends.get("LiSSA")! <= ends.get("momentum")!,
        },
        {
          text: `the mean of single terms is ${((mean - target) / error).toFixed(1)} standard ` +
            "errors off, at most 4",
          met: Math.abs(mean - target) <= 4 * error,
        },
      ],
    };
  },
};
