/** Ways back whose colder states wait on the host or on disk: the same bits, and nothing left. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import * as rg from "../../mod.ts";
import { offload } from "../../checkpoint/offload.ts";
import { scheduleOf } from "../../checkpoint/plan.ts";
import { simulate } from "../../checkpoint/schedule.ts";
import { seed } from "../seed.ts";

await rg.init({ software: "allow" });

type Carry = {
  readonly h: rg.Tensor;
  readonly c: rg.Tensor;
  readonly n: rg.Tensor;
  /** The same in every step, and of no elements. */
  readonly k: rg.Tensor;
  readonly z: rg.Tensor;
};
const w = await rg.realize(rg.random.normal(rg.random.key(1), [5, 5]).mul(0.6));
const h = await rg.realize(rg.random.normal(rg.random.key(2), [3, 5]));
const argnums = [0, 1, 2] as const;

/** A scan with carries of several kinds, rows read and written. */
const lossOf = (backward: rg.Backward, reverse = false) =>
(
  w: rg.Tensor,
  h: rg.Tensor,
  xs: rg.Tensor,
): rg.Tensor => {
  const [last, ys] = rg.scan(
    ({ h, c, n, k, z }: Carry, x: rg.Tensor): [Carry, rg.Tensor] => {
      const next = h.mul(k).matmul(w).add(x).tanh();
      const carry = { h: next, c: c.mul(0.5).add(next.sum(0)), n: n.add(1), k, z: z.mul(2) };
      return [carry, next.mul(c).sum()];
    },
    {
      h,
      c: rg.ones([5]),
      n: rg.tensor(0, { dtype: "u32" }),
      k: w.sum(0),
      z: rg.zeros([0, 3]),
    } as Carry,
    xs,
    { backward, reverse },
  );
  return last.h.sum().add(last.c.square().sum()).add(ys.square().sum());
};

async function gradientOf(
  backward: rg.Backward,
  length: number,
  reverse = false,
): Promise<{ readonly values: rg.TypedArray[]; readonly text: string }> {
  const xs = rg.random.normal(rg.random.key(3), [length, 3, 5]);
  const run = rg.compile(rg.valueAndGrad(lossOf(backward, reverse), { argnums }));
  const [value, gradient] = run(w, h, xs);
  const values = await rg.readAll([value, ...gradient]);
  const text = run.explain();
  run.dispose();
  return { values, text };
}

Deno.test("offload() gives the gradient of store, bit for bit, in every mix of stores", async () => {
  const stored = new Map<string, rg.TypedArray[]>();
  await fc.assert(
    fc.asyncProperty(
      fc.nat(3),
      fc.nat(4),
      fc.nat(3),
      fc.constantFrom(1, 2, 7, 19),
      fc.boolean(),
      async (device, host, disk, length, reverse) => {
        if (device + host + disk === 0) return;
        const key = `${length} ${reverse}`;
        const want = stored.get(key) ?? (await gradientOf("store", length, reverse)).values;
        stored.set(key, want);
        const got = await gradientOf(rg.offload({ device, host, disk }), length, reverse);
        got.values.forEach((value, i) => assertEquals(value, want[i], `part ${i}`));
      },
    ),
    { seed: seed(), numRuns: 5 },
  );
  const { host, disk } = rg.memory();
  assertEquals([host.live, disk.live], [0, 0]);
});

Deno.test("offload() of one state, which is the first, and of states of no bytes, moves nothing", async () => {
  const gradient = (backward: rg.Backward, length: number, size: number) =>
    rg.compile(
      rg.grad((x: rg.Tensor) => rg.loop((x) => x.mul(1.1).sin(), x, { length, backward }).sum()),
    )(rg.ones([size])).data();
  for (const [length, size] of [[2, 3], [5, 3], [5, 0]] as const) {
    const want = await gradient("store", length, size);
    for (const counts of [{ host: 1 }, { disk: 1 }, { host: 3 }, { host: 1, disk: 1 }]) {
      assertEquals(await gradient(rg.offload(counts), length, size), want);
    }
  }
});

