/**
 * Steps of optimizers as ONNX has them: rate, step number, then parameters, gradients and states,
 * as many of each.
 *
 * @module
 */
import { where } from "../../graph/operations.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { Call, Operator } from "./call.ts";

interface Step {
  readonly rate: Tensor;
  readonly time: Tensor;
  readonly x: Tensor;
  /** The gradient, with that of the squared norm. */
  readonly g: Tensor;
  readonly states: readonly Tensor[];
}

/** One step for every parameter: the parameters, then each kind of state. */
const each = (kinds: number, f: (step: Step, call: Call) => Tensor[]): Operator => (call) => {
  const count = (call.inputs.length - 2) / (2 + kinds), decay = call.float("norm_coefficient", 0);
  const results = Array.from({ length: count }, (_, i) => {
    const x = call.x(2 + i), g = call.x(2 + count + i).add(x.mul(decay));
    const states = Array.from({ length: kinds }, (_, k) => call.x(2 + (2 + k) * count + i));
    return f({ rate: call.x(0), time: call.x(1), x, g, states }, call);
  });
  return Array.from({ length: 1 + kinds }, (_, k) => results.map((r) => call.like(r[k]!, 2)))
    .flat();
};

/** Optimizers by name. */
export const training: { readonly [name: string]: Operator } = {
  Adagrad: each(1, ({ rate, time, x, g, states: [h] }, call) => {
    const now = rate.div(time.mul(call.float("decay_factor", 0)).add(1));
    const sum = h!.add(g.square());
    return [x.sub(now.mul(g).div(sum.sqrt().add(call.float("epsilon", 1e-6)))), sum];
  }),
  Adam: each(2, ({ rate, time, x, g, states: [v, h] }, call) => {
    const alpha = call.float("alpha", 0.9), beta = call.float("beta", 0.999);
    const mean = v!.mul(alpha).add(g.mul(1 - alpha)),
      square = h!.mul(beta).add(g.square().mul(1 - beta));
    const t = time.cast("f32"),
      power = (b: number): Tensor => t.mul(Math.log(b)).exp().neg().add(1);
    const now = where(t.greater(0), rate.mul(power(beta).sqrt()).div(power(alpha)), rate);
    const moved = x.sub(now.mul(mean).div(square.sqrt().add(call.float("epsilon", 1e-6))));
    return [moved.mul(1 - call.float("norm_coefficient_post", 0)), mean, square];
  }),
  Momentum: each(1, ({ rate, time, x, g, states: [v] }, call) => {
    const alpha = call.float("alpha", 0);
    const beta = where(time.greater(0), call.float("beta", 0), 1);
    const next = v!.mul(alpha).add(g.mul(beta));
    const step = call.text("mode", "standard") === "nesterov" ? g.add(next.mul(alpha)) : next;
    return [x.sub(rate.mul(step)), next];
  }),
};
