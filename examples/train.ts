/**
 * `./dev train mnist`: trains a network on MNIST and leaves a model and a report.
 *
 * @module
 */
import { join } from "@std/path";
import * as rg from "@retrograd/retrograd";
import { type Command, count, flag, oneOf, positive, run, seed, text } from "./command.ts";
import { trained } from "./training.ts";

const { conv, flatten, linear, maxPool, mlp, relu, sequential } = rg.nn;

/** The networks, the shape of the images that they take, and passes enough to be good. */
const networks = {
  mlp: { shape: [784], epochs: 6, layer: mlp([784, 512, 10]) },
  convnet: {
    shape: [28, 28, 1],
    epochs: 3,
    layer: sequential([
      conv(1, 8, 3),
      relu,
      maxPool(2),
      conv(8, 16, 3),
      relu,
      maxPool(2),
      flatten,
      linear(16 * 7 * 7, 10),
    ]),
  },
} as const;

const options = {
  model: oneOf("mlp, 784-512-10, or convnet, two convolutions", ["mlp", "convnet"]),
  epochs: count("passes over the training set (default 6, of the convnet 3)", undefined),
  batch: count("samples in a step", 128),
  rate: positive("Adam's step size at its highest", 1e-3),
  samples: count("images to train on, at most 55000", 55_000),
  seed: seed("seed of parameters and order"),
  out: text("folder for model, state and report", "runs/mnist", "DIR"),
  resume: flag("go on with the run in that folder, with the options that it was begun with"),
};

const command: Command<typeof options> = {
  name: "train mnist",
  about: "Trains a network on MNIST, on the GPU that WebGPU finds.",
  options,
  notes: "Ctrl-C ends at the next step with everything saved; --resume goes on from there.",
  async main(values) {
    const { batch, rate, samples, seed, out, resume } = values;
    const { shape, layer: model } = networks[values.model];
    const epochs = values.epochs ?? networks[values.model].epochs;
    const device = await rg.init();
    const adapter = `${device.name}${
      device.kind === "software" ? ", a software adapter: no GPU was found" : ""
    }`;
    console.log(`adapter   ${adapter}`);
    const { train: all, test } = await rg.data.mnist({ shape });
    const { train, validation } = all.split(
      { train: samples, validation: Math.min(5_000, samples) },
      { seed },
    );
    console.log(
      `data      MNIST: ${train.size} to train on, ${validation.size} to validate, ${test.size} to test`,
    );
    console.log(`model     ${model.name}, Adam, rate ${rate}, batch ${batch}, seed ${seed}\n`);

    // A batch larger than the set makes no step: fit() says so.
    const steps = Math.max(1, Math.floor(train.size / batch)) * epochs;
    const schedule = rg.optim.cosine(rate, { steps, end: rate / 20 });
    // The rate falls over all steps: with other epochs the run would go on as another.
    const settings = { model: model.name, rate, epochs };
    const result = await trained(command, values, {
      model,
      optimizer: rg.optim.adam({ rate: schedule }),
      train,
      validation,
      epochs,
      batch,
      seed,
      out,
      resume,
      settings,
    });
    if (result === undefined) return;
    const kinds = Object.entries(rg.memory().kinds).map(([kind, bytes]) => ({ kind, ...bytes }));
    const score = await rg.train.evaluate({ model }, test, result.params);
    const report = join(out, "report.html");
    await rg.train.writeReport(report, {
      title: "MNIST",
      device: adapter,
      settings: { ...settings, batch, seed },
      history: result.history,
      best: result.best,
      test: score,
      seconds: result.seconds,
      memory: result.memory,
      kinds,
      profile: await rg.profile(result.step, result.args),
    });
    console.log(
      `\ntest      accuracy ${(score.accuracy * 100).toFixed(2)} %, loss ${
        score.loss.toFixed(4)
      }, with the parameters of epoch ${result.best?.epoch}`,
    );
    console.log(`model     ${rg.train.modelPath(out)}`);
    console.log(`report    ${report}`);
  },
};

if (import.meta.main) await run(command);
