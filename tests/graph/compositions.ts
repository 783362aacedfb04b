/**
 * For functions that are composed of primitives, graphs that use them on hostile shapes, as in
 * cases.ts. Tests of derivatives, of batching and of the device run over all of them.
 *
 * @module
 */
import * as b from "../../graph/build.ts";
import type { DType } from "../../graph/dtype.ts";
import * as angles from "../../graph/functions/angles.ts";
import { conv, convTranspose } from "../../graph/functions/convolution.ts";
import { cumulative, type CumulativeName } from "../../graph/functions/cumulative.ts";
import { einsum } from "../../graph/functions/einsum.ts";
import { indexBy } from "../../graph/functions/indexing.ts";
import { argsort, searchSorted, sort, topK } from "../../graph/functions/ordering.ts";
import { averagePool, maxPool } from "../../graph/functions/pooling.ts";
import { gridSample } from "../../graph/functions/sampling.ts";
import { putAlongAxis, type ScatterMode, scatterRows } from "../../graph/functions/scatter.ts";
import * as triangle from "../../graph/functions/triangle.ts";
import { upsample } from "../../graph/functions/upsampling.ts";
import type { Node } from "../../graph/node.ts";
import type { Shape } from "../../graph/shape.ts";
import type { Case, Draw } from "./cases.ts";

const square = (x: Node): Node => b.binary("mul", x, x);
const distinct: Draw = (uniform, i, n) =>
  (((i * 7 + 3) % (n || 1)) - n / 2) * 0.25 + 0.1 * uniform();
const inside: Draw = (uniform) => 1.8 * uniform() - 0.9;
const above: Draw = (uniform) => 1.1 + 3 * uniform();
const positive: Draw = (uniform) => 0.3 + 2 * uniform();
const wide: Draw = (uniform) => 12 * uniform() - 6;
const integers = (low: number, high: number): Draw => (uniform) =>
  low + Math.floor(uniform() * (high - low));

function unary(f: (x: Node) => Node, draw: Draw): Case[] {
  return [[], [7], [0], [2, 3]].map((shape) => ({
    operands: [{ shape, draw }],
    build: (x) => f(x!),
  }));
}

function binary(f: (x: Node, y: Node) => Node, draw: Draw): Case[] {
  return [[[5], [5]], [[2, 3], [3]], [[3, 1], [1, 2]]].map(([p, q]) => ({
    operands: [{ shape: p!, draw }, { shape: q!, draw: (u, i, n) => draw(u, i, n) + 0.017 }],
    build: (x, y) => f(x!, y!),
  }));
}

function running(name: CumulativeName, draw: Draw): Case[] {
  const over: readonly (readonly [Shape, number])[] = [
    [[1], 0],
    [[0], 0],
    [[7], 0],
    [[70], 0],
    [[3, 5], 0],
    [[3, 0], 0],
    [[2, 33, 2], 1],
  ];
  const options = [
    { exclusive: false, reverse: false },
    { exclusive: true, reverse: true },
  ];
  return over.flatMap(([shape, axis]) =>
    options.map((option) => ({
      operands: [{ shape, draw }],
      // An exclusive extreme begins with an infinity, which has no product.
      build: (x: Node) => {
        const y = cumulative(name, x, axis, option);
        const infinite = option.exclusive && name !== "cumsum" && name !== "cumprod";
        return infinite ? y : square(y);
      },
      flat: option.exclusive && name !== "cumsum" && name !== "cumprod",
    }))
  );
}

const geometry = {
  stride: 1,
  padding: "valid",
  dilation: 1,
  channels: "last",
  groups: 1,
  ceil: false,
} as const;

const modes: readonly ScatterMode[] = ["set", "add", "mul", "min", "max"];

function scatters(mode: ScatterMode): Case[] {
  const index = (shape: Shape, low: number, high: number) =>
    ({ shape, dtype: "i32", draw: integers(low, high) }) as const;
  return [
    {
      operands: [{ shape: [4, 3], draw: distinct }, index([5], -6, 6), {
        shape: [5, 3],
        draw: wide,
      }],
      build: (x, i, u) => square(scatterRows(x!, i!, u!, mode)),
    },
    {
      operands: [{ shape: [5], draw: distinct }, index([2, 2], 0, 5), { shape: [], draw: wide }],
      build: (x, i, u) => scatterRows(square(x!), i!, u!, mode),
      flat: true,
    },
    {
      operands: [{ shape: [3, 4], draw: distinct }, index([3, 5], -5, 5), {
        shape: [3, 5],
        draw: wide,
      }],
      build: (x, i, u) => square(putAlongAxis(x!, i!, u!, 1, mode)),
    },
    {
      operands: [{ shape: [4, 3], draw: distinct }, index([2, 2], 0, 4), {
        shape: [2, 2],
        draw: wide,
      }],
      build: (x, i, u) => square(putAlongAxis(x!, i!, u!, 0, mode)),
    },
  ];
}

