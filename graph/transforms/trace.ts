/**
 * What the transforms share: taking trees of tensors apart, putting placeholders in, running the
 * user's function, and checking what it returned. Every check names the function and the place.
 *
 * @module
 */
import { describe } from "../describe.ts";
import { isFloat } from "../dtype.ts";
import { is, type Node } from "../node.ts";
import { transforming } from "../scope.ts";
import { sameShape, showShape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { checkSame, flatten, leafPaths, type Structure, type TreeOf, unflatten } from "../tree.ts";

/** Tensors in nested plain objects and arrays; numbers, strings, booleans and null stay. */
export type Tree = TreeOf<Tensor>;

/** A tree of tensors taken apart. */
export interface Parts {
  readonly nodes: readonly Node[];
  readonly structure: Structure;
}

/** True for tensors: what counts as a leaf here. */
export function isTensor(value: unknown): value is Tensor {
  return value instanceof Tensor;
}

/** A tensor over a node; over a leaf it is a second handle, which does not own the data. */
export function handle(node: Node): Tensor {
  return new Tensor(node, !is(node, "leaf"));
}

/** What a function is called in messages. */
export function nameOf(f: { readonly name: string } | null | undefined): string {
  return f?.name ? f.name : "the function";
}

/** A tree as nodes. */
export function partsOf(tree: unknown, name: string): Parts {
  const { leaves, structure } = flatten(tree, isTensor, name);
  return { nodes: leaves.map((x) => x.node), structure };
}

/** Nodes as a tree. */
export function treeOf(structure: Structure, nodes: readonly Node[]): unknown {
  return unflatten(structure, nodes.map(handle));
}

/** The `index`-th leaf of a tree, for messages: `params.layers.0.weight`. */
export function leafName(name: string, { structure }: Parts, index: number): string {
  const path = leafPaths(structure)[index]!;
  return path === "" ? name : `${name}.${path}`;
}

/**
 * Runs the user's function on trees.
 *
 * @throws {TypeError} if it is asynchronous.
 */
export function run(
  action: string,
  f: (...args: never[]) => unknown,
  args: readonly unknown[],
): unknown {
  if (typeof f !== "function") {
    throw new TypeError(`Cannot ${action}: ${describe(f)}, expected a function`);
  }
  const returned = transforming(() => f(...args as never[]));
  if (returned instanceof Promise) {
    returned.catch(() => {});
    throw new TypeError(
      `Cannot ${action} ${nameOf(f)}: it returned a promise, expected tensors (what is ` +
        "differentiated cannot wait for values)",
    );
  }
  return returned;
}

/** The tensors that a function returned; at least one. */
export function resultsOf(
  action: string,
  f: { readonly name: string },
  returned: unknown,
): Parts {
  const parts = partsOf(returned, `what ${nameOf(f)} returned`);
  if (parts.nodes.length === 0) {
    const what = typeof returned === "object" && returned !== null
      ? "a tree without tensors"
      : String(returned);
    throw new TypeError(
      `Cannot ${action} ${nameOf(f)}: it returned ${what}, expected a tensor or a tree of tensors`,
    );
  }
  return parts;
}

/** Throws, naming the leaf, unless every leaf is a float and there is one. */
export function checkFloats(action: string, name: string, parts: Parts): void {
  const { nodes } = parts;
  if (nodes.length === 0) {
    throw new TypeError(
      `Cannot ${action}: ${name} has no tensors, expected at least one of floats`,
    );
  }
  nodes.forEach((node, i) => {
    if (isFloat(node.dtype)) return;
    throw new TypeError(
      `Cannot ${action}: ${leafName(name, parts, i)} is ${node.dtype}, expected f32 or f16 ` +
        "(only floats have derivatives; pass it as another argument)",
    );
  });
}

/** Throws, naming the leaf, unless two trees agree in structure, shapes and dtypes. */
export function checkLike(action: string, name: string, given: Parts, wanted: Parts): void {
  checkSame(`${action}: ${name}`, wanted.structure, given.structure);
  given.nodes.forEach((node, i) => {
    const like = wanted.nodes[i]!;
    if (node.dtype === like.dtype && sameShape(node.shape, like.shape)) return;
    throw new TypeError(
      `Cannot ${action}: ${leafName(name, given, i)} is ${node.dtype}${showShape(node.shape)}, ` +
        `expected ${like.dtype}${showShape(like.shape)}`,
    );
  });
}
