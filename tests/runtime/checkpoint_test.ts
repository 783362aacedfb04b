/**
 * `checkpoint`: the same bits from less memory, whatever is saved, under every transform.
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import {
  checkpoint,
  compile,
  type Compiled,
  grad,
  hvp,
  init,
  jvp,
  name,
  policies,
  type Policy,
  random,
  realize,
  scan,
  type Tensor,
  valueAndGrad,
  vmap,
} from "../../mod.ts";
import { firstDifference } from "../gpu.ts";

const depth = 8, width = 64;
const bytes = width * width * 4;

type Weights = readonly Tensor[];

async function inputs(): Promise<{ weights: Weights; x: Tensor }> {
  await init({ software: "allow" });
  const weights = Array.from(
    { length: depth },
    (_, i) => random.normal(random.key(i), [width, width]).mul(0.1),
  );
  return await realize({ weights, x: random.normal(random.key(99), [width, width]) });
}

/** Two products and two activations: of what is inside, three are worth holding. */
function layer(h: Tensor, w: Tensor): Tensor {
  const inner = name(h.matmul(w), "inner");
  return inner.tanh().matmul(w).sin();
}

/** A deep loss with a checkpoint around every layer. */
function lossOf(policy: Policy | undefined): (weights: Weights, x: Tensor) => Tensor {
  const block = policy === undefined ? layer : checkpoint(layer, { policy });
  return (weights, x) => weights.reduce((h, w) => block(h, w), x).square().mean();
}

type Step = Compiled<[Weights, Tensor], [Tensor, Weights]>;
const stepOf = (policy: Policy | undefined): Step => compile(valueAndGrad(lossOf(policy)));

async function assertSame(a: [Tensor, Weights], b: [Tensor, Weights], what: string): Promise<void> {
  assertEquals(firstDifference(await a[0].data(), await b[0].data()), undefined, what);
  for (let i = 0; i < a[1].length; i++) {
    assertEquals(firstDifference(await a[1][i]!.data(), await b[1][i]!.data()), undefined, what);
  }
}

/** Regions run again, by whether they have a product. */
function repeated(f: Step): { products: number; others: number } {
  const steps = f.programs()[0]!.steps().filter(({ again }) => again);
  const products = steps.filter(({ work }) => work.key.startsWith("dot")).length;
  return { products, others: steps.length - products };
}

Deno.test("checkpoint() gives the same bits and holds what its policy saves", async () => {
  const { weights, x } = await inputs();
  const plain = stepOf(undefined);
  const expected = plain(weights, x);
  const workspace = (f: Step): number => f.programs()[0]!.memory.workspace;
  const found: Record<string, { products: number; others: number; less: number }> = {};
  const cases: Record<string, Policy> = {
    everything: policies.everythingSaveable,
    nothing: policies.nothingSaveable,
    dots: policies.dotsSaveable,
    unbatched: policies.dotsWithNoBatchDimsSaveable,
    inner: policies.saveOnlyTheseNames("inner"),
    other: policies.saveOnlyTheseNames("other"),
    butInner: policies.saveAnyNamesButThese("inner"),
    contractions: policies.saveKinds("contract"),
  };
  for (const [key, policy] of Object.entries(cases)) {
    const f = stepOf(policy);
    await assertSame(f(weights, x), expected, key);
    const { memory } = f.programs()[0]!;
    assert(f.explain().match(new RegExp(`peak +${memory.peak} +${memory.peak}`)), key);
    found[key] = { ...repeated(f), less: (workspace(plain) - workspace(f)) / bytes };
  }
  assertEquals(found["everything"], { products: 0, others: 0, less: 0 });
  assertEquals(found["dots"], found["unbatched"]);
  assertEquals(found["dots"], found["contractions"]);
  assertEquals(found["other"], found["nothing"]);
  assertEquals(found["butInner"], found["nothing"]);
  // Both products of every layer, or only the second, or none.
  assert(found["nothing"]!.products >= 2 * (depth - 1), `${found["nothing"]!.products}`);
  assert(found["inner"]!.products < found["nothing"]!.products);
  assert(found["inner"]!.products > 0);
  assertEquals(found["dots"]!.products, 0);
  assert(found["nothing"]!.less >= depth, `${found["nothing"]!.less} values less`);
  assert(found["nothing"]!.less > found["inner"]!.less);
});

