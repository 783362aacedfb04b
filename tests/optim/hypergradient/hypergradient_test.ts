/**
 * Derivatives of training runs: against central differences of the same run in float64, against
 * differentiating a scan that stores every state, and with the beginning recovered bit for bit.
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { full, ones, tensor, zeros, zerosLike } from "../../../graph/create.ts";
import { realize } from "../../../graph/realize.ts";
import { scan } from "../../../graph/scan.ts";
import type { Tensor } from "../../../graph/tensor.ts";
import { customVjp, grad, jvp, valueAndGrad, vmap } from "../../../graph/transforms.ts";
import { key, normal, uniform } from "../../../graph/random.ts";
import { hypergradient } from "../../../optim/hypergradient.ts";
import { fromFixed, plus, scaled, toFixed, unitFor } from "../../../optim/hypergradient/fixed.ts";
import { segmentsOf } from "../../../optim/hypergradient/spills.ts";
import { backwards, begin, forwards, type Run } from "../../../optim/hypergradient/sweeps.ts";
import { trainingRun } from "../../../optim/training_run.ts";
import { compile } from "../../../runtime/compile.ts";
import { CheckError } from "../../../runtime/errors.ts";
import { gpu } from "../../gpu.ts";

await gpu();

type Problem = { readonly steps: number; readonly numbers: Numbers };
type Numbers = {
  readonly x: number[];
  readonly rates: number[];
  readonly momenta: number[];
  readonly decay: number[];
  readonly target: number[];
};

/** Coupled and curved: Σ (1+i)·(x_i - t_i)² / 2 + sin(x_i · x_{i+1}), cyclically. */
const coupled = (x: Tensor, t: Tensor): Tensor => {
  const weights = tensor([1, 2, 3, 4, 5]), next = x.take(tensor(Int32Array.of(1, 2, 3, 4, 0)));
  return x.sub(t).square().mul(weights).sum().mul(0.5).add(x.mul(next).sin().sum());
};

/** The loss after the same run, in float64. */
function reference({ steps, numbers }: Problem): number {
  const { rates, momenta, decay, target } = numbers;
  const x = [...numbers.x], v = x.map(() => 0), n = x.length;
  for (let step = 0; step < steps; step++) {
    const g = x.map((xi, i) => {
      const after = x[(i + 1) % n]!, before = x[(i + n - 1) % n]!;
      return (1 + i) * (xi - target[i]!) + Math.cos(xi * after) * after +
        Math.cos(before * xi) * before + decay[step]! * xi;
    });
    for (let i = 0; i < n; i++) {
      v[i] = momenta[step]! * v[i]! - (1 - momenta[step]!) * g[i]!;
      x[i] = x[i]! + rates[step]! * v[i]!;
    }
  }
  return x.reduce(
    (sum, xi, i) => sum + (1 + i) * (xi - target[i]!) ** 2 / 2 + Math.sin(xi * x[(i + 1) % n]!),
    0,
  );
}

const problem = (steps: number): Problem => ({
  steps,
  numbers: {
    x: [0.1, -0.4, 0.3, 0.8, -0.2],
    rates: Array.from({ length: steps }, (_, i) => 0.05 + 0.03 * Math.sin(i)),
    momenta: Array.from({ length: steps }, (_, i) => [0.9, 0.8, 0.95, 1][i % 4]!),
    decay: Array.from({ length: steps }, (_, i) => 0.02 * (i % 3)),
    target: [1, -0.5, 0.2, -0.3, 0.6],
  },
});

const options = { denominator: 20, least: 0.8, range: { params: 8, velocity: 8 } };

Deno.test("hypergradient() agrees with central differences in float64", async () => {
  // 0.8 spills every 48 steps or so: without a spill, with one, with several.
  for (const steps of [1, 30, 150]) {
    const given = problem(steps), { x, rates, momenta, decay, target } = given.numbers;
    const learning = compile(hypergradient(coupled, { ...options, steps }));
    const { value, gradients } = learning(
      tensor(x),
      { rates: tensor(rates), momenta: tensor(momenta), decay: tensor(decay) },
      tensor(target),
    );
    const expected = reference(given);
    assert(Math.abs(await value.item() - expected) < 2e-5 * Math.abs(expected) + 1e-5);
    const found = {
      x: gradients.params,
      rates: gradients.rates as Tensor,
      momenta: gradients.momenta as Tensor,
      decay: gradients.decay as Tensor,
      target: gradients.data as Tensor,
    };
    for (const [name, gradient] of Object.entries(found)) {
      const values = [...await gradient.data()];
      const central = given.numbers[name as keyof Numbers].map((at, i) => {
        const moved = (by: number) => {
          const numbers = structuredClone(given.numbers);
          numbers[name as keyof Numbers][i] = at + by;
          return reference({ ...given, numbers });
        };
        return (moved(1e-5) - moved(-1e-5)) / 2e-5;
      });
      const scale = Math.max(...central.map(Math.abs));
      values.forEach((g, i) =>
        assert(
          Math.abs(g - central[i]!) <= 1e-3 * Math.abs(central[i]!) + 2e-5 * scale,
          `${name}[${i}] of ${steps} steps: ${g}, expected ${central[i]}`,
        )
      );
    }
  }
});

