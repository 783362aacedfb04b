/**
 * A training run with momentum on fixed-point state, forwards and backwards, each a loop whose body
 * compiles once. Per step, with g the gradient at X, the weight decay's included:
 *
 *     V ← γV;  V ← V - (1-γ)g;  X ← X + αV
 *
 * The way back undoes the steps to the bit and takes the cotangents along:
 *
 *     dα = dX·V;  X ← X - αV;  dV ← dV + α dX;  V ← V + (1-γ)g;  V ← V/γ;  dγ = dV·(V + g)
 *     dX ← dX - H (1-γ)dV;  dθ ← dθ - (∂g/∂θ)ᵀ (1-γ)dV;  dV ← γ dV
 *
 * g and both products with second derivatives come from one evaluation, forward mode over reverse.
 * Rounding to the grid counts as the identity. Memory is that of the state, and the bits that the
 * buffers have spilled.
 *
 * Maclaurin, Duvenaud and Adams 2015, algorithm 2.
 *
 * @module
 */
import { arange, full, zerosLike } from "../../graph/create.ts";
import { concatenate } from "../../graph/operations.ts";
import { scan } from "../../graph/scan.ts";
import type { Shape } from "../../graph/shape.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad, jvp } from "../../graph/transforms.ts";
import { fromFixed, lowHalves, minus, plus, scaled, toFixed, withLowHalves } from "./fixed.ts";
import type { Segments } from "./spills.ts";

/** A scalar loss of the parameters' leaves, the data's floats and the number of the step. */
export type LeafLoss = (x: readonly Tensor[], theta: readonly Tensor[], step: Tensor) => Tensor;

/** What a run is, but for its numbers. */
export interface Run {
  readonly loss: LeafLoss;
  readonly steps: number;
  readonly segments: Segments;
  /** Momenta are whole multiples of 1/denominator. */
  readonly denominator: number;
  /** What positions and velocities are whole multiples of. */
  readonly units: { readonly position: number; readonly velocity: number };
}

/** Hyperparameters leaf by leaf, [steps, …]; what follows the first axis broadcasts to the leaf. */
export interface Schedule {
  readonly rates: Tensor[];
  readonly momenta: Tensor[];
  /** Weight decay; null for none. */
  readonly decay: Tensor[] | null;
}

/** Positions, velocities (i32) and information buffers (u32), leaf by leaf. */
export interface Exact {
  readonly x: Tensor[];
  readonly v: Tensor[];
  readonly b: Tensor[];
}

/** Where a run ended, and what the way back needs. */
export interface End {
  readonly state: Exact;
  /** For each leaf what was spilled, u32 [segments, words]; none without segments. */
  readonly spilled: Tensor[];
}

/** One step's rows; the momentum as a whole number of 1/denominator, i32. */
interface Row {
  readonly step: Tensor;
  readonly rates: Tensor[];
  readonly counts: Tensor[];
  readonly decay: Tensor[] | null;
}

/** Momenta as whole numbers of 1/denominator, i32. */
export function countsOf(momenta: Tensor, denominator: number): Tensor {
  return momenta.mul(denominator).round().cast("i32");
}

function rowsOf({ steps, denominator }: Run, { rates, momenta, decay }: Schedule): Row {
  const counts = momenta.map((m) => countsOf(m, denominator));
  return { step: arange(steps).cast("u32"), rates, counts, decay };
}

function mapRows(rows: Row, f: (x: Tensor) => Tensor): Row {
  return {
    step: f(rows.step),
    rates: rows.rates.map(f),
    counts: rows.counts.map(f),
    decay: rows.decay?.map(f) ?? null,
  };
}

/** Rows of the segments, [count, length, …], and those after them. */
function cut(rows: Row, { length, count, rest }: Segments): { segments: Row; rest: Row } {
  return {
    segments: mapRows(
      rows,
      (x) => x.slice([0, count * length]).reshape([count, length, ...x.shape.slice(1)]),
    ),
    rest: mapRows(rows, (x) => x.slice([count * length, count * length + rest])),
  };
}

