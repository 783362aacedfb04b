/**
 * Randomized automatic differentiation: means and variances of estimates against their closed forms,
 * what stays exact, what is held in memory, and what every transform makes of it.
 */
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { projections } from "../../checkpoint/projection.ts";
import { notAffine } from "../../graph/affine.ts";
import { parameter } from "../../graph/build.ts";
import * as rg from "../../mod.ts";
import { firstDifference, gpu } from "../gpu.ts";

const kinds = ["sparse", "project"] as const;
const variants = kinds.flatMap((kind) => [true, false].map((shared) => ({ kind, shared })));
const called = ({ kind, shared }: typeof variants[number]): string =>
  `${kind}, ${shared ? "shared" : "apart"}`;

const product = (x: rg.Tensor, w: rg.Tensor): rg.Tensor => x.matmul(w);

/** Keys of many draws. */
const keysOf = (seed: number, count: number): rg.Tensor =>
  rg.random.bits(rg.random.key(seed), [count, 2]);

/** Mean and variance of every number over the first axis, in float64. */
async function moments(x: rg.Tensor): Promise<{ mean: number[]; variance: number[] }> {
  const data = await x.data(), [count] = x.shape as [number], size = data.length / count;
  const mean = new Array<number>(size).fill(0), square = new Array<number>(size).fill(0);
  for (let i = 0; i < data.length; i++) mean[i % size]! += data[i]! / count;
  for (let i = 0; i < data.length; i++) square[i % size]! += (data[i]! - mean[i % size]!) ** 2;
  return { mean, variance: square.map((sum) => sum / (count - 1)) };
}

for (const variant of variants) {
  const { kind, shared } = variant;
  Deno.test(`estimates are unbiased, with the variance of the formula: ${called(variant)}`, async () => {
    await gpu();
    const examples = 2, n = 7, k = 3, draws = 100_000;
    const x = rg.tensor([[1, -2, 0.5, 3, -1, 0.25, 2], [0.5, 1, -1.5, 2, 1, -3, 0.75]]);
    const { compress, expand } = projections[kind]({ n, k, examples }, shared);
    const once = (key: rg.Tensor): rg.Tensor => expand(compress(x, key), key);
    const { mean, variance } = await moments(rg.compile(rg.vmap(once))(keysOf(3, draws)));
    const exact = [...await x.data()];
    for (let b = 0; b < examples; b++) {
      const row = exact.slice(b * n, (b + 1) * n), norm = row.reduce((s, v) => s + v * v, 0);
      row.forEach((v, j) => {
        const wanted = kind === "sparse" ? v * v * (n - 1) / k : (norm - v * v) / k;
        const error = Math.abs(mean[b * n + j]! - v) / Math.sqrt(wanted / draws);
        assert(error < 4, `${mean[b * n + j]} for ${v}: ${error} standard errors`);
        assertAlmostEquals(variance[b * n + j]! / wanted, 1, 0.05);
      });
    }
  });

  Deno.test(`gradients of weights are unbiased, all else is exact: ${called(variant)}`, async () => {
    await gpu();
    const [b, n, m, keep, draws] = [4, 6, 3, 0.5, 20_000], k = 3;
    const x = rg.random.normal(rg.random.key(1), [b, n]);
    const w = rg.random.normal(rg.random.key(2), [n, m]);
    const g = rg.random.normal(rg.random.key(3), [b, m]);
    const loss = (x: rg.Tensor, w: rg.Tensor, key?: rg.Tensor): rg.Tensor =>
      (key === undefined ? product(x, w) : rg.sketch(product, { keep, kind, shared, key })(x, w))
        .mul(g).sum();
    const both = { argnums: [0, 1] } as const;
    const exact = rg.compile(rg.valueAndGrad(loss, both));
    const estimate = rg.compile(rg.valueAndGrad(loss, both));
    const [value, [dx, dw]] = exact(x, w);
    const [sameValue, [sameDx, otherDw]] = estimate(x, w, rg.random.key(9));
    assertEquals(firstDifference(await sameValue.data(), await value.data()), undefined);
    assertEquals(firstDifference(await sameDx.data(), await dx.data()), undefined);
    assert(firstDifference(await otherDw.data(), await dw.data()) !== undefined);
    // Of every draw: dw = x̂ᵀ·g.
    const once = (key: rg.Tensor): rg.Tensor => rg.grad(loss, { argnums: 1 })(x, w, key);
    const { mean, variance } = await moments(rg.compile(rg.vmap(once))(keysOf(5, draws)));
    const right = [...await dw.data()], [xs, gs] = await rg.readAll([x, g]);
    for (let j = 0; j < n; j++) {
      for (let l = 0; l < m; l++) {
        let wanted = 0;
        if (shared) {
          const column = (i: number): number => right[i * m + l]!;
          const norm = Array.from({ length: n }, (_, i) => column(i) ** 2).reduce((s, v) => s + v);
          wanted = kind === "sparse" ? column(j) ** 2 * (n - 1) / k : (norm - column(j) ** 2) / k;
        } else {
          for (let i = 0; i < b; i++) {
            const row = [...xs!.slice(i * n, (i + 1) * n)], v = row[j]!;
            const norm = row.reduce((s, v) => s + v * v, 0);
            const one = kind === "sparse" ? v * v * (n - 1) / k : (norm - v * v) / k;
            wanted += one * gs![i * m + l]! ** 2;
          }
        }
        const at = j * m + l, error = Math.abs(mean[at]! - right[at]!) / Math.sqrt(wanted / draws);
        assert(error < 4, `${mean[at]} for ${right[at]}: ${error} standard errors`);
        assertAlmostEquals(variance[at]! / wanted, 1, 0.1);
      }
    }
  });
}

