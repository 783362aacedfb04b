/**
 * The problems of Moré, Garbow and Hillstrom: published minima are reached from the usual start, by
 * damped Newton steps on the device.
 */
import { assert, assertAlmostEquals } from "@std/assert";
import { tensor } from "../../../graph/create.ts";
import { where } from "../../../graph/operations.ts";
import type { Tensor } from "../../../graph/tensor.ts";
import { gaussNewtonProduct, newtonStep } from "../../../optim/newton.ts";
import { compile } from "../../../runtime/compile.ts";
import { gpu } from "../../gpu.ts";
import { problems } from "./mod.ts";
import { exactly, type Problem, valueOf } from "./problem.ts";

await gpu();

/** Where the Hessian leads to a saddle or nowhere, or the valley is narrow: Gauss-Newton's matrix. */
const gaussNewton = new Set([
  "Powell badly scaled",
  "Meyer",
  "Gulf research and development",
  "Wood",
  "Watson, 9 variables",
  "penalty 2, 4 variables",
  "penalty 2, 10 variables",
]);

/** Where f32 tells sums of squares apart so badly that damping alone does not get down: a search. */
const searched = new Set(["Meyer"]);

/** A value of a known minimum, or 0. */
const isMinimum = ({ minima }: Problem, value: number): boolean =>
  minima.some((least) => Math.abs(value - least) <= 1e-4 * least + 1e-10);

/** Damped steps until a minimum is reached: the value there, in float64. */
async function minimise(problem: Problem): Promise<number> {
  const scale = tensor(problem.scale ?? problem.start.map(() => 1));
  const loss = (z: Tensor) => valueOf(problem)(z.mul(scale));
  const residuals = (z: Tensor) => problem.residuals(z.mul(scale));
  const squares = (r: Tensor) => r.square().sum();
  const [first, slopes] = exactly(problem, problem.start);
  const step = compile((z: Tensor, damping: Tensor) => {
    const { params, rate, norm } = newtonStep(loss, z, {
      damping,
      iterations: 2 * problem.start.length + 4,
      tolerance: 1e-6,
      search: { attempts: searched.has(problem.name) ? 20 : 1 },
      ...gaussNewton.has(problem.name) &&
        { product: (v) => gaussNewtonProduct(residuals, squares, z, v) },
    });
    // Marquardt 1963: a bad step is tried again, shorter and nearer to the way down.
    const next = where(rate.equal(0), damping.mul(10).maximum(1e-9 * first), damping.mul(0.1));
    return { params, damping: next, norm };
  });
  let z = tensor(problem.start).div(scale), damping = tensor(1e-3), value = first;
  for (let i = 1; i <= 2000 && !isMinimum(problem, value); i++) {
    const { norm, ...next } = step(z, damping);
    [z, damping] = [next.params, next.damping];
    if (i === 1) {
      const wanted = Math.hypot(...slopes.map((s, i) => s * (problem.scale?.[i] ?? 1)));
      assertAlmostEquals(await norm.item() / wanted, 1, 1e-4, "the gradient where it begins");
    }
    if (i % 20 === 0) value = exactly(problem, [...await z.mul(scale).data()])[0];
  }
  return value;
}

for (const problem of problems) {
  Deno.test(`newtonStep() minimises ${problem.name}`, async () => {
    const value = await minimise(problem);
    assert(isMinimum(problem, value), `${value}, expected one of ${problem.minima}`);
  });
}
