/**
 * Loops left to the compiler in programs that may keep bytes outside of the device: what `compile`
 * allows reaches them, is never exceeded, and changes no bit.
 *
 * @module
 */
import { assert, assertAlmostEquals, assertEquals, assertMatch, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import { firstDifference } from "../gpu.ts";
import { normal } from "./bits.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;

/** Steps that take far longer than moving their state. */
const size = 64, state = 4 * size * size, length = 16;
const wide = await rg.realize(normal(1, [size, 1024]).mul(0.1));
const narrow = await rg.realize(normal(2, [1024, size]).mul(0.02));
const x = await rg.realize(normal(3, [size, size]));
const step = (y: T): T => y.add(y.matmul(wide).tanh().matmul(narrow));
const checkpointed = rg.checkpoint(step);
const run = (x: T, backward: rg.Backward, name: string): T =>
  rg.loop(step, x, { length, backward, name });

const gradient = (backward: rg.Backward, options: rg.CompileOptions = {}) =>
  rg.compile(rg.grad((x: T) => run(x, backward, "heavy").square().mean()), options);

type Compiled = ReturnType<typeof gradient>;
const program = (f: Compiled): rg.Program => f.programs().at(-1)!;
const timeOf = (f: Compiled): number => program(f).steps().reduce((sum, { time }) => sum + time, 0);
const limit = (bytes: number | string | undefined): number => Number(bytes ?? 0);

/** The bits of `want` within the bytes allowed, those of the device as predicted. */
async function assertWithin(
  f: Compiled,
  want: rg.TypedArray,
  { memory, offload }: rg.CompileOptions,
): Promise<void> {
  const what = JSON.stringify({ memory, offload });
  for (const _ of [1, 2]) {
    assertEquals(firstDifference(await f(x).data(), want), undefined, what);
  }
  const { memory: { peak }, outside } = program(f), text = f.explain();
  assert(peak <= limit(memory), what);
  assertMatch(text, new RegExp(`peak +${peak} +${peak}\n`), what);
  for (const store of ["host", "disk"] as const) {
    assert(outside[store] <= limit(offload?.[store]), `${what}: ${outside[store]} in ${store}`);
    const row = text.match(new RegExp(`^${store} +(\\d+) +(\\d+)$`, "m"));
    assertEquals(row === null, outside[store] === 0, text);
    if (row !== null) assertEquals(row[2], row[1], text);
  }
  const { host, disk } = rg.memory();
  assertEquals([host.live, disk.live], [0, 0]);
}

Deno.test("what compile() may keep outside reaches a loop left to it, where that is faster", async () => {
  const free = gradient("auto"), want = await gradient("store")(x).data();
  assertEquals(firstDifference(await free(x).data(), want), undefined);
  const memory = program(free).memory.peak - 10 * state;
  const plain = gradient("auto", { memory });
  await assertWithin(plain, want, { memory });
  const cases: rg.OffloadBudget[] = [
    { host: 6 * state },
    { host: 2 * state + 7, disk: 30 * state },
  ];
  for (const offload of cases) {
    const f = gradient("auto", { memory, offload });
    await assertWithin(f, want, { memory, offload });
    assertMatch(program(f).choices![0]!, /^heavy, 16 steps: /);
    assert(timeOf(f) <= timeOf(plain), JSON.stringify(offload));
    if (offload.host !== 6 * state) continue;
    // States of sixteen kilobytes wait a quarter of a millisecond; a step takes about one.
    assert(timeOf(f) < 0.97 * timeOf(plain), `${timeOf(f)} against ${timeOf(plain)}`);
    assertMatch(program(f).choices![0]!, /offload\(\d+, \d+, 0\)/);
    assert(program(f).outside.host >= 3 * state);
    const row = f.explain().match(/^host +(\d+) +(\d+)$/m)!;
    assertEquals(row[1], row[2]);
  }
  // Less than a state is of no use.
  const none = { memory, offload: { host: state - 1 } };
  const f = gradient("auto", none);
  await assertWithin(f, want, none);
  assertEquals([program(f).outside.host, timeOf(f)], [0, timeOf(plain)]);
});

Deno.test("what a loop says of stores itself wins", async () => {
  const want = await gradient("store")(x).data();
  const free = gradient("auto");
  await free(x).data();
  const memory = program(free).memory.peak - 10 * state;
  const most = { memory, offload: { host: 20 * state } };
  const nowhere = gradient(rg.auto({ host: 0 }), most);
  await assertWithin(nowhere, want, { memory });
  const own = gradient(rg.auto({ host: 8, disk: 0 }), { memory, offload: { host: 2 * state } });
  assertEquals(firstDifference(await own(x).data(), want), undefined);
  assert(program(own).outside.host > 2 * state, program(own).choices![0]!);
  assert(program(own).outside.host <= 8 * state);
});

Deno.test("a budget that needs what is outside is met with it, and the least says so", async () => {
  const x = normal(4, [4096]);
  const f = (options: rg.CompileOptions, backward: rg.Backward = "auto") =>
    rg.compile(
      rg.grad((x: T) =>
        rg.loop((x) => x.mul(1.1).sin(), x, { length: 150, backward, name: "wave" }).sum()
      ),
      options,
    );
  const want = await f({}, "store")(x).data();
  const leastOf = (offload?: rg.OffloadBudget): number => {
    const g = f({ memory: 1000, ...offload && { offload } });
    const { message } = assertThrows(() => g(x), RangeError, "expected at least");
    return Number(message.match(/at least (\d+)/)![1]);
  };
  const plain = leastOf(), offload = { host: 150 * 4 * 4096 }, least = leastOf(offload);
  assert(least < plain - 4 * 2048, `${least} against ${plain}`);
  const g = f({ memory: least, offload });
  assertEquals(firstDifference(await g(x).data(), want), undefined);
  assert(g.programs()[0]!.memory.peak <= least);
  assertThrows(() => f({ memory: least - 1, offload })(x), RangeError, `${least}`);
});

Deno.test("loops and other values share the bytes outside", async () => {
  const both = (backward: rg.Backward, options: rg.CompileOptions = {}) =>
    rg.compile(
      rg.grad((x: T) => {
        let y = run(run(x, backward, "one"), backward, "two");
        for (let i = 0; i < 6; i++) y = checkpointed(y);
        return y.square().mean();
      }),
      options,
    );
  const free = both("auto"), want = await both("store")(x).data();
  assertEquals(firstDifference(await free(x).data(), want), undefined);
  const { peak } = program(free).memory;
  let kept = 0, moved = 0;
  for (const [states, count] of [[16, 7], [24, 40]] as const) {
    const options = { memory: peak - states * state, offload: { host: count * state } };
    const f = both("auto", options);
    await assertWithin(f, want, options);
    kept += program(f).outside.host;
    moved += program(f).steps().filter(({ move }) => move !== undefined).length;
    f.dispose();
  }
  assert(kept > 8 * state && moved > 0, `${kept} bytes outside, ${moved} moves`);
});

Deno.test("what may be outside reaches loops within the bodies of others", async () => {
  const rounds = 3;
  const nested = (inner: rg.Backward, options: rg.CompileOptions = {}) =>
    rg.compile(
      rg.grad((x: T) => {
        const round = (y: T): T =>
          rg.loop(step, y, { length: 6, backward: inner, name: "inner" }).mul(0.9);
        return rg.loop(round, x, { length: rounds, backward: "store", name: "outer" }).sum();
      }),
      options,
    );
  const free = nested("auto"), want = await nested("store")(x).data();
  assertEquals(firstDifference(await free(x).data(), want), undefined);
  const memory = program(free).memory.peak - 3 * state;
  const plain = nested("auto", { memory });
  await assertWithin(plain, want, { memory });
  const options = { memory, offload: { host: 4 * state } };
  const moved = nested("auto", options);
  await assertWithin(moved, want, options);
  assert(timeOf(moved) < 0.97 * timeOf(plain), `${timeOf(moved)} against ${timeOf(plain)}`);
  assert(program(moved).outside.host >= 2 * state, `${program(moved).outside.host} bytes`);
  const row = moved.explain().match(/^host +(\d+) +(\d+)$/m)!;
  assertEquals(row[1], row[2]);
});

Deno.test("transfers within a body are counted for every step of the loop around it", async () => {
  const timeFor = (rounds: number, backward: rg.Backward): number => {
    const inner = (y: T): T => run(y, backward, "inner");
    const outer = (x: T): T => rounds === 0 ? inner(x) : rg.loop(inner, x, { length: rounds });
    const f = rg.compile(rg.grad((x: T) => outer(x).sum()));
    f(x);
    return timeOf(f);
  };
  const waits = (rounds: number): number =>
    timeFor(rounds, rg.offload({ host: length })) -
    timeFor(rounds, rg.revolve({ snapshots: length }));
  const [alone, two, five] = [0, 2, 5].map(waits) as [number, number, number];
  assert(alone > 2000 && two > 1.7 * alone, `${alone} and ${two} microseconds`);
  assertAlmostEquals(five / two, 2.5, 0.05);
  await rg.synchronize();
});
