/**
 * What is trained, and one step of it as one program: gather a batch, forwards, backwards, update,
 * and metrics. The position in the epoch and the metrics are part of the state and stay on the
 * device; a step uploads nothing and reads nothing.
 *
 * @module
 */
import type { Dataset } from "../data/dataset.ts";
import { arange, tensor, zeros } from "../graph/create.ts";
import { describe } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import { foldIn, key as makeKey } from "../graph/random.ts";
import { loop } from "../graph/scan.ts";
import type { Tensor } from "../graph/tensor.ts";
import { valueAndGrad } from "../graph/transforms.ts";
import type { ApplyOptions, Layer, StatefulLayer } from "../nn/layer.ts";
import { accuracy, crossEntropy } from "../nn/losses.ts";
import type { Optimizer, State } from "../optim/optimizer.ts";
import type { Tree } from "../optim/tree.ts";
import { compile, type Compiled } from "../runtime/compile.ts";

/** A function of outputs and targets with one value per sample: [n]. */
export type PerSample = (output: Tensor, target: Tensor) => Tensor;

/** A model and what it is to be good at. */
export interface Task<P extends Tree = Tree> {
  /** The model, with or without running statistics. */
  readonly model: Layer<P> | StatefulLayer<P>;
  /** What is minimised. @default {cross-entropy of logits and labels} */
  readonly loss?: PerSample;
  /** What is told as accuracy: 1 where right, 0 where wrong. @default {largest logit is the label's} */
  readonly accuracy?: PerSample;
}

/** How parameters are improved: by an optimizer, or by one for a rate that falls on plateaus. */
export type Improvement = Optimizer | ((rate: Tensor) => Optimizer);

/** The optimizer at a rate, which is null where nothing changes it. */
function optimizerAt(how: Improvement, rate: Tensor | null): Optimizer {
  return typeof how === "function" ? how(rate!) : how;
}

/** Everything that changes from step to step. */
export type TrainState<P extends Tree = Tree> = {
  /** Parameters and what the optimizer remembers. */
  readonly optimizer: State<P>;
  /** The rate, an f32 scalar, if it falls on plateaus. */
  readonly rate: Tensor | null;
  /** Running statistics of the model, if it has any. */
  readonly statistics: Tree;
  /** Steps done in this epoch, a u32 scalar. */
  readonly cursor: Tensor;
  /** Sums of the losses of steps, in slots along the epoch, f32. */
  readonly losses: Tensor;
  /** Sums of the accuracies of steps, in the same slots. */
  readonly accuracies: Tensor;
};

/** Means over samples. */
export interface Score {
  /** Mean loss. */
  readonly loss: number;
  /** Mean accuracy. */
  readonly accuracy: number;
}

/** Cross-entropy of logits and labels. */
export const defaultLoss: PerSample = (output, target) =>
  crossEntropy(output, target, { reduction: "none" });
/** 1 where the largest logit is the label's. */
export const defaultAccuracy: PerSample = (output, target) =>
  accuracy(output, target, { reduction: "none" });

/** Throws unless there is a model. */
export function checkTask(action: string, { model }: Task): void {
  if (typeof model?.apply === "function") return;
  throw new TypeError(`Cannot ${action}: model is ${describe(model)}, expected a layer`);
}

/** Throws unless a data set is one. */
export function checkData(action: string, name: string, data: Dataset): void {
  if (typeof data?.at === "function" && Number.isSafeInteger(data.size)) return;
  throw new TypeError(`Cannot ${action}: ${name} is ${describe(data)}, expected a data set`);
}

/** Applies a model with or without statistics. */
export function applyModel(
  { model }: Task,
  params: Tree,
  statistics: Tree,
  x: Tensor,
  options: ApplyOptions,
): [Tensor, Tree] {
  return "initState" in model
    ? model.apply(params, statistics, x, options)
    : [model.apply(params, x, options), statistics];
}

/** How an epoch is cut into steps, and its curve into slots. */
export interface Pace {
  /** Samples in a step. */
  readonly batch: number;
  /** Steps in an epoch; the samples that do not fill a batch wait for the next shuffle. */
  readonly steps: number;
  /** Steps in a slot. */
  readonly stride: number;
  /** Slots in an epoch. */
  readonly slots: number;
  /** Steps that go to the device together. */
  readonly group: number;
}

