/**
 * Rebuilding graphs with some nodes replaced, and calls opened: the body of a call with the inputs
 * in place of the parameters. Nodes that do not change stay the same objects.
 *
 * @module
 */
import { substitute } from "./build.ts";
import { is, type Node } from "./node.ts";
import { topological } from "./walk.ts";

export { substitute } from "./build.ts";

/** The results of a call's body applied to its inputs; calls inside the body stay. */
export function openCall(call: Node<"call">): Node[] {
  const { parameters, results } = call.attributes.graph;
  return substitute(results, new Map(parameters.map((p, i) => [p as Node, call.inputs[i]!])));
}

/**
 * The roots with every call that `open` accepts replaced by its body, calls inside bodies included.
 * Nodes among `kept` are left as they are, with all below them.
 */
export function inlineCalls(
  roots: readonly Node[],
  kept: ReadonlySet<Node>,
  open: (call: Node<"call">) => boolean,
): Node[] {
  let current = [...roots];
  // A round opens the calls that are visible; their bodies may show more. Bodies nest finitely.
  for (;;) {
    const none: readonly Node[] = [];
    const order = topological(current, (n) => kept.has(n) ? none : n.inputs);
    if (!order.some((n) => is(n, "call") && open(n))) return current;
    const bodies = new Map<Node, Node[]>();
    const replaced = new Map<Node, Node>([...kept].map((node) => [node, node]));
    current = substitute(current, replaced, (node) => {
      if (!is(node, "project")) return node;
      const call = node.inputs[0]!;
      if (!is(call, "call") || !open(call)) return node;
      let body = bodies.get(call);
      if (body === undefined) bodies.set(call, body = openCall(call));
      return body[node.attributes.index]!;
    });
  }
}
