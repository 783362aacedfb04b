/**
 * Operators of ONNX that networks are made of: products, convolutions, pooling, recurrent cells.
 *
 * @module
 */
import { ones, tensor, zeros } from "../../graph/create.ts";
import { determinant } from "../../graph/linalg.ts";
import { einsum, stack, where } from "../../graph/operations.ts";
import { averagePool, conv, convTranspose, gridSample, maxPool } from "../../graph/spatial.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { Call, Operator } from "./call.ts";
import { alongAxis } from "./elementwise.ts";
import { resize } from "./resize.ts";
import { elementTypes, Unsupported, type Value, valueOf } from "./values.ts";

/** What methods of sampling are called there. */
const samplings = { bilinear: "linear", nearest: "nearest", bicubic: "cubic" } as const;

type Pair = [before: number, after: number];

interface Geometry {
  readonly stride: number[];
  readonly dilation: number[];
  readonly padding: Pair[];
}

/** Strides, dilations and padding; `transposed` where the result is the larger. */
function geometry(call: Call, sizes: readonly number[], taps: readonly number[]): Geometry {
  const stride = call.ints("strides") ?? sizes.map(() => 1);
  const dilation = call.ints("dilations") ?? sizes.map(() => 1);
  const pads = call.ints("pads") ?? sizes.flatMap(() => [0, 0]),
    auto = call.text("auto_pad", "NOTSET");
  const padding = sizes.map((n, i): Pair => {
    if (!auto.startsWith("SAME")) return [pads[i]!, pads[i + sizes.length]!];
    const extent = (taps[i]! - 1) * dilation[i]! + 1;
    const total = Math.max(0, (Math.ceil(n / stride[i]!) - 1) * stride[i]! + extent - n);
    const less = Math.floor(total / 2);
    return auto === "SAME_UPPER" ? [less, total - less] : [total - less, less];
  });
  return { stride, dilation, padding };
}

function convolution(call: Call, x = call.x(), w = call.x(1)): Tensor {
  const given = geometry(call, x.shape.slice(2), w.shape.slice(2));
  return conv(x, w, { ...given, groups: call.int("group", 1), channels: "first" });
}

function transposed(call: Call): Value {
  const x = call.x(), w = call.x(1), sizes = x.shape.slice(2);
  const { stride, dilation, padding } = geometry(call, sizes, w.shape.slice(2));
  const extra = call.ints("output_padding") ?? sizes.map(() => 0);
  const wanted = call.ints("output_shape"), auto = call.text("auto_pad", "NOTSET");
  const full = sizes.map((n, i) => (n - 1) * stride[i]! + (w.shape[i + 2]! - 1) * dilation[i]! + 1);
  const cut = padding.map(([before, after], i): Pair => {
    const length = wanted?.[i] ?? (auto.startsWith("SAME") ? sizes[i]! * stride[i]! : undefined);
    if (length === undefined) return [before, after];
    const total = full[i]! + extra[i]! - length;
    const less = Math.floor(total / 2);
    return auto === "SAME_UPPER" ? [less, total - less] : [total - less, less];
  });
  // Where more is wanted than there is, it comes after.
  const outputPadding = extra.map((n, i) => n + Math.max(0, -cut[i]![1]));
  const held = cut.map(([before, after]): Pair => [before, Math.max(0, after)]);
  const y = convTranspose(x, w, {
    ...{ stride, dilation, padding: held, outputPadding },
    groups: call.int("group", 1),
    channels: "first",
  });
  return call.like(call.has(2) ? y.add(alongAxis(call.x(2), y, 1)) : y);
}

/** Padding that also covers a last window that reaches past the end. */
function poolGeometry(call: Call): Geometry & { readonly size: number[]; readonly ceil: boolean } {
  const size = call.ints("kernel_shape")!;
  const { stride, dilation, padding } = geometry(call, call.x().shape.slice(2), size);
  return { size, stride, dilation, padding, ceil: call.int("ceil_mode", 0) === 1 };
}

const globally = (f: (x: Tensor, axes: number[]) => Tensor): Operator => (call) => {
  const x = call.x();
  return call.like(f(x, x.shape.map((_, i) => i).slice(2)));
};

function gemm(call: Call): Value {
  const a = call.int("transA", 0) === 1 ? call.x(0).T : call.x(0);
  const b = call.int("transB", 0) === 1 ? call.x(1).T : call.x(1);
  const product = a.matmul(b).mul(call.float("alpha", 1));
  return call.like(call.has(2) ? product.add(call.x(2).mul(call.float("beta", 1))) : product);
}

/** Integers less their zero points, which may be one for each row or column. */
function centred(call: Call, x: number, zero: number, axis: number): Tensor {
  const y = call.x(x).cast("i32");
  if (!call.has(zero)) return y;
  const point = call.x(zero).cast("i32");
  return y.sub(point.size === 1 ? point.reshape([]) : alongAxis(point, y, axis));
}

