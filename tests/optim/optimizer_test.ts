import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import { adagrad } from "../../optim/adagrad.ts";
import { amsgrad } from "../../optim/amsgrad.ts";
import { nadam } from "../../optim/nadam.ts";
import { rmsprop } from "../../optim/rmsprop.ts";
import { clipByGlobalNorm, clipByValue, globalNorm } from "../../optim/clip.ts";
import { groups } from "../../optim/groups.ts";
import { lamb, lars } from "../../optim/layerwise.ts";
import { lion } from "../../optim/lion.ts";
import {
  adam,
  adamw,
  fromTransformation,
  type Optimizer,
  sgd,
  type State,
} from "../../optim/optimizer.ts";
import { cosine } from "../../optim/rate.ts";
import {
  addDecayedWeights,
  chain,
  scaleByAdam,
  scaleByRate,
  trace,
  type Transformation,
} from "../../optim/transformation.ts";
import { leaves } from "../../optim/tree.ts";
import { assertValues, installHost } from "../graph/host.ts";
import * as optim from "../../optim/mod.ts";
import { torch } from "./problem.ts";

installHost();

const X = () => tensor([1.2, 2.8]), G = () => tensor([-0.94, -2.5]), V = () => tensor([1.7, 3.6]);

/** The state of a chain whose transformation number `at` remembers `memory`. */
function stateWith(params: Tensor, memory: State["memory"][]): State<Tensor> {
  return { params, step: tensor(0, { dtype: "u32" }), memory };
}

Deno.test("sgd() gives ONNX's golden values for momentum", async () => {
  const optimizer = sgd({ rate: 0.1, momentum: 0.95, dampening: 0.9, weightDecay: 0.001 });
  const { params, memory } = optimizer.update(
    stateWith(X(), [null, { velocity: V() }, null]),
    G(),
  );
  await assertValues(params, [1.13238, 2.70772], 1e-6);
  const [, { velocity }] = memory as [null, { velocity: Tensor }, null];
  await assertValues(velocity, [0.6762, 0.9228], 1e-6);
});

Deno.test("sgd() gives ONNX's golden values for Nesterov's momentum", async () => {
  const optimizer = sgd({ rate: 0.1, momentum: 0.95, nesterov: true, weightDecay: 0.01 });
  const { params } = optimizer.update(stateWith(X(), [null, { velocity: V() }, null]), G());
  await assertValues(params, [1.227535, 2.95714], 1e-6);
});

Deno.test("scaleByAdam() gives ONNX's golden values", async () => {
  // ONNX corrects no bias at T = 0; its beta weighs the squares.
  const options = { beta1: 0.95, beta2: 0.1, epsilon: 1e-7, biasCorrection: false };
  const optimizer = fromTransformation(
    chain(addDecayedWeights(0.001), scaleByAdam(options), scaleByRate(0.1)),
  );
  const before = [null, { mean: V(), square: tensor([0.1, 0.1]) }, null];
  const { params, memory } = optimizer.update(stateWith(X(), before), G());
  await assertValues(params, [1.025036, 2.661033], 1e-6);
  const [, { mean, square }] = memory as [null, { mean: Tensor; square: Tensor }, null];
  await assertValues(mean, [1.56806, 3.29514], 1e-6);
  await assertValues(square, [0.803211, 5.622407], 1e-6);
});

/** Kingma and Ba's algorithm on numbers, with AdamW's decay. */
function referenceAdam(x: number, gradients: number[], rate: number, decay = 0): number[] {
  const b1 = 0.9, b2 = 0.999, path: number[] = [];
  let m = 0, v = 0;
  gradients.forEach((g, i) => {
    m = b1 * m + (1 - b1) * g;
    v = b2 * v + (1 - b2) * g * g;
    const mean = m / (1 - b1 ** (i + 1)), square = v / (1 - b2 ** (i + 1));
    path.push(x -= rate * (mean / (Math.sqrt(square) + 1e-8) + decay * x));
  });
  return path;
}

