/**
 * Which expressions are affine in a value: a sum of something linear in it and something that does
 * not depend on it. That is a matter of structure here: what it looks at is how primitives compose,
 * never what values they have. One table, as for every transform.
 *
 * @module
 */
import { isFloat } from "./dtype.ts";
import type { Node } from "./node.ts";
import type { Primitive } from "./primitive.ts";
import { inlineCalls } from "./substitute.ts";
import { topological } from "./walk.ts";

/** The degree of a result from those of its operands; more than 1 is not affine. */
type DegreeRule = (degrees: readonly number[], node: Node) => number;

/** Sums and views: as their operands. */
const additive: DegreeRule = (degrees) => Math.max(0, ...degrees);
/** Products. */
const multiplicative: DegreeRule = (degrees) => degrees.reduce((a, b) => a + b, 0);
/** Anything else, if an operand depends on the value at all. */
const opaque: DegreeRule = (degrees) => degrees.some((d) => d > 0) ? Infinity : 0;
/** Linear in the operands from the first on, as long as the others do not depend on the value. */
const linearIn = (from: number, to: number): DegreeRule => (degrees) =>
  degrees.some((d, i) => d > 0 && (i < from || i >= to))
    ? Infinity
    : Math.max(0, ...degrees.slice(from, to));

/** The table: one row for each primitive. */
const rules: { readonly [P in Primitive]: DegreeRule } = {
  leaf: additive,
  parameter: additive,
  fill: additive,
  iota: additive,
  neg: additive,
  abs: opaque,
  sign: opaque,
  floor: opaque,
  ceil: opaque,
  round: opaque,
  sqrt: opaque,
  exp: opaque,
  log: opaque,
  sin: opaque,
  cos: opaque,
  atan: opaque,
  tanh: opaque,
  erf: opaque,
  not: opaque,
  cast: (degrees, node) =>
    isFloat(node.dtype) && isFloat(node.inputs[0]!.dtype)
      ? additive(degrees, node)
      : opaque(degrees, node),
  bitcast: opaque,
  barrier: additive,
  mark: additive,
  again: additive,
  hold: additive,
  name: additive,
  stop: additive,
  add: additive,
  sub: additive,
  mul: multiplicative,
  div: linearIn(0, 1),
  floorDiv: opaque,
  mod: opaque,
  pow: opaque,
  max: opaque,
  min: opaque,
  and: opaque,
  or: opaque,
  xor: opaque,
  shiftLeft: opaque,
  shiftRight: opaque,
  equal: opaque,
  notEqual: opaque,
  less: opaque,
  lessEqual: opaque,
  where: linearIn(1, 3),
  reshape: additive,
  permute: additive,
  broadcast: additive,
  slice: additive,
  pad: additive,
  flip: additive,
  concatenate: additive,
  window: additive,
  sum: additive,
  prod: opaque,
  reduceMax: opaque,
  reduceMin: opaque,
  dot: multiplicative,
  convolve: multiplicative,
  gather: linearIn(0, 1),
  scatterAdd: linearIn(0, 1),
  kernel: opaque,
  call: opaque,
  loop: opaque,
  project: additive,
};

/** The first operation by which one of the results is not affine in `x`; undefined if all are. */
export function notAffine(results: readonly Node[], x: Node): Node | undefined {
  const stops = new Set([x]);
  const opened = inlineCalls(results, stops, ({ attributes: { rule } }) => !rule || !!rule.open);
  const degrees = new Map<Node, number>([[x, 1]]);
  for (const node of topological(opened, (node) => stops.has(node) ? [] : node.inputs)) {
    if (node === x) continue;
    const degree = rules[node.op](node.inputs.map((input) => degrees.get(input)!), node);
    if (degree > 1) return node;
    degrees.set(node, degree);
  }
  return undefined;
}
