/** The order in which things reach the device, with and without tasks that wait. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import * as rg from "../../mod.ts";
import type { Program } from "../../compile/program.ts";
import type { Steered } from "../../compile/script.ts";
import { idle } from "../../compile/work.ts";
import { DeviceError } from "../../runtime/errors.ts";
import { Line } from "../../runtime/line.ts";
import { context } from "../../runtime/context.ts";
import { LoadedProgram } from "../../runtime/loaded.ts";
import { finish, read, upload, write } from "../../runtime/queue.ts";
import { seed } from "../seed.ts";
import { chain, close, openContext, storageOf, update } from "./programs.ts";

await rg.init({ software: "allow" });

const pause = (ms = 0): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("Line does everything at once while no task is under way", () => {
  const done: number[] = [];
  const line = new Line(() => {});
  line.pass(() => done.push(1));
  assertEquals(line.enter(() => 5), 5);
  line.pass(() => done.push(2));
  assertEquals([done, line.busy], [[1, 2], false]);
});

Deno.test("Line keeps the order behind tasks that wait, nested calls included", async () => {
  const done: string[] = [], errors: unknown[] = [];
  const line = new Line((error) => errors.push(error));
  line.task(async () => {
    done.push("a begins at once");
    await pause();
    line.pass(() => done.push("asked for during a"));
    done.push("a ends");
  });
  line.pass(() => done.push("b"));
  line.task(async () => {
    await pause();
    done.push("c");
    throw new Error("c failed");
  });
  line.pass(() => {
    throw new Error("d failed");
  });
  const e = line.enter(() => (done.push("e"), 7));
  const f = line.enter(() => {
    throw new Error("f failed");
  });
  const failed = assertRejects(() => Promise.resolve(f), Error, "f failed");
  assertEquals(done, ["a begins at once"]);
  assertEquals(await e, 7);
  await failed;
  assertEquals(done, ["a begins at once", "a ends", "b", "c", "e", "asked for during a"]);
  assertEquals(errors.map((error) => (error as Error).message), ["c failed", "d failed"]);
  await pause();
  assert(!line.busy);
  line.pass(() => done.push("g"));
  assertEquals(done.at(-1), "g");
});

Deno.test("runs, writes, reads and destruction wait behind a task, in order", async () => {
  const context = await openContext();
  const { line, ledger } = context;
  const twice = new LoadedProgram(context, update(4, 2, 1));
  const x = storageOf([1, 2, 3, 4]);
  upload(context, x);
  const block = context.blockOf(x, "test");
  const gate = Promise.withResolvers<void>();
  line.task(() => gate.promise);
  const values = Float32Array.of(10, 20, 30, 40);
  write(context, block, values);
  values.fill(99); // The caller's array is the caller's again.
  const [y] = twice.run([x]);
  const early = read(context, [y!]);
  const [z] = twice.run([y!]);
  const late = read(context, [z!]);
  const spare = ledger.take(4096, "data");
  ledger.release(spare);
  ledger.trim();
  let destroyed = false;
  const destroy = spare.gpu.destroy.bind(spare.gpu);
  spare.gpu.destroy = () => (destroyed = true, destroy());
  ledger.release(ledger.take(8192, "data"));
  ledger.trim();
  await pause(5);
  assert(!destroyed);
  gate.resolve();
  assertEquals(await early, [Float32Array.of(21, 41, 61, 81)]);
  assertEquals(await late, [Float32Array.of(43, 83, 123, 163)]);
  await finish(context);
  await close(context);
});

Deno.test("a program that was disposed of while it waits still runs, in memory of its own", async () => {
  const context = await openContext();
  const gate = Promise.withResolvers<void>();
  context.line.task(() => gate.promise);
  const first = new LoadedProgram(context, chain(64));
  const [y] = first.run([storageOf(new Float32Array(64).fill(1))]);
  first.dispose();
  context.ledger.trim();
  const second = new LoadedProgram(context, chain(64));
  const [z] = second.run([storageOf(new Float32Array(64).fill(2))]);
  gate.resolve();
  assertEquals((await read(context, [y!, z!])).map((data) => data[63]), [8, 14]);
  await close(context);
});

Deno.test("a lost device ends what waits", async () => {
  const context = await openContext();
  const x = storageOf([1, 2]);
  upload(context, x);
  context.line.task(async () => {
    await context.device.gpu.lost;
    throw new Error("gone");
  });
  const waits = read(context, [x]);
  const rejected = assertRejects(() => waits, Error, "expected `await init()` again");
  await close(context);
  await rejected;
  await pause();
  assert(!context.line.busy);
});

/** A program that runs what a coroutine says, over one dispatch. */
function steeredProgram(steer: Steered["steer"]): Program {
  return {
    ...update(4, 2, 1),
    name: "steered",
    script: [{ parts: [[0]], slots: [0], effort: idle, steer }],
  };
}