/** Rounded and held inside the narrow integer type. */
function narrowed(x: Tensor, type: number): Value {
  const { bits = 8, dtype } = elementTypes[type]!;
  const [low, high] = dtype === "u32"
    ? [0, 2 ** bits - 1]
    : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  return valueOf(x.round().clip(low, high), type);
}

/** Steps of a recurrent cell over time, with layout [time, batch, …] or [batch, time, …]. */
function recurrent(
  call: Call,
  gates: number,
  initial: readonly number[],
  cell: (x: Tensor, state: readonly Tensor[], w: Weights) => Tensor[],
): Value[] {
  for (const name of ["activations", "clip", "direction", "input_forget"]) {
    if (call.hasAttribute(name)) throw new Unsupported(`a recurrent cell with ${name}`);
  }
  const byBatch = call.int("layout", 0) === 1, hidden = call.int("hidden_size", 0);
  const x = byBatch ? call.x().swapAxes(0, 1) : call.x();
  const [steps, batch] = x.shape as [number, number];
  const b = call.has(3) ? call.x(3).slice(0) : zeros([2 * gates * hidden]);
  const weights: Weights = {
    w: call.x(1).slice(0),
    r: call.x(2).slice(0),
    wb: b.slice([0, gates * hidden]),
    rb: b.slice([gates * hidden, null]),
    p: call.has(7) ? call.x(7).slice(0) : zeros([3 * hidden]),
    hidden,
  };
  const lengths = call.has(4) ? call.x(4).reshape(batch, 1) : undefined;
  let state = initial.map((index) => {
    if (!call.has(index)) return zeros([batch, hidden]);
    return byBatch ? call.x(index).squeeze(1) : call.x(index).slice(0);
  });
  const all: Tensor[] = [];
  for (let t = 0; t < steps; t++) {
    const next = cell(x.slice(t), state, weights);
    const live = lengths?.greater(t);
    state = live === undefined ? next : next.map((s, i) => where(live, s, state[i]!));
    all.push(live === undefined ? state[0]! : where(live, state[0]!, 0));
  }
  const y = stack(all, 0).expandDims(1), ends = state.map((s) => s.expandDims(0));
  return [
    call.like(byBatch ? y.transpose([2, 0, 1, 3]) : y),
    ...ends.map((s) => call.like(byBatch ? s.swapAxes(0, 1) : s)),
  ];
}

interface Weights {
  readonly w: Tensor;
  readonly r: Tensor;
  readonly wb: Tensor;
  readonly rb: Tensor;
  readonly p: Tensor;
  readonly hidden: number;
}

const lstm: Operator = (call) =>
  recurrent(call, 4, [5, 6], (x, [h, c], { w, r, wb, rb, p }) => {
    const [i, o, f, g] = x.matmul(w.T).add(h!.matmul(r.T)).add(wb).add(rb).split(4, 1);
    const [pi, po, pf] = p.split(3, 0);
    const input = i!.add(pi!.mul(c!)).sigmoid(), forget = f!.add(pf!.mul(c!)).sigmoid();
    const cell = forget.mul(c!).add(input.mul(g!.tanh()));
    return [o!.add(po!.mul(cell)).sigmoid().mul(cell.tanh()), cell];
  });

const gru: Operator = (call) =>
  recurrent(call, 3, [5], (x, [h], { w, r, wb, rb, hidden }) => {
    const [wz, wr, wh] = x.matmul(w.T).add(wb).split(3, 1);
    const [rz, rr, rh] = r.split(3, 0), [bz, br, bh] = rb.split(3, 0);
    const z = wz!.add(h!.matmul(rz!.T)).add(bz!).sigmoid();
    const reset = wr!.add(h!.matmul(rr!.T)).add(br!).sigmoid();
    const candidate = call.int("linear_before_reset", 0) === 1
      ? wh!.add(reset.mul(h!.matmul(rh!.T).add(bh!))).tanh()
      : wh!.add(reset.mul(h!).matmul(rh!.T)).add(bh!).tanh();
    return hidden === 0 ? [h!] : [z.neg().add(1).mul(candidate).add(z.mul(h!))];
  });

const rnn: Operator = (call) =>
  recurrent(call, 1, [5], (x, [h], { w, r, wb, rb }) => [
    x.matmul(w.T).add(h!.matmul(r.T)).add(wb).add(rb).tanh(),
  ]);

/** a0 - a1·cos + a2·cos of the double angle. */
const windowOf = (a0: number, a1: number, a2: number): Operator => (call) => {
  const [size] = call.known(0)!, periodic = call.int("periodic", 1) === 1;
  const period = periodic ? size! : size! - 1;
  const values = Float32Array.from({ length: size! }, (_, i) => 2 * Math.PI * i / period);
  const angle = tensor(values);
  return valueOf(angle.cos().mul(-a1).add(a0).add(angle.mul(2).cos().mul(a2)), 1);
};

