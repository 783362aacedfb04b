/**
 * What `checkpoint` asks of a compile. A graph with a checkpoint's way back holds two copies of the
 * function's inside: the one that gave its results, and one that begins at `again` on its inputs,
 * from which the way back reads. Without these identities both are one, and that one is compiled;
 * what the copies were says which stored values the way back must not find in memory, as they were
 * left there, but has to have made again. What begins at a value with a store named waits there for it.
 *
 * @module
 */
import { rebuild } from "../graph/build.ts";
import type { Outside } from "../graph/loops/replay.ts";
import { is, type Node } from "../graph/node.ts";
import { topological } from "../graph/walk.ts";
import { isAnchor } from "../kernels/legal.ts";
import type { Region } from "../kernels/region.ts";
import { type Away, forgetting, type Schedule, type TaskGraph, withSaves } from "./schedule.ts";
import { withoutReshapes } from "./store.ts";

/** A graph with checkpoints taken apart. */
export interface Lifted {
  /** The results without `again`. */
  readonly results: readonly Node[];
  /** Every node of the graph, without `again`: what has to be followed through later rewrites. */
  readonly followed: readonly Node[];
  /** Numbers in `followed` that a group's copy computed, or that rest on it. */
  readonly groups: readonly ReadonlySet<number>[];
  /** For each group, numbers in `followed` of what its copy and the way back read from elsewhere. */
  readonly held: readonly ReadonlySet<number>[];
  /** For each group that begins at values that wait outside of the device: where, and their numbers. */
  readonly away: readonly (
    | { readonly store: Outside; readonly values: ReadonlySet<number> }
    | undefined
  )[];
}

/** Takes a graph apart; undefined if it has no checkpoints. */
export function liftAgain(results: readonly Node[]): Lifted | undefined {
  const order = topological(results);
  const starts = new Map<number, Node[]>();
  for (const node of order) {
    if (!is(node, "again")) continue;
    const { group } = node.attributes;
    starts.set(group, [...starts.get(group) ?? [], node]);
  }
  if (starts.size === 0) return undefined;
  const plain = new Map<Node, Node>(), users = new Map<Node, Node[]>();
  for (const node of order) {
    const inputs = node.inputs.map((x) => plain.get(x)!);
    plain.set(node, is(node, "again") ? inputs[0]! : rebuild(node, inputs));
    for (const x of node.inputs) {
      const list = users.get(x);
      if (list === undefined) users.set(x, [node]);
      else list.push(node);
    }
  }
  // Results of loops are followed where they are read: who looks at all of them keeps them alive.
  // What waits outside is followed in any case.
  const waiting = new Set(
    order.flatMap((node) => is(node, "again") && node.attributes.store ? node.inputs : []),
  );
  const nodes = order.filter((node) =>
    waiting.has(node) || (node.op !== "again" && node.op !== "loop" && node.op !== "project")
  );
  const numbers = new Map(nodes.map((node, i) => [node, i]));
  const groups: Set<number>[] = [], held: Set<number>[] = [];
  for (const group of starts.values()) {
    const late = new Set<Node>(group), stack = [...group];
    while (stack.length > 0) {
      for (const user of users.get(stack.pop()!) ?? []) {
        if (late.has(user)) continue;
        late.add(user);
        stack.push(user);
      }
    }
    const own = new Set<number>(), before = new Set<number>();
    for (const node of late) {
      if (numbers.has(node)) own.add(numbers.get(node)!);
      for (const x of node.inputs) {
        if (!late.has(x) && numbers.has(x)) before.add(numbers.get(x)!);
      }
    }
    groups.push(own);
    held.push(before);
  }
  return {
    results: results.map((node) => plain.get(node)!),
    followed: nodes.map((node) => plain.get(node)!),
    groups,
    held,
    away: [...starts.values()].map((group) => {
      const { store } = (group[0] as Node<"again">).attributes;
      return store &&
        { store, values: new Set(group.map((node) => numbers.get(node.inputs[0]!)!)) };
    }),
  };
}

