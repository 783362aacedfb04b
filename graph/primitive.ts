/**
 * The closed table of primitives: everything a graph can be made of. Each has a kind, which is all
 * that most passes look at, and a type of attributes. Every transform and every backend is a table
 * `{ [P in Primitive]: … }` over this one, so that a missing rule is a type error.
 *
 * Shapes are explicit: operands of an element-wise primitive have equal shapes (broadcasting is a
 * node of its own), reductions keep the reduced axes with size 1.
 *
 * @module
 */
import type { Demands } from "./check.ts";
import type { DType } from "./dtype.ts";
import type { Kept, Outside, Plan, Recording, Replay } from "./loops/replay.ts";
import type { Graph } from "./node.ts";
import type { Shape } from "./shape.ts";
import type { Storage } from "./storage.ts";

/** No attributes. */
export type None = Readonly<Record<never, never>>;

/** A differentiation rule that a user gave with `customVjp`; typed loosely here, used in vjp.ts. */
export interface CustomRule {
  /** Names the rule in printed graphs. */
  readonly name: string;
  /** Cotangents of the inputs, from inputs, results and cotangents of the results. */
  readonly pull: unknown;
  /** The rule gives what the body's own derivative is, so forward mode may look inside. */
  readonly open?: boolean;
}

/** How windows lie on the last axes: one number for each axis. */
export interface Window {
  /** Elements of a window. */
  readonly size: readonly number[];
  /** From one window to the next. */
  readonly step: readonly number[];
  /** From one element of a window to the next. */
  readonly dilation: readonly number[];
}

/** How kernels lie on the spatial axes: one number for each axis. */
export interface Convolution {
  /** From one place of the kernel to the next. */
  readonly step: readonly number[];
  /** From one tap of the kernel to the next. */
  readonly dilation: readonly number[];
  /** From one element of the input to the next, zeros between: a fractional step. */
  readonly spread: readonly number[];
  /** Zeros around the (spread) input; where negative, elements cut off. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** A user's kernel, as far as a program has to know it; see kernel.ts. */
export interface KernelSource {
  /** What it is called in errors and profiles. */
  readonly name: string;
  /** WGSL with an entry point `main` and no declarations of buffers. */
  readonly wgsl: string;
  /** Names of the buffers that it reads. */
  readonly inputs: readonly string[];
  /** Those of all buffers that are arrays of vec4. */
  readonly vectors: readonly string[];
}

/** Attributes by primitive. */
export interface Attributes {
  /** Data that lives on the device (or waits on the host to be uploaded). */
  leaf: { readonly storage: Storage };
  /** A placeholder: an argument of the function being traced. */
  parameter: { readonly index: number; readonly unique: number };
  /** One value everywhere. */
  fill: { readonly value: number };
  /** The position along an axis: 0, 1, 2 … */
  iota: { readonly axis: number };

  neg: None;
  abs: None;
  sign: None;
  floor: None;
  ceil: None;
  /** To the nearest integer, ties to even. */
  round: None;
  sqrt: None;
  exp: None;
  log: None;
  sin: None;
  cos: None;
  /** The arc tangent, in [-π/2, π/2]. */
  atan: None;
  tanh: None;
  erf: None;
  /** Logical not of bool, bitwise not of integers. */
  not: None;
  cast: None;
  /** The same bits read as another type of equal width. */
  bitcast: None;
  /** The identity, which no driver may see through: the value keeps the bits it was computed with. */
  barrier: None;
  /** The identity by which a transform finds its own inputs again; each is equal only to itself. */
  mark: { readonly unique: number };
  /**
   * The identity on what the way back of a checkpoint begins from: what is computed from it was
   * computed before, and is to be computed again rather than held. One group for one way back. With
   * a store, the value itself waits there, outside of the device, until the way back reads it.
   */
  again: { readonly group: number; readonly store?: Outside };
  /**
   * The identity on what a way back reads instead of what it was made from: it is in memory from
   * the way forward on. The label says what it is; an estimate makes the gradient one.
   */
  hold: { readonly label: string; readonly estimate: boolean };
  /** The identity that gives a value a name for policies to see. */
  name: { readonly label: string };
  /** The identity with no derivative. */
  stop: None;

