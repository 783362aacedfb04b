import { assert, assertEquals, assertThrows } from "@std/assert";
import { ones, tensor, zeros } from "../../graph/create.ts";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad, hvp, vmap } from "../../graph/transforms.ts";
import * as nn from "../../nn/mod.ts";
import { assertDerivatives } from "../derivatives.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

type Matrix = number[][];
type Seen = (i: number, j: number) => boolean;

/** Attention by the definition, in float64; rows that see nothing are zero. */
function reference(
  q: Matrix,
  k: Matrix,
  v: Matrix,
  score: (a: number[], b: number[]) => number,
  seen: Seen = () => true,
): Matrix {
  return q.map((a, i) => {
    const scores = k.map((b, j) => seen(i, j) ? score(a, b) : -Infinity);
    const most = Math.max(...scores);
    const weights = scores.map((s) => most === -Infinity ? 0 : Math.exp(s - most));
    const sum = weights.reduce((x, y) => x + y, 0) || 1;
    return v[0]!.map((_, c) => weights.reduce((x, w, j) => x + w / sum * v[j]![c]!, 0));
  });
}

const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

const kinds = {
  dot: {
    of: nn.dotProductAttention,
    score: (a: number[], b: number[]) => dot(a, b) / Math.sqrt(a.length),
  },
  cosine: {
    of: nn.cosineAttention,
    score: (a: number[], b: number[]) =>
      10 * dot(a, b) / Math.sqrt((dot(a, a) + 1e-6) * (dot(b, b) + 1e-6)),
  },
  l2: {
    of: nn.l2Attention,
    score: (a: number[], b: number[]) =>
      -a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0) / Math.sqrt(a.length),
  },
} as const;

async function draw(t: number, s: number, d: number, e: number, seed = 1) {
  const [a, b, c] = random.split(random.key(seed), 3);
  const q = random.normal(a, [t, d]), k = random.normal(b, [s, d]), v = random.normal(c, [s, e]);
  const host = await Promise.all([q, k, v].map((x) => x.array())) as [Matrix, Matrix, Matrix];
  return { q, k, v, host };
}

for (const [name, { of, score }] of Object.entries(kinds)) {
  for (const memory of ["full", "lean"] as const) {
    Deno.test(`${name} attention in ${memory} memory is what its definition says`, async () => {
      for (
        const [t, s, d, e] of [[1, 1, 1, 1], [3, 5, 4, 2], [5, 131, 2, 3], [2, 7, 3, 1]] as const
      ) {
        const { q, k, v, host } = await draw(t, s, d, e);
        const wanted = reference(...host, score);
        await assertValues(of(q, k, v, { memory }), wanted, 1e-5, `${t} ${s}`);
        const causal = reference(...host, score, (i, j) => j - i <= s - t);
        await assertValues(of(q, k, v, { memory, causal: true }), causal, 1e-5, `${t} ${s} causal`);
        const even: Seen = (i, j) => i !== 1 && (i + j) % 2 === 0;
        const mask = tensor(
          Array.from({ length: t }, (_, i) => Array.from({ length: s }, (_, j) => even(i, j))),
        );
        await assertValues(
          of(q, k, v, { memory, mask }),
          reference(...host, score, even),
          1e-5,
          `${t} ${s} masked`,
        );
      }
    });
  }
}

Deno.test("causal attention of more queries than keys gives the first ones nothing", async () => {
  const { q, k, v, host } = await draw(4, 2, 3, 2);
  const wanted = reference(...host, kinds.dot.score, (i, j) => j - i <= -2);
  assertEquals(wanted[0], [0, 0]);
  for (const memory of ["full", "lean"] as const) {
    await assertValues(nn.dotProductAttention(q, k, v, { causal: true, memory }), wanted, 1e-5);
  }
});

Deno.test("attention without features is the mean of the values", async () => {
  const none = zeros([2, 0]), v = tensor([[1], [3]]);
  for (const memory of ["full", "lean"] as const) {
    for (const attend of [nn.dotProductAttention, nn.l2Attention]) {
      await assertValues(attend(none, none, v, { memory }), [[2], [2]]);
    }
  }
});

