/**
 * What the experiments with sketches share: the variants of Oktay et al. 2020 (Randomized Automatic
 * Differentiation), a training run that tells its loss now and then, and the bytes that a program
 * holds for its way back.
 *
 * @module
 */
import * as rg from "@retrograd/retrograd";

/** How a run differs from the others. */
export interface Variant {
  readonly name: string;
  /** What is sketched; everything is held without. */
  readonly sketch?: rg.SketchSettings;
  /** Samples of a step. */
  readonly batch: number;
}

/** All of a batch, a small one, and a tenth of what a batch would hold, in three ways. */
export function variantsOf(batch: number, small: number): readonly Variant[] {
  const keep = 0.1;
  return [
    { name: "baseline", batch },
    { name: "small batch", batch: small },
    { name: "project .1", batch, sketch: { keep, kind: "project", shared: true } },
    { name: "same sample .1", batch, sketch: { keep, kind: "sparse", shared: true } },
    { name: "different sample .1", batch, sketch: { keep, kind: "sparse", shared: false } },
  ];
}

/** A model that can be trained on batches. */
export interface Trainee {
  readonly init: (key: rg.Tensor) => rg.Tree;
  /** Logits of a batch. */
  readonly apply: (params: rg.Tree, x: rg.Tensor, options: rg.nn.ApplyOptions) => rg.Tensor;
}

/** What is trained how long. */
export interface Plan {
  readonly data: rg.data.Dataset;
  readonly batch: number;
  readonly iterations: number;
  readonly optimizer: rg.optim.ComposedOptimizer;
  readonly seed: number;
  /** How often the loss is told. */
  readonly points: number;
}

/** How a run went. */
export interface Course {
  /** Iterations, and the mean training loss over the part of the data that is looked at. */
  readonly points: readonly (readonly [iteration: number, loss: number])[];
  /** Bytes that wait for the way back beside parameters, as the program says. */
  readonly held: number;
  /** Bytes of device memory of one step, counted. */
  readonly peak: number;
  readonly seconds: number;
}

/** Bytes of what a program holds. */
export function bytesHeld(program: rg.Program): number {
  return program.holds.reduce(
    (sum, { shape, steps }) => sum + 4 * steps * shape.reduce((a, b) => a * b, 1),
    0,
  );
}

/** Batches without end, each pass over the data in another order. */
function* forever(data: rg.data.Dataset, size: number, seed: number): Generator<rg.data.Batch> {
  for (let epoch = 0;; epoch++) yield* data.batches({ size, seed, epoch });
}

/** Samples whose loss is told. */
const lookedAt = 2000;

/** Trains on cross-entropy. */
export async function train(
  model: Trainee,
  { data, batch, iterations, optimizer, seed, points }: Plan,
  progress: (text: string) => void,
): Promise<Course> {
  const lossOf = (params: rg.Tree, { x, y }: rg.data.Batch, options: rg.nn.ApplyOptions) =>
    rg.nn.crossEntropy(model.apply(params, x, options), y);
  const step = rg.compile((state: rg.optim.State, samples: rg.data.Batch, key: rg.Tensor) => {
    const own = rg.random.foldIn(key, state.step);
    const gradient = rg.grad((params: rg.Tree) =>
      lossOf(params, samples, { train: true, key: own })
    )(state.params);
    return optimizer.update(state, gradient);
  }, { donate: [0] });
  const measure = rg.compile((params: rg.Tree, samples: rg.data.Batch) =>
    lossOf(params, samples, {})
  );
  const part = new rg.data.Dataset(data.x, data.y, data.rows.slice(0, lookedAt));
  const [whole] = [...part.batches({ size: part.size })];
  let state = optimizer.init<rg.Tree>(model.init(rg.random.key(seed)));
  const key = rg.random.key(seed + 1), course: [number, number][] = [], began = performance.now();
  const every = Math.max(1, Math.round(iterations / points));
  let i = 0;
  for (const samples of forever(data, batch, seed)) {
    if (i % every === 0 || i === iterations) {
      const loss = await measure(state.params, whole!).item() as number;
      course.push([i, loss]);
      progress(`iteration ${i} of ${iterations}: ${loss.toFixed(4)}`);
    }
    if (i++ === iterations) break;
    state = step(state, samples, key);
  }
  await rg.synchronize();
  const [program] = step.programs(), seconds = (performance.now() - began) / 1000;
  const peak = Number(/^peak +\d+ +(\d+)$/m.exec(step.explain())?.[1]);
  step.dispose();
  measure.dispose();
  return { points: course, held: bytesHeld(program!), peak, seconds };
}

/** The last loss of a run. */
export const lastLoss = ({ points }: Course): number => points.at(-1)![1];
