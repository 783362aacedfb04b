/**
 * What all users of loops together allow: results that nobody reads are dropped, with the carries
 * that only they need; and a loop whose steps another one takes, too, gives its results up to that
 * one. So the way forward runs once, be it asked for its value, for the states that the way back
 * reads, or for both.
 *
 * Which carries of two loops are equal is found as automata are minimised: those that start alike
 * are taken to be alike until their next states differ. Hopcroft, An n log n algorithm for
 * minimizing states in a finite automaton, 1971 (here by plain refinement).
 *
 * @module
 */
import { avalOf, loop, parameter, rebuild } from "../build.ts";
import { type Graph, is, type Node } from "../node.ts";
import { standingFor } from "../source.ts";
import { substitute } from "../substitute.ts";
import { topological } from "../walk.ts";
import type { Kept } from "./replay.ts";

/** The results that take the places of a loop's own. */
type Results = readonly (Node | undefined)[];

/** The roots with results of loops replaced; loops see their inputs replaced already. */
export function replaceResults(
  roots: readonly Node[],
  replace: (original: Node<"loop">, current: Node<"loop">) => Results | undefined,
): Node[] {
  const done = new Map<Node, Node>();
  const results = new Map<Node, Results>();
  for (const node of topological(roots)) {
    if (is(node, "project")) {
      const result = results.get(node.inputs[0]!)?.[node.attributes.index];
      if (result !== undefined) {
        done.set(node, result);
        continue;
      }
    }
    const current = rebuild(node, node.inputs.map((input) => done.get(input)!));
    done.set(node, current);
    if (is(node, "loop")) {
      const found = standingFor(node, () => replace(node, current as Node<"loop">));
      if (found !== undefined) results.set(node, found);
    }
  }
  return roots.map((root) => done.get(root)!);
}

function loopsBelow(roots: readonly Node[]): Node<"loop">[] {
  return topological(roots).filter((node) => is(node, "loop"));
}

/** The roots with loops rid of what nobody reads, and merged where they take the same steps. */
export function tidyLoops(roots: readonly Node[]): Node[] {
  let current = prune(roots);
  for (;;) {
    const merged = mergeOnce(current);
    if (merged === undefined) return current;
    current = prune(merged);
  }
}

/** Drops results without users, and carries that only those need. */
function prune(roots: readonly Node[]): Node[] {
  const used = new Map<Node, Set<number>>();
  for (const node of topological(roots)) {
    if (is(node, "loop")) used.set(node, new Set());
    else if (is(node, "project")) used.get(node.inputs[0]!)?.add(node.attributes.index);
  }
  const plans = new Map<Node, readonly number[]>();
  for (const [node, indices] of used) {
    const kept = neededResults(node as Node<"loop">, indices);
    if (kept.length < node.results!.length) plans.set(node, kept);
  }
  if (plans.size === 0) return [...roots];
  return replaceResults(roots, (original, { inputs, attributes }) => {
    const kept = plans.get(original);
    if (kept === undefined) return undefined;
    const { body, carries, running } = attributes, own = body.results.length;
    const ofBody = kept.filter((i) => i < own);
    const places = new Map<Node, number>();
    ofBody.forEach((i, place) => i >= carries && places.set(body.results[i]!, place));
    const stays = (i: number): boolean => i >= carries || kept.includes(i);
    const left = loop(
      {
        name: body.name,
        parameters: body.parameters.filter((_, i) => stays(i)),
        results: ofBody.map((i) => body.results[i]!),
      },
      inputs.filter((_, i) => stays(i)),
      {
        ...attributes,
        carries: kept.filter((i) => i < carries).length,
        running: running === undefined ? undefined : kept.indexOf(running),
        kept: kept.filter((i) => i >= own && i < own + attributes.kept.length).map((i): Kept => {
          const [carry, step] = attributes.kept[i - own]!;
          return [kept.indexOf(carry), step];
        }),
      },
    );
    return original.results!.map((_, i) => {
      const place = kept.indexOf(i);
      if (place >= 0 || i < carries || i >= own) return left[place];
      // Rows that are written twice are read from where they stand once.
      return left[places.get(body.results[i]!) ?? -1];
    });
  });
}

/** Places of the results that are read, by users or by what they need in the next step. */
function neededResults({ attributes }: Node<"loop">, used: ReadonlySet<number>): number[] {
  const { body, carries, running, kept } = attributes, own = body.results.length;
  const needed = new Set<number>();
  if (running !== undefined && used.size > 0) needed.add(running);
  const rows = new Set<Node>();
  for (const i of used) {
    if (i >= own + kept.length) continue;
    if (i >= own) needed.add(i).add(kept[i - own]![0]);
    else if (i < carries) needed.add(i);
    else if (!rows.has(body.results[i]!)) {
      rows.add(body.results[i]!);
      needed.add(i);
    }
  }
  const ofBody = [...needed].filter((i) => i < own);
  for (const i of carriesBehind(body, carries, ofBody)) needed.add(i);
  if (attributes.replay !== undefined && attributes.replay.checks > 0) needed.add(own);
  return [...needed].sort((a, b) => a - b);
}

/** The carries that some results of a body need, in the same step or in the next. */
export function carriesBehind(
  { parameters, results }: Graph,
  carries: number,
  wanted: readonly number[],
): number[] {
  const needed = new Set(wanted);
  for (;;) {
    const before = needed.size;
    const read = new Set(topological([...needed].map((i) => results[i]!), inputsRead));
    for (let i = 0; i < carries; i++) if (read.has(parameters[i]!)) needed.add(i);
    if (needed.size === before) break;
  }
  return [...needed].filter((i) => i < carries).sort((a, b) => a - b);
}

