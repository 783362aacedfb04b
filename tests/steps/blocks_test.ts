/** Couplings, momentum blocks, inverses by iteration, and waves. */
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import "../gpu.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;

async function worst(a: T, b: T): Promise<number> {
  return await a.sub(b).abs().max().item() as number;
}

Deno.test("additiveCoupling() is RevNet's, over halves of different shapes and rows of weights", async () => {
  type Weights = { f: T; g: T };
  const key = rg.random.key(3);
  const [a, b, c, d] = rg.random.split(key, 4);
  const block = rg.steps.additiveCoupling(
    (x: T, { f }: Weights) => x.matmul(f).tanh(),
    (x: T, { g }: Weights) => x.matmul(g).sin(),
  );
  const weights = { f: rg.random.normal(a, [6, 3, 5]), g: rg.random.normal(b, [6, 5, 3]) };
  const start: [T, T] = [rg.random.normal(c, [4, 5]), rg.random.normal(d, [4, 3])];
  const [there] = rg.scan((x: [T, T], w: Weights) => [block.step(x, w), null], start, weights);
  const [back] = rg.scan((x: [T, T], w: Weights) => [block.inverse(x, w), null], there, weights, {
    reverse: true,
  });
  assert(await worst(back[0], start[0]) < 1e-5);
  assert(await worst(back[1], start[1]) < 1e-5);
  assert(await worst(there[0], start[0]) > 0.1);
  const one = block.step([rg.tensor([[1]]), rg.tensor([[2]])], {
    f: rg.tensor([[0.5]]),
    g: rg.tensor([[0.25]]),
  });
  const y1 = 1 + Math.tanh(1);
  assertAlmostEquals(await one[0].item() as number, y1, 1e-6);
  assertAlmostEquals(await one[1].item() as number, 2 + Math.sin(y1 / 4), 1e-6);
});

Deno.test("momentumBlock() keeps its velocity", async () => {
  const block = rg.steps.momentumBlock((x: T) => x.cos(), { momentum: 0.8 });
  let [x, v] = [0.5, -1];
  for (let i = 0; i < 20; i++) {
    v = 0.8 * v + 0.2 * Math.cos(x);
    x += v;
  }
  const start = { x: rg.tensor([0.5]), v: rg.tensor([-1]) };
  const there = rg.loop((c: { x: T; v: T }) => block.step(c), start, { length: 20 });
  assertAlmostEquals(await there.x.item() as number, x, 1e-5);
  assertAlmostEquals(await there.v.item() as number, v, 1e-5);
  const back = rg.loop((c: { x: T; v: T }) => block.inverse(c), there, { length: 20 });
  assert(await worst(back.x, start.x) < 1e-3);
  assertThrows(
    () => rg.steps.momentumBlock((x: T) => x, { momentum: 0 }),
    RangeError,
    "Cannot make a momentum block: the momentum is 0, expected more than 0 and at most 1",
  );
});

Deno.test("byIteration() undoes contractions, and steps of optimizers nearly", async () => {
  const block = rg.steps.contractiveBlock((x: T) => x.sin().mul(0.4), { iterations: 30 });
  const x = rg.tensor([-2, -0.5, 0, 0.1, 3]);
  assert(await worst(block.inverse(block.step(x)), x) < 1e-6);
  // Each iteration gains a factor of .4.
  const few = rg.steps.contractiveBlock((x: T) => x.sin().mul(0.4), { iterations: 3 });
  const off = await worst(few.inverse(few.step(x)), x);
  assert(off < 0.4 ** 3 * 2 && off > 1e-5, `${off}`);

  type Adam = { w: T; m: T; v: T; count: T };
  const adam = rg.steps.byIteration(({ w, m, v, count }: Adam): Adam => {
    const g = w.sin();
    const next = { m: m.mul(0.9).add(g.mul(0.1)), v: v.mul(0.99).add(g.square().mul(0.01)) };
    return {
      ...next,
      w: w.sub(next.m.div(next.v.sqrt().add(1e-3)).mul(0.01)),
      count: count.add(1),
    };
  }, { iterations: 12 });
  const state = {
    w: rg.tensor([1, 2, -1]),
    m: rg.tensor([0.1, 0.2, -0.3]),
    v: rg.tensor([0.5, 0.4, 0.3]),
    count: rg.tensor(7, { dtype: "u32" }),
  };
  const back = adam.inverse(adam.step(state));
  for (const name of ["w", "m", "v"] as const) {
    assert(await worst(back[name], state[name]) < 1e-5, name);
  }
  assertEquals(await back.count.item(), 7);
  assertThrows(
    () => rg.steps.byIteration((x: T) => x, { iterations: 0 }),
    RangeError,
    "expected an integer ≥ 1",
  );
});

