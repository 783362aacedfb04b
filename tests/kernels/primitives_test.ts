/**
 * Every primitive on the device against the float64 oracle: hostile values, hostile shapes, and
 * views of views. What WGSL and drivers leave open is in one table below.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import * as build from "../../graph/build.ts";
import { type DType, dtypes, isFloat } from "../../graph/dtype.ts";
import type { Node } from "../../graph/node.ts";
import { kinds, type Primitive, signatures } from "../../graph/primitive.ts";
import { type Shape, sizeOf } from "../../graph/shape.ts";
import { assertOracle, constantOf, randomOf, run, type Tolerance, ulpOf } from "../gpu.ts";
import { oracle } from "../oracle.ts";

const exact: Tolerance = { ulp: 0 };

/**
 * Functions that are not exact, and by how much they may be off. WGSL itself allows more: exp
 * 3 + 2|x| ulp, log 3 ulp or 2^-21, pow what exp2(b·log2(a)) gives, sin and cos 2^-11.
 */
const tolerances: {
  readonly [P in Primitive]?: { readonly f32: Tolerance; readonly f16: Tolerance };
} = {
  exp: { f32: { ulp: 64, absolute: 2 ** -126 }, f16: { ulp: 1 } },
  log: { f32: { ulp: 4 }, f16: { ulp: 1 } },
  sin: { f32: { ulp: 2, absolute: 2 ** -22 }, f16: { ulp: 1 } },
  cos: { f32: { ulp: 2, absolute: 2 ** -22 }, f16: { ulp: 1 } },
  atan: { f32: { ulp: 3 }, f16: { ulp: 1 } },
  tanh: { f32: { ulp: 7 }, f16: { ulp: 1 } },
  erf: { f32: { ulp: 4 }, f16: { ulp: 1 } },
  pow: { f32: { ulp: 64, absolute: 2 ** -126 }, f16: { ulp: 1 } },
  sqrt: { f32: { ulp: 1 }, f16: { ulp: 1 } },
  div: { f32: { ulp: 2 }, f16: { ulp: 1 } },
};

function toleranceOf({ op, dtype }: Node): Tolerance {
  const row = tolerances[op];
  return row !== undefined && (dtype === "f32" || dtype === "f16") ? row[dtype] : exact;
}

const floats = [0, -0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 3, -3.7, 7, 0.1, 10, 15, -88, 100.5, 1000];
const values: { readonly [D in DType]: readonly number[] } = {
  f32: [
    ...floats,
    ...[1e-6, 1e-20, 8388609, 16777217, 2147483648, -2147483904, 4294967296, 1e10, 1e30],
    ...[3.4028234663852886e38, -3.4028234663852886e38, Infinity, -Infinity, NaN],
  ],
  f16: [...floats, 1e-4, 2048, 2049, 65504, -65504, Infinity, -Infinity, NaN],
  i32: [0, 1, -1, 2, -2, 3, 7, -7, 31, 32, 33, 100, 65536, 2147483647, -2147483648, -2147483647],
  u32: [0, 1, 2, 3, 7, 31, 32, 33, 100, 65536, 2147483647, 2147483648, 4294967295, 4294967294],
  bool: [0, 1],
};
const all: readonly DType[] = ["f32", "f16", "i32", "u32", "bool"];

/** Whether an element-wise primitive takes the dtype. */
function takes(op: Primitive, dtype: DType): boolean {
  switch (signatures[op]!.domain) {
    case "any":
      return true;
    case "number":
      return dtype !== "bool";
    case "float":
      return isFloat(dtype);
    case "integer":
      return dtypes[dtype].integer;
    case "logical":
      return !isFloat(dtype);
  }
}

const elementwise = (kind: "unary" | "binary"): Primitive[] =>
  (Object.keys(signatures) as Primitive[]).filter((op) =>
    kinds[op] === kind && !["mark", "again", "hold", "name"].includes(op)
  );

const isNumber = (x: number): boolean => Number.isFinite(x) && x !== 0;
const isWhole = (a: number, b: number): boolean =>
  Number.isInteger(a) && Number.isInteger(b) && Math.abs(a) < 2 ** 24;

