/**
 * Windows and convolutions on the device against the oracle: all cases of the derivative tests and
 * random ones, their gradients, every way of computing products; and that nothing is written out.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Program } from "../../compile/program.ts";
import * as b from "../../graph/build.ts";
import type { Graph, Node } from "../../graph/node.ts";
import { sizeOf } from "../../graph/shape.ts";
import { conv, maxPool } from "../../graph/spatial.ts";
import { Tensor } from "../../graph/tensor.ts";
import { pullback } from "../../graph/vjp.ts";
import {
  assertOracle,
  compileFor,
  constantOf,
  firstDifference,
  firstWrong,
  randomOf,
  runWith,
  type TargetPart,
} from "../gpu.ts";
import { cases, drawn } from "../graph/cases.ts";
import { evaluate } from "../oracle.ts";
import { seed } from "../seed.ts";

const leafOf = (shape: readonly number[], uniform: () => number, dtype: "f32" | "f16" = "f32") =>
  constantOf(drawn({ shape }, uniform), shape, dtype);

/** A value and its gradients with respect to some leaves, for a fixed cotangent. */
function withGradients(y: Node, leaves: readonly Node[], uniform: () => number): Node[] {
  return [y, ...pullback([y], leaves, [leafOf(y.shape, uniform)])];
}

for (const op of ["window", "convolve"] as const) {
  Deno.test(`${op} and its gradients agree with the oracle on every case`, async () => {
    const uniform = randomOf(1);
    const nodes = cases[op].flatMap(({ operands, build }) => {
      const leaves = operands.map(({ shape }) => leafOf(shape, uniform));
      return withGradients(build(...leaves), leaves, uniform);
    });
    await assertOracle(nodes, () => ({ ulp: 16, absolute: 1e-5 }));
  });
}

const attributes = (rank: number) => {
  const each = (low: number, high: number) =>
    fc.array(fc.integer({ min: low, max: high }), { minLength: rank, maxLength: rank });
  return fc.record({
    step: each(1, 3),
    dilation: each(1, 2),
    spread: each(1, 3),
    before: each(-1, 3),
    after: each(-1, 3),
  });
};

Deno.test("random convolutions and their gradients agree with the oracle", async () => {
  const example = fc.integer({ min: 1, max: 2 }).chain((rank) =>
    fc.record({
      groups: fc.integer({ min: 1, max: 2 }),
      batch: fc.integer({ min: 1, max: 3 }),
      channels: fc.constantFrom(1, 2, 4, 5),
      outputs: fc.constantFrom(1, 3, 4, 8),
      sizes: fc.array(fc.integer({ min: 2, max: 7 }), { minLength: rank, maxLength: rank }),
      taps: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: rank, maxLength: rank }),
      attributes: attributes(rank),
    })
  );
  const uniform = randomOf(2);
  const drawnCases = fc.sample(example, { numRuns: 16, seed: seed() });
  const nodes = drawnCases.flatMap(
    ({ groups, batch, channels, outputs, sizes, taps, attributes }) => {
      const x = leafOf([groups, batch, ...sizes, channels], uniform);
      const w = leafOf([groups, ...taps, channels, outputs], uniform);
      return withGradients(b.convolve(x, w, attributes), [x, w], uniform);
    },
  );
  await assertOracle(nodes, () => ({ ulp: 16, absolute: 1e-4 }));
});

const ways: readonly (readonly [string, TargetPart])[] = [
  ["shuffle", { kind: "software" }],
  ["registers", { kind: "software", shuffle: false }],
  ["shared", { kind: "discrete", shuffle: false }],
];

const plain = (rank: number) => ({
  step: new Array<number>(rank).fill(1),
  dilation: new Array<number>(rank).fill(1),
  spread: new Array<number>(rank).fill(1),
  before: new Array<number>(rank).fill(1),
  after: new Array<number>(rank).fill(1),
});

