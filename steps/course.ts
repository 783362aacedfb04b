/**
 * Equal steps from one end of an interval to the other: a loop over the steps of a method, whose way
 * back is chosen apart from it.
 *
 * @module
 */
import { reverse } from "../checkpoint/strategy.ts";
import { arange } from "../graph/create.ts";
import { concatenate } from "../graph/operations.ts";
import { describe } from "../graph/describe.ts";
import { type Backward, scan, type Strategy } from "../graph/scan.ts";
import type { Tensor } from "../graph/tensor.ts";
import { checkedField } from "./close.ts";
import type { Solver } from "./continuous.ts";
import {
  type Course,
  courseOf,
  reversibleNames,
  type SolveMethod,
  withoutInverse,
} from "./methods.ts";
import type { Problem, Solution } from "./problem.ts";
import { map, type Tree } from "./tree.ts";

/** How the way back gets its states: a strategy, or one made with the inverse of the step. */
export type SolveBackward =
  | Backward
  /** Backwards with a tape of what the inverse gets wrong: the gradient of `"store"`, to the bit. */
  | "reverse"
  | ((inverse: (carry: Tree, step: Tensor) => Tree) => Backward);

function backwardOf<Y extends Tree>(
  action: string,
  backward: SolveBackward,
  { inverse }: Course<Y>,
  reversible: readonly string[],
): Backward {
  if (backward !== "reverse" && typeof backward !== "function") {
    const { plan } = (backward ?? {}) as Partial<Strategy>;
    if (backward === "store" || backward === "auto" || plan !== undefined) return backward;
    throw new TypeError(
      `Cannot ${action}: backward is ${describe(backward)}, expected "store", "auto", "reverse", ` +
        "what revolve, online or offload returns, or a function of the inverse",
    );
  }
  if (inverse === undefined) throw withoutInverse(action, reversible);
  return typeof backward === "function"
    ? backward(inverse)
    : reverse<Tree, Tensor>({ inverse, exact: "tape" });
}

/** The value at the end, and the values after all steps if they are asked for. */
export function follow<Y extends Tree>(
  action: string,
  course: Course<Y>,
  y0: Y,
  { steps, backward = "store" }: {
    readonly steps: number;
    readonly backward?: SolveBackward | undefined;
  },
  all: boolean,
  reversible = reversibleNames,
): { readonly end: Y; readonly path: Y | undefined } {
  const [last, path] = scan(
    (carry: Tree, i: Tensor): [Tree, Tree] => {
      const next = course.step(carry, i);
      return [next, all ? course.value(next) : null];
    },
    course.start(y0),
    arange(steps, { dtype: "u32" }),
    { backward: backwardOf(action, backward, course, reversible), name: action },
  );
  if (!all) return { end: course.value(last), path: undefined };
  const whole = map((y0, ys) => concatenate([y0.expandDims(0), ys!], 0), y0, path);
  return { end: course.value(last), path: whole };
}

/** Solves in equal steps; with any shares, all values between them are found. */
export function solveEqually<Y extends Tree>(
  action: string,
  method: SolveMethod<Y>,
  { field, y0, t0, span }: Problem<Y>,
  how: { readonly steps: number; readonly backward?: SolveBackward | undefined },
  shares: Tensor | null,
): Solution<Y> {
  const { steps } = how;
  const course = courseOf(method, { field: checkedField(field), h: span.div(steps), t0 });
  const { end, path } = follow(action, course, y0, how, shares !== null);
  if (path === undefined) return { end, found: null };
  const share = arange(steps + 1).div(steps);
  return { end, found: { y: path, share, length: share.mul(0).add(1 / steps) } };
}

/** Equal steps forwards and, for the adjoint, backwards. */
export function equally(action: string, method: SolveMethod<Tree>, steps: number): Solver {
  const run = <Y extends Tree>(
    problem: Problem<Y>,
    steps: number,
    shares: Tensor | null,
  ): Solution<Y> => solveEqually(action, method as SolveMethod<Y>, problem, { steps }, shares);
  return {
    solve: (problem, shares) => run(problem, steps, shares),
    back: (problem, { part }) => run(problem, part ? 1 : steps, null).end,
  };
}
