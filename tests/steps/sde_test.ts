/** Stochastic equations: orders, moments, noise of every kind, paths, and gradients. */
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import "../gpu.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;

Deno.test("sdeSolve() follows one path, whatever the way back", async () => {
  // dy = a·y dt + b·y ∘ dW has the solution y0·exp(a·t + b·W).
  const [a, b, steps, key] = [0.5, 0.4, 256, rg.random.key(9)];
  const y0 = rg.ones([64]);
  const solve = (b: T, backward: rg.SolveBackward): T =>
    rg.sdeSolve((y: T) => y.mul(a), (y: T) => y.mul(b), y0, { t1: 1, steps, key, backward });
  const walk = rg.loop(
    (w: T, i) => w.add(rg.steps.brownian(key, w, 1 / steps, i)),
    rg.zeros([64]),
    { length: steps },
  );
  const exact = walk.mul(b).add(a).exp();
  const off = await solve(rg.tensor(b), "store").sub(exact).abs().max().item() as number;
  assert(off < 0.02, `off by ${off}`);
  // The path is normal with variance 1.
  assert(Math.abs(await walk.square().mean().item() as number - 1) < 0.5);
  const slope = (backward: rg.SolveBackward) =>
    rg.grad((b: T) => solve(b, backward).mean())(rg.tensor(b)).item();
  assertEquals(await slope("reverse"), await slope("store"));
  const expected = await exact.mul(walk).mean().item() as number;
  assertAlmostEquals(await slope("store") as number, expected, 0.02);
});

/** y0·exp(…) for geometric Brownian motion, of the same path as the solutions. */
const [a, b, paths, key] = [0.6, 0.8, 1024, rg.random.key(5)];
const last = rg.steps.brownianPath({ key, like: rg.zeros([paths]), t1: 1, levels: 6 })
  .at(rg.tensor(1));

Deno.test("methods converge strongly with their orders, each in its sense, along one path", async () => {
  const orders = {
    eulerMaruyama: 0.5,
    milstein: 1,
    heun: 1,
    midpoint: 1,
    reversibleHeun: 1,
  } as const;
  const sizes = [8, 64];
  const off = (method: rg.StochasticMethod, steps: number): T => {
    const end = rg.sdeSolve((y: T) => y.mul(a), (y: T) => y.mul(b), rg.ones([paths]), {
      t1: 1,
      steps,
      key,
      method,
      path: "tree",
    });
    const ito = method === "eulerMaruyama" || method === "milstein";
    const exact = last.mul(b).add(ito ? a - b * b / 2 : a).exp();
    return end.sub(exact).abs().mean();
  };
  const names = Object.keys(orders) as (keyof typeof orders)[];
  const values = await rg.readAll(names.flatMap((name) => sizes.map((n) => off(name, n))));
  names.forEach((name, k) => {
    const [coarse, fine] = [values[2 * k]![0]!, values[2 * k + 1]![0]!];
    const seen = Math.log(coarse / fine) / Math.log(sizes[1]! / sizes[0]!);
    assert(Math.abs(seen - orders[name]) < 0.2, `${name} converges with order ${seen}`);
  });
});

Deno.test("the moments of Ornstein–Uhlenbeck and of geometric Brownian motion come out", async () => {
  const n = 1 << 15, options = { t1: 1, steps: 64, key: rg.random.key(3) };
  // dy = −θy dt + σ dW: mean y0·e^−θ, variance σ²(1 − e^−2θ)/2θ.
  const [theta, sigma] = [1.5, 0.7];
  const ou = rg.sdeSolve(
    (y: T) => y.mul(-theta),
    (y: T) => y.mul(0).add(sigma),
    rg.ones([n]),
    options,
  );
  const gbm = rg.sdeSolve((y: T) => y.mul(0.3), (y: T) => y.mul(0.4), rg.ones([n]), {
    ...options,
    sense: "ito",
    method: "milstein",
  });
  const [m, v, gm, gv] = (await rg.readAll([ou.mean(), ou.variance(), gbm.mean(), gbm.variance()]))
    .map((x) => x[0]!) as [number, number, number, number];
  const variance = sigma ** 2 * (1 - Math.exp(-2 * theta)) / (2 * theta);
  const standard = (variance: number): number => 4 * Math.sqrt(variance / n) + 0.002;
  assertAlmostEquals(m, Math.exp(-theta), standard(variance));
  assertAlmostEquals(v, variance, 0.04 * variance);
  const square = Math.exp(0.6) * (Math.exp(0.16) - 1);
  assertAlmostEquals(gm, Math.exp(0.3), standard(square));
  assertAlmostEquals(gv, square, 0.08 * square);
});

