/**
 * What reverse mode promises beyond the right numbers: which values it keeps, where it flows and
 * where not, what happens at kinks and edges, and that depth does not matter.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as b from "../../graph/build.ts";
import { pushforward } from "../../graph/jvp.ts";
import { is, type Node } from "../../graph/node.ts";
import { expression, printGraph } from "../../graph/print.ts";
import { simplify } from "../../graph/simplify.ts";
import { verify } from "../../graph/verify.ts";
import { pullback } from "../../graph/vjp.ts";
import { batch } from "../../graph/vmap.ts";
import { topological } from "../../graph/walk.ts";
import { evaluate } from "../oracle.ts";

const f32 = (shape: readonly number[]): Node => b.parameter(0, { shape, dtype: "f32" });

/** Gradient of the sum of f at the values. */
function gradient(f: (x: Node) => Node, values: number[]): number[] {
  const x = f32([values.length]), y = f(x);
  const [g] = pullback([y], [x], [b.fill(1, y.shape, y.dtype)]);
  return [...evaluate([g!], new Map([[x, values]]))[0]!.data];
}

Deno.test("pullback() of relu needs only the output, and is 0 at 0 and at NaN", () => {
  const x = f32([3]), y = b.binary("max", x, 0);
  const [g] = pullback([y], [x], [b.fill(1, [3])]);
  const below = topological([g!], (node) => node === y ? [] : node.inputs);
  assert(!below.includes(x), "the input is kept for the way back");
  assertEquals(gradient((x) => b.binary("max", x, 0), [-1, 0, 2, NaN]), [0, 0, 1, 0]);
  assertEquals(gradient((x) => b.binary("min", x, 0), [-1, 0, 2]), [1, 0, 0]);
});

for (const op of ["exp", "tanh", "sqrt"] as const) {
  Deno.test(`pullback() of ${op} needs only the output`, () => {
    const x = f32([3]), y = b.unary(op, x);
    const [g] = pullback([y], [x], [b.fill(1, [3])]);
    assert(!topological([g!], (node) => node === y ? [] : node.inputs).includes(x));
  });
}

Deno.test("pullback() shares the gradient of ties equally", () => {
  const x = f32([2]), y = b.parameter(1, { shape: [2], dtype: "f32" });
  const z = b.binary("max", x, y);
  const pulled = pullback([z], [x, y], [b.fill(1, [2])]);
  const [gx, gy] = evaluate(pulled, new Map([[x, [1, 5]], [y, [1, 6]]]));
  assertEquals([[...gx!.data], [...gy!.data]], [[0.5, 0], [0.5, 1]]);
  assertEquals(gradient((x) => b.reduce("reduceMax", x, [0]), [3, 1, 3]), [0.5, 0, 0.5]);
  assertEquals(gradient((x) => b.reduce("reduceMin", x, [0]), [1, 1, 1, 1]), [
    0.25,
    0.25,
    0.25,
    0.25,
  ]);
});

Deno.test("an extremum that is NaN has no slope, forwards and backwards", () => {
  for (const op of ["reduceMax", "reduceMin"] as const) {
    const x = b.parameter(0, { shape: [3], dtype: "f32" });
    const t = b.parameter(1, { shape: [3], dtype: "f32" });
    const y = b.reduce(op, x, [0]);
    const results = [pullback([y], [x], [b.fill(1, [1])])[0]!, pushforward([y], [x], [t])[0]!];
    const values = evaluate(results, new Map([[x, [1, NaN, 2]], [t, [1, 1, 1]]]));
    assertEquals(values.map(({ data }) => [...data]), [[0, 0, 0], [0]]);
  }
});

