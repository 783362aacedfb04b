import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ones, tensor, zeros } from "../../graph/create.ts";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import * as nn from "../../nn/mod.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();
const key = () => random.key(1);

Deno.test("linear() is x · weight + bias on the last axis", async () => {
  const layer = nn.linear(2, 3);
  const params = { weight: tensor([[1, 2, 3], [4, 5, 6]]), bias: tensor([10, 20, 30]) };
  await assertValues(layer.apply(params, tensor([1, 1])), [15, 27, 39]);
  await assertValues(layer.apply(params, tensor([[[0, 1]]])), [[[14, 25, 36]]]);
});

Deno.test("linear() has no bias where none is wanted", () => {
  const layer = nn.linear(2, 3, { bias: false });
  const params = layer.init(key());
  assertEquals(Object.keys(params), ["weight"]);
  assertEquals(layer.apply(params, ones([4, 2])).shape, [4, 3]);
});

Deno.test("linear() names itself in errors", () => {
  const layer = nn.linear(2, 3);
  const params = layer.init(key());
  const message = (f: () => unknown) => (assertThrows(f, TypeError) as unknown as Error).message;
  assertEquals(
    message(() => layer.apply(params, ones([4, 5]))),
    "Cannot apply linear(2, 3): the input is Tensor f32[4,5], expected floats with a last axis of 2",
  );
  message(() => layer.apply(params, ones([4, 2], { dtype: "i32" })));
  message(() => layer.apply(params, tensor(1)));
  assertEquals(
    message(() => layer.apply({ ...params, weight: ones([3, 2]) }, ones([4, 2]))),
    "Cannot apply linear(2, 3): its parameter weight is Tensor f32[3,2], expected a tensor of " +
      "shape [2,3]",
  );
  assert(
    message(() => layer.apply({ weight: params.weight }, ones([4, 2]))).includes(
      "bias is undefined",
    ),
  );
  message(() => layer.apply(null, ones([4, 2])));
  assertThrows(() => nn.linear(0, 3), RangeError, "Cannot make linear(0, 3)");
  assertThrows(() => nn.linear(2, 1.5), RangeError, "the number of outputs is 1.5");
});

Deno.test("embedding() looks up rows, and its gradient adds up repeated ones", async () => {
  const layer = nn.embedding(3, 2);
  const params = { weight: tensor([[1, 2], [3, 4], [5, 6]]) };
  const words = tensor([[2, 0], [2, 2]], { dtype: "i32" });
  await assertValues(layer.apply(params, words), [[[5, 6], [1, 2]], [[5, 6], [5, 6]]]);
  const loss = (p: typeof params) => layer.apply(p, words).sum();
  await assertValues(grad(loss)(params).weight, [[1, 1], [0, 0], [3, 3]]);
  assertThrows(
    () => layer.apply(params, ones([2])),
    TypeError,
    "embedding(3, 2): the input is Tensor f32[2]",
  );
});

Deno.test("dropout() drops only while training, and keeps the mean", async () => {
  const layer = nn.dropout(0.25), x = ones([4000]);
  assertStrictEquals(layer.apply(null, x), x);
  assertStrictEquals(nn.dropout(0).apply(null, x, { train: true }), x);
  const values = await layer.apply(null, x, { train: true, key: key() }).data();
  const kept = values.filter((v) => v !== 0);
  assert(Math.abs(kept.length / values.length - 0.75) < 0.03, `${kept.length} of 4000 kept`);
  assert(kept.every((v) => Math.abs(v - 4 / 3) < 1e-6));
  const other = await layer.apply(null, x, { train: true, key: random.key(2) }).data();
  assertNotEquals([...values], [...other]);
});

Deno.test("dropout() wants a key while training, and a rate below 1", () => {
  assertThrows(
    () => nn.dropout(0.5).apply(null, ones([2]), { train: true }),
    TypeError,
    "there is no key",
  );
  for (const rate of [-0.1, 1, NaN]) {
    assertThrows(() => nn.dropout(rate), RangeError, `rate is ${rate}`);
  }
});

