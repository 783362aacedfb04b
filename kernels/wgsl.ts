/**
 * Element-wise primitives as WGSL text: one row each, given the names of the operands and the type
 * they have. Types are scalars or vectors of four. NaN and infinities follow IEEE 754 where WGSL
 * leaves them open, which takes tests on the bits: drivers fold `x != x` away.
 *
 * @module
 */
import { type DType, dtypes } from "../graph/dtype.ts";
import type { Primitive } from "../graph/primitive.ts";

/** A value in a shader: its name (or literal), element type, and number of lanes. */
export interface Operand {
  readonly text: string;
  readonly dtype: DType;
}

/** 1 for scalars, 4 for vectors. */
export type Width = 1 | 4;

/** `f32` or `vec4<f32>`. */
export function typeName(dtype: DType, width: Width): string {
  return width === 1 ? dtypes[dtype].wgsl : `vec4<${dtypes[dtype].wgsl}>`;
}

/** `array` element type in storage. */
export function storedName(dtype: DType, width: Width): string {
  return width === 1 ? dtypes[dtype].stored : `vec4<${dtypes[dtype].stored}>`;
}

function as(type: string, width: Width): string {
  return width === 1 ? type : `vec4<${type}>`;
}

/** True where the operand is NaN, decided on the bits. */
export function isNaNText({ text, dtype }: Operand, width: Width): string {
  const wide = dtype === "f16" ? `${as("f32", width)}(${text})` : text;
  const u = as("u32", width);
  return `((bitcast<${u}>(${wide}) & ${u}(0x7fffffffu)) > ${u}(0x7f800000u))`;
}

/** A number as a literal of the type. Infinities and NaN are made from bits at run time. */
export function literal(value: number, dtype: DType): string {
  switch (dtype) {
    case "bool":
      return value === 0 ? "false" : "true";
    case "u32":
      return `${value}u`;
    case "i32":
      return value === -2147483648 ? "(-2147483647 - 1)" : value < 0 ? `(${value})` : `${value}i`;
    case "f16":
    case "f32": {
      if (Number.isNaN(value)) return `${dtype}(bitcast<f32>(0x7fc00000u ^ zero))`;
      if (!Number.isFinite(value)) {
        return `${dtype}(bitcast<f32>(${value > 0 ? "0x7f800000u" : "0xff800000u"} ^ zero))`;
      }
      const suffix = dtype === "f32" ? "f" : "h";
      if (Object.is(value, -0)) return `${dtype}(bitcast<f32>(0x80000000u ^ zero))`;
      const text = Number.isInteger(value) && Math.abs(value) < 1e9 ? `${value}.0` : `${value}`;
      return value < 0 ? `(${text}${suffix})` : `${text}${suffix}`;
    }
  }
}

type Rule = (operands: readonly Operand[], width: Width, to: DType) => string;

const infix = (operator: string): Rule => ([a, b]) => `${a!.text} ${operator} ${b!.text}`;
const call = (name: string): Rule => ([a]) => `${name}(${a!.text})`;

/** `f(x)`, but NaN stays NaN where the built-in function does not promise it. */
const keepNaN = (f: (x: string, width: Width, dtype: DType) => string): Rule => ([a], width) =>
  `select(${f(a!.text, width, a!.dtype)}, ${a!.text}, ${isNaNText(a!, width)})`;

/** Float functions that are written once for f32 vectors, in {@linkcode helpers}. */
const helper = (name: string): Rule => (operands, width) => {
  const { dtype } = operands[0]!;
  const args = operands.map(({ text }) => {
    const wide = dtype === "f16" ? `${as("f32", width)}(${text})` : text;
    return width === 1 ? `vec4<f32>(${wide})` : wide;
  });
  const result = `${name}(${args.join(", ")})${width === 1 ? ".x" : ""}`;
  return dtype === "f16" ? `${as("f16", width)}(${result})` : result;
};

