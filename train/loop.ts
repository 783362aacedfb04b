/**
 * The loop: epochs of compiled steps, a validation pass after each, the best parameters kept, the
 * state saved. The device is read about twice a second and never for a step's sake; what is read
 * is only shown, so that pauses, signals and resuming change no bit of the result: the order of
 * samples is a function of seed and epoch, and everything else is in the state.
 *
 * @module
 */
import { expectWritable } from "../data/durable.ts";
import { tensor } from "../graph/create.ts";
import { checkNames, describe } from "../graph/describe.ts";
import { readAll, type Tensor } from "../graph/tensor.ts";
import { leaves, map, type Tree } from "../optim/tree.ts";
import { countAs, memory } from "../runtime/init.ts";
import { Evaluator } from "./evaluate.ts";
import {
  fitOptionNames,
  type FitOptions,
  type FitResult,
  type MemorySample,
  type Stop,
} from "./fit_options.ts";
import { showLoss, showSeconds, showShare } from "./format.ts";
import { Interrupt } from "./interrupt.ts";
import { Pauses } from "./pauses.ts";
import { Progress, standardOutput } from "./progress.ts";
import { curveOf, isBetter, meanOf, type RunRecord, type Settings } from "./record.ts";
import { loadRun, type Model, modelOf, saveModel, saveRun } from "./saved.ts";
import {
  checkData,
  checkTask,
  compileStep,
  emptyMetrics,
  initialState,
  type Pace,
  paceOf,
  type TrainState,
  type TrainStep,
} from "./task.ts";

/**
 * Trains a model.
 *
 * @throws {RangeError} If numbers or data sets do not fit each other.
 * @throws {TypeError} If a run is resumed with other settings than it was begun with.
 * @throws {Error} If the loss becomes NaN, or there is nothing to resume.
 *
 * @example Usage
 * ```ts ignore
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init();
 * const { train, test } = await rg.data.mnist();
 * const { fit, validation } = train.split({ fit: 55_000, validation: 5_000 });
 * const model = rg.nn.mlp([784, 512, 10]);
 * const { params } = await rg.train.fit({
 *   model,
 *   optimizer: rg.optim.adam(),
 *   train: fit,
 *   validation,
 *   epochs: 3,
 *   out: "runs/mnist",
 * });
 * console.log(await rg.train.evaluate({ model }, test, params));
 * ```
 */
export async function fit<P extends Tree>(options: FitOptions<P>): Promise<FitResult<P>> {
  const run = await Run.begin(options);
  using interrupt = options.signals === false ? undefined : new Interrupt();
  const stopped = () => interrupt?.signal ?? (options.abort?.aborted ? "abort" : undefined);
  while (run.record.epochs < options.epochs) {
    if (run.outOfPatience) return run.result("patience");
    if (!await run.epoch(stopped)) return run.result(stopped());
  }
  return run.result(undefined);
}

/** One run: its state, its past, and what it was asked to do. */
class Run<P extends Tree> {
  readonly #pace: Pace;
  readonly #seed: number;
  readonly #step: TrainStep<P>;
  readonly #steps: TrainStep<P>;
  readonly #evaluator: Evaluator;
  readonly #progress: Progress | undefined;
  readonly #began = performance.now();
  readonly #before: number;
  readonly #memory: MemorySample[] = [];
  #state: TrainState<P>;
  #best: Model<P> | undefined;
  #order: Tensor | undefined;
  record: RunRecord;

  private constructor(
    readonly options: FitOptions<P>,
    pace: Pace,
    state: TrainState<P>,
    record: RunRecord,
    best: Model<P> | undefined,
  ) {
    const { optimizer, train, validation, seed = 0, sink = standardOutput() } = options;
    this.#pace = pace;
    this.#seed = seed;
    this.#step = compileStep(options, optimizer, train, pace, seed);
    this.#steps = pace.group === 1
      ? this.#step
      : compileStep(options, optimizer, train, pace, seed, pace.group);
    this.#evaluator = new Evaluator(options, validation);
    this.#progress = sink === null ? undefined : new Progress(sink);
    this.#state = state;
    this.#best = best;
    this.#before = record.seconds;
    this.record = record;
  }