Deno.test("layerNorm() gives mean 0 and variance 1, scaled and moved", async () => {
  const layer = nn.layerNorm(4, { epsilon: 0 });
  const x = tensor([[1, 2, 3, 4], [1e4 + 1, 1e4 + 2, 1e4 + 3, 1e4 + 4]]);
  const s = Math.sqrt(1.25), row = [-1.5 / s, -0.5 / s, 0.5 / s, 1.5 / s];
  await assertValues(layer.apply(layer.init(key()), x), [row, row], 1e-4);
  const params = { scale: tensor([2, 2, 2, 2]), bias: tensor([0, 0, 0, 1]) };
  const moved = row.map((v, i) => 2 * v + Number(i === 3));
  await assertValues(layer.apply(params, x.slice(0)), moved, 1e-6);
  assertThrows(() => layer.apply(params, ones([2, 3])), TypeError, "layerNorm(4)");
});

Deno.test("rmsNorm() divides by the root of the mean square", async () => {
  const layer = nn.rmsNorm(2, { epsilon: 0 });
  const params = { scale: tensor([1, 10]) };
  await assertValues(layer.apply(params, tensor([3, 4])), [
    3 / Math.sqrt(12.5),
    40 / Math.sqrt(12.5),
  ], 1e-6);
  assertThrows(() => layer.apply(params, ones([3])), TypeError, "rmsNorm(2)");
});

Deno.test("batchNorm() uses the batch while training and moves the running statistics", async () => {
  const layer = nn.batchNorm(2, { epsilon: 0, momentum: 0.5 });
  const params = layer.init(key()), state = layer.initState();
  const x = tensor([[1, 10], [3, 30]]);
  const [y, next] = layer.apply(params, state, x, { train: true });
  await assertValues(y, [[-1, -1], [1, 1]], 1e-6);
  await assertValues(next.mean, [1, 10]);
  // Half of 1 and half of the unbiased variances 2 and 200.
  await assertValues(next.variance, [1.5, 100.5]);
  await assertValues(
    grad((p: Tensor) => layer.apply(params, state, p, { train: true })[1].mean.sum())(x),
    [
      [0, 0],
      [0, 0],
    ],
  );
});

Deno.test("batchNorm() uses the running statistics otherwise, and leaves them", async () => {
  const layer = nn.batchNorm(2, { epsilon: 0, axis: 1 });
  const params = { scale: tensor([1, 2]), bias: tensor([0, 5]) };
  const state = { mean: tensor([1, 2]), variance: tensor([4, 9]) };
  const [y, after] = layer.apply(params, state, tensor([[[3, 5], [5, 8]]]));
  await assertValues(y, [[[1, 2], [7, 9]]], 1e-6);
  assertStrictEquals(after.mean, state.mean);
});

Deno.test("batchNorm() names itself in errors", () => {
  const layer = nn.batchNorm(2), params = layer.init(key()), state = layer.initState();
  assertThrows(
    () => layer.apply(params, state, ones([4, 3])),
    TypeError,
    "Cannot apply batchNorm(2)",
  );
  assertThrows(
    () => layer.apply(params, null, ones([4, 2])),
    TypeError,
    "its state mean is undefined",
  );
  assertThrows(
    () => layer.apply(params, state, ones([1, 2]), { train: true }),
    TypeError,
    "more than one value per feature",
  );
  assertThrows(() => nn.batchNorm(2, { momentum: 2 }), RangeError, "momentum is 2");
});

Deno.test("sequential() applies one after the other, functions too, with a key for each", async () => {
  const model = nn.sequential([nn.linear(2, 2), nn.relu, nn.dropout(0.5), nn.dropout(0.5)]);
  const params = model.init(key());
  assertEquals(params.length, 4);
  const identity = [{ weight: tensor([[1, 0], [0, 1]]), bias: zeros([2]) }, null, null, null];
  await assertValues(model.apply(identity, tensor([-1, 2])), [0, 2]);
  // With one key for both dropouts what survives the first would survive the second.
  const wide = nn.sequential([nn.dropout(0.5), nn.dropout(0.5)]);
  const kept = await wide.apply([null, null], ones([4000]), { train: true, key: key() }).data();
  const share = kept.filter((v) => v !== 0).length / 4000;
  assert(Math.abs(share - 0.25) < 0.03, `${share} kept`);
  assertThrows(
    () => model.apply([null], ones([2])),
    TypeError,
    "a list of 1, expected a list of 4",
  );
});

