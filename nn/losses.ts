/**
 * Losses and the accuracy. Cross-entropy starts from logits, where it is stable, and finds the
 * label's logit by comparing positions with the label: that fuses with the rest of the row, where
 * a gather would not. Losses are f32 whatever they are of: their sums may be beyond f16, and so may
 * be what a loss is multiplied by to keep gradients from vanishing.
 *
 * @module
 */
import { arange } from "../graph/create.ts";
import { checkNames, describe, type Names } from "../graph/describe.ts";
import { dtypes, isFloat } from "../graph/dtype.ts";
import { where } from "../graph/operations.ts";
import { sameShape } from "../graph/shape.ts";
import type { Tensor } from "../graph/tensor.ts";

/** What becomes of the losses of single samples. */
export type LossReduction = "mean" | "sum" | "none";

/** Options of every loss. */
export interface LossOptions {
  /** What becomes of the losses of single samples. @default {"mean"} */
  reduction?: LossReduction;
}

/** Options for {@linkcode crossEntropy}. */
export interface CrossEntropyOptions extends LossOptions {
  /**
   * The share of each target that is spread evenly over all classes, in [0, 1] (Szegedy et al.
   * 2016).
   *
   * @default {0}
   */
  labelSmoothing?: number;
}

const reductions: { readonly [R in LossReduction]: (losses: Tensor) => Tensor } = {
  mean: (losses) => losses.mean(),
  sum: (losses) => losses.sum(),
  none: (losses) => losses,
};

const lossNames: Names<LossOptions> = { reduction: true };

/** What becomes of losses, or an error that names the loss. */
function reduceBy<O extends LossOptions>(
  action: string,
  options: O,
  names: Names<O>,
): (losses: Tensor) => Tensor {
  checkNames(options, names, action);
  const { reduction = "mean" } = options;
  if (Object.hasOwn(reductions, reduction)) return reductions[reduction];
  const expected = Object.keys(reductions).map((name) => `"${name}"`).join(" or ");
  throw new RangeError(
    `Cannot ${action}: reduction is ${describe(reduction)}, expected ${expected}`,
  );
}

/**
 * -log of the probability that softmax gives the label.
 *
 * @param logits Scores, [..., classes].
 * @param labels Classes as integers [...], or probabilities of the classes [..., classes]. A class
 * outside the range counts as no class at all, its loss is 0.
 * @param options Reduction and smoothing.
 * @returns A scalar, or [...] for the reduction "none".
 *
 * @throws {TypeError} If shapes or dtypes do not fit.
 * @throws {RangeError} If `labelSmoothing` is not in [0, 1], or there is no such reduction.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const logits = rg.tensor([[0, 0], [0, Math.log(3)]]);
 * const labels = rg.tensor([0, 1], { dtype: "i32" });
 * const loss = await rg.nn.crossEntropy(logits, labels).item();
 * assertAlmostEquals(loss, (Math.log(2) + Math.log(4 / 3)) / 2, 1e-6);
 * ```
 */
export function crossEntropy(
  logits: Tensor,
  labels: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  const action = "take the cross-entropy", { labelSmoothing = 0 } = options;
  const reduce = reduceBy(action, options, { ...lossNames, labelSmoothing: true });
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new RangeError(
      `Cannot ${action}: labelSmoothing is ${labelSmoothing}, expected one in [0, 1]`,
    );
  }
  checkLabels(action, logits, labels);
  const log = logits.cast("f32").logSoftmax(-1);
  const spread = labelSmoothing / logits.shape.at(-1)!;
  let losses: Tensor;
  if (dtypes[labels.dtype].integer) {
    losses = where(isClass(logits, labels), log, 0).sum(-1).mul(labelSmoothing - 1);
    if (labelSmoothing > 0) losses = losses.sub(log.sum(-1).mul(spread));
  } else {
    const wide = labels.cast("f32");
    const target = labelSmoothing > 0 ? wide.mul(1 - labelSmoothing).add(spread) : wide;
    // A class that is ruled out has log probability -∞, and 0·∞ would be NaN.
    losses = where(target.equal(0), 0, log.mul(target)).sum(-1).neg();
  }
  return reduce(losses);
}

/**
 * Mean squared error over all elements; for the reduction "none" the squares themselves.
 *
 * @param output Floats of any shape.
 * @param target What they should be, of the same shape: floats, or integers.
 * @param options The reduction.
 *
 * @throws {TypeError} If shapes or dtypes do not fit.
 * @throws {RangeError} If there is no such reduction.
 */
export function mse(
  output: Tensor,
  target: Tensor,
  options: LossOptions = {},
): Tensor {
  const action = "take the squared error", reduce = reduceBy(action, options, lossNames);
  const given = `the output is ${output} and the target ${target}`;
  if (!sameShape(output.shape, target.shape)) {
    throw new TypeError(`Cannot ${action}: ${given}, expected equal shapes`);
  }
  if (!isFloat(output.dtype) || target.dtype === "bool") {
    throw new TypeError(
      `Cannot ${action}: ${given}, expected an output of floats and a target of floats or integers`,
    );
  }
  return reduce(output.cast("f32").sub(target.cast("f32")).square());
}

/**
 * The share of samples whose largest logit is the label's; for the reduction "none" 1 and 0.
 *
 * @param logits Scores, [..., classes].
 * @param labels Classes as integers [...], or probabilities of the classes [..., classes].
 * @param options The reduction.
 *
 * @throws {TypeError} If shapes or dtypes do not fit.
 * @throws {RangeError} If there is no such reduction.
 */
export function accuracy(
  logits: Tensor,
  labels: Tensor,
  options: LossOptions = {},
): Tensor {
  const action = "take the accuracy", reduce = reduceBy(action, options, lossNames);
  checkLabels(action, logits, labels);
  const label = isFloat(labels.dtype) ? labels.argmax(-1) : labels.cast("i32");
  return reduce(logits.argmax(-1).equal(label).cast("f32"));
}

/** [..., classes], true at the label. */
function isClass(logits: Tensor, labels: Tensor): Tensor {
  const classes = arange(0, logits.shape.at(-1)!).cast(labels.dtype);
  return classes.equal(labels.expandDims(-1));
}

function checkLabels(action: string, logits: Tensor, labels: Tensor): void {
  const integer = dtypes[labels.dtype].integer;
  const shape = integer ? logits.shape.slice(0, -1) : logits.shape;
  if (logits.rank === 0 || !isFloat(logits.dtype) || labels.dtype === "bool") {
    throw new TypeError(
      `Cannot ${action}: logits are ${logits} and labels ${labels}, expected logits as floats ` +
        "[..., classes] and labels as integers [...] or floats [..., classes]",
    );
  }
  if (!sameShape(labels.shape, shape)) {
    throw new TypeError(
      `Cannot ${action}: labels are ${labels} for logits ${logits}, expected shape [${shape}]`,
    );
  }
}
