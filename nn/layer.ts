/**
 * What a layer is: a pair of pure functions. `init` makes parameters from a key, `apply` computes
 * from parameters and input; a layer itself holds nothing but its sizes. Layers that have running
 * statistics take them as an argument and return them.
 *
 * @module
 */
import { checkNames, describe, type Names } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import { foldIn } from "../graph/random.ts";
import { sameShape, type Shape, showShape } from "../graph/shape.ts";
import { Tensor, type TensorLike } from "../graph/tensor.ts";
import type { Tree } from "../optim/tree.ts";

/** How a layer is applied. */
export interface ApplyOptions {
  /** Whether this is training: dropout drops, batch norm uses the batch. @default {false} */
  train?: boolean;
  /** Randomness, needed by layers that drop while training. */
  key?: Tensor;
}

/** The names of what any layer is told when it is applied: layers hand options on to others. */
const applyNames: Names<ApplyOptions & { mask?: Tensor; context?: Tensor; state?: Tree }> = {
  train: "flag",
  key: true,
  mask: true,
  context: true,
  state: true,
};

/** Throws where a layer is told what no layer listens to, `training` for `train`. */
export function checkApply(layer: string, options: object = {}): void {
  checkNames(options, applyNames, `apply ${layer}`);
}

/** One of the steps that a model takes, for whoever looks at what passes between them. */
export interface Stage {
  /** What it is, sizes included: `linear(784, 512)`, `relu`. */
  readonly name: string;
  /** Where its parameters are in those of the model, `blocks.3`; empty where it has none. */
  readonly path: string;
  /** Its output. */
  apply(x: Tensor, options?: ApplyOptions): Tensor;
}

/** A pure layer. */
export interface Layer<P extends Tree = Tree> {
  /** What errors call it, sizes included: `linear(784, 512)`. */
  readonly name: string;
  /** Fresh parameters. */
  init(key: Tensor): P;
  /**
   * The output.
   *
   * @throws {TypeError} If parameters or input do not fit; the message names the layer.
   */
  apply(params: Tree, x: Tensor, options?: ApplyOptions): Tensor;
  /** What `apply` does one after the other; missing where that is one step. */
  stages?(params: Tree): readonly Stage[];
}

/** A pure layer with state that is not trained by gradients, such as running statistics. */
export interface StatefulLayer<P extends Tree = Tree, S extends Tree = Tree> {
  /** What errors call it, sizes included: `batchNorm(64)`. */
  readonly name: string;
  /** Fresh parameters. */
  init(key: Tensor): P;
  /** The state before anything was seen. */
  initState(): S;
  /**
   * The output and the state after it; outside training the state stays as it was.
   *
   * @throws {TypeError} If parameters, state or input do not fit; the message names the layer.
   */
  apply(params: Tree, state: Tree, x: Tensor, options?: ApplyOptions): [y: Tensor, state: S];
  /** What `apply` does one after the other; missing where that is one step. */
  stages?(params: Tree, state: Tree): readonly Stage[];
}

/** The steps of a model, one at least, with paths below `path`. */
export function stagesOf(
  model: Layer | StatefulLayer,
  params: Tree,
  state: Tree = null,
  path: string = "",
): readonly Stage[] {
  const below = (inner: string) => inner === "" ? path : path === "" ? inner : `${path}.${inner}`;
  const apply = (x: Tensor, options?: ApplyOptions) =>
    "initState" in model
      ? model.apply(params, state, x, options)[0]
      : model.apply(params, x, options);
  const stages = model.stages?.(params, state) ?? [{ name: model.name, path: "", apply }];
  return stages.map((stage) => ({ ...stage, path: below(stage.path) }));
}

