/**
 * A recurrent net on images read pixel by pixel, with a tenth of its states held (Oktay et al. 2020,
 * section 4.3): the IRNN of Le, Jaitly and Hinton 2015, ReLUs whose matrix begins as the identity,
 * 100 units, Adam, gradients clipped at 1, batch 150 against 21. The paper reads all 784 pixels, and
 * trains for 200 000 iterations at 1e-4; here images are 7×7 means of their 4×4 squares, 49 pixels,
 * and the rate is 1e-3, so that 10 000 iterations show the same.
 *
 * @module
 */
import * as rg from "@retrograd/retrograd";
import type { Experiment } from "../../bench/memory/experiment.ts";
import {
  type Course,
  lastLoss,
  train,
  type Trainee,
  type Variant,
  variantsOf,
} from "./sketches.ts";

const hidden = 100, side = 7, steps = side * side;

type Params = {
  readonly w: rg.Tensor;
  readonly v: rg.Tensor;
  readonly b: rg.Tensor;
  readonly out: rg.Tensor;
};

/** The product of states with their weights: what is sketched, step by step. */
function recur(h: rg.Tensor, w: rg.Tensor): rg.Tensor {
  return h.matmul(w);
}

/** The net; sketches while training. */
export function network({ sketch }: Variant): Trainee {
  return {
    init(key) {
      const [first, second] = rg.random.split(key);
      return {
        w: rg.eye(hidden),
        v: rg.random.normal(first, [1, hidden]).mul(1e-3),
        b: rg.zeros([hidden]),
        out: rg.random.normal(second, [hidden, 10]).mul(1e-3),
      };
    },
    apply(params, x, { train = false, key }) {
      const { w, v, b, out } = params as Params, batch = x.shape[0]!;
      const pixels = x.reshape(batch, side, 28 / side, side, 28 / side).mean([2, 4])
        .reshape(batch, steps).transpose();
      const body = (h: rg.Tensor, [pixel, t]: [rg.Tensor, rg.Tensor]): [rg.Tensor, null] => {
        const input = pixel.reshape(batch, 1).mul(v).add(b);
        if (sketch === undefined || !train) return [recur(h, w).add(input).relu(), null];
        const settings = { ...sketch, key: rg.random.foldIn(key!, t) };
        return [rg.nn.leanRelu(rg.sketch(recur, settings)(h, w).add(input)), null];
      };
      const rows: [rg.Tensor, rg.Tensor] = [pixels, rg.arange(steps, { dtype: "u32" })];
      return rg.scan(body, rg.zeros([batch, hidden]), rows)[0].matmul(out);
    },
  };
}

/** See the top of the file. */
export const sketchedRnn: Experiment = {
  title: "Randomized automatic differentiation of a recurrent net",
  about: "An IRNN that reads 49 pixels and holds a tenth of its states, as random projections, " +
    "beside one with a small batch. `--scale` shortens the 10 000 iterations.",
  async run({ scale, kept, progress }) {
    const { train: all } = await rg.data.mnist();
    const iterations = Math.max(5, Math.round(10_000 * scale)), done = kept.get("course ");
    const courses: { variant: Variant; course: Course }[] = [];
    for (const variant of variantsOf(150, 21)) {
      const name = `${variant.name}, ${iterations} iterations`;
      let course = done.get(name) as Course | undefined;
      if (course === undefined) {
        const { chain, clipByGlobalNorm, fromTransformation, scaleByAdam, scaleByRate } = rg.optim;
        const optimizer = fromTransformation(
          chain(clipByGlobalNorm(1), scaleByAdam(), scaleByRate(1e-3)),
        );
        const plan = {
          data: all,
          batch: variant.batch,
          iterations,
          optimizer,
          seed: 0,
          points: 20,
        };
        course = await train(
          network(variant),
          plan,
          (text) => progress(`${variant.name}: ${text}`),
        );
        await kept.put(`course ${name}`, course);
      }
      courses.push({ variant, course });
    }
    const small = lastLoss(courses[1]!.course);
    return {
      tables: [{
        title: `Training loss after ${iterations} iterations, and bytes`,
        columns: ["variant", "loss", "held, counted", "all states", "peak, counted", "s"],
        rows: courses.map(({ variant: { name, batch, sketch }, course }) => [
          name,
          lastLoss(course).toFixed(4),
          sketch === undefined ? "" : course.held,
          4 * steps * batch * hidden,
          course.peak,
          course.seconds.toFixed(0),
        ]),
      }],
      pictures: [{
        name: "sketched-rnn",
        title: "Training loss of an IRNN on 49 pixels",
        xName: "iteration",
        yName: "loss",
        lines: courses.map(({ variant: { name }, course: { points } }) => ({ name, points })),
      }],
      claims: courses.filter(({ variant }) => variant.sketch !== undefined).map(
        ({ variant: { name }, course }) => ({
          text: `${name} ends at ${lastLoss(course).toFixed(4)}, below ${
            small.toFixed(4)
          } of the small batch`,
          met: lastLoss(course) < small,
        }),
      ),
    };
  },
};