/** The larger (or smaller) of two, NaN if either is. */
const extreme = (keepFirst: "<=" | ">="): Rule => ([a, b], width) => {
  if (!dtypes[a!.dtype].float) {
    return `${keepFirst === "<=" ? "max" : "min"}(${a!.text}, ${b!.text})`;
  }
  // b NaN: the comparison is false and b is taken; a NaN: the outer choice takes a.
  const chosen = `select(${b!.text}, ${a!.text}, ${b!.text} ${keepFirst} ${a!.text})`;
  return isNumber(b!.text)
    ? `select(${a!.text}, ${b!.text}, ${a!.text} ${keepFirst === "<=" ? "<" : ">"} ${b!.text})`
    : `select(${chosen}, ${a!.text}, ${isNaNText(a!, width)})`;
};

/** A literal, so certainly no NaN. */
function isNumber(text: string): boolean {
  return /^(vec4<\w+>)?\(?-?[\d.]+(e[-+]?\d+)?[fh]?\)?$/.test(text);
}

const zeroOf = (dtype: DType, width: Width): string => `${typeName(dtype, width)}(0)`;

/** The text of each element-wise primitive. */
export const rules: { readonly [P in Primitive]?: Rule } = {
  neg: ([a], width) => a!.dtype === "u32" ? `${as("u32", width)}(0u) - ${a!.text}` : `-${a!.text}`,
  abs: call("abs"),
  sign: ([a], width) =>
    a!.dtype === "u32"
      ? `min(${a!.text}, ${as("u32", width)}(1u))`
      : dtypes[a!.dtype].float
      ? keepNaN((x) => `sign(${x})`)([a!], width, a!.dtype)
      : `sign(${a!.text})`,
  floor: call("floor"),
  ceil: call("ceil"),
  round: call("round"),
  sqrt: call("sqrt"),
  exp: call("exp"),
  log: call("log"),
  sin: call("sin"),
  cos: call("cos"),
  // Beyond 15 the result is 1 to the last bit, and large arguments are indeterminate in WGSL.
  tanh: keepNaN((x, width, dtype) => {
    const bound = dtype === "f16" ? 10 : 15;
    const type = typeName(dtype, width);
    return `tanh(clamp(${x}, ${type}(-${bound}), ${type}(${bound})))`;
  }),
  erf: helper("erf_"),
  not: ([a]) => a!.dtype === "bool" ? `!${a!.text}` : `~${a!.text}`,
  cast: ([a], width, to) => {
    const from = a!.dtype;
    if (to === "bool") return `${a!.text} != ${zeroOf(from, width)}`;
    const type = typeName(to, width);
    if (dtypes[from].float && dtypes[to].integer) {
      return `select(${type}(${a!.text}), ${type}(0), ${isNaNText(a!, width)})`;
    }
    return `${type}(${a!.text})`;
  },
  bitcast: ([a], width, to) => `bitcast<${typeName(to, width)}>(${a!.text})`,
  barrier: ([a], width) => {
    const { text, dtype } = a!;
    if (dtype === "bool") return text;
    if (dtype === "u32") return `${text} ^ ${as("u32", width)}(zero)`;
    if (dtype === "f16") {
      return `${as("f16", width)}(bitcast<${as("f32", width)}>(bitcast<${as("u32", width)}>(${
        as("f32", width)
      }(${text})) ^ ${as("u32", width)}(zero)))`;
    }
    const type = typeName(dtype, width), u = as("u32", width);
    return `bitcast<${type}>(bitcast<${u}>(${text}) ^ ${u}(zero))`;
  },
  mark: ([a]) => a!.text,
  stop: ([a]) => a!.text,
  add: infix("+"),
  sub: infix("-"),
  mul: infix("*"),
  div: infix("/"),
  floorDiv: ([a, b], width) => {
    const q = `(${a!.text} / ${b!.text})`;
    if (a!.dtype === "u32") return q;
    const one = `${typeName(a!.dtype, width)}(1)`, zero = zeroOf(a!.dtype, width);
    return `select(${q}, ${q} - ${one}, ${signsDiffer(a!, b!, zero)})`;
  },
  mod: ([a, b], width) => {
    const r = `(${a!.text} % ${b!.text})`;
    if (a!.dtype === "u32") return r;
    return `select(${r}, ${r} + ${b!.text}, ${signsDiffer(a!, b!, zeroOf(a!.dtype, width))})`;
  },
  pow: helper("pow_"),
  max: extreme("<="),
  min: extreme(">="),
  and: ([a, b]) => `${a!.text} & ${b!.text}`,
  or: ([a, b]) => `${a!.text} | ${b!.text}`,
  xor: ([a, b]) => a!.dtype === "bool" ? `${a!.text} != ${b!.text}` : `${a!.text} ^ ${b!.text}`,
  shiftLeft: ([a, b], width) =>
    `${a!.text} << (${as("u32", width)}(${b!.text}) & ${as("u32", width)}(31u))`,
  shiftRight: ([a, b], width) =>
    `${a!.text} >> (${as("u32", width)}(${b!.text}) & ${as("u32", width)}(31u))`,
  // Drivers take x == x for true and x != x for false.
  equal: ([a, b], width) =>
    a!.text === b!.text && dtypes[a!.dtype].float
      ? (width === 1 ? `!${isNaNText(a!, 1)}` : `!(${isNaNText(a!, 4)})`)
      : `${a!.text} == ${b!.text}`,
  notEqual: ([a, b], width) =>
    a!.text === b!.text && dtypes[a!.dtype].float
      ? isNaNText(a!, width)
      : `${a!.text} != ${b!.text}`,
  less: infix("<"),
  lessEqual: infix("<="),
  where: ([c, a, b]) => `select(${b!.text}, ${a!.text}, ${c!.text})`,
};

