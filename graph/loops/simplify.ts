/**
 * Simplification of one loop: its body is simplified, what is the same in every step is read
 * instead of carried or stacked, and inputs that nothing reads go. Places of results stay as they
 * are; dropping those needs all users, see tidy.ts.
 *
 * @module
 */
import { avalOf, broadcastTo, canonical, fill, loop, parameter, reshape } from "../build.ts";
import { type Graph, is, type Node } from "../node.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { substitute } from "../substitute.ts";
import { topological } from "../walk.ts";
import { makeReplay, outsideOf, type Replay, replayInputs } from "./replay.ts";

/** An input of a loop and the parameter of its body that it is read by. */
interface Input {
  readonly value: Node;
  readonly parameter: Node<"parameter">;
}

type Simplify = (roots: readonly Node[]) => Node[];

/** Bodies that are simple already. */
const simple = new WeakSet<Graph>();

const isConstant = (x: Node): boolean => is(x, "fill") || is(x, "iota");

/** True where both are the same constant, be they one node or two. */
function sameFill(a: Node, b: Node): boolean {
  return is(a, "fill") && is(b, "fill") && Object.is(a.attributes.value, b.attributes.value);
}

/** Carry `i` is after every step what it was before the first. */
function isInvariant({ attributes: { body }, inputs }: Node<"loop">, i: number): boolean {
  return body.results[i] === body.parameters[i] || sameFill(body.results[i]!, inputs[i]!);
}

/** The value that a result of a loop has without running it, if it has. */
export function projected(node: Node<"loop">, index: number): Node | undefined {
  const { attributes: { body, length, carries, stacked, running, kept, replay }, inputs } = node;
  const { shape, dtype } = node.results![index]!;
  // Whether it takes its one step, or any, is known when it runs.
  const isOpen = running !== undefined || replay?.open === true;
  if (index >= body.results.length + kept.length) {
    return replay!.states === 0 ? fill(0, shape, dtype) : undefined;
  }
  if (index >= body.results.length) {
    const [carry, step] = kept[index - body.results.length]!, first = inputs[carry]!;
    if (outsideOf(step) !== undefined) return undefined;
    if (step === "every" && sizeOf(shape) === 0) return fill(0, shape, dtype);
    if (step === 0 || isInvariant(node, carry)) return repeated(first, shape);
    return length === 1 && !isOpen ? reshape(first, shape) : undefined;
  }
  const result = body.results[index]!;
  if (index < carries && (length === 0 || isInvariant(node, index))) return inputs[index];
  if (sizeOf(shape) === 0) return fill(0, shape, dtype);
  if (isOpen) return undefined;
  if (length === 1) return reshape(openStep(node)[index]!, shape);
  if (index < carries) return undefined;
  if (is(result, "fill")) return fill(result.attributes.value, shape, dtype);
  const read = body.parameters.indexOf(result as Node<"parameter">);
  if (read < carries) return undefined;
  const value = inputs[read]!;
  // What is read by rows is written by rows again, or is the same in all of them.
  if (read < carries + stacked) return value;
  return repeated(value, shape);
}

/** What stands for a state that lies elsewhere and is in every step what it was in the first. */
function isTicketOfInvariant(value: Node): boolean {
  const loop = is(value, "project") ? value.inputs[0]! : undefined;
  if (loop === undefined || !is(loop, "loop")) return false;
  const { body, kept } = loop.attributes;
  const [carry, step] = kept[(value as Node<"project">).attributes.index - body.results.length] ??
    [-1, 0];
  return outsideOf(step) !== undefined && isInvariant(loop, carry);
}

/** The value in every row of a stack of that shape, or itself where that is its shape. */
function repeated(value: Node, shape: Shape): Node {
  if (shape.length === value.shape.length) return value;
  return broadcastTo(reshape(value, [1, ...value.shape]), shape);
}

/** The results of a body over the inputs of a loop of one step; a state then is one row. */
function openStep({ attributes: { body }, inputs }: Node<"loop">): Node[] {
  const values = body.parameters.map((p, i) => [p as Node, reshape(inputs[i]!, p.shape)] as const);
  return substitute(body.results, new Map(values));
}