/** The discrete Fourier transform along an axis: two products by sines and cosines. */
function fourier(call: Call): Value {
  if (call.int("onesided", 0) === 1) throw new Unsupported("half a spectrum");
  const axis = call.int("axis", 1), inverse = call.int("inverse", 0) === 1;
  const x = call.x(), n = call.known(1)?.[0] ?? x.shape[axis]!;
  if (n !== x.shape[axis]) throw new Unsupported("a spectrum of another length");
  const at = Array.from({ length: n * n }, (_, i) => (Math.floor(i / n) * (i % n)) % n);
  const wave = (f: (x: number) => number): Tensor =>
    tensor(Float32Array.from(at, (k) => f(2 * Math.PI * k / n)), { shape: [n, n] });
  const cos = wave(Math.cos), sin = wave(inverse ? (a) => -Math.sin(a) : Math.sin);
  const line = x.moveAxis(axis, -1), parts = line.shape.length - 2;
  const part = (i: number): Tensor => line.slice(...line.shape.slice(0, parts).map(() => null), i);
  const real = part(0), imaginary = x.shape.at(-1) === 2 ? part(1) : real.mul(0);
  const both = stack([
    real.matmul(cos).add(imaginary.matmul(sin)),
    imaginary.matmul(cos).sub(real.matmul(sin)),
  ], -1);
  return call.like((inverse ? both.div(n) : both).moveAxis(-2, axis));
}

/** Operators of networks by name. */
export const network: { readonly [name: string]: Operator } = {
  MatMul: (call) => call.like(call.x(0).matmul(call.x(1))),
  Gemm: gemm,
  Einsum: (call) =>
    call.like(einsum(call.text("equation", ""), ...call.inputs.map((value) => value!.x))),
  MatMulInteger: (call) => valueOf(centred(call, 0, 2, -2).matmul(centred(call, 1, 3, -1)), 6),
  QLinearMatMul: (call) => {
    const a = centred(call, 0, 2, -2).cast("f32"), b = centred(call, 3, 5, -1).cast("f32");
    const scale = call.x(1).mul(call.x(4)).div(call.x(6));
    const y = a.matmul(b).mul(scale).round().add(call.x(7).cast("f32"));
    return narrowed(y, call.type(7));
  },
  Conv: (call) => {
    const y = convolution(call);
    return call.like(call.has(2) ? y.add(alongAxis(call.x(2), y, 1)) : y);
  },
  // Products of small integers are exact in f32.
  ConvInteger: (call) =>
    valueOf(convolution(call, centred(call, 0, 2, 1), centred(call, 1, 3, 0)), 6),
  QLinearConv: (call) => {
    const x = centred(call, 0, 2, 1), w = centred(call, 3, 5, 0);
    const scale = call.x(1).mul(alongAxis(call.x(4), tensor([[[[0]]]]), 1)).div(call.x(6));
    const y = convolution(call, x, w).mul(scale).round().add(call.x(7).cast("f32"));
    return narrowed(y, call.type(7));
  },
  ConvTranspose: transposed,
  MaxPool: (call) => {
    if (call.outputs > 1) throw new Unsupported("the indices of MaxPool");
    const { size, ...given } = poolGeometry(call);
    return call.like(maxPool(call.x(), size, { ...given, channels: "first" }));
  },
  AveragePool: (call) => {
    const x = call.x(), { size, ...given } = poolGeometry(call);
    const options = { ...given, channels: "first" } as const;
    if (call.int("count_include_pad", 0) === 0) return call.like(averagePool(x, size, options));
    return call.like(averagePool(x, size, { ...options, countPadding: true }));
  },
  GlobalAveragePool: globally((x, axes) => x.mean(axes, { keepDims: true })),
  GlobalMaxPool: globally((x, axes) => x.max(axes, { keepDims: true })),
  GridSample: (call) =>
    call.like(gridSample(call.x(), call.x(1), {
      method: samplings[call.text("mode", "bilinear") as keyof typeof samplings],
      outside: call.text("padding_mode", "zeros") as "zeros" | "border" | "reflection",
      alignCorners: call.int("align_corners", 0) === 1,
      channels: "first",
    })),
  Resize: resize,
  Upsample: resize,
  Det: (call) => call.like(determinant(call.x())),
  DFT: fourier,
  LSTM: lstm,
  GRU: gru,
  RNN: rnn,
  HannWindow: windowOf(0.5, 0.5, 0),
  HammingWindow: windowOf(25 / 46, 21 / 46, 0),
  BlackmanWindow: windowOf(0.42, 0.5, 0.08),
  Dropout: (call) => {
    const [ratio = 0.5] = call.known(1) ?? [], [training = 0] = call.known(2) ?? [];
    if (training !== 0 && ratio !== 0) {
      throw new Unsupported("dropout by a seed of its own generator");
    }
    const kept = ones(call.x().shape, { dtype: "bool" });
    return [call.like(call.x()), valueOf(kept, 9)];
  },
};
