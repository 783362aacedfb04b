/**
 * `./dev example:neural-ode`: learns the law of a motion from watching it. A spiral dy/dt = A·y³ is
 * seen at some times with noise; a network learns to be its right-hand side, by solving its own
 * equation between the times with steps that choose their length, and going back through the solver.
 *
 * Chen, Rubanova, Bettencourt & Duvenaud, Neural ordinary differential equations, 2018.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { join } from "@std/path";
import * as rg from "@retrograd/retrograd";

const usage = `Usage: ./dev example:neural-ode [options]

Learns the right-hand side of a differential equation from points of one solution.

  --iterations N  steps of the optimizer (default 300)
  --width N       units of the hidden layer (default 48)
  --batch N       pieces of the solution in a step (default 16)
  --rate X        Adam's step size (default 0.01)
  --tolerance X   error that a step of the solver may make (default 0.001)
  --backward NAME what the gradient keeps: online or continuous (default online)
  --seed N        seed of noise, parameters and order (default 0)
  --out DIR       folder for the picture (default runs/neural-ode)
  --help          this text`;

const defaults = {
  iterations: "300",
  width: "48",
  batch: "16",
  rate: "0.01",
  tolerance: "0.001",
  backward: "online",
  seed: "0",
  out: "runs/neural-ode",
};

/** Says what is wrong in one sentence and ends. */
function fail(message: string, code: number): never {
  console.error(message);
  Deno.exit(code);
}

function readArguments(args: readonly string[]) {
  const wrong = (is: string, expected: string): never =>
    fail(`Cannot example:neural-ode: ${is}, expected ${expected}\n\n${usage}`, 2);
  const given = parseArgs([...args], {
    string: Object.keys(defaults),
    boolean: ["help"],
    default: defaults,
    unknown: (arg) => wrong(`there is no option ${arg}`, "what --help lists"),
  });
  if (given.help) {
    console.log(usage);
    Deno.exit(0);
  }
  const count = (name: "iterations" | "width" | "batch" | "seed", least: number): number => {
    const n = Number(given[name]);
    if (given[name] !== "" && Number.isSafeInteger(n) && n >= least) return n;
    return wrong(`--${name} is "${given[name]}"`, `an integer from ${least}`);
  };
  const positive = (name: "rate" | "tolerance"): number => {
    const x = Number(given[name]);
    return x > 0 && x < Infinity ? x : wrong(`--${name} is "${given[name]}"`, "a positive number");
  };
  const { backward, out } = given;
  if (backward !== "online" && backward !== "continuous") {
    return wrong(`--backward is "${backward}"`, "online or continuous");
  }
  return {
    iterations: count("iterations", 1),
    width: count("width", 1),
    batch: count("batch", 1),
    rate: positive("rate"),
    tolerance: positive("tolerance"),
    backward: backward as "online" | "continuous",
    seed: count("seed", 0),
    out: out === "" ? wrong("--out is empty", "a folder") : out,
  };
}

type T = rg.Tensor;

/** Times at which the spiral is seen, and how many of them make a piece. */
const seen = 200, length = 10, end = 20;
const times = Array.from({ length: seen }, (_, i) => i * end / (seen - 1));
const gap = end / (seen - 1);

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

/** Trains, and says how far the solution of what was learned is from what is to be seen. */
async function main(options: ReturnType<typeof readArguments>): Promise<void> {
  const { iterations, width, batch, rate, tolerance, backward, seed, out } = options;
  const device = await rg.init();
  console.log(`adapter   ${device.name}`);
  const [noise, first] = rg.random.split(rg.random.key(seed));
  const truth = await rg.realize(watch(spiral, rg.tensor([2, 0]), 1e-5));
  const points = await rg.realize(truth.add(rg.random.normal(noise, [seen, 2]).mul(0.01)));

  const network = rg.nn.mlp([2, width, 2], { activation: rg.nn.tanh });
  const law = (params: rg.Tree) => (y: T): T => network.apply(params, y.square().mul(y));
  const optimizer = rg.optim.adam({ rate });
  const loss = (params: rg.Tree, starts: T): T => {
    const y0 = points.take(starts);
    const path = rg.odeSolve(law(params), y0, {
      t1: gap * (length - 1),
      tolerance,
      // A pair with few stages compiles fast, and is as good where little is asked for.
      method: "bs3",
      saveAt: times.slice(0, length),
      ...(backward === "continuous" && { backward }),
    });
    const wanted = rg.stack(
      Array.from({ length }, (_, i) => points.take(starts.add(i))),
    );
    return path.sub(wanted).abs().mean();
  };
  const step = rg.compile((state: rg.optim.State, key: T) => {
    const starts = rg.random.randint(key, [batch], 0, seen - length);
    const [value, gradient] = rg.valueAndGrad(loss)(state.params, starts);
    return [optimizer.update(state, gradient), value] as const;
  }, { donate: [0], name: "step" });

  let state = optimizer.init(network.init(first)) as rg.optim.State, value: T | undefined;
  const began = performance.now(), every = Math.max(1, Math.floor(iterations / 10));
  for (let i = 0; i < iterations; i++) {
    [state, value] = step(state, rg.random.foldIn(noise, i + 1));
    if ((i + 1) % every !== 0) continue;
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    const off = (await value.item() as number).toFixed(4);
    console.log(`${String(i + 1).padStart(6)}/${iterations}  off by ${off}  ${seconds} s`);
  }
  const learned = await rg.realize(watch(law(state.params), rg.tensor([2, 0]), 1e-4));
  const off = await learned.sub(truth).abs().mean().item() as number;
  await Deno.mkdir(out, { recursive: true });
  const file = join(out, "spiral.svg");
  await Deno.writeTextFile(file, drawPaths(await points.data(), await learned.data()));
  console.log(`\nlearned   a motion that is off by ${off.toFixed(3)} in the mean, over all times`);
  console.log(`picture   ${file}`);
}

if (import.meta.main) {
  try {
    await main(readArguments(Deno.args));
  } catch (error) {
    // What the user can do something about is one sentence; what is a bug keeps its stack.
    const known = error instanceof Error &&
      (error.message.startsWith("Cannot ") || error instanceof Deno.errors.NotCapable);
    if (!known) throw error;
    fail(error.message, 1);
  }
}