const x23 = { shape: [2, 3] } as const;
const sorts = (shape: Shape, axis: number, descending: boolean): Case => ({
  operands: [{ shape, draw: distinct }],
  build: (x) => square(sort(x!, axis, descending)),
});
const discrete = (shape: Shape, dtype: DType, build: (x: Node) => Node): Case => ({
  operands: [{ shape, dtype, draw: integers(0, 9) }],
  build: (x) => build(x!),
  flat: true,
});

/** The table. */
export const compositions: { readonly [name: string]: readonly Case[] } = {
  asin: unary(angles.asin, inside),
  acos: unary(angles.acos, inside),
  atan2: [...binary(angles.atan2, wide), ...binary(angles.atan2, inside)],
  asinh: unary(angles.asinh, wide),
  acosh: unary(angles.acosh, above),
  atanh: unary(angles.atanh, inside),
  log2: unary(angles.log2, positive),
  log10: unary(angles.log10, positive),
  exp2: unary(angles.exp2, wide),
  hypot: binary(angles.hypot, wide),
  trunc: unary(angles.trunc, (u) => Math.floor(u() * 8 - 4) + 0.1 + 0.3 * u()),
  remainder: [{
    operands: [{ shape: [9], draw: (u) => Math.floor(u() * 8 - 4) + 0.1 + 0.3 * u() }],
    build: (x) => angles.remainder(x!, 1.5),
  }],
  bitCount: [discrete([9], "i32", angles.bitCount), discrete([9], "u32", angles.bitCount)],

  cumsum: running("cumsum", wide),
  cumprod: running("cumprod", (u) => 0.7 + 0.6 * u()),
  cummax: running("cummax", distinct),
  cummin: running("cummin", distinct),
  logCumSumExp: running("logCumSumExp", inside),

  sort: [
    sorts([7], 0, false),
    sorts([1], 0, true),
    sorts([0, 3], 0, false),
    sorts([3, 5], 0, true),
    sorts([2, 5, 3], 1, false),
  ],
  argsort: [
    discrete([40], "i32", (x) => argsort(x, 0, false)),
    discrete([3, 17], "u32", (x) => argsort(x, 1, true)),
  ],
  topK: [
    {
      operands: [{ shape: [3, 7], draw: distinct }],
      build: (x) => square(topK(x!, 3, 1, true).values),
    },
    { operands: [{ shape: [5, 2], draw: distinct }], build: (x) => topK(x!, 2, 0, false).values },
    { operands: [{ shape: [4] }], build: (x) => topK(x!, 0, 0, true).values },
  ],
  searchSorted: [
    discrete([2, 9], "i32", (x) => searchSorted(b.iota([5], 0, "i32"), x, "left")),
    discrete([9], "i32", (x) => searchSorted(b.iota([100], 0, "i32"), x, "right")),
  ],

  ...Object.fromEntries(modes.map((mode) => [`scatter by ${mode}`, scatters(mode)])),
  index: [{
    operands: [
      { shape: [3, 4, 2] },
      { shape: [5], dtype: "i32", draw: integers(-4, 4) },
      { shape: [2, 1], dtype: "i32", draw: integers(0, 4) },
    ],
    build: (x, i, j) => {
      const y = indexBy(x!, [i!, j!]);
      // NaN, where the index is outside, has no derivative.
      return square(b.where(b.binary("equal", y, y), y, 0));
    },
  }],
  einsum: [
    {
      operands: [{ shape: [2, 3] }, { shape: [3, 4] }],
      build: (x, y) => einsum("ij,jk->ik", [x!, y!]),
    },
    { operands: [{ shape: [3, 3] }], build: (x) => square(einsum("ii->i", [x!])) },
    { operands: [{ shape: [2, 3, 3] }], build: (x) => einsum("bii", [x!]) },
    {
      operands: [{ shape: [2, 3, 4] }, { shape: [2, 4] }, { shape: [5, 3] }],
      build: (x, y, z) => einsum("abc,ac,db->da", [x!, y!, z!]),
    },
    {
      operands: [{ shape: [2, 1, 3, 4] }, { shape: [5, 4, 2] }],
      build: (x, y) => einsum("...ij,...jk->...ki", [x!, y!]),
    },
    { operands: [{ shape: [3] }, { shape: [4] }], build: (x, y) => einsum("i,j", [x!, y!]) },
    {
      operands: [{ shape: [2, 3] }, { shape: [4, 3] }],
      build: (x, y) => einsum("ij,kl->jl", [x!, y!]),
    },
  ],
  tril: [
    { operands: [{ shape: [3, 5] }], build: (x) => square(triangle.triangle("lower", x!, 1)) },
    { operands: [{ shape: [2, 4, 3] }], build: (x) => triangle.triangle("upper", x!, -1) },
  ],
  diagonal: [
    { operands: [{ shape: [3, 5] }], build: (x) => square(triangle.diagonal(x!, 1)) },
    { operands: [{ shape: [2, 4, 3] }], build: (x) => triangle.diagonal(x!, -2) },
    { operands: [{ shape: [2, 2] }], build: (x) => triangle.diagonal(x!, 3) },
    { operands: [{ shape: [2, 3, 3] }], build: (x) => triangle.trace(square(x!), 0) },
    { operands: [x23], build: (x) => square(triangle.diagonalMatrix(x!, 1)) },
    { operands: [x23], build: (x) => triangle.diagonalMatrix(x!, -2) },
  ],

  conv: [{
    operands: [{ shape: [2, 5, 4, 4] }, { shape: [3, 2, 2, 6] }],
    build: (x, w) => conv(x!, w!, { ...geometry, stride: [2, 1], padding: "same", groups: 2 }),
  }],
  convTranspose: [{
    operands: [{ shape: [2, 3, 4, 4] }, { shape: [3, 2, 3, 4] }],
    build: (x, w) =>
      convTranspose(x!, w!, {
        ...{ ...geometry, stride: 2, padding: [[1, 0], [0, 1]], groups: 2, outputPadding: 1 },
      }),
  }],
  maxPool: [
    {
      operands: [{ shape: [2, 4, 6, 3], draw: distinct }],
      build: (x) => square(maxPool(x!, 2, { ...geometry, stride: undefined })),
    },
    {
      operands: [{ shape: [2, 3, 7], draw: distinct }],
      build: (x) =>
        square(maxPool(x!, 3, { ...geometry, stride: 2, padding: 1, channels: "first" })),
    },
  ],
  "pools with ceil": [
    {
      operands: [{ shape: [2, 6, 3, 2], draw: distinct }],
      build: (x) =>
        square(maxPool(x!, [3, 2], { ...geometry, stride: 2, padding: [[0, 1], 0], ceil: true })),
    },
    {
      operands: [{ shape: [2, 2, 6], draw: wide }],
      build: (x) =>
        square(averagePool(x!, 3, {
          ...geometry,
          stride: 4,
          padding: 1,
          channels: "first",
          countPadding: true,
          ceil: true,
        })),
    },
  ],
  averagePool: [{
    operands: [{ shape: [2, 5, 3, 2] }],
    build: (x) =>
      square(averagePool(x!, [3, 2], {
        ...{ ...geometry, stride: [2, 1], padding: "same", countPadding: false },
      })),
  }],
  gridSample: (["nearest", "linear", "cubic"] as const).flatMap((method) =>
    (["zeros", "border", "reflection"] as const).map((outside, i) => ({
      operands: [
        { shape: i === 1 ? [2, 3, 5] : [2, 3, 4, 2] },
        { shape: i === 1 ? [2, 4, 1] : [2, 5, 2], draw: (u) => 2.6 * u() - 1.3 },
      ],
      build: (x, at) =>
        square(gridSample(x!, at!, {
          ...{ method, outside, alignCorners: i > 0, channels: "last" },
        })),
    } satisfies Case))
  ),
  upsample: [
    ...(["nearest", "linear"] as const).map((method) => ({
      operands: [{ shape: [2, 3, 4, 2] }],
      build: (x: Node) =>
        square(upsample(x, {
          ...{ scale: undefined, size: [6, 7], method, alignCorners: false, channels: "last" },
        })),
    })),
  ],
};
