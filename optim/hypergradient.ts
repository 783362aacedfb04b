/**
 * Learning through learning: derivatives of a whole training run, descent with momentum, with
 * respect to whatever it depends on, in the memory of a few copies of the parameters. The way back
 * runs the training in reverse, exactly: the state is in fixed point, and what each multiplication
 * by the momentum would lose, log2(1/γ) bits per parameter and step, goes into a buffer.
 *
 * Maclaurin, Duvenaud and Adams, Gradient-based hyperparameter optimization through reversible
 * learning, ICML 2015.
 *
 * @module
 */
import { check } from "../graph/check.ts";
import { full } from "../graph/create.ts";
import { isFloat } from "../graph/dtype.ts";
import { broadcastShapes, sameShape, showShape } from "../graph/shape.ts";
import { Tensor } from "../graph/tensor.ts";
import { customVjp, valueAndGrad } from "../graph/transforms.ts";
import { checkCount, checkNumber } from "./check.ts";
import { fromFixed, isOut, unitFor } from "./hypergradient/fixed.ts";
import { bitsKept, segmentsOf } from "./hypergradient/spills.ts";
import {
  backwards,
  begin,
  countsOf,
  type End,
  forwards,
  type Run,
  type Schedule,
} from "./hypergradient/sweeps.ts";
import { checkSame, flatten, unflatten } from "../graph/tree.ts";
import { named, type Tree, treeOf } from "./tree.ts";

/**
 * A hyperparameter: one for all parameters, or a tree with one for each. Each is a scalar, or has a
 * first axis with a row for every step; rows are scalars or broadcast to the parameter.
 */
export type Hyperparameter = Tensor | number | Tree;

/** What a run of training depends on, besides its parameters and data. */
export interface TrainingSchedule {
  /** Step sizes. */
  readonly rates: Hyperparameter;
  /** Momenta, rounded to multiples of 1 / `denominator`, in [`least`, 1]. */
  readonly momenta: Hyperparameter;
  /** The gradient of a penalty, decay·parameter, is added to that of the loss. @default {none} */
  readonly decay?: Hyperparameter | null;
}

/** The loss that a step goes down; `step` counts from 0, a u32 scalar. */
export type StepLoss<P, D> = (params: P, data: D, step: Tensor) => Tensor;

