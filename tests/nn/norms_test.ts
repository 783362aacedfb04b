import { assertEquals, assertThrows } from "@std/assert";
import { ones, tensor } from "../../graph/create.ts";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import * as nn from "../../nn/mod.ts";
import { assertDerivatives } from "../derivatives.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();
const key = () => random.key(1);

/** Group norm by the definition: x [samples][positions][channels]. */
function reference(x: number[][][], groups: number, epsilon: number): number[][][] {
  return x.map((sample) => {
    const channels = sample[0]!.length, size = channels / groups;
    return sample.map((position) =>
      position.map((value, c) => {
        const first = Math.floor(c / size) * size;
        const all = sample.flatMap((p) => p.slice(first, first + size));
        const mean = all.reduce((a, b) => a + b, 0) / all.length;
        const variance = all.reduce((a, b) => a + (b - mean) ** 2, 0) / all.length;
        return (value - mean) / Math.sqrt(variance + epsilon);
      })
    );
  });
}

Deno.test("groupNorm() and instanceNorm() take statistics of each sample", async () => {
  const draw = random.normal(key(), [3, 5, 6]);
  const x = await draw.array() as number[][][];
  const scale = tensor([1, 2, 3, 4, 5, 6]), bias = tensor([6, 5, 4, 3, 2, 1]);
  for (const groups of [1, 2, 3, 6]) {
    const layer = groups === 6
      ? nn.instanceNorm(6, { epsilon: 0.01 })
      : nn.groupNorm(groups, 6, { epsilon: 0.01 });
    const wanted = reference(x, groups, 0.01).map((s) =>
      s.map((p) => p.map((v, c) => v * (c + 1) + 6 - c))
    );
    await assertValues(layer.apply({ scale, bias }, tensor(x)), wanted, 1e-5, `${groups} groups`);
    // The same with channels first.
    const first = groups === 6
      ? nn.instanceNorm(6, { epsilon: 0.01, axis: 1 })
      : nn.groupNorm(groups, 6, { epsilon: 0.01, axis: 1 });
    const y = first.apply({ scale, bias }, tensor(x).swapAxes(1, 2)).swapAxes(1, 2);
    await assertValues(y, wanted, 1e-5, `${groups} groups, channels first`);
  }
});

Deno.test("groupNorm() and instanceNorm() name themselves in errors", () => {
  assertThrows(() => nn.groupNorm(4, 6), RangeError, "groups of equal size");
  assertThrows(() => nn.groupNorm(0, 6), RangeError, "the number of groups is 0");
  const layer = nn.instanceNorm(6), params = layer.init(key());
  for (const x of [ones([6]), ones([2, 3, 5]), ones([2, 6], { dtype: "i32" })]) {
    assertThrows(() => layer.apply(params, x), TypeError, "Cannot apply instanceNorm(6)");
  }
});

Deno.test("weightNorm() is the layer at first, and learns lengths apart", async () => {
  const layer = nn.weightNorm(nn.linear(2, 2));
  const params = {
    direction: { weight: tensor([[3, 0], [4, 2]]), bias: tensor([1, 1]) },
    length: [tensor([[10, 1]])],
  };
  // Columns (3, 4)/5·10 and (0, 1).
  await assertValues(layer.apply(params, tensor([1, 1])), [15, 2], 1e-6);
  const plain = nn.mlp([3, 4, 2]), wrapped = nn.weightNorm(plain);
  const x = random.normal(key(), [5, 3]), own = wrapped.init(random.key(3));
  assertEquals(own.length.map(({ shape }) => shape), [[1, 4], [1, 2]]);
  const wanted = await plain.apply(plain.init(random.key(3)), x).array();
  await assertValues(wrapped.apply(own, x), wanted, 1e-5);
  assertThrows(
    () => layer.apply({ ...params, length: [] }, tensor([1, 1])),
    TypeError,
    "expected one for each output",
  );
  assertThrows(
    () => layer.apply({ ...params, length: [...params.length, ones([1, 2])] }, tensor([1, 1])),
    TypeError,
    "a list of 2, expected a list of 1",
  );
});

Deno.test("spectralNorm() brings the largest singular value to 1, in its own time", async () => {
  const layer = nn.spectralNorm(nn.linear(2, 2, { bias: false }), { iterations: 30 });
  const params = { weight: tensor([[0, 2], [5, 0]]) };
  const [y, state] = layer.apply(params, layer.initState(), tensor([[0, 1], [1, 0]]), {
    train: true,
  });
  await assertValues(y, [[1, 0], [0, 0.4]], 1e-5);
  const [, same] = layer.apply(params, state, tensor([[0, 1]]));
  assertEquals(same[0]!.vector, state[0]!.vector);
  assertThrows(() => layer.apply(params, [], tensor([[0, 1]])), TypeError, "state of weight 0");
});

Deno.test("norms have the right derivatives", async () => {
  const x = random.normal(key(), [2, 3, 4]);
  const group = nn.groupNorm(2, 4), weight = nn.weightNorm(nn.linear(4, 3));
  const params = group.init(key()), own = weight.init(random.key(2));
  await assertDerivatives((p: typeof params, x: Tensor) => group.apply(p, x), [params, x]);
  await assertDerivatives((p: typeof own, x: Tensor) => weight.apply(p, x), [own, x]);
});
