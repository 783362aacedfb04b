/**
 * A GPT, ready-made: embeddings by gather, learned positions, blocks of causal attention and a
 * feed-forward net with normalisation before each (Radford et al. 2019), and logits by the
 * embedding again. With the options and names of a GPT-2 checkpoint, its parameters can be loaded.
 *
 * Blocks are parameters one by one, or stacked and run as a loop: then neither graph nor program
 * grow with the number of layers.
 *
 * @module
 */
import { arange } from "../graph/create.ts";
import { checkNames, type Names } from "../graph/describe.ts";
import { dtypes } from "../graph/dtype.ts";
import { stack } from "../graph/operations.ts";
import { foldIn } from "../graph/random.ts";
import { scan } from "../graph/scan.ts";
import { calledHere } from "../graph/source.ts";
import type { Tensor } from "../graph/tensor.ts";
import { map, type Tree } from "../optim/tree.ts";
import { dropout } from "./dropout.ts";
import { normal } from "./initializers.ts";
import { type ApplyOptions, expectList, expectRecord, expectSize } from "./layer.ts";
import { type Layer, type Stage, withKey } from "./layer.ts";
import { embedding, type EmbeddingParams, linear, type LinearParams } from "./linear.ts";
import { multiHeadAttention, type MultiHeadParams } from "./multi_head_attention.ts";
import { layerNorm, type LayerNormParams } from "./normalization.ts";
import { learnedPositions, type PositionParams } from "./positions.ts";

/** Options for {@linkcode transformerBlock}. */
export interface BlockOptions {
  /** Features inside the feed-forward net. @default {4 · features} */
  hidden?: number;
  /** The rate of dropout at the end of either branch. @default {0} */
  dropout?: number;
  /** Whether no place sees those after it. @default {true} */
  causal?: boolean;
  /** How many blocks there are: what ends a branch is scaled by 1/√(2·depth). @default {1} */
  depth?: number;
  /** Whether scores are held; see `AttentionOptions`. @default {by the number of keys} */
  memory?: "full" | "lean";
  /** Added to variances. @default {1e-5} */
  epsilon?: number;
}

/** Parameters of {@linkcode transformerBlock}. */
export type BlockParams = {
  /** Before attention. */
  readonly norm1: LayerNormParams;
  /** The attention's. */
  readonly attention: MultiHeadParams;
  /** Before the feed-forward net. */
  readonly norm2: LayerNormParams;
  /** Into the feed-forward net. */
  readonly up: LinearParams;
  /** Out of it. */
  readonly down: LinearParams;
};

/** What weights are drawn from (Radford et al. 2018). */
const DEVIATION = 0.02;

const innerNames: Names<Omit<BlockOptions, "causal" | "depth">> = {
  hidden: true,
  dropout: true,
  memory: true,
  epsilon: true,
};

/**
 * A block of a transformer: x + attention(norm(x)), then x + feedForward(norm(x)), with GELU by
 * tanh; [..., T, features] to the same.
 *
 * @throws {RangeError} If a size is not a positive integer, or heads do not divide features.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const block = rg.nn.transformerBlock(16, 4, { causal: false });
 * const params = block.init(rg.random.key(0));
 * assertEquals(block.apply(params, rg.ones([2, 5, 16])).shape, [2, 5, 16]);
 * ```
 */
