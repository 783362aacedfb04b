/**
 * Training in 16-bit fixed point (Gupta et al. 2015, section 4.1): a net with two hidden layers of
 * ReLU on MNIST, with weights in the format ⟨16 - FL, FL⟩, and activations, what comes back to
 * them, and the gradients of weights in ⟨8, 8⟩. Rounding by chance trains as f32 does; rounding to
 * the nearest does not, because updates smaller than half a step are lost, each of them.
 *
 * @module
 */
import * as rg from "@retrograd/retrograd";
import type { Claim, Experiment } from "../../bench/memory/experiment.ts";

/** Bits of a number. */
const BITS = 16;

/** How numbers are kept: in f32, or in fixed point. */
export interface Variant {
  readonly name: string;
  readonly formats?: {
    readonly weights: rg.optim.FixedPoint;
    /** Activations and gradients. */
    readonly rest: rg.optim.FixedPoint;
  };
}

/** f32, and both ways of rounding for two lengths of the weights' fraction. */
export const variants: readonly Variant[] = [
  { name: "f32" },
  ...([14, 8] as const).flatMap((fraction) =>
    (["stochastic", "nearest"] as const).map((rounding): Variant => ({
      name: `${rounding}, ⟨${BITS - fraction},${fraction}⟩`,
      formats: {
        weights: { integer: BITS - fraction, fraction, rounding },
        rest: { integer: 8, fraction: 8, rounding },
      },
    }))
  ),
];

/** Sizes of the experiment. */
export interface Sizes {
  readonly inputs: number;
  readonly hidden: number;
  readonly classes: number;
  readonly epochs: number;
  readonly batch: number;
  readonly rate: number;
  readonly seed: number;
}

/** Mean training loss and share of mistakes on the test set, after every epoch. */
export interface Course {
  readonly name: string;
  readonly loss: readonly number[];
  readonly mistakes: readonly number[];
}

/** Trains one variant. */
export async function train(
  { name, formats }: Variant,
  sizes: Sizes,
  data: { readonly train: rg.data.Dataset; readonly test: rg.data.Dataset },
  onEpoch: (course: Course) => void = () => {},
): Promise<Course> {
  const { inputs, hidden, classes, batch, rate, seed } = sizes;
  const rounded = (layer: rg.nn.Layer): rg.nn.Layer =>
    formats === undefined
      ? layer
      : rg.nn.fixedPointLayer(layer, { activations: formats.rest, gradients: formats.rest });
  const layer = (inputs: number, outputs: number, weightInit: rg.nn.Initializer) =>
    rounded(rg.nn.linear(inputs, outputs, { weightInit }));
  const model = rg.nn.sequential([
    layer(inputs, hidden, rg.nn.heNormal),
    rg.nn.relu,
    layer(hidden, hidden, rg.nn.heNormal),
    rg.nn.relu,
    layer(hidden, classes, rg.nn.lecunNormal),
  ]);
  // Gradients of a sum of losses, not of their mean, so that they are not below the format.
  const descent = rg.optim.sgd({ rate: rate / batch });
  const optimizer = formats === undefined
    ? descent
    : rg.optim.fixedPoint(descent, { weights: formats.weights, gradients: formats.rest, seed });
  const step = rg.compile(
    (state: rg.optim.State, sum: rg.Tensor, key: rg.Tensor, { x, y }: rg.data.Batch) => {
      const own = rg.random.foldIn(key, state.step);
      const loss = (params: rg.Tree) =>
        rg.nn.crossEntropy(model.apply(params, x, { train: true, key: own }), y, {
          reduction: "sum",
        });
      const [value, gradient] = rg.valueAndGrad(loss)(state.params);
      return [optimizer.update(state, gradient), sum.add(value)] as const;
    },
    { donate: [0, 1] },
  );
  const wrong = rg.compile(
    (params: rg.Tree, sum: rg.Tensor, { x, y }: rg.data.Batch) =>
      sum.add(model.apply(params, x).argmax(-1).notEqual(y).cast("f32").sum()),
    { donate: [1] },
  );
  let state = optimizer.init<rg.Tree>(model.init(rg.random.key(seed)));
  const key = rg.random.key(seed + 1), loss: number[] = [], mistakes: number[] = [];
  for (let epoch = 0; epoch < sizes.epochs; epoch++) {
    let sum = rg.tensor(0), seen = 0;
    for (const samples of data.train.batches({ size: batch, seed, epoch })) {
      [state, sum] = step(state, sum, key, samples);
      seen += batch;
    }
    let misses = rg.tensor(0), tested = 0;
    for (const samples of data.test.batches({ size: 500, rest: true })) {
      misses = wrong(state.params, misses, samples);
      tested += samples.y.size;
    }
    const [total, missed] = await rg.readAll([sum, misses]);
    loss.push(total![0]! / seen);
    mistakes.push(missed![0]! / tested);
    onEpoch({ name, loss, mistakes });
  }
  step.dispose();
  wrong.dispose();
  return { name, loss, mistakes };
}

