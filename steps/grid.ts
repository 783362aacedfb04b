/**
 * Arithmetic on a grid, which makes sums of floats exact and so a leapfrog or a coupling of layers
 * its own inverse to the bit, with nothing stored: Levesque & Verlet, Molecular dynamics and time reversibility, 1993; Rein
 * & Tamayo, JANUS: a bit-wise reversible integrator for N-body dynamics, 2018.
 *
 * Values are multiples of 2^−k below 2^(24−k), every one of which f32 holds. What is added to one is
 * rounded to the grid first; the sum of two multiples is a multiple, and exact as long as it stays
 * in range, which is checked on the device. The way back computes the increment again from the same
 * bits, rounds it to the same multiple, and takes it away.
 *
 * The increment's own arithmetic stands between barriers, so that no driver may merge it with what
 * is around it in one direction and not in the other.
 *
 * @module
 */
import { unary } from "../graph/build.ts";
import { check } from "../graph/check.ts";
import { checkNames } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import { Tensor } from "../graph/tensor.ts";
import { customVjp } from "../graph/transforms/custom.ts";
import type { LeapfrogOptions, Motion } from "./leapfrog.ts";
import { checkMade, type ReversibleStep, timeOf } from "./step.ts";
import { map, scale, times, type Tree } from "./tree.ts";

/** Bits of a whole number that f32 holds. */
const digits = 24;

/** What values a grid has to hold. */
export interface GridOptions {
  /** No value may be larger than this; rounded up to a power of two. */
  readonly range: number;
}

/** A grid of f32 values on which sums are exact. */
export class Grid {
  /** Values lie in (−limit, limit): the range rounded up to a power of two. */
  readonly limit: number;
  /** The distance between neighbours: limit·2^−24. */
  readonly resolution: number;

  /**
   * The finest grid that holds values of this range.
   *
   * @throws {RangeError} if the range is not a positive number that f32 has a grid for: from 2^−100
   * to 2^100.
   */
  constructor({ range }: GridOptions) {
    if (!(range >= 2 ** -100 && range <= 2 ** 100)) {
      throw new RangeError(
        `Cannot make a grid: the range is ${range}, expected a number from 2^-100 to 2^100`,
      );
    }
    this.limit = 2 ** Math.ceil(Math.log2(range));
    this.resolution = this.limit * 2 ** -digits;
  }

  /** The tree's values moved to the grid: what a loop on it starts from. */
  round<T extends Tree>(tree: T): T {
    return map((x) => this.#checked(this.#rounded(this.#f32(x))), tree);
  }

  /** a + b, where a is on the grid and b is rounded to it. Its inverse is {@linkcode sub}. */
  add<T extends Tree>(a: T, b: T): T {
    return map((x, y) => this.#checked(this.#f32(x).add(this.#rounded(y!))), a, b);
  }

  /** a − b, where a is on the grid and b is rounded to it. */
  sub<T extends Tree>(a: T, b: T): T {
    return map((x, y) => this.#checked(this.#f32(x).sub(this.#rounded(y!))), a, b);
  }

  #f32(x: Tensor): Tensor {
    if (x.dtype === "f32") return x;
    throw new TypeError(`Cannot compute on a grid: a value is ${x.dtype}, expected f32`);
  }

  /**
   * To the nearest multiple; for derivatives the identity. Scaling by a power of two is exact. What
   * is rounded to zero is +0: a sum never comes back to −0.
   */
  #rounded(x: Tensor): Tensor {
    const round = customVjp(
      (x: Tensor) => {
        const multiple = opaque(x).div(this.resolution).round();
        return where(multiple.equal(0), 0, multiple).mul(this.resolution);
      },
      (g) => [g],
    );
    return round(x);
  }

  #checked(x: Tensor): Tensor {
    check(
      x.abs().less(this.limit),
      `a value left the range ±${this.limit} of its grid, expected a grid with more range`,
    );
    return x;
  }
}

/** A value with the bits that it was computed with, whatever comes next. */
function opaque(x: Tensor): Tensor {
  return new Tensor(unary("barrier", x.node));
}

/** A grid that holds values of this range. See {@linkcode Grid}. */
export function grid(range: number): Grid {
  return new Grid({ range });
}

/** How an exact leapfrog moves. */
export interface ExactLeapfrogOptions<Y extends Tree> extends LeapfrogOptions<Y> {
  /** The largest size of a place. */
  readonly range: number;
  /**
   * The largest size of a velocity.
   *
   * @default {"the range of places"}
   */
  readonly velocityRange?: number;
}

/** An exact leapfrog with the way onto its grids. */
export interface ExactLeapfrog<Y extends Tree> extends ReversibleStep<Motion<Y>> {
  /** A motion moved onto the grids. */
  readonly start: (motion: Motion<Y>) => Motion<Y>;
  /** The grid of places. */
  readonly places: Grid;
  /** The grid of velocities. */
  readonly velocities: Grid;
}

