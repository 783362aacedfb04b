import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DeviceError } from "../../runtime/errors.ts";
import { LoadedProgram } from "../../runtime/loaded.ts";
import { read } from "../../runtime/queue.ts";
import {
  affineKernel,
  bytesOf,
  chain,
  close,
  openContext,
  programOf,
  storageOf,
  update,
} from "./programs.ts";

Deno.test("LoadedProgram.run() gives results without waiting, one submit a run", async () => {
  const context = await openContext();
  const loaded = new LoadedProgram(context, chain(5));
  const x = storageOf([0, 1, 2, 3, 4]);
  const [once] = loaded.run([x]);
  const [twice] = loaded.run([once!]);
  assertEquals(await read(context, [twice!, once!, x]), [
    Float32Array.of(14, 50, 86, 122, 158),
    Float32Array.of(2, 8, 14, 20, 26),
    Float32Array.of(0, 1, 2, 3, 4),
  ]);
  await close(context);
});

Deno.test("LoadedProgram.run() updates a donated argument in place", async () => {
  const context = await openContext();
  const loaded = new LoadedProgram(context, update(4));
  let x = storageOf([0, 1, 2, 3]);
  const first = x;
  x.kind = "parameters";
  [x] = loaded.run([x]) as [typeof x];
  const { state } = x, { live, buffers } = context.ledger.report();
  for (let i = 0; i < 10; i++) {
    [x] = loaded.run([x]) as [typeof x];
    assertEquals(x.state, state);
  }
  const report = context.ledger.report();
  assertEquals([report.live, report.buffers], [live, buffers]);
  assertEquals(report.kinds.parameters.live, bytesOf(4));
  assertEquals((await read(context, [x]))[0], Float32Array.of(2047, 4095, 6143, 8191));
  await assertRejects(
    () => read(context, [first]),
    Error,
    "Cannot read: the tensor has no data, it was donated to update, expected one that still",
  );
  assertThrows(() => loaded.run([first]), Error, "it was donated to update");
  await close(context);
});

Deno.test("LoadedProgram.run() copies what is donated but still needed elsewhere", async () => {
  const context = await openContext();
  const size = 3, bytes = bytesOf(size), aval = { shape: [size], dtype: "f32" } as const;
  const both = programOf({
    arguments: [aval, aval],
    donated: [0, 1],
    slots: [0, 1].map((index) => ({ bytes, role: { is: "argument", index } } as const)),
    dispatches: [
      [affineKernel(size, 2, 0, true), 0],
      [affineKernel(size, 3, 0, true), 1],
    ],
    results: [{ ...aval, slot: 0 }, { ...aval, slot: 1 }],
  });
  const loaded = new LoadedProgram(context, both);
  const x = storageOf([1, 2, 3]);
  const [a, b] = loaded.run([x, x]);
  assertEquals(x.state.at, "gone");
  // An expression that has not been read yet may still need the original.
  const y = storageOf([1, 1, 1]);
  y.used = true;
  const [c, d] = loaded.run([y, storageOf([5, 5, 5])]);
  assertEquals(await read(context, [a!, b!, c!, d!, y]), [
    Float32Array.of(2, 4, 6),
    Float32Array.of(3, 6, 9),
    Float32Array.of(2, 2, 2),
    Float32Array.of(15, 15, 15),
    Float32Array.of(1, 1, 1),
  ]);
  await close(context);
});

Deno.test("LoadedProgram.run() hands arguments through and shares results of one slot", async () => {
  const context = await openContext();
  const aval = { shape: [2], dtype: "f32" } as const;
  const program = programOf({
    arguments: [aval, { shape: [0], dtype: "f32" }],
    slots: [
      { bytes: bytesOf(2), role: { is: "argument", index: 0 } },
      { bytes: 0, role: { is: "argument", index: 1 } },
      { bytes: bytesOf(2), role: { is: "result" } },
    ],
    dispatches: [[affineKernel(2, 2, 0), 0, 2]],
    results: [
      { ...aval, slot: 0 },
      { ...aval, slot: 2 },
      { ...aval, slot: 2 },
      { shape: [2], dtype: "i32", slot: 2 },
      { shape: [0, 3], dtype: "u32", slot: -1 },
    ],
  });
  const loaded = new LoadedProgram(context, program);
  const x = storageOf([1, 2]);
  const [same, y, again, bits, empty] = loaded.run([x, storageOf([])]);
  assert(same === x && y === again && y !== bits);
  context.release(y!, "it was disposed of");
  const [values, none] = await read(context, [bits!, empty!]);
  assertEquals(new Float32Array(values!.buffer), Float32Array.of(2, 4));
  assertEquals(none, new Uint32Array(0));
  await close(context);
});

