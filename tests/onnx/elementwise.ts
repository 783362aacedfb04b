/**
 * Element-wise operators of ONNX.
 *
 * @module
 */
import { tensor, zeros } from "../../graph/create.ts";
import { maximum, minimum, where } from "../../graph/operations.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { Call, Operator } from "./call.ts";
import {
  elementType,
  elementTypes,
  fromProto,
  Unsupported,
  type Value,
  valueOf,
} from "./values.ts";

const unary = (f: (x: Tensor, call: Call) => Tensor): Operator => (call) =>
  call.like(f(call.x(), call));
const binary = (f: (a: Tensor, b: Tensor) => Tensor): Operator => (call) =>
  call.like(f(call.x(0), call.x(1)));
const compare = (f: (a: Tensor, b: Tensor) => Tensor): Operator => (call) =>
  valueOf(f(call.x(0), call.x(1)), 9);
const variadic = (f: (a: Tensor, b: Tensor) => Tensor): Operator => (call) =>
  call.like(call.inputs.map((value) => value!.x).reduce(f));
const isFloat = (x: Tensor): boolean => x.dtype === "f32" || x.dtype === "f16";

/** C's integer division, towards zero. */
function divide(a: Tensor, b: Tensor): Tensor {
  if (isFloat(a)) return a.div(b);
  if (a.dtype === "u32") return a.floorDiv(b);
  return a.abs().floorDiv(b.abs()).mul(a.sign()).mul(b.sign());
}

function power(call: Call): Value {
  const a = call.x(0), b = call.x(1);
  if (isFloat(a) || isFloat(b)) return call.like(a.cast("f32").pow(b.cast("f32")));
  return call.like(a.cast("f32").pow(b.cast("f32")).round());
}

function clip(call: Call): Value {
  const low = call.has(1) ? call.x(1) : undefined, high = call.has(2) ? call.x(2) : undefined;
  return call.like(call.x().clip(low, high));
}

/** x where positive, else something of it. */
const orElse = (x: Tensor, other: Tensor): Tensor => where(x.greater(0), x, other);

function quantized(x: Tensor, type: number): Value {
  const { bits = 8, dtype } = elementTypes[type]!;
  const [low, high] = dtype === "u32"
    ? [0, 2 ** bits - 1]
    : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  return valueOf(x.round().clip(low, high), type);
}

/** A vector along an axis of x. */
export function alongAxis(v: Tensor, x: Tensor, axis: number): Tensor {
  if (v.rank === 0 || v.size === 1) return v.reshape([]);
  const at = axis < 0 ? axis + x.rank : axis;
  return v.reshape(x.shape.map((_, i) => i === at ? v.size : 1));
}

