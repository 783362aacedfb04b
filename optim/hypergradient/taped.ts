/**
 * Runs of plain descent and of Adam, in floats. Their steps are undone nearly: a step of descent by
 * iteration, since the gradient it took is that of a place not known yet; one of Adam in closed
 * form, since what it moved by follows from the means after it, which give the place before, whose
 * gradient gives the means before. What rounding and iterating get wrong goes on the tape of
 * differences, so the way back meets the states of the way forward to the bit.
 *
 * "Tricks from Deep Learning", Efficiency (e); Kingma and Ba 2015.
 *
 * @module
 */
import { arange, zerosLike } from "../../graph/create.ts";
import { check } from "../../graph/check.ts";
import { where } from "../../graph/operations.ts";
import { type Backward, scan } from "../../graph/scan.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import { reverse } from "../../checkpoint/strategy.ts";
import type { TapeOptions } from "../../checkpoint/arena.ts";
import { byIteration } from "../../steps/blocks.ts";
import type { ReversibleStep } from "../../steps/step.ts";

/** Parameters, and the means of gradients and of their squares where a method has them. */
export type Moving = {
  readonly x: Tensor[];
  readonly mean: Tensor[];
  readonly square: Tensor[];
};

/** One step's hyperparameters, for each leaf; null for what there is not. */
export type Row = {
  readonly step: Tensor;
  readonly rates: Tensor[];
  readonly momenta: Tensor[] | null;
  readonly squares: Tensor[] | null;
  readonly decay: Tensor[] | null;
};

/** The gradient at parameters, the penalty's included. */
type Slope = (x: Tensor[], row: Row) => Tensor[];

/** A method of descent. */
export interface Method {
  /** The state before the first step. */
  start(x: Tensor[]): Moving;
  /** Its step, and what nearly undoes it. */
  steps(slope: Slope): ReversibleStep<Moving, [Row]>;
}

/** x ← x − rate·g(x), undone by so many iterations of x ← x′ + rate·g(x). */
export function descent(iterations: number): Method {
  return {
    start: (x) => ({ x, mean: [], square: [] }),
    steps: (slope) =>
      byIteration((state: Moving, row: Row): Moving => {
        const g = slope(state.x, row);
        return { ...state, x: state.x.map((x, i) => x.sub(row.rates[i]!.mul(g[i]!))) };
      }, { iterations }),
  };
}

/** 1 / (1 − kept^(step + 1)): a mean that began at zero, made up for it. */
function correction(kept: Tensor, step: Tensor): Tensor {
  return step.cast("f32").add(1).mul(kept.log()).expm1().neg().reciprocal();
}

/** The root of what is not negative; at 0, where there was no gradient yet, with derivative 0. */
function root(x: Tensor): Tensor {
  const some = x.greater(0);
  return where(some, where(some, x, 1).sqrt(), 0);
}

/** kept·mean + (1 − kept)·x. */
function into(mean: Tensor, x: Tensor, kept: Tensor): Tensor {
  return mean.mul(kept).add(x.mul(kept.neg().add(1)));
}

/** The mean that {@linkcode into} made another of. */
function outOf(after: Tensor, x: Tensor, kept: Tensor): Tensor {
  return after.sub(x.mul(kept.neg().add(1))).div(kept);
}

/** Adam, as `optim.adam` has it, but for rates, decays and momenta that may change. */
export function adam(epsilon: number): Method {
  /** What a step added to a parameter follows from the means after it. */
  const moved = ({ mean, square }: Moving, { step, rates, momenta, squares }: Row, i: number) => {
    const m = mean[i]!.mul(correction(momenta![i]!, step));
    const s = square[i]!.mul(correction(squares![i]!, step));
    return rates[i]!.mul(m.div(root(s).add(epsilon)));
  };
  return {
    start: (x) => ({ x, mean: x.map((x) => zerosLike(x)), square: x.map((x) => zerosLike(x)) }),
    steps: (slope) => ({
      step(state, row) {
        const g = slope(state.x, row);
        const after = {
          x: state.x,
          mean: state.mean.map((m, i) => into(m, g[i]!, row.momenta![i]!)),
          square: state.square.map((s, i) => into(s, g[i]!.square(), row.squares![i]!)),
        };
        return { ...after, x: state.x.map((x, i) => x.sub(moved(after, row, i))) };
      },
      inverse(after, row) {
        const x = after.x.map((x, i) => x.add(moved(after, row, i)));
        const g = slope(x, row);
        return {
          x,
          mean: after.mean.map((m, i) => outOf(m, g[i]!, row.momenta![i]!)),
          square: after.square.map((s, i) => outOf(s, g[i]!.square(), row.squares![i]!).maximum(0)),
        };
      },
    }),
  };
}

/** A run of descent, but for its numbers. */
export interface FloatRun {
  readonly method: Method;
  readonly steps: number;
  /** How the way back gets its states; by the tape if undefined. */
  readonly backward: Backward | undefined;
  readonly tape: TapeOptions;
  /** A scalar of the parameters' leaves and the step's number; closes over the data. */
  readonly loss: (x: readonly Tensor[], step: Tensor) => Tensor;
}

/** Runs all steps, as a loop that can be differentiated like any other. */
export function descend(run: FloatRun, start: Tensor[], schedule: Omit<Row, "step">): Moving {
  const { method, steps, tape } = run;
  for (const kept of new Set([...schedule.momenta ?? [], ...schedule.squares ?? []])) {
    check(
      kept.greater(0).logicalAnd(kept.less(1)),
      "what is kept of a mean is 0 or less, or 1 or more, expected momenta and squares in (0, 1)",
    );
  }
  const { step, inverse } = method.steps((x, row) => {
    const g = grad((x: Tensor[]) => run.loss(x, row.step))(x);
    return g.map((g, i) => row.decay === null ? g : g.add(row.decay[i]!.mul(x[i]!)));
  });
  const rows: Row = { step: arange(steps).cast("u32"), ...schedule };
  const [end] = scan(
    (state: Moving, row: Row) => [step(state, row), null],
    method.start(start),
    rows,
    {
      length: steps,
      backward: run.backward ?? reverse({ inverse, exact: "tape", tape }),
      name: "training step",
    },
  );
  return end;
}
