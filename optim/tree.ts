/**
 * Trees of tensors as optimizers see them: parameters, gradients and moments have one structure,
 * and whatever is done to a leaf is done to all of them alike.
 *
 * @module
 */
import { Tensor } from "../graph/tensor.ts";
import type { Tree } from "../graph/transforms.ts";
import { checkSame, flatten, mapTree } from "../graph/tree.ts";
import { sameShape } from "../graph/shape.ts";

export type { Tree };

function isTensor(value: unknown): value is Tensor {
  return value instanceof Tensor;
}

/** The tree of `f` of corresponding leaves; the result has the structure of the first. */
export function map<T extends Tree>(
  f: (...leaves: Tensor[]) => Tensor,
  tree: T,
  ...others: readonly Tree[]
): T {
  return mapTree(isTensor, f, tree, ...others) as T;
}

/** The tensors of a tree. */
export function leaves(tree: Tree): Tensor[] {
  return flatten(tree, isTensor).leaves;
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
