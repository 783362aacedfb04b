/**
 * Walking the graph. Graphs are deep (a chain of 100 000 nodes is ordinary), so nothing recurses:
 * one explicit stack, here, serves every pass.
 *
 * @module
 */
import { isFloat } from "./dtype.ts";
import type { Node } from "./node.ts";

/**
 * The nodes that the roots depend on, inputs before users, each once. `inputs` says which inputs
 * to follow, for walks that stop early.
 */
export function topological(
  roots: readonly Node[],
  inputs: (node: Node) => readonly Node[] = (node) => node.inputs,
): Node[] {
  const order: Node[] = [];
  const seen = new Set<Node>();
  const stack: { node: Node; inputs: readonly Node[]; next: number }[] = [];
  for (const root of roots) {
    if (seen.has(root)) continue;
    seen.add(root);
    stack.push({ node: root, inputs: inputs(root), next: 0 });
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      if (top.next === top.inputs.length) {
        order.push(top.node);
        stack.pop();
        continue;
      }
      const input = top.inputs[top.next++]!;
      if (seen.has(input)) continue;
      seen.add(input);
      stack.push({ node: input, inputs: inputs(input), next: 0 });
    }
  }
  return order;
}

/** The nodes among `order` (topological) that depend on any of `sources`, sources included. */
export function dependents(order: readonly Node[], sources: ReadonlySet<Node>): Set<Node> {
  const result = new Set<Node>();
  for (const node of order) {
    if (sources.has(node) || node.inputs.some((input) => result.has(input))) result.add(node);
  }
  return result;
}

/**
 * The nodes among `order` (topological) through which a cotangent can reach a source, or a tangent
 * come from one.
 */
export function activeNodes(order: readonly Node[], sources: ReadonlySet<Node>): Set<Node> {
  const active = new Set<Node>();
  for (const node of order) {
    if (sources.has(node)) {
      if (isFloat(node.dtype)) active.add(node);
    } else if (node.op !== "stop" && isFloat(node.dtype)) {
      for (const input of node.inputs) {
        if (!active.has(input)) continue;
        active.add(node);
        break;
      }
    }
  }
  return active;
}