Deno.test("attention broadcasts batch axes and masks", async () => {
  const q = random.normal(random.key(1), [2, 1, 3, 4]), k = random.normal(random.key(2), [3, 5, 4]);
  const mask = nn.paddingMask(tensor([2, 5], { dtype: "i32" }), 5);
  const full = nn.dotProductAttention(q, k, k, { mask, memory: "full" });
  assertEquals(full.shape, [2, 3, 3, 4]);
  const lean = nn.dotProductAttention(q, k, k, { mask, memory: "lean" });
  await assertValues(lean, await full.array(), 1e-5);
  // What the mask hides makes no difference.
  const other = k.slice(null, [0, 2]).pad([[0, 0], [0, 3], [0, 0]], 7);
  const first = (x: Tensor) => x.slice(0);
  const hidden = nn.dotProductAttention(q, other, other, { mask, memory: "lean" });
  await assertValues(first(hidden), await first(full).array(), 1e-5);
});

Deno.test("lean attention has second derivatives and can be batched", async () => {
  const { q, k, v } = await draw(2, 3, 2, 2);
  const loss = (memory: "full" | "lean") => (x: Tensor) =>
    nn.dotProductAttention(x, k.add(x.sum()), v.mul(x.sum()), { memory }).square().sum();
  await assertValues(
    hvp(loss("lean"), q, q.cos()),
    await hvp(loss("full"), q, q.cos()).array(),
    1e-4,
  );
  const many = random.normal(random.key(4), [3, 2, 2]);
  const each = (memory: "full" | "lean") => vmap(grad(loss(memory)))(many);
  await assertValues(each("lean"), await each("full").array(), 1e-4);
});

Deno.test("attention names itself in errors", () => {
  const x = ones([2, 3, 4]);
  const fails = (f: () => unknown, what: string) => assertThrows(f, TypeError, what);
  fails(() => nn.dotProductAttention(x, ones([2, 3, 5]), x), "the same last axis");
  fails(() => nn.dotProductAttention(x, x, ones([2, 2, 4])), "as many of either");
  fails(() => nn.dotProductAttention(x, ones([3, 3, 4]), ones([3, 3, 4])), "that broadcast");
  fails(() => nn.dotProductAttention(x.cast("i32"), x, x), "queries are Tensor i32[2,3,4]");
  fails(() => nn.dotProductAttention(x.cast("f16"), x, x), "dtypes are f16, f32 and f32");
  fails(() => nn.l2Attention(x, x, x, { mask: ones([3, 3]) }), "the mask is Tensor f32[3,3]");
  fails(
    () => nn.cosineAttention(x, x, x, { mask: ones([2, 2], { dtype: "bool" }) }),
    "bool that broadcasts to [2,3,3]",
  );
  fails(() => nn.paddingMask(ones([2]), 3), "lengths are Tensor f32[2]");
});

Deno.test("rotary() makes products depend on the distance", async () => {
  const a = random.normal(random.key(1), [1, 6]), b = random.normal(random.key(2), [1, 6]);
  for (const interleaved of [false, true]) {
    const at = (x: Tensor, place: number) =>
      nn.rotary(x, { positions: tensor([place]), interleaved });
    const product = (i: number, j: number) => at(a, i).mul(at(b, j)).sum().item();
    const near = await product(3, 1), far = await product(103, 101), other = await product(3, 2);
    assert(Math.abs(near - far) < 1e-4, `${near} against ${far}`);
    assert(Math.abs(near - other) > 1e-3);
  }
  // Pairs of the halves: (1, 3) and (2, 4); angles 1 and 1/√base.
  const [x] = await nn.rotary(tensor([[1, 2, 3, 4]]), { positions: tensor([1]), base: 4 })
    .array() as Matrix;
  const turn = (u: number, w: number, angle: number) => [
    u * Math.cos(angle) - w * Math.sin(angle),
    u * Math.sin(angle) + w * Math.cos(angle),
  ];
  const [p, q] = [turn(1, 3, 1), turn(2, 4, 0.5)];
  [p[0]!, q[0]!, p[1]!, q[1]!].forEach((v, i) => assert(Math.abs(v - x![i]!) < 1e-5));
  assertThrows(() => nn.rotary(ones([2, 3])), TypeError, "an even d");
  assertThrows(
    () => nn.rotary(ones([2, 4]), { positions: ones([3]) }),
    TypeError,
    "expected 2 numbers",
  );
});

Deno.test("positions are added", async () => {
  const layer = nn.learnedPositions(3, 2), weight = tensor([[1, 2], [3, 4], [5, 6]]);
  await assertValues(layer.apply({ weight }, ones([1, 2, 2])), [[[2, 3], [4, 5]]]);
  assertThrows(() => layer.apply({ weight }, ones([4, 2])), TypeError, "up to 3 places");
  const table = await nn.sinusoidalPositions(3, 4).array() as Matrix;
  const wanted = [2, 2, 0.02, 0.02].map((angle, i) =>
    i % 2 === 0 ? Math.sin(angle) : Math.cos(angle)
  );
  wanted.forEach((v, i) => assert(Math.abs(v - table[2]![i]!) < 1e-6));
});

