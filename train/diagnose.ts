/**
 * Looking into a model: what passes forwards and backwards between its layers, how much each can
 * stretch, and what that means in words. One step is taken apart; nothing of the model is changed.
 *
 * Measures are those of Glorot and Bengio 2010 (activations and gradients by layer) and of Qi et
 * al. 2023 (Lipschitz constants of layers and of the whole).
 *
 * @module
 */
import { onesLike, tensor, zeros } from "../graph/create.ts";
import { checkNames, type Names } from "../graph/describe.ts";
import { dtypes, isFloat, type TypedArray } from "../graph/dtype.ts";
import { key as keyOf } from "../graph/random.ts";
import { readAll, Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { jvp, type MapLeaves, valueAndGrad } from "../graph/transforms.ts";
import { flatten, unflatten } from "../graph/tree.ts";
import type { ApplyOptions, Layer, StatefulLayer } from "../nn/layer.ts";
import { stagesOf, withKey } from "../nn/layer.ts";
import { crossEntropy, mse } from "../nn/losses.ts";
import { type Optimizer, sgd } from "../optim/optimizer.ts";
import { leaves, named, type Tree } from "../optim/tree.ts";
import { compile } from "../runtime/compile.ts";
import { renderDiagnosis } from "./diagnosis_page.ts";
import { lipschitzOf, noise, type Place, spectralNormOf } from "./lipschitz.ts";
import { judge, type Verdict } from "./verdicts.ts";

/** What a model is given, and what it should answer. */
export interface DiagnosisBatch {
  /** The input, samples along the first axis. */
  readonly x: Tensor;
  /** The answers: integers for classes, floats for values. Without, the loss looks at x alone. */
  readonly y?: Tensor;
}

/** How to look. */
export interface DiagnoseOptions {
  /** The parameters to look at. @default {fresh ones} */
  params?: Tree;
  /** The state of a model that has one. @default {initState()} */
  state?: Tree;
  /**
   * The loss of an output.
   *
   * @default {crossEntropy for integer answers, mse for floats, else the mean square}
   */
  loss?: (output: Tensor, batch: DiagnosisBatch) => Tensor;
  /** Whose updates are measured. @default {sgd({ rate: 0.01 })} */
  optimizer?: Optimizer;
  /** Whether the model is applied as in training. @default {true} */
  train?: boolean;
  /** Seed of fresh parameters, dropout, and where iterations start. @default {0} */
  seed?: number;
  /** Whether to find Lipschitz constants and spectral norms, which takes longest. @default {true} */
  lipschitz?: boolean;
  /** Steps of the iteration that finds them. @default {24} */
  steps?: number;
  /** What the report calls the model. @default {the model's name} */
  name?: string;
}

/** What was measured of a parameter. */
export interface ParameterDiagnosis {
  /** Where it is in the parameters: `0.weight`. */
  readonly path: string;
  readonly shape: readonly number[];
  /** Euclidean norms of the parameter, its gradient and its first update. */
  readonly norm: number;
  readonly gradient: number;
  readonly update: number;
  /** The largest singular value, of those with more than one axis. */
  readonly spectralNorm?: number;
}

/** What was measured of a layer. */
export interface LayerDiagnosis {
  readonly name: string;
  /** Where its parameters are; empty where it has none. */
  readonly path: string;
  /** Shape of its output. */
  readonly shape: readonly number[];
  /** The root of the mean square of the output, and its largest size. */
  readonly activation: number;
  readonly largest: number;
  /** The Euclidean norm of the loss's gradient with respect to the output. */
  readonly gradient: number;
  /** The gradient's norm over that of the layer after it; missing at the last. */
  readonly gradientRatio?: number;
  /** The share of units (places of the last axis) that are 0 for the whole batch. */
  readonly dead: number;
  /** Of a function element by element: the share of outputs, not 0, where its slope is below .01. */
  readonly saturated?: number;
  /** The largest singular value of its Jacobian at this batch. */
  readonly lipschitz?: number;
}

/** What was found. */
export interface Diagnosis {
  readonly name: string;
  readonly loss: number;
  readonly layers: readonly LayerDiagnosis[];
  readonly parameters: readonly ParameterDiagnosis[];
  /** The largest singular value of the whole model's Jacobian, and the product of its layers'. */
  readonly lipschitz?: { readonly whole: number; readonly product: number };
  /** What is wrong, the worst first; empty if nothing is. */
  readonly verdicts: readonly Verdict[];
  /** A self-contained page with plots. */
  toHTML(): string;
  /** The measures as plain data; numbers that are not finite are texts. */
  toJSON(): Record<string, unknown>;
  /** The verdicts and a table. */
  toString(): string;
}

/** The loss that fits the answers. */
function defaultLoss(output: Tensor, { y }: DiagnosisBatch): Tensor {
  if (y === undefined) return output.square().mean();
  return dtypes[y.dtype].integer ? crossEntropy(output, y) : mse(output, y);
}

/** Slopes below this are flat. */
const FLAT = 0.01;

/** The Euclidean norm, in float64, of values or of the differences of two arrays. */
function norm(values: TypedArray, less?: TypedArray): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i]! - (less?.[i] ?? 0)) ** 2;
  return Math.sqrt(sum);
}