/** The run that stores every state: the same bits forwards, rounding as the identity. */
function stored(steps: number, loss: (x: Tensor, t: Tensor) => Tensor) {
  const unit = { x: unitFor(8), v: unitFor(8) };
  // The value of the second, the derivative of the first.
  const as = customVjp((_: Tensor, value: Tensor) => value.mul(1), (g) => [g, null]);
  const body = (
    state: { x: Tensor; v: Tensor; X: Tensor; V: Tensor; B: Tensor },
    row: { rate: Tensor; momentum: Tensor; decay: Tensor },
    t: Tensor,
  ) => {
    const g = grad(loss)(state.x, t).add(row.decay.mul(state.x));
    const n = row.momentum.mul(20).round().cast("i32"), d = full([], 20, { dtype: "i32" });
    const left = row.momentum.neg().add(1);
    const held = scaled({ value: state.V, buffer: state.B }, n, d);
    const exactShare = n.neg().add(20).cast("f32").mul(1 / 20);
    const V = plus(held.value, exactShare.mul(g).neg(), unit.v);
    const v = as(row.momentum.mul(state.v).sub(left.mul(g)), fromFixed(V, unit.v));
    const X = plus(state.X, row.rate.mul(v), unit.x);
    const x = as(state.x.add(row.rate.mul(v)), fromFixed(X, unit.x));
    return { x, v, X, V, B: held.buffer.bitwiseAnd(0xffff) };
  };
  return (x: Tensor, rates: Tensor, momenta: Tensor, decay: Tensor, t: Tensor): Tensor => {
    const X = toFixed(x, unit.x), V = zerosLike(X), B = zerosLike(X, { dtype: "u32" });
    const start = { x: as(x, fromFixed(X, unit.x)), v: zerosLike(x), X, V, B };
    const [end] = scan(
      (state: typeof start, row: { rate: Tensor; momentum: Tensor; decay: Tensor }) => [
        body(state, row, t),
        null,
      ],
      start,
      { rate: rates, momentum: momenta, decay },
      { length: steps },
    );
    return loss(end.x, t);
  };
}

