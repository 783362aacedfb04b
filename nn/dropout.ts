/**
 * Dropout (Srivastava et al. 2014). The mask comes from a key by a counter-based generator: it is
 * computed inside the kernels that use it, forwards and backwards, and takes no memory.
 *
 * @module
 */
import { describe } from "../graph/describe.ts";
import { bernoulli } from "../graph/random.ts";
import { where } from "../graph/operations.ts";
import { checkApply, type Layer } from "./layer.ts";

/**
 * While training, sets elements to zero with probability `rate` and divides the others by 1 - rate;
 * otherwise the identity. Training needs a key, a fresh one for every step.
 *
 * @throws {RangeError} If `rate` is not in [0, 1).
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * const layer = rg.nn.dropout(0.5);
 * const x = rg.ones([4]);
 * assertEquals(layer.apply(null, x, { train: true, key: rg.random.key(0) }).shape, [4]);
 * assertEquals(layer.apply(null, x), x);
 * ```
 */
export function dropout(rate: number): Layer<null> {
  const name = `dropout(${rate})`;
  if (typeof rate !== "number" || !(rate >= 0 && rate < 1)) {
    throw new RangeError(
      `Cannot make dropout: the rate is ${describe(rate)}, expected one in [0, 1)`,
    );
  }
  return {
    name,
    init: () => null,
    apply(_params, x, options = {}) {
      checkApply(name, options);
      const { train = false, key } = options;
      if (!train || rate === 0) return x;
      if (key === undefined) {
        throw new TypeError(`Cannot apply ${name}: there is no key, expected one while training`);
      }
      return where(bernoulli(key, 1 - rate, x.shape), x.mul(1 / (1 - rate)), 0);
    },
  };
}