/** The loop with a simpler body or fewer inputs, or undefined where it is as simple as it can be. */
export function simplifyLoop(node: Node<"loop">, simplify: Simplify): Node | undefined {
  const { attributes: { body, carries, stacked, plan, replay }, inputs: all } = node;
  const { parameters, results } = body;
  const { own: inputs, states, inverse } = replay === undefined
    ? { own: all, states: [], inverse: [] }
    : replayInputs(node);
  const users = results.filter((result, i) => i >= carries || result !== parameters[i]);
  const read = new Set(topological(users));
  const constants: Input[] = [], rows: Input[] = [];
  const replaced = new Map<Node, Node>();
  const stays = states.map(() => true);
  /** Reads `value` in every step, where there was `p`, widened by `widen`. */
  const constantFor = (p: Node, value: Node, widen = (x: Node): Node => x): void => {
    const fresh = parameter(0, avalOf(value));
    constants.push({ value, parameter: fresh });
    replaced.set(p, widen(fresh));
  };
  /** Reads what every row is instead of the rows, if that is known. */
  const sameInEveryRow = (p: Node, value: Node): boolean => {
    if (is(value, "fill")) replaced.set(p, fill(value.attributes.value, p.shape, p.dtype));
    else if (is(value, "broadcast") && value.inputs[0]!.shape[0] === 1) {
      const row = value.inputs[0]!;
      const shape = row.shape.slice(1);
      constantFor(p, reshape(row, shape), (x) => broadcastTo(x, p.shape));
    } else return false;
    return true;
  };
  parameters.forEach((p, i) => {
    if (i >= inputs.length) {
      const values = states[i - inputs.length]!, [value] = values as [Node];
      if (replay!.plan === undefined) {
        stays[i - inputs.length] = read.has(p) && !sameInEveryRow(p, value);
      } else if (values.every((other) => other === value || isTicketOfInvariant(other))) {
        stays[i - inputs.length] = false;
        if (isConstant(value)) replaced.set(p, value);
        else constantFor(p, value);
      }
      return;
    }
    const value = inputs[i]!;
    if (!read.has(p)) return;
    if (i < carries) {
      if (!isInvariant(node, i)) return;
      if (isConstant(value)) replaced.set(p, value);
      else constantFor(p, value);
    } else if (i < carries + stacked) {
      if (sameInEveryRow(p, value)) return;
      const same = rows.find((row) => row.value === value);
      if (same !== undefined) replaced.set(p, same.parameter);
      else rows.push({ value, parameter: p });
    } else if (isConstant(value)) {
      replaced.set(p, value);
    } else if (is(value, "broadcast")) {
      constantFor(p, value.inputs[0]!, (x) => broadcastTo(x, p.shape));
    } else {
      const same = constants.find((constant) => constant.value === value);
      if (same !== undefined) replaced.set(p, same.parameter);
      else constants.push({ value, parameter: p });
    }
  });
  const ofStates = parameters.slice(inputs.length);
  // A state that no step back reads is none, whatever it is made of.
  if (!replay?.open && !ofStates.some((p, i) => stays[i] && read.has(p))) stays.fill(false);
  const kept = [
    ...parameters.slice(0, carries).map((p, i) => ({ value: inputs[i]!, parameter: p })),
    ...rows,
    ...constants,
  ];
  const changed = replaced.size > 0 || kept.length < inputs.length || stays.includes(false) ||
    plan !== undefined || replay?.forward !== undefined;
  if (!changed && simple.has(body)) return undefined;
  const substituted = replaced.size === 0 ? results : substitute(results, replaced);
  const better = canonical({
    name: body.name,
    parameters: [
      ...kept.map((input) => input.parameter),
      ...ofStates.filter((_, i) => stays[i]),
    ],
    // A carry that stays goes on being one, for its place; nothing in the body reads it any more.
    results: simplify(
      substituted.map((result, i) =>
        i < carries && results[i] === parameters[i] ? parameters[i]! : result
      ),
    ),
  });
  simple.add(better);
  if (!changed && better.results.every((result, i) => result === results[i])) {
    simple.add(body);
    return undefined;
  }
  const left = replay && simplifyReplay(replay, states, inverse, stays, simplify);
  const projects = loop(better, [...kept.map((input) => input.value), ...left?.inputs ?? []], {
    ...node.attributes,
    stacked: rows.length,
    plan: undefined,
    invert: undefined,
    demands: undefined,
    replay: left?.replay,
  });
  return projects[0]?.inputs[0];
}

/** A way back's states and inverse without the parts of the state that do not change, or are no use. */
function simplifyReplay(
  replay: Replay,
  states: readonly (readonly Node[])[],
  operands: readonly Node[],
  stays: readonly boolean[],
  simplify: Simplify,
): { readonly replay: Replay; readonly inputs: readonly Node[] } | undefined {
  if (!stays.includes(true) && replay.checks === 0) return undefined;
  const { invert, invertedRows, checked } = replay;
  const kept = states.filter((_, i) => stays[i]), gone = states.filter((_, i) => !stays[i]);
  const inputs = [
    ...kept.flat(),
    ...operands,
    ...invert === undefined ? [] : gone.map((x) => x[0]!),
  ];
  const parameters = invert?.parameters.slice(0, states.length) ?? [];
  const left = makeReplay({
    ...replay,
    states: kept.length,
    invert: invert && canonical({
      name: invert.name,
      parameters: [
        ...parameters.filter((_, i) => stays[i]),
        ...invert.parameters.slice(states.length),
        ...parameters.filter((_, i) => !stays[i]),
      ],
      results: simplify(invert.results.slice(0, states.length).filter((_, i) => stays[i])),
    }),
    invertedRows,
    checked: checked.filter((_, i) => stays[i]),
    forward: undefined,
  });
  return { replay: left, inputs };
}
