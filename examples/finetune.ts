/**
 * `./dev example:finetune`: reads a network from a safetensors file with PyTorch's names and
 * layout, keeps its first layers as they are, and teaches it other labels from a few samples: it
 * knows digits, and learns odd from even. A file is made here if none is named.
 *
 * @module
 */
import { join } from "@std/path";
import * as rg from "@retrograd/retrograd";
import { type Command, count, positive, run, seed, text } from "./command.ts";

/** What PyTorch calls a parameter of `mlp`; weights are [outputs, inputs] there. */
const inPyTorch = (path: string): rg.data.Source => {
  const [layer, kind] = path.split(".");
  return { name: `fc${Number(layer) + 1}.${kind}`, transpose: kind === "weight" };
};

/** The first images of a set, and whether their digits are odd. */
function parity({ x, y, rows }: rg.data.Dataset, count: number = rows.length): rg.data.Dataset {
  const odd: rg.data.Column = { ...y, take: (rows) => y.take(rows).remainder(2) };
  return new rg.data.Dataset(x, odd, rows.subarray(0, count));
}

/** Writes parameters as PyTorch would. */
export async function exportModel(path: string, params: rg.nn.MlpParams): Promise<void> {
  const there = params.map(({ weight, bias }) => ({ weight: weight.T, bias }));
  const tensors = [...await rg.data.toHost(there as rg.Tree)]
    .map(([path, tensor]) => [inPyTorch(path).name, tensor] as const);
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await Deno.writeFile(path, rg.data.encodeSafetensors(new Map(tensors)));
}

/**
 * The network in a file: as many layers as it has, `fc1`, `fc2` …, of their sizes; its last layer
 * is a new one.
 */
export async function importModel(
  path: string,
  classes: number,
  seed: number,
): Promise<{ model: rg.nn.Layer<rg.nn.MlpParams>; params: rg.nn.MlpParams }> {
  const file = await Deno.readFile(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`Cannot read ${path}: there is no such file, expected a safetensors file`);
  });
  const { tensors } = rg.data.decodeSafetensors(file, path);
  const sizes = [];
  for (let i = 1, at; (at = tensors.get(`fc${i}.weight`)) !== undefined; i++) {
    sizes.push(at.shape[1]!);
  }
  if (sizes.length < 2 || sizes[0] !== 784) {
    throw new TypeError(
      `Cannot read ${path}: its layers take [${sizes}], expected fc1.weight [n,784] and more`,
    );
  }
  const model = rg.nn.mlp([...sizes, classes]);
  const [head, ...body] = model.init(rg.random.key(seed)).toReversed();
  // The old head stays in the file.
  const loaded = rg.data.assign(body.reverse(), tensors, { name: inPyTorch, unused: "allow" });
  return { model, params: [...loaded, head!] };
}

const options = {
  model: text("a file with fc1.weight, fc1.bias, fc2 …; made here if none is named", "", "FILE"),
  samples: count("images to learn odd and even from", 100, 10),
  freeze: count("layers that are kept as they are", 2, 0),
  epochs: count("passes over them", 40),
  rate: positive("Adam's step size", 1e-3),
  seed: seed("seed of parameters and order"),
  pretrain: count("images that the model made here is trained on", 10_000, 500),
  out: text("folder for models", "runs/finetune", "DIR"),
};

const command: Command<typeof options> = {
  name: "example:finetune",
  about:
    "Reads a safetensors model of digits, freezes its first layers, and teaches it odd and even.",
  options,
  async main({ samples, freeze, epochs, rate, seed, pretrain, out, ...values }) {
    const device = await rg.init();
    console.log(`adapter   ${device.name}\n`);
    const mnist = await rg.data.mnist();
    const path = values.model || join(out, "digits.safetensors");
    const optimizer = rg.optim.adam({ rate });

    if (values.model === "") {
      console.log("a model of ten digits");
      const model = rg.nn.mlp([784, 128, 64, 10]);
      const parts = { train: pretrain, validation: Math.ceil(pretrain / 10) };
      const { train, validation } = mnist.train.split(parts, { seed });
      const { params } = await rg.train.fit({
        model,
        optimizer,
        train,
        validation,
        epochs: 3,
        seed,
      });
      await exportModel(path, params);
    }

    const { model, params } = await importModel(path, 2, seed);
    if (freeze >= params.length) {
      throw new RangeError(
        `Cannot freeze ${freeze} layers: ${model.name} has ${params.length}, expected fewer`,
      );
    }
    console.log(
      `\n${path}: ${model.name} with a new head; the first ${freeze} of its layers frozen`,
    );
    const train = parity(mnist.train, samples), test = parity(mnist.test);
    const learn = async (
      start: rg.nn.MlpParams,
      optimizer: rg.optim.Optimizer,
      folder?: string,
    ) => {
      const result = await rg.train.fit({
        model: { ...model, init: () => start },
        optimizer,
        train,
        validation: train,
        epochs,
        batch: 10,
        seed,
        ...folder === undefined ? { sink: null } : { out: folder },
      });
      return (await rg.train.evaluate({ model }, test, result.params)).accuracy;
    };
    const partly = rg.optim.groups(
      (path) => Number(path.split(".")[0]) < freeze ? "frozen" : "trained",
      { frozen: null, trained: optimizer },
    );
    const tuned = await learn(params, partly, out);
    const fresh = await learn(model.init(rg.random.key(seed)), optimizer);
    const show = (x: number) => `${(100 * x).toFixed(1)} %`;
    console.log(`\nodd or even, on ${test.size} images after ${samples} others:`);
    console.log(`fine-tuned      ${show(tuned)}   ${rg.train.modelPath(out)}`);
    console.log(`from nothing    ${show(fresh)}`);
  },
};

if (import.meta.main) await run(command);