  add: None;
  sub: None;
  mul: None;
  /** Floats only. */
  div: None;
  /** Integers only: the quotient rounded down. */
  floorDiv: None;
  /** The remainder with the sign of the divisor. */
  mod: None;
  pow: None;
  /** NaN if either is. */
  max: None;
  min: None;
  and: None;
  or: None;
  xor: None;
  shiftLeft: None;
  /** Arithmetic for i32, logical for u32. */
  shiftRight: None;
  equal: None;
  notEqual: None;
  less: None;
  lessEqual: None;
  /** select(condition, whenTrue, whenFalse) */
  where: None;

  reshape: None;
  /** Axis i of the result is axis order[i] of the input. */
  permute: { readonly order: readonly number[] };
  /** Axes of size 1 grow to the result's shape; the rank stays. */
  broadcast: None;
  /** result[i] = input[start + i·step], per axis; steps are positive. */
  slice: { readonly start: readonly number[]; readonly step: readonly number[] };
  pad: {
    readonly before: readonly number[];
    readonly after: readonly number[];
    readonly value: number;
  };
  flip: { readonly axes: readonly number[] };
  concatenate: { readonly axis: number };
  /** Windows over the last axes: result[…, i…, k…] = input[…, i·step + k·dilation …]. */
  window: Window;

  sum: { readonly axes: readonly number[] };
  prod: { readonly axes: readonly number[] };
  reduceMax: { readonly axes: readonly number[] };
  reduceMin: { readonly axes: readonly number[] };

  /** [b,m,k] × [b,k,n] → [b,m,n]; floats, accumulated in f32, k ascending; f16 gives f16 or f32. */
  dot: None;
  /**
   * [g,b,…s,c] with kernels [g,…k,c,o] → [g,b,…n,o], a sum over taps and channels; floats,
   * accumulated in f32. Zeros go between elements (`spread` - 1 of them), then around them.
   */
  convolve: Convolution;

  /** Rows operand[index]: [n,…r] by [...i] → [...i,…r]; an index outside reads NaN (integers: 0). */
  gather: None;
  /** Sums update rows by index: [...i,…r] by [...i] → [size,…r]; an index outside is dropped; f16 gives f16 or f32. */
  scatterAdd: {
    readonly size: number;
    /**
     * Lowered: operands are the updates, [count,…r], the order of their numbers by row, [count], where
     * each row's begin in it, [size+1], and what they are added to, if anything, [size,…r].
     */
    readonly sorted?: true;
  };

  /** A user's own shader: one dispatch over its inputs, as they are, into a result of its own. */
  kernel: {
    readonly source: KernelSource;
    readonly shape: Shape;
    readonly dtype: DType;
    readonly workgroups: readonly [x: number, y: number, z: number];
  };