/** Options for {@linkcode trainingRun}. */
export interface TrainingRunOptions {
  /** How many steps. */
  steps: number;
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

/** How a run ended. */
export interface TrainedRun<P> {
  /** The parameters after the last step. */
  readonly params: P;
  /** The velocities after the last step. */
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
  /** Bits per parameter that are kept for the way back, the buffer's 32 included. */
  readonly bits: number;
}

const action = "a training run";

/**
 * Descent with momentum as a function that can be differentiated: V ← γV - (1-γ)g, X ← X + αV. The
 * derivatives of what it returns, by `grad` or `vjp`, reach parameters, rates, momenta, decay and
 * the floats among the data. Going back costs a Hessian-vector product a step, about three times the
 * way forward, and memory of a few copies of the parameters plus {@linkcode TrainingRun.bits} for
 * each of them, whatever the loss keeps for one gradient, and nothing that grows with activations.
 *
 * The run is in fixed point, so parameters are rounded to it at the start, and it is what a float
 * run is but for rounding. Rounding counts as the identity. What comes back at the beginning is
 * compared with what was there, bit for bit; a difference is an error at the next await. So are
 * values beyond the range, NaN among them, and momenta that cannot be had.
 *
 * The loss must be a function of what it is given: derivatives with respect to tensors that it
 * closes over are an error. So are derivatives of derivatives.
 *
 * @throws {RangeError} If an option is out of its range.
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
 */
export function trainingRun<P extends Tree, D extends Tree>(
  loss: StepLoss<P, D>,
  options: TrainingRunOptions,
): TrainingRun<P, D> {
  const { steps, denominator = 100, least = 0.5, range = {} } = options;
  const { params: reach = 64, velocity: speed = 8 } = range;
  checkCount(action, "steps", steps, 0);
  checkCount(action, "denominator", denominator);
  if (denominator > 65535) checkNumber(action, "denominator", denominator, 1, 65535, true);
  checkNumber(action, "least", least, 0.5 / denominator, 1, true);
  checkNumber(action, "range.params", reach, Number.MIN_VALUE, 2 ** 31);
  checkNumber(action, "range.velocity", speed, Number.MIN_VALUE, 2 ** 31);
  const smallest = Math.max(1, Math.floor(least * denominator * (1 + 1e-9)));
  const segments = segmentsOf(steps, { n: smallest, d: denominator });
  const shared = {
    steps,
    segments,
    denominator,
    units: { position: unitFor(reach), velocity: unitFor(speed) },
  };

  const train = (params: P, schedule: TrainingSchedule, data: D): TrainedRun<P> => {
    const start = named(params, "params"), given = named(data, "data");
    start.leaves.forEach((p, i) => {
      if (p.dtype === "f32") return;
      throw new TypeError(
        `Cannot train: ${pathOf("params", start.paths[i]!)} is ${p.dtype}, expected f32`,
      );
    });
    const rows = (name: "rates" | "momenta" | "decay", value: Hyperparameter): Tensor[] =>
      rowsOf(name, value, start, steps);
    const { rates, momenta, decay } = schedule;
    const all: Schedule = {
      rates: rows("rates", rates),
      momenta: rows("momenta", momenta),
      decay: decay === undefined || decay === null ? null : rows("decay", decay),
    };
    checkMomenta(all.momenta, smallest, denominator);
    const floats = given.leaves.map(({ dtype }) => isFloat(dtype));
    const runOf = (others: readonly Tensor[]): Run => ({
      ...shared,
      loss(x, theta, step) {
        const [float, other] = [theta.values(), others.values()];
        const leaves = floats.map((is) => (is ? float : other).next().value as Tensor);
        return loss(
          treeOf(start.structure, x) as P,
          treeOf(given.structure, leaves) as D,
          step,
        );
      },
    });
    const [x, v] = reversed(runOf)(
      start.leaves,
      all,
      given.leaves.filter((_, i) => floats[i]),
      given.leaves.filter((_, i) => !floats[i]),
    );
    return {
      params: treeOf(start.structure, x) as P,
      velocity: treeOf(start.structure, v) as P,
    };
  };
  return Object.assign(train, { bits: bitsKept(segments) });
}

/** The leaves of a run's end, as a function with a way back of its own. */
function reversed(runOf: (others: readonly Tensor[]) => Run) {
  type Args = [params: Tensor[], schedule: Schedule, theta: Tensor[], others: Tensor[]];
  type Ended = { readonly x: Tensor[]; readonly v: Tensor[]; readonly end: End };
  function training(params: Tensor[], schedule: Schedule, theta: Tensor[], others: Tensor[]) {
    const run = runOf(others), { units } = run;
    const end = forwards(run, begin(run, params), schedule, theta);
    for (const state of [end.state.x, end.state.v]) {
      for (const values of state) {
        check(
          isOut(values).logicalNot(),
          "a parameter or a velocity left the range of its fixed point, or became NaN, expected " +
            "a run that stays within it (smaller rates, or a larger `range`)",
        );
      }
    }
    const x = end.state.x.map((x) => fromFixed(x, units.position));
    const v = end.state.v.map((v) => fromFixed(v, units.velocity));
    return { x, v, end };
  }
  const back = (cotangent: Ended, { end }: Ended, ...[params, schedule, theta, others]: Args) => {
    const run = runOf(others);
    const given = { x: cotangent.x, v: cotangent.v };
    const [start, found] = backwards(run, end, schedule, theta, given);
    const from = begin(run, params);
    const same = (a: Tensor[], b: Tensor[]): void =>
      a.forEach((x, i) =>
        check(
          x.equal(b[i]!),
          "reversing the steps did not lead back to the beginning, expected the same bits (the " +
            "driver computes a gradient otherwise the second time)",
        )
      );
    same(start.x, from.x);
    same(start.v, from.v);
    same(start.b, from.b);
    return [found.params, found.schedule, found.theta, null] as const;
  };
  /** The way back is through whole numbers: it has no derivative, and must not seem to have one. */
  const once = (cotangent: Ended, result: Ended, ...args: Args) =>
    customVjp(
      (cotangent: Ended, result: Ended, args: Args) => back(cotangent, result, ...args),
      () => {
        throw new TypeError(
          "Cannot differentiate a training run twice, or in forward mode: its way back is exact, " +
            "in whole numbers, expected one derivative in reverse mode",
        );
      },
    )(cotangent, result, args);
  const run = customVjp(training, once);
  return (...args: Args): [Tensor[], Tensor[]] => {
    const { x, v } = run(...args);
    return [x, v];
  };
}

function pathOf(name: string, path: string): string {
  return path === "" ? name : `${name}.${path}`;
}

/** A hyperparameter as rows for each parameter. */
function rowsOf(
  name: string,
  value: Hyperparameter,
  params: ReturnType<typeof named>,
  steps: number,
): Tensor[] {
  const fail = (path: string, is: string, expected: string): never => {
    throw new TypeError(`Cannot train: ${pathOf(name, path)} is ${is}, expected ${expected}`);
  };
  const one = (x: Tensor | number, leaf: Tensor, path: string): Tensor => {
    const rows = typeof x === "number" ? full([], x) : x;
    if (rows.dtype !== "f32") fail(path, rows.dtype, "f32");
    if (rows.rank === 0) return rows.broadcastTo([steps]);
    const [first, ...rest] = rows.shape;
    const both = broadcastShapes(rest, leaf.shape);
    if (first !== steps || both === undefined || !sameShape(both, leaf.shape)) {
      fail(
        path,
        `f32${showShape(rows.shape)}`,
        `a scalar, or ${steps} rows that broadcast to ${showShape(leaf.shape)}`,
      );
    }
    return rows;
  };
  if (value instanceof Tensor || typeof value === "number") {
    return params.leaves.map((leaf) => one(value, leaf, ""));
  }
  const given = flatten(value, isNumeric, name);
  checkSame(`train: ${name} and params`, params.structure, given.structure);
  return params.leaves.map((leaf, i) => one(given.leaves[i]!, leaf, params.paths[i]!));
}

function isNumeric(x: unknown): x is Tensor | number {
  return x instanceof Tensor || typeof x === "number";
}

/** Has the device look at momenta. */
function checkMomenta(momenta: readonly Tensor[], smallest: number, denominator: number): void {
  for (const m of new Set(momenta)) {
    const n = countsOf(m, denominator);
    const held = n.greaterEqual(smallest).logicalAnd(n.lessEqual(denominator));
    // Rounded to 1 it would never let go of the past, nor take anything new in.
    const meant = n.less(denominator).logicalOr(m.equal(1));
    check(
      held.logicalAnd(meant).logicalAnd(m.isFinite()),
      `a momentum is out of [${smallest / denominator}, 1], or is rounded to 1, expected ` +
        `multiples of 1/${denominator} in that range (\`least\` and \`denominator\` set it)`,
    );
  }
}

/** Options for {@linkcode hypergradient}. */
export interface HypergradientOptions<P, D> extends TrainingRunOptions {
  /**
   * What the trained parameters are judged by; a scalar.
   *
   * @default {the loss, as of the step after the last}
   */
  objective?: (params: P, data: D) => Tensor;
}

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
    readonly momenta: Tree;
    /** Null without decay. */
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
  const { steps } = options;
  const train = trainingRun(loss, options);
  const objective = options.objective ??
    ((params: P, data: D) => loss(params, data, full([], steps, { dtype: "u32" })));
  return (params, schedule, data) => {
    const { rates, momenta, decay = null } = schedule;
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
      const data = dataOf(all.floats);
      const trained = train(all.params as P, all as TrainingSchedule, data);
      return [objective(trained.params, data), trained.params] as const;
    };
    const all = {
      params: params as Tree,
      rates: tensors(rates),
      momenta: tensors(momenta),
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
  readonly decay: Tree;
  readonly floats: readonly Tensor[];
};
