/**
 * Movement: index arithmetic that composes. Two of a kind become one, movement of a constant is the
 * constant, and windows move past what they cut. Values are never touched.
 *
 * @module
 */
import { apply, broadcastTo, concatenate, flip, pad, permute, reshape, slice } from "../build.ts";
import type { DType } from "../dtype.ts";
import { is, type Node } from "../node.ts";
import { sameShape, sizeOf } from "../shape.ts";
import { constant, like, type Rule, rule, rules } from "./rule.ts";

function permuteOfPermute(node: Node<"permute">): Node | undefined {
  const x = node.inputs[0]!;
  if (!is(x, "permute")) return undefined;
  return permute(x.inputs[0]!, node.attributes.order.map((axis) => x.attributes.order[axis]!));
}

/** Axes of size 1 hold no order: what is left must ascend. */
function permuteOfOnes(node: Node<"permute">): Node | undefined {
  const x = node.inputs[0]!;
  const long = node.attributes.order.filter((axis) => x.shape[axis] !== 1);
  if (!long.every((axis, i) => i === 0 || long[i - 1]! < axis)) return undefined;
  return reshape(x, node.shape);
}

function sliceOfSlice(node: Node<"slice">): Node | undefined {
  const x = node.inputs[0]!;
  if (!is(x, "slice")) return undefined;
  const { start, step } = node.attributes, inner = x.attributes;
  return slice(
    x.inputs[0]!,
    start.map((s, i) => inner.start[i]! + s * inner.step[i]!),
    node.shape,
    step.map((s, i) => s * inner.step[i]!),
  );
}

/** The part of the window inside the padded tensor, padded by the rest of the window. */
function sliceOfPad(node: Node<"slice">): Node | undefined {
  const x = node.inputs[0]!;
  if (!is(x, "pad") || node.attributes.step.some((s) => s !== 1)) return undefined;
  const inner = x.inputs[0]!, { before, value } = x.attributes, { start } = node.attributes;
  const low = start.map((s, i) => Math.max(s, before[i]!));
  const high = start.map((s, i) => Math.min(s + node.shape[i]!, before[i]! + inner.shape[i]!));
  if (high.some((h, i) => h <= low[i]!)) return like(node, value);
  return pad(
    slice(inner, low.map((l, i) => l - before[i]!), high.map((h, i) => h - low[i]!)),
    low.map((l, i) => l - start[i]!),
    high.map((h, i) => start[i]! + node.shape[i]! - h),
    value,
  );
}

function sliceOfConcatenate(node: Node<"slice">): Node | undefined {
  const x = node.inputs[0]!;
  if (!is(x, "concatenate")) return undefined;
  const { axis } = x.attributes, { start, step } = node.attributes;
  const first = start[axis]!, last = first + (node.shape[axis]! - 1) * step[axis]!;
  let offset = 0;
  for (const part of x.inputs) {
    const end = offset + part.shape[axis]!;
    if (first >= offset && last < end) {
      const moved = start.map((s, i) => i === axis ? s - offset : s);
      return slice(part, moved, node.shape, step);
    }
    offset = end;
  }
  return undefined;
}

/** A window of a broadcast: the window of what was not repeated, repeated as often. */
function sliceOfBroadcast(node: Node<"slice">): Node | undefined {
  const x = node.inputs[0]!;
  if (!is(x, "broadcast")) return undefined;
  const inner = x.inputs[0]!, { start, step } = node.attributes;
  const repeated = inner.shape.map((n, i) => n === 1 && x.shape[i] !== 1);
  const window = slice(
    inner,
    start.map((s, i) => repeated[i] ? 0 : s),
    node.shape.map((n, i) => repeated[i] ? 1 : n),
    step.map((s, i) => repeated[i] ? 1 : s),
  );
  return broadcastTo(window, node.shape);
}

function padOfPad(node: Node<"pad">): Node | undefined {
  const x = node.inputs[0]!;
  if (!is(x, "pad") || !Object.is(x.attributes.value, node.attributes.value)) return undefined;
  return pad(
    x.inputs[0]!,
    node.attributes.before.map((n, i) => n + x.attributes.before[i]!),
    node.attributes.after.map((n, i) => n + x.attributes.after[i]!),
    node.attributes.value,
  );
}

/** Whole numbers from 0 up to here are exact. */
const exactBelow: { readonly [D in DType]: number } = {
  f32: 2 ** 24,
  f16: 2 ** 11,
  i32: 2 ** 31,
  u32: 2 ** 32,
  bool: 2,
};