Deno.test("statefulSequential() threads the state of those that have one", async () => {
  const model = nn.statefulSequential([nn.linear(2, 2), nn.batchNorm(2), nn.relu]);
  const params = model.init(key()), state = model.initState();
  const [, after] = model.apply(params, state, tensor([[1, 2], [3, 5]]), { train: true });
  assertEquals(after.map((s) => s === null), [true, false, true]);
  const { mean } = after[1] as { mean: Tensor };
  assertNotEquals(await mean.array(), [0, 0]);
  const [y, same] = model.apply(params, after, tensor([[1, 2]]));
  assertEquals(y.shape, [1, 2]);
  assertStrictEquals((same[1] as { mean: Tensor }).mean, mean);
});

Deno.test("mlp() has an activation between layers and none at the end", async () => {
  const model = nn.mlp([1, 1, 1]);
  const params = [{ weight: tensor([[-1]]), bias: zeros([1]) }, {
    weight: tensor([[1]]),
    bias: tensor([-3]),
  }];
  await assertValues(model.apply(params, tensor([[5]])), [[-3]]);
  await assertValues(model.apply(params, tensor([[-5]])), [[2]]);
  assertThrows(() => model.apply([params[0]!], ones([1, 1])), TypeError, "mlp([1, 1, 1])");
  assertThrows(() => nn.mlp([3]), RangeError, "expected at least 2");
  assertThrows(() => nn.mlp([3, 0, 2]), RangeError, "size 1 is 0");
});

Deno.test("mlp() makes different weights from different keys and in different layers", async () => {
  const model = nn.mlp([4, 4, 4, 4]);
  const a = model.init(random.key(1)), b = model.init(random.key(2));
  assertNotEquals(await a[0]!.weight.array(), await b[0]!.weight.array());
  assertNotEquals(await a[0]!.weight.array(), await a[1]!.weight.array());
  assertEquals(await a[0]!.weight.array(), await model.init(random.key(1))[0]!.weight.array());
});

Deno.test("layers refuse options that nobody would read, and epsilons that are none", () => {
  const inner = nn.linear(4, 4), wrong = { wrong: 1 } as never;
  const makers: readonly (() => unknown)[] = [
    () => nn.linear(4, 4, wrong),
    () => nn.embedding(4, 4, wrong),
    () => nn.conv(1, 1, 3, wrong),
    () => nn.convTranspose(1, 1, 3, wrong),
    () => nn.mlp([4, 4], wrong),
    () => nn.layerNorm(4, wrong),
    () => nn.rmsNorm(4, wrong),
    () => nn.batchNorm(4, wrong),
    () => nn.groupNorm(2, 4, wrong),
    () => nn.instanceNorm(4, wrong),
    () => nn.skipInit(inner, wrong),
    () => nn.layerScale(inner, 4, wrong),
    () => nn.fixup([inner], { depth: 1, wrong: 1 } as never),
    () => nn.deepNorm(inner, 4, { depth: 1, wrong: 1 } as never),
    () => nn.lstmCell(4, 4, wrong),
    () => nn.gruCell(4, 4, wrong),
    () => nn.recurrent(nn.gruCell(4, 4), wrong),
    () => nn.multiHeadAttention(4, 2, wrong),
  ];
  for (const make of makers) assertThrows(make, TypeError, "there is an option wrong");
  assertThrows(() => nn.layerNorm(4, 1e-5 as never), TypeError, "the options are 0.00001");
  const text = "1" as never;
  for (const [epsilon, found] of [[-1, "-1"], [NaN, "NaN"], [text, '"1"']] as const) {
    const options = { epsilon };
    for (
      const make of [
        () => nn.layerNorm(4, options),
        () => nn.rmsNorm(4, options),
        () => nn.batchNorm(4, options),
        () => nn.groupNorm(2, 4, options),
        () => nn.instanceNorm(4, options),
        () => nn.deepNorm(inner, 4, { depth: 1, ...options }),
      ]
    ) assertThrows(make, RangeError, `epsilon is ${found}, expected a number >= 0`);
  }
  assertEquals(nn.layerNorm(4, { epsilon: 0 }).name, "layerNorm(4)");
});