/** A loop's body over parameters that loops share: carries by class, other inputs by value. */
interface Shared {
  readonly node: Node<"loop">;
  /** The class of each carry. */
  readonly classes: readonly number[];
  readonly results: readonly Node[];
  readonly parameters: readonly Node[];
}

/** Loops of as many steps, with carries of one class where they are equal in every step. */
function shareBodies(loops: readonly Node<"loop">[]): Shared[] {
  const inputs = new Map<string, Node>();
  const inputOf = (role: string, value: Node, like: Node): Node => {
    const key = `${role} ${value.id} ${like.shape} ${like.dtype}`;
    let shared = inputs.get(key);
    if (shared === undefined) inputs.set(key, shared = parameter(0, avalOf(like)));
    return shared;
  };
  let classes = new Map<string, number>();
  const classOf = (key: string): number => {
    const known = classes.get(key);
    if (known === undefined) classes.set(key, classes.size);
    return known ?? classes.size - 1;
  };
  let colours = loops.map(({ inputs, attributes: { carries } }) =>
    inputs.slice(0, carries).map((input) => classOf(`${input.id}`))
  );
  for (;;) {
    const ofClasses: Node[] = [];
    const shared = loops.map((node, k): Shared => {
      const { body, carries, stacked } = node.attributes;
      const parameters = body.parameters.map((p, i) => {
        if (i < carries) return ofClasses[colours[k]![i]!] ??= parameter(0, avalOf(p));
        return inputOf(i < carries + stacked ? "rows" : "constant", node.inputs[i]!, p);
      });
      const replaced = new Map(body.parameters.map((p, i) => [p as Node, parameters[i]!]));
      return {
        node,
        classes: colours[k]!,
        results: substitute(body.results, replaced),
        parameters,
      };
    });
    const before = classes.size;
    classes = new Map();
    colours = shared.map(({ classes, results }) =>
      classes.map((c, i) => classOf(`${c} ${results[i]!.id}`))
    );
    if (classes.size === before) return shared;
  }
}

/** What a node reads; of a loop within, what this one of its results needs, and not all of them. */
function inputsRead(node: Node): readonly Node[] {
  const { inputs: [loop] } = node;
  if (!is(node, "project") || !is(loop!, "loop")) return node.inputs;
  const { body, carries, replay } = loop.attributes;
  const needed = neededResults(loop, new Set([node.attributes.index]));
  const ofBody = needed.filter((i) => i < body.results.length);
  const read = new Set(topological(ofBody.map((i) => body.results[i]!), inputsRead));
  // A way back reads what its states are made of, whatever is asked of it.
  const plain = body.parameters.length - (replay?.states ?? 0);
  return loop.inputs.filter((_, i) =>
    i >= plain || read.has(body.parameters[i]!) || (i < carries && needed.includes(i))
  );
}

/** One loop fewer, or undefined where no two take the same steps. */
function mergeOnce(roots: readonly Node[]): Node[] | undefined {
  const loops = loopsBelow(roots).filter(({ attributes }) => attributes.replay === undefined);
  const groups = Map.groupBy(
    loops,
    ({ attributes: { length, reverse, running } }) =>
      `${length} ${reverse} ${running === undefined}`,
  );
  for (const group of groups.values()) {
    if (group.length < 2) continue;
    const shared = shareBodies(group);
    for (const small of shared) {
      for (const large of shared) {
        if (small === large || !takesStepsOf(large, small)) continue;
        if (topological([large.node]).includes(small.node)) continue;
        return merge(roots, small, large);
      }
    }
  }
  return undefined;
}

/** True where every carry and every other input of `small` is one of `large`, too. */
function takesStepsOf(large: Shared, small: Shared): boolean {
  return small.parameters.every((p) => large.parameters.includes(p));
}

/** The roots with the results of `small` taken from `large`, which gives more of them. */
function merge(roots: readonly Node[], small: Shared, large: Shared): Node[] {
  const { body, ...options } = large.node.attributes;
  const own = new Map<Node, Node>();
  large.parameters.forEach((p, i) => own.has(p) || own.set(p, body.parameters[i]!));
  const { carries: count, kept: smallKept } = small.node.attributes;
  const rows = small.results.slice(count);
  const results = [...body.results, ...substitute(rows, own)];
  const carryOf = (i: number): number => large.classes.indexOf(small.classes[i]!);
  const kept: Kept[] = [
    ...options.kept,
    ...smallKept.map(([carry, step]): Kept => [carryOf(carry), step]),
  ];
  const bigger = loop({ ...body, results }, large.node.inputs, { ...options, kept });
  const after = results.length + options.kept.length;
  const fromLarge = [
    ...small.results.map((_, i) =>
      bigger[i < count ? carryOf(i) : body.results.length + i - count]
    ),
    ...bigger.slice(after),
  ];
  const fromOwn = [
    ...bigger.slice(0, body.results.length),
    ...bigger.slice(results.length, after),
  ];
  // Whatever `large` reads does not depend on `small`, so both can be replaced at once.
  return replaceResults(roots, (original) => {
    if (original === small.node) return fromLarge;
    return original === large.node ? fromOwn : undefined;
  });
}
