/**
 * The problems of Moré, Garbow and Hillstrom: gradients against derivatives written out, and products
 * with the Hessian against their differences in float64, at the usual start and at random places.
 */
import { assert, assertEquals } from "@std/assert";
import { tensor } from "../../../graph/create.ts";
import { hvp, valueAndGrad } from "../../../graph/transforms.ts";
import { readAll } from "../../../graph/tensor.ts";
import { sequence } from "../../checkpoint/random.ts";
import { installHost } from "../../graph/host.ts";
import { problems } from "./mod.ts";
import { exactly, valueOf } from "./problem.ts";

installHost();

/** The sum of this one cancels where it begins, and leaves fewer digits. */
const digits: Readonly<Record<string, number>> = { trigonometric: 1e-4 };

Deno.test("there are 35 problems, four of them in two sizes", () => {
  const names = new Set(problems.map(({ name }) => name.replace(/, \d+ variables$/, "")));
  assertEquals([names.size, problems.length], [35, 39]);
});

for (const problem of problems) {
  Deno.test(`grad() and hvp() of ${problem.name} are what its derivatives written out say`, async () => {
    const f = valueOf(problem), random = sequence(7), tolerance = digits[problem.name] ?? 1e-5;
    for (let trial = 0; trial < 4; trial++) {
      const x = problem.start.map((x) => x * (trial === 0 ? 1 : 1 + 0.3 * (random() - 0.5)))
        .map(Math.fround);
      const t = x.map((_, i) => Math.fround((problem.scale?.[i] ?? 1) * (random() - 0.5)));
      const found = await readAll([...valueAndGrad(f)(tensor(x)), hvp(f, tensor(x), tensor(t))]);
      const close = (found: ArrayLike<number>, wanted: readonly number[], tolerance: number) => {
        const most = Math.max(...wanted.map(Math.abs));
        wanted.forEach((v, i) =>
          assert(Math.abs(found[i]! - v) <= tolerance * most, `${x}: ${found[i]}, expected ${v}`)
        );
      };
      const [value, gradient] = exactly(problem, x);
      close(found[0]!, [value], 10 * tolerance);
      close(found[1]!, gradient, tolerance);
      // Central differences of the gradient, good to some eight digits in float64.
      const at = (s: number) => exactly(problem, x.map((v, i) => v + s * t[i]!))[1];
      const after = at(1e-5), before = at(-1e-5);
      close(found[2]!, after.map((v, i) => (v - before[i]!) / 2e-5), 1e-4);
    }
  });
}
