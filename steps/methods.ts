/**
 * The methods of `odeSolve`: explicit ones, reversible ones by name, and what makes an integrator;
 * taken in equal steps, or in steps of any length. An integrator for a step is one whose clock begins
 * with it, so that the same functions serve both.
 *
 * @module
 */
import { zeros } from "../graph/create.ts";
import { describe } from "../graph/describe.ts";
import type { Tensor } from "../graph/tensor.ts";
import {
  asynchronousLeapfrog,
  type Field,
  type FieldOptions,
  type Integrator,
  reversibleHeun,
} from "./leapfrog.ts";
import {
  coupled,
  explicit,
  increment,
  type Method,
  type Tableau,
  tableauOf,
  tableaux,
  tried,
} from "./runge_kutta.ts";
import { zeroStep } from "./step.ts";
import { add, type Tree } from "./tree.ts";

/** A reversible integrator by name. */
export type ReversibleMethod = "asynchronousLeapfrog" | "reversibleHeun" | "coupled";

/** Makes an integrator for a field. */
export type IntegratorOf<Y extends Tree> = (options: FieldOptions<Y>) => Integrator<Y, Tree>;

/** What `odeSolve` takes for a method. */
export type SolveMethod<Y extends Tree> = Method | ReversibleMethod | IntegratorOf<Y>;

const reversible: {
  readonly [M in ReversibleMethod]: <Y extends Tree>(o: FieldOptions<Y>) => unknown;
} = {
  asynchronousLeapfrog,
  reversibleHeun,
  coupled,
};

/** What makes the integrators of a reversible method; undefined for an explicit one. */
export function integratorOf<Y extends Tree>(method: unknown): IntegratorOf<Y> | undefined {
  if (typeof method === "function") return method as IntegratorOf<Y>;
  if (typeof method !== "string" || !Object.hasOwn(reversible, method)) return undefined;
  return reversible[method as ReversibleMethod] as IntegratorOf<Y>;
}

/**
 * Looks whether there is a method of this name.
 *
 * @throws {TypeError} If there is none.
 */
export function checkMethod(method: unknown, action: string): void {
  const names = [...Object.keys(tableaux), ...Object.keys(reversible)];
  if (typeof method !== "string" || names.includes(method)) return;
  throw new TypeError(
    `Cannot ${action}: the method is ${JSON.stringify(method)}, expected one of ${
      names.join(", ")
    }, a tableau, or what makes an integrator for a field`,
  );
}

/** The methods that have an inverse, by name. */
export const reversibleNames: readonly string[] = Object.keys(reversible);

/** The error for a way back that inverts where there is no inverse. */
export function withoutInverse(action: string, names: readonly string[]): TypeError {
  return new TypeError(
    `Cannot ${action}: the method has no inverse, expected a reversible one (${
      names.join(", ")
    }) to run backwards`,
  );
}

/** The equal steps of a method, with an inverse if there is one. */
export interface Course<Y extends Tree> {
  readonly start: (y: Y) => Tree;
  readonly value: (carry: Tree) => Y;
  readonly step: (carry: Tree, i: Tensor) => Tree;
  readonly inverse?: (carry: Tree, i: Tensor) => Tree;
}

/** What makes an integrator, with what it made looked at. */
function made<Y extends Tree>(
  make: IntegratorOf<Y>,
  options: FieldOptions<Y>,
): Integrator<Y, Tree> {
  const integrator = make(options);
  const given: Partial<Integrator<Y, Tree>> = integrator ?? {};
  for (const name of ["start", "value", "step", "inverse"] as const) {
    if (typeof given[name] === "function") continue;
    throw new TypeError(
      `Cannot solve an ODE: ${name} of the integrator that the method made is ${
        describe(given[name])
      }, expected a function, as steps.reversibleHeun has it`,
    );
  }
  return integrator;
}

/** The equal steps of a method. */
export function courseOf<Y extends Tree>(
  method: SolveMethod<Y>,
  options: FieldOptions<Y>,
): Course<Y> {
  const make = integratorOf<Y>(method);
  if (make !== undefined) return made(make, options) as Course<Y>;
  const { step } = explicit({ ...options, method: method as Method });
  return {
    start: (y) => y,
    value: (y) => y as Y,
    step: step as unknown as Course<Y>["step"],
  };
}

/** When a step begins and ends, and how long it takes. */
export interface Moment {
  readonly t: Tensor;
  readonly h: Tensor;
  readonly end: Tensor;
}

