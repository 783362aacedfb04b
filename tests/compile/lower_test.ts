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

Deno.test("a product of which the transpose is wanted is computed transposed, with the same bits", async () => {
  const [batch, m, n, k] = [6, 5, 12, 40];
  const uneven = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * i));
  const a = constantOf(uneven(batch * m * k), [batch, m, k]);
  const b = constantOf(uneven(batch * k * n).reverse(), [batch, k, n]);
  const product = build.dot(a, b), { values: [plain] } = await runWith([product]);
  const heads = build.reshape(product, [2, 3, m, 1, n]);
  const order = [0, 4, 1, 3, 2];
  const { values: [turned], program } = await runWith([
    build.binary("add", build.permute(heads, order), 0.5),
  ]);
  assertEquals(program.dispatches.length, 2);
  const wanted = new Float32Array(turned!.length);
  let i = 0;
  for (let x = 0; x < 2; x++) {
    for (let col = 0; col < n; col++) {
      for (let y = 0; y < 3; y++) {
        for (let row = 0; row < m; row++) {
          wanted[i++] = plain![((x * 3 + y) * m + row) * n + col]! + 0.5;
        }
      }
    }
  }
  assertEquals(turned, wanted);
  // Written in the order in which it is wanted, where nothing else is between.
  const straight = build.permute(build.reshape(product, [2, 3, m, n]), [0, 1, 3, 2]);
  const { program: one } = await runWith([build.binary("add", straight, 0.5)]);
  assertEquals(one.dispatches.length, 1);
});