/** Arguments at which a function is not defined well enough to be compared. */
const excluded: { readonly [P in Primitive]?: (a: number, b: number) => boolean } = {
  // Past this a float says nothing about where on the circle it is.
  sin: (a) => Math.abs(a) > 1e5,
  cos: (a) => Math.abs(a) > 1e5,
  // The remainder knows no more than the quotient: exact below it only.
  mod: (a, b) => Number.isFinite(a) && b !== 0 && Math.abs(a) > Math.abs(b) && !isWhole(a, b),
  // The logarithm has only so many digits for an exponent to magnify.
  pow: (a, b) => (Math.abs(b) > 200 || Math.abs(a) > 1e30) && isNumber(a) && isNumber(b),
};

/** All pairs of values, without those that the primitive excludes. */
function pairs(dtype: DType, op: Primitive): [number[], number[]] {
  const left: number[] = [], right: number[] = [];
  for (const a of values[dtype]) {
    for (const b of values[dtype]) {
      if (isFloat(dtype) && excluded[op]?.(a, b)) continue;
      left.push(a);
      right.push(b);
    }
  }
  return [left, right];
}

for (const dtype of all) {
  Deno.test(`every element-wise primitive is right on hostile ${dtype}`, async () => {
    const nodes: Node[] = [];
    const [left, right] = pairs(dtype, "add");
    const x = constantOf(left, [left.length], dtype), y = constantOf(right, [left.length], dtype);
    for (const op of elementwise("binary").filter((op) => takes(op, dtype))) {
      if (excluded[op] === undefined || !isFloat(dtype)) {
        nodes.push(build.apply(op, [x, y], {}));
      } else {
        const [a, b] = pairs(dtype, op);
        const shape = [a.length];
        nodes.push(build.apply(op, [constantOf(a, shape, dtype), constantOf(b, shape, dtype)], {}));
      }
    }
    for (const op of elementwise("unary").filter((op) => takes(op, dtype))) {
      const fine = values[dtype].filter((v) => !excluded[op]?.(v, 0));
      nodes.push(build.apply(op, [constantOf(fine, [fine.length], dtype)], {}));
    }
    const z = constantOf(values[dtype], [values[dtype].length], dtype);
    for (const to of all) if (to !== dtype) nodes.push(build.cast(z, to));
    if (dtype !== "bool") {
      for (const to of all) {
        if (to !== dtype && to !== "bool" && dtypes[to].bytes === dtypes[dtype].bytes) {
          // The bits of NaN are not portable.
          const numbers = values[dtype].filter((v) => !Number.isNaN(v));
          nodes.push(build.bitcast(constantOf(numbers, [numbers.length], dtype), to));
        }
      }
    }
    const condition = build.cast(x, "bool");
    nodes.push(build.where(condition, x, y));
    await assertOracle(nodes, toleranceOf);
  });

  Deno.test(`element-wise primitives are right with constant operands of ${dtype}`, async () => {
    const nodes: Node[] = [];
    const constants: { readonly [D in DType]: readonly number[] } = {
      f32: [0, -0, 1, -1, 3, Infinity, -Infinity, NaN, 1e-40, 3.4028234663852886e38],
      f16: [0, -1, 3, Infinity, NaN, 65504],
      i32: [0, 1, -1, 3, 32, -2147483648, 2147483647],
      u32: [0, 1, 3, 32, 4294967295],
      bool: [0, 1],
    };
    const list = values[dtype].filter((v) => !isFloat(dtype) || !(Math.abs(v) > 1e5));
    const x = constantOf(list, [list.length], dtype);
    for (const op of elementwise("binary").filter((op) => takes(op, dtype))) {
      for (const c of constants[dtype]) {
        if (isFloat(dtype) && (op === "pow" || (op === "mod" && c !== 0))) continue;
        const fill = build.fill(c, x.shape, dtype);
        nodes.push(build.apply(op, [x, fill], {}), build.apply(op, [fill, x], {}));
      }
    }
    nodes.push(build.where(build.cast(x, "bool"), build.fill(1, x.shape, dtype), x));
    nodes.push(build.fill(constants[dtype].at(-1)!, [7], dtype));
    await assertOracle(nodes, toleranceOf, (node) => {
      const [a, b] = node.inputs.map((n) =>
        n.op === "fill" ? String((n as Node<"fill">).attributes.value) : "x"
      );
      return `${node.op}(${a}, ${b})`;
    });
  });
}

