/**
 * `./dev example:neural-ode`: learns the law of a motion from watching it. A spiral dy/dt = A·y³ is
 * seen at some times with noise; a network learns to be its right-hand side, by solving its own
 * equation between the times with steps that choose their length, and going back through the solver.
 *
 * Chen, Rubanova, Bettencourt & Duvenaud, Neural ordinary differential equations, 2018.
 *
 * @module
 */
import { join } from "@std/path";
import * as rg from "@retrograd/retrograd";
import { type Command, count, oneOf, positive, run, seed, text } from "./command.ts";

type T = rg.Tensor;

/** Times at which the spiral is seen, and how many of them make a piece. */
const seen = 200, length = 10, end = 20;
const times = Array.from({ length: seen }, (_, i) => i * end / (seen - 1));

/** The law that is to be found out. */
export function spiral(y: T): T {
  const matrix = rg.tensor([[-0.1, 2], [-2, -0.1]]);
  return y.square().mul(y).matmul(matrix);
}

/** The solution of a law through a first point, at all times: [times, 2]. */
export function watch(law: rg.Field<T>, start: T, tolerance: number): T {
  return rg.odeSolve(law, start.reshape(1, 2), { t1: end, tolerance, saveAt: times })
    .reshape(seen, 2);
}

/** A path in pieces: where each begins, and all of its points. */
function pieces(path: T): rg.data.Dataset {
  const last = seen - length + 1;
  const after = Array.from({ length }, (_, i) => path.slice([i, i + last]));
  return new rg.data.Dataset(
    rg.data.tensorColumn(path.slice([0, last])),
    rg.data.tensorColumn(rg.stack(after, 1)),
  );
}

/** Two paths in the plane as a picture. */
function drawPaths(true_: ArrayLike<number>, learned: ArrayLike<number>): string {
  const at = (xy: ArrayLike<number>, i: number): string =>
    `${(200 + 85 * xy[2 * i]!).toFixed(1)} ${(200 - 85 * xy[2 * i + 1]!).toFixed(1)}`;
  const dots = times.map((_, i) => {
    const [x, y] = at(true_, i).split(" ");
    return `<circle cx="${x}" cy="${y}" r="2.5"/>`;
  });
  const line = times.map((_, i) => `${i === 0 ? "M" : "L"}${at(learned, i)}`).join("");
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400" role="img" ' +
    'aria-label="What was seen, as dots, and the solution of what was learned, as a line">',
    "<style>circle{fill:#d97706}path{fill:none;stroke:#2563eb;stroke-width:1.5}</style>",
    ...dots,
    `<path d="${line}"/>`,
    "</svg>",
    "",
  ].join("\n");
}

/** A network that is the law of a motion; applied to where it begins, it gives where it leads. */
export function motion(
  width: number,
  how: Pick<rg.OdeOptions<T>, "method" | "backward"> & {
    readonly tolerance: number;
  },
): rg.nn.Layer & { readonly law: (params: rg.Tree) => rg.Field<T> } {
  const network = rg.nn.mlp([2, width, 2], { activation: rg.nn.tanh });
  const law = (params: rg.Tree) => (y: T): T => network.apply(params, y.square().mul(y));
  const saveAt = times.slice(0, length);
  return {
    ...network,
    law,
    apply: (params, x) =>
      rg.odeSolve(law(params), x, { t1: saveAt.at(-1)!, saveAt, ...how }).transpose([1, 0, 2]),
  };
}

const options = {
  epochs: count("passes over all pieces of the solution", 27),
  width: count("units of the hidden layer", 48),
  batch: count("pieces in a step", 16),
  rate: positive("Adam's step size", 0.01),
  tolerance: positive("error that a step of the solver may make", 1e-3),
  // A pair with few stages compiles fast, and is as good where little is asked for.
  method: oneOf("bs3, dopri5, reversibleHeun or coupled", [
    "bs3",
    "dopri5",
    "reversibleHeun",
    "coupled",
  ]),
  backward: oneOf(
    "what the gradient keeps: online, reverse (of the last two methods), continuous",
    [
      "online",
      "reverse",
      "continuous",
    ],
  ),
  seed: seed("seed of noise, parameters and order"),
  out: text("folder for model, report and picture", "runs/neural-ode", "DIR"),
};

const command: Command<typeof options> = {
  name: "example:neural-ode",
  about: "Learns the right-hand side of a differential equation from points of one solution.",
  options,
  async main({ epochs, width, batch, rate, seed, out, ...values }) {
    const device = await rg.init();
    console.log(`adapter   ${device.name}`);
    const first = rg.tensor([2, 0]), truth = await rg.realize(watch(spiral, first, 1e-5));
    const noise = rg.random.normal(rg.random.key(seed), [seen, 2]).mul(0.01);
    const points = await rg.realize(truth.add(noise));
    const { tolerance, method } = values;
    const backward = values.backward === "online" ? rg.online({ snapshots: 16 }) : values.backward;
    const model = motion(width, { tolerance, method, backward });
    const off = (path: T, y: T): T => path.sub(y).abs();
    const { params } = await rg.train.fit({
      model,
      loss: (path, y) => off(path, y).mean([1, 2]),
      // Of the points of a piece the share that is met.
      accuracy: (path, y) => off(path, y).max(-1).less(0.05).cast("f32").mean(-1),
      optimizer: rg.optim.adam({ rate }),
      train: pieces(points),
      // What is to be found is the truth behind the noise.
      validation: pieces(truth),
      epochs,
      batch: Math.min(batch, seen - length + 1),
      seed,
      out,
    });
    const learned = await rg.realize(watch(model.law(params), first, 1e-4));
    const apart = await off(learned, truth).mean().item() as number;
    const file = join(out, "spiral.svg");
    await Deno.writeTextFile(file, drawPaths(await points.data(), await learned.data()));
    console.log(
      `learned   a motion that is off by ${apart.toFixed(3)} in the mean, over all times`,
    );
    console.log(`picture   ${file}`);
  },
};

if (import.meta.main) await run(command);
