/** The verifier finds broken nodes, and graphs print the same wherever they are made. */
import { assertEquals, assertThrows } from "@std/assert";
import * as b from "../../graph/build.ts";
import { infer } from "../../graph/infer.ts";
import { makeNode, type Node } from "../../graph/node.ts";
import type { Primitive } from "../../graph/primitive.ts";
import { expression, printGraph } from "../../graph/print.ts";
import { Storage } from "../../graph/storage.ts";
import { verify } from "../../graph/verify.ts";
import { cases, graphOf } from "./cases.ts";

const x = b.parameter(0, { shape: [2, 3], dtype: "f32" });
const i = b.parameter(1, { shape: [2], dtype: "i32" });

Deno.test("verify() accepts every primitive's cases", () => {
  for (const [op, list] of Object.entries(cases)) {
    for (const example of list) {
      const { parameters, results } = graphOf(example, op);
      verify(results, parameters);
    }
  }
});

const broken: readonly (readonly [string, Node, string])[] = [
  ["a wrong shape", makeNode("exp", [x], [3, 2], "f32", {}), "is f32[3,2], expected f32[2,3]"],
  ["a wrong dtype", makeNode("exp", [x], [2, 3], "f16", {}), "is f16[2,3], expected f32[2,3]"],
  ["operands that differ", makeNode("add", [x, i], [2, 3], "f32", {}), "dtypes are f32 and i32"],
  ["a missing operand", makeNode("add", [x], [2, 3], "f32", {}), "has 1 inputs, expected 2"],
  ["a bad domain", makeNode("sqrt", [i], [2], "i32", {}), "operand is i32, expected a float"],
  [
    "a window outside",
    makeNode("slice", [x], [2, 3], "f32", { start: [1, 0], step: [1, 1] }),
    "expected a window inside [2,3]",
  ],
  ["a fractional size", makeNode("fill", [], [1.5], "f32", { value: 1 }), "has a size of 1.5"],
  [
    "a younger input",
    { ...b.unary("neg", x), id: 0 } as Node,
    "uses parameter",
  ],
  [
    "a lie about tracing",
    { ...b.unary("neg", x), traced: false } as Node,
    "traced is false, expected true",
  ],
  [
    "a call used as a value",
    b.apply(
      "reshape",
      [
        b.call({ name: "f", parameters: [], results: [b.fill(1)] }, [])[0]!.inputs[0]!,
      ],
      {},
      { shape: [1], dtype: "f32" },
    ),
    "expected one of its results by project",
  ],
];

for (const [what, node, message] of broken) {
  Deno.test(`verify() finds ${what}`, () => {
    assertThrows(() => verify([b.mark(node)]), Error, message);
  });
}

Deno.test("verify() finds a parameter of another function, also inside a call", () => {
  const y = b.parameter(0, { shape: [], dtype: "f32" });
  verify([b.unary("neg", y)], [y]);
  assertThrows(() => verify([b.unary("neg", y)], [x]), Error, "of another function");
  const graph = { name: "g", parameters: [], results: [b.unary("neg", y)] };
  assertThrows(() => verify(b.call(graph, []), [x]), Error, "g: parameter");
});

Deno.test("verify() lists many problems and counts the rest", () => {
  const nodes = Array.from({ length: 30 }, (_, k) => makeNode("exp", [x], [k], "f32", {}));
  assertThrows(() => verify(nodes), Error, "30 problems");
  assertThrows(() => verify(nodes), Error, "and 10 more");
});

Deno.test("printGraph() numbers by place and shows types, inputs and attributes", () => {
  const y = b.reduce("sum", b.unary("exp", x), [1]);
  assertEquals(
    printGraph({ name: "f", parameters: [x], results: [y] }),
    [
      "f(%0: f32[2,3])",
      "  %1 = exp f32[2,3] %0",
      "  %2 = sum f32[2,1] %1 axes=[1]",
      "  return %2",
    ].join("\n"),
  );
});

Deno.test("printGraph() prints the bodies of calls once", () => {
  const p = b.parameter(0, { shape: [], dtype: "f32" });
  const graph = { name: "inner", parameters: [p], results: [b.unary("sin", p)] };
  const [y] = b.call(graph, [b.fill(2)]);
  const [z] = b.call(graph, [y!]);
  const text = printGraph({ name: "outer", parameters: [], results: [z!] });
  assertEquals(text.split("\n").filter((line) => line.startsWith("inner(")).length, 1);
});