/** The share of a gradient that enters the velocity: 1 - γ, of the momentum as it is on the grid. */
function share(count: Tensor, denominator: number): Tensor {
  return count.neg().add(denominator).cast("f32").mul(1 / denominator);
}

/** The gradient with weight decay. */
function decayed(g: Tensor, x: Tensor, decay: Tensor | undefined): Tensor {
  return decay === undefined ? g : g.add(decay.mul(x));
}

/** The state before the first step, at rest. */
export function begin({ units }: Run, params: readonly Tensor[]): Exact {
  const x = params.map((p) => toFixed(p, units.position));
  return {
    x,
    v: x.map((x) => zerosLike(x)),
    b: x.map((x) => zerosLike(x, { dtype: "u32" })),
  };
}

/** Runs all steps. */
export function forwards(
  run: Run,
  start: Exact,
  schedule: Schedule,
  theta: readonly Tensor[],
): End {
  const { segments, denominator, units } = run;
  const gradient = grad((x: Tensor[], step: Tensor) => run.loss(x, theta, step));
  const step = ({ x, v, b }: Exact, row: Row): [Exact, null] => {
    const at = x.map((x) => fromFixed(x, units.position));
    const g = gradient(at, row.step);
    const moved = x.map((x, i) => {
      const n = row.counts[i]!, d = full(n.shape, denominator, { dtype: "i32" });
      const held = scaled({ value: v[i]!, buffer: b[i]! }, n, d);
      const kick = share(n, denominator).mul(decayed(g[i]!, at[i]!, row.decay?.[i])).neg();
      const velocity = plus(held.value, kick, units.velocity);
      const drift = row.rates[i]!.mul(fromFixed(velocity, units.velocity));
      return { x: plus(x, drift, units.position), v: velocity, b: held.buffer };
    });
    return [{ x: moved.map((m) => m.x), v: moved.map((m) => m.v), b: moved.map((m) => m.b) }, null];
  };
  const rows = cut(rowsOf(run, schedule), segments);
  const segment = (state: Exact, rows: Row): [Exact, Tensor[]] => {
    const [{ x, v, b }] = scan(step, state, rows, { name: "training step" });
    return [{ x, v, b: b.map((b) => b.rightShift(16)) }, b.map(lowHalves)];
  };
  const [middle, spilled] = segments.count === 0
    ? [start, []]
    : scan(segment, start, rows.segments, { name: "training segment" });
  const [state] = scan(step, middle, rows.rest, { name: "training step" });
  return { state, spilled };
}

/** The gradient, and the tangents of both gradients as the parameters move. */
interface Derivatives {
  readonly g: readonly Tensor[];
  /** The Hessian times the direction. */
  readonly hessian: readonly Tensor[];
  /** (∂g/∂θ)ᵀ times the direction: how the gradient with respect to θ changes along it. */
  readonly mixed: readonly Tensor[];
}

function derivatives(
  { loss }: Run,
  x: Tensor[],
  theta: Tensor[],
  step: Tensor,
  along: Tensor[],
): Derivatives {
  const both = (x: Tensor[]): [Tensor[], Tensor[]] =>
    theta.length === 0
      ? [grad((x: Tensor[]) => loss(x, theta, step))(x), []]
      : grad((x: Tensor[], t: Tensor[]) => loss(x, t, step), { argnums: [0, 1] })(x, theta);
  const [[g], [hessian, mixed]] = jvp(both, [x], [along]);
  return { g, hessian, mixed };
}

/** Sums over the axes along which a shape was broadcast. */
function summedTo(x: Tensor, shape: Shape): Tensor {
  const front = x.rank - shape.length;
  const axes = x.shape.flatMap((size, i) =>
    i < front || (shape[i - front] === 1 && size !== 1) ? [i] : []
  );
  return axes.length === 0 ? x : x.sum(axes, { keepDims: true }).reshape(shape);
}

/** Cotangents of everything that a run depends on. */
export interface Cotangents {
  readonly params: Tensor[];
  readonly schedule: Schedule;
  readonly theta: Tensor[];
}

/** What goes round on the way back. */
interface Around {
  readonly state: Exact;
  readonly dx: Tensor[];
  readonly dv: Tensor[];
  readonly dtheta: Tensor[];
}

