import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { DType, TypedArray } from "../../graph/dtype.ts";
import { Storage } from "../../graph/storage.ts";
import { DeviceLostError } from "../../runtime/errors.ts";
import { place, read, upload, write } from "../../runtime/queue.ts";
import { close, openContext, storageOf } from "./programs.ts";

Deno.test("read() returns what upload() took, of every dtype and odd sizes", async () => {
  const context = await openContext();
  const cases: [DType, TypedArray][] = [
    ["f32", Float32Array.of(1, -0, NaN, Infinity, 1e-45)],
    ["f16", Float16Array.of(1, 65504, 2 ** -24)],
    ["i32", Int32Array.of(-1, 2 ** 31 - 1, 7)],
    ["u32", Uint32Array.of(2 ** 32 - 1)],
    ["bool", Uint32Array.of(0, 1, 1)],
    ["f32", new Float32Array(0)],
  ];
  const storages = cases.map(([dtype, data]) =>
    new Storage(dtype, data.length, { at: "host", data })
  );
  for (const storage of storages) if (storage.size > 0) upload(context, storage);
  assertEquals(await read(context, storages), cases.map(([, data]) => data));
  await close(context);
});

Deno.test("upload() makes any non-zero bool 1 and reads only its part of a buffer", async () => {
  const context = await openContext();
  const flags = new Storage("bool", 3, { at: "host", data: Uint32Array.of(7, 0, 2 ** 31) });
  const part = Float32Array.of(1, 2, 3, 4, 5, 6).subarray(2, 5);
  const values = new Storage("f32", 3, { at: "host", data: part });
  place(context, [flags, values], "test");
  assertEquals(await read(context, [flags, values]), [
    Uint32Array.of(1, 0, 1),
    Float32Array.of(3, 4, 5),
  ]);
  await close(context);
});

Deno.test("upload() refuses data that does not fit, before it could end the process", async () => {
  const context = await openContext();
  const wrong = (dtype: DType, size: number, data: TypedArray) =>
    upload(context, new Storage(dtype, size, { at: "host", data }));
  assertThrows(
    () => wrong("f32", 4, new Float32Array(3)),
    TypeError,
    "Cannot upload: 3 values in a Float32Array, expected 4 in a Float32Array for f32",
  );
  assertThrows(() => wrong("i32", 3, new Float32Array(3)), TypeError, "Int32Array for i32");
  const block = context.ledger.take(16, "data");
  assertThrows(() => write(context, block, new Float32Array(5)), RangeError, "at most 16");
  assertThrows(() => write(context, block, new Float16Array(3)), RangeError, "whole words");
  await close(context);
});

Deno.test("read() copies many storages in one submit and one wait", async () => {
  const context = await openContext();
  const storages = Array.from({ length: 50 }, (_, i) => storageOf([i, i + 0.5]));
  place(context, storages, "test");
  const { gpu } = context.device;
  let submits = 0;
  const submit = gpu.queue.submit.bind(gpu.queue);
  gpu.queue.submit = (buffers) => (submits++, submit(buffers));
  const values = await read(context, [...storages, storages[0]!]);
  assertEquals(submits, 1);
  values.forEach((data, i) => assertEquals(data, Float32Array.of(i % 50, i % 50 + 0.5)));
  await close(context);
});

Deno.test("read() of released data says why, and its results are copies", async () => {
  const context = await openContext();
  const x = storageOf([1, 2, 3]);
  const [host] = await read(context, [x]);
  host![0] = 9;
  upload(context, x);
  assertEquals((await read(context, [x]))[0], Float32Array.of(1, 2, 3));
  context.release(x, "Tensor f32[3] was disposed of");
  await assertRejects(
    () => read(context, [x]),
    Error,
    "Cannot read: the tensor has no data, Tensor f32[3] was disposed of",
  );
  await close(context);
});

Deno.test("concurrent reads do not disturb each other", async () => {
  const context = await openContext();
  const storages = [storageOf([1]), storageOf([2]), storageOf([3])];
  place(context, storages, "test");
  const values = await Promise.all(storages.map((storage) => read(context, [storage])));
  assertEquals(values.map(([data]) => data![0]), [1, 2, 3]);
  await close(context);
});

Deno.test("read() of a lost device is a typed error", async () => {
  const context = await openContext();
  const x = storageOf([1]);
  upload(context, x);
  await close(context);
  await assertRejects(() => read(context, [x]), DeviceLostError, "expected `await init()` again");
});
