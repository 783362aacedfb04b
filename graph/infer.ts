/**
 * Shape and dtype of every primitive's result: one row each, used when a node is built and again
 * by the verifier. A row gets the operands, the attributes and what the builder asks for (`wanted`,
 * which decides only where operands can't: the shape of a reshape, the dtype of a cast, or that a
 * product of f16 is wanted before it is rounded) and returns
 * the result, or throws an error that names the operation, or the action that it is part of.
 *
 * @module
 */
import { fail } from "./describe.ts";
import { type DType, dtypes } from "./dtype.ts";
import { loopResults } from "./loops/results.ts";
import { type Aval, showAval } from "./node.ts";
import { type Attributes, type Domain, type Primitive, signatures } from "./primitive.ts";
import { broadcastShapes, checkShape, sameShape, type Shape, showShape, sizeOf } from "./shape.ts";

/** The rule of one primitive. */
export type Infer<P extends Primitive> = (
  inputs: readonly Aval[],
  attributes: Attributes[P],
  wanted: Aval,
  action?: string,
) => Aval;

/** What a domain admits, with the words for an error. */
const domains: {
  readonly [D in Domain]: { readonly words: string; readonly has: (dtype: DType) => boolean };
} = {
  any: { words: "any dtype", has: () => true },
  number: { words: "a number (f32, f16, i32, u32)", has: (d) => d !== "bool" },
  float: { words: "a float (f32, f16)", has: (d) => dtypes[d].float },
  integer: { words: "an integer (i32, u32)", has: (d) => dtypes[d].integer },
  logical: { words: "bool or an integer", has: (d) => !dtypes[d].float },
};

function elementwise<P extends Primitive>(op: P): Infer<P> {
  const { domain, result } = signatures[op]!;
  return (inputs, _, __, action = op) => {
    const [a, b] = inputs;
    if (!domains[domain].has(a!.dtype)) {
      fail(action, `operand is ${a!.dtype}`, domains[domain].words);
    }
    if (b !== undefined) {
      if (a!.dtype !== b.dtype) {
        fail(action, `dtypes are ${a!.dtype} and ${b.dtype}`, "equal dtypes");
      }
      sameShapes(action, inputs);
    }
    return { shape: a!.shape, dtype: result === "same" ? a!.dtype : result };
  };
}

function sameShapes(op: string, inputs: readonly Aval[]): void {
  if (inputs.every(({ shape }) => sameShape(shape, inputs[0]!.shape))) return;
  const shapes = inputs.map(({ shape }) => showShape(shape));
  fail(op, `shapes are ${shapes.join(" and ")}`, "equal shapes");
}

/** Reductions keep the reduced axes, with size 1. */
function reduce(
  op: "sum" | "prod" | "reduceMax" | "reduceMin",
): Infer<"sum" | "prod" | "reduceMax" | "reduceMin"> {
  return ([x], { axes }) => {
    if (x!.dtype === "bool") fail(op, "operand is bool", domains.number.words);
    for (const axis of axes) {
      if (!(axis >= 0 && axis < x!.shape.length)) {
        fail(op, `axis is ${axis}`, `an axis of ${showShape(x!.shape)}`);
      }
    }
    return { shape: x!.shape.map((n, i) => axes.includes(i) ? 1 : n), dtype: x!.dtype };
  };
}

/** Sums of f16 are kept in f32; they may be asked for as they are. */
function unrounded({ dtype }: Aval, wanted: Aval): DType {
  return dtype === "f16" && wanted.dtype === "f32" ? "f32" : dtype;
}

const asWanted = (_: readonly Aval[], __: unknown, wanted: Aval): Aval => wanted;

