/** Loops that end when their data say so: against the same steps taken one by one on the host. */
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import * as rg from "../../mod.ts";
import { seed } from "../seed.ts";

await rg.init({ software: "allow" });

const u32 = (x: number | number[]): rg.Tensor => rg.tensor(x, { dtype: "u32" });
const collatz = (n: rg.Tensor): [rg.Tensor, rg.Tensor] =>
  rg.whileLoop(
    (n: rg.Tensor) => n.greater(1),
    (n: rg.Tensor) => rg.where(n.mod(2).equal(0), n.floorDiv(2), n.mul(3).add(1)),
    n,
  );
function collatzSteps(n: number): number {
  let steps = 0;
  for (; n > 1; steps++) n = n % 2 === 0 ? n / 2 : 3 * n + 1;
  return steps;
}

Deno.test("whileLoop() takes as many steps as its data ask for, none included", async () => {
  const run = rg.compile(collatz);
  const starts = [0, 1, 2, 3, 4, 5, 8, 27, 97, 871];
  const results = starts.map((n) => run(u32(n)));
  const values = await rg.readAll(results.flat());
  starts.forEach((n, i) => {
    assertEquals(values[2 * i]![0], Math.min(n, 1));
    assertEquals(values[2 * i + 1]![0], collatzSteps(n), `from ${n}`);
  });
  assertEquals(run.programs().length, 1);
  assertEquals(await collatz(u32(27))[1].item(), 111); // not compiled
});

Deno.test("whileLoop() is the steps of loop(), bit for bit, with carries that trade places", async () => {
  type Carry = { a: rg.Tensor; b: rg.Tensor; n: rg.Tensor; kept: rg.Tensor };
  const body = (w: rg.Tensor) => ({ a, b, n, kept }: Carry, step: rg.Tensor): Carry => ({
    a: b,
    b: a.matmul(w).add(step.cast("f32").mul(0.01)).tanh().add(kept),
    n: n.sub(1),
    kept,
  });
  const open = rg.compile((start: Carry, w: rg.Tensor) =>
    rg.whileLoop(({ n }: Carry) => n.greater(0), body(w), start)
  );
  const w = rg.random.normal(rg.random.key(1), [7, 7]);
  const [a, b, kept] = [2, 3, 4].map((i) => rg.random.normal(rg.random.key(i), [3, 7]));
  for (const length of [0, 1, 2, 5, 13, 64]) {
    const start = { a: a!, b: b!, kept: kept!, n: rg.tensor(length, { dtype: "i32" }) };
    const closed = rg.compile((start: Carry, w: rg.Tensor) => rg.loop(body(w), start, { length }));
    const [last, steps] = open(start, w), want = closed(start, w);
    assertEquals(await steps.item(), length);
    for (const key of ["a", "b", "n", "kept"] as const) {
      assertEquals(await last[key].data(), await want[key].data(), `${key} after ${length}`);
    }
  }
});

Deno.test("whileLoop() nests: in loops, in itself, around loops", async () => {
  /** How often x can be halved, by a loop in a loop. */
  const total = rg.compile((xs: rg.Tensor) =>
    rg.scan(
      (sum: rg.Tensor, x: rg.Tensor) => {
        const [, steps] = rg.whileLoop(
          (x: rg.Tensor) => x.greater(1),
          (x: rg.Tensor) => x.mul(0.5),
          x,
        );
        return [sum.add(steps), steps];
      },
      u32(0),
      xs,
    )
  );
  const [sum, each] = total(rg.tensor([1, 2, 5, 0, 1000, 3]));
  assertEquals(await each.array(), [0, 1, 3, 0, 10, 2]);
  assertEquals(await sum.item(), 16);
  /** The first number from n on whose Collatz path is longer than 100. */
  const search = rg.compile((n: rg.Tensor) =>
    rg.whileLoop(
      (n: rg.Tensor) => collatz(n)[1].lessEqual(100),
      (n: rg.Tensor) => n.add(rg.loop((k: rg.Tensor) => k.add(1), u32(0), { length: 1 })),
      n,
    )[0]
  );
  assertEquals(await search(u32(20)).item(), 27);
  assertEquals(await search(u32(28)).item(), 31);
});

Deno.test("whileLoop() under vmap ends for each example by itself", async () => {
  const starts = [1, 27, 2, 97, 871, 3];
  const run = rg.compile(rg.vmap(collatz));
  const [last, steps] = run(u32(starts));
  assertEquals(await last.array(), starts.map(() => 1));
  assertEquals(await steps.array(), starts.map(collatzSteps));
  // What decides need not be batched where something else is.
  const scaled = rg.vmap((x: rg.Tensor) =>
    rg.whileLoop(
      ({ i }: { i: rg.Tensor; x: rg.Tensor }) => i.less(5),
      ({ i, x }: { i: rg.Tensor; x: rg.Tensor }) => ({ i: i.add(1), x: x.mul(2) }),
      { i: rg.tensor(0), x },
    )[0].x
  );
  assertEquals(await scaled(rg.tensor([1, 2, 3])).array(), [32, 64, 96]);
});

Deno.test("whileLoop() differentiates forwards, alone and in a batch", async () => {
  const root = (x: rg.Tensor): rg.Tensor =>
    rg.whileLoop(
      (y: rg.Tensor) => y.square().sub(x).abs().greater(1e-5),
      (y: rg.Tensor) => y.add(x.div(y)).mul(0.5),
      x,
    )[0];
  const slope = rg.compile((x: rg.Tensor) => rg.jvp(root, [x], [rg.tensor(1)])[1]);
  for (const x of [2, 7, 0.3]) {
    assertAlmostEquals(await slope(rg.tensor(x)).item(), 0.5 / Math.sqrt(x), 1e-3);
  }
  const slopes = await rg.vmap(slope)(rg.tensor([2, 7])).array() as number[];
  assertAlmostEquals(slopes[1]!, 0.5 / Math.sqrt(7), 1e-3);
});

