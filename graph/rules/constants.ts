/**
 * Arithmetic on constants, done once on the host: in float64, then rounded to the dtype. For +, -,
 * ×, ÷ and √ that is the correctly rounded f32 result (float64 has more than twice the digits);
 * elsewhere it is at least as good as a device's. What depends on a device (integer division by
 * zero, wide shifts, pow outside the reals) is not folded.
 *
 * @module
 */
import { fill } from "../build.ts";
import { isFloat } from "../dtype.ts";
import type { DType } from "../dtype.ts";
import type { Node } from "../node.ts";
import { kinds, type Primitive } from "../primitive.ts";
import { constant, type Rule } from "./rule.ts";

/** The value, or undefined where folding would not be safe. */
type Fold = (values: readonly number[], dtype: DType) => number | undefined;

/** Integers wrap at 32 bits. */
function wrap(value: number, dtype: DType): number {
  return dtype === "i32" ? value | 0 : dtype === "u32" ? value >>> 0 : value;
}

function arithmetic(float: (a: number, b: number) => number, product = false): Fold {
  return ([a, b], dtype) => {
    if (product && !isFloat(dtype)) return wrap(Math.imul(a!, b!), dtype);
    return wrap(float(a!, b!), dtype);
  };
}

const unary = (f: (x: number) => number): Fold => ([x], dtype) => wrap(f(x!), dtype);
const bits = (f: (a: number, b: number) => number): Fold => ([a, b], dtype) =>
  dtype === "bool" ? f(a!, b!) & 1 : wrap(f(a!, b!), dtype);
const compare = (f: (a: number, b: number) => boolean): Fold => ([a, b]) => f(a!, b!) ? 1 : 0;
const never: Fold = () => undefined;

/** To the nearest integer, ties to even. */
function roundEven(x: number): number {
  if (Math.abs(x) >= 2 ** 52 || !Number.isFinite(x)) return x;
  const low = Math.floor(x), rest = x - low;
  const up = rest > 0.5 || (rest === 0.5 && low % 2 !== 0);
  const result = up ? low + 1 : low;
  return result === 0 && (x < 0 || Object.is(x, -0)) ? -0 : result;
}

/** Element-wise primitives on numbers; the others are not in the table. */
const folds: { readonly [P in Primitive]?: Fold } = {
  neg: unary((x) => -x),
  abs: unary(Math.abs),
  sign: unary(Math.sign),
  floor: unary(Math.floor),
  ceil: unary(Math.ceil),
  round: unary(roundEven),
  sqrt: unary(Math.sqrt),
  exp: unary(Math.exp),
  log: unary(Math.log),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  tanh: unary(Math.tanh),
  erf: never,
  not: ([x], dtype) => dtype === "bool" ? 1 - x! : wrap(~x!, dtype),
  add: arithmetic((a, b) => a + b),
  sub: arithmetic((a, b) => a - b),
  mul: arithmetic((a, b) => a * b, true),
  div: arithmetic((a, b) => a / b),
  floorDiv: ([a, b], dtype) => b === 0 ? undefined : wrap(Math.floor(a! / b!), dtype),
  mod: ([a, b]) => {
    if (b === 0 || !Number.isFinite(b!) || !Number.isFinite(a!)) return undefined;
    const rest = a! % b!;
    return rest !== 0 && rest < 0 !== b! < 0 ? rest + b! : rest;
  },
  pow: ([a, b]) => {
    const result = Math.pow(a!, b!);
    return Number.isFinite(a!) && Number.isFinite(b!) && Number.isFinite(result)
      ? result
      : undefined;
  },
  max: ([a, b]) => Math.max(a!, b!),
  min: ([a, b]) => Math.min(a!, b!),
  and: bits((a, b) => a & b),
  or: bits((a, b) => a | b),
  xor: bits((a, b) => a ^ b),
  shiftLeft: ([a, b], dtype) => b! >= 0 && b! < 32 ? wrap(a! << b!, dtype) : undefined,
  shiftRight: ([a, b], dtype) => {
    if (b! < 0 || b! >= 32) return undefined;
    return dtype === "i32" ? a! >> b! : a! >>> b!;
  },
  equal: compare((a, b) => a === b),
  notEqual: compare((a, b) => a !== b),
  less: compare((a, b) => a < b),
  lessEqual: compare((a, b) => a <= b),
};

function fold(node: Node): Node | undefined {
  const f = folds[node.op];
  if (f === undefined) return undefined;
  const values: number[] = [];
  for (const input of node.inputs) {
    const value = constant(input);
    if (value === undefined) return undefined;
    values.push(value);
  }
  const result = f(values, node.inputs[0]!.dtype);
  return result === undefined ? undefined : fill(result, node.shape, node.dtype);
}

function foldCast(node: Node): Node | undefined {
  const x = node.inputs[0]!, value = constant(x);
  if (value === undefined) return undefined;
  const integers = !isFloat(x.dtype) && !isFloat(node.dtype) && node.dtype !== "bool";
  return fill(integers ? wrap(value, node.dtype) : value, node.shape, node.dtype);
}

const words = new DataView(new ArrayBuffer(4));

/** Numbers of 32 bits by dtype, for bitcasts. */
const word: {
  readonly [D in DType]?: { readonly set: (x: number) => void; readonly get: () => number };
} = {
  f32: { set: (x) => words.setFloat32(0, x), get: () => words.getFloat32(0) },
  i32: { set: (x) => words.setInt32(0, x), get: () => words.getInt32(0) },
  u32: { set: (x) => words.setUint32(0, x), get: () => words.getUint32(0) },
};

function foldBitcast(node: Node): Node | undefined {
  const value = constant(node.inputs[0]), from = word[node.inputs[0]!.dtype], to = word[node.dtype];
  if (value === undefined || Number.isNaN(value) || from === undefined || to === undefined) {
    return undefined;
  }
  from.set(value);
  const result = to.get();
  return Number.isNaN(result) ? undefined : fill(result, node.shape, node.dtype);
}

/** Rules on constants. */
export const constantRules: readonly Rule[] = [
  ...(Object.keys(folds) as Primitive[])
    .filter((op) => kinds[op] !== "leaf")
    .map((op): Rule => ({
      name: "fold constants",
      op,
      apply: fold,
      why: "the same for every element, so it is known before the program runs",
    })),
  {
    name: "fold cast of constant",
    op: "cast",
    apply: foldCast,
    why: "a fill of another dtype",
  },
  {
    name: "fold bitcast of constant",
    op: "bitcast",
    apply: foldBitcast,
    why: "the bits of a number are known; those of NaN are not portable",
  },
];
