/**
 * Integrators that are their own reverse: leapfrog for forces, and its relatives for any field.
 *
 * - Leapfrog (Störmer–Verlet, kick–drift–kick): second order, symplectic; undone by a step of −h.
 * - Asynchronous leapfrog: Mutze, An asynchronous leapfrog method II, 2013; Zhuang et al., MALI: A
 *   memory efficient and reverse accurate integrator for neural ODEs, 2021.
 * - Reversible Heun: Kidger, Foster, Li & Lyons, Efficient and accurate gradients for neural SDEs,
 *   2021.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkMade, type Clock, type ReversibleStep, timeOf, zeroStep } from "./step.ts";
import { add, addScaled, map, negated, plus, scale, sub, times, type Tree } from "./tree.ts";

/** The right-hand side of dy/dt = field(y, t). */
export type Field<Y extends Tree> = (y: Y, t: Tensor) => Y;

/** A place and a velocity. */
export type Motion<Y extends Tree> = { x: Y; v: Y };

/** How a leapfrog moves. */
export interface LeapfrogOptions<Y extends Tree> extends Clock {
  /** The acceleration at a place and time. */
  readonly force: Field<Y>;
  /**
   * What moves the place: the velocity, from what is carried in its stead, for instance v = p/m.
   *
   * @default {"the velocity itself"}
   */
  readonly velocity?: (v: Y) => Y;
}

/**
 * Leapfrog for x″ = force(x, t): half a kick, a drift, half a kick. Second order, time-reversible
 * and, for a force that comes from a potential, symplectic: the energy does not drift.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const pendulum = rg.steps.leapfrog({ force: (x: rg.Tensor) => x.sin().neg(), h: 0.05 });
 * const start = { x: rg.tensor([1, 2, 3]), v: rg.zeros([3]) };
 * const { x } = rg.loop(pendulum.step, start, { length: 100 });
 * console.log(await x.array());
 * ```
 */
export function leapfrog<Y extends Tree>(
  options: LeapfrogOptions<Y>,
): ReversibleStep<Motion<Y>> {
  checkNames(options, { force: true, velocity: true, h: true, t0: true }, "make a leapfrog");
  checkMade("make a leapfrog", options, "force");
  const { force, velocity = (v: Y) => v, h } = options;
  const half = times(h, 0.5);
  return {
    step({ x, v }, i) {
      const between = addScaled(v, half, force(x, timeOf(options, i)));
      const next = addScaled(x, h, velocity(between));
      return { x: next, v: addScaled(between, half, force(next, timeOf(options, i, 1))) };
    },
    inverse({ x, v }, i) {
      const between = addScaled(v, negated(half), force(x, timeOf(options, i, 1)));
      const before = addScaled(x, negated(h), velocity(between));
      return { x: before, v: addScaled(between, negated(half), force(before, timeOf(options, i))) };
    },
  };
}

/** What an integrator of dy/dt = field(y, t) needs. */
export interface FieldOptions<Y extends Tree> extends Clock {
  /** The right-hand side. */
  readonly field: Field<Y>;
}

/** A value and a guess of its rate of change. */
export type Paired<Y extends Tree> = { z: Y; v: Y };

/** How the asynchronous leapfrog moves. */
export interface AsynchronousLeapfrogOptions<Y extends Tree> extends FieldOptions<Y> {
  /**
   * Damping: 1 is none; less stabilises, at the price of an inverse that grows errors by
   * 1/(2η − 1). More than ½.
   *
   * @default {1}
   */
  readonly damping?: number;
}

/** A step that tells what it errs by, about. */
export interface Trial<Y extends Tree, C extends Tree> {
  /** With which power of the step's length that shrinks. */
  readonly order: number;
  /** The step, and in the value's structure how far it is from one of lower order. */
  readonly step: (carry: C, i: Tensor) => { readonly next: C; readonly error: Y };
}

