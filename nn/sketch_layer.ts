/**
 * Layers that hold a random projection of their input for the way back; see `rg.sketch`.
 *
 * @module
 */
import { checkSketch, sketch, type SketchSettings } from "../checkpoint/sketch.ts";
import { foldIn } from "../graph/random.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Tree } from "../optim/tree.ts";
import { type Layer, nameAround } from "./layer.ts";

/**
 * The layer, which while training holds a random projection of its input, `keep` of its size,
 * instead of the input. Outputs and the gradient of the input stay what they are; gradients of the
 * parameters become estimates, right in the mean over keys. It is for layers that are linear in their
 * input: linear ones, convolutions, means of windows. Put `leanRelu` between them, since an ordinary
 * ReLU holds what it gave. Training takes a key, another one for each step.
 *
 * @throws {RangeError} If an option is out of range.
 * @throws {TypeError} On `apply`, if there is no key while training, or the layer is not linear.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const { conv, flatten, leanRelu, linear, sequential, sketchLayer } = rg.nn;
 * const settings = { keep: 0.1, kind: "sparse", shared: false } as const;
 * const model = sequential([
 *   sketchLayer(conv(3, 16, 5), settings),
 *   leanRelu,
 *   flatten,
 *   sketchLayer(linear(16 * 32 * 32, 10), settings),
 * ]);
 * const params = model.init(rg.random.key(0)), x = rg.ones([2, 32, 32, 3]);
 * const options = { train: true, key: rg.random.key(1) };
 * assertEquals(model.apply(params, x, options).shape, [2, 10]);
 * ```
 */
export function sketchLayer<P extends Tree>(layer: Layer<P>, settings: SketchSettings): Layer<P> {
  const name = nameAround("sketchLayer", layer);
  checkSketch(layer.name, settings);
  return {
    name,
    init: (key) => layer.init(key),
    apply(params, x, options = {}) {
      const { train = false, key } = options;
      if (!train || settings.keep === 1) return layer.apply(params, x, options);
      if (key === undefined) {
        throw new TypeError(`Cannot apply ${name}: there is no key, expected one while training`);
      }
      const own = { ...options, key: foldIn(key, 0) };
      const apply = (x: Tensor, params: Tree): Tensor => layer.apply(params, x, own);
      Object.defineProperty(apply, "name", { value: layer.name });
      return sketch(apply, { ...settings, key: foldIn(key, 1) })(x, params);
    },
  };
}
