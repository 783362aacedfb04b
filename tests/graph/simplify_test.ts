/**
 * Simplification on random graphs and rule by rule: values stay what they were, and with every
 * operation rounded to f32 the bits do too.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import "../seed.ts";
import * as b from "../../graph/build.ts";
import type { DType } from "../../graph/dtype.ts";
import { is, type Node } from "../../graph/node.ts";
import { expression } from "../../graph/print.ts";
import { sizeOf } from "../../graph/shape.ts";
import { rules, simplify } from "../../graph/simplify.ts";
import { verify } from "../../graph/verify.ts";
import { topological } from "../../graph/walk.ts";
import { evaluate } from "../oracle.ts";
import { cases, drawn, graphOf, random } from "./cases.ts";

const seed = 7151;
console.log(`simplify_test: seed ${seed}`);

const x = b.parameter(0, { shape: [2, 3], dtype: "f32" });
const y = b.parameter(1, { shape: [2, 3], dtype: "f32" });
const n = b.parameter(2, { shape: [2, 3], dtype: "i32" });
const t = b.parameter(3, { shape: [2, 3], dtype: "bool" });
const h = b.parameter(4, { shape: [2, 3], dtype: "f16" });
const u = b.parameter(5, { shape: [2, 3], dtype: "u32" });

/** Equal as numbers; NaN is NaN. Zero's sign may go, as documented of x + 0. */
function same(a: Float64Array, c: Float64Array): boolean {
  return a.length === c.length &&
    a.every((value, i) => value === c[i] || (Number.isNaN(value) && Number.isNaN(c[i]!)));
}

