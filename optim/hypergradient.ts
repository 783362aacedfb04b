/**
 * Learning through learning: a run of training, judged, and how the judgement depends on everything
 * that the run depended on.
 *
 * Maclaurin, Duvenaud and Adams, Gradient-based hyperparameter optimization through reversible
 * learning, ICML 2015.
 *
 * @module
 */
import { full } from "../graph/create.ts";
import { checkOptions } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import type { Tensor } from "../graph/tensor.ts";
import { valueAndGrad } from "../graph/transforms.ts";
import { flatten, unflatten } from "../graph/tree.ts";
import {
  checkSchedule,
  type Hyperparameter,
  isNumeric,
  type TrainingSchedule,
} from "./hypergradient/schedule.ts";
import { type StepLoss, trainingRun, type TrainingRunOptions } from "./training_run.ts";
import { named, type Tree, treeOf } from "./tree.ts";

/** Options for {@linkcode hypergradient}, besides those of the run. */
export interface JudgeOptions<P, D> {
  /**
   * What the trained parameters are judged by; a scalar.
   *
   * @default {the loss, as of the step after the last}
   */
  objective?: (params: P, data: D) => Tensor;
}

/** Options for {@linkcode hypergradient}. */
export type HypergradientOptions<P, D> = TrainingRunOptions & JudgeOptions<P, D>;

/** A training run, judged, and how the judgement depends on everything. */
export interface Hypergradient<P> {
  /** The objective, a scalar. */
  readonly value: Tensor;
  /** The trained parameters. */
  readonly params: P;
  /** The objective's derivatives, in the form in which the values were given. */
  readonly gradients: {
    /** With respect to the initial parameters. */
    readonly params: P;
    readonly rates: Tree;
    /** Null where the schedule has none, as for `squares` and `decay`. */
    readonly momenta: Tree;
    readonly squares: Tree;
    readonly decay: Tree;
    /** With respect to the floats among the data; null in the place of other tensors. */
    readonly data: Tree;
  };
}

/**
 * A function that trains, judges what came out, and differentiates the judgement with respect to
 * initial parameters, rates, momenta, decay and data, by {@linkcode trainingRun}. Compile it: what
 * the compiled function does not return is not computed.
 *
 * @throws {RangeError} If an option is out of its range.
 *
 * @example A rate for every step, learned
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assert } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const loss = (x: rg.Tensor) => x.square().mul(rg.tensor([1, 5])).sum();
 * const learning = rg.optim.hypergradient(loss, { steps: 20 });
 * const meta = rg.compile((rates: rg.Tensor) => {
 *   const { value, gradients } = learning(rg.ones([2]), { rates, momenta: 0.8 }, null);
 *   return [value, rates.sub((gradients.rates as rg.Tensor).mul(0.01))] as const;
 * });
 * let rates = rg.full([20], 0.02), value: rg.Tensor;
 * const values: number[] = [];
 * for (let i = 0; i < 10; i++) {
 *   [value, rates] = meta(rates);
 *   values.push(await value.item());
 * }
 * assert(values[9]! < 0.5 * values[0]!);
 * ```
 */
export function hypergradient<P extends Tree, D extends Tree>(
  loss: StepLoss<P, D>,
  options: HypergradientOptions<P, D>,
): (params: P, schedule: TrainingSchedule, data: D) => Hypergradient<P> {
  checkOptions(options, "make a hypergradient", "{ steps: 100 }");
  const { objective: judge, ...own } = options;
  const { steps } = options;
  const train = trainingRun(loss, own);
  const objective = judge ??
    ((params: P, data: D) => loss(params, data, full([], steps, { dtype: "u32" })));
  return (params, schedule, data) => {
    checkSchedule(schedule);
    const { rates, momenta = null, squares = null, decay = null } = schedule;
    const given = named(data, "data");
    const isFloating = given.leaves.map(({ dtype }) => isFloat(dtype));
    const dataOf = (floats: readonly Tensor[]): D => {
      const next = floats.values();
      const leaves = given.leaves.map((x, i) => isFloating[i] ? next.next().value! : x);
      return treeOf(given.structure, leaves) as D;
    };
    /** Numbers as tensors, so that they have derivatives. */
    const tensors = (x: Hyperparameter | null): Tree => {
      const { leaves, structure } = flatten(x, isNumeric, "schedule");
      const all = leaves.map((x) => typeof x === "number" ? full([], x) : x);
      return treeOf(structure, all);
    };
    const judged = (all: Everything) => {
      const { params, floats, ...schedule } = all;
      const data = dataOf(floats);
      const trained = train(params as P, schedule as TrainingSchedule, data);
      return [objective(trained.params, data), trained.params] as const;
    };
    const all = {
      params: params as Tree,
      rates: tensors(rates),
      momenta: tensors(momenta),
      squares: tensors(squares),
      decay: tensors(decay),
      floats: given.leaves.filter((_, i) => isFloating[i]),
    };
    const [[value, trained], gradients] = valueAndGrad(judged, { hasAux: true })(all);
    const floats = (gradients as Everything).floats.values();
    const leaves = isFloating.map((is) => is ? floats.next().value! : null);
    const { floats: _, ...others } = gradients as Everything;
    return {
      value,
      params: trained as P,
      gradients: {
        ...others,
        params: others.params as P,
        data: unflatten(given.structure, leaves) as Tree,
      },
    };
  };
}

/** All that a judged run depends on. */
type Everything = {
  readonly params: Tree;
  readonly rates: Tree;
  readonly momenta: Tree;
  readonly squares: Tree;
  readonly decay: Tree;
  readonly floats: readonly Tensor[];
};
