/**
 * Backtracking line search (Armijo 1966): the longest of the steps t, t·factor, t·factor² … that
 * lessens the loss by at least a part of what its slope promises. All attempts are evaluated on the
 * device and the first good one is selected there: nothing is read back, and the search is part of
 * the compiled step.
 *
 * What it costs: `attempts` + 1 forward passes in every call, those after the good one included,
 * since the host does not learn which it was; and as many copies of the loss in the compiled
 * program. The memory is that of one forward pass, no way back is needed. Use it with full batches
 * or large ones: on a small batch it finds the best step for that batch.
 *
 * @module
 */
import { full } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkCount, checkNumber } from "./check.ts";
import { checkGradient, innerProduct, map, type Tree } from "./tree.ts";

/** Options for {@linkcode lineSearch}. */
export interface LineSearchOptions {
  /** The first step tried; a tensor may be what was found the last time. @default {1} */
  initial?: number | Tensor;
  /** What a step is multiplied by if it is too long, in (0, 1). @default {0.5} */
  factor?: number;
  /** The part of the promised decrease that suffices, in (0, 1). @default {1e-4} */
  sufficient?: number;
  /** How many steps are tried. @default {10} */
  attempts?: number;
  /** The way to go. @default {minus the gradient} */
  direction?: Tree;
}

/** What a line search found. */
export interface LineSearchResult<P extends Tree> {
  /** The parameters after the step, or as they were if no step was good. */
  readonly params: P;
  /** The length of the step in units of the direction, f32; 0 if none was good. */
  readonly rate: Tensor;
  /** The loss there, f32. */
  readonly value: Tensor;
  /** Whether a step was good, bool. */
  readonly found: Tensor;
}

/**
 * A step along a direction that lessens the loss enough: f(p + t·d) ≤ f(p) + sufficient·t·⟨g, d⟩.
 * Costs `attempts` + 1 evaluations of the loss. A loss that is NaN or infinite is too large; a
 * direction that leads upwards finds nothing.
 *
 * @throws {RangeError} If a number is out of its range.
 * @throws {TypeError} If gradient or direction do not fit the parameters.
 *
 * @example Gradient descent without a rate
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assert } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const loss = (x: rg.Tensor) => x.sub(3).square().mul(rg.tensor([1, 25])).sum();
 * const step = rg.compile((x: rg.Tensor) =>
 *   rg.optim.lineSearch(loss, x, rg.grad(loss)(x)).params
 * );
 * let x = rg.zeros([2]);
 * for (let i = 0; i < 100; i++) x = step(x);
 * assert(await loss(x).item() < 1e-3);
 * ```
 */
export function lineSearch<P extends Tree>(
  loss: (params: P) => Tensor,
  params: P,
  gradient: Tree,
  options: LineSearchOptions = {},
): LineSearchResult<P> {
  checkNames(options, {
    initial: true,
    factor: true,
    sufficient: true,
    attempts: true,
    direction: true,
  }, "make a line search");
  const { initial = 1, factor = 0.5, sufficient = 1e-4, attempts = 10 } = options;
  const action = "a line search";
  if (typeof initial === "number") checkNumber(action, "initial", initial, Number.MIN_VALUE);
  checkNumber(action, "factor", factor, Number.MIN_VALUE, 1);
  checkNumber(action, "sufficient", sufficient, Number.MIN_VALUE, 1);
  checkCount(action, "attempts", attempts);
  checkGradient(params, gradient);
  const direction = options.direction ?? map((g) => g.neg(), gradient);
  checkGradient(params, direction);

  const slope = innerProduct(gradient, direction), before = loss(params).cast("f32");
  const at = (t: Tensor) => map((p, d) => p.add(d.mul(t)).cast(p.dtype), params, direction);
  let found: Tensor = slope.less(0).logicalNot(), rate: Tensor = full([], 0), value = before;
  let t: Tensor = typeof initial === "number" ? full([], initial) : initial.cast("f32");
  const uphill = found;
  for (let i = 0; i < attempts; i++) {
    const here = loss(at(t)).cast("f32");
    // Minus infinity would satisfy the condition, and is no loss either.
    const enough = here.lessEqual(before.add(slope.mul(t).mul(sufficient)))
      .logicalAnd(here.isFinite());
    const first = enough.logicalAnd(found.logicalNot());
    rate = where(first, t, rate);
    value = where(first, here, value);
    found = found.logicalOr(enough);
    t = t.mul(factor);
  }
  const good = found.logicalAnd(uphill.logicalNot());
  // Selected, not added with rate 0: a direction that is infinite leaves the parameters alone.
  const next = map((p, q) => where(good, q, p), params, at(rate)) as P;
  return { params: next, rate, value, found: good };
}
