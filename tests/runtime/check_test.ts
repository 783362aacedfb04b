import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import { loop } from "../../graph/scan.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { customVjp, stopGradient } from "../../graph/transforms.ts";
import { checkGradients } from "../../runtime/check.ts";
import { init } from "../../runtime/init.ts";

await init({ software: "allow" });

Deno.test("checkGradients() confirms right gradients, tensor by tensor", async () => {
  const f = (p: { w: Tensor; b: Tensor }, x: Tensor) => x.matmul(p.w).add(p.b).tanh();
  const p = { w: tensor([[0.5, -1], [2, 0.1]]), b: tensor([0.3, -0.2]) };
  const report = await checkGradients(f, [p, tensor([[1, 2], [-0.5, 0.7]])], { seed: 7 });
  assertEquals(report.directions.map(({ path }) => path), ["0.b", "0.w", "1", "all"]);
  assert(report.directions.every(({ agrees }) => agrees));
  assertMatch(`${report}`, /gradient +forward +difference +rounding +seed 7/);
});

Deno.test("checkGradients() finds a gradient that is wrong, and says where", async () => {
  const f = (x: Tensor, y: Tensor) => x.square().mul(stopGradient(y)).sum();
  await assertRejects(
    () => checkGradients(f, [tensor([1, 2]), tensor([3, 4])]),
    Error,
    "Cannot confirm the gradient of f: derivatives differ in 1, all, expected agreement to 0.01",
  );
});

Deno.test("checkGradients() keeps integers where they are, and needs a float", async () => {
  const index = tensor([1, 0], { dtype: "i32" });
  const f = (x: Tensor, i: Tensor) => ({ y: x.take(i).exp(), i });
  const { directions } = await checkGradients(f, [tensor([0.1, 0.2]), index]);
  assertEquals(directions.map(({ path }) => path), ["all"]);
  await assertRejects(
    () => checkGradients((i: Tensor) => i, [index]),
    TypeError,
    "no argument is a float tensor",
  );
});

Deno.test("checkGradients() refuses options that would call every gradient wrong", async () => {
  for (const options of [{ step: 0 }, { step: NaN }, { tolerance: NaN }, { tolerance: -1 }]) {
    await assertRejects(
      () => checkGradients((x: Tensor) => x.exp(), [tensor([1])], options),
      RangeError,
      "expected a positive number",
    );
  }
});

Deno.test("checkGradients() checks a rule of the user's against what it is the rule of", async () => {
  const wrong = customVjp(
    (x: Tensor) => x.mul(x),
    (cotangent: Tensor, x: Tensor) => [cotangent.mul(x)],
  );
  await assertRejects(() => checkGradients((x: Tensor) => wrong(x).sum(), [tensor([1, 2])]), Error);
});

Deno.test("checkGradients() allows for what f16 rounds away inside, in bodies of loops too", async () => {
  const half = (x: Tensor) => x.cast("f16").tanh().cast("f32").sum();
  const looped = (x: Tensor) => loop((x: Tensor) => x.add(half(x)), x, { length: 3 });
  for (const f of [half, looped]) await checkGradients(f, [tensor([0.3, -0.7])]);
  const wrong = customVjp(
    (x: Tensor) => half(x),
    (cotangent: Tensor, _y, x: Tensor) => [cotangent.mul(x)],
  );
  await assertRejects(() => checkGradients((x: Tensor) => wrong(x), [tensor([1, 2])]), Error);
});
