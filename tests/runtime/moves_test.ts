/**
 * Values of a program without loops that wait outside of the device, because a policy or the planner
 * says so: the same bits, the bytes that were predicted, and nothing left behind.
 */
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import { firstDifference } from "../gpu.ts";

await rg.init({ software: "allow" });

const depth = 8, width = 64, bytes = 4 * width * width;
type Weights = readonly rg.Tensor[];
const weights: Weights = await rg.realize(
  Array.from(
    { length: depth },
    (_, i) => rg.random.normal(rg.random.key(i), [width, width]).mul(0.1),
  ),
);
const x = await rg.realize(rg.random.normal(rg.random.key(99), [width, width]));

/** Two products and two activations. */
function layer(h: rg.Tensor, w: rg.Tensor): rg.Tensor {
  const inner = rg.name(h.matmul(w), "inner");
  return inner.tanh().matmul(w).sin();
}

const lossOf = (block: typeof layer) => (weights: Weights, x: rg.Tensor): rg.Tensor =>
  weights.reduce((h, w) => block(h, w), x).square().mean();
const plain = rg.compile(rg.valueAndGrad(lossOf(layer)));
const expected = await plain(weights, x)[1];
const value = plain(weights, x)[0];

async function assertSame(
  [v, gradient]: readonly [rg.Tensor, Weights],
  what: string,
): Promise<void> {
  assertEquals(firstDifference(await v.data(), await value.data()), undefined, what);
  for (let i = 0; i < depth; i++) {
    const data = await gradient[i]!.data();
    assertEquals(firstDifference(data, await expected[i]!.data()), undefined, `${what} ${i}`);
  }
}

/** What is outside now. */
const outside = () => {
  const { host, disk } = rg.memory();
  return { host: host.live, disk: disk.live };
};

/** What explain() says is taken, predicted and counted, and how many values move. */
function told(f: { explain(): string; programs(): rg.Program[] }) {
  const text = f.explain(), program = f.programs()[0]!;
  const { peak } = program.memory;
  assertMatch(text, new RegExp(`peak +${peak} +${peak}\n`));
  for (const store of ["host", "disk"] as const) {
    const bytes = program.outside[store];
    if (bytes > 0) assertMatch(text, new RegExp(`${store} +${bytes} +${bytes}\n`));
  }
  const moves = program.steps().flatMap(({ move }) => move ?? []);
  const of = (is: string) => moves.filter((move) => move.is === is).length;
  return { peak, outside: program.outside, saves: of("save"), loads: of("load") };
}

Deno.test("a policy has values wait outside of the device", async () => {
  const { policies } = rg;
  const peak = (policy: rg.Policy): number => {
    const f = rg.compile(rg.valueAndGrad(lossOf(rg.checkpoint(layer, { policy }))));
    f(weights, x);
    return f.programs()[0]!.memory.peak;
  };
  const nothing = peak(policies.nothingSaveable), all = peak(policies.everythingSaveable);
  const cases: Record<string, rg.Policy> = {
    named: policies.saveAndOffloadOnlyTheseNames({ offload: ["inner"] }),
    disk: policies.saveAndOffloadOnlyTheseNames({ offload: ["inner"], store: "disk" }),
    dots: policies.offloadDotsWithNoBatchDims(),
    kind: ({ kind }) => kind === "contract" && "host",
  };
  for (const [key, policy] of Object.entries(cases)) {
    const f = rg.compile(rg.valueAndGrad(lossOf(rg.checkpoint(layer, { policy }))));
    await assertSame(f(weights, x), key);
    await assertSame(f(weights, x), `${key}, again`);
    const { peak, outside: most, saves, loads } = told(f);
    const store = key === "disk" ? most.disk : most.host;
    assertEquals(store, saves * bytes, key);
    assertEquals(loads, saves, `${key}: each comes back once`);
    assert(saves >= depth - 1, `${key}: ${saves} moved`);
    assert(peak < all - 4 * bytes && peak <= nothing + 2 * bytes, `${key}: ${peak}`);
    assertEquals(outside(), { host: 0, disk: 0 });
    assertMatch(f.explain(), /\d+ moves to and from outside/);
    assertMatch(f.explain(), /region \d+: \d+ bytes wait in the store (host|disk)/);
    assertMatch(f.chart(), />brought back</);
    f.dispose();
  }
  const save = policies.saveAndOffloadOnlyTheseNames({ save: ["inner"] });
  assertEquals(peak(save), peak(policies.saveOnlyTheseNames("inner")));
});

