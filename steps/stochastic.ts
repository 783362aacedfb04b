/**
 * Stochastic differential equations in the sense of Stratonovich, by the reversible Heun method:
 * Kidger, Foster, Li & Lyons, Efficient and accurate gradients for neural SDEs, 2021. The Brownian
 * path comes from a key and the number of the step, so that it is the same whenever it is asked for,
 * forwards, again and backwards, and takes no memory.
 *
 * @module
 */
import * as random from "../graph/random.ts";
import { Tensor } from "../graph/tensor.ts";
import { flatten, unflatten } from "../graph/tree.ts";
import type { Companions, Field, Integrator } from "./leapfrog.ts";
import { type Clock, timeOf } from "./step.ts";
import { add, addScaled, map, scale, sub, type TensorLike, type Tree } from "./tree.ts";

const isTensor = (value: unknown): value is Tensor => value instanceof Tensor;

/**
 * How far a Brownian path goes in a step of time h: normal numbers of variance h for every element of
 * a tree, by the key and the step's number.
 */
export function brownian<Y extends Tree>(
  key: random.Key,
  like: Y,
  h: TensorLike,
  step: Tensor,
): Y {
  const { leaves, structure } = flatten(like, isTensor, "like");
  const root = typeof h === "number" ? Math.sqrt(Math.abs(h)) : h.abs().sqrt();
  const own = random.foldIn(key, step);
  const steps = leaves.map((x, i) =>
    random.normal(random.foldIn(own, i), x.shape).mul(root).cast(x.dtype)
  );
  return unflatten(structure, steps) as Y;
}

/** What an integrator of dy = drift(y, t) dt + diffusion(y, t) ∘ dW needs. */
export interface StochasticOptions<Y extends Tree> extends Clock {
  /** What moves the value with time. */
  readonly drift: Field<Y>;
  /** What moves each element with its own Brownian path. */
  readonly diffusion: Field<Y>;
  /** What the paths come from. */
  readonly key: random.Key;
}

/**
 * Reversible Heun for dy = drift(y, t) dt + diffusion(y, t) ∘ dW with a path for each element of y:
 * strong order ½, or 1 where the noise commutes, as diagonal noise does.
 */
export function stochasticHeun<Y extends Tree>(
  options: StochasticOptions<Y>,
): Integrator<Y, Companions<Y>> {
  const { drift, diffusion, h, key } = options;
  /** What a step of the path `dW` adds where the value is y. */
  const slope = (y: Y, t: Tensor, dW: Y): Y =>
    addScaled(map((g, w) => g.mul(w!), diffusion(y, t), dW), h, drift(y, t));
  const half = (a: Y, b: Y): Y => scale(add(a, b), 0.5);
  const path = (y: Y, i: Tensor): Y => brownian(key, y, h, i);
  return {
    start: (y0) => ({ y: y0, yhat: y0 }),
    value: ({ y }) => y,
    step({ y, yhat }, i) {
      const dW = path(y, i);
      const before = slope(yhat, timeOf(options, i), dW);
      const next = add(sub(scale(y, 2), yhat), before);
      const after = slope(next, timeOf(options, i, 1), dW);
      return { y: add(y, half(before, after)), yhat: next };
    },
    inverse({ y, yhat }, i) {
      const dW = path(y, i);
      const after = slope(yhat, timeOf(options, i, 1), dW);
      const previous = sub(sub(scale(y, 2), yhat), after);
      const before = slope(previous, timeOf(options, i), dW);
      return { y: sub(y, half(before, after)), yhat: previous };
    },
  };
}
