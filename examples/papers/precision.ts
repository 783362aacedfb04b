/**
 * Training in 16-bit fixed point (Gupta et al. 2015, section 4.1): a net with two hidden layers of
 * ReLU on MNIST, with weights in the format ⟨16 - FL, FL⟩, and activations, what comes back to
 * them, and the gradients of weights in ⟨8, 8⟩. Rounding by chance trains as f32 does; rounding to the nearest does not,
 * because updates smaller than half a step are lost, each of them.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import * as rg from "@retrograd/retrograd";

const usage = `Usage: deno run -P=train examples/papers/precision.ts [options]

Trains 784-HIDDEN-HIDDEN-10 on MNIST in f32 and in 16-bit fixed point, rounding to the nearest and
by chance, and writes a page with the errors on the test set. The paper's sizes are
--hidden 1000 --samples 60000 --epochs 20.

  --hidden N      units of both hidden layers (default 100)
  --samples N     samples trained on (default 10000)
  --epochs N      passes over them (default 6)
  --rate R        step size for the mean gradient (default 0.05)
  --seed N        seed of parameters, order and rounding (default 0)
  --out FILE      the page (default runs/precision.html)
  --help          this text`;

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

/** The courses as a page. */
export function render(courses: readonly Course[], settings: string): string {
  const { card, drawChart, grid, page, table } = rg.train;
  const chart = (
    title: string,
    of: (course: Course) => readonly number[],
    show: (y: number) => string,
  ) =>
    card(drawChart({
      title,
      xName: "epoch",
      show,
      log: true,
      series: courses.map((course) => ({
        name: course.name,
        marks: true,
        points: of(course).map((y, i): [number, number] => [i + 1, y]),
      })),
    }));
  const percent = (x: number) => `${(100 * x).toFixed(2)} %`;
  return page("Training in 16-bit fixed point", settings, [
    grid([
      chart("Mistakes on the test set", ({ mistakes }) => mistakes, percent),
      chart("Mean loss while training", ({ loss }) => loss, (y) => y.toPrecision(3)),
    ]),
    table(
      "At the end",
      ["numbers", { n: "mistakes" }, { n: "loss" }],
      courses.map(({ name, mistakes, loss }) => ({
        cells: [name, { n: percent(mistakes.at(-1)!) }, { n: loss.at(-1)!.toPrecision(3) }],
      })),
    ),
  ]);
}

/** Says what is wrong in one sentence and ends. */
function fail(message: string): never {
  console.error(`${message}\n\n${usage}`);
  Deno.exit(2);
}

async function main(args: string[]): Promise<void> {
  const given = parseArgs(args, {
    string: ["hidden", "samples", "epochs", "rate", "seed", "out"],
    boolean: ["help"],
    default: {
      hidden: "100",
      samples: "10000",
      epochs: "6",
      rate: "0.05",
      seed: "0",
      out: "runs/precision.html",
    },
    unknown: (arg) => fail(`Cannot train: there is no option ${arg}, expected one of those below`),
  });
  if (given.help) return console.log(usage);
  const number = (name: "hidden" | "samples" | "epochs" | "rate" | "seed", low: number): number => {
    const value = Number(given[name]);
    const whole = name === "rate" || Number.isInteger(value);
    if (given[name] !== "" && Number.isFinite(value) && whole && value >= low) return value;
    return fail(`Cannot train: --${name} is ${given[name]}, expected a number from ${low}`);
  };
  const sizes: Sizes = {
    inputs: 784,
    classes: 10,
    batch: 100,
    hidden: number("hidden", 1),
    epochs: number("epochs", 1),
    rate: number("rate", 0),
    seed: number("seed", 0),
  };
  const samples = Math.min(60_000, number("samples", 100));
  const device = await rg.init({ software: "allow" });
  const { train: all, test } = await rg.data.mnist();
  const part = new rg.data.Dataset(all.x, all.y, all.rows.subarray(0, samples));
  const data = { train: part, test };
  const courses: Course[] = [];
  for (const variant of variants) {
    const begin = performance.now();
    const course = await train(variant, sizes, data, ({ loss, mistakes }) =>
      console.log(
        `${variant.name.padEnd(20)} epoch ${loss.length}/${sizes.epochs}  ` +
          `loss ${loss.at(-1)!.toPrecision(3)}  mistakes ${(100 * mistakes.at(-1)!).toFixed(2)} %`,
      ));
    console.log(`${variant.name.padEnd(20)} ${((performance.now() - begin) / 1000).toFixed(0)} s`);
    courses.push(course);
  }
  const settings =
    `784-${sizes.hidden}-${sizes.hidden}-10, ${samples} samples, rate ${sizes.rate}, ` +
    `seed ${sizes.seed}, ${device.name}`;
  await Deno.mkdir(given.out.replace(/[^/]*$/, "") || ".", { recursive: true });
  await Deno.writeTextFile(given.out, render(courses, settings));
  console.log(`The page is in ${given.out}`);
}

if (import.meta.main) await main(Deno.args);