Deno.test("whileLoop() that comes to its maximum is an error, one that just ends is none", async () => {
  const count = (to: number, maximum: number) =>
    rg.compile(
      (x: rg.Tensor) =>
        rg.whileLoop(
          (x: rg.Tensor) => x.less(to),
          function count(x: rg.Tensor) {
            return x.add(1);
          },
          x,
          { maximum },
        ),
      { name: "run" },
    );
  for (const maximum of [1, 5, 100]) {
    const [x, steps] = count(maximum, maximum)(rg.tensor(0));
    assertEquals([await x.item(), await steps.item()], [maximum, maximum]);
    await assertRejects(
      () => count(maximum + 1, maximum)(rg.tensor(0))[0].item(),
      rg.CheckError,
      `Cannot run run: count did not end within ${maximum} steps`,
    );
    await rg.synchronize();
  }
});

Deno.test("check() in a while loop holds for the steps taken, and for no step too much", async () => {
  const run = rg.compile((x: rg.Tensor) =>
    rg.whileLoop((x: rg.Tensor) => x.greater(1), (x: rg.Tensor) => {
      rg.check(x.greater(1), "a step too much");
      rg.check(x.less(100), "x is large");
      return x.mul(0.5);
    }, x)[0]
  );
  assertEquals(await run(rg.tensor(64)).item(), 1);
  await assertRejects(() => run(rg.tensor(128)).item(), rg.CheckError, "x is large");
});

Deno.test("profile() and locateNaN() follow the course of a while loop", async () => {
  const f = rg.compile((x: rg.Tensor) =>
    rg.whileLoop((x: rg.Tensor) => x.less(40), (x: rg.Tensor) => x.mul(3), x)[0].sub(40).sqrt()
  );
  const profile = await rg.profile(f, [rg.tensor(1)], { runs: 1 });
  assert(profile.time > 0 && profile.regions.length > 2);
  assertEquals(await rg.locateNaN(f, [rg.tensor(1)]), undefined);
  const g = rg.compile((x: rg.Tensor) =>
    rg.whileLoop((x: rg.Tensor) => x.less(40), (x: rg.Tensor) => x.mul(3), x)[0].mul(-1).sqrt()
  );
  assertEquals((await rg.locateNaN(g, [rg.tensor(1)]))?.value, "NaN");
});

Deno.test("a device that is shut down ends a loop that would not end", async () => {
  const forever = rg.compile((x: rg.Tensor) =>
    rg.whileLoop((x: rg.Tensor) => x.greaterEqual(0), (x: rg.Tensor) => x.add(1), x)[0]
  );
  const x = forever(rg.tensor(0));
  const waits = assertRejects(() => x.item(), rg.DeviceLostError);
  await new Promise((resolve) => setTimeout(resolve, 50));
  rg.shutdown();
  await waits;
  await rg.init({ software: "allow" });
  assertEquals(await collatz(u32(3))[1].item(), 7);
});

Deno.test("a random piecewise linear map ends where the host says", async () => {
  const run = rg.compile((x: rg.Tensor, a: rg.Tensor, b: rg.Tensor) =>
    rg.whileLoop(
      (x: rg.Tensor, step: rg.Tensor) => x.less(1000).logicalAnd(step.less(50)),
      (x: rg.Tensor, step: rg.Tensor) => x.mul(a).add(b).add(step.cast("f32")),
      x,
    )
  );
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: -8, max: 8 }),
      fc.constantFrom(0.5, 1, 1.5, 2, -1),
      fc.integer({ min: -4, max: 4 }),
      async (x, a, b) => {
        const [last, steps] = run(x, a, b);
        let want = x, count = 0;
        for (; want < 1000 && count < 50; count++) {
          want = Math.fround(Math.fround(Math.fround(want * a) + b) + count);
        }
        const [[l], [s]] = await rg.readAll([last, steps]) as unknown as [[number], [number]];
        assertEquals(s, count);
        assertAlmostEquals(l, want, 1e-4 * Math.abs(want));
      },
    ),
    { seed: seed(), numRuns: 15 },
  );
});

Deno.test("whileLoop() refuses what cannot be one", () => {
  const x = rg.tensor([1, 2]);
  const one = (y: rg.Tensor): rg.Tensor => y;
  assertThrows(
    () => rg.whileLoop((x: rg.Tensor) => x.less(1), one, x),
    TypeError,
    "Cannot loop one: the condition is Tensor bool[2], expected a bool scalar",
  );
  assertThrows(
    () => rg.whileLoop((() => true) as never, one, x),
    TypeError,
    "the condition is true, expected a bool scalar",
  );
  assertThrows(
    () => rg.whileLoop((x: rg.Tensor) => x.sum().less(1), (x: rg.Tensor) => x.sum(), x),
    TypeError,
    "expected the same shape and dtype after every step",
  );
  for (const maximum of [0, -1, 1.5, 2 ** 31, NaN]) {
    assertThrows(
      () => rg.whileLoop((x: rg.Tensor) => x.sum().less(1), one, x, { maximum }),
      RangeError,
      `maximum is ${maximum}, expected an integer from 1 to`,
    );
  }
});
