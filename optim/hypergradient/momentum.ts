/**
 * Momentum as a function of leaves with a way back of its own, through information buffers: the
 * sweeps, and what is checked around them.
 *
 * @module
 */
import { check } from "../../graph/check.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { customVjp } from "../../graph/transforms.ts";
import { fromFixed, isOut } from "./fixed.ts";
import {
  backwards,
  begin,
  countsOf,
  type End,
  forwards,
  type Run,
  type Schedule,
} from "./sweeps.ts";

/** The leaves of a run's end, as a function with a way back of its own. */
export function reversed(runOf: (others: readonly Tensor[]) => Run) {
  type Args = [params: Tensor[], schedule: Schedule, theta: Tensor[], others: Tensor[]];
  type Ended = { readonly x: Tensor[]; readonly v: Tensor[]; readonly end: End };
  function training(params: Tensor[], schedule: Schedule, theta: Tensor[], others: Tensor[]) {
    const run = runOf(others), { units } = run;
    const end = forwards(run, begin(run, params), schedule, theta);
    for (const state of [end.state.x, end.state.v]) {
      for (const values of state) {
        check(
          isOut(values).logicalNot(),
          "a parameter or a velocity left the range of its fixed point, or became NaN, expected " +
            "a run that stays within it (smaller rates, or a larger `range`)",
        );
      }
    }
    const x = end.state.x.map((x) => fromFixed(x, units.position));
    const v = end.state.v.map((v) => fromFixed(v, units.velocity));
    return { x, v, end };
  }
  const back = (cotangent: Ended, { end }: Ended, ...[params, schedule, theta, others]: Args) => {
    const run = runOf(others);
    const given = { x: cotangent.x, v: cotangent.v };
    const [start, found] = backwards(run, end, schedule, theta, given);
    const from = begin(run, params);
    const same = (a: Tensor[], b: Tensor[]): void =>
      a.forEach((x, i) =>
        check(
          x.equal(b[i]!),
          "reversing the steps did not lead back to the beginning, expected the same bits (the " +
            "driver computes a gradient otherwise the second time)",
        )
      );
    same(start.x, from.x);
    same(start.v, from.v);
    same(start.b, from.b);
    return [found.params, found.schedule, found.theta, null] as const;
  };
  /** The way back is through whole numbers: it has no derivative, and must not seem to have one. */
  const once = (cotangent: Ended, result: Ended, ...args: Args) =>
    customVjp(
      (cotangent: Ended, result: Ended, args: Args) => back(cotangent, result, ...args),
      () => {
        throw new TypeError(
          "Cannot differentiate a training run twice, or in forward mode: its way back is exact, " +
            "in whole numbers, expected one derivative in reverse mode",
        );
      },
    )(cotangent, result, args);
  const run = customVjp(training, once);
  return (...args: Args): [Tensor[], Tensor[]] => {
    const { x, v } = run(...args);
    return [x, v];
  };
}

/** Has the device look at momenta. */
export function checkMomenta(
  momenta: readonly Tensor[],
  smallest: number,
  denominator: number,
): void {
  for (const m of new Set(momenta)) {
    const n = countsOf(m, denominator);
    const held = n.greaterEqual(smallest).logicalAnd(n.lessEqual(denominator));
    // Rounded to 1 it would never let go of the past, nor take anything new in.
    const meant = n.less(denominator).logicalOr(m.equal(1));
    check(
      held.logicalAnd(meant).logicalAnd(m.isFinite()),
      `a momentum is out of [${smallest / denominator}, 1], or is rounded to 1, expected ` +
        `multiples of 1/${denominator} in that range (\`least\` and \`denominator\` set it)`,
    );
  }
}
