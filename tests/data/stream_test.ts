import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { fromStream, type HostBatch, toStream } from "../../data/stream.ts";
import type { HostTensor } from "../../data/safetensors.ts";
import { tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { installHost } from "../graph/host.ts";

installHost();

/** A source that counts what it was asked for, and notes whether it was cancelled. */
function source(n: number) {
  const seen = { asked: 0, cancelled: false };
  const stream = new ReadableStream<HostBatch>({
    pull(controller) {
      if (seen.asked === n) return controller.close();
      controller.enqueue({ x: Float32Array.of(seen.asked++) });
    },
    cancel() {
      seen.cancelled = true;
    },
  }, { highWaterMark: 0 });
  return { seen, stream };
}

Deno.test("fromStream() gives tensors of all a stream has, a few ahead", async () => {
  const { seen, stream } = source(5), values: number[] = [], ahead: number[] = [];
  for await (const { x } of fromStream<{ x: Tensor }>(stream, { prefetch: 3 })) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    ahead.push(seen.asked - values.length - 1);
    values.push(await x.item());
  }
  assertEquals(values, [0, 1, 2, 3, 4]);
  assertEquals(ahead, [3, 3, 2, 1, 0]);
});

Deno.test("fromStream() takes arrays with shapes, tensors and iterables, in trees", async () => {
  const half: HostTensor = { dtype: "f16", shape: [1, 2], data: Float16Array.of(1, 2) };
  const batch = { a: [half, Uint8Array.of(3)], b: tensor([true]), name: "first" };
  for await (const tree of fromStream<typeof batch>([batch] as unknown as HostBatch[])) {
    const [x, y] = tree.a as unknown as [Tensor, Tensor];
    assertEquals([x.dtype, x.shape, y.dtype, tree.b, tree.name], [
      "f16",
      [1, 2],
      "i32",
      batch.b,
      "first",
    ]);
  }
});

Deno.test("fromStream() cancels a stream that is left early", async () => {
  const { seen, stream } = source(100);
  for await (const _ of fromStream(stream)) break;
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(seen.cancelled, true);
});

Deno.test("fromStream() hands on the source's error in its turn, and refuses nonsense", async () => {
  async function* broken(): AsyncGenerator<HostBatch> {
    yield { x: Float32Array.of(1) };
    await Promise.resolve();
    throw new Error("no more");
  }
  let count = 0;
  await assertRejects(
    async () => {
      for await (const _ of fromStream(broken())) count++;
    },
    Error,
    "no more",
  );
  assertEquals(count, 1);
  await assertRejects(() => fromStream([], { prefetch: 0 }).next(), RangeError, "prefetch is 0");
  await assertRejects(() => fromStream(3 as never).next(), TypeError, "it is number");
  const locked = source(1).stream;
  locked.getReader();
  await assertRejects(() => fromStream(locked).next(), TypeError, "it is locked, expected one");
  await assertRejects(() => fromStream([new Map()] as never).next(), TypeError, "Cannot flatten");
});

Deno.test("toStream() gives arrays of all tensors, and asks no further than it is read", async () => {
  let asked = 0;
  function* trees() {
    for (; asked < 100; asked++) yield { x: tensor([asked]).square() };
  }
  const values: number[] = [];
  for await (const { x } of toStream(trees(), { together: 4 })) {
    values.push(x!.data[0]!);
    if (values.length === 6) break;
  }
  assertEquals(values, [0, 1, 4, 9, 16, 25]);
  assertEquals(asked < 20, true);
  assertThrows(() => toStream([], { together: 0 }), RangeError, "together is 0");
});
