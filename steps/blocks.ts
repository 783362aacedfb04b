/**
 * Layers that undo themselves, for deep networks as loops over stacked parameters: activations need
 * not be kept, whatever the depth.
 *
 * - Couplings: Gomez, Ren, Urtasun & Grosse, The reversible residual network, 2017.
 * - Momentum blocks: Sander, Ablin, Blondel & Peyré, Momentum residual neural networks, 2021.
 * - Residual blocks with a contraction, undone by iteration: Behrmann, Grathwohl, Chen, Duvenaud &
 *   Jacobsen, Invertible residual networks, 2019. The same iteration nearly undoes any step that
 *   changes little: a step of an optimizer, for instance.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { loop } from "../graph/scan.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Motion } from "./leapfrog.ts";
import type { ReversibleStep } from "./step.ts";
import { add, addScaled, over, scale, sub, type Tree } from "./tree.ts";

/** A function of a value and of what the loop gives the step, for instance a layer's parameters. */
export type Residual<X extends Tree, A extends readonly unknown[]> = (x: X, ...given: A) => X;

/**
 * The additive coupling of RevNet: y₁ = x₁ + f(x₂), y₂ = x₂ + g(y₁). The halves may have different
 * shapes.
 *
 * @example A network of 20 blocks that keeps no activations but the last
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * type Weights = { f: rg.Tensor; g: rg.Tensor };
 * const block = rg.steps.additiveCoupling(
 *   (x: rg.Tensor, { f }: Weights) => x.matmul(f).tanh(),
 *   (x: rg.Tensor, { g }: Weights) => x.matmul(g).tanh(),
 * );
 * const weights = {
 *   f: rg.random.normal(rg.random.key(1), [20, 8, 8]).mul(0.1),
 *   g: rg.random.normal(rg.random.key(2), [20, 8, 8]).mul(0.1),
 * };
 * const [[y]] = rg.scan(
 *   (x: [rg.Tensor, rg.Tensor], w: Weights) => [block.step(x, w), null],
 *   [rg.ones([4, 8]), rg.ones([4, 8])],
 *   weights,
 * );
 * console.log(y.shape);
 * ```
 */
export function additiveCoupling<X1 extends Tree, X2 extends Tree, A extends readonly unknown[]>(
  f: (x2: X2, ...given: A) => X1,
  g: (y1: X1, ...given: A) => X2,
): ReversibleStep<[X1, X2], A> {
  return {
    step([x1, x2], ...given) {
      const y1 = add(x1, f(x2, ...given));
      return [y1, add(x2, g(y1, ...given))];
    },
    inverse([y1, y2], ...given) {
      const x2 = sub(y2, g(y1, ...given));
      return [sub(y1, f(x2, ...given)), x2];
    },
  };
}

/** How a momentum block remembers. */
export interface MomentumOptions {
  /**
   * γ, what is kept of the velocity; more than 0, since the inverse divides by it.
   *
   * @default {0.9}
   */
  readonly momentum?: number;
}

/**
 * The momentum residual block: v′ = γv + (1 − γ)f(x), x′ = x + v′.
 *
 * @throws {RangeError} if the momentum is not in (0, 1].
 */
export function momentumBlock<X extends Tree, A extends readonly unknown[]>(
  f: Residual<X, A>,
  options: MomentumOptions = {},
): ReversibleStep<Motion<X>, A> {
  checkNames(options, { momentum: true }, "make momentum blocks");
  const { momentum = 0.9 } = options;
  if (!(momentum > 0 && momentum <= 1)) {
    throw new RangeError(
      `Cannot make a momentum block: the momentum is ${momentum}, expected more than 0 and at ` +
        "most 1",
    );
  }
  return {
    step({ x, v }, ...given) {
      const next = addScaled(scale(v, momentum), 1 - momentum, f(x, ...given));
      return { x: add(x, next), v: next };
    },
    inverse({ x, v }, ...given) {
      const before = sub(x, v);
      const rest = addScaled(v, momentum - 1, f(before, ...given));
      return { x: before, v: over(rest, momentum) };
    },
  };
}

/** How long an inverse is iterated. */
export interface IterationOptions {
  /**
   * Iterations; each takes one step. The error falls by the Lipschitz constant of what the step
   * adds in each of them.
   *
   * @default {10}
   */
  readonly iterations?: number;
}

/**
 * A step with the inverse that a fixed-point iteration finds: x ← x + (y − step(x)), from x = y on.
 * It converges where what the step adds to x is a contraction, as in residual blocks whose weights
 * have spectral norms below 1, and nearly undoes any step that changes little, like those of SGD and
 * Adam; `exact: "tape"` then makes up for what it gets wrong. Integers, such as a count of steps, come
 * out as they were.
 *
 * @throws {RangeError} if iterations is not an integer ≥ 1.
 */
export function byIteration<X extends Tree, A extends readonly unknown[]>(
  step: Residual<X, A>,
  options: IterationOptions = {},
): ReversibleStep<X, A> {
  checkNames(options, { iterations: true }, "invert by iteration");
  const { iterations = 10 } = options;
  if (!Number.isInteger(iterations) || iterations < 1) {
    throw new RangeError(
      `Cannot invert by iteration: iterations is ${iterations}, expected an integer ≥ 1`,
    );
  }
  return {
    step,
    inverse: (y, ...given) =>
      loop((x: X, _: Tensor) => add(x, sub(y, step(x, ...given))), y, {
        length: iterations,
        name: "fixed point",
      }),
  };
}

/**
 * The residual block x + f(x) for a contraction f, undone by iteration: x ← y − f(x).
 *
 * @throws {RangeError} if iterations is not an integer ≥ 1.
 */
export function contractiveBlock<X extends Tree, A extends readonly unknown[]>(
  f: Residual<X, A>,
  options: IterationOptions = {},
): ReversibleStep<X, A> {
  return byIteration((x: X, ...given: A) => add(x, f(x, ...given)), options);
}
