import { assert, assertThrows } from "@std/assert";
import { tensor, zeros } from "../../graph/create.ts";
import { key } from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import { ema } from "../../optim/ema.ts";
import { sgd } from "../../optim/optimizer.ts";
import { clipWeights, spectralNorm } from "../../optim/weights.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

Deno.test("clipWeights() holds the parameters after every update", async () => {
  const optimizer = clipWeights(sgd({ rate: 1 }), 0.5, { applies: (_, path) => path === "a" });
  const state = optimizer.init({ a: tensor([0, 0.4]), b: tensor([0]) });
  const { params } = optimizer.update(state, { a: tensor([3, -0.05]), b: tensor([2]) });
  await assertValues(params.a, [-0.5, 0.45], 1e-6);
  await assertValues(params.b, [-2]);
});

/** A matrix with singular values 3 and 1, not along the axes. */
const matrix = () => {
  const [c, s] = [Math.cos(0.3), Math.sin(0.3)], [d, r] = [Math.cos(1.1), Math.sin(1.1)];
  const rows = [[3 * c * d + s * r, 3 * c * r - s * d], [3 * s * d - c * r, 3 * s * r + c * d]];
  return tensor(rows);
};

Deno.test("spectralNorm() finds the largest singular value, better from call to call", async () => {
  const spectral = spectralNorm(), weight = matrix();
  let state = spectral.init(key(3), weight), norm: Tensor = zeros([]);
  for (let i = 0; i < 8; i++) [norm, state] = spectral.norm(weight, state);
  await assertValues(norm, 3, 1e-5, "key 3");
  const [unit] = spectral.normalize(weight, state);
  const [one] = spectralNorm({ iterations: 8 }).norm(unit, state);
  await assertValues(one, 1, 1e-5);
});

Deno.test("spectralNorm() has u vᵀ as its derivative", async () => {
  const spectral = spectralNorm({ iterations: 12 }), weight = matrix();
  const state = spectral.init(key(1), weight);
  const gradient = grad((w: Tensor) => spectral.norm(w, state)[0])(weight);
  const [c, s, d, r] = [Math.cos(0.3), Math.sin(0.3), Math.cos(1.1), Math.sin(1.1)];
  await assertValues(gradient, [[c * d, c * r], [s * d, s * r]], 1e-4);
});

Deno.test("spectralNorm() takes all axes but the last as rows; zeros have norm 0", async () => {
  const spectral = spectralNorm({ iterations: 8 });
  const weight = tensor([[[2, 0]], [[0, 1]]]);
  const [norm] = spectral.norm(weight, spectral.init(key(0), weight));
  await assertValues(norm, 2, 1e-5);
  const nothing = zeros([2, 2]);
  const [zero] = spectral.norm(nothing, spectral.init(key(0), nothing));
  await assertValues(zero, 0);
  assertThrows(() => spectral.init(key(0), tensor([1])), RangeError, "expected at least 2 axes");
});

Deno.test("ema() averages with decaying weights, with and without making up", async () => {
  const values = [1, 5, -2, 3];
  for (const debias of [true, false]) {
    const average = ema(0.75, { debias });
    let state = average.init({ w: tensor([8], { dtype: "f16" }) });
    if (debias) await assertValues(average.value(state).w, [0]);
    let sum = debias ? 0 : 8;
    for (const [i, value] of values.entries()) {
      state = average.update(state, { w: tensor([value], { dtype: "f16" }) });
      sum = 0.75 * sum + 0.25 * value;
      const expected = debias ? sum / (1 - 0.75 ** (i + 1)) : sum;
      await assertValues(average.value(state).w, [expected], 1e-6);
    }
    assert(average.value(state).w.dtype === "f32");
  }
  assertThrows(() => ema(1), RangeError, "decay is 1");
});
