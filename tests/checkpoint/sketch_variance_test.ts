/**
 * Variances of what sketches estimate, in closed form, where an estimate is a sum over many of the
 * numbers: gradients of convolutions and of loops.
 *
 * An estimated gradient is Σ_b x̂_bᵀ·g_b over examples b. With one R for all of them that is
 * tr(R·Rᵀ·M), M = Σ_b x_b·g_bᵀ. R·Rᵀ is diagonal for the sparse kind, n/k times how often each number
 * was drawn (multinomial); for the other it is 1 on the diagonal, and beside it means of k signs.
 */
import { assert, assertAlmostEquals } from "@std/assert";
import * as rg from "../../mod.ts";
import { gpu } from "../gpu.ts";

/** The numbers of an example, and what multiplies each in the gradient. */
type Term = readonly [x: readonly number[], g: readonly number[]];
type Kind = rg.SketchKind;

const variants = (["sparse", "project"] as const).flatMap((kind) =>
  [true, false].map((shared) => ({ kind, shared }))
);

/** The variance with one R for all terms. */
function varianceOfOne(kind: Kind, k: number, terms: readonly Term[]): number {
  const n = terms[0]![0].length;
  const m = (i: number, j: number) => terms.reduce((sum, [x, g]) => sum + x[i]! * g[j]!, 0);
  let square = 0, sum = 0;
  for (let i = 0; i < n; i++) {
    if (kind === "sparse") [square, sum] = [square + n * m(i, i) ** 2, sum + m(i, i)];
    else for (let j = 0; j < i; j++) square += (m(i, j) + m(j, i)) ** 2;
  }
  return (square - sum * sum) / k;
}

/** The variance with one R for all examples, or one for each. */
const varianceOf = (kind: Kind, shared: boolean, k: number, terms: readonly Term[]): number =>
  shared
    ? varianceOfOne(kind, k, terms)
    : terms.reduce((sum, term) => sum + varianceOfOne(kind, k, [term]), 0);

/** Compares many draws of a gradient with its mean and variance. */
async function compare(
  draw: (key: rg.Tensor) => rg.Tensor,
  exact: readonly number[],
  variance: (i: number) => number,
): Promise<void> {
  const draws = 20_000, keys = rg.random.bits(rg.random.key(5), [draws, 2]);
  const data = await rg.compile(rg.vmap(draw))(keys).data(), size = exact.length;
  exact.forEach((value, i) => {
    let mean = 0, square = 0;
    for (let d = 0; d < draws; d++) mean += data[d * size + i]! / draws;
    for (let d = 0; d < draws; d++) square += (data[d * size + i]! - mean) ** 2 / (draws - 1);
    const wanted = variance(i), error = Math.abs(mean - value) / Math.sqrt(wanted / draws);
    assert(error < 4.5, `${mean} for ${value}: ${error} standard errors`);
    assertAlmostEquals(square / wanted, 1, 0.1);
  });
}

for (const { kind, shared } of variants) {
  const settings = { keep: 0.5, kind, shared };
  const called = `${kind}, ${shared ? "shared" : "apart"}`;

  Deno.test(`the gradient of a convolution's weights varies as the formula says: ${called}`, async () => {
    await gpu();
    const [examples, size, window] = [2, 4, 3], n = size * size;
    const x = rg.random.normal(rg.random.key(1), [examples, size, size, 1]);
    const g = rg.random.normal(rg.random.key(2), [examples, size, size, 1]);
    const w = rg.random.normal(rg.random.key(3), [window, window, 1, 1]);
    const convolve = (x: rg.Tensor, w: rg.Tensor) => rg.conv(x, w, { padding: "same" });
    const loss = (f: typeof convolve) => (w: rg.Tensor) => f(x, w).mul(g).sum();
    const [xs, gs, exact] = await rg.readAll([x, g, rg.grad(loss(convolve))(w)]);
    await compare(
      (key) => rg.grad(loss(rg.sketch(convolve, { ...settings, key })))(w),
      [...exact!],
      (at) => {
        const down = Math.floor(at / window) - 1, across = at % window - 1;
        // What multiplies the number at a place is the cotangent of the output that reads it here.
        const terms = Array.from({ length: examples }, (_, b): Term => [
          [...xs!.slice(b * n, (b + 1) * n)],
          Array.from({ length: n }, (_, j) => {
            const row = Math.floor(j / size) - down, column = j % size - across;
            const inside = row >= 0 && row < size && column >= 0 && column < size;
            return inside ? gs![b * n + row * size + column]! : 0;
          }),
        ]);
        return varianceOf(kind, shared, n / 2, terms);
      },
    );
  });

  Deno.test(`the gradient of a loop's weights varies as the formula says: ${called}`, async () => {
    await gpu();
    const [steps, examples, n] = [3, 2, 4];
    const h = rg.random.normal(rg.random.key(1), [examples, n]);
    const g = rg.random.normal(rg.random.key(2), [examples, n]);
    const w = rg.random.normal(rg.random.key(3), [n, n]).mul(0.5);
    type Product = (h: rg.Tensor, w: rg.Tensor, step: rg.Tensor) => rg.Tensor;
    const loss = (product: Product) => (w: rg.Tensor) =>
      rg.loop((h: rg.Tensor, step: rg.Tensor) => product(h, w, step), h, { length: steps })
        .mul(g).sum();
    const exactly: Product = (h, w) => h.matmul(w);
    // States and cotangents of every step: the estimates of different steps are independent.
    const states = [h], cotangents = [g];
    for (let t = 1; t < steps; t++) {
      states.push(states[t - 1]!.matmul(w));
      cotangents.unshift(cotangents[0]!.matmul(w.transpose()));
    }
    const [exact, ...numbers] = await rg.readAll([
      rg.grad(loss(exactly))(w),
      ...states,
      ...cotangents,
    ]);
    await compare(
      (key) =>
        rg.grad(loss((h, w, step) => {
          const own = { ...settings, key: rg.random.foldIn(key, step) };
          return rg.sketch((h: rg.Tensor, w: rg.Tensor) => h.matmul(w), own)(h, w);
        }))(w),
      [...exact!],
      (at) => {
        const row = Math.floor(at / n), column = at % n;
        let sum = 0;
        for (let t = 0; t < steps; t++) {
          const terms = Array.from({ length: examples }, (_, b): Term => [
            [...numbers[t]!.slice(b * n, (b + 1) * n)],
            Array.from(
              { length: n },
              (_, j) => j === row ? numbers[steps + t]![b * n + column]! : 0,
            ),
          ]);
          sum += varianceOf(kind, shared, n / 2, terms);
        }
        return sum;
      },
    );
  });
}
