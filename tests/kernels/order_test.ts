/**
 * The order of sums, to the bit: a function of shapes alone, the same for every way of computing
 * and for every adapter. The references are the order's definition, in f32 by `Math.fround`.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import * as build from "../../graph/build.ts";
import type { TypedArray } from "../../graph/dtype.ts";
import type { Node } from "../../graph/node.ts";
import { type Shape, sizeOf, stridesOf } from "../../graph/shape.ts";
import { constantOf, firstDifference, gpu, randomOf, runWith, type TargetPart } from "../gpu.ts";

const f32 = Math.fround;

/** 32 interleaved partial sums in ascending order, then these from left to right. */
function sumOf(
  row: readonly number[],
  combine = (a: number, b: number) => a + b,
  start = 0,
): number {
  const parts = new Array<number>(Math.min(32, row.length)).fill(start);
  row.forEach((x, c) => parts[c % 32] = f32(combine(parts[c % 32]!, x)));
  return parts.reduce((total, part) => f32(combine(total, part)), start);
}

/** The sum of a row of any length, among `rows` of them: long ones in pieces. */
function longSumOf(row: readonly number[], rows: number): number {
  const longest = rows >= 256 ? 16384 : 4096;
  if (row.length <= longest) return sumOf(row);
  const least = Math.ceil(row.length / longest);
  const counts = Array.from({ length: least }, (_, i) => least + i);
  const even = counts.find((count) => row.length % count === 0);
  const length = even === undefined ? longest : row.length / even;
  const pieces: number[] = [];
  for (let i = 0; i < row.length; i += length) pieces.push(sumOf(row.slice(i, i + length)));
  return longSumOf(pieces, rows);
}

/** The elements that go into each result of a reduction, row by row. */
function rowsOf(values: ArrayLike<number>, shape: Shape, axes: readonly number[]): number[][] {
  const strides = stridesOf(shape);
  const walk = (list: readonly number[]): number[] =>
    list.reduce<number[]>(
      (starts, axis) =>
        starts.flatMap((start) =>
          Array.from({ length: shape[axis]! }, (_, i) => start + i * strides[axis]!)
        ),
      [0],
    );
  const kept = walk(shape.map((_, i) => i).filter((i) => !axes.includes(i))), reduced = walk(axes);
  return kept.map((start) => reduced.map((step) => values[start + step]!));
}

/** Numbers whose sums depend on the order. */
function uneven(size: number, seed = 1): number[] {
  const random = randomOf(seed);
  return Array.from({ length: size }, () => f32((random() - 0.5) * 10 ** (4 * random())));
}

/** The ways of adding rows: software adapters without and with subgroups, and hardware. */
const ways: readonly (readonly [string, TargetPart])[] = [
  ["one by one", { kind: "software", shuffle: false }],
  ["by a subgroup", { kind: "software" }],
  ["by a workgroup", { kind: "discrete" }],
];

async function assertBits(
  nodes: readonly Node[],
  expected: readonly (readonly number[])[],
  part: TargetPart,
  name: string,
): Promise<void> {
  const { values } = await runWith(nodes, {}, part);
  nodes.forEach((node, i) => {
    const wanted = Float32Array.from(expected[i]!);
    const wrong = firstDifference(
      node.dtype === "f16" ? Float32Array.from(values[i]!) : values[i]!,
      wanted,
    );
    assertEquals(wrong, undefined, `${name}: ${node.op} of [${node.inputs[0]!.shape}]`);
  });
}

const lengths = [
  ...Array.from({ length: 20 }, (_, i) => i + 1),
  ...[27, 28, 29, 31, 32, 33, 36, 37, 61, 63, 64, 65, 95, 96, 97, 125, 127, 128, 129, 130],
];

