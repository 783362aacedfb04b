/**
 * For every primitive, graphs that use it on hostile shapes (0, 1, primes), with operands whose
 * values keep clear of kinks, so that finite differences mean something. Tests of the transforms
 * run over all of them; a primitive without a row is a type error.
 *
 * @module
 */
import * as b from "../../graph/build.ts";
import type { DType } from "../../graph/dtype.ts";
import type { Graph, Node } from "../../graph/node.ts";
import type { Attributes, Primitive } from "../../graph/primitive.ts";
import { type Shape, sizeOf } from "../../graph/shape.ts";

/** Numbers in [0, 1) from a seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** How an operand's values are drawn: the i-th of n, from uniform numbers. */
export type Draw = (uniform: () => number, i: number, n: number) => number;

/** An operand of a case. */
export interface OperandSpec {
  readonly shape: Shape;
  readonly dtype?: DType;
  readonly draw?: Draw;
}

/** One graph to test. */
export interface Case {
  readonly operands: readonly OperandSpec[];
  readonly build: (...x: Node[]) => Node;
  /** Derivatives are not compared with finite differences: they are zero or undefined by design. */
  readonly flat?: boolean;
}

/** Values for an operand. */
export function drawn({ shape, draw = anywhere }: OperandSpec, uniform: () => number): number[] {
  const n = sizeOf(shape);
  return Array.from({ length: n }, (_, i) => draw(uniform, i, n));
}

/** The graph of a case, on parameters. */
export function graphOf({ operands, build }: Case, name: string): Graph {
  const parameters = operands.map(({ shape, dtype = "f32" }, i) =>
    b.parameter(i, { shape, dtype })
  );
  return { name, parameters, results: [build(...parameters)] };
}

/** In [-2, 2], away from 0. */
export const anywhere: Draw = (uniform) => (uniform() < 0.5 ? -1 : 1) * (0.2 + 1.8 * uniform());
const positive: Draw = (uniform) => 0.3 + 2 * uniform();
/** All different, by at least 0.2. */
const distinct: Draw = (uniform, i, n) =>
  (((i * 7 + 3) % (n || 1)) - n / 2) * 0.5 + 0.3 * uniform();
/** Fractions away from whole and half numbers. */
const fractional: Draw = (uniform) => Math.floor(uniform() * 8 - 4) + 0.1 + 0.3 * uniform();
const integers = (low: number, high: number): Draw => (uniform) =>
  low + Math.floor(uniform() * (high - low));
const truth: Draw = (uniform) => uniform() < 0.5 ? 0 : 1;

const shapes: readonly Shape[] = [[], [1], [0], [7], [2, 3], [3, 1, 5], [2, 0, 3]];
const few: readonly Shape[] = [[], [5], [0], [2, 3]];

function unary(op: b.Unary, draw: Draw = anywhere, flat = false): Case[] {
  return shapes.map((shape) => ({
    operands: [{ shape, draw }],
    build: (x) => b.unary(op, x!),
    flat,
  }));
}

function binary(op: b.Binary, first: Draw = anywhere, second: Draw = first): Case[] {
  const pairs: readonly (readonly [Shape, Shape])[] = [
    [[], []],
    [[5], [5]],
    [[2, 3], [3]],
    [[3, 1], [1, 2]],
    [[], [2, 2]],
    [[0, 3], [1, 3]],
  ];
  return pairs.map(([p, q]) => ({
    operands: [{ shape: p, draw: first }, { shape: q, draw: second }],
    build: (x, y) => b.binary(op, x!, y!),
  }));
}

/** Binary operations on numbers that have no derivative. */
function discrete(op: b.Binary, dtype: DType, first: Draw, second: Draw = first): Case[] {
  return few.map((shape) => ({
    operands: [{ shape, dtype, draw: first }, { shape, dtype, draw: second }],
    build: (x, y) => b.binary(op, x!, y!),
    flat: true,
  }));
}

function reductions(op: b.Reduction, draw: Draw): Case[] {
  const over: readonly (readonly [Shape, readonly number[]])[] = [
    [[5], [0]],
    [[2, 3], [1]],
    [[2, 3], [0, 1]],
    [[3, 2, 5], [0, 2]],
    [[3, 1, 2], [1]],
    [[1], [0]],
  ];
  return over.map(([shape, axes]) => ({
    operands: [{ shape, draw }],
    build: (x) => b.reduce(op, x!, axes),
  }));
}