/** Rule by rule: what goes in and what must come out. */
const table: readonly (readonly [string, Node, Node])[] = [
  ["mark", b.mark(x), x],
  ["stop", b.unary("stop", x), x],
  ["x + 0", b.binary("add", x, 0), x],
  ["0 + x", b.binary("add", 0, x), x],
  ["x - 0", b.binary("sub", x, 0), x],
  ["x * 1", b.binary("mul", 1, x), x],
  ["x / 1", b.binary("div", x, 1), x],
  ["x * -1", b.binary("mul", x, -1), b.unary("neg", x)],
  ["x / 8", b.binary("div", x, 8), b.binary("mul", x, 0.125)],
  ["n * 0", b.binary("mul", n, 0), b.fill(0, [2, 3], "i32")],
  ["--x", b.unary("neg", b.unary("neg", x)), x],
  ["!!t", b.unary("not", b.unary("not", t)), t],
  ["x + -y", b.binary("add", x, b.unary("neg", y)), b.binary("sub", x, y)],
  ["-x + y", b.binary("add", b.unary("neg", x), y), b.binary("sub", y, x)],
  ["x - -y", b.binary("sub", x, b.unary("neg", y)), b.binary("add", x, y)],
  ["-x * -y", b.binary("mul", b.unary("neg", x), b.unary("neg", y)), b.binary("mul", x, y)],
  ["abs(-x)", b.unary("abs", b.unary("neg", x)), b.unary("abs", x)],
  ["abs(-u)", b.unary("abs", b.unary("neg", u)), b.unary("abs", b.unary("neg", u))],
  ["x ** 2", b.binary("pow", x, 2), b.binary("mul", x, x)],
  ["x ** 0.5", b.binary("pow", x, 0.5), b.unary("sqrt", x)],
  ["x ** 1", b.binary("pow", x, 1), x],
  ["t & true", b.binary("and", t, b.fill(1, [], "bool")), t],
  ["t | true", b.binary("or", t, b.fill(1, [], "bool")), b.fill(1, [2, 3], "bool")],
  ["f16 → f32 → f16", b.cast(b.cast(h, "f32"), "f16"), h],
  ["bool → f32 → bool", b.cast(b.cast(t, "f32"), "bool"), t],
  ["where(true)", b.where(b.fill(1, [], "bool"), x, y), x],
  ["where(c, x, x)", b.where(t, x, x), x],
  ["where(!c, x, y)", b.where(b.unary("not", t), x, y), b.where(t, y, x)],
  ["transpose twice", b.permute(b.permute(x, [1, 0]), [1, 0]), x],
  ["flip twice", b.flip(b.flip(x, [0]), [0]), x],
  [
    "permute of ones",
    b.permute(b.reshape(x, [1, 2, 3]), [1, 0, 2]),
    b.reshape(x, [2, 1, 3]),
  ],
  [
    "slice of slice",
    b.slice(b.slice(b.iota([100], 0, "f32"), [10], [40], [2]), [3], [5], [4]),
    b.slice(b.iota([100], 0, "f32"), [16], [5], [8]),
  ],
  ["slice inside pad", b.slice(b.pad(x, [1, 1], [1, 1]), [1, 1], [2, 3]), x],
  ["slice of padding", b.slice(b.pad(x, [2, 0], [0, 0], 7), [0, 0], [2, 3]), b.fill(7, [2, 3])],
  ["slice of a part", b.slice(b.concatenate([x, y], 0), [2, 0], [2, 3]), y],
  [
    "slice of broadcast",
    b.slice(b.broadcastTo(b.reshape(x, [2, 1, 3]), [2, 5, 3]), [0, 2, 0], [2, 2, 3]),
    b.broadcastTo(b.reshape(x, [2, 1, 3]), [2, 2, 3]),
  ],
  ["pad of pad", b.pad(b.pad(x, [1, 0], [0, 1]), [0, 2], [1, 0]), b.pad(x, [1, 2], [1, 1])],
  ["sum of one", b.reduce("sum", b.reshape(x, [2, 1, 3]), [1]), b.reshape(x, [2, 1, 3])],
  ["sum of ones", b.reduce("sum", b.fill(1, [2, 3]), [0, 1]), b.fill(6, [1, 1])],
  ["sum of none", b.reduce("sum", b.fill(1, [0, 3]), [0]), b.fill(0, [1, 3])],
  ["prod of none", b.reduce("prod", b.fill(5, [0, 3]), [0]), b.fill(1, [1, 3])],
  ["max of none", b.reduce("reduceMax", b.fill(5, [0]), [0]), b.fill(-Infinity, [1])],
  [
    "max of max",
    b.reduce("reduceMax", b.reduce("reduceMax", x, [0]), [1]),
    b.reduce("reduceMax", x, [0, 1]),
  ],
  ["dot over nothing", b.dot(b.fill(1, [2, 3, 0]), b.fill(1, [2, 0, 4])), b.fill(0, [2, 3, 4])],
  ["2 + 3", b.binary("add", b.fill(2, [3]), 3), b.fill(5, [3])],
  ["cast of positions", b.cast(b.iota([9], 0), "f32"), b.iota([9], 0, "f32")],
  [
    "u32 → i32 of a constant keeps the bits",
    b.apply("cast", [b.fill(4294967295, [], "u32")], {}, { shape: [], dtype: "i32" }),
    b.fill(-1, [], "i32"),
  ],
];

for (const [name, before, after] of table) {
  Deno.test(`simplify() rewrites ${name}`, () => {
    const [result] = simplify([before]);
    assert(result === after, `${expression(result!)} instead of ${expression(after)}`);
  });
}

Deno.test("simplify() leaves alone what NaN, infinity or rounding forbid", () => {
  const kept = [
    b.binary("mul", x, 0),
    b.binary("sub", x, x),
    b.binary("div", x, x),
    b.binary("div", x, 3),
    b.unary("barrier", x),
    b.binary("sub", b.binary("add", x, y), y),
    b.reduce("sum", b.reduce("sum", x, [0]), [1]),
    b.reduce("sum", b.broadcastTo(b.reshape(x, [2, 3, 1]), [2, 3, 4]), [2]),
    b.reduce("sum", b.fill(0.1, [10]), [0]),
    b.cast(b.cast(x, "f16"), "f32"),
    b.cast(b.cast(n, "f32"), "i32"),
    b.binary("add", b.binary("add", x, 1), 2),
  ];
  for (const node of kept) assert(simplify([node])[0] === node, expression(node));
});

