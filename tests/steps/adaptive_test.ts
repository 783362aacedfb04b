/** Steps that choose their own length: values, gradients by every way back, times, and refusals. */
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import "../gpu.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;
const pairs = ["bs3", "dopri5", "tsit5"] as const;

/** y′ = w·y + sin t from y(t0) = y0 at t1. */
function exact(y0: number, w: number, t0: number, t1: number): number {
  const part = (t: number): number => -(w * Math.sin(t) + Math.cos(t)) / (1 + w * w);
  return (y0 - part(t0)) * Math.exp(w * (t1 - t0)) + part(t1);
}

/** Its derivatives with respect to all four, by differences in float64. */
function slopesOf(f: (...x: number[]) => number, at: readonly number[]): number[] {
  return at.map((_, i) => {
    const moved = (by: number): number => f(...at.map((x, k) => k === i ? x + by : x));
    return (moved(1e-5) - moved(-1e-5)) / 2e-5;
  });
}

const field = (w: T) => (y: T, t: T): T => y.mul(w).add(t.sin());

Deno.test("coefficients are those of the orders that they claim, at the end and within", () => {
  for (const [name, { a, b, order, error, dense }] of Object.entries(rg.steps.tableaux)) {
    const c = [0, ...a.map((row) => row.reduce((sum, x) => sum + x, 0))];
    const close = (x: number, y: number, what: string): void => {
      assertAlmostEquals(x, y, 1e-9, `${name}: ${what}`);
    };
    for (let k = 1; k <= order; k++) {
      close(b.reduce((sum, x, i) => sum + x * c[i]! ** (k - 1), 0), 1 / k, `Σbc^${k - 1}`);
    }
    if (order >= 3) {
      const inner = a.map((row) => row.reduce((sum, x, j) => sum + x * c[j]!, 0));
      close(b.slice(1).reduce((sum, x, i) => sum + x * inner[i]!, 0), 1 / 6, "Σb·a·c");
    }
    if (error !== undefined) {
      const ends = [...c, 1];
      for (let k = 1; k < order; k++) {
        close(error.reduce((sum, x, i) => sum + x * ends[i]! ** (k - 1), 0), 0, `Σe·c^${k - 1}`);
      }
      assert(Math.abs(error.reduce((sum, x, i) => sum + x * ends[i]! ** (order - 1), 0)) > 1e-4);
    }
    if (dense !== undefined) {
      const ends = [...c, 1];
      for (const share of [0.2, 0.5, 0.9, 1]) {
        const weights = dense.map((row) =>
          row.reduce((sum, x, j) => sum + x * share ** (j + 1), 0)
        );
        for (let k = 1; k <= 4; k++) {
          const sum = weights.reduce((sum, x, i) => sum + x * ends[i]! ** (k - 1), 0);
          close(sum, share ** k / k, `within, order ${k}`);
        }
        if (share === 1) weights.slice(0, -1).forEach((x, i) => close(x, b[i]!, "at the end"));
      }
    }
  }
});

Deno.test("odeSolve() within a tolerance finds values and gradients, whatever the interval", async () => {
  for (const method of pairs) {
    const run = rg.compile((y0: T, w: T, t0: T, t1: T) =>
      rg.valueAndGrad(
        (y0: T, w: T, t0: T, t1: T) =>
          rg.odeSolve(field(w), y0, { t0, t1, tolerance: 1e-5, method }),
        { argnums: [0, 1, 2, 3] },
      )(y0, w, t0, t1)
    );
    for (const [t0, t1] of [[0, 3], [0.5, -1], [1, 1], [50, 50.001]] as const) {
      const at = [1, -0.7, t0, t1] as const;
      const [value, gradient] = run(...at.map((x) => rg.tensor(x)) as [T, T, T, T]);
      const found = await Promise.all([value, ...gradient].map((x) => x.item() as Promise<number>));
      const expected = [exact(...at), ...slopesOf(exact as (...x: number[]) => number, at)];
      found.forEach((x, i) =>
        assertAlmostEquals(x, expected[i]!, 2e-4, `${method} from ${t0} to ${t1}, part ${i}`)
      );
    }
    const [{ label, value }] = run.measured() as [rg.Measured];
    assertEquals(label, "attempts of odeSolve");
    assert(value! > 4 && value! < 100, `${value} attempts`);
  }
});

