import { assert, assertEquals } from "@std/assert";
import { ones, tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import { assertValues, installHost } from "./host.ts";

installHost();

/** Derivatives of an element-wise function at points, by reverse mode. */
function slope(f: (x: Tensor) => Tensor, points: readonly number[]): Tensor {
  return grad((x: Tensor) => f(x).sum())(tensor([...points]));
}

const sigmoid = (x: number) => x > 0 ? 1 / (1 + Math.exp(-x)) : 1 - 1 / (1 + Math.exp(x));
const points = [-1000, -100, -20, -1, -0.3, -1e-5, 0, 1e-5, 0.3, 1, 20, 80];

/** A function and its derivative in float64, and points where f32 has it. */
const cases: readonly [
  name: string,
  f: (x: Tensor) => Tensor,
  derivative: (x: number) => number,
  at?: readonly number[],
][] = [
  ["sigmoid", (x) => x.sigmoid(), (x) => sigmoid(x) * sigmoid(-x)],
  ["softplus", (x) => x.softplus(), sigmoid],
  ["silu", (x) => x.silu(), (x) => sigmoid(x) * (1 + x * sigmoid(-x))],
  ["expm1", (x) => x.expm1(), Math.exp],
  ["log1p", (x) => x.log1p(), (x) => 1 / (1 + x), points.filter((x) => x > -1)],
  ["sinh", (x) => x.sinh(), Math.cosh, points.filter((x) => Math.abs(x) <= 80)],
  ["cosh", (x) => x.cosh(), Math.sinh, points.filter((x) => Math.abs(x) <= 80)],
  ["relu", (x) => x.relu(), (x) => x > 0 ? 1 : 0],
  ["leakyRelu", (x) => x.leakyRelu(0.1), (x) => x > 0 ? 1 : 0.1],
  ["elu", (x) => x.elu(), (x) => x > 0 ? 1 : Math.exp(x)],
  ["tanh", (x) => x.tanh(), (x) => 1 - Math.tanh(x) ** 2],
  ["pow", (x) => x.pow(3), (x) => 3 * x * x],
];

for (const [name, f, derivative, at = points] of cases) {
  Deno.test(`${name}() has a finite and right derivative far out and at 0`, async () => {
    const rounded = at.map(Math.fround);
    await assertValues(
      slope(f, rounded),
      rounded.map((x) => Math.fround(derivative(x))),
      1e-5,
      name,
    );
  });
}

Deno.test("gelu() has a derivative at 0 of one half", async () => {
  await assertValues(slope((x) => x.gelu(), [0, 30, -30]), [0.5, 1, 0], 1e-6);
  await assertValues(
    slope((x) => x.gelu({ approximate: "tanh" }), [0, 30, -30]),
    [0.5, 1, 0],
    1e-6,
  );
});

Deno.test("softplus() and sigmoid() differentiate twice", async () => {
  const twice = (f: (x: Tensor) => Tensor) =>
    grad((x: Tensor) => grad((y: Tensor) => f(y).sum())(x).sum())(tensor([0, 50, -50, 1]));
  const s = sigmoid(1) * sigmoid(-1);
  await assertValues(twice((x) => x.softplus()), [0.25, 0, 0, s], 1e-6);
  await assertValues(twice((x) => x.sigmoid()), [0, 0, 0, s * (1 - 2 * sigmoid(1))], 1e-6);
});

Deno.test("logSumExp() has softmax as its gradient, masked elements included", async () => {
  const x = tensor([1, 2, -Infinity, 1000]);
  await assertValues(grad((x: Tensor) => x.logSumExp())(x), [0, 0, 0, 1]);
  const y = tensor([0.5, -1, 2]);
  await assertValues(grad((x: Tensor) => x.logSumExp())(y), await y.softmax().array(), 1e-6);
});

Deno.test("sums of exponentials of nothing but -∞ have gradient 0", async () => {
  const x = tensor([-Infinity, -Infinity, 0, 0]);
  const first = (y: Tensor): Tensor => y.slice([0, 2]);
  const cases: [string, (x: Tensor) => Tensor, number[]][] = [
    ["logSumExp()", (x) => first(x).logSumExp(), [0, 0, 0, 0]],
    ["logCumSumExp(), part", (x) => x.logCumSumExp().slice(3), [0, 0, 0.5, 0.5]],
    ["logCumSumExp(), all", (x) => x.logCumSumExp().sum(), [0, 0, 1.5, 0.5]],
    ["logCumSumExp() of blocks", (x) => x.repeat(20, 0).logCumSumExp().slice(70), [
      ...[0, 0],
      ...[20 / 31, 11 / 31],
    ]],
  ];
  for (const [what, f, wanted] of cases) {
    await assertValues(grad(f)(x), wanted, 1e-6, what);
    const second = grad((x: Tensor) => grad(f)(x).square().sum())(x);
    assert((await second.data()).every(Number.isFinite), `${what}, twice`);
  }
});

Deno.test("logSoftmax() has finite gradients for large logits", async () => {
  const x = tensor([[1000, 0, -1000]]);
  await assertValues(
    grad((x: Tensor) => x.logSoftmax().slice(0, 1))(x),
    [[-1, 1, 0]],
  );
});

Deno.test("softmax() of masked logits has no gradient through the mask", async () => {
  const x = tensor([0, 0, -Infinity]);
  const gradient = await grad((x: Tensor) => x.softmax().slice(0))(x).data();
  assertEquals([...gradient], [0.25, -0.25, 0]);
});

Deno.test("norm() has gradient 0 at 0", async () => {
  for (const order of [2, 3]) {
    const gradient = await grad((x: Tensor) => x.norm(undefined, { order }))(tensor([0, 0])).data();
    assert(gradient.every((g) => g === 0), `order ${order}: ${gradient}`);
  }
  await assertValues(grad((x: Tensor) => x.norm())(tensor([3, 4])), [0.6, 0.8], 1e-6);
});

Deno.test("variance() and std() of equal elements have gradient 0", async () => {
  await assertValues(grad((x: Tensor) => x.std())(ones([3])), [0, 0, 0]);
  await assertValues(grad((x: Tensor) => x.std())(tensor([0, 3])), [-0.5, 0.5], 1e-6);
  await assertValues(grad((x: Tensor) => x.variance())(ones([3])), [0, 0, 0]);
  await assertValues(grad((x: Tensor) => x.variance())(tensor([0, 3])), [-1.5, 1.5], 1e-6);
});
