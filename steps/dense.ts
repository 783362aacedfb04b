/**
 * Solutions between the steps: which step a time falls into, and the value there.
 *
 * @module
 */
import { check } from "../graph/check.ts";
import { tensor, zeros } from "../graph/create.ts";
import { describe } from "../graph/describe.ts";
import { isFloat } from "../graph/dtype.ts";
import { concatenate, where } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { stopGradient, vmap } from "../graph/transforms.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import type { Field } from "./leapfrog.ts";
import type { Found, Problem } from "./problem.ts";
import { type Tableau, within } from "./runge_kutta.ts";
import { map, type Tree } from "./tree.ts";

/**
 * The shares of the interval at which values are asked for; null if only the end is.
 *
 * @throws {TypeError} if they are no times.
 * @throws {RangeError} if one is known to be outside.
 */
export function sharesAt(
  action: string,
  saveAt: unknown,
  { t0 = 0, t1 }: { readonly t0?: unknown; readonly t1: unknown },
  problem: Pick<Problem<Tree>, "t0" | "span">,
): Tensor | null {
  if (saveAt === "end") return null;
  const shares = (times: Tensor): Tensor =>
    sharesOf(times, problem.t0, problem.span, "a time of saveAt");
  if (isTensor(saveAt)) {
    if (saveAt.shape.length !== 1 || !isFloat(saveAt.dtype)) {
      throw new TypeError(
        `Cannot ${action}: saveAt is ${saveAt}, expected one axis of times, of floats`,
      );
    }
    return saveAt.size === 0 ? saveAt : shares(saveAt.cast("f32"));
  }
  const list = Array.isArray(saveAt) || (ArrayBuffer.isView(saveAt) && "length" in saveAt);
  const times = list ? Array.from(saveAt as ArrayLike<unknown>) : [undefined];
  if (!times.every((t) => typeof t === "number")) {
    throw new TypeError(
      `Cannot ${action}: saveAt is ${describe(saveAt)}, expected "end", "steps" or times`,
    );
  }
  if (typeof t0 === "number" && typeof t1 === "number") {
    const [low, high] = [Math.min(t0, t1), Math.max(t0, t1)];
    const outside = times.find((t) => !(t >= low && t <= high));
    if (outside !== undefined) {
      throw new RangeError(
        `Cannot ${action}: saveAt has ${outside}, expected times from ${low} to ${high}`,
      );
    }
  }
  return times.length === 0 ? zeros([0]) : shares(tensor(Float32Array.from(times)));
}

/**
 * The shares of an interval at which times lie. Those outside raise a flag; a little outside, as far
 * as floats of that size are apart, counts as the end.
 */
export function sharesOf(times: Tensor, t0: Tensor, span: Tensor, what: string): Tensor {
  const empty = span.equal(0), divisor = where(empty, 1, span);
  const shares = where(empty, 0, times.sub(t0).div(divisor));
  const size = t0.abs().maximum(t0.add(span).abs());
  const slack = size.div(divisor.abs()).mul(2 ** -22).add(1e-6);
  check(
    times.sub(t0).abs().lessEqual(where(empty, size.mul(2 ** -22), Infinity))
      .logicalAnd(shares.greaterEqual(slack.neg())).logicalAnd(shares.lessEqual(slack.add(1))),
    `${what} is outside of the interval, expected all from t0 to t1`,
  );
  // What the ends take away in value, they leave in derivatives.
  return shares.sub(stopGradient(shares.sub(shares.clip(0, 1))));
}

/** Values at shares of the interval from the steps of an explicit method that they fall into. */
export function valuesWithin<Y extends Tree>(
  tableau: Tableau,
  { field, t0, span }: Problem<Y>,
  { y, share, length }: Found<Y>,
  shares: Tensor,
): Y {
  return vmap((y: Y, start: Tensor, length: Tensor, at: Tensor) =>
    within(tableau, field, y, {
      t: t0.add(span.mul(start)),
      h: span.mul(length),
      share: at.sub(start).div(length),
    })
  )(y, share, length, shares);
}

/**
 * The step of so many equal ones that each share falls into, with the value where it begins, or after
 * all of these, the values where they end, too.
 */
export function stepsAt<Y extends Tree>(
  path: Y,
  shares: Tensor,
  steps: number,
  both: boolean,
): Found<Y> {
  const first = stopGradient(shares).mul(steps).floor().clip(0, steps - 1);
  const index = both ? concatenate([first, first.add(1)], 0) : first;
  return {
    y: map((rows) => rows.take(index.cast("i32")), path),
    share: index.div(steps),
    length: index.mul(0).add(1 / steps),
  };
}

/** Values at shares of the interval by the cubics between both ends of the steps they fall into. */
export function valuesBetween<Y extends Tree>(
  { field, t0, span }: Problem<Y>,
  { y, share, length }: Found<Y>,
  shares: Tensor,
): Y {
  const half = (of: 0 | 1) => <T extends Tree>(tree: T): T =>
    map((x) => x.slice([of * x.shape[0]! / 2, (of + 1) * x.shape[0]! / 2]), tree);
  const slopes = vmap((y: Y, share: Tensor) => (field as Field<Y>)(y, t0.add(span.mul(share))));
  const [start, took] = [half(0)(share), half(0)(length)];
  const s = shares.sub(start).div(took), h = span.mul(took);
  const rates = slopes(y, share);
  const [a, b, da, db] = [half(0)(y), half(1)(y), half(0)(rates), half(1)(rates)];
  return map(
    (a, b, da, db) => {
      const wide = (x: Tensor): Tensor => x.reshape(x.shape[0]!, ...a.shape.slice(1).map(() => 1));
      const share = wide(s), [from, to] = [da!.mul(wide(h)), db!.mul(wide(h))];
      const change = b!.sub(a);
      const cubic = share.mul(share.sub(1));
      return a.add(change.mul(share)).add(
        cubic.mul(share.sub(1).mul(from).add(share.mul(to)).sub(change.mul(share.mul(2).sub(1)))),
      );
    },
    a,
    b,
    da,
    db,
  );
}
