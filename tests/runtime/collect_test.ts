import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { assert, assertEquals } from "@std/assert";
import type { Storage } from "../../graph/storage.ts";
import { LoadedProgram } from "../../runtime/loaded.ts";
import { read } from "../../runtime/queue.ts";
import {
  affineKernel,
  bytesOf,
  close,
  openContext,
  programOf,
  storageOf,
  update,
} from "./programs.ts";

const MiB = 2 ** 20;

/** A step that returns a loss and gradients of so many bytes; it writes only the first values. */
function gradients(sizes: readonly number[]) {
  const scalar = { shape: [4], dtype: "f32" } as const;
  return programOf({
    name: "gradients",
    arguments: [scalar],
    slots: [
      { bytes: bytesOf(4), role: { is: "argument", index: 0 } },
      { bytes: bytesOf(4), role: { is: "result" } },
      ...sizes.map((size) => ({ bytes: bytesOf(size), role: { is: "result" } } as const)),
    ],
    dispatches: [1, ...sizes].map((_, i) => [affineKernel(4, i, 1), 0, i + 1] as const),
    results: [
      { ...scalar, slot: 1 },
      ...sizes.map((size, i) => ({ shape: [size], dtype: "f32", slot: i + 2 } as const)),
    ],
  });
}

Deno.test("Collector bounds a loop of 1000 steps of 16 MiB that never awaits", async () => {
  const context = await openContext();
  const step = new LoadedProgram(context, gradients([4 * MiB]));
  const x = storageOf([1, 2, 3, 4]);
  let results: Storage[] = [];
  for (let i = 0; i < 1000; i++) results = step.run([x]);
  const { peak } = context.ledger.report(), { counts } = context.collector;
  console.log(
    `peak ${
      peak / MiB
    } MiB, ${counts.sweeps} sweeps (${counts.forced} forced) in ${counts.milliseconds} ms`,
  );
  assert(peak < 1024 * MiB, `peak is ${peak}`);
  assert(counts.blocks > 900 && counts.sweeps > 0);
  const data = await read(context, [results[0]!]);
  assertEquals(data[0], Float32Array.of(1, 1, 1, 1));
  await close(context);
});

Deno.test("Collector gives back many gradients while losses are kept", async () => {
  const context = await openContext();
  const sizes = Array.from({ length: 20 }, (_, i) => 100_000 + 10_000 * i);
  const step = new LoadedProgram(context, gradients(sizes));
  const x = storageOf([1, 2, 3, 4]);
  const losses: Storage[] = [];
  for (let i = 0; i < 300; i++) losses.push(step.run([x])[0]!);
  const { peak } = context.ledger.report();
  const bytes = sizes.reduce((n, size) => n + 4 * size, 0);
  console.log(`${300 * bytes / MiB} MiB made, peak ${peak / MiB} MiB`, context.collector.counts);
  assert(peak < 700 * MiB, `peak is ${peak}`);
  assertEquals((await read(context, losses)).length, 300);
  await close(context);
});

Deno.test("Collector keeps what is still referred to, and asks it ever more seldom", async () => {
  const context = await openContext();
  const step = new LoadedProgram(context, gradients([MiB]));
  const kept: Storage[] = [];
  for (let i = 0; i < 400; i++) {
    const results = step.run([storageOf([i, 0, 0, 0])]);
    if (i % 50 === 0) kept.push(results[0]!, results[1]!);
  }
  assert(context.collector.counts.sweeps > 1);
  // Each was i·0 + 1 and i·1 + 1.
  const values = await read(context, kept);
  values.forEach((data, i) => assertEquals(data[0], i % 2 === 0 ? 1 : 50 * (i >> 1) + 1));
  await close(context);
});

Deno.test("Collector bounds a loop that awaits, and one that donates sweeps nothing", async () => {
  const context = await openContext();
  const step = new LoadedProgram(context, gradients([16 * MiB]));
  const x = storageOf([1, 2, 3, 4]);
  for (let i = 0; i < 40; i++) {
    const [loss] = step.run([x]);
    if (i % 4 === 0) await read(context, [loss!]);
  }
  const { peak } = context.ledger.report();
  assert(peak < 1024 * MiB, `peak is ${peak}`);
  const { sweeps } = context.collector.counts;
  const donating = new LoadedProgram(context, update(MiB / 4));
  let state = storageOf(new Float32Array(MiB / 4));
  for (let i = 0; i < 600; i++) [state] = donating.run([state]) as [Storage];
  assertEquals(context.collector.counts.sweeps, sweeps);
  await close(context);
});

/** Two states that are written in place, whose memory outweighs nothing. */
function twoStates() {
  const aval = { shape: [4], dtype: "f32" } as const;
  return programOf({
    name: "two states",
    arguments: [aval, aval],
    donated: [0, 1],
    slots: [0, 1].map((index) => ({ bytes: bytesOf(4), role: { is: "argument", index } })),
    dispatches: [0, 1].map((slot) => [affineKernel(4, 2, 1, true), slot]),
    results: [0, 1].map((slot) => ({ ...aval, slot })),
  });
}

Deno.test("Collector notices within a job that state died which steps had handed on", async () => {
  const context = await openContext();
  const step = new LoadedProgram(context, twoStates());
  const { collector } = context;
  // In functions of their own, so that nothing stays on the stack.
  let states: Storage[] | undefined = step.run([storageOf([1, 1, 1, 1]), storageOf([2, 2, 2, 2])]);
  await read(context, states);
  const before = collector.counts.blocks;
  const live = () => {
    // Each sweep finds them alive, and spends a token on that.
    for (let i = 0; i < 2; i++) collector.sweep();
    assertEquals(collector.counts.blocks, before);
    states = step.run(states!);
  };
  live();
  states = undefined;
  collector.sweep();
  assertEquals(collector.counts.blocks, before + 2);
  await close(context);
});

Deno.test("Collector gives back each state that died, though they were made together", async () => {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  const context = await openContext();
  const step = new LoadedProgram(context, twoStates());
  const idle = () => context.ledger.report().kinds.idle.live;
  let states: (Storage | undefined)[] = step.run([
    storageOf([1, 1, 1, 1]),
    storageOf([2, 2, 2, 2]),
  ]);
  for (let i = 0; i < 10; i++) states = step.run(states as Storage[]);
  await read(context, states as Storage[]);
  const before = idle();
  states[0] = undefined;
  for (let i = 0; i < 20 && idle() === before; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assertEquals(idle() - before, bytesOf(4));
  assertEquals((await read(context, [states[1]!]))[0], new Float32Array(4).fill(2 ** 11 * 3 - 1));
  await close(context);
});
