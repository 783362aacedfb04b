/**
 * Reductions of ONNX, and what is made of them: softmax, losses, normalisations.
 *
 * @module
 */
import { tensor } from "../../graph/create.ts";
import { where } from "../../graph/operations.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { alongAxis } from "./elementwise.ts";
import type { Call, Operator } from "./call.ts";
import { type Value, valueOf } from "./values.ts";

type Reduction = (x: Tensor, axes: number[] | undefined, keepDims: { keepDims: boolean }) => Tensor;

const reduce = (f: Reduction): Operator => (call) => {
  const x = call.x(), keepDims = call.int("keepdims", 1) === 1;
  let axes = call.ints("axes") ?? call.known(1);
  if (axes?.length === 0) {
    if (call.int("noop_with_empty_axes", 0) === 1) return call.like(x);
    axes = undefined;
  }
  return call.like(f(x, axes, { keepDims }));
};

const arg = (largest: boolean): Operator => (call) => {
  const axis = call.int("axis", 0), keepDims = call.int("keepdims", 1) === 1;
  const last = call.int("select_last_index", 0) === 1;
  const x = last ? call.x().flip(axis) : call.x();
  const index = largest ? x.argmax(axis, { keepDims }) : x.argmin(axis, { keepDims });
  const n = x.shape.at(axis)!;
  return valueOf(last ? index.neg().add(n - 1) : index, 7);
};

/** log-probabilities of classes (axis 1) against class numbers. */
function negativeLogLikelihood(call: Call, logs: Tensor): Tensor {
  const target = call.x(1), classes = logs.shape[1]!;
  const ignored = call.hasAttribute("ignore_index") ? call.int("ignore_index", 0) : undefined;
  const isIgnored = ignored === undefined ? undefined : target.equal(ignored);
  const valid = isIgnored === undefined ? target : where(isIgnored, 0, target);
  const chosen = logs.takeAlongAxis(valid.expandDims(1), 1).squeeze(1).neg();
  let weights = call.has(2) ? call.x(2).take(valid) : target.cast("f32").mul(0).add(1);
  if (isIgnored !== undefined) weights = where(isIgnored, 0, weights);
  const losses = where(weights.equal(0), 0, chosen.mul(weights));
  if (classes === 0) return losses;
  switch (call.text("reduction", "mean")) {
    case "none":
      return losses;
    case "sum":
      return losses.sum();
    default:
      return losses.sum().div(weights.sum());
  }
}

function batchNormalization(call: Call): Value | Value[] {
  const x = call.x(), epsilon = call.float("epsilon", 1e-5), momentum = call.float("momentum", 0.9);
  const [scale, bias, mean, variance] = [1, 2, 3, 4].map((i) => alongAxis(call.x(i), x, 1));
  const normal = (m: Tensor, v: Tensor): Tensor =>
    x.sub(m).div(v.add(epsilon).sqrt()).mul(scale!).add(bias!);
  if (call.int("training_mode", 0) === 0) return call.like(normal(mean!, variance!));
  const axes = x.shape.map((_, i) => i).filter((i) => i !== 1);
  const m = x.mean(axes, { keepDims: true }), v = x.variance(axes, { keepDims: true });
  const running = (old: Tensor, now: Tensor): Value =>
    call.like(old.mul(momentum).add(now.mul(1 - momentum)).flatten());
  return [call.like(normal(m, v)), running(mean!, m), running(variance!, v)];
}

function normalized(x: Tensor, axes: number[], epsilon: number): [y: Tensor, m: Tensor, r: Tensor] {
  const mean = x.mean(axes, { keepDims: true });
  const inverse = x.variance(axes, { keepDims: true }).add(epsilon).rsqrt();
  return [x.sub(mean).mul(inverse), mean, inverse];
}

const isFloat = (x: Tensor): boolean => x.dtype === "f32" || x.dtype === "f16";