Deno.test("every way of computing products gives convolutions the same bits", async () => {
  const uniform = randomOf(3);
  const leaves = [
    [[1, 3, 9, 10, 4], [1, 3, 3, 4, 8]],
    [[1, 2, 11, 7, 3], [1, 3, 2, 3, 5]],
    [[2, 2, 8, 8, 4], [2, 3, 3, 4, 4]],
    [[8, 2, 7, 9, 1], [8, 3, 3, 1, 1]],
  ].map((shapes) => shapes.map((shape) => leafOf(shape, uniform)));
  const nodes = leaves.flatMap(([x, w]) =>
    withGradients(b.convolve(x!, w!, plain(2)), [x!, w!], uniform)
  );
  const expected = evaluate(nodes);
  let first: Awaited<ReturnType<typeof runWith>>["values"] | undefined;
  for (const [way, part] of ways) {
    const { values } = await runWith(nodes, {}, part);
    values.forEach((value, i) => {
      const wrong = firstWrong(value, expected[i]!.data, "f32", { ulp: 16, absolute: 1e-4 });
      assertEquals(wrong, undefined, `${way}, node ${i}`);
    });
    first ??= values;
    values.forEach((value, i) => {
      assertEquals(firstDifference(value, first![i]!), undefined, `${way}, node ${i}`);
    });
  }
});

Deno.test("f16 is convolved in f32", async () => {
  const uniform = randomOf(4);
  const x = leafOf([1, 2, 8, 8, 32], uniform, "f16"), w = leafOf([1, 3, 3, 32, 4], uniform, "f16");
  const deep = leafOf([4, 1, 20, 1], uniform, "f16"), taps = leafOf([4, 9, 1, 1], uniform, "f16");
  const nodes = [b.convolve(x, w, plain(2)), b.convolve(deep, taps, plain(1))];
  await assertOracle(nodes, () => ({ ulp: 1, absolute: 1e-3 }));
});

Deno.test("a convolution and its gradients write nothing but their results", async () => {
  const uniform = randomOf(5);
  const x = leafOf([1, 4, 16, 16, 8], uniform), w = leafOf([1, 3, 3, 8, 16], uniform);
  const y = b.convolve(x, w, plain(2));
  const { program } = await runWith([b.binary("max", y, 0)]);
  assertEquals(program.dispatches.length, 1);
  assertEquals(program.memory.workspace, 0);
  const gradients = pullback([y], [x, w], [leafOf(y.shape, uniform)]);
  const { program: back } = await runWith(gradients);
  const largest = Math.max(...[x, w, y].map((node) => 4 * sizeOf(node.shape)));
  assert(back.memory.workspace <= largest, `${back.memory.workspace} bytes of workspace`);
});

/** Operations of all dispatches. */
const flopsOf = ({ dispatches }: Program): number =>
  dispatches.reduce((sum, { kernel }) => sum + kernel.flops, 0);

Deno.test("between the elements of a spread input nothing is computed", async () => {
  const uniform = randomOf(7);
  const cases = [
    { taps: 4, step: 2, dilation: 1 },
    { taps: 3, step: 3, dilation: 1 },
    { taps: 1, step: 2, dilation: 1 },
    { taps: 2, step: 2, dilation: 4 },
  ];
  for (const { taps, step, dilation } of cases) {
    const x = leafOf([1, 2, 13, 13, 8], uniform), w = leafOf([1, taps, taps, 8, 4], uniform);
    const y = b.convolve(x, w, {
      ...plain(2),
      step: [step, step],
      dilation: [dilation, dilation],
    });
    const useful = 2 * sizeOf(y.shape) * taps ** 2 * 8;
    // Forward; the transpose, by way of the input's gradient; and the transpose's own gradients.
    const g = leafOf(y.shape, uniform), h = leafOf(x.shape, uniform);
    const [transposed] = pullback([y], [x], [g]);
    const nodes = [transposed!, ...pullback([transposed!], [g, w], [h])];
    const expected = evaluate(nodes);
    for (const [i, node] of nodes.entries()) {
      const { values, program } = await runWith([node]);
      assert(flopsOf(program) < 1.5 * useful + 8 * 2 ** 12, `${flopsOf(program)} for ${useful}`);
      const wrong = firstWrong(values[0]!, expected[i]!.data, "f32", { ulp: 16, absolute: 1e-4 });
      assertEquals(wrong, undefined, JSON.stringify({ taps, step, dilation }));
    }
  }
});