Deno.test("checkpoint() of the whole function runs it again once", async () => {
  const { weights, x } = await inputs();
  const whole = (weights: Weights, x: Tensor): Tensor => weights.reduce(layer, x);
  const loss = (f: typeof whole) => (weights: Weights, x: Tensor) => f(weights, x).square().mean();
  const plain = compile(valueAndGrad(loss(whole)));
  const f = compile(valueAndGrad(loss(checkpoint(whole))));
  await assertSame(f(weights, x), plain(weights, x), "whole");
  const { products } = repeated(f);
  assert(products >= 2 * depth - 2 && products <= 2 * depth, `${products} products again`);
});

Deno.test("checkpoint() nests, closes over what is differentiated, and takes trees", async () => {
  const { weights, x } = await inputs();
  const inner = checkpoint((p: { h: Tensor; w: Tensor }) => ({ h: layer(p.h, p.w), w: p.w }));
  const pair = (weights: Weights) =>
    checkpoint((h: Tensor, i: number) =>
      inner({ h: inner({ h, w: weights[i]! }).h, w: weights[i + 1]! }).h
    );
  const loss = (weights: Weights, x: Tensor): Tensor => {
    let h = x;
    for (let i = 0; i < depth; i += 2) h = pair(weights)(h, i);
    return h.square().mean();
  };
  const f = compile(valueAndGrad(loss)), plain = stepOf(undefined);
  await assertSame(f(weights, x), plain(weights, x), "nested");
  assert(repeated(f).products >= 2 * (depth - 2));
});

Deno.test("checkpoint() is what it was under every transform", async () => {
  const { weights: [w], x } = await inputs();
  const f = (w: Tensor, x: Tensor): Tensor => layer(x, w!).square().mean();
  const c = checkpoint(f);
  const same = async (a: Tensor, b: Tensor, what: string): Promise<void> =>
    assertEquals(firstDifference(await a.data(), await b.data()), undefined, what);
  await same(c(w!, x), f(w!, x), "value");
  await same(grad(c)(w!, x), grad(f)(w!, x), "gradient, not compiled");
  await same(compile(grad(c))(w!, x), compile(grad(f))(w!, x), "gradient");
  const second = (g: typeof f) => (w: Tensor) => hvp((w: Tensor) => g(w, x), w, w.cos());
  await same(compile(second(c))(w!), compile(second(f))(w!), "Hessian times vector");
  const push = (g: typeof f) => (w: Tensor) => jvp((w: Tensor) => g(w, x), [w], [w.sin()])[1];
  await same(compile(push(c))(w!), compile(push(f))(w!), "forward mode");
  const two = (w: Tensor) => w.reshape([1, width, width]).mul(1).flip(1).add(0);
  const many = (g: typeof f) => (w: Tensor) => vmap(grad((w: Tensor) => g(w, x)))(two(w));
  await same(compile(many(c))(w!), compile(many(f))(w!), "vmap of the gradient");
  const inside = (g: typeof f) => (w: Tensor) =>
    grad((w: Tensor) => vmap((w: Tensor) => g(w, x))(two(w)).sum())(w);
  await same(compile(inside(c))(w!), compile(inside(f))(w!), "gradient of vmap");
});

Deno.test("checkpoint() in a loop's body, and around a loop", async () => {
  const { weights, x } = await inputs();
  const [w] = weights;
  const body = (block: typeof layer) => (w: Tensor, x: Tensor) =>
    scan((h: Tensor) => [block(h, w), h.sum()] as const, x, undefined, { length: 3 })[0].square()
      .mean();
  const plain = compile(grad(body(layer)))(w!, x);
  for (
    const [what, f] of [
      ["inside", body(checkpoint(layer))],
      ["around", checkpoint(body(layer))],
    ] as const
  ) {
    const made = compile(grad(f))(w!, x);
    assertEquals(firstDifference(await made.data(), await plain.data()), undefined, what);
  }
});

Deno.test("checkpoint() leaves a function alone whose way back nobody takes", async () => {
  const { weights, x } = await inputs();
  const f = compile((w: Tensor, x: Tensor) => checkpoint(layer)(x, w));
  const g = compile((w: Tensor, x: Tensor) => layer(x, w));
  const [a, b] = [f(weights[0]!, x), g(weights[0]!, x)];
  assertEquals(firstDifference(await a.data(), await b.data()), undefined);
  assertEquals(f.programs()[0]!.memory, g.programs()[0]!.memory);
});