for (const [way, part] of ways) {
  Deno.test(`sums of short rows have one order, ${way}`, async () => {
    const nodes: Node[] = [], expected: number[][] = [];
    lengths.forEach((n, i) => {
      const rows = 1 + i % 7, values = uneven(rows * n, n);
      nodes.push(build.reduce("sum", constantOf(values, [rows, n]), [1]));
      expected.push(rowsOf(values, [rows, n], [1]).map((row) => sumOf(row)));
    });
    await assertBits(nodes, expected, part, way);
  });

  Deno.test(`sums over leading axes have the same order, ${way}`, async () => {
    const nodes: Node[] = [], expected: number[][] = [];
    [1, 2, 3, 5, 7, 31, 32, 33, 34, 64, 65, 97, 130].forEach((n, i) => {
      for (const cols of [4, 1 + i % 7]) {
        const shape = [n, cols], values = uneven(n * cols, n);
        nodes.push(build.reduce("sum", constantOf(values, shape), [0]));
        expected.push(rowsOf(values, shape, [0]).map((row) => sumOf(row)));
      }
    });
    await assertBits(nodes, expected, part, way);
  });

  Deno.test(`sums over any axes run through them row-major, ${way}`, async () => {
    const nodes: Node[] = [], expected: number[][] = [];
    const shapes: readonly (readonly [Shape, readonly number[]])[] = [
      [[3, 37, 5], [1]],
      [[3, 37, 4], [1]],
      [[7, 5, 9], [0, 2]],
      [[9, 3, 8], [0, 2]],
      [[5, 3, 7, 4], [0, 2]],
      [[5, 3, 7, 4], [1, 3]],
      [[6, 7, 11], [0, 1]],
      [[6, 7, 11], [1, 2]],
      [[6, 7, 11], [0, 1, 2]],
      [[1, 40, 1], [1]],
    ];
    for (const [shape, axes] of shapes) {
      const values = uneven(sizeOf(shape));
      nodes.push(build.reduce("sum", constantOf(values, shape), axes));
      expected.push(rowsOf(values, shape, axes).map((row) => sumOf(row)));
    }
    await assertBits(nodes, expected, part, way);
  });

  Deno.test(`long sums are sums of pieces whose length follows from the shape, ${way}`, async () => {
    const nodes: Node[] = [], expected: number[][] = [];
    const shapes: readonly (readonly [Shape, readonly number[]])[] = [
      [[1, 4095], [1]],
      [[2, 4096], [1]],
      [[3, 4097], [1]],
      [[1, 16384], [1]],
      [[1, 1000000], [1]],
      [[1000003], [0]],
      [[5000, 4], [0]],
      [[4100, 3], [0]],
      [[17000, 256], [0]],
      [[12544, 3], [0]],
      [[2, 4099, 3], [1]],
      [[3, 2, 5000], [0, 2]],
    ];
    for (const [shape, axes] of shapes) {
      const values = uneven(sizeOf(shape));
      const rows = rowsOf(values, shape, axes);
      nodes.push(build.reduce("sum", constantOf(values, shape), axes));
      expected.push(rows.map((row) => longSumOf(row, rows.length)));
    }
    await assertBits(nodes, expected, part, way);
  });

  Deno.test(`products of elements and sums of f16 have the order of sums, ${way}`, async () => {
    const values = uneven(3 * 77).map((x) => f32(1 + x / 1e5));
    const halves = uneven(5 * 77).map((x) => Math.f16round(x / 16));
    await assertBits(
      [
        build.reduce("prod", constantOf(values, [3, 77]), [1]),
        build.reduce("sum", constantOf(halves, [5, 77], "f16"), [1]),
      ],
      [
        rowsOf(values, [3, 77], [1]).map((row) => sumOf(row, (a, b) => a * b, 1)),
        rowsOf(halves, [5, 77], [1]).map((row) => Math.f16round(sumOf(row))),
      ],
      part,
      way,
    );
  });

  Deno.test(`what is computed before a sum does not change its order, ${way}`, async () => {
    const values = uneven(6 * 50);
    const x = constantOf(values, [6, 50]);
    const twice = build.binary("mul", x, 2);
    const centered = build.binary("sub", twice, build.reduce("reduceMax", twice, [1]));
    const rows = rowsOf(values, [6, 50], [1]).map((row) => row.map((v) => f32(2 * v)));
    await assertBits(
      [
        build.reduce("sum", centered, [1]),
        build.reduce("sum", build.permute(twice, [1, 0]), [0]),
        build.reduce("sum", build.slice(twice, [0, 3], [6, 40]), [1]),
      ],
      [
        rows.map((row) => sumOf(row.map((v) => f32(v - Math.max(...row))))),
        rows.map((row) => sumOf(row)),
        rows.map((row) => sumOf(row.slice(3, 43))),
      ],
      part,
      way,
    );
  });
}

