/**
 * Checkpoints made elsewhere: tensors by name put at their places in a tree of parameters, with a
 * rule from paths to names, and the other way round. Shapes are checked, and so is that everything
 * found a place.
 *
 * @module
 */
import { tensor } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { sameShape, showShape } from "../graph/shape.ts";
import { readAll, type Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import type { Tree } from "../graph/transforms.ts";
import { flatten, leafPaths, unflatten } from "../graph/tree.ts";
import type { HostTensor } from "./safetensors.ts";

/** Where a parameter comes from. */
export interface Source {
  /** The tensor's name in the checkpoint. */
  readonly name: string;
  /** Whether its axes are to be reversed, as PyTorch's linear layers need it. @default {false} */
  readonly transpose?: boolean;
}

/** How tensors are assigned. */
export interface AssignOptions {
  /** The name, or more, for a path such as `blocks.0.up.weight`. @default {the path itself} */
  readonly name?: (path: string) => string | Source;
  /** What to do with tensors that nobody asked for. @default {"refuse"} */
  readonly unused?: "refuse" | "allow";
  /** What to do with parameters that are not there: `keep` leaves them. @default {"refuse"} */
  readonly missing?: "refuse" | "keep";
}

/** A tensor of a file on its way to the device; it is uploaded when first used. */
export function toTensor({ dtype, shape, data }: HostTensor): Tensor {
  return tensor(data, { dtype, shape });
}

/**
 * The tree with its tensors replaced by those of a checkpoint, cast to its dtypes.
 *
 * @param params What to fill: its structure, shapes and dtypes.
 * @param tensors The checkpoint.
 *
 * @throws {TypeError} If a parameter is missing, has another shape, or tensors are left over; the
 * message names all of them.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * // A linear layer of PyTorch, whose weight is [outputs, inputs].
 * const file = new Map<string, rg.data.HostTensor>([
 *   ["fc.weight", { dtype: "f32", shape: [1, 2], data: Float32Array.of(3, 4) }],
 *   ["fc.bias", { dtype: "f32", shape: [1], data: Float32Array.of(5) }],
 * ]);
 * const params = rg.data.assign({ weight: rg.zeros([2, 1]), bias: rg.zeros([1]) }, file, {
 *   name: (path) => ({ name: `fc.${path}`, transpose: path === "weight" }),
 * });
 * assertEquals(params.weight.shape, [2, 1]);
 * ```
 */
export function assign<P extends Tree>(
  params: P,
  tensors: ReadonlyMap<string, HostTensor>,
  options: AssignOptions = {},
): P {
  checkNames(options, { name: true, unused: true, missing: true }, "assign parameters");
  const { name = (path) => path, unused = "refuse", missing = "refuse" } = options;
  const { leaves, structure } = flatten(params, isTensor, "params");
  const used = new Set<string>(), wrong: string[] = [];
  const filled = leafPaths(structure).map((path, i) => {
    const asked = name(path), own = leaves[i]!;
    const source: Source = typeof asked === "string" ? { name: asked } : asked;
    const found = tensors.get(source.name);
    if (found === undefined) {
      if (missing === "refuse") wrong.push(`${source.name} is missing (for ${path})`);
      return own;
    }
    used.add(source.name);
    const shape = source.transpose ? found.shape.toReversed() : found.shape;
    if (!sameShape(shape, own.shape)) {
      wrong.push(
        `${source.name} is ${showShape(found.shape)} (for ${path} ${showShape(own.shape)})`,
      );
      return own;
    }
    const x = toTensor(found);
    return (source.transpose ? x.transpose() : x).cast(own.dtype);
  });
  if (unused === "refuse") {
    const rest = [...tensors.keys()].filter((name) => !used.has(name));
    if (rest.length > 0) wrong.push(`nobody asks for ${rest.join(", ")}`);
  }
  if (wrong.length === 0) return unflatten(structure, filled) as P;
  throw new TypeError(
    `Cannot assign tensors: ${wrong.join("; ")}, expected a tensor of the right shape for every ` +
      "parameter",
  );
}

/**
 * The tensors of a tree by their paths, read from the device in one wait: what files are made of.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const params = rg.nn.mlp([4, 8, 2]).init(rg.random.key(0));
 * const bytes = rg.data.encodeSafetensors(await rg.data.toHost(params));
 * const { tensors } = rg.data.decodeSafetensors(bytes);
 * assertEquals([...tensors.keys()].sort(), ["0.bias", "0.weight", "1.bias", "1.weight"]);
 * ```
 */
export async function toHost(tree: Tree): Promise<Map<string, HostTensor>> {
  const { leaves, structure } = flatten(tree, isTensor, "tree");
  const values = await readAll(leaves);
  return new Map(
    leafPaths(structure).map((path, i) => {
      const { dtype, shape } = leaves[i]!;
      return [path, { dtype, shape, data: values[i]! }];
    }),
  );
}