/** The table: how each primitive's result follows from its operands. */
export const infer: { readonly [P in Primitive]: Infer<P> } = {
  leaf: (_, { storage }, wanted) => {
    if (storage.size !== sizeOf(wanted.shape)) {
      fail(
        "make a tensor",
        `${storage.size} values for shape ${showShape(wanted.shape)}`,
        `${sizeOf(wanted.shape)} values`,
      );
    }
    return { shape: wanted.shape, dtype: storage.dtype };
  },
  parameter: asWanted,
  fill: asWanted,
  iota: (_, { axis }, wanted) => {
    if (wanted.dtype === "bool") fail("iota", "dtype is bool", domains.number.words);
    if (!(axis >= 0 && axis < wanted.shape.length)) {
      fail("iota", `axis is ${axis}`, `an axis of ${showShape(wanted.shape)}`);
    }
    return wanted;
  },
  neg: elementwise("neg"),
  abs: elementwise("abs"),
  sign: elementwise("sign"),
  floor: elementwise("floor"),
  ceil: elementwise("ceil"),
  round: elementwise("round"),
  sqrt: elementwise("sqrt"),
  exp: elementwise("exp"),
  log: elementwise("log"),
  sin: elementwise("sin"),
  cos: elementwise("cos"),
  atan: elementwise("atan"),
  tanh: elementwise("tanh"),
  erf: elementwise("erf"),
  not: elementwise("not"),
  cast: ([x], _, wanted) => ({ shape: x!.shape, dtype: wanted.dtype }),
  bitcast: ([x], _, wanted) => {
    const from = x!.dtype, to = wanted.dtype;
    if (from === "bool" || to === "bool" || dtypes[from].bytes !== dtypes[to].bytes) {
      fail("bitcast", `${from} to ${to}`, "numbers of equal width");
    }
    return { shape: x!.shape, dtype: to };
  },
  barrier: elementwise("barrier"),
  mark: elementwise("mark"),
  again: elementwise("again"),
  hold: elementwise("hold"),
  name: elementwise("name"),
  stop: elementwise("stop"),
  add: elementwise("add"),
  sub: elementwise("sub"),
  mul: elementwise("mul"),
  div: elementwise("div"),
  floorDiv: elementwise("floorDiv"),
  mod: elementwise("mod"),
  pow: elementwise("pow"),
  max: elementwise("max"),
  min: elementwise("min"),
  and: elementwise("and"),
  or: elementwise("or"),
  xor: elementwise("xor"),
  shiftLeft: elementwise("shiftLeft"),
  shiftRight: elementwise("shiftRight"),
  equal: elementwise("equal"),
  notEqual: elementwise("notEqual"),
  less: elementwise("less"),
  lessEqual: elementwise("lessEqual"),
  where: (inputs) => {
    const [condition, a, b] = inputs;
    if (condition!.dtype !== "bool") {
      fail("where", `the condition is ${condition!.dtype}`, "bool");
    }
    if (a!.dtype !== b!.dtype) {
      fail("where", `the branches are ${a!.dtype} and ${b!.dtype}`, "equal dtypes");
    }
    sameShapes("where", inputs);
    return { shape: a!.shape, dtype: a!.dtype };
  },
  reshape: ([x], _, wanted) => {
    if (sizeOf(x!.shape) !== sizeOf(wanted.shape)) {
      fail(
        "reshape",
        `${showShape(x!.shape)} to ${showShape(wanted.shape)}`,
        `a shape of ${sizeOf(x!.shape)} elements`,
      );
    }
    return { shape: wanted.shape, dtype: x!.dtype };
  },
  permute: ([x], { order }, _, action = "permute") => {
    const sorted = [...order].sort((a, b) => a - b);
    if (order.length !== x!.shape.length || sorted.some((axis, i) => axis !== i)) {
      fail(
        action,
        `order is ${showShape(order)} for shape ${showShape(x!.shape)}`,
        "each axis once",
      );
    }
    return { shape: order.map((axis) => x!.shape[axis]!), dtype: x!.dtype };
  },
  broadcast: ([x], _, wanted) => {
    const from = x!.shape, to = wanted.shape;
    if (from.length !== to.length || from.some((n, i) => n !== to[i] && n !== 1)) {
      fail("broadcast", `${showShape(from)} to ${showShape(to)}`, "sizes equal or 1");
    }
    return { shape: to, dtype: x!.dtype };
  },
  slice: ([x], { start, step }, wanted) => {
    const ok = start.length === x!.shape.length && step.length === start.length &&
      wanted.shape.length === start.length && start.every((s, i) => {
        const n = wanted.shape[i]!;
        return s >= 0 && step[i]! >= 1 && (n === 0 || s + (n - 1) * step[i]! < x!.shape[i]!);
      });
    if (!ok) {
      fail(
        "slice",
        `start ${showShape(start)}, step ${showShape(step)}, size ${showShape(wanted.shape)}`,
        `a window inside ${showShape(x!.shape)}`,
      );
    }
    return { shape: wanted.shape, dtype: x!.dtype };
  },
  pad: ([x], { before, after }) => {
    const rank = x!.shape.length;
    if (
      before.length !== rank || after.length !== rank || [...before, ...after].some((n) => n < 0)
    ) {
      fail(
        "pad",
        `widths are ${showShape(before)} and ${showShape(after)}`,
        `${rank} non-negative widths on each side`,
      );
    }
    return { shape: x!.shape.map((n, i) => n + before[i]! + after[i]!), dtype: x!.dtype };
  },
  flip: ([x], { axes }) => {
    if (axes.some((axis) => !(axis >= 0 && axis < x!.shape.length))) {
      fail("flip", `axes are ${showShape(axes)}`, `axes of ${showShape(x!.shape)}`);
    }
    return { shape: x!.shape, dtype: x!.dtype };
  },
  concatenate: (inputs, { axis }) => {
    const [first] = inputs;
    let total = 0;
    for (const { shape, dtype } of inputs) {
      const fits = shape.length === first!.shape.length && axis < shape.length &&
        shape.every((n, i) => i === axis || n === first!.shape[i]);
      if (!fits || dtype !== first!.dtype) {
        fail(
          "concatenate",
          inputs.map(showAval).join(" and ") + ` along axis ${axis}`,
          "equal dtypes, and shapes equal but for that axis",
        );
      }
      total += shape[axis]!;
    }
    const shape = first!.shape.map((n, i) => i === axis ? total : n);
    checkShape(shape, "concatenate");
    return { shape, dtype: first!.dtype };
  },
  window: ([x], { size, step, dilation }) => {
    const rank = size.length, lead = x!.shape.length - rank;
    const whole = [...size, ...step, ...dilation].every((n) => Number.isInteger(n) && n >= 1);
    if (lead < 0 || step.length !== rank || dilation.length !== rank || !whole) {
      fail(
        "window",
        `size ${showShape(size)}, step ${showShape(step)}, dilation ${showShape(dilation)} on ` +
          showShape(x!.shape),
        "positive integers, one for each of the last axes",
      );
    }
    const counts = size.map((k, i) => placesOn(x!.shape[lead + i]!, k, step[i]!, dilation[i]!));
    return { shape: [...x!.shape.slice(0, lead), ...counts, ...size], dtype: x!.dtype };
  },
  sum: reduce("sum"),
  prod: reduce("prod"),
  reduceMax: reduce("reduceMax"),
  reduceMin: reduce("reduceMin"),
  dot: ([a, b], _, wanted) => {
    const [p, m, k] = a!.shape, [q, l, n] = b!.shape;
    if (a!.shape.length !== 3 || b!.shape.length !== 3 || p !== q || k !== l) {
      fail(
        "matmul",
        `shapes are ${showShape(a!.shape)} and ${showShape(b!.shape)}`,
        "[b,m,k] and [b,k,n]",
      );
    }
    if (a!.dtype !== b!.dtype || !dtypes[a!.dtype].float) {
      fail("matmul", `dtypes are ${a!.dtype} and ${b!.dtype}`, "equal float dtypes");
    }
    return { shape: [p!, m!, n!], dtype: unrounded(a!, wanted) };
  },
  convolve: ([x, w], attributes) => convolved(x!, w!, attributes),
  gather: ([x, index]) => {
    if (!dtypes[index!.dtype].integer) {
      fail("gather", `the index is ${index!.dtype}`, "an integer (i32, u32)");
    }
    if (x!.shape.length === 0) fail("gather", "the operand is a scalar", "at least one axis");
    return { shape: [...index!.shape, ...x!.shape.slice(1)], dtype: x!.dtype };
  },
  scatterAdd: ([updates, index, ...more], { size, sorted }, wanted) => {
    if (sorted ? more.length < 1 || more.length > 2 : more.length > 0) {
      const expected = sorted ? "updates, order, starts and perhaps sums" : "updates and index";
      fail("scatterAdd", `there are ${2 + more.length} operands`, expected);
    }
    if (!dtypes[index!.dtype].integer) {
      fail("scatterAdd", `the index is ${index!.dtype}`, "an integer (i32, u32)");
    }
    if (updates!.dtype === "bool") fail("scatterAdd", "updates are bool", domains.number.words);
    const lead = updates!.shape.slice(0, index!.shape.length);
    if (showShape(lead) !== showShape(index!.shape)) {
      fail(
        "scatterAdd",
        `updates ${showShape(updates!.shape)} by index ${showShape(index!.shape)}`,
        "updates that begin with the index's shape",
      );
    }
    const shape = [size, ...updates!.shape.slice(index!.shape.length)];
    return { shape, dtype: unrounded(updates!, wanted) };
  },
  kernel: (_, { shape, dtype }) => ({ shape, dtype }),
  call: (inputs, { graph, name }) => {
    const { parameters } = graph;
    if (
      inputs.length !== parameters.length ||
      inputs.some((x, i) =>
        x.dtype !== parameters[i]!.dtype || showShape(x.shape) !== showShape(parameters[i]!.shape)
      )
    ) {
      fail(
        `call ${name}`,
        inputs.map(showAval).join(", "),
        parameters.map(showAval).join(", "),
      );
    }
    return { shape: [], dtype: "f32" };
  },
  loop: (inputs, attributes) => {
    loopResults(inputs, attributes);
    return { shape: [], dtype: "f32" };
  },
  project: ([call], { index }, wanted) => {
    const result = (call as { results?: readonly Aval[] }).results?.[index];
    if (result === undefined) fail("project", `result ${index}`, "a result that its operand has");
    return { shape: result.shape, dtype: wanted.dtype };
  },
};