  /** A run at its beginning, or where it was left. */
  static async begin<P extends Tree>(options: FitOptions<P>): Promise<Run<P>> {
    checkNames(options, fitOptionNames, "train");
    checkTask("train", options);
    for (const name of ["train", "validation"] as const) checkData("train", name, options[name]);
    const { optimizer, train, out, batch = 128, seed = 0, plateau } = options;
    if (typeof optimizer !== "function" && typeof optimizer?.update !== "function") {
      throw new TypeError(
        `Cannot train: optimizer is ${describe(optimizer)}, expected an optimizer`,
      );
    }
    const { sink } = options;
    if (sink !== undefined && sink !== null && typeof sink.write !== "function") {
      throw new TypeError(
        `Cannot train: sink is ${describe(sink)}, expected what can be written to, or null`,
      );
    }
    for (const name of ["epochs", "patience"] as const) {
      const count = options[name];
      if (count === undefined && name === "patience") continue;
      if (!Number.isSafeInteger(count) || count! < 1) {
        throw new RangeError(`Cannot train: ${name} is ${count}, expected a positive integer`);
      }
    }
    if ((plateau === undefined) === (typeof optimizer === "function")) {
      throw new TypeError(
        plateau === undefined
          ? "Cannot train: the optimizer is a function of a rate, expected a plateau to set it"
          : "Cannot train: there is a plateau and an optimizer, expected a function from the rate " +
            "to an optimizer",
      );
    }
    const pace = paceOf(train.size, batch, options.stepsPerSubmit);
    const start = plateau?.init() ?? null;
    // A folder that may not be written is better known before an epoch than after it.
    if (out !== undefined) await expectWritable(out);
    const { group: stepsPerSubmit } = pace;
    const settings: Settings = {
      ...options.settings,
      batch,
      seed,
      samples: train.size,
      stepsPerSubmit,
    };
    const fresh = initialState(options, optimizer, pace, seed, start?.rate);
    if (options.resume !== true) {
      const record = {
        settings,
        epochs: 0,
        steps: 0,
        stepSeconds: 0,
        history: [],
        best: null,
        plateau: start,
        seconds: 0,
      };
      return new Run(options, pace, account(fresh), record, undefined);
    }
    if (out === undefined) {
      throw new TypeError("Cannot resume: there is no folder out, expected that of an earlier run");
    }
    const { state, best, record, elsewhere } = await loadRun(out, fresh, settings, pace.steps);
    const kept = record.best === null ? undefined : best;
    const run = new Run(options, pace, account(state), record, kept);
    if (elsewhere !== undefined) run.#progress?.print(elsewhere);
    // It may be missing, older, or of another run.
    await saveModel(out, run.#model(), record.best);
    return run;
  }

  /** Whether the best epoch is so long ago that there is no hope for a better one. */
  get outOfPatience(): boolean {
    const { patience = Infinity } = this.options, { best, epochs } = this.record;
    return epochs - (best?.epoch ?? 0) >= patience;
  }

  /** Trains to the end of the epoch; false if it was asked to stop before. */
  async epoch(stopped: () => Stop | undefined): Promise<boolean> {
    const { epochs } = this.record, { steps, batch, group } = this.#pace;
    const rows = this.options.train.order(this.#seed, epochs).subarray(0, steps * batch);
    this.#order?.dispose();
    const order = this.#order = tensor(rows, { dtype: "u32" });
    const before = this.record.stepSeconds, began = performance.now();
    const seconds = () => before + (performance.now() - began) / 1000;
    const pauses = new Pauses();
    for (let done = this.record.steps; done < steps;) {
      const count = done + group <= steps ? group : 1;
      this.#state = (count === 1 ? this.#step : this.#steps)(this.#state, order);
      done += count;
      this.record = { ...this.record, steps: done };
      if (!pauses.due(count) || done === steps) continue;
      this.#show(await this.#look(), done, pauses.over() * batch);
      const reason = stopped();
      if (reason !== undefined) {
        this.#progress?.print(
          `${reason}: stopping in epoch ${epochs + 1} after step ${done} of ${steps}`,
        );
        this.record = { ...this.record, stepSeconds: seconds() };
        await this.#save();
        return false;
      }
    }
    await this.#finish(seconds);
    return true;
  }

  /** The metrics of the epoch so far, and what they say. */
  async #look(...more: Tensor[]): Promise<{ sums: Sums; more: number[] }> {
    const { losses, accuracies } = this.#state;
    const [loss, accuracy, ...rest] = await readAll([losses, accuracies, ...more]);
    if (loss!.some(Number.isNaN)) {
      throw new Error(
        `Cannot go on: the loss is NaN in epoch ${this.record.epochs + 1}, expected a number ` +
          "(a smaller rate? locateNaN() finds the operation)",
      );
    }
    const { live, peak } = memory();
    this.#memory.push({ seconds: (performance.now() - this.#began) / 1000, live, peak });
    return { sums: { loss: loss!, accuracy: accuracy! }, more: rest.map((data) => data[0]!) };
  }

