/**
 * The problem that trajectories are compared on, and the trajectories of PyTorch's optimizers that
 * `golden/make.py` wrote.
 *
 * @module
 */
import { tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import * as optim from "../../optim/mod.ts";
import problem from "./golden/problem.json" with { type: "json" };

export const { start, force } = problem;

/** The gradient at x in a step, on numbers. */
export function gradientAt(x: readonly number[], step: number): number[] {
  return x.map((x, i) =>
    problem.strength[i]! * (x - problem.target[i]!) + problem.force[step]![i]!
  );
}

/** The gradient at x under a force, on the device. */
export function gradientOf(x: Tensor, force: Tensor): Tensor {
  return x.sub(tensor(problem.target)).mul(tensor(problem.strength)).add(force);
}

/** A trajectory in `golden/`, by name. */
export function golden(name: string): number[][] {
  const file = new URL(`golden/${name}.json`, import.meta.url);
  return JSON.parse(Deno.readTextFileSync(file)).path;
}

/** The optimizers that PyTorch has, as `golden/make.py` made them. */
export const torch: Readonly<Record<string, optim.Optimizer>> = {
  sgd: optim.sgd({ rate: 0.05 }),
  momentum: optim.sgd({ rate: 0.02, momentum: 0.9, dampening: 0.3, weightDecay: 0.01 }),
  nesterov: optim.sgd({ rate: 0.02, momentum: 0.9, nesterov: true }),
  nesterov_l2: optim.sgd({ rate: 0.02, momentum: 0.8, nesterov: true, weightDecay: 0.1 }),
  adagrad: optim.adagrad({ rate: optim.inverse(0.3, { alpha: 0.02 }), initial: 0.1 }),
  adagrad_l2: optim.adagrad({ rate: 0.3, weightDecay: 0.1, epsilon: 1e-2 }),
  adadelta: optim.adadelta({ rho: 0.9, epsilon: 1e-3, weightDecay: 0.01 }),
  adadelta_rate: optim.adadelta({ rate: 0.5, rho: 0.8, epsilon: 1e-2 }),
  rmsprop: optim.rmsprop({ rate: 0.02, alpha: 0.95 }),
  rmsprop_momentum: optim.rmsprop({ rate: 0.01, alpha: 0.95, momentum: 0.8 }),
  rmsprop_centered: optim.rmsprop({ rate: 0.02, alpha: 0.9, epsilon: 1e-2, centered: true }),
  rmsprop_all: optim.rmsprop({
    rate: 0.01,
    alpha: 0.9,
    epsilon: 1e-3,
    weightDecay: 0.1,
    momentum: 0.5,
    centered: true,
  }),
  adam: optim.adam({ rate: 0.1 }),
  adam_epsilon: optim.adam({ rate: 0.1, epsilon: 0.1 }),
  adam_l2: optim.adam({ rate: 0.1, beta1: 0.8, beta2: 0.99, weightDecay: 0.1 }),
  adamw: optim.adamw({ rate: 0.1, weightDecay: 0.1 }),
  amsgrad: optim.amsgrad({ rate: 0.1, beta2: 0.9 }),
  amsgrad_l2: optim.amsgrad({ rate: 0.1, beta1: 0.8, beta2: 0.9, weightDecay: 0.1 }),
  amsgradw: optim.amsgrad({ rate: 0.1, beta2: 0.9, decoupledDecay: 0.1 }),
  adamax: optim.adamax({ rate: 0.1, beta2: 0.95 }),
  adamax_l2: optim.adamax({ rate: 0.1, epsilon: 1e-2, weightDecay: 0.1 }),
  nadam: optim.nadam({ rate: 0.1, momentumDecay: 0.01 }),
  nadam_l2: optim.nadam({
    rate: 0.05,
    beta1: 0.8,
    beta2: 0.99,
    epsilon: 1e-3,
    weightDecay: 0.1,
  }),
  radam: optim.radam({ rate: 0.1 }),
  radam_short: optim.radam({ rate: 0.05, beta1: 0.8, beta2: 0.95, weightDecay: 0.01 }),
};
