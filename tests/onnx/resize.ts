/**
 * Resizing in ONNX's many ways: per axis, a matrix of interpolation weights, worked out on the host.
 *
 * @module
 */
import { tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { Call } from "./call.ts";
import { Unsupported, type Value } from "./values.ts";

interface Axis {
  readonly n: number;
  readonly m: number;
  readonly scale: number;
}

/** The place in the input that an output element stands for. */
function placeOf(mode: string, { n, m, scale }: Axis, i: number): number {
  switch (mode) {
    case "half_pixel":
      return (i + 0.5) / scale - 0.5;
    case "pytorch_half_pixel":
      return m > 1 ? (i + 0.5) / scale - 0.5 : 0;
    case "align_corners":
      // By what the size would be if it were not rounded down.
      return m === 1 ? 0 : i * (n - 1) / (n * scale - 1);
    case "asymmetric":
      return i / scale;
    case "tf_half_pixel_for_nn":
      return (i + 0.5) / scale;
    default:
      throw new Unsupported(`coordinates by ${mode}`);
  }
}

const roundings: { readonly [mode: string]: (x: number) => number } = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

/** Elements and their weights around a place. */
function weightsAt(call: Call, mode: string, place: number): [at: number, weight: number][] {
  const low = Math.floor(place), t = place - low;
  if (mode === "nearest") {
    const usual = call.version < 10 ? "floor" : "round_prefer_floor";
    const rounding = roundings[call.text("nearest_mode", usual)]!;
    return [[rounding(place), 1]];
  }
  if (mode === "linear") return [[low, 1 - t], [low + 1, t]];
  const a = call.float("cubic_coeff_a", -0.75);
  const near = (s: number): number => ((a + 2) * s - (a + 3)) * s * s + 1;
  const far = (s: number): number => ((a * s - 5 * a) * s + 8 * a) * s - 4 * a;
  return [[low - 1, far(t + 1)], [low, near(t)], [low + 1, near(1 - t)], [low + 2, far(2 - t)]];
}

function matrixOf(call: Call, mode: string, coordinates: string, axis: Axis): Tensor {
  const { n, m } = axis, rows = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    let weights = weightsAt(call, mode, placeOf(coordinates, axis, i));
    if (mode === "cubic" && call.int("exclude_outside", 0) === 1) {
      weights = weights.filter(([at]) => at >= 0 && at < n);
      const total = weights.reduce((sum, [, w]) => sum + w, 0);
      weights = weights.map(([at, w]) => [at, w / total]);
    }
    for (const [at, w] of weights) rows[i * n + Math.min(n - 1, Math.max(0, at))]! += w;
  }
  return tensor(rows, { shape: [m, n] });
}

/** `Resize` and the older `Upsample`. */
export function resize(call: Call): Value {
  let x = call.x();
  const coordinates = call.text("coordinate_transformation_mode", "half_pixel");
  if (call.version < 10 || !call.has(3)) {
    const scales = call.known(call.version < 10 ? 1 : 2)!;
    return apply(x.shape.map((n, i) => Math.floor(n * scales[i]!)), scales);
  }
  const sizes = call.known(3)!;
  return apply(sizes, sizes.map((m, i) => m / x.shape[i]!));

  function apply(sizes: readonly number[], scales: readonly number[]): Value {
    const mode = call.text("mode", "nearest");
    x.shape.forEach((n, i) => {
      const axis = { n, m: sizes[i]!, scale: scales[i]! };
      if (axis.m === n) return;
      const how = call.version < 10 ? "asymmetric" : coordinates;
      const weights = matrixOf(call, mode, how, axis);
      x = x.moveAxis(i, -1).matmul(weights.T).moveAxis(-1, i);
    });
    return call.like(x);
  }
}
