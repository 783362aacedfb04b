/**
 * Lowering on the device: what is split into pieces must mean what it meant.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
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
