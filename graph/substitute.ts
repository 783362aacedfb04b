/**
 * Rebuilding graphs with some nodes replaced, and calls opened: the body of a call with the inputs
 * in place of the parameters. Nodes that do not change stay the same objects.
 *
 * @module
 */
import { rebuild } from "./build.ts";
import { is, type Node } from "./node.ts";
import { topological } from "./walk.ts";

/**
 * The roots with nodes replaced as `replacements` says. What is replaced is not walked further, so
 * a replacement may contain what it replaces. `change` sees every other node after its inputs.
 */
export function substitute(
  roots: readonly Node[],
  replacements: ReadonlyMap<Node, Node>,
  change: (node: Node) => Node = (node) => node,
): Node[] {
  const done = new Map<Node, Node>(replacements);
  const none: readonly Node[] = [];
  for (const node of topological(roots, (n) => replacements.has(n) ? none : n.inputs)) {
    if (done.has(node)) continue;
    done.set(node, change(rebuild(node, node.inputs.map((input) => done.get(input)!))));
  }
  return roots.map((root) => done.get(root)!);
}

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