/** Element-wise operators by name. */
export const elementwise: { readonly [name: string]: Operator } = {
  Abs: unary((x) => x.abs()),
  Acos: unary((x) => x.acos()),
  Acosh: unary((x) => x.acosh()),
  Asin: unary((x) => x.asin()),
  Asinh: unary((x) => x.asinh()),
  Atan: unary((x) => x.atan()),
  Atanh: unary((x) => x.atanh()),
  Ceil: unary((x) => x.ceil()),
  Cos: unary((x) => x.cos()),
  Cosh: unary((x) => x.cosh()),
  Erf: unary((x) => x.erf()),
  Exp: unary((x) => x.exp()),
  Floor: unary((x) => x.floor()),
  Identity: unary((x) => x),
  Log: unary((x) => x.log()),
  Neg: unary((x) => x.neg()),
  Reciprocal: unary((x) => x.reciprocal()),
  Round: unary((x) => x.round()),
  Sigmoid: unary((x) => x.sigmoid()),
  Sign: unary((x) => x.sign()),
  Sin: unary((x) => x.sin()),
  Sinh: unary((x) => x.sinh()),
  Sqrt: unary((x) => x.sqrt()),
  Tan: unary((x) => x.tan()),
  Tanh: unary((x) => x.tanh()),

  Relu: unary((x) => x.relu()),
  LeakyRelu: unary((x, call) => x.leakyRelu(call.float("alpha", 0.01))),
  PRelu: binary((x, slope) => orElse(x, x.mul(slope))),
  ThresholdedRelu: unary((x, call) => where(x.greater(call.float("alpha", 1)), x, 0)),
  Elu: unary((x, call) => x.elu(call.float("alpha", 1))),
  Celu: unary((x, call) => {
    const alpha = call.float("alpha", 1);
    return orElse(x, x.minimum(0).div(alpha).expm1().mul(alpha));
  }),
  Selu: unary((x, call) =>
    x.elu(call.float("alpha", 1.67326319217681884765625))
      .mul(call.float("gamma", 1.05070102214813232421875))
  ),
  HardSigmoid: unary((x, call) =>
    x.mul(call.float("alpha", 0.2)).add(call.float("beta", 0.5)).clip(0, 1)
  ),
  HardSwish: unary((x) => x.mul(x.div(6).add(0.5).clip(0, 1))),
  Softplus: unary((x) => x.softplus()),
  Softsign: unary((x) => x.div(x.abs().add(1))),
  Shrink: unary((x, call) => {
    const bias = call.float("bias", 0), edge = call.float("lambd", 0.5);
    return where(x.less(-edge), x.add(bias), where(x.greater(edge), x.sub(bias), 0));
  }),

  Add: binary((a, b) => a.add(b)),
  Sub: binary((a, b) => a.sub(b)),
  Mul: binary((a, b) => a.mul(b)),
  Div: binary(divide),
  Pow: power,
  Mod: (call) =>
    call.like(
      call.int("fmod", 0) === 1 ? call.x(0).remainder(call.x(1)) : call.x(0).mod(call.x(1)),
    ),
  Max: variadic(maximum),
  Min: variadic(minimum),
  Sum: variadic((a, b) => a.add(b)),
  Mean: (call) =>
    call.like(call.inputs.map((v) => v!.x).reduce((a, b) => a.add(b)).div(call.inputs.length)),
  Clip: clip,
  BitShift: (call) =>
    call.like(
      call.text("direction", "") === "LEFT"
        ? call.x(0).leftShift(call.x(1))
        : call.x(0).rightShift(call.x(1)),
    ),
  And: compare((a, b) => a.logicalAnd(b)),
  Or: compare((a, b) => a.logicalOr(b)),
  Xor: compare((a, b) => a.logicalXor(b)),
  Not: (call) => valueOf(call.x().logicalNot(), 9),
  Equal: compare((a, b) => a.equal(b)),
  Greater: compare((a, b) => a.greater(b)),
  GreaterOrEqual: compare((a, b) => a.greaterEqual(b)),
  Less: compare((a, b) => a.less(b)),
  LessOrEqual: compare((a, b) => a.lessEqual(b)),
  IsNaN: (call) => valueOf(call.x().isNaN(), 9),
  IsInf: (call) => {
    const x = call.x(), infinite = x.isInfinite();
    const up = call.int("detect_positive", 1) === 1, down = call.int("detect_negative", 1) === 1;
    const wanted = up && down ? infinite : infinite.logicalAnd(up ? x.greater(0) : x.less(0));
    return valueOf(up || down ? wanted : infinite.logicalAnd(zeros([])), 9);
  },
  Where: (call) => call.like(where(call.x(0), call.x(1), call.x(2)), 1),

  Cast: (call) => cast(call, call.int("to", 0)),
  CastLike: (call) => cast(call, call.type(1)),

  QuantizeLinear: (call) => {
    const x = call.x(), axis = call.int("axis", 1);
    const scale = alongAxis(call.x(1), x, axis), type = call.has(2) ? call.type(2) : 2;
    const zero = call.has(2) ? alongAxis(call.x(2), x, axis).cast("f32") : tensor(0);
    return quantized(x.div(scale).round().add(zero), type);
  },
  DequantizeLinear: (call) => {
    const x = call.x(), axis = call.int("axis", 1);
    const zero = call.has(2) ? alongAxis(call.x(2), x, axis).cast("f32") : tensor(0);
    return valueOf(x.cast("f32").sub(zero).mul(alongAxis(call.x(1), x, axis)), 1);
  },
  DynamicQuantizeLinear: (call) => {
    const x = call.x(), low = x.min().minimum(0), high = x.max().maximum(0);
    const scale = high.sub(low).div(255), zero = low.neg().div(scale).clip(0, 255).round();
    return [quantized(x.div(scale).round().add(zero), 2), valueOf(scale, 1), valueOf(zero, 2)];
  },

  Constant: (call) => {
    const proto = call.tensor("value");
    if (proto !== undefined) return fromProto(proto);
    if (!call.hasAttribute("value_int")) throw new Unsupported("a constant of another kind");
    return valueOf(tensor(call.int("value_int", 0), { dtype: "i32" }), 7);
  },
};

function cast(call: Call, to: number): Value {
  const { dtype } = elementType(to);
  return { x: call.x().cast(dtype), type: to };
}