const percent = (x: number): string => (100 * x).toFixed(2);

/** See the top of the file. */
export const precision: Experiment = {
  title: "Training in 16-bit fixed point",
  about:
    "784-1000-1000-10 on MNIST, 20 epochs, in f32 and in 16 bits, rounding to the nearest and " +
    "by chance. `--scale` is for hidden units, samples and epochs alike; the full size takes hours " +
    "on the software adapter: `--resume` goes on after the last variant that was finished.",
  async run({ scale, kept, progress }) {
    const sizes: Sizes = {
      inputs: 784,
      hidden: Math.round(1000 * scale),
      classes: 10,
      epochs: Math.max(2, Math.round(20 * scale)),
      batch: 100,
      rate: 0.05,
      seed: 0,
    };
    const { train: all, test } = await rg.data.mnist();
    const samples = Math.max(1000, Math.round(60_000 * scale));
    const data = { train: new rg.data.Dataset(all.x, all.y, all.rows.slice(0, samples)), test };
    const courses: Course[] = [];
    for (const variant of variants) {
      const part = `${sizes.hidden} units, ${samples} samples, ${variant.name}`;
      if (!kept.get(part).has("")) {
        const course = await train(variant, sizes, data, ({ loss, mistakes }) =>
          progress(
            `${variant.name}, epoch ${loss.length}: loss ${loss.at(-1)!.toPrecision(3)}, ` +
              `${percent(mistakes.at(-1)!)} % wrong`,
          ));
        await kept.put(part, course);
      }
      courses.push(kept.get(part).get("") as Course);
    }
    const atEnd = courses.map(({ mistakes }) => mistakes.at(-1)!), [float] = atEnd;
    const claims = variants.flatMap(({ name, formats }, i): Claim[] => {
      const { rounding, fraction } = formats?.weights ?? {}, apart = atEnd[i]! - float!;
      if (rounding === "stochastic") {
        return [{
          text: `${name}: ${percent(apart)} points worse than f32, at most .3`,
          met: apart <= 0.003,
        }];
      }
      // With six bits more, updates are lost more seldom.
      if (rounding !== "nearest" || fraction !== 8) return [];
      return [{
        text: `${name}: ${percent(apart)} points worse than f32, at least 5`,
        met: apart >= 0.05,
      }];
    });
    return {
      tables: [{
        title: `784-${sizes.hidden}-${sizes.hidden}-10, ${samples} samples, ${sizes.epochs} ` +
          "epochs: mistakes on the test set (published for f32 and by chance: about 1.4 %)",
        columns: ["numbers", "mistakes, %", "training loss"],
        rows: courses.map(({ name, loss }, i) => [
          name,
          percent(atEnd[i]!),
          loss.at(-1)!.toPrecision(3),
        ]),
      }],
      pictures: [{
        name: "precision",
        title: "Mistakes on the test set, by how numbers are rounded",
        xName: "epoch",
        yName: "mistakes, %",
        lines: courses.map(({ name, mistakes }) => ({
          name,
          points: mistakes.map((y, i): [number, number] => [i + 1, 100 * y]),
        })),
        log: "y",
      }],
      claims,
    };
  },
};
