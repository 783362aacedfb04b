/**
 * Computing many tensors at once. Reading a value computes what it needs and no more; `realize`
 * says that several are needed, so that they share their work, and that they are to be kept.
 *
 * @module
 */
import { executor } from "./executor.ts";
import { is } from "./node.ts";
import { TensorBase } from "./tensor.ts";
import { isTensor } from "./transforms/trace.ts";
import { flatten } from "./tree.ts";

/**
 * Computes all tensors of a tree (nested plain objects and arrays) and returns the tree. The work
 * is handed to the device when this returns; only reading waits for it. Data that came from the
 * host is uploaded, and from then on in the device's memory alone.
 *
 * Values that are used more than once should be realised: an expression is computed anew for each
 * read that needs it, a realised tensor never again.
 *
 * @throws {Error} while a tensor is being traced, or without a device.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.arange(6).reshape(2, 3);
 * const { mean, total } = await rg.realize({ mean: x.mean(0), total: x.sum() });
 * assertEquals(await mean.array(), [1.5, 2.5, 3.5]);
 * assertEquals(await total.item(), 15);
 * ```
 */
// deno-lint-ignore require-await -- errors are to come as rejections, like those of reading
export async function realize<T>(tree: T): Promise<T> {
  const tensors = flatten(tree, isTensor).leaves;
  TensorBase.settle(tensors, "realize");
  const hosted = tensors.flatMap(({ node }) => is(node, "leaf") ? [node.attributes.storage] : [])
    .filter(({ state }) => state.at === "host");
  if (hosted.length > 0) executor("realize").upload(hosted);
  return tree;
}