Deno.test("projections of all sizes come back as sums of what they are made of", async () => {
  await gpu();
  for (const { kind, shared } of variants) {
    for (
      const [examples, n, k] of [[1, 1, 1], [3, 1, 1], [2, 33, 33], [3, 37, 33], [
        1,
        130,
        129,
      ]] as const
    ) {
      const { compress, expand, spread } = projections[kind]({ n, k, examples }, shared);
      const key = rg.random.key(n), x = rg.random.normal(rg.random.key(1), [examples, n]);
      const s = compress(x, key), back = expand(s, key);
      assertEquals([s.shape, back.shape], [[examples, k], [examples, n]]);
      const turned = spread?.(s.transpose(), key).transpose() ?? back;
      const [forth, other, a, b] = await rg.readAll([
        s.mul(s).sum(),
        x.mul(back).sum(),
        back,
        turned,
      ]);
      // ⟨x·R, s⟩ = ⟨x, s·Rᵀ⟩; what the sparse kind keeps is x·R without its factor √(n/k).
      const scale = kind === "sparse" ? n / k : 1;
      assertAlmostEquals(other![0]! / (scale * forth![0]!), 1, 1e-4);
      a!.forEach((v, i) => assertAlmostEquals(v, b![i]!, 1e-4));
    }
  }
});

Deno.test("a number that was not drawn is not multiplied by what stands in its place", async () => {
  await gpu();
  const { compress, expand } = projections.sparse({ n: 8, k: 2, examples: 1 }, true);
  const x = rg.full([1, 8], Infinity), key = rg.random.key(1);
  const values = [...await expand(compress(x, key), key).data()];
  assert(values.every((v) => v === 0 || v === Infinity), `${values}`);
  assert(values.filter((v) => v === 0).length >= 6);
});

Deno.test("sketch() of a convolution, and of batches of several axes", async () => {
  await gpu();
  const x = rg.random.normal(rg.random.key(1), [3, 6, 6, 2]);
  const w = rg.random.normal(rg.random.key(2), [3, 3, 2, 4]);
  const convolve = (x: rg.Tensor, w: rg.Tensor): rg.Tensor => rg.conv(x, w, { padding: "same" });
  for (const variant of variants) {
    const f = rg.sketch(convolve, { keep: 0.2, ...variant, key: rg.random.key(4) });
    const gradients = (f: typeof convolve) =>
      rg.compile(rg.valueAndGrad((x: rg.Tensor, w: rg.Tensor) => f(x, w).square().sum(), {
        argnums: [0, 1],
      }))(x, w);
    const [value, [dx, dw]] = gradients(convolve), [v, [gx, gw]] = gradients(f);
    assertEquals(firstDifference(await v.data(), await value.data()), undefined);
    assertEquals(firstDifference(await gx.data(), await dx.data()), undefined);
    assertEquals(gw.shape, dw.shape);
  }
  const sequence = rg.random.normal(rg.random.key(5), [2, 5, 8]);
  const weight = rg.random.normal(rg.random.key(6), [8, 3]);
  const loss = (w: rg.Tensor): rg.Tensor =>
    rg.sketch(product, { keep: 0.5, batch: 2, shared: false, key: rg.random.key(7) })(sequence, w)
      .sum();
  const program = rg.compile(rg.grad(loss));
  assertEquals(program(weight).shape, [8, 3]);
  assert(program.explain().includes("4 of 8 numbers, apart for each example: f32[10,4]"));
});

