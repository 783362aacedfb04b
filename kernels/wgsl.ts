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
function isNaNText({ text, dtype }: Operand, width: Width): string {
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

/** A built-in function, of f16 by way of f32: drivers lose digits between its steps. */
const inF32 = (name: string): Rule => ([a], width) =>
  a!.dtype === "f16"
    ? `${as("f16", width)}(${name}(${as("f32", width)}(${a!.text})))`
    : `${name}(${a!.text})`;

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

/**
 * The operand in a form that drivers can't see through: its bits, or'd with a 0 that is known at run
 * time only. Two of these in a row are as good as one, where two exclusive ors would cancel.
 */
export function opaque({ text, dtype }: Operand, width: Width): string {
  const u = as("u32", width);
  switch (dtype) {
    case "bool":
      return text;
    case "u32":
      return `(${text} | ${u}(zero))`;
    case "f16": {
      const f = as("f32", width);
      return `${as("f16", width)}(bitcast<${f}>(bitcast<${u}>(${f}(${text})) | ${u}(zero)))`;
    }
    default:
      return `bitcast<${typeName(dtype, width)}>(bitcast<${u}>(${text}) | ${u}(zero))`;
  }
}

/** The operand, opaque if it is the literal 0: drivers and shader checks jump to conclusions. */
function unlessZero(a: Operand, width: Width): string {
  return /^(vec4<\w+>\()?0(\.0)?[fhiu]\)?$/.test(a.text) ? opaque(a, width) : a.text;
}

/** True for the text of a literal, as {@linkcode literal} writes it, of one element or four. */
export function isLiteral(text: string): boolean {
  return /^[-() \d]*$/.test(text.replace(/vec4<\w+>|\d[\d.]*(e[-+]?\d+)?[fhiu]?|true|false/g, ""));
}

/** The larger (or smaller) of two, NaN if either is. */
const extreme = (keepFirst: "<=" | ">="): Rule => ([a, b], width) => {
  if (!dtypes[a!.dtype].float) {
    return `${keepFirst === "<=" ? "max" : "min"}(${a!.text}, ${b!.text})`;
  }
  // b NaN: the comparison is false and b is taken; a NaN: the outer choice takes a.
  const chosen = `select(${b!.text}, ${a!.text}, ${b!.text} ${keepFirst} ${a!.text})`;
  // Literals are no NaN.
  return isLiteral(b!.text)
    ? `select(${a!.text}, ${b!.text}, ${a!.text} ${keepFirst === "<=" ? "<" : ">"} ${b!.text})`
    : `select(${chosen}, ${a!.text}, ${isNaNText(a!, width)})`;
};

const zeroOf = (dtype: DType, width: Width): string => `${typeName(dtype, width)}(0)`;

/** The text of each element-wise primitive. */
export const rules: { readonly [P in Primitive]?: Rule } = {
  neg: ([a], width) => a!.dtype === "u32" ? `${as("u32", width)}(0u) - ${a!.text}` : `-${a!.text}`,
  abs: call("abs"),
  sign: ([a], width) =>
    a!.dtype === "u32" ? `min(${a!.text}, ${as("u32", width)}(1u))` : dtypes[a!.dtype].float
      // The built-in function does not promise that NaN stays NaN.
      ? `select(sign(${a!.text}), ${a!.text}, ${isNaNText(a!, width)})`
      : `sign(${a!.text})`,
  floor: call("floor"),
  ceil: call("ceil"),
  round: call("round"),
  sqrt: call("sqrt"),
  exp: inF32("exp"),
  log: inF32("log"),
  sin: inF32("sin"),
  cos: inF32("cos"),
  atan: helper("atan_"),
  tanh: helper("tanh_"),
  erf: helper("erf_"),
  not: ([a]) => a!.dtype === "bool" ? `!${a!.text}` : `~${a!.text}`,
  cast: ([a], width, to) => {
    const from = a!.dtype;
    if (to === "bool") return notEqual(a!.text, zeroOf(from, width), from);
    const type = typeName(to, width);
    if (dtypes[from].float && dtypes[to].integer) return toInteger(a!, width, to);
    return `${type}(${a!.text})`;
  },
  bitcast: ([a], width, to) => `bitcast<${typeName(to, width)}>(${a!.text})`,
  barrier: ([a], width) => opaque(a!, width),
  mark: ([a]) => a!.text,
  again: ([a]) => a!.text,
  hold: ([a]) => a!.text,
  name: ([a]) => a!.text,
  stop: ([a]) => a!.text,
  add: infix("+"),
  sub: ([a, b], width) =>
    `${a!.text} - ${a!.text === b!.text && dtypes[a!.dtype].float ? opaque(b!, width) : b!.text}`,
  // Drivers take x·0, 0/x and x - x for 0 and x/x for 1, whatever x is.
  mul: ([a, b], width) => `${unlessZero(a!, width)} * ${unlessZero(b!, width)}`,
  div: ([a, b], width) =>
    `${unlessZero(a!, width)} / ${a!.text === b!.text ? opaque(b!, width) : unlessZero(b!, width)}`,
  floorDiv: ([a, divisor], width) => {
    const b = { ...divisor!, text: unlessZero(divisor!, width) };
    const q = `(${a!.text} / ${b.text})`;
    if (a!.dtype === "u32") return q;
    const one = `${typeName(a!.dtype, width)}(1)`, zero = zeroOf(a!.dtype, width);
    return `select(${q}, ${q} - ${one}, ${signsDiffer(a!, b, zero)})`;
  },
  mod: ([a, divisor], width, to) => {
    const b = { ...divisor!, text: unlessZero(divisor!, width) };
    if (dtypes[to].float) {
      return helper("mod_")([{ ...a!, text: unlessZero(a!, width) }, b], width, to);
    }
    const r = `(${a!.text} % ${b.text})`;
    if (to === "u32") return r;
    return `select(${r}, ${r} + ${b.text}, ${signsDiffer(a!, b, zeroOf(to, width))})`;
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
      : notEqual(a!.text, b!.text, a!.dtype),
  less: infix("<"),
  lessEqual: infix("<="),
  where: ([c, a, b]) => `select(${b!.text}, ${a!.text}, ${c!.text})`,
};

/** a ≠ b; the operator itself takes NaN for equal to everything where it is an ordered one. */
function notEqual(a: string, b: string, dtype: DType): string {
  return dtypes[dtype].float ? `!(${a} == ${b})` : `${a} != ${b}`;
}

/** Towards zero, held at the ends of the integer's range, NaN to 0. */
function toInteger(a: Operand, width: Width, to: DType): string {
  const type = typeName(to, width), float = as("f32", width);
  const wide = a.dtype === "f16" ? `${float}(${a.text})` : a.text;
  // The shader's own conversion stops at the largest float below the end.
  const end = to === "i32" ? "2147483648.0f" : "4294967296.0f";
  const held = `select(${type}(${wide}), ${type}(${
    literal(dtypes[to].highest, to)
  }), ${wide} >= ${float}(${end}))`;
  return `select(${held}, ${type}(0), ${isNaNText(a, width)})`;
}

/** The remainder is not zero and its sign is not the divisor's. */
function signsDiffer(a: Operand, b: Operand, zero: string): string {
  const r = `(${a.text} % ${b.text})`;
  return `(${r} != ${zero}) & ((${r} < ${zero}) != (${b.text} < ${zero}))`;
}

/** Functions that rules call by name, emitted only into kernels that use them. */
export const helpers: { readonly [name: string]: string } = {
  // The angle of (1, |v|) from 0, π/4 or π/2, whichever is nearest, by a polynomial as in Cephes.
  atan_: `
fn atan_(v: vec4<f32>) -> vec4<f32> {
  let a = abs(v);
  let one = vec4<f32>(1.0f);
  let far = a > vec4<f32>(2.414213562373095f);
  let middle = a > vec4<f32>(0.4142135623730950f);
  let x = select(select(a, (a - one) / (a + one), middle), -one / a, far);
  let from0 = select(vec4<f32>(0.0f), vec4<f32>(0.7853981633974483f), middle);
  let angle = select(from0, vec4<f32>(1.5707963267948966f), far);
  let s = x * x;
  var p = s * 0.0805374449538f - 0.138776856032f;
  p = p * s + 0.199777106478f;
  p = p * s - 0.333329491539f;
  let r = angle + (p * s * x + x);
  let nan = (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  return select(select(r, -r, v < vec4<f32>(0.0f)), v, nan | (v == vec4<f32>(0.0f)));
}
`,
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
  let r = select(x * p / q, sign(v), abs(v) > vec4<f32>(3.7439211627767994f));
  return select(r, v, nan);
}
`,
  // Rational approximation where tanh is not yet ±1 (as in Eigen and XLA), 6 ulp; the built-in one
  // has an absolute error only, so it loses all digits of small arguments.
  tanh_: `
fn tanh_(v: vec4<f32>) -> vec4<f32> {
  let x = clamp(v, vec4<f32>(-7.90531110763549805f), vec4<f32>(7.90531110763549805f));
  let s = x * x;
  var p = s * -2.76076847742355e-16f + 2.00018790482477e-13f;
  p = p * s + -8.60467152213735e-11f;
  p = p * s + 5.12229709037114e-8f;
  p = p * s + 1.48572235717979e-5f;
  p = p * s + 6.37261928875436e-4f;
  p = p * s + 4.89352455891786e-3f;
  var q = s * 1.19825839466702e-6f + 1.18534705686654e-4f;
  q = q * s + 2.26843463243900e-3f;
  q = q * s + 4.89352518554385e-3f;
  let nan = (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  return select(x * p / q, v, nan | (abs(v) < vec4<f32>(0.0004f)));
}
`,
  // The remainder with the sign of the divisor. It is exact where |a| < |b|, else as good as the
  // quotient: a few ulp of a, on the circle of b.
  mod_: `
fn mod_(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  let most = vec4<f32>(3.4028234663852886e38f);
  let q = trunc(a / b);
  var r = select(a - q * b, a, abs(a) < abs(b));
  let lost = (abs(q) > most) | (abs(r) >= abs(b));
  r = select(r, vec4<f32>(0.0f), lost & (abs(a) <= most) & !(b == vec4<f32>(0.0f)));
  let other = !(r == vec4<f32>(0.0f)) & ((r < vec4<f32>(0.0f)) != (b < vec4<f32>(0.0f)));
  return select(r, r + b, other);
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
  let endless = vec4<f32>(bitcast<f32>(0x7f800000u ^ zero));
  let none = a == vec4<f32>(0.0f);
  r = select(r, select(endless, -endless, negative & odd), none & (b < vec4<f32>(0.0f)));
  let outside = negative & !whole & !none & !infinite & (abs(a) < endless);
  r = select(r, vec4<f32>(bitcast<f32>(0x7fc00000u ^ zero)), outside);
  let nanA = (bitcast<vec4<u32>>(a) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  let nanB = (bitcast<vec4<u32>>(b) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  r = select(r, a, nanA);
  r = select(r, b, nanB);
  r = select(r, one, (abs(a) == one) & infinite);
  return select(r, one, (b == vec4<f32>(0.0f)) | (a == one));
}
`,
};
