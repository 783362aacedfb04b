/**
 * Estimates of H⁻¹·v against their closed forms: bias, mean, variance, and what they refuse.
 */
import { assert, assertRejects, assertThrows } from "@std/assert";
import { full, ones, tensor } from "../../graph/create.ts";
import { where } from "../../graph/operations.ts";
import { bits, type Key, key, normal, uniform } from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { vmap } from "../../graph/transforms.ts";
import { inverseProduct, lissa } from "../../optim/inverse_product.ts";
import { CheckError } from "../../runtime/errors.ts";
import { gpu } from "../gpu.ts";

await gpu();

const close = (a: number, b: number, tolerance: number, what = ""): void =>
  assert(Math.abs(a - b) <= tolerance, `${what}: ${a}, expected ${b} within ${tolerance}`);

Deno.test("lissa() leaves the bias of its depth and no other", async () => {
  const h = [0.1, 0.35, 0.9, 1], v = tensor([1, -2, 3, 0.5]);
  for (const depth of [0, 1, 7, 40]) {
    const x = lissa((u: Tensor) => u.mul(tensor(h)), v, { depth, key: key(0) });
    const found = await x.data(), given = await v.data();
    h.forEach((h, i) => {
      const expected = given[i]! / h * (1 - (1 - h) ** (depth + 1));
      close(found[i]!, expected, 1e-5 * (1 + Math.abs(expected)), `depth ${depth}, h ${h}`);
    });
  }
});

/** One of two matrices, by a coin: their mean is diag(0.5, 0.6). */
const coin = (v: Tensor, key: Key): Tensor => {
  const heads = bits(key, []).less(2 ** 31);
  return v.mul(where(heads, tensor([0.3, 0.9]), tensor([0.7, 0.3])));
};

Deno.test("lissa() and inverseProduct() with a fresh matrix in every factor have the right mean", async () => {
  const draws = 4000, v = ones([2]), keys = normal(key(0), [draws, 2]).bitcast("u32");
  const mean = async (estimate: (key: Key) => Tensor) => {
    const all = vmap(estimate)(keys);
    const m = await all.mean(0).data(), s = await all.std(0).data();
    return [0, 1].map((i) => ({ mean: m[i]!, error: s[i]! / Math.sqrt(draws) }));
  };
  const exact = [2, 1 / 0.6];
  const series = await mean((key) => lissa(coin, v, { depth: 40, key }));
  const single = await mean((key) => inverseProduct(coin, v, { spectrum: [0.3, 0.9], key }).x);
  for (const found of [series, single]) {
    found.forEach(({ mean, error }, i) => {
      assert(error < 0.1 && error > 0);
      close(mean, exact[i]!, 4 * error);
    });
  }
});

Deno.test("inverseProduct() has the variance of its closed form", async () => {
  const draws = 20_000, q = 0.05, keys = uniform(key(7), [draws, 2]).bitcast("u32");
  for (const [h, variance] of [[0.1, 35.71], [0.3, 30.19], [0.5, 23.14], [0.9, 18.98]] as const) {
    const all = vmap((key: Key) =>
      inverseProduct((v: Tensor) => v.mul(h), tensor(1), { spectrum: [h, h], stop: q, key }).x
    )(keys);
    const second = (1 / q) / (1 - (1 - h) ** 2 / (1 - q));
    close(second - 1 / (h * h), variance, 0.01);
    const [m, s] = await Promise.all([all.mean().item(), all.std().item()]);
    close(m, 1 / h, 4 * s / Math.sqrt(draws), `mean at ${h}`);
    close(s * s / variance, 1, 0.1, `variance at ${h}`);
  }
});

Deno.test("inverseProduct() averages draws and counts products", async () => {
  const draws = 100, h = tensor([0.4, 0.8]);
  const { x, products } = inverseProduct((v: Tensor) => v.mul(h), ones([2]), {
    spectrum: [0.4, 0.8],
    draws,
    key: key(3),
  });
  // With q = 0.4 a draw has 1.5 products on average; the second moment of 1/0.4 is 6.25.
  const found = await x.data(), count = await products.item();
  close(found[0]!, 2.5, 4 * Math.sqrt(6.25 / draws));
  close(found[1]!, 1.25, 0.6);
  close(count / draws, 1.5, 0.8);
});

Deno.test("inverseProduct() refuses an infinite variance, and finds broken promises", async () => {
  const make = (options: object) => () =>
    inverseProduct((v: Tensor) => v.mul(0.02), tensor(1), {
      spectrum: [0.02, 0.02],
      key: key(0),
      ...options,
    });
  assertThrows(
    make({ stop: 0.05 }),
    RangeError,
    "so the variance is infinite, expected (1 - h)² < 1 - stop",
  );
  assertThrows(make({ spectrum: [0, 1] }), RangeError, "expected them in (0, 2)");
  assertThrows(
    make({ spectrum: [0.5, 2.1] }),
    RangeError,
    "scale the matrix by 2 / (least + most)",
  );
  assertThrows(make({ spectrum: [0.5, 0.4] }), RangeError, "spectrum[1] is 0.4");
  assertThrows(make({ stop: 0 }), RangeError, "stop is 0");
  assertThrows(make({ draws: 0 }), RangeError, "draws is 0");
  await make({})().x.data();
  const broken = inverseProduct((v: Tensor) => v.mul(full([], 0.02)), tensor(1), {
    spectrum: [0.5, 0.9],
    draws: 20,
    key: key(0),
  });
  await assertRejects(() => broken.x.data(), CheckError, "outside of the spectrum [0.5, 0.9]");
  const same = (v: Tensor) => v;
  assertThrows(() => lissa(same, ones([2]), { depth: -1, key: key(0) }), RangeError, "depth is -1");
  assertThrows(() => lissa(same, ones([2]), { depth: 1, draws: 0, key: key(0) }), RangeError);
  const long = lissa((v: Tensor) => v.mul(3), tensor([1, 1]), { depth: 5, key: key(0) });
  await assertRejects(() => long.data(), CheckError, "expected a matrix of norm 1 at most");
});
