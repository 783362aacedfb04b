/**
 * Budgets and loops: what lies within a step can be let go of and made again, however loops are
 * nested; the bits stay, and what was predicted is counted.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import * as rg from "../../mod.ts";
import "../seed.ts";
import { bitsOf } from "./bits.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;

const normal = (seed: number, shape: readonly number[], scale = 1): T =>
  rg.random.normal(rg.random.key(seed), shape).mul(scale);

/** Compiled within a budget, or without one. */
function within(f: (...args: T[]) => unknown, memory?: number) {
  return rg.compile(f, { name: "budget", ...(memory !== undefined && { memory }) });
}

/** The peak, which must be what was counted. */
function peakOf(run: ReturnType<typeof within>): number {
  const [, predicted, counted] = run.explain().match(/peak +(\d+) +(\d+)/)!;
  assertEquals(predicted, counted);
  return Number(counted);
}

/** Budgets that plans ask for give the bits of none. */
async function checkBudgets(f: (...args: T[]) => T[], args: readonly T[]) {
  const free = within(f), expected = await bitsOf(free(...args) as T[]), peak = peakOf(free);
  const budgets = free.programs()[0]!.sweep().map(({ bytes }) => bytes);
  const least = budgets.at(-1)!;
  let before = 0;
  for (const memory of new Set([budgets[budgets.length >> 1]!, least])) {
    const run = within(f, memory);
    assertEquals(await bitsOf(run(...args) as T[]), expected, `${memory} bytes`);
    assert(peakOf(run) <= memory);
    const time = run.programs()[0]!.steps().reduce((sum, { time }) => sum + time, 0);
    assert(time >= before, `${memory} bytes`);
    before = time;
    run.dispose();
  }
  assertThrows(() => within(f, least - 1)(...args), RangeError, `at least ${least} `);
  return { peak, least };
}

Deno.test("what lies within a step is made again where it does not fit", async () => {
  const body = (h: T, w: T): [T, null] => {
    let y = h;
    for (let i = 0; i < 5; i++) y = y.matmul(w).tanh().add(y.sin());
    return [y, null];
  };
  const f = (w: T, x: T): T[] => {
    const loss = (w: T, x: T): T => rg.scan(body, x, w)[0].square().mean();
    const [value, gradients] = rg.valueAndGrad(loss, { argnums: [0, 1] })(w, x);
    return [value, ...gradients];
  };
  const { peak, least } = await checkBudgets(
    f,
    [normal(1, [3, 16, 16], 0.2), normal(2, [128, 16])],
  );
  assert(least < 0.8 * peak, `${least} of ${peak}`);
});

Deno.test("so is what lies within a step of a loop in a loop", async () => {
  const inner = (h: T): T => {
    let y = h;
    for (let i = 0; i < 2; i++) y = y.matmul(y.transpose()).tanh().matmul(h).mul(0.1).sin();
    return y;
  };
  const f = (x: T): T[] => [
    rg.grad((x: T) =>
      rg.loop(
        (h: T) => rg.loop(inner, h, { length: 2, name: "inner" }),
        x,
        { length: 2, name: "outer", backward: rg.revolve({ snapshots: 1 }) },
      ).square().sum()
    )(x),
  ];
  const { peak, least } = await checkBudgets(f, [normal(3, [64, 8])]);
  assert(least < 0.9 * peak, `${least} of ${peak}`);
});

/** A program with loops, as random numbers describe it. */
interface Recipe {
  readonly size: number;
  readonly length: number;
  readonly layers: number;
  readonly outer: rg.Backward;
  /** Steps of a loop in the body, 0 for none, and how that is gone back over. */
  readonly inside: number;
  readonly inner: rg.Backward;
  /** What is a checkpoint: nothing, the body, or the whole loop. */
  readonly checkpoint: "nothing" | "body" | "loop";
  /** The steps are counted by the data. */
  readonly open: boolean;
}

const backward = fc.constantFrom<rg.Backward>(
  "store",
  "auto",
  rg.revolve({ snapshots: 1 }),
  rg.revolve({ snapshots: 2 }),
  rg.revolve({ snapshots: 1, segment: 2 }),
  rg.offload({ device: 1, host: 2 }),
  rg.auto({ host: 2 }),
);
const recipes: fc.Arbitrary<Recipe> = fc.record({
  size: fc.constantFrom(1, 5, 16),
  length: fc.integer({ min: 0, max: 6 }),
  layers: fc.integer({ min: 1, max: 3 }),
  outer: backward,
  inside: fc.integer({ min: 0, max: 3 }),
  inner: backward,
  checkpoint: fc.constantFrom("nothing", "body", "loop"),
  open: fc.boolean(),
});

