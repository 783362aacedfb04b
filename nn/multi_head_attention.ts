/**
 * Attention as a layer: projections to queries, keys and values, several heads side by side, and a
 * projection of what they found (Vaswani et al. 2017).
 *
 * @module
 */
import { full } from "../graph/create.ts";
import { checkNames, type Names } from "../graph/describe.ts";
import { concatenate } from "../graph/operations.ts";
import { foldIn } from "../graph/random.ts";
import type { Tensor } from "../graph/tensor.ts";
import {
  type AttentionOptions,
  cosineAttention,
  dotProductAttention,
  l2Attention,
} from "./attention.ts";
import { glorotUniform, type Initializer } from "./initializers.ts";
import {
  type ApplyOptions,
  checkApply,
  expectFeatures,
  expectRecord,
  expectSize,
} from "./layer.ts";
import { expectTensors, type Layer } from "./layer.ts";
import { linear, type LinearParams } from "./linear.ts";
import { rotary, type RotaryOptions } from "./positions.ts";

/** How queries and keys are compared; see the functions of these names. */
export type Score = "dot" | "cosine" | "l2";

/** Options for {@linkcode multiHeadAttention}. */
export interface MultiHeadOptions extends Pick<AttentionOptions, "causal" | "memory"> {
  /**
   * How queries and keys are compared. `cosine` learns a scale for each head; `l2` uses the queries
   * as keys and has no biases, as its bound wants it.
   *
   * @default {"dot"}
   */
  score?: Score;
  /** Features of the other sequence, whose keys and values are looked at, if there is one. */
  context?: number;
  /** Whether the projections have biases. @default {true} */
  bias?: boolean;
  /** Turns queries and keys by their place. @default {none} */
  rotary?: boolean | RotaryOptions;
  /** Makes the projections' weights. @default {glorotUniform} */
  weightInit?: Initializer;
  /** Makes the weight of the last projection. @default {weightInit} */
  outputInit?: Initializer;
}

const optionNames: Names<MultiHeadOptions> = {
  score: true,
  context: true,
  bias: "flag",
  rotary: true,
  causal: "flag",
  memory: true,
  weightInit: true,
  outputInit: true,
};

/** How attention is applied. */
export interface MultiHeadApplyOptions extends ApplyOptions {
  /** Bool, broadcast to [..., heads, T, S]: true where the query may look at the key. */
  mask?: Tensor;
  /** The other sequence, [..., S, context]. */
  context?: Tensor;
}

/** Parameters of {@linkcode multiHeadAttention}; which projections there are depends on its kind. */
export type MultiHeadParams = {
  /** Of attention to itself: queries, keys and values side by side. */
  readonly queryKeyValue?: LinearParams;
  /** Of attention to another sequence, or by distance. */
  readonly query?: LinearParams;
  /** Of attention to another sequence: keys and values side by side. */
  readonly keyValue?: LinearParams;
  /** Of attention by distance. */
  readonly value?: LinearParams;
  /** Of attention by cosines: the logarithm of the scale, [heads]. */
  readonly logScale?: Tensor;
  /** After the heads. */
  readonly output: LinearParams;
};

/** A layer that takes a mask and another sequence besides. */
export interface MultiHeadAttention extends Layer<MultiHeadParams> {
  /**
   * [..., T, features] to the same.
   *
   * @throws {TypeError} If parameters, input, mask or context do not fit.
   */
  apply(
    params: Parameters<Layer["apply"]>[0],
    x: Tensor,
    options?: MultiHeadApplyOptions,
  ): Tensor;
}

/**
 * Multi-head attention: [..., T, features] to the same.
 *
 * @param features Of input and result; a multiple of `heads`.
 * @param heads How many attend side by side.
 *
 * @throws {RangeError} If a size is not a positive integer, or heads do not divide features.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.multiHeadAttention(16, 4, { causal: true, rotary: true });
 * const params = layer.init(rg.random.key(0));
 * const mask = rg.nn.paddingMask(rg.tensor([5, 7], { dtype: "i32" }), 7);
 * assertEquals(layer.apply(params, rg.ones([2, 7, 16]), { mask }).shape, [2, 7, 16]);
 * ```
 */