Deno.test("layers refuse to be told what no layer listens to", () => {
  const { conv, convTranspose, dropout, embedding, gpt, gruCell, layerNorm, linear, mlp } = nn;
  const key = random.key(1), x = ones([2, 4, 4]), image = ones([2, 5, 5, 4]);
  const sizes = { vocabulary: 4, length: 4, features: 4, layers: 1, heads: 1 };
  const layers: readonly (readonly [nn.Layer | nn.StatefulLayer, Tensor])[] = [
    [linear(4, 4), x],
    [mlp([4, 4]), x],
    [embedding(4, 4), x.cast("i32")],
    [conv(4, 4, 3), image],
    [convTranspose(4, 4, 3), image],
    [layerNorm(4), x],
    [nn.rmsNorm(4), x],
    [nn.groupNorm(2, 4), x],
    [nn.batchNorm(4), x],
    [nn.learnedPositions(4, 4), x],
    [dropout(0.1), x],
    [nn.recurrent(gruCell(4, 4)), x],
    [nn.multiHeadAttention(4, 2), x],
    [nn.sequential([nn.relu, linear(4, 4)]), x],
    [nn.residual(linear(4, 4)), x],
    [gpt(sizes), x.cast("i32").slice(null, null, 0)],
  ];
  for (const [layer, x] of layers) {
    const params = layer.init(key);
    const apply = (options: object) =>
      "initState" in layer
        ? layer.apply(params, layer.initState(), x, options)
        : layer.apply(params, x, options);
    apply({ train: true, key });
    const said = assertThrows(() => apply({ training: true }), TypeError);
    assertMatch(said.message, /^Cannot apply .*: there is an option training, expected train, key/);
    assertThrows(() => apply({ train: 1, key }), TypeError, "train is 1, expected true or false");
  }
});

Deno.test("conv() says so where its size is none", () => {
  for (
    const [size, found] of [[{ height: 3 }, "an object"], ["3", '"3"'], [undefined, "undefined"]]
  ) {
    assertThrows(
      () => nn.conv(1, 1, size as never),
      TypeError,
      `Cannot make conv: the size is ${found}, expected a number or an array of them`,
    );
  }
});

Deno.test("layers around others refuse what is no layer", () => {
  const { relu } = nn;
  for (const [wrong, found] of [[3, "3"], [null, "null"], [relu, "a function"]] as const) {
    const layer = wrong as never;
    const makers: readonly (() => unknown)[] = [
      () => nn.residual(layer),
      () => nn.reZero(layer),
      () => nn.skipInit(layer),
      () => nn.layerScale(layer, 4),
      () => nn.fixup([layer], { depth: 1 }),
      () => nn.deepNorm(layer, 4, { depth: 1 }),
      () => nn.weightNorm(layer),
      () => nn.spectralNorm(layer),
      () => nn.sketchLayer(layer, { keep: 0.5 }),
      () => nn.fixedPointLayer(layer, {}),
    ];
    for (const make of makers) assertThrows(make, TypeError, `the layer is ${found}, expected`);
    assertThrows(() => nn.recurrent(layer), TypeError, `the cell is ${found}, expected`);
  }
  const norm = nn.batchNorm(4);
  assertThrows(() => nn.residual(norm as never), TypeError, "the layer is batchNorm(4), expected");
  assertThrows(() => nn.recurrent(nn.linear(4, 4) as never), TypeError, "Cannot make recurrent");
  assertThrows(() => nn.sequential(undefined as never), TypeError, "the links are undefined");
  assertThrows(() => nn.sequential([relu, 3 as never]), TypeError, "link 1 is 3, expected");
  assertThrows(() => nn.sequential([norm as never]), TypeError, "batchNorm(4) has state");
  assertThrows(() => nn.statefulSequential([null as never]), TypeError, "link 0 is null");
});
