/**
 * Simplification of one loop: its body is simplified, what is the same in every step is read
 * instead of carried or stacked, and inputs that nothing reads go. Places of results stay as they
 * are; dropping those needs all users, see tidy.ts.
 *
 * @module
 */
import { avalOf, broadcastTo, canonical, fill, loop, parameter, reshape } from "../build.ts";
import { type Graph, is, type Node } from "../node.ts";
import { sizeOf } from "../shape.ts";
import { substitute } from "../substitute.ts";
import { topological } from "../walk.ts";

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
  const { attributes: { body, length, carries, stacked }, inputs } = node;
  const result = body.results[index]!;
  const { shape, dtype } = node.results![index]!;
  if (index < carries && (length === 0 || isInvariant(node, index))) return inputs[index];
  if (sizeOf(shape) === 0) return fill(0, shape, dtype);
  if (length === 1) return reshape(openStep(node)[index]!, shape);
  if (index < carries) return undefined;
  if (is(result, "fill")) return fill(result.attributes.value, shape, dtype);
  const read = body.parameters.indexOf(result as Node<"parameter">);
  if (read < carries) return undefined;
  const value = inputs[read]!;
  // What is read by rows is written by rows again, or is the same in all of them.
  if (read < carries + stacked) return value;
  return broadcastTo(reshape(value, [1, ...value.shape]), shape);
}

/** The results of a body over the inputs of a loop of one step. */
function openStep({ attributes: { body }, inputs }: Node<"loop">): Node[] {
  const values = body.parameters.map((p, i) => [p as Node, reshape(inputs[i]!, p.shape)] as const);
  return substitute(body.results, new Map(values));
}

/** The loop with a simpler body or fewer inputs, or undefined where it is as simple as it can be. */
export function simplifyLoop(node: Node<"loop">, simplify: Simplify): Node | undefined {
  const { attributes: { body, ...options }, inputs } = node, { carries, stacked } = options;
  const { parameters, results } = body;
  const users = results.filter((result, i) => i >= carries || result !== parameters[i]);
  const read = new Set(topological(users));
  const constants: Input[] = [], rows: Input[] = [];
  const replaced = new Map<Node, Node>();
  /** Reads `value` in every step, where there was `p`, widened by `widen`. */
  const constantFor = (p: Node, value: Node, widen = (x: Node): Node => x): void => {
    const fresh = parameter(0, avalOf(value));
    constants.push({ value, parameter: fresh });
    replaced.set(p, widen(fresh));
  };
  parameters.forEach((p, i) => {
    const value = inputs[i]!;
    if (!read.has(p)) return;
    if (i < carries) {
      if (!isInvariant(node, i)) return;
      if (isConstant(value)) replaced.set(p, value);
      else constantFor(p, value);
    } else if (i < carries + stacked) {
      if (is(value, "fill")) replaced.set(p, fill(value.attributes.value, p.shape, p.dtype));
      else if (is(value, "broadcast") && value.inputs[0]!.shape[0] === 1) {
        const row = value.inputs[0]!;
        const shape = row.shape.slice(1);
        constantFor(p, reshape(row, shape), (x) => broadcastTo(x, p.shape));
      } else {
        const same = rows.find((row) => row.value === value);
        if (same !== undefined) replaced.set(p, same.parameter);
        else rows.push({ value, parameter: p });
      }
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
  const all = [
    ...parameters.slice(0, carries).map((p, i) => ({ value: inputs[i]!, parameter: p })),
    ...rows,
    ...constants,
  ];
  const changed = replaced.size > 0 || all.length < inputs.length;
  if (!changed && simple.has(body)) return undefined;
  const substituted = replaced.size === 0 ? results : substitute(results, replaced);
  // A carry that stays goes on being one, for its place; nothing in the body reads it any more.
  const kept = substituted.map((result, i) =>
    i < carries && results[i] === parameters[i] ? parameters[i]! : result
  );
  const better = canonical({
    name: body.name,
    parameters: all.map((input) => input.parameter),
    results: simplify(kept),
  });
  simple.add(better);
  if (!changed && better.results.every((result, i) => result === results[i])) {
    simple.add(body);
    return undefined;
  }
  const values = all.map((input) => input.value);
  const projects = loop(better, values, { ...options, stacked: rows.length });
  return projects[0]?.inputs[0];
}