/** The remainder is not zero and its sign is not the divisor's. */
function signsDiffer(a: Operand, b: Operand, zero: string): string {
  const r = `(${a.text} % ${b.text})`;
  return `(${r} != ${zero}) & ((${r} < ${zero}) != (${b.text} < ${zero}))`;
}

/** Functions that rules call by name, emitted only into kernels that use them. */
export const helpers: { readonly [name: string]: string } = {
  // Rational approximation on the range where erf is not yet ±1 (as in Eigen and XLA), ~1 ulp.
  erf_: `
fn erf_(v: vec4<f32>) -> vec4<f32> {
  let x = clamp(v, vec4<f32>(-3.7439211627767994f), vec4<f32>(3.7439211627767994f));
  let s = x * x;
  var p = s * 0.00022905065861350646f + 0.0034082910107109506f;
  p = p * s + 0.050955695062380861f;
  p = p * s + 0.18520832239976145f;
  p = p * s + 1.128379143519084f;
  var q = s * -1.1791602954361697e-7f + 0.000023547966471313185f;
  q = q * s + 0.0010179625278914885f;
  q = q * s + 0.014070470171167667f;
  q = q * s + 0.11098505178285362f;
  q = q * s + 0.49746925110067538f;
  q = q * s + 1.0f;
  let nan = (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  return select(x * p / q, v, nan);
}
`,
  // IEEE pow from the built-in one, which is defined for positive bases only.
  pow_: `
fn pow_(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  let one = vec4<f32>(1.0f);
  let magnitude = pow(abs(a), b);
  let whole = floor(b) == b;
  let odd = whole & (abs(b) < vec4<f32>(16777216.0f)) & ((b - 2.0f * floor(b * 0.5f)) == one);
  let negative = (bitcast<vec4<u32>>(a) >> vec4<u32>(31u)) == vec4<u32>(1u);
  var r = select(magnitude, -magnitude, negative & odd);
  let infinite = (bitcast<vec4<u32>>(b) & vec4<u32>(0x7fffffffu)) == vec4<u32>(0x7f800000u);
  r = select(r, vec4<f32>(bitcast<f32>(0x7fc00000u ^ zero)), negative & !whole & (a != vec4<f32>(0.0f)) & !infinite);
  let nanA = (bitcast<vec4<u32>>(a) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  let nanB = (bitcast<vec4<u32>>(b) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  r = select(r, a, nanA);
  r = select(r, b, nanB);
  r = select(r, one, (abs(a) == one) & infinite);
  return select(r, one, (b == vec4<f32>(0.0f)) | (a == one));
}
`,
};
