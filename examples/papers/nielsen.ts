/**
 * Nielsen's depth table (Neural networks and deep learning, chapter 5): do more hidden layers help
 * a network of sigmoids? His settings: 784 inputs, 30 units in every hidden layer, weights
 * N(0, 1/inputs), biases N(0, 1), cross-entropy of ten sigmoids, batches of 10, rate 0.1, weight
 * decay λ = 5, 30 epochs, 50 000 images to train on and 10 000 to validate.
 *
 * @module
 */
import * as rg from "@retrograd/retrograd";
import type { Experiment } from "../../bench/memory/experiment.ts";

/** The best validation accuracies that were published, in per cent, by number of hidden layers. */
const published: Readonly<Record<number, number>> = { 1: 96.48, 2: 96.90, 3: 96.57, 4: 96.53 };

const epochs = 30, batch = 10, rate = 0.1, lambda = 5;

/** A network with so many hidden layers of 30; its outputs are what the sigmoids are taken of. */
function network(hidden: number): rg.nn.Layer {
  const sizes = [784, ...Array<number>(hidden).fill(30), 10];
  const weightInit: rg.nn.Initializer = (key, shape) =>
    rg.random.normal(key, shape).mul(1 / Math.sqrt(shape[0]!));
  const biasInit: rg.nn.Initializer = (key, shape) => rg.random.normal(key, shape);
  const layers = sizes.slice(1).flatMap((outputs, i) => {
    const layer = rg.nn.linear(sizes[i]!, outputs, { weightInit, biasInit });
    return i === sizes.length - 2 ? [layer] : [layer, rg.nn.sigmoid];
  });
  return rg.nn.sequential(layers);
}

/** Cross-entropy of ten sigmoids: -Σ y·log σ(z) + (1-y)·log(1-σ(z)). */
const loss: rg.train.PerSample = (z, y) =>
  z.softplus().sum(-1).sub(z.mul(y.oneHot(10).cast("f32")).sum(-1));

/** What came out of one training run; shares in per cent. */
interface Outcome {
  /** Accuracy on the training set, in the last epoch. */
  readonly training: number;
  /** Errors on the validation set, by epoch. */
  readonly errors: readonly number[];
  readonly seconds: number;
}

const mean = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0) / x.length;

/** See the top of the file. */
export const nielsen: Experiment = {
  title: "Nielsen's depth table",
  about: "Sigmoid networks with no to four hidden layers of 30 on MNIST, 30 epochs in batches of " +
    "10, several seeds: the best validation accuracy beside Nielsen's. `--scale` trains on fewer " +
    "of the 50 000 images; then the published figures are no measure. It takes minutes a network: " +
    "`--resume` goes on after the last that was finished.",
  async run({ scale, seeds = 3, kept, progress }) {
    const { train: all } = await rg.data.mnist();
    const images = Math.max(10 * batch, Math.round(50_000 * scale));
    const train = new rg.data.Dataset(all.x, all.y, all.rows.slice(0, images));
    const validation = new rg.data.Dataset(all.x, all.y, all.rows.slice(50_000));
    const optimizer = rg.optim.sgd({
      rate,
      decoupledDecay: lambda / images,
      applies: (parameter) => parameter.rank > 1,
    });

    const runOf = async (hidden: number, seed: number): Promise<Outcome> => {
      const { history, stopped, seconds } = await rg.train.fit({
        model: network(hidden),
        loss,
        optimizer,
        train,
        validation,
        epochs,
        batch,
        seed,
        sink: {
          terminal: false,
          columns: Infinity,
          write: (text) => progress(`${hidden} hidden, seed ${seed}: ${text.trimEnd()}`),
        },
      });
      if (stopped !== undefined) {
        throw new Error(`Cannot finish: ${stopped} came, expected none; --resume goes on`);
      }
      return {
        training: 100 * history.at(-1)!.train.accuracy,
        errors: history.map(({ validation }) => 100 * (1 - validation.accuracy)),
        seconds,
      };
    };

    const rows: (string | number)[][] = [], claims = [];
    const curves: { name: string; points: [number, number][] }[] = [];
    for (const hidden of [0, 1, 2, 3, 4]) {
      const name = `${images} images, ${hidden} hidden, seed `;
      for (let seed = 0; seed < seeds; seed++) {
        if (kept.get(name).has(`${seed}`)) continue;
        await kept.put(`${name}${seed}`, await runOf(hidden, seed));
      }
      const outcomes = [...kept.get(name).values()] as Outcome[];
      const best = outcomes.map(({ errors }) => 100 - Math.min(...errors));
      const found = mean(best), wanted = published[hidden];
      rows.push([
        hidden,
        best.length,
        found.toFixed(2),
        `${Math.min(...best).toFixed(2)}-${Math.max(...best).toFixed(2)}`,
        wanted?.toFixed(2) ?? "",
        mean(outcomes.map(({ training }) => training)).toFixed(2),
        mean(outcomes.map(({ seconds }) => seconds)).toFixed(0),
      ]);
      curves.push({
        name: `${hidden} hidden`,
        points: outcomes[0]!.errors.map((_, i) => [
          i + 1,
          mean(outcomes.map(({ errors }) => errors[i]!)),
        ]),
      });
      if (scale === 1 && wanted !== undefined) {
        claims.push({
          text: `${hidden} hidden: ${found.toFixed(2)} %, published ${wanted} %, at most .5 apart`,
          met: Math.abs(found - wanted) <= 0.5,
        });
      }
      const slowest = Math.max(...outcomes.map(({ seconds }) => seconds));
      if (hidden === 4) {
        claims.push({
          text: `${epochs} epochs with four hidden layers take ${
            slowest.toFixed(0)
          } s, at most 1200`,
          met: slowest <= 1200,
        });
      }
    }
    return {
      tables: [{
        title: `Best validation accuracy in per cent, ${images} images`,
        columns: [
          "hidden layers",
          "seeds",
          "mean",
          "spread",
          "published",
          "training accuracy",
          "s a run",
        ],
        rows,
      }],
      pictures: [{
        name: "nielsen",
        title: "Validation error of sigmoid networks by depth",
        xName: "epoch",
        yName: "error, %",
        lines: curves,
      }],
      claims,
    };
  },
};
