import { assert, assertEquals } from "@std/assert";
import { type Report, sizesFor } from "../../bench/gpu.ts";
import { runner } from "./runner.ts";

const run = runner("gpu");

Deno.test("bench:gpu measures everything, small, on whatever adapter there is", async () => {
  const { code, out, errors } = await run("--scale", "0.00001", "--python", "none", "--json");
  assertEquals(code, 0, errors);
  const report: Report = JSON.parse(out);
  assertEquals(report.sizes, sizesFor(0.00001));
  assertEquals(report.torch, "not asked for");
  assert(report.copy > 0);
  const names = ["matmul", "gelu", "add", "softmax", "layer norm", "sum of columns", "GPT step"];
  assertEquals(report.ours.map(({ name }) => name), names);
  for (const { name, seconds } of report.ours) assert(seconds > 0, name);
});

Deno.test("bench:gpu has the sizes of a large GPU by default, and refuses others than shares", async () => {
  const { matmul, elements, gpt } = sizesFor(1);
  assertEquals([matmul, elements, gpt.features, gpt.layers], [4096, 2 ** 25, 768, 12]);
  const { code, errors } = await run("--scale", "2");
  assertEquals(code, 2);
  assertEquals(
    errors.trim(),
    'Cannot measure the GPU: --scale is "2", expected a number above 0 and at most 1',
  );
});