const x5: OperandSpec = { shape: [5] };
const x23: OperandSpec = { shape: [2, 3] };

/** Multiplied by itself, a linear operation gets second derivatives to check. */
const square = (x: Node): Node => b.binary("mul", x, x);

/** The table. */
export const cases: { readonly [P in Primitive]: readonly Case[] } = {
  leaf: [],
  parameter: [{ operands: [x5], build: (x) => x! }],
  fill: [{ operands: [x5], build: (x) => b.binary("mul", x!, 3) }],
  iota: [{
    operands: [x23],
    build: (x) => b.binary("mul", x!, b.iota([2, 3], 1, "f32")),
  }],

  neg: unary("neg"),
  abs: unary("abs"),
  sign: unary("sign"),
  floor: unary("floor", fractional),
  ceil: unary("ceil", fractional),
  round: unary("round", fractional),
  sqrt: unary("sqrt", positive),
  exp: unary("exp"),
  log: unary("log", positive),
  sin: unary("sin"),
  cos: unary("cos"),
  atan: unary("atan"),
  tanh: unary("tanh"),
  erf: unary("erf"),
  not: [
    { operands: [{ shape: [5], dtype: "bool", draw: truth }], build: (x) => b.unary("not", x!) },
    {
      operands: [{ shape: [5], dtype: "i32", draw: integers(-9, 9) }],
      build: (x) => b.unary("not", x!),
    },
  ],
  cast: [
    { operands: [x23], build: (x) => b.cast(b.cast(x!, "f16"), "f32"), flat: true },
    { operands: [x23], build: (x) => b.cast(x!, "i32") },
    { operands: [x23], build: (x) => b.binary("mul", b.cast(b.cast(x!, "i32"), "f32"), x!) },
    {
      operands: [{ shape: [5], dtype: "i32", draw: integers(-9, 9) }],
      build: (x) => b.cast(x!, "f32"),
    },
    { operands: [{ shape: [5], dtype: "bool", draw: truth }], build: (x) => b.cast(x!, "f32") },
  ],
  bitcast: [
    { operands: [x23], build: (x) => b.bitcast(x!, "u32") },
    { operands: [x23], build: (x) => b.bitcast(b.bitcast(x!, "i32"), "f32"), flat: true },
  ],
  barrier: unary("barrier"),
  mark: [{ operands: [x5], build: (x) => square(b.mark(x!)) }],
  again: [{ operands: [x5], build: (x) => square(b.again(x!, 1)) }],
  hold: [{ operands: [x5], build: (x) => square(b.hold(x!, "x")) }],
  name: [{ operands: [x5], build: (x) => square(b.apply("name", [x!], { label: "x" })) }],
  stop: unary("stop", anywhere, true),

  add: binary("add"),
  sub: binary("sub"),
  mul: [
    ...binary("mul"),
    { operands: [x5], build: (x) => b.binary("mul", x!, x!) },
  ],
  div: binary("div"),
  floorDiv: discrete("floorDiv", "i32", integers(-9, 9), integers(1, 5)),
  mod: [
    ...binary("mod", fractional, () => 3),
    ...binary("mod", fractional, () => -2),
    ...discrete("mod", "i32", integers(-9, 9), integers(1, 5)),
  ],
  pow: [
    ...binary("pow", positive, anywhere),
    ...[0, 1, 2, 3, 0.5, -1, -2.5].map((p): Case => ({
      operands: [{ shape: [5], draw: positive }],
      build: (x) => b.binary("pow", x!, p),
    })),
    // Negative bases have whole powers.
    ...[2, 3, -1, 4].map((p): Case => ({
      operands: [x5],
      build: (x) => b.binary("pow", x!, p),
    })),
  ],
  max: [
    ...binary("max", distinct),
    { operands: [x23], build: (x) => b.binary("max", x!, 0) },
    { operands: [x23], build: (x) => b.binary("max", 0.1, x!) },
    { operands: [x5], build: (x) => square(b.binary("max", x!, 0)) },
  ],
  min: [
    ...binary("min", distinct),
    { operands: [x23], build: (x) => b.binary("min", x!, 0) },
    { operands: [x23], build: (x) => square(b.binary("min", x!, 0.1)) },
  ],
  and: [...discrete("and", "i32", integers(-9, 9)), ...discrete("and", "bool", truth)],
  or: [...discrete("or", "i32", integers(-9, 9)), ...discrete("or", "bool", truth)],
  xor: [...discrete("xor", "u32", integers(0, 99)), ...discrete("xor", "bool", truth)],
  shiftLeft: discrete("shiftLeft", "u32", integers(0, 2 ** 31), integers(0, 32)),
  shiftRight: [
    ...discrete("shiftRight", "u32", integers(0, 2 ** 31), integers(0, 32)),
    ...discrete("shiftRight", "i32", integers(-(2 ** 31), 2 ** 31), integers(0, 32)),
  ],
  equal: discrete("equal", "i32", integers(0, 3)),
  notEqual: discrete("notEqual", "i32", integers(0, 3)),
  less: [...discrete("less", "i32", integers(0, 3)), ...discrete("less", "f32", anywhere)],
  lessEqual: discrete("lessEqual", "u32", integers(0, 3)),
  where: [
    {
      operands: [{ shape: [2, 3], dtype: "bool", draw: truth }, x23, { shape: [3] }],
      build: (c, x, y) => b.where(c!, square(x!), y!),
    },
    {
      operands: [x5],
      build: (x) => b.where(b.binary("less", x!, 0), square(x!), b.unary("exp", x!)),
    },
  ],

  reshape: [
    { operands: [{ shape: [2, 6] }], build: (x) => square(b.reshape(x!, [3, 1, 4])) },
    { operands: [{ shape: [1] }], build: (x) => b.reshape(x!, []) },
    { operands: [{ shape: [0, 3] }], build: (x) => b.reshape(x!, [5, 0]) },
  ],
  permute: [
    { operands: [{ shape: [2, 3, 5] }], build: (x) => square(b.permute(x!, [2, 0, 1])) },
    { operands: [x23], build: (x) => b.permute(x!, [1, 0]) },
  ],
  broadcast: [
    { operands: [{ shape: [3, 1] }], build: (x) => square(b.broadcastTo(x!, [2, 3, 4])) },
    { operands: [{ shape: [] }], build: (x) => b.broadcastTo(x!, [5]) },
    { operands: [{ shape: [1] }], build: (x) => b.broadcastTo(x!, [0]) },
  ],
  slice: [
    { operands: [{ shape: [7] }], build: (x) => b.slice(x!, [2], [3]) },
    { operands: [{ shape: [7] }], build: (x) => square(b.slice(x!, [1], [2], [3])) },
    { operands: [{ shape: [7] }], build: (x) => b.slice(x!, [0], [3], [3]) },
    { operands: [{ shape: [5, 8] }], build: (x) => b.slice(x!, [1, 0], [2, 4], [3, 2]) },
    { operands: [{ shape: [5, 2] }], build: (x) => b.slice(x!, [4, 0], [1, 0], [2, 1]) },
  ],
  pad: [
    { operands: [x23], build: (x) => square(b.pad(x!, [1, 0], [0, 2], 1.5)) },
    { operands: [{ shape: [0] }], build: (x) => b.pad(x!, [2], [1], 7) },
  ],
  flip: [{ operands: [{ shape: [2, 3, 4] }], build: (x) => square(b.flip(x!, [0, 2])) }],
  concatenate: [
    {
      operands: [x23, { shape: [2, 1] }, { shape: [2, 0] }],
      build: (x, y, z) => square(b.concatenate([x!, y!, z!, x!], 1)),
    },
    { operands: [x5, x5], build: (x, y) => b.concatenate([x!, y!], 0) },
  ],

  window: [
    windows([7], [3], [1], [1]),
    windows([2, 9], [2], [3], [1]),
    windows([11], [3], [2], [3]),
    windows([2, 5, 6], [2, 3], [1, 2], [2, 1]),
    windows([3, 4], [3, 1], [1, 2], [1, 1]),
    windows([1, 6], [6], [1], [1]),
    windows([2, 3], [4], [1], [1]),
    windows([0, 5], [2], [1], [1]),
    windows([2, 3, 5, 4], [2, 2, 3], [1, 1, 1], [1, 2, 1]),
  ],

  sum: [
    ...reductions("sum", anywhere),
    { operands: [{ shape: [0, 3] }], build: (x) => b.reduce("sum", x!, [0]) },
    { operands: [x23], build: (x) => square(b.reduce("sum", square(x!), [1])) },
  ],
  prod: [
    ...reductions("prod", anywhere),
    { operands: [{ shape: [0, 3] }], build: (x) => b.reduce("prod", x!, [0]) },
    // One zero and two zeros: no division helps here.
    {
      operands: [{ shape: [5], draw: (u, i) => i === 2 ? 0 : anywhere(u, i, 5) }],
      build: (x) => b.reduce("prod", x!, [0]),
    },
    {
      operands: [{ shape: [2, 4], draw: (u, i) => i % 3 === 1 ? 0 : anywhere(u, i, 8) }],
      build: (x) => b.reduce("prod", x!, [1]),
    },
  ],
  reduceMax: reductions("reduceMax", distinct),
  reduceMin: reductions("reduceMin", distinct),

  dot: [
    { operands: [{ shape: [1, 2, 3] }, { shape: [1, 3, 5] }], build: (x, y) => b.dot(x!, y!) },
    { operands: [{ shape: [3, 2, 1] }, { shape: [3, 1, 2] }], build: (x, y) => b.dot(x!, y!) },
    { operands: [{ shape: [2, 3, 0] }, { shape: [2, 0, 2] }], build: (x, y) => b.dot(x!, y!) },
    { operands: [{ shape: [2, 3, 3] }], build: (x) => b.dot(x!, x!) },
  ],
  convolve: [
    convolutions([1, 2, 7, 3], [1, 3, 3, 2], {}),
    convolutions([1, 1, 8, 1], [1, 2, 1, 3], { step: [3], before: [1], after: [2] }),
    convolutions([2, 2, 5, 2], [2, 3, 2, 1], { dilation: [2], before: [2], after: [1] }),
    convolutions([1, 2, 4, 3], [1, 3, 3, 2], { spread: [2], before: [2], after: [2] }),
    convolutions([3, 1, 5, 1], [3, 2, 1, 2], { step: [2], spread: [3], dilation: [2] }),
    convolutions([1, 2, 6, 2], [1, 2, 2, 2], { before: [-1], after: [-2] }),
    convolutions([1, 2, 4, 5, 2], [1, 2, 3, 2, 3], { before: [1, 0], after: [0, 1] }),
    convolutions([2, 1, 5, 4, 1], [2, 3, 2, 1, 1], { step: [2, 1], before: [1, 1], after: [1, 1] }),
    convolutions([1, 2, 3, 2], [1, 5, 2, 2], {}),
    convolutions([1, 0, 3, 2], [1, 2, 2, 2], {}),
    convolutions([1, 2, 3, 0], [1, 2, 0, 2], {}),
    convolutions([1, 1, 3, 2, 3, 2], [1, 2, 2, 2, 2, 1], { before: [1, 0, 0], after: [0, 0, 1] }),
  ],
  gather: [
    {
      operands: [{ shape: [5, 2] }, { shape: [3], dtype: "i32", draw: integers(0, 5) }],
      build: (x, i) => square(b.gather(x!, i!)),
    },
    {
      operands: [{ shape: [4] }, { shape: [2, 3], dtype: "u32", draw: integers(0, 4) }],
      build: (x, i) => b.gather(x!, i!),
    },
    {
      operands: [{ shape: [3, 2] }, { shape: [], dtype: "i32", draw: integers(0, 3) }],
      build: (x, i) => b.gather(x!, i!),
    },
    {
      operands: [{ shape: [3, 2] }, { shape: [0], dtype: "i32" }],
      build: (x, i) => b.gather(x!, i!),
    },
  ],
  // What a user wrote is tested on the device: tests/graph/kernel_test.ts.
  kernel: [],
  scatterAdd: [
    {
      operands: [{ shape: [4, 2] }, { shape: [4], dtype: "i32", draw: integers(0, 3) }],
      build: (x, i) => square(b.scatterAdd(x!, i!, 3)),
    },
    // Some indices lie outside: their updates are dropped.
    {
      operands: [{ shape: [2, 5] }, { shape: [2, 5], dtype: "i32", draw: integers(-2, 6) }],
      build: (x, i) => square(b.scatterAdd(x!, i!, 4)),
    },
    {
      operands: [{ shape: [3] }, { shape: [], dtype: "u32", draw: integers(0, 3) }],
      build: (x, i) => b.scatterAdd(x!, i!, 3),
    },
    {
      operands: [{ shape: [0, 2] }, { shape: [0], dtype: "i32" }],
      build: (x, i) => b.scatterAdd(x!, i!, 3),
    },
  ],

  call: [{ operands: [x23, { shape: [3] }], build: (x, y) => callOf(false, x!, y!) }],
  loop: [0, 1, 4].flatMap((length) =>
    [false, true].map((reverse) => ({
      operands: [{ shape: [3] }, { shape: [length, 3] }, { shape: [3] }],
      build: (c: Node, x: Node, k: Node) => loopOf(length, reverse, c, x, k),
    }))
  ),
  project: [{ operands: [x23, { shape: [3] }], build: (x, y) => callOf(true, x!, y!) }],
};

