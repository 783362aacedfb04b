import { assert, assertThrows } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import { lineSearch } from "../../optim/line_search.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

/** 50·x²: the step t from 1 is good where (1 - 100t)² ≤ 1 - 200·sufficient·t, or t ≤ (1 - s)/50. */
const bowl = (x: Tensor) => x.square().mul(50).sum();

Deno.test("lineSearch() takes the first step that lessens the loss enough", async () => {
  const x = tensor([1]), found = lineSearch(bowl, x, grad(bowl)(x));
  // 1/64 ≈ 0.0156 is the first of 1, 1/2, 1/4 … below 0.02·(1 - 1e-4).
  await assertValues(found.rate, 1 / 64);
  await assertValues(found.params, [1 - 100 / 64], 1e-6);
  await assertValues(found.value, 50 * (1 - 100 / 64) ** 2, 1e-6);
  assert(await found.found.item());
});

Deno.test("lineSearch() begins where it is told and backs off by the factor", async () => {
  const x = tensor([1]), options = { initial: tensor(0.05), factor: 0.1 };
  await assertValues(lineSearch(bowl, x, grad(bowl)(x), options).rate, 0.005, 1e-6);
});

Deno.test("lineSearch() demands more where more is sufficient", async () => {
  // With 0.9 it is the first below 0.002.
  const x = tensor([1]);
  await assertValues(lineSearch(bowl, x, grad(bowl)(x), { sufficient: 0.9 }).rate, 2 ** -9);
});

Deno.test("lineSearch() leaves the parameters alone where no step is good", async () => {
  const x = tensor([1]), g = grad(bowl)(x);
  for (const options of [{ attempts: 3 }, { direction: g }]) {
    const { params, rate, value, found } = lineSearch(bowl, x, g, options);
    await assertValues(params, [1]);
    await assertValues(rate, 0);
    await assertValues(value, 50);
    assert(!await found.item());
  }
});

Deno.test("lineSearch() backs off from losses that are not finite", async () => {
  const loss = (x: Tensor) => x.log().neg().add(x).sum();
  // From 4 along -10·gradient = -7.5: 1 leads to the logarithm of -3.5.
  const x = tensor([4]), g = grad(loss)(x), direction = g.mul(-10);
  await assertValues(lineSearch(loss, x, g, { direction }).rate, 0.5);
  const steep = (x: Tensor) => x.log().sum();
  // Minus infinity, where 1 leads to, is no decrease.
  const far = lineSearch(steep, tensor([1]), tensor([1]), { attempts: 1 });
  assert(!await far.found.item());
  await assertValues(far.params, [1]);
});

Deno.test("lineSearch() searches along trees", async () => {
  const loss = ({ a, b }: { a: Tensor; b: Tensor }) =>
    a.square().sum().add(b.square().mul(4).sum());
  const params = { a: tensor([[2, 1]]), b: tensor([1]) };
  const found = lineSearch(loss, params, grad(loss)(params));
  const value = (t: number) => 5 * (1 - 2 * t) ** 2 + 4 * (1 - 8 * t) ** 2;
  assert(value(0.5) > 9 && value(0.25) < 8.9);
  await assertValues(found.rate, 0.25);
  await assertValues(found.value, value(0.25), 1e-6);
});

Deno.test("lineSearch() refuses numbers out of range and trees that do not fit", () => {
  const x = tensor([1]);
  assertThrows(() => lineSearch(bowl, x, x, { factor: 1 }), RangeError, "factor is 1");
  assertThrows(() => lineSearch(bowl, x, x, { attempts: 0 }), RangeError, "attempts is 0");
  assertThrows(() => lineSearch(bowl, x, x, { initial: 0 }), RangeError, "initial is 0");
  assertThrows(() => lineSearch(bowl, x, tensor([1, 2])), TypeError, "expected its shape");
});