export function transformerBlock(
  features: number,
  heads: number,
  options: BlockOptions = {},
): Layer<BlockParams> {
  checkNames(
    options,
    { ...innerNames, depth: true, causal: "flag" },
    `make transformerBlock(${features}, ${heads})`,
  );
  const { hidden = 4 * features, depth = 1, causal = true, epsilon = 1e-5, memory } = options;
  const name = `transformerBlock(${features}, ${heads})`;
  expectSize(name, "the hidden size", hidden);
  expectSize(name, "the depth", depth);
  const weightInit = normal(DEVIATION), outputInit = normal(DEVIATION / Math.sqrt(2 * depth));
  const norm = layerNorm(features, { epsilon }), drop = dropout(options.dropout ?? 0);
  const attention = multiHeadAttention(features, heads, {
    causal,
    weightInit,
    outputInit,
    ...memory && { memory },
  });
  const up = linear(features, hidden, { weightInit });
  const down = linear(hidden, features, { weightInit: outputInit });
  return {
    name,
    init: (key) => ({
      norm1: norm.init(key),
      attention: attention.init(foldIn(key, 0)),
      norm2: norm.init(key),
      up: up.init(foldIn(key, 1)),
      down: down.init(foldIn(key, 2)),
    }),
    apply(params, x, options) {
      const own = expectRecord<keyof BlockParams>(name, "parameters", params, [
        "norm1",
        "attention",
        "norm2",
        "up",
        "down",
      ]);
      const dropped = (y: Tensor, i: number) => drop.apply(null, y, withKey(options, i));
      return calledHere(() => {
        const found = attention.apply(own.attention, norm.apply(own.norm1, x));
        const h = x.add(dropped(found, 0));
        const inner = up.apply(own.up, norm.apply(own.norm2, h)).gelu({ approximate: "tanh" });
        return h.add(dropped(down.apply(own.down, inner), 1));
      });
    },
  };
}

/** The sizes of a {@linkcode gpt}, and how it is computed. */
export interface GptOptions extends Omit<BlockOptions, "causal" | "depth"> {
  /** How many tokens there are. */
  vocabulary: number;
  /** The longest sequence. */
  length: number;
  /** Features of a place. */
  features: number;
  /** How many blocks. */
  layers: number;
  /** Heads of an attention. */
  heads: number;
  /** Whether logits are products with the embedding, as in GPT-2; else with a head. @default {true} */
  tied?: boolean;
  /** Blocks as one, with a first axis of layers, run as a loop. @default {false} */
  stacked?: boolean;
}

const gptNames: Names<Omit<GptOptions, keyof typeof innerNames>> = {
  vocabulary: true,
  length: true,
  features: true,
  layers: true,
  heads: true,
  tied: "flag",
  stacked: "flag",
};

/** Parameters of {@linkcode gpt}. */
export type GptParams = {
  /** The embedding, [vocabulary, features]. */
  readonly tokens: EmbeddingParams;
  /** [length, features]. */
  readonly positions: PositionParams;
  /** One for each layer, or stacked in one. */
  readonly blocks: readonly BlockParams[] | BlockParams;
  /** After the last block. */
  readonly norm: LayerNormParams;
  /** Where logits are not tied to the embedding: [features, vocabulary]. */
  readonly head?: LinearParams;
};

/**
 * A GPT: tokens, integers [..., T], to logits of the token after each, [..., T, vocabulary].
 *
 * @throws {RangeError} If a size is not a positive integer, or heads do not divide features.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const model = rg.nn.gpt({ vocabulary: 96, length: 32, features: 16, layers: 2, heads: 2 });
 * const params = model.init(rg.random.key(0));
 * const text = rg.random.randint(rg.random.key(1), [4, 33], 0, 96);
 * const loss = (params: rg.Tree) =>
 *   rg.nn.crossEntropy(model.apply(params, text.slice(null, [0, 32])), text.slice(null, [1]));
 * console.log(await loss(params).item(), "about log 96 at first");
 * ```
 */
