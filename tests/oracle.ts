/**
 * The oracle: what a graph means, computed in float64 by the plainest code there is, one row for
 * each primitive. It shares nothing with the kernels, and all numeric tests compare with it.
 * Integers wrap at 32 bits; floats keep float64's digits, or with `round` those of their dtype
 * after every operation (sums are rounded once, at the end).
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { loop as loopNode } from "../graph/build.ts";
import { type DType, isFloat } from "../graph/dtype.ts";
import { forwardOf, outsideOf, replayInputs } from "../graph/loops/replay.ts";
import { is, type Node } from "../graph/node.ts";
import type { Primitive } from "../graph/primitive.ts";
import { type Shape, sizeOf, stridesOf } from "../graph/shape.ts";
import { topological } from "../graph/walk.ts";

/** Values of a node, row-major. Integers and bools are whole numbers. */
export interface Value {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** How to evaluate. */
export interface OracleOptions {
  /** Rounds the result of every operation to its dtype. */
  readonly round?: boolean;
}

type Rule<P extends Primitive> = (node: Node<P>, inputs: readonly Value[]) => Float64Array;

/** Values of nodes. `feeds` gives those of parameters, and of any other node to be replaced. */
export function evaluate(
  nodes: readonly Node[],
  feeds: ReadonlyMap<Node, ArrayLike<number>> = new Map(),
  options: OracleOptions = {},
): Value[] {
  const values = new Map<Node, Value>();
  const ofCalls = new Map<Node, Value[]>();
  for (const node of topological(nodes, (n) => feeds.has(n) ? [] : n.inputs)) {
    const fed = feeds.get(node);
    if (fed !== undefined) {
      if (fed.length !== sizeOf(node.shape)) {
        throw new Error(`Cannot evaluate: ${fed.length} values fed to ${node.shape}`);
      }
      values.set(node, { shape: node.shape, data: Float64Array.from(fed) });
      continue;
    }
    if (is(node, "call")) {
      const { parameters, results } = node.attributes.graph;
      const inner = new Map<Node, ArrayLike<number>>(feeds);
      parameters.forEach((p, i) => inner.set(p, values.get(node.inputs[i]!)!.data));
      ofCalls.set(node, evaluate(results, inner, options));
      continue;
    }
    if (is(node, "loop")) {
      const inputs = node.inputs.map((input) => values.get(input)!);
      ofCalls.set(node, runLoop(node, inputs, statesOf(node, values, options), options));
      continue;
    }
    if (is(node, "project")) {
      values.set(node, ofCalls.get(node.inputs[0]!)![node.attributes.index]!);
      continue;
    }
    const rule = oracle[node.op as keyof typeof oracle] as Rule<Primitive>;
    const data = rule(node, node.inputs.map((input) => values.get(input)!));
    if (options.round) {
      for (let i = 0; i < data.length; i++) data[i] = rounded(data[i]!, node.dtype);
    }
    values.set(node, { shape: node.shape, data });
  }
  return nodes.map((node) => values.get(node)!);
}

/** What the steps of a way back read of the way forward: every state, stacked. */
function statesOf(
  node: Node<"loop">,
  values: ReadonlyMap<Node, Value>,
  options: OracleOptions,
): Value[] {
  const { replay } = node.attributes;
  if (replay === undefined || replay.states === 0) return [];
  const { own, states } = replayInputs(node);
  if (replay.plan === undefined) return states.map(([stack]) => values.get(stack!)!);
  const { loop, state } = forwardOf(node);
  if (replay.open) return openStates(loop, state, values, options);
  const { body, carries, stacked, length, reverse } = loop.attributes;
  const all = loopNode(body, loop.inputs, {
    length,
    carries,
    stacked,
    reverse,
    kept: state.map((carry) => [carry, "every"]),
  });
  const feeds = new Map(loop.inputs.map((input) => [input, values.get(input)!.data]));
  const stacks = evaluate(all.slice(body.results.length), feeds, options);
  // The values that a plan starts with are those of the steps it says, to the bit.
  const steps = replay.plan.atTurn(length).map((when) =>
    outsideOf(when) === undefined ? when as number : -1
  );
  states.forEach((live, i) =>
    live.forEach((value, k) => {
      if (steps[k]! < 0) return; // Outside of the device: there is a ticket.
      const size = sizeOf(value.shape), { data } = stacks[i]!, at = steps[k]! * size;
      const wanted = steps[k] === length
        ? evaluate([all[state[i]!]!], feeds, options)[0]!.data
        : data.slice(at, at + size);
      assertEquals(values.get(value)!.data, wanted, `state ${i} before step ${steps[k]}`);
    })
  );
  assertEquals(node.attributes.body.parameters.length, own.length + stacks.length);
  return stacks;
}

/** The states before each step that a loop takes that ends when its data say so. */
function openStates(
  { inputs, attributes: { body, carries, running, length } }: Node<"loop">,
  state: readonly number[],
  values: ReadonlyMap<Node, Value>,
  options: OracleOptions,
): Value[] {
  const rows = state.map((): number[] => []);
  let all = inputs.map((input) => values.get(input)!), steps = 0;
  for (; steps < length && all[running!]!.data[0] !== 0; steps++) {
    state.forEach((carry, i) => rows[i]!.push(...all[carry]!.data));
    const feeds = new Map(body.parameters.map((p, i) => [p as Node, all[i]!.data]));
    all = [...evaluate(body.results, feeds, options).slice(0, carries), ...all.slice(carries)];
  }
  return rows.map((row, i) => ({
    shape: [steps, ...inputs[state[i]!]!.shape],
    data: Float64Array.from(row),
  }));
}

/** A loop, step by step. Its body is closed: it sees nothing but its parameters. */
function runLoop(
  { attributes, results }: Node<"loop">,
  inputs: readonly Value[],
  states: readonly Value[],
  options: OracleOptions,
): Value[] {
  const { body, carries, stacked, reverse, running, kept, replay } = attributes;
  const length = replay?.open ? states[0]!.shape[0]! : attributes.length;
  let carry = inputs.slice(0, carries);
  const own = body.results.length, plain = body.parameters.length - states.length;
  const rows = results!.slice(carries, own).map(({ shape }) => {
    return { shape, data: new Float64Array(sizeOf(shape)) };
  });
  // What was found of inverted states is that nothing differs: the oracle inverts nothing.
  const saved = results!.slice(own).map(({ shape }) => {
    return { shape, data: new Float64Array(sizeOf(shape)) };
  });
  const keep = (i: number): void =>
    kept.forEach(([from, step], k) => {
      if (step !== "every" && step !== i) return;
      if (step === "every" && i === length) return;
      const { data } = carry[from]!;
      saved[k]!.data.set(data, step === "every" ? i * data.length : 0);
    });
  for (let i = 0; i < length; i++) {
    if (running !== undefined && carry[running]!.data[0] === 0) break;
    keep(i);
    const step = reverse ? length - 1 - i : i;
    const feeds = new Map<Node, ArrayLike<number>>();
    body.parameters.forEach((p, k) => {
      const size = sizeOf(p.shape);
      if (k >= plain) {
        const at = (length - 1 - i) * size;
        feeds.set(p, states[k - plain]!.data.subarray(at, at + size));
        return;
      }
      const { data } = k < carries ? carry[k]! : inputs[k]!;
      const isRow = k >= carries && k < carries + stacked;
      feeds.set(p, isRow ? data.subarray(step * size, (step + 1) * size) : data);
    });
    const after = evaluate(body.results, feeds, options);
    carry = after.slice(0, carries);
    rows.forEach(({ data }, k) => {
      const row = after[carries + k]!.data;
      data.set(row, step * row.length);
    });
  }
  keep(length);
  return [...carry, ...rows, ...saved];
}

function rounded(x: number, dtype: DType): number {
  return dtype === "f32" ? Math.fround(x) : dtype === "f16" ? Math.f16round(x) : x;
}

/** Calls `f` with every index of a shape, in row-major order. */
function forEachIndex(shape: Shape, f: (index: readonly number[], position: number) => void): void {
  const index = shape.map(() => 0), size = sizeOf(shape);
  for (let position = 0; position < size; position++) {
    f(index, position);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (++index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
}

function offset(index: readonly number[], strides: readonly number[]): number {
  let at = 0;
  for (let i = 0; i < strides.length; i++) at += index[i]! * strides[i]!;
  return at;
}

/** Element by element; integers wrap to the result's dtype. */
function each<P extends Primitive>(f: (node: Node<P>) => (...x: number[]) => number): Rule<P> {
  return (node, inputs) => {
    const result = new Float64Array(sizeOf(node.shape)), g = f(node);
    const wrap = wrappers[node.dtype];
    for (let i = 0; i < result.length; i++) {
      result[i] = wrap(g(...inputs.map((input) => input.data[i]!)));
    }
    return result;
  };
}

const wrappers: { readonly [D in DType]: (x: number) => number } = {
  f32: (x) => x,
  f16: (x) => x,
  i32: (x) => x | 0,
  u32: (x) => x >>> 0,
  bool: (x) => x !== 0 ? 1 : 0,
};

const unary = <P extends Primitive>(f: (x: number) => number): Rule<P> => each(() => f);
const binary = <P extends Primitive>(f: (a: number, b: number) => number): Rule<P> => each(() => f);
const compare = <P extends Primitive>(f: (a: number, b: number) => boolean): Rule<P> =>
  each(() => (a, b) => f(a!, b!) ? 1 : 0);

/** Moves: each element of the result is the input's element at some index, or a constant. */
function move<P extends Primitive>(
  from: (node: Node<P>, index: readonly number[], x: Value) => readonly number[] | number,
): Rule<P> {
  return (node, [x]) => {
    const result = new Float64Array(sizeOf(node.shape)), strides = stridesOf(x!.shape);
    forEachIndex(node.shape, (index, position) => {
      const source = from(node, index, x!);
      result[position] = typeof source === "number" ? source : x!.data[offset(source, strides)]!;
    });
    return result;
  };
}

function reduction<P extends "sum" | "prod" | "reduceMax" | "reduceMin">(
  start: (dtype: DType) => number,
  f: (a: number, b: number, dtype: DType) => number,
): Rule<P> {
  return (node, [x]) => {
    const result = new Float64Array(sizeOf(node.shape)).fill(start(node.dtype));
    const { axes } = node.attributes as { readonly axes: readonly number[] };
    const strides = stridesOf(node.shape).map((s, i) => axes.includes(i) ? 0 : s);
    const wrap = wrappers[node.dtype];
    forEachIndex(x!.shape, (index, position) => {
      const at = offset(index, strides);
      result[at] = wrap(f(result[at]!, x!.data[position]!, node.dtype));
    });
    return result;
  };
}

function halfEven(x: number): number {
  const low = Math.floor(x), rest = x - low;
  if (rest !== 0.5) return Number.isInteger(x) ? x : rest > 0.5 ? low + 1 : low;
  return low % 2 === 0 ? low : low + 1;
}

/** The series below 2, Lentz's continued fraction of the complement above. */
export function erf(x: number): number {
  if (Number.isNaN(x)) return NaN;
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  if (z < 2) {
    let term = z, sum = z;
    for (let n = 1; n < 200; n++) {
      term *= -z * z / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * sum * 2 / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 200; n >= 1; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
}

/** C's pow: 1^NaN, NaN^0 and (-1)^±∞ are 1. */
function pow(a: number, b: number): number {
  if (a === 1 || b === 0 || (a === -1 && Math.abs(b) === Infinity)) return 1;
  return Math.pow(a, b);
}

/** The remainder with the sign of the divisor; an integer's by 0 is 0. */
function mod(a: number, b: number, dtype: DType): number {
  if (!isFloat(dtype) && b === 0) return 0;
  const rest = a % b;
  return rest !== 0 && (rest < 0) !== (b < 0) ? rest + b : rest;
}

function convert(x: number, from: DType, to: DType): number {
  if (to === "bool") return x !== 0 ? 1 : 0;
  if (isFloat(to)) return x;
  if (!isFloat(from)) return wrappers[to](x);
  if (Number.isNaN(x)) return 0;
  const [low, high] = to === "i32" ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  return Math.min(high, Math.max(low, Math.trunc(x))) + 0;
}

const words = new DataView(new ArrayBuffer(4));
const bits: {
  readonly [D in DType]: { readonly set: (x: number) => void; readonly get: () => number };
} = {
  f32: { set: (x) => words.setFloat32(0, x), get: () => words.getFloat32(0) },
  f16: { set: (x) => words.setFloat16(0, x), get: () => words.getFloat16(0) },
  i32: { set: (x) => words.setInt32(0, x), get: () => words.getInt32(0) },
  u32: { set: (x) => words.setUint32(0, x), get: () => words.getUint32(0) },
  bool: { set: () => {}, get: () => NaN },
};

/** The table: one row for each primitive. */
export const oracle: { readonly [P in Exclude<Primitive, "call" | "loop" | "project">]: Rule<P> } =
  {
    leaf: (node) => {
      const { state } = node.attributes.storage;
      if (state.at !== "host") throw new Error(`Cannot evaluate: a leaf is ${state.at}, feed it`);
      return Float64Array.from(state.data);
    },
    parameter: (node) => {
      throw new Error(`Cannot evaluate: parameter ${node.attributes.index} has no value, feed it`);
    },
    fill: (node) => new Float64Array(sizeOf(node.shape)).fill(node.attributes.value),
    iota: (node) => {
      const result = new Float64Array(sizeOf(node.shape));
      forEachIndex(
        node.shape,
        (index, position) => result[position] = index[node.attributes.axis]!,
      );
      return result;
    },

    neg: unary((x) => -x),
    abs: unary(Math.abs),
    sign: unary(Math.sign),
    floor: unary(Math.floor),
    ceil: unary(Math.ceil),
    round: unary(halfEven),
    sqrt: unary(Math.sqrt),
    exp: unary(Math.exp),
    log: unary(Math.log),
    sin: unary(Math.sin),
    cos: unary(Math.cos),
    atan: unary(Math.atan),
    tanh: unary(Math.tanh),
    erf: unary(erf),
    not: each((node) => node.dtype === "bool" ? (x) => 1 - x! : (x) => ~x!),
    cast: each((node) => (x) => convert(x!, node.inputs[0]!.dtype, node.dtype)),
    bitcast: each((node) => (x) => {
      bits[node.inputs[0]!.dtype].set(x!);
      return bits[node.dtype].get();
    }),
    barrier: unary((x) => x),
    mark: unary((x) => x),
    again: unary((x) => x),
    hold: unary((x) => x),
    name: unary((x) => x),
    stop: unary((x) => x),

    add: binary((a, b) => a + b),
    sub: binary((a, b) => a - b),
    mul: each((node) => isFloat(node.dtype) ? (a, b) => a! * b! : (a, b) => Math.imul(a!, b!)),
    div: binary((a, b) => a / b),
    // By 0: the dividend, as WGSL has it.
    floorDiv: binary((a, b) => b === 0 ? a : Math.floor(a / b)),
    mod: each((node) => (a, b) => mod(a!, b!, node.dtype)),
    pow: binary(pow),
    max: binary(Math.max),
    min: binary(Math.min),
    and: binary((a, b) => a & b),
    or: binary((a, b) => a | b),
    xor: binary((a, b) => a ^ b),
    shiftLeft: binary((a, b) => a << (b & 31)),
    shiftRight: each((node) =>
      node.dtype === "i32" ? (a, b) => a! >> (b! & 31) : (a, b) => a! >>> (b! & 31)
    ),
    equal: compare((a, b) => a === b),
    notEqual: compare((a, b) => a !== b),
    less: compare((a, b) => a < b),
    lessEqual: compare((a, b) => a <= b),
    where: each(() => (c, a, b) => c !== 0 ? a! : b!),

    reshape: (_, [x]) => x!.data.slice(),
    permute: move((node, index, x) => {
      const source = x.shape.map(() => 0);
      node.attributes.order.forEach((axis, i) => source[axis] = index[i]!);
      return source;
    }),
    broadcast: move((_, index, x) => index.map((i, axis) => x.shape[axis] === 1 ? 0 : i)),
    slice: move(({ attributes: { start, step } }, index) =>
      index.map((i, axis) => start[axis]! + i * step[axis]!)
    ),
    pad: move(({ attributes: { before, value } }, index, x) => {
      const source = index.map((i, axis) => i - before[axis]!);
      return source.every((i, axis) => i >= 0 && i < x.shape[axis]!) ? source : value;
    }),
    flip: move(({ attributes: { axes } }, index, x) =>
      index.map((i, axis) => axes.includes(axis) ? x.shape[axis]! - 1 - i : i)
    ),
    concatenate: (node, inputs) => {
      const { axis } = node.attributes;
      const result = new Float64Array(sizeOf(node.shape)), strides = stridesOf(node.shape);
      let before = 0;
      for (const x of inputs) {
        forEachIndex(x.shape, (index, position) => {
          result[offset(index, strides) + before * strides[axis]!] = x.data[position]!;
        });
        before += x.shape[axis]!;
      }
      return result;
    },

    window: move(({ attributes: { size, step, dilation } }, index) => {
      const rank = size.length, lead = index.length - 2 * rank;
      return [
        ...index.slice(0, lead),
        ...size.map((_, i) => index[lead + i]! * step[i]! + index[lead + rank + i]! * dilation[i]!),
      ];
    }),

    sum: reduction(() => 0, (a, b) => a + b),
    prod: reduction(() => 1, (a, b, dtype) => isFloat(dtype) ? a * b : Math.imul(a, b)),
    reduceMax: reduction(
      (d) => d === "i32" ? -(2 ** 31) : d === "u32" ? 0 : -Infinity,
      (a, b) => Math.max(a, b),
    ),
    reduceMin: reduction(
      (d) => d === "i32" ? 2 ** 31 - 1 : d === "u32" ? 2 ** 32 - 1 : Infinity,
      (a, b) => Math.min(a, b),
    ),

    dot: (node, [a, b]) => {
      const [batch, m, n] = node.shape as [number, number, number], k = a!.shape[2]!;
      const result = new Float64Array(batch * m * n);
      for (let p = 0; p < batch; p++) {
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            let sum = 0;
            for (let l = 0; l < k; l++) {
              sum += a!.data[(p * m + i) * k + l]! * b!.data[(p * k + l) * n + j]!;
            }
            result[(p * m + i) * n + j] = sum;
          }
        }
      }
      return result;
    },

    convolve: (node, [x, w]) => {
      const { step, dilation, spread, before } = node.attributes, rank = step.length;
      const result = new Float64Array(sizeOf(node.shape));
      const [sx, sw] = [stridesOf(x!.shape), stridesOf(w!.shape)];
      const taps = w!.shape.slice(1, rank + 1), channels = x!.shape.at(-1)!;
      forEachIndex(node.shape, (index, position) => {
        const group = index[0]!, output = index.at(-1)!;
        forEachIndex(taps, (tap) => {
          let from = group * sx[0]! + index[1]! * sx[1]!, at = group * sw[0]!;
          for (let i = 0; i < rank; i++) {
            const p = index[2 + i]! * step[i]! + tap[i]! * dilation[i]! - before[i]!;
            if (p < 0 || p % spread[i]! !== 0 || p / spread[i]! >= x!.shape[2 + i]!) return;
            from += p / spread[i]! * sx[2 + i]!;
            at += tap[i]! * sw[1 + i]!;
          }
          for (let c = 0; c < channels; c++) {
            result[position]! += x!.data[from + c]! * w!.data[at + c * sw[rank + 1]! + output]!;
          }
        });
      });
      return result;
    },

    gather: (node, [x, index]) => {
      const rows = x!.shape[0]!, row = sizeOf(x!.shape.slice(1));
      const result = new Float64Array(sizeOf(node.shape)).fill(isFloat(node.dtype) ? NaN : 0);
      index!.data.forEach((at, i) => {
        if (at < 0 || at >= rows) return;
        result.set(x!.data.subarray(at * row, (at + 1) * row), i * row);
      });
      return result;
    },
    kernel: ({ attributes: { source } }) => {
      throw new Error(`Cannot evaluate kernel ${source.name}: it is WGSL, expected a device`);
    },
    scatterAdd: (node, [updates, index]) => {
      const { size } = node.attributes, row = sizeOf(node.shape.slice(1));
      const result = new Float64Array(size * row), wrap = wrappers[node.dtype];
      index!.data.forEach((at, i) => {
        if (at < 0 || at >= size) return;
        for (let j = 0; j < row; j++) {
          result[at * row + j] = wrap(result[at * row + j]! + updates!.data[i * row + j]!);
        }
      });
      return result;
    },
  };
