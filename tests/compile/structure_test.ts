/**
 * What graphs compile to, without a device: how many dispatches, how many distinct shaders, how long
 * their loops are, and how long compiling takes.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { compileGraph, type CompileOptions } from "../../compile/compile.ts";
import type { Program, Target } from "../../compile/program.ts";
import * as build from "../../graph/build.ts";
import type { DType } from "../../graph/dtype.ts";
import type { Node } from "../../graph/node.ts";
import type { Kernel } from "../../kernels/kernel.ts";
import { target } from "./target.ts";

const kinds = ["software", "integrated", "discrete"] as const;

/** A graph under construction. */
class Sketch {
  readonly parameters: Node<"parameter">[] = [];

  input(shape: readonly number[], dtype: DType = "f32"): Node {
    const p = build.parameter(this.parameters.length, { shape, dtype });
    this.parameters.push(p);
    return p;
  }

  compile(
    results: readonly Node[],
    options: CompileOptions = {},
    part: Partial<Target> = {},
  ): Program {
    const graph = { name: "test", parameters: this.parameters, results };
    return compileGraph(graph, options, { ...target, ...part });
  }
}

const across = (x: Node, shape: readonly number[]): Node => build.broadcastTo(x, shape);

function softmax(x: Node, axes: readonly number[]): Node {
  const e = build.unary(
    "exp",
    build.binary("sub", x, across(build.reduce("reduceMax", x, axes), x.shape)),
  );
  return build.binary("div", e, across(build.reduce("sum", e, axes), x.shape));
}

function layerNorm(x: Node, axes: readonly number[]): Node {
  const n = axes.reduce((n, axis) => n * x.shape[axis]!, 1);
  const mean = (y: Node): Node => build.binary("div", build.reduce("sum", y, axes), n);
  const centered = build.binary("sub", x, across(mean(x), x.shape));
  const variance = mean(build.binary("mul", centered, centered));
  const deviation = build.unary("sqrt", build.binary("add", variance, 1e-5));
  return build.binary("div", centered, across(deviation, x.shape));
}

/** x·w + b with a rectifier. */
function dense(x: Node, w: Node, b: Node): Node {
  return build.binary("max", build.binary("add", build.dot(x, w), b), 0);
}

const texts = ({ dispatches }: Program): number =>
  new Set(dispatches.map((d) => d.kernel.wgsl)).size;

Deno.test("softmax and layer norm are one dispatch each, along any axis", () => {
  for (const kind of kinds) {
    for (const shape of [[4096, 1024], [64, 10], [33, 77], [5, 16384]]) {
      for (const axis of [0, 1]) {
        for (const f of [softmax, layerNorm]) {
          if (shape[axis]! > 4096 && shape[1 - axis]! < 256) continue;
          const s = new Sketch(), x = s.input(shape);
          const { dispatches } = s.compile([f(x, [axis])], {}, { kind });
          assertEquals(dispatches.length, 1, `${f.name} of [${shape}] over ${axis}, ${kind}`);
        }
      }
    }
  }
});

Deno.test("layer norm with scale and shift is one dispatch", () => {
  const s = new Sketch();
  const [x, scale, shift] = [s.input([64, 512]), s.input([512]), s.input([512])];
  const y = build.binary("add", build.binary("mul", layerNorm(x!, [1]), scale!), shift!);
  assertEquals(s.compile([y]).dispatches.length, 1);
});

Deno.test("a product with bias and rectifier is one dispatch", () => {
  for (const kind of kinds) {
    for (const [m, k, n] of [[128, 784, 512], [8, 2048, 2048], [500, 333, 777]] as const) {
      const s = new Sketch();
      const y = dense(s.input([1, m, k]), s.input([1, k, n]), s.input([n]));
      assertEquals(s.compile([y], {}, { kind }).dispatches.length, 1, `${m}×${k}×${n} ${kind}`);
    }
  }
});

