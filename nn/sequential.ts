/**
 * Layers one after the other, and the multilayer perceptron made of them.
 *
 * @module
 */
import { checkNames, describe } from "../graph/describe.ts";
import { foldIn } from "../graph/random.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Tree } from "../optim/tree.ts";
import { type Activation, relu } from "./activations.ts";
import { heNormal, type Initializer, lecunNormal } from "./initializers.ts";
import {
  checkApply,
  expectList,
  expectSize,
  isLayer,
  type Layer,
  type Stage,
  stagesOf,
} from "./layer.ts";
import { type StatefulLayer, withKey } from "./layer.ts";
import { linear, type LinearParams } from "./linear.ts";

/** One link of {@linkcode sequential}: a layer, or a function without parameters. */
export type Link = Layer | Activation;

/** One link of {@linkcode statefulSequential}. */
export type StatefulLink = Link | StatefulLayer;

/**
 * Layers and functions one after the other. Parameters are a list with one entry for each link,
 * null for functions; each layer gets a key of its own.
 *
 * @throws {TypeError} If a link is neither a layer nor a function, or has state.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const { linear, relu, dropout, sequential } = rg.nn;
 * const model = sequential([linear(8, 16), relu, dropout(0.1), linear(16, 2)]);
 * const params = model.init(rg.random.key(0));
 * assertEquals(model.apply(params, rg.ones([5, 8])).shape, [5, 2]);
 * ```
 */
export function sequential(links: readonly Link[]): Layer<readonly Tree[]> {
  checkLinks("sequential", links);
  const stateful = links.find((link) => typeof link === "object" && "initState" in link);
  if (stateful !== undefined) {
    throw new TypeError(
      `Cannot make sequential: ${stateful.name} has state, expected statefulSequential()`,
    );
  }
  const { name, init, apply, stages } = statefulSequential(links);
  const none = links.map(() => null);
  return {
    name,
    init,
    apply: (params, x, options) => apply(params, none, x, options)[0],
    stages: (params) => stages!(params, none),
  };
}

/**
 * {@linkcode sequential} for links with state, such as `batchNorm`: the state is a list too, with
 * null for links without.
 *
 * @throws {TypeError} If a link is neither a layer nor a function.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const { batchNorm, linear, relu, statefulSequential } = rg.nn;
 * const model = statefulSequential([linear(8, 16), batchNorm(16), relu, linear(16, 2)]);
 * const params = model.init(rg.random.key(0));
 * const [y, state] = model.apply(params, model.initState(), rg.ones([5, 8]), { train: true });
 * assertEquals(y.shape, [5, 2]);
 * assertEquals(state.length, 4);
 * ```
 */
export function statefulSequential(
  links: readonly StatefulLink[],
): StatefulLayer<readonly Tree[], readonly Tree[]> {
  checkLinks("statefulSequential", links);
  const name = `sequential(${links.map((link) => link.name || "function").join(", ")})`;
  return {
    name,
    init: (key) =>
      links.map((link, i) => typeof link === "function" ? null : link.init(foldIn(key, i))),
    initState: () => links.map((link) => isStateful(link) ? link.initState() : null),
    apply(params, state, x, options = {}) {
      const own = expectList(name, "parameters", params, links.length);
      const before = expectList(name, "state", state, links.length);
      const after: Tree[] = [];
      links.forEach((link, i) => {
        const mine = withKey(options, i);
        let next: Tree = null;
        if (typeof link === "function") x = link(x);
        else if (isStateful(link)) [x, next] = link.apply(own[i]!, before[i]!, x, mine);
        else x = link.apply(own[i]!, x, mine);
        after.push(next);
      });
      return [x, after];
    },
    stages(params, state) {
      const own = expectList(name, "parameters", params, links.length);
      const before = expectList(name, "state", state, links.length);
      return links.flatMap((link, i): readonly Stage[] =>
        typeof link === "function"
          ? [{ name: link.name || "function", path: "", apply: (x) => link(x) }]
          : stagesOf(link, own[i]!, before[i]!, String(i))
      );
    },
  };
}

/** Throws unless these are layers and functions. */
function checkLinks(action: string, links: readonly StatefulLink[]): void {
  const fail = (what: string, value: unknown, expected: string): never => {
    throw new TypeError(
      `Cannot make ${action}: ${what} ${describe(value)}, expected ${expected}`,
    );
  };
  if (!Array.isArray(links)) fail("the links are", links, "a list of layers and functions");
  links.forEach((link, i) =>
    typeof link === "function" || isLayer(link) ||
    fail(`link ${i} is`, link, "a layer or a function")
  );
}

function isStateful(link: StatefulLink): link is StatefulLayer {
  return typeof link === "object" && "initState" in link;
}

/** Options for {@linkcode mlp}. */
export interface MlpOptions {
  /** Between the layers, not after the last. @default {relu} */
  activation?: Activation;
  /** Whether the layers have biases. @default {true} */
  bias?: boolean;
  /** Makes the weights, but for the last layer's. @default {heNormal} */
  weightInit?: Initializer;
}

/** Parameters of {@linkcode mlp}. */
export type MlpParams = readonly LinearParams[];

/**
 * A multilayer perceptron: linear layers with an activation between them.
 *
 * @param sizes Inputs, hidden layers, outputs: at least two numbers.
 * @param options Activation, biases, initialisation.
 *
 * @throws {RangeError} If there are fewer than two sizes, or one is not a positive integer.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const model = rg.nn.mlp([784, 512, 10]);
 * const params = model.init(rg.random.key(0));
 * assertEquals(params.length, 2);
 * assertEquals(model.apply(params, rg.ones([128, 784])).shape, [128, 10]);
 * ```
 */
export function mlp(sizes: readonly number[], options: MlpOptions = {}): Layer<MlpParams> {
  if (!Array.isArray(sizes)) {
    throw new TypeError(`Cannot make mlp: the sizes are ${describe(sizes)}, expected a list`);
  }
  const { activation = relu, bias = true, weightInit = heNormal } = options;
  const name = `mlp([${sizes.join(", ")}])`;
  checkNames(options, { activation: true, bias: "flag", weightInit: true }, `make ${name}`);
  if (sizes.length < 2) {
    throw new RangeError(`Cannot make ${name}: sizes are ${sizes.length}, expected at least 2`);
  }
  sizes.forEach((size, i) => expectSize(name, `size ${i}`, size));
  const last = sizes.length - 2;
  const layers = sizes.slice(1).map((outputs, i) =>
    linear(sizes[i]!, outputs, { bias, weightInit: i === last ? lecunNormal : weightInit })
  );
  return {
    name,
    init: (key) => layers.map((layer, i) => layer.init(foldIn(key, i))),
    apply(params, x, options) {
      checkApply(name, options);
      const own = expectList(name, "parameters", params, layers.length);
      return layers.reduce((x: Tensor, layer, i) => {
        const y = layer.apply(own[i]!, x);
        return i === last ? y : activation(y);
      }, x);
    },
    stages(params) {
      const own = expectList(name, "parameters", params, layers.length);
      const between: Stage = {
        name: activation.name || "activation",
        path: "",
        apply: (x) => activation(x),
      };
      return layers.flatMap((layer, i) => [
        ...i === 0 ? [] : [between],
        ...stagesOf(layer, own[i]!, null, String(i)),
      ]);
    },
  };
}