Deno.test("a smaller tolerance takes more attempts and errs less", async () => {
  const errors: number[] = [], attempts: number[] = [];
  for (const tolerance of [1e-2, 1e-4, 1e-6]) {
    const run = rg.compile((y: T) =>
      rg.odeSolve((y: { x: T; v: T }) => ({ x: y.v, v: y.x.neg() }), { x: y, v: y.mul(0) }, {
        t1: 6,
        tolerance,
      }).x
    );
    errors.push(Math.abs(await run(rg.tensor(1)).item() as number - Math.cos(6)));
    attempts.push(run.measured()[0]!.value!);
  }
  assert(errors[0]! < 0.1 && errors[1]! < 1e-3 && errors[2]! < 2e-5, `errors ${errors}`);
  assert(errors[0]! > errors[2]!, `errors ${errors}`);
  assert(attempts[0]! < attempts[1]! && attempts[1]! < attempts[2]!, `attempts ${attempts}`);
});

Deno.test("values at times come from within the steps, in any order, with gradients", async () => {
  const times = [0.3, 1.7, 0.3, 3, 0], weights = [1, 2, 3, 4, 5];
  const options = { tolerance: 1e-6 } as const;
  const loss = (y0: number, w: number, t0: number, t1: number, ...at: number[]): number =>
    at.reduce((sum, t, i) => sum + weights[i]! * exact(y0, w, t0, t) + 0 * t1, 0);
  const expected = slopesOf(loss as (...x: number[]) => number, [1, -0.7, 0, 3, ...times]);
  for (const backward of [undefined, "continuous"] as const) {
    const run = rg.compile((y0: T, w: T, t0: T, t1: T, at: T) =>
      rg.valueAndGrad((y0: T, w: T, t0: T, t1: T, at: T) => {
        const how = { ...options, ...(backward && { backward }) };
        const y = rg.odeSolve(field(w), y0, { ...how, t0, t1, saveAt: at });
        return y.mul(rg.tensor(weights)).sum();
      }, { argnums: [0, 1, 2, 3, 4] })(y0, w, t0, t1, at)
    );
    const [value, gradient] = run(
      rg.tensor(1),
      rg.tensor(-0.7),
      rg.tensor(0),
      rg.tensor(3),
      rg.tensor(times),
    );
    assertAlmostEquals(await value.item() as number, loss(1, -0.7, 0, 3, ...times), 2e-4);
    const found = (await Promise.all(gradient.map((x) => x.data()))).flatMap((x) => [...x]);
    found.forEach((x, i) => assertAlmostEquals(x, expected[i]!, 2e-3, `${backward}, part ${i}`));
  }
});

Deno.test("the way back within a tolerance is one gradient to the bit, and forward mode's", async () => {
  const y0 = rg.tensor([0.5, -1]), w = rg.tensor([1.3, 0.7]);
  const loss = (backward?: rg.SolveBackward | "continuous") => (y0: T, w: T): T =>
    rg.odeSolve(
      (y: { a: T; b: T }, t: T) => ({ a: y.b.mul(w).tanh().mul(t.cos()), b: y.a.neg() }),
      {
        a: y0,
        b: y0.mul(0.5),
      },
      { t1: 2, tolerance: 1e-3, method: "bs3", ...(backward && { backward }) },
    ).a.square().sum();
  const gradient = async (backward?: rg.SolveBackward | "continuous") => {
    const run = rg.compile((y0: T, w: T) => rg.grad(loss(backward), { argnums: [0, 1] })(y0, w));
    return await Promise.all(run(y0, w).map((g) => g.data()));
  };
  const usual = await gradient();
  assertEquals(await gradient(rg.online({ snapshots: 3 })), usual);
  assertEquals(await gradient(rg.revolve({ snapshots: 2, segment: 3 })), usual);
  assertEquals(await gradient("auto"), usual);
  assertEquals(await gradient(rg.auto()), usual);
  const direction = rg.tensor([1, -2]);
  const pushed = await rg.jvp((w: T) => loss()(y0, w), [w], [direction])[1].item() as number;
  assertAlmostEquals(usual[1]![0]! - 2 * usual[1]![1]!, pushed, 1e-4 * Math.abs(pushed) + 1e-4);
  const adjoint = await gradient("continuous");
  adjoint.forEach((g, k) =>
    g.forEach((x, i) => assertAlmostEquals(x, usual[k]![i]!, 0.02, `cotangent ${k}`))
  );
});

