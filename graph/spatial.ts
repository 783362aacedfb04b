/**
 * Convolution, pooling, resizing and sampling of tensors with a batch axis, one to three (or more) spatial
 * axes, and channels: [batch, …spatial, channels], which is fastest here, or with
 * `channels: "first"` [batch, channels, …spatial], as in PyTorch.
 *
 * @module
 */
import { checkNames } from "./describe.ts";
import * as convolution from "./functions/convolution.ts";
import * as pooling from "./functions/pooling.ts";
import * as sampling from "./functions/sampling.ts";
import * as upsampling from "./functions/upsampling.ts";
import { nodeOf } from "./methods/base.ts";
import { Tensor } from "./tensor.ts";

export type { Channels, Padding, PerAxis } from "./functions/geometry.ts";
import type { Channels, Padding, PerAxis } from "./functions/geometry.ts";

/** Options of `conv`. */
export interface ConvOptions {
  /**
   * From one place of the kernel to the next.
   *
   * @default {1}
   */
  readonly stride?: PerAxis;
  /**
   * Zeros around the input.
   *
   * @default {"valid"}
   */
  readonly padding?: Padding;
  /**
   * From one tap of the kernel to the next.
   *
   * @default {1}
   */
  readonly dilation?: PerAxis;
  /**
   * Channels are cut into so many groups, each of which sees only itself; as many groups as
   * channels is a depthwise convolution.
   *
   * @default {1}
   */
  readonly groups?: number;
  /**
   * Where the channels are, in the input, the result, and accordingly the kernel.
   *
   * @default {"last"}
   */
  readonly channels?: Channels;
}

/** Options of `convTranspose`. */
export interface ConvTransposeOptions extends ConvOptions {
  /**
   * More results at the end of each axis: which of several inputs of a strided convolution is meant.
   *
   * @default {0}
   */
  readonly outputPadding?: PerAxis;
}

/** Options of `maxPool`. */
export interface PoolOptions {
  /** From one window to the next; by default the window's size, so that windows do not overlap. */
  readonly stride?: PerAxis;
  /**
   * Elements around the input that never win, and that means do not count.
   *
   * @default {"valid"}
   */
  readonly padding?: Padding;
  /**
   * Also a last window that reaches beyond the end of input and padding, as PyTorch's `ceil_mode`.
   * What it lacks never wins, and means never count it.
   *
   * @default {false}
   */
  readonly ceil?: boolean;
  /**
   * From one element of a window to the next.
   *
   * @default {1}
   */
  readonly dilation?: PerAxis;
  /**
   * Where the channels are.
   *
   * @default {"last"}
   */
  readonly channels?: Channels;
}

/** Options of `averagePool`. */
export interface AveragePoolOptions extends PoolOptions {
  /**
   * Padding counts as zeros in the mean.
   *
   * @default {false}
   */
  readonly countPadding?: boolean;
}

/** Options of `upsample`: a scale or a size. */
export interface UpsampleOptions {
  /** How much larger the spatial axes become; sizes are rounded down. */
  readonly scale?: PerAxis;
  /** What they become. */
  readonly size?: PerAxis;
  /**
   * Repeats the nearest element below, or interpolates between the two nearest along each axis
   * (bilinear for images).
   *
   * @default {"nearest"}
   */
  readonly method?: "nearest" | "linear";
  /**
   * For "linear": the first and last elements keep their places; else elements are cells, whose
   * borders do.
   *
   * @default {false}
   */
  readonly alignCorners?: boolean;
  /**
   * Where the channels are.
   *
   * @default {"last"}
   */
  readonly channels?: Channels;
}

/** Options of `gridSample`. */
export interface GridSampleOptions {
  /**
   * The nearest element, or a weighed sum of those around: two along each axis (bilinear for
   * images), or four (bicubic).
   *
   * @default {"linear"}
   */
  readonly method?: "nearest" | "linear" | "cubic";
  /**
   * What lies outside of the input: zeros, its outermost elements, or its mirror image.
   *
   * @default {"zeros"}
   */
  readonly outside?: "zeros" | "border" | "reflection";
  /**
   * Whether -1 and 1 are the middles of the first and last elements, or their outer borders.
   *
   * @default {false}
   */
  readonly alignCorners?: boolean;
  /**
   * Where the channels are.
   *
   * @default {"last"}
   */
  readonly channels?: Channels;
}

