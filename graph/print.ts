/**
 * Graphs as text: a line a node for people who debug a pass, one expression for error messages.
 * Equal graphs print equally in any process: nodes are numbered by their place, not by identity.
 *
 * @module
 */
import type { Plan, Replay } from "./loops/replay.ts";
import { bodiesOf, bodyOf, type Graph, is, type Node, showAval } from "./node.ts";
import type { Primitive } from "./primitive.ts";
import { topological } from "./walk.ts";

/** Attributes that say nothing to a reader, because they are identities or printed elsewhere. */
const hidden: ReadonlySet<string> = new Set([
  "storage",
  "unique",
  "graph",
  "body",
  "rule",
  "invert",
]);

function showAttributes(node: Node): string {
  let text = "";
  for (const [name, value] of Object.entries(node.attributes as Record<string, unknown>)) {
    if (hidden.has(name) || value === undefined) continue;
    if (name === "kept" && (value as unknown[]).length === 0) continue;
    if (name === "plan") text += ` plan=${(value as Plan).name}`;
    if (name === "replay") text += ` replay=${(value as Replay).plan?.name ?? "store"}`;
    if (name === "plan" || name === "replay") continue;
    const shown = Array.isArray(value)
      ? `[${value.join(",")}]`
      : Object.is(value, -0)
      ? "-0"
      : value;
    text += ` ${name}=${shown}`;
  }
  return text;
}

/** The number of every node of a graph: parameters first, then inputs before users. */
export function numbered({ parameters, results }: Graph): Map<Node, number> {
  const numbers = new Map<Node, number>();
  for (const node of [...parameters, ...topological(results)]) {
    if (!numbers.has(node)) numbers.set(node, numbers.size);
  }
  return numbers;
}

/**
 * The graph, a line a node, inputs before users: `%3 = add f32[2,3] %1 %2`. Bodies of calls and
 * loops follow, with their inverses.
 */
export function printGraph(graph: Graph): string {
  const lines: string[] = [];
  const bodies = new Set<Graph>([graph]);
  // A set that grows while it is walked: bodies found in bodies are printed too.
  for (const body of bodies) {
    const numbers = numbered(body);
    const nameOf = (node: Node): string => `%${numbers.get(node)}`;
    const types = body.parameters.map((p) => `${nameOf(p)}: ${showAval(p)}`);
    lines.push(`${body.name}(${types.join(", ")})`);
    for (const node of numbers.keys()) {
      if (is(node, "parameter") && body.parameters.includes(node)) continue;
      const inner = bodyOf(node);
      const type = inner !== undefined ? "" : ` ${showAval(node)}`;
      const inputs = node.inputs.map((input) => ` ${nameOf(input)}`).join("");
      const line = node.source?.line;
      const source = line === undefined ? "" : `  # ${line}`;
      const inLoop = is(node, "loop") ? ` body=${node.attributes.body.name}` : "";
      const what = `${node.op}${type}${inputs}${showAttributes(node)}${inLoop}`;
      lines.push(`  ${nameOf(node)} = ${what}${source}`);
      for (const inner of bodiesOf(node)) bodies.add(inner);
    }
    lines.push(`  return ${body.results.map(nameOf).join(" ")}`);
  }
  return lines.join("\n");
}

/** Primitives that an expression looks through: they change no value that a reader would name. */
const transparent: ReadonlySet<Primitive> = new Set([
  "again",
  "hold",
  "mark",
  "name",
  "stop",
  "broadcast",
  "project",
]);

/** A reshape that only adds or drops axes of size 1, as broadcasting makes them. */
function isUnsqueeze(node: Node): boolean {
  if (!is(node, "reshape")) return false;
  const long = (shape: readonly number[]): string => shape.filter((n) => n !== 1).join();
  return long(node.shape) === long(node.inputs[0]!.shape);
}

/**
 * A node as an expression of a few levels, `tanh(add(dot(x, w), b))`; deeper levels are `…`.
 * Parameters print as `arg0`, data by its type, constants by their value.
 */
export function expression(node: Node, depth: number = 4): string {
  let at = node;
  while (transparent.has(at.op) || isUnsqueeze(at)) at = at.inputs[0]!;
  if (is(at, "parameter")) return `arg${at.attributes.index}`;
  if (is(at, "fill")) return showValue(at);
  if (at.inputs.length === 0) {
    const type = showAval(at);
    return is(at, "leaf") ? type : `${at.op}(${type})`;
  }
  const name = is(at, "call") || is(at, "loop")
    ? bodyOf(at)!.name
    : is(at, "kernel")
    ? at.attributes.source.name
    : is(at, "cast")
    ? at.dtype
    : at.op;
  if (depth <= 0) return "…";
  return `${name}(${at.inputs.map((input) => expression(input, depth - 1)).join(", ")})`;
}

function showValue({ attributes: { value }, dtype }: Node<"fill">): string {
  if (dtype === "bool") return value === 0 ? "false" : "true";
  if (dtype !== "f32" || !Number.isFinite(value)) return Object.is(value, -0) ? "-0" : `${value}`;
  // The shortest decimal that is the same f32: 0.1 and not 0.10000000149011612.
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return Object.is(short, -0) ? "-0" : `${short}`;
  }
  return `${value}`;
}
