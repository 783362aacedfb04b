/**
 * Activations as functions, to put between layers of `sequential` and into options of `mlp`. Each
 * is the method of the same name.
 *
 * @module
 */
import type { GeluOptions, Tensor } from "../graph/tensor.ts";

/** A function applied between layers. */
export type Activation = (x: Tensor) => Tensor;

/** max(x, 0). */
export function relu(x: Tensor): Tensor {
  return x.relu();
}

/** x, or slope · x where not positive. */
export function leakyRelu(x: Tensor, slope: number = 0.01): Tensor {
  return x.leakyRelu(slope);
}

/** x, or alpha · (exp(x) - 1) where not positive. */
export function elu(x: Tensor, alpha: number = 1): Tensor {
  return x.elu(alpha);
}

/** x · Φ(x). */
export function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  return x.gelu(options);
}

/** x · sigmoid(x). */
export function silu(x: Tensor): Tensor {
  return x.silu();
}

/** log(1 + exp(x)). */
export function softplus(x: Tensor): Tensor {
  return x.softplus();
}

/** 1 / (1 + exp(-x)). */
export function sigmoid(x: Tensor): Tensor {
  return x.sigmoid();
}

/** The hyperbolic tangent. */
export function tanh(x: Tensor): Tensor {
  return x.tanh();
}

/** exp(x) / Σ exp(x) over the last axis. */
export function softmax(x: Tensor): Tensor {
  return x.softmax(-1);
}

/** α and the scale of SELU: those that keep mean 0 and variance 1 (Klambauer et al. 2017). */
const SELU_ALPHA = 1.6732632423543772, SELU_SCALE = 1.0507009873554805;

/** 1.0507·(x, or 1.67326·(exp(x) - 1) where not positive): self-normalising (Klambauer et al. 2017). */
export function selu(x: Tensor): Tensor {
  return x.elu(SELU_ALPHA).mul(SELU_SCALE);
}