export function gpt(options: GptOptions): Layer<GptParams> {
  checkNames(options, { ...gptNames, ...innerNames }, "make gpt");
  const { vocabulary, length, features, layers, heads, tied = true, stacked = false, ...inner } =
    options;
  const name = `gpt(${vocabulary}, ${length}, ${features}, ${layers}, ${heads})`;
  expectSize(name, "the number of layers", layers);
  const tokens = embedding(vocabulary, features, { weightInit: normal(DEVIATION) });
  const positions = learnedPositions(length, features, { weightInit: normal(DEVIATION) });
  const block = transformerBlock(features, heads, { ...inner, depth: layers });
  const norm = layerNorm(features, { epsilon: options.epsilon ?? 1e-5 });
  const drop = dropout(options.dropout ?? 0);
  const head = linear(features, vocabulary, { bias: false, weightInit: normal(DEVIATION) });

  const expect = (params: Tree) =>
    expectRecord<keyof GptParams>(name, "parameters", params, [
      "tokens",
      "positions",
      "blocks",
      "norm",
      ...tied ? [] : ["head" as const],
    ]);

  const embed = (params: Tree, x: Tensor, options?: ApplyOptions): Tensor => {
    const own = expect(params);
    if (!dtypes[x.dtype].integer || x.rank === 0 || x.shape.at(-1)! > length) {
      throw new TypeError(
        `Cannot apply ${name}: the input is ${x}, expected integers of up to ${length} places`,
      );
    }
    const embedded = positions.apply(own.positions, tokens.apply(own.tokens, x));
    return drop.apply(null, embedded, withKey(options, layers));
  };

  const looped = (own: Tree, x: Tensor, options?: ApplyOptions): Tensor => {
    const body = (x: Tensor, row: { params: Tree; i: Tensor }): [Tensor, null] => [
      block.apply(row.params, x, withKey(options, row.i)),
      null,
    ];
    return scan(body, x, { params: own, i: arange(layers) }, { length: layers, name })[0];
  };

  const logits = (params: Tree, x: Tensor): Tensor => {
    const own = expect(params), last = norm.apply(own.norm, x);
    if (!tied) return head.apply(own.head, last);
    return last.matmul((own.tokens as EmbeddingParams).weight.T);
  };

  const stages = (params: Tree): readonly Stage[] => {
    const { blocks } = expect(params);
    const inner = stacked
      ? [{
        name: `${layers} of ${block.name}`,
        path: "blocks",
        apply: (x: Tensor, options?: ApplyOptions) => looped(blocks, x, options),
      }]
      : expectList(name, "blocks", blocks, layers).map((own, i) => ({
        name: block.name,
        path: `blocks.${i}`,
        apply: (x: Tensor, options?: ApplyOptions) => block.apply(own, x, withKey(options, i)),
      }));
    return [
      { name: "embedding", path: "tokens", apply: (x, options) => embed(params, x, options) },
      ...inner,
      { name: "logits", path: tied ? "norm" : "head", apply: (x) => logits(params, x) },
    ];
  };

  return {
    name,
    init(key) {
      const each = Array.from({ length: layers }, (_, i) => block.init(foldIn(foldIn(key, 2), i)));
      const [first, ...rest] = each as [BlockParams, ...BlockParams[]];
      return {
        tokens: tokens.init(foldIn(key, 0)),
        positions: positions.init(foldIn(key, 1)),
        blocks: stacked ? map((...leaves) => stack(leaves), first, ...rest) : each,
        norm: norm.init(key),
        ...tied ? {} : { head: head.init(foldIn(key, 3)) },
      };
    },
    apply: (params, x, options) =>
      calledHere(() => stages(params).reduce((x: Tensor, stage) => stage.apply(x, options), x)),
    stages,
  };
}

/** What is asked of the tensors of a checkpoint here: their shapes. */
type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** Names of GPT-2's tensors for those of a block. */
const blockNames: { readonly [path: string]: string } = {
  "norm1.scale": "ln_1.weight",
  "norm1.bias": "ln_1.bias",
  "attention.queryKeyValue.weight": "attn.c_attn.weight",
  "attention.queryKeyValue.bias": "attn.c_attn.bias",
  "attention.output.weight": "attn.c_proj.weight",
  "attention.output.bias": "attn.c_proj.bias",
  "norm2.scale": "ln_2.weight",
  "norm2.bias": "ln_2.bias",
  "up.weight": "mlp.c_fc.weight",
  "up.bias": "mlp.c_fc.bias",
  "down.weight": "mlp.c_proj.weight",
  "down.bias": "mlp.c_proj.bias",
};