/** The largest size; NaN if there is one. */
function largestOf(values: TypedArray): number {
  let most = 0;
  for (const value of values) most = Number.isNaN(value) ? NaN : Math.max(most, Math.abs(value));
  return most;
}

/** The share of units, places of the last axis, that are 0 in all rows. */
function deadOf(values: TypedArray, units: number): number {
  const alive = new Uint8Array(units);
  values.forEach((value, i) => value !== 0 && (alive[i % units] = 1));
  return units === 0 ? 0 : alive.reduce((dead, one) => dead + (1 - one), 0) / units;
}

/** A function's slopes: tangents of ones and of something else, and what that was. */
interface Slopes {
  readonly ones: TypedArray;
  readonly other: TypedArray;
  readonly tangent: TypedArray;
}

/**
 * The share of outputs, not 0, where a function has no slope; undefined unless it works element by
 * element: only then its Jacobian is the diagonal that a tangent of ones shows.
 */
function flatOf({ ones, other, tangent }: Slopes, output: TypedArray): number | undefined {
  const tolerance = 1e-4 * largestOf(other);
  let flat = 0;
  for (let i = 0; i < ones.length; i++) {
    if (Math.abs(other[i]! - ones[i]! * tangent[i]!) > tolerance) return undefined;
    if (Math.abs(ones[i]!) < FLAT && output[i] !== 0) flat++;
  }
  return flat / Math.max(1, ones.length);
}

/** The names of {@linkcode DiagnoseOptions}. */
const optionNames: Names<DiagnoseOptions> = {
  params: true,
  state: true,
  loss: true,
  optimizer: true,
  train: "flag",
  seed: true,
  lipschitz: "flag",
  steps: true,
  name: true,
};

/**
 * Takes a model's step apart and says what is wrong: per layer the norms of activations and
 * gradients and their ratio from layer to layer, dead units, saturation, local Lipschitz constants;
 * per parameter the norms of it, its gradient and its update, and its spectral norm; verdicts in
 * words, each with the measure that led to it and what to try.
 *
 * What counts as layers are the model's stages: the links of `sequential`, the layers and
 * activations of `mlp`, the blocks of `gpt`.
 *
 * @param model The model; its parameters at hand are an option.
 * @param batch Some samples: a few dozen tell enough.
 * @param options Parameters, loss, optimizer, and how closely to look.
 *
 * @throws {TypeError} If the batch or the parameters do not fit the model.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const model = rg.nn.mlp([8, 8, 8, 2], { activation: rg.nn.sigmoid });
 * const x = rg.random.normal(rg.random.key(1), [16, 8]);
 * const y = rg.random.randint(rg.random.key(2), [16], 0, 2);
 * const found = await rg.train.diagnose(model, { x, y });
 * console.log(`${found}`);
 * for (const { kind, measure, advice } of found.verdicts) console.log(kind, measure, advice);
 * // await Deno.writeTextFile("diagnosis.html", found.toHTML());
 * ```
 */