Deno.test("element-wise primitives of two constants are right", async () => {
  const i = (value: number): Node => build.fill(value, [3], "i32");
  const f = (value: number): Node => build.fill(value, [3], "f32");
  await assertOracle([
    build.binary("floorDiv", i(7), i(0)),
    build.binary("mod", i(7), i(0)),
    build.binary("floorDiv", i(-2147483648), i(-1)),
    build.binary("shiftLeft", i(1), i(33)),
    build.binary("pow", f(-2), f(0.5)),
    build.binary("pow", f(0), f(-1)),
    build.binary("mod", f(5), f(0)),
    build.binary("div", f(1), f(0)),
    build.unary("log", f(-1)),
    build.unary("exp", f(1000)),
    build.unary("erf", f(0.5)),
    build.unary("sqrt", f(-1)),
  ], () => ({ ulp: 4 }));
});

Deno.test("mod of floats lies between 0 and the divisor, near the true remainder", async () => {
  const random = randomOf(3), n = 500;
  const pick = (): number => Math.fround((2 * random() - 1) * 10 ** Math.floor(8 * random() - 3));
  const a = Array.from({ length: n }, pick), b = Array.from({ length: n }, pick);
  const [r] = await run([build.apply("mod", [constantOf(a, [n]), constantOf(b, [n])], {})]);
  for (let i = 0; i < n; i++) {
    const x = a[i]!, y = b[i]!, rest = r![i]!;
    assert(rest * y >= 0 && Math.abs(rest) <= Math.abs(y), `${x} mod ${y} is ${rest}`);
    // On the circle of y, where 0 and y are neighbours.
    const error = (rest - (x - y * Math.floor(x / y))) / y;
    const around = Math.abs(error - Math.round(error)) * Math.abs(y);
    assert(around <= 2 * ulpOf(x, "f32") + ulpOf(y, "f32"), `${x} mod ${y} is ${rest}`);
  }
});

Deno.test("no driver's algebra hides NaN and infinity", async () => {
  const x = constantOf([NaN, Infinity, -Infinity, 0, 1, 3e38], [6]);
  const zero = build.fill(0, [6]), sub = build.apply("sub", [x, x], {});
  await assertOracle([
    build.binary("mul", x, zero),
    build.binary("div", zero, x),
    build.binary("div", x, zero),
    sub,
    build.apply("div", [x, x], {}),
    build.apply("equal", [x, x], {}),
    build.apply("notEqual", [x, x], {}),
    build.binary("less", x, Infinity),
    build.binary("max", build.binary("min", x, Infinity), -Infinity),
    build.binary("mul", build.binary("mul", x, 0), 5),
  ]);
});

Deno.test("subnormal numbers pass through where nothing is computed", async () => {
  const x = constantOf([1e-40, -1e-40, 2 ** -149], [3]);
  await assertOracle([build.unary("neg", x), build.unary("abs", x), build.flip(x, [0])]);
});

const hostile: readonly Shape[] = [
  [],
  [1],
  [2],
  [3],
  [5],
  [7],
  [31],
  [33],
  [127],
  [257],
  [1, 1],
  [5, 1],
  [1, 7],
  [3, 31],
  [33, 4],
  [127, 3],
  [2, 3, 5],
  [4, 1, 8],
  [7, 2, 4],
  [2, 3, 2, 5],
];

/** Distinct whole numbers. */
function counted(shape: Shape, dtype: DType = "f32"): Node {
  return constantOf(Array.from({ length: sizeOf(shape) }, (_, i) => i % 2000), shape, dtype);
}

Deno.test("shapes that are no multiples of four are right", async () => {
  const nodes = hostile.flatMap((shape) => {
    const x = counted(shape), y = constantOf([3], shape.map(() => 1));
    return [build.binary("add", build.binary("mul", x, y), 1)];
  });
  await assertOracle(nodes);
});