Deno.test("multiHeadAttention() is attention of each head, between projections", async () => {
  const layer = nn.multiHeadAttention(6, 2, { causal: true });
  const params = layer.init(random.key(1)), x = random.normal(random.key(2), [4, 6]);
  const { weight, bias } = params.queryKeyValue!;
  const projected = await x.matmul(weight).add(bias!).array() as Matrix;
  const heads = [0, 1].map((h) => {
    const part = (which: number) =>
      projected.map((row) => row.slice(which * 6 + h * 3, which * 6 + h * 3 + 3));
    return reference(part(0), part(1), part(2), kinds.dot.score, (i, j) => j <= i);
  });
  const joined = tensor(heads[0]!.map((row, i) => [...row, ...heads[1]![i]!]));
  const wanted = joined.matmul(params.output.weight).add(params.output.bias!);
  await assertValues(layer.apply(params, x), await wanted.array(), 1e-5);
});

Deno.test("multiHeadAttention() looks at another sequence, by cosine, by distance", async () => {
  const key = random.key(1), x = random.normal(random.key(2), [2, 4, 6]);
  const cross = nn.multiHeadAttention(6, 3, { context: 5, rotary: { interleaved: true } });
  const context = random.normal(random.key(3), [2, 7, 5]), params = cross.init(key);
  assertEquals(cross.apply(params, x, { context }).shape, [2, 4, 6]);
  assertThrows(() => cross.apply(params, x), TypeError, "the context is undefined");
  const cosine = nn.multiHeadAttention(6, 3, { score: "cosine" }), own = cosine.init(key);
  const y = cosine.apply(own, x);
  // Cosines do not see how long queries and keys are.
  const factor = tensor([...new Array(12).fill(3), ...new Array(6).fill(1)]);
  const longer = {
    ...own,
    queryKeyValue: { ...own.queryKeyValue!, weight: own.queryKeyValue!.weight.mul(factor) },
  };
  await assertValues(cosine.apply(longer, x), await y.array(), 1e-3);
  const l2 = nn.multiHeadAttention(6, 3, { score: "l2" });
  assertEquals(Object.keys(l2.init(key)).sort(), ["output", "query", "value"]);
  assertEquals(l2.apply(l2.init(key), x).shape, [2, 4, 6]);
});

Deno.test("multiHeadAttention() names itself in errors", () => {
  assertThrows(() => nn.multiHeadAttention(6, 4), RangeError, "6 features for 4 heads");
  assertThrows(
    () => nn.multiHeadAttention(6, 3, { score: "l2", context: 3 }),
    TypeError,
    'score is "l2" with a context',
  );
  const layer = nn.multiHeadAttention(6, 3), params = layer.init(random.key(0));
  assertThrows(() => layer.apply(params, ones([4, 5])), TypeError, "multiHeadAttention(6, 3)");
  assertThrows(
    () => layer.apply({ output: params.output }, ones([4, 6])),
    TypeError,
    "without queryKeyValue",
  );
  assertThrows(
    () => layer.apply(params, ones([4, 6]), { context: ones([4, 6]) }),
    TypeError,
    "expected none",
  );
});

Deno.test("multiHeadAttention() has the right derivatives", async () => {
  const x = random.normal(random.key(2), [3, 4]);
  for (const score of ["dot", "cosine", "l2"] as const) {
    for (const memory of ["full", "lean"] as const) {
      const layer = nn.multiHeadAttention(4, 2, { score, causal: score === "dot", memory });
      const params = layer.init(random.key(1));
      await assertDerivatives((p: typeof params, x: Tensor) => layer.apply(p, x), [params, x]);
    }
  }
});

Deno.test("l2Attention() in f16 is finite where squared lengths are not", async () => {
  const [q, k, v] = [3, 4, 5].map((seed) =>
    random.normal(random.key(seed), [2, 5, 64]).mul(seed === 5 ? 1 : 40).cast("f16")
  ) as [Tensor, Tensor, Tensor];
  const wide = nn.l2Attention(q.cast("f32"), k.cast("f32"), v.cast("f32"));
  const narrow = nn.l2Attention(q, k, v);
  assertEquals(narrow.dtype, "f16");
  await assertValues(narrow, await wide.array(), 2e-3);
});
