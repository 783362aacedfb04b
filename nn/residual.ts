/**
 * Shortcuts: a layer as a branch beside the identity. They differ in what weighs the branch, and
 * so in how a deep stack of them begins: ReZero, SkipInit and LayerScale begin at or near the
 * identity, Fixup and DeepNorm scale weights by the depth.
 *
 * | wrapper | output | source |
 * |---|---|---|
 * | `residual` | x + f(x) | He et al. 2016 |
 * | `reZero` | x + α·f(x), α = 0 at first | Bachlechner et al. 2020 |
 * | `skipInit` | x + α·f(x), α as chosen | De and Smith 2020 |
 * | `layerScale` | x + λ⊙f(x), λ small at first, one for each feature | Touvron et al. 2021 |
 * | `fixup` | x + α·f(x), biases between its layers | Zhang, Dauphin and Ma 2019 |
 * | `deepNorm` | layerNorm(c·x + f(x)) | Wang et al. 2022 |
 *
 * @module
 */
import { full, zeros, zerosLike } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { foldIn } from "../graph/random.ts";
import { sameShape } from "../graph/shape.ts";
import type { Tensor } from "../graph/tensor.ts";
import { map, named, type Tree, treeOf } from "../optim/tree.ts";
import { type Activation, relu } from "./activations.ts";
import {
  type ApplyOptions,
  expectFeatures,
  expectList,
  expectNumber,
  expectRecord,
  expectSize,
  expectTensors,
  type Layer,
  nameAround,
  withKey,
} from "./layer.ts";
import { layerNorm, type LayerNormParams, type NormalizationOptions } from "./normalization.ts";

/** Parameters of a branch with a weight of its own. */
export type ScaledParams<P extends Tree = Tree> = {
  /** Those of the layer. */
  readonly layer: P;
  /** What the branch is multiplied by: a scalar, or [features]. */
  readonly scale: Tensor;
};

/** The branch's output, if it fits on the shortcut. */
function branch(
  name: string,
  layer: Layer,
  params: Tree,
  x: Tensor,
  options: ApplyOptions | undefined,
): Tensor {
  const y = layer.apply(params, x, options);
  if (sameShape(x.shape, y.shape)) return y;
  throw new TypeError(
    `Cannot apply ${name}: the branch makes ${y} of ${x}, expected the shape it was given`,
  );
}

/**
 * x + f(x). The parameters are those of the layer.
 *
 * @throws {TypeError} If what it goes around is no layer, or has state.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const { linear, relu, residual, sequential } = rg.nn;
 * const block = residual(sequential([linear(8, 32), relu, linear(32, 8)]));
 * const params = block.init(rg.random.key(0));
 * assertEquals(block.apply(params, rg.ones([4, 8])).shape, [4, 8]);
 * ```
 */
export function residual<P extends Tree>(layer: Layer<P>): Layer<P> {
  const name = nameAround("residual", layer);
  return {
    name,
    init: (key) => layer.init(key),
    apply: (params, x, options) => x.add(branch(name, layer, params, x, options)),
  };
}

/** x + scale·f(x), whatever the scale's shape. */
function scaled<P extends Tree>(
  name: string,
  layer: Layer<P>,
  shape: readonly number[],
  initial: number,
): Layer<ScaledParams<P>> {
  return {
    name,
    init: (key) => ({ layer: layer.init(key), scale: full(shape, initial) }),
    apply(params, x, options) {
      const { scale } = expectTensors(name, "parameter", params, { scale: shape });
      const own = expectRecord<"layer", Tree>(name, "parameters", params, ["layer"]);
      if (shape.length > 0) expectFeatures(name, x, shape[0]!);
      return x.add(branch(name, layer, own.layer, x, options).mul(scale));
    },
  };
}

/**
 * x + α·f(x) with one α for the branch, 0 at first: a stack of them begins as the identity, and
 * signals and gradients pass through any depth (Bachlechner et al. 2020).
 *
 * @throws {TypeError} If what it goes around is no layer, or has state.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const { linear, reZero, tanh, sequential } = rg.nn;
 * const block = reZero(sequential([linear(2, 2), tanh]));
 * const params = block.init(rg.random.key(0));
 * assertEquals(await block.apply(params, rg.tensor([1, 2])).array(), [1, 2]);
 * ```
 */
export function reZero<P extends Tree>(layer: Layer<P>): Layer<ScaledParams<P>> {
  return scaled(nameAround("reZero", layer), layer, [], 0);
}