/** One result of a product: k ascending, rounded after each product and each sum. */
function dotOf(a: readonly number[], b: readonly number[]): number {
  let acc = 0;
  for (let k = 0; k < a.length; k++) acc = f32(f32(a[k]! * b[k]!) + acc);
  return acc;
}

/** Deep products of few results are sums of products of depth 256, or what divides k evenly. */
function deepDotOf(a: readonly number[], b: readonly number[], results: number): number {
  if (results > 8192 || a.length < 1024) return dotOf(a, b);
  const depths = Array.from({ length: 33 }, (_, i) => 256 - 4 * i);
  const depth = depths.find((depth) => a.length % depth === 0) ?? 256;
  const pieces: number[] = [];
  for (let k = 0; k < a.length; k += depth) {
    pieces.push(dotOf(a.slice(k, k + depth), b.slice(k, k + depth)));
  }
  return sumOf(pieces);
}

interface Operands {
  readonly b: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** Held transposed in memory. */
  readonly left?: boolean;
  readonly right?: boolean;
  /** One matrix for the whole batch. */
  readonly shared?: boolean;
}

function productOf(
  { b, m, k, n, left, right, shared }: Operands,
): { node: Node; expected: number[] } {
  const batches = shared ? 1 : b;
  const x = uneven(b * m * k, 3), y = uneven(batches * k * n, 5);
  const a = left ? build.permute(constantOf(x, [b, k, m]), [0, 2, 1]) : constantOf(x, [b, m, k]);
  const c = right
    ? build.permute(constantOf(y, [batches, n, k]), [0, 2, 1])
    : constantOf(y, [batches, k, n]);
  const expected: number[] = [];
  for (let p = 0; p < b; p++) {
    const q = shared ? 0 : p;
    for (let i = 0; i < m; i++) {
      const row = Array.from(
        { length: k },
        (_, l) => left ? x[(p * k + l) * m + i]! : x[(p * m + i) * k + l]!,
      );
      for (let j = 0; j < n; j++) {
        const col = Array.from(
          { length: k },
          (_, l) => right ? y[(q * n + j) * k + l]! : y[(q * k + l) * n + j]!,
        );
        expected.push(deepDotOf(row, col, b * m * n));
      }
    }
  }
  return { node: build.dot(a, build.broadcastTo(c, [b, k, n])), expected };
}

const products: readonly Operands[] = [
  { b: 1, m: 1, k: 1, n: 1 },
  { b: 1, m: 1, k: 37, n: 5 },
  { b: 1, m: 9, k: 37, n: 1 },
  { b: 1, m: 5, k: 1, n: 7 },
  { b: 2, m: 7, k: 13, n: 9 },
  { b: 1, m: 16, k: 32, n: 32 },
  { b: 1, m: 33, k: 30, n: 34 },
  { b: 1, m: 70, k: 18, n: 68 },
  { b: 1, m: 12, k: 20, n: 36, left: true },
  { b: 1, m: 12, k: 20, n: 36, right: true },
  { b: 1, m: 12, k: 20, n: 36, left: true, right: true },
  { b: 2, m: 9, k: 23, n: 11, left: true, right: true },
  { b: 3, m: 6, k: 8, n: 12, shared: true },
  { b: 3, m: 5, k: 7, n: 6, shared: true, right: true },
  { b: 1, m: 3, k: 1024, n: 5 },
  { b: 1, m: 2, k: 1500, n: 8, right: true },
  { b: 1, m: 2, k: 1568, n: 3 },
  { b: 1, m: 1, k: 9, n: 516 },
  { b: 1, m: 1, k: 9, n: 519 },
  { b: 1, m: 1, k: 45, n: 39, right: true },
  { b: 1, m: 1, k: 46, n: 36, right: true },
  { b: 1, m: 1, k: 47, n: 33, right: true },
  { b: 1, m: 1, k: 3, n: 5, right: true },
  { b: 1, m: 1, k: 44, n: 37, right: true },
  { b: 3, m: 1, k: 45, n: 36, right: true },
  { b: 3, m: 1, k: 45, n: 37, right: true },
  { b: 2, m: 3, k: 10, n: 260, left: true },
  { b: 1, m: 7, k: 11, n: 132 },
  { b: 1, m: 20, k: 1, n: 12, left: true },
  { b: 1, m: 20, k: 7, n: 12, left: true },
  { b: 2, m: 68, k: 9, n: 40, left: true },
  { b: 1, m: 36, k: 5, n: 36, left: true, right: true },
  // More of the right operand than stays in a core's cache.
  { b: 1, m: 40, k: 260, n: 516 },
];