/** A step with the way into its carry and out of it. */
export interface Integrator<Y extends Tree, C extends Tree> extends ReversibleStep<C> {
  /** The carry for a first value; gradients flow through it. */
  readonly start: (y0: Y) => C;
  /** The value that a carry stands for. */
  readonly value: (carry: C) => Y;
  /** For steps that choose their length, if it can tell what they err by. */
  readonly trial?: Trial<Y, C>;
}

/**
 * Asynchronous leapfrog for dy/dt = field(y, t): second order, with the rate of change carried
 * beside the value, from v₀ = field(y₀, t₀) on.
 *
 * @throws {RangeError} if the damping is not in (½, 1].
 */
export function asynchronousLeapfrog<Y extends Tree>(
  options: AsynchronousLeapfrogOptions<Y>,
): Integrator<Y, Paired<Y>> {
  checkNames(
    options,
    { field: true, damping: true, h: true, t0: true },
    "make an asynchronous leapfrog",
  );
  checkMade("make an asynchronous leapfrog", options, "field");
  const { field, h, t0 = 0, damping = 1 } = options;
  if (!(damping > 0.5 && damping <= 1)) {
    throw new RangeError(
      `Cannot make an asynchronous leapfrog: the damping is ${damping}, expected more than 0.5 ` +
        "and at most 1",
    );
  }
  const half = times(h, 0.5);
  const halfway = (i: Tensor): Tensor => timeOf({ h, t0: plus(t0, half) }, i);
  function step({ z, v }: Paired<Y>, i: Tensor): { next: Paired<Y>; error: Y } {
    const k = addScaled(z, half, v);
    const u = field(k, halfway(i));
    const next = map((v, u) => v.add(u!.sub(v).mul(2 * damping)), v, u);
    return { next: { z: addScaled(k, half, next), v: next }, error: scale(sub(u, v), h) };
  }
  return {
    start: (y0) => ({ z: y0, v: field(y0, timeOf(options, zeroStep())) }),
    value: ({ z }) => z,
    step: (carry, i) => step(carry, i).next,
    trial: { order: 2, step },
    inverse({ z, v }, i) {
      const k = addScaled(z, negated(half), v);
      const u = field(k, halfway(i));
      const before = map(
        (v, u) => u!.mul(2 * damping).sub(v).div(2 * damping - 1),
        v,
        u,
      );
      return { z: addScaled(k, negated(half), before), v: before };
    },
  };
}

/** A value and its companion, which the field is evaluated at. */
export type Companions<Y extends Tree> = { y: Y; yhat: Y };

/**
 * Reversible Heun for dy/dt = field(y, t): second order, algebraically reversible, two evaluations a
 * step.
 */
export function reversibleHeun<Y extends Tree>(
  options: FieldOptions<Y>,
): Integrator<Y, Companions<Y>> {
  checkNames(options, { field: true, h: true, t0: true }, "make a reversible Heun step");
  checkMade("make a reversible Heun", options, "field");
  const { field, h } = options;
  const half = times(h, 0.5);
  function step({ y, yhat }: Companions<Y>, i: Tensor): { next: Companions<Y>; error: Y } {
    const before = field(yhat, timeOf(options, i));
    const next = addScaled(sub(scale(y, 2), yhat), h, before);
    const after = field(next, timeOf(options, i, 1));
    return {
      next: { y: addScaled(y, half, add(before, after)), yhat: next },
      error: scale(sub(after, before), half),
    };
  }
  return {
    start: (y0) => ({ y: y0, yhat: y0 }),
    value: ({ y }) => y,
    step: (carry, i) => step(carry, i).next,
    trial: { order: 2, step },
    inverse({ y, yhat }, i) {
      const after = field(yhat, timeOf(options, i, 1));
      const previous = addScaled(sub(scale(y, 2), yhat), negated(h), after);
      const before = field(previous, timeOf(options, i));
      return { y: addScaled(y, negated(half), add(before, after)), yhat: previous };
    },
  };
}
