/** Reversible methods whose steps choose their length, and every way back over them. */
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import "../gpu.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;
type Way = rg.SolveBackward | "continuous";

const methods = ["reversibleHeun", "asynchronousLeapfrog", "coupled"] as const;
/** y′ = −y + t has the solution (y0 − t0 + 1)·e^(t0−t) + t − 1. */
const decay = (y: T, t: T): T => t.sub(y);
const exact = (y0: number, t0: number, t: number): number =>
  (y0 - t0 + 1) * Math.exp(t0 - t) + t - 1;

Deno.test("reversible methods choose their steps, more of them where less error is allowed", async () => {
  for (const method of methods) {
    const attempts: number[] = [];
    for (const tolerance of [1e-3, 1e-4]) {
      const run = rg.compile((y: T) =>
        rg.odeSolve(decay, y, { t0: 0.5, t1: 2.5, tolerance, method, saveAt: [2.5, 0.5, 1.1, 2.5] })
      );
      const values = await run(rg.tensor([1, -2])).data();
      [2.5, 0.5, 1.1, 2.5].forEach((t, i) =>
        [1, -2].forEach((y0, k) =>
          assertAlmostEquals(
            values[2 * i + k]!,
            exact(y0, 0.5, t),
            30 * tolerance,
            `${method} ${t}`,
          )
        )
      );
      attempts.push(run.measured()[0]!.value!);
    }
    assert(attempts[1]! > 2 * attempts[0]! && attempts[1]! < 300, `${method}: ${attempts}`);
  }
});

/** The gradient, in all there is, of a loss at the end and between of a field with weights. */
function gradientOf(method: typeof methods[number], backward: Way | undefined) {
  const loss = (y0: T, w: T, t0: T, t1: T): T =>
    rg.odeSolve((y: T, t: T) => y.matmul(w).tanh().mul(t.cos()), y0, {
      t0,
      t1,
      tolerance: 1e-3,
      method,
      saveAt: rg.stack([t0.mul(0.3).add(t1.mul(0.7)), t1]),
      ...(backward && { backward }),
    }).square().sum();
  return rg.compile((y0: T, w: T, t0: T, t1: T) =>
    rg.grad(loss, { argnums: [0, 1, 2, 3] })(y0, w, t0, t1)
  );
}

const args = [
  rg.random.normal(rg.random.key(1), [2, 3]),
  rg.random.normal(rg.random.key(2), [3, 3]),
  rg.tensor(0.2),
  rg.tensor(1.4),
] as const;
const read = (gradient: readonly T[]) => Promise.all(gradient.map((g) => g.data()));

Deno.test("every way back over steps of any length has the bits of online()", async () => {
  const ways: Way[] = [
    rg.revolve({ snapshots: 2, segment: 3 }),
    "reverse",
    (inverse) => {
      const leaf = rg.reverse<rg.Tree, T>({ inverse, exact: "tape", tape: { bits: 0.5 } });
      return rg.revolve({ snapshots: 2, segment: 6, leaf });
    },
  ];
  for (const method of ["reversibleHeun", "coupled"] as const) {
    const expected = await read(gradientOf(method, undefined)(...args));
    for (const [i, way] of ways.entries()) {
      if (method !== "reversibleHeun" && way !== "reverse") continue;
      assertEquals(await read(gradientOf(method, way)(...args)), expected, `${method}, way ${i}`);
    }
  }
});

Deno.test("an inverse alone drifts and says how far; the adjoint equation is near", async () => {
  const expected = (await read(gradientOf("reversibleHeun", undefined)(...args)))
    .flatMap((g) => [...g]);
  const near = async (way: Way, off: number): Promise<void> => {
    const found = (await read(gradientOf("reversibleHeun", way)(...args))).flatMap((g) => [...g]);
    found.forEach((g, i) => assertAlmostEquals(g, expected[i]!, off, `${way}, part ${i}`));
  };
  await near("continuous", 0.03);
  const run = gradientOf("reversibleHeun", (inverse) => rg.reverse({ inverse }));
  const drifting = (await read(run(...args))).flatMap((g) => [...g]);
  drifting.forEach((g, i) => assertAlmostEquals(g, expected[i]!, 1e-4, `drifting, part ${i}`));
  assert(run.measured().some(({ label, value }) => /^drift of odeSolve/.test(label) && value! > 0));
});

