/** Integrators: the formulas in float64, orders of convergence, inverses, and gradients. */
import { assert, assertAlmostEquals, assertRejects, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import "../gpu.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;
type Numbers = number[];

/** y″ = f(x, t) and y′ = f(y, t) with a solution that depends on time, on the device and in float64. */
const force = (x: T, t: T): T => x.sin().neg().add(t.cos().mul(0.3));
const force64 = (x: number, t: number): number => -Math.sin(x) + 0.3 * Math.cos(t);
const field = (y: T, t: T): T => y.mul(-0.7).add(t.mul(2).sin());
const field64 = (y: number, t: number): number => -0.7 * y + Math.sin(2 * t);

/** Close enough for so many steps in f32. */
function assertClose(actual: ArrayLike<number>, expected: Numbers, tolerance: number): void {
  expected.forEach((x, i) => assertAlmostEquals(actual[i]!, x, tolerance));
}

/** A stage-wise explicit method in float64, written as in a textbook. */
const psi64: Record<string, (y: number, t: number, h: number) => number> = {
  euler: (y, t, h) => h * field64(y, t),
  midpoint: (y, t, h) => h * field64(y + h / 2 * field64(y, t), t + h / 2),
  heun: (y, t, h) => {
    const k = field64(y, t);
    return h / 2 * (k + field64(y + h * k, t + h));
  },
  rk4: (y, t, h) => {
    const k1 = field64(y, t), k2 = field64(y + h / 2 * k1, t + h / 2);
    const k3 = field64(y + h / 2 * k2, t + h / 2), k4 = field64(y + h * k3, t + h);
    return h / 6 * (k1 + 2 * k2 + 2 * k3 + k4);
  },
};

Deno.test("leapfrog() is kick, drift, kick", async () => {
  const [h, steps, t0] = [0.1, 30, 0.5];
  const pair = rg.steps.leapfrog({ force, h, t0, velocity: (v: T) => v.mul(2) });
  const { x, v } = rg.loop(pair.step, { x: rg.tensor([1, 2, -1]), v: rg.tensor([0, 1, 2]) }, {
    length: steps,
  });
  const expected = [[1, 0], [2, 1], [-1, 2]].map(([x, v]) => {
    let [a, b] = [x!, v!];
    for (let i = 0; i < steps; i++) {
      b += h / 2 * force64(a, t0 + i * h);
      a += h * 2 * b;
      b += h / 2 * force64(a, t0 + (i + 1) * h);
    }
    return [a, b];
  });
  assertClose(await x.data(), expected.map((e) => e[0]!), 2e-5);
  assertClose(await v.data(), expected.map((e) => e[1]!), 2e-5);
});

Deno.test("asynchronousLeapfrog() and reversibleHeun() are their formulas", async () => {
  const [h, steps, t0] = [0.1, 30, 0.25];
  for (const damping of [1, 0.8]) {
    const pair = rg.steps.asynchronousLeapfrog({ field, h, t0, damping });
    const end = rg.loop(pair.step, pair.start(rg.tensor([1, -2])), { length: steps });
    const expected = [1, -2].map((z0) => {
      let z = z0, v = field64(z0, t0);
      for (let i = 0; i < steps; i++) {
        const k = z + h / 2 * v, u = field64(k, t0 + (i + 0.5) * h);
        v = v + 2 * damping * (u - v);
        z = k + h / 2 * v;
      }
      return z;
    });
    assertClose(await pair.value(end).data(), expected, 2e-5);
  }
  const pair = rg.steps.reversibleHeun({ field, h, t0 });
  const end = rg.loop(pair.step, pair.start(rg.tensor([1, -2])), { length: steps });
  const expected = [1, -2].map((y0) => {
    let y = y0, hat = y0;
    for (let i = 0; i < steps; i++) {
      const before = field64(hat, t0 + i * h), next = 2 * y - hat + h * before;
      y += h / 2 * (before + field64(next, t0 + (i + 1) * h));
      hat = next;
    }
    return y;
  });
  assertClose(await pair.value(end).data(), expected, 2e-5);
});

Deno.test("coupled() is the McCallum–Foster pair around every method", async () => {
  const [h, steps, t0, coupling] = [0.1, 30, 0.25, 0.9];
  for (const [method, psi] of Object.entries(psi64)) {
    const pair = rg.steps.coupled({ field, h, t0, method: method as "rk4", coupling });
    const end = rg.loop(pair.step, pair.start(rg.tensor([1, -2])), { length: steps });
    const expected = [1, -2].map((y0) => {
      let y = y0, z = y0;
      for (let i = 0; i < steps; i++) {
        y = coupling * y + (1 - coupling) * z + psi(z, t0 + i * h, h);
        z -= psi(y, t0 + (i + 1) * h, -h);
      }
      return [y, z];
    });
    assertClose(await end.y.data(), expected.map((e) => e[0]!), 2e-5);
    assertClose(await end.z.data(), expected.map((e) => e[1]!), 2e-5);
  }
});

Deno.test("coupled() comes back as near as published, over steps that grow what is lost", async () => {
  // McCallum and Foster 2024: 5e-7 after 500 steps. λ^-500 is 152.
  const length = 500, y0 = rg.tensor([1]);
  const pair = rg.steps.coupled({ field: (y: T) => y.neg(), h: 5 / length, coupling: 0.99 });
  const there = rg.loop(pair.step, pair.start(y0), { length });
  const back = rg.loop((c, i) => pair.inverse(c, i.neg().add(length - 1)), there, { length });
  assertClose(await back.y.data(), [1], 2e-6);
});

/** y at t = 2 of the field from y(0) = 1, by very small steps. */
const reference = (() => {
  let y = 1;
  const n = 20000;
  for (let i = 0; i < n; i++) y += psi64.rk4!(y, 2 * i / n, 2 / n);
  return y;
})();

Deno.test("integrators converge with their order, explicit methods inside and alone", async () => {
  type Solve = (steps: number) => T;
  const solves: readonly (readonly [string, number, Solve, readonly [number, number]])[] = [
    ...(["euler", "midpoint", "heun", "rk4", "dopri5"] as const).flatMap((method) => {
      const order = rg.steps.tableaux[method].order;
      // Coarse enough that rounding does not show.
      const sizes: readonly [number, number] = order === 5
        ? [2, 4]
        : order === 4
        ? [4, 8]
        : [16, 32];
      const alone: Solve = (n) =>
        rg.loop(rg.steps.explicit({ field, h: 2 / n, method }).step, rg.tensor(1), { length: n });
      const pair: Solve = (n) => {
        const pair = rg.steps.coupled({ field, h: 2 / n, method, coupling: 0.9 });
        return pair.value(rg.loop(pair.step, pair.start(rg.tensor(1)), { length: n }));
      };
      return [
        [method, order, alone, sizes] as const,
        // An increment of order p gives pairs of order p.
        // With Euler the two values drift apart before they are pulled together.
        [
          `coupled ${method}`,
          order,
          pair,
          (order === 1 ? [512, 1024] : sizes) as readonly [number, number],
        ] as const,
      ];
    }),
    ["alf", 2, (n) => {
      const pair = rg.steps.asynchronousLeapfrog({ field, h: 2 / n });
      return pair.value(rg.loop(pair.step, pair.start(rg.tensor(1)), { length: n }));
    }, [16, 32]],
    ["heun", 2, (n) => {
      const pair = rg.steps.reversibleHeun({ field, h: 2 / n });
      return pair.value(rg.loop(pair.step, pair.start(rg.tensor(1)), { length: n }));
    }, [16, 32]],
  ];
  const values = solves.map(([, , solve, sizes]) => sizes.map(solve));
  await rg.realize(values);
  for (const [k, [name, order]] of solves.entries()) {
    const [coarse, fine] = await Promise.all(values[k]!.map((x) => x.item() as Promise<number>));
    const seen = Math.log2(Math.abs(coarse! - reference) / Math.abs(fine! - reference));
    assert(
      seen > order - 0.4,
      `${name} converges with order ${seen.toFixed(2)}, not ${order}`,
    );
  }
});

/** Reversible integrators of the field over a tree of two tensors. */
function pairs(h: rg.TensorLike) {
  const both = ({ a, b }: { a: T; b: T }, t: T) => ({ a: field(a, t), b: b.mul(a.sum()).mul(0.1) });
  const start = { a: rg.tensor([1, -2, 0.5]), b: rg.tensor([[1, 2], [3, 4]]) };
  return {
    leapfrog: [
      rg.steps.leapfrog({ force: both, h }),
      { x: start, v: { a: rg.ones([3]), b: rg.ones([2, 2]) } },
    ],
    alf: (() => {
      const pair = rg.steps.asynchronousLeapfrog({ field: both, h, t0: 1 });
      return [pair, pair.start(start)];
    })(),
    heun: (() => {
      const pair = rg.steps.reversibleHeun({ field: both, h });
      return [pair, pair.start(start)];
    })(),
    coupled: (() => {
      const pair = rg.steps.coupled({ field: both, h, method: "rk4", coupling: 0.98 });
      return [pair, pair.start(start)];
    })(),
  } as unknown as Record<string, [rg.steps.ReversibleStep<rg.Tree>, rg.Tree]>;
}

const leavesOf = (tree: rg.Tree): T[] =>
  tree instanceof rg.Tensor
    ? [tree]
    : Object.keys(tree as object).sort().flatMap((k) =>
      leavesOf((tree as Record<string, rg.Tree>)[k]!)
    );

Deno.test("inverses take trees back to where they came from", async () => {
  const steps = 50;
  for (const [name, [pair, start]] of Object.entries(pairs(0.05))) {
    const there = rg.loop(pair.step, start, { length: steps });
    const back = rg.loop((c: rg.Tree, i) => pair.inverse(c, i.neg().add(steps - 1)), there, {
      length: steps,
    });
    const [before, after] = [leavesOf(start), leavesOf(back)];
    for (const [i, x] of before.entries()) {
      const off = await after[i]!.sub(x).abs().max().item() as number;
      assert(off < 1e-4, `${name}: leaf ${i} is off by ${off}`);
    }
  }
});

Deno.test("gradients flow to parameters, the step's size, the first value and through v0", async () => {
  const methods = {
    alf: rg.steps.asynchronousLeapfrog<T>,
    heun: rg.steps.reversibleHeun<T>,
    coupled: rg.steps.coupled<T>,
  };
  for (const [name, make] of Object.entries(methods)) {
    const loss = (y0: T, w: T, h: T, t0: T): T => {
      const pair = make({ field: (y: T, t: T) => y.mul(w).tanh().add(t.sin()), h, t0 });
      const carry = pair.start(y0) as rg.Tree;
      const end = rg.loop(pair.step as unknown as (c: rg.Tree, i: T) => rg.Tree, carry, {
        length: 9,
      });
      return (pair.value as unknown as (c: rg.Tree) => T)(end).square().sum();
    };
    const report = await rg.checkGradients(loss, [
      rg.tensor([0.3, -0.8]),
      rg.tensor([0.7, 1.1]),
      rg.tensor(0.1),
      rg.tensor(0.2),
    ]);
    assert(report.directions.length > 0, name);
  }
  // With no steps at all, v0 = f(t0, z0) is all there is.
  const first = rg.grad((y: T, w: T) =>
    rg.steps.asynchronousLeapfrog({ field: (y: T) => y.mul(w), h: 1 }).start(y).v.sum()
  );
  assertAlmostEquals(await first(rg.tensor(2), rg.tensor(3)).item() as number, 3);
});

Deno.test("options that make no sense are refused", () => {
  const h = 0.1;
  assertThrows(
    () => rg.steps.asynchronousLeapfrog({ field, h, damping: 0.5 }),
    RangeError,
    "Cannot make an asynchronous leapfrog: the damping is 0.5, expected more than 0.5 and at most 1",
  );
  assertThrows(
    () => rg.steps.coupled({ field, h, coupling: 0 }),
    RangeError,
    "Cannot make a coupled integrator: the coupling is 0, expected more than 0 and at most 1",
  );
  assertThrows(
    () => rg.steps.coupled({ field, h, method: "rk5" as "rk4" }),
    TypeError,
    'the method is "rk5", expected one of euler, midpoint, heun, bs3, rk4, dopri5, tsit5, or a tableau',
  );
  assertThrows(
    () => rg.steps.coupled({ field, h, method: { order: 2, a: [[1], [1]], b: [1, 1] } }),
    TypeError,
    "the tableau has rows of 1, 1 and 2 weights",
  );
});

Deno.test("steps are made from functions and times, and name what is neither", () => {
  const { steps } = rg, h = 0.1, none = undefined as never;
  const makers: [string, () => unknown][] = [
    ["make a leapfrog: force is undefined", () => steps.leapfrog({ h, force: none })],
    ["make a leapfrog: h is undefined", () => steps.leapfrog({ h: none, force: field })],
    ["make a leapfrog: h is NaN", () => steps.leapfrog({ h: NaN, force: field })],
    [
      "make a leapfrog: t0 is Tensor f32[2]",
      () => steps.leapfrog({ h, t0: rg.zeros([2]), force: field }),
    ],
    ["make an exact leapfrog: force", () => steps.exactLeapfrog({ h, range: 1, force: none })],
    ["make an asynchronous leapfrog: field", () => steps.asynchronousLeapfrog({ h, field: none })],
    ["make a reversible Heun: field", () => steps.reversibleHeun({ h, field: none })],
    ["make a coupled integrator: field", () => steps.coupled({ h, field: none })],
    ["make an explicit integrator: field", () => steps.explicit({ h, field: none })],
    ["make staggered steps: p is undefined", () => steps.staggered({ h, u: field, p: none })],
    ["make a wave: the options are undefined", () => steps.wave(none)],
    ["start a wave: the pressure is Tensor f32[]", () => steps.wave({ h }).start(rg.ones([]))],
    [
      "solve an SDE: diffusion is undefined",
      () => steps.stochasticHeun({ h, key: rg.random.key(1), drift: field, diffusion: none }),
    ],
  ];
  for (const [what, make] of makers) assertThrows(make, TypeError, `Cannot ${what}`);
});

Deno.test("reversible() hears of options that nobody reads, and names a carry that is no tree", () => {
  const same = (x: T): T => x;
  assertThrows(
    () => rg.reversible(same, same, rg.ones([2]), { tolerence: 1 } as never),
    TypeError,
    "Cannot make a reversible step: there is an option tolerence, expected given, tolerance, seed",
  );
  assertThrows(
    () => rg.reversible(same, (x: T) => x.sum(), rg.ones([2])),
    TypeError,
    "returned f32[] for the carry, expected f32[2]",
  );
});

Deno.test("reversible() finds the tensor that an inverse gets wrong", async () => {
  type Pair = { a: T; n: T };
  const like = { a: rg.zeros([3, 2]), n: rg.zeros([2], { dtype: "i32" }) };
  const step = ({ a, n }: Pair) => ({ a: a.mul(2), n: n.add(1) });
  const right = ({ a, n }: Pair) => ({ a: a.mul(0.5), n: n.sub(1) });
  rg.reversible(step, right, like);
  await rg.zeros([1]).add(1).data();
  rg.reversible(step, ({ a, n }) => ({ a: a.mul(0.55), n: n.sub(1) }), like);
  await assertRejects(
    () => rg.ones([1]).add(1).data(),
    rg.CheckError,
    "step is no reversible step: carry.a is off by 0.0",
  );
  rg.reversible(step, ({ a, n }) => ({ a: a.mul(0.5), n }), like);
  await assertRejects(
    () => rg.ones([1]).add(2).data(),
    rg.CheckError,
    "carry.n is not what it was",
  );
  rg.reversible(step, ({ a, n }) => ({ a: a.mul(NaN), n: n.sub(1) }), like);
  await assertRejects(() => rg.ones([1]).add(3).data(), rg.CheckError, "carry.a is off by NaN");
  assertThrows(
    () => rg.reversible(step, ({ a, n }) => ({ a: a.sum(), n }), like),
    TypeError,
    "Cannot make a reversible step: the inverse of step returned f32[] for carry.a, expected f32[3,2]",
  );
  assertThrows(
    () => rg.reversible(step, ({ a }) => ({ a }) as Pair, like),
    TypeError,
    "Cannot make a reversible step: the carry and what the inverse of step returned differ",
  );
});