Deno.test("a tap or an element that is NaN reaches only what it meets", async () => {
  const uniform = randomOf(8);
  const x = leafOf([1, 1, 4, 3], uniform);
  const w = constantOf([NaN, ...new Array<number>(11).fill(1)], [1, 4, 3, 1]);
  const y = b.convolve(x, w, { step: [1], dilation: [1], spread: [2], before: [3], after: [3] });
  const { values: [found] } = await runWith([y]);
  // Place p has tap 0 where p - 3 is even.
  assertEquals([...found!].map(Number.isNaN), Array.from({ length: 10 }, (_, p) => p % 2 === 1));
  // Element 1 meets the three taps of places 2, 3 and 4.
  const ones = constantOf([1, 1, 1], [1, 3, 1, 1]), line = constantOf([1, NaN, 1, 1], [1, 1, 4, 1]);
  const z = b.convolve(line, ones, {
    step: [1],
    dilation: [1],
    spread: [2],
    before: [2],
    after: [2],
  });
  const { values: [sums] } = await runWith([z]);
  assertEquals([...sums!], [1, 1, NaN, NaN, NaN, 1, 2, 1, 1]);
});

Deno.test("the gradient of a wide sliding window is gathered in one dispatch", async () => {
  const uniform = randomOf(6);
  const x = leafOf([3, 40], uniform);
  const y = b.window(x, { size: [7], step: [2], dilation: [3] });
  const [g] = pullback([y], [x], [leafOf(y.shape, uniform)]);
  const [expected] = evaluate([g!]);
  const { values, program } = await runWith([g!]);
  assertEquals(program.dispatches.length, 1);
  const wrong = firstWrong(values[0]!, expected!.data, "f32", { ulp: 4, absolute: 1e-5 });
  assertEquals(wrong, undefined);
});

/** Two convolutions with bias, activation and pooling, a dense layer, and momentum. */
function trainingStep(batch: number): Graph {
  const shapes = [[3, 3, 1, 32], [32], [3, 3, 32, 64], [64], [3136, 10], [10]];
  const weights = shapes.map((shape, i) => b.parameter(i, { shape, dtype: "f32" }));
  const means = shapes.map((shape, i) => b.parameter(6 + i, { shape, dtype: "f32" }));
  const x = b.parameter(12, { shape: [batch, 28, 28, 1], dtype: "f32" });
  const y = b.parameter(13, { shape: [batch], dtype: "i32" });
  const loss = (weights: readonly Tensor[]): Tensor => {
    let h = new Tensor(x);
    for (const i of [0, 2]) {
      h = conv(h, weights[i]!, { padding: "same" }).add(weights[i + 1]!).relu();
      h = maxPool(h, 2);
    }
    const logits = h.reshape(batch, -1).matmul(weights[4]!).add(weights[5]!);
    return logits.logSoftmax().mul(new Tensor(y).oneHot(10)).sum().div(-batch);
  };
  const value = loss(weights.map((w) => new Tensor(w))).node;
  const gradients = pullback([value], weights, [b.fill(1)]);
  const next = means.map((m, i) => b.binary("add", b.binary("mul", m, 0.9), gradients[i]!));
  const moved = weights.map((w, i) => b.binary("sub", w, b.binary("mul", next[i]!, 0.05)));
  return {
    name: "step",
    parameters: [...weights, ...means, x, y],
    results: [value, ...moved, ...next],
  };
}

Deno.test("a step of a convolutional network takes 20 dispatches, and no copies", async () => {
  const graph = trainingStep(64);
  const donate = Array.from({ length: 12 }, (_, i) => i);
  const program = await compileFor(graph, { donate });
  assert(program.dispatches.length <= 20, program.print("regions"));
  // Two activations, their gradients, and what pooling leaves of them.
  assert(program.memory.workspace <= 24e6, `${program.memory.workspace} bytes of workspace`);
});

Deno.test("places that padding alone reaches are zeros, however much of it is cut off", async () => {
  const uniform = randomOf(9);
  const w = leafOf([1, 1, 2, 3], uniform);
  const nodes = [[-3, 4], [4, -3]].flatMap(([before, after]) =>
    [1, 2].flatMap((n) => {
      const x = leafOf([1, 2, n, 2], uniform);
      const only = { step: [1], dilation: [1], spread: [1], before: [before!], after: [after!] };
      return withGradients(b.convolve(x, w, only), [x, w], uniform);
    })
  );
  // As in the gradient of a step over an input that its only window begins before.
  const x = leafOf([1, 1, 1, 2], uniform);
  const strided = { step: [3], dilation: [1], spread: [1], before: [2], after: [0] };
  nodes.push(...withGradients(b.convolve(x, w, strided), [x, w], uniform));
  await assertOracle(nodes, () => ({ ulp: 16, absolute: 1e-5 }));
});
