/**
 * Derivatives through runs of plain descent and of Adam: by the tape the bits of a run that stores
 * every state, against central differences in float64, and the runs themselves against the
 * optimizers that they stand for.
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { full, ones, tensor, zeros } from "../../../graph/create.ts";
import { key, normal, uniform } from "../../../graph/random.ts";
import { realize } from "../../../graph/realize.ts";
import { loop } from "../../../graph/scan.ts";
import type { Tensor } from "../../../graph/tensor.ts";
import { grad, jvp, vmap } from "../../../graph/transforms.ts";
import { hypergradient } from "../../../optim/hypergradient.ts";
import { adam, type Optimizer, sgd } from "../../../optim/optimizer.ts";
import { trainingRun } from "../../../optim/training_run.ts";
import { leaves, type Tree } from "../../../optim/tree.ts";
import { compile } from "../../../runtime/compile.ts";
import { CheckError } from "../../../runtime/errors.ts";
import { gpu } from "../../gpu.ts";

await gpu();

type Kind = "sgd" | "adam";
const kinds: readonly Kind[] = ["sgd", "adam"];

/** What a small run depends on, as numbers. */
interface Numbers {
  readonly x: number[];
  readonly rates: number[];
  readonly momenta: number[];
  readonly squares: number[];
  readonly decay: number[];
  readonly target: number[];
}

/** Coupled and curved: Σ (1+i)·(x_i - t_i)² / 2 + sin(x_i · x_{i+1}), cyclically. */
const coupled = (x: Tensor, t: Tensor): Tensor => {
  const weights = tensor([1, 2, 3, 4, 5]), next = x.take(tensor(Int32Array.of(1, 2, 3, 4, 0)));
  return x.sub(t).square().mul(weights).sum().mul(0.5).add(x.mul(next).sin().sum());
};

/** The loss after the same run, in float64. */
function reference(kind: Kind, { x: start, rates, momenta, squares, decay, target }: Numbers) {
  const x = [...start], n = x.length, mean = x.map(() => 0), square = x.map(() => 0);
  rates.forEach((rate, step) => {
    const g = x.map((xi, i) => {
      const after = x[(i + 1) % n]!, before = x[(i + n - 1) % n]!;
      return (1 + i) * (xi - target[i]!) + Math.cos(xi * after) * after +
        Math.cos(before * xi) * before + decay[step]! * xi;
    });
    const [b, c] = [momenta[step]!, squares[step]!];
    for (let i = 0; i < n; i++) {
      mean[i] = b * mean[i]! + (1 - b) * g[i]!;
      square[i] = c * square[i]! + (1 - c) * g[i]! ** 2;
      const m = mean[i]! / (1 - b ** (step + 1)), s = square[i]! / (1 - c ** (step + 1));
      x[i] = x[i]! - rate * (kind === "sgd" ? g[i]! : m / (Math.sqrt(s) + 1e-8));
    }
  });
  return x.reduce(
    (sum, xi, i) => sum + (1 + i) * (xi - target[i]!) ** 2 / 2 + Math.sin(xi * x[(i + 1) % n]!),
    0,
  );
}

function numbersOf(steps: number): Numbers {
  const rows = (of: (i: number) => number) => Array.from({ length: steps }, (_, i) => of(i));
  return {
    x: [0.1, -0.4, 0.3, 0.8, -0.2],
    rates: rows((i) => 0.05 + 0.03 * Math.sin(i)),
    momenta: rows((i) => [0.9, 0.8, 0.7][i % 3]!),
    squares: rows((i) => [0.99, 0.95][i % 2]!),
    decay: rows((i) => 0.02 * (i % 3)),
    target: [1, -0.5, 0.2, -0.3, 0.6],
  };
}

