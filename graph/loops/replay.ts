/**
 * The way back of a loop, as a node: a loop over cotangents whose body also reads the state before
 * the step that it pulls. Where those states come from is the affair of a {@linkcode Plan}: they
 * were all stacked, or a few were kept and the others are computed again, or they are inverted. The
 * values that a plan begins with are inputs of the way back and results of the loop it belongs to
 * (`kept`), so the graph says which loop that is: {@linkcode forwardOf}. Compiling runs the kernels
 * of that very loop again, and one program pulls whatever the plan, so that no plan changes a bit of
 * the gradient.
 *
 * @module
 */
import type { Gauge } from "../check.ts";
import { fill, loop } from "../build.ts";
import { attributeKey, type Aval, type Graph, is, type Node } from "../node.ts";

/** How the way back of a loop gets its states. What plays it is in checkpoint/ and compile/. */
export interface Plan {
  /** The plan in words; equal plans are equal in words, and one object. */
  readonly name: string;
  /** True if states are computed by the inverse of the step, too. */
  readonly inverts: boolean;
  /** Snapshots that it keeps of a loop whose length is not known before it ends, if it can. */
  readonly open?: number | undefined;
  /** The plan in its place where the inverse is none, as of tangents; without it all is stored. */
  readonly outer?: Plan | undefined;
  /**
   * What to find out where a state that was computed by the inverse is at hand as it was: how far
   * the two are apart, or whether their bits differ; or how full the tape became that makes them
   * equal.
   */
  readonly check: "drift" | "bits" | "tape" | undefined;
  /** What looks at how full a tape became, that of a loop called so. */
  gauge?(tape: string, loop: string): Gauge;
  /**
   * The steps of the states that are at hand when the loop of so many steps (2 at least) has ended:
   * of the working state, of the snapshots in the order of their slots, and 0 if that is none of them.
   */
  atTurn(length: number): readonly When[];
}

/** Where a state waits that is not kept on the device. */
export type Outside = "host" | "disk";

/**
 * When a loop keeps a carry: before a step, or before `every` step, stacked; when a snapshot was
 * taken in a slot for the last time, where the length is not known before it ends; or before a step
 * outside of the device: then the result is a ticket for it, a u32 scalar that is never written.
 */
export type When = number | "every" | `slot ${number}` | `${Outside} ${number}`;

/** A carry that a loop gives as it was then. */
export type Kept = readonly [carry: number, step: When];

/** Where and before which step a state was kept that is not on the device. */
export function outsideOf(
  when: When,
): { readonly store: Outside; readonly step: number } | undefined {
  if (typeof when === "number") return undefined;
  const [store, step] = when.split(" ") as [string, string?];
  return store === "host" || store === "disk" ? { store, step: Number(step) } : undefined;
}

/** What makes a loop the way back of another. Its states are the last parameters of its body. */
export interface Replay {
  /** Where states come from; undefined if all of them are inputs, stacked. */
  readonly plan: Plan | undefined;
  /**
   * The loop ends when its data say so: the states at hand are the last, the first, and those in the
   * other slots of an online plan.
   */
  readonly open: boolean;
  /** How many carries make a state. */
  readonly states: number;
  /** How many inputs come for each of them: what {@linkcode Plan.atTurn} says, or one stack. */
  readonly live: number;
  /** Parameters: a state, rows, constants; results: the state before it. */
  readonly invert: Graph | undefined;
  /** How many of the inverse's operands are rows. */
  readonly invertedRows: number;
  /** Length of the last result, which says what {@linkcode Plan.check} found; 0 if there is none. */
  readonly checks: number;
  /** For each part of the state its place in there. */
  readonly checked: readonly number[];
  /**
   * The loop that the states are of, whose inputs are the last inputs here: what derivatives of the
   * way back are derived from. Simplification drops it.
   */
  readonly forward: Forward | undefined;
  /** What its tape is called, if the plan has one: see {@linkcode Plan.gauge}. */
  readonly tape: string | undefined;
  /** What the loop forward has recorded; set while compiling only. */
  readonly record?: Recording | undefined;
}