/**
 * Convolution (the kernel is not turned around, as everywhere in the field) over any number of
 * spatial axes: [batch, …n, c] with a kernel [...k, c / groups, o] gives [batch, …m, o]; with
 * `channels: "first"` it is [batch, c, …n] and [o, c / groups, ...k]. Integers are taken as f32; f16
 * is added up in f32. It runs as a product that reads its input in place, and so do its gradients.
 *
 * @throws {TypeError} if shapes do not fit each other.
 * @throws {RangeError} if an option is out of range.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const images = rg.ones([8, 28, 28, 3]);
 * const kernel = rg.ones([5, 5, 3, 16]);
 * assertEquals(rg.conv(images, kernel).shape, [8, 24, 24, 16]);
 * assertEquals(rg.conv(images, kernel, { padding: "same", stride: 2 }).shape, [8, 14, 14, 16]);
 *
 * const signal = rg.tensor([1, 2, 3, 4]).reshape(1, 4, 1);
 * const difference = rg.tensor([-1, 1]).reshape(2, 1, 1);
 * assertEquals(await rg.conv(signal, difference).array(), [[[1], [1], [1]]]);
 * ```
 */
export function conv(
  input: Tensor,
  kernel: Tensor,
  options: ConvOptions = {},
): Tensor {
  checkNames(
    options,
    { stride: true, padding: true, dilation: true, groups: true, channels: true },
    "conv",
  );
  const { stride = 1, padding = "valid", dilation = 1, groups = 1, channels = "last" } = options;
  const geometry = { stride, padding, dilation, groups, channels };
  return new Tensor(convolution.conv(nodeOf(input), nodeOf(kernel), geometry));
}

/**
 * The transpose of a convolution, also called deconvolution: takes what `conv` with the same kernel
 * and options gives to the shape that it was given, (n - 1) · stride + (k - 1) · dilation + 1 less
 * the padding, plus `outputPadding`; with "same" n · stride. The kernel is that of the convolution:
 * [...k, o / groups, c] for an input of c channels, or with `channels: "first"` [c, o / groups, ...k],
 * as in PyTorch.
 *
 * @throws {TypeError} if shapes do not fit each other.
 * @throws {RangeError} if an option is out of range.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([1, 2]).reshape(1, 2, 1);
 * const kernel = rg.tensor([1, 10, 100]).reshape(3, 1, 1);
 * const y = rg.convTranspose(x, kernel, { stride: 2 });
 * assertEquals(await y.flatten().array(), [1, 10, 102, 20, 200]);
 * ```
 */
export function convTranspose(
  input: Tensor,
  kernel: Tensor,
  options: ConvTransposeOptions = {},
): Tensor {
  checkNames(options, {
    stride: true,
    padding: true,
    dilation: true,
    groups: true,
    channels: true,
    outputPadding: true,
  }, "convTranspose");
  const {
    stride = 1,
    padding = "valid",
    dilation = 1,
    groups = 1,
    channels = "last",
    outputPadding = 0,
  } = options;
  const geometry = { stride, padding, dilation, groups, channels, outputPadding };
  return new Tensor(convolution.convTranspose(nodeOf(input), nodeOf(kernel), geometry));
}

const poolNames = {
  stride: true,
  padding: true,
  dilation: true,
  ceil: "flag",
  channels: true,
} as const;

/** Options of pooling with what they are where nothing is said. */
function poolGeometry(
  { stride, padding = "valid", dilation = 1, ceil = false, channels = "last" }: PoolOptions,
) {
  return { stride, padding, dilation, ceil, channels };
}

