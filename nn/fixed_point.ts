/**
 * Layers whose results, and the gradients that come back to them, are in fixed point (Gupta et al.
 * 2015). The rounding itself is passed over by the way back: what arrives is rounded to the
 * gradients' format and handed on.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { foldIn } from "../graph/random.ts";
import type { Tensor } from "../graph/tensor.ts";
import { customVjp } from "../graph/transforms.ts";
import { checkFormat, type FixedPoint, toFixedPoint } from "../optim/fixed_point.ts";
import type { Tree } from "../optim/tree.ts";
import { type Layer, nameAround } from "./layer.ts";

/** Options for {@linkcode fixedPointLayer}. */
export interface FixedPointLayerOptions {
  /** The format of results; as they are without. */
  activations?: FixedPoint;
  /** The format of gradients that come back; as they are without. */
  gradients?: FixedPoint;
}

/**
 * The layer with rounded results and rounded gradients of them. While training, stochastic rounding
 * needs a key; otherwise results are rounded to the nearest.
 *
 * @throws {RangeError} If a format is none, or has more than 24 bits.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * const format = { integer: 4, fraction: 12, rounding: "stochastic" } as const;
 * const { fixedPointLayer, linear, relu, sequential } = rg.nn;
 * const rounded = (layer: rg.nn.Layer) =>
 *   fixedPointLayer(layer, { activations: format, gradients: format });
 * const model = sequential([rounded(linear(784, 100)), relu, rounded(linear(100, 10))]);
 * ```
 */
export function fixedPointLayer<P extends Tree>(
  layer: Layer<P>,
  options: FixedPointLayerOptions,
): Layer<P> {
  const name = nameAround("fixedPointLayer", layer);
  checkNames(options, { activations: true, gradients: true }, `make ${name}`);
  const { activations, gradients } = options;
  if (activations !== undefined) checkFormat("fixed-point activations", activations);
  if (gradients !== undefined) checkFormat("fixed-point gradients", gradients);
  const formats = [activations, gradients];
  return {
    name,
    init: (key) => layer.init(key),
    apply(params, x, options = {}) {
      const { train = false, key } = options;
      if (train && key === undefined && formats.some((f) => f?.rounding === "stochastic")) {
        throw new TypeError(`Cannot apply ${name}: there is no key, expected one while training`);
      }
      const own = key === undefined ? options : { ...options, key: foldIn(key, 0) };
      const round = (x: Tensor, format: FixedPoint | undefined, key: Tensor | null): Tensor => {
        if (format === undefined) return x;
        const how = key === null ? { ...format, rounding: "nearest" as const } : format;
        return toFixedPoint(x, how, key ?? undefined).cast(x.dtype);
      };
      const pass = customVjp(
        (y: Tensor, key: Tensor | null) => round(y, activations, key),
        (g: Tensor, _y: Tensor, _x: Tensor, key: Tensor | null) => [
          round(g, gradients, key === null ? null : foldIn(key, 1)),
          null,
        ],
      );
      const chance = train && key !== undefined ? foldIn(key, 1) : null;
      return pass(layer.apply(params, x, own), chance);
    },
  };
}