/**
 * What a loop records for its way back: after each step the inverse is run at once, beside the
 * state, and what it gets wrong goes on a tape, which is among the results of the loop and among the
 * inputs of the way back. That one runs the same inverse.
 */
export interface Recording {
  /** The first step that is recorded; all from there on are. */
  readonly from: number;
  /** Steps that are recorded before they are taken back: the tape begins anew after so many. */
  readonly segment: number;
  /** The carries of the loop that make a state. */
  readonly state: readonly number[];
  /** See {@linkcode Replay}. */
  readonly invert: Graph;
  /** See {@linkcode Replay}. */
  readonly invertedRows: number;
  /** The memory of the tape. */
  readonly memory: readonly Aval[];
}

/** A loop without its inputs, and which of its carries make a state. */
export interface Forward {
  readonly body: Graph;
  readonly carries: number;
  readonly stacked: number;
  readonly reverse: boolean;
  readonly running: number | undefined;
  readonly plan: Plan | undefined;
  readonly state: readonly number[];
  /** Which of its inputs the results of the way back are the cotangents of, until the first row. */
  readonly around: readonly number[];
}

const known = new Map<string, Replay>();

/** One object for equal parts, as nodes are. */
export function makeReplay({ forward, ...parts }: Replay): Replay {
  const key = attributeKey(parts) + (forward === undefined ? "" : attributeKey(forward));
  let replay = known.get(key);
  if (replay === undefined) {
    // Keys name graphs by identity, so that old entries are only weight.
    if (known.size >= 4096) known.clear();
    known.set(key, replay = { ...parts, forward });
  }
  return replay;
}

/** The inputs of a way back, or what goes with each, by what they are for. */
export interface ReplayInputs<T> {
  /** Those of its body's parameters that are no states: carries, rows, constants. */
  readonly own: readonly T[];
  /** For each part of a state its values at the turn. */
  readonly states: readonly (readonly T[])[];
  /** Rows and constants of the inverse. */
  readonly inverse: readonly T[];
  /** Inputs of the loop forward, while it is known. */
  readonly forward: readonly T[];
  /** The tape that the loop forward recorded. */
  readonly tape: readonly T[];
}

/** Takes the inputs of a way back apart. */
export function replayInputs(back: Node<"loop">): ReplayInputs<Node>;
/** Takes apart what goes with each of its inputs. */
export function replayInputs<T>(back: Node<"loop">, each: readonly T[]): ReplayInputs<T>;
export function replayInputs(
  { attributes: { body, replay }, inputs }: Node<"loop">,
  each: readonly unknown[] = inputs,
): ReplayInputs<unknown> {
  const { states, live, invert, forward, record } = replay!;
  let at = 0;
  const take = (count: number): readonly unknown[] => each.slice(at, at += count);
  const own = take(body.parameters.length - states);
  return {
    own,
    states: Array.from({ length: states }, () => take(live)),
    inverse: take(invert === undefined ? 0 : invert.parameters.length - states),
    forward: take(forward === undefined ? 0 : forward.body.parameters.length),
    tape: take(record?.memory.length ?? 0),
  };
}

/** The loop that the states of a way back are of, and which of its carries they are. */
export function forwardOf(node: Node<"loop">): {
  readonly loop: Node<"loop">;
  readonly state: readonly number[];
} {
  const { states } = replayInputs(node);
  let found: Node<"loop"> | undefined;
  const state = states.map(([working], i) => {
    const at = carryOf(working!);
    if (at === undefined || (found ?? at.loop) !== at.loop) {
      throw new Error(`Cannot run ${node.attributes.body.name}: state ${i} is of no loop`);
    }
    found = at.loop;
    return at.carry;
  });
  return { loop: found!, state };
}