/** Options for {@linkcode skipInit}. */
export interface SkipInitOptions {
  /** α at first; at most 1/√depth, says the paper. @default {0} */
  initial?: number;
}

/**
 * x + α·f(x) with one α for the branch, which makes a branch without normalisation as easy to train
 * as one with it (De and Smith 2020).
 *
 * @throws {RangeError} If `initial` is no finite number.
 * @throws {TypeError} If what it goes around is no layer, or has state.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const { linear, relu, sequential, skipInit } = rg.nn;
 * const depth = 16;
 * const block = skipInit(sequential([relu, linear(8, 8)]), { initial: 1 / Math.sqrt(depth) });
 * ```
 */
export function skipInit<P extends Tree>(
  layer: Layer<P>,
  options: SkipInitOptions = {},
): Layer<ScaledParams<P>> {
  const name = nameAround("skipInit", layer), { initial = 0 } = options;
  checkNames(options, { initial: true }, `make ${name}`);
  expectNumber(name, "the initial scale", initial);
  return scaled(name, layer, [], initial);
}

/** Options for {@linkcode layerScale}. */
export interface LayerScaleOptions {
  /** Every scale at first: the paper's up to 18 layers is .1, to 24 1e-5, beyond 1e-6. @default {1e-5} */
  initial?: number;
}

/**
 * x + λ⊙f(x) with a λ for each feature of the last axis (Touvron et al. 2021).
 *
 * @throws {RangeError} If `features` is not a positive integer, or `initial` no finite number.
 * @throws {TypeError} If what it goes around is no layer, or has state.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const block = rg.nn.layerScale(rg.nn.linear(8, 8), 8, { initial: 0.1 });
 * assertEquals(block.init(rg.random.key(0)).scale.shape, [8]);
 * ```
 */
export function layerScale<P extends Tree>(
  layer: Layer<P>,
  features: number,
  options: LayerScaleOptions = {},
): Layer<ScaledParams<P>> {
  const name = nameAround("layerScale", layer, features), { initial = 1e-5 } = options;
  checkNames(options, { initial: true }, `make ${name}`);
  expectSize(name, "the number of features", features);
  expectNumber(name, "the initial scale", initial);
  return scaled(name, layer, [features], initial);
}

/** Parameters of {@linkcode fixup}. */
export type FixupParams = {
  /** Those of the layers. */
  readonly layers: readonly Tree[];
  /** A scalar added before each layer, 0 at first: [layers]. */
  readonly before: Tensor;
  /** A scalar added before each activation, 0 at first: [layers - 1]. */
  readonly between: Tensor;
  /** Multiplies the branch, 1 at first. */
  readonly scale: Tensor;
  /** Added to the branch, 0 at first. */
  readonly after: Tensor;
};

/** Options for {@linkcode fixup}. */
export interface FixupOptions {
  /** How many such branches the network has, one after the other. */
  depth: number;
  /** Between the layers of the branch. @default {relu} */
  activation?: Activation;
}

/**
 * x + α·f(x) + b for a branch of layers with activations between them, which trains as deep as one
 * wants without normalisation (Zhang, Dauphin and Ma 2019): weights of the branch are scaled by
 * depth^(-1/(2m-2)) for m layers, the last layer is zero at first, and scalar biases stand before
 * every layer and activation. Layers should have no biases of their own. The paper also begins the
 * network's last layer at zero.
 *
 * @throws {RangeError} If there are no layers, or `depth` is not a positive integer.
 * @throws {TypeError} If what it goes around is no layer, or has state.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const layer = () => rg.nn.linear(2, 2, { bias: false, weightInit: rg.nn.heNormal });
 * const block = rg.nn.fixup([layer(), layer()], { depth: 20 });
 * const params = block.init(rg.random.key(0));
 * assertEquals(await block.apply(params, rg.tensor([1, 2])).array(), [1, 2]);
 * ```
 */