Deno.test("attempts whose field is NaN are no part of the gradient", async () => {
  // √(y − ½) falls by half of the time; the first attempt goes far below.
  const run = rg.compile((y: T) =>
    rg.grad((y: T) =>
      rg.odeSolve((y: T) => y.sub(0.5).sqrt().neg(), y, {
        t1: 0.9,
        tolerance: { rtol: 1e-5, first: 0.9 },
        saveAt: [0.2, 0.9],
      }).sum()
    )(y)
  );
  const root = Math.SQRT1_2;
  const expected = (root - 0.1 + root - 0.45) / root;
  assertAlmostEquals(await run(rg.tensor([1])).item() as number, expected, 1e-3);
});

Deno.test("batches, and derivatives of the second order", async () => {
  const end = (w: T, y: T): T =>
    rg.odeSolve((y: T) => y.mul(w), y, { t1: 1, tolerance: 1e-5 }).sum();
  const each = await rg.vmap((w: T) => rg.grad(end)(w, rg.tensor([1, 2])))(rg.tensor([1, -5]))
    .data();
  assertAlmostEquals(each[0]!, 3 * Math.E, 1e-3);
  assertAlmostEquals(each[1]!, 3 * Math.exp(-5), 1e-3);
  const second = rg.hvp((w: T) => end(w, rg.tensor([1, 2])), rg.tensor(1), rg.tensor(1));
  assertAlmostEquals(await second.item() as number, 3 * Math.E, 1e-3);
});

Deno.test("what has no solution is an error that names the time, and never a hang", async () => {
  const y = rg.tensor([1, 2]);
  const fails = async (
    message: string,
    field: rg.Field<T>,
    options: Partial<rg.OdeOptions<T>> = {},
  ): Promise<void> => {
    await assertRejects(
      () => rg.odeSolve(field, y, { t1: 1, tolerance: 1e-5, ...options }).data(),
      rg.CheckError,
      message,
    );
  };
  const half = (y: T, t: T): T => y.mul(rg.where(t.greater(0.5), NaN, 1));
  await fails("gives NaN or infinity near t = 0,", (y) => y.mul(NaN));
  await fails("gives NaN or infinity near t = 0.5", half);
  await fails("with all attempts that it may", (y) => y.sub(1).mul(-1e5), { maximum: 50 });
  await fails("needs shorter steps than 0.1, the least, near t = 0", (y) => y.sub(1).mul(-1e3), {
    tolerance: { least: 0.1 },
  });
  // A pole at t = ½.
  await fails("shrunk to nothing at t = 0.5", (y) => y.square(), { maximum: 300 });
  await fails("a time of saveAt is outside of the interval", (y) => y, {
    saveAt: rg.tensor([0.5, 1.5]),
  });
});

Deno.test("empty solutions are what they should be", async () => {
  const y = rg.tensor([1, 2]), neg = (y: T): T => y.neg();
  assertEquals(
    await rg.odeSolve(neg, y, { t0: 1, t1: 1, tolerance: 1e-5, saveAt: [1] }).array(),
    [[1, 2]],
  );
  assertEquals(await rg.odeSolve(neg, y, { t0: 1, t1: 1, steps: 2, saveAt: [1] }).array(), [[
    1,
    2,
  ]]);
  assertEquals(rg.odeSolve(neg, y, { t1: 1, tolerance: 1e-5, saveAt: [] }).shape, [0, 2]);
  assertEquals(rg.odeSolve(neg, rg.zeros([0, 3]), { t1: 1, tolerance: 1e-5 }).shape, [0, 3]);
  assertEquals(await rg.odeSolve(neg, y, { t1: 1e-30, tolerance: 1e-5 }).array(), [1, 2]);
  const rest = { t1: 1, tolerance: { rtol: 1e-3, atol: 0 } };
  assertEquals(await rg.odeSolve(neg, rg.zeros([2]), rest).array(), [0, 0]);
});

