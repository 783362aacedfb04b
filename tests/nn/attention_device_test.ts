import { assert } from "@std/assert";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad, vjp } from "../../graph/transforms.ts";
import * as nn from "../../nn/mod.ts";
import { compile } from "../../runtime/compile.ts";
import { gpu } from "../gpu.ts";
import { assertValues } from "../graph/host.ts";

function draw(t: number, s: number, d: number, e: number, seed: number) {
  const [a, b, c] = random.split(random.key(seed), 3);
  return {
    q: random.normal(a, [t, d]),
    k: random.normal(b, [s, d]),
    v: random.normal(c, [s, e]),
  };
}

Deno.test("lean attention is full attention, in values and gradients", async () => {
  await gpu();
  // Other shapes, and derivatives of all kinds, are tested without a device.
  const { q, k, v } = draw(3, 150, 4, 3, 1);
  const mask = random.bernoulli(random.key(9), 0.7, [3, 150]);
  const all = (memory: "full" | "lean") => {
    const f = (q: Tensor, k: Tensor, v: Tensor) =>
      nn.dotProductAttention(q, k, v, { causal: true, memory, mask });
    return compile((q: Tensor, k: Tensor, v: Tensor) => {
      const [y, pull] = vjp(f, q, k, v);
      return [y, ...pull(y.cos())];
    })(q, k, v);
  };
  const full = all("full"), lean = all("lean");
  for (let i = 0; i < full.length; i++) {
    await assertValues(lean[i]!, await full[i]!.array(), 2e-5, `result ${i}`);
  }
});

Deno.test("lean attention never holds its scores, forwards or backwards", async () => {
  await gpu();
  const [n, t, d] = [1, 1024, 8];
  const x = random.normal(random.key(0), [n, t, d]);
  const peakOf = async (memory: "full" | "lean") => {
    const step = compile((x: Tensor) =>
      grad((x: Tensor) => nn.dotProductAttention(x, x, x, { memory, causal: true }).sum())(x)
    );
    await step(x).data();
    return step.programs()[0]!.memory.workspace;
  };
  const scores = 4 * n * t * t;
  assert(await peakOf("full") >= scores, "the full way holds them");
  // Two blocks of scores, and a handful of tensors as large as the input.
  const bound = 2 * 4 * n * t * 128 + 14 * 4 * n * t * d;
  const lean = await peakOf("lean");
  assert(lean <= bound && lean < scores / 2, `${lean} bytes, expected at most ${bound}`);
});