Deno.test("expression() names parameters, data and constants, and stops at its depth", () => {
  const w = b.leaf(new Storage("f32", 3, { at: "host", data: new Float32Array(3) }), [3]);
  const y = b.unary("tanh", b.binary("add", b.binary("mul", x, w), 0.1));
  assertEquals(expression(y), "tanh(add(mul(arg0, f32[3]), 0.1))");
  assertEquals(expression(y, 2), "tanh(add(…, 0.1))");
  assertEquals(expression(b.mark(b.cast(i, "f32"))), "f32(arg1)");
});

Deno.test("infer explains what is wrong with operands, for every kind of mistake", () => {
  const v = b.parameter(0, { shape: [4], dtype: "f32" });
  const t = b.parameter(0, { shape: [2, 3], dtype: "bool" });
  const wrong: readonly (readonly [() => unknown, string])[] = [
    [() => b.binary("add", x, v), "Cannot add: shapes are [2,3] and [4], expected shapes that"],
    [() => b.unary("sqrt", i), "Cannot sqrt: operand is i32, expected a float"],
    [() => b.unary("not", x), "Cannot not: operand is f32, expected bool or an integer"],
    [() => b.binary("floorDiv", x, 2), "expected an integer"],
    [() => b.where(x, x, x), "Cannot where: the condition is f32, expected bool"],
    [() => b.reshape(x, [4]), "Cannot reshape: [2,3] to [4], expected a shape of 6 elements"],
    [() => b.permute(x, [0, 0]), "Cannot permute: order is [0,0] for shape [2,3]"],
    [() => b.broadcastTo(x, [3, 3]), "Cannot broadcast: [2,3] to [3,3]"],
    [() => b.broadcastTo(x, [3]), "expected a shape of at least the same rank"],
    [() => b.slice(x, [0, 2], [2, 2]), "expected a window inside [2,3]"],
    [() => b.pad(x, [1], [1]), "Cannot pad: widths are [1] and [1], expected 2"],
    [() => b.pad(x, [-1, 0], [0, 0]), "non-negative"],
    [() => b.flip(x, [2]), "Cannot flip: axes are [2], expected axes of [2,3]"],
    [() => b.concatenate([x, v], 0), "Cannot concatenate: f32[2,3] and f32[4] along axis 0"],
    [() => b.concatenate([], 0), "Cannot concatenate: no tensors"],
    [() => b.reduce("sum", x, [2]), "Cannot sum: axis is 2, expected an axis of [2,3]"],
    [() => b.reduce("sum", t, [0]), "Cannot sum: operand is bool"],
    [() => b.dot(x, x), "Cannot matmul: shapes are [2,3] and [2,3]"],
    [() => b.gather(x, x), "Cannot gather: the index is f32, expected an integer"],
    [() => b.gather(b.fill(1), i), "the operand is a scalar"],
    [() => b.scatterAdd(x, x, 3), "Cannot scatterAdd: the index is f32"],
    [() => b.scatterAdd(v, i, 3), "expected updates that begin with the index's shape"],
    [() => b.bitcast(x, "f16"), "Cannot bitcast: f32 to f16, expected numbers of equal width"],
    [() => b.iota([3], 1), "Cannot iota: axis is 1"],
    [() => b.fill(1, [-1]), "Cannot fill: shape is [-1], expected non-negative integers"],
    [() => b.binary("add", i, b.fill(1, [2], "u32")), "dtypes are i32 and u32"],
    [() => b.call({ name: "f", parameters: [x], results: [x] }, [v]), "Cannot call f: f32[4]"],
  ];
  for (const [make, message] of wrong) assertThrows(make, Error, message);
});

Deno.test("infer has a row that gives each case's own shape and dtype", () => {
  for (const [op, list] of Object.entries(cases)) {
    for (const example of list) {
      for (const result of graphOf(example, op).results) {
        const rule = infer[result.op] as (...args: unknown[]) => Node;
        const { shape, dtype } = rule(result.inputs, result.attributes, result);
        assertEquals([shape, dtype], [result.shape, result.dtype], op as Primitive);
      }
    }
  }
});