Deno.test("brownianPath() is one path, however it is asked for, of the right covariance", async () => {
  const path = rg.steps.brownianPath({ key, like: rg.zeros([8192]), t0: 1, t1: 3 });
  const times = [1, 1.3, 2, 2.6, 3].map((t) => rg.tensor(t));
  const values = await rg.readAll(times.map((t) => path.at(t)));
  const again = await path.at(rg.tensor(2)).data();
  assertEquals([...again], [...values[2]!]);
  assert(values[0]!.every((x) => x === 0));
  const mean = (x: ArrayLike<number>, y: ArrayLike<number>): number => {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
    return sum / x.length;
  };
  const expected = [0, 0.3, 1, 1.6, 2];
  for (let i = 0; i < 5; i++) {
    for (let k = i; k < 5; k++) {
      assertAlmostEquals(mean(values[i]!, values[k]!), expected[i]!, 0.1, `times ${i} and ${k}`);
    }
  }
  const part = await path.between(rg.tensor(1.3), rg.tensor(2)).data();
  part.slice(0, 50).forEach((x, i) =>
    assertAlmostEquals(x as number, values[2]![i]! - values[1]![i]!, 1e-5)
  );
});

Deno.test("the path of a key is as fine wherever its interval begins, and nowhere outside of it", async () => {
  // At 10^5 floats lie farther apart than the steps are long.
  const walk = (t0: number, steps: number): Promise<ArrayLike<number>> =>
    rg.sdeSolve((y: T) => y.mul(0), (y: T) => y.mul(0).add(1), rg.zeros([16]), {
      t0,
      t1: t0 + 1,
      steps,
      key,
      path: "tree",
      method: "heun",
    }).data();
  assertEquals(await walk(1e5, 300), await walk(0, 300));
  // Nothing happens in no time.
  const still = rg.sdeSolve((y: T) => y, (y: T) => y, rg.ones([2]), {
    t1: 0,
    steps: 3,
    key,
    path: "tree",
  });
  assertEquals(await still.array(), [1, 1]);
  const path = rg.steps.brownianPath({ key, like: rg.zeros([2]), t0: 1, t1: 3 });
  for (const t of [0.9, 3.1, NaN]) {
    await assertRejects(
      () => path.at(rg.tensor(t)).data(),
      rg.CheckError,
      "a time of a Brownian path is outside of the interval, expected all from t0 to t1",
    );
  }
});

Deno.test("scalar and general noise drive elements together, with gradients that can run backwards", async () => {
  const n = 4096, mix = rg.tensor([[0.5, 0], [0.3, 0.4]]);
  const none = (y: T): T => y.mul(0);
  const end = rg.sdeSolve(
    none,
    (y: T) => mix.expandDims(0).add(y.expandDims(2).mul(0)),
    rg.zeros([n, 2]),
    { t1: 1, steps: 8, key, noise: "general" },
  );
  // Two paths for all: every row is the same.
  const rows = await end.data();
  assertEquals(rows[0], rows[2]);
  const wide = rg.vmap((key: T) =>
    rg.sdeSolve(none as (y: T) => T, (y: T) => mix.add(y.expandDims(1).mul(0)), rg.zeros([2]), {
      t1: 1,
      steps: 8,
      key,
      noise: "general",
    })
  )(rg.stack(rg.random.split(rg.random.key(8), n)));
  const covariance = await wide.transpose().matmul(wide).div(n).data();
  [0.25, 0.15, 0.15, 0.25].forEach((x, i) => assertAlmostEquals(covariance[i]!, x, 0.03));
  const together = await rg.sdeSolve(none, (y: T) => y.mul(0).add(1), rg.zeros([3]), {
    t1: 1,
    steps: 4,
    key,
    noise: "scalar",
  }).data();
  assert(together[0] !== 0 && together[0] === together[1] && together[1] === together[2]);
  const slope = (backward: rg.SolveBackward) =>
    rg.grad((mix: T) =>
      rg.sdeSolve(
        (y: T) => y.neg(),
        (y: T) => y.expandDims(1).tanh().mul(mix),
        rg.tensor([0.5, -1]),
        { t1: 1, steps: 12, key, noise: "general", backward },
      ).square().sum()
    )(mix).data();
  const expected = await slope("store");
  assertEquals(await slope("reverse"), expected);
});

