/**
 * Trees of tensors as optimizers see them: parameters, gradients and moments have one structure,
 * and whatever is done to a leaf is done to all of them alike.
 *
 * @module
 */
import { full } from "../graph/create.ts";
import { calledHere } from "../graph/source.ts";
import type { Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import type { Tree } from "../graph/transforms.ts";
import {
  checkSame,
  flatten,
  leafPaths,
  mapTree,
  type Structure,
  unflatten,
} from "../graph/tree.ts";
import { sameShape } from "../graph/shape.ts";

export type { Tree };

/**
 * The tree of `f` of corresponding leaves; the result has the structure of the first. What `f` makes
 * comes from the line that called the library.
 */
export function map<T extends Tree>(
  f: (...leaves: Tensor[]) => Tensor,
  tree: T,
  ...others: readonly Tree[]
): T {
  return calledHere(() => mapTree(isTensor, f, tree, ...others) as T);
}

/** The tensors of a tree. */
export function leaves(tree: Tree): Tensor[] {
  return flatten(tree, isTensor).leaves;
}

/** The scalar product of two trees, in f32. */
export function innerProduct(a: Tree, b: Tree): Tensor {
  const others = leaves(b);
  return leaves(a)
    .map((x, i) => x.cast("f32").mul(others[i]!.cast("f32")).sum())
    .reduce((sum, x) => sum.add(x), full([], 0));
}

/** a + t·b. */
export function along<P extends Tree>(a: P, t: Tensor | number, b: Tree): P {
  return map((a, b) => a.add(b.mul(t)).cast(a.dtype), a, b);
}

/** Which parameters something is for: by the parameter, or by its path, `layers.0.weight`. */
export type Applies = (parameter: Tensor, path: string) => boolean;

/** `f` of the leaves that `applies` chooses by the parameter and its path; the others stay. */
export function mapWhere<T extends Tree>(
  applies: Applies | undefined,
  f: (leaf: Tensor, parameter: Tensor) => Tensor,
  tree: T,
  params: Tree,
): T {
  if (applies === undefined) return map((x, p) => f(x, p!), tree, params);
  const { leaves, structure } = flatten(params, isTensor, "params");
  const paths = leafPaths(structure);
  let next = 0;
  return map((x) => {
    const i = next++, p = leaves[i]!;
    return applies(p, paths[i]!) ? f(x, p) : x;
  }, tree);
}

/** A tree taken apart, with the path of every leaf. */
export interface Named {
  /** The tensors. */
  readonly leaves: Tensor[];
  /** Where they are in the tree, as `layers.0.weight`. */
  readonly paths: string[];
  /** The rest of the tree. */
  readonly structure: Structure;
}

/** Takes a tree apart. */
export function named(tree: Tree, name: string): Named {
  const { leaves, structure } = flatten(tree, isTensor, name);
  return { leaves, structure, paths: leafPaths(structure) };
}

/** The tree of a structure around new leaves. */
export function treeOf(structure: Structure, leaves: readonly Tensor[]): Tree {
  return unflatten(structure, leaves) as Tree;
}

/** Throws unless the gradient fits the parameters, leaf by leaf. */
export function checkGradient(params: Tree, gradient: Tree): void {
  const a = flatten(params, isTensor, "params"), b = flatten(gradient, isTensor, "gradient");
  checkSame("update parameters", a.structure, b.structure);
  a.leaves.forEach((x, i) => {
    const g = b.leaves[i]!;
    if (!sameShape(x.shape, g.shape)) {
      throw new TypeError(
        `Cannot update parameters: the gradient of ${x} is ${g}, expected its shape`,
      );
    }
  });
}
