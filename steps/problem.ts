/**
 * What is to be solved, what is found, and whether what was given makes a problem at all.
 *
 * @module
 */
import { check } from "../graph/check.ts";
import { tensor } from "../graph/create.ts";
import { describe } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import type { Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { flatten, leafPaths } from "../graph/tree.ts";
import type { Field } from "./leapfrog.ts";
import type { Tree } from "./tree.ts";

/** What is to be solved: dy/dt = field(y, t) from y(t0) = y0 over a time. */
export interface Problem<Y extends Tree> {
  readonly field: Field<Y>;
  readonly y0: Y;
  readonly t0: Tensor;
  /** t1 − t0. */
  readonly span: Tensor;
}

/** Values on the way, with the share of the interval at which each lies. */
export interface Found<Y extends Tree> {
  readonly y: Y;
  readonly share: Tensor;
  /** How long the steps take that begin there, in shares. */
  readonly length: Tensor;
}

/** A solution at the end of the interval. */
export interface Solution<Y extends Tree> {
  readonly end: Y;
  /** What the values at the given shares are computed from. */
  readonly found: Found<Y> | null;
}

/** Throws unless steps are a positive integer. */
export function checkSteps(action: string, steps: unknown): asserts steps is number {
  if (typeof steps === "number" && Number.isSafeInteger(steps) && steps >= 1) return;
  throw new RangeError(`Cannot ${action}: steps is ${describe(steps)}, expected an integer ≥ 1`);
}

/** A moment as a scalar of floats; what the device finds not to be finite raises a flag. */
export function timeAs(action: string, name: string, t: unknown): Tensor {
  if (typeof t === "number" && Number.isFinite(t)) return tensor(t);
  if (isTensor(t) && t.shape.length === 0 && isFloat(t.dtype)) {
    const time = t.cast("f32");
    check(
      time.isFinite(),
      `cannot ${action}: ${name} is NaN or infinite, expected a finite number`,
    );
    return time;
  }
  throw new TypeError(
    `Cannot ${action}: ${name} is ${isTensor(t) ? t : describe(t)}, expected a finite number or ` +
      "a scalar of floats",
  );
}

/** Throws unless a state is made of floats. */
export function checkState(action: string, y0: unknown): void {
  const { leaves, structure } = flatten(y0, isTensor, "y0");
  const paths = leafPaths(structure);
  const wrong = leaves.findIndex((x) => !isFloat(x.dtype));
  if (leaves.length > 0 && wrong < 0) return;
  const what = leaves.length === 0
    ? "y0 has no tensors"
    : `${paths[wrong] === "" ? "y0" : `y0.${paths[wrong]}`} is ${leaves[wrong]!.dtype}`;
  throw new TypeError(`Cannot ${action}: ${what}, expected a tree of tensors of floats`);
}