/** Reductions by name. */
export const reductions: { readonly [name: string]: Operator } = {
  ReduceL1: reduce((x, axes, o) => x.abs().sum(axes, o)),
  ReduceL2: reduce((x, axes, o) => x.square().sum(axes, o).sqrt()),
  ReduceLogSum: reduce((x, axes, o) => x.sum(axes, o).log()),
  ReduceLogSumExp: reduce((x, axes, o) => x.logSumExp(axes, o)),
  ReduceMax: reduce((x, axes, o) => x.max(axes, o)),
  ReduceMean: reduce((x, axes, o) => isFloat(x) ? x.mean(axes, o) : x.mean(axes, o).trunc()),
  ReduceMin: reduce((x, axes, o) => x.min(axes, o)),
  ReduceProd: reduce((x, axes, o) => x.prod(axes, o)),
  ReduceSum: reduce((x, axes, o) => x.sum(axes, o)),
  ReduceSumSquare: reduce((x, axes, o) => x.square().sum(axes, o)),
  ArgMax: arg(true),
  ArgMin: arg(false),

  CumSum: (call) => {
    const [axis] = call.known(1)!;
    return call.like(
      call.x().cumsum(axis, {
        exclusive: call.int("exclusive", 0) === 1,
        reverse: call.int("reverse", 0) === 1,
      }),
    );
  },
  TopK: (call) => {
    const [k] = call.known(1)!;
    const { values, indices } = call.x().topK(k!, {
      axis: call.int("axis", -1),
      largest: call.int("largest", 1) === 1,
    });
    return [call.like(values), valueOf(indices, 7)];
  },

  Softmax: (call) => call.like(call.x().softmax(call.int("axis", -1))),
  LogSoftmax: (call) => call.like(call.x().logSoftmax(call.int("axis", -1))),
  Hardmax: (call) => {
    const x = call.x(), axis = call.int("axis", -1);
    return call.like(x.argmax(axis).oneHot(x.shape.at(axis)!).moveAxis(-1, axis));
  },
  NegativeLogLikelihoodLoss: (call) => call.like(negativeLogLikelihood(call, call.x())),
  SoftmaxCrossEntropyLoss: (call) => {
    const logs = call.x().logSoftmax(1);
    return [call.like(negativeLogLikelihood(call, logs)), call.like(logs)];
  },

  BatchNormalization: batchNormalization,
  InstanceNormalization: (call) => {
    const x = call.x(), axes = x.shape.map((_, i) => i).slice(2);
    const [y] = normalized(x, axes, call.float("epsilon", 1e-5));
    return call.like(y.mul(alongAxis(call.x(1), x, 1)).add(alongAxis(call.x(2), x, 1)));
  },
  LayerNormalization: (call) => {
    const x = call.x(), axis = call.int("axis", -1), first = axis < 0 ? axis + x.rank : axis;
    const axes = x.shape.map((_, i) => i).slice(first);
    const [y, mean, inverse] = normalized(x, axes, call.float("epsilon", 1e-5));
    const scaled = y.mul(call.x(1));
    return [
      call.like(call.has(2) ? scaled.add(call.x(2)) : scaled),
      call.like(mean),
      call.like(inverse),
    ];
  },
  MeanVarianceNormalization: (call) => {
    const axes = call.ints("axes") ?? [0, 2, 3], x = call.x();
    const distance = x.sub(x.mean(axes, { keepDims: true }));
    return call.like(distance.div(x.std(axes, { keepDims: true }).add(1e-9)));
  },
  LRN: (call) => {
    const x = call.x(), size = call.int("size", 1);
    const before = Math.floor((size - 1) / 2), n = x.shape[1]!;
    const widths = x.shape.map((_, i): [number, number] =>
      i === 1 ? [before, size - 1 - before] : [0, 0]
    );
    const squares = x.square().pad(widths);
    let sum = tensor(0);
    for (let i = 0; i < size; i++) sum = sum.add(squares.slice(null, [i, i + n]));
    const base = sum.mul(call.float("alpha", 1e-4) / size).add(call.float("bias", 1));
    return call.like(x.div(base.pow(call.float("beta", 0.75))));
  },
};