Deno.test("sketch() of a sum of squares estimates the gradient of its argument", async () => {
  await gpu();
  const x = rg.tensor([[1, -2, 3, 0.5]]), draws = 20_000;
  const once = (key: rg.Tensor): rg.Tensor =>
    rg.grad(rg.sketch((x: rg.Tensor) => x.square().sum(), { keep: 0.5, key }))(x);
  const { mean } = await moments(rg.compile(rg.vmap(once))(keysOf(5, draws)));
  const wanted = [2, -4, 6, 1];
  mean.forEach((v, i) => {
    const deviation = Math.abs(wanted[i]!) * Math.sqrt(3 / 2 / draws);
    assert(Math.abs(v - wanted[i]!) < 4 * deviation, `${v} for ${wanted[i]}`);
  });
});

/** A recurrent net whose steps sketch their state. */
function recurrent(
  steps: number,
  keep: number,
  variant: typeof variants[number],
  backward: rg.Backward = "store",
) {
  return (p: { w: rg.Tensor; v: rg.Tensor }, x: rg.Tensor, key: rg.Tensor): rg.Tensor => {
    const body = (h: rg.Tensor, [x, t]: [rg.Tensor, rg.Tensor]): [rg.Tensor, null] => {
      const settings = { keep, ...variant, key: rg.random.foldIn(key, t) };
      const z = rg.sketch(product, settings)(h, p.w).add(x.matmul(p.v));
      return [keep === 1 ? z.relu() : rg.nn.leanRelu(z), null];
    };
    const rows: [rg.Tensor, rg.Tensor] = [x, rg.arange(steps, { dtype: "u32" })];
    const first = rg.zeros([x.shape[1]!, p.w.shape[0]!]);
    return rg.scan(body, first, rows, { backward })[0].square().mean();
  };
}

/** Parameters and inputs of it. */
async function recurrentInputs(steps: number, batch: number, hidden: number) {
  const p = {
    w: rg.random.normal(rg.random.key(1), [hidden, hidden]).mul(1 / Math.sqrt(hidden)),
    v: rg.random.normal(rg.random.key(2), [3, hidden]),
  };
  return await rg.realize({ p, x: rg.random.normal(rg.random.key(3), [steps, batch, 3]) });
}

Deno.test("steps of a scan hold projections instead of states, and what is held is counted", async () => {
  await gpu();
  const [steps, batch, hidden] = [40, 10, 96];
  const { p, x } = await recurrentInputs(steps, batch, hidden);
  const key = rg.random.key(7);
  const exact = rg.compile(rg.valueAndGrad(recurrent(steps, 1, variants[0]!)));
  const [value, gradient] = exact(p, x, key);
  const workspace = (text: string): number[] =>
    /workspace +(\d+) +(\d+)/.exec(text)!.slice(1).map(Number);
  const [, stored] = workspace(exact.explain());
  for (const variant of variants) {
    const program = rg.compile(rg.valueAndGrad(recurrent(steps, 0.1, variant)));
    const [v, g] = program(p, x, key);
    assertEquals(firstDifference(await v.data(), await value.data()), undefined);
    assertEquals(firstDifference(await g.v.data(), await gradient.v.data()), undefined);
    const [predicted, counted] = workspace(program.explain());
    assertEquals(predicted, counted);
    // 10 of 96 numbers, and one bit of each.
    const saved = steps * batch * (4 * hidden - 4 * 10 - hidden / 8);
    assert(counted! < stored! - 0.8 * saved, `${counted} of ${stored}`);
    // A strategy makes states again, and projections from them.
    const again = recurrent(steps, 0.1, variant, rg.revolve({ snapshots: 4 }));
    const [, same] = rg.compile(rg.valueAndGrad(again))(p, x, key);
    assertEquals(firstDifference(await same.w.data(), await g.w.data()), undefined);
  }
});

