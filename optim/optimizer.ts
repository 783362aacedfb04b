/**
 * Optimizers: a pair of pure functions, `init` and `update`, over a state that is a plain tree and
 * holds the parameters. So saving a state, donating it to a compiled step and differentiating
 * through an update need nothing special.
 *
 * @module
 */
import { tensor } from "../graph/create.ts";
import { checkNames, checkOptions, type Names } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkNumber, checkRate, pick } from "./check.ts";
import type { Rate } from "./rate.ts";
import {
  type AdamMoments,
  adamMoments,
  addDecayedWeights,
  chain,
  checkTransformation,
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
   * @throws {TypeError} If the gradient's structure or shapes are not those of the parameters, or
   * one that has an update is no float.
   */
  update<P extends Tree>(state: State<P>, gradient: Tree): State<P>;
}

/** An optimizer made of a transformation; parameter groups take it out again. */
export interface ComposedOptimizer extends Optimizer {
  /** From gradients to what is added to the parameters. */
  readonly transformation: Transformation;
}

/**
 * The optimizer that adds to the parameters what a transformation makes of their gradient. The
 * transformation has to contain the minus sign; {@linkcode scaleByRate} does. Parameters in f16 are
 * rounded once, at the end; everything before is f32.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const { chain, clipByValue, fromTransformation, scaleByRate, trace } = rg.optim;
 * const optimizer = fromTransformation(chain(clipByValue(1), trace(0.9), scaleByRate(0.1)));
 * ```
 */
export function fromTransformation(transformation: Transformation): ComposedOptimizer {
  checkTransformation("make an optimizer", "the transformation", transformation);
  return {
    transformation,
    init<P extends Tree>(params: P): State<P> {
      const memory = transformation.init(map(wide, params));
      return { params, step: tensor(0, { dtype: "u32" }), memory };
    },
    update<P extends Tree>({ params, step, memory }: State<P>, gradient: Tree): State<P> {
      checkGradient(params, gradient);
      const before = map(wide, params);
      const context = { params: before, step: step.cast("f32") };
      const [updates, after] = transformation.update(map(wide, gradient), memory, context);
      const next = map((p, q, u) => moved(p, q, u), params, before, updates);
      return { params: next, step: step.add(1), memory: after };
    },
  };
}

/** A parameter after its update; one of whole numbers would lose what is behind the point. */
function moved(parameter: Tensor, wide: Tensor, update: Tensor): Tensor {
  if (isFloat(update.dtype) && !isFloat(parameter.dtype)) {
    throw new TypeError(
      `Cannot update parameters: one is ${parameter}, expected floats (groups() leaves out others)`,
    );
  }
  return wide.add(update).cast(parameter.dtype);
}

/** Parameters of 16 bits are updated in f32, and so is all that is remembered about them. */
function wide(x: Tensor): Tensor {
  return x.dtype === "f16" ? x.cast("f32") : x;
}

/**
 * Two ways to shrink weights, told apart by where they enter. `weightDecay` is the gradient of an
 * L2 penalty: it goes through momentum and is divided by mean squares like the rest of the
 * gradient. `decoupledDecay` acts on the weights alone (Loshchilov and Hutter 2019): each step
 * takes rate·decay of them away, whatever the gradients were. For plain gradient descent the two
 * are the same.
 */
export interface DescentOptions extends DecayOptions {
  /** An L2 penalty: this times the parameter is added to its gradient. @default {0} */
  weightDecay?: number;
  /** Each step takes rate·this of every parameter away. @default {0} */
  decoupledDecay?: number;
}

/** Options of an optimizer whose rate has a default. */
export interface AdaptiveOptions extends DescentOptions {
  /** Step size. */
  rate?: Rate;
}

/** The names of what every optimizer that descends is told. */
export const descentNames: Names<AdaptiveOptions> = {
  rate: true,
  weightDecay: true,
  decoupledDecay: true,
  applies: true,
};

/**
 * The optimizer that goes along a direction: L2 penalty, direction, decoupled decay, rate.
 *
 * @throws {RangeError} If a number is out of its range; `name` is what could not be made.
 * @throws {TypeError} If there is an option that nobody reads.
 */
export function descend(
  name: string,
  direction: readonly Transformation[],
  rate: Rate,
  options: DescentOptions,
): ComposedOptimizer {
  const { weightDecay = 0, decoupledDecay = 0, applies } = options;
  const decay = applies === undefined ? {} : { applies };
  checkRate(name, rate);
  checkNumber(name, "weightDecay", weightDecay, 0);
  checkNumber(name, "decoupledDecay", decoupledDecay, 0);
  return fromTransformation(chain(
    ...weightDecay === 0 ? [] : [addDecayedWeights(weightDecay, decay)],
    ...direction,
    ...decoupledDecay === 0 ? [] : [addDecayedWeights(decoupledDecay, decay)],
    scaleByRate(rate),
  ));
}

/** Options for {@linkcode sgd}. */
export interface SgdOptions extends DescentOptions {
  /** Step size. */
  rate: Rate;
  /** Polyak's momentum, in [0, 1]. @default {0} */
  momentum?: number;
  /** Nesterov's form of momentum. @default {false} */
  nesterov?: boolean;
  /** The part of a gradient left out of the momentum. @default {0} */
  dampening?: number;
}

/**
 * Gradient descent (Robbins and Monro 1951), with momentum if wanted (Polyak 1964; Nesterov 1983 in
 * the form of Sutskever et al. 2013): p ← p - rate·v.
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
export function sgd(options: SgdOptions): ComposedOptimizer {
  checkOptions(options, "make sgd", "{ rate: 0.1 }");
  checkNames(options, {
    ...descentNames,
    momentum: true,
    nesterov: "flag",
    dampening: true,
  }, "make sgd");
  const { rate, momentum = 0, nesterov = false, dampening = 0 } = options;
  if (nesterov && momentum === 0) {
    throw new RangeError(
      "Cannot make sgd: nesterov is true and momentum 0, expected a positive momentum",
    );
  }
  if (dampening !== 0 && momentum === 0) {
    throw new RangeError(
      `Cannot make sgd: dampening is ${dampening} and momentum 0, expected a positive momentum`,
    );
  }
  const direction = momentum === 0 ? [] : [trace(momentum, { nesterov, dampening })];
  return descend("sgd", direction, rate, options);
}

/** Options for {@linkcode adam}. */
export interface AdamOptions extends AdamMoments, DescentOptions {
  /** Step size. @default {1e-3} */
  rate?: Rate;
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
export function adam(options: AdamOptions = {}): ComposedOptimizer {
  checkNames(options, { ...descentNames, ...adamMoments }, "make adam");
  return descend("adam", [scaleByAdam(pick(options, adamMoments))], options.rate ?? 1e-3, options);
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
export function adamw(options: AdamWOptions = {}): ComposedOptimizer {
  checkNames(
    options,
    { rate: true, weightDecay: true, applies: true, ...adamMoments },
    "make adamw",
  );
  const { rate = 1e-3, weightDecay = 0.01, applies } = options;
  checkNumber("adamw", "weightDecay", weightDecay, 0);
  return descend("adamw", [scaleByAdam(pick(options, adamMoments))], rate, {
    decoupledDecay: weightDecay,
    ...applies === undefined ? {} : { applies },
  });
}
