import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { full, tensor } from "../../graph/create.ts";
import * as random from "../../graph/random.ts";
import { grad } from "../../graph/transforms.ts";
import * as nn from "../../nn/mod.ts";
import * as optim from "../../optim/mod.ts";
import { toFixedPoint } from "../../optim/fixed_point.ts";
import { installHost } from "../graph/host.ts";
import "../seed.ts";

installHost();

Deno.test("toFixedPoint() rounds to the nearest multiple, ties up, and saturates", async () => {
  const x = [0, -0, 0.124, 0.125, -0.125, -0.126, 3.9, 3.875, -4, -5, 1e30, -1e30, Infinity, NaN];
  const y = await toFixedPoint(tensor(x), { integer: 3, fraction: 2 }).array();
  const wanted = [0, 0, 0, 0.25, 0, -0.25, 3.75, 3.75, -4, -4, 3.75, -4, 3.75, NaN];
  assertEquals((y as number[]).map((v) => v + 0), wanted);
});

Deno.test("toFixedPoint() makes multiples in range, one of the two neighbours", async () => {
  const format = fc.record({
    integer: fc.integer({ min: 1, max: 12 }),
    fraction: fc.integer({ min: 0, max: 12 }),
  });
  await fc.assert(
    fc.asyncProperty(format, fc.integer({ min: 0, max: 99 }), async (f, seed) => {
      const draw = random.normal(random.key(seed), [50]).mul(2 ** (f.integer - 2));
      const x = await draw.data();
      const step = 2 ** -f.fraction, most = 2 ** (f.integer - 1) - step;
      for (const rounding of ["nearest", "stochastic"] as const) {
        const y = await toFixedPoint(draw, { ...f, rounding }, random.key(seed + 1)).data();
        y.forEach((v, i) => {
          assert(Number.isInteger(v / step) && v >= -most - step && v <= most);
          const held = Math.min(most, Math.max(-most - step, x[i]!));
          const off = Math.abs(v - held);
          assert(rounding === "nearest" ? off <= step / 2 : off < step, `${x[i]} to ${v}`);
        });
      }
    }),
    { numRuns: 20 },
  );
});

Deno.test("fixedPoint() keeps parameters on the grid, and rounds gradients first", async () => {
  const format = { integer: 3, fraction: 2 };
  const optimizer = optim.fixedPoint(optim.sgd({ rate: 0.5 }), {
    weights: format,
    gradients: { integer: 2, fraction: 0 },
    applies: (_, path) => path === "w",
  });
  let state = optimizer.init({ w: tensor([0.3, 1]), b: tensor([0.3]) });
  assertEquals(await state.params.w.array(), [0.25, 1]);
  state = optimizer.update(state, { w: tensor([0.6, 5]), b: tensor([0.5]) });
  // Gradients become 1 and 1 (saturated), b is not rounded.
  assertEquals(await state.params.w.array(), [-0.25, 0.5]);
  assertAlmostEquals(await state.params.b.item(), 0.05, 1e-6);
});

Deno.test("fixedPoint() by chance differs from step to step and tensor to tensor", async () => {
  const weights = { integer: 3, fraction: 2, rounding: "stochastic" } as const;
  const optimizer = optim.fixedPoint(optim.sgd({ rate: 0 }), { weights });
  const start = { a: full([32], 0.125), b: full([32], 0.125) };
  const state = optimizer.init(start), zero = { a: full([32], 0), b: full([32], 0) };
  const first = { ...state, params: start };
  const one = optimizer.update(first, zero),
    two = optimizer.update({ ...one, params: start }, zero);
  const texts = await Promise.all(
    [one.params.a, one.params.b, two.params.a].map(async (x) => `${await x.data()}`),
  );
  assertEquals(new Set(texts).size, 3);
  const again = optimizer.update(first, zero);
  assertEquals(`${await again.params.a.data()}`, texts[0]);
});

Deno.test("fixedPointLayer() rounds results and gradients, and passes over its own rounding", async () => {
  const layer = nn.fixedPointLayer(nn.linear(1, 1, { bias: false }), {
    activations: { integer: 3, fraction: 1 },
    gradients: { integer: 3, fraction: 0 },
  });
  const params = { weight: tensor([[0.8]]) };
  const x = tensor([[1]]);
  assertEquals(await layer.apply(params, x).array(), [[1]]);
  // The cotangent 1.4 becomes 1.
  const g = grad((p: typeof params) => layer.apply(p, x).mul(1.4).sum())(params);
  assertEquals(await g.weight.array(), [[1]]);
  const chance = nn.fixedPointLayer(nn.linear(1, 1), {
    activations: { integer: 3, fraction: 1, rounding: "stochastic" },
  });
  const own = chance.init(random.key(0));
  assertThrows(() => chance.apply(own, x, { train: true }), TypeError, "there is no key");
  assertEquals(chance.apply(own, x, { train: true, key: random.key(1) }).shape, [1, 1]);
});

Deno.test("fixed point refuses formats that are none", () => {
  const x = tensor([1]);
  assertThrows(() => toFixedPoint(x, { integer: 0, fraction: 4 }), RangeError, "integer is 0");
  assertThrows(() => toFixedPoint(x, { integer: 9, fraction: 16 }), RangeError, "has 25 bits");
  assertThrows(
    () => toFixedPoint(x, { integer: 2, fraction: 4, rounding: "stochastic" }),
    TypeError,
    "there is no key",
  );
  assertThrows(
    () => toFixedPoint(x, { integer: 2, fraction: 4, rounding: "up" as "nearest" }),
    TypeError,
    "rounding is up",
  );
});
