import { assertAlmostEquals, assertEquals } from "@std/assert";
import { full, ones } from "../../graph/create.ts";
import * as random from "../../graph/random.ts";
import { loop } from "../../graph/scan.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { toFixedPoint } from "../../optim/mod.ts";
import { gpu } from "../gpu.ts";

Deno.test("stochastic rounding is unbiased, with the variance of a coin", async () => {
  await gpu();
  const n = 1_000_000, step = 2 ** -8;
  for (const share of [0.0625, 0.5, 0.9375]) {
    const x = full([n], 3 + share * step);
    const y = toFixedPoint(x, { integer: 4, fraction: 8, rounding: "stochastic" }, random.key(5));
    const ups = await y.sub(3).mul(2 ** 8).data();
    let sum = 0, square = 0;
    for (const up of ups) [sum, square] = [sum + up, square + up * up];
    const mean = sum / n, variance = square / n - mean * mean;
    const wanted = share * (1 - share);
    assertAlmostEquals(mean, share, 4 * Math.sqrt(wanted / n));
    assertAlmostEquals(variance / wanted, 1, 0.02);
  }
});

Deno.test("small steps add up in the mean by chance, and vanish to the nearest", async () => {
  await gpu();
  const steps = 4096, copies = 256;
  const mean = (rounding: "nearest" | "stochastic") => {
    const format = { integer: 3, fraction: 8, rounding };
    const body = (x: Tensor, i: Tensor) =>
      toFixedPoint(x.add(2 ** -12), format, random.foldIn(random.key(1), i));
    return loop(body, ones([copies]), { length: steps }).mean().item();
  };
  assertEquals(await mean("nearest"), 1);
  // Of each copy the deviation is the root of 4096 · p(1 - p) · 2^-16, p = 1/16.
  const deviation = Math.sqrt(steps / 16 * 15 / 16) / 2 ** 8;
  assertAlmostEquals(await mean("stochastic"), 2, 4 * deviation / Math.sqrt(copies));
});
