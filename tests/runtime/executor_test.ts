import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { executor } from "../../graph/executor.ts";
import { tensor, zeros } from "../../graph/create.ts";
import { is } from "../../graph/node.ts";
import { foldIn, key, uniform } from "../../graph/random.ts";
import { realize } from "../../graph/realize.ts";
import { Tensor, TensorBase } from "../../graph/tensor.ts";
import { checkpoint, customVjp, grad, valueAndGrad, vjp } from "../../graph/transforms.ts";
import { topological } from "../../graph/walk.ts";
import { compile } from "../../runtime/compile.ts";
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

/**
 * Descent that reads every loss and never the parameters nor their momentum, with other data in
 * every step, which are computed after the parameters were made.
 */
async function descend(steps: number, watch: (step: number) => void = () => {}) {
  const batch = (i: number) => uniform(foldIn(key(1), i), [64, 16]);
  const loss = (w: Tensor, x: Tensor) => x.matmul(w).sub(x.sum(1)).square().mean();
  let w: Tensor = zeros([16]), momentum: Tensor = zeros([16]);
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) {
    const [value, gradient] = valueAndGrad(loss)(w, await realize(batch(i)));
    momentum = momentum.mul(0.5).add(gradient);
    w = w.sub(momentum.mul(0.1));
    losses.push(await value.item());
    watch(i);
  }
  return { losses, w };
}

Deno.test("a loop that never reads its parameters neither slows down nor grows", async () => {
  const programs: number[] = [];
  const { losses, w } = await descend(80, () => {
    programs.push(statistics().programs);
  });
  // What comes again and again is compiled in the first rounds.
  assertEquals(programs[79], programs[40]);
  assert(topological([w.node]).length < 600, `${topological([w.node]).length} nodes`);
  const first = await descend(3);
  assertEquals(losses.slice(0, 3), first.losses);
  assert(losses[79]! < 1e-3 * losses[0]!, `${losses[79]}`);
  for (const value of await w.data()) assertAlmostEquals(value, 1, 0.1);
});

Deno.test("values that no evaluation has computed yet are not kept", async () => {
  const chain = (x: Tensor): Tensor => {
    for (let i = 0; i < 200; i++) x = x.mul(0.5).add(0.5);
    return x;
  };
  const lazy = chain(tensor([3, 5]));
  assertEquals(await tensor([1]).add(1).array(), [2]); // Computed later than `lazy` was made.
  assertEquals(await lazy.square().array(), [1, 1]);
  assertEquals(lazy.node.op, "add");
  assertEquals(await lazy.mul(2).array(), [2, 2]);
  assertEquals(lazy.node.op, "leaf");
});

Deno.test("functions with boundaries are no obstacle to keeping what they start from", async () => {
  let y: Tensor = tensor([3, 5]);
  for (let i = 0; i < 200; i++) y = y.mul(0.5).add(0.5);
  // Their bodies refer to y, before and after it has become a leaf.
  const again = checkpoint((x: Tensor) => x.mul(y).tanh());
  const own = customVjp((x: Tensor) => x.mul(y).square(), (g, _, x) => [g.mul(x).mul(y)]);
  const f = (x: Tensor) => again(x).add(own(x));
  const x = tensor([0.5, 2]), early = f(x);
  await y.sum().item();
  const expected = [0.5, 2].map((x) => Math.tanh(x) + x * x);
  for (const value of [f(x), early]) {
    (await value.data()).forEach((z, i) => assertAlmostEquals(z, expected[i]!, 1e-5));
  }
  assertEquals(y.node.op, "leaf");
  const slope = await grad((x: Tensor) => f(x).sum())(x).data();
  [0.5, 2].forEach((x, i) => assertAlmostEquals(slope[i]!, 1 - Math.tanh(x) ** 2 + x, 1e-5));
});

Deno.test("values that are kept for others outlive one of their owners, and have derivatives", async () => {
  const chain = (x: Tensor, n: number): Tensor => {
    for (let i = 0; i < n; i++) x = x.mul(0.5).add(0.5);
    return x;
  };
  const x = tensor([3, 5]), y = chain(x, 200);
  await y.sum().item(); // An evaluation: all before it is old.
  const twins = [y.mul(1), y.add(0)].map((y) => new Tensor(y.node));
  const other = new Tensor(y.node);
  assertEquals(y.node.op, "add");
  const z = y.square();
  assertEquals(await z.array(), [1, 1]);
  assertEquals(y.node.op, "leaf"); // It was computed for z.
  other.dispose();
  const step = compile((x: Tensor) => x.mul(2), { donate: [0] });
  assertEquals(await step(new Tensor(y.node)).array(), [2, 2]);
  assertEquals(await y.array(), [1, 1]);
  for (const twin of twins) assertEquals(await twin.array(), [1, 1]);
  assertEquals(await grad((y: Tensor) => y.square().mul(z).sum())(y).array(), [2, 2]);
  // What is differentiated later stays whole, and so does what a transform is at work on.
  const slow = (x: Tensor): Tensor => {
    for (let i = 0; i < 300; i++) x = x.mul(0.99).add(0.01);
    return x.square();
  };
  const [far, pull] = vjp(slow, tensor([1, 2]));
  await far.sum().item();
  await far.mul(2).sum().item();
  const [back] = pull(tensor([1, 1]));
  const expected = [1, 1 + 0.99 ** 300].map((y) => 2 * y * 0.99 ** 300);
  const slopes = [back, grad((x: Tensor) => slow(x).sum())(tensor([1, 2]))];
  for (const slope of slopes) {
    (await slope.data()).forEach((g, i) => assertAlmostEquals(g, expected[i]!, 1e-4));
  }
});

Deno.test("realize() uploads what lies on the host, once, and leaves nothing for a run", async () => {
  const { prototype } = GPUQueue, { writeBuffer } = prototype;
  const written: number[] = [];
  prototype.writeBuffer = function (...args) {
    written.push(args[4]!);
    return writeBuffer.apply(this, args);
  };
  try {
    const step = compile((w: Tensor, x: Tensor) => w.mul(x).add(1), { donate: [0] });
    const make = () => [tensor([1, 2, 3]), tensor(Float32Array.of(4, 5, 6))] as const;
    step(...make());
    const before = memory().kinds.data.live;
    written.length = 0;
    const [w, x] = make(), none = tensor([]);
    await realize({ w, x, again: [x, x.reshape([3])], none });
    assertEquals(written, [16, 16]);
    // What is on the device is not kept on the host.
    assertEquals(
      [w, x, none].map(({ node }) => is(node, "leaf") && node.attributes.storage.state.at),
      ["device", "device", "host"],
    );
    assertEquals(memory().kinds.data.live - before, 32);
    await realize([w, x]);
    const y = step(w, x);
    assertEquals(written, [16, 16]);
    assertEquals(await y.array(), [5, 11, 19]);
    assertEquals(await x.array(), [4, 5, 6]);
    assertEquals(await none.array(), []);
  } finally {
    prototype.writeBuffer = writeBuffer;
  }
});
