/**
 * Random graphs from lists of numbers, so that fast-check can shrink them: each instruction names an
 * operation and the values it works on, and is bent until it fits. `exact` graphs stay on small
 * whole numbers, where every order of computing gives the same bits; `smooth` ones are on floats and
 * without jumps, so that a small error stays one.
 *
 * @module
 */
import fc from "fast-check";
import * as build from "../graph/build.ts";
import { isFloat, type TypedArray } from "../graph/dtype.ts";
import { type Graph, is, type Node } from "../graph/node.ts";
import { type Shape, sizeOf } from "../graph/shape.ts";
import { topological } from "../graph/walk.ts";
import { unwindow } from "../graph/windows.ts";
import { constantOf, randomOf } from "./gpu.ts";

/** One instruction: an operation, three operands, and what else it needs. */
export type Instruction = readonly [op: number, a: number, b: number, c: number, more: number];

/** A recipe for a graph. */
export interface Recipe {
  readonly seed: number;
  readonly instructions: readonly Instruction[];
  /** Picks results besides the last value. */
  readonly results: readonly number[];
}

/** Recipes with a number of instructions in a range. */
export function recipes(minLength: number, maxLength: number): fc.Arbitrary<Recipe> {
  return fc.record({
    seed: fc.nat(1 << 20),
    instructions: fc.array(
      fc.tuple(fc.nat(999), fc.nat(999), fc.nat(999), fc.nat(999), fc.nat(999)),
      { minLength, maxLength },
    ),
    results: fc.array(fc.nat(999), { minLength: 1, maxLength: 4 }),
  });
}

/** Which values a graph is on. */
export type Mode = "exact" | "smooth";

const shapes: readonly Shape[] = [
  [],
  [1],
  [4],
  [7],
  [33],
  [3, 4],
  [5, 7],
  [8, 16],
  [1, 6],
  [6, 1],
  [2, 3, 4],
  [3, 1, 5],
  [4, 8, 2],
];

/** Keeps values where float arithmetic on them is exact. */
const held = (x: Node, mode: Mode): Node =>
  mode === "exact"
    ? build.binary("max", build.binary("min", x, 9), -9)
    : build.binary("div", x, build.binary("add", build.unary("abs", x), 1));

type Maker = (values: (n: number) => Node, instruction: Instruction, mode: Mode) => Node;

function axesOf({ shape }: Node, more: number): number[] {
  const axes = shape.map((_, i) => i).filter((i) => (more >> i) & 1);
  return axes.length > 0 ? axes : shape.map((_, i) => i).slice(-1);
}

const pick = <T>(list: readonly T[], n: number): T => list[n % list.length]!;

/** The graphs with a barrier behind every float value: no driver can rewrite across any of them. */
export function sealed(results: readonly Node[]): Node[] {
  const done = new Map<Node, Node>();
  for (const node of topological(results)) {
    const same = build.rebuild(node, node.inputs.map((input) => done.get(input)!));
    done.set(node, isFloat(node.dtype) && !is(node, "leaf") ? build.unary("barrier", same) : same);
  }
  return results.map((node) => done.get(node)!);
}

/** A graph with parameters where there were leaves, and the leaves' data. */
export function parametrized(
  results: readonly Node[],
): { graph: Graph; data: TypedArray[] } {
  const parameters: Node<"parameter">[] = [], data: TypedArray[] = [];
  const done = new Map<Node, Node>();
  for (const node of topological(results)) {
    if (is(node, "leaf")) {
      const { state } = node.attributes.storage;
      if (state.at !== "host") throw new Error(`Cannot take a leaf's data: it is ${state.at}`);
      const x = build.parameter(parameters.length, node);
      parameters.push(x);
      data.push(state.data);
      done.set(node, x);
    } else done.set(node, build.rebuild(node, node.inputs.map((input) => done.get(input)!)));
  }
  return {
    graph: { name: "random", parameters, results: results.map((r) => done.get(r)!) },
    data,
  };
}

/** Any two values as operands of one shape: broadcast if they can be, else cut down. */
function fitted(x: Node, y: Node): [Node, Node] {
  if (x.shape.length < y.shape.length) {
    const [b, a] = fitted(y, x);
    return [a, b];
  }
  const lead = x.shape.length - y.shape.length;
  const wide = build.reshape(y, [...x.shape.slice(0, lead).map(() => 1), ...y.shape]);
  const size = x.shape.map((n, i) => {
    const m = wide.shape[i]!;
    return n === 1 || m === 1 ? Math.max(n, m) : Math.min(n, m);
  });
  const cut = (v: Node): Node =>
    build.slice(v, v.shape.map(() => 0), v.shape.map((n, i) => Math.min(n, size[i]!)));
  return [cut(x), cut(wide)];
}

