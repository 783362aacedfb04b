/**
 * `./dev train mnist`: trains a network on MNIST and leaves a model and a report.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { join } from "@std/path";
import * as rg from "@retrograd/retrograd";

const usage = `Usage: ./dev train mnist [options]

Trains a network of 784-512-10 on MNIST, on the GPU that WebGPU finds.

  --epochs N      passes over the training set (default 6)
  --batch N       samples in a step (default 128)
  --rate R        Adam's step size at its highest (default 0.001)
  --seed N        seed of parameters and order (default 0)
  --out DIR       folder for model, state and report (default runs/mnist)
  --resume        go on with the run in that folder, with the options that it was begun with
  --help          this text

Ctrl-C ends at the next step with everything saved; --resume goes on from there.`;

/** What was asked for on the command line. */
interface Arguments {
  readonly epochs: number;
  readonly batch: number;
  readonly rate: number;
  readonly seed: number;
  readonly out: string;
  readonly resume: boolean;
}

/** A word as a shell reads it. */
function quoted(word: string): string {
  return /^[\w./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Says what is wrong in one sentence and ends. */
function fail(message: string, code: number = 1): never {
  console.error(message);
  Deno.exit(code);
}

function readArguments(args: string[]): Arguments {
  const wrong = (is: string, expected: string): never =>
    fail(`Cannot train: ${is}, expected ${expected}\n\n${usage}`, 2);
  const parsed = parseArgs(args, {
    string: ["epochs", "batch", "rate", "seed", "out"],
    boolean: ["resume", "help"],
    default: { epochs: "6", batch: "128", rate: "1e-3", seed: "0", out: "runs/mnist" },
    unknown: (arg, key) => {
      if (key !== undefined) wrong(`there is no option ${arg}`, "one of those below");
      return true;
    },
  });
  if (parsed.help) {
    console.log(usage);
    Deno.exit(0);
  }
  if (parsed._.length !== 1 || parsed._[0] !== "mnist") {
    wrong(`the job is ${parsed._.length === 0 ? "missing" : parsed._.join(" ")}`, "mnist");
  }
  const number = (
    name: "epochs" | "batch" | "rate" | "seed",
    ok: (n: number) => boolean,
    what: string,
  ) => {
    const text = parsed[name], value = text === "" ? NaN : Number(text);
    return ok(value) ? value : wrong(`--${name} is "${text}"`, what);
  };
  const positive = (n: number) => Number.isSafeInteger(n) && n >= 1;
  return {
    epochs: number("epochs", positive, "a positive integer"),
    batch: number("batch", positive, "a positive integer"),
    rate: number("rate", (n) => n > 0 && n < Infinity, "a positive number"),
    seed: number(
      "seed",
      (n) => Number.isSafeInteger(n) && n >= 0 && n < 2 ** 32,
      "an integer in [0, 2^32)",
    ),
    out: parsed.out === "" ? wrong("--out is empty", "a folder") : parsed.out,
    resume: parsed.resume,
  };
}

const SIZES = [784, 512, 10];

async function main({ epochs, batch, rate, seed, out, resume }: Arguments): Promise<void> {
  const device = await rg.init();
  const adapter = `${device.name}${
    device.kind === "software" ? ", a software adapter: no GPU was found" : ""
  }`;
  console.log(`adapter   ${adapter}`);
  const { train: all, test } = await rg.data.mnist();
  const { train, validation } = all.split({ train: 55_000, validation: 5_000 }, { seed });
  const model = rg.nn.mlp(SIZES);
  console.log(
    `data      MNIST: ${train.size} to train on, ${validation.size} to validate, ${test.size} to test`,
  );
  console.log(`model     ${model.name}, Adam, rate ${rate}, batch ${batch}, seed ${seed}\n`);

  // A batch larger than the set makes no step: fit() says so.
  const steps = Math.max(1, Math.floor(train.size / batch)) * epochs;
  const schedule = rg.optim.cosine(rate, { steps, end: rate / 20 });
  // The rate falls over all steps: with other epochs the run would go on as another.
  const settings = { model: model.name, rate, epochs };
  const result = await rg.train.fit({
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
  if (result.stopped === "SIGINT" || result.stopped === "SIGTERM") {
    const options = Object.entries({ epochs, batch, rate, seed, out })
      .map(([name, value]) => ` --${name} ${quoted(String(value))}`);
    console.log(`\nstopped   everything is saved; go on with`);
    console.log(`          ./dev train mnist --resume${options.join("")}`);
    Deno.exitCode = rg.train.exitCodes[result.stopped];
    return;
  }
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
}

try {
  await main(readArguments(Deno.args));
} catch (error) {
  // What the user can do something about is one sentence; what is a bug keeps its stack.
  const known = error instanceof Error &&
    (error.message.startsWith("Cannot ") || error instanceof Deno.errors.NotCapable);
  if (!known) throw error;
  fail(error.message);
}