for (
  const [way, part] of [
    ["shuffle", { kind: "software", shuffle: true }],
    ["registers", { kind: "software", shuffle: false }],
    ["blocks", { kind: "discrete", shuffle: false }],
  ] as const satisfies readonly (readonly [string, TargetPart])[]
) {
  Deno.test(`products add along k in ascending order, ${way}`, async () => {
    const { device } = await gpu();
    if (way === "shuffle" && !device.target.shuffle) return;
    // Elsewhere fma is one rounding; that all ways agree is tested below.
    if (device.target.kind !== "software") return;
    const made = products.map(productOf);
    const { values, program } = await runWith(made.map(({ node }) => node), {}, part);
    const labels = program.dispatches.map(({ kernel }) => kernel.label);
    assertEquals(labels.some((label) => label.includes(way)), true, `${labels}`);
    made.forEach(({ expected }, i) => {
      const wrong = firstDifference(values[i]!, Float32Array.from(expected));
      assertEquals(wrong, undefined, `${way}: ${JSON.stringify(products[i])}`);
    });
  });
}

Deno.test("all ways of a product agree to the bit, with what follows it, in f32 and f16", async () => {
  const { device } = await gpu();
  const results: TypedArray[][] = [];
  const nodes = (["f32", "f16"] as const).flatMap((dtype) => {
    const a = constantOf(uneven(2 * 19 * 21).map((x) => x / 64), [2, 19, 21], dtype);
    const b = constantOf(uneven(2 * 21 * 26).map((x) => x / 64), [2, 21, 26], dtype);
    const bias = constantOf(uneven(26), [26], dtype);
    const y = build.dot(a, b);
    return [y, build.binary("max", build.binary("add", y, bias), 0)];
  });
  for (
    const part of [
      { kind: "software", shuffle: device.target.shuffle },
      { kind: "software", shuffle: false },
      { kind: "discrete", shuffle: false },
    ] as const satisfies readonly TargetPart[]
  ) {
    results.push((await runWith(nodes, {}, part)).values);
  }
  for (const values of results) {
    values.forEach((v, i) => assertEquals(firstDifference(v, results[0]![i]!), undefined));
  }
});

Deno.test("products side by side have the bits of products alone, with what follows each", async () => {
  const random = randomOf(11),
    values = (shape: Shape) =>
      constantOf(Array.from({ length: sizeOf(shape) }, () => random() - 0.5), shape);
  for (const [batch, m, n, k] of [[1, 1, 5, 7], [3, 17, 12, 30]] as const) {
    const x = values([batch, m, k]), w = values([batch, k, n]), v = values([batch, n, k]);
    const products = [
      build.unary("tanh", build.dot(x, w)),
      build.dot(x, build.permute(v, [0, 2, 1])),
      build.binary("add", build.dot(x, values([batch, k, n])), values([batch, m, n])),
    ];
    for (const kind of ["software", "discrete"] as const) {
      const together = await runWith(products, {}, { kind });
      assertEquals(together.program.dispatches.length, 1);
      for (const [i, product] of products.entries()) {
        const alone = await runWith([product], {}, { kind });
        const wrong = firstDifference(together.values[i]!, alone.values[0]!);
        assertEquals(wrong, undefined, `product ${i} of ${[batch, m, n, k]}, ${kind}`);
      }
    }
  }
});

Deno.test("scatterAdd adds updates in the order of their indices", async () => {
  const n = 300, values = uneven(n * 5), at = Array.from({ length: n }, (_, i) => (i * 7) % 4);
  const index = constantOf(at, [n], "i32");
  for (const width of [4, 5]) {
    const updates = values.slice(0, n * width);
    const expected = new Array<number>(3 * width).fill(0);
    at.forEach((row, i) => {
      if (row >= 3) return;
      for (let j = 0; j < width; j++) {
        expected[row * width + j] = f32(expected[row * width + j]! + updates[i * width + j]!);
      }
    });
    await assertBits(
      [build.scatterAdd(constantOf(updates, [n, width]), index, 3)],
      [expected],
      {},
      `rows of ${width}`,
    );
  }
});