function asMatrix(x: Node): Node {
  const { shape } = x;
  const rank = shape.length;
  const m = rank >= 2 ? shape[rank - 2]! : 1, k = rank >= 1 ? shape[rank - 1]! : 1;
  return build.reshape(x, [sizeOf(shape) / (m * k), m, k]);
}

const unary: { readonly [M in Mode]: readonly build.Unary[] } = {
  exact: ["neg", "abs", "sign", "floor", "ceil", "round", "barrier", "stop"],
  smooth: ["neg", "abs", "exp", "sin", "cos", "tanh", "erf", "barrier", "stop"],
};
const makers: readonly Maker[] = [
  (v, [, a, , , more], mode) => build.unary(pick(unary[mode], more), v(a)),
  (v, [, a, b, , more], mode) => {
    const [x, y] = fitted(v(a), v(b));
    return held(build.binary(pick(["add", "sub", "mul", "max", "min"] as const, more), x, y), mode);
  },
  (v, [, a, b, , more], mode) => {
    const [x, y] = fitted(v(a), v(b));
    return held(build.binary(pick(["add", "sub", "mul"] as const, more), x, y), mode);
  },
  (v, [, a, b, c, more], mode) => {
    if (mode === "smooth") return build.binary("mul", v(a), 0.25 + (more % 8) / 8);
    const [x, y] = fitted(v(a), v(b));
    const op = pick(["less", "lessEqual", "equal", "notEqual"] as const, more);
    const [condition, z] = fitted(build.binary(op, x, y), v(c));
    return build.where(condition, z, build.binary("sub", z, 1));
  },
  (v, [, a, , , more]) => {
    const x = v(a), size = sizeOf(x.shape);
    const first = pick([1, 2, 3, 4, 6].filter((n) => size % n === 0), more);
    return build.reshape(x, more % 3 === 0 ? [size] : [first, size / first]);
  },
  (v, [, a, , , more]) => {
    const x = v(a), rank = x.shape.length;
    const order = x.shape.map((_, i) => (i + more) % Math.max(1, rank));
    if (rank > 2 && more % 2 === 1) order.reverse();
    return build.permute(x, order);
  },
  (v, [, a, , , more]) => {
    const x = v(a);
    return build.broadcastTo(x, [
      ...(more % 2 ? [1 + more % 5] : []),
      ...x.shape.map((n, i) => {
        return n === 1 && i % 2 === 0 ? 1 + more % 7 : n;
      }),
    ]);
  },
  (v, [, a, b, c]) => {
    const x = v(a);
    const start = x.shape.map((n, i) => (b + i) % n);
    const step = x.shape.map((_, i) => 1 + (c + i) % 3);
    const size = x.shape.map((n, i) => Math.floor((n - start[i]! - 1) / step[i]!) + 1);
    return build.slice(x, start, size, step);
  },
  (v, [, a, b, c, more]) => {
    const x = v(a);
    const before = x.shape.map((_, i) => (b + i) % 3), after = x.shape.map((_, i) => (c + i) % 4);
    return build.pad(x, before, after, more % 4 - 1);
  },
  (v, [, a, , , more]) => build.flip(v(a), axesOf(v(a), more)),
  (v, [, a, b, c, more], mode) => {
    const x = v(a), rank = Math.min(x.shape.length, 1 + more % 2);
    if (rank === 0 || sizeOf(x.shape) > 512) return x;
    const last = x.shape.slice(-rank);
    const size = last.map((n, i) => Math.min(n, 1 + (b + i) % 3));
    const apart = (k: number, n: number, i: number): number =>
      k === 1 ? 1 : Math.min(1 + (c + i) % 2, Math.floor((n - 1) / (k - 1)));
    const windows = {
      size,
      step: last.map((_, i) => 1 + (more + i) % 3),
      dilation: last.map((n, i) => apart(size[i]!, n, i)),
    };
    const y = build.window(x, windows);
    // As they are, or summed where they overlap.
    return more % 3 === 0 ? held(unwindow(y, x.shape, windows), mode) : y;
  },
  (v, [, a, b, c, more], mode) => {
    const x = v(a), y = v(b);
    if (x.shape.length < 2 || sizeOf(x.shape) > 512) return x;
    const [n, channels] = x.shape.slice(-2) as [number, number];
    const taps = Math.min(n, 1 + c % 3), outputs = 1 + more % 5, size = taps * channels * outputs;
    const line = build.reshape(y, [sizeOf(y.shape)]);
    const index = build.binary("mod", build.iota([size], 0, "i32"), line.shape[0]!);
    const kernel = build.reshape(build.gather(line, index), [1, taps, channels, outputs]);
    const image = build.reshape(x, [1, sizeOf(x.shape) / (n * channels), n, channels]);
    const placed = { step: [1 + more % 2], dilation: [1], spread: [1 + b % 2] };
    const padding = { before: [c % 2], after: [more % 3] };
    return held(build.convolve(image, kernel, { ...placed, ...padding }), mode);
  },
  (v, [, a, b, c]) => {
    const x = v(a);
    if (x.shape.length === 0) return x;
    const axis = c % x.shape.length;
    const y = fitted(x, v(b))[1];
    const same = y.shape.length === x.shape.length &&
      y.shape.every((n, i) => i === axis || n === x.shape[i]);
    return build.concatenate([x, same ? y : build.flip(x, [axis]), x], axis);
  },
  (v, [, a, , c, more], mode) => {
    const x = v(a);
    const op = pick(["sum", "sum", "reduceMax", "reduceMin", "prod"] as const, c);
    // Products of small values stay small; of whole numbers only those of signs do.
    const safe = op === "prod" && mode === "exact" ? build.unary("sign", x) : x;
    return held(build.reduce(op, safe, axesOf(x, more)), mode);
  },
  (v, [, a, , , more], mode) => {
    const x = v(a);
    if (x.shape.length === 0) return x;
    const axes = axesOf(x, more);
    const spread = (y: Node): Node => build.broadcastTo(y, x.shape);
    const centered = build.binary("sub", x, spread(build.reduce("reduceMax", x, axes)));
    if (mode === "exact") return held(centered, mode);
    const e = build.unary("exp", centered);
    return build.binary("div", e, spread(build.reduce("sum", e, axes)));
  },
  (v, [, a, b], mode) => {
    const x = asMatrix(v(a)), y = asMatrix(v(b));
    const right = x.shape[2] === y.shape[1]
      ? build.slice(y, [0, 0, 0], [1, y.shape[1]!, y.shape[2]!])
      : build.permute(build.slice(x, [0, 0, 0], [1, x.shape[1]!, x.shape[2]!]), [0, 2, 1]);
    const [, k, n] = right.shape as [number, number, number];
    return held(build.dot(x, build.broadcastTo(right, [x.shape[0]!, k, n])), mode);
  },
  (v, [, a, b, , more]) => {
    const x = v(a);
    if (x.shape.length === 0) return x;
    const n = x.shape[0]!, rows = 1 + b % 6;
    const count = build.iota([rows], 0, "i32");
    const index = build.binary("mod", build.binary("mul", count, 1 + more % 5), n);
    return build.gather(x, index);
  },
  (v, [, a, b, , more], mode) => {
    const x = v(a);
    if (x.shape.length === 0) return x;
    const rows = 1 + b % 5;
    const count = build.iota([x.shape[0]!], 0, "i32");
    const index = build.binary("mod", build.binary("mul", count, 1 + more % 3), rows + 1);
    return held(build.scatterAdd(x, index, rows), mode);
  },
  (v, [, a, b], mode) => {
    const x = v(a);
    if (x.shape.length === 0 || mode === "smooth") return build.binary("add", x, 0.5);
    return build.binary("add", x, build.iota(x.shape, b % x.shape.length, "f32"));
  },
  (v, [, a, b, , more], mode) => {
    if (mode === "smooth") return build.binary("sub", v(a), 0.125);
    const [x, y] = fitted(build.cast(v(a), "f16"), build.cast(v(b), "f16"));
    const op = pick(["add", "sub", "mul", "min"] as const, more);
    const z = build.binary(op, x, y);
    return held(build.cast(more % 3 ? z : build.reduce("sum", z, axesOf(z, more)), "f32"), mode);
  },
  (v, [, a, b, , more], mode) => {
    if (mode === "smooth") return build.cast(v(a), "f32");
    const [x, y] = fitted(build.cast(v(a), "i32"), build.cast(v(b), "i32"));
    const op = pick(["add", "mul", "and", "or", "xor", "mod", "floorDiv", "max"] as const, more);
    const divides = op === "mod" || op === "floorDiv";
    const z = build.binary(op, x, divides ? build.binary("add", build.unary("abs", y), 1) : y);
    return held(build.cast(z, "f32"), mode);
  },
];

/** A graph of leaves: its results. */
export function graphOf({ seed, instructions, results }: Recipe, mode: Mode): Node[] {
  const random = randomOf(seed);
  const values: Node[] = [];
  for (let i = 0; i < 4; i++) {
    const shape = pick(shapes, Math.floor(random() * 1000));
    const data = Array.from(
      { length: sizeOf(shape) },
      () => mode === "exact" ? Math.floor(random() * 9) - 4 : 2 * random() - 1,
    );
    values.push(constantOf(data, shape));
  }
  // Recent values are taken more often, so that graphs grow deep as well as wide.
  const value = (n: number): Node => {
    const { length } = values;
    return n % 3 === 0 ? values[n % length]! : values[length - 1 - n % Math.min(length, 6)]!;
  };
  for (const instruction of instructions) {
    const made = pick(makers, instruction[0])(value, instruction, mode);
    if (sizeOf(made.shape) <= 4096) values.push(made);
  }
  return [values.at(-1)!, ...results.map((n) => pick(values, n))];
}
