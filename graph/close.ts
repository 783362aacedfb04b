/**
 * Closing functions: what the body of a `call` or a `loop` uses of the world outside becomes an
 * input of it, so that a body is closed and can be shared, compiled and differentiated by itself.
 *
 * @module
 */
import { avalOf, parameter } from "./build.ts";
import { type Graph, is, type Node } from "./node.ts";
import { substitute } from "./substitute.ts";
import { dependents, topological } from "./walk.ts";

/**
 * A function's body with the outer values that it uses made inputs, so that passes which look at a
 * call's inputs see everything the call depends on.
 */
export function closeOver(
  name: string,
  parameters: readonly Node<"parameter">[],
  results: readonly Node[],
): { readonly graph: Graph; readonly captured: readonly Node[] } {
  const order = topological(results);
  const inside = dependents(order, new Set<Node>(parameters));
  const captured = new Set<Node>();
  const capture = (node: Node): void => {
    if (inside.has(node) || is(node, "fill") || is(node, "iota")) return;
    if (is(node, "call") || is(node, "loop")) return;
    captured.add(node);
  };
  for (const node of order) if (inside.has(node)) node.inputs.forEach(capture);
  results.forEach(capture);
  const nodes = [...captured];
  const extra = nodes.map((node, i) => parameter(parameters.length + i, avalOf(node)));
  const replaced = new Map<Node, Node>(nodes.map((node, i) => [node, extra[i]!]));
  const graph: Graph = {
    name,
    parameters: [...parameters, ...extra],
    results: substitute(results, replaced),
  };
  return { graph, captured: nodes };
}