Deno.test("hypergradient() agrees with a run that stores every state to 1e-6", async () => {
  // So few steps that buffers have not more than the 16 bits that the reference keeps of them.
  const steps = 40, { x, rates, momenta, decay, target } = problem(steps).numbers;
  const args = [x, rates, momenta, decay, target].map((values) => tensor(values)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const learning = compile(hypergradient(coupled, { ...options, steps }));
  const { value, gradients } = learning(
    args[0],
    { rates: args[1], momenta: args[2], decay: args[3] },
    args[4],
  );
  const plain = valueAndGrad(stored(steps, coupled), { argnums: [0, 1, 2, 3, 4] });
  const [other, expected] = compile(plain)(...args);
  assertEquals(await value.item(), await other.item());
  const found = [
    gradients.params,
    gradients.rates as Tensor,
    gradients.momenta as Tensor,
    gradients.decay as Tensor,
    gradients.data as Tensor,
  ];
  for (const [k, gradient] of found.entries()) {
    const a = [...await gradient.data()], b = [...await expected[k]!.data()];
    const scale = Math.max(...b.map(Math.abs));
    a.forEach((g, i) =>
      assert(Math.abs(g - b[i]!) <= 1e-6 * scale, `argument ${k}[${i}]: ${g}, expected ${b[i]}`)
    );
  }
});

/** A small network on data with integers beside floats. */
const network = {
  loss(
    params: { hidden: Tensor; bias: Tensor; out: Tensor },
    { x, y }: { x: Tensor; y: Tensor },
    step: Tensor,
  ): Tensor {
    const rows = step.mul(3).add(tensor(Uint32Array.of(0, 1, 2, 3, 4))).mod(16);
    const logits = x.take(rows).matmul(params.hidden).add(params.bias).tanh().matmul(params.out);
    const wanted = y.take(rows).oneHot(3).cast("f32");
    return logits.logSumExp(-1).sub(logits.mul(wanted).sum(-1)).mean();
  },
  params: {
    hidden: normal(key(1), [7, 11]).mul(0.4),
    bias: zeros([11]),
    out: normal(key(2), [11, 3]).mul(0.4),
  },
  data: {
    x: normal(key(3), [16, 7]),
    y: uniform(key(4), [16]).mul(3).cast("i32"),
  },
};

Deno.test("a training run is led back to its beginning, bit for bit, over 2000 steps", async () => {
  const steps = 2000, denominator = 10, { params, data } = network;
  const names = ["hidden", "bias", "out"] as const;
  const run: Run = {
    steps,
    denominator,
    segments: segmentsOf(steps, { n: 9, d: 10 }),
    units: { position: unitFor(16), velocity: unitFor(4) },
    loss: ([hidden, bias, out], _, step) =>
      network.loss({ hidden: hidden!, bias: bias!, out: out! }, data, step),
  };
  const rows = (value: number): Tensor[] => names.map(() => full([steps], value));
  const schedule = { rates: rows(0.3), momenta: rows(0.9), decay: null };
  const given = names.map((name) => params[name]);
  const there = compile((given: Tensor[]) => {
    const start = begin(run, given);
    return { start, end: forwards(run, start, schedule, []) };
  });
  const { start, end } = there(given);
  const [back] = compile((end: ReturnType<typeof there>["end"], given: Tensor[]) => {
    const cotangents = { x: given.map((p) => zerosLike(p)), v: given.map((p) => zerosLike(p)) };
    const [state] = backwards(run, end, schedule, [], cotangents);
    return [state] as const;
  })(end, given);
  let bits = 0, count = 0;
  for (const part of ["x", "v", "b"] as const) {
    for (let i = 0; i < names.length; i++) {
      assertEquals(await back[part][i]!.data(), await start[part][i]!.data(), `${part} ${i}`);
    }
  }
  for (const [i, x] of end.state.x.entries()) {
    const now = await x.data(), then = await start.x[i]!.data();
    assert(now.some((value, k) => value !== then[k]), "nothing was learned");
    for (const b of await end.state.b[i]!.data()) bits += Math.log2(b + 1);
    count += x.size;
  }
  // What the buffers hold, in bits a value and step, spills included.
  const rate = (bits / count + 16 * run.segments.count) / steps, ideal = Math.log2(10 / 9);
  assert(Math.abs(rate / ideal - 1) < 0.02, `${rate} against ${ideal}`);
});

Deno.test("hypergradient() takes trees, one hyperparameter for each parameter, and integers", async () => {
  const steps = 12, { params, data } = network;
  const learning = hypergradient(network.loss, { steps, denominator: 20, least: 0.5 });
  const rates = {
    hidden: full([steps], 0.5),
    bias: full([steps, 11], 0.25),
    out: full([steps, 11, 1], 0.5),
  };
  const momenta = { hidden: tensor(0.9), bias: tensor(0.5), out: tensor(0.8) };
  const learn = compile(learning);
  const { gradients, value } = learn(params, { rates, momenta }, data);
  const shapes = (tree: unknown) =>
    Object.fromEntries(Object.entries(tree as object).map(([k, x]) => [k, x?.shape ?? x]));
  assertEquals(shapes(gradients.rates), { hidden: [12], bias: [12, 11], out: [12, 11, 1] });
  assertEquals(shapes(gradients.momenta), { hidden: [], bias: [], out: [] });
  assertEquals(shapes(gradients.data), { x: [16, 7], y: null });
  assertEquals(gradients.decay, null);
  // Another rate for one bias in one step, by differences; one rate for all is the sum of all.
  const valueAt = (by: number): Promise<number> => {
    const bias = tensor(
      Float32Array.from({ length: 12 * 11 }, (_, i) => 0.25 + (i === 40 ? by : 0)),
      {
        shape: [12, 11],
      },
    );
    return learn(params, { rates: { ...rates, bias }, momenta }, data).value.item();
  };
  const slope = await valueAt(0.5) - await valueAt(-0.5);
  const bias = (gradients.rates as { bias: Tensor }).bias;
  const expected = (await bias.data())[40]!;
  assert(Math.abs(slope - expected) < 0.02 * Math.abs(expected) + 1e-6, `${slope}, ${expected}`);
  const both = compile((rate: Tensor) => {
    const each = { hidden: rate, bias: rate, out: rate };
    const [one, all] = [rate, each].map((rates) =>
      learning(params, { rates, momenta: 0.9 }, data).gradients.rates
    );
    return { one, all };
  });
  const { one, all } = both(tensor(0.5));
  const parts = Object.values(all as Record<string, Tensor>);
  const sum = (await Promise.all(parts.map((x) => x.item()))).reduce((a, b) => a + b, 0);
  assert(Math.abs(await (one as Tensor).item() - sum) < 1e-5 * Math.abs(sum));
  assert(Number.isFinite(await value.item()));
});

Deno.test("trainingRun() gives velocities, whose derivatives come back, too", async () => {
  const loss = (x: Tensor) => x.square().sum().mul(0.5);
  const train = trainingRun(loss, { steps: 3, denominator: 10, range: { params: 4, velocity: 4 } });
  const f = (x: Tensor) => train(x, { rates: 0.5, momenta: 0.5 }, null).velocity.sum();
  // v = -(x/2), x = 3x/4; v = -(x/4) - 3x/8 = -5x/8, x = 7x/16; v = -5x/16 - 7x/32 = -17x/32.
  const [value, slope] = await realize(compile(valueAndGrad(f))(tensor([1, 2])));
  assert(Math.abs(await value.item() + 3 * 17 / 32) < 1e-6);
  for (const g of await slope.array() as number[]) assert(Math.abs(g + 17 / 32) < 1e-6);
});

Deno.test("trainingRun() of no steps returns what it was given, on the grid", async () => {
  const train = trainingRun((x: Tensor) => x.sum(), { steps: 0 });
  const { params } = train(tensor([0.5, -3]), { rates: 1, momenta: 0.9 }, null);
  assertEquals(await params.array(), [0.5, -3]);
});

Deno.test("hypergradient() of no steps is the objective's gradient, also of nothing and of numbers", async () => {
  const loss = ({ a, b }: { a: Tensor; b: Tensor[] }) => a.square().add(b[0]!.sum());
  const learning = hypergradient(loss, { steps: 0 });
  const rates = { a: 0.1, b: [0.2] }, params = { a: tensor(0.5), b: [zeros([0])] };
  const { value, gradients } = learning(params, { rates, momenta: 0.5, decay: 0.01 }, null);
  assertEquals(await value.item(), 0.25);
  assertEquals(await gradients.params.a.item(), 1);
  assertEquals(gradients.params.b[0]!.shape, [0]);
  assertEquals(await (gradients.rates as typeof params).a.item(), 0);
  assertEquals(await (gradients.decay as Tensor).item(), 0);
});

Deno.test("a training run batches: each example is a run of its own", async () => {
  const loss = (x: Tensor, d: Tensor) => x.sub(d).square().mul(d).sum();
  const run = trainingRun(loss, { steps: 20, denominator: 10 });
  const end = (d: Tensor) => run(zeros([2]), { rates: 0.1, momenta: 0.9 }, d).params.sum();
  const data = [[1, 2], [0.5, 1.5], [2, 0.25]];
  const all = await vmap(grad(end))(tensor(data)).array() as number[][];
  for (const [i, d] of data.entries()) {
    const one = await grad(end)(tensor(d)).array() as number[];
    one.forEach((g, k) => assert(Math.abs(g - all[i]![k]!) < 1e-5, `${i}: ${all[i]}, ${one}`));
  }
});

Deno.test("trainingRun() keeps no more when the data are larger", () => {
  const bits = (steps: number, least: number): number | null =>
    trainingRun((x: Tensor) => x.sum(), { steps, least, denominator: 50 }).bits;
  assertEquals(bits(10, 0.9), 32);
  assert(Math.abs(bits(1e5, 0.9)! / 1e5 / Math.log2(10 / 9) - 1) < 0.02);
  assert(bits(1e5, 0.98)! < 0.2 * bits(1e5, 0.9)!);
});

Deno.test("a run that leaves the range, and momenta that cannot be had, are errors", async () => {
  const loss = (x: Tensor) => x.square().sum().mul(0.5);
  const train = trainingRun(loss, { steps: 40, least: 0.8 });
  const end = (rates: number | Tensor, momenta: number | Tensor, x = tensor([1, 2])) =>
    train(x, { rates, momenta }, null).params.data();
  await end(0.1, 0.9);
  await assertRejects(() => end(300, 0.9), CheckError, "left the range of its fixed point");
  await assertRejects(() => end(0.1, 0.9, tensor([100])), CheckError, "left the range");
  await assertRejects(() => end(0.1, 0.9, tensor([NaN])), CheckError, "or became NaN");
  await assertRejects(() => end(tensor(NaN), 0.9), CheckError, "or became NaN");
  for (const momentum of [0.5, 1.1, 0.9999, tensor(NaN), -0.9, 0]) {
    await assertRejects(
      () => end(0.1, momentum),
      CheckError,
      "a momentum is out of [0.8, 1], or is rounded to 1, expected multiples of 1/100 in that range",
    );
  }
  // Once is enough: the next run is judged by itself.
  await end(0.1, 1);
});

Deno.test("a gradient that is not the same the second time is found", async () => {
  // The step number is a stand-in for a driver that computes otherwise: a loss that remembers.
  let calls = 0;
  const loss = (x: Tensor) => x.square().sum().mul(calls++ === 0 ? 0.5 : 0.4999);
  const run = trainingRun(loss, { steps: 5 });
  const f = compile(grad((x: Tensor) => run(x, { rates: 0.5, momenta: 0.5 }, null).params.sum()));
  await assertRejects(
    () => f(ones([3])).data(),
    CheckError,
    "reversing the steps did not lead back to the beginning",
  );
});

Deno.test("trainingRun() refuses what it cannot do", () => {
  const loss = (x: Tensor) => x.square().sum();
  const make = (options: object) => () => trainingRun(loss, { steps: 4, ...options });
  assertThrows(make({ steps: -1 }), RangeError, "Cannot make a training run: steps is -1");
  assertThrows(make({ steps: 2.5 }), RangeError, "steps is 2.5");
  assertThrows(make({ denominator: 0 }), RangeError, "denominator is 0");
  assertThrows(make({ denominator: 65536 }), RangeError, "denominator is 65536");
  assertThrows(make({ least: 0 }), RangeError, "least is 0");
  assertThrows(make({ least: 1.5 }), RangeError, "least is 1.5");
  assertThrows(make({ range: { params: 0 } }), RangeError, "range.params is 0");
  assertThrows(
    make({ stepz: 3 }),
    TypeError,
    "Cannot make a training run: there is an option stepz, expected steps, optimizer, denominator",
  );
  const none = undefined as never;
  assertThrows(() => hypergradient(none, { steps: 4 }), TypeError, "the loss is undefined");
  assertThrows(() => hypergradient(loss, none), TypeError, "the options are undefined");
  const judged = hypergradient(loss, { steps: 4 });
  for (
    const [schedule, message] of [
      [none, "Cannot train: the options are undefined"],
      [
        { rates: 0.1, dekay: 1 } as never,
        "Cannot train: there is an option dekay, expected rates, momenta",
      ],
    ] as const
  ) {
    assertThrows(() => judged(ones([2]), schedule, null), TypeError, message);
  }
  const train = trainingRun(loss, { steps: 4 });
  const good = { rates: 0.1, momenta: 0.9 };
  assertThrows(
    () => train(ones([2], { dtype: "f16" }), good, null),
    TypeError,
    "Cannot train: params is f16, expected f32",
  );
  assertThrows(
    () => train(ones([2]), { ...good, rates: ones([5]) }, null),
    TypeError,
    "Cannot train: rates is f32[5], expected a scalar, or 4 rows that broadcast to [2]",
  );
  assertThrows(
    () => train(ones([2]), { ...good, momenta: ones([4, 3]) }, null),
    TypeError,
    "momenta is f32[4,3], expected a scalar, or 4 rows that broadcast to [2]",
  );
  assertThrows(
    () => train(ones([2]), { ...good, decay: { a: 1 } }, null),
    TypeError,
    "Cannot train: decay and params",
  );
  const f = (x: Tensor) => train(x, good, null).params.sum();
  const twice = (x: Tensor) => grad(f)(x).sum();
  assertThrows(
    () => grad(twice)(ones([2])),
    TypeError,
    "Cannot differentiate a training run twice",
  );
  assertThrows(
    () => jvp(f, [ones([2])], [ones([2])]),
    TypeError,
    "Cannot differentiate a training run twice, or in forward mode",
  );
});
