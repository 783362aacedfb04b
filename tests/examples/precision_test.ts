import { assert } from "@std/assert";
import * as rg from "@retrograd/retrograd";
import { train, variants } from "../../examples/papers/precision.ts";
import { gpu } from "../gpu.ts";

/** Points around ten centres. */
function blobs(n: number, seed: number): rg.data.Dataset {
  const centres = rg.random.normal(rg.random.key(7), [10, 16]);
  const y = rg.random.randint(rg.random.key(seed), [n], 0, 10);
  const x = centres.take(y).add(rg.random.normal(rg.random.key(seed + 1), [n, 16]).mul(0.3));
  return new rg.data.Dataset(rg.data.tensorColumn(x), rg.data.tensorColumn(y));
}

Deno.test("rounding by chance trains in 16 bits, rounding to the nearest does not", async () => {
  await gpu();
  const data = { train: blobs(600, 1), test: blobs(300, 3) };
  const sizes = { inputs: 16, hidden: 24, classes: 10, epochs: 4, batch: 20, rate: 0.01, seed: 0 };
  const chosen = variants.filter(({ formats }) => formats?.weights.fraction !== 14);
  const courses = [];
  for (const variant of chosen) courses.push(await train(variant, sizes, data));
  const [float, chance, nearest] = courses.map(({ mistakes }) => mistakes.at(-1)!);
  assert(float! < 0.4, `${float} in f32`);
  assert(chance! < float! + 0.1, `${chance} by chance, ${float} in f32`);
  assert(nearest! > chance! + 0.2, `${nearest} to the nearest, ${chance} by chance`);
});
