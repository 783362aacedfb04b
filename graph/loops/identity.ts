/**
 * What tells loops apart that are called alike: who traces, and how many of that name were met
 * before. So a loop is known again when its function is traced anew, whatever was simplified,
 * batched or compiled in between; two loops of a program are two, and so are those of two programs.
 *
 * @module
 */
import type { Node } from "../node.ts";

/** A trace in progress: loops by their nodes, and how many there are of each name. */
interface Trace {
  readonly owner: string;
  readonly met: Map<Node, string>;
  readonly counts: Map<string, number>;
}

let current: Trace | undefined;

/** Traces for an owner: the same one names the same loops in every trace. */
export function tracedFor<T>(owner: string, f: () => T): T {
  const outer = current;
  current = { owner, met: new Map(), counts: new Map() };
  try {
    return f();
  } finally {
    current = outer;
  }
}

/** A name for a loop. Outside of traces that of all loops called so that have as many steps. */
export function identityOf(loop: Node<"loop">): string {
  const { body: { name }, length } = loop.attributes;
  if (current === undefined) return `${name}, ${length} steps`;
  const { owner, met, counts } = current;
  let identity = met.get(loop);
  if (identity === undefined) {
    const number = counts.get(name) ?? 0;
    counts.set(name, number + 1);
    met.set(loop, identity = `${owner} ${name} ${number}`);
  }
  return identity;
}