/**
 * The largest element of every window; NaN if one is. Its gradient goes to the largest, in equal
 * parts where several are.
 *
 * @throws {TypeError} if the input has no spatial axes.
 * @throws {RangeError} if an option is out of range, or the padding is as wide as a window.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.arange(16).reshape(1, 4, 4, 1);
 * assertEquals(await rg.maxPool(x, 2).flatten().array(), [5, 7, 13, 15]);
 * ```
 */
export function maxPool(
  input: Tensor,
  size: PerAxis,
  options: PoolOptions = {},
): Tensor {
  checkNames(options, poolNames, "maxPool");
  return new Tensor(pooling.maxPool(nodeOf(input), size, poolGeometry(options)));
}

/**
 * The mean of every window, a float; of f16 computed in f32.
 *
 * @throws {TypeError} if the input has no spatial axes.
 * @throws {RangeError} if an option is out of range, or the padding is as wide as a window.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([1, 3, 5]).reshape(1, 3, 1);
 * assertEquals(await rg.averagePool(x, 2, { stride: 1 }).flatten().array(), [2, 4]);
 * assertEquals(await rg.averagePool(x, 2, { padding: "same" }).flatten().array(), [2, 5]);
 * ```
 */
export function averagePool(
  input: Tensor,
  size: PerAxis,
  options: AveragePoolOptions = {},
): Tensor {
  checkNames(options, { ...poolNames, countPadding: "flag" }, "averagePool");
  const { countPadding = false } = options;
  const geometry = { ...poolGeometry(options), countPadding };
  return new Tensor(pooling.averagePool(nodeOf(input), size, geometry));
}

/**
 * Spatial axes resized: by repeating the nearest element, or by linear interpolation along each
 * axis.
 *
 * @throws {TypeError} if there is neither a scale nor a size, or both.
 * @throws {RangeError} if an option is out of range.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([0, 4]).reshape(1, 2, 1);
 * assertEquals(await rg.upsample(x, { scale: 2 }).flatten().array(), [0, 0, 4, 4]);
 * const y = rg.upsample(x, { scale: 2, method: "linear" });
 * assertEquals(await y.flatten().array(), [0, 1, 3, 4]);
 * ```
 */
export function upsample(
  input: Tensor,
  options: UpsampleOptions,
): Tensor {
  checkNames(
    options,
    { scale: true, size: true, method: true, alignCorners: "flag", channels: true },
    "upsample",
  );
  const { scale, size, method = "nearest", alignCorners = false, channels = "last" } = options;
  const geometry = { scale, size, method, alignCorners, channels };
  return new Tensor(upsampling.upsample(nodeOf(input), geometry));
}

/**
 * The input [batch, …n, c] read at places between its elements: a grid [batch, …m, axes] gives for
 * each result its place in the input, from -1 to 1 along each axis and the last axis (x) first, as
 * in PyTorch; the result is [batch, …m, c]. With a grid that is learned or computed this is a spatial
 * transformer (Jaderberg et al. 2015), a warp by an optical flow, a deformed image. It has gradients
 * by the input and by the grid; "nearest" by the input only.
 *
 * @throws {TypeError} if shapes do not fit each other, or there is no such method.
 * @throws {RangeError} if the input has no elements along an axis.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.tensor([[0, 1], [2, 3]]).reshape(1, 2, 2, 1);
 * const grid = rg.tensor([[0, 0], [1, -1]]).reshape(1, 2, 2);
 * const y = rg.gridSample(x, grid, { alignCorners: true });
 * assertEquals(await y.flatten().array(), [1.5, 1]);
 * ```
 */
export function gridSample(
  input: Tensor,
  grid: Tensor,
  options: GridSampleOptions = {},
): Tensor {
  checkNames(
    options,
    { method: true, outside: true, alignCorners: "flag", channels: true },
    "gridSample",
  );
  const { method = "linear", outside = "zeros", alignCorners = false, channels = "last" } = options;
  const geometry = { method, outside, alignCorners, channels };
  return new Tensor(
    sampling.gridSample(nodeOf(input, "gridSample"), nodeOf(grid, "gridSample"), geometry),
  );
}
