/**
 * Cotangents of loops, by a loop. The way back runs the steps in the other order: its carries are
 * the cotangents of the carries and sums of those of the constants; the states before each step
 * come from the loop forward, which keeps them, or as many as a plan asks for: see replay.ts. It is
 * the loop that is there already with more results, and simplification makes one of the two.
 *
 * @module
 */
import { apply, avalOf, canonical, fill, loop, mark, parameter, reshape, slice } from "../build.ts";
import { carryChecks, type Check, collectChecks, Gauge, noteCheck } from "../check.ts";
import { type Graph, is, type Node } from "../node.ts";
import { inlineCalls, substitute } from "../substitute.ts";
import { topological } from "../walk.ts";
import { type Input, reachedFrom, type Transform, varyingParameters } from "./activity.ts";
import { pullOpen, unmasked } from "./open.ts";
import { identityOf } from "./identity.ts";
import { makeReplay, openReplay, type Replay, statesAt } from "./replay.ts";
import { carriesBehind } from "./tidy.ts";

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
  const pull = (results: readonly Node[]) =>
    collectChecks(() => pullback(results, sources, cotangents));
  let { value: pulled, checks } = pull(results);
  // What a step holds is a row of the loop forward; a plan has it made again with the state.
  const holding = node.attributes.plan === undefined && running === undefined
    ? holdingLoop(node, pulled)
    : undefined;
  if (holding !== undefined && restsOn(parts, holding.loop)) {
    // A gradient of the gradient that rests on what was held is that of the steps themselves.
    ({ value: pulled, checks } = pull(withoutRules(results)));
  }
  checks = [...checks, ...inverseChecks(node, results)];
  const carried = carryChecks(checks);
  const pulledOf = (i: number): Node => pulled[sources.indexOf(parameters[i]!)]!;

  let bodyResults = [...around].map(([i, input]) =>
    isCarry(i) ? pulledOf(i) : apply("add", [input.parameter, pulledOf(i)], {})
  );
  const rowIndices = parameters.flatMap((_, i) => isRow(i) && asked[i] ? [i] : []);
  bodyResults.push(...carried.next, ...rowIndices.map(pulledOf));

  const held = holding?.rows ?? [];
  bodyResults = substitute(bodyResults, new Map(held.map((row) => [row.of, row.parameter])));

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
    ...held,
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

/** The checks of the inverse, of a state after a step, which the way back has where it pulls it. */
function inverseChecks({ attributes }: Node<"loop">, results: readonly Node[]): Check[] {
  const { body, carries, plan, invert, demands } = attributes;
  if (demands === undefined || !plan?.inverts) return [];
  const after = body.parameters.map((p, i): [Node, Node] => [
    invert!.parameters[i]!,
    i < carries ? results[i]! : p,
  ]);
  const flags = substitute(invert!.results.slice(carries), new Map(after));
  return demands.messages.map((message, i) => ({ message, flag: flags[i]! }));
}

/** A value that a step holds for its way back, as rows of the loop forward. */
interface Held extends Input {
  readonly of: Node;
}

/** The loop with what its steps hold of their own values for their way back as rows besides. */
function holdingLoop(
  { attributes, inputs }: Node<"loop">,
  pulled: readonly Node[],
): { readonly loop: Node; readonly rows: readonly Held[] } | undefined {
  const { body } = attributes, own = new Set<Node>(body.parameters);
  const foreign = (x: Node): boolean => is(x, "parameter") && !own.has(x);
  const held = topological(pulled).filter((x) => is(x, "hold") && !topological([x]).some(foreign));
  if (held.length === 0) return undefined;
  const results = loop({ ...body, results: [...body.results, ...held] }, inputs, attributes);
  const rows = held.map((of, i) => ({
    of,
    value: results[body.results.length + i]!,
    parameter: parameter(i, avalOf(of)),
  }));
  return { loop: rows[0]!.value.inputs[0]!, rows };
}

const restsOn = (roots: readonly (Node | undefined)[], node: Node): boolean =>
  topological(roots.filter((x) => x !== undefined)).includes(node);

/** Results with calls opened whose rules give what their bodies' own derivatives are. */
function withoutRules(results: readonly Node[]): Node[] {
  return inlineCalls(results, new Set(), ({ attributes: { rule } }) => rule?.open === true);
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
    tape: plan?.check === "tape" ? identityOf(node) : undefined,
    checked: plan?.check === undefined ? [] : state.map((_, k) => k),
    forward: {
      body,
      carries,
      stacked,
      reverse,
      running,
      plan: plan?.inverts ? plan.outer : plan,
      state,
      around,
    },
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
function noteReversal(
  node: Node<"loop">,
  { plan, checks, tape }: Replay,
  back: readonly Node[],
): void {
  const { name } = node.attributes.body, found = back.at(-1)!;
  for (let i = 0; i < checks; i++) {
    const flag = reshape(slice(found, [i], [1]), []);
    const which = checks > 1 ? `, carry ${i + 1} of ${checks}` : "";
    noteCheck(
      plan!.check === "tape"
        ? { flag, message: plan!.gauge!(tape!, name) }
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