export function multiHeadAttention(
  features: number,
  heads: number,
  options: MultiHeadOptions = {},
): MultiHeadAttention {
  const { score = "dot", context, weightInit = glorotUniform } = options;
  const name = `multiHeadAttention(${features}, ${heads})`;
  checkNames(options, optionNames, `make ${name}`);
  expectSize(name, "the number of features", features);
  expectSize(name, "the number of heads", heads);
  if (context !== undefined) expectSize(name, "the number of the context's features", context);
  if (features % heads !== 0) {
    throw new RangeError(
      `Cannot make ${name}: ${features} features for ${heads} heads, expected the same for each`,
    );
  }
  if (!["dot", "cosine", "l2"].includes(score)) {
    throw new TypeError(`Cannot make ${name}: score is ${score}, expected "dot", "cosine" or "l2"`);
  }
  if (score === "l2" && (context !== undefined || options.rotary)) {
    throw new TypeError(
      `Cannot make ${name}: score is "l2" with ${
        context === undefined ? "rotary positions" : "a context"
      }, expected neither (its keys are its queries)`,
    );
  }
  const size = features / heads, bias = score === "l2" ? false : options.bias ?? true;
  // Every projection is initialised as the matrix of its own, not as the fused one.
  const several = (count: number): Initializer => (key, [inputs]) =>
    side(Array.from({ length: count }, (_, i) => weightInit(foldIn(key, i), [inputs!, features])));
  const project = (inputs: number, count: number) =>
    linear(inputs, count * features, { bias, weightInit: several(count) });
  const inputs: { readonly [part: string]: Layer<LinearParams> } = score === "l2"
    ? { query: project(features, 1), value: project(features, 1) }
    : context === undefined
    ? { queryKeyValue: project(features, 3) }
    : { query: project(features, 1), keyValue: project(context, 2) };
  const output = linear(features, features, {
    bias,
    weightInit: options.outputInit ?? weightInit,
  });
  const parts = Object.keys(inputs);

  /** [..., T, count·features] to `count` times [..., heads, T, size]. */
  const heading = (x: Tensor): Tensor[] => {
    const before = x.shape.slice(0, -1), all = before.map((): null => null);
    // Parts first and heads then: so what gradients are joined in lies like the projection's result.
    return Array.from({ length: x.shape.at(-1)! / features }, (_, i) => {
      const part = x.slice(...all, [i * features, (i + 1) * features]);
      return part.reshape([...before, heads, size]).swapAxes(-3, -2);
    });
  };

  /** Queries, keys and values of the heads. */
  const projected = (own: Record<string, LinearParams>, x: Tensor, other: Tensor): Tensor[] => {
    const of = (part: string, from: Tensor) => heading(inputs[part]!.apply(own[part]!, from));
    if (score !== "l2") {
      return parts.flatMap((part) => of(part, part === "keyValue" ? other : x));
    }
    const [q] = of("query", x) as [Tensor];
    // Values are x·A·W with A = Wq·Wqᵀ/√size, which is what bounds the slope.
    const perHead = (w: Tensor) => w.reshape(features, heads, size).moveAxis(1, 0);
    const wq = perHead(own.query!.weight), wv = perHead(own.value!.weight);
    return [q, q, q.matmul(wq.swapAxes(1, 2).matmul(wv)).mul(size ** -0.5)];
  };

  return {
    name,
    init: (key) => ({
      ...Object.fromEntries(parts.map((part, i) => [part, inputs[part]!.init(foldIn(key, i))])),
      ...score === "cosine" ? { logScale: full([heads], Math.log(10)) } : {},
      output: output.init(foldIn(key, parts.length)),
    }),
    apply(params, x, told = {}) {
      checkApply(name, told);
      const { mask, context: other } = told;
      const own = expectRecord<string, LinearParams>(name, "parameters", params, [
        ...parts,
        "output",
      ]);
      expectFeatures(name, x, features);
      if (x.rank < 2) {
        throw new TypeError(`Cannot apply ${name}: the input is ${x}, expected [..., T, features]`);
      }
      if ((context === undefined) !== (other === undefined)) {
        throw new TypeError(
          `Cannot apply ${name}: the context is ${other}, expected ${
            context === undefined ? "none" : `a tensor [..., S, ${context}]`
          }`,
        );
      }
      let [q, k, v] = projected(own, x, other ?? x) as [Tensor, Tensor, Tensor];
      if (options.rotary) {
        const turn = options.rotary === true ? {} : options.rotary;
        [q, k] = [rotary(q, turn), rotary(k, turn)];
      }
      const { causal = false, memory } = options;
      const how: AttentionOptions = {
        causal,
        ...mask && { mask },
        ...memory && { memory },
      };
      const found = score === "dot"
        ? dotProductAttention(q, k, v, how)
        : score === "l2"
        ? l2Attention(q, k, v, how)
        : cosineAttention(q, k, v, {
          ...how,
          scale: expectTensors(name, "parameter", params, { logScale: [heads] }).logScale
            .exp().reshape(heads, 1, 1),
        });
      // [..., heads, T, size] to [..., T, features]
      const joined = found.swapAxes(-3, -2);
      return output.apply(own.output!, joined.reshape([...joined.shape.slice(0, -2), features]));
    },
  };
}

/** Matrices side by side. */
function side(matrices: readonly Tensor[]): Tensor {
  return matrices.length === 1 ? matrices[0]! : concatenate(matrices, 1);
}
