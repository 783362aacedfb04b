/**
 * Normalisations of weights instead of activations, around any layer: weight norm (Salimans and
 * Kingma 2016) learns a weight's direction and lengths apart, spectral norm (Miyato et al. 2018)
 * divides it by its largest singular value. Which parameters are weights is a predicate: by default
 * those of more than one axis, whose last axis makes the units.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { foldIn, key as keyOf } from "../graph/random.ts";
import type { Tensor } from "../graph/tensor.ts";
import { rootOf, squares } from "../optim/clip.ts";
import { type Applies, named, type Tree, treeOf } from "../optim/tree.ts";
import { spectralNorm as powerIteration, type SpectralState } from "../optim/weights.ts";
import { expectList, expectRecord, type Layer, nameAround, type StatefulLayer } from "./layer.ts";

/** Which parameters are normalised. */
export interface WeightOptions {
  /** By the parameter and its path, `0.weight`. @default {those of more than one axis} */
  applies?: Applies;
}

const isWeight: Applies = (parameter) => parameter.rank > 1;

/** The tree with those leaves that are weights replaced by `f` of them and their number. */
function mapWeights(
  tree: Tree,
  applies: Applies,
  f: (weight: Tensor, i: number) => Tensor,
): Tree {
  const { leaves, paths, structure } = named(tree, "params");
  let count = 0;
  return treeOf(structure, leaves.map((p, i) => applies(p, paths[i]!) ? f(p, count++) : p));
}

/** Parameters of {@linkcode weightNorm}. */
export type WeightNormParams<P extends Tree = Tree> = {
  /** The layer's own, in whose place weights of unit length stand. */
  readonly direction: P;
  /** The length of every unit of every weight: [1, …, outputs] each. */
  readonly length: readonly Tensor[];
};

/**
 * The layer with each weight as length · v / ‖v‖, one length for each of its outputs (Salimans and
 * Kingma 2016). At first it computes what the layer does.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.weightNorm(rg.nn.linear(3, 2));
 * const params = layer.init(rg.random.key(0));
 * assertEquals(params.length[0]!.shape, [1, 2]);
 * assertEquals(layer.apply(params, rg.ones([5, 3])).shape, [5, 2]);
 * ```
 */
export function weightNorm<P extends Tree>(
  layer: Layer<P>,
  options: WeightOptions = {},
): Layer<WeightNormParams<P>> {
  const name = nameAround("weightNorm", layer);
  checkNames(options, { applies: true }, `make ${name}`);
  const { applies = isWeight } = options;
  const norm = (weight: Tensor) => rootOf(squares(weight, -1)).cast(weight.dtype);
  return {
    name,
    init(key) {
      const direction = layer.init(key), length: Tensor[] = [];
      mapWeights(direction, applies, (v) => (length.push(norm(v)), v));
      return { direction, length };
    },
    apply(params, x, options) {
      const own = expectRecord<"direction" | "length", Tree>(name, "parameters", params, [
        "direction",
        "length",
      ]);
      const lengths = own.length as readonly Tensor[];
      let count = 0;
      const weights = mapWeights(own.direction, applies, (v, i) => {
        count++;
        const length = Array.isArray(lengths) ? lengths[i] : undefined;
        if (length?.shape.at(-1) !== v.shape.at(-1)) {
          throw new TypeError(
            `Cannot apply ${name}: the length of ${v} is ${length}, expected one for each output`,
          );
        }
        return v.mul(length!.div(norm(v)));
      });
      expectList(name, "lengths", lengths, count);
      return layer.apply(weights, x, options);
    },
  };
}

/** Options for {@linkcode spectralNorm}. */
export interface SpectralNormOptions extends WeightOptions {
  /** Power iterations in each application while training. @default {1} */
  iterations?: number;
}

/**
 * The layer with each weight divided by its largest singular value, so that a linear layer's
 * Lipschitz constant is 1 (Miyato et al. 2018). The state is a guess at the singular vectors, which
 * a power iteration improves whenever it is applied while training.
 *
 * @throws {RangeError} If `iterations` is not a positive integer.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.spectralNorm(rg.nn.linear(3, 2));
 * const params = layer.init(rg.random.key(0));
 * const [y, state] = layer.apply(params, layer.initState(), rg.ones([5, 3]), { train: true });
 * assertEquals(y.shape, [5, 2]);
 * assertEquals(state.length, 1);
 * ```
 */
export function spectralNorm<P extends Tree>(
  layer: Layer<P>,
  options: SpectralNormOptions = {},
): StatefulLayer<P, readonly SpectralState[]> {
  const name = nameAround("spectralNorm", layer);
  checkNames(options, { applies: true, iterations: true }, `make ${name}`);
  const { applies = isWeight, iterations = 1 } = options;
  const power = powerIteration({ iterations });
  return {
    name,
    init: (key) => layer.init(key),
    initState() {
      // Only the shapes of these weights are used: their values are never computed.
      const key = keyOf(0), states: SpectralState[] = [];
      mapWeights(layer.init(key), applies, (weight, i) => {
        states.push(power.init(foldIn(key, i), weight));
        return weight;
      });
      return states;
    },
    apply(params, state, x, options = {}) {
      const before = state as readonly SpectralState[], after: SpectralState[] = [];
      const weights = mapWeights(params, applies, (weight, i) => {
        const own = expectRecord<"vector", Tensor>(
          name,
          `state of weight ${i}`,
          Array.isArray(before) ? before[i] ?? null : null,
          ["vector"],
        );
        const [normalized, next] = power.normalize(weight, own);
        after.push(options.train === true ? next : own);
        return normalized;
      });
      return [layer.apply(weights, x, options), after];
    },
  };
}
