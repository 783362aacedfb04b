/**
 * Layers that hold sketches, and the ReLU that holds bits: what is exact, and the bytes that wait for
 * the way back against the formula of Oktay et al. 2020.
 */
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import { firstDifference, gpu } from "../gpu.ts";

const { averagePool, conv, crossEntropy, flatten, leanRelu, linear, sequential, sketchLayer } =
  rg.nn;

Deno.test("leanRelu() has the value and the gradients of relu, to the bit", async () => {
  await gpu();
  for (const shape of [[0], [1], [31], [5, 13], [2, 3, 32]]) {
    const x = rg.random.normal(rg.random.key(shape.length), shape);
    const g = rg.random.normal(rg.random.key(9), shape);
    const both = (f: (x: rg.Tensor) => rg.Tensor): rg.Tensor[] => {
      const [y, pull] = rg.vjp(f, x);
      return [y, pull(g)[0], rg.jvp(f, [x], [g])[1]];
    };
    const wanted = await rg.readAll(both((x) => x.relu())),
      found = await rg.readAll(both(leanRelu));
    wanted.forEach((values, i) => assertEquals(firstDifference(found[i]!, values), undefined));
  }
  const x = rg.tensor([NaN, -0, 0, Infinity, -Infinity, 1e-38]);
  const [plain, lean] = [(x: rg.Tensor) => x.relu(), leanRelu].map((f) =>
    rg.grad((x: rg.Tensor) => f(x).mul(3).sum())(x)
  );
  assertEquals([...await lean!.data()], [...await plain!.data()]);
});

/** Bytes of what is held, from the lines that say so. */
function bytesHeld(explained: string): number {
  return [...explained.matchAll(/^ {2}(.*): (f32|u32)\[([\d,]+)\](?:, (\d+) times)?$/gm)]
    .reduce(
      (sum, [, , , shape, times]) =>
        sum + 4 * shape!.split(",").map(Number).reduce((a, b) => a * b) * Number(times ?? 1),
      0,
    );
}

Deno.test("what a sketched net holds is what the formula says", async () => {
  await gpu();
  const batch = 150, sizes = [784, 300, 300, 300, 10];
  for (const keep of [0.5, 0.1]) {
    const links = sizes.slice(1).flatMap((n, i) => [
      sketchLayer(linear(sizes[i]!, n), { keep }),
      ...i < 3 ? [leanRelu] : [],
    ]);
    const model = sequential(links);
    const step = rg.compile((params: rg.Tree, x: rg.Tensor, y: rg.Tensor, key: rg.Tensor) =>
      rg.valueAndGrad((params: rg.Tree) =>
        crossEntropy(model.apply(params, x, { train: true, key }), y)
      )(params)
    );
    const params = model.init(rg.random.key(1));
    step(params, rg.ones([batch, 784]), rg.zeros([batch], { dtype: "i32" }), rg.random.key(2));
    const explained = step.explain();
    const inputs = sizes.slice(0, -1).reduce((a, b) => a + b);
    assertAlmostEquals(
      bytesHeld(explained) / (4 * batch * keep * inputs + batch * 900 / 8),
      1,
      0.05,
    );
    const [, predicted, counted] = /peak +(\d+) +(\d+)/.exec(explained)!;
    assertEquals(predicted, counted);
  }
});

