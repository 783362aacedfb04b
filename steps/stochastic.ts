/**
 * Steps of stochastic differential equations dy = drift(y, t) dt + diffusion(y, t) dW, where the
 * product is Itô's or Stratonovich's. The increments of the Brownian path come from a key and the
 * number of the step, so that they are the same whenever they are asked for, forwards, again and
 * backwards, and take no memory.
 *
 * - Euler–Maruyama and Milstein: Kloeden & Platen, Numerical solution of stochastic differential
 *   equations, 1992.
 * - Reversible Heun: Kidger, Foster, Li & Lyons, Efficient and accurate gradients for neural SDEs,
 *   2021.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import * as random from "../graph/random.ts";
import { zeros } from "../graph/create.ts";
import { sameShape } from "../graph/shape.ts";
import type { Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { jvp } from "../graph/transforms.ts";
import { flatten, unflatten } from "../graph/tree.ts";
import type { Companions, Field, Integrator } from "./leapfrog.ts";
import { checkedField } from "./close.ts";
import { checkMade, type Clock, timeOf } from "./step.ts";
import { add, addScaled, map, scale, sub, type TensorLike, times, type Tree } from "./tree.ts";

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

/**
 * What drives a value: `"diagonal"`, each element its own Brownian path, and the diffusion is a tree
 * like y; `"scalar"`, all elements one path, and the diffusion is a tree like y; `"general"`, all
 * elements m paths, and the diffusion has one more axis, the last, of size m.
 */
export type Noise = "diagonal" | "scalar" | "general";

/** What an integrator of dy = drift(y, t) dt + diffusion(y, t) dW needs. */
export interface StochasticOptions<Y extends Tree> extends Clock {
  /** What moves the value with time. */
  readonly drift: Field<Y>;
  /** What moves it with the noise. */
  readonly diffusion: Field<Y>;
  /** What the paths come from. */
  readonly key: random.Key;
  /**
   * How the diffusion and the paths go together.
   *
   * @default {"diagonal"}
   */
  readonly noise?: Noise;
  /**
   * How far the path goes in a step: a tree like y, a scalar, or m numbers, as the noise says.
   *
   * @default {"normal numbers by key and step"}
   */
  readonly increments?: (step: Tensor) => Tree;
}

/** Something of the shape that the increments of a path have. */
export function pathLike<Y extends Tree>(
  y: Y,
  { noise = "diagonal", diffusion, t0 = 0 }: StochasticOptions<Y>,
): Tree {
  if (noise === "diagonal") return y;
  if (noise === "scalar") return zeros([]);
  const { leaves } = flatten(diffusion(y, zeros([]).add(t0)), isTensor, "the diffusion");
  const values = flatten(y, isTensor, "y").leaves;
  const sizes = leaves.map((x) => x.shape.at(-1));
  leaves.forEach((x, i) => {
    const fits = x.rank > 0 && sameShape(x.shape.slice(0, -1), values[i]?.shape ?? []) &&
      sizes[i] === sizes[0];
    if (fits) return;
    throw new TypeError(
      `Cannot drive an SDE by general noise: the diffusion is ${x} where y is ${values[i]}, ` +
        "expected one more axis, the last, of as many paths everywhere",
    );
  });
  return zeros([sizes[0]!]);
}

/** What the noise adds where the diffusion is g. */
function driven<Y extends Tree>(noise: Noise, g: Y, dW: Tree): Y {
  if (noise === "diagonal") return map((g, w) => g.mul(w!), g, dW);
  const w = dW as Tensor;
  return map((g) => noise === "scalar" ? g.mul(w) : g.mul(w).sum(-1), g);
}

const action = "solve an SDE";

