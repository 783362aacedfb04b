/**
 * A neural differential equation, trained with all states kept and with none: a continuous
 * normalising flow (Chen et al. 2018) that learns the density of two moons. The field has one hidden
 * layer; how it changes volumes is known in closed form, so that the likelihood is exact.
 *
 * @module
 */
import * as rg from "../../mod.ts";
import type { Claim, Experiment } from "./experiment.ts";

type T = rg.Tensor;

/** Weights of a field over the plane and time. */
export interface FieldWeights {
  /** [3, width]: of both coordinates, and of the share of time that is over. */
  readonly inner: T;
  readonly bias: T;
  /** [width, 2]. */
  readonly outer: T;
}

/** Points, and how much their volumes have grown, as logarithms [n, 1]. */
type State = { z: T; grown: T };

const width = 128, h = 0.01, batch = 64;

/** Samples of two half circles, one upside down, with noise: [n, 2], about centred. */
export function twoMoons(key: rg.random.Key, n: number): T {
  const [first, second, third] = rg.random.split(key, 3);
  const upper = rg.random.uniform(first, [n]).less(0.5);
  const angle = rg.random.uniform(second, [n]).mul(Math.PI), sign = rg.where(upper, 1, -1);
  const x = angle.cos().mul(sign).add(rg.where(upper, -0.5, 0.5));
  const y = angle.sin().mul(sign).add(rg.where(upper, -0.25, 0.25));
  return rg.stack([x, y], 1).add(rg.random.normal(third, [n, 2]).mul(0.1));
}

/** Weights to begin with. */
export function fieldWeights(seed: number): FieldWeights {
  const [first, second, third] = rg.random.split(rg.random.key(seed), 3);
  return {
    inner: rg.random.normal(first, [3, width]),
    bias: rg.random.normal(second, [width]).mul(0.5),
    outer: rg.random.normal(third, [width, 2]).mul(1 / Math.sqrt(width)),
  };
}

/**
 * Minus the logarithm of the density at each point: [n]. The field is taken in units of the whole
 * time, so that weights mean the same however long that is.
 */
export function surprise(
  weights: FieldWeights,
  points: T,
  { steps, backward }: { readonly steps: number; readonly backward: rg.SolveBackward },
): T {
  const { inner, bias } = weights, time = steps * h, outer = weights.outer.div(time);
  const n = points.shape[0]!, inPlane = inner.slice([0, 2]), ofTime = inner.slice([2]).div(time);
  // The trace of the field's Jacobian is Σ (1 − h²)·each.
  const each = inPlane.mul(outer.transpose()).sum(0).reshape(width, 1), total = each.sum();
  // What is hidden of the first slope need not be kept over the whole loop.
  const field = rg.checkpoint(({ z }: State, t: T): State => {
    const hidden = z.matmul(inPlane).add(ofTime.mul(t)).add(bias).tanh();
    return { z: hidden.matmul(outer), grown: total.sub(hidden.square().matmul(each)) };
  });
  const start = { z: points, grown: rg.zeros([n, 1]) };
  const { z, grown } = rg.odeSolve(field, start, {
    t1: time,
    steps,
    method: "asynchronousLeapfrog",
    backward,
  });
  return z.square().sum(1).mul(0.5).add(Math.log(2 * Math.PI)).sub(grown.reshape(n));
}

type Params = Readonly<Record<keyof FieldWeights, T>>;

const ways: Readonly<Record<string, rg.SolveBackward>> = {
  store: "store",
  reverse: (inverse) => rg.reverse({ inverse, exact: "tape", tape: { bits: 0.25 } }),
  "reverse, drifting": (inverse) => rg.reverse({ inverse }),
  "revolve, 10 snapshots": rg.revolve({ snapshots: 10 }),
};

const optimizer = rg.optim.adam({ rate: 1e-2 });

/** A step of the optimizer, as a program. */
function trainer(steps: number, backward: rg.SolveBackward) {
  const loss = (params: Params, points: T): T =>
    surprise(params, points, { steps, backward }).mean();
  return rg.compile((state: rg.optim.State, points: T) => {
    const [value, gradient] = rg.valueAndGrad(loss)(state.params as Params, points);
    return [optimizer.update(state, gradient), value] as const;
  }, { donate: [0], name: "flow" });
}

/** Steps the optimizer; the first step, which compiles, is not in the seconds of an iteration. */
async function trained(
  step: ReturnType<typeof trainer>,
  iterations: number,
  progress: (done: number, loss: number) => void,
): Promise<{ readonly params: Params; readonly seconds: number }> {
  let state = optimizer.init(await rg.realize({ ...fieldWeights(1) })) as rg.optim.State;
  let began = performance.now(), last: T | undefined;
  for (let i = 0; i < iterations; i++) {
    const points = await rg.realize(twoMoons(rg.random.foldIn(rg.random.key(7), i), batch));
    [state, last] = step(state, points);
    if (i === 0) {
      await last.item();
      began = performance.now();
    }
    if (i % 10 === 9) progress(i + 1, await last.item() as number);
  }
  await last!.item();
  const seconds = (performance.now() - began) / 1000 / Math.max(1, iterations - 1);
  return { params: state.params as Params, seconds };
}

