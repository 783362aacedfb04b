/**
 * Reductions and contractions whose outcome does not depend on the order of summing: over nothing,
 * over single elements, over whole numbers small enough to add exactly. Values without elements
 * vanish here too, so that no kernel ever sees an empty operand.
 *
 * @module
 */
import { reduce } from "../build.ts";
import { dtypes, isFloat } from "../dtype.ts";
import type { Node } from "../node.ts";
import { sizeOf } from "../shape.ts";
import { constant, like, type Rule, rule, rules } from "./rule.ts";

const reductions = ["sum", "prod", "reduceMax", "reduceMin"] as const;
type Reduce = Node<typeof reductions[number]>;

/** What a reduction over nothing gives. */
function identity(node: Reduce): number {
  switch (node.op) {
    case "sum":
      return 0;
    case "prod":
      return 1;
    case "reduceMax":
      return dtypes[node.dtype].lowest;
    case "reduceMin":
      return dtypes[node.dtype].highest;
  }
}

/** Elements that go into one element of the result. */
function extent(node: Reduce): number {
  return node.attributes.axes.reduce((n, axis) => n * node.inputs[0]!.shape[axis]!, 1);
}

function reduceConstant(node: Reduce): Node | undefined {
  const value = constant(node.inputs[0]);
  if (value === undefined) return undefined;
  const n = extent(node);
  if (node.op === "reduceMax" || node.op === "reduceMin") return like(node, value);
  if (node.op === "prod") return value === 0 || value === 1 ? like(node, value) : undefined;
  // Every partial sum is a whole number that f32 holds, whatever the order.
  if (!Number.isInteger(value) || Math.abs(value) * n > 2 ** 24) return undefined;
  return like(node, Object.is(value, -0) ? 0 : value * n);
}

/** Rules of reduction and of emptiness. */
export const reductionRules: readonly Rule[] = [
  {
    name: "no elements",
    op: "*",
    why: "any constant will do where there is nothing",
    apply: (node) =>
      sizeOf(node.shape) === 0 && node.op !== "parameter" && node.op !== "leaf" &&
        node.op !== "fill" && node.op !== "call" && node.op !== "loop" && node.op !== "project"
        ? like(node, 0)
        : undefined,
  },
  ...rules(reductions, "reduce over nothing", "the identity of the operation", (node) => {
    return extent(node) === 0 ? like(node, identity(node)) : undefined;
  }),
  ...rules(reductions, "reduce axes of size 1", "one element is its own reduction", (node) => {
    const { axes } = node.attributes, x = node.inputs[0]!;
    const long = axes.filter((axis) => x.shape[axis] !== 1);
    return long.length < axes.length ? reduce(node.op, x, long) : undefined;
  }),
  ...rules(reductions, "reduce a constant", "exact in any order", reduceConstant),
  ...rules(["reduceMax", "reduceMin"], "extremum of extrema", "order does not matter", (node) => {
    const x = node.inputs[0]!;
    if (x.op !== node.op) return undefined;
    const inner = (x as typeof node).attributes.axes;
    const axes = [...new Set([...inner, ...node.attributes.axes])].sort((a, b) => a - b);
    return reduce(node.op, x.inputs[0]!, axes);
  }),
  rule("dot", "product over nothing", "an empty sum is 0", (node) => {
    return node.inputs[0]!.shape[2] === 0 ? like(node, 0) : undefined;
  }),
  rule("gather", "rows of nothing", "every index is outside", (node) => {
    if (node.inputs[0]!.shape[0] !== 0) return undefined;
    return like(node, isFloat(node.dtype) ? NaN : 0);
  }),
  rule("scatterAdd", "no updates", "nothing is added", (node) => {
    const updates = node.inputs[0]!;
    const zero = sizeOf(updates.shape) === 0 || constant(updates) === 0;
    return zero ? like(node, 0) : undefined;
  }),
  rule("pad", "pad of nothing", "only the padding is left", (node) => {
    return sizeOf(node.inputs[0]!.shape) === 0 ? like(node, node.attributes.value) : undefined;
  }),
];