Deno.test("transposed operands of a product cost no copy", () => {
  const s = new Sketch();
  const t = (x: Node): Node => build.permute(x, [0, 2, 1]);
  const y = build.dot(t(s.input([1, 300, 200])), t(s.input([1, 100, 300])));
  assertEquals(s.compile([y]).dispatches.length, 1);
});

Deno.test("parts that begin at multiples of four are put together as vectors", () => {
  const single = (sizes: readonly number[]): boolean => {
    const sketch = new Sketch();
    const parts = sizes.map((size) => sketch.input([64, 2, size]));
    const whole = build.concatenate(parts, 2);
    const [first, ...rest] = parts.map((x, i) => {
      const before = sizes.slice(0, i).reduce((a, b) => a + b, 0);
      const after = whole.shape[2]! - before - sizes[i]!;
      return build.pad(build.unary("exp", x), [0, 0, before], [0, 0, after], 0);
    });
    const sum = rest.reduce((a, b) => build.binary("add", a, b), first!);
    const { dispatches } = sketch.compile([build.binary("mul", whole, 2), sum]);
    return dispatches.some(({ kernel }) => kernel.wgsl.includes("array<f32>"));
  };
  assert(!single([32, 64, 32]));
  assert(single([32, 62, 34]));
});

Deno.test("13 element-wise operations are one dispatch", () => {
  const s = new Sketch(), x = s.input([2048, 2048]);
  let y = x;
  for (let i = 0; i < 13; i++) y = build.binary(i % 2 ? "mul" : "add", y, i % 3 ? x : 0.5 + i);
  assertEquals(s.compile([y]).dispatches.length, 1);
});

Deno.test("element-wise results of one shape share a dispatch", () => {
  const s = new Sketch(), x = s.input([1000]), y = s.input([1000]);
  const sum = build.binary("add", x, y);
  const { dispatches } = s.compile([sum, build.unary("exp", sum), build.binary("mul", sum, x)]);
  assertEquals(dispatches.length, 1);
});

Deno.test("updates of many parameters are a few dispatches", () => {
  const s = new Sketch(), results: Node[] = [];
  const shapes = [[784, 512], [512], [512, 512], [512], [512, 10], [10]];
  for (const shape of shapes) {
    const [p, g, m, v] = Array.from({ length: 4 }, () => s.input(shape)) as [
      Node,
      Node,
      Node,
      Node,
    ];
    const m1 = build.binary("add", build.binary("mul", m, 0.9), build.binary("mul", g, 0.1));
    const v1 = build.binary(
      "add",
      build.binary("mul", v, 0.999),
      build.binary("mul", build.binary("mul", g, g), 0.001),
    );
    const step = build.binary("div", m1, build.binary("add", build.unary("sqrt", v1), 1e-8));
    results.push(build.binary("sub", p, build.binary("mul", step, 0.001)), m1, v1);
  }
  const donate = s.parameters.map((_, i) => i).filter((i) => i % 4 !== 1);
  const program = s.compile(results, { donate });
  assert(program.dispatches.length <= shapes.length, `${program.dispatches.length} dispatches`);
  assertEquals(program.memory.results, 0);
});

Deno.test("equal layers compile once, however many there are", () => {
  const stack = (layers: number): Program => {
    const s = new Sketch();
    let h = s.input([1, 32, 64]);
    for (let i = 0; i < layers; i++) {
      h = build.binary("add", h, dense(h, s.input([1, 64, 64]), s.input([64])));
      h = layerNorm(h, [2]);
    }
    return s.compile([h]);
  };
  const two = stack(2), twelve = stack(12);
  assertEquals(twelve.dispatches.length, 6 * two.dispatches.length);
  assertEquals(texts(twelve), texts(two));
});

Deno.test("kernels that differ in sizes alone share a text", () => {
  const s = new Sketch();
  const results = [16, 24, 40, 100].map((n) => softmax(s.input([n, 8 * n]), [1]));
  assert(texts(s.compile(results)) < 4);
});

/** Runs f and returns how long it took. */
function seconds(f: () => void): number {
  const start = performance.now();
  f();
  return (performance.now() - start) / 1000;
}