Deno.test("gradients through a scan are unbiased", async () => {
  await gpu();
  const [steps, batch, hidden, draws] = [3, 3, 6, 4000];
  const { p, x } = await recurrentInputs(steps, batch, hidden);
  const exact = await rg.grad(recurrent(steps, 1, variants[0]!))(p, x, rg.random.key(0)).w.data();
  for (const variant of variants) {
    const once = (key: rg.Tensor): rg.Tensor =>
      rg.grad(recurrent(steps, 0.5, variant))(p, x, key).w;
    const { mean, variance } = await moments(rg.compile(rg.vmap(once))(keysOf(11, draws)));
    mean.forEach((v, i) => {
      const error = Math.abs(v - exact[i]!) / Math.sqrt(variance[i]! / draws + 1e-12);
      assert(error < 4.5, `${called(variant)}: ${v} for ${exact[i]}, ${error} standard errors`);
    });
  }
});

Deno.test("forward mode is exact, and derivatives of the gradient are unbiased", async () => {
  await gpu();
  const draws = 4000, x = rg.random.normal(rg.random.key(1), [2, 4]);
  const w = rg.random.normal(rg.random.key(2), [4, 4]).mul(0.5);
  const t = rg.random.normal(rg.random.key(3), [4, 4]);
  await rg.realize([x, w, t]);
  type Loss = (w: rg.Tensor) => rg.Tensor;
  const settings = { kind: "project" } as const;
  const unrolled = (keep: number, key: rg.Tensor): Loss => (w) => {
    const layer = (h: rg.Tensor, i: number): rg.Tensor =>
      rg.sketch(product, { ...settings, keep, key: rg.random.foldIn(key, i) })(h, w);
    return layer(layer(x, 0), 1).square().sum();
  };
  const looped = (keep: number, key: rg.Tensor): Loss => (w) =>
    rg.loop(
      (h: rg.Tensor, i: rg.Tensor) =>
        rg.sketch(product, { ...settings, keep, key: rg.random.foldIn(key, i) })(h, w),
      x,
      { length: 2 },
    ).square().sum();
  const hvp = (loss: Loss): rg.Tensor => rg.hvp(loss, w, t);
  const twice = (loss: Loss): rg.Tensor =>
    rg.grad((w: rg.Tensor) => rg.grad(loss)(w).mul(t).sum())(w);
  const key = rg.random.key(8);
  const [, exact] = rg.jvp(unrolled(1, key), [w], [t]);
  const [, tangent] = rg.jvp(unrolled(0.5, key), [w], [t]);
  assertEquals(firstDifference(await tangent.data(), await exact.data()), undefined);
  const wanted = await hvp(unrolled(1, key)).data();
  for (const [lossBy, second] of [[unrolled, hvp], [unrolled, twice], [looped, twice]] as const) {
    const once = (key: rg.Tensor): rg.Tensor => second(lossBy(0.5, key));
    const { mean, variance } = await moments(rg.compile(rg.vmap(once))(keysOf(5, draws)));
    mean.forEach((v, i) => {
      const error = Math.abs(v - wanted[i]!) / Math.sqrt(variance[i]! / draws);
      assert(error < 4.5, `${v} for ${wanted[i]}: ${error} standard errors`);
    });
  }
});

Deno.test("under vmap examples share a projection unless each has its key", async () => {
  await gpu();
  const x = rg.ones([3, 1, 16]), w = rg.ones([16, 1]);
  const one = (x: rg.Tensor, key: rg.Tensor): rg.Tensor =>
    rg.grad((w: rg.Tensor) => rg.sketch(product, { keep: 0.25, key })(x, w).sum())(w);
  const rows = async (y: rg.Tensor): Promise<Set<string>> =>
    new Set((await y.reshape(3, 16).array() as number[][]).map(String));
  const shared = rg.vmap((x: rg.Tensor) => one(x, rg.random.key(1)))(x);
  assertEquals((await rows(shared)).size, 1);
  assertEquals((await rows(rg.vmap(one)(x, keysOf(2, 3)))).size, 3);
});