export async function diagnose(
  model: Layer | StatefulLayer,
  batch: DiagnosisBatch,
  options: DiagnoseOptions = {},
): Promise<Diagnosis> {
  const { seed = 0, train = true, loss = defaultLoss, lipschitz = true, steps = 24 } = options;
  const name = options.name ?? model.name;
  checkNames(options, optionNames, `diagnose ${name}`);
  const { x } = batch;
  if (!(x instanceof Tensor) || x.size === 0) {
    throw new TypeError(`Cannot diagnose ${name}: x is ${x}, expected a tensor of some samples`);
  }
  const params = options.params ?? model.init(keyOf(seed));
  if (leaves(params).length === 0) {
    throw new TypeError(`Cannot diagnose ${name}: it has no parameters, expected some`);
  }
  const state = options.state ?? ("initState" in model ? model.initState() : null);
  const optimizer = options.optimizer ?? sgd({ rate: 0.01 });
  const how = (i: number): ApplyOptions => withKey({ train, key: keyOf(seed) }, i);

  // Shapes, of a pass that is recorded and never computed.
  const inputs: Tensor[] = [x];
  const stages = stagesOf(model, params, state);
  stages.forEach((stage, i) => inputs.push(stage.apply(inputs[i]!, how(i))));
  const shapes = inputs.map(({ shape, dtype }) => ({ shape, dtype }));
  const outputs = shapes.slice(1);
  const isFunction = stages.map(({ path }, i) =>
    path === "" && isFloat(shapes[i]!.dtype) && shapes[i]!.shape.join() === outputs[i]!.shape.join()
  );

  const measure = compile(function diagnose(params: Tree, batch: Tree) {
    const given = batch as unknown as DiagnosisBatch;
    /** Zeros added to every output: the loss's gradient with respect to them is that of the output. */
    const run = (params: Tree, added: readonly Tensor[]): [Tensor, Tensor[]] => {
      const passed: Tensor[] = [given.x];
      stagesOf(model, params, state).forEach((stage, i) => {
        const y = stage.apply(passed[i]!, how(i));
        passed.push(isFloat(y.dtype) ? y.add(added[i]!) : y);
      });
      const value = loss(passed.at(-1)!, given);
      return [value.size === 1 ? value.reshape([]) : value.mean(), passed];
    };
    const none = outputs.map(({ shape, dtype }) =>
      zeros(shape, { dtype: isFloat(dtype) ? dtype : "f32" })
    );
    const [[value, passed], [own, arriving]] = valueAndGrad<
      readonly [Tree, readonly Tensor[]],
      Tensor[],
      readonly [0, 1]
    >(run, { argnums: [0, 1], hasAux: true })(params, none);
    const after = optimizer.update(optimizer.init(params), own);
    const slopes = stagesOf(model, params, state).map((stage, i) => {
      if (!isFunction[i]) return null;
      const x = passed[i]!;
      const along = (v: Tensor): Tensor => jvp((x: Tensor) => stage.apply(x, how(i)), [x], [v])[1];
      const tangent = tensor(noise(x.size, seed), { shape: x.shape }).cast(x.dtype);
      return { ones: along(onesLike(x)), other: along(tangent), tangent };
    });
    return { value, passed, arriving, own, updated: after.params, slopes };
  });

  try {
    const measured = measure(params, batch as unknown as Tree);
    const { leaves: own, paths } = named(params, "params");
    const { value, passed, arriving, slopes } = await toHost(measured);
    const gradients = await readAll(leaves(measured.own)), before = await readAll(own);
    const updated = await readAll(leaves(measured.updated));
    const stretch = lipschitz
      ? await stretches(model, params, state, measured.passed, how, steps)
      : undefined;
    const found = {
      name,
      loss: value[0]!,
      layers: stages.map(({ name, path }, i): LayerDiagnosis => {
        const output = passed[i + 1]!, { shape } = outputs[i]!, of = slopes[i];
        const gradient = norm(arriving[i]!), next = arriving[i + 1];
        const saturated = of === null ? undefined : flatOf(of as Slopes, output);
        const slope = stretch?.layers[i];
        return {
          name,
          path,
          shape,
          activation: norm(output) / Math.sqrt(Math.max(1, output.length)),
          largest: largestOf(output),
          gradient,
          ...next === undefined ? {} : { gradientRatio: gradient / norm(next) },
          dead: deadOf(output, shape.at(-1) ?? 1),
          ...saturated === undefined ? {} : { saturated },
          ...slope === undefined ? {} : { lipschitz: slope },
        };
      }),
      parameters: paths.map((path, i): ParameterDiagnosis => ({
        path,
        shape: own[i]!.shape,
        norm: norm(before[i]!),
        gradient: norm(gradients[i]!),
        update: norm(updated[i]!, before[i]!),
        ...lipschitz && own[i]!.rank > 1 && isFloat(own[i]!.dtype)
          ? { spectralNorm: spectralNormOf(before[i]!, own[i]!.shape.at(-1)!, { steps, seed }) }
          : {},
      })),
      ...stretch === undefined ? {} : { lipschitz: stretch.all },
    };
    return described({ ...found, verdicts: judge(found) });
  } finally {
    measure.dispose();
  }
}

