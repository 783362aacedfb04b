/**
 * Explicit Runge–Kutta increments Ψ_h(t, y), and the wrapper that makes any of them reversible
 * while it keeps their order: McCallum & Foster, Efficient, accurate and stable gradients for
 * neural ODEs, 2024.
 *
 * @module
 */
import { checkNames, describe } from "../graph/describe.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Field, FieldOptions, Integrator } from "./leapfrog.ts";
import { checkMade, timeOf } from "./step.ts";
import {
  add,
  addScaled,
  negated,
  over,
  scale,
  sub,
  type TensorLike,
  times,
  type Tree,
} from "./tree.ts";

/** The coefficients of an explicit method. */
export interface Tableau {
  /** Its order of convergence. */
  readonly order: number;
  /** Row i: what stage i + 1 takes of the slopes of the stages before it. */
  readonly a: readonly (readonly number[])[];
  /** What the increment takes of each slope. */
  readonly b: readonly number[];
  /**
   * What the difference to the embedded solution of lower order takes of each slope, and of the
   * slope at the end of the step: one number more than `b`. Methods with it can choose their steps.
   */
  readonly error?: readonly number[];
  /**
   * The solution within a step: for each slope, and for the slope at the end of the step, the
   * coefficients of the first, second … power of the share of the step that is done. They sum up to
   * `b`. Without it, a cubic between values and slopes at both ends.
   */
  readonly dense?: readonly (readonly number[])[];
}

/** The name of an explicit method. */
export type MethodName =
  | "euler"
  | "midpoint"
  | "heun"
  | "bs3"
  | "rk4"
  | "dopri5"
  | "tsit5";