Deno.test("values without elements are right", async () => {
  const nothing = constantOf([], [0, 3]), some = counted([2, 3]);
  const index = constantOf([], [0], "i32"), rows = constantOf([0, 1], [2], "i32");
  const results = [
    build.unary("exp", nothing),
    build.reduce("sum", nothing, [0]),
    build.reduce("reduceMax", nothing, [0]),
    build.reduce("reduceMin", nothing, [0]),
    build.reduce("prod", nothing, [0]),
    build.reduce("sum", nothing, [1]),
    build.concatenate([nothing, some, nothing], 0),
    build.concatenate([nothing, build.concatenate([some, some], 0)], 0),
    build.pad(nothing, [1, 0], [1, 1], 4),
    build.reshape(nothing, [3, 0, 5]),
    build.gather(nothing, rows),
    build.gather(some, index),
    build.scatterAdd(nothing, index, 2),
    build.dot(constantOf([], [1, 2, 0]), constantOf([], [1, 0, 3])),
    build.dot(constantOf([], [1, 0, 2]), counted([1, 2, 3])),
    build.dot(constantOf([], [0, 2, 2]), constantOf([], [0, 2, 3])),
    build.broadcastTo(constantOf([], [0, 1]), [0, 5]),
    build.slice(some, [0, 0], [0, 3]),
    build.iota([0], 0),
    build.fill(2, [0]),
  ];
  await assertOracle(results);
});

/** Movements of x that fit its shape. */
function movements(x: Node): Node[] {
  const { shape } = x;
  const rank = shape.length, size = sizeOf(shape);
  const axes = shape.map((_, i) => i);
  const result = [build.reshape(x, [size]), build.reshape(x, [1, size, 1])];
  if (rank === 0) return result;
  result.push(
    build.permute(x, [...axes].reverse()),
    build.permute(x, axes.map((i) => (i + 1) % rank)),
    build.flip(x, axes),
    build.flip(x, [rank - 1]),
    build.pad(x, axes.map(() => 1), axes.map((i) => i), -1),
    build.pad(x, axes.map((i) => i), axes.map(() => 4), NaN),
    build.broadcastTo(x, [3, ...shape.map((n) => n === 1 ? 5 : n)]),
    build.concatenate([x, build.flip(x, [0]), x], rank - 1),
    build.concatenate([x, x], 0),
  );
  for (const step of [1, 2, 3]) {
    const start = shape.map((n) => Math.min(n - 1, step - 1));
    const sizes = shape.map((n, i) => Math.floor((n - 1 - start[i]!) / step) + 1);
    result.push(build.slice(x, start, sizes, axes.map(() => step)));
  }
  return result;
}

Deno.test("movement on hostile shapes is right", async () => {
  const nodes = hostile.filter((s) => sizeOf(s) <= 132).flatMap((shape) =>
    movements(counted(shape))
  );
  // All in few kernels: joined end to end. Every fifth one also on its own.
  const flat = nodes.map((node) => build.reshape(node, [sizeOf(node.shape)]));
  const joined: Node[] = [];
  for (let i = 0; i < flat.length; i += 12) {
    joined.push(build.concatenate(flat.slice(i, i + 12), 0));
  }
  await assertOracle([...joined, ...nodes.filter((_, i) => i % 5 === 2)]);
});

Deno.test("views of views are right, with arithmetic before, between and after", async () => {
  const random = randomOf(7);
  const nodes: Node[] = [];
  for (const shape of [[6, 8], [5, 7], [3, 4, 4], [2, 3, 5]]) {
    for (let round = 0; round < 4; round++) {
      let x: Node = build.binary("mul", counted(shape), 2);
      for (let step = 0; step < 4; step++) {
        const list = movements(x).filter((n) => sizeOf(n.shape) <= 1500);
        x = build.binary("add", list[Math.floor(random() * list.length)]!, step);
      }
      nodes.push(x);
    }
  }
  await assertOracle(nodes);
});

Deno.test("movement moves every dtype as it is", async () => {
  const nodes: Node[] = [];
  for (const dtype of all) {
    const list = values[dtype].slice(0, 12).concat(values[dtype].slice(-2), 0, 1).slice(0, 12);
    while (list.length < 12) list.push(1);
    const x = constantOf(list, [3, 4], dtype);
    const padded = build.pad(build.flip(x, [1]), [1, 1], [0, 2], 1);
    nodes.push(build.permute(padded, [1, 0]), build.concatenate([x, build.flip(x, [0])], 1));
  }
  await assertOracle(nodes);
});

