import { assertEquals, assertThrows } from "@std/assert";
import { arange, ones, tensor, zeros } from "../../graph/create.ts";
import {
  averagePool,
  conv,
  convTranspose,
  gridSample,
  maxPool,
  type Padding,
  upsample,
} from "../../graph/spatial.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad, jvp, vmap } from "../../graph/transforms.ts";
import { assertValues, installHost, sequence } from "./host.ts";

installHost();

function some(shape: number[], seed = 1): Tensor {
  const next = sequence(seed);
  const size = shape.reduce((n, k) => n * k, 1);
  return tensor(Array.from({ length: size }, () => next() * 2 - 1), { shape });
}

/** Convolution by the definition, channels last, 2-D. */
async function plainConv(
  x: Tensor,
  w: Tensor,
  { stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1], groups = 1 },
): Promise<{ shape: number[]; values: number[] }> {
  const [n, h, v, c] = x.shape as [number, number, number, number];
  const [kh, kw, cg, o] = w.shape as [number, number, number, number];
  const a = await x.data(), k = await w.data();
  const size = (m: number, taps: number, i: number): number =>
    Math.floor(
      (m + pad[i]![0]! + pad[i]![1]! - (taps - 1) * dilation[i]! - 1) / stride[i]!,
    ) + 1;
  const [p, q] = [size(h, kh, 0), size(v, kw, 1)];
  const values: number[] = [];
  for (let b = 0; b < n; b++) {
    for (let i = 0; i < p; i++) {
      for (let j = 0; j < q; j++) {
        for (let out = 0; out < o; out++) {
          const group = Math.floor(out / (o / groups));
          let sum = 0;
          for (let s = 0; s < kh; s++) {
            for (let t = 0; t < kw; t++) {
              const y = i * stride[0]! + s * dilation[0]! - pad[0]![0]!;
              const z = j * stride[1]! + t * dilation[1]! - pad[1]![0]!;
              if (y < 0 || y >= h || z < 0 || z >= v) continue;
              for (let e = 0; e < cg; e++) {
                sum += a[((b * h + y) * v + z) * c + group * cg + e]! *
                  k[((s * kw + t) * cg + e) * o + out]!;
              }
            }
          }
          values.push(sum);
        }
      }
    }
  }
  return { shape: [n, p, q, o], values };
}

Deno.test("conv() follows the definition, with every option, channels last and first", async () => {
  const cases = [
    { x: [2, 5, 6, 3], w: [3, 2, 3, 4] },
    { x: [1, 7, 5, 4], w: [3, 3, 2, 6], groups: 2, stride: [2, 1] },
    { x: [2, 6, 6, 5], w: [2, 3, 1, 5], groups: 5, pad: [[1, 2], [0, 1]] },
    { x: [1, 6, 5, 3], w: [2, 2, 1, 6], groups: 3, dilation: [3, 2] },
    { x: [1, 1, 1, 1], w: [1, 1, 1, 1], pad: [[2, 2], [1, 1]] },
  ];
  for (const { x: shape, w: kernel, ...options } of cases) {
    const x = some(shape, 1), w = some(kernel, 2);
    const { shape: wanted, values } = await plainConv(x, w, options);
    const { stride = 1, dilation = 1, groups = 1 } = options;
    const padding = (options.pad ?? 0) as Padding;
    const y = conv(x, w, { stride, dilation, groups, padding });
    assertEquals(y.shape, wanted);
    await assertValues(y, values, 1e-5);
    const first = conv(x.transpose([0, 3, 1, 2]), w.transpose([3, 2, 0, 1]), {
      ...{ stride, dilation, groups, padding },
      channels: "first",
    });
    await assertValues(first.transpose([0, 2, 3, 1]), values, 1e-5);
  }
});

Deno.test("conv() pads so that ⌈n/stride⌉ results are left, the odd one after", async () => {
  for (const n of [1, 4, 5, 6, 7]) {
    for (const stride of [1, 2, 3]) {
      const y = conv(ones([1, n, 1]), ones([3, 1, 1]), { padding: "same", stride });
      assertEquals(y.shape, [1, Math.ceil(n / stride), 1]);
    }
  }
  const y = conv(arange(4).add(1).reshape(1, 4, 1), ones([2, 1, 1]), { padding: "same" });
  await assertValues(y, [3, 5, 7, 4]);
});

Deno.test("conv() of one and three spatial axes, of integers, of nothing", async () => {
  await assertValues(conv(arange(3).reshape(1, 3, 1), ones([2, 1, 1], { dtype: "i32" })), [1, 3]);
  assertEquals(conv(zeros([2, 4, 5, 6, 3]), zeros([2, 2, 2, 3, 7])).shape, [2, 3, 4, 5, 7]);
  assertEquals(conv(zeros([0, 4, 3]), zeros([2, 3, 7])).shape, [0, 3, 7]);
  assertEquals(conv(zeros([2, 1, 3]), zeros([2, 3, 7])).shape, [2, 0, 7]);
  await assertValues(conv(zeros([1, 2, 0]), zeros([2, 0, 2])), [0, 0]);
});

