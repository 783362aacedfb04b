/**
 * What a run of training is asked for, and what it brings.
 *
 * @module
 */
import type { Dataset } from "../data/dataset.ts";
import type { Names } from "../graph/describe.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Plateau } from "../optim/plateau.ts";
import type { Tree } from "../optim/tree.ts";
import type { StopSignal } from "./interrupt.ts";
import type { ProgressSink } from "./progress.ts";
import type { Best, EpochRecord, Settings } from "./record.ts";
import type { Improvement, Task, TrainState, TrainStep } from "./task.ts";

/** How to train. */
export interface FitOptions<P extends Tree = Tree> extends Task<P> {
  /** How parameters are improved; with `plateau`, by the optimizer for the rate of the epoch. */
  optimizer: Improvement;
  /** What is trained on. */
  train: Dataset;
  /** What decides which parameters are the best. */
  validation: Dataset;
  /** Passes over the training set. */
  epochs: number;
  /** Samples in a step. @default {128} */
  batch?: number;
  /** Seed of parameters, order and dropout. @default {0} */
  seed?: number;
  /**
   * Ends training after so many epochs in a row that were no better than the best.
   *
   * @default {never}
   */
  patience?: number;
  /** A rate that falls where the validation loss stops getting better. @default {none} */
  plateau?: Plateau;
  /**
   * Steps that go to the device as one program. It ends cleanly between those only.
   *
   * @default {50 where an epoch has 1000 steps or more, else 1}
   */
  stepsPerSubmit?: number;
  /**
   * Folder for `model.safetensors`, the best parameters, and `state.safetensors`, everything that a
   * resumed run needs.
   */
  out?: string;
  /** Go on with the state in `out`. @default {false} */
  resume?: boolean;
  /** What must be the same when the run is resumed, besides seed and batch. @default {{}} */
  settings?: Settings;
  /** Where progress is told, or null for nowhere. @default {standard output} */
  sink?: ProgressSink | null;
  /** End cleanly at SIGINT and SIGTERM. @default {true} */
  signals?: boolean;
  /** Ends training as a signal does. */
  abort?: AbortSignal;
}

/** What training brought. */
export interface FitResult<P extends Tree = Tree> {
  /** The parameters of the best epoch; before the first is finished, the latest. */
  readonly params: P;
  /** The running statistics that belong to them. */
  readonly statistics: Tree;
  /** The best epoch, if one was finished. */
  readonly best: Best | null;
  /** What every epoch brought, those before resuming included. */
  readonly history: readonly EpochRecord[];
  /** Seconds of training, those before resuming included. */
  readonly seconds: number;
  /** Device memory while training, sampled. */
  readonly memory: readonly MemorySample[];
  /** What ended it before its time, if anything did. */
  readonly stopped: Stop | undefined;
  /** The step, for profiling, and arguments to call it with; the state is donated. */
  readonly step: TrainStep<P>;
  readonly args: readonly [state: TrainState<P>, order: Tensor];
}

/** What ends training before its time. */
export type Stop = StopSignal | "abort" | "patience";

/** Device memory at a moment. */
export interface MemorySample {
  /** Since this process began to train. */
  readonly seconds: number;
  readonly live: number;
  readonly peak: number;
}

/** The names of {@linkcode FitOptions}. */
export const fitOptionNames: Names<FitOptions> = {
  model: true,
  loss: true,
  accuracy: true,
  optimizer: true,
  train: true,
  validation: true,
  epochs: true,
  batch: true,
  seed: true,
  patience: true,
  plateau: true,
  stepsPerSubmit: true,
  out: true,
  resume: "flag",
  settings: true,
  sink: true,
  signals: "flag",
  abort: true,
};
