/**
 * Every way in which a kernel can be written, against the plain one, to the bit: with views as
 * operands, with what follows, at odd sizes, and where an output overwrites an input.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import * as build from "../../graph/build.ts";
import type { TypedArray } from "../../graph/dtype.ts";
import type { Graph, Node } from "../../graph/node.ts";
import { sizeOf } from "../../graph/shape.ts";
import { fingerprint, type Tunable, type Tuning } from "../../kernels/tuning.ts";
import {
  constantOf,
  firstDifference,
  gpu,
  randomOf,
  runGraph,
  runWith,
  type TargetPart,
} from "../gpu.ts";

/** Numbers them, and makes a function of them. */
function graphOf(shapes: readonly number[][], f: (...inputs: Node[]) => Node[]): Graph {
  const parameters = shapes.map((shape, i) => build.parameter(i, { shape, dtype: "f32" }));
  return { name: "test", parameters, results: f(...parameters) };
}

const transposed = (x: Node): Node => build.permute(x, [0, 2, 1]);

function softmax(x: Node, axis: number): Node {
  const e = build.unary("exp", build.binary("sub", x, build.reduce("reduceMax", x, [axis])));
  return build.binary("div", e, build.reduce("sum", e, [axis]));
}

/** Graphs, each with the arguments that it may overwrite. */
const cases: Readonly<Record<string, { readonly graph: Graph; readonly donate?: number[] }>> = {
  "a product": { graph: graphOf([[1, 70, 44], [1, 44, 68]], (a, b) => [build.dot(a!, b!)]) },
  "a ragged product": { graph: graphOf([[2, 37, 53], [2, 53, 41]], (a, b) => [build.dot(a!, b!)]) },
  "a product of views, and what follows": {
    graph: graphOf([[1, 36, 68], [1, 72, 36], [72]], (a, b, c) => [
      build.binary("max", build.binary("add", build.dot(transposed(a!), transposed(b!)), c!), 0),
    ]),
  },
  "a gradient that updates its weight": {
    graph: graphOf([[1, 40, 64], [1, 40, 72], [1, 64, 72]], (x, g, w) => [
      build.binary("sub", w!, build.binary("mul", build.dot(transposed(x!), g!), 0.1)),
    ]),
    donate: [2],
  },
  "a vector times a matrix": {
    graph: graphOf([[1, 1, 200], [1, 200, 1024]], (a, b) => [build.dot(a!, b!)]),
  },
  "softmax of rows": { graph: graphOf([[65, 132]], (x) => [softmax(x!, 1)]), donate: [0] },
  "softmax of ragged rows": { graph: graphOf([[33, 131]], (x) => [softmax(x!, 1)]) },
  "a norm of rows that begin anywhere": {
    graph: graphOf([[6, 7, 5, 25], [5, 25]], (x, s) => {
      const mean = (x: Node): Node => build.binary("div", build.reduce("sum", x, [2, 3]), 125);
      const centred = build.binary("sub", x!, mean(x!)),
        square = build.binary("mul", centred, centred);
      const norm = build.binary("mul", build.binary("div", centred, mean(square)), s!);
      return [
        norm,
        mean(x!),
        build.reduce("reduceMax", x!, [2, 3]),
        build.binary("less", x!, norm),
      ];
    }),
    donate: [0],
  },
  "rows whose elements are told by their places": {
    graph: graphOf([[11, 4101]], (x) => {
      const first = (n: number) => build.binary("less", build.iota([11, 4101], 1), n);
      return [
        build.reduce("sum", build.where(first(1), x!, 2), [1]),
        build.reduce("sum", build.where(first(3), x!, 2), [1]),
      ];
    }),
  },
  "columns whose elements are told by their places": {
    graph: graphOf([[300, 37]], (x) => {
      const place = (axis: number) => build.iota([300, 37], axis);
      const part = build.where(build.binary("less", place(1), 3), x!, 2);
      return [build.reduce("sum", build.where(build.binary("less", place(0), 5), part, 1), [0])];
    }),
  },
  "softmax over the first axis": { graph: graphOf([[75, 64]], (x) => [softmax(x!, 0)]) },
  "sums over the first axis": {
    graph: graphOf([[300, 32]], (x) => [
      build.reduce("sum", build.binary("mul", x!, x!), [0]),
    ]),
  },
  "largest and smallest in a ragged frame": {
    graph: graphOf([[77, 61]], (x) => [
      build.reduce("reduceMax", x!, [0]),
      build.reduce("reduceMin", x!, [0]),
    ]),
  },
  "what repeats by rows": {
    graph: graphOf([[17, 1031], [1031], [17, 1]], (x, s, t) => [
      build.binary("add", build.binary("mul", x!, s!), t!),
    ]),
    donate: [0],
  },
  "elements": {
    graph: graphOf([[4099]], (x) => [build.unary("exp", build.binary("mul", x!, x!))]),
    donate: [0],
  },
};

