/**
 * Runs of training as functions that can be differentiated: with momentum on fixed-point state that
 * is taken back through information buffers, with plain descent and Adam in floats that are taken
 * back by the tape of differences. Either way nothing is kept that grows with activations, and the
 * states that the way back meets are those of the way forward, to the bit.
 *
 * Maclaurin, Duvenaud and Adams, Gradient-based hyperparameter optimization through reversible
 * learning, ICML 2015.
 *
 * @module
 */
import type { TapeOptions } from "../checkpoint/arena.ts";
import { checkNames, checkOptions, describe, type Names } from "../graph/describe.ts";
import { zerosLike } from "../graph/create.ts";
import { isFloat } from "../graph/dtype.ts";
import type { Backward } from "../graph/scan.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkCount, checkNumber } from "./check.ts";
import { checkMomenta, reversed } from "./hypergradient/momentum.ts";
import {
  checkSchedule,
  type Hyperparameter,
  type HyperparameterName,
  pathOf,
  rowsOf,
  type TrainingSchedule,
} from "./hypergradient/schedule.ts";
import { bitsKept, segmentsOf } from "./hypergradient/spills.ts";
import type { LeafLoss, Run } from "./hypergradient/sweeps.ts";
import { adam, descend, descent } from "./hypergradient/taped.ts";
import { unitFor } from "./hypergradient/fixed.ts";
import { type Named, named, type Tree, treeOf } from "./tree.ts";

/** The loss that a step goes down; `step` counts from 0, a u32 scalar. */
export type StepLoss<P, D> = (params: P, data: D, step: Tensor) => Tensor;

/** Options for a {@linkcode trainingRun} with momentum. */
export interface MomentumRunOptions {
  /** How many steps. */
  steps: number;
  /** Descent with momentum. @default {"momentum"} */
  optimizer?: "momentum";
  /**
   * Momenta are whole multiples of 1 / this, an integer in [1, 65535]. The velocity carries noise of
   * this many units (see `range`), so no more than is needed.
   *
   * @default {100}
   */
  denominator?: number;
  /**
   * The smallest momentum that the schedule may have, in (0, 1]. What is kept for the way back
   * follows from it: log2(1 / least) bits per parameter and step.
   *
   * @default {0.5}
   */
  least?: number;
  /**
   * The largest magnitudes of parameters and of velocities, which are at most those of gradients. A
   * unit of the fixed point is a 2^31st of it. Beyond is an error.
   *
   * @default {{ params: 64, velocity: 8 }}
   */
  range?: { readonly params?: number; readonly velocity?: number };
}

/** Options for a {@linkcode trainingRun} in floats. */
export interface FloatRunOptions {
  /** How many steps. */
  steps: number;
  /** Plain descent, or Adam. */
  optimizer: "sgd" | "adam";
  /**
   * How the way back gets the states that the run went through: see `ScanOptions.backward`.
   *
   * @default {"by the tape of differences"}
   */
  backward?: Backward;
  /** How much memory the tape gets, to begin with. */
  tape?: TapeOptions;
  /**
   * Gradients that undoing a step of plain descent takes. Each brings the guess nearer by the factor
   * rate·curvature, and the tape's bits down.
   *
   * @default {6}
   */
  iterations?: number;
  /** Added to the root of Adam's mean square. @default {1e-8} */
  epsilon?: number;
}

/** Options for {@linkcode trainingRun}. */
export type TrainingRunOptions = MomentumRunOptions | FloatRunOptions;

/** How a run ended. */
export interface TrainedRun<P> {
  /** The parameters after the last step. */
  readonly params: P;
  /**
   * The velocities after the last step, before they are multiplied by rates: of Adam the mean of
   * gradients, negated; of plain descent zeros.
   */
  readonly velocity: P;
}

/** A differentiable run of training. */
export interface TrainingRun<P extends Tree, D> {
  /**
   * Trains.
   *
   * @throws {TypeError} If a parameter is not f32, or a schedule does not fit.
   */
  (params: P, schedule: TrainingSchedule, data: D): TrainedRun<P>;
  /**
   * Bits per parameter that are kept for the way back of momentum, the buffer's 32 included. Null
   * for the other optimizers: how long a tape gets is known to the device alone, and `explain()`
   * tells afterwards.
   */
  readonly bits: number | null;
}

const action = "a training run";

/** Options by the optimizers that have them. */
const options: { readonly [O in Optimizers]: readonly string[] } = {
  momentum: ["denominator", "least", "range"],
  sgd: ["backward", "tape", "iterations"],
  adam: ["backward", "tape", "epsilon"],
};

