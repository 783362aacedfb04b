/**
 * The problems of Moré, Garbow and Hillstrom: gradients against those written out, at the usual
 * start and at random places, and minima reached from the usual start.
 */
import { assert } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { valueAndGrad } from "../../graph/transforms.ts";
import { gaussNewtonProduct, newtonStep } from "../../optim/newton.ts";
import { compile } from "../../runtime/compile.ts";
import { sequence } from "../checkpoint/random.ts";
import { gpu } from "../gpu.ts";
import { exactly, type Problem, problems, valueOf } from "./more_garbow_hillstrom.ts";

await gpu();

for (const problem of problems) {
  Deno.test(`grad() of ${problem.name} is what its derivatives written out are`, async () => {
    const both = compile(valueAndGrad(valueOf(problem)));
    const random = sequence(7);
    for (let trial = 0; trial < 4; trial++) {
      const x = problem.start.map((x) => x * (trial === 0 ? 1 : 1 + 0.3 * (random() - 0.5)))
        .map(Math.fround);
      const [value, gradient] = both(tensor(x)), [exact, slopes] = exactly(problem, x);
      const found = await gradient.data(), most = Math.max(...slopes.map(Math.abs));
      assert(
        Math.abs(await value.item() - exact) <= 1e-4 * exact,
        `${await value.item()}, ${exact}`,
      );
      slopes.forEach((slope, i) =>
        assert(Math.abs(found[i]! - slope) <= 1e-5 * most, `${x}: ${found[i]}, expected ${slope}`)
      );
    }
  });
}

/** Newton steps until none is good any more, or the value stays: its value there, in float64. */
async function minimum(problem: Problem, gaussNewton: boolean, most: number): Promise<number> {
  const scale = tensor(problem.scale ?? problem.start.map(() => 1));
  const loss = (z: Tensor) => valueOf(problem)(z.mul(scale));
  const residuals = (z: Tensor) => problem.residuals(z.mul(scale));
  const squares = (r: Tensor) => r.square().sum();
  const step = compile((z: Tensor) =>
    newtonStep(loss, z, {
      iterations: 12,
      tolerance: 1e-4,
      search: { attempts: 20 },
      ...gaussNewton && { product: (v) => gaussNewtonProduct(residuals, squares, z, v) },
    })
  );
  let z = tensor(problem.start).div(scale);
  for (let i = 0; i < most; i++) {
    const { params, rate } = step(z);
    z = params;
    if (i % 10 === 9 && await rate.item() === 0) break;
  }
  return exactly(problem, [...await z.mul(scale).data()])[0];
}

/** Steps with the Gauss-Newton matrix: where the Hessian leads to a saddle, or the valley is narrow. */
const withGaussNewton: Readonly<Record<string, number>> = { Wood: 100, Meyer: 500 };

for (const problem of problems) {
  Deno.test(`newtonStep() minimises ${problem.name}`, async () => {
    const steps = withGaussNewton[problem.name];
    const value = await minimum(problem, steps !== undefined, steps ?? 60);
    assert(
      problem.minima.some((least) => Math.abs(value - least) <= 1e-4 * least + 1e-10),
      `${value}, expected one of ${problem.minima}`,
    );
  });
}