Deno.test("sdeSolve() gives gradients of y0, parameters and times, checked by differences", async () => {
  for (const method of ["milstein", "midpoint"] as const) {
    const report = await rg.checkGradients(
      (y0: T, w: T, t1: T) =>
        rg.sdeSolve((y: T, t: T) => y.mul(w).add(t.sin()), (y: T) => y.tanh().mul(w), y0, {
          t1,
          steps: 6,
          key,
          method,
        }).square().sum(),
      [rg.tensor([0.3, -0.8]), rg.tensor([0.7, 1.1]), rg.tensor(0.9)],
    );
    assert(report.directions.length > 0, method);
  }
});

Deno.test("what sdeSolve() cannot solve is refused", () => {
  const y = rg.tensor([1]), f = (y: T): T => y;
  const refused = (message: string, options: object): void => {
    assertThrows(
      () => rg.sdeSolve(f, f, y, { t1: 1, steps: 3, key, ...options } as rg.SdeOptions),
      TypeError,
      message,
    );
  };
  refused("the method is heun, which does not solve in the sense of Itô, expected one of euler", {
    sense: "ito",
    method: "heun",
  });
  refused('method is "rk4", expected one of eulerMaruyama', { method: "rk4" });
  refused('noise is "white", expected one of diagonal', { noise: "white" });
  refused("one more axis, the last", { noise: "general" });
  const of = (drift: (y: T) => T, diffusion: (y: T) => T, noise: "diagonal" | "general"): void => {
    rg.sdeSolve(drift, diffusion, rg.ones([2]), { t1: 1, steps: 3, key, noise });
  };
  const misfits: [string, () => void][] = [
    [
      "the drift returned f32[] for y, expected floats of [2]",
      () => of((y) => y.sum(), f, "diagonal"),
    ],
    ["the drift returned i32[2] for y", () => of((y) => y.cast("i32"), f, "diagonal")],
    ["the diffusion returned f32[3] for y", () => of(f, () => rg.ones([3]), "diagonal")],
    [
      "y0 and what the diffusion returned differ",
      () => of(f, ((y: T) => [y]) as never, "diagonal"),
    ],
    ["one more axis, the last", () => of(f, () => rg.ones([3, 2]), "general")],
  ];
  for (const [message, make] of misfits) assertThrows(make, TypeError, message);
  refused('the noise is "general", expected "diagonal" or "scalar"', {
    noise: "general",
    method: "milstein",
  });
  refused("the method has no inverse, expected a reversible one (reversibleHeun)", {
    method: "heun",
    backward: "reverse",
  });
  refused("t1 is Infinity, expected a finite number", { t1: Infinity });
  assertThrows(
    () => rg.sdeSolve(f, f, y, { t1: 1, steps: 0, key }),
    RangeError,
    "Cannot solve an SDE: steps is 0, expected an integer ≥ 1",
  );
  assertThrows(
    () => rg.steps.brownianPath({ key, like: y, t1: 1, levels: 0 }),
    RangeError,
    "levels is 0, expected an integer from 1 to 24",
  );
});
