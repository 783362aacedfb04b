import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { ones, tensor } from "../../graph/create.ts";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import * as nn from "../../nn/mod.ts";
import { leaves, type Tree } from "../../optim/tree.ts";
import { assertDerivatives } from "../derivatives.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

type Image = number[][][];

/** A convolution of 3×3 that keeps the size, by the definition. */
function reference(x: Image, w: number[][][][], b: number[]): Image {
  return x.map((row, i) =>
    row.map((_, j) =>
      b.map((bias, o) => {
        let sum = bias;
        for (let u = 0; u < 3; u++) {
          for (let v = 0; v < 3; v++) {
            const pixel = x[i + u - 1]?.[j + v - 1];
            pixel?.forEach((value, c) => sum += value * w[u]![v]![c]![o]!);
          }
        }
        return sum;
      })
    )
  );
}

Deno.test("conv() is a convolution and a bias", async () => {
  const layer = nn.conv(2, 3, 3), x = random.normal(random.key(1), [2, 4, 5, 2]);
  const params = { ...layer.init(random.key(2)), bias: tensor([1, 2, 3]) };
  const w = await params.weight.array() as number[][][][];
  const images = await x.array() as Image[];
  await assertValues(layer.apply(params, x), images.map((i) => reference(i, w, [1, 2, 3])), 1e-5);
});

Deno.test("conv() takes strides, groups, any number of spatial axes, and no bias", () => {
  const shape = (layer: nn.Layer, input: number[]) =>
    layer.apply(layer.init(random.key(0)), ones(input)).shape;
  assertEquals(shape(nn.conv(4, 8, 3, { stride: 2 }), [1, 7, 8, 4]), [1, 4, 4, 8]);
  assertEquals(shape(nn.conv(4, 8, [5], { padding: "valid", groups: 4 }), [2, 9, 4]), [2, 5, 8]);
  assertEquals(shape(nn.conv(1, 2, [2, 2, 2], { padding: "valid" }), [1, 3, 3, 3, 1]), [
    1,
    2,
    2,
    2,
    2,
  ]);
  assertEquals(shape(nn.convTranspose(4, 6, 4, { stride: 2 }), [1, 3, 5, 4]), [1, 6, 10, 6]);
  const grouped = nn.convTranspose(4, 6, 3, { groups: 2, bias: false });
  assertEquals(Object.keys(grouped.init(random.key(0))), ["weight"]);
  assertEquals(shape(grouped, [1, 3, 3, 4]), [1, 3, 3, 6]);
});

Deno.test("convTranspose() is the transpose of conv()", async () => {
  const up = nn.convTranspose(3, 2, 3, { stride: 2, bias: false });
  const down = nn.conv(2, 3, 3, { stride: 2, bias: false });
  const params = up.init(random.key(1));
  const x = random.normal(random.key(2), [1, 3, 3, 3]);
  const large = random.normal(random.key(3), [1, 6, 6, 2]);
  const pulled = grad((y: Tensor) => down.apply(params, y).mul(x).sum())(large);
  await assertValues(up.apply(params, x), await pulled.array(), 1e-5);
});

Deno.test("conv() names itself in errors", () => {
  assertThrows(() => nn.conv(3, 4, 0), RangeError, "Cannot make conv(3, 4, 0×0): the size is 0");
  assertThrows(() => nn.conv(3, 4, []), RangeError, "the size has no axes");
  assertThrows(() => nn.conv(3, 4, 3, { groups: 3 }), RangeError, "3 groups");
  const layer = nn.conv(3, 4, 3), params = layer.init(random.key(0));
  assertThrows(
    () => layer.apply(params, ones([2, 5, 5, 4])),
    TypeError,
    "Cannot apply conv(3, 4, 3×3): the input is Tensor f32[2,5,5,4], expected floats [batch, height, width, 3]",
  );
});

Deno.test("pools and flatten() are links", async () => {
  const x = tensor([[[[1], [2]], [[3], [6]]]]);
  await assertValues(nn.maxPool(2)(x), [[[[6]]]]);
  await assertValues(nn.averagePool(2)(x), [[[[3]]]]);
  await assertValues(nn.globalAveragePool(x), [[3]]);
  assertEquals(nn.flatten(ones([2, 3, 4])).shape, [2, 12]);
  assertEquals(nn.flatten(ones([0, 3])).shape, [0, 3]);
  assertThrows(() => nn.globalAveragePool(ones([2, 3])), TypeError, "globalAveragePool");
});

Deno.test("residualBlock() is relu(shortcut(x) + f(x)), with running statistics of its own", async () => {
  const block = nn.residualBlock(2, 2), params = block.init(random.key(0));
  assertEquals(Object.keys(params), ["branch"]);
  const x = random.normal(random.key(1), [3, 4, 4, 2]);
  // Without its last scale the branch is nothing.
  const branch = [...params.branch];
  branch[4] = { ...branch[4] as nn.BatchNormParams, scale: tensor([0, 0]) };
  const [y] = block.apply({ branch }, block.initState(), x, { train: true });
  await assertValues(y, await x.relu().array(), 1e-6);
  const wide = nn.residualBlock(2, 4, 2), own = wide.init(random.key(0));
  const [z, state] = wide.apply(own, wide.initState(), x, { train: true });
  assertEquals(z.shape, [3, 2, 2, 4]);
  const moved = leaves(state as Tree)[0]!;
  assertNotEquals(await moved.array(), await leaves(wide.initState() as Tree)[0]!.array());
});

Deno.test("resnet() has the layers of its paper", () => {
  const model = nn.resnet({ classes: 10 }), params = model.init(random.key(0));
  const count = leaves(params).reduce((sum, p) => sum + p.size, 0);
  // ResNet-20 of He et al. has .27 M; ours has projections where resolutions change.
  const projections = 16 * 32 + 32 * 64 + 2 * (32 + 64);
  assertEquals(count, 269_722 + projections);
  const weights = leaves(params).filter(({ rank }) => rank > 1).length;
  assertEquals(weights, 20 + 2);
  const [y, state] = model.apply(params, model.initState(), ones([2, 8, 8, 3]), { train: true });
  assertEquals(y.shape, [2, 10]);
  assertEquals(state.length, params.length);
  assertThrows(() => nn.resnet({ classes: 10, channels: [] }), RangeError, "there are no stages");
});

Deno.test("a small resnet has the right derivatives", async () => {
  const model = nn.resnet({ inputs: 1, classes: 2, channels: [2, 3], blocks: 1 });
  const params = model.init(random.key(3)), state = model.initState();
  const x = random.normal(random.key(4), [3, 4, 4, 1]);
  const f = (p: Tree, x: Tensor) => model.apply(p, state, x, { train: true })[0];
  await assertDerivatives(f, [params, x]);
  assert(model.stages!(params, state).length === 7);
});