Deno.test("a policy that moves values is what it was under every transform", async () => {
  const policy = rg.policies.offloadDotsWithNoBatchDims();
  const f = (w: rg.Tensor, x: rg.Tensor): rg.Tensor => layer(x, w).square().mean();
  const c = rg.checkpoint(f, { policy }), w = weights[0]!;
  const same = async (a: rg.Tensor, b: rg.Tensor, what: string): Promise<void> =>
    assertEquals(firstDifference(await a.data(), await b.data()), undefined, what);
  await same(rg.grad(c)(w, x), rg.grad(f)(w, x), "gradient, not compiled");
  const two = (w: rg.Tensor) => w.reshape([1, width, width]).mul(1).flip(1).add(0);
  const many = (g: typeof f) => (w: rg.Tensor) =>
    rg.vmap(rg.grad((w: rg.Tensor) => g(w, x)))(two(w));
  await same(rg.compile(many(c))(w), rg.compile(many(f))(w), "vmap of the gradient");
  const body = (block: typeof layer) => (w: rg.Tensor, x: rg.Tensor) =>
    rg.scan((h: rg.Tensor) => [block(h, w), h.sum()] as const, x, undefined, { length: 3 })[0]
      .square().mean();
  const inside = body(rg.checkpoint(layer, { policy }));
  await same(rg.compile(rg.grad(inside))(w, x), rg.compile(rg.grad(body(layer)))(w, x), "scan");
  const around = rg.checkpoint(body(layer), { policy });
  await same(rg.compile(rg.grad(around))(w, x), rg.compile(rg.grad(body(layer)))(w, x), "around");
  assertEquals(outside(), { host: 0, disk: 0 });
});

/** A chain whose products are dear, so that fetching is cheaper than computing again. */
const wide = 192, big = 4 * wide * wide;
const matrices = await rg.realize(
  Array.from(
    { length: 6 },
    (_, i) => rg.random.normal(rg.random.key(i), [wide, wide]).mul(0.05),
  ),
);
const y = await rg.realize(rg.random.normal(rg.random.key(98), [wide, wide]));
const chain = (weights: Weights, y: rg.Tensor): rg.Tensor =>
  weights.reduce((h, w) => h.matmul(w).matmul(w).matmul(w).tanh(), y).square().mean();
const stored = rg.compile(rg.valueAndGrad(chain));

Deno.test("compile() with offload moves values where that is faster, within its bytes", async () => {
  const want = [stored(matrices, y)].flatMap(([v, g]) => [v, ...g]);
  const datas = await rg.readAll(want);
  const { memory } = stored.programs()[0]!;
  const sweep = (offload: rg.OffloadBudget) => {
    const f = rg.compile(rg.valueAndGrad(chain), { offload });
    f(matrices, y);
    return f.programs()[0]!.sweep();
  };
  const without = stored.programs()[0]!.sweep(), all = sweep({ host: "1 GiB" });
  const timeAt = (offers: rg.Offer[], budget: number): number =>
    offers.find(({ bytes }) => bytes <= budget)?.time ?? Infinity;
  const budgets = [memory.peak - 3 * big + 100, memory.peak - 8 * big + 1000, all.at(-1)!.bytes];
  // More is allowed, so nothing gets slower and no least larger.
  for (const { bytes } of without) assert(timeAt(all, bytes) <= timeAt(without, bytes));
  assert(all.at(-1)!.bytes <= without.at(-1)!.bytes);
  assert(all.some(({ outside }) => (outside?.host ?? 0) > 0), "nothing moves");
  const cases: [number, rg.OffloadBudget][] = [
    ...budgets.map((memory): [number, rg.OffloadBudget] => [memory, { host: "1 GiB" }]),
    [budgets[1]!, { host: 3 * big }],
    [budgets[1]!, { host: 2 * big, disk: "1 GiB" }],
    [budgets[1]!, { disk: "1 GiB" }],
    [budgets[1]!, { host: 100 }],
  ];
  let moved = 0;
  for (const [memory, offload] of cases) {
    const f = rg.compile(rg.valueAndGrad(chain), { memory, offload });
    const what = `${memory} ${JSON.stringify(offload)}`;
    for (let run = 0; run < 2; run++) {
      const got = [f(matrices, y)].flatMap(([v, g]) => [v, ...g]);
      (await rg.readAll(got)).forEach((data, i) =>
        assertEquals(firstDifference(data, datas[i]!), undefined, `${what}, part ${i}`)
      );
    }
    const { peak, outside: most, saves } = told(f);
    assert(peak <= memory, what);
    moved += saves;
    const limit = (given: number | string | undefined): number =>
      typeof given === "number" ? given : given === undefined ? 0 : 2 ** 30;
    assert(most.host <= limit(offload.host) && most.disk <= limit(offload.disk), what);
    assertEquals(outside(), { host: 0, disk: 0 });
    f.dispose();
  }
  assert(moved > 10, `${moved} values moved`);
});

