/**
 * The way back as it is compiled, device-free: how often steps run again, counted in the script that
 * is played; what is alive; and that neither programs nor memory grow with the length.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { published } from "../../bench/memory/revolve.ts";
import { type Action, invert, pull } from "../../checkpoint/schedule.ts";
import { online, reverse, revolve } from "../../checkpoint/strategy.ts";
import { compileGraph } from "../../compile/compile.ts";
import { conduct, type Repertoire } from "../../compile/conduct.ts";
import type { Program, Target } from "../../compile/program.ts";
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

/** The gradient through pendulums: a step is element-wise, and so is its inverse. */
function pendulums(length: number, backward: Backward, probes?: Target["probes"]): Program {
  const start = parameter(0, { shape: [64], dtype: "f32" });
  type Motion = { x: Tensor; v: Tensor };
  const step = ({ x, v }: Motion): [Motion, null] => {
    const next = v.sub(x.sin().mul(0.125));
    return [{ x: x.add(next.mul(0.125)), v: next }, null];
  };
  const loss = (x: Tensor): Tensor =>
    scan(step, { x, v: x.mul(0) }, null, { length, backward })[0].x.sum();
  const { value: [value, dx], checks } = collectChecks(() => valueAndGrad(loss)(new Tensor(start)));
  const results = [value.node, dx.node, ...checks.map(({ flag }) => flag)];
  const graph = { name: "pendulums", parameters: [start], results };
  return compileGraph(graph, { verify: true }, { ...target, ...(probes && { probes }) });
}

Deno.test("inverse and pull of pendulums are one dispatch, where they were seen to have the same bits", () => {
  const inverse = ({ x, v }: { x: Tensor; v: Tensor }) => {
    const before = x.sub(v.mul(0.125));
    return { x: before, v: v.add(before.sin().mul(0.125)) };
  };
  const runs = (program: Program): number => [...played(program.script)].length;
  for (const exact of [false, "grid"] as const) {
    const leaf = reverse({ inverse, exact });
    for (const backward of [leaf, revolve({ snapshots: 3, segment: 6, leaf })]) {
      const [short, long] = [20, 21].map((length) => {
        const [plain, same, differs, unknown] = [undefined, true, false, null].map((answer) =>
          pendulums(
            length,
            backward,
            answer === undefined ? answer : { same: () => answer ?? undefined },
          )
        );
        // One less in each step, and there is no counter of pulls to begin with.
        assertEquals(runs(plain!) - runs(same!), length + 1);
        assert(same!.memory.peak <= plain!.memory.peak);
        assertEquals(same!.probes, []);
        for (const apart of [differs!, unknown!]) {
          assertEquals(runs(apart), runs(plain!));
          assertEquals(apart.memory, plain!.memory);
          assertEquals(apart.probes.length, 1);
        }
        assertEquals(plain!.probes, []);
        assert(same!.print("regions").includes("one program: 1 dispatch in place of 2"));
        assert(differs!.print("regions").includes("other bits on this device"));
        assert(unknown!.print("regions").includes("once it was tried, where there is room to"));
        return same!;
      });
      // Forward a step, back a step, and nothing besides.
      if (backward === leaf) assertEquals(runs(long!) - runs(short!), 2);
    }
  }
  // With a tape, the state is put right between the two.
  const taped = pendulums(20, reverse({ inverse, exact: "tape" }), { same: () => true });
  assertEquals(taped.probes, []);
  assert(!taped.print("regions").includes("one program"));
});

Deno.test("who inverts and pulls in one refuses a schedule that does them apart", () => {
  const place: Repertoire = {
    moved: { advance: { part: 0, to: 0 }, undo: { part: 1, to: 0 } },
    saved: [],
    restored: [],
    compared: [],
    ended: undefined,
    begun: undefined,
    recorded: undefined,
    mended: undefined,
    away: [],
  };
  const play = (...actions: Action[]) => [...conduct(actions, 0, [place], { held: [], slots: 1 })];
  assertEquals(play(invert(2, 1), pull(1), invert(1, 0), pull(0)), [1, 1]);
  assertThrows(() => play(pull(1)), Error, "Cannot undo");
  assertThrows(() => play(invert(3, 1), pull(1)), Error, "Cannot undo the steps from 3 to 1");
  assertThrows(() => play(invert(2, 1), pull(0)), Error, "Cannot undo the steps from 2 to 0");
});