Deno.test("under a budget a sketch is what it is without", async () => {
  await gpu();
  const [steps, batch, hidden] = [6, 64, 64];
  const weights = Array.from(
    { length: steps },
    (_, i) => rg.random.normal(rg.random.key(i), [hidden, hidden]).mul(0.1),
  );
  const x = rg.random.normal(rg.random.key(20), [batch, hidden]);
  const key = rg.random.key(21);
  const loss = (weights: rg.Tensor[], x: rg.Tensor, key: rg.Tensor): rg.Tensor =>
    weights.reduce((h, w, i) => {
      const settings = { keep: 0.25, key: rg.random.foldIn(key, i) };
      return rg.nn.leanRelu(rg.sketch(product, settings)(h, w));
    }, x).square().mean();
  const free = rg.compile(rg.valueAndGrad(loss));
  const [value, gradient] = free(weights, x, key);
  const least = Number(
    /at least (\d+)/.exec(
      (() => {
        try {
          rg.compile(rg.valueAndGrad(loss), { memory: 1 })(weights, x, key);
        } catch (error) {
          return (error as Error).message;
        }
        return "";
      })(),
    )![1],
  );
  const tight = rg.compile(rg.valueAndGrad(loss), { memory: least });
  const [v, g] = tight(weights, x, key);
  assertEquals(firstDifference(await v.data(), await value.data()), undefined);
  for (let i = 0; i < steps; i++) {
    assertEquals(firstDifference(await g[i]!.data(), await gradient[i]!.data()), undefined);
  }
});

Deno.test("a sketch that waits until it is needed is exact as long as that fits", async () => {
  await gpu();
  const steps = 4, n = 32, batch = 512;
  const weights = Array.from(
    { length: steps },
    (_, i) => rg.random.normal(rg.random.key(i), [n, n]).mul(0.2),
  );
  const x = rg.random.normal(rg.random.key(20), [batch, n]), key = rg.random.key(21);
  let traced = 0;
  const lossWith = (settings: Partial<rg.SketchSettings> | undefined) =>
  (
    weights: rg.Tensor[],
    x: rg.Tensor,
    key: rg.Tensor,
  ): rg.Tensor => {
    traced++;
    return weights.reduce((h, w, i) => {
      const options = { keep: 1 / 16, ...settings, key: rg.random.foldIn(key, i) };
      const f = settings === undefined ? product : rg.sketch(product, options);
      return rg.nn.leanRelu(f(h, w));
    }, x).mean();
  };
  const compiled = (settings: Partial<rg.SketchSettings> | undefined, memory?: number) =>
    rg.compile(rg.valueAndGrad(lossWith(settings)), memory === undefined ? {} : { memory });
  const leastOf = (settings: Partial<rg.SketchSettings> | undefined): number => {
    const f = compiled(settings, 1);
    const { message } = assertThrows(() => f(weights, x, key), RangeError);
    return Number(/at least (\d+)/.exec(message)![1]);
  };
  const needed = { when: "needed" } as const;
  // What would do is what an estimate takes.
  const [exact, least] = [leastOf(undefined), leastOf(needed)];
  assert(least < exact, `${least} of ${exact} bytes`);
  const same = async (
    [v, g]: readonly [rg.Tensor, rg.Tensor[]],
    [value, gradient]: readonly [rg.Tensor, rg.Tensor[]],
  ): Promise<boolean> => {
    assertEquals(firstDifference(await v.data(), await value.data()), undefined);
    let equal = true;
    for (let i = 0; i < steps; i++) {
      equal &&= firstDifference(await g[i]!.data(), await gradient[i]!.data()) === undefined;
    }
    return equal;
  };
  const plain = compiled(undefined)(weights, x, key), estimate = compiled({})(weights, x, key);
  assert(!await same(plain, estimate), "an estimate differs");
  for (const memory of [undefined, exact]) {
    traced = 0;
    const f = compiled(needed, memory);
    assert(await same(f(weights, x, key), plain), "exact");
    assertEquals(traced, 1);
    assert(!f.explain().includes("estimate"));
  }
  traced = 0;
  const tight = compiled(needed, least);
  assert(await same(tight(weights, x, key), estimate), "the estimate of that key");
  assertEquals(traced, 2);
  const { peak } = tight.programs()[0]!.memory, text = tight.explain();
  assert(peak <= least && text.match(new RegExp(`peak +${peak} +${peak}`)));
  assert(text.includes("held for the way back, so that the gradient is an estimate:"));
  assert(text.includes("since no exact plan fits the budget"));
  // Of two, only the one that may.
  const both = rg.compile(
    rg.grad((w: rg.Tensor, x: rg.Tensor) =>
      rg.sketch(product, { keep: 0.25, key })(x, w).add(
        rg.sketch(product, { keep: 0.25, key, ...needed })(x, w),
      ).sum()
    ),
  );
  both(weights[0]!, x);
  assertEquals(both.programs()[0]!.holds.length, 1);
  assertThrows(
    () => rg.sketch(product, { keep: 0.5, key, when: "often" as never }),
    RangeError,
    'Cannot sketch product: when is "often", expected "always" or "needed"',
  );
});