Deno.test("contractions give gradients through the inverse's loop", async () => {
  const w = rg.tensor([0.2, 0.3]);
  const report = await rg.checkGradients(
    (w: T, y: T) =>
      rg.steps.contractiveBlock((x: T) => x.mul(w).tanh(), { iterations: 40 }).inverse(y).square()
        .sum(),
    [
      w,
      rg.tensor([1, -0.5]),
    ],
  );
  assert(report.directions.length > 0);
});

Deno.test("wave() keeps standing waves, in time and space of second order", async () => {
  // cos(π(i+½)/n) is an eigenvector between walls; the scheme's own frequency has a closed form.
  const n = 16, h = 0.4, mode = 2, steps = 37;
  const shape = Array.from({ length: n }, (_, i) => Math.cos(Math.PI * mode * (i + 0.5) / n));
  const pair = rg.steps.wave({ h, speed: 1 });
  const { u } = rg.loop(pair.step, pair.start(rg.tensor(shape)), { length: steps });
  // u after the first step from p = 0 half a step before: u = cos((j + ½)θ)/cos(θ/2).
  const theta = 2 * Math.asin(h * Math.sin(Math.PI * mode / 2 / n));
  const amplitude = Math.cos((steps + 0.5) * theta) / Math.cos(theta / 2);
  const actual = await u.data();
  shape.forEach((x, i) => assertAlmostEquals(actual[i]!, amplitude * x, 1e-5));
});

Deno.test("wave() goes back, in two dimensions, within walls and without, with a source", async () => {
  const start = rg.random.normal(rg.random.key(5), [7, 5]);
  const speed = rg.random.uniform(rg.random.key(6), [7, 5]).add(0.5);
  for (const boundary of ["walls", "periodic"] as const) {
    const pair = rg.steps.wave({
      h: 0.3,
      speed,
      boundary,
      t0: 1,
      source: (t) => t.sin().broadcastTo([7, 5]),
    });
    const first = pair.start(start);
    assertEquals(first.p[0]!.shape, boundary === "walls" ? [6, 5] : [7, 5]);
    const there = rg.loop(pair.step, first, { length: 40 });
    const back = rg.loop(
      (c: rg.steps.Wave, i) => pair.inverse(c, i.neg().add(39)),
      there,
      { length: 40 },
    );
    assert(await worst(there.u, start) > 0.1);
    assert(await worst(back.u, start) < 1e-4);
    assert(await back.p[1]!.abs().max().item() as number < 1e-4);
  }
  // Without a source nothing is lost: the sum of u/c² stays.
  const pair = rg.steps.wave({ h: 0.3, speed });
  const { u } = rg.loop(pair.step, pair.start(start), { length: 40 });
  const mass = (u: T): T => u.div(speed.square()).sum();
  assertAlmostEquals(await mass(u).item() as number, await mass(start).item() as number, 1e-3);
});

Deno.test("wave() gives the gradient of its speed, by its inverse to the bit", async () => {
  const report = await rg.checkGradients((speed: T, u: T) => {
    const pair = rg.steps.wave({ h: 0.3, speed });
    return rg.loop(pair.step, pair.start(u), { length: 8 }).u.square().sum();
  }, [rg.tensor([1, 0.8, 1.2, 1, 0.9]), rg.tensor([0, 1, 2, 0, -1])]);
  assert(report.directions.length > 0);
  const slope = (backward: "store" | "reverse") =>
    rg.grad((speed: T) => {
      const pair = rg.steps.wave({ h: 0.3, speed });
      return rg.loop(pair.step, pair.start(rg.tensor([0, 1, 2, 0, -1])), {
        length: 30,
        backward: backward === "store" ? backward : rg.reverse({ ...pair, exact: "tape" }),
      }).u.square().sum();
    })(rg.tensor([1, 0.8, 1.2, 1, 0.9])).data();
  assertEquals(await slope("reverse"), await slope("store"));
  assertThrows(() => rg.steps.wave({ h: 1, spacing: 0 }), RangeError, "the spacing is 0");
  assertThrows(
    () => rg.steps.wave({ h: 1, boundary: "open" as "walls" }),
    TypeError,
    'the boundary is "open", expected "walls" or "periodic"',
  );
});
