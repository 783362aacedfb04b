/**
 * Mixed precision (Micikevicius et al. 2018): forwards and backwards in f16, parameters and their
 * updates in f32. Gradients too small for f16 are kept from vanishing by scaling the loss, and the
 * scale is found while training: a step whose gradient is not finite is skipped and halves it, and
 * so many good steps double it. All of that is decided on the device, by selection: no step waits.
 *
 * @module
 */
import { full, tensor } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { where } from "../graph/operations.ts";
import type { Tensor } from "../graph/tensor.ts";
import { valueAndGrad } from "../graph/transforms.ts";
import { deviceInfo } from "../runtime/init.ts";
import { checkCount, checkNumber } from "./check.ts";
import type { Optimizer, State } from "./optimizer.ts";
import { leaves, map, type Tree } from "./tree.ts";

/** Options for {@linkcode mixedPrecision}. */
export interface MixedPrecisionOptions {
  /**
   * What forwards and backwards are computed in: `auto` is f16 where the device has it, and f32
   * where it does not.
   *
   * @default {"f16"}
   */
  compute?: "f16" | "f32" | "auto";
  /** The loss scale at first. @default {65536} */
  scale?: number;
  /** What the scale is multiplied by after good steps, and divided by after a bad one. @default {2} */
  factor?: number;
  /** How many good steps in a row make the scale grow. @default {2000} */
  interval?: number;
}

/** What mixed precision remembers besides the optimizer's own memory. */
export type MixedMemory = {
  /** The optimizer's. */
  readonly memory: Tree;
  /** What the loss is multiplied by, an f32 scalar. */
  readonly scale: Tensor;
  /** Good steps since the scale last changed, an f32 scalar. */
  readonly good: Tensor;
  /** How many steps were skipped in all, a u32 scalar. */
  readonly skipped: Tensor;
};

/** An optimizer over f32 parameters whose gradients are those of a scaled loss in f16. */
export interface MixedPrecision extends Optimizer {
  /** The tree with f32 tensors in the precision of computation; others stay. */
  cast<T extends Tree>(tree: T): T;
  /**
   * The loss, unscaled, and the gradient of the scaled loss with respect to the state's parameters,
   * for {@linkcode Optimizer.update}. Parameters and batch are cast before the loss sees them; a
   * loss in f32, as those of `nn` are, leaves the most room for scales; of one in f16 the first
   * scales are beyond what it holds, and a few steps are skipped until one is not.
   */
  valueAndGrad<P extends Tree, B extends readonly Tree[]>(
    loss: (params: P, ...batch: B) => Tensor,
  ): (state: State<P>, ...batch: B) => [value: Tensor, gradient: P];
}

/** Scales stay finite. */
const LARGEST = 2 ** 100;

/**
 * The optimizer in mixed precision. Gradients are unscaled before it sees them, so that clipping
 * means what it says. A step with a gradient that is not finite leaves parameters, memory and step
 * as they were.
 *
 * @throws {RangeError} If a number is out of its range.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const model = rg.nn.mlp([4, 8, 2]);
 * const mixed = rg.optim.mixedPrecision(rg.optim.adam(), { compute: "auto", scale: 1024 });
 * const both = mixed.valueAndGrad((params: rg.Tree, x: rg.Tensor) =>
 *   model.apply(params, x).cast("f32").square().mean()
 * );
 * const step = rg.compile((state: rg.optim.State, x: rg.Tensor) => {
 *   const [loss, gradient] = both(state, x);
 *   return [mixed.update(state, gradient), loss] as const;
 * }, { donate: [0] });
 * const [state, loss] = step(mixed.init(model.init(rg.random.key(0))), rg.ones([16, 4]));
 * console.log(await loss.item(), await state.step.item());
 * ```
 */
export function mixedPrecision(
  optimizer: Optimizer,
  options: MixedPrecisionOptions = {},
): MixedPrecision {
  checkNames(
    options,
    { compute: true, scale: true, factor: true, interval: true },
    "make mixed precision",
  );
  const { compute = "f16", scale = 65536, factor = 2, interval = 2000 } = options;
  const name = "mixed precision";
  if (!["f16", "f32", "auto"].includes(compute)) {
    throw new TypeError(`Cannot make ${name}: compute is ${compute}, expected f16, f32 or auto`);
  }
  checkNumber(name, "scale", scale, 1, LARGEST);
  checkNumber(name, "factor", factor, 1);
  checkCount(name, "interval", interval);
  const cast = <T extends Tree>(tree: T): T => {
    const dtype = compute === "auto"
      ? (deviceInfo().features.includes("shader-f16") ? "f16" : "f32")
      : compute;
    return map((x) => x.dtype === "f32" ? x.cast(dtype) : x, tree);
  };
  const memoryOf = (state: State): MixedMemory => {
    const memory = state.memory as Partial<MixedMemory> | null;
    if (memory?.scale !== undefined && memory.good !== undefined) return memory as MixedMemory;
    throw new TypeError(
      `Cannot update in ${name}: the state has no loss scale, expected one made by its init()`,
    );
  };
  return {
    cast,
    init<P extends Tree>(params: P): State<P> {
      const state = optimizer.init(params);
      const memory: MixedMemory = {
        memory: state.memory,
        scale: full([], scale),
        good: full([], 0),
        skipped: tensor(0, { dtype: "u32" }),
      };
      return { ...state, memory };
    },
    valueAndGrad<P extends Tree, B extends readonly Tree[]>(
      loss: (params: P, ...batch: B) => Tensor,
    ) {
      return (state: State<P>, ...batch: B): [Tensor, P] => {
        const { scale } = memoryOf(state), inputs = cast(batch as Tree) as unknown as B;
        const scaled = (params: P): [Tensor, Tensor] => {
          const value = loss(cast(params), ...inputs).cast("f32");
          return [value.mul(scale), value];
        };
        const [[, value], gradient] = valueAndGrad<readonly [P], Tensor>(scaled, {
          hasAux: true,
        })(state.params);
        return [value, gradient];
      };
    },
    update<P extends Tree>(state: State<P>, gradient: Tree): State<P> {
      const { memory, scale, good, skipped } = memoryOf(state);
      const finite = leaves(gradient).map((g) => g.isFinite().all())
        .reduce((a, b) => a.logicalAnd(b), full([], true));
      // Divided in f32: the scale itself may be beyond f16.
      const gradients = map((g) => g.cast("f32").div(scale), gradient);
      const before: State<P> = { ...state, memory };
      const after = optimizer.update(before, gradients);
      const next = map((a, b) => where(finite, a, b), after as Tree, before as Tree) as State<P>;
      const grown = good.add(1).greaterEqual(interval);
      const larger = where(grown, scale.mul(factor).minimum(LARGEST), scale);
      const mixed: MixedMemory = {
        memory: next.memory,
        scale: where(finite, larger, scale.div(factor).maximum(1)),
        good: where(finite.logicalAnd(grown.logicalNot()), good.add(1), 0),
        skipped: skipped.add(finite.logicalNot().cast("u32")),
      };
      return { ...next, memory: mixed };
    },
  };
}
