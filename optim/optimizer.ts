/**
 * Optimizers: a pair of pure functions, `init` and `update`, over a state that is a plain tree and
 * holds the parameters. So saving a state, donating it to a compiled step and differentiating
 * through an update need nothing special.
 *
 * @module
 */
import { tensor } from "../graph/create.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkNumber } from "./check.ts";
import type { Rate } from "./rate.ts";
import {
  type AdamMoments,
  addDecayedWeights,
  chain,
  type DecayOptions,
  scaleByAdam,
  scaleByRate,
  trace,
  type Transformation,
} from "./transformation.ts";
import { checkGradient, map, type Tree } from "./tree.ts";

/** What an optimizer carries from step to step. */
export type State<P extends Tree = Tree> = {
  /** The parameters. */
  readonly params: P;
  /** The number of updates done, a u32 scalar. */
  readonly step: Tensor;
  /** What the transformations remember: moments, velocities. */
  readonly memory: Tree;
};

/** A way to improve parameters by gradients. */
export interface Optimizer {
  /** The state before the first update. */
  init<P extends Tree>(params: P): State<P>;
  /**
   * The state after one more update.
   *
   * @throws {TypeError} If the gradient's structure or shapes are not those of the parameters.
   */
  update<P extends Tree>(state: State<P>, gradient: Tree): State<P>;
}

/**
 * The optimizer that adds to the parameters what a transformation makes of their gradient. The
 * transformation has to contain the minus sign; {@linkcode scaleByRate} does.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const { chain, clipByValue, fromTransformation, scaleByRate, trace } = rg.optim;
 * const optimizer = fromTransformation(chain(clipByValue(1), trace(0.9), scaleByRate(0.1)));
 * ```
 */
export function fromTransformation(transformation: Transformation): Optimizer {
  return {
    init<P extends Tree>(params: P): State<P> {
      return { params, step: tensor(0, { dtype: "u32" }), memory: transformation.init(params) };
    },
    update<P extends Tree>({ params, step, memory }: State<P>, gradient: Tree): State<P> {
      checkGradient(params, gradient);
      const context = { params, step: step.cast("f32") };
      const [updates, after] = transformation.update(gradient, memory, context);
      // Low-precision parameters stay what they are, whatever the update was computed in.
      const next = map((p, u) => p.add(u).cast(p.dtype), params, updates);
      return { params: next, step: step.add(1), memory: after };
    },
  };
}

/** Options for {@linkcode sgd}. */
export interface SgdOptions {
  /** Step size. */
  rate: Rate;
  /** Polyak's momentum, in [0, 1]. @default {0} */
  momentum?: number;
  /** Nesterov's form of momentum. @default {false} */
  nesterov?: boolean;
  /** The part of a gradient left out of the momentum. @default {0} */
  dampening?: number;
  /** An L2 penalty: this times the parameter is added to its gradient. @default {0} */
  weightDecay?: number;
}

/**
 * Gradient descent, with momentum if wanted: p ← p - rate·v.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.sgd({ rate: 0.1, momentum: 0.9, nesterov: true });
 * ```
 */
export function sgd(options: SgdOptions): Optimizer {
  const { momentum = 0, nesterov = false, dampening = 0, weightDecay = 0 } = options;
  checkRate("sgd", options.rate);
  return fromTransformation(chain(
    ...weightDecay === 0 ? [] : [addDecayedWeights(weightDecay)],
    ...momentum === 0 ? [] : [trace(momentum, { nesterov, dampening })],
    scaleByRate(options.rate),
  ));
}

/** Options for {@linkcode adam}. */
export interface AdamOptions extends AdamMoments {
  /** Step size. @default {1e-3} */
  rate?: Rate;
  /** An L2 penalty: this times the parameter is added to its gradient. @default {0} */
  weightDecay?: number;
}

/**
 * Adam (Kingma and Ba 2015): steps of about the size of the rate, whatever the gradient's scale.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.adam({ rate: rg.optim.cosine(1e-3, { steps: 1000 }) });
 * ```
 */
export function adam(options: AdamOptions = {}): Optimizer {
  const { rate = 1e-3, weightDecay = 0 } = options;
  checkRate("adam", rate);
  return fromTransformation(chain(
    ...weightDecay === 0 ? [] : [addDecayedWeights(weightDecay)],
    scaleByAdam(options),
    scaleByRate(rate),
  ));
}

/** Options for {@linkcode adamw}. */
export interface AdamWOptions extends AdamMoments, DecayOptions {
  /** Step size. @default {1e-3} */
  rate?: Rate;
  /** Each step takes rate·this of every parameter away. @default {0.01} */
  weightDecay?: number;
}

/**
 * Adam with weight decay that the moments do not see (Loshchilov and Hutter 2019).
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Biases and scales do not decay
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const optimizer = rg.optim.adamw({
 *   weightDecay: 0.1,
 *   applies: (parameter) => parameter.rank > 1,
 * });
 * ```
 */
export function adamw(options: AdamWOptions = {}): Optimizer {
  const { rate = 1e-3, weightDecay = 0.01 } = options;
  checkRate("adamw", rate);
  return fromTransformation(
    chain(scaleByAdam(options), addDecayedWeights(weightDecay, options), scaleByRate(rate)),
  );
}

function checkRate(action: string, rate: Rate): void {
  if (typeof rate === "number") checkNumber(action, "rate", rate, 0);
}