export function fixup(
  layers: readonly Layer[],
  options: FixupOptions,
): Layer<FixupParams> {
  layers.forEach((layer) => nameAround("fixup", layer));
  const name = `fixup(${layers.map((layer) => layer.name).join(", ")})`;
  checkNames(options, { depth: true, activation: true }, `make ${name}`);
  const { depth, activation = relu } = options;
  const m = layers.length;
  if (m === 0) {
    throw new RangeError(`Cannot make ${name}: there are no layers, expected at least 1`);
  }
  expectSize(name, "the depth", depth);
  const factor = m === 1 ? 1 : depth ** (-1 / (2 * m - 2));
  const inner: Layer = {
    name,
    init: () => null,
    apply(params, x, options) {
      const own = params as FixupParams;
      const lists = expectList(name, "layers", own.layers, m);
      layers.forEach((layer, i) => {
        if (i > 0) x = activation(x.add(own.between.slice(i - 1)));
        x = layer.apply(lists[i]!, x.add(own.before.slice(i)), withKey(options, i));
      });
      return x;
    },
  };
  return {
    name,
    init: (key) => ({
      layers: layers.map((layer, i) => {
        const params = layer.init(foldIn(key, i));
        if (i === m - 1) return map((p) => zerosLike(p), params);
        return map((p) => p.rank > 1 ? p.mul(factor) : p, params);
      }),
      before: zeros([m]),
      between: zeros([m - 1]),
      scale: full([], 1),
      after: full([], 0),
    }),
    apply(params, x, options) {
      expectRecord(name, "parameters", params, ["layers"]);
      const { scale, after } = expectTensors(name, "parameter", params, {
        before: [m],
        between: [m - 1],
        scale: [],
        after: [],
      });
      return x.add(branch(name, inner, params, x, options).mul(scale)).add(after);
    },
  };
}

/** Parameters of {@linkcode deepNorm}. */
export type DeepNormParams<P extends Tree = Tree> = {
  /** Those of the branch. */
  readonly layer: P;
  /** Those of the normalisation. */
  readonly norm: LayerNormParams;
};

/** Options for {@linkcode deepNorm}. */
export interface DeepNormOptions extends NormalizationOptions {
  /** How many blocks (of an attention and a feed-forward branch each) the network has. */
  depth: number;
}

/**
 * layerNorm(c·x + f(x)) with c = (2·depth)^¼, for stacks of a thousand layers (Wang et al. 2022,
 * DeepNet, encoder or decoder alone). Weights of the branch are scaled by (8·depth)^-¼ at first,
 * but for the queries' and keys' parts of attentions, which the paper leaves as they are.
 *
 * @throws {RangeError} If `features` or `depth` is not a positive integer.
 * @throws {TypeError} If what it goes around is no layer, or has state.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const { deepNorm, multiHeadAttention } = rg.nn;
 * const block = deepNorm(multiHeadAttention(16, 4), 16, { depth: 100 });
 * const params = block.init(rg.random.key(0));
 * assertEquals(block.apply(params, rg.ones([2, 5, 16])).shape, [2, 5, 16]);
 * ```
 */
export function deepNorm<P extends Tree>(
  layer: Layer<P>,
  features: number,
  options: DeepNormOptions,
): Layer<DeepNormParams<P>> {
  const name = nameAround("deepNorm", layer, features);
  checkNames(options, { depth: true, epsilon: true }, `make ${name}`);
  const { depth, ...normalization } = options;
  expectSize(name, "the number of features", features);
  expectSize(name, "the depth", depth);
  const norm = layerNorm(features, normalization);
  const shortcut = (2 * depth) ** 0.25, gain = (8 * depth) ** -0.25;
  return {
    name,
    init: (key) => ({
      layer: scaleBranch(layer.init(foldIn(key, 0)), gain),
      norm: norm.init(foldIn(key, 1)),
    }),
    apply(params, x, options) {
      const own = expectRecord<"layer" | "norm", Tree>(name, "parameters", params, [
        "layer",
        "norm",
      ]);
      const y = branch(name, layer, own.layer, x, options);
      return norm.apply(own.norm, x.mul(shortcut).add(y));
    },
  };
}

/** How many parts side by side a fused projection of an attention has, the last being values. */
const fused: { readonly [name: string]: number } = { query: 0, queryKeyValue: 3, keyValue: 2 };

/** Weights of a branch times a gain; queries and keys stay, since they only choose. */
function scaleBranch<P extends Tree>(params: P, gain: number): P {
  const { leaves, paths, structure } = named(params, "params");
  const scaled = leaves.map((p, i) => {
    if (p.rank < 2) return p;
    const parts = fused[paths[i]!.split(".").at(-2) ?? ""];
    if (parts === undefined) return p.mul(gain);
    if (parts === 0) return p;
    const all = p.shape.at(-1)!, kept = all - all / parts;
    const factor = full([kept], 1).pad([[0, all - kept]], gain);
    return p.mul(factor);
  });
  return treeOf(structure, scaled) as P;
}
