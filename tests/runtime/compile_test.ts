import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { ones, tensor, zeros } from "../../graph/create.ts";
import { Tensor } from "../../graph/tensor.ts";
import { grad, valueAndGrad } from "../../graph/transforms.ts";
import { compile } from "../../runtime/compile.ts";
import { countAs, init, memory } from "../../runtime/init.ts";

await init({ software: "allow" });

Deno.test("compile() traces once for a signature and takes numbers as inputs", async () => {
  let traced = 0;
  const step = compile((x: Tensor, rate: Tensor) => {
    traced++;
    return x.sub(x.mul(rate));
  }, { donate: [0], name: "step" });
  let x = tensor([1, 2]);
  for (const rate of [0.5, 0.25, 0.25, 0]) x = step(x, rate);
  assertEquals(await x.array(), [0.28125, 0.5625]);
  assertEquals(traced, 1);
  assertEquals(await step(tensor([[4]]), 0.5).array(), [[2]]);
  assertEquals(traced, 2);
  assertEquals(step.programs().map(({ name }) => name), ["step", "step"]);
});

Deno.test("compile() keys programs by static values and by the structure of trees", async () => {
  let traced = 0;
  const f = compile((x: { a: Tensor; b?: Tensor }, how: string) => {
    traced++;
    return how === "sum" ? { total: x.a.sum() } : { total: x.a.prod(), how };
  });
  assertEquals(await f({ a: tensor([2, 3]) }, "sum").total.item(), 5);
  const product = f({ a: tensor([2, 3]) }, "product");
  assertEquals([await product.total.item(), product.how], [6, "product"]);
  assertEquals(await f({ a: tensor([4, 3]) }, "sum").total.item(), 7);
  assertEquals(traced, 2);
  await f({ a: tensor([4, 3]), b: tensor(1) }, "sum");
  assertEquals(traced, 3);
});

Deno.test("a product does not overwrite what the one beside it still reads", async () => {
  const n = 64,
    ramp = (from: number): Tensor => {
      const values = Float32Array.from({ length: n * n }, (_, i) => (i * from) % 7 - 3);
      return tensor(values, { shape: [n, n] });
    };
  const [x, a, b] = [ramp(1), ramp(3), ramp(5)];
  const both = (c: Tensor): Tensor[] => [x.matmul(b), x.matmul(a).add(c)];
  const [product, sum] = compile(both)(ramp(2));
  // Only one of the two can be computed where the donated matrix is: the one that adds it.
  const donating = compile(both, { donate: [0] });
  const [first, second] = donating(ramp(2));
  assertEquals(donating.programs()[0]!.dispatches.length, 1, "side by side");
  assertEquals(await first!.data(), await product!.data());
  assertEquals(await second!.data(), await sum!.data());
});

Deno.test("compile() finds the program of each call, whatever the call before was", async () => {
  let traced = 0;
  type Pair = { a: Tensor; b: Tensor };
  const f = compile((x: Pair, y: Tensor, how?: string) => {
    traced++;
    const difference = x.a.sub(x.b).add(y);
    return how === "twice" ? difference.mul(2) : difference;
  }, { name: "f" });
  const [one, two] = [tensor([1, 1]), tensor([2, 3])];
  const call = async (programs: number, expected: number[], ...args: Parameters<typeof f>) => {
    assertEquals(await f(...args).array(), expected);
    assertEquals(traced, programs);
  };
  for (let i = 0; i < 2; i++) {
    const most = (first: number) => i === 0 ? first : 6;
    await call(most(1), [1, 2], { a: two, b: one }, 0);
    await call(most(1), [-1, -2], { b: two, a: one }, 0);
    await call(most(2), [1, 2], { a: two, b: one }, tensor(0));
    await call(most(3), [2, 3], { a: two, b: one }, one);
    await call(most(4), [2, 4], { a: two, b: one }, 0, "twice");
    await call(
      most(5),
      [0, 0],
      { a: two.cast("i32"), b: one.cast("i32") },
      tensor([-1, -2], { dtype: "i32" }),
    );
    await call(most(6), [5], { a: tensor([5]), b: tensor([1]) }, 1);
  }
  const gone = tensor([7]);
  gone.dispose();
  assertThrows(() => f({ a: gone, b: one }, 0), Error, "Tensor f32[1] was disposed of");
  f.dispose();
  await call(7, [1, 2], { a: two, b: one }, 0);
  f.dispose();
});