Deno.test("iota counts along every axis in every dtype", async () => {
  const nodes = (["f32", "f16", "i32", "u32"] as const).flatMap((dtype) =>
    [[5], [3, 7], [7, 3], [2, 3, 4]].flatMap((shape) =>
      shape.map((_, axis) =>
        build.binary("add", build.iota(shape, axis, dtype), build.fill(1, shape, dtype))
      )
    )
  );
  const flat = nodes.filter((n) => n.shape.length === 3);
  await assertOracle([...flat, ...nodes.filter((n) => n.dtype === "f32" && n.shape.length < 3)]);
});

Deno.test("reductions over every set of axes are right", async () => {
  const nodes: Node[] = [];
  for (const shape of [[7], [33], [5, 7], [8, 12], [3, 1, 5], [4, 3, 8], [2, 3, 2, 4]]) {
    const rank = shape.length;
    for (let set = 1; set < 1 << rank; set++) {
      const axes = shape.map((_, i) => i).filter((i) => (set >> i) & 1);
      const x = build.binary("mod", counted(shape, set % 2 ? "f32" : "i32"), 17);
      const op = (["sum", "reduceMax", "reduceMin"] as const)[set % 3]!;
      nodes.push(build.reduce(op, x, axes));
    }
  }
  await assertOracle(nodes);
});

Deno.test("reductions meet NaN, infinities and the ends of integers", async () => {
  const special = constantOf([1, NaN, 3, Infinity, 2, -Infinity, -1, -0, -2, NaN, NaN, NaN], [
    4,
    3,
  ]);
  const ints = constantOf([2147483647, 1, -2147483648, -1, 5, 7], [2, 3], "i32");
  const words = constantOf([4294967295, 1, 0, 2147483648, 5, 7], [2, 3], "u32");
  const halves = constantOf([65504, 1, 0.5, 2048, 1, 1, -65504, -1, 0], [3, 3], "f16");
  const nodes: Node[] = [];
  for (const x of [special, ints, words, halves]) {
    for (const op of ["sum", "prod", "reduceMax", "reduceMin"] as const) {
      if (x === halves && op === "prod") continue;
      nodes.push(build.reduce(op, x, [1]), build.reduce(op, x, [0]));
    }
  }
  await assertOracle(nodes);
});

Deno.test("gather and scatterAdd take indices from anywhere", async () => {
  const nodes: Node[] = [];
  for (const dtype of ["i32", "u32"] as const) {
    const list = dtype === "i32"
      ? [0, 4, -1, 5, 2, 2, -2147483648, 2147483647]
      : [0, 4, 4294967295, 5, 2, 2, 2147483648, 1];
    const index = constantOf(list, [8], dtype), square = build.reshape(index, [2, 4]);
    for (const rest of [[], [3], [4], [2, 3], [1, 8]]) {
      const x = counted([5, ...rest]);
      nodes.push(build.gather(x, index));
      if (dtype === "i32") nodes.push(build.gather(x, square));
      nodes.push(build.scatterAdd(counted([8, ...rest]), index, 5));
      if (dtype === "i32") nodes.push(build.scatterAdd(counted([2, 4, ...rest], "i32"), square, 6));
    }
    nodes.push(build.gather(counted([5, 4], "i32"), index));
    nodes.push(build.gather(build.cast(counted([5, 4]), "bool"), index));
    nodes.push(build.gather(constantOf([1, 2, 3, 4, 5], [5], "f16"), index));
  }
  await assertOracle(nodes);
});

Deno.test("gather reads views, and is read through views", async () => {
  const index = constantOf([3, 0, 11, 7], [4], "i32");
  const x = counted([3, 4]);
  const turned = build.reshape(build.permute(x, [1, 0]), [12]);
  const table = counted([12, 6]);
  const square = build.reshape(build.permute(build.reshape(table, [12, 2, 3]), [0, 2, 1]), [12, 6]);
  const twice = build.gather(
    build.flip(table, [0]),
    build.gather(index, constantOf([2, 1], [2], "i32")),
  );
  await assertOracle([
    build.gather(turned, index),
    build.gather(square, index),
    build.permute(build.gather(square, index), [1, 0]),
    build.reshape(build.gather(build.binary("mul", table, 2), index), [3, 8]),
    build.pad(build.gather(table, index), [1, 1], [1, 1], 5),
    build.reduce("sum", build.gather(table, index), [1]),
    build.reduce("sum", build.gather(table, index), [0]),
    twice,
  ]);
});