Deno.test("checkpoint() works together with a budget", async () => {
  const { weights, x } = await inputs();
  const block = checkpoint(layer);
  const loss = (weights: Weights, x: Tensor): Tensor =>
    weights.reduce((h, w, i) => i % 2 === 0 ? block(h, w) : layer(h, w), x).square().mean();
  const free = compile(valueAndGrad(loss)), plain = stepOf(undefined);
  free(weights, x);
  const offers = free.programs()[0]!.sweep();
  assert(offers.length > 1);
  const f = compile(valueAndGrad(loss), { memory: offers.at(-1)!.bytes });
  await assertSame(f(weights, x), plain(weights, x), "with a budget");
});

Deno.test("policies say what is no kind, store or option", () => {
  const refused: [string, () => unknown][] = [
    [
      'Cannot save kinds: one is "matmul", expected leaf, unary',
      () => policies.saveKinds("matmul"),
    ],
    [
      'store is "moon", expected "host" or "disk"',
      () => policies.offloadDotsWithNoBatchDims("moon" as never),
    ],
    [
      'store is "moon", expected "host" or "disk"',
      () => policies.saveAndOffloadOnlyTheseNames({ store: "moon" as never }),
    ],
    [
      "there is an option to, expected save, offload, store",
      () => policies.saveAndOffloadOnlyTheseNames({ offload: ["a"], to: "disk" } as never),
    ],
    [
      "Cannot save only these names: there is an array of 1, expected names as text",
      () => policies.saveOnlyTheseNames(["a"] as never),
    ],
    [
      "Cannot save any names but these: there is 3, expected names as text",
      () => policies.saveAnyNamesButThese("a", 3 as never),
    ],
    [
      // A text has parts: "product" would save what is called "prod".
      'Cannot save and offload names: there is "product", expected names as text in an array',
      () => policies.saveAndOffloadOnlyTheseNames({ save: "product" as never }),
    ],
  ];
  for (const [message, make] of refused) assertThrows(make, TypeError, message);
});

Deno.test("a tensor used twice by each of several calls has a gradient of the same bits by any policy", async () => {
  const block = (x: Tensor, w: Tensor): Tensor =>
    x.add(name(x.matmul(w), "product").sin().exp().matmul(w.transpose()));
  const { x, weights: [w] } = await inputs();
  const gradient = (policy: Policy): Tensor => {
    const layer = checkpoint(block, { policy });
    return compile(grad((w: Tensor, x: Tensor) => layer(layer(x, w), w).square().sum()))(w!, x);
  };
  const expected = await gradient(policies.everythingSaveable).data();
  for (const policy of [policies.nothingSaveable, policies.saveOnlyTheseNames("product")]) {
    assertEquals(await gradient(policy).data(), expected);
  }
});

Deno.test("checkpoint() and name() say what is wrong with what they are given", () => {
  assertThrows(() => checkpoint(3 as never), TypeError, "Cannot checkpoint: ");
  assertThrows(
    () =>
      checkpoint(function f(x: Tensor) {
        return x;
      }, { policy: "dots" as never }),
    TypeError,
    "Cannot checkpoint f: the policy is",
  );
  assertThrows(() => name([], 3 as never), TypeError, "Cannot name a value");
});

Deno.test("what is checked inside a checkpoint is heard of, there and on the way back", async () => {
  await init({ software: "allow" });
  const body = (x: rg.Tensor): rg.Tensor => {
    rg.check(x.less(3), "a value is large, expected less than 3");
    const [{ y }] = rg.whileLoop(
      ({ n }: { y: rg.Tensor; n: rg.Tensor }) => n.greater(0),
      ({ y, n }) => ({ y: y.mul(2).sin(), n: n.sub(1) }),
      { y: x, n: rg.tensor(3, { dtype: "i32" }) },
      { maximum: 5 },
    );
    return y;
  };
  const gradient = rg.compile((x: rg.Tensor) =>
    rg.grad((x: rg.Tensor) => rg.checkpoint(body)(x).sum())(x)
  );
  const plain = rg.compile((x: rg.Tensor) => rg.grad((x: rg.Tensor) => body(x).sum())(x));
  const x = rg.tensor([0.25, 2]);
  assertEquals(await gradient(x).array(), await plain(x).array());
  await assertRejects(() => gradient(x.mul(2)).data(), rg.CheckError, "a value is large");
});