Deno.test("simplify() has one line of reason for every rule and rules for known primitives", () => {
  for (const { name, why } of rules) {
    assert(name !== "" && why !== "" && !why.includes("\n"), name);
  }
});

Deno.test("simplify() keeps the bits of every primitive's cases", () => {
  for (const [op, list] of Object.entries(cases)) {
    list.forEach((example, i) => {
      const { parameters, results } = graphOf(example, op);
      const uniform = random(seed + i);
      const feed = new Map<Node, number[]>(
        parameters.map((p, k) => [p, drawn(example.operands[k]!, uniform).map(Math.fround)]),
      );
      const simple = simplify(results);
      verify(simple, parameters);
      // Powers by products are more exact than pow, so only nearly equal to it.
      const round = op !== "pow";
      const [before] = evaluate(results, feed, { round });
      const [after] = evaluate(simple, feed, { round });
      const close = op === "pow"
        ? before!.data.every((v, k) => Math.abs(v - after!.data[k]!) <= 1e-12 * (1 + Math.abs(v)))
        : same(before!.data, after!.data);
      assert(close, `${op} case ${i}: ${before!.data} became ${after!.data}`);
    });
  }
});

/** A random graph: each step applies something to nodes made before. */
const steps = fc.array(
  fc.record({
    op: fc.nat(24),
    a: fc.nat(1000),
    c: fc.nat(1000),
    k: fc.nat(1000),
  }),
  { minLength: 1, maxLength: 40 },
);
const specials = [0, -0, 1, -1, 0.5, 2, 3, -7.25, 1e30, NaN, Infinity, -Infinity];

interface Step {
  readonly op: number;
  readonly a: number;
  readonly c: number;
  readonly k: number;
}

function grow(list: readonly Step[], inputs: readonly Node[]): Node[] {
  const nodes: Node[] = [...inputs, b.fill(1, [2, 3]), b.fill(0), b.iota([3], 0, "f32")];
  const isEqualSize = (p: Node, q: Node): boolean => {
    try {
      b.binary("add", p, q);
      return true;
    } catch {
      return false;
    }
  };
  for (const { op, a, c, k } of list) {
    const p = nodes[a % nodes.length]!, q = nodes[c % nodes.length]!;
    const rank = p.shape.length, axis = rank === 0 ? 0 : k % rank;
    const one = (i: number, other: number): number[] => p.shape.map((_, j) => j === i ? other : 0);
    const binaries = ["add", "sub", "mul", "div", "max", "min"] as const;
    const unaries = ["neg", "abs", "sign", "floor", "sqrt", "stop", "mark", "barrier"] as const;
    const constants = b.fill(specials[k % specials.length]!, p.shape);
    const make: readonly (() => Node)[] = [
      () => isEqualSize(p, q) ? b.binary(binaries[k % 6]!, p, q) : p,
      () => isEqualSize(p, q) ? b.binary(binaries[(k + 1) % 6]!, q, p) : q,
      () => b.binary(binaries[k % 6]!, p, constants),
      () => b.binary(binaries[k % 6]!, constants, p),
      () => b.unary(unaries[k % 8] === "mark" ? "stop" : unaries[k % 8] as b.Unary, p),
      () => b.mark(p),
      () => b.permute(p, p.shape.map((_, i) => (i + k) % rank)),
      () => b.permute(p, p.shape.map((_, i) => rank - 1 - i)),
      () => rank > 0 ? b.flip(p, [axis]) : p,
      () => rank > 0 ? b.pad(p, one(axis, 1), one(axis, k % 2), specials[k % 7]!) : p,
      () =>
        rank > 0 && p.shape[axis]! > 1
          ? b.slice(p, one(axis, 1), p.shape.map((n, i) => i === axis ? n - 1 : n))
          : p,
      () =>
        rank > 0 && p.shape[axis]! > 2
          ? b.slice(
            p,
            one(axis, k % 2),
            p.shape.map((n, i) => i === axis ? Math.floor((n - (k % 2) + 1) / 2) : n),
            p.shape.map((_, i) => i === axis ? 2 : 1),
          )
          : p,
      () => b.reshape(p, [...p.shape, 1]),
      () => b.reshape(p, [sizeOf(p.shape)]),
      () => rank > 0 && rank < 4 ? b.broadcastTo(p, [2, ...p.shape]) : p,
      () => rank > 0 ? b.reduce("sum", p, [axis]) : p,
      () => rank > 0 ? b.reduce("reduceMax", p, p.shape.map((_, i) => i)) : p,
      () => rank > 0 ? b.concatenate([p, constants], axis) : p,
      () => rank > 0 ? b.concatenate([p, p, p], axis) : p,
      () => isEqualSize(p, q) ? b.where(b.binary("less", p, q), p, q) : p,
      () => b.where(b.binary("equal", p, constants), constants, p),
      () => b.cast(b.cast(p, "i32"), "f32"),
      () => b.cast(b.binary("lessEqual", p, constants), "f32"),
      () => isEqualSize(p, q) && sizeOf(p.shape) <= 64 ? b.binary("pow", p, 1) : p,
      () => rank > 0 ? b.gather(p, b.cast(q, "i32")) : p,
    ];
    const made = make[op % make.length]!();
    if (sizeOf(made.shape) <= 512 && made.shape.length <= 5) nodes.push(made);
  }
  return nodes;
}

