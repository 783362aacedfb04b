/**
 * Loops on a device: against the same steps written out, to the bit where nothing fuses across
 * them, with memory as predicted and compiles that do not grow with the length.
 */
import { assertEquals, assertStrictEquals } from "@std/assert";
import * as rg from "../../mod.ts";

await rg.init({ software: "allow" });

const normal = (seed: number, shape: readonly number[]): rg.Tensor =>
  rg.random.normal(rg.random.key(seed), shape).mul(0.5);

async function sameBits(actual: rg.Tensor, expected: rg.Tensor, what: string): Promise<void> {
  assertEquals(actual.shape, expected.shape, what);
  const [a, b] = [await actual.data(), await expected.data()];
  for (let i = 0; i < a.length; i++) {
    if (!Object.is(a[i], b[i])) {
      throw new Error(`${what}: value ${i} is ${a[i]}, expected ${b[i]} to the bit`);
    }
  }
}

/** A recurrent cell with an output a step. */
const cell = (w: rg.Tensor) => (h: rg.Tensor, x: rg.Tensor): [rg.Tensor, rg.Tensor] => {
  const next = h.matmul(w).add(x).tanh();
  return [next, next.sum(1)];
};

for (const length of [1, 2, 7]) {
  for (const reverse of [false, true]) {
    Deno.test(`scan() of ${length} steps${reverse ? " in reverse" : ""} is the steps written out`, async () => {
      const [w, xs, h0] = await rg.realize([
        normal(1, [5, 5]),
        normal(2, [length, 3, 5]),
        normal(3, [3, 5]),
      ]);
      const run = rg.compile((h: rg.Tensor, xs: rg.Tensor, w: rg.Tensor) =>
        rg.scan(cell(w), h, xs, { reverse })
      );
      const [last, ys] = run(h0!, xs!, w!);
      let h = h0!;
      const rows: rg.Tensor[] = [];
      for (let i = 0; i < length; i++) {
        const t = reverse ? length - 1 - i : i;
        [h, rows[t]] = cell(w!)(h, xs!.slice(t));
      }
      await sameBits(last, h, "carry");
      await sameBits(ys, rg.stack(rows), "rows");
    });
  }
}

Deno.test("loop() passes carries around: swapped, kept, counted", async () => {
  const [a0, b0, c0] = await rg.realize([normal(4, [7]), normal(5, [7]), normal(6, [3])]);
  const step = ({ a, b, c, n }: { a: rg.Tensor; b: rg.Tensor; c: rg.Tensor; n: rg.Tensor }) => ({
    a: b,
    b: a.mul(0.5).add(1),
    c,
    n: n.add(2),
  });
  const n0 = rg.tensor(0, { dtype: "i32" });
  const start = { a: a0!, b: b0!, c: c0!, n: n0 };
  for (const length of [0, 1, 2, 5]) {
    const run = rg.compile((start: { a: rg.Tensor; b: rg.Tensor; c: rg.Tensor; n: rg.Tensor }) =>
      rg.loop(step, start, { length })
    );
    const got = run(start);
    let want = start;
    for (let i = 0; i < length; i++) want = step(want);
    await sameBits(got.a, want.a, `a after ${length}`);
    await sameBits(got.b, want.b, `b after ${length}`);
    await sameBits(got.c, want.c, `c after ${length}`);
    assertStrictEquals(await got.n.item(), 2 * length);
  }
});

Deno.test("loop() knows its step, and runs longer than one submit", async () => {
  const run = rg.compile((x: rg.Tensor) =>
    rg.loop((x: rg.Tensor, step: rg.Tensor) => x.add(step.cast("f32")), x, { length: 5000 })
  );
  assertStrictEquals(await run(rg.tensor(0)).item(), 5000 * 4999 / 2);
});

Deno.test("a loop inside a loop", async () => {
  const [x] = await rg.realize([normal(7, [9])]);
  const inner = (x: rg.Tensor) => rg.loop((x: rg.Tensor) => x.mul(0.9).sin(), x, { length: 3 });
  const run = rg.compile((x: rg.Tensor) =>
    rg.loop((x: rg.Tensor) => inner(x).add(0.25), x, { length: 4 })
  );
  let want = x!;
  for (let i = 0; i < 4; i++) {
    for (let j = 0; j < 3; j++) want = want.mul(0.9).sin();
    want = want.add(0.25);
    await rg.realize([want]);
  }
  await sameBits(run(x!), want, "nested");
});

Deno.test("the gradient of a scan is that of the steps written out", async () => {
  const length = 6;
  const args = await rg.realize([normal(8, [4, 4]), normal(9, [length, 2, 4]), normal(10, [2, 4])]);
  const looped = (w: rg.Tensor, xs: rg.Tensor, h: rg.Tensor) => {
    const [last, ys] = rg.scan(cell(w), h, xs);
    return last.square().sum().add(ys.mul(0.5).sum());
  };
  const written = (w: rg.Tensor, xs: rg.Tensor, h: rg.Tensor) => {
    let total = rg.tensor(0);
    for (let t = 0; t < length; t++) {
      const [next, y] = cell(w)(h, xs.slice(t));
      h = next;
      total = total.add(y.mul(0.5).sum());
    }
    return h.square().sum().add(total);
  };
  const options = { argnums: [0, 1, 2] };
  const a = rg.compile((w: rg.Tensor, xs: rg.Tensor, h: rg.Tensor) =>
    rg.valueAndGrad(looped, options)(w, xs, h)
  )(args[0]!, args[1]!, args[2]!);
  const b = rg.compile((w: rg.Tensor, xs: rg.Tensor, h: rg.Tensor) =>
    rg.valueAndGrad(written, options)(w, xs, h)
  )(args[0]!, args[1]!, args[2]!);
  for (const i of [0, 1, 2]) {
    const [x, y] = [await a[1][i]!.data(), await b[1][i]!.data()];
    x.forEach((v, j) => {
      if (!(Math.abs(v - y[j]!) <= 1e-5 * (1 + Math.abs(y[j]!)))) {
        throw new Error(`gradient ${i} at ${j} is ${v}, expected ${y[j]}`);
      }
    });
  }
});

Deno.test("a loop's compile does not grow with its length, and its memory is as predicted", async () => {
  const [x] = await rg.realize([normal(11, [64, 64])]);
  const programs = [10, 1000].map((length) => {
    const run = rg.compile((x: rg.Tensor) =>
      rg.loop((x: rg.Tensor) => x.matmul(x).tanh(), x, { length })
    );
    run(x!);
    assertEquals(run.explain().match(/peak +(\d+) +\1/) !== null, true, run.explain());
    return run.programs()[0]!;
  });
  assertEquals(programs[0]!.dispatches.length, programs[1]!.dispatches.length);
  assertEquals(programs[0]!.memory, programs[1]!.memory);
});
