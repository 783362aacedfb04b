import { assert, assertEquals, assertThrows } from "@std/assert";
import { full, tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import * as optim from "../../optim/mod.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

Deno.test("mixedPrecision() scales the loss and unscales its gradient, over f32 parameters", async () => {
  const mixed = optim.mixedPrecision(optim.sgd({ rate: 1 }), { scale: 1024 });
  const seen: string[] = [];
  const both = mixed.valueAndGrad((w: Tensor, x: Tensor) => {
    seen.push(w.dtype, x.dtype);
    return w.mul(x).cast("f32").sum();
  });
  const state = mixed.init(tensor([1, 2]));
  const [value, gradient] = both(state, tensor([3, 4]));
  assertEquals(seen, ["f16", "f16"]);
  assertEquals([value.dtype, gradient.dtype], ["f32", "f32"]);
  await assertValues(value, 11);
  await assertValues(gradient, [3072, 4096]);
  const next = mixed.update(state, gradient);
  assertEquals(next.params.dtype, "f32");
  await assertValues(next.params, [-2, -2]);
});

Deno.test("gradients too small for f16 are lost without a scale, and kept with one", async () => {
  for (const scale of [1, 32768]) {
    const mixed = optim.mixedPrecision(optim.sgd({ rate: 1 }), { scale });
    const both = mixed.valueAndGrad((w: Tensor) => w.mul(1e-4).mul(1e-4).cast("f32").sum());
    const [, gradient] = both(mixed.init(tensor([1])));
    const g = await gradient.item();
    if (scale === 1) assertEquals(g, 0);
    else assert(Math.abs(g / scale / 1e-8 - 1) < 0.01, `${g}`);
  }
});

Deno.test("a step that is not finite is skipped and halves the scale; good ones double it", async () => {
  const mixed = optim.mixedPrecision(optim.adam({ rate: 0.1 }), { scale: 8, interval: 3 });
  let state = mixed.init({ w: tensor([1, 2]) });
  const gradient = (x: number) => ({ w: tensor([x, 1]) });
  const memory = () => state.memory as optim.MixedMemory;
  for (const bad of [Infinity, -Infinity, NaN]) {
    const before = state;
    state = mixed.update(state, gradient(bad));
    await assertValues(state.params.w, [1, 2]);
    await assertValues(state.step, 0);
    const moments = (m: optim.MixedMemory) => (m.memory as { mean: { w: Tensor } }[])[0]!.mean.w;
    await assertValues(
      moments(memory()),
      await moments(before.memory as optim.MixedMemory).array(),
    );
  }
  await assertValues(memory().scale, 1); // 8, 4, 2, 1
  await assertValues(memory().skipped, 3);
  state = mixed.update(state, gradient(NaN));
  await assertValues(memory().scale, 1); // never below 1
  const scales: number[] = [];
  for (let i = 0; i < 7; i++) {
    state = mixed.update(state, gradient(2));
    scales.push(await memory().scale.item());
  }
  assertEquals(scales, [1, 1, 2, 2, 2, 4, 4]);
  await assertValues(state.step, 7);
  state = mixed.update(state, gradient(NaN));
  for (let i = 0; i < 3; i++) state = mixed.update(state, gradient(2));
  await assertValues(memory().scale, 4); // 2, and three good ones since
});

Deno.test("clipping sees the gradient unscaled", async () => {
  const { chain, clipByGlobalNorm, fromTransformation, scaleByRate } = optim;
  const inner = fromTransformation(chain(clipByGlobalNorm(5), scaleByRate(1)));
  const mixed = optim.mixedPrecision(inner, { scale: 1000 });
  const state = mixed.update(mixed.init(tensor([0, 0])), tensor([3000, 4000]));
  await assertValues(state.params, [-3, -4], 1e-6);
});

Deno.test("mixedPrecision() in f32 is the optimizer itself", async () => {
  const plain = optim.adam({ rate: 0.1 });
  const mixed = optim.mixedPrecision(plain, { compute: "f32", scale: 1 });
  let a = plain.init(tensor([1, 2])), b = mixed.init(tensor([1, 2]));
  for (const g of [[1, -1], [0.5, 2]]) {
    a = plain.update(a, tensor(g));
    b = mixed.update(b, tensor(g));
  }
  await assertValues(b.params, await a.params.array());
  assertEquals(mixed.cast({ x: full([2], 1), i: full([2], 1, { dtype: "i32" }) }).x.dtype, "f32");
});

Deno.test("mixedPrecision() refuses options that make no sense, and states of others", () => {
  const inner = optim.sgd({ rate: 1 });
  assertThrows(() => optim.mixedPrecision(inner, { scale: 0 }), RangeError, "scale is 0");
  assertThrows(() => optim.mixedPrecision(inner, { interval: 0 }), RangeError, "interval is 0");
  assertThrows(() => optim.mixedPrecision(inner, { compute: "f8" as "f16" }), TypeError, "f8");
  const mixed = optim.mixedPrecision(inner), state = inner.init(tensor([1]));
  assertThrows(() => mixed.update(state, tensor([1])), TypeError, "the state has no loss scale");
});
