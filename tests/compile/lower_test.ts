/**
 * Lowering on the device: what is split into pieces must mean what it meant.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as build from "../../graph/build.ts";
import { compileGraph } from "../../compile/compile.ts";
import { constantOf, gpu, runWith } from "../gpu.ts";

Deno.test("a long sum of f16 does not overflow in its pieces", async () => {
  const half = 3 * 4096,
    values = Float32Array.from({ length: 2 * half }, (_, i) => i < half ? 100 : -100);
  values[5] = 103;
  const x = constantOf(values, [2 * half], "f16");
  const { values: [sum] } = await runWith([build.reduce("sum", x, [0])]);
  assertEquals([...sum!], [3]);
});

Deno.test("pieces of products and scatters of f16 are rounded once", async () => {
  // The first piece ends in 2048, where f16 has no odd numbers; the others add 1 each.
  const k = 4096, n = 3;
  const row = Float32Array.from({ length: k }, (_, i) => i === 0 ? 2048 : i % 256 === 255 ? 1 : 0);
  const a = constantOf(row, [1, 1, k], "f16");
  const ones = constantOf(new Float32Array(k * n).fill(1), [1, k, n], "f16");
  const large = constantOf(Float32Array.of(-60000, 60000, 60000, -60000), [4, 1], "f16");
  const spread = build.reshape(build.broadcastTo(large, [4, 512]), [1, 1, 2048]);
  const single = constantOf(new Float32Array(2048 * n).fill(1), [1, 2048, n], "f16");
  const updates = 3 * 16384;
  const steps = Float32Array.from(
    { length: updates },
    (_, i) => i === 0 ? 2048 : i % 16384 === 16383 ? 1 : 0,
  );
  const { values: [first], program } = await runWith([build.dot(a, ones)]);
  // Operands are widened where they are read: no copy of theirs is in memory.
  assert(program.memory.workspace < k, `${program.memory.workspace} bytes`);
  const { values } = await runWith([
    build.dot(spread, single),
    build.scatterAdd(
      constantOf(steps, [updates], "f16"),
      constantOf(new Int32Array(updates), [updates], "i32"),
      1,
    ),
  ]);
  assertEquals([first!, ...values].map((x) => [...x]), [
    Array(n).fill(2064),
    Array(n).fill(0),
    [Math.f16round(2051)],
  ]);
});

Deno.test("a value that leaked from another trace is an error that says so", async () => {
  const { device } = await gpu();
  const own = build.parameter(0, { shape: [2], dtype: "f32" });
  const leaked = build.unary("exp", build.parameter(0, { shape: [2], dtype: "f32" }));
  const graph = { name: "f", parameters: [own], results: [build.binary("add", own, leaked)] };
  assertThrows(
    () => compileGraph(graph, {}, device.target),
    Error,
    "Cannot compile f: exp(arg0) was traced inside another function, expected what",
  );
});