Deno.test("LoadedProgram.run() checks arguments before anything changes hands", async () => {
  const context = await openContext();
  const loaded = new LoadedProgram(context, update(4));
  const x = storageOf([1, 2, 3, 4]);
  assertThrows(
    () => loaded.run([x, x]),
    TypeError,
    "Cannot run update: 2 arguments, expected 1",
  );
  assertThrows(
    () => loaded.run([storageOf([1])]),
    TypeError,
    "argument 0 is 1 × f32, expected f32[4]",
  );
  loaded.dispose();
  assertThrows(() => loaded.run([x]), Error, "it was disposed of");
  assertEquals(x.state.at, "host");
  await close(context);
});

Deno.test("LoadedProgram.run() sends a long course in several submits, each dispatch once", async () => {
  const context = await openContext(), { queue } = context.device.gpu;
  const submit = queue.submit.bind(queue);
  let submits = 0;
  queue.submit = (buffers) => (submits++, submit(buffers));
  // A copy is needed and nothing is dispatched; what fits in one submit, just so; and what does not.
  for (const [length, expected] of [[0, 1], [1, 1], [4096, 1], [4097, 2], [3 * 4096, 3]] as const) {
    const loaded = new LoadedProgram(context, {
      ...update(3, 1, 1),
      script: [{ length, rounds: [[0]] }],
    });
    for (let i = 0; i < 2; i++) {
      const x = storageOf([1, 2, 3]);
      x.used = true;
      submits = 0;
      const [result] = loaded.run([x]);
      assertEquals(submits, expected);
      assertEquals(await read(context, [result!, x]), [
        Float32Array.of(1 + length, 2 + length, 3 + length),
        Float32Array.of(1, 2, 3),
      ]);
    }
  }
  await close(context);
});

Deno.test("LoadedProgram makes no buffers and no bind groups in a steady state", async () => {
  const context = await openContext();
  const loaded = new LoadedProgram(context, chain(1000, [0]));
  const gpu = context.device.gpu;
  let x = storageOf(new Float32Array(1000));
  for (let i = 0; i < 4; i++) [x] = loaded.run([x]) as [typeof x];
  let made = 0;
  const createBindGroup = gpu.createBindGroup.bind(gpu), createBuffer = gpu.createBuffer.bind(gpu);
  gpu.createBindGroup = (descriptor) => (made++, createBindGroup(descriptor));
  gpu.createBuffer = (descriptor) => (made++, createBuffer(descriptor));
  for (let i = 0; i < 100; i++) [x] = loaded.run([x]) as [typeof x];
  assertEquals(made, 0);
  await close(context);
});

Deno.test("LoadedProgram counts the memory that was predicted", async () => {
  const context = await openContext();
  const program = chain(1000);
  const x = storageOf(new Float32Array(1000));
  const loaded = new LoadedProgram(context, program);
  const [y] = loaded.run([x]);
  assertEquals(loaded.counted, { ...program.memory, copied: 0 });
  assertEquals(loaded.predicted, loaded.counted);
  assertEquals(context.ledger.report().peak, program.memory.peak);
  assert(y !== undefined);
  await close(context);
});

Deno.test("LoadedProgram surfaces a bad shader at the next await, with its expression", async () => {
  const context = await openContext();
  const kernel = { ...affineKernel(2, 1, 0), label: "my kernel", wgsl: "fn main( {" };
  const aval = { shape: [2], dtype: "f32" } as const;
  const loaded = new LoadedProgram(
    context,
    programOf({
      arguments: [aval],
      slots: [{ bytes: bytesOf(2), role: { is: "argument", index: 0 } }, {
        bytes: bytesOf(2),
        role: { is: "result" },
      }],
      dispatches: [[kernel, 0, 1]],
      results: [{ ...aval, slot: 1 }],
    }),
  );
  const [y] = loaded.run([storageOf([1, 2])]);
  const error = await assertRejects(() => read(context, [y!]), DeviceError, "my kernel");
  assert(error.message.includes("expression of my kernel at train.ts:3:4"), error.message);
  // It is reported once; what follows is not blamed for it.
  assertEquals((await read(context, [storageOf([1])]))[0], Float32Array.of(1));
  await close(context);
});

Deno.test("LoadedProgram refuses dispatches that the device would silently drop", async () => {
  const context = await openContext();
  const kernel = { ...affineKernel(2, 1, 0, true), workgroups: [65536, 1, 1] as const };
  const aval = { shape: [2], dtype: "f32" } as const;
  const program = programOf({
    arguments: [aval],
    donated: [0],
    slots: [{ bytes: bytesOf(2), role: { is: "argument", index: 0 } }],
    dispatches: [[kernel, 0]],
    results: [{ ...aval, slot: 0 }],
  });
  assertThrows(
    () => new LoadedProgram(context, program),
    DeviceError,
    "workgroups are [65536,1,1], expected 1 to 65535 each",
  );
  await close(context);
});