/** The loop and the carry of it that a value is at the end, or was before some step. */
export function carryOf(
  value: Node,
): { readonly loop: Node<"loop">; readonly carry: number } | undefined {
  const loop = is(value, "project") ? value.inputs[0]! : undefined;
  if (loop === undefined || !is(loop, "loop")) return undefined;
  const { body, carries, kept } = loop.attributes,
    { index } = (value as Node<"project">).attributes;
  const carry = index < carries ? index : kept[index - body.results.length]?.[0];
  return carry === undefined ? undefined : { loop, carry };
}

/** Values of a loop's carries at the steps that a plan asks for; all of them without one. */
export function statesAt(
  loop: Node<"loop">,
  state: readonly number[],
  plan: Plan | undefined,
): { readonly live: number; readonly states: readonly Node[] } {
  const { body, length, running, kept } = loop.attributes;
  const steps = plan === undefined
    ? ["every" as const]
    : running === undefined
    ? plan.atTurn(length)
    : openTurn(plan.open!, length);
  const asked = state.flatMap((carry) => steps.map((step): Kept => [carry, step]));
  const isKept = ([, step]: Kept): boolean => step !== 0 && step !== length;
  const results = again(loop, [...kept, ...asked.filter(isKept)]);
  let next = body.results.length + kept.length;
  const states = asked.map((one) => {
    if (isKept(one)) return results[next++]!;
    return one[1] === 0 ? loop.inputs[one[0]]! : results[one[0]]!;
  });
  return { live: steps.length, states };
}

/** What an online plan of so many snapshots has at hand at the turn: see {@linkcode Replay}. */
function openTurn(snapshots: number, length: number): When[] {
  const slots = Array.from({ length: snapshots - 1 }, (_, i) => `slot ${i + 1}` as const);
  return [length, 0, ...slots];
}

/** The loop that keeps other carries besides. */
function again({ inputs, attributes }: Node<"loop">, kept: readonly Kept[]): Node[] {
  return loop(attributes.body, inputs, { ...attributes, kept });
}

/** What a way back with a plan reads besides its inputs: the rows and constants of its loop. */
export function replayedOperands(node: Node): readonly Node[] {
  if (!is(node, "loop")) return [];
  const { replay } = node.attributes;
  if (replay?.plan === undefined || replay.states === 0) return [];
  const { loop } = forwardOf(node);
  return loop.inputs.slice(loop.attributes.carries);
}

/** Carries before each step as plain rows, which have derivatives: the loop with more results. */
function stackStates(forward: Forward, inputs: readonly Node[], length: number): Node[] {
  const { body, state, plan: _, around: __, ...options } = forward;
  const results = [...body.results, ...state.map((i) => body.parameters[i]!)];
  return loop({ ...body, results }, inputs, { ...options, length }).slice(body.results.length);
}

/**
 * A way back with other inputs as what it means: every state stacked by a loop forward, and a loop
 * backward that reads them as rows. This is what derivatives of it are derived from.
 */
export function openReplay(node: Node<"loop">, inputs: readonly Node[]): Node[] {
  const { body, length, carries, stacked, reverse, replay } = node.attributes;
  const { own, forward } = replayInputs(node, inputs);
  const first = carries + stacked, last = own.length;
  const order = <T>(x: readonly T[], states: readonly T[]): T[] => [
    ...x.slice(0, first),
    ...states,
    ...x.slice(first, last),
  ];
  const { name, parameters, results } = body;
  const opened = loop(
    { name, parameters: order(parameters, parameters.slice(last)), results },
    order(own, stackStates(replay!.forward!, forward, length)),
    { length, carries, stacked: stacked + replay!.states, reverse },
  );
  // Nothing is inverted, so nothing differs.
  return replay!.checks === 0 ? opened : [...opened, fill(0, [replay!.checks], "u32")];
}