/**
 * Leapfrog on a grid: as {@linkcode leapfrog}, but its inverse gives back every bit, over any number
 * of steps, and nothing is stored for it: for `reverse({ …, exact: "grid" })`. Places are known to
 * range·2^−24, so the energy is as good as that allows.
 *
 * @throws {RangeError} if a range is not a positive number.
 * @throws {CheckError} at the next await, if a place or velocity leaves its range.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const pendulum = rg.steps.exactLeapfrog({
 *   force: (x: rg.Tensor) => x.sin().neg(),
 *   h: 0.05,
 *   range: 4,
 * });
 * const start = pendulum.start({ x: rg.tensor([1, 2, 3]), v: rg.zeros([3]) });
 * const there = rg.loop(pendulum.step, start, { length: 1000 });
 * const back = rg.loop(
 *   (motion, i) => pendulum.inverse(motion, i.neg().add(999)),
 *   there,
 *   { length: 1000 },
 * );
 * assertEquals(await back.x.array(), await start.x.array());
 * ```
 */
export function exactLeapfrog<Y extends Tree>(
  options: ExactLeapfrogOptions<Y>,
): ExactLeapfrog<Y> {
  checkNames(options, {
    force: true,
    velocity: true,
    range: true,
    velocityRange: true,
    h: true,
    t0: true,
  }, "make an exact leapfrog");
  checkMade("make an exact leapfrog", options, "force");
  const { force, velocity = (v: Y) => v, h, range, velocityRange = range } = options;
  const half = times(h, 0.5);
  const places = grid(range), velocities = grid(velocityRange);
  const kick = (x: Y, t: Tensor): Y => scale(isolated((x) => force(x, t), x), half);
  const drift = (v: Y): Y => scale(isolated(velocity, v), h);
  return {
    places,
    velocities,
    start: ({ x, v }) => ({ x: places.round(x), v: velocities.round(v) }),
    step({ x, v }, i) {
      const between = velocities.add(v, kick(x, timeOf(options, i)));
      const next = places.add(x, drift(between));
      return { x: next, v: velocities.add(between, kick(next, timeOf(options, i, 1))) };
    },
    inverse({ x, v }, i) {
      const between = velocities.sub(v, kick(x, timeOf(options, i, 1)));
      const before = places.sub(x, drift(between));
      return { x: before, v: velocities.sub(between, kick(before, timeOf(options, i))) };
    },
  };
}

/** Computed apart from what is around it, so that no driver may merge the two. */
function isolated<X extends Tree, Y extends Tree>(f: (x: X) => Y, x: X): Y {
  return map(opaque, f(map(opaque, x)));
}

/** An exact coupling with the way onto its grid. */
export interface ExactCoupling<X1 extends Tree, X2 extends Tree, A extends readonly unknown[]>
  extends ReversibleStep<[X1, X2], A> {
  /** Halves moved onto the grid. */
  readonly start: (halves: [X1, X2]) => [X1, X2];
  /** The grid of both. */
  readonly places: Grid;
}

/**
 * The additive coupling on a grid: as {@linkcode additiveCoupling}, but its inverse gives back every
 * bit whatever the depth, and nothing is stored for it: for `reverse({ …, exact: "grid" })`. Values
 * are known to range·2^−24.
 *
 * @throws {RangeError} if the range is not a positive number.
 * @throws {CheckError} at the next await, if a value leaves the range.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const block = rg.steps.exactCoupling(
 *   (x: rg.Tensor) => x.sin(),
 *   (x: rg.Tensor) => x.cos().mul(0.5),
 *   { range: 16 },
 * );
 * const start = block.start([rg.tensor([1, 2]), rg.tensor([0.1, 0.2])]);
 * const [x1] = block.inverse(block.step(start));
 * assertEquals(await x1.array(), await start[0].array());
 * ```
 */
export function exactCoupling<X1 extends Tree, X2 extends Tree, A extends readonly unknown[]>(
  f: (x2: X2, ...given: A) => X1,
  g: (y1: X1, ...given: A) => X2,
  options: GridOptions,
): ExactCoupling<X1, X2, A> {
  checkNames(options, { range: true }, "make an exact coupling");
  const places = new Grid(options);
  const toFirst = (x: X2, given: A): X1 => isolated((x: X2) => f(x, ...given), x);
  const toSecond = (x: X1, given: A): X2 => isolated((x: X1) => g(x, ...given), x);
  return {
    places,
    start: ([x1, x2]) => [places.round(x1), places.round(x2)],
    step([x1, x2], ...given) {
      const y1 = places.add(x1, toFirst(x2, given));
      return [y1, places.add(x2, toSecond(y1, given))];
    },
    inverse([y1, y2], ...given) {
      const x2 = places.sub(y2, toSecond(y1, given));
      return [places.sub(y1, toFirst(x2, given)), x2];
    },
  };
}
