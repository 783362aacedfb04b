import { assert, assertEquals, assertThrows } from "@std/assert";
import { full, ones, tensor } from "../../graph/create.ts";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import * as nn from "../../nn/mod.ts";
import type { Tree } from "../../optim/tree.ts";
import { assertDerivatives } from "../derivatives.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();
const key = () => random.key(1);
const x = () => tensor([[1, -2], [3, 4]]);
const doubling = nn.linear(2, 2, { bias: false, weightInit: nn.identity({ gain: 2 }) });

Deno.test("residual() adds the branch to what it was given", async () => {
  const block = nn.residual(doubling);
  await assertValues(block.apply(block.init(key()), x()), [[3, -6], [9, 12]]);
});

Deno.test("residual() refuses a branch of another shape", () => {
  const block = nn.residual(nn.linear(2, 3));
  assertThrows(
    () => block.apply(block.init(key()), x()),
    TypeError,
    "Cannot apply residual(linear(2, 3)): the branch makes Tensor f32[2,3] of Tensor f32[2,2]",
  );
});

Deno.test("reZero(), skipInit() and layerScale() weigh the branch", async () => {
  const zero = nn.reZero(doubling), own = zero.init(key());
  await assertValues(zero.apply(own, x()), [[1, -2], [3, 4]]);
  await assertValues(zero.apply({ ...own, scale: full([], 3) }, x()), [[7, -14], [21, 28]]);
  const skip = nn.skipInit(doubling, { initial: 0.5 });
  await assertValues(skip.apply(skip.init(key()), x()), [[2, -4], [6, 8]]);
  const wide = nn.layerScale(doubling, 2, { initial: 0.25 }), params = wide.init(key());
  await assertValues(wide.apply(params, x()), [[1.5, -3], [4.5, 6]]);
  const each = { ...params, scale: tensor([0, 1]) };
  await assertValues(wide.apply(each, x()), [[1, -6], [3, 12]]);
  assertThrows(() => wide.apply(each, ones([2, 3])), TypeError, "a last axis of 2");
  assertThrows(() => wide.apply({ scale: each.scale }, x()), TypeError, "without layer");
  assertThrows(() => nn.skipInit(doubling, { initial: NaN }), RangeError, "initial scale is NaN");
});

Deno.test("fixup() is the identity at first, with the depth in its weights", async () => {
  const layer = () => nn.linear(2, 2, { bias: false, weightInit: nn.identity({ gain: 2 }) });
  const block = nn.fixup([layer(), layer(), layer()], { depth: 16 });
  const params = block.init(key());
  await assertValues(block.apply(params, x()), [[1, -2], [3, 4]]);
  // 16^(-1/4) of 2 in the first layers, nothing in the last.
  const weights = params.layers as readonly { weight: Tensor }[];
  await assertValues(weights[1]!.weight, [[1, 0], [0, 1]], 1e-6);
  await assertValues(weights[2]!.weight, [[0, 0], [0, 0]]);
});

Deno.test("fixup() has its biases before layers and activations", async () => {
  const layer = nn.linear(1, 1, { bias: false });
  const block = nn.fixup([layer, layer], { depth: 4 });
  const params = {
    layers: [{ weight: tensor([[2]]) }, { weight: tensor([[-3]]) }],
    before: tensor([10, 20]),
    between: tensor([-25]),
    scale: full([], 0.5),
    after: full([], 100),
  };
  // x = 1: relu((1 + 10)·2 - 25) = 0, (0 + 20)·-3 = -60, 1 - 30 + 100
  await assertValues(block.apply(params, tensor([[1], [4]])), [[71], [69.5]]);
  assertThrows(() => nn.fixup([], { depth: 1 }), RangeError, "there are no layers");
  assertThrows(() => nn.fixup([layer], { depth: 0 }), RangeError, "the depth is 0");
  assertThrows(
    () => block.apply({ ...params, layers: [null] }, tensor([[1]])),
    TypeError,
    "a list of 1, expected a list of 2",
  );
});

Deno.test("deepNorm() normalises c·x + f(x), and scales weights but queries and keys", async () => {
  const block = nn.deepNorm(doubling, 2, { depth: 8, epsilon: 0 });
  const params = block.init(key());
  const { weight } = params.layer as { weight: Tensor };
  const gain = 64 ** -0.25;
  await assertValues(weight, [[2 * gain, 0], [0, 2 * gain]], 1e-6);
  await assertValues(block.apply(params, x()), [[1, -1], [-1, 1]], 1e-5);
  const attention = nn.multiHeadAttention(2, 1, { weightInit: nn.identity(), bias: false });
  const inner = nn.deepNorm(nn.sequential([attention]), 2, { depth: 2 }).init(key());
  const [{ queryKeyValue, output }] = inner.layer as readonly [nn.MultiHeadParams];
  const half = 16 ** -0.25;
  await assertValues(queryKeyValue!.weight, [[1, 0, 1, 0, half, 0], [0, 1, 0, 1, 0, half]], 1e-6);
  await assertValues(output.weight, [[half, 0], [0, half]], 1e-6);
});

Deno.test("wrappers nest, and give parts of a sequence keys of their own", async () => {
  const block = nn.residual(nn.sequential([nn.linear(8, 8), nn.relu, nn.dropout(0.5)]));
  const model = nn.sequential([block, nn.reZero(block)]);
  const params = model.init(key());
  const y = model.apply(params, ones([3, 8]), { train: true, key: random.key(2) });
  assertEquals(y.shape, [3, 8]);
  const other = model.apply(params as Tree, ones([3, 8]), { train: true, key: random.key(3) });
  assert((await y.data()).some((v, i) => i >= 0 && v !== 0));
  assert(`${await y.data()}` !== `${await other.data()}`);
});

Deno.test("wrappers have the right derivatives", async () => {
  const inner = nn.sequential([nn.linear(2, 3), nn.tanh, nn.linear(3, 2)]);
  const blocks = [
    nn.residual(inner),
    nn.skipInit(inner, { initial: 0.5 }),
    nn.layerScale(inner, 2, { initial: 0.5 }),
    nn.fixup([nn.linear(2, 3), nn.linear(3, 2)], { depth: 2, activation: nn.tanh }),
    nn.deepNorm(inner, 2, { depth: 2, epsilon: 1 }),
  ] as nn.Layer[];
  for (const block of blocks) {
    await assertDerivatives((p: Tree, x: Tensor) => block.apply(p, x), [block.init(key()), x()]);
  }
});