/** The density as a picture: cells of a grid, darker where it is higher, and samples as dots. */
export function densityPicture(
  title: string,
  density: ArrayLike<number>,
  { columns, rows, box: [left, right, low, high], samples }: {
    readonly columns: number;
    readonly rows: number;
    readonly box: readonly [left: number, right: number, low: number, high: number];
    readonly samples: ArrayLike<number>;
  },
): string {
  const size = 10, levels = 16;
  const most = Array.from(density).reduce((a, b) => Math.max(a, b), 0);
  const cells: string[] = [];
  for (let r = 0; r < rows; r++) {
    const levelAt = (c: number): number => Math.round(levels * density[r * columns + c]! / most);
    for (let c = 0; c < columns;) {
      const level = levelAt(c), start = c;
      while (c < columns && levelAt(c) === level) c++;
      if (level === 0) continue;
      const y = (rows - 1 - r) * size;
      const opacity = (level / levels).toFixed(2);
      cells.push(
        `<path fill-opacity="${opacity}" d="M${start * size} ${y}h${(c - start) * size}v${size}H${
          start * size
        }z"/>`,
      );
    }
  }
  const dots: string[] = [];
  for (let i = 0; i < samples.length; i += 2) {
    const x = (samples[i]! - left) / (right - left) * columns * size;
    const y = (high - samples[i + 1]!) / (high - low) * rows * size;
    dots.push(`<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="1.5"/>`);
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${columns * size} ${
      rows * size
    }" role="img" aria-label="${title}">`,
    "<style>path{fill:#2563eb}circle{fill:#d97706}</style>",
    ...cells,
    ...dots,
    "</svg>",
    "",
  ].join("\n");
}

/** See the top of the file. */
export const flow: Experiment = {
  title: "A neural differential equation, with and without its states",
  about: `A continuous normalising flow learns two moons: a field of width ${width}, steps of
h = ${h} of the asynchronous leapfrog, batches of ${batch}, Adam. Peaks are those of the whole
training step, parameters and moments included. \`reverse\` runs the steps backwards with a tape of what
that gets wrong; drifting, without. \`--scale\` takes fewer steps and trains for less; the share of
memory then is larger, since a step's own workspace is the same.`,
  async run({ scale, progress }) {
    const steps = Math.max(20, Math.round(1500 * scale));
    const iterations = Math.max(4, Math.round(120 * scale));
    const held = await rg.realize(twoMoons(rg.random.key(99), 512));
    const score = rg.compile((params: Params) =>
      surprise(params, held, { steps, backward: "store" }).mean()
    );
    const rows: (string | number)[][] = [];
    const losses: Record<string, number> = {}, peaks: Record<string, number> = {};
    let learned: Params | undefined;
    for (const [name, backward] of Object.entries(ways)) {
      const full = name === "store" || name === "reverse";
      const step = trainer(steps, backward);
      const { params, seconds } = await trained(
        step,
        full ? iterations : 2,
        (done, loss) => progress(`${name}: ${done} of ${iterations}, loss ${loss.toFixed(3)}`),
      );
      peaks[name] = step.programs().at(-1)!.memory.peak;
      if (full) {
        losses[name] = await score(params).item() as number;
        learned = params;
      }
      const bits = /bits an element and step: ([\d.]+)/.exec(step.explain())?.[1];
      rows.push([
        name,
        (peaks[name] / 1000).toFixed(0),
        (peaks[name] / peaks.store!).toFixed(3),
        full ? losses[name]!.toFixed(4) : "",
        seconds.toFixed(2),
        bits === undefined ? "" : Number(bits).toFixed(2),
      ]);
      progress(`${name}: ${(peaks[name] / 1000).toFixed(0)} kB`);
      step.dispose();
    }
    const [columns, lines, box] = [60, 40, [-2.25, 2.25, -1.5, 1.5]] as const;
    const grid = Float32Array.from({ length: 2 * columns * lines }, (_, i) => {
      const cell = i >> 1, c = cell % columns, r = Math.floor(cell / columns);
      return i % 2 === 0
        ? box[0] + (c + 0.5) / columns * (box[1] - box[0])
        : box[2] + (r + 0.5) / lines * (box[3] - box[2]);
    });
    const density = await surprise(learned!, rg.tensor(grid, { shape: [columns * lines, 2] }), {
      steps,
      backward: "store",
    }).neg().exp().data();
    const cell = (box[1] - box[0]) * (box[3] - box[2]) / (columns * lines);
    let mass = 0;
    for (const p of density) mass += p * cell;
    const samples = await held.slice([0, 200]).data();
    const apart = Math.abs(losses.reverse! - losses.store!);
    const share = peaks.reverse! / peaks.store!;
    const claims: Claim[] = [{
      text: `reverse ends within ${apart.toFixed(4)} of the loss of store, at most 0.02`,
      met: apart <= 0.02,
    }, {
      text: `the learned density holds ${mass.toFixed(3)} of its mass in the picture, at most 1.02`,
      met: mass <= 1.02,
    }];
    // With fewer steps there is less to save.
    if (scale === 1) {
      claims.push({
        text: `reverse takes ${share.toFixed(3)} of the memory of store, at most a seventh`,
        met: share <= 1 / 7,
      });
    }
    const columnsOfTable = [
      "backward",
      "peak, kB",
      "of store",
      "loss, held out",
      "s an iteration",
      "bits an element and step",
    ];
    return {
      tables: [{
        title: `${steps} steps, ${iterations} iterations`,
        columns: columnsOfTable,
        rows,
      }],
      files: {
        "flow-density.svg": densityPicture(
          "The learned density of two moons, and samples",
          density,
          {
            columns,
            rows: lines,
            box,
            samples,
          },
        ),
      },
      claims,
    };
  },
};
