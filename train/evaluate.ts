/**
 * Scoring a model on a data set: batches as one program, sums on the device, one wait at the end.
 *
 * @module
 */
import type { Dataset } from "../data/dataset.ts";
import { arange, tensor } from "../graph/create.ts";
import { checkOptions } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import { readAll, type Tensor } from "../graph/tensor.ts";
import type { Tree } from "../optim/tree.ts";
import { compile, type Compiled } from "../runtime/compile.ts";
import {
  applyModel,
  checkData,
  checkTask,
  defaultAccuracy,
  defaultLoss,
  type Score,
  type Task,
} from "./task.ts";

type Totals = { readonly cursor: Tensor; readonly loss: Tensor; readonly accuracy: Tensor };

/** Scores parameters on a data set, in batches, with one wait at the end. */
export class Evaluator {
  readonly #rows: Tensor;
  readonly #steps: number;
  readonly #size: number;
  readonly #step: Compiled<readonly [Totals, Tree, Tree, Tensor], Totals>;

  /**
   * An evaluator of a task on a data set.
   *
   * @throws {RangeError} If the data set is empty.
   */
  constructor(task: Task, data: Dataset, batch: number = 500) {
    if (data.size === 0) {
      throw new RangeError("Cannot evaluate: the data set is empty, expected at least one sample");
    }
    const { loss = defaultLoss, accuracy = defaultAccuracy } = task;
    const size = Math.min(batch, data.size);
    this.#size = data.size;
    this.#steps = Math.ceil(data.size / size);
    // The last batch is filled up with some row, whose score counts for nothing.
    const rows = new Uint32Array(this.#steps * size).fill(data.rows[0]!);
    rows.set(data.rows);
    this.#rows = tensor(rows, { dtype: "u32" });
    const evaluationStep = (
      totals: Totals,
      params: Tree,
      statistics: Tree,
      rows: Tensor,
    ): Totals => {
      const position = totals.cursor.mul(size).add(arange(size).cast("u32"));
      const { x, y } = data.at(rows.take(position));
      const [output] = applyModel(task, params, statistics, x, {});
      const real = position.less(data.size);
      return {
        cursor: totals.cursor.add(1),
        loss: totals.loss.add(where(real, loss(output, y), 0).sum()),
        accuracy: totals.accuracy.add(where(real, accuracy(output, y), 0).sum()),
      };
    };
    this.#step = compile(evaluationStep, { donate: [0], name: "evaluation step" });
  }

  /** Sums over the whole data set, still on the device; {@linkcode score} is made of their values. */
  run(params: Tree, statistics: Tree): readonly [loss: Tensor, accuracy: Tensor] {
    let totals: Totals = {
      cursor: tensor(0, { dtype: "u32" }),
      loss: tensor(0),
      accuracy: tensor(0),
    };
    for (let i = 0; i < this.#steps; i++) {
      totals = this.#step(totals, params, statistics, this.#rows);
    }
    totals.cursor.dispose();
    return [totals.loss, totals.accuracy];
  }

  /** Means from the values of the sums. */
  score(sums: readonly number[]): Score {
    return { loss: sums[0]! / this.#size, accuracy: sums[1]! / this.#size };
  }
}

/**
 * Mean loss and accuracy of a model on a data set.
 *
 * @param task The model, and loss and accuracy if they are not the usual ones.
 * @param data What to score it on.
 * @param params Its parameters.
 * @param statistics Its running statistics, if it has any.
 *
 * @throws {RangeError} If the data set is empty.
 */
export async function evaluate(
  task: Task,
  data: Dataset,
  params: Tree,
  statistics: Tree = null,
): Promise<Score> {
  checkOptions(task, "evaluate", "{ model }");
  checkTask("evaluate", task);
  checkData("evaluate", "the data set", data);
  const evaluator = new Evaluator(task, data);
  const sums = await readAll(evaluator.run(params, statistics));
  return evaluator.score(sums.map((data) => data[0]!));
}
