/** Solutions of differential equations: values, gradients by every way back, times in between. */
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import "../gpu.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;

const methods = ["rk4", "asynchronousLeapfrog", "reversibleHeun", "coupled"] as const;

Deno.test("odeSolve() follows the solution with every method, forwards and backwards in time", async () => {
  // y' = −y + t has the solution (y0 + 1)·e^−t + t − 1.
  const field = (y: T, t: T): T => t.sub(y);
  const exact = (y0: number, from: number, to: number): number =>
    (y0 - from + 1) * Math.exp(from - to) + to - 1;
  for (const method of methods) {
    for (const [t0, t1] of [[0, 2], [0.5, 1.5], [1, 0]] as const) {
      const y = rg.odeSolve(field, rg.tensor([1, -2]), { t0, t1, steps: 64, method });
      const values = await y.data();
      [1, -2].forEach((y0, i) => assertAlmostEquals(values[i]!, exact(y0, t0, t1), 2e-3));
    }
  }
  const made = rg.odeSolve((y: T) => y.neg(), rg.tensor(1), {
    t1: 1,
    steps: 10,
    method: (options) =>
      rg.steps.coupled({ ...options, method: "rk4" }) as unknown as rg.steps.Integrator<T, rg.Tree>,
  });
  assertAlmostEquals(await made.item() as number, Math.exp(-1), 1e-5);
});

Deno.test("odeSolve() gives gradients of y0, parameters, t0 and t1, checked by differences", async () => {
  for (const method of ["rk4", "reversibleHeun"] as const) {
    const report = await rg.checkGradients(
      (y0: T, w: T, t0: T, t1: T) =>
        rg.odeSolve(
          (y: { a: T; b: T }, t: T) => ({
            a: y.b.mul(w).add(t.sin()),
            b: y.a.neg().tanh(),
          }),
          { a: y0, b: y0.mul(0.5) },
          { t0, t1, steps: 8, method },
        ).a.square().sum(),
      [
        rg.tensor([0.3, -0.8]),
        rg.tensor([0.7, 1.1]),
        rg.tensor(0.2),
        rg.tensor(0.9),
      ],
    );
    assert(report.directions.length > 0, method);
  }
});

Deno.test("odeSolve() has the bits of store with every way back", async () => {
  const loss = (method: typeof methods[number], backward: rg.SolveBackward) =>
    rg.compile((y0: T, w: T) =>
      rg.grad(
        (y0: T, w: T) =>
          rg.odeSolve((y: T) => y.matmul(w).tanh(), y0, { t1: 1, steps: 12, method, backward })
            .square().sum(),
        { argnums: [0, 1] },
      )(y0, w)
    );
  const args = [
    rg.random.normal(rg.random.key(1), [3, 4]),
    rg.random.normal(rg.random.key(2), [4, 4]),
  ] as const;
  for (const method of ["rk4", "coupled"] as const) {
    const backwards: rg.SolveBackward[] = [rg.revolve({ snapshots: 3 })];
    if (method !== "rk4") {
      backwards.push(
        "reverse",
        (inverse) =>
          rg.revolve({
            snapshots: 2,
            segment: 4,
            leaf: rg.reverse<rg.Tree, T>({ inverse, exact: "tape", tape: { bits: 16 } }),
          }),
      );
    }
    const expected = await Promise.all(loss(method, "store")(...args).map((g) => g.data()));
    for (const backward of backwards) {
      const actual = await Promise.all(loss(method, backward)(...args).map((g) => g.data()));
      assertEquals(actual, expected, method);
    }
  }
});

Deno.test("odeSolve() saves every step, or any time by interpolation, with gradients", async () => {
  const options = { t0: 0.5, t1: 2.5, steps: 16, method: "rk4" } as const;
  const field = (y: T, t: T): T => y.mul(t.cos());
  const exact = (t: number): number => Math.exp(Math.sin(t) - Math.sin(0.5));
  const path = rg.odeSolve(field, rg.ones([2]), { ...options, saveAt: "steps" });
  assertEquals(path.shape, [17, 2]);
  const rows = await path.data();
  for (let k = 0; k <= 16; k++) assertAlmostEquals(rows[2 * k]!, exact(0.5 + k / 8), 1e-4);
  const at = [0.5, 0.55, 1.1, 1.999, 2.5];
  const between = await rg.odeSolve(field, rg.ones([2]), { ...options, saveAt: at }).data();
  at.forEach((t, k) => assertAlmostEquals(between[2 * k + 1]!, exact(t), 1e-4));
  const report = await rg.checkGradients(
    (y0: T, t: T) => rg.odeSolve(field, y0, { ...options, saveAt: t }).square().sum(),
    [
      rg.tensor([1, 0.5]),
      rg.tensor([0.71, 1.33, 2.07]),
    ],
  );
  assert(report.directions.length > 0);
});

Deno.test("what cannot be solved is refused", () => {
  const y = rg.tensor([1]);
  const field = (y: T): T => y;
  assertThrows(
    () => rg.odeSolve(field, y, { t1: 1, steps: 0 }),
    RangeError,
    "Cannot solve an ODE: steps is 0, expected an integer ≥ 1",
  );
  assertThrows(
    () => rg.odeSolve(field, y, { t1: 1, steps: 3, backward: "reverse" }),
    TypeError,
    "Cannot solve an ODE: the method has no inverse, expected a reversible one",
  );
  for (const backward of ["stor", null, {}]) {
    assertThrows(
      () => rg.odeSolve(field, y, { t1: 1, steps: 3, backward } as never),
      TypeError,
      `Cannot solve an ODE: backward is ${
        backward === "stor" ? '"stor"' : backward && "an object"
      }, expected "store"`,
    );
  }
  const wrong = "of the integrator that the method made is";
  for (const options of [{ steps: 3 }, { tolerance: 1e-3 }]) {
    assertThrows(
      () => rg.odeSolve(field, y, { t1: 1, ...options, method: (() => null) as never }),
      TypeError,
      `start ${wrong} undefined, expected a function`,
    );
    const method = (o: rg.FieldOptions<T>) => ({ ...rg.steps.reversibleHeun(o), inverse: 3 });
    assertThrows(
      () => rg.odeSolve(field, y, { t1: 1, ...options, method: method as never }),
      TypeError,
      `inverse ${wrong} 3, expected a function`,
    );
  }
  assertThrows(
    () => rg.odeSolve(field, y, { t1: 1, steps: 3, method: "rk5" as "rk4" }),
    TypeError,
    'Cannot solve an ODE: the method is "rk5", expected one of euler, midpoint, heun, bs3, rk4, ' +
      "dopri5, tsit5, asynchronousLeapfrog, reversibleHeun, coupled, a tableau, or what makes",
  );
  for (const options of [{ steps: 3 }, { tolerance: 1e-3 }]) {
    assertThrows(
      () => rg.odeSolve(field, y, { t1: 1, ...options, method: {} as "rk4" }),
      TypeError,
      "the method is an object, expected the name of one or a tableau",
    );
  }
  for (const saveAt of [[], "steps"] as const) {
    assertThrows(
      () => rg.odeSolve(field, y, { t1: 1, steps: -3, saveAt }),
      RangeError,
      "steps is -3, expected an integer ≥ 1",
    );
  }
  assertThrows(
    () => rg.odeSolve(field, y, { t1: 1, steps: 3, saveAt: "middle" as "end" }),
    TypeError,
    'saveAt is "middle", expected "end", "steps" or times',
  );
});
