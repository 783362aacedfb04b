/**
 * Derivatives of loops, themselves loops. The way back runs the steps in the other order: its
 * carries are the cotangents of the carries and sums of those of the constants; the states before
 * each step come from the loop forward, which keeps them, or as many as a plan asks for: see
 * replay.ts. It is the loop that is there already with more results, and simplification makes one
 * of the two.
 *
 * The transforms of bodies are given as arguments, since they in turn ask here for inner loops.
 *
 * @module
 */
import { apply, avalOf, canonical, fill, loop, mark, parameter, reshape, slice } from "../build.ts";
import { carryChecks, collectChecks, Gauge, noteCheck } from "../check.ts";
import { isFloat } from "../dtype.ts";
import type { Graph, Node } from "../node.ts";
import { substitute } from "../substitute.ts";
import { activeNodes, topological } from "../walk.ts";
import {
  carryOf,
  type Kept,
  makeReplay,
  openReplay,
  type Replay,
  replayInputs,
  statesAt,
} from "./replay.ts";
import { pullOpen, pushOpen, unmasked } from "./open.ts";
import { carriesBehind } from "./tidy.ts";

/** Cotangents of sources from those of results, or tangents of results from those of sources. */
type Transform = (
  results: readonly Node[],
  sources: readonly Node[],
  given: readonly (Node | undefined)[],
) => Node[];

/** For each parameter of a loop's body: a float that varies with the inputs that are active. */
function varyingParameters(
  { attributes: { body, carries } }: Node<"loop">,
  active: (input: number) => boolean,
): { readonly parameters: boolean[]; readonly nodes: ReadonlySet<Node> } {
  const order = topological(body.results);
  const varies = body.parameters.map((p, i) => isFloat(p.dtype) && active(i));
  for (;;) {
    const nodes = activeNodes(order, new Set(body.parameters.filter((_, i) => varies[i])));
    let grew = false;
    for (let i = 0; i < carries; i++) {
      if (varies[i] || !nodes.has(body.results[i]!)) continue;
      varies[i] = grew = true;
    }
    if (!grew) return { parameters: varies, nodes };
  }
}

/** Results and parameters of a body that cotangents of some of its results can reach. */
function reachedFrom(
  { attributes: { body, carries } }: Node<"loop">,
  varies: readonly boolean[],
  given: readonly boolean[],
): { readonly results: readonly boolean[]; readonly parameters: readonly boolean[] } {
  const results = [...given];
  for (;;) {
    const below = new Set(topological(body.results.filter((_, i) => results[i])));
    const parameters = body.parameters.map((p, i) => varies[i]! && below.has(p));
    let grew = false;
    for (let i = 0; i < carries; i++) {
      if (!parameters[i] || results[i]) continue;
      results[i] = grew = true;
    }
    if (!grew) {
      return {
        results,
        // A cotangent that no step passes on still is the initial carry's.
        parameters: parameters.map((reached, i) => reached || (i < carries && results[i]!)),
      };
    }
  }
}

/** An input of a loop that is being put together, and the parameter that stands for it. */
interface Input {
  readonly value: Node;
  readonly parameter: Node<"parameter">;
}