Deno.test("gradients through a reversible method are those of the solution", async () => {
  for (const method of ["asynchronousLeapfrog"] as const) {
    const [value, [y0, t0, t1]] = rg.valueAndGrad(
      (y0: T, t0: T, t1: T) =>
        rg.odeSolve(decay, y0, { t0, t1, tolerance: 1e-4, method, backward: "reverse" }),
      { argnums: [0, 1, 2] },
    )(rg.tensor(2), rg.tensor(0.5), rg.tensor(1.5)) as [T, [T, T, T]];
    const e = Math.exp(-1);
    assertAlmostEquals(await value.item() as number, 2.5 * e + 0.5, 1e-3, method);
    assertAlmostEquals(await y0.item() as number, e, 1e-3, method);
    // By t0 and t1: of (y0 − t0 + 1)·e^(t0 − t1) + t1 − 1.
    assertAlmostEquals(await t0.item() as number, 1.5 * e, 2e-3, method);
    assertAlmostEquals(await t1.item() as number, 1 - 2.5 * e, 2e-3, method);
  }
});

Deno.test("what cannot be gone back over, and options that nobody reads, are refused at once", () => {
  const y = rg.tensor([1]);
  const refused = (message: string, options: object): void => {
    assertThrows(
      () => rg.odeSolve((y) => y.neg(), y, { t1: 1, ...options } as rg.OdeOptions<T>),
      TypeError,
      message,
    );
  };
  const tolerance = 1e-3;
  refused("the method has no inverse, expected a reversible one", {
    tolerance,
    backward: "reverse",
  });
  refused("the method has no inverse", { tolerance, backward: () => "store" });
  const method = "reversibleHeun";
  refused('backward is "store", expected', { tolerance, method, backward: () => "store" });
  refused("backward is null, expected", { tolerance, backward: null });
  refused("backward is null, expected", { steps: 2, backward: null });
  const offload = rg.offload({ device: 1, host: 2 });
  refused(`backward is ${offload.plan.name}, expected`, { tolerance, backward: offload });
  refused("the method is null, expected", { tolerance, method: null });
  refused("the method is null, expected", { steps: 2, method: null });
  refused("there are steps and a maximum", { steps: 2, maximum: 9 });
  refused("the method is of its own and has no trial", {
    tolerance,
    method: (o: rg.FieldOptions<T>) => ({ ...rg.steps.reversibleHeun(o), trial: undefined }),
  });
  refused("t0 is null, expected a finite number", { tolerance, t0: null });
});

Deno.test("values and times that are not finite are named as what they are", async () => {
  const field = (y: T): T => y.neg();
  const fails = async (message: string, y: T, options: object): Promise<void> => {
    const all = { t1: 1, tolerance: 1e-3, ...options } as rg.OdeOptions<T>;
    await assertRejects(() => rg.odeSolve(field, y, all).data(), rg.CheckError, message);
  };
  await fails("y0 of an ODE, at t = 0, has NaN or infinity", rg.tensor([1, NaN]), {});
  await fails("y0 of an ODE, at t = 2, has NaN or infinity", rg.tensor([Infinity]), { t0: 2 });
  await fails("t1 is NaN or infinite", rg.tensor([1]), { t1: rg.tensor(Infinity) });
  await fails("t0 is NaN or infinite", rg.tensor([1]), {
    t0: rg.tensor(NaN),
    steps: 3,
    tolerance: undefined,
  });
});

Deno.test("a pole is where steps shrink to nothing", async () => {
  for (const method of ["dopri5", "bs3", "reversibleHeun"] as const) {
    await assertRejects(
      () =>
        rg.odeSolve((y) => y.square(), rg.tensor([1, 2]), { t1: 2, tolerance: 1e-3, method })
          .data(),
      rg.CheckError,
      "have shrunk to nothing at t = 0.",
      method,
    );
  }
});

Deno.test("times may be a typed array", async () => {
  const times = Float64Array.of(0, 0.5, 1);
  for (const how of [{ steps: 20 }, { tolerance: 1e-5 }]) {
    const y = rg.odeSolve(decay, rg.tensor(1), { t1: 1, ...how, saveAt: times });
    (await y.data()).forEach((y, i) => assertAlmostEquals(y, exact(1, 0, times[i]!), 1e-4));
    assertEquals(
      rg.odeSolve(decay, rg.ones([2]), { t1: 1, ...how, saveAt: new Float32Array(0) }).shape,
      [0, 2],
    );
  }
});
