/**
 * Two fields that drive each other in turns, half a step apart: what waves are made of. The scheme
 * of Yee, Numerical solution of initial boundary value problems involving Maxwell's equations in
 * isotropic media, 1966, for sound: a pressure in the middle of each cell and the flow across the
 * faces between cells.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import type { Tensor } from "../graph/tensor.ts";
import { zerosLike } from "../graph/create.ts";
import { concatenate } from "../graph/operations.ts";
import { checkMade, type Clock, type ReversibleStep, timeOf } from "./step.ts";
import { addScaled, negated, type TensorLike, times, type Tree } from "./tree.ts";

/** Two fields, each of which drives the other. */
export type Fields<U extends Tree, P extends Tree> = { u: U; p: P };

/** What drives two fields. */
export interface StaggeredOptions<U extends Tree, P extends Tree> extends Clock {
  /** The rate of change of u at a time, from p. */
  readonly u: (p: P, t: Tensor) => U;
  /** The rate of change of p at a time, from u. */
  readonly p: (u: U, t: Tensor) => P;
}

/**
 * Steps of two fields in turns: p with u of now, then u with the new p. With p given half a step
 * before u, this is of second order. The inverse takes the same turns in reverse.
 */
export function staggered<U extends Tree, P extends Tree>(
  options: StaggeredOptions<U, P>,
): ReversibleStep<Fields<U, P>> {
  checkNames(options, { u: true, p: true, h: true, t0: true }, "make staggered steps");
  checkMade("make staggered steps", options, "u", "p");
  const { h } = options;
  const half = times(h, 0.5);
  const middle = (i: Tensor): Tensor => timeOf(options, i).add(half);
  return {
    step({ u, p }, i) {
      const next = addScaled(p, h, options.p(u, timeOf(options, i)));
      return { u: addScaled(u, h, options.u(next, middle(i))), p: next };
    },
    inverse({ u, p }, i) {
      const before = addScaled(u, negated(h), options.u(p, middle(i)));
      return { u: before, p: addScaled(p, negated(h), options.p(before, timeOf(options, i))) };
    },
  };
}

/** A medium for waves. */
export interface WaveOptions extends Clock {
  /**
   * The speed of the waves: one for all cells, or a tensor with one for each.
   *
   * @default {1}
   */
  readonly speed?: TensorLike;
  /**
   * The width of a cell, the same along all axes.
   *
   * @default {1}
   */
  readonly spacing?: number;
  /**
   * What happens at the ends of each axis: walls reflect, or the last cell is a neighbour of the
   * first.
   *
   * @default {"walls"}
   */
  readonly boundary?: "walls" | "periodic";
  /** What is added to the rate of change of the pressure at a time. */
  readonly source?: (t: Tensor) => Tensor;
}

/** A pressure in each cell and the flow across the faces, one tensor for each axis. */
export type Wave = Fields<Tensor, Tensor[]>;

/** A wave with the fields for a first pressure. */
export interface WaveStep extends ReversibleStep<Wave> {
  /** The fields at rest with this pressure. */
  readonly start: (u: Tensor) => Wave;
}

/**
 * The wave equation u″ = c²Δu in any number of dimensions, as u′ = c²∇·p, p′ = ∇u, in the staggered
 * scheme: of second order in time and space, stable for c·h·√dimensions ≤ spacing. Gradients flow to
 * the speed, the source and the first fields: what sounding a body from outside needs.
 *
 * @throws {RangeError} if the spacing is not positive.
 * @throws {TypeError} if the boundary is unknown.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const water = rg.steps.wave({ h: 0.5, speed: 1 });
 * const drop = rg.zeros([32, 32]).scatterAdd(rg.tensor([16], { dtype: "i32" }), rg.ones([1, 32]));
 * const { u } = rg.loop(water.step, water.start(drop), { length: 20 });
 * console.log(u.shape);
 * ```
 */
export function wave(options: WaveOptions): WaveStep {
  checkNames(options, {
    speed: true,
    spacing: true,
    boundary: true,
    source: true,
    h: true,
    t0: true,
  }, "make a wave");
  checkMade("make a wave", options);
  const { speed = 1, spacing = 1, boundary = "walls", source, ...clock } = options;
  if (!(spacing > 0)) {
    throw new RangeError(`Cannot make a wave: the spacing is ${spacing}, expected more than 0`);
  }
  if (boundary !== "walls" && boundary !== "periodic") {
    throw new TypeError(
      `Cannot make a wave: the boundary is ${JSON.stringify(boundary)}, expected "walls" or ` +
        '"periodic"',
    );
  }
  const periodic = boundary === "periodic";
  const square = typeof speed === "number" ? speed * speed : speed.square();
  /** x[i+1] − x[i] along an axis, on the faces between cells. */
  const across = (x: Tensor, axis: number): Tensor => {
    const next = periodic ? shifted(x, axis, 1) : part(x, axis, 1, x.shape[axis]!);
    return next.sub(periodic ? x : part(x, axis, 0, x.shape[axis]! - 1)).div(spacing);
  };
  /** What flows out of each cell along an axis less what flows in; nothing flows through walls. */
  const divergence = (p: Tensor, axis: number): Tensor => {
    if (periodic) return p.sub(shifted(p, axis, -1)).div(spacing);
    const widths = (before: number, after: number): [number, number][] =>
      p.shape.map((_, i) => i === axis ? [before, after] : [0, 0]);
    return p.pad(widths(0, 1)).sub(p.pad(widths(1, 0))).div(spacing);
  };
  const fields = staggered<Tensor, Tensor[]>({
    ...clock,
    u: (p, t) => {
      const spread = p.map(divergence).reduce((sum, x) => sum.add(x)).mul(square);
      return source === undefined ? spread : spread.add(source(t));
    },
    p: (u) => u.shape.map((_, axis) => across(u, axis)),
  });
  return {
    ...fields,
    start(u) {
      if (u.rank === 0) {
        throw new TypeError(`Cannot start a wave: the pressure is ${u}, expected an axis at least`);
      }
      return { u, p: u.shape.map((_, axis) => across(u, axis)).map((p) => zerosLike(p)) };
    },
  };
}

/** x from `start` to `stop` along an axis. */
function part(x: Tensor, axis: number, start: number, stop: number): Tensor {
  return x.slice(...x.shape.map((n, i): [number, number] => i === axis ? [start, stop] : [0, n]));
}

/** x[i + by] along an axis, around its ends; `by` is 1 or −1. */
function shifted(x: Tensor, axis: number, by: 1 | -1): Tensor {
  const n = x.shape[axis]!;
  const cut = by === 1 ? 1 : n - 1;
  return concatenate([part(x, axis, cut, n), part(x, axis, 0, cut)], axis);
}