/** The tensors of a record of parameters, or an error that names the layer. */
export function expectTensors<K extends string>(
  layer: string,
  what: string,
  tree: Tree,
  shapes: { readonly [N in K]: Shape },
): { readonly [N in K]: Tensor } {
  const record = tree as { readonly [key: string]: unknown } | null | undefined;
  for (const name in shapes) {
    const value = typeof record === "object" ? record?.[name] : undefined;
    if (!(value instanceof Tensor) || !sameShape(value.shape, shapes[name])) {
      throw new TypeError(
        `Cannot apply ${layer}: its ${what} ${name} is ${
          value instanceof Tensor ? value : value === null ? "null" : typeof value
        }, expected a tensor of shape ${showShape(shapes[name])}`,
      );
    }
  }
  return tree as { readonly [N in K]: Tensor };
}

/** Throws unless the input is of floats and its last axis has the given size. */
export function expectFeatures(layer: string, x: Tensor, features: number): void {
  if (!isFloat(x.dtype) || x.shape.at(-1) !== features) {
    throw new TypeError(
      `Cannot apply ${layer}: the input is ${x}, expected floats with a last axis of ${features}`,
    );
  }
}

/** Throws unless a layer's size is a positive integer. */
export function expectSize(layer: string, name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new RangeError(
      `Cannot make ${layer}: ${name} is ${value}, expected a positive integer`,
    );
  }
}

/** Whether a value is a layer, with state or without. */
export function isLayer(value: unknown): value is Layer | StatefulLayer {
  if (typeof value !== "object" || value === null) return false;
  const { init, apply } = value as Partial<Layer>;
  return typeof init === "function" && typeof apply === "function";
}

/**
 * What a layer around another is called: `layerScale(linear(4, 4), 4)`.
 *
 * @throws {TypeError} Unless that other is a layer without state.
 */
export function nameAround(outer: string, layer: Layer, ...sizes: readonly number[]): string {
  if (!isLayer(layer) || "initState" in layer) {
    throw new TypeError(
      `Cannot make ${outer}: the layer is ${
        isLayer(layer) ? layer.name : describe(layer)
      }, expected a layer without state`,
    );
  }
  return `${outer}(${[layer.name, ...sizes].join(", ")})`;
}

/** Throws unless what is added to a variance is a finite number, not below 0. */
export function expectEpsilon(layer: string, value: number): void {
  if (typeof value === "number" && value >= 0 && value < Infinity) return;
  const shown = typeof value === "number" ? value : describe(value);
  throw new RangeError(`Cannot make ${layer}: epsilon is ${shown}, expected a number >= 0`);
}

/** Throws unless a layer's number is finite. */
export function expectNumber(layer: string, name: string, value: number): void {
  if (!Number.isFinite(value)) {
    throw new RangeError(`Cannot make ${layer}: ${name} is ${value}, expected a finite number`);
  }
}

/** A tree as a record with certain parts, or an error that names the layer. */
export function expectRecord<K extends string, T extends Tree = Tree>(
  layer: string,
  what: string,
  tree: Tree,
  names: readonly K[],
): { readonly [N in K]: T } {
  const record = tree !== null && typeof tree === "object" && !(tree instanceof Tensor) &&
    !Array.isArray(tree);
  const missing = record ? names.find((name) => !(name in tree)) : names[0];
  if (record && missing === undefined) return tree as { readonly [N in K]: T };
  throw new TypeError(
    `Cannot apply ${layer}: its ${what} are ${
      record ? `without ${missing}` : `${tree instanceof Tensor ? tree : typeof tree}`
    }, expected a record of ${names.join(", ")}`,
  );
}

/** A tree as a list of a certain length, or an error that names the layer. */
export function expectList(
  layer: string,
  what: string,
  tree: Tree,
  length: number,
): readonly Tree[] {
  if (Array.isArray(tree) && tree.length === length) return tree;
  throw new TypeError(
    `Cannot apply ${layer}: its ${what} are ${
      Array.isArray(tree) ? `a list of ${tree.length}` : "no list"
    }, expected a list of ${length}`,
  );
}

/** The options with a key of its own for part `i`, where there is one. */
export function withKey(options: ApplyOptions = {}, i: TensorLike): ApplyOptions {
  return options.key === undefined ? options : { ...options, key: foldIn(options.key, i) };
}