/** Cotangents of a loop's inputs from those of its results; undefined where zero. */
export function pullLoop(
  node: Node<"loop">,
  parts: readonly (Node | undefined)[],
  active: (input: number) => boolean,
  pullback: Transform,
  pushforward: Transform,
): readonly (Node | undefined)[] {
  const { body, length, carries, stacked, reverse, running, replay } = node.attributes;
  const { parameters } = body;
  if (replay?.open) return pullOpen(node, parts, pullback, pushforward);
  if (replay !== undefined) {
    const sources = node.inputs.map(mark);
    return pullback(openReplay(node, sources), sources, parts);
  }
  // A step that is pulled is one that was taken.
  const results = running === undefined ? body.results : unmasked(body, running);
  const varies = varyingParameters(node, active);
  const given = results.map((_, i) =>
    parts[i] !== undefined && (i >= carries || varies.parameters[i]!)
  );
  const reached = reachedFrom(node, varies.parameters, given);
  const asked = parameters.map((_, i) => varies.parameters[i]! && reached.parameters[i]!);
  if (!asked.some((is) => is)) return node.inputs.map(() => undefined);
  const isCarry = (i: number): boolean => i < carries;
  const isRow = (i: number): boolean => i >= carries && i < carries + stacked;

  // What goes round: cotangents of carries, then sums of the constants' cotangents.
  const zero = (x: Node): Node => fill(0, x.shape, x.dtype);
  const around = new Map<number, Input>();
  for (let i = 0; i < parameters.length; i++) {
    if (!asked[i] || isRow(i)) continue;
    const value = isCarry(i) && parts[i] !== undefined ? parts[i]! : zero(parameters[i]!);
    around.set(i, { value, parameter: parameter(i, avalOf(parameters[i]!)) });
  }
  const rowsOfCotangents: Input[] = [];
  const cotangents = results.map((result, i) => {
    if (isCarry(i)) return asked[i] ? around.get(i)!.parameter : undefined;
    if (parts[i] === undefined || !varies.nodes.has(result)) return undefined;
    const row = parameter(i, avalOf(result));
    rowsOfCotangents.push({ value: parts[i]!, parameter: row });
    return row;
  });
  const sources = parameters.filter((_, i) => asked[i]);
  const { value: pulled, checks } = collectChecks(() => pullback(results, sources, cotangents));
  const carried = carryChecks(checks);
  const pulledOf = (i: number): Node => pulled[sources.indexOf(parameters[i]!)]!;

  const bodyResults = [...around].map(([i, input]) =>
    isCarry(i) ? pulledOf(i) : apply("add", [input.parameter, pulledOf(i)], {})
  );
  const rowIndices = parameters.flatMap((_, i) => isRow(i) && asked[i] ? [i] : []);
  bodyResults.push(...carried.next, ...rowIndices.map(pulledOf));

  // What the steps back read of the way forward: no more than they use.
  const used = new Set(topological(bodyResults));
  const saved: number[] = [], rows: Input[] = [], constants: Input[] = [];
  parameters.forEach((p, i) => {
    if (!used.has(p)) return;
    if (isRow(i)) rows.push({ value: node.inputs[i]!, parameter: p });
    else if (!isCarry(i) || results[i] === p) {
      constants.push({ value: node.inputs[i]!, parameter: p });
    } else saved.push(i);
  });
  const inputs = [
    ...around.values(),
    ...checks.map((_, i) => ({ value: carried.values[i]!, parameter: carried.parameters[i]! })),
    ...rows,
    ...rowsOfCotangents.filter((row) => used.has(row.parameter)),
    ...constants,
  ];
  const before = savedStates(node, saved, [...around.keys()]);
  const back = loop(
    {
      name: `${body.name} back`,
      parameters: [
        ...inputs.map((input) => input.parameter),
        ...before.state.map((i) => parameters[i]!),
      ],
      results: bodyResults,
    },
    [...inputs.map((input) => input.value), ...before.inputs],
    {
      length,
      carries: around.size + checks.length,
      stacked: inputs.length - around.size - checks.length - constants.length,
      reverse: !reverse,
      replay: before.replay,
    },
  );
  carried.note(back.slice(around.size, around.size + checks.length));
  if (before.replay !== undefined) noteReversal(node, before.replay, back);
  const places = [...around.keys(), ...checks.map(() => -1), ...rowIndices];
  return node.inputs.map((_, i) => {
    const place = places.indexOf(i);
    return place < 0 ? undefined : back[place];
  });
}

/** Where a way back gets its states from, and the inputs that it needs for that. */
interface SavedStates {
  readonly replay: Replay | undefined;
  /** The carries that make a state. */
  readonly state: readonly number[];
  readonly inputs: readonly Node[];
}