Deno.test("keep 1 is the function itself", async () => {
  await gpu();
  const x = rg.random.normal(rg.random.key(1), [3, 5]),
    w = rg.random.normal(rg.random.key(2), [5, 2]);
  const program = rg.compile(
    rg.grad((w: rg.Tensor) => rg.sketch(product, { keep: 1, key: rg.random.key(3) })(x, w).sum()),
  );
  const exact = rg.grad((w: rg.Tensor) => product(x, w).sum())(w);
  assertEquals(firstDifference(await program(w).data(), await exact.data()), undefined);
  assert(!program.explain().includes("held for the way back"));
});

Deno.test("nothing to sketch is no error", async () => {
  await gpu();
  for (const [b, n] of [[0, 3], [2, 0]] as const) {
    const f = rg.sketch(product, { keep: 0.5, key: rg.random.key(1) });
    const gradient = rg.grad((w: rg.Tensor) => f(rg.zeros([b, n]), w).sum())(rg.zeros([n, 2]));
    assertEquals(gradient.shape, [n, 2]);
    assertEquals([...await gradient.data()], new Array(n * 2).fill(0));
  }
});

Deno.test("sketch() refuses what it can't do, where it is asked", async () => {
  await gpu();
  const key = rg.random.key(1), x = rg.ones([2, 3]), w = rg.ones([3, 2]);
  for (const keep of [0, -0.1, 1.5, NaN, "half" as unknown as number]) {
    assertThrows(
      () => rg.sketch(product, { keep, key }),
      RangeError,
      "Cannot sketch product: keep is",
    );
  }
  const bad = { keep: 0.5, key };
  assertThrows(
    () => rg.sketch(product, { ...bad, kind: "dense" as rg.SketchKind }),
    RangeError,
    'kind is "dense", expected "sparse" or "project"',
  );
  assertThrows(
    () => rg.sketch(product, { ...bad, shared: 1 as unknown as boolean }),
    TypeError,
    "shared",
  );
  assertThrows(() => rg.sketch(product, { ...bad, batch: -1 }), RangeError, "batch is -1");
  assertThrows(
    () => rg.sketch(product, { keep: 0.5, key: rg.ones([2]) }),
    TypeError,
    "expected one as of random.key",
  );
  assertThrows(
    () => rg.sketch(3 as unknown as typeof product, bad),
    TypeError,
    "Cannot sketch: ",
  );
  assertThrows(
    () => rg.sketch(product, bad)(x.cast("i32"), w),
    TypeError,
    "expected a tensor of floats",
  );
  assertThrows(
    () => rg.sketch(product, { ...bad, batch: 3 })(x, w),
    TypeError,
    "with 3 axes of examples",
  );
  for (
    const f of [
      (x: rg.Tensor, w: rg.Tensor) => x.matmul(w).tanh(),
      (x: rg.Tensor) => x.relu(),
      (x: rg.Tensor) => x.max(),
      (x: rg.Tensor) => x.mul(x).mul(x),
      (x: rg.Tensor) => rg.where(x.greater(0), x, 0),
    ]
  ) {
    const error = assertThrows(
      () => rg.sketch(f, bad)(x, w),
      TypeError,
      "is not affine in its first",
    );
    assert(error.message.includes("because of"), error.message);
  }
});

Deno.test("notAffine() finds the operation that is to blame", () => {
  const x = rg.random.key(0), p = parameter(0, { shape: [2, 2], dtype: "f32" });
  const t = new rg.Tensor(p), w = rg.ones([2, 2]);
  const affine = [
    t.mul(3).add(w).neg().transpose().matmul(w),
    w.div(2).matmul(t).sum(0),
    t.div(w.exp()),
    rg.conv(t.reshape(1, 2, 2, 1), rg.ones([1, 1, 1, 1])),
    rg.where(w.greater(0), t, w),
    t.take(rg.tensor([0, 1, 1], { dtype: "i32" })).pad(1).flip(0).cast("f16"),
  ];
  for (const y of affine) assertEquals(notAffine([y.node], p), undefined);
  const others = [
    ["mul", t.mul(t)],
    ["exp", t.exp().mul(2)],
    ["div", w.div(t)],
    ["dot", t.matmul(t)],
    ["less", rg.where(t.less(1), w, w)],
    ["cast", t.cast("i32")],
    ["max", t.relu().add(t)],
  ] as const;
  for (const [op, y] of others) assertEquals(notAffine([y.node], p)?.op, op);
  assertEquals(notAffine([x.node], p), undefined);
});