Deno.test("what offload() keeps outside is what it said, and its schedule is possible", async () => {
  for (const [counts, length] of [[[1, 3, 0], 20], [[1, 2, 2], 30], [[0, 0, 3], 12]] as const) {
    const [device, host, disk] = counts;
    const plan = scheduleOf(offload({ device, host, disk }).plan);
    const account = simulate(plan.schedule(length), length, { snapshots: device + host + disk });
    assert(account.traffic.device.peak <= device);
    assert(account.traffic.host.peak <= host);
    assert(account.traffic.disk.peak <= disk);
    const { text } = await gradientOf(rg.offload({ device, host, disk }), length);
    const rows = [...text.matchAll(/^(host|disk) +(\d+) +(\S+)$/gm)];
    assertEquals(rows.length, Number(host > 0) + Number(disk > 0), text);
    for (const [, , predicted, counted] of rows) assertEquals(predicted, counted, text);
  }
});

Deno.test("what several loops keep outside is counted as predicted, at once or in turn", async () => {
  const first = rg.offload({ device: 1, host: 5, disk: 2 });
  const second = rg.offload({ device: 1, host: 4 });
  const chain = (a: rg.Backward, b: rg.Backward) => (x: rg.Tensor): rg.Tensor => {
    const y = rg.loop((h: rg.Tensor) => h.mul(1.01).sin(), x, { length: 14, backward: a });
    return rg.loop((h: rg.Tensor) => h.tanh(), y.cos(), { length: 9, backward: b }).square().sum();
  };
  const nested = (x: rg.Tensor): rg.Tensor =>
    rg.loop(
      (x) => rg.loop((x) => x.mul(1.1).sin(), x, { length: 9, backward: second }).add(0.2),
      x,
      { length: 14, backward: first },
    ).sum();
  const one = rg.grad(chain(first, "store")), other = rg.grad(chain("store", second));
  const programs: Record<string, (x: rg.Tensor) => rg.Tensor> = {
    "one within the other": rg.grad(chain(first, second)),
    "one after the other": (x) => other(one(x)),
    "side by side": (x) => one(x).add(other(x.sin())),
    "one loop, twice": (x) => one(x).add(rg.vmap(one)(rg.stack([x, x.mul(2)])).sum(0)),
    "to the second order": (x) => rg.hvp(chain(first, second), x, x.cos()),
    "in a body": rg.grad(nested),
  };
  const x = rg.random.normal(rg.random.key(6), [37]);
  for (const [name, f] of Object.entries(programs)) {
    const run = rg.compile(f);
    await run(x).data();
    const rows = [...run.explain().matchAll(/^(host|disk) +(\d+) +(\S+)$/gm)];
    assert(rows.length > 0, name);
    for (const [row, , predicted, counted] of rows) assertEquals(predicted, counted, name + row);
    run.dispose();
  }
});

Deno.test("a pullback may be called more than once where its states are outside", async () => {
  const step = (h: rg.Tensor): rg.Tensor => h.mul(1.01).sin();
  const pulled = (backward: rg.Backward) =>
    rg.compile((x: rg.Tensor) => {
      const [y, pull] = rg.vjp((x: rg.Tensor) => rg.loop(step, x, { length: 10, backward }), x);
      const [a] = pull(y), [b] = pull(y.mul(a)), [c] = pull(b.cos());
      return a.add(c);
    });
  const x = rg.random.normal(rg.random.key(6), [37]), want = await pulled("store")(x).data();
  for (const counts of [{ device: 1, host: 5, disk: 2 }, { host: 3 }, { disk: 4 }]) {
    const run = pulled(rg.offload(counts));
    for (const _ of [1, 2]) assertEquals(await run(x).data(), want);
    const rows = [...run.explain().matchAll(/^(host|disk|peak) +(\d+) +(\S+)$/gm)];
    for (const [row, , predicted, counted] of rows) assertEquals(predicted, counted, row);
    run.dispose();
  }
});

