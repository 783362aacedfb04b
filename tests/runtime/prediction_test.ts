/**
 * Memory predicted against memory counted, to the byte, however the arguments of a call hang
 * together: one tensor in several places, given up in one and not in another, needed by a value
 * that has not been read, or sharing its memory with another.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { tensor } from "../../graph/create.ts";
import { realize } from "../../graph/realize.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { reverse } from "../../checkpoint/strategy.ts";
import { loop } from "../../graph/scan.ts";
import { grad } from "../../graph/transforms.ts";
import * as random from "../../graph/random.ts";
import { additiveCoupling } from "../../steps/blocks.ts";
import { leapfrog } from "../../steps/leapfrog.ts";
import { compile, withCall } from "../../runtime/compile.ts";
import { context } from "../../runtime/context.ts";
import { init, synchronize } from "../../runtime/init.ts";
import type { LoadedProgram } from "../../runtime/loaded.ts";

await init({ software: "allow" });
const { ledger } = context("test");

/** Reads every argument, overwrites those that may be, and hands one on. */
const f = (a: Tensor, b: Tensor, c: Tensor, d: Tensor) =>
  [
    a.add(1),
    b.mul(2).add(a.sum()),
    c.sub(d.mean()).flip([0]),
    d,
    b.matmul(b).matmul(c).mul(d),
  ] as const;

/** The same on the host; matrices of 4 by 4. */
function expected([a, b, c, d]: readonly number[][]): number[][] {
  const sum = (x: number[]): number => x.reduce((s, y) => s + y, 0);
  const product = (x: number[], y: number[]): number[] =>
    x.map((_, i) => sum([0, 1, 2, 3].map((k) => x[4 * (i >> 2) + k]! * y[4 * k + (i & 3)]!)));
  const rows = (x: number[]): number[][] => [0, 1, 2, 3].map((i) => x.slice(4 * i, 4 * i + 4));
  return [
    a!.map((x) => x + 1),
    b!.map((x) => 2 * x + sum(a!)),
    rows(c!.map((x) => x - sum(d!) / 16)).reverse().flat(),
    d!,
    product(product(b!, b!), c!).map((x, i) => x * d![i]!),
  ];
}

async function loadedOf(compiled: typeof f, args: Parameters<typeof f>): Promise<LoadedProgram> {
  return await withCall(compiled, args, ({ signature }) => Promise.resolve(signature.loaded));
}

Deno.test("predicted memory is counted memory, however arguments are shared", async () => {
  const pick = fc.array(fc.nat(3), { minLength: 4, maxLength: 4 });
  const donations = fc.uniqueArray(fc.nat(3));
  const property = fc.asyncProperty(pick, donations, fc.nat(15), async (picked, donate, needed) => {
    const compiled = compile(f, { donate });
    const values = [1, 2, 3, 4].map((k) => Array.from({ length: 16 }, (_, i) => (i * k) % 5 - 2));
    const fresh = () => values.map((x) => tensor(x).reshape([4, 4]));
    // Compiles with distinct arguments: it is one program, whatever is shared later.
    const first = await realize(fresh() as [Tensor, Tensor, Tensor, Tensor]);
    for (const x of compiled(...first)) x.dispose();
    for (const x of first) x.dispose();

    const pool = await realize(fresh());
    const lazy = pool.map((x, i) => (needed >> i) & 1 ? x.mul(3) : undefined);
    const args = picked.map((i) => pool[i]!) as [Tensor, Tensor, Tensor, Tensor];
    const others = pool.filter((x) => !args.includes(x)).length * 64;
    const loaded = await loadedOf(compiled, args);
    await synchronize();
    ledger.trim();
    ledger.resetPeak();
    const before = ledger.live;
    const results = compiled(...args);
    const { predicted, counted } = loaded;
    assertEquals(counted, predicted);
    assertEquals(compiled.programs().length, 1);
    const { memory } = loaded.program;
    // What was there: the pool, the workspace, the uniforms, and the other test's remains.
    const own = before - pool.length * 64 - memory.workspace - memory.uniforms;
    assertEquals(ledger.report().peak - own - others, predicted!.peak);

    const wanted = expected(picked.map((i) => values[i]!));
    for (const [i, result] of results.entries()) {
      assertEquals(Array.from(await result.data()), wanted[i], `result ${i}`);
    }
    for (const [i, x] of lazy.entries()) {
      if (x === undefined) continue;
      assertEquals(Array.from(await x.data()), values[i]!.map((y) => 3 * y), `needed ${i}`);
    }
    for (const x of [...pool, ...results, ...lazy]) x?.dispose();
    compiled.dispose();
  });
  await fc.assert(property, { numRuns: 30 });
});