function windows(
  shape: Shape,
  size: readonly number[],
  step: readonly number[],
  dilation: readonly number[],
): Case {
  return {
    operands: [{ shape }],
    build: (x) => square(b.window(x!, { size, step, dilation })),
  };
}

function convolutions(x: Shape, w: Shape, given: Partial<Attributes["convolve"]>): Case {
  const rank = x.length - 3, all = (n: number): number[] => new Array<number>(rank).fill(n);
  const attributes = {
    step: all(1),
    dilation: all(1),
    spread: all(1),
    before: all(0),
    after: all(0),
    ...given,
  };
  return {
    operands: [{ shape: x }, { shape: w }],
    build: (x, w) => b.convolve(x!, w!, attributes),
  };
}

/** c' = sin(c·x) + k, giving c·k: the last carry and the sum of what was given. */
function loopOf(length: number, reverse: boolean, c: Node, x: Node, k: Node): Node {
  const parameters = [c, k, k].map((like, i) => b.parameter(i, like));
  const [p, q, r] = parameters as [Node, Node, Node];
  const next = b.binary("add", b.unary("sin", b.binary("mul", p, q)), r);
  const body: Graph = { name: "step", parameters, results: [next, b.binary("mul", p, r)] };
  const [last, given] = b.loop(body, [c, x, k], { length, carries: 1, stacked: 1, reverse });
  return b.binary("add", last!, summedTo(given!, [3]));
}

