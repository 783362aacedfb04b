/**
 * The transforms of functions, by name: what a user imports. Each takes a function on trees of
 * tensors and gives another; they nest in any order.
 *
 * @module
 */
export {
  type Axes,
  hessian,
  jacfwd,
  type Jacobian,
  jacobian,
  type JacobianOptions,
  jacrev,
  vmap,
  type VmapOptions,
} from "./transforms/batching.ts";
export {
  checkpoint,
  type CheckpointOptions,
  name,
  policies,
  type Policy,
  type Residual,
} from "./transforms/checkpoint.ts";
export { type Cotangents, type CustomOptions, customVjp } from "./transforms/custom.ts";
export {
  grad,
  type Gradient,
  type GradOptions,
  hvp,
  jvp,
  stopGradient,
  valueAndGrad,
  vjp,
} from "./transforms/differentiate.ts";
export type { Tree } from "./transforms/trace.ts";
export type { MapLeaves, Static, TreeOf } from "./tree.ts";
