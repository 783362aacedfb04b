import {
  assert,
  assertEquals,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { OutOfMemoryError } from "../../runtime/errors.ts";
import { finish, read } from "../../runtime/queue.ts";
import { close, openContext, storageOf } from "./programs.ts";

Deno.test("Ledger counts live and peak bytes by kind", async () => {
  const { ledger, ...context } = await openContext();
  const a = ledger.take(1024, "parameters");
  const b = ledger.take(2048, "workspace");
  ledger.relabel(a, "state");
  ledger.release(b);
  const { live, peak, kinds, buffers } = ledger.report();
  assertEquals([live, peak, buffers], [3072, 3072, 2]);
  assertEquals(kinds.parameters, { live: 0, peak: 1024 });
  assertEquals(kinds.state, { live: 1024, peak: 1024 });
  assertEquals(kinds.workspace, { live: 0, peak: 2048 });
  assertEquals(kinds.idle, { live: 2048, peak: 2048 });
  ledger.trim();
  ledger.resetPeak();
  assertEquals(ledger.report().peak, 1024);
  await close(context as Awaited<ReturnType<typeof openContext>>);
});

Deno.test("Ledger uses idle memory again, and frees it before it takes more", async () => {
  const context = await openContext(), { ledger } = context;
  const a = ledger.take(1024, "data");
  ledger.release(a);
  assertStrictEquals(ledger.take(1024, "results"), a);
  assertNotStrictEquals(ledger.take(1024, "results"), a);
  const b = ledger.take(4096, "results");
  ledger.release(b);
  ledger.take(2048, "results");
  // 4096 idle bytes made room for 2048 new ones: the peak did not rise.
  const report = ledger.report();
  assertEquals([report.live, report.peak, report.kinds.idle.live], [4096, 6144, 0]);
  await close(context);
});

Deno.test("Ledger gives memory back when its last owner lets go", async () => {
  const context = await openContext(), { ledger } = context;
  const a = ledger.take(64, "data");
  ledger.retain(a);
  ledger.release(a);
  assertEquals(ledger.report().kinds.idle.live, 0);
  ledger.release(a);
  assertEquals(ledger.report().kinds.idle.live, 64);
  await close(context);
});

Deno.test("Ledger refuses a buffer larger than the device's largest", async () => {
  const context = await openContext(), { ledger } = context;
  const most = context.device.info.limits.maxBufferSize;
  assertThrows(() => ledger.take(most + 1, "data"), OutOfMemoryError, "expected a smaller tensor");
  await close(context);
});

Deno.test("out of memory is a typed error with the sizes, at the next await", async () => {
  const context = await openContext(), { gpu } = context.device;
  context.ledger.take(4096, "parameters");
  gpu.popErrorScope = () => Promise.resolve({ message: "no room" } as GPUError);
  context.ledger.take(1 << 20, "workspace");
  await assertRejects(
    () => finish(context),
    OutOfMemoryError,
    "Cannot allocate 1048576 bytes of device memory for workspace: 4096 bytes are in use",
  );
  await finish(context);
  await close(context);
});

Deno.test("finalisers give memory back where nothing sweeps", async () => {
  const context = await openContext();
  (() => {
    for (let i = 0; i < 10; i++) context.blockOf(placed(i), "test");
  })();
  function placed(value: number) {
    const storage = storageOf([value]);
    const block = context.ledger.take(storage.bytes, "data");
    context.adopt([storage], [block]);
    return storage;
  }
  await read(context, [placed(0)]);
  context.collector.sweep();
  assertEquals(context.ledger.report().kinds.data.live, 0);
  assert(context.collector.counts.blocks >= 11);
  await close(context);
});