Deno.test("hypergradient() through descent and Adam agrees with central differences", async () => {
  for (const kind of kinds) {
    for (const steps of [3, 25]) {
      const numbers = numbersOf(steps), { x, rates, momenta, squares, decay, target } = numbers;
      const learning = compile(hypergradient(coupled, { steps, optimizer: kind }));
      const means = kind === "sgd" ? {} : { momenta: tensor(momenta), squares: tensor(squares) };
      const { value, gradients } = learning(
        tensor(x),
        { rates: tensor(rates), decay: tensor(decay), ...means },
        tensor(target),
      );
      const expected = reference(kind, numbers);
      assert(Math.abs(await value.item() - expected) < 2e-5 * Math.abs(expected) + 1e-5);
      const { params, data, ...others } = gradients;
      const found = { x: params, target: data, ...others };
      for (const [name, gradient] of Object.entries(found)) {
        if (kind === "sgd" && (name === "momenta" || name === "squares")) {
          assertEquals(gradient, null);
          continue;
        }
        const values = [...await (gradient as Tensor).data()];
        const central = numbers[name as keyof Numbers].map((at, i) => {
          const moved = (by: number) => {
            const other = structuredClone(numbers);
            other[name as keyof Numbers][i] = at + by;
            return reference(kind, other);
          };
          return (moved(1e-6) - moved(-1e-6)) / 2e-6;
        });
        const scale = Math.max(...central.map(Math.abs));
        values.forEach((g, i) =>
          assert(
            Math.abs(g - central[i]!) <= 1e-3 * Math.abs(central[i]!) + 1e-4 * scale + 1e-5,
            `${kind}, ${name}[${i}] of ${steps} steps: ${g}, expected ${central[i]}`,
          )
        );
      }
    }
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
    const logits = x.take(rows).matmul(params.hidden).add(params.bias).relu().matmul(params.out);
    const wanted = y.take(rows).oneHot(3).cast("f32");
    return logits.logSumExp(-1).sub(logits.mul(wanted).sum(-1)).mean();
  },
  params: {
    hidden: normal(key(1), [7, 11]).mul(0.4),
    bias: zeros([11]),
    out: normal(key(2), [11, 3]).mul(0.4),
  },
  data: {
    // A feature that is never there: its weights have no gradient, ever.
    x: normal(key(3), [16, 7]).mul(tensor([1, 1, 1, 0, 1, 1, 1])),
    y: uniform(key(4), [16]).mul(3).cast("i32"),
  },
};

/** The tensors of a tree with nulls in it, as bits. */
async function bitsOf(tree: unknown): Promise<Uint32Array[]> {
  return await Promise.all(
    leaves(tree as Tree).map(async (x) => {
      const data = await x.data();
      return new Uint32Array(data.buffer, data.byteOffset, data.length).slice();
    }),
  );
}

Deno.test("the tape gives the bits of a run that stores every state, for every derivative", async () => {
  const steps = 40, { params, data, loss } = network;
  const schedule = {
    rates: { hidden: full([steps], 0.03), bias: full([steps, 11], 0.02), out: tensor(0.03) },
    decay: 0.01,
  };
  for (const kind of kinds) {
    const means = kind === "sgd" ? {} : { momenta: 0.9, squares: full([steps], 0.99) };
    const by = (backward?: "store") => {
      const options = { steps, optimizer: kind, tape: { bits: 32 }, ...backward && { backward } };
      return compile(hypergradient(loss, options));
    };
    const [taped, stored] = [by(), by("store")];
    const results = [];
    for (const f of [taped, stored]) {
      results.push(await bitsOf(await realize(f(params, { ...schedule, ...means }, data))));
    }
    assertEquals(results[0], results[1], kind);
    const floats = results[0]!.map((x) => new Float32Array(x.buffer));
    assert(floats.every((x) => x.every(Number.isFinite)), `${kind}: not finite`);
    // Value, parameters and gradients of 3, rates of 3, decay, the images; momenta and squares.
    assertEquals(floats.length, kind === "sgd" ? 12 : 14);
    assert(/bits an element and step: [\d.]+/.test(taped.explain()));
  }
});

Deno.test("a run is that of the optimizer it is named after", async () => {
  const steps = 30, { params, data, loss } = network;
  const optimizers: Record<Kind, Optimizer> = {
    sgd: sgd({ rate: 0.1, weightDecay: 0.01 }),
    adam: adam({ rate: 0.01, weightDecay: 0.01 }),
  };
  for (const kind of kinds) {
    const optimizer = optimizers[kind];
    const run = trainingRun(loss, { steps, optimizer: kind });
    const found = run(params, { rates: kind === "sgd" ? 0.1 : 0.01, decay: 0.01 }, data);
    const expected = loop(
      (state, i) => optimizer.update(state, grad(loss)(state.params, data, i)),
      optimizer.init(params),
      { length: steps },
    );
    for (const name of ["hidden", "bias", "out"] as const) {
      const [a, b] = [await found.params[name].data(), await expected.params[name].data()];
      a.forEach((x, i) => assert(Math.abs(x - b[i]!) < 1e-4, `${kind} ${name}[${i}]`));
    }
    const at = await found.velocity.out.data();
    assertEquals(at.every((v) => v === 0), kind === "sgd");
    assertEquals(run.bits, null);
  }
});

Deno.test("runs in floats have further derivatives, batch, and close over tensors", async () => {
  for (const kind of kinds) {
    const left = (t: Tensor) => (rate: Tensor) => {
      const loss = (x: Tensor) => x.sub(t).square().mul(tensor([1, 3])).sum();
      const run = trainingRun(loss, { steps: 6, optimizer: kind });
      return run(tensor([0.5, -1]), { rates: rate }, null).params.square().sum();
    };
    const f = left(tensor([1, 2]));
    const slope = (rate: number): Promise<number> => grad(f)(tensor(rate)).item();
    const second = await grad(grad(f))(tensor(0.05)).item();
    const central = (await slope(0.051) - await slope(0.049)) / 0.002;
    assert(Math.abs(second - central) < 2e-2 * Math.abs(central) + 1e-2, `${second}, ${central}`);
    const [, tangent] = jvp(f, [tensor(0.05)], [tensor(1)]);
    const first = await slope(0.05);
    assert(Math.abs(await tangent.item() - first) < 1e-4 * Math.abs(first), kind);
    const both = await vmap(grad(f))(tensor([0.05, 0.02])).array() as number[];
    assert(Math.abs(both[0]! - first) < 1e-4 * Math.abs(first), `${both}, ${first}`);
    // With respect to the target that the loss closes over.
    const byTarget = (t: Tensor) => left(t)(tensor(0.05));
    const g = await grad(byTarget)(tensor([1, 2])).array() as number[];
    const moved = async (by: number) => await byTarget(tensor([1 + by, 2])).item();
    const wanted = (await moved(0.01) - await moved(-0.01)) / 0.02;
    assert(Math.abs(g[0]! - wanted) < 1e-2 * Math.abs(wanted) + 1e-3, `${g}, ${wanted}`);
  }
});

Deno.test("runs in floats of no steps return what they were given", async () => {
  for (const optimizer of kinds) {
    const learning = hypergradient((x: Tensor) => x.square().sum(), { steps: 0, optimizer });
    const { value, gradients } = learning(tensor([0.5, -3]), { rates: 0.1 }, null);
    assertEquals(await value.item(), 9.25);
    assertEquals(await gradients.params.array(), [1, -6]);
    assertEquals(await (gradients.rates as Tensor).item(), 0);
  }
});

Deno.test("trainingRun() refuses options and schedules of another optimizer", async () => {
  const loss = (x: Tensor) => x.square().sum();
  const make = (options: object) => () => trainingRun(loss, { steps: 4, ...options } as never);
  const none = "Cannot make a training run: ";
  assertThrows(make({ optimizer: "rmsprop" }), TypeError, `${none}optimizer is "rmsprop"`);
  assertThrows(
    make({ optimizer: "sgd", denominator: 10 }),
    TypeError,
    `${none}denominator is given, expected none with sgd`,
  );
  assertThrows(make({ backward: "store" }), TypeError, "backward is given");
  assertThrows(make({ optimizer: "adam", iterations: 3 }), TypeError, "iterations is given");
  assertThrows(make({ optimizer: "sgd", iterations: 0 }), RangeError, "iterations is 0");
  assertThrows(make({ optimizer: "adam", epsilon: -1 }), RangeError, "epsilon is -1");
  assertThrows(make({ optimizer: "adam", steps: 1.5 }), RangeError, "steps is 1.5");
  const run = trainingRun(loss, { steps: 4, optimizer: "sgd" });
  assertThrows(
    () => run(ones([2]), { rates: 0.1, momenta: 0.9 }, null),
    TypeError,
    "Cannot train: momenta is given, expected none with sgd",
  );
  assertThrows(
    () => run(ones([2], { dtype: "f16" }), { rates: 0.1 }, null),
    TypeError,
    "Cannot train: params is f16, expected f32",
  );
  const other = trainingRun(loss, { steps: 4, optimizer: "adam" });
  const wrong = (schedule: unknown) => () => other(ones([2]), schedule as { rates: 1 }, null);
  assertThrows(wrong({ rates: NaN }), TypeError, "rates is NaN, expected a finite number");
  assertThrows(wrong({ rates: 1, momenta: NaN }), TypeError, "momenta is NaN, expected a finite");
  assertThrows(wrong({ rates: "x" }), TypeError, 'rates is "x", expected a number, a tensor');
  assertThrows(wrong({ rate: 1 }), TypeError, "there is an option rate, expected rates,");
  assertThrows(wrong(undefined), TypeError, "the options are undefined, expected an object");
  for (const schedule of [{ momenta: 1 }, { squares: 0 }]) {
    await assertRejects(
      () => other(ones([2]), { rates: 0.1, ...schedule }, null).params.data(),
      CheckError,
      "expected momenta and squares in (0, 1)",
    );
  }
});