Deno.test("products and scatters of f16 in f32 have derivatives and batches of their dtypes", () => {
  const of = (shape: number[], index: number): Node<"parameter"> =>
    b.parameter(index, { shape, dtype: "f16" });
  const x = of([1, 2, 3], 0), w = of([1, 3, 2], 1), u = of([2], 2);
  const rows = b.iota([2], 0);
  const results = [b.dot(x, w, "f32"), b.scatterAdd(u, rows, 3, "f32")];
  assertEquals(results.map(({ dtype }) => dtype), ["f32", "f32"]);
  const sources = [x, w, u];
  const pulled = pullback(results, sources, results.map((y) => b.fill(1, y.shape)));
  const pushed = pushforward(results, sources, sources);
  const batched = batch(results, sources, [
    { node: of([4, 1, 2, 3], 0), batched: true },
    { node: w, batched: false },
    { node: of([4, 2], 2), batched: true },
  ], 4).map(({ node }) => node);
  verify([...results, ...pulled, ...pushed, ...batched]);
  assertEquals(pulled.map(({ dtype }) => dtype), ["f16", "f16", "f16"]);
  assertEquals([...pushed, ...batched].map(({ dtype }) => dtype), ["f32", "f32", "f32", "f32"]);
  const feed = new Map([[x, [1, 2, 3, 4, 5, 6]], [w, [1, 0, 0, 1, 1, 1]], [u, [7, 8]]]);
  const values = evaluate([...results, ...pushed, ...pulled], feed).map(({ data }) => [...data]);
  assertEquals(values, [
    [4, 5, 10, 11],
    [7, 8, 0],
    [8, 10, 20, 22],
    [7, 8, 0],
    [1, 1, 2, 1, 1, 2],
    [5, 5, 7, 7, 9, 9],
    [1, 1],
  ]);
});

Deno.test("pullback() counts more ties than f16 could", () => {
  const n = 4099;
  const x = b.parameter(0, { shape: [n], dtype: "f16" });
  const y = b.reduce("reduceMax", x, [0]);
  const [g] = pullback([y], [x], [b.fill(1, [1], "f16")]);
  const [value] = evaluate([g!], new Map([[x, new Float32Array(n)]]), { round: true });
  assertEquals(value!.data[7], Math.f16round(1 / n));
});

Deno.test("pullback() of pow is right at the edges", () => {
  const at = (p: number, x: number): number => gradient((n) => b.binary("pow", n, p), [x])[0]!;
  assertEquals(at(0, 0), 0);
  assertEquals(at(1, 0), 1);
  assertEquals(at(2, 0), 0);
  assertEquals(at(2, -3), -6);
  assertEquals(at(3, -2), 12);
  assertEquals(at(0.5, 0), Infinity);
  assertEquals(at(-1, 2), -0.25);
  // The exponent as data, and the exponent's own derivative.
  const x = f32([5]), p = b.parameter(1, { shape: [5], dtype: "f32" });
  const y = b.binary("pow", x, p);
  const pulled = pullback([y], [x, p], [b.fill(1, [5])]);
  const feed = new Map([[x, [0, 0, 0, -2, 2]], [p, [0, 1, 2, 3, 3]]]);
  const [dx, dp] = evaluate(pulled, feed);
  assertEquals([...dx!.data], [0, 1, 0, 12, 12]);
  assertEquals([...dp!.data], [0, 0, 0, NaN, 8 * Math.log(2)]);
});

Deno.test("the slope of x^p by x moves with p where p is 0", () => {
  const x = f32([3]), p = b.parameter(1, { shape: [3], dtype: "f32" });
  const ones = b.fill(1, [3]);
  const [slope] = pullback([b.binary("pow", x, p)], [x], [ones]);
  const [mixed] = evaluate(
    pullback([slope!], [p], [ones]),
    new Map([[x, [4, 0.5, 2]], [p, [0, 0, 1]]]),
  );
  assertEquals([...mixed!.data], [0.25, 2, 1 + Math.log(2)]);
});

