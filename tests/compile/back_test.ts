/**
 * The way back as it is compiled, device-free: how often steps run again, counted in the script that
 * is played; what is alive; and that neither programs nor memory grow with the length.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { published } from "../../bench/memory/revolve.ts";
import { online, reverse, revolve } from "../../checkpoint/strategy.ts";
import { compileGraph } from "../../compile/compile.ts";
import type { Program } from "../../compile/program.ts";
import { played } from "../../compile/script.ts";
import { parameter } from "../../graph/build.ts";
import { collectChecks } from "../../graph/check.ts";
import { type Backward, scan } from "../../graph/scan.ts";
import { Tensor } from "../../graph/tensor.ts";
import { valueAndGrad } from "../../graph/transforms.ts";
import { target } from "./target.ts";

/** Value and gradient of a chain of sines, one kernel a step, over `size` numbers. */
function chain(length: number, backward: Backward, size = 8): Program {
  const [x, w] = [0, 1].map((i) => parameter(i, { shape: [size], dtype: "f32" }));
  const loss = (x: Tensor, w: Tensor): Tensor =>
    scan((c: Tensor): [Tensor, null] => [c.mul(w).sin(), null], x, null, { length, backward })[0]
      .sum();
  const { value: [value, [dx, dw]], checks } = collectChecks(() =>
    valueAndGrad(loss, { argnums: [0, 1] })(new Tensor(x!), new Tensor(w!))
  );
  const results = [...[value, dx, dw].map((y) => y.node), ...checks.map(({ flag }) => flag)];
  return compileGraph({ name: "chain", parameters: [x!, w!], results }, { verify: true }, target);
}

/** How often a program runs each of its kernels, by text. */
function runsOf(program: Program): Map<string, number> {
  const runs = new Map<string, number>();
  for (const i of played(program.script)) {
    const { wgsl } = program.dispatches[i]!.kernel;
    runs.set(wgsl, (runs.get(wgsl) ?? 0) + 1);
  }
  return runs;
}

/** How often the kernel of the step, the one with a sine and no cosine, runs. */
function stepsOf(program: Program): number {
  let count = 0;
  for (const [wgsl, runs] of runsOf(program)) {
    if (wgsl.includes("sin(") && !wgsl.includes("cos(")) count += runs;
  }
  return count;
}

Deno.test("revolve() runs as many steps again as the table says", () => {
  for (const [length, snapshots, advances] of published) {
    // The table counts the first run up to the last step; the value needs that one, too.
    const program = chain(length, revolve({ snapshots }));
    assertEquals(stepsOf(program), advances + 1, `${length} steps, ${snapshots} snapshots`);
  }
});

Deno.test("every strategy pulls with the same kernel, once a step", () => {
  const strategies: readonly Backward[] = [
    "store",
    revolve({ snapshots: 1 }),
    revolve({ snapshots: 4 }),
    online({ snapshots: 3 }),
    revolve({ snapshots: 2, segment: 5 }),
  ];
  const pulls = strategies.map((backward) => {
    const runs = runsOf(chain(23, backward));
    return [...runs].filter(([wgsl]) => wgsl.includes("cos("));
  });
  for (const pull of pulls) {
    assertEquals(pull, pulls[0]);
    assertEquals(pull.map(([, runs]) => runs), [23]);
  }
});

Deno.test("a way back holds its snapshots, the working state, and no more", () => {
  const size = 4096, state = 4 * size;
  for (const snapshots of [1, 2, 5]) {
    for (const length of [20, 1000]) {
      const { slots } = chain(length, revolve({ snapshots }), size);
      const workspace = slots.filter(({ role, bytes }) =>
        role.is === "workspace" && bytes >= state
      );
      // The first snapshot is the argument itself; the last carry waits for its sum.
      assert(
        workspace.length <= snapshots - 1 + 1 + 1,
        `${workspace.length} states for ${snapshots} snapshots of ${length} steps`,
      );
    }
  }
});

Deno.test("programs and memory do not grow with the length, nor does compiling", () => {
  const inverse = (c: Tensor): Tensor => c;
  const strategies: readonly Backward[] = [
    revolve({ snapshots: 3 }),
    reverse({ inverse }),
    revolve({ snapshots: 3, segment: 8, leaf: reverse({ inverse }) }),
    revolve({ snapshots: 3, segment: 8 }),
  ];
  for (const backward of strategies) {
    const [short, long] = [1000, 200_000].map((length) => {
      const start = performance.now();
      const program = chain(length, backward);
      return { program, time: performance.now() - start };
    });
    assertEquals(long!.program.dispatches.length, short!.program.dispatches.length);
    assertEquals(long!.program.memory, short!.program.memory);
    assert(long!.time < 1000, `compiling 200 000 steps took ${long!.time} ms`);
  }
});