Deno.test("a solution that begins at 0 may leave it, though nothing may be wrong there", async () => {
  const end = rg.odeSolve((y: T) => y.neg().add(1), rg.zeros([2]), {
    t1: 1,
    tolerance: { rtol: 1e-5, atol: 0 },
  });
  for (const y of await end.data()) assertAlmostEquals(y, 1 - Math.exp(-1), 1e-5);
});

Deno.test("what cannot be solved within a tolerance is refused", () => {
  const y = rg.tensor([1]), field = (y: T): T => y;
  const refused = (
    kind: typeof TypeError | typeof RangeError,
    message: string,
    options: object,
  ): void => {
    assertThrows(
      () => rg.odeSolve(field, y, { t1: 1, ...options } as rg.OdeOptions<T>),
      kind,
      message,
    );
  };
  refused(TypeError, "there are neither steps nor a tolerance, expected one of them", {});
  refused(TypeError, "there are both steps and a tolerance", { steps: 3, tolerance: 1e-3 });
  refused(TypeError, "t1 is NaN, expected a finite number", { t1: NaN, steps: 2 });
  refused(RangeError, "rtol is -1, expected a positive number", { tolerance: -1 });
  refused(RangeError, "first is 0.5, expected a length from 0 to 0.1", {
    tolerance: { first: 0.5, most: 0.1 },
  });
  refused(RangeError, "rtol and atol are 0", { tolerance: 0 });
  refused(RangeError, "the tolerance has rotl, expected rtol", { tolerance: { rotl: 1 } });
  refused(TypeError, "the method is rk4, expected midpoint, heun, bs3, dopri5, tsit5, asynch", {
    tolerance: 1e-3,
    method: "rk4",
  });
  refused(TypeError, "within a tolerance: the method has no inverse, expected a reversible one", {
    tolerance: 1e-3,
    backward: "reverse",
  });
  refused(TypeError, "backward is offload(", {
    tolerance: 1e-3,
    backward: rg.offload({ device: 2, host: 4 }),
  });
  refused(TypeError, 'saveAt is "steps", expected "end" or times', {
    tolerance: 1e-3,
    saveAt: "steps",
  });
  refused(RangeError, "saveAt has 2, expected times from 0 to 1", { steps: 3, saveAt: [0, 2] });
  refused(RangeError, "maximum is 0, expected an integer", { tolerance: 1e-3, maximum: 0 });
  assertThrows(
    () => rg.odeSolve((y) => y, rg.tensor([1], { dtype: "i32" }), { t1: 1, steps: 2 }),
    TypeError,
    "y0 is i32, expected a tree of tensors of floats",
  );
});

Deno.test("a field that gives no rate for each number of a state is refused, however it is solved", () => {
  const ways = [{ tolerance: 1e-3 }, { steps: 2 }, {
    steps: 2,
    method: "coupled",
    backward: "reverse",
  }, { steps: 2, backward: "continuous" }] as const;
  const refused = (field: (y: T) => unknown, message: string): void => {
    for (const way of ways) {
      assertThrows(
        () => rg.odeSolve(field as (y: T) => T, rg.ones([3]), { t1: 1, ...way }),
        TypeError,
        message,
      );
    }
  };
  // It would broadcast, and truncate.
  refused((y) => y.sum(), "the field returned f32[] for y, expected floats of [3] as y0 has");
  refused((y) => y.cast("i32"), "the field returned i32[3] for y, expected floats of [3]");
  refused(() => 1, "y0 and what the field returned differ at the root");
});

Deno.test("odeSolve() hears of options that nobody reads, and of limits that contradict", () => {
  const y0 = rg.tensor([1]),
    solve = (options: unknown) => () =>
      rg.odeSolve((y: rg.Tensor) => y.neg(), y0, options as { t1: number; steps: number });
  assertThrows(solve(undefined), TypeError, "the options are undefined, expected an object");
  assertThrows(solve({ t1: 1, step: 3 }), TypeError, "there is an option step, expected t0, t1,");
  assertThrows(
    solve({ t1: 1, tolerance: { least: 0.5, most: 0.1 } }),
    RangeError,
    "least is 0.5, expected at most 0.1",
  );
  assertThrows(solve({ t1: 1, steps: 3, saveAt: "all" }), TypeError, 'saveAt is "all", expected');
});