  #show({ sums }: { sums: Sums }, step: number, rate: number): void {
    const { live, peak } = this.#memory.at(-1)!;
    this.#progress?.update({
      epoch: this.record.epochs + 1,
      epochs: this.options.epochs,
      step,
      steps: this.#pace.steps,
      loss: meanOf(sums.loss, step),
      accuracy: meanOf(sums.accuracy, step),
      rate,
      live,
      peak,
    });
  }

  /** Ends an epoch: validates, keeps the best, saves. */
  async #finish(elapsed: () => number): Promise<void> {
    const { optimizer: { params }, statistics } = this.#state;
    const { steps, stride, slots } = this.#pace;
    const totals = this.#evaluator.run(params, statistics);
    const { sums, more } = await this.#look(...totals);
    const validation = this.#evaluator.score(more);
    const epoch = this.record.epochs + 1, seconds = elapsed();
    const train = { loss: meanOf(sums.loss, steps), accuracy: meanOf(sums.accuracy, steps) };
    const curve = {
      loss: curveOf(sums.loss, stride, steps),
      accuracy: curveOf(sums.accuracy, stride, steps),
    };
    const better = isBetter(validation, this.record.best);
    if (better) this.#best = await copyToHost({ params, statistics });
    // The collector would do it in its time; so the memory of a run is the same at every epoch.
    const { cursor, losses, accuracies } = this.#state;
    for (const x of [...totals, cursor, losses, accuracies]) x.dispose();
    const { plateau: schedule } = this.options, before = this.record.plateau;
    const plateau = before === null ? null : schedule!.observe(before, validation.loss);
    const falls = plateau !== null && plateau.rate !== before!.rate;
    if (falls) this.#state.rate!.dispose();
    const rate = falls ? { rate: tensor(plateau.rate) } : {};
    this.#state = account({ ...this.#state, ...rate, ...emptyMetrics(slots) });
    this.record = {
      ...this.record,
      epochs: epoch,
      steps: 0,
      stepSeconds: 0,
      history: [...this.record.history, { epoch, train, validation, curve, seconds }],
      best: better ? { epoch, ...validation } : this.record.best,
      plateau,
    };
    this.#progress?.print(
      `epoch ${epoch}/${this.options.epochs}  loss ${showLoss(train.loss)}  accuracy ${
        showShare(train.accuracy)
      }  validation: loss ${showLoss(validation.loss)}  accuracy ${showShare(validation.accuracy)}${
        better ? " (best)" : ""
      }  ${showSeconds(seconds)}`,
    );
    if (falls) this.#progress?.print(`the rate falls to ${Number(plateau.rate.toPrecision(4))}`);
    if (this.outOfPatience) {
      this.#progress?.print(
        `epoch ${this.record.best?.epoch} is still the best after ${this.options.patience} more`,
      );
    }
    await this.#save();
  }

  /** Saves the state, then the best parameters by themselves, if they are new. */
  async #save(): Promise<void> {
    this.record = { ...this.record, seconds: this.#seconds() };
    const { out } = this.options;
    if (out === undefined) return;
    await saveRun(out, this.#state, this.#model(), this.record);
    const { best, epochs } = this.record;
    if (best === null || best.epoch === epochs) await saveModel(out, this.#model(), best);
  }

  /** The best parameters; before the first epoch is finished, the latest. */
  #model(): Model<P> {
    return this.#best ?? modelOf(this.#state);
  }

  #seconds(): number {
    return this.#before + (performance.now() - this.#began) / 1000;
  }

  result(stopped: Stop | undefined): FitResult<P> {
    const { best, history } = this.record;
    return {
      ...this.#model(),
      best,
      history,
      seconds: this.#seconds(),
      memory: this.#memory,
      stopped,
      step: this.#step,
      args: [this.#state, this.#order ?? tensor(this.options.train.rows, { dtype: "u32" })],
    };
  }
}

interface Sums {
  readonly loss: ArrayLike<number>;
  readonly accuracy: ArrayLike<number>;
}

/** Copies on the host, which outlive the donation of the originals. */
async function copyToHost<T extends Tree>(tree: T): Promise<T> {
  const data = await readAll(leaves(tree));
  let next = 0;
  return map(({ shape, dtype }) => tensor(data[next++]!, { shape, dtype }), tree);
}

/** Has the memory of a state accounted as what it is. */
function account<P extends Tree>(state: TrainState<P>): TrainState<P> {
  countAs("parameters", state.optimizer.params);
  countAs("state", [state.optimizer.memory, state.optimizer.step, state.statistics]);
  return state;
}
