/**
 * Tangents of loops, by a loop that has them as further carries. A way back that computes its states
 * again has tangents that are computed again, too.
 *
 * @module
 */
import { avalOf, fill, loop, mark, parameter } from "../build.ts";
import { carryChecks, collectChecks } from "../check.ts";
import type { Graph, Node } from "../node.ts";
import { type Input, type Transform, varyingParameters } from "./activity.ts";
import { pushOpen } from "./open.ts";
import {
  carryOf,
  type Kept,
  makeReplay,
  openReplay,
  type Replay,
  replayInputs,
  statesAt,
} from "./replay.ts";

/** The states of a way back with their tangents, which are carries of the loop forward like them. */
function pushStates(
  node: Node<"loop">,
  tangents: readonly (Node | undefined)[],
  varies: readonly boolean[],
): { readonly replay: Replay; readonly inputs: readonly Node[] } {
  const replay = node.attributes.replay!, { plan } = replay;
  const rates = replayInputs(node, tangents).states;
  const moved = rates.flatMap(([working], i) => {
    if (!varies[i]) return [];
    // The initial state may stand still, but none behind it does unless it never moves.
    return [carryOf(working!)!];
  });
  const [first] = moved;
  if (first === undefined) {
    return {
      replay,
      inputs: node.inputs.slice(node.attributes.body.parameters.length - replay.states),
    };
  }
  // The loop that has tangents has what they are tangents of, under the same numbers.
  const { body, carries, stacked, reverse, running } = first.loop.attributes;
  const state = [...replay.forward!.state, ...moved.map(({ carry }) => carry)];
  const { live, states } = statesAt(first.loop, state, plan);
  return {
    replay: makeReplay({
      ...replay,
      states: state.length,
      live,
      forward: { ...replay.forward!, body, carries, stacked, reverse, running, state },
    }),
    inputs: [...states, ...first.loop.inputs],
  };
}

/** Tangents of a loop's results from those of its inputs; undefined where zero. */
export function pushLoop(
  node: Node<"loop">,
  tangents: readonly (Node | undefined)[],
  pushforward: Transform,
  pullback: Transform,
): readonly (Node | undefined)[] {
  const { body, ...options } = node.attributes, { carries, stacked, plan, kept, replay } = options;
  const { parameters, results } = body;
  if (replay?.open) return pushOpen(node, tangents, pullback, pushforward);
  if (replay?.plan?.inverts) {
    // What inverts the values does not invert tangents to the bit.
    const sources = node.inputs.map(mark);
    return pushforward(openReplay(node, sources), sources, tangents);
  }
  const plain = parameters.length - (replay?.states ?? 0);
  const rates = replay && replayInputs(node, tangents).states;
  const varies = varyingParameters(
    node,
    (i) => i < plain ? tangents[i] !== undefined : rates![i - plain]![0] !== undefined,
  );
  const partner = parameters.map((p, i) =>
    varies.parameters[i] ? parameter(i, avalOf(p)) : undefined
  );
  const { value: pushed, checks } = collectChecks(() => pushforward(results, parameters, partner));
  const carried = carryChecks(checks);
  const inputs: Input[] = [];
  /** Parameters from..to, then their tangents; how many. */
  const take = (from: number, to: number): number => {
    const before = inputs.length;
    for (let i = from; i < to; i++) {
      inputs.push({ value: node.inputs[i]!, parameter: parameters[i]! });
    }
    for (let i = from; i < to; i++) {
      const x = node.inputs[i]!;
      if (partner[i] === undefined) continue;
      inputs.push({ value: tangents[i] ?? fill(0, x.shape, x.dtype), parameter: partner[i]! });
    }
    return inputs.length - before;
  };
  const own = take(0, carries);
  checks.forEach((_, i) =>
    inputs.push({ value: carried.values[i]!, parameter: carried.parameters[i]! })
  );
  const counts = [own + checks.length, take(carries, carries + stacked)] as const;
  take(carries + stacked, plain);
  const before = replay && pushStates(node, tangents, varies.parameters.slice(plain));
  const ofStates = [...parameters.slice(plain), ...partner.slice(plain).filter((p) => !!p)];
  const has = results.map((result, i) =>
    i < carries ? partner[i] !== undefined : varies.nodes.has(result)
  );
  const indices = results.map((_, i) => i);
  const around = indices.filter((i) => i < carries && has[i]);
  const rows = indices.filter((i) => i >= carries && has[i]);
  const forward: Graph = {
    name: `${body.name} forward`,
    parameters: [...inputs.map((input) => input.parameter), ...ofStates],
    results: [
      ...results.slice(0, carries),
      ...around.map((i) => pushed[i]!),
      ...carried.next,
      ...results.slice(carries),
      ...rows.map((i) => pushed[i]!),
    ],
  };
  const keeps = kept.flatMap(([carry, step]): Kept[] =>
    has[carry] ? [[carries + around.indexOf(carry), step]] : []
  );
  const all = loop(forward, [...inputs.map((input) => input.value), ...before?.inputs ?? []], {
    ...options,
    carries: counts[0],
    stacked: counts[1],
    kept: keeps,
    invert: undefined,
    demands: undefined,
    // An inverse of the values says nothing of tangents.
    plan: plan?.inverts ? plan.outer : plan,
    replay: before?.replay,
  });
  carried.note(all.slice(own, counts[0]));
  const after = counts[0] + results.length - carries;
  let next = forward.results.length;
  return [
    ...indices.map((i) => {
      if (!has[i]) return undefined;
      return i < carries ? all[carries + around.indexOf(i)] : all[after + rows.indexOf(i)];
    }),
    ...kept.map(([carry]) => has[carry] ? all[next++] : undefined),
  ];
}
