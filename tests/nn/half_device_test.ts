/**
 * Layers in f16, storage and arithmetic, beside itself in f32: values and gradients differ by
 * the rounding of 11 bits, also where squares or sums on the way are beyond f16.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { full, tensor } from "../../graph/create.ts";
import { concatenate } from "../../graph/operations.ts";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { valueAndGrad } from "../../graph/transforms.ts";
import * as nn from "../../nn/mod.ts";
import { leaves, map, type Tree } from "../../optim/tree.ts";
import { compile } from "../../runtime/compile.ts";
import { deviceInfo } from "../../runtime/init.ts";
import { gpu } from "../gpu.ts";
import { sequence } from "../graph/host.ts";

const uniform = sequence(7);
/** Numbers made here: a kernel for each shape of random ones would be most of the test's time. */
function drawn(...shape: number[]): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(Float32Array.from({ length: size }, () => 4 * uniform() - 2), { shape });
}
const ids = (count: number, ...shape: number[]) =>
  drawn(...shape).add(2).mul(count / 4).cast("i32");
const half = <T extends Tree>(tree: T): T =>
  map((x) => x.dtype === "f32" ? x.cast("f16") : x, tree) as T;
const single = <T extends Tree>(tree: T): T =>
  map((x) => x.dtype === "f16" ? x.cast("f32") : x, tree) as T;

/** Layers, and inputs for them. */
const layers: readonly (readonly [nn.Layer | nn.StatefulLayer, () => Tensor])[] = [
  // A sum of more than 1024 products is cut into pieces.
  [nn.linear(1500, 30), () => drawn(7, 1500)],
  // Squares of what is over 255 are infinite in f16.
  [nn.layerNorm(300), () => drawn(5, 300).mul(500).add(70)],
  [nn.rmsNorm(300), () => drawn(5, 300).mul(500)],
  [nn.groupNorm(2, 6), () => drawn(2, 5, 5, 6).mul(500)],
  [nn.batchNorm(6), () => drawn(40, 6).mul(500).add(70)],
  [nn.conv(3, 5, 3), () => drawn(2, 7, 7, 3)],
  [nn.convTranspose(3, 5, 3, { stride: 2 }), () => drawn(2, 5, 5, 3)],
  [
    nn.sequential([nn.conv(3, 4, 3), nn.maxPool(2), nn.averagePool(2), nn.globalAveragePool]),
    () => drawn(2, 8, 8, 3),
  ],
  [nn.multiHeadAttention(16, 4), () => drawn(2, 9, 16)],
  [nn.gpt({ vocabulary: 9, length: 8, features: 16, layers: 1, heads: 2 }), () => ids(9, 2, 8)],
  [nn.recurrent(nn.lstmCell(5, 7)), () => drawn(2, 6, 5)],
  [nn.recurrent(nn.gruCell(5, 7)), () => drawn(2, 6, 5)],
  [nn.resnet({ classes: 4, channels: [4], blocks: 1 }), () => drawn(2, 8, 8, 3)],
];

const key = random.key(5);

function applied(layer: nn.Layer | nn.StatefulLayer, params: Tree, x: Tensor): Tensor {
  const options = { train: true, key };
  return "initState" in layer
    ? layer.apply(params, layer.initState(), x, options)[0]
    : layer.apply(params, x, options);
}

/** The largest distance, as a part of the largest value. */
async function distance(a: Tensor, b: Tensor): Promise<number> {
  const [x, y] = [await a.data(), await b.data()];
  let apart = 0, largest = 0;
  for (let i = 0; i < x.length; i++) {
    largest = Math.max(largest, Math.abs(y[i]!));
    apart = Math.max(apart, Number.isFinite(x[i]!) ? Math.abs(x[i]! - y[i]!) : Infinity);
  }
  return apart / (largest || 1);
}

for (const [layer, input] of layers) {
  Deno.test(`${layer.name} in f16 is what it is in f32, within its digits`, async () => {
    await gpu();
    if (!deviceInfo().features.includes("shader-f16")) return;
    const run = (cast: (tree: Tree) => Tree) =>
      compile((params: Tree, x: Tensor, weights: Tensor) =>
        valueAndGrad((params: Tree) => {
          const given = cast(params), seen = cast(x) as Tensor;
          const y = applied(layer, given, seen);
          return [y.cast("f32").mul(weights).mean(), y] as const;
        }, { hasAux: true })(params)
      );
    // Of fresh parameters the shapes alone are used.
    const params = map((p) => drawn(...p.shape).div(2 * Math.sqrt(p.shape[0]!)), layer.init(key));
    const x = input(), weights = drawn(...applied(layer, params, x).shape);
    const given = single(half([params, x])) as [Tree, Tensor];
    const [[, wide], wideSlopes] = run((tree) => tree)(...given, weights);
    const [[, narrow], slopes] = run(half)(...given, weights);
    assertEquals([wide!.dtype, narrow!.dtype], ["f32", "f16"]);
    const apart = await distance(narrow!, wide!);
    assert(apart < 2 ** -9, `values are ${apart} apart`);
    const [a, b] = [leaves(slopes), leaves(wideSlopes)];
    for (let i = 0; i < a.length; i++) {
      const apart = await distance(a[i]!, b[i]!);
      assert(apart < 2 ** -7, `gradient ${i} is ${apart} away`);
    }
  });
}

for (const memory of ["full", "lean"] as const) {
  Deno.test(`${memory} attention in f16 has scores beyond f16`, async () => {
    await gpu();
    if (!deviceInfo().features.includes("shader-f16")) return;
    // One feature adds 80 000 to all scores, which softmax does not see.
    const raised = (by: number) =>
      concatenate([full([2, 5, 1], by), drawn(2, 5, 7)], -1).cast("f16");
    const given = [raised(2000), raised(40), drawn(2, 5, 3).cast("f16")];
    const weights = drawn(2, 5, 3);
    const run = compile((given: Tensor[]) =>
      valueAndGrad(([q, k, v]: Tensor[]) => {
        const y = nn.dotProductAttention(q!, k!, v!, { scale: 1, causal: true, memory });
        return [y.cast("f32").mul(weights).sum(), y] as const;
      }, { hasAux: true })(given)
    );
    const [[, narrow], slopes] = run(given), [[, wide], wideSlopes] = run(single(given));
    assert(await distance(narrow!, wide!) < 2 ** -9);
    for (let i = 0; i < 3; i++) {
      // The slope of what raises the queries is 40 times a sum that is zero but for its rounding.
      const [own, other] = [slopes[i]!, wideSlopes[i]!].map((x) =>
        i === 0 ? x.split([1, 7], -1)[1]! : x
      );
      const apart = await distance(own!, other!);
      assert(apart < 2 ** -7, `gradient ${i} is ${apart} away`);
    }
  });
}
