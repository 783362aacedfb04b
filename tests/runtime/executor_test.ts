import { assertEquals } from "@std/assert";
import { executor } from "../../graph/executor.ts";
import { tensor, zeros } from "../../graph/create.ts";
import { TensorBase } from "../../graph/tensor.ts";
import type { DeviceExecutor } from "../../runtime/executor.ts";
import { init, memory, resetPeak } from "../../runtime/init.ts";

await init({ software: "allow" });
const statistics = () => (executor("test") as DeviceExecutor).statistics;

Deno.test("realize() compiles an expression once, whatever its data", async () => {
  const f = (a: number[], b: number[], x = tensor(a), y = tensor(b)) => x.mul(y).add(x).sum();
  const before = statistics();
  assertEquals(await f([1, 2], [3, 4]).item(), 14);
  assertEquals(await f([5, 6], [7, 8]).item(), 94);
  // Other connections, other shapes, other attributes: other programs.
  assertEquals(await tensor([1, 2]).mul(tensor([3, 4])).add(tensor([3, 4])).sum().item(), 18);
  assertEquals(await f([1], [2]).item(), 3);
  const after = statistics();
  assertEquals([after.programs - before.programs, after.hits - before.hits], [3, 1]);
});

Deno.test("realize() computes shared work once and keeps what was asked for", async () => {
  const x = tensor([1, 2, 3]).mul(2);
  const y = x.add(1), z = x.sub(1);
  TensorBase.settle([y, z, y]);
  assertEquals(y.node.op, "leaf");
  assertEquals(await z.array(), [1, 3, 5]);
  assertEquals(await y.array(), [3, 5, 7]);
});

Deno.test("realize() keeps no workspace between runs", async () => {
  using x = zeros([256, 256]);
  await x.data();
  const workspace = memory().kinds.activations.live;
  using y = x.add(1).matmul(x.add(2)).matmul(x);
  await y.data();
  assertEquals(memory().kinds.activations.live, workspace);
  resetPeak();
  assertEquals(memory().kinds.idle.live, 0);
});

Deno.test("realize() works without any data, and on nothing at all", async () => {
  assertEquals(await zeros([2, 2]).add(1).array(), [[1, 1], [1, 1]]);
  assertEquals(await zeros([0, 3]).add(1).array(), []);
  assertEquals(await tensor([1, 2]).slice([1, 1]).sum().item(), 0);
});