Deno.test("what is wrong with offload is said", () => {
  const f = (x: rg.Tensor): rg.Tensor => x;
  const bad = (offload: unknown) => () => rg.compile(f, { offload: offload as rg.OffloadBudget });
  assertThrows(bad("host"), TypeError, 'Cannot compile f: offload is "host", expected bytes by');
  assertThrows(bad({ ram: 1 }), TypeError, "Cannot compile f: offload has ram, expected host");
  assertThrows(bad({ host: "much" }), TypeError, 'Cannot compile f: offload is "much"');
  assertThrows(bad({ disk: -1 }), RangeError, "Cannot compile f: offload is -1");
  const policy = (() => "tape") as unknown as rg.Policy;
  const w = rg.ones([2, 2]);
  assertThrows(
    () => rg.grad((w: rg.Tensor) => rg.checkpoint(layer, { policy })(w, w).sum())(w),
    TypeError,
    'Cannot checkpoint layer: the policy returned "tape", expected true, false, "host" or "disk"',
  );
});

Deno.test("locateNaN() looks into what moves outside of the device, and leaves nothing there", async () => {
  const policy = rg.policies.saveAndOffloadOnlyTheseNames({ offload: ["inner"] });
  const block = rg.checkpoint(layer, { policy });
  const bad = (weights: Weights, x: rg.Tensor): rg.Tensor =>
    block(block(x, weights[0]!), weights[1]!).sub(2).log().mean();
  const f = rg.compile(rg.valueAndGrad(bad));
  const found = await rg.locateNaN(f, [weights, x]);
  assertEquals(found?.value, "NaN");
  assertMatch(found?.expression ?? "", /^log\(/);
  const two = (weights: Weights, x: rg.Tensor) => lossOf(block)(weights.slice(0, 2), x);
  const good = rg.compile(rg.valueAndGrad(two));
  assertEquals(await rg.locateNaN(good, [weights, x]), undefined);
  // A NaN born on the way back, from what was fetched.
  const late = rg.compile((w: rg.Tensor, x: rg.Tensor) => {
    const root = rg.checkpoint((w: rg.Tensor) => {
      const inner = rg.name(x.matmul(w).mul(0), "inner");
      return inner.sqrt().matmul(w).sqrt().sum();
    }, { policy });
    return rg.grad(root)(w);
  });
  assertEquals((await rg.locateNaN(late, [weights[0]!, x], { infinities: false }))?.value, "NaN");
  const loop = (w: rg.Tensor): rg.Tensor =>
    rg.loop((h: rg.Tensor) => h.sub(1).log(), w, {
      length: 9,
      backward: rg.offload({ device: 1, host: 3, disk: 2 }),
    }).sum();
  assertEquals((await rg.locateNaN(rg.grad(loop), [rg.tensor([100, 3])]))?.value, "NaN");
  const calm = (w: rg.Tensor): rg.Tensor =>
    rg.loop((h: rg.Tensor) => h.mul(0.5).sin(), w, {
      length: 9,
      backward: rg.offload({ device: 1, host: 3, disk: 2 }),
    }).sum();
  assertEquals(await rg.locateNaN(rg.grad(calm), [rg.tensor([100, 3])]), undefined);
  assertEquals(outside(), { host: 0, disk: 0 });
});

Deno.test("a run that fails on its way leaves nothing outside of the device", async () => {
  const policy = rg.policies.saveAndOffloadOnlyTheseNames({ offload: ["inner"], store: "disk" });
  const f = rg.compile(rg.valueAndGrad(lossOf(rg.checkpoint(layer, { policy }))));
  await assertSame(f(weights, x), "before");
  const open = Deno.FsFile.prototype.write;
  Deno.FsFile.prototype.write = () => Promise.reject(new Error("the disk is full"));
  try {
    const [value] = f(weights, x);
    await assertRejects(() => value.data(), Error, "the disk is full");
  } finally {
    Deno.FsFile.prototype.write = open;
  }
  assertEquals(outside(), { host: 0, disk: 0 });
  await assertSame(f(weights, x), "after");
});
