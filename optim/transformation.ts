/**
 * Gradient transformations in the manner of optax: each is a pair of pure functions on trees, from
 * gradients to updates, and `chain` composes them. Those here are element-wise, so that an update
 * becomes part of the kernel that makes a weight's gradient. None counts steps of its own; the step
 * is part of the optimizer's state and handed to all.
 *
 * @module
 */
import { zerosLike } from "../graph/create.ts";
import { checkNames, describe, type Names } from "../graph/describe.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkNumber } from "./check.ts";
import { type Rate, rateAt } from "./rate.ts";
import { type Applies, map, mapWhere, type Tree } from "./tree.ts";

/** What a transformation may look at besides the gradient. */
export interface Context {
  /** The parameters before this update. */
  readonly params: Tree;
  /** The number of updates done before this one, an f32 scalar. */
  readonly step: Tensor;
}

/** From gradients to updates, with state of its own in between. */
export interface Transformation {
  /** The state before the first update. */
  init(params: Tree): Tree;
  /** The transformed updates, and the state after them. */
  update(updates: Tree, state: Tree, context: Context): [updates: Tree, state: Tree];
}

/** Throws unless the value is a transformation. */
export function checkTransformation(action: string, name: string, value: unknown): void {
  const isObject = typeof value === "object" && value !== null;
  if (isObject && "transformation" in value) {
    throw new TypeError(
      `Cannot ${action}: ${name} is an optimizer, expected its member transformation`,
    );
  }
  if (isObject && "init" in value && "update" in value) return;
  throw new TypeError(
    `Cannot ${action}: ${name} is ${describe(value)}, expected a transformation`,
  );
}

/** A transformation without state. */
export function stateless(update: (updates: Tree, context: Context) => Tree): Transformation {
  return { init: () => null, update: (updates, _, context) => [update(updates, context), null] };
}

/**
 * One transformation after the other; the state is the list of theirs.
 *
 * @throws {TypeError} If one is none; the transformation of an optimizer is its member
 * `transformation`.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const { chain, clipByGlobalNorm, fromTransformation, scaleByAdam, scaleByRate } = rg.optim;
 * const optimizer = fromTransformation(
 *   chain(clipByGlobalNorm(1), scaleByAdam(), scaleByRate(1e-3)),
 * );
 * ```
 */
export function chain(...transformations: readonly Transformation[]): Transformation {
  transformations.forEach((t, i) => checkTransformation("chain", `member ${i}`, t));
  return {
    init: (params) => transformations.map((t) => t.init(params)),
    update(updates, state, context) {
      const states = state as readonly Tree[];
      const after: Tree[] = [];
      transformations.forEach((t, i) => {
        const [next, own] = t.update(updates, states[i]!, context);
        updates = next;
        after.push(own);
      });
      return [updates, after];
    },
  };
}

/** Multiplies by -rate, which makes of a direction upwards a step downwards. */
export function scaleByRate(rate: Rate): Transformation {
  return stateless((updates, { step }) => {
    const now = rateAt(rate, step);
    const factor = typeof now === "number" ? -now : now.neg();
    return map((u) => u.mul(factor), updates);
  });
}

/** Options for {@linkcode trace}. */
export interface TraceOptions {
  /** Look ahead along the momentum (Nesterov, as Sutskever et al. 2013). @default {false} */
  nesterov?: boolean;
  /** The part of each gradient but the first that is left out of the momentum. @default {0} */
  dampening?: number;
}

/**
 * Momentum (Polyak 1964): v ← momentum·v + (1 - dampening)·g. The update is v, or with `nesterov`
 * g + momentum·v.
 *
 * @throws {RangeError} If `momentum` or `dampening` is not in [0, 1].
 */