Deno.test("adam() and adamw() follow the algorithm in float64", async () => {
  const gradients = Array.from({ length: 50 }, (_, i) => Math.sin(i) * 10 ** (i % 5 - 2));
  for (const decay of [0, 0.1]) {
    const optimizer = decay === 0
      ? adam({ rate: 0.01 })
      : adamw({ rate: 0.01, weightDecay: decay });
    const expected = referenceAdam(0.7, gradients, 0.01, decay);
    let state = optimizer.init({ w: tensor([0.7]) });
    for (const [i, g] of gradients.entries()) {
      state = optimizer.update(state, { w: tensor([g]) });
      await assertValues(state.params.w, [expected[i]!], 3e-6, `step ${i}`);
    }
    assertEquals(await state.step.item(), 50);
    assertEquals(state.step.dtype, "u32");
  }
});

Deno.test("adam() corrects the bias of the first and of late steps to seven digits", async () => {
  // Were 1 - beta^t computed from .999 rounded to f32, the first step would be off by 6e-6.
  for (const t of [1, 10, 1000, 100_000]) {
    const optimizer = fromTransformation(chain(scaleByAdam({ beta1: 0, epsilon: 0 })));
    const square = tensor([1 - 0.999 ** (t - 1)]);
    const state: State<Tensor> = {
      params: tensor([0]),
      step: tensor(t - 1, { dtype: "u32" }),
      memory: [{ mean: tensor([0]), square }],
    };
    // With all squares 1 so far the corrected mean square is 1 exactly.
    await assertValues(optimizer.update(state, tensor([1])).params, [1], 3e-7, `t = ${t}`);
  }
});

Deno.test("trace() takes the first gradient whole and dampens the later ones", async () => {
  const optimizer = fromTransformation(chain(trace(0.5, { dampening: 0.25 }), scaleByRate(1)));
  let state = optimizer.init(tensor([0]));
  const expected = [-1, -1 - 1.25, -1 - 1.25 - 1.375];
  for (const value of expected) {
    state = optimizer.update(state, tensor([1]));
    await assertValues(state.params, [value]);
  }
});

Deno.test("clipByGlobalNorm() scales the whole tree, and only what is too long", async () => {
  const clip = (limit: number, tree: { a: Tensor; b: Tensor }) => {
    const context = { params: tree, step: tensor(0) };
    return clipByGlobalNorm(limit).update(tree, null, context)[0] as typeof tree;
  };
  const tree = { a: tensor([3]), b: tensor([[0, 4]]) };
  await assertValues(globalNorm(tree), [5]);
  const short = clip(1, tree);
  await assertValues(short.a, [0.6], 1e-6);
  await assertValues(short.b, [0, 0.8], 1e-6);
  await assertValues(clip(5, tree).b, [0, 4]);
  await assertValues(clip(0, tree).b, [0, 0]);
  await assertValues(clip(1, { a: tensor([0]), b: tensor([0]) }).a, [0]);
  // Second derivatives pass through a clipped zero without NaN.
  const f = (x: Tensor) => clip(1, { a: x, b: x }).a.sum();
  await assertValues(grad(f)(tensor([0])), [1]);
});

Deno.test("clipByValue() holds every element", async () => {
  const tree = tensor([-3, 0.5, 7]);
  const [clipped] = clipByValue(2).update(tree, null, { params: tree, step: tensor(0) });
  await assertValues(clipped as Tensor, [-2, 0.5, 2]);
});

Deno.test("an L2 penalty goes through the direction, decoupled decay does not", async () => {
  // A gradient of zero: what moves is decay alone. Adam makes of any L2 penalty a step of the rate.
  const move = async (optimizer: Optimizer) => {
    const state = optimizer.init(tensor([2]));
    return await optimizer.update(state, tensor([0])).params.item() - 2;
  };
  const rate = 0.1;
  for (const make of [adam, amsgrad, rmsprop, adagrad, nadam, lion]) {
    assertAlmostEquals(await move(make({ rate, decoupledDecay: 0.5 })), -0.1, 1e-6);
    assertAlmostEquals(await move(make({ rate, decoupledDecay: 0.05 })), -0.01, 1e-6);
    const [a, b] = [
      await move(make({ rate, weightDecay: 0.5 })),
      await move(make({ rate, weightDecay: 0.05 })),
    ];
    assertAlmostEquals(a, b, 1e-5, "steps do not depend on the size of the penalty");
  }
  assertAlmostEquals(await move(sgd({ rate, weightDecay: 0.5 })), -0.1, 1e-6);
  assertAlmostEquals(await move(sgd({ rate, decoupledDecay: 0.5 })), -0.1, 1e-6);
});