/** Places that a window has on an axis of n elements. */
function placesOn(n: number, size: number, step: number, dilation: number): number {
  const extent = (size - 1) * dilation + 1;
  return n < extent ? 0 : Math.floor((n - extent) / step) + 1;
}

function convolved(x: Aval, w: Aval, attributes: Attributes["convolve"]): Aval {
  const { step, dilation, spread, before, after } = attributes, rank = step.length;
  const lists = [dilation, spread, before, after];
  const [groups, batch] = x.shape as [number, number], channels = x.shape.at(-1);
  const fits = x.shape.length === rank + 3 && w.shape.length === rank + 3 &&
    lists.every((list) => list.length === rank) && w.shape[0] === groups &&
    w.shape.at(-2) === channels;
  if (!fits) {
    fail(
      "convolve",
      `shapes are ${showShape(x.shape)} and ${showShape(w.shape)}`,
      `[g,b,…s,c] and [g,…k,c,o] with ${rank} spatial axes`,
    );
  }
  if (x.dtype !== w.dtype || !dtypes[x.dtype].float) {
    fail("convolve", `dtypes are ${x.dtype} and ${w.dtype}`, "equal float dtypes");
  }
  if (
    [...step, ...dilation, ...spread].some((n) => !(Number.isInteger(n) && n >= 1)) ||
    [...before, ...after].some((n) => !Number.isInteger(n))
  ) {
    fail(
      "convolve",
      `step ${showShape(step)}, dilation ${showShape(dilation)}, spread ${showShape(spread)}, ` +
        `padding ${showShape(before)} and ${showShape(after)}`,
      "positive integers, and any integers for the padding",
    );
  }
  const places = step.map((s, i) => {
    const n = x.shape[2 + i]!, size = w.shape[1 + i]!;
    const wide = (n === 0 ? 0 : (n - 1) * spread[i]! + 1) + before[i]! + after[i]!;
    return size === 0 ? Math.max(0, wide) : placesOn(wide, size, s, dilation[i]!);
  });
  return { shape: [groups, batch, ...places, w.shape.at(-1)!], dtype: x.dtype };
}

/** The broadcast shape of operands, or an error in the name of the operation. */
export function broadcastOrThrow(action: string, inputs: readonly Aval[]): Shape {
  const shape = broadcastShapes(...inputs.map((i) => i.shape));
  if (shape === undefined) {
    fail(
      action,
      `shapes are ${inputs.map((i) => showShape(i.shape)).join(" and ")}`,
      "shapes that broadcast (sizes equal or 1, aligned at the last axis)",
    );
  }
  return shape;
}