Deno.test("the slope of x^0 by x is 0 where 1/x is more than the dtype holds", () => {
  for (
    const [dtype, small, next] of [["f16", 2 ** -16, 2 ** -15], ["f32", 1e-40, 1e-38]] as const
  ) {
    const [x, p] = [0, 1].map((i) => b.parameter(i, { shape: [4], dtype })) as [Node, Node];
    const pulled = pullback([b.binary("pow", x, p)], [x], [b.fill(1, [4], dtype)]);
    const feed = new Map([[x, [small, -small, next, small]], [p, [0, 0, 0, 1]]]);
    const [slope] = evaluate(pulled, feed, { round: true });
    assertEquals([...slope!.data].map(Math.abs), [0, 0, 0, 1], dtype);
  }
});

Deno.test("pullback() of prod is right where elements are 0", () => {
  const prod = (x: Node): Node => b.reduce("prod", x, [0]);
  assertEquals(gradient(prod, [2, 0, 3, 5]), [0, 30, 0, 0]);
  assertEquals(gradient(prod, [2, 0, 0, 5]), [0, 0, 0, 0]);
  assertEquals(gradient(prod, [2, 3, 5]), [15, 10, 6]);
  assertEquals(gradient(prod, [4]), [1]);
});

Deno.test("pullback() gives zeros to what has no derivative", () => {
  for (const op of ["floor", "ceil", "round", "sign", "stop"] as const) {
    assertEquals(gradient((x) => b.unary(op, x), [0.5, -1, 2]), [0, 0, 0], op);
  }
  assertEquals(gradient((x) => b.cast(b.cast(x, "i32"), "f32"), [0.5]), [0]);
  assertEquals(gradient((x) => b.cast(b.binary("less", x, 1), "f32"), [0.5]), [0]);
  assertEquals(gradient((x) => b.unary("abs", x), [-2, 0, 3]), [-1, 0, 1]);
});

Deno.test("pullback() does not walk below its sources, nor beside them", () => {
  const x = f32([3]);
  const source = b.unary("exp", x), y = b.binary("mul", source, x);
  const [g] = pullback([y], [source], [b.fill(1, [3])]);
  assertEquals(simplify([g!])[0], x);
  const other = f32([2]);
  const [zero] = pullback([y], [other], [b.fill(1, [3])]);
  assert(is(zero!, "fill") && zero.attributes.value === 0);
});

Deno.test("pullback() of a source that is a result is its cotangent", () => {
  const x = f32([3]), g = b.parameter(1, { shape: [3], dtype: "f32" });
  assertEquals(pullback([x], [x], [g]), [g]);
  const [twice] = pullback([x, x], [x], [g, g]);
  assertEquals(twice, b.binary("add", g, g));
});

Deno.test("pullback() makes no cotangents for operands that do not lead to a source", () => {
  const x = b.parameter(0, { shape: [1, 64, 100], dtype: "f32" });
  const w = b.parameter(1, { shape: [1, 100, 10], dtype: "f32" });
  const [g] = pullback([b.dot(x, w)], [w], [b.fill(1, [1, 64, 10])]);
  assertEquals(topological([g!]).filter((node) => is(node, "dot")).length, 1);
});

Deno.test("pullback() flows through casts between floats, in each one's dtype", () => {
  const x = f32([3]), y = b.cast(b.unary("sin", b.cast(x, "f16")), "f32");
  const [g] = pullback([y], [x], [b.fill(1, [3])]);
  assertEquals(g!.dtype, "f32");
  verify([g!]);
});

Deno.test("pullback() adds in an order that depends on structure alone", () => {
  const build = (): string => {
    const x = f32([3]);
    const y = b.binary("add", b.binary("mul", b.unary("sin", x), b.unary("exp", x)), x);
    const [g] = pullback([y], [x], [b.fill(1, [3])]);
    return printGraph({ name: "f", parameters: [x as Node<"parameter">], results: [g!] });
  };
  const first = build();
  // Nodes of the second graph that exist before have smaller ids than in the first.
  const x = f32([3]);
  const kept = [b.unary("exp", x), b.unary("cos", x)];
  assertEquals(build(), first);
  assertEquals(kept.length, 2);
});