Deno.test("compile() donates trees, even those that begin with equal zeros", async () => {
  type State = { w: Tensor; m: Tensor; v: Tensor };
  const step = compile(
    ({ w, m, v }: State, g: Tensor): State => ({ w: w.sub(m), m: m.add(g), v: v.add(g.square()) }),
    { donate: [0], name: "step" },
  );
  const start: State = { w: ones([3]), m: zeros([3]), v: zeros([3]) };
  let state = start;
  for (let i = 0; i < 3; i++) state = step(state, tensor([1, 2, 3]));
  assertEquals(await state.w.array(), [-2, -5, -8]);
  assertEquals(await state.m.array(), [3, 6, 9]);
  assertEquals(await state.v.array(), [3, 12, 27]);
  await assertRejects(() => start.w.array(), Error, "it was donated to step");
});

Deno.test("compile() closes over tensors, and inlines compiled functions", async () => {
  const weight = tensor([1, 10]);
  const inner = compile((x: Tensor, scale: Tensor) => x.mul(weight).mul(scale).sum());
  const outer = compile((x: Tensor) => [inner(x, 2), grad((y: Tensor) => inner(y, 3))(x)] as const);
  const [value, gradient] = outer(tensor([1, 2]));
  assertEquals(await value.item(), 42);
  assertEquals(await gradient.array(), [3, 30]);
  // Outside of a trace too: running the program would cut the derivative off.
  assertEquals(await grad((y: Tensor) => inner(y, 3))(tensor([1, 2])).array(), [3, 30]);
  assertEquals(inner.programs().length, 0);
});

Deno.test("compile() gives an unread expression the data it needs before donating it", async () => {
  const x = ones([4]);
  await x.data();
  const lazy = x.mul(10);
  const step = compile((x: Tensor) => x.add(1), { donate: [0] });
  const y = step(x);
  assertEquals(await lazy.array(), [10, 10, 10, 10]);
  assertEquals(await y.array(), [2, 2, 2, 2]);
});

Deno.test("compile() trains: gradients and update in one program", async () => {
  const step = compile((w: Tensor, x: Tensor, y: Tensor) => {
    const [loss, g] = valueAndGrad((w: Tensor) => x.matmul(w).sub(y).square().mean())(w);
    return [w.sub(g.mul(0.1)), loss] as const;
  }, { donate: [0], name: "train" });
  const x = tensor([[1, 0], [0, 1], [1, 1]]), y = tensor([[1], [2], [3]]);
  let w = zeros([2, 1]), loss = zeros([]);
  for (let i = 0; i < 300; i++) [w, loss] = step(w, x, y);
  assert(await loss.item() < 1e-4);
  const [a, b] = await w.data();
  assert(Math.abs(a! - 1) < 0.02 && Math.abs(b! - 2) < 0.02);
  assertMatch(step.explain(), /train, signature 1 of 1: 3 arguments[^]*peak +(\d+) +\1\n/);
});

Deno.test("compile() returns arguments and constants as they are", async () => {
  const f = compile((x: Tensor, y: Tensor) => ({ x, y, one: ones([2]), same: x }));
  const given = tensor([1, 2, 3]);
  const { x, y, one, same } = f(given, 5);
  const again = f(given, 6);
  assertEquals(await x.array(), [1, 2, 3]);
  assertEquals(await same.array(), [1, 2, 3]);
  assertEquals(await y.item(), 5);
  assertEquals(await again.y.item(), 6);
  assertEquals(await one.array(), [1, 1]);
});

Deno.test("compile() returns donated arguments without elements, as they are and in others' places", async () => {
  const swap = compile((x: Tensor, y: Tensor) => [y, x, x.add(1)] as const, { donate: [0, 1] });
  const given = zeros([0, 3]);
  for (const [x, y] of [[given, given], [zeros([0, 3]), ones([2])]] as const) {
    const [a, b, c] = swap(x, y);
    assertEquals([a.shape, b.shape, c.shape], [y.shape, [0, 3], [0, 3]]);
    assertEquals(await b.array(), []);
    const again = swap(b, a);
    assertEquals(await again[0].data(), await ones(y.shape).data());
  }
});

