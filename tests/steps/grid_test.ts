/** Arithmetic on a grid: exact sums, exact reversal over many steps, and errors out of range. */
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import "../gpu.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;
type Motion = rg.steps.Motion<T>;

/** Elements whose bits differ after the steps and their inverses. */
async function differing(
  pair: rg.steps.ReversibleStep<Motion>,
  start: Motion,
  length: number,
): Promise<number> {
  const there = rg.loop(pair.step, start, { length });
  const back = rg.loop((c: Motion, i) => pair.inverse(c, i.neg().add(length - 1)), there, {
    length,
  });
  const count = (a: T, b: T): T => a.bitcast("u32").notEqual(b.bitcast("u32")).cast("i32").sum();
  return await count(back.x, start.x).add(count(back.v, start.v)).item() as number;
}

/** Accelerations of bodies that attract one another, softened; x is [bodies, 3]. */
const attraction = (x: T): T => {
  const n = x.shape[0]!;
  const away = x.reshape(1, n, 3).sub(x.reshape(n, 1, 3));
  const near = away.square().sum(2, { keepDims: true }).add(0.05);
  return away.div(near.mul(near.sqrt())).sum(1).div(n);
};

Deno.test("exactLeapfrog() comes back to the bit where leapfrog() does not", async () => {
  const force = (x: T, t: T): T => x.sin().neg().add(t.cos().mul(0.1));
  const [h, length] = [0.05, 10_000];
  const pendulum = { x: rg.tensor([1, 2, 3, -0.5]), v: rg.tensor([0, 0.25, -1, 0.1]) };
  const exact = rg.steps.exactLeapfrog({ force, h, range: 1024, velocityRange: 16 });
  assertEquals(await differing(exact, exact.start(pendulum), length), 0);
  assert(await differing(rg.steps.leapfrog({ force, h }), pendulum, length) > 0);
});

Deno.test("exactLeapfrog() takes many bodies back", async () => {
  const start = {
    x: rg.random.normal(rg.random.key(1), [16, 3]),
    v: rg.random.normal(rg.random.key(2), [16, 3]).mul(0.2),
  };
  const options = { force: attraction, h: 0.01 };
  const exact = rg.steps.exactLeapfrog({ ...options, range: 64 });
  assertEquals(await differing(exact, exact.start(start), 1500), 0);
  assert(await differing(rg.steps.leapfrog(options), start, 1500) > 0);
});

Deno.test("what rounds to zero from below is +0, as sums come back to it", async () => {
  const grid = rg.steps.grid(64);
  const start = grid.round(rg.tensor([-1e-9, -0, 0, 1e-9, -1]));
  assertEquals([...new Uint32Array((await start.data()).buffer)], [0, 0, 0, 0, 0xbf800000]);
  const by = rg.tensor([0.3, -0.2, -1e-9, 0.1, 1]);
  const back = grid.sub(grid.add(start, by), by);
  assertEquals(await back.bitcast("u32").array(), await start.bitcast("u32").array());
});

Deno.test("exactLeapfrog() follows leapfrog(), and so does its gradient", async () => {
  const options = { force: (x: T) => x.sin().neg(), h: 0.05 };
  const [plain, exact] = [
    rg.steps.leapfrog(options),
    rg.steps.exactLeapfrog({ ...options, range: 4 }),
  ];
  const end = (pair: rg.steps.ReversibleStep<Motion>, start: (m: Motion) => Motion) => (x: T): T =>
    rg.loop(pair.step, start({ x, v: x.mul(0) }), { length: 40 }).x.sum();
  const x = rg.tensor([0.5, 1, 2]);
  const [a, b] = [end(plain, (m) => m), end(exact, exact.start)];
  assertAlmostEquals(await a(x).item() as number, await b(x).item() as number, 1e-4);
  const [ga, gb] = [await rg.grad(a)(x).data(), await rg.grad(b)(x).data()];
  ga.forEach((g, i) => assertAlmostEquals(gb[i]!, g, 1e-4));
});