/** What keeping carries of a loop takes: the loop again with more results, as its plan says. */
function savedStates(
  node: Node<"loop">,
  needed: readonly number[],
  around: readonly number[],
): SavedStates {
  const { body, length, carries, stacked, reverse, running, invert } = node.attributes;
  const open = running !== undefined;
  // How many steps there are to go back is part of the state at the turn, if nothing else is.
  const saved = open && needed.length === 0 ? [running] : needed;
  if (saved.length === 0) return { replay: undefined, state: [], inputs: [] };
  // Of one step there is nothing to choose.
  const plan = length < 2 && !open ? undefined : node.attributes.plan;
  // Who runs the steps again needs all that they take, who reads them only what is pulled.
  const inverse = plan?.inverts ? invert : undefined;
  const state = plan === undefined ? saved : stateBehind(node, saved, inverse);
  const { live, states } = statesAt(node, state, plan);
  const used = new Set(
    topological(inverse === undefined ? [] : state.map((i) => inverse.results[i]!)),
  );
  const operands = body.parameters.flatMap((_, i) =>
    i >= carries && inverse !== undefined && used.has(inverse.parameters[i]!) ? [i] : []
  );
  // Loops in the inverse may still take carries that none of their results here need.
  const unread = inverse?.parameters.slice(0, carries).filter((_, i) => !state.includes(i))
    .map((p) => [p as Node, fill(0, p.shape, p.dtype)] as const);
  const replay = makeReplay({
    plan,
    open,
    states: state.length,
    live,
    invert: inverse && canonical({
      name: inverse.name,
      parameters: [...state, ...operands].map((i) => inverse.parameters[i]!),
      results: substitute(state.map((i) => inverse.results[i]!), new Map(unread)),
    }),
    invertedRows: operands.filter((i) => i < carries + stacked).length,
    checks: plan?.check === undefined ? 0 : plan.check === "tape" ? 1 : state.length,
    checked: plan?.check === undefined ? [] : state.map((_, k) => k),
    forward: { body, carries, stacked, reverse, running, plan, state, around },
  });
  return {
    replay,
    state,
    inputs: [...states, ...operands.map((i) => node.inputs[i]!), ...node.inputs],
  };
}

/** The carries that some carries need, there and, if the steps are inverted, back. */
function stateBehind(
  { attributes: { body, carries } }: Node<"loop">,
  saved: readonly number[],
  inverse: Graph | undefined,
): number[] {
  let state = carriesBehind(body, carries, saved);
  for (;;) {
    const both = inverse === undefined ? state : carriesBehind(inverse, carries, state);
    if (both.length === state.length) return state;
    state = carriesBehind(body, carries, both);
  }
}

/** Has looked at what a way back found out about the states that it inverted. */
function noteReversal(node: Node<"loop">, { plan, checks }: Replay, back: readonly Node[]): void {
  const { name } = node.attributes.body, found = back.at(-1)!;
  for (let i = 0; i < checks; i++) {
    const flag = reshape(slice(found, [i], [1]), []);
    const which = checks > 1 ? `, carry ${i + 1} of ${checks}` : "";
    noteCheck(
      plan!.check === "tape"
        ? { flag, message: plan!.gauge!(name) }
        : plan!.check === "drift"
        ? { flag, message: new Gauge(`drift of ${name} on the way back${which}`) }
        : {
          flag,
          message:
            `going back over ${name}, the inverse gave other bits than the state had${which}, ` +
            "expected an inverse that is exact",
        },
    );
  }
}

/** The states of a way back with their tangents, which are carries of the loop forward like them. */
function pushStates(
  node: Node<"loop">,
  tangents: readonly (Node | undefined)[],
  varies: readonly boolean[],
): { readonly replay: Replay; readonly inputs: readonly Node[] } {
  const replay = node.attributes.replay!, { plan } = replay;
  const rates = replayInputs(node.attributes, replay, tangents).states;
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
  const rates = replay && replayInputs(node.attributes, replay, tangents).states;
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
    // An inverse of the values says nothing of tangents.
    plan: plan?.inverts ? undefined : plan,
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