Deno.test("what a sketched convolutional net holds is what the formula says", async () => {
  await gpu();
  // The paper's, for 32 x 32 x 3: ReLU after pooling, which as a mean holds nothing itself.
  const batch = 2, inputs = 37_888, masks = 34_816, parameters = 85_802;
  const pool = averagePool(2), convolve = (from: number, to: number) => conv(from, to, 5);
  for (const keep of [0.5, 0.1]) {
    const settings = { keep, shared: false };
    const model = sequential([
      sketchLayer(convolve(3, 16), settings),
      leanRelu,
      sketchLayer(convolve(16, 32), settings),
      pool,
      leanRelu,
      sketchLayer(convolve(32, 32), settings),
      leanRelu,
      sketchLayer(convolve(32, 32), settings),
      pool,
      leanRelu,
      flatten,
      sketchLayer(linear(2048, 10), settings),
    ]);
    const params = model.init(rg.random.key(1));
    const sizes = [...parametersOf(params)];
    assertEquals(sizes.reduce((sum, { size }) => sum + size, 0), parameters);
    const step = rg.compile((params: rg.Tree, x: rg.Tensor, y: rg.Tensor, key: rg.Tensor) =>
      rg.valueAndGrad((params: rg.Tree) =>
        crossEntropy(model.apply(params, x, { train: true, key }), y)
      )(params)
    );
    const y = rg.zeros([batch], { dtype: "i32" });
    step(params, rg.ones([batch, 32, 32, 3]), y, rg.random.key(2));
    const explained = step.explain(), wanted = 4 * batch * keep * inputs + batch * masks / 8;
    assertAlmostEquals(bytesHeld(explained) / wanted, 1, 0.05);
    const [, predicted, counted] = /peak +(\d+) +(\d+)/.exec(explained)!;
    assertEquals(predicted, counted);
    // At the paper's batch, parameters and logits included, in MB: 12.37 and 3.28.
    const all = 4 * parameters + bytesHeld(explained) / batch * 150 + 4 * 150 * 10;
    assertAlmostEquals(all / 1e6 / (keep === 0.5 ? 12.37 : 3.28), 1, 0.05);
  }
});

/** The tensors of a tree. */
function* parametersOf(tree: rg.Tree): Generator<rg.Tensor> {
  if (tree instanceof rg.Tensor) yield tree;
  else for (const part of Object.values(tree ?? {})) yield* parametersOf(part as rg.Tree);
}

Deno.test("sketchLayer() is the layer, but for the gradient of its parameters while training", async () => {
  await gpu();
  const inner = conv(2, 3, 3), x = rg.random.normal(rg.random.key(1), [4, 5, 5, 2]);
  const model = sequential([sketchLayer(inner, { keep: 0.3 }), leanRelu, flatten]);
  const plain = sequential([inner, rg.nn.relu, flatten]);
  const params = model.init(rg.random.key(2)), train = { train: true, key: rg.random.key(3) };
  const loss = (model: rg.nn.Layer<readonly rg.Tree[]>, options: rg.nn.ApplyOptions) =>
    rg.valueAndGrad(
      (params: rg.Tree, x: rg.Tensor) => model.apply(params, x, options).square().mean(),
      { argnums: [0, 1] },
    )(params, x);
  const [value, [, dx]] = loss(plain, train), [v, [, gx]] = loss(model, train);
  assertEquals(firstDifference(await v.data(), await value.data()), undefined);
  assertEquals(firstDifference(await gx.data(), await dx.data()), undefined);
  const [, [exact]] = loss(plain, {}), [, [same]] = loss(model, {});
  const weight = (tree: rg.Tree): rg.Tensor => (tree as { weight: rg.Tensor }[])[0]!.weight;
  assertEquals(firstDifference(await weight(same).data(), await weight(exact).data()), undefined);
});

Deno.test("sketchLayer() refuses what it can't sketch", async () => {
  await gpu();
  assertThrows(
    () => sketchLayer(linear(2, 2), { keep: 2 }),
    RangeError,
    "Cannot sketch linear(2, 2)",
  );
  const layer = sketchLayer(linear(2, 2), { keep: 0.5 }), params = layer.init(rg.random.key(0));
  assertThrows(
    () => layer.apply(params, rg.ones([1, 2]), { train: true }),
    TypeError,
    "there is no key, expected one while training",
  );
  const whole = sketchLayer(rg.nn.mlp([2, 3, 2]), { keep: 0.5 });
  const error = assertThrows(() =>
    whole.apply(whole.init(rg.random.key(0)), rg.ones([1, 2]), {
      train: true,
      key: rg.random.key(1),
    }), TypeError);
  assert(error.message.includes("Cannot sketch mlp([2, 3, 2])"), error.message);
});