/** Names of the rest. */
const names: { readonly [path: string]: string } = {
  "tokens.weight": "wte.weight",
  "positions.weight": "wpe.weight",
  "norm.scale": "ln_f.weight",
  "norm.bias": "ln_f.bias",
};

/** What a checkpoint's names begin with: some have all of it below `transformer.`. */
function prefixOf(checkpoint: Shapes): string {
  for (const prefix of ["", "transformer."]) {
    if (checkpoint.has(`${prefix}wte.weight`)) return prefix;
  }
  throw new TypeError(
    "Cannot read a GPT-2 checkpoint: it has no wte.weight, expected the names of GPT-2",
  );
}

/** What a GPT-2 checkpoint does not say by its shapes. */
export interface Gpt2Options {
  /** Heads of an attention. @default {one for every 64 features} */
  heads?: number;
}

/**
 * The options of {@linkcode gpt} for a GPT-2 checkpoint, by the shapes of its tensors. With
 * {@linkcode gpt2Name} and `data.assign` its parameters are loaded.
 *
 * @throws {TypeError} If tensors are missing, or the heads are not to be told.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * async function load(path: string) {
 *   const { tensors } = rg.data.decodeSafetensors(await Deno.readFile(path), path);
 *   const model = rg.nn.gpt(rg.nn.gpt2Options(tensors));
 *   const params = rg.data.assign(model.init(rg.random.key(0)), tensors, {
 *     name: rg.nn.gpt2Name(tensors),
 *     unused: "allow", // the masks that some files have
 *   });
 *   return { model, params };
 * }
 * ```
 */
export function gpt2Options(checkpoint: Shapes, options: Gpt2Options = {}): GptOptions {
  checkNames(options, { heads: true }, "read a GPT-2 checkpoint");
  const { heads } = options;
  const prefix = prefixOf(checkpoint);
  const shape = (name: string, rank: number) => {
    const found = checkpoint.get(prefix + name)?.shape;
    if (found?.length === rank) return found;
    throw new TypeError(
      `Cannot read a GPT-2 checkpoint: ${prefix}${name} ${
        found === undefined ? "is missing" : `has ${found.length} axes`
      }, expected a tensor of ${rank} axes`,
    );
  };
  const [vocabulary, features] = shape("wte.weight", 2) as [number, number];
  const [length] = shape("wpe.weight", 2) as [number];
  let layers = 0;
  while (checkpoint.has(`${prefix}h.${layers}.ln_1.weight`)) layers++;
  const hidden = shape("h.0.mlp.c_fc.weight", 2)[1]!;
  if (heads === undefined && features % 64 !== 0) {
    throw new TypeError(
      `Cannot read a GPT-2 checkpoint: it has ${features} features, expected a multiple of 64 or ` +
        "the option heads",
    );
  }
  return { vocabulary, length, features, layers, heads: heads ?? features / 64, hidden };
}

/**
 * What a checkpoint calls the parameter at a path of {@linkcode gpt}, unstacked and tied: as in
 * GPT-2's files, whose weights are [inputs, outputs] like ours.
 */
export function gpt2Name(checkpoint: Shapes): (path: string) => string {
  const prefix = prefixOf(checkpoint);
  return (path) => {
    const [, layer, rest] = /^blocks\.(\d+)\.(.*)$/.exec(path) ?? [];
    const name = rest === undefined ? names[path] : blockNames[rest];
    if (name === undefined) {
      throw new TypeError(
        `Cannot name ${path}: GPT-2 has no such parameter, expected one of an unstacked, tied gpt`,
      );
    }
    return layer === undefined ? prefix + name : `${prefix}h.${layer}.${name}`;
  };
}