/** The names of all of them. */
const runNames: Names<MomentumRunOptions & Omit<FloatRunOptions, "optimizer">> = {
  steps: true,
  optimizer: true,
  denominator: true,
  least: true,
  range: true,
  backward: true,
  tape: true,
  iterations: true,
  epsilon: true,
};

/** Members of schedules by the optimizers that have them, with what they are where not given. */
const schedules: {
  readonly [O in Optimizers]: { readonly [N in HyperparameterName]?: number | null };
} = {
  momentum: { momenta: 0.9, decay: null },
  sgd: { decay: null },
  adam: { momenta: 0.9, squares: 0.999, decay: null },
};

type Optimizers = NonNullable<TrainingRunOptions["optimizer"]>;

/** A run on leaves: from rows of hyperparameters and the floats among the data to the end. */
type LeafRun = (
  params: Tensor[],
  rows: { readonly [N in HyperparameterName]: Tensor[] | null } & { readonly rates: Tensor[] },
  theta: Tensor[],
  lossWith: (others: readonly Tensor[]) => LeafLoss,
  others: Tensor[],
) => { readonly x: readonly Tensor[]; readonly v: readonly Tensor[] };

/**
 * A whole run of training as a function that can be differentiated. The derivatives of what it
 * returns, by `grad` or `vjp`, reach parameters, rates, momenta, decay and the floats among the
 * data. Going back takes memory of a few copies of the parameters plus a few bits for each of them
 * and step, whatever the loss keeps for one gradient, and nothing that grows with activations.
 *
 * | `optimizer` | step | what makes the way back exact | costs |
 * |---|---|---|---|
 * | `"momentum"` | V ← γV - (1-γ)g, X ← X + αV | the state is in fixed point; what multiplying by γ loses goes into an information buffer | log2(1/γ) bits a step |
 * | `"sgd"` | X ← X - αg | the step is undone by iteration, what that gets wrong is on a tape of differences | `iterations` gradients a step, and what `explain()` says |
 * | `"adam"` | optim.adam's | undone in closed form; the rest on the tape | a gradient a step, and what `explain()` says |
 *
 * With momentum, parameters are rounded to the fixed point at the start, and the run is what a float
 * run is but for rounding. Rounding counts as the identity. What comes back at the beginning is
 * compared with what was there, bit for bit; a difference is an error at the next await. So are
 * values beyond the range, NaN among them, and momenta that cannot be had. The loss must be a
 * function of what it is given: derivatives with respect to tensors that it closes over are an
 * error. So are derivatives of derivatives.
 *
 * Plain descent and Adam are loops like others: losses may close over tensors, and derivatives of
 * derivatives are had. Adam's corrections are those of the momenta of the step; momenta and squares
 * lie in (0, 1).
 *
 * @throws {RangeError} If an option is out of its range.
 * @throws {TypeError} If an option is not one of the optimizer.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assert } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const loss = (x: rg.Tensor, target: rg.Tensor) => x.sub(target).square().sum();
 * const train = rg.optim.trainingRun(loss, { steps: 50 });
 * // How the distance that is left after 50 steps depends on the rate.
 * const left = (rate: rg.Tensor) =>
 *   loss(train(rg.zeros([2]), { rates: rate, momenta: 0.9 }, rg.tensor([1, 2])).params,
 *     rg.tensor([1, 2]));
 * assert(await rg.grad(left)(rg.tensor(0.1)).item() < 0);
 * ```
 *
 * @example Through Adam
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assert } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const loss = (x: rg.Tensor, target: rg.Tensor) => x.sub(target).square().sum();
 * const train = rg.optim.trainingRun(loss, { steps: 20, optimizer: "adam" });
 * const left = (rate: rg.Tensor) =>
 *   loss(train(rg.zeros([2]), { rates: rate }, rg.tensor([1, 2])).params, rg.tensor([1, 2]));
 * assert(await rg.grad(left)(rg.tensor(0.01)).item() < 0);
 * ```
 */
