/**
 * A Brownian path that has a value at any time, the same however it is asked for. Between two times
 * whose values are known, the middle one is their mean and a normal number, by a key of its own; so a
 * value is found by going down a tree of halves, and nothing of the path is kept.
 *
 * Kidger, On neural differential equations, 2021, section 5.5: the virtual Brownian tree.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { stack, where } from "../graph/operations.ts";
import { ones } from "../graph/create.ts";
import * as random from "../graph/random.ts";
import { loop } from "../graph/scan.ts";
import type { Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { vmap } from "../graph/transforms.ts";
import { flatten, unflatten } from "../graph/tree.ts";
import { sharesOf } from "./dense.ts";
import {
  add,
  addScaled,
  map,
  negated,
  plus,
  scale,
  sub,
  type TensorLike,
  type Tree,
} from "./tree.ts";

/** A path over an interval. */
export interface BrownianPathOptions<Y extends Tree> {
  /** What the path comes from. */
  readonly key: random.Key;
  /** A tree: its shapes are those of the path's values, each element a path of its own. */
  readonly like: Y;
  /**
   * Where the path begins, at 0.
   *
   * @default {0}
   */
  readonly t0?: TensorLike;
  /** Where it ends. */
  readonly t1: TensorLike;
  /**
   * Halvings on the way to a value. Below the shortest of these intervals the path is straight.
   *
   * @default {20}
   */
  readonly levels?: number;
}

/** A Brownian path. */
export interface BrownianPath<Y extends Tree> {
  /** Its value at a time from t0 to t1, a scalar. */
  readonly at: (t: Tensor) => Y;
  /** How far it goes from one time to another. */
  readonly between: (from: Tensor, to: Tensor) => Y;
}

/**
 * The Brownian path of a key over an interval: 0 at t0, and whoever asks for its value at a time gets
 * the same. It takes `levels` draws to find a value, and no memory.
 *
 * @throws {RangeError} if `levels` is no integer from 1 to 24.
 * @throws {CheckError} at the next await, if a time is not from t0 to t1.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const path = rg.steps.brownianPath({ key: rg.random.key(1), like: rg.zeros([3]), t1: 2 });
 * const middle = rg.tensor(1);
 * assertEquals(await path.at(middle).array(), await path.at(middle).array());
 * console.log(await path.between(middle, rg.tensor(2)).array());
 * ```
 */
export function brownianPath<Y extends Tree>(options: BrownianPathOptions<Y>): BrownianPath<Y> {
  checkNames<BrownianPathOptions<Tree>>(
    options,
    { key: true, like: true, t0: true, t1: true, levels: true },
    "make a Brownian path",
  );
  const { t0 = 0, t1, levels = 20 } = options;
  if (!Number.isInteger(levels) || levels < 1 || levels > 24) {
    throw new RangeError(
      `Cannot make a Brownian path: levels is ${levels}, expected an integer from 1 to 24`,
    );
  }
  const start = ones([]).mul(t0), span = ones([]).mul(plus(t1, negated(t0)));
  const path = pathOver(span, { ...options, levels });
  const shareOf = (t: Tensor): Tensor => sharesOf(t, start, span, "a time of a Brownian path");
  return {
    at: (t) => path.at(shareOf(t)),
    between: (from, to) => path.between(shareOf(from), shareOf(to)),
  };
}

/** The path over an interval of this length, by shares of it: exact wherever the interval begins. */
export function pathOver<Y extends Tree>(
  span: Tensor,
  { key, like, levels }: Pick<BrownianPathOptions<Y>, "key" | "like"> & { readonly levels: number },
): BrownianPath<Y> {
  const { leaves, structure } = flatten(like, isTensor, "like");
  /** Normal numbers of a cell of the tree, of a standard deviation. */
  const draw = (cell: Tensor, deviation: Tensor): Y => {
    const own = random.foldIn(key, cell);
    const drawn = leaves.map((x, i) =>
      random.normal(random.foldIn(own, i), x.shape).mul(deviation).cast(x.dtype)
    );
    return unflatten(structure, drawn) as Y;
  };
  type Cell = { low: Y; high: Y; cell: Tensor; place: Tensor; deviation: Tensor };
  const at = (share: Tensor): Y => {
    const root = span.abs().sqrt();
    const zero = ones([], { dtype: "u32" }).sub(1);
    const end = loop(
      ({ low, high, cell, place, deviation }: Cell): Cell => {
        const middle = add(scale(add(low, high), 0.5), draw(cell, deviation));
        const twice = place.mul(2), right = twice.greaterEqual(1);
        return {
          low: map((a, b) => where(right, a, b!), middle, low),
          high: map((a, b) => where(right, a, b!), high, middle),
          cell: cell.mul(2).add(right.cast("u32")),
          place: twice.sub(right.cast("f32")),
          deviation: deviation.mul(Math.SQRT1_2),
        };
      },
      {
        low: map((x) => x.mul(0), draw(zero, root)),
        high: draw(zero, root),
        cell: zero.add(1),
        place: share,
        deviation: root.mul(0.5),
      },
      { length: levels, name: "brownianPath" },
    );
    return addScaled(end.low, end.place, sub(end.high, end.low));
  };
  return {
    at,
    between(from, to) {
      const both = vmap(at)(stack([from, to]));
      return map((x) => x.slice(1).sub(x.slice(0)), both);
    },
  };
}