/** What steps of any method are made of. */
function parts<Y extends Tree>(options: StochasticOptions<Y>) {
  checkNames(options, {
    drift: true,
    diffusion: true,
    key: true,
    noise: true,
    increments: true,
    h: true,
    t0: true,
  }, action);
  const { h, key, noise = "diagonal" } = options;
  checkMade(action, options, "drift", "diffusion");
  const drift = checkedField(options.drift, action, "drift");
  const diffusion = noise === "general"
    ? options.diffusion
    : checkedField(options.diffusion, action, "diffusion");
  return {
    path: options.increments === undefined
      ? (y: Y, i: Tensor): Tree => brownian(key, pathLike(y, options), h, i)
      : (_: Y, i: Tensor): Tree => options.increments!(i),
    /** What a step of the path dW adds where the value is y. */
    slope: (y: Y, t: Tensor, dW: Tree): Y =>
      addScaled(driven(noise, diffusion(y, t), dW), h, drift(y, t)),
  };
}

/** A step without an inverse. */
export interface StochasticStep<Y extends Tree> {
  /** The value after a step. */
  readonly step: (y: Y, i: Tensor) => Y;
}

/** Euler–Maruyama, in the sense of Itô: strong order ½, or 1 where the noise is additive. */
export function eulerMaruyama<Y extends Tree>(options: StochasticOptions<Y>): StochasticStep<Y> {
  const { path, slope } = parts(options);
  return { step: (y, i) => add(y, slope(y, timeOf(options, i), path(y, i))) };
}

/**
 * Milstein's method, in the sense of Itô: strong order 1. The noise is diagonal, and the diffusion of
 * each element depends on no other; or it is scalar.
 *
 * @throws {TypeError} if the noise is general.
 */
export function milstein<Y extends Tree>(options: StochasticOptions<Y>): StochasticStep<Y> {
  const { path, slope } = parts(options), { diffusion, h, noise } = options;
  if (noise === "general") {
    throw new TypeError(
      'Cannot take steps by Milstein: the noise is "general", expected "diagonal" or "scalar"',
    );
  }
  const duration = typeof h === "number" ? Math.abs(h) : h.abs();
  return {
    step(y, i) {
      const t = timeOf(options, i), dW = path(y, i);
      const [, bend] = jvp((y: Y) => diffusion(y, t), [y], [diffusion(y, t)]);
      const beyond = (w: Tensor): Tensor => w.square().sub(duration).mul(0.5);
      const more = noise === "scalar"
        ? map((bend) => bend.mul(beyond(dW as Tensor)), bend)
        : map((bend, w) => bend.mul(beyond(w!)), bend, dW);
      return add(add(y, slope(y, t, dW)), more);
    },
  };
}

/** Heun's method, in the sense of Stratonovich: strong order 1 where the noise commutes, else ½. */
export function heunStep<Y extends Tree>(options: StochasticOptions<Y>): StochasticStep<Y> {
  const { path, slope } = parts(options);
  return {
    step(y, i) {
      const dW = path(y, i), before = slope(y, timeOf(options, i), dW);
      const after = slope(add(y, before), timeOf(options, i, 1), dW);
      return add(y, scale(add(before, after), 0.5));
    },
  };
}

/** The midpoint rule, in the sense of Stratonovich: orders as Heun's. */
export function midpointStep<Y extends Tree>(options: StochasticOptions<Y>): StochasticStep<Y> {
  const { path, slope } = parts(options);
  return {
    step(y, i) {
      const dW = path(y, i), t = timeOf(options, i);
      const middle = addScaled(y, 0.5, slope(y, t, dW));
      return add(y, slope(middle, t.add(times(options.h, 0.5)), dW));
    },
  };
}

/**
 * Reversible Heun, in the sense of Stratonovich: strong order ½, or 1 where the noise is additive or
 * commutes, as diagonal and scalar noise do.
 */
export function stochasticHeun<Y extends Tree>(
  options: StochasticOptions<Y>,
): Integrator<Y, Companions<Y>> {
  const { path, slope } = parts(options);
  const half = (a: Y, b: Y): Y => scale(add(a, b), 0.5);
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
