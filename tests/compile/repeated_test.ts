/**
 * Expressions that views ask for at many places, device-free: the gradient of a sliding window
 * must not compute the window's sum anew for each of its elements, nor one kernel join what takes
 * a driver seconds to compile.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { compileGraph } from "../../compile/compile.ts";
import type { Program } from "../../compile/program.ts";
import * as build from "../../graph/build.ts";
import type { Node } from "../../graph/node.ts";
import { pullback } from "../../graph/vjp.ts";
import { target } from "./target.ts";

function compiled(x: Node<"parameter">, results: readonly Node[]): Program {
  return compileGraph({ name: "test", parameters: [x], results }, { verify: true }, target);
}

const linesOf = ({ dispatches }: Program): number[] =>
  dispatches.map(({ kernel }) => kernel.wgsl.split("\n").length);

for (const taps of [10, 30, 60]) {
  Deno.test(`the gradient of ${taps} shifted windows computes their sum once`, () => {
    const size = 1000;
    const x = build.parameter(0, { shape: [size + taps], dtype: "f32" });
    let y: Node | undefined;
    for (let i = 0; i < taps; i++) {
      const window = build.unary("sin", build.binary("mul", build.slice(x, [i], [size]), i + 0.5));
      y = y === undefined ? window : build.binary("add", y, window);
    }
    const loss = build.reduce("sum", build.binary("mul", y!, y!), [0]);
    const program = compiled(x, pullback([loss], [x], [build.fill(1, [1])]));
    const lines = linesOf(program);
    // It was one dispatch for each window, all of them with the sines of all windows.
    assert(lines.length <= 1 + Math.ceil(taps / 20), `${lines.length} dispatches`);
    assert(lines.reduce((a, b) => a + b) <= 100 + 20 * taps, `lines: ${lines}`);
  });
}

Deno.test("a concatenation of many parts is computed by several kernels", () => {
  const x = build.parameter(0, { shape: [16], dtype: "f32" });
  const join = (count: number): Program => {
    const parts = Array.from({ length: count }, (_, i) => build.binary("mul", x, i + 0.5));
    return compiled(x, [build.concatenate(parts, 0)]);
  };
  assertEquals(join(40).dispatches.length, 1);
  const lines = linesOf(join(200));
  assert(lines.length > 1 && Math.max(...lines) < 1000, `lines: ${lines}`);
});