Deno.test("simplify() keeps the bits of random graphs", () => {
  fc.assert(
    fc.property(steps, fc.array(fc.nat(11), { minLength: 12, maxLength: 12 }), (list, picks) => {
      const nodes = grow(list, [x, y]);
      const roots = [nodes[nodes.length - 1]!, nodes[nodes.length >> 1]!];
      const values = picks.map((i) => Math.fround(specials[i]!));
      const feed = new Map<Node, number[]>([[x, values.slice(0, 6)], [y, values.slice(6)]]);
      const simple = simplify(roots);
      verify(simple, [x, y]);
      const before = evaluate(roots, feed, { round: true });
      const after = evaluate(simple, feed, { round: true });
      before.forEach((value, i) => {
        assertEquals(after[i]!.shape, value.shape);
        assert(sameButZero(value.data, after[i]!.data, roots[i]!), expression(roots[i]!, 8));
      });
      // Nothing is left to do, and nothing is left that a kernel should not see.
      assertEquals(simplify(simple), simple);
      for (const node of topological(simple)) {
        assert(!is(node, "mark") && !is(node, "stop"));
        assert(node.inputs.every((input) => sizeOf(input.shape) > 0), "an empty operand");
      }
    }),
    { seed, numRuns: 2000 },
  );
});

/** x + 0 may keep -0, and 1/-0 is not 1/0: graphs that divide by a zero are compared loosely. */
function sameButZero(a: Float64Array, c: Float64Array, root: Node): boolean {
  if (same(a, c)) return true;
  const divides = topological([root]).some((node) => is(node, "div"));
  return divides && a.every((value, i) =>
    same(a.subarray(i, i + 1), c.subarray(i, i + 1)) ||
    Math.abs(value) === Math.abs(c[i]!) || !Number.isFinite(value)
  );
}

Deno.test("simplify() folds as the oracle computes, for every dtype", () => {
  const dtypes: readonly DType[] = ["f32", "f16", "i32", "u32"];
  const ops = ["add", "sub", "mul", "max", "min", "mod", "less", "equal"] as const;
  fc.assert(
    fc.property(
      fc.constantFrom(...dtypes),
      fc.constantFrom(...ops),
      fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 }),
      fc.integer({ min: -9, max: 2 ** 32 - 1 }),
      (dtype, op, p, q) => {
        const node = b.apply(op, [b.fill(p, [2], dtype), b.fill(q, [2], dtype)], {});
        const [before] = evaluate([node], new Map(), { round: true });
        const [after] = evaluate(simplify([node]), new Map(), { round: true });
        assert(same(before!.data, after!.data), `${dtype} ${op} ${p} ${q}`);
      },
    ),
    { seed, numRuns: 1000 },
  );
});