/** More points than a curve can show. */
const MOST_SLOTS = 1024;
/** Epochs of more steps have small ones: so many go to the device together. */
const MANY_STEPS = 1000, GROUP = 50;

/**
 * The pace of a number of samples.
 *
 * @throws {RangeError} If the batch is no positive integer, or larger than that number, or the group
 * is no positive integer.
 */
export function paceOf(samples: number, batch: number, group?: number): Pace {
  if (!Number.isSafeInteger(batch) || batch < 1 || batch > samples) {
    throw new RangeError(
      `Cannot train on ${samples} samples: the batch is ${batch}, expected an integer in [1, ${samples}]`,
    );
  }
  if (group !== undefined && !(Number.isSafeInteger(group) && group >= 1)) {
    throw new RangeError(
      `Cannot train: stepsPerSubmit is ${group}, expected a positive integer`,
    );
  }
  const steps = Math.floor(samples / batch), stride = Math.ceil(steps / MOST_SLOTS);
  const together = group ?? (steps >= MANY_STEPS ? GROUP : 1);
  return {
    batch,
    steps,
    stride,
    slots: Math.ceil(steps / stride),
    group: Math.min(together, steps),
  };
}

/** The state before the first step. */
export function initialState<P extends Tree>(
  task: Task<P>,
  optimizer: Improvement,
  { slots }: Pace,
  seed: number,
  rate: number | null = null,
): TrainState<P> {
  const { model } = task;
  const now = rate === null ? null : tensor(rate);
  return {
    optimizer: optimizerAt(optimizer, now).init(model.init(makeKey(seed))),
    rate: now,
    statistics: "initState" in model ? model.initState() : null,
    ...emptyMetrics(slots),
  };
}

/** The part of the state that every epoch begins anew. */
export function emptyMetrics(
  slots: number,
): Pick<TrainState, "cursor" | "losses" | "accuracies"> {
  return {
    cursor: tensor(0, { dtype: "u32" }),
    losses: zeros([slots]),
    accuracies: zeros([slots]),
  };
}

/** A step: the state after one more batch of an epoch's order (rows of the data set, u32). */
export type TrainStep<P extends Tree> = Compiled<
  readonly [state: TrainState<P>, order: Tensor],
  TrainState<P>
>;

/**
 * Compiles the step of a task, or several as one program, which small steps are quicker in: they go
 * to the device together. The state is donated.
 */
export function compileStep<P extends Tree>(
  task: Task<P>,
  optimizer: Improvement,
  data: Dataset,
  pace: Pace,
  seed: number,
  count: number = 1,
): TrainStep<P> {
  const { loss = defaultLoss, accuracy = defaultAccuracy } = task;
  const dropKey = foldIn(makeKey(seed), 0x6b657973); // apart from the keys of the parameters
  const trainStep = (state: TrainState<P>, order: Tensor): TrainState<P> => {
    const { cursor, statistics } = state;
    const within = arange(pace.batch).cast("u32");
    const { x, y } = data.at(order.take(cursor.mul(pace.batch).add(within)));
    const key = foldIn(dropKey, state.optimizer.step);
    const objective = (params: P) => {
      const [output, after] = applyModel(task, params, statistics, x, { train: true, key });
      const right = accuracy(output, y).mean();
      return [loss(output, y).mean(), { right, after }] as const;
    };
    const [[value, { right, after }], gradient] = valueAndGrad(objective, { hasAux: true })(
      state.optimizer.params,
    );
    const here = arange(pace.slots).cast("u32").equal(cursor.floorDiv(pace.stride));
    return {
      optimizer: optimizerAt(optimizer, state.rate).update(state.optimizer, gradient as Tree),
      rate: state.rate,
      statistics: after,
      cursor: cursor.add(1),
      losses: state.losses.add(where(here, value, 0)),
      accuracies: state.accuracies.add(where(here, right, 0)),
    };
  };
  const trainSteps = (state: TrainState<P>, order: Tensor): TrainState<P> =>
    loop((state: TrainState<P>) => trainStep(state, order), state, { length: count });
  return count === 1
    ? compile(trainStep, { donate: [0], name: "train step" })
    : compile(trainSteps, { donate: [0], name: `${count} train steps` });
}