Deno.test("a chain of 3000 operations compiles in under 2 s to few texts", () => {
  const s = new Sketch(), x = s.input([4096]);
  let y = x;
  for (let i = 0; i < 3000; i++) y = build.binary(i % 2 ? "mul" : "add", y, i % 3 ? 1.0001 : x);
  let program: Program | undefined;
  const took = seconds(() => program = s.compile([y]));
  assert(took < 2, `${took} s`);
  assert(program!.dispatches.length <= 12, `${program!.dispatches.length} dispatches`);
  assert(texts(program!) <= 12);
});

Deno.test("a chain that uses every value twice compiles as fast", () => {
  const s = new Sketch();
  let y = s.input([4096]);
  for (let i = 0; i < 3000; i++) y = build.binary("sub", build.binary("mul", y, y), y);
  const took = seconds(() => s.compile([y]));
  assert(took < 4, `${took} s`);
});

Deno.test("a chain of 100 000 operations compiles", () => {
  const s = new Sketch();
  let y = s.input([64]);
  for (let i = 0; i < 100_000; i++) y = build.unary(i % 2 ? "sin" : "exp", y);
  let program: Program | undefined;
  const took = seconds(() => program = s.compile([y]));
  console.log(`${took.toFixed(1)} s`);
  assert(program!.dispatches.length <= 400, `${program!.dispatches.length} dispatches`);
  assert(took < 30, `${took} s`);
});

Deno.test("a thousand independent reductions and products compile", () => {
  const s = new Sketch(), results: Node[] = [];
  const x = s.input([1, 16, 16]);
  for (let i = 0; i < 500; i++) {
    const y = build.dot(build.binary("add", x, i), x);
    results.push(build.reduce("sum", y, [2]));
  }
  const took = seconds(() => s.compile(results));
  console.log(`${took.toFixed(1)} s`);
  assert(took < 10, `${took} s`);
});

