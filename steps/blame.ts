/**
 * Why a search for steps cannot go on, with the time at which, as flags of the device.
 *
 * @module
 */
import { noteCheck } from "../graph/check.ts";
import type { Tensor } from "../graph/tensor.ts";
import { stopGradient } from "../graph/transforms.ts";

/** The time a flag stands for. Zero would say that all is well, so the last bit is given up. */
function timeOfFlag(bits: number): string {
  const t = new Float32Array(Uint32Array.of(bits).buffer)[0]!;
  return String(Math.abs(t) < 1e-38 ? 0 : Number(t.toPrecision(6)));
}

/** What is wrong, from the time at which. */
export type Blame = (t: string) => string;

/** An attempt that failed would have to be shorter than the least length. */
export const tooShort = (least: number): Blame => (t) =>
  least > 0
    ? `the solution of an ODE needs shorter steps than ${least}, the least, near t = ${t}, ` +
      "expected a wider tolerance or a lower least"
    : `the steps of an ODE's solution have shrunk to nothing at t = ${t}, as at a pole or where the ` +
      "field jumps, expected a solution that goes on to t1, or a wider tolerance";

/** An attempt failed however short it was. */
export const notFinite: Blame = (t) =>
  `the field of an ODE gives NaN or infinity near t = ${t}, however short the step`;

/** There were too many attempts. */
export const tooMany: Blame = (t) =>
  `the solution of an ODE has come to t = ${t} with all attempts that it may make, expected t1 (a ` +
  "larger maximum or tolerance allows more; a stiff field needs too many)";

/** The first value is none. */
export const badStart: Blame = (t) =>
  `y0 of an ODE, at t = ${t}, has NaN or infinity, expected finite numbers`;

/** Notes what is wrong at a time, if something is. */
export function blame(wrong: Tensor, t: Tensor, message: Blame): void {
  const bits = stopGradient(t).cast("f32").bitcast("u32").bitwiseOr(1);
  noteCheck({
    flag: wrong.cast("u32").mul(bits).node,
    message: (bits) => message(timeOfFlag(bits)),
  });
}