Deno.test("conv() refuses what does not fit, in words", () => {
  const x = zeros([1, 5, 5, 4]), w = zeros([3, 3, 4, 2]);
  const throws = (f: () => unknown, message: string): void => {
    assertThrows(f, Error, message);
  };
  throws(() => conv(zeros([3, 4]), w), "the input is [3,4], expected a batch, spatial axes");
  throws(() => conv(x, zeros([3, 4, 2])), "Cannot conv: the kernel is [3,4,2] for an input");
  throws(() => conv(x, zeros([3, 3, 3, 2])), "takes 3 channels and the input [1,5,5,4] has 4 in 1");
  throws(() => conv(x, w, { groups: 3 }), "groups are 3, expected a divisor of 4 and 2 channels");
  throws(() => conv(x, w, { stride: 0 }), "stride is 0, expected an integer ≥ 1");
  throws(() => conv(x, w, { stride: [1, 2, 3] }), "stride is [1,2,3]");
  throws(() => conv(x, w, { padding: -1 }), "the padding is -1");
  throws(
    () => conv(x, w, { padding: [[1, 2, 3]] as unknown as Padding }),
    "the padding is [[1,2,3]]",
  );
  throws(() => conv(x, zeros([0, 3, 4, 2])), "at least one tap");
  throws(() => conv(x, w, { channels: "middle" as "last" }), 'expected "last" or "first"');
  throws(() => convTranspose(x, w), "the kernel of a conv with 4 channels out: [...k, c, 4]");
  throws(
    () => convTranspose(x, zeros([3, 3, 2, 4]), { padding: 9 }),
    "Cannot convTranspose: padding",
  );
  throws(() => maxPool(x, 2, { padding: 2 }), "padding 2, expected less than a window (2)");
  throws(() => maxPool(x, [2]), "size is [2], expected an integer ≥ 1, or 2 of them");
  throws(() => upsample(x, {}), "Cannot upsample: no size");
  throws(() => upsample(x, { scale: 2, size: 10 }), "a scale and a size");
  throws(() => upsample(x, { scale: -1 }), "the scale is -1");
});

Deno.test("convTranspose() is the transpose of conv()", async () => {
  const options = [
    { stride: 2 },
    { stride: [2, 3], padding: 1 },
    { padding: [[1, 0], [0, 2]] as Padding, dilation: 2 },
    { groups: 2, stride: 2, padding: "same" as Padding },
  ];
  for (const option of options) {
    const w = some([3, 2, 4 / (option.groups ?? 1), 6], 3);
    const x = some([2, 8, 9, 4], 4);
    const y = conv(x, w, option), g = some([...y.shape], 5);
    const expected = grad((x: Tensor) => conv(x, w, option).mul(g).sum())(x);
    const plain = convTranspose(g, w, option);
    // What the strides left over at the end got nothing.
    const extra = [8 - plain.shape[1]!, 9 - plain.shape[2]!];
    const back = extra.some((n) => n < 0)
      ? plain.slice(null, [0, 8], [0, 9])
      : convTranspose(g, w, { ...option, outputPadding: extra });
    assertEquals(back.shape, x.shape);
    await assertValues(back, [...await expected.data()], 1e-5, JSON.stringify(option));
    const first = convTranspose(g.moveAxis(-1, 1), w.transpose([3, 2, 0, 1]), {
      ...option,
      channels: "first",
    });
    await assertValues(first.moveAxis(1, -1), [...await plain.data()], 1e-5);
  }
});

Deno.test("maxPool() takes the largest, also of integers, and NaN where one is", async () => {
  const x = tensor([[1, 5, 2, NaN, 0, 3]]).reshape(1, 6, 1);
  await assertValues(maxPool(x, 2), [5, NaN, 3]);
  await assertValues(maxPool(x, 3, { stride: 1 }), [5, NaN, NaN, NaN]);
  const low = tensor([-3, -1, -2]).reshape(1, 3, 1);
  await assertValues(maxPool(low, 2, { stride: 1, padding: 1 }), [-3, -1, -1, -2]);
  await assertValues(maxPool(low.cast("i32"), 2, { padding: "same" }), [-1, -2]);
  await assertValues(maxPool(arange(9).reshape(1, 9, 1), 2, { dilation: 3 }), [3, 5, 7]);
  const image = some([1, 4, 6, 2]);
  await assertValues(
    maxPool(image.moveAxis(-1, 1), [2, 3], { channels: "first" }).moveAxis(1, -1),
    [...await maxPool(image, [2, 3]).data()],
  );
});