Deno.test("adamw() decays only what applies", async () => {
  const optimizer = adamw({ rate: 1, weightDecay: 0.5, applies: (p) => p.rank > 1 });
  const params = { weight: tensor([[2]]), bias: tensor([2]) };
  const { params: next } = optimizer.update(optimizer.init(params), {
    weight: tensor([[0]]),
    bias: tensor([0]),
  });
  await assertValues(next.weight, [1]);
  await assertValues(next.bias, [2]);
});

const every: Readonly<Record<string, Optimizer>> = {
  ...torch,
  lion: lion(),
  lars: lars({ rate: 1 }),
  lamb: lamb(),
};

Deno.test("update() keeps dtypes and remembers f16 parameters in f32, step after step", () => {
  for (const [name, optimizer] of Object.entries(every)) {
    const before = optimizer.init({ w: tensor([1, 2], { dtype: "f16" }) });
    const after = optimizer.update(before, { w: tensor([1, 2], { dtype: "f16" }) });
    const dtypes = (state: State) => leaves(state).map((x) => `${x}`);
    assertEquals(dtypes(after), dtypes(before), name);
    assertEquals(after.params.w.dtype, "f16");
    for (const x of leaves(after.memory)) assertEquals(x.dtype, "f32", name);
  }
});

Deno.test("update() leaves parameters finite where gradients are zero", async () => {
  for (const dtype of ["f32", "f16"] as const) {
    for (const [name, optimizer] of Object.entries(every)) {
      let state = optimizer.init(tensor([0, 0], { dtype }));
      for (let i = 0; i < 3; i++) {
        state = optimizer.update(state, tensor([0, 0], { dtype }));
        await assertValues(state.params, [0, 0], 0, name);
      }
    }
  }
});

Deno.test("update() can be differentiated through", async () => {
  // One step of gradient descent on w² at rate r: w - 2rw; its square's derivative in r.
  const f = (rate: Tensor) => {
    const optimizer = sgd({ rate });
    const w = tensor([3]);
    return optimizer.update(optimizer.init(w), w.mul(2)).params.square().sum();
  };
  await assertValues(grad(f)(tensor(0.1)), [2 * (3 - 0.6) * -6], 1e-6);
});

Deno.test("update() refuses a gradient that does not fit", () => {
  const optimizer = sgd({ rate: 1 });
  const state = optimizer.init({ w: tensor([1, 2]) });
  assertThrows(
    () => optimizer.update(state, { v: tensor([1, 2]) }),
    TypeError,
    "only one has the key",
  );
  assertThrows(
    () => optimizer.update(state, { w: tensor([1]) }),
    TypeError,
    "the gradient of Tensor f32[2] is Tensor f32[1]",
  );
});

Deno.test("optimizers refuse numbers out of range", () => {
  assertThrows(() => sgd({ rate: -1 }), RangeError, "Cannot make sgd: rate is -1");
  assertThrows(() => sgd({ rate: 1, momentum: 1.5 }), RangeError, "momentum is 1.5");
  assertThrows(() => adam({ beta1: 1 }), RangeError, "expected a number in [0, 1)");
  assertThrows(() => adam({ epsilon: NaN }), RangeError, "epsilon is NaN");
  assertThrows(() => adamw({ weightDecay: -0.1 }), RangeError, "weightDecay is -0.1");
  assertThrows(() => clipByGlobalNorm(-1), RangeError, "limit is -1");
  assertThrows(() => sgd({} as never), TypeError, "Cannot make sgd: rate is undefined");
  assertThrows(
    () => sgd({ rate: 1, nesterov: true }),
    RangeError,
    "nesterov is true and momentum 0",
  );
  assertThrows(
    () => adam({ rate: "1e-3" as never }),
    TypeError,
    'Cannot make adam: rate is "1e-3"',
  );
  assertThrows(() => adam({ beta1: "0.9" as never }), RangeError, 'beta1 is "0.9"');
  assertThrows(() => adam(1e-3 as never), TypeError, "Cannot make adam: the options are 0.001");
  assertThrows(() => sgd(undefined as never), TypeError, "Cannot make sgd: the options are undef");
});

Deno.test("adam() takes a schedule as its rate", async () => {
  const optimizer = adam({ rate: cosine(1, { steps: 2 }) });
  let state = optimizer.init(tensor([0]));
  const seen: number[] = [];
  for (let i = 0; i < 4; i++) {
    const before = await state.params.item();
    state = optimizer.update(state, tensor([1]));
    seen.push(before - await state.params.item());
  }
  [1, 0.5, 0, 0].forEach((rate, i) => assertAlmostEquals(seen[i]!, rate, 1e-6));
});

