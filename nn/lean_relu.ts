/**
 * A ReLU whose way back holds one bit of each number. It matters where nobody else holds what the
 * ReLU gave: after layers whose inputs are sketched.
 *
 * Oktay et al. 2020, Randomized Automatic Differentiation, section 4.1.
 *
 * @module
 */
import { hold } from "../graph/build.ts";
import { arange } from "../graph/create.ts";
import { where } from "../graph/operations.ts";
import { Tensor } from "../graph/tensor.ts";
import { customVjp } from "../graph/transforms.ts";

/** Bits in a word. */
const BITS = 32;

const places = (): Tensor => arange(BITS, { dtype: "u32" });

/** Bools as bits of u32 words, in order; the last word is filled up with zeros. */
function pack(flags: Tensor): Tensor {
  const words = Math.ceil(flags.size / BITS);
  const bits = flags.reshape(flags.size).pad([[0, words * BITS - flags.size]]);
  return bits.reshape(words, BITS).cast("u32").leftShift(places()).sum(-1);
}

/** The first bits of words, as bools of a shape. */
function unpack(words: Tensor, shape: readonly number[]): Tensor {
  const bits = words.reshape(words.size, 1).rightShift(places()).bitwiseAnd(1);
  const size = shape.reduce((a, b) => a * b, 1);
  return bits.reshape(words.size * BITS).slice([0, size]).reshape(...shape).notEqual(0);
}

const ruled: (x: Tensor) => Tensor = customVjp(
  function leanRelu(x: Tensor): Tensor {
    return x.relu();
  },
  (g, y) => {
    if (y.size === 0) return [g];
    const words = new Tensor(hold(pack(y.greater(0)).node, "signs for a ReLU, one bit each"));
    return [where(unpack(words, y.shape), g, 0)];
  },
);

/**
 * max(x, 0), which for its way back holds one bit of each element. An ordinary `relu` needs its
 * result there, which costs nothing where the layer behind it holds that, too; where that layer holds
 * a sketch, it would keep all of it.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const { leanRelu, linear, sequential, sketchLayer } = rg.nn;
 * const sketched = (inputs: number, outputs: number) =>
 *   sketchLayer(linear(inputs, outputs), { keep: 0.1 });
 * const model = sequential([sketched(784, 300), leanRelu, sketched(300, 10)]);
 * assertEquals(await leanRelu(rg.tensor([-1, 2])).array(), [0, 2]);
 * ```
 */
export function leanRelu(x: Tensor): Tensor {
  return ruled(x);
}