/** Undoes all steps; gives the state before the first, and cotangents from those of the end. */
export function backwards(
  run: Run,
  end: End,
  schedule: Schedule,
  theta: Tensor[],
  cotangents: { readonly x: Tensor[]; readonly v: Tensor[] },
): readonly [start: Exact, cotangents: Cotangents] {
  const { segments, denominator, units } = run;
  const step = ({ state, dx, dv, dtheta }: Around, row: Row): [Around, Schedule] => {
    const before = state.x.map((x, i) => {
      const v = fromFixed(state.v[i]!, units.velocity), rate = row.rates[i]!;
      return {
        x: minus(x, rate.mul(v), units.position),
        rate: summedTo(dx[i]!.mul(v), rate.shape),
        dv: dv[i]!.add(rate.mul(dx[i]!)),
      };
    });
    const at = before.map(({ x }) => fromFixed(x, units.position));
    const shares = row.counts.map((n) => share(n, denominator));
    const along = before.map(({ dv }, i) => shares[i]!.mul(dv));
    const { g, hessian, mixed } = derivatives(run, at, theta, row.step, along);
    const undone = before.map(({ x, dv, rate }, i) => {
      const n = row.counts[i]!,
        d = full(n.shape, denominator, { dtype: "i32" }),
        decay = row.decay?.[i];
      const total = decayed(g[i]!, at[i]!, decay);
      const kicked = minus(state.v[i]!, shares[i]!.mul(total).neg(), units.velocity);
      const held = scaled({ value: kicked, buffer: state.b[i]! }, d, n);
      const v = fromFixed(held.value, units.velocity);
      const momentum = summedTo(dv.mul(v.add(total)), n.shape);
      const curvature = decayed(hessian[i]!, along[i]!, decay);
      return {
        x,
        v: held.value,
        b: held.buffer,
        dx: dx[i]!.sub(curvature),
        dv: dv.mul(n.cast("f32").mul(1 / denominator)),
        rate,
        momentum,
        decay: decay && summedTo(along[i]!.mul(at[i]!).neg(), decay.shape),
      };
    });
    return [
      {
        state: { x: undone.map((u) => u.x), v: undone.map((u) => u.v), b: undone.map((u) => u.b) },
        dx: undone.map((u) => u.dx),
        dv: undone.map((u) => u.dv),
        dtheta: dtheta.map((d, i) => d.sub(mixed[i]!)),
      },
      {
        rates: undone.map((u) => u.rate),
        momenta: undone.map((u) => u.momentum),
        decay: row.decay === null ? null : undone.map((u) => u.decay!),
      },
    ];
  };
  const rows = cut(rowsOf(run, schedule), segments);
  const turn: Around = {
    state: end.state,
    dx: cotangents.x,
    dv: cotangents.v,
    dtheta: theta.map((t) => zerosLike(t)),
  };
  const options = { reverse: true, name: "training step undone" };
  const [middle, last] = scan(step, turn, rows.rest, options);
  const segment = (around: Around, { rows, spilled }: { rows: Row; spilled: Tensor[] }) => {
    const b = around.state.b.map((b, i) => withLowHalves(b, spilled[i]!));
    return scan(step, { ...around, state: { ...around.state, b } }, rows, options);
  };
  if (segments.count === 0) return ended(middle, last);
  const [first, stacked] = scan(segment, middle, { rows: rows.segments, spilled: end.spilled }, {
    reverse: true,
    name: "training segment undone",
  });
  const joined = (a: Tensor, b: Tensor): Tensor =>
    concatenate([a.reshape([-1, ...a.shape.slice(2)]), b]);
  return ended(first, {
    rates: last.rates.map((b, i) => joined(stacked.rates[i]!, b)),
    momenta: last.momenta.map((b, i) => joined(stacked.momenta[i]!, b)),
    decay: last.decay && last.decay.map((b, i) => joined(stacked.decay![i]!, b)),
  });
}

function ended(
  { state, dx, dtheta }: Around,
  schedule: Schedule,
): readonly [start: Exact, cotangents: Cotangents] {
  return [state, { params: dx, schedule, theta: dtheta }];
}