Deno.test("a grid's sums are exact up to its limit, and an error beyond", async () => {
  const grid = rg.steps.grid(5);
  assertEquals([grid.limit, grid.resolution], [8, 2 ** -21]);
  const a = grid.round(rg.tensor([1.1, -7.9, 0, 2 ** -22, 3 * 2 ** -22]));
  const values = await a.data();
  values.forEach((x) => assertEquals(x / grid.resolution % 1, 0));
  assertEquals([...values.slice(2)], [0, 0, 2 ** -20]);
  const b = rg.tensor([3.3, 0.05, 1e-9, 0.1, 7]);
  assertEquals([...await grid.sub(grid.add(a, b), b).data()], [...values]);
  const inside = grid.add(rg.tensor([8 - grid.resolution]), rg.tensor([0]));
  assertEquals(await inside.item(), 8 - grid.resolution);
  for (const [x, y] of [[7, 1], [-7.5, -1], [7, NaN], [8 - grid.resolution, grid.resolution]]) {
    const sum = grid.add(rg.tensor([x!]), rg.tensor([y!]));
    await assertRejects(
      () => sum.data(),
      rg.CheckError,
      "a value left the range ±8 of its grid, expected a grid with more range",
    );
  }
  assertThrows(() => rg.steps.grid(-1), RangeError, "Cannot make a grid: the range is -1");
  assertThrows(() => rg.steps.grid(NaN), RangeError, "the range is NaN");
  assertThrows(
    () => grid.round(rg.ones([2], { dtype: "f16" })),
    TypeError,
    "Cannot compute on a grid: a value is f16, expected f32",
  );
});

Deno.test("a place that leaves its range in the middle of a loop is an error at the next await", async () => {
  const away = rg.steps.exactLeapfrog({ force: (x: T) => x, h: 0.5, range: 16 });
  const start = away.start({ x: rg.tensor([1, 0]), v: rg.tensor([0, 0]) });
  const end = rg.loop(away.step, start, { length: 30 });
  await assertRejects(() => end.x.data(), rg.CheckError, "left the range ±16 of its grid");
});

Deno.test("exactCoupling() comes back to the bit through any depth, and follows additiveCoupling()", async () => {
  type Weights = { f: T; g: T };
  const [depth, width, size] = [24, 7, 5];
  const normal = (seed: number, shape: number[]): T => rg.random.normal(rg.random.key(seed), shape);
  const weights = {
    f: normal(1, [depth, width, size]).mul(0.2),
    g: normal(2, [depth, size, width]).mul(0.2),
  };
  const f = (x: T, { f }: Weights): T => x.matmul(f).tanh();
  const g = (x: T, { g }: Weights): T => x.matmul(g).tanh();
  const exact = rg.steps.exactCoupling(f, g, { range: 256 });
  const halves: [T, T] = [normal(3, [64, size]), normal(4, [64, width]).mul(1e-4)];
  const loss =
    (pair: rg.steps.ReversibleStep<[T, T], [Weights]>, backward: rg.Backward) =>
    (x1: T, w: Weights): T => {
      const start = exact.start([x1, halves[1]]);
      const [[a, b]] = rg.scan((x: [T, T], w: Weights) => [pair.step(x, w), null], start, w, {
        backward,
      });
      return a.square().sum().add(b.sum());
    };
  const by = (pair: rg.steps.ReversibleStep<[T, T], [Weights]>, backward: rg.Backward) =>
    rg.realize(rg.grad(loss(pair, backward), { argnums: [0, 1] })(halves[0], weights));
  const [x, w] = await by(exact, rg.reverse({ inverse: exact.inverse, exact: "grid" }));
  const [storedX, storedW] = await by(exact, "store");
  for (const [a, b] of [[x, storedX], [w.f, storedW.f], [w.g, storedW.g]] as const) {
    assertEquals(await a.data(), await b.data());
  }
  const [near] = await by(rg.steps.additiveCoupling(f, g), "store");
  const [a, b] = [await x.data(), await near.data()];
  const most = Math.max(...b.map(Math.abs));
  a.forEach((g, i) => assert(Math.abs(g - b[i]!) < 0.02 * most, `${g}, ${b[i]}`));
});