  /** A traced function applied to inputs: a boundary that rules and policies can see. */
  call: { readonly graph: Graph; readonly name: string; readonly rule?: CustomRule };
  /** A body run `length` times: carries go round, stacked operands are read and written by rows. */
  loop: {
    /**
     * Parameters: carries…, rows of stacked operands…, constants…, and of a way back the state…;
     * results: carries…, rows of stacked results…
     */
    readonly body: Graph;
    readonly length: number;
    /** How many of the inputs (and results) are carries. */
    readonly carries: number;
    /** How many inputs after them are stacked, [length, …row]. */
    readonly stacked: number;
    /** Steps take (and write) rows from the last to the first. */
    readonly reverse: boolean;
    /**
     * The carry, a bool scalar, that says whether steps still change anything: once it is false
     * they change none of the results, so that whoever runs the loop may leave them out.
     */
    readonly running?: number | undefined;
    /** Further results: carries as they were before a step, or before every step, stacked. */
    readonly kept: readonly Kept[];
    /** How its gradient gets the states; undefined if by stacking them. */
    readonly plan: Plan | undefined;
    /**
     * The inverse of the body, over the same parameters, for plans that invert: the carries before
     * the step, then a flag for each of its `demands`.
     */
    readonly invert: Graph | undefined;
    /** What the inverse checks. */
    readonly demands?: Demands | undefined;
    /** Set if it is the way back of another loop. */
    readonly replay: Replay | undefined;
    /** What its steps record for a way back; set while compiling only. */
    readonly record: Recording | undefined;
  };
  /** One result of a `call` or a `loop`. */
  project: { readonly index: number };
}

/** Names of the primitives. */
export type Primitive = keyof Attributes;

/**
 * What passes need to tell primitives apart by: leaves, unary/binary/ternary element-wise,
 * movement (index arithmetic only), reductions, and the rest by name.
 */
export type Kind =
  | "leaf"
  | "unary"
  | "binary"
  | "ternary"
  | "movement"
  | "reduce"
  | "contract"
  | "gather"
  | "scatter"
  | "kernel"
  | "call"
  | "loop";

/** The kind of each primitive. */
export const kinds: { readonly [P in Primitive]: Kind } = {
  leaf: "leaf",
  parameter: "leaf",
  fill: "leaf",
  iota: "leaf",
  neg: "unary",
  abs: "unary",
  sign: "unary",
  floor: "unary",
  ceil: "unary",
  round: "unary",
  sqrt: "unary",
  exp: "unary",
  log: "unary",
  sin: "unary",
  cos: "unary",
  atan: "unary",
  tanh: "unary",
  erf: "unary",
  not: "unary",
  cast: "unary",
  bitcast: "unary",
  barrier: "unary",
  mark: "unary",
  again: "unary",
  hold: "unary",
  name: "unary",
  stop: "unary",
  add: "binary",
  sub: "binary",
  mul: "binary",
  div: "binary",
  floorDiv: "binary",
  mod: "binary",
  pow: "binary",
  max: "binary",
  min: "binary",
  and: "binary",
  or: "binary",
  xor: "binary",
  shiftLeft: "binary",
  shiftRight: "binary",
  equal: "binary",
  notEqual: "binary",
  less: "binary",
  lessEqual: "binary",
  where: "ternary",
  reshape: "movement",
  permute: "movement",
  broadcast: "movement",
  slice: "movement",
  pad: "movement",
  flip: "movement",
  concatenate: "movement",
  window: "movement",
  sum: "reduce",
  prod: "reduce",
  reduceMax: "reduce",
  reduceMin: "reduce",
  dot: "contract",
  convolve: "contract",
  gather: "gather",
  scatterAdd: "scatter",
  kernel: "kernel",
  call: "call",
  loop: "loop",
  project: "call",
};

/** True for primitives computed element by element from operands of the same shape. */
export function isElementwise(op: Primitive): boolean {
  const kind = kinds[op];
  return kind === "unary" || kind === "binary" || kind === "ternary";
}

/** Which dtypes an operand of an element-wise primitive may have. */
export type Domain = "any" | "number" | "float" | "integer" | "logical";

/** Operand domain and result dtype of the element-wise primitives; `same` repeats the operand's. */
export const signatures: {
  readonly [P in Primitive]?: { readonly domain: Domain; readonly result: "same" | DType };
} = {
  neg: { domain: "number", result: "same" },
  abs: { domain: "number", result: "same" },
  sign: { domain: "number", result: "same" },
  floor: { domain: "float", result: "same" },
  ceil: { domain: "float", result: "same" },
  round: { domain: "float", result: "same" },
  sqrt: { domain: "float", result: "same" },
  exp: { domain: "float", result: "same" },
  log: { domain: "float", result: "same" },
  sin: { domain: "float", result: "same" },
  cos: { domain: "float", result: "same" },
  atan: { domain: "float", result: "same" },
  tanh: { domain: "float", result: "same" },
  erf: { domain: "float", result: "same" },
  not: { domain: "logical", result: "same" },
  barrier: { domain: "any", result: "same" },
  mark: { domain: "any", result: "same" },
  again: { domain: "any", result: "same" },
  hold: { domain: "any", result: "same" },
  name: { domain: "any", result: "same" },
  stop: { domain: "any", result: "same" },
  add: { domain: "number", result: "same" },
  sub: { domain: "number", result: "same" },
  mul: { domain: "number", result: "same" },
  div: { domain: "float", result: "same" },
  floorDiv: { domain: "integer", result: "same" },
  mod: { domain: "number", result: "same" },
  pow: { domain: "float", result: "same" },
  max: { domain: "number", result: "same" },
  min: { domain: "number", result: "same" },
  and: { domain: "logical", result: "same" },
  or: { domain: "logical", result: "same" },
  xor: { domain: "logical", result: "same" },
  shiftLeft: { domain: "integer", result: "same" },
  shiftRight: { domain: "integer", result: "same" },
  equal: { domain: "any", result: "bool" },
  notEqual: { domain: "any", result: "bool" },
  less: { domain: "number", result: "bool" },
  lessEqual: { domain: "number", result: "bool" },
};
