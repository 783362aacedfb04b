/**
 * Budgets and loops: what lies within a step can be let go of and made again, however loops are
 * nested; the bits stay, and what was predicted is counted.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
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