Deno.test("a result that is an argument, or what the function closes over, is not its own", async () => {
  const kept = tensor([9, 8]);
  const f = compile((x: Tensor) => [x.reshape([3, 1]), kept, x.add(1)] as const);
  const x = tensor([1, 2, 3]);
  for (let i = 0; i < 2; i++) {
    const [view, closed, sum] = f(x);
    view.dispose();
    closed.dispose();
    sum.dispose();
  }
  assertEquals(await x.array(), [1, 2, 3]);
  assertEquals(await kept.array(), [9, 8]);
});

Deno.test("compile() says what is wrong with a function or an argument", () => {
  const x = tensor([1]);
  // deno-lint-ignore require-await -- the mistake under test
  const slow = compile(async (x: Tensor) => x, { name: "slow" });
  assertThrows(() => slow(x), TypeError, "Cannot compile slow: it returned a promise");
  const none = compile((_: Tensor) => undefined, { name: "none" });
  assertThrows(() => none(x), TypeError, "it returned undefined, expected a tensor");
  const odd = compile((x: Tensor) => [x, new Map()], { name: "odd" });
  assertThrows(() => odd(x), TypeError, "what odd returned[1] is a Map");
  const id = compile((x: Tensor) => x, { name: "id", donate: [1] });
  assertThrows(() => id(x), RangeError, "donate is [1] with 1 arguments");
  const wrong = new Date() as unknown as Tensor;
  assertThrows(() => id(wrong), TypeError, "is a Date, expected a tensor");
  assertThrows(() => compile(3 as never), TypeError, "it is a number, expected a function");
  assertThrows(
    () => compile((x: Tensor) => x, { donate: 0 as never }),
    TypeError,
    "donate is 0, expected a list",
  );
  const reads = compile((x: Tensor) => {
    void x.item().catch(() => {});
    return Tensor.settle([x.add(1)], "read a value") as unknown as Tensor;
  }, { name: "reads" });
  assertThrows(() => reads(x), Error, "belongs to a function that compile(), vmap()");
  const operators = compile((x: Tensor, rate: number) => x.mul(rate * 2));
  assertThrows(() => operators(x, 3), TypeError, "expected a method");
});

Deno.test("item() of a traced tensor complains of the trace, whatever the shape", async () => {
  let read: Promise<unknown> = Promise.resolve();
  compile((x: Tensor) => {
    read = assertRejects(
      () => x.mul(2).item(),
      Error,
      "belongs to a function that compile(), vmap()",
    );
    return x.mul(2);
  })(tensor([1, 2]));
  await read;
  await assertRejects(() => tensor([1, 2]).mul(2).item(), TypeError, "the shape is [2]");
});

Deno.test("countAs() labels memory, and donation hands the label on", async () => {
  const swap = compile(({ p, q }: { p: Tensor; q: Tensor }) => ({ p: q.sum(), q: p.mul(2) }), {
    donate: [0],
  });
  const { state, parameters } = memory().kinds;
  let tree = countAs("parameters", { p: ones([1024]), q: ones([]) });
  countAs("state", tree.q);
  tree = swap(tree);
  assertEquals(await tree.q.sum().item(), 2048);
  assertEquals(memory().kinds.parameters.live - parameters.live, 4096);
  assertEquals(memory().kinds.state.live - state.live, 16);
  const bound = swap.programs()[0]!.memory.peak;
  assertMatch(swap.explain(), new RegExp(`peak +${bound} +${bound}`));
  swap.dispose();
});

Deno.test("compile() leaves no memory behind when it is disposed of", async () => {
  const f = compile((x: Tensor) => x.add(1).matmul(x).sum());
  using x = ones([64, 64]);
  const before = memory().kinds.activations.live;
  assertEquals(await f(x).item(), 2 * 64 ** 3);
  assert(memory().kinds.activations.live > before);
  f.dispose();
  // At most: programs of functions that are forgotten may have gone meanwhile.
  assert(memory().kinds.activations.live <= before);
  assertEquals(await f(x).item(), 2 * 64 ** 3);
  f.dispose();
});