Deno.test("one loop keeps the state before a step on disk and in the host's memory", async () => {
  const step = (h: rg.Tensor): rg.Tensor => h.mul(1.01).sin();
  const f = (backward: rg.Backward) =>
    rg.grad((x: rg.Tensor) => rg.loop(step, x, { length: 6, backward }).square().sum());
  const both = (a: rg.Backward, b: rg.Backward) =>
    rg.compile((x: rg.Tensor) => f(a)(x).add(f(b)(x).mul(3)));
  const x = rg.random.normal(rg.random.key(6), [37]), want = await both("store", "store")(x).data();
  const run = both(rg.offload({ host: 6 }), rg.offload({ disk: 6 }));
  assertEquals(await run(x).data(), want);
  const rows = [...run.explain().matchAll(/^(host|disk) +(\d+) +(\S+)$/gm)];
  assertEquals(rows.map((row) => row[1]), ["host", "disk"]);
  for (const [row, , predicted, counted] of rows) assertEquals(predicted, counted, row);
  run.dispose();
});

Deno.test("offload() takes less of the device than keeping as many states there", async () => {
  const big = await rg.realize(rg.random.normal(rg.random.key(5), [256, 256]).mul(0.05));
  const peakOf = async (backward: rg.Backward): Promise<{ device: number; host: number }> => {
    const run = rg.compile(
      rg.grad((x: rg.Tensor) =>
        rg.loop((x) => x.mul(0.9).sin(), x, { length: 60, backward }).sum()
      ),
    );
    const [program] = [run(big), run.programs()[0]!].slice(1) as [rg.Program];
    await rg.synchronize();
    run.dispose();
    return { device: program.memory.workspace, host: program.outside.host };
  };
  const state = 4 * 256 * 256;
  const kept = await peakOf(rg.revolve({ snapshots: 12 }));
  const moved = await peakOf(rg.offload({ device: 2, host: 10 }));
  assert(moved.host >= 5 * state);
  assert(moved.device <= kept.device - 5 * state, `${moved.device} against ${kept.device}`);
});

Deno.test("offload() works in nested loops, under vmap, and to the second order", async () => {
  const f = (backward: rg.Backward) => (x: rg.Tensor): rg.Tensor =>
    rg.loop(
      (x) => rg.loop((x) => x.mul(1.1).sin(), x, { length: 5, backward }).add(0.2),
      x,
      { length: 6, backward },
    ).sum();
  const away = rg.offload({ device: 1, host: 1, disk: 1 });
  const x = rg.tensor([0.3, 1.2, -0.7]);
  const ways: Record<string, (f: (x: rg.Tensor) => rg.Tensor) => (x: rg.Tensor) => rg.Tensor> = {
    grad: (f) => rg.grad(f),
    vmap: (f) => rg.vmap(rg.grad(f)),
    hvp: (f) => (x) => rg.hvp(f, x, rg.ones([3])),
  };
  for (const [name, way] of Object.entries(ways)) {
    const got = await rg.compile(way(f(away)))(x).data();
    const want = await rg.compile(way(f("store")))(x).data();
    if (name === "grad") assertEquals(got, want, name);
    got.forEach((value, i) => assert(Math.abs(value - want[i]!) <= 1e-5, name));
  }
});

Deno.test("offload() leaves no file, and nothing counted, where the device is lost meanwhile", async () => {
  const files = (): number => {
    let count = 0;
    for (const { name } of Deno.readDirSync("/tmp")) if (name.startsWith("retrograd-")) count++;
    return count;
  };
  const before = files();
  const run = rg.compile(rg.grad((x: rg.Tensor) =>
    rg.loop((x) => x.mul(0.9).sin(), x, {
      length: 400,
      backward: rg.offload({ device: 1, disk: 6 }),
    }).sum()
  ));
  const x = run(rg.ones([64]));
  assertEquals(files(), before);
  const waits = assertRejects(() => x.data(), rg.DeviceLostError);
  await new Promise((resolve) => setTimeout(resolve, 30));
  rg.shutdown();
  await waits;
  await rg.init({ software: "allow" });
  assertEquals(files(), before);
  assertEquals(rg.memory().disk.live, 0);
});

Deno.test("offload() refuses what is no number of states", () => {
  assertThrows(() => rg.offload({}), RangeError, "the number of states is 0, expected an integer");
  assertThrows(
    () => rg.offload({ device: 1, host: -1 }),
    RangeError,
    "Cannot make offload: host is -1, expected an integer of at least 0",
  );
  assertThrows(() => rg.offload({ disk: 1.5 }), RangeError, "disk is 1.5");
});
