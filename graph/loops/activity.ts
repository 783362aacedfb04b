/**
 * What transforms of loops have in common: the transforms of their bodies, which are given as
 * arguments, since they in turn ask for those of inner loops; which parameters of a body vary with
 * what is differentiated, and which of them cotangents reach, over all steps.
 *
 * @module
 */
import { isFloat } from "../dtype.ts";
import type { Node } from "../node.ts";
import { activeNodes, topological } from "../walk.ts";

/** Cotangents of sources from those of results, or tangents of results from those of sources. */
export type Transform = (
  results: readonly Node[],
  sources: readonly Node[],
  given: readonly (Node | undefined)[],
) => Node[];

/** A value, and whether its first axis is the batch. */
export interface Batched {
  readonly node: Node;
  readonly batched: boolean;
}

/** How a body is batched. */
export type Batch = (
  results: readonly Node[],
  sources: readonly Node[],
  operands: readonly Batched[],
  size: number,
) => Batched[];

/** For each parameter of a loop's body: a float that varies with the inputs that are active. */
export function varyingParameters(
  { attributes: { body, carries } }: Node<"loop">,
  active: (input: number) => boolean,
): { readonly parameters: boolean[]; readonly nodes: ReadonlySet<Node> } {
  const order = topological(body.results);
  const varies = body.parameters.map((p, i) => isFloat(p.dtype) && active(i));
  for (;;) {
    const nodes = activeNodes(order, new Set(body.parameters.filter((_, i) => varies[i])));
    let grew = false;
    for (let i = 0; i < carries; i++) {
      if (varies[i] || !nodes.has(body.results[i]!)) continue;
      varies[i] = grew = true;
    }
    if (!grew) return { parameters: varies, nodes };
  }
}

/** Results and parameters of a body that cotangents of some of its results can reach. */
export function reachedFrom(
  { attributes: { body, carries } }: Node<"loop">,
  varies: readonly boolean[],
  given: readonly boolean[],
): { readonly results: readonly boolean[]; readonly parameters: readonly boolean[] } {
  const results = [...given];
  for (;;) {
    const below = new Set(topological(body.results.filter((_, i) => results[i])));
    const parameters = body.parameters.map((p, i) => varies[i]! && below.has(p));
    let grew = false;
    for (let i = 0; i < carries; i++) {
      if (!parameters[i] || results[i]) continue;
      results[i] = grew = true;
    }
    if (!grew) {
      return {
        results,
        // A cotangent that no step passes on still is the initial carry's.
        parameters: parameters.map((reached, i) => reached || (i < carries && results[i]!)),
      };
    }
  }
}

/** An input of a loop that is being put together, and the parameter that stands for it. */
export interface Input {
  readonly value: Node;
  readonly parameter: Node<"parameter">;
}