Deno.test("averagePool() counts padding only when asked to", async () => {
  const x = tensor([2, 4, 6]).reshape(1, 3, 1);
  await assertValues(averagePool(x, 3, { stride: 1, padding: 1 }), [3, 4, 5]);
  await assertValues(averagePool(x, 3, { stride: 1, padding: 1, countPadding: true }), [
    2,
    4,
    10 / 3,
  ], 1e-6);
  assertEquals(averagePool(zeros([1, 4, 4, 2], { dtype: "f16" }), 2).dtype, "f16");
});

Deno.test("pools with ceil have a last window that is cut off, if it begins in the input", async () => {
  const x = tensor([1, 2, 3, 4, 5]).reshape(1, 5, 1), ceil = true;
  await assertValues(maxPool(x, 2), [2, 4]);
  await assertValues(maxPool(x, 2, { ceil }), [2, 4, 5]);
  await assertValues(maxPool(x.neg().cast("i32"), 2, { ceil }), [-1, -3, -5]);
  await assertValues(averagePool(x, 2, { ceil }), [1.5, 3.5, 5]);
  await assertValues(averagePool(x, 3, { stride: 1, ceil }), [2, 3, 4]);
  // Padding counts where it is asked for, what is beyond it never does.
  const around = { stride: 3, padding: 1, ceil } as const;
  await assertValues(averagePool(x, 3, around), [1.5, 4]);
  await assertValues(averagePool(x, 3, { ...around, countPadding: true }), [1, 4]);
  await assertValues(averagePool(x, 4, { ...around, countPadding: true }), [1.5, 3]);
  await assertValues(averagePool(x, 4, { ...around, stride: 4, countPadding: true }), [1.5, 3]);
  // A window that would begin in the padding after the input is none.
  await assertValues(maxPool(x, 2, { stride: 3, padding: 1, ceil }), [1, 4]);
  await assertValues(maxPool(x.slice(null, [0, 1]), 3, { ceil }), [1]);
  assertEquals(maxPool(ones([2, 3, 7, 4]), [2, 3], { ceil }).shape, [2, 2, 3, 4]);
});

Deno.test("upsample() repeats, or interpolates between cells or corners", async () => {
  const x = tensor([[1, 2], [3, 4]]).reshape(1, 2, 2, 1);
  await assertValues(upsample(x, { scale: [1, 2] }), [1, 1, 2, 2, 3, 3, 4, 4]);
  await assertValues(upsample(x.reshape(1, 4, 1), { size: 6 }), [1, 1, 2, 3, 3, 4]);
  const line = tensor([0, 4, 8]).reshape(1, 3, 1);
  await assertValues(
    upsample(line, { size: 5, method: "linear", alignCorners: true }),
    [0, 2, 4, 6, 8],
  );
  // As PyTorch's interpolate(mode="bilinear", align_corners=False) on [[1,2],[3,4]] to 3 × 3.
  await assertValues(
    upsample(x, { size: 3, method: "linear" }),
    [1, 1.5, 2, 2, 2.5, 3, 3, 3.5, 4],
  );
  assertEquals(upsample(x.moveAxis(-1, 1), { scale: 2.5, channels: "first" }).shape, [1, 1, 5, 5]);
});

Deno.test("gradients of pooling and resizing are the transposes", async () => {
  const image = some([2, 5, 6, 3]);
  const functions: readonly ((x: Tensor) => Tensor)[] = [
    (x) => maxPool(x, 2),
    (x) => maxPool(x, 3, { stride: 2, padding: 1 }),
    (x) => averagePool(x, [3, 2], { stride: 1, padding: "same" }),
    (x) => upsample(x, { size: [7, 11], method: "linear" }),
    (x) => upsample(x, { scale: 3 }),
    (x) => upsample(x, { size: 4 }),
  ];
  for (const f of functions) {
    const y = f(image), g = some([...y.shape], 7), t = some([...image.shape], 8);
    const pulled = grad((x: Tensor) => f(x).mul(g).sum())(image);
    const [, pushed] = jvp(f, [image], [t]);
    const left = await pulled.mul(t).sum().item(), right = await pushed.mul(g).sum().item();
    await assertValues(tensor(left), right, 1e-4);
    const each = vmap(f)(some([4, 2, 5, 6, 3], 9));
    const rows = await Promise.all(
      [0, 1, 2, 3].map((i) => f(some([4, 2, 5, 6, 3], 9).slice(i)).data()),
    );
    await assertValues(each, rows.flatMap((row) => [...row]), 1e-6);
  }
});