Deno.test("pullback() rejects a cotangent that does not fit", () => {
  const x = f32([3]);
  const y = b.unary("exp", x);
  assertThrows(() => pullback([y], [x], [b.fill(1, [4])]), TypeError, "f32[4], expected f32[3]");
  assertThrows(() => pullback([y], [x], [b.fill(1, [3], "f16")]), TypeError, "f16[3]");
  assertThrows(() => pushforward([y], [x], [b.fill(1, [4])]), TypeError, "f32[4]");
});

Deno.test("a call with a rule is differentiated by the rule, in both modes", () => {
  const p = f32([3]);
  const graph = { name: "f", parameters: [p as Node<"parameter">], results: [b.unary("floor", p)] };
  const rule = {
    name: "f",
    pull: (_: unknown, __: unknown, [g]: Node[]) => [b.binary("mul", g!, 3)],
  };
  const x = f32([3]);
  const [y] = b.call(graph, [x], rule);
  const t = b.parameter(1, { shape: [3], dtype: "f32" });
  const [g] = pullback([y!], [x], [t]), [pushed] = pushforward([y!], [x], [t]);
  const feed = new Map([[x, [1.5, 2, 3]], [t, [1, 10, 100]]]);
  const [value, a, c] = evaluate(simplify([y!, g!, pushed!]), feed);
  assertEquals([...value!.data], [1, 2, 3]);
  assertEquals([...a!.data], [3, 30, 300]);
  assertEquals([...c!.data], [3, 30, 300]);
});

Deno.test("batch() reads NaN outside of each example's rows, not from its neighbour", () => {
  const x = f32([2]), i = b.parameter(1, { shape: [3], dtype: "i32" });
  const xs = f32([2, 2]), is = b.parameter(1, { shape: [2, 3], dtype: "i32" });
  const operands = [{ node: xs, batched: true }, { node: is, batched: true }];
  const [all] = batch([b.gather(x, i)], [x, i], operands, 2);
  const feed = new Map([[xs, [1, 2, 3, 4]], [is, [0, 2, -1, -2, 1, 0]]]);
  assertEquals([...evaluate([all!.node], feed)[0]!.data], [1, NaN, NaN, NaN, 4, 3]);
});

Deno.test("batch() folds a batch of vectors against one matrix into one product", () => {
  const x = b.parameter(0, { shape: [1, 1, 4], dtype: "f32" });
  const w = b.parameter(1, { shape: [1, 4, 5], dtype: "f32" });
  const xs = b.parameter(0, { shape: [7, 1, 1, 4], dtype: "f32" });
  const [y] = batch([b.dot(x, w)], [x], [{ node: xs, batched: true }], 7);
  const products = topological(simplify([y!.node])).filter((node) => is(node, "dot"));
  assertEquals(products.map((node) => node.shape), [[1, 7, 5]]);
});

Deno.test("a chain of 100 000 nodes is differentiated, simplified, printed and verified", () => {
  const x = b.parameter(0, { shape: [2], dtype: "f32" });
  let y: Node = x;
  for (let i = 0; i < 100_000; i++) y = b.unary(i % 2 === 0 ? "sin" : "tanh", y);
  const start = performance.now();
  const [g] = pullback([y], [x], [b.fill(1, [2])]);
  const [t] = pushforward([y], [x], [b.fill(1, [2])]);
  const roots = simplify([y, g!, t!]);
  verify(roots, [x]);
  assert(printGraph({ name: "f", parameters: [x], results: roots }).length > 1e6);
  assert(expression(roots[1]!).length < 1000);
  const [wide] = batch([y], [x], [{ node: b.fill(1, [3, 2]), batched: true }], 3);
  assertEquals(wide!.node.shape, [3, 2]);
  assert(performance.now() - start < 60_000);
});