export function trainingRun<P extends Tree, D extends Tree>(
  loss: StepLoss<P, D>,
  given: TrainingRunOptions,
): TrainingRun<P, D> {
  if (typeof loss !== "function") {
    throw new TypeError(
      `Cannot make ${action}: the loss is ${describe(loss)}, expected a function`,
    );
  }
  checkOptions(given, `make ${action}`, "{ steps: 100 }");
  const { steps, optimizer = "momentum" } = given;
  checkCount(action, "steps", steps, 0);
  if (!Object.hasOwn(options, optimizer)) {
    throw new TypeError(
      `Cannot make ${action}: optimizer is ${describe(optimizer)}, expected "momentum", "sgd" or ` +
        '"adam"',
    );
  }
  for (const others of Object.values(options)) {
    for (const name of others) {
      if (options[optimizer].includes(name) || given[name as never] === undefined) continue;
      throw new TypeError(
        `Cannot make ${action}: ${name} is given, expected none with ${optimizer}`,
      );
    }
  }
  checkNames<object>(given, runNames, `make ${action}`);
  const { run, bits } = given.optimizer === undefined || given.optimizer === "momentum"
    ? momentumRun(given as MomentumRunOptions)
    : floatRun(given as FloatRunOptions);

  const train = (params: P, schedule: TrainingSchedule, data: D): TrainedRun<P> => {
    const start = named(params, "params"), values = named(data, "data");
    start.leaves.forEach((p, i) => {
      if (p.dtype === "f32") return;
      throw new TypeError(
        `Cannot train: ${pathOf("params", start.paths[i]!)} is ${p.dtype}, expected f32`,
      );
    });
    const floats = values.leaves.map(({ dtype }) => isFloat(dtype));
    const lossWith = (others: readonly Tensor[]): LeafLoss => (x, theta, step) => {
      const [float, other] = [theta.values(), others.values()];
      const leaves = floats.map((is) => (is ? float : other).next().value as Tensor);
      return loss(treeOf(start.structure, x) as P, treeOf(values.structure, leaves) as D, step);
    };
    const { x, v } = run(
      start.leaves,
      allRows(optimizer, schedule, start, steps),
      values.leaves.filter((_, i) => floats[i]),
      lossWith,
      values.leaves.filter((_, i) => !floats[i]),
    );
    return {
      params: treeOf(start.structure, x) as P,
      velocity: treeOf(start.structure, v) as P,
    };
  };
  return Object.assign(train, { bits });
}

/** The schedule as rows for each leaf; what the optimizer has and is not given by default. */
function allRows(
  optimizer: Optimizers,
  schedule: TrainingSchedule,
  params: Named,
  steps: number,
): Parameters<LeafRun>[1] {
  checkSchedule(schedule);
  const has = schedules[optimizer];
  const rows = (name: "momenta" | "squares" | "decay"): Tensor[] | null => {
    const value: Hyperparameter | null = schedule[name] ?? has[name] ?? null;
    if (value === null) return null;
    if (name in has) return rowsOf(name, value, params, steps);
    throw new TypeError(`Cannot train: ${name} is given, expected none with ${optimizer}`);
  };
  return {
    rates: rowsOf("rates", schedule.rates, params, steps),
    momenta: rows("momenta"),
    squares: rows("squares"),
    decay: rows("decay"),
  };
}

interface Made {
  readonly run: LeafRun;
  readonly bits: number | null;
}

/** Momentum, on fixed-point state. */
function momentumRun(given: MomentumRunOptions): Made {
  const { steps, denominator = 100, least = 0.5, range = {} } = given;
  const { params: reach = 64, velocity: speed = 8 } = range;
  checkCount(action, "denominator", denominator);
  if (denominator > 65535) checkNumber(action, "denominator", denominator, 1, 65535, true);
  checkNumber(action, "least", least, 0.5 / denominator, 1, true);
  checkNumber(action, "range.params", reach, Number.MIN_VALUE, 2 ** 31);
  checkNumber(action, "range.velocity", speed, Number.MIN_VALUE, 2 ** 31);
  const smallest = Math.max(1, Math.floor(least * denominator * (1 + 1e-9)));
  const segments = segmentsOf(steps, { n: smallest, d: denominator });
  const units = { position: unitFor(reach), velocity: unitFor(speed) };
  const shared: Omit<Run, "loss"> = { steps, segments, denominator, units };
  return {
    bits: bitsKept(segments),
    run(params, { rates, momenta, decay }, theta, lossWith, others) {
      checkMomenta(momenta!, smallest, denominator);
      const schedule = { rates, momenta: momenta!, decay };
      const runOf = (others: readonly Tensor[]): Run => ({ ...shared, loss: lossWith(others) });
      const [x, v] = reversed(runOf)(params, schedule, theta, others);
      return { x, v };
    },
  };
}

/** Plain descent and Adam, in floats. */
function floatRun(given: FloatRunOptions): Made {
  const { steps, backward, tape = {}, iterations = 6, epsilon = 1e-8 } = given;
  checkCount(action, "iterations", iterations);
  checkNumber(action, "epsilon", epsilon, 0);
  const method = given.optimizer === "sgd" ? descent(iterations) : adam(epsilon);
  return {
    bits: null,
    run(params, schedule, theta, lossWith, others) {
      const of = lossWith(others);
      const loss = (x: readonly Tensor[], step: Tensor): Tensor => of(x, theta, step);
      const { x, mean } = descend({ method, steps, backward, tape, loss }, params, schedule);
      return { x, v: mean.length === 0 ? x.map((x) => zerosLike(x)) : mean.map((m) => m.neg()) };
    },
  };
}
