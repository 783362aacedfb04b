import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { arange, linspace, tensor, zeros } from "../../graph/create.ts";
import { steepest } from "../../examples/papers/figures.ts";
import { concatenate } from "../../graph/operations.ts";
import * as random from "../../graph/random.ts";
import { readAll, type Tensor } from "../../graph/tensor.ts";
import * as nn from "../../nn/mod.ts";
import { largestEigenvalue, localLipschitz } from "../../train/lipschitz.ts";
import { gpu } from "../gpu.ts";

/** Slopes at their largest: the published ones, and those that follow from the definition. */
const table = [...steepest, ["leaky ReLU", nn.leakyRelu, 1], ["ELU", nn.elu, 1]] as const;

Deno.test("localLipschitz() finds the largest slopes of activations", async () => {
  await gpu();
  // All of them at once, each on samples of its own.
  const n = 601, points = linspace(-12, 12, n).reshape(n, 1);
  const all = concatenate(table.map(() => points));
  const f = (x: Tensor) => concatenate(table.map(([, f], i) => f(x.slice([i * n, (i + 1) * n]))));
  const { samples } = await localLipschitz(f, all, { steps: 2 });
  table.forEach(([name, , slope], i) => {
    const found = samples.slice(i * n, (i + 1) * n).reduce((a, b) => Math.max(a, b));
    assertAlmostEquals(found, slope, 1e-3, name);
  });
});

/** The largest singular value of a matrix, by many power iterations in float64. */
function spectral(matrix: readonly (readonly number[])[]): number {
  let v = matrix[0]!.map((_, i) => 1 + i / 7), value = 0;
  for (let step = 0; step < 2000; step++) {
    const u = matrix.map((row) => row.reduce((sum, x, j) => sum + x * v[j]!, 0));
    const w = v.map((_, j) => matrix.reduce((sum, row, i) => sum + row[j]! * u[i]!, 0));
    value = Math.sqrt(Math.hypot(...w));
    v = w.map((x) => x / Math.hypot(...w));
  }
  return value;
}

Deno.test("localLipschitz() of linear layers is the spectral norm, of softmax at most a half", async () => {
  await gpu();
  const layer = nn.linear(20, 30), params = layer.init(random.key(1));
  const x = random.normal(random.key(2), [2, 20]);
  const { value } = await localLipschitz((x) => layer.apply(params, x), x);
  assertAlmostEquals(value, spectral(await params.weight.array() as number[][]), 1e-3);
  const half = await localLipschitz((x) => x.softmax(-1), tensor([[5, 5, -30], [1, 2, 3]]));
  assertAlmostEquals(half.value, 0.5, 1e-3);
  assert(half.samples[1]! < 0.5);
});

Deno.test("localLipschitz() of norms is bounded by what they divide by", async () => {
  await gpu();
  const x = random.normal(random.key(1), [3, 8]).mul(tensor([[0.1], [1], [10]])), epsilon = 0.01;
  const norms = [nn.layerNorm(8, { epsilon }), nn.rmsNorm(8, { epsilon })];
  const [values] = await readAll([x]);
  for (const [k, norm] of norms.entries()) {
    const params = norm.init(random.key(0));
    const { samples } = await localLipschitz((x) => norm.apply(params, x), x);
    samples.forEach((found, i) => {
      const row = [...values!.subarray(i * 8, i * 8 + 8)];
      const mean = k === 0 ? row.reduce((a, b) => a + b) / 8 : 0;
      const square = row.reduce((a, b) => a + (b - mean) ** 2, 0) / 8;
      // The bound is reached in directions across the row.
      assertAlmostEquals(found / (1 / Math.sqrt(square + epsilon)), 1, 1e-3);
    });
  }
});

Deno.test("dot-product attention stretches without bound as inputs grow, L2 attention does not", async () => {
  await gpu();
  const scales = [1, 4, 16];
  const x = random.normal(random.key(3), [1, 4, 6]);
  const all = concatenate(scales.map((s) => x.mul(s)));
  // At 0 one key is as good as another, and a small move decides: the worst place there is.
  const at = all.mul(tensor([0, 1, 1, 1]).reshape(4, 1));
  const of = async (attention: typeof nn.l2Attention) =>
    (await localLipschitz((x) => attention(x, x, x), at, { steps: 12 })).samples;
  const dot = await of(nn.dotProductAttention), l2 = await of(nn.l2Attention);
  assert(dot[2]! > 50 * dot[0]!, `${dot}`);
  assert(l2[2]! < 10 * l2[0]!, `${l2}`);
});

Deno.test("x + a·f(x) stretches by at most 1 + a·L, and by 1 where a is 0", async () => {
  await gpu();
  const inner = nn.sequential([nn.linear(5, 5), nn.tanh]), x = random.normal(random.key(1), [3, 5]);
  const block = nn.reZero(inner), params = block.init(random.key(2));
  const at = async (scale: number) => {
    const own = { ...params, scale: tensor(scale) };
    return (await localLipschitz((x) => block.apply(own, x), x)).value;
  };
  assertAlmostEquals(await at(0), 1, 1e-6);
  const { value } = await localLipschitz((x) => inner.apply(params.layer, x), x);
  const found = await at(0.5);
  assert(found > 1 && found <= 1 + 0.5 * value + 1e-4, `${found}, L is ${value}`);
});

Deno.test("localLipschitz() takes samples that are mixed as one vector", async () => {
  await gpu();
  // Of three samples, mean and rest: the Jacobian is a projection times 3.
  const x = random.normal(random.key(1), [3, 2]);
  const { value, samples } = await localLipschitz((x) => x.add(x.sum(0)), x);
  assertAlmostEquals(value, 4, 1e-3);
  assert(samples.length === 1);
  // Nothing of the first sample goes to the others, only to it.
  const later = (x: Tensor) => concatenate([x.slice([0, 1]).add(x.slice([2, 3])), x.slice([1, 3])]);
  const golden = (1 + Math.sqrt(5)) / 2;
  assertAlmostEquals((await localLipschitz(later, x)).value, golden, 1e-5);
  // In f16, where small numbers have few digits, samples that are not mixed are still seen so.
  const half = random.normal(random.key(2), [24, 512]).cast("f16");
  assertEquals((await localLipschitz((x) => x.tanh(), half, { steps: 1 })).samples.length, 24);
  const paired = (x: Tensor) => x.add(x.slice([16, 24]).pad([[5, 11], [0, 0]]));
  assertEquals((await localLipschitz(paired, half, { steps: 1 })).samples.length, 1);
  assertEquals(await localLipschitz((x) => x.exp(), zeros([0, 3])), { value: 0, samples: [] });
  await assertRejects(() => localLipschitz((x) => x, arange(3)), TypeError, "expected floats");
  await assertRejects(() => localLipschitz((x) => x, x, { steps: 0 }), RangeError, "steps is 0");
});

Deno.test("largestEigenvalue() is that of the tridiagonal matrix", () => {
  // 2 on the diagonal and -1 beside it: 2 - 2 cos(kπ / (n + 1)).
  for (const n of [1, 2, 7, 30]) {
    const found = largestEigenvalue(new Array(n).fill(2), new Array(n).fill(-1));
    assertAlmostEquals(found, 2 + 2 * Math.cos(Math.PI / (n + 1)), 1e-9);
  }
  assertAlmostEquals(largestEigenvalue([0, 0], [0, 0]), 0);
  assertAlmostEquals(largestEigenvalue([3, 1, 3], [0, 0, 0]), 3, 1e-9);
  assert(Number.isNaN(largestEigenvalue([NaN, 1], [0, 0])));
});
