/**
 * Randomized automatic differentiation on MNIST (Oktay et al. 2020, section 4.2): 784-300-300-300-10
 * with a tenth of the activations held, beside the same network with all of them, and with a batch
 * so small that it holds as little. Adam, batch 150 against 20, the rate times .6 every 2000 of
 * 20 000 iterations; rates and L2 penalties are those that the paper found for each variant. They
 * were found for its network, so that inputs are scaled and parameters begin as there: mean 0 and
 * variance 1, and U(±1/√inputs), as PyTorch's layers do. How large activations are decides how much
 * noise a projection of them makes.
 *
 * @module
 */
import * as rg from "@retrograd/retrograd";
import type { Experiment } from "../../bench/memory/experiment.ts";
import { type Course, lastLoss, train, type Variant, variantsOf } from "./sketches.ts";

const sizes = [784, 300, 300, 300, 10], inputs = 1684, masks = 900, parameters = 419_110;

/** Rate and penalty by variant. */
const settings: Readonly<Record<string, readonly [rate: number, weightDecay: number]>> = {
  "baseline": [1.35e-3, 4.07e-7],
  "small batch": [6.45e-4, 5.69e-5],
  "project .1": [5.27e-4, 1.01e-3],
  "same sample .1": [4.52e-4, 4.06e-6],
  "different sample .1": [9.34e-4, 1.25e-6],
};

/** Mean and standard deviation of the pixels. */
const pixels = { mean: 0.1307, deviation: 0.3081 };

/** The network, with sketches and bits where the variant says so. */
export function network({ sketch }: Variant): rg.nn.Layer {
  const { leanRelu, linear, relu, sequential, sketchLayer } = rg.nn;
  function normalise(x: rg.Tensor): rg.Tensor {
    return x.sub(pixels.mean).div(pixels.deviation);
  }
  const links = sizes.slice(1).flatMap((n, i) => {
    const bound = 1 / Math.sqrt(sizes[i]!);
    const uniform: rg.nn.Initializer = (key, shape) =>
      rg.random.uniform(key, shape, { low: -bound, high: bound });
    const layer = linear(sizes[i]!, n, { weightInit: uniform, biasInit: uniform });
    const link = sketch === undefined ? layer : sketchLayer(layer, sketch);
    return i === 3 ? [link] : [link, sketch === undefined ? relu : leanRelu];
  });
  return sequential([normalise, ...links]);
}

/** Bytes by the paper's formula; without a sketch, activations are all that is held. */
function formula({ sketch, batch }: Variant): number {
  const held = sketch === undefined
    ? 4 * batch * inputs
    : 4 * batch * sketch.keep * inputs + batch * masks / 8;
  return 4 * parameters + held + 4 * batch * 10;
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(2);

/** See the top of the file. */
export const sketchedMnist: Experiment = {
  title: "Randomized automatic differentiation on MNIST",
  about:
    "A network that holds a tenth of its activations, as random projections, beside one with " +
    "a small batch: training loss against iterations. `--scale` ends the 20 000 iterations sooner; " +
    "up to there nothing changes.",
  async run({ scale, seeds = 1, kept, progress }) {
    const { train: all } = await rg.data.mnist();
    const iterations = Math.max(10, Math.round(20_000 * scale));
    const variants = variantsOf(150, 20), done = kept.get("course ");
    const courses: { variant: Variant; runs: Course[] }[] = [];
    for (const variant of variants) {
      const [rate, weightDecay] = settings[variant.name]!, runs: Course[] = [];
      for (let seed = 0; seed < seeds; seed++) {
        const name = `${variant.name}, ${iterations} iterations, seed ${seed}`;
        let course = done.get(name) as Course | undefined;
        if (course === undefined) {
          const optimizer = rg.optim.adam({
            rate: rg.optim.stepDecay(rate, { every: 2000, factor: 0.6 }),
            weightDecay,
          });
          const plan = { data: all, batch: variant.batch, iterations, optimizer, seed, points: 25 };
          course = await train(network(variant), plan, (text) => progress(`${name}: ${text}`));
          await kept.put(`course ${name}`, course);
        }
        runs.push(course);
      }
      courses.push({ variant, runs });
    }
    const mean = (runs: readonly Course[]): number =>
      runs.reduce((sum, run) => sum + lastLoss(run), 0) / runs.length;
    const small = mean(courses[1]!.runs);
    return {
      tables: [{
        title: `Training loss after ${iterations} iterations, ${seeds} seeds, and bytes in MB`,
        columns: [
          "variant",
          "loss",
          "held, counted",
          "parameters and held",
          "formula",
          "peak, counted",
          "s",
        ],
        rows: courses.map(({ variant, runs }) => {
          // What is not sketched has no name in the program, so that there is nothing to count.
          const own = variant.sketch === undefined ? undefined : runs[0]!.held;
          return [
            variant.name,
            mean(runs).toExponential(2),
            own === undefined ? "" : megabytes(own),
            own === undefined ? "" : megabytes(4 * parameters + own + 4 * variant.batch * 10),
            megabytes(formula(variant)),
            megabytes(runs[0]!.peak),
            runs[0]!.seconds.toFixed(0),
          ];
        }),
      }],
      pictures: [{
        name: "sketched-mnist",
        title: "Training loss of 784-300-300-300-10 on MNIST",
        xName: "iteration",
        yName: "loss",
        log: "y",
        lines: courses.map(({ variant: { name }, runs }) => ({
          name,
          points: runs[0]!.points,
        })),
      }],
      claims: courses.filter(({ variant }) => variant.sketch !== undefined).flatMap(
        ({ variant, runs }) => {
          const own = 4 * parameters + runs[0]!.held + 4 * variant.batch * 10;
          const off = Math.abs(own / formula(variant) - 1);
          return [{
            text: `${variant.name} ends at ${mean(runs).toExponential(2)}, below ${
              small.toExponential(2)
            } of the small batch`,
            met: mean(runs) < small,
          }, {
            text: `${variant.name} holds what the formula says, ${
              (100 * off).toFixed(1)
            } % off, at most 5 %`,
            met: off < 0.05,
          }];
        },
      ),
    };
  },
};