Deno.test("per-example gradients of a convolution are those of each example", async () => {
  const w = some([3, 3, 2, 4]), images = some([3, 6, 5, 2], 2);
  const loss = (w: Tensor, x: Tensor): Tensor =>
    conv(x.expandDims(0), w, { padding: "same" }).square().sum();
  const all = vmap((x: Tensor) => grad((w: Tensor) => loss(w, x))(w))(images);
  assertEquals(all.shape, [3, 3, 3, 2, 4]);
  const each = await Promise.all(
    [0, 1, 2].map((i) => grad((w: Tensor) => loss(w, images.slice(i)))(w).data()),
  );
  await assertValues(all, each.flatMap((g) => [...g]), 1e-5);
});

/** Linear sampling by the definition: the place itself is held or mirrored, not what is around it. */
function sampledLine(
  x: readonly number[],
  g: number,
  outside: "zeros" | "border" | "reflection",
  corners: boolean,
): number {
  const n = x.length, [low, high] = corners ? [0, n - 1] : [-0.5, n - 0.5];
  let p = corners ? (g + 1) / 2 * (n - 1) : ((g + 1) * n - 1) / 2;
  if (outside === "reflection") {
    while (high > low && (p < low || p > high)) p = p < low ? 2 * low - p : 2 * high - p;
    if (high === low) p = low;
  }
  if (outside !== "zeros") p = Math.min(n - 1, Math.max(0, p));
  const first = Math.floor(p), at = (i: number) => i < 0 || i >= n ? 0 : x[i]!;
  return at(first) * (first + 1 - p) + at(first + 1) * (p - first);
}

Deno.test("gridSample() follows the definition, far outside too", async () => {
  const places = [-7.3, -1.9, -1.2, -1, -0.4, 0, 0.3, 0.95, 1, 1.1, 2.6, 9.7];
  for (const n of [1, 2, 5]) {
    const line = Array.from({ length: n }, (_, i) => (i * i + 1) % 7 - 2);
    for (const outside of ["zeros", "border", "reflection"] as const) {
      for (const alignCorners of [false, true]) {
        const y = gridSample(tensor(line).reshape(1, n, 1), tensor(places).reshape(1, -1, 1), {
          ...{ outside, alignCorners },
        });
        await assertValues(
          y.flatten(),
          places.map((g) => sampledLine(line, g, outside, alignCorners)),
          1e-5,
          `${n}, ${outside}, ${alignCorners}`,
        );
      }
    }
  }
});

Deno.test("gridSample() takes x before y, any places, channels first, f16", async () => {
  const x = arange(6, { dtype: "f32" }).reshape(1, 2, 3, 1);
  const grid = tensor([[-1, -1], [1, -1], [0, 1], [1, 0]]).reshape(1, 2, 2, 2);
  const wanted = [0, 2, 4, 3.5];
  const y = gridSample(x, grid, { alignCorners: true });
  assertEquals(y.shape, [1, 2, 2, 1]);
  await assertValues(y.flatten(), wanted, 1e-6);
  const first = gridSample(x.moveAxis(-1, 1), grid, { alignCorners: true, channels: "first" });
  assertEquals(first.shape, [1, 1, 2, 2]);
  await assertValues(first.flatten(), wanted, 1e-6);
  const half = gridSample(x.cast("f16"), grid, { alignCorners: true });
  assertEquals(half.dtype, "f16");
  await assertValues(half.flatten(), wanted, 1e-3);
  for (const method of ["nearest", "linear", "cubic"] as const) {
    // On elements every method gives these.
    const corners = grid.slice(null, 0).reshape(1, 2, 2);
    const at = gridSample(x, corners, { alignCorners: true, method });
    await assertValues(at.flatten(), [0, 2], 1e-5, method);
    assertEquals(gridSample(x, zeros([1, 0, 2]), { method }).shape, [1, 0, 1]);
    const far = tensor([[Infinity, -Infinity]]).reshape(1, 1, 2);
    await assertValues(gridSample(x, far, { method }).flatten(), [0]);
    await assertValues(gridSample(x, far, { method, outside: "border" }).flatten(), [2]);
  }
});

Deno.test("gridSample() refuses what does not fit, in words", () => {
  const x = zeros([2, 4, 5, 1]);
  const throws = (f: () => unknown, message: string): void => {
    assertThrows(f, Error, message);
  };
  throws(() => gridSample(x, zeros([2, 3, 3])), "the grid is [2,3,3] for an input of [2,4,5,1]");
  throws(() => gridSample(x, zeros([1, 3, 2])), "expected [2, …places, 2]");
  throws(() => gridSample(x, zeros([2, 1, 2]), { method: "bilinear" as "linear" }), "method is");
  throws(() => gridSample(x, zeros([2, 1, 2]), { outside: "x" as "zeros" }), "outside is");
  throws(() => gridSample(zeros([2, 0, 5, 1]), zeros([2, 1, 2])), "at least one element");
});