Deno.test("explain() shows equal columns for a tensor passed twice and donated twice", async () => {
  for (const donate of [[], [0], [1], [0, 1]]) {
    const step = compile((x: Tensor, y: Tensor) => x.add(y.sum()), { donate });
    const [x] = await realize([tensor([1, 2, 3, 4, 5])]);
    await step(x!, x!).data();
    const rows = [...step.explain().matchAll(/^(\w+) +(\d+) +(\d+)$/gm)];
    assert(rows.length >= 6, step.explain());
    for (const [, name, predicted, counted] of rows) assertEquals(counted, predicted, name);
    step.dispose();
  }
});

Deno.test("arguments that share memory without being one tensor are counted once", async () => {
  // Two results in one slot: two tensors over one buffer.
  const twins = compile((x: Tensor) => [x.add(1), x.add(1).bitcast("i32")] as const);
  for (const donate of [[], [0], [0, 1]]) {
    const [a, b] = twins(tensor([1, 2, 3, 4]));
    const step = compile((a: Tensor, b: Tensor) => [a.mul(2), b.add(1)] as const, { donate });
    const [c, d] = step(a, b);
    const { predicted, counted } = await withCall(
      step,
      [tensor([1, 2, 3, 4]), tensor([1, 2, 3, 4], { dtype: "i32" })],
      ({ signature }) => Promise.resolve(signature.loaded),
    );
    assertEquals(counted, predicted, `donating ${donate}`);
    assertEquals(await c.array(), [4, 6, 8, 10]);
    assertEquals(Array.from(new Float32Array((await d.sub(1).data()).buffer)), [2, 3, 4, 5]);
  }
});

Deno.test("with a tape the bytes predicted are those of the device, run by run", async () => {
  const normal = (seed: number, shape: readonly number[]): Tensor =>
    random.normal(random.key(seed), shape);
  const { step, inverse } = leapfrog({ force: (x: Tensor) => x.sin().neg(), h: 0.05 });
  const block = additiveCoupling(
    (x: Tensor, w: Tensor) => x.matmul(w).tanh(),
    (x: Tensor, w: Tensor) => x.matmul(w).sin(),
  );
  type Momentum = { w: Tensor; m: Tensor };
  const slope = (w: Tensor): Tensor => w.sin().mul(0.1);
  const cases: Record<string, (length: number, bits: number) => (x: Tensor) => Tensor> = {
    leapfrog: (length, bits) => (x) =>
      loop(step, { x, v: x.mul(0.5) }, {
        length,
        backward: reverse({ inverse, exact: "tape", tape: { bits } }),
      }).x.square().sum(),
    couplings: (length, bits) => (x) => {
      const w = x.transpose().matmul(x).mul(0.01);
      return loop((c: [Tensor, Tensor]) => block.step(c, w), [x, x.mul(0.5)] as [Tensor, Tensor], {
        length,
        backward: reverse({
          inverse: (c: [Tensor, Tensor]) => block.inverse(c, w),
          exact: "tape",
          tape: { bits },
        }),
      })[0].square().sum();
    },
    momentum: (length, bits) => (x) =>
      loop(
        ({ w, m }: Momentum): Momentum => {
          const next = m.mul(0.9).add(slope(w));
          return { w: w.sub(next), m: next };
        },
        { w: x, m: x.mul(0) },
        {
          length,
          backward: reverse({
            inverse: ({ w, m }: Momentum): Momentum => {
              const before = w.add(m);
              return { w: before, m: m.sub(slope(before)).div(0.9) };
            },
            exact: "tape",
            tape: { bits },
          }),
        },
      ).w.square().sum(),
  };
  // All but what waits for its next use, and what is read through.
  const used = (which: "live" | "peak"): number => {
    const { idle: _, staging: __, ...kinds } = ledger.report().kinds;
    return Object.values(kinds).reduce((sum, kind) => sum + kind[which], 0);
  };
  for (const [name, lossOf] of Object.entries(cases)) {
    for (const [length, bits] of [[2, 4], [60, 0.1]] as const) {
      const [x] = await realize([normal(1, [40, 30])]);
      await synchronize();
      ledger.trim();
      const others = used("live") - 4 * 1200;
      const run = compile((x: Tensor) => grad(lossOf(length, bits))(x));
      for (const call of ["first", "second"]) {
        const loaded = await withCall(
          run as (...args: never[]) => unknown,
          [x],
          ({ signature }) => Promise.resolve(signature.loaded),
        );
        await synchronize();
        ledger.trim();
        ledger.resetPeak();
        const gradient = run(x!);
        await synchronize();
        const { predicted, counted } = loaded, seen = used("peak") - others;
        const what = `${name}, ${length} steps, ${bits} bits, ${call} run`;
        assertEquals(counted, predicted, what);
        // The flag of a program that was compiled again may still be there: 16 bytes.
        assert(
          predicted!.peak >= seen - 16 && predicted!.peak <= 1.02 * seen,
          `${what}: ${predicted!.peak} ${seen}`,
        );
        await gradient.data();
        gradient.dispose();
      }
      run.dispose();
      x!.dispose();
    }
  }
});