/** Rules of movement. */
export const movementRules: readonly Rule[] = [
  ...rules(
    ["reshape", "permute", "broadcast", "slice", "flip"],
    "move a constant",
    "the same value lies everywhere",
    (node) => {
      const value = constant(node.inputs[0]);
      return value === undefined ? undefined : like(node, value);
    },
  ),
  rule("pad", "pad a constant with itself", "the same value lies everywhere", (node) => {
    const value = constant(node.inputs[0]);
    if (value === undefined || !Object.is(value, node.attributes.value)) return undefined;
    return like(node, value);
  }),
  rule("concatenate", "join equal constants", "the same value lies everywhere", (node) => {
    const value = constant(node.inputs[0]);
    if (value === undefined) return undefined;
    return node.inputs.every((x) => Object.is(constant(x), value)) ? like(node, value) : undefined;
  }),
  ...rules(["reshape", "broadcast"], "same shape", "nothing moves", (node) => {
    return sameShape(node.shape, node.inputs[0]!.shape) ? node.inputs[0] : undefined;
  }),
  rule("reshape", "reshape of a reshape", "only the last shape counts", (node) => {
    const x = node.inputs[0]!;
    return is(x, "reshape") ? reshape(x.inputs[0]!, node.shape) : undefined;
  }),
  rule("permute", "permute of a permute", "permutations compose", permuteOfPermute),
  rule("permute", "permute axes of size 1", "row-major order does not change", permuteOfOnes),
  rule("broadcast", "broadcast of a broadcast", "only the last shape counts", (node) => {
    const x = node.inputs[0]!;
    return is(x, "broadcast") ? broadcastTo(x.inputs[0]!, node.shape) : undefined;
  }),
  rule("slice", "whole window", "nothing is cut", (node) => {
    const x = node.inputs[0]!;
    return sameShape(x.shape, node.shape) ? x : undefined;
  }),
  rule("slice", "step of a single element", "it is never taken", (node) => {
    const { start, step } = node.attributes;
    if (!step.some((s, i) => s !== 1 && node.shape[i]! <= 1)) return undefined;
    const plain = step.map((s, i) => node.shape[i]! <= 1 ? 1 : s);
    return slice(node.inputs[0]!, start, node.shape, plain);
  }),
  rule("slice", "slice of a slice", "windows compose", sliceOfSlice),
  rule("slice", "slice of a padded tensor", "cutting first leaves less to pad", sliceOfPad),
  rule("slice", "slice of one part", "the window lies in one of the parts", sliceOfConcatenate),
  rule("slice", "slice of a broadcast", "cutting first leaves less to repeat", sliceOfBroadcast),
  rule("pad", "pad by nothing", "widths are all 0", (node) => {
    return sameShape(node.shape, node.inputs[0]!.shape) ? node.inputs[0] : undefined;
  }),
  rule("pad", "pad of a padded tensor", "widths add up where the value is one", padOfPad),
  rule("flip", "flip of short axes", "axes of size 1 have one order", (node) => {
    const axes = node.attributes.axes.filter((axis) => node.shape[axis]! > 1);
    return axes.length < node.attributes.axes.length ? flip(node.inputs[0]!, axes) : undefined;
  }),
  rule("flip", "flip of a flip", "an axis flipped twice is not flipped", (node) => {
    const x = node.inputs[0]!;
    if (!is(x, "flip")) return undefined;
    const [outer, inner] = [node.attributes.axes, x.attributes.axes];
    const once = [
      ...outer.filter((axis) => !inner.includes(axis)),
      ...inner.filter((axis) => !outer.includes(axis)),
    ];
    return flip(x.inputs[0]!, once.sort((a, b) => a - b));
  }),
  rule("concatenate", "one part", "nothing to join", (node) => {
    return node.inputs.length === 1 ? node.inputs[0] : undefined;
  }),
  rule("concatenate", "drop empty parts", "they add nothing", (node) => {
    const parts = node.inputs.filter((part) => sizeOf(part.shape) > 0);
    return parts.length < node.inputs.length ? concatenate(parts, node.attributes.axis) : undefined;
  }),
  rule("cast", "cast of positions", "small whole numbers are exact in both dtypes", (node) => {
    const x = node.inputs[0]!;
    if (!is(x, "iota") || node.dtype === "bool") return undefined;
    const { axis } = x.attributes;
    if (x.shape[axis]! > Math.min(exactBelow[x.dtype], exactBelow[node.dtype])) return undefined;
    return apply("iota", [], { axis }, { shape: x.shape, dtype: node.dtype });
  }),
  rule("iota", "positions on an axis of size 1", "there is only position 0", (node) => {
    return node.shape[node.attributes.axis] === 1 ? like(node, 0) : undefined;
  }),
];