Deno.test("chain() and fromTransformation() take transformations, and say what else they got", () => {
  const number = 3 as unknown as Transformation;
  assertThrows(() => chain(trace(0.9), number), TypeError, "Cannot chain: member 1 is 3, expected");
  assertThrows(() => fromTransformation(number), TypeError, "the transformation is 3, expected");
  const optimizer = adam() as unknown as Transformation;
  assertThrows(() => chain(optimizer), TypeError, "is an optimizer, expected its member");
});

Deno.test("whole numbers are not updated by fractions, unless a group leaves them out", async () => {
  const params = { w: tensor([1, 2]), n: tensor([1, 2], { dtype: "i32" }) };
  const gradient = { w: tensor([1, 1]), n: tensor([1, 1], { dtype: "i32" }) };
  const optimizer = adam();
  assertThrows(
    () => optimizer.update(optimizer.init(params), gradient),
    TypeError,
    "Cannot update parameters: one is Tensor i32[2], expected floats",
  );
  const careful = groups((path) => path, { w: sgd({ rate: 0.5 }), n: null });
  const { n, w } = careful.update(careful.init(params), gradient).params;
  assertEquals([await w.array(), await n.array()], [[0.5, 1.5], [1, 2]]);
});

Deno.test("optimizers take all their options, and refuse those that nobody would read", () => {
  const { adadelta, adagrad, adam, adamax, adamw, amsgrad, lamb, lars, lion } = optim;
  const { nadam, radam, rmsprop, sgd } = optim;
  const applies = (p: Tensor) => p.rank > 1;
  const decay = { rate: 0.1, weightDecay: 0.1, applies };
  const both = { ...decay, decoupledDecay: 0.1 };
  const betas = { beta1: 0.8, beta2: 0.9 }, moments = { ...betas, epsilon: 1e-6 };
  const all = [
    [sgd, { ...both, momentum: 0.5, nesterov: true, dampening: 0 }],
    [adam, { ...both, ...moments, biasCorrection: false }],
    [adamw, { ...decay, ...moments, biasCorrection: false }],
    [amsgrad, { ...both, ...moments, biasCorrection: true }],
    [adamax, { ...both, ...moments }],
    [nadam, { ...both, ...moments, momentumDecay: 0.01 }],
    [radam, { ...both, ...moments }],
    [adagrad, { ...both, initial: 0.1, epsilon: 1e-6 }],
    [adadelta, { ...both, rho: 0.8, epsilon: 1e-6 }],
    [rmsprop, { ...both, alpha: 0.8, epsilon: 1e-6, centered: true, momentum: 0.5 }],
    [lion, { ...both, ...betas }],
    [lars, { ...decay, momentum: 0.5, coefficient: 0.01 }],
    [lamb, { ...decay, ...moments, biasCorrection: false }],
  ] as const;
  for (const [make, options] of all) {
    const any = make as (options: object) => unknown;
    any(options);
    // PyTorch's name for a rate.
    assertThrows(
      () => any({ ...options, lr: 0.1 }),
      TypeError,
      `Cannot make ${make.name}: there is an option lr, expected `,
    );
  }
});

Deno.test("transformations refuse options that nobody would read, an optimizer's too", () => {
  const { scaleByAdadelta, scaleByAdagrad, scaleByAdam, scaleByAdamax, scaleByAmsgrad } = optim;
  const { scaleByLion, scaleByNadam, scaleByRadam, scaleByRms, scaleByTrustRatio } = optim;
  const all = [scaleByAdadelta, scaleByAdagrad, scaleByAdam, scaleByAdamax, scaleByAmsgrad];
  for (
    const make of [...all, scaleByLion, scaleByNadam, scaleByRadam, scaleByRms, scaleByTrustRatio]
  ) {
    make({});
    for (const wrong of [{ beta: 0.9 }, { rate: 0.1 }]) {
      assertThrows(
        () => make(wrong as object),
        TypeError,
        `: there is an option ${Object.keys(wrong)[0]}, expected `,
      );
    }
  }
  const flag = { nesterov: 1 } as never;
  assertThrows(() => optim.trace(0.9, flag), TypeError, "nesterov is 1, expected true or false");
});
