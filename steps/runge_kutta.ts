/**
 * Explicit Runge–Kutta increments Ψ_h(t, y), and the wrapper that makes any of them reversible
 * while it keeps their order: McCallum & Foster, Efficient, accurate and stable gradients for
 * neural ODEs, 2024.
 *
 * @module
 */
import type { Tensor } from "../graph/tensor.ts";
import type { Field, FieldOptions, Integrator } from "./leapfrog.ts";
import { timeOf } from "./step.ts";
import { add, addScaled, negated, scale, sub, type TensorLike, times, type Tree } from "./tree.ts";

/** The coefficients of an explicit method. */
export interface Tableau {
  /** Its order of convergence. */
  readonly order: number;
  /** Row i: what stage i + 1 takes of the slopes of the stages before it. */
  readonly a: readonly (readonly number[])[];
  /** What the increment takes of each slope. */
  readonly b: readonly number[];
}

/** The name of an explicit method. */
export type MethodName = "euler" | "midpoint" | "heun" | "rk4" | "dopri5";

/** Explicit methods by name. */
export const tableaux: { readonly [name in MethodName]: Tableau } = {
  euler: { order: 1, a: [], b: [1] },
  midpoint: { order: 2, a: [[1 / 2]], b: [0, 1] },
  heun: { order: 2, a: [[1]], b: [1 / 2, 1 / 2] },
  rk4: { order: 4, a: [[1 / 2], [0, 1 / 2], [0, 0, 1]], b: [1 / 6, 1 / 3, 1 / 3, 1 / 6] },
  // Dormand & Prince 1980, the solution of fifth order: its seventh stage has no weight.
  dopri5: {
    order: 5,
    a: [
      [1 / 5],
      [3 / 40, 9 / 40],
      [44 / 45, -56 / 15, 32 / 9],
      [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
      [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    ],
    b: [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
  },
};

/** The name of an explicit method, or its coefficients. */
export type Method = MethodName | Tableau;

/**
 * The coefficients of a method.
 *
 * @throws {TypeError} if there is none of that name, or its rows do not fit.
 */
export function tableauOf(method: Method, action: string): Tableau {
  if (typeof method === "string") {
    if (Object.hasOwn(tableaux, method)) return tableaux[method];
    throw new TypeError(
      `Cannot ${action}: the method is ${JSON.stringify(method)}, expected one of ${
        Object.keys(tableaux).join(", ")
      }, or a tableau`,
    );
  }
  const { a, b } = method;
  if (b.length === a.length + 1 && a.every((row, i) => row.length === i + 1)) return method;
  throw new TypeError(
    `Cannot ${action}: the tableau has rows of ${
      a.map((row) => row.length).join(", ") || "none"
    } ` +
      `and ${b.length} weights, expected rows of 1, 2, 3 … and one weight more than rows`,
  );
}

/** What a method adds to y over a time h: Ψ_h(t, y). */
export function increment<Y extends Tree>(
  { a, b }: Tableau,
  field: Field<Y>,
  y: Y,
  t: Tensor,
  h: TensorLike,
): Y {
  const slopes: Y[] = [];
  const weighted = (weights: readonly number[]): Y | undefined => {
    let sum: Y | undefined;
    weights.forEach((weight, i) => {
      if (weight === 0) return;
      const term = slopes[i]!;
      if (sum === undefined) sum = weight === 1 ? term : scale(term, weight);
      else sum = addScaled(sum, weight, term);
    });
    return sum;
  };
  for (let stage = 0; stage < b.length; stage++) {
    const row = stage === 0 ? [] : a[stage - 1]!;
    const slope = weighted(row);
    // The time of a stage is the sum of its row, as the equations t′ = 1 and y′ = f agree on.
    const share = row.reduce((sum, x) => sum + x, 0);
    const at = share === 0 ? t : t.add(times(h, share));
    slopes.push(field(slope === undefined ? y : addScaled(y, h, slope), at));
  }
  return scale(weighted(b)!, h);
}

/** Two values that lead one another. */
export type Coupled<Y extends Tree> = { y: Y; z: Y };

/** How {@linkcode coupled} integrates. */
export interface CoupledOptions<Y extends Tree> extends FieldOptions<Y> {
  /**
   * The explicit method within.
   *
   * @default {"midpoint"}
   */
  readonly method?: Method;
  /**
   * λ, how strongly the two are kept together; 1 is not at all. The way back may grow errors by
   * λ^−N over N steps; the tape of `reverse` makes them vanish.
   *
   * @default {0.99}
   */
  readonly coupling?: number;
}

/**
 * The McCallum–Foster pair around an explicit method: y′ = λy + (1 − λ)z + Ψ_h(z), z′ = z − Ψ_−h(y′).
 * It has the order of the method, and its inverse is in closed form.
 *
 * @throws {RangeError} if the coupling is not in (0, 1].
 * @throws {TypeError} if there is no such method.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const decay = rg.steps.coupled({ field: (y: rg.Tensor) => y.neg(), h: 0.01, method: "rk4" });
 * const end = rg.loop(decay.step, decay.start(rg.tensor([1, 2])), { length: 100 });
 * console.log(await decay.value(end).array()); // about [1/e, 2/e]
 * ```
 */
export function coupled<Y extends Tree>(
  options: CoupledOptions<Y>,
): Integrator<Y, Coupled<Y>> {
  const { field, h, method = "midpoint", coupling = 0.99 } = options;
  const tableau = tableauOf(method, "make a coupled integrator");
  if (!(coupling > 0 && coupling <= 1)) {
    throw new RangeError(
      `Cannot make a coupled integrator: the coupling is ${coupling}, expected more than 0 and ` +
        "at most 1",
    );
  }
  const forward = (z: Y, i: Tensor): Y => increment(tableau, field, z, timeOf(options, i), h);
  const backward = (y: Y, i: Tensor): Y =>
    increment(tableau, field, y, timeOf(options, i, 1), negated(h));
  return {
    start: (y0) => ({ y: y0, z: y0 }),
    value: ({ y }) => y,
    step({ y, z }, i) {
      const next = add(addScaled(scale(y, coupling), 1 - coupling, z), forward(z, i));
      return { y: next, z: sub(z, backward(next, i)) };
    },
    inverse({ y, z }, i) {
      const before = add(z, backward(y, i));
      const rest = sub(addScaled(y, coupling - 1, before), forward(before, i));
      return { y: scale(rest, 1 / coupling), z: before };
    },
  };
}

/**
 * An explicit method as the step of a loop, without an inverse: for strategies that keep states.
 *
 * @throws {TypeError} if there is no such method.
 */
export function explicit<Y extends Tree>(
  { method = "rk4", ...options }: FieldOptions<Y> & { readonly method?: Method },
): { readonly step: (y: Y, i: Tensor) => Y } {
  const tableau = tableauOf(method, "make an explicit integrator");
  const { field, h } = options;
  return { step: (y, i) => add(y, increment(tableau, field, y, timeOf(options, i), h)) };
}
