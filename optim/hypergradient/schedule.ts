/**
 * What a run of training depends on besides its parameters and data, as users give it, and as rows
 * for every step and leaf, as the sweeps read it.
 *
 * @module
 */
import { full } from "../../graph/create.ts";
import { checkNames, checkOptions, describe } from "../../graph/describe.ts";
import { broadcastShapes, sameShape, showShape } from "../../graph/shape.ts";
import { Tensor } from "../../graph/tensor.ts";
import { checkSame, flatten } from "../../graph/tree.ts";
import type { Named, Tree } from "../tree.ts";

/**
 * A hyperparameter: one for all parameters, or a tree with one for each. Each is a scalar, or has a
 * first axis with a row for every step; rows are scalars or broadcast to the parameter.
 */
export type Hyperparameter = Tensor | number | Tree;

/** What a run of training depends on, besides its parameters and data. */
export interface TrainingSchedule {
  /** Step sizes. */
  readonly rates: Hyperparameter;
  /**
   * What is kept of a velocity, or with Adam of the mean of gradients (its beta1); plain descent has
   * none. Velocities of momentum are in fixed point, for which these are rounded to multiples of
   * 1 / `denominator`, in [`least`, 1].
   *
   * @default {0.9}
   */
  readonly momenta?: Hyperparameter | null;
  /**
   * What is kept of the mean of gradients' squares, for Adam alone (its beta2).
   *
   * @default {0.999}
   */
  readonly squares?: Hyperparameter | null;
  /** The gradient of a penalty, decay·parameter, is added to that of the loss. @default {none} */
  readonly decay?: Hyperparameter | null;
}

/** The members of a schedule. */
export type HyperparameterName = keyof TrainingSchedule;

/** Throws unless it is a schedule, with no names that nobody reads. */
export function checkSchedule(schedule: unknown): asserts schedule is TrainingSchedule {
  checkOptions(schedule, "train", "{ rates: 0.1 }");
  const names = { rates: true, momenta: true, squares: true, decay: true } as const;
  checkNames(schedule as TrainingSchedule, names, "train");
}

/** A place in a tree, in words. */
export function pathOf(name: string, path: string): string {
  return path === "" ? name : `${name}.${path}`;
}

/** A hyperparameter as rows for each parameter. */
export function rowsOf(
  name: HyperparameterName,
  value: Hyperparameter,
  params: Named,
  steps: number,
): Tensor[] {
  const fail = (path: string, is: string, expected: string): never => {
    throw new TypeError(`Cannot train: ${pathOf(name, path)} is ${is}, expected ${expected}`);
  };
  const one = (x: Tensor | number, leaf: Tensor, path: string): Tensor => {
    if (typeof x === "number" && !Number.isFinite(x)) fail(path, String(x), "a finite number");
    const rows = typeof x === "number" ? full([], x) : x;
    if (rows.dtype !== "f32") fail(path, rows.dtype, "f32");
    if (rows.rank === 0) return rows.broadcastTo([steps]);
    const [first, ...rest] = rows.shape;
    const both = broadcastShapes(rest, leaf.shape);
    if (first !== steps || both === undefined || !sameShape(both, leaf.shape)) {
      fail(
        path,
        `f32${showShape(rows.shape)}`,
        `a scalar, or ${steps} rows that broadcast to ${showShape(leaf.shape)}`,
      );
    }
    return rows;
  };
  if (isNumeric(value)) {
    return params.leaves.map((leaf) => one(value, leaf, ""));
  }
  if (typeof value !== "object" || value === null) {
    fail("", describe(value), "a number, a tensor, or a tree with one for each parameter");
  }
  const given = flatten(value, isNumeric, name);
  checkSame(`train: ${name} and params`, params.structure, given.structure);
  return params.leaves.map((leaf, i) => one(given.leaves[i]!, leaf, params.paths[i]!));
}

/** True for a hyperparameter that is no tree. */
export function isNumeric(x: unknown): x is Tensor | number {
  return x instanceof Tensor || typeof x === "number";
}