/** The tree with every tensor replaced by its values, read at once. */
async function toHost<T>(tree: T): Promise<MapLeaves<T, Tensor, TypedArray>> {
  const { leaves, structure } = flatten(tree, isTensor);
  return unflatten(structure, await readAll(leaves)) as MapLeaves<T, Tensor, TypedArray>;
}

/** Lipschitz constants of the layers at their inputs, and of the whole, if anything has a slope. */
async function stretches(
  model: Layer | StatefulLayer,
  params: Tree,
  state: Tree,
  passed: readonly Tensor[],
  how: (i: number) => ApplyOptions,
  steps: number,
): Promise<
  { layers: (number | undefined)[]; all: { whole: number; product: number } } | undefined
> {
  const stages = stagesOf(model, params, state);
  const known = stages.map((_, i) => isFloat(passed[i]!.dtype) && isFloat(passed[i + 1]!.dtype));
  // Where tokens come in, what follows the embedding is the first to have a slope.
  const first = known.indexOf(true);
  if (first < 0) return undefined;
  const places = stages.map((stage, i): Place => ({
    f: (x) => stage.apply(x, how(i)),
    x: passed[i]!,
  }));
  const whole: Place = {
    f: (x) => places.slice(first).reduce((x, { f }) => f(x), x),
    x: passed[first]!,
  };
  const found = await lipschitzOf([whole, ...places.filter((_, i) => known[i])], { steps });
  const values = found.map(({ value }) => value);
  const [all, ...each] = values as [number, ...number[]];
  const layers = known.map((is) => is ? each.shift() : undefined);
  return {
    layers,
    all: { whole: all, product: values.slice(1).reduce((product, value) => product * value, 1) },
  };
}

/** The findings with their ways of being shown. */
function described(found: Omit<Diagnosis, "toHTML" | "toJSON">): Diagnosis {
  const { name, loss, layers, parameters, lipschitz, verdicts } = found;
  const data = { name, loss, layers, parameters, ...lipschitz && { lipschitz }, verdicts };
  return {
    ...data,
    toHTML: () => renderDiagnosis(data),
    toJSON: () => plain(data) as Record<string, unknown>,
    toString: () => {
      const show = (x: number | undefined) => (x === undefined ? "" : x.toPrecision(3)).padStart(9);
      const width = Math.max(5, ...layers.map(({ name }) => name.length));
      const said = verdicts.length === 0
        ? ["Nothing to complain about."]
        : verdicts.map(({ kind, measure, advice }) => `${kind}: ${measure}. ${advice}.`);
      return [
        `${name}, loss ${loss.toPrecision(4)}`,
        ...said,
        `${"layer".padEnd(width)} ${
          ["rms", "gradient", "ratio", "dead", "flat", "Lipschitz"].map((t) => t.padStart(9)).join(
            "",
          )
        }`,
        ...layers.map((layer) =>
          layer.name.padEnd(width + 1) +
          [
            layer.activation,
            layer.gradient,
            layer.gradientRatio,
            layer.dead,
            layer.saturated,
            layer.lipschitz,
          ].map(show).join("")
        ),
      ].join("\n");
    },
  };
}

/** Plain data; JSON has no infinities. */
function plain(value: unknown): unknown {
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, x]) => [key, plain(x)]));
}
