/**
 * A reversible step is a pair of ordinary functions: `step` takes the carry of a loop once round,
 * `inverse` takes it back. Integrators, couplings and momentum are such pairs; the way back through
 * a loop of them runs the inverse instead of keeping states (`backward: reverse(…)`).
 *
 * In real numbers the two undo each other. In floating point they nearly do, and how exact the way
 * back is to be is the loop's business, not the step's.
 *
 * @module
 */
import { collectChecks, noteCheck } from "../graph/check.ts";
import { checkNames, checkOptions, describe } from "../graph/describe.ts";
import { zeros } from "../graph/create.ts";
import { isFloat } from "../graph/dtype.ts";
import { showAval } from "../graph/node.ts";
import * as random from "../graph/random.ts";
import { sameShape, showShape } from "../graph/shape.ts";
import type { Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { difference, flatten, leafPaths, unflatten } from "../graph/tree.ts";
import type { TensorLike, Tree } from "./tree.ts";

/** A step and its inverse. Both get the carry and what the loop gives each step besides. */
export interface ReversibleStep<C extends Tree, A extends readonly unknown[] = [step: Tensor]> {
  /** The carry after the step. */
  readonly step: (carry: C, ...given: A) => C;
  /** The carry before it. */
  readonly inverse: (carry: C, ...given: A) => C;
}

/** The time of a step: where the first one begins, and how long each takes. */
export interface Clock {
  /** The time a step takes; negative for one backwards in time. */
  readonly h: TensorLike;
  /**
   * The time at which the first step begins.
   *
   * @default {0}
   */
  readonly t0?: TensorLike;
}

/**
 * Looks at what a step with a clock is made from.
 *
 * @throws {TypeError} if what should be functions are none, or times no numbers.
 */
export function checkMade(action: string, options: Clock, ...functions: string[]): void {
  checkOptions(options, action, `{ ${[...functions, "h: 0.1"].join(", ")} }`);
  const given = options as unknown as { readonly [name: string]: unknown };
  for (const name of functions) {
    if (typeof given[name] === "function") continue;
    throw new TypeError(
      `Cannot ${action}: ${name} is ${describe(given[name])}, expected a function`,
    );
  }
  for (const [name, x] of Object.entries({ h: given.h, t0: given.t0 ?? 0 })) {
    if (isTensor(x) ? x.rank === 0 && isFloat(x.dtype) : Number.isFinite(x)) continue;
    throw new TypeError(
      `Cannot ${action}: ${name} is ${describe(x)}, expected a finite number or a scalar of floats`,
    );
  }
}

/** The time at which a step begins, by its number; `after` steps later. */
export function timeOf({ h, t0 = 0 }: Clock, step: Tensor, after = 0): Tensor {
  const count = after === 0 ? step : step.add(after);
  return count.cast("f32").mul(h).add(t0);
}

/** The number of the first step. */
export function zeroStep(): Tensor {
  return zeros([], { dtype: "u32" });
}

/** How {@linkcode reversible} checks a pair. */
export interface ReversibleOptions<A extends readonly unknown[]> {
  /** What the loop gives a step besides the carry: its number, or a row of `xs`. */
  readonly given?: A;
  /**
   * How far a value may be from where it was, in units of 1 + its size. Integers and bools must be
   * what they were.
   *
   * @default {1e-3}
   */
  readonly tolerance?: number;
  /**
   * Seed of the values that the pair is tried on.
   *
   * @default {0}
   */
  readonly seed?: number;
}

const word = new DataView(new ArrayBuffer(4));

/** A place in a carry, in words. */
function placeOf(path: string): string {
  return path === "" ? "the carry" : `carry.${path}`;
}

/** What differs, from the bits of a float that came as a flag. */
function sizeOfFlag(bits: number): string {
  word.setUint32(0, bits);
  const worst = word.getFloat32(0);
  return Number.isNaN(worst) ? "NaN" : worst.toPrecision(3);
}

/**
 * The pair of a step and its inverse, tried once on random values: floats of a carry like `like`
 * are drawn from the standard normal distribution, everything else is as given. Structure, shapes
 * and dtypes are checked at once; the values on the device, so that nothing waits: a pair that does
 * not fit throws at the next await that asks for values.
 *
 * @param step The carry of a loop after one step.
 * @param inverse The carry before it, from the one after it.
 * @param like A carry, for its structure, shapes and dtypes.
 * @throws {TypeError} if the step or its inverse returns anything but a carry like `like`.
 * @throws {CheckError} at the next await, if the inverse does not give back what the step was given;
 * it names the tensor and the worst difference.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const turn = rg.reversible(
 *   ([x, y]: [rg.Tensor, rg.Tensor]) => [x.add(y), y] as [rg.Tensor, rg.Tensor],
 *   ([x, y]) => [x.sub(y), y] as [rg.Tensor, rg.Tensor],
 *   [rg.zeros([8]), rg.zeros([8])],
 * );
 * const [x] = rg.loop(turn.step, [rg.ones([8]), rg.ones([8])], { length: 3 });
 * console.log(await x.array());
 * ```
 */
export function reversible<C extends Tree, A extends readonly unknown[] = [step: Tensor]>(
  step: (carry: C, ...given: A) => C,
  inverse: (carry: C, ...given: A) => C,
  like: C,
  options: ReversibleOptions<A> = {},
): ReversibleStep<C, A> {
  checkNames<ReversibleOptions<readonly unknown[]>>(options, {
    given: true,
    tolerance: true,
    seed: true,
  }, "make a reversible step");
  const { given, tolerance = 1e-3, seed = 0 } = options;
  for (const [name, f] of Object.entries({ step, inverse })) {
    if (typeof f === "function") continue;
    throw new TypeError(
      `Cannot make a reversible step: ${name} is a ${typeof f}, expected a function`,
    );
  }
  if (!(tolerance >= 0)) {
    throw new RangeError(
      `Cannot make a reversible step: the tolerance is ${tolerance}, expected a number ≥ 0`,
    );
  }
  const { leaves, structure } = flatten(like, isTensor, "like");
  const paths = leafPaths(structure);
  const key = random.key(seed);
  const start = leaves.map((x, i) =>
    isFloat(x.dtype) ? random.normal(random.foldIn(key, i), x.shape).cast(x.dtype) : x
  );
  const rest = given ?? [zeroStep()] as unknown as A;
  const called = step.name === "" ? "the step" : step.name;
  const played = collectChecks(() => {
    const there = step(unflatten(structure, start) as C, ...rest);
    fits(called, there);
    const back = inverse(there, ...rest);
    return fits(`the inverse of ${called}`, back);
  }).value;
  played.forEach((after, i) => {
    const before = start[i]!;
    if (before.size === 0) return;
    const where = placeOf(paths[i]!);
    if (!isFloat(before.dtype)) {
      const wrong = after.notEqual(before).cast("u32").max();
      noteCheck({
        flag: wrong.node,
        message:
          `${called} is no reversible step: ${where} is not what it was after the step and ` +
          "its inverse, expected the same integers",
      });
      return;
    }
    const [x, y] = [before.cast("f32"), after.cast("f32")];
    const off = y.sub(x).abs().div(x.abs().add(1)).max();
    const wrong = off.lessEqual(tolerance).logicalNot();
    noteCheck({
      flag: wrong.cast("u32").mul(off.bitcast("u32")).node,
      message: (bits) =>
        `${called} is no reversible step: ${where} is off by ${sizeOfFlag(bits)} after the step ` +
        `and its inverse, expected ${tolerance} at most`,
    });
  });
  return { step, inverse };

  /** The tensors of what a function returned, if it is a carry. */
  function fits(name: string, returned: C): Tensor[] {
    const flat = flatten(returned, isTensor, `what ${name} returned`);
    const found = difference(structure, flat.structure);
    if (found !== undefined) {
      throw new TypeError(
        `Cannot make a reversible step: the carry and what ${name} returned differ ${found}, ` +
          "expected the same structure",
      );
    }
    flat.leaves.forEach((x, i) => {
      const { shape, dtype } = leaves[i]!;
      if (x.dtype === dtype && sameShape(x.shape, shape)) return;
      throw new TypeError(
        `Cannot make a reversible step: ${name} returned ${showAval(x)} for ` +
          `${placeOf(paths[i]!)}, expected ${dtype}${showShape(shape)}`,
      );
    });
    return flat.leaves;
  }
}