export function trace(
  momentum: number,
  options: TraceOptions = {},
): Transformation {
  checkNames(options, { nesterov: "flag", dampening: true }, "make a trace");
  const { nesterov = false, dampening = 0 } = options;
  checkNumber("momentum", "momentum", momentum, 0, 1, true);
  checkNumber("momentum", "dampening", dampening, 0, 1, true);
  return {
    init: (params) => ({ velocity: map((p) => zerosLike(p), params) }),
    update(updates, state, { step }) {
      const { velocity } = state as { velocity: Tree };
      // step 0 takes the whole gradient, as in PyTorch and ONNX.
      const share = dampening === 0 ? 1 : step.minimum(1).mul(-dampening).add(1);
      const next = map((g, v) => v.mul(momentum).add(g.mul(share)), updates, velocity);
      const result = nesterov ? map((g, v) => g.add(v.mul(momentum)), updates, next) : next;
      return [result, { velocity: next }];
    },
  };
}

/** Options for {@linkcode scaleByAdam}. */
export interface AdamMoments {
  /** Decay of the mean of gradients. @default {0.9} */
  beta1?: number;
  /** Decay of the mean of their squares. @default {0.999} */
  beta2?: number;
  /** Added to the root of the mean square. @default {1e-8} */
  epsilon?: number;
  /** Make up for the means' starting at zero. @default {true} */
  biasCorrection?: boolean;
}

/** Names of Adam's own options. */
export const adamMoments: Names<AdamMoments> = {
  beta1: true,
  beta2: true,
  epsilon: true,
  biasCorrection: "flag",
};

/**
 * The mean of gradients over the root of the mean of their squares, both decaying (Kingma and Ba
 * 2015).
 *
 * @throws {RangeError} If a decay is not in [0, 1), or `epsilon` is negative.
 */
export function scaleByAdam(options: AdamMoments = {}): Transformation {
  checkNames(options, adamMoments, "make Adam");
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, biasCorrection = true } = options;
  checkNumber("Adam", "beta1", beta1, 0, 1);
  checkNumber("Adam", "beta2", beta2, 0, 1);
  checkNumber("Adam", "epsilon", epsilon, 0);
  return {
    init: (params) => ({
      mean: map((p) => zerosLike(p), params),
      square: map((p) => zerosLike(p), params),
    }),
    update(updates, state, { step }) {
      const { mean, square } = state as { mean: Tree; square: Tree };
      const m = map((g, m) => m.mul(beta1).add(g.mul(1 - beta1)), updates, mean);
      const s = map((g, s) => s.mul(beta2).add(g.square().mul(1 - beta2)), updates, square);
      const c1 = biasCorrection ? correction(beta1, step) : 1;
      const c2 = biasCorrection ? correction(beta2, step) : 1;
      const result = map((m, s) => m.mul(c1).div(s.mul(c2).sqrt().add(epsilon)), m, s);
      return [result, { mean: m, square: s }];
    },
  };
}

/**
 * 1 / (1 - beta^(step + 1)). Written as -expm1((step + 1)·log beta), with the logarithm taken in
 * double precision: .999 rounded to f32 would be off by 1e-5 in 1 - beta, and the difference
 * 1 - beta^t cancels for small t.
 */
export function correction(beta: number, step: Tensor): Tensor | number {
  if (beta === 0) return 1;
  return step.add(1).mul(Math.log(beta)).expm1().neg().reciprocal();
}

/** Options for {@linkcode addDecayedWeights}. */
export interface DecayOptions {
  /**
   * Which parameters decay, by the parameter and its path in the tree.
   *
   * @default {all of them}
   */
  applies?: Applies;
}

/**
 * Adds decay·parameter. Before momentum or Adam this is the gradient of an L2 penalty, after Adam
 * it is AdamW's decoupled decay (Loshchilov and Hutter 2019).
 *
 * @throws {RangeError} If `decay` is negative.
 */
export function addDecayedWeights(
  decay: number,
  options: DecayOptions = {},
): Transformation {
  checkNames(options, { applies: true }, "make weight decay");
  const { applies } = options;
  checkNumber("weight decay", "decay", decay, 0);
  return stateless((updates, { params }) =>
    mapWhere(applies, (u, p) => u.add(p.mul(decay)), updates, params)
  );
}