/** sin(x·y) + x behind a boundary, with a rule that says the truth or without one. */
function callOf(withRule: boolean, x: Node, y: Node): Node {
  const f = (p: Node, q: Node): Node => b.binary("add", b.unary("sin", b.binary("mul", p, q)), p);
  const [p, q] = [b.parameter(0, x), b.parameter(1, y)];
  const graph: Graph = { name: "f", parameters: [p, q], results: [f(p, q), b.unary("exp", p)] };
  const rule = {
    name: "f",
    pull: ([p, q]: readonly Node[], [, e]: readonly Node[], [g, h]: readonly Node[]) => {
      const inner = b.binary("mul", g!, b.unary("cos", b.binary("mul", p!, q!)));
      const dp = b.binary(
        "add",
        b.binary("add", b.binary("mul", inner, q!), g!),
        b.binary("mul", h!, e!),
      );
      return [dp, summedTo(b.binary("mul", inner, p!), q!.shape)];
    },
  };
  const [first, second] = b.call(graph, [x, y], withRule ? rule : undefined);
  return b.binary("mul", first!, second!);
}

/** The transpose of broadcasting from a shape. */
function summedTo(x: Node, shape: Shape): Node {
  const missing = x.shape.length - shape.length;
  const axes = x.shape.flatMap((n, i) =>
    i < missing || (shape[i - missing] === 1 && n !== 1) ? [i] : []
  );
  return b.reshape(b.reduce("sum", x, axes), shape);
}