/** Gives one kernel, in order of the compile, another way; notes what could be given. */
class Forced implements Tuning {
  readonly active = true;
  readonly asked: Tunable[] = [];
  used = 0;

  constructor(private readonly force?: (tunable: Tunable) => ReturnType<Tuning["choice"]>) {}

  choice(_key: string, tunable: Tunable): ReturnType<Tuning["choice"]> {
    this.asked.push(tunable);
    const choice = this.force?.(tunable);
    if (choice !== undefined) this.used++;
    return choice;
  }
}

for (const [kind, shuffle] of [["software", true], ["discrete", false]] as const) {
  Deno.test(`all ways of a kernel give the same bits, ${kind}`, async (t) => {
    const { device } = await gpu();
    const part: TargetPart = { kind, shuffle: shuffle && device.target.shuffle };
    for (const [number, [name, { graph, donate = [] }]] of Object.entries(cases).entries()) {
      await t.step(name, async () => {
        const random = randomOf(3);
        const args = graph.parameters.map(({ shape }) =>
          Float32Array.from({ length: sizeOf(shape) }, () => random() - 0.5)
        );
        const run = (tuning: Tuning): Promise<TypedArray[]> =>
          runGraph(graph, args, { donate }, { ...part, tuning }).then(({ values }) => values);
        const plain = new Forced();
        const expected = await run(plain);
        const names = new Set(
          plain.asked.flatMap(({ plain: { ways, way } }) => ways.filter((other) => other !== way)),
        );
        assert(names.size > 0, "no other way");
        // A driver takes long to compile them: neighbouring cases share the ways between them.
        const shared = [...names].filter((_, i) => names.size < 4 || i % 4 === number % 4);
        for (const way of shared) {
          const forced = new Forced(({ plain, write }) =>
            plain.ways.includes(way) ? { way, text: fingerprint(write(way)) } : undefined
          );
          const values = await run(forced);
          assert(forced.used > 0, way);
          values.forEach((value, i) =>
            assertEquals(firstDifference(value, expected[i]!), undefined, way)
          );
        }
      });
    }
  });
}

Deno.test("a way that is written otherwise than when it was measured is not used", async () => {
  const graph = graphOf([[65, 132]], (x) => [softmax(x!, 1)]);
  const labels = async (text: string | undefined): Promise<string> => {
    const way = "alone, 1 by 1";
    const tuning = new Forced(({ write }) => ({ way, text: text ?? fingerprint(write(way)) }));
    const { program } = await runGraph(graph, [new Float32Array(65 * 132)], {}, { tuning });
    return program.dispatches.map(({ kernel }) => kernel.wgsl).join();
  };
  const { program } = await runGraph(graph, [new Float32Array(65 * 132)]);
  const plain = program.dispatches.map(({ kernel }) => kernel.wgsl).join();
  assertEquals(await labels("0123456789abcdef"), plain);
  assert(await labels(undefined) !== plain);
});

Deno.test("what repeats is read at its place by whoever reads it for several", async () => {
  const shapes = [[129, 131], [33, 516], [40, 3, 7, 21], [5, 3331], [6000, 3], [3, 5462]];
  for (const shape of shapes) {
    const ascending = (of: readonly number[], by: number): Node =>
      constantOf(Array.from({ length: sizeOf(of) }, (_, i) => i * by), of);
    const last = shape.length - 1, ones = shape.map(() => 1);
    // Whole numbers, so that every sum is exact: one operand along each axis.
    const operands = shape.map((n, axis) =>
      ascending(ones.map((_, i) => i === axis ? n : 1), 10 ** Math.min(axis, 3))
    );
    const sum = operands.reduce(
      (sum, x) => build.binary("add", sum, x),
      ascending(shape, 1),
    );
    const halves = build.binary("add", build.flip(sum, [last]), sum);
    const { values } = await runWith([sum, halves], {}, { kind: "software" });
    const expected = Float32Array.from({ length: sizeOf(shape) }, (_, p) => {
      let value = p, rest = p;
      for (let axis = last; axis >= 0; axis--) {
        value += rest % shape[axis]! * 10 ** Math.min(axis, 3);
        rest = Math.floor(rest / shape[axis]!);
      }
      return value;
    });
    const n = shape[last]!;
    const turned = expected.map((x, p) => x + expected[p - p % n + n - 1 - p % n]!);
    assertEquals(firstDifference(values[0]!, expected), undefined, `[${shape}]`);
    assertEquals(firstDifference(values[1]!, turned), undefined, `[${shape}], and turned round`);
  }
});