const product = (b: number, m: number, k: number, n: number): Node =>
  build.dot(
    build.binary("mod", counted([b, m, k]), 13),
    build.binary("mod", counted([b, k, n]), 11),
  );

Deno.test("products of odd sizes are right", async () => {
  const sizes = [
    [1, 1, 1, 1],
    [1, 1, 7, 1],
    [1, 3, 1, 5],
    [1, 5, 7, 3],
    [2, 2, 3, 2],
    [3, 9, 5, 31],
    [1, 33, 31, 33],
    [1, 17, 127, 6],
    [1, 1, 64, 130],
    [1, 130, 64, 1],
    [2, 64, 8, 64],
    [1, 67, 12, 68],
    [5, 4, 4, 4],
  ] as const;
  await assertOracle(
    sizes.map(([b, m, k, n]) => product(b, m, k, n)),
    undefined,
    (node) => node.inputs.map((x) => `[${x.shape}]`).join("×"),
  );
});

Deno.test("products read operands through views", async () => {
  const a = counted([2, 6, 8]), b = counted([2, 8, 5]);
  const t = (x: Node): Node => build.permute(x, [0, 2, 1]);
  const small = (x: Node): Node => build.binary("mod", x, 7);
  const wide = build.broadcastTo(counted([1, 8, 5]), [2, 8, 5]);
  const cut = build.slice(counted([2, 9, 11]), [0, 1, 2], [2, 8, 4], [1, 1, 2]);
  await assertOracle([
    build.dot(t(small(counted([2, 8, 6]))), small(b)),
    build.dot(small(a), t(small(counted([2, 5, 8])))),
    build.dot(t(small(counted([2, 8, 6]))), t(small(counted([2, 5, 8])))),
    build.dot(small(a), wide),
    build.dot(a, cut),
    build.dot(a, build.flip(b, [1])),
    build.dot(build.flip(a, [0, 2]), build.flip(b, [2])),
    build.dot(a, build.pad(counted([2, 6, 3]), [0, 1, 1], [0, 1, 1], 2)),
    build.dot(build.reshape(counted([12, 8]), [2, 6, 8]), b),
    build.dot(build.fill(2, [2, 3, 8]), b),
    build.dot(build.iota([2, 3, 8], 1, "f32"), b),
    build.dot(a, build.concatenate([b, b], 2)),
    build.dot(a, t(a)),
    build.binary("add", build.reduce("sum", build.dot(a, b), [1]), 1),
    build.binary("max", build.binary("add", build.dot(a, b), counted([5])), 100),
  ]);
});

Deno.test("f16 is computed in f32 where it is summed", async () => {
  const ones = build.fill(1, [1, 4096], "f16");
  const x = build.binary("mul", constantOf(new Array(4096).fill(1), [1, 4096], "f16"), ones);
  const a = constantOf(Array.from({ length: 3 * 300 }, (_, i) => i % 5), [1, 3, 300], "f16");
  const b = constantOf(Array.from({ length: 300 * 6 }, (_, i) => (i % 7) / 8), [1, 300, 6], "f16");
  await assertOracle([
    build.reduce("sum", x, [1]),
    build.dot(a, b),
    build.scatterAdd(
      constantOf(new Array(4096).fill(1), [4096], "f16"),
      constantOf(new Array(4096).fill(0), [4096], "i32"),
      2,
    ),
  ], () => ({ ulp: 1 }));
});

Deno.test("every primitive has been asked for its rule in the oracle", async () => {
  await run([build.fill(1, [1])]);
  const untested = (Object.keys(kinds) as Primitive[]).filter((op) =>
    kinds[op] !== "call" && kinds[op] !== "loop" && !(op in oracle)
  );
  assertEquals(untested, []);
});
