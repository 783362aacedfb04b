import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { runner } from "./runner.ts";

const run = runner("first");

Deno.test("bench:first divides a first call into parts that add up to it", async () => {
  const { code, out, errors } = await run("--only", "matmulVector");
  assertEquals(code, 0, errors);
  assert(out.startsWith("matmul 1×2048×2048: 2 dispatches of 2 pipelines"), out);
  const rows = out.split("\n").filter((line) => /^\| .* \d+ \|$/.test(line))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const parts = rows.slice(0, 6).map(([name, ms]) => [name!, Number(ms)] as const);
  const [whole, ...pieces] = parts.reverse();
  assertEquals(whole![0], "the first call");
  assertEquals(pieces.length, 5);
  assertAlmostEquals(pieces.reduce((sum, [, ms]) => sum + ms, 0), whole![1], 5); // rounded
  for (const [name, ms] of pieces) assert(ms >= 0, name);
  const pipelines = rows.slice(6);
  assertEquals(pipelines.map(([, , dispatches]) => dispatches), ["1", "1"]);
});

Deno.test("bench:first refuses what is no workload", async () => {
  for (const name of ["nothing", "toString"]) {
    const { code, errors } = await run("--only", name);
    assertEquals(code, 2);
    const expected = `Cannot look at a first call: --only is "${name}", expected one of`;
    assert(errors.startsWith(expected), errors);
  }
});
