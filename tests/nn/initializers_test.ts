import { assert, assertEquals, assertThrows } from "@std/assert";
import { stack } from "../../graph/operations.ts";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { vmap } from "../../graph/transforms.ts";
import * as nn from "../../nn/mod.ts";
import { installHost } from "../graph/host.ts";

installHost();

Deno.test("fansOf() reads inputs and outputs off the last axes", () => {
  assertEquals(nn.fansOf([3, 5]), { in: 3, out: 5 });
  assertEquals(nn.fansOf([2, 2, 3, 5]), { in: 12, out: 20 });
  assertThrows(() => nn.fansOf([3]), TypeError, "the shape is [3]");
  assertThrows(() => nn.varianceScaling({ scale: -1 }), RangeError, "scale is -1");
  assertThrows(() => nn.varianceScaling({ mode: "fan" as "in" }), RangeError, 'mode is "fan"');
  const distribution = "flat" as "normal";
  assertThrows(() => nn.varianceScaling({ distribution }), RangeError, 'distribution is "flat"');
});

const cases: [string, nn.Initializer, number, "normal" | "uniform"][] = [
  ["glorotUniform", nn.glorotUniform, 2 / (80 + 40), "uniform"],
  ["glorotNormal", nn.glorotNormal, 2 / (80 + 40), "normal"],
  ["heUniform", nn.heUniform, 2 / 80, "uniform"],
  ["heNormal", nn.heNormal, 2 / 80, "normal"],
  ["lecunUniform", nn.lecunUniform, 1 / 80, "uniform"],
  ["lecunNormal", nn.lecunNormal, 1 / 80, "normal"],
];
for (const [name, initializer, variance, distribution] of cases) {
  Deno.test(`${name}() has mean 0, its variance and its bounds`, async () => {
    const values = [...await initializer(random.key(3), [80, 40]).data()];
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const square = values.reduce((a, b) => a + b * b, 0) / values.length;
    assert(Math.abs(mean) < 4 * Math.sqrt(variance / values.length), `mean ${mean}`);
    assert(Math.abs(square / variance - 1) < 0.1, `variance ${square}, expected ${variance}`);
    // Uniform ends at √3 deviations, the normal is cut at 2 and widened by 1/.8796.
    const bound = Math.sqrt(variance) * (distribution === "uniform" ? Math.sqrt(3) : 2 / 0.8796);
    const largest = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    assert(largest <= bound * 1.0001 && largest > bound * 0.9, `${largest} against ${bound}`);
  });
}

Deno.test("varianceScaling() can divide by the outputs", async () => {
  const values = [...await nn.varianceScaling({ mode: "out" })(random.key(4), [80, 40]).data()];
  const square = values.reduce((a, b) => a + b * b, 0) / values.length;
  assert(Math.abs(square * 40 - 1) < 0.1, `variance ${square}`);
});

Deno.test("normal() has its deviation, whatever the shape", async () => {
  const values = [...await nn.normal(3)(random.key(5), [2000]).data()];
  const square = values.reduce((a, b) => a + b * b, 0) / values.length;
  assert(Math.abs(square / 9 - 1) < 0.1, `variance ${square}`);
});

for (
  const [shape, gain] of [[[5, 3], 1], [[3, 5], 2], [[4, 4], 1], [[1, 3], 1], [
    [2, 3, 4],
    0.5,
  ]] as const
) {
  Deno.test(`orthogonal() makes [${shape}] of orthonormal columns or rows`, async () => {
    const weight = nn.orthogonal({ gain })(random.key(6), shape);
    assertEquals(weight.shape, shape);
    const q = weight.reshape(-1, shape.at(-1)!), [rows, columns] = q.shape as [number, number];
    const square = rows >= columns ? q.T.matmul(q) : q.matmul(q.T);
    const values = await square.array() as number[][];
    values.forEach((row, i) =>
      row.forEach((v, j) => assert(Math.abs(v - (i === j ? gain * gain : 0)) < 1e-5, `${v}`))
    );
  });
}

Deno.test("orthogonal() prefers no direction", async () => {
  // Entries of a random rotation have mean 0 and variance 1/n, its trace has variance 1.
  const all = vmap((key: Tensor) => nn.orthogonal()(key, [3, 3]))(
    stack(random.split(random.key(9), 300)),
  );
  const draws = await all.array() as number[][][];
  for (let place = 0; place < 9; place++) {
    const mean = draws.reduce((sum, q) => sum + q.flat()[place]!, 0) / 300;
    const square = draws.reduce((sum, q) => sum + q.flat()[place]! ** 2, 0) / 300;
    assert(Math.abs(mean) < 0.13, `mean ${mean} of entry ${place}`);
    assert(Math.abs(square - 1 / 3) < 0.07, `variance ${square} of entry ${place}`);
  }
  const trace = draws.reduce((sum, q) => sum + (q[0]![0]! + q[1]![1]! + q[2]![2]!) ** 2, 0) / 300;
  assert(Math.abs(trace - 1) < 0.3, `variance ${trace} of the trace`);
});

Deno.test("identity() hands on what it gets, in the middle of a field", async () => {
  assertEquals(await nn.identity({ gain: 2 })(random.key(0), [3, 2]).array(), [
    [2, 0],
    [0, 2],
    [0, 0],
  ]);
  const field = await nn.identity()(random.key(0), [3, 2, 2]).array();
  assertEquals(field, [[[0, 0], [0, 0]], [[1, 0], [0, 1]], [[0, 0], [0, 0]]]);
  assertThrows(() => nn.identity()(random.key(0), [3]), TypeError, "the shape is [3]");
});

Deno.test("selu() keeps mean 0 and variance 1", async () => {
  const x = random.normal(random.key(8), [20_000]);
  const values = [...await nn.selu(x).data()];
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const square = values.reduce((a, b) => a + b * b, 0) / values.length;
  assert(Math.abs(mean) < 0.03 && Math.abs(square - 1) < 0.05, `${mean}, ${square}`);
});
