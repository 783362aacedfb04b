/**
 * What is composed of primitives, on the device: every case and its gradients against the oracle,
 * inverse functions on hostile values, long rows sorted.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import * as b from "../../graph/build.ts";
import { isFloat } from "../../graph/dtype.ts";
import * as angles from "../../graph/functions/angles.ts";
import { cumulative } from "../../graph/functions/cumulative.ts";
import { argsort } from "../../graph/functions/ordering.ts";
import type { Node } from "../../graph/node.ts";
import { pullback } from "../../graph/vjp.ts";
import { assertOracle, constantOf, firstWrong, randomOf, run } from "../gpu.ts";
import { anywhere, drawn } from "../graph/cases.ts";
import { compositions } from "../graph/compositions.ts";

Deno.test("compositions and their gradients agree with the oracle on every case", async () => {
  const uniform = randomOf(1);
  const nodes: Node[] = [], names = new Map<Node, string>();
  for (const [name, cases] of Object.entries(compositions)) {
    for (const { operands, build } of cases) {
      const leaves = operands.map((operand) =>
        constantOf(drawn(operand, uniform), operand.shape, operand.dtype)
      );
      const y = build(...leaves);
      const floats = leaves.filter((leaf) => isFloat(leaf.dtype));
      const seed = constantOf(drawn({ shape: y.shape, draw: anywhere }, uniform), y.shape);
      const all = [y, ...(isFloat(y.dtype) ? pullback([y], floats, [seed]) : [])];
      for (const node of all) names.set(node, name);
      nodes.push(...all);
    }
  }
  await assertOracle(
    nodes,
    (node) => isFloat(node.dtype) ? { ulp: 256, absolute: 2e-4 } : { ulp: 0 },
    (node) => names.get(node)!,
  );
});

// Without subnormal numbers, which WGSL lets devices flush to 0.
const hostile = [
  ...[0, -0, 1, -1, 0.5, -0.5, 0.999, 1e-3, -1e-6, 1e-20, 2, -3.7, 10, 100.5, -1e4, 1e10],
  ...[1e30, -3e38, Infinity, -Infinity, NaN],
];

Deno.test("inverse functions are right on hostile values", async () => {
  const unary: readonly (readonly [(x: Node) => Node, (x: number) => number, number])[] = [
    [angles.asin, Math.asin, 8],
    [angles.acos, Math.acos, 8],
    [angles.atan, Math.atan, 4],
    [angles.asinh, Math.asinh, 16],
    [angles.acosh, Math.acosh, 16],
    [angles.atanh, Math.atanh, 16],
    [angles.log2, Math.log2, 4],
    [angles.log10, Math.log10, 8],
    [angles.exp2, (x) => 2 ** x, 64],
    [angles.trunc, Math.trunc, 0],
  ];
  const x = constantOf(hostile, [hostile.length]);
  const at = hostile.map(Math.fround);
  const got = await run(unary.map(([f]) => f(x)));
  unary.forEach(([f, reference, ulp], i) => {
    const wrong = firstWrong(got[i]!, at.map(reference), "f32", { ulp, absolute: 2 ** -126 });
    assertEquals(wrong, undefined, f.name);
  });
});

Deno.test("atan2(), hypot() and remainder() are right on all pairs of hostile values", async () => {
  const pairs = hostile.flatMap((a) =>
    hostile.map((c) => [Math.fround(a), Math.fround(c)] as const)
  );
  const [p, q] = [0, 1].map((i) => constantOf(pairs.map((pair) => pair[i]!), [pairs.length]));
  const [angle, length] = await run([angles.atan2(p!, q!), angles.hypot(p!, q!)]);
  assertEquals(
    firstWrong(angle!, pairs.map(([y, x]) => Math.atan2(y, x)), "f32", { ulp: 4, absolute: 1e-37 }),
    undefined,
  );
  assertEquals(
    firstWrong(length!, pairs.map(([y, x]) => Math.hypot(y, x)), "f32", {
      ulp: 4,
      absolute: 1e-37,
    }),
    undefined,
  );
  const signs = [[5, 3], [-5, 3], [5, -3], [-5, -3], [-6, 3], [1.5, Infinity], [-1.5, Infinity]];
  const [c, d] = [0, 1].map((i) => constantOf(signs.map((pair) => pair[i]!), [signs.length]));
  const [rest] = await run([angles.remainder(c!, d!)]);
  assertEquals([...rest!].map((v) => v + 0), signs.map(([a, m]) => a! % m! + 0));
});

Deno.test("exp2() and log2() are exact for whole numbers and powers of two", async () => {
  const whole = Array.from({ length: 254 }, (_, i) => i - 126);
  const x = constantOf(whole, [whole.length]);
  const [powers, back] = await run([angles.exp2(x), angles.log2(angles.exp2(x))]);
  assertEquals([...powers!], whole.map((n) => 2 ** n));
  assertEquals([...back!], whole);
});

Deno.test("long rows are sorted on the device as anywhere, stably", async () => {
  const n = 3000, uniform = randomOf(2);
  const list = Array.from({ length: 2 * n }, () => Math.floor(uniform() * 400) / 4 - 50);
  list[17] = NaN;
  list[n + 5] = -Infinity;
  const [got] = await run([argsort(constantOf(list, [2, n]), 1, false)]);
  const order = (row: readonly number[]): number[] =>
    row.map((_, i) => i).sort((i, j) => {
      const [a, c] = [row[i]!, row[j]!];
      if (Number.isNaN(a) || Number.isNaN(c)) return Number.isNaN(a) ? 1 : -1;
      return a - c || i - j;
    });
  assertEquals([...got!], [list.slice(0, n), list.slice(n)].flatMap(order));
});

Deno.test("a long running sum has the same bits in every place that asks for it", async () => {
  const n = 40_000, uniform = randomOf(3);
  const list = Array.from({ length: n }, () => Math.fround(uniform() - 0.5));
  const x = constantOf(list, [n]), plain = { exclusive: false, reverse: false };
  const sums = cumulative("cumsum", x, 0, plain);
  const [alone, fused] = await run([sums, b.binary("mul", sums, 2)]);
  let total = 0;
  const expected = list.map((v) => total += v);
  assertEquals(firstWrong(alone!, expected, "f32", { ulp: 0, absolute: 1e-4 }), undefined);
  assertEquals([...fused!], [...alone!].map((v) => 2 * v));
});