/** Steps that tell what they err by, over a carry of their own. */
export interface Attempts<Y extends Tree, C extends Tree = Tree> {
  readonly start: (y0: Y, t0: Tensor) => C;
  readonly value: (carry: C) => Y;
  readonly step: (carry: C, when: Moment) => { readonly next: C; readonly error: Y };
}

/** The same steps once their length is known, over no more than the way back has to keep. */
export interface Replay<Y extends Tree, C extends Tree = Tree> {
  readonly start: (y0: Y, t0: Tensor) => C;
  readonly value: (carry: C) => Y;
  readonly step: (carry: C, when: Moment) => C;
  readonly inverse?: ((carry: C, when: Moment) => C) | undefined;
}

/** A method that takes steps of any length, of any field. */
export interface Stepper {
  /** With which power of the length the error of a step shrinks. */
  readonly order: number;
  /** What is between both ends of a step; without it, a cubic between values and slopes there. */
  readonly tableau: Tableau | undefined;
  readonly inverts: boolean;
  readonly attempts: <Y extends Tree>(field: Field<Y>) => Attempts<Y>;
  readonly replay: <Y extends Tree>(field: Field<Y>) => Replay<Y>;
}

function explicitStepper(tableau: Tableau): Stepper {
  /** The last slope of a step is the first of the next. */
  const attempts = <Y extends Tree>(field: Field<Y>): Attempts<Y, { y: Y; slope: Y }> => ({
    start: (y0, t0) => ({ y: y0, slope: field(y0, t0) }),
    value: ({ y }) => y,
    step({ y, slope: first }, when) {
      const { after, slope, error } = tried(tableau, field, y, { ...when, first });
      return { next: { y: after, slope }, error };
    },
  });
  const replay = <Y extends Tree>(field: Field<Y>): Replay<Y, Y> => ({
    start: (y0) => y0,
    value: (y) => y,
    step: (y, { t, h }) => add(y, increment(tableau, field, y, t, h)),
  });
  return {
    order: tableau.order,
    tableau,
    inverts: false,
    attempts: attempts as unknown as Stepper["attempts"],
    replay: replay as unknown as Stepper["replay"],
  };
}

function reversibleStepper(method: IntegratorOf<never>, order: number): Stepper {
  const still = zeros([]);
  const integrator = <Y extends Tree>(field: Field<Y>, t0: Tensor, h: Tensor) =>
    (method as unknown as IntegratorOf<Y>)({ field, t0, h });
  const replay = <Y extends Tree>(field: Field<Y>): Replay<Y> => ({
    start: (y0, t) => integrator(field, t, still).start(y0),
    value: (carry) => integrator(field, still, still).value(carry),
    step: (carry, { t, h }) => integrator(field, t, h).step(carry, zeroStep()),
    inverse: (carry, { t, h }) => integrator(field, t, h).inverse(carry, zeroStep()),
  });
  const attempts = <Y extends Tree>(field: Field<Y>): Attempts<Y> => ({
    ...replay(field),
    step: (carry, { t, h }) => integrator(field, t, h).trial!.step(carry, zeroStep()),
  });
  return { order, tableau: undefined, inverts: true, attempts, replay };
}

/**
 * The method for steps that choose their length.
 *
 * @throws {TypeError} if there is no such method, or it does not tell what a step errs by.
 */
export function stepperOf<Y extends Tree>(
  action: string,
  method: SolveMethod<Y>,
  field: Field<Y>,
): Stepper {
  const make = integratorOf<Y>(method);
  const trial = make && made(make, { field, h: zeros([]) }).trial;
  if (make !== undefined && trial !== undefined) {
    return reversibleStepper(make as unknown as IntegratorOf<never>, trial.order);
  }
  const tableau = make === undefined ? tableauOf(method as Method, action) : undefined;
  if (tableau?.error !== undefined) return explicitStepper(tableau);
  const what = tableau === undefined
    ? "of its own and has no trial"
    : typeof method === "string"
    ? method
    : "a tableau without an error";
  const names = Object.entries(tableaux).filter(([, { error }]) => error).map(([name]) => name);
  throw new TypeError(
    `Cannot ${action} within a tolerance: the method is ${what}, expected ${
      [...names, ...Object.keys(reversible)].join(", ")
    } or one that tells what a step errs by`,
  );
}
