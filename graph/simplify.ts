/**
 * Simplification: rewrite rules, kept as data in rules/, applied from the inputs upwards until none
 * applies. Markers of transforms vanish and calls are opened, so what is left is plain arithmetic.
 * No rule changes the bits of a float sum: their order is a function of shape alone.
 *
 * @module
 */
import { rebuild } from "./build.ts";
import { projected, simplifyLoop } from "./loops/simplify.ts";
import { tidyLoops } from "./loops/tidy.ts";
import { is, type Node } from "./node.ts";
import type { Primitive } from "./primitive.ts";
import { algebraRules } from "./rules/algebra.ts";
import { constantRules } from "./rules/constants.ts";
import { movementRules } from "./rules/movement.ts";
import { reductionRules } from "./rules/reduction.ts";
import type { Rule } from "./rules/rule.ts";
import { standingFor } from "./source.ts";
import { openCall } from "./substitute.ts";

export type { Rule } from "./rules/rule.ts";

/** Every rule, in the order of trying. */
export const rules: readonly Rule[] = [
  ...reductionRules,
  ...constantRules,
  ...algebraRules,
  ...movementRules,
];

const anywhere: readonly Rule[] = rules.filter((rule) => rule.op === "*");
const byOp = new Map<Primitive, readonly Rule[]>();
for (const { op } of rules) {
  if (op !== "*") byOp.set(op, [...anywhere, ...rules.filter((rule) => rule.op === op)]);
}

/** The first rule that applies, applied once. */
function rewrite(node: Node): Node | undefined {
  for (const rule of byOp.get(node.op) ?? anywhere) {
    const result = rule.apply(node);
    if (result !== undefined && result !== node) return result;
  }
  return undefined;
}

/** The roots with every rule applied as often as it can be, and loops without what nobody reads. */
export function simplify(roots: readonly Node[]): Node[] {
  let current = rewriteAll(roots);
  for (;;) {
    if (!current.hasLoops) return current.roots;
    const tidy = tidyLoops(current.roots);
    if (tidy.every((node, i) => node === current.roots[i])) return tidy;
    current = rewriteAll(tidy);
  }
}

function rewriteAll(
  roots: readonly Node[],
): { readonly roots: Node[]; readonly hasLoops: boolean } {
  let hasLoops = false;
  /** Nodes and what they finally become. */
  const done = new Map<Node, Node>();
  /** Nodes and what they become next: an equal node that may be simplified further. */
  const next = new Map<Node, Node>();
  const bodies = new Map<Node, Node[]>();
  const step = (node: Node): Node | undefined => {
    if (is(node, "project")) {
      const call = node.inputs[0] as Node<"call"> | Node<"loop">;
      if (is(call, "loop")) return projected(call, node.attributes.index);
      let body = bodies.get(call);
      if (body === undefined) bodies.set(call, body = openCall(call));
      return body[node.attributes.index]!;
    }
    if (is(node, "loop")) {
      hasLoops = true;
      return standingFor(node, () => simplifyLoop(node, simplify));
    }
    return standingFor(node, () => rewrite(node));
  };
  const stack = roots.toReversed();
  /** Says what the node becomes, if that is known by now; else what has to be known first is next. */
  const settle = (node: Node): boolean => {
    if (done.has(node)) return true;
    const successor = next.get(node);
    if (successor !== undefined) {
      done.set(node, done.get(successor)!);
      return true;
    }
    const height = stack.length;
    for (const input of node.inputs) if (!done.has(input)) stack.push(input);
    if (stack.length > height) return false;
    const rebuilt = rebuild(node, node.inputs.map((input) => done.get(input)!));
    const better = rebuilt === node ? step(node) : rebuilt;
    if (better === undefined) {
      done.set(node, node);
      return true;
    }
    next.set(node, better);
    stack.push(better);
    return false;
  };
  while (stack.length > 0) {
    const height = stack.length;
    if (settle(stack[height - 1]!)) stack.length = height - 1;
  }
  return { roots: roots.map((root) => done.get(root)!), hasLoops };
}
