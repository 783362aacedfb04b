/**
 * Solutions between the steps: which step a time falls into, and the value there.
 *
 * @module
 */
import { check } from "../graph/check.ts";
import { where } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { stopGradient, vmap } from "../graph/transforms.ts";
import type { Found, Problem } from "./adaptive.ts";
import type { Field } from "./leapfrog.ts";
import { type Tableau, within } from "./runge_kutta.ts";
import { map, type Tree } from "./tree.ts";

/**
 * The shares of an interval at which times lie. Those outside raise a flag; a little outside, as far
 * as floats of that size are apart, counts as the end.
 */
export function sharesOf(times: Tensor, t0: Tensor, span: Tensor): Tensor {
  const empty = span.equal(0), divisor = where(empty, 1, span);
  const shares = where(empty, 0, times.sub(t0).div(divisor));
  const size = t0.abs().maximum(t0.add(span).abs());
  const slack = size.div(divisor.abs()).mul(2 ** -22).add(1e-6);
  check(
    times.sub(t0).abs().lessEqual(where(empty, size.mul(2 ** -22), Infinity))
      .logicalAnd(shares.greaterEqual(slack.neg())).logicalAnd(shares.lessEqual(slack.add(1))),
    "a time of saveAt is outside of the interval, expected all from t0 to t1",
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

/** The step of so many equal ones that each share falls into, with the value where it begins. */
export function stepsAt<Y extends Tree>(path: Y, shares: Tensor, steps: number): Found<Y> {
  const index = stopGradient(shares).mul(steps).floor().clip(0, steps - 1);
  return {
    y: map((rows) => rows.take(index.cast("i32")), path),
    share: index.div(steps),
    length: index.mul(0).add(1 / steps),
  };
}

/** Values at shares of the interval by the cubic between the values and slopes of equal steps. */
export function valuesBetween<Y extends Tree>(
  { field, t0, span }: Problem<Y>,
  path: Y,
  shares: Tensor,
  steps: number,
): Y {
  const index = stopGradient(shares).mul(steps).floor().clip(0, steps - 1);
  const s = shares.mul(steps).sub(index), left = index.cast("i32");
  const rows = (i: Tensor): Y => map((x) => x.take(i), path);
  const slopes = (y: Y, i: Tensor): Y =>
    vmap((y: Y, t: Tensor) => (field as Field<Y>)(y, t))(
      y,
      i.cast("f32").div(steps).mul(span).add(t0),
    );
  const h = span.div(steps);
  const [a, b] = [rows(left), rows(left.add(1))];
  return map(
    (a, b, da, db) => {
      const share = s.reshape(s.shape[0]!, ...a.shape.slice(1).map(() => 1));
      const [from, to] = [da!.mul(h), db!.mul(h)];
      const change = b!.sub(a);
      const cubic = share.mul(share.sub(1));
      return a.add(change.mul(share)).add(
        cubic.mul(share.sub(1).mul(from).add(share.mul(to)).sub(change.mul(share.mul(2).sub(1)))),
      );
    },
    a,
    b,
    slopes(a, left),
    slopes(b, left.add(1)),
  );
}