/** Explicit methods by name. All but `euler` and `rk4` can choose their steps. */
export const tableaux: { readonly [name in MethodName]: Tableau } = {
  euler: { order: 1, a: [], b: [1] },
  // Both beside a step of Euler's.
  midpoint: { order: 2, a: [[1 / 2]], b: [0, 1], error: [-1, 1, 0] },
  heun: { order: 2, a: [[1]], b: [1 / 2, 1 / 2], error: [-1 / 2, 1 / 2, 0] },
  // Bogacki & Shampine, A 3(2) pair of Runge–Kutta formulas, 1989.
  bs3: {
    order: 3,
    a: [[1 / 2], [0, 3 / 4]],
    b: [2 / 9, 1 / 3, 4 / 9],
    error: [5 / 72, -1 / 12, -1 / 9, 1 / 8],
  },
  rk4: { order: 4, a: [[1 / 2], [0, 1 / 2], [0, 0, 1]], b: [1 / 6, 1 / 3, 1 / 3, 1 / 6] },
  // Dormand & Prince, A family of embedded Runge–Kutta formulae, 1980; within steps of fourth order
  // as in Shampine, Some practical Runge–Kutta formulas, 1986.
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
    error: [-71 / 57600, 0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40],
    dense: [
      [1, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
      [],
      [0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799],
      [0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
      [0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632],
      [0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
      [0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
    ],
  },
  // Tsitouras, Runge–Kutta pairs of order 5(4) satisfying only the first column simplifying
  // assumption, 2011.
  tsit5: {
    order: 5,
    a: [
      [0.161],
      [-0.008480655492356989, 0.335480655492357],
      [2.8971530571054935, -6.359448489975075, 4.3622954328695815],
      [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525],
      [
        5.86145544294642,
        -12.92096931784711,
        8.159367898576159,
        -0.071584973281401,
        -0.028269050394068383,
      ],
    ],
    b: [
      0.09646076681806523,
      0.01,
      0.4798896504144996,
      1.379008574103742,
      -3.290069515436081,
      2.324710524099774,
    ],
    error: [
      -0.00178001105222577714,
      -0.0008164344596567469,
      0.007880878010261995,
      -0.1447110071732629,
      0.5823571654525552,
      -0.45808210592918697,
      1 / 66,
    ],
    dense: [
      [1, -2.763706197274826, 2.9132554618219126, -1.0530884977290216],
      [0, 0.1317, -0.2234, 0.1017],
      [0, 3.9302962368947516, -5.941033872131505, 2.490627285651253],
      [0, -12.411077166933676, 30.33818863028232, -16.548102889244902],
      [0, 37.50931341651104, -88.1789048947664, 47.37952196281928],
      [0, -27.896526289197286, 65.09189467479366, -34.87065786149661],
      [0, 1.5, -4, 2.5],
    ],
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
  if (!Array.isArray(method?.a) || !Array.isArray(method.b)) {
    throw new TypeError(
      `Cannot ${action}: the method is ${describe(method)}, expected the name of one or a tableau`,
    );
  }
  const { a, b, error, dense } = method;
  for (const [name, given] of Object.entries({ error, dense })) {
    if (given === undefined || given.length === b.length + 1) continue;
    throw new TypeError(
      `Cannot ${action}: the tableau has ${given.length} rows for ${name}, expected ` +
        `${b.length + 1}: one for each slope and one for the slope at the end`,
    );
  }
  if (b.length === a.length + 1 && a.every((row, i) => row.length === i + 1)) return method;
  throw new TypeError(
    `Cannot ${action}: the tableau has rows of ${
      a.map((row) => row.length).join(", ") || "none"
    } ` +
      `and ${b.length} weights, expected rows of 1, 2, 3 … and one weight more than rows`,
  );
}

/** The weighted sum of slopes; undefined where all weights are 0. */
function combined<Y extends Tree>(
  slopes: readonly Y[],
  weights: readonly (number | Tensor)[],
): Y | undefined {
  let sum: Y | undefined;
  weights.forEach((weight, i) => {
    if (weight === 0) return;
    const term = slopes[i]!;
    if (sum === undefined) sum = weight === 1 ? term : scale(term, weight);
    else sum = addScaled(sum, weight, term);
  });
  return sum;
}

/** The slopes of a method's stages over a time h from y(t); the first one may be known. */
function stages<Y extends Tree>(
  { a }: Pick<Tableau, "a">,
  field: Field<Y>,
  y: Y,
  t: Tensor,
  h: TensorLike,
  first: Y = field(y, t),
): Y[] {
  const slopes = [first];
  for (const row of a) {
    const slope = combined(slopes, row);
    // The time of a stage is the sum of its row, as the equations t′ = 1 and y′ = f agree on.
    const share = row.reduce((sum, x) => sum + x, 0);
    const at = share === 0 ? t : t.add(times(h, share));
    slopes.push(field(slope === undefined ? y : addScaled(y, h, slope), at));
  }
  return slopes;
}

/** What a method adds to y over a time h: Ψ_h(t, y). */
export function increment<Y extends Tree>(
  tableau: Tableau,
  field: Field<Y>,
  y: Y,
  t: Tensor,
  h: TensorLike,
): Y {
  return scale(combined(stages(tableau, field, y, t, h), tableau.b)!, h);
}

/**
 * The coefficients of a method's solution within a step, as {@linkcode Tableau.dense}: its own, or
 * those of the cubic between values and slopes at both ends.
 */
function denseOf({ b, dense }: Tableau): readonly (readonly number[])[] {
  if (dense !== undefined) return dense;
  const rows = b.map((weight, i) => [i === 0 ? 1 : 0, 3 * weight, -2 * weight]);
  rows[0]![1]! -= 2;
  rows[0]![2]! += 1;
  return [...rows, [0, -1, 1]];
}

/** A step from y(t) over a time h, of which the first slope is known, with what it errs by. */
export function tried<Y extends Tree>(
  tableau: Tableau,
  field: Field<Y>,
  y: Y,
  { t, h, end = t.add(h), first }: {
    readonly t: Tensor;
    readonly h: TensorLike;
    readonly end?: Tensor;
    readonly first?: Y;
  },
): { readonly after: Y; readonly slope: Y; readonly error: Y } {
  const slopes = stages(tableau, field, y, t, h, first);
  const after = addScaled(y, h, combined(slopes, tableau.b)!);
  const slope = field(after, end);
  return { after, slope, error: scale(combined([...slopes, slope], tableau.error!)!, h) };
}

/** The value of a method's solution at a share of a step of time h from y(t). */
export function within<Y extends Tree>(
  tableau: Tableau,
  field: Field<Y>,
  y: Y,
  { t, h, share }: { readonly t: Tensor; readonly h: Tensor; readonly share: Tensor },
): Y {
  const slopes = stages(tableau, field, y, t, h);
  const end = addScaled(y, h, combined(slopes, tableau.b)!);
  const rows = denseOf(tableau);
  if (rows.at(-1)!.some((x) => x !== 0)) slopes.push(field(end, t.add(h)));
  const weights = rows.map((row) =>
    row.length === 0 ? 0 : row.reduceRight<Tensor>((sum, x) => sum.add(x).mul(share), share.mul(0))
  );
  return addScaled(y, h, combined(slopes, weights)!);
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
  checkNames(
    options,
    { field: true, h: true, t0: true, method: true, coupling: true },
    "make a coupled integrator",
  );
  checkMade("make a coupled integrator", options, "field");
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
  const step = ({ y, z }: Coupled<Y>, i: Tensor): Coupled<Y> => {
    const next = add(addScaled(scale(y, coupling), 1 - coupling, z), forward(z, i));
    return { y: next, z: sub(z, backward(next, i)) };
  };
  return {
    start: (y0) => ({ y: y0, z: y0 }),
    value: ({ y }) => y,
    step,
    ...tableau.error && {
      trial: {
        order: tableau.order,
        step: (carry, i) => ({
          next: step(carry, i),
          error: tried(tableau, field, carry.z, { t: timeOf(options, i), h }).error,
        }),
      },
    },
    inverse({ y, z }, i) {
      const before = add(z, backward(y, i));
      const rest = sub(addScaled(y, coupling - 1, before), forward(before, i));
      return { y: over(rest, coupling), z: before };
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
  checkMade("make an explicit integrator", options, "field");
  const { field, h } = options;
  return { step: (y, i) => add(y, increment(tableau, field, y, timeOf(options, i), h)) };
}
