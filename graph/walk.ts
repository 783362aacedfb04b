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
  // The way down to where the walk is: lists of nodes, and how far it has come in each. The first
  // is the roots, every other one the inputs of the node that it came to in the list before.
  const lists = [roots], places = [0];
  while (lists.length > 0) {
    const top = lists.length - 1, list = lists[top]!, place = places[top]!;
    if (place === list.length) {
      lists.pop();
      places.pop();
      if (top > 0) order.push(lists[top - 1]![places[top - 1]!++]!);
      continue;
    }
    const node = list[place]!;
    if (seen.has(node)) {
      places[top] = place + 1;
      continue;
    }
    seen.add(node);
    lists.push(inputs(node));
    places.push(0);
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