/** Steps of all loops that one invocation goes through at most, each loop's body counted by depth. */
function steps({ wgsl, uniforms }: Kernel): number {
  const sizeOf = (text: string): number =>
    text.startsWith("size") ? uniforms![Number(text.slice(4)) + 1]! : Number(text);
  const loop = /^for \(var \w+ = ([^;]+); \w+ < (\w+); \w+(?:\+\+| \+= (\w+))\) \{$/;
  let total = 0;
  const times = [1];
  for (const line of wgsl.split("\n")) {
    const match = line.match(loop);
    if (match !== null) {
      const start = /^\d+$/.test(match[1]!) ? Number(match[1]) : 0;
      const count = Math.ceil((sizeOf(match[2]!) - start) / sizeOf(match[3] ?? "1"));
      const all = times.at(-1)! * count;
      assert(Number.isFinite(all), line);
      total += all;
      times.push(all);
      continue;
    }
    assert(!line.startsWith("for"), `a loop the test does not understand: ${line}`);
    const closed = line.split("}").length - 1;
    for (let i = 1; i < line.split("{").length; i++) times.push(times.at(-1)!);
    for (let i = 0; i < closed; i++) times.pop();
  }
  return total;
}

Deno.test("no invocation of any kernel goes through more than 65 535 steps", () => {
  const cases: Record<string, (s: Sketch) => Node> = {
    "a million in a row": (s) => build.reduce("sum", s.input([1, 1e6]), [1]),
    "a million rows of one": (s) => build.reduce("sum", s.input([1e6, 1]), [0]),
    "60000×10 over 0": (s) => build.reduce("sum", s.input([60000, 10]), [0]),
    "60000×10 over 1": (s) => build.reduce("sum", s.input([60000, 10]), [1]),
    "16384×1024 over 0": (s) => build.reduce("reduceMax", s.input([16384, 1024]), [0]),
    "20000×1024 over 0": (s) => build.reduce("sum", s.input([20000, 1024]), [0]),
    "three axes": (s) => build.reduce("sum", s.input([100, 100, 300]), [0, 1, 2]),
    "softmax over 0": (s) => softmax(s.input([16384, 256]), [0]),
    "many phases over 0": (s) =>
      layerNorm(softmax(layerNorm(s.input([16384, 256]), [0]), [0]), [0]),
    "many phases over 1": (s) =>
      layerNorm(softmax(layerNorm(softmax(s.input([300, 16384]), [1]), [1]), [1]), [1]),
    "deep product of few": (s) => build.dot(s.input([1, 3, 200000]), s.input([1, 200000, 9])),
    "deep product of many": (s) => build.dot(s.input([1, 91, 200000]), s.input([1, 200000, 91])),
    "deep product of a row": (s) => build.dot(s.input([1, 1, 8000]), s.input([1, 8000, 4000])),
    "scatter of 100k": (s) =>
      build.scatterAdd(s.input([100000, 8]), s.input([100000], "i32"), 1000),
    "scatter of numbers": (s) => build.scatterAdd(s.input([65536]), s.input([65536], "u32"), 7),
  };
  for (const [name, make] of Object.entries(cases)) {
    for (const kind of kinds) {
      for (const shuffle of [true, false]) {
        const s = new Sketch();
        for (const { kernel } of s.compile([make(s)], {}, { kind, shuffle }).dispatches) {
          assert(steps(kernel) <= 65535, `${name}: ${steps(kernel)} steps in ${kernel.label}`);
        }
      }
    }
  }
});

Deno.test("no grid is longer than the device allows", () => {
  const cases: Record<string, (s: Sketch) => Node> = {
    "many small products": (s) => build.dot(s.input([70000, 2, 2]), s.input([70000, 2, 2])),
    "a tall product": (s) => build.dot(s.input([1, 2e6, 4]), s.input([1, 4, 4])),
    "a wide product": (s) => build.dot(s.input([1, 4, 4]), s.input([1, 4, 3e6])),
    "a long line": (s) => build.unary("exp", s.input([33_000_000])),
    "many rows": (s) => build.reduce("sum", s.input([3_000_000, 10]), [1]),
    "a large scatter": (s) => build.scatterAdd(s.input([10, 3]), s.input([10], "i32"), 5_000_000),
  };
  for (const [name, make] of Object.entries(cases)) {
    for (const kind of kinds) {
      for (const maxWorkgroups of [65535, 1000]) {
        const s = new Sketch();
        for (const { kernel } of s.compile([make(s)], {}, { kind, maxWorkgroups }).dispatches) {
          const longest = Math.max(...kernel.workgroups);
          if (maxWorkgroups ** 2 < kernel.workgroups.reduce((a, b) => a * b)) continue;
          assert(longest <= maxWorkgroups, `${name}: ${kernel.workgroups} in ${kernel.label}`);
        }
      }
    }
  }
});

Deno.test("what the device can't do is an error that says so", () => {
  const big = new Sketch();
  const x = big.input([40_000_000]);
  const message = (f: () => void): string => {
    try {
      f();
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };
  assert(message(() => big.compile([build.unary("exp", x)])).includes("160000000 bytes"));
  const half = new Sketch();
  const y = build.unary("exp", half.input([4], "f16"));
  assert(message(() => half.compile([y], {}, { f16: false })).includes("f16"));
});

Deno.test("every stage of a compile can be printed", () => {
  const s = new Sketch();
  const y = softmax(dense(s.input([1, 8, 16]), s.input([1, 16, 4]), s.input([4])), [2]);
  const program = s.compile([y]);
  for (const stage of ["graph", "regions", "wgsl", "memory"] as const) {
    assert(program.print(stage).length > 40, stage);
  }
  assert(program.print("wgsl").includes("@compute"));
  assert(program.print("memory").includes(`peak ${program.memory.peak} B`));
});

/** x + 0.1 · gradient, and the gradient's mean: an optimizer in short. */
function update(p: Node, m: Node, gradient: Node): readonly [Node, Node] {
  const m1 = build.binary("add", build.binary("mul", m, 0.9), gradient);
  return [build.binary("sub", p, build.binary("mul", m1, 0.1)), m1];
}

Deno.test("what is written over what it is computed from is one binding, not two", () => {
  const s = new Sketch();
  const x = s.input([1, 64, 32]), y = s.input([1, 32, 48]);
  const states = [0, 1].map(() => [s.input([1, 64, 48]), s.input([1, 64, 48])] as const);
  const gradient = build.dot(x, y);
  const results = states.flatMap(([p, m]) => update(p, m, gradient));
  // Read by another region too, which then has to run first.
  const other = build.reduce("sum", states[0]![0], [2]);
  const donate = [2, 3, 4, 5];
  const inPlace = s.compile([...results, other], { donate }, { maxBindings: 6 });
  assertEquals(inPlace.dispatches.map(({ slots }) => slots.length), [2, 6]);
  const beside = s.compile([...results, other], {}, { maxBindings: 6 });
  assert(beside.dispatches.length > 2);
});

Deno.test("of an activation and its slope only the input is kept", () => {
  const s = new Sketch(), shape = [1, 512, 64];
  const x = s.input(shape), w = s.input([1, 64, 64]), v = s.input([1, 64, 64]);
  const z = build.dot(x, w), turned = (a: Node): Node => build.permute(a, [0, 2, 1]);
  const t = build.unary("tanh", build.binary("mul", z, build.binary("mul", z, z)));
  const y = build.dot(build.binary("mul", z, build.binary("add", t, 1)), v);
  const slope = build.binary("sub", 1, build.binary("mul", t, t));
  const back = build.binary("mul", build.dot(y, turned(v)), build.binary("add", slope, z));
  const { dispatches } = s.compile([build.dot(turned(x), back)]);
  // z and what it becomes, which the next product reads; neither tanh nor slope.
  assertEquals(dispatches[0]!.slots.length, 4);
  assertEquals(dispatches.length, 4);
});

Deno.test("rows are looked up once for all who read them, with what is added to them", () => {
  const s = new Sketch(), table = s.input([96, 32]), places = s.input([1, 32]);
  const x = build.binary(
    "add",
    build.gather(table, s.input([64], "i32")),
    across(places, [64, 32]),
  );
  const y = build.binary("mul", layerNorm(x, [1]), across(s.input([1, 32]), [64, 32]));
  const z = build.dot(build.reshape(y, [1, 64, 32]), s.input([1, 32, 32]));
  const { dispatches } = s.compile([build.binary("add", x, build.reshape(z, [64, 32]))]);
  assertEquals(dispatches.length, 2);
  const lookups = dispatches.filter(({ avals }) => avals.some(({ shape }) => shape[0] === 96));
  assertEquals(lookups.length, 1);
});

Deno.test("a residual stream is written where its last addend is made", () => {
  const s = new Sketch(), h = s.input([1, 64, 32]);
  let x = h;
  for (let i = 0; i < 3; i++) {
    const branch = build.binary("add", build.dot(softmax(x, [2]), s.input([1, 32, 32])), 1);
    x = build.binary("add", x, branch);
  }
  const { dispatches } = s.compile([softmax(x, [2])]);
  // Each but the first over what it was before.
  assertEquals(dispatches.map(({ slots }) => slots.length), [2, 4, 2, 3, 2, 3, 2]);
});

Deno.test("sums of rows that are ready together are one dispatch, and no others are kept for it", () => {
  const s = new Sketch(), sums: Node[] = [];
  let x = s.input([1, 256, 64]);
  for (let i = 0; i < 4; i++) {
    sums.push(build.reduce("sum", x, [1]));
    x = build.unary("tanh", build.dot(x, s.input([1, 64, 64])));
  }
  const { dispatches, memory } = s.compile(sums);
  assertEquals(dispatches.filter(({ kernel }) => kernel.label.startsWith("columns")).length, 2);
  assert(memory.workspace <= 2 * 4 * 256 * 64, `${memory.workspace} bytes`);
});