/** The gradient of what a recipe says; plain: with all states stored, and nothing else. */
function gradientOf(recipe: Recipe, plain: boolean) {
  const { length, layers, inside, checkpoint, open } = recipe;
  const way = (backward: rg.Backward): rg.Backward => plain ? "store" : backward;
  const held = <A extends readonly unknown[], R>(what: string, f: (...args: A) => R) =>
    !plain && checkpoint === what ? rg.checkpoint(f as never) as typeof f : f;
  const loss = (x: T, w: T): T => {
    const body = held("body", (h: T, w: T): T => {
      let y = h;
      for (let i = 0; i < layers; i++) y = y.matmul(w).tanh().add(y.sin());
      if (inside === 0) return y;
      return rg.loop((y: T) => y.matmul(w).sin(), y, {
        length: inside,
        backward: way(recipe.inner),
      });
    });
    const all = held("loop", (x: T, w: T): T => {
      if (!open || plain) {
        return rg.loop((h: T) => body(h, w), x, { length, backward: way(recipe.outer) });
      }
      const [{ h }] = rg.whileLoop(
        ({ left }: { h: T; left: T }) => left.greater(0),
        ({ h, left }) => ({ h: body(h, w), left: left.sub(1) }),
        { h: x, left: rg.tensor(length, { dtype: "i32" }) },
        { backward: recipe.outer === "auto" ? "auto" : rg.online({ snapshots: 2 }) },
      );
      return h;
    });
    return all(x, w).square().sum();
  };
  return (x: T, w: T): T[] => rg.grad(loss, { argnums: [0, 1] })(x, w) as T[];
}

Deno.test("more memory is not slower where a loop in a loop is the compiler's to choose, too", async () => {
  const f = (w: T, x: T): T[] => {
    const loss = (w: T, x: T): T => {
      const inner = (h: T): T =>
        rg.loop((h: T) => h.matmul(w).tanh().add(h), h, { length: 5, backward: "auto" }).sin();
      return rg.loop(inner, x, { length: 6, backward: "auto" }).square().mean();
    };
    return rg.grad(loss, { argnums: [0, 1] })(w, x);
  };
  const args = [normal(1, [24, 24], 0.3), normal(2, [40, 24])] as const;
  const free = within(f), expected = await bitsOf(free(...args) as T[]), peak = peakOf(free);
  let before = Infinity;
  for (const share of [0.8, 0.95]) {
    const run = within(f, Math.floor(share * peak));
    assertEquals(await bitsOf(run(...args) as T[]), expected, `${share} of ${peak} bytes`);
    const time = run.programs()[0]!.steps().reduce((sum, { time }) => sum + time, 0);
    // Where keeping all states takes less than a tenth of the time, nothing else is tried.
    assert(time <= 1.1 * before, `${share} of ${peak} bytes: ${time} after ${before}`);
    before = Math.min(before, time);
    run.dispose();
  }
});

Deno.test("whatever loops are made of, budgets keep the bits and are kept to", async () => {
  await fc.assert(
    fc.asyncProperty(recipes, fc.integer({ min: 0, max: 100 }), async (recipe, percent) => {
      const args = [normal(1, [recipe.size, 4]), normal(2, [4, 4], 0.5)] as const;
      const expected = await bitsOf(within(gradientOf(recipe, true) as never)(...args) as T[]);
      const f = gradientOf(recipe, false) as (...args: T[]) => T[], free = within(f);
      assertEquals(await bitsOf(free(...args) as T[]), expected);
      const { arguments: given } = free.programs()[0]!.memory;
      const memory = Math.ceil(given + (peakOf(free) - given) * percent / 100);
      const check = async (memory: number): Promise<void> => {
        const run = within(f, memory);
        assertEquals(await bitsOf(run(...args) as T[]), expected, `${memory} bytes`);
        assert(peakOf(run) <= memory);
      };
      try {
        await check(memory);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        const least = Number(error.message.match(/at least (\d+)/)![1]);
        assert(least > memory, error.message);
        await check(least);
        assertThrows(() => within(f, least - 1)(...args), RangeError, `at least ${least} `);
      }
    }),
    { numRuns: 6 },
  );
});
