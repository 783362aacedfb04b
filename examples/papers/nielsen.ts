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

/** See the top of the file. */
export const nielsen: Experiment = {
  title: "Nielsen's depth table",
  about: "Sigmoid networks with no to four hidden layers of 30 on MNIST, 30 epochs in batches of " +
    "10, several seeds: the best validation accuracy beside Nielsen's. `--scale` trains on fewer " +
    "of the 50 000 images; then the published figures are no measure.",
  async run({ scale, seeds = 3, progress }) {
    const { train: all } = await rg.data.mnist();
    const images = Math.max(10 * batch, Math.round(50_000 * scale));
    const train = new rg.data.Dataset(all.x, all.y, all.rows.slice(0, images));
    const validation = new rg.data.Dataset(all.x, all.y, all.rows.slice(50_000));
    const optimizer = rg.optim.sgd({
      rate,
      decoupledDecay: lambda / images,
      applies: (parameter) => parameter.rank > 1,
    });
    const rows: (string | number)[][] = [], claims = [];
    const curves: { name: string; points: [number, number][] }[] = [];
    for (const hidden of [0, 1, 2, 3, 4]) {
      const best: number[] = [], times: number[] = [], last: number[] = [];
      for (let seed = 0; seed < seeds; seed++) {
        const result = await rg.train.fit({
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
        best.push(100 * result.best!.accuracy);
        last.push(100 * result.history.at(-1)!.train.accuracy);
        times.push(result.seconds);
        if (seed === 0) {
          curves.push({
            name: `${hidden} hidden`,
            points: result.history.map((e) => [e.epoch, 100 * (1 - e.validation.accuracy)]),
          });
        }
      }
      const mean = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0) / x.length;
      const found = mean(best), wanted = published[hidden];
      rows.push([
        hidden,
        found.toFixed(2),
        `${Math.min(...best).toFixed(2)}-${Math.max(...best).toFixed(2)}`,
        wanted?.toFixed(2) ?? "",
        mean(last).toFixed(2),
        mean(times).toFixed(0),
      ]);
      if (scale === 1 && wanted !== undefined) {
        claims.push({
          text: `${hidden} hidden: ${found.toFixed(2)} %, published ${wanted} %, at most .5 apart`,
          met: Math.abs(found - wanted) <= 0.5,
        });
      }
      const slowest = Math.max(...times);
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
        title: `Best validation accuracy in per cent, ${seeds} seeds, ${images} images`,
        columns: ["hidden layers", "mean", "spread", "published", "training accuracy", "s"],
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
