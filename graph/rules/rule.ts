/**
 * What a rewrite rule is, and the small words that rules are written in.
 *
 * @module
 */
import { fill } from "../build.ts";
import { is, type Node } from "../node.ts";
import type { Primitive } from "../primitive.ts";

/**
 * A rewrite of nodes of one primitive (or of any, `"*"`). The inputs of the node are simplified
 * already; what comes back is simplified again, so a rule makes one step. No rule may change the
 * bits of a float sum, product, or contraction.
 */
export interface Rule {
  /** What it does, in a few words. */
  readonly name: string;
  /** The primitive it looks at. */
  readonly op: Primitive | "*";
  /** The replacement, or undefined where the rule does not apply. */
  readonly apply: (node: Node) => Node | undefined;
  /** Why the value stays what it is, or what the rule is for. */
  readonly why: string;
}

/** A rule whose `apply` sees the node with the type of its primitive. */
export function rule<P extends Primitive>(
  op: P,
  name: string,
  why: string,
  apply: (node: Node<P>) => Node | undefined,
): Rule {
  return { name, op, why, apply: (node) => apply(node as Node<P>) };
}

/** One rule for each of several primitives. */
export function rules<P extends Primitive>(
  ops: readonly P[],
  name: string,
  why: string,
  apply: (node: Node<P>) => Node | undefined,
): Rule[] {
  return ops.map((op) => rule(op, name, why, apply));
}

/** The value of a fill, undefined for any other node. */
export function constant(node: Node | undefined): number | undefined {
  return node !== undefined && is(node, "fill") ? node.attributes.value : undefined;
}

/** One value in the shape and dtype of a node. */
export function like(node: Node, value: number): Node {
  return fill(value, node.shape, node.dtype);
}
