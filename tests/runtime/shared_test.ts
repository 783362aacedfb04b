/**
 * What is used many times in one program: its partial gradients are added as they come, so that none
 * of them waits, and a budget helps. Weights, biases, scales, rows of a table, and a value with many
 * readers; under every budget the same bits, in the bytes that were said.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import fc from "fast-check";
import { compile, grad, init, random, realize, type Tensor, tensor } from "../../mod.ts";
import { firstDifference } from "../gpu.ts";
import { seed } from "../seed.ts";

await init({ software: "allow" });

/** Just wide enough for a value of its square to be worth the thought. */
const width = 68, bytes = 4 * width * width, most = 12;

type Layer = (h: Tensor, w: Tensor, shared: Tensor, i: number) => Tensor;

const rows = tensor(Int32Array.from({ length: width }, (_, i) => 7 * i % 64));

const layers: Readonly<Record<string, Layer>> = {
  weight: (h, _, shared) => h.add(h.matmul(shared).tanh()),
  "weight of products alone": (h, _, shared) => h.matmul(shared).tanh(),
  bias: (h, w, shared) => h.add(h.matmul(w).add(shared.index(0)).tanh()),
  scale: (h, w, shared) => h.matmul(w).mul(shared).add(h),
  table: (h, w, shared, i) => h.matmul(w).tanh().add(shared.take(rows.add(i))),
  "weight and scale": (h, _, shared) => h.matmul(shared).mul(shared).tanh(),
};

const deep = (layer: Layer) => (shared: Tensor, x: Tensor, weights: readonly Tensor[]): Tensor => {
  let h = x;
  weights.forEach((w, i) => h = layer(h, w, shared, i));
  return h.square().mean();
};

/** One value with many readers that have nothing to do with each other. */
const wide = (shared: Tensor, x: Tensor, weights: readonly Tensor[]): Tensor => {
  const y = shared.mul(x).tanh();
  return weights.map((w) => y.matmul(w).sin().square().mean()).reduce((a, b) => a.add(b));
};

type Loss = ReturnType<typeof deep>;

const losses: Readonly<Record<string, Loss>> = {
  ...Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name, deep(layer)])),
  wide,
};

const square = (key: number, scale: number): Tensor =>
  random.normal(random.key(key), [width, width]).mul(scale);

const { shared, x, weights } = await realize({
  shared: square(1, 0.1),
  x: square(2, 1),
  weights: Array.from({ length: most }, (_, i) => square(3 + i, 0.1)),
});

for (const [name, loss] of Object.entries(losses)) {
  Deno.test(`a gradient that many parts are added to has the same bits for every budget: ${name}`, async () => {
    const uses = fc.integer({ min: 2, max: most });
    await fc.assert(
      fc.asyncProperty(uses, fc.double({ min: 0, max: 1, noNaN: true }), async (n, share) => {
        const args = [shared, x, weights.slice(0, n)] as const;
        const free = compile(grad(loss));
        const expected = await free(...args).data();
        const offers = free.programs()[0]!.sweep().map((offer) => offer.bytes);
        const [largest, least] = [offers[0]!, offers.at(-1)!];
        for (const memory of new Set([least, Math.ceil(least + share * (largest - least))])) {
          const f = compile(grad(loss), { memory });
          assertEquals(firstDifference(await f(...args).data(), expected), undefined);
          const { peak } = f.programs()[0]!.memory;
          assert(peak <= memory);
          assertMatch(f.explain(), new RegExp(`peak +${peak} +${peak}`), "counted as predicted");
        }
      }),
      { seed: seed(), numRuns: 2 },
    );
  });
}

Deno.test("the gradient of a weight used often is the sum of what each use has, from the last on", async () => {
  const n = 5, loss = losses.weight!, args = [shared, x, weights.slice(0, n)] as const;
  const apart = grad((each: Tensor[]) => {
    let h = x;
    for (const w of each) h = layers.weight!(h, w, w, 0);
    return h.square().mean();
  });
  const parts = compile(apart)(Array.from({ length: n }, () => shared));
  const sum = await parts.toReversed().reduce((a, b) => a.add(b)).data();
  const gradient = await compile(grad(loss))(...args).data();
  const largest = Math.max(...sum.map(Math.abs));
  sum.forEach((v, i) => assert(Math.abs(gradient[i]! - v) <= 1e-6 * largest));
});

// Rows of a table are summed by a kernel that adds nothing else: its sums wait for each other.
for (const [name, loss] of Object.entries(losses).filter(([name]) => name !== "table")) {
  Deno.test(`the least budget does not grow with how often something is used: ${name}`, () => {
    const least = (n: number): number => {
      const f = compile(grad(loss));
      f(shared, x, weights.slice(0, n));
      const program = f.programs()[0]!;
      return program.sweep().at(-1)!.bytes - program.memory.arguments;
    };
    // Further snapshots at most, where the state is not gone back over for each step.
    assert(
      least(most) - least(most / 2) <= 2 * bytes,
      `${least(most / 2)} and ${least(most)} bytes`,
    );
  });
}