/** Regions of a compiled graph with what its checkpoints were. */
export interface Asked extends Lifted {
  /** What became of `followed`. */
  readonly became: readonly Node[];
}

/**
 * The schedule in which no way back reads what its checkpoint does not save, other than made again.
 */
export function honoured(
  asked: Asked,
  graph: TaskGraph,
  regions: readonly Region[],
  start: Schedule,
): Schedule {
  const { values, results } = graph;
  const moved = new Map<number, Away>();
  const became = asked.became.map(withoutReshapes);
  const total = new Map<Node, number>();
  for (const node of became) total.set(node, (total.get(node) ?? 0) + 1);
  const stored = new Set(values);
  const wishes = asked.groups.map((group, g) => {
    const copied = new Map<Node, number>();
    for (const i of group) copied.set(became[i]!, (copied.get(became[i]!) ?? 0) + 1);
    const isEarly = (node: Node): boolean => (total.get(node) ?? 0) > (copied.get(node) ?? 0);
    const held = new Set([...asked.held[g]!].map((i) => became[i]!));
    const away = asked.away[g], dropped = new Set<number>();
    const waiting = new Set([...away?.values ?? []].map((i) => became[i]!));
    const move = (v: number): void => {
      const way = graph.away[v]!.find(({ store }) => store === away!.store);
      if (way === undefined) return;
      moved.set(v, way);
      dropped.add(v);
    };
    values.forEach((node, v) => {
      if (waiting.has(node)) return move(v);
      // A reshape of an argument is in the copy, and still is what is held.
      if (!copied.has(node) || !isEarly(node) || held.has(node) || results.has(v)) return;
      const region = regions[graph.maker[v]!]!;
      if (standsFor(node, region, waiting, stored)) move(v);
      else if (!standsFor(node, region, held, stored)) dropped.add(v);
    });
    return { dropped, late: lateRegions(regions, copied, isEarly) };
  });
  const saving = withSaves(graph, start, start.length - 1, moved);
  const fixed = new Set<number>();
  for (;;) {
    const forgotten = new Map<number, Set<number>>();
    for (const { dropped, late } of wishes) {
      const at = saving.findIndex((r) =>
        late.has(r) && graph.tasks[r]!.reads.some((v) => dropped.has(v) && !fixed.has(v))
      );
      if (at < 0) continue;
      const gone = forgotten.get(at) ?? new Set<number>();
      for (const v of dropped) if (!fixed.has(v)) gone.add(v);
      forgotten.set(at, gone);
    }
    if (forgotten.size === 0) return start;
    const made = forgetting(graph, saving, forgotten);
    if ("schedule" in made) return made.schedule;
    for (const v of made.lost) fixed.add(v);
  }
}

/**
 * Whether a stored value is held in place of one that is to be held, but is used up inside the
 * region: a product of which only what follows from it is written.
 */
function standsFor(
  node: Node,
  { inputs }: Region,
  held: ReadonlySet<Node>,
  stored: ReadonlySet<Node>,
): boolean {
  const ends = new Set(inputs), seen = new Set<Node>([node]), stack = [node];
  while (stack.length > 0) {
    for (const x of stack.pop()!.inputs) {
      if (ends.has(x) || seen.has(x)) continue;
      if (held.has(x) && isAnchor(x) && !stored.has(x)) return true;
      seen.add(x);
      stack.push(x);
    }
  }
  return false;
}

/** Regions that compute what only the copy and the way back compute, or what follows from that. */
function lateRegions(
  regions: readonly Region[],
  copied: ReadonlyMap<Node, number>,
  isEarly: (node: Node) => boolean,
): Set<number> {
  const late = new Set<number>(), made = new Set<Node>();
  regions.forEach(({ inputs, outputs }, i) => {
    if (outputs.some(isEarly)) return;
    if (!outputs.some((x) => copied.has(x)) && !inputs.some((x) => made.has(x))) return;
    late.add(i);
    for (const x of outputs) made.add(x);
  });
  return late;
}