Deno.test("a steered program runs what it says, and asks in between", async () => {
  const context = await openContext();
  const f32 = (word: number): number => new Float32Array(Uint32Array.of(word).buffer)[0]!;
  const asked: number[] = [];
  const program = new LoadedProgram(
    context,
    steeredProgram(async function* (play, host, slots) {
      for (let times = 1; times < 4; times++) {
        yield* play(new Array<number>(times).fill(0));
        asked.push(f32((await host.read(slots))[0]!));
      }
    }),
  );
  const [y] = program.run([storageOf([1, 2, 3, 4])]);
  assertEquals(asked, []);
  assertEquals(await read(context, [y!]), [Float32Array.of(127, 191, 255, 319)]);
  assertEquals(asked, [3, 15, 127]);
  await close(context);
});

Deno.test("what goes wrong in a steered program is told at the next await, and others go on", async () => {
  const context = await openContext();
  const failing = new LoadedProgram(
    context,
    steeredProgram(async function* (play) {
      yield* play([0]);
      throw new RangeError("it cannot go on");
    }),
  );
  const forever = new LoadedProgram(
    context,
    steeredProgram(async function* (play) {
      for (;;) {
        yield* play([0]);
        await pause();
      }
    }),
  );
  const twice = new LoadedProgram(context, update(4, 2, 0));
  failing.run([storageOf([1, 2, 3, 4])]);
  const [y] = twice.run([storageOf([1, 2, 3, 4])]);
  await assertRejects(() => finish(context), DeviceError, "Cannot run steered: it cannot go on");
  assertEquals(await read(context, [y!]), [Float32Array.of(2, 4, 6, 8)]);
  // What the device refused may be why it does not end.
  forever.run([storageOf([1, 2, 3, 4])]);
  const [z] = twice.run([y!]);
  await pause(20);
  assert(context.line.busy);
  context.device.errors.add(new DeviceError("Cannot run affine: refused"));
  await pause(20);
  await assertRejects(() => finish(context), DeviceError, "Cannot run affine: refused");
  assertEquals(await read(context, [z!]), [Float32Array.of(4, 8, 12, 16)]);
  assert(!context.line.busy);
  await close(context);
});

/** What a random sequence of calls does to a few tensors. */
type Call =
  | { readonly do: "step"; readonly at: number; readonly rate: number }
  | { readonly do: "while"; readonly at: number; readonly steps: number }
  | { readonly do: "upload"; readonly at: number; readonly value: number }
  | { readonly do: "mix"; readonly at: number; readonly from: number }
  | { readonly do: "read"; readonly at: number }
  | { readonly do: "wait" };

const at = fc.nat(2);
const calls = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant("step" as const), at, rate: fc.integer({ min: -3, max: 3 }) }),
    fc.record({ do: fc.constant("while" as const), at, steps: fc.nat(9) }),
    fc.record({ do: fc.constant("upload" as const), at, value: fc.integer({ min: 0, max: 9 }) }),
    fc.record({ do: fc.constant("mix" as const), at, from: at }),
    fc.record({ do: fc.constant("read" as const), at }),
    fc.record({ do: fc.constant("wait" as const) }),
  ),
  { minLength: 1, maxLength: 25 },
);

Deno.test("any mix of tasks and plain calls gives what the same calls give one by one", async () => {
  const size = 5;
  const step = rg.compile((x: rg.Tensor, rate: rg.Tensor) => x.mul(0.5).add(rate), {
    donate: [0],
  });
  const climb = rg.compile((x: rg.Tensor, steps: rg.Tensor) =>
    rg.whileLoop(
      ({ i }: { x: rg.Tensor; i: rg.Tensor }) => i.less(steps),
      ({ x, i }: { x: rg.Tensor; i: rg.Tensor }) => ({ x: x.mul(0.5).add(i), i: i.add(1) }),
      { x, i: rg.tensor(0) },
    )[0].x, { donate: [0] });
  const mix = rg.compile((x: rg.Tensor, y: rg.Tensor) => x.add(y.mul(0.25)));
  await fc.assert(
    fc.asyncProperty(calls, async (calls) => {
      const xs = [1, 2, 3].map((value) => rg.full([size], value));
      const model = [1, 2, 3];
      const reads: Promise<void>[] = [];
      const expect = async (x: rg.Tensor, value: number): Promise<void> => {
        const data = x.data();
        assertEquals(await data, new Float32Array(size).fill(Math.fround(value)));
      };
      for (const call of calls) {
        switch (call.do) {
          case "step":
            xs[call.at] = step(xs[call.at]!, call.rate);
            model[call.at] = Math.fround(model[call.at]! * 0.5 + call.rate);
            break;
          case "while":
            xs[call.at] = climb(xs[call.at]!, call.steps);
            for (let i = 0; i < call.steps; i++) {
              model[call.at] = Math.fround(model[call.at]! * 0.5 + i);
            }
            break;
          case "upload":
            xs[call.at] = rg.tensor(new Float32Array(size).fill(call.value));
            model[call.at] = call.value;
            break;
          case "mix":
            xs[call.at] = mix(xs[call.at]!, xs[call.from]!);
            model[call.at] = Math.fround(model[call.at]! + model[call.from]! * 0.25);
            break;
          case "read":
            reads.push(expect(xs[call.at]!, model[call.at]!));
            break;
          case "wait":
            await pause();
        }
      }
      xs.forEach((x, i) => reads.push(expect(x, model[i]!)));
      await Promise.all(reads);
    }),
    { seed: seed(), numRuns: 15 },
  );
  assert(!context("test").line.busy);
});
