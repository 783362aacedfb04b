import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { assign, type HostTensor, toHost } from "../../data/mod.ts";
import { ones, tensor } from "../../graph/create.ts";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import * as nn from "../../nn/mod.ts";
import { leaves, type Tree } from "../../optim/tree.ts";
import { assertDerivatives } from "../derivatives.ts";
import { assertValues, installHost } from "../graph/host.ts";
import { randomOf } from "../gpu.ts";

installHost();
const sizes = { vocabulary: 11, length: 6, features: 8, layers: 3, heads: 2 };
const tokens = () => tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]], { dtype: "i32" });

Deno.test("gpt() makes logits, and its loss begins at that of guessing", async () => {
  const model = nn.gpt(sizes), params = model.init(random.key(0));
  const logits = model.apply(params, tokens());
  assertEquals(logits.shape, [2, 5, 11]);
  const labels = tensor([[1, 4, 1, 5, 9], [2, 6, 5, 3, 5]], { dtype: "i32" });
  assertAlmostEquals(await nn.crossEntropy(logits, labels).item(), Math.log(11), 0.01);
});

Deno.test("gpt() sees no future", async () => {
  const model = nn.gpt({ ...sizes, tied: false }), params = model.init(random.key(0));
  const other = tensor([[3, 1, 4, 7, 8]], { dtype: "i32" });
  const first = model.apply(params, tokens().slice([0, 1])).slice(0, [0, 3]);
  await assertValues(model.apply(params, other).slice(0, [0, 3]), await first.array(), 1e-7);
});

Deno.test("gpt() as a loop over stacked blocks is the same, gradient included", async () => {
  const plain = nn.gpt(sizes), loop = nn.gpt({ ...sizes, stacked: true });
  const params = plain.init(random.key(0)), stacked = loop.init(random.key(0));
  await assertValues(
    loop.apply(stacked, tokens()),
    await plain.apply(params, tokens()).array(),
    1e-6,
  );
  const loss = (model: nn.Layer) => (p: Tree) => model.apply(p, tokens()).square().sum();
  const a = grad(loss(plain))(params as Tree) as typeof params;
  const b = grad(loss(loop))(stacked as Tree) as typeof stacked;
  const last = (b.blocks as nn.BlockParams).up.weight.slice(2);
  await assertValues(
    last,
    await (a.blocks as readonly nn.BlockParams[])[2]!.up.weight.array(),
    1e-5,
  );
  await assertValues(b.tokens.weight, await a.tokens.weight.array(), 1e-5);
});

Deno.test("gpt() drops in every block by a mask of its own, stacked or not", async () => {
  for (const stacked of [false, true]) {
    const model = nn.gpt({ ...sizes, dropout: 0.5, stacked }), params = model.init(random.key(0));
    const y = model.apply(params, tokens(), { train: true, key: random.key(1) });
    const z = model.apply(params, tokens(), { train: true, key: random.key(2) });
    assert(`${await y.data()}` !== `${await z.data()}`);
    assertThrows(() => model.apply(params, tokens(), { train: true }), TypeError, "no key");
  }
});

Deno.test("transformerBlock() has the right derivatives", async () => {
  const block = nn.transformerBlock(4, 2, { epsilon: 0.1 });
  const wide = (p: Tree) => p;
  const params = wide(block.init(random.key(0)) as Tree), x = random.normal(random.key(1), [3, 4]);
  await assertDerivatives((p: Tree, x: Tensor) => block.apply(p, x), [params, x]);
});

Deno.test("gpt() names itself in errors", () => {
  const model = nn.gpt(sizes), params = model.init(random.key(0));
  assertThrows(() => model.apply(params, ones([2, 5])), TypeError, "gpt(11, 6, 8, 3, 2)");
  const long = ones([7], { dtype: "i32" });
  assertThrows(() => model.apply(params, long), TypeError, "integers of up to 6 places");
  assertThrows(() => nn.gpt({ ...sizes, layers: 0 }), RangeError, "the number of layers is 0");
  assertThrows(() => nn.gpt({ ...sizes, heads: 3 }), RangeError, "8 features for 3 heads");
});

type Matrix = number[][];

/** GPT-2 as its paper and files have it, in float64, by its own names. */
function gpt2(file: ReadonlyMap<string, HostTensor>, text: readonly number[], heads: number) {
  const get = (name: string) => file.get(name)!;
  const row = (name: string) => [...get(name).data];
  const rows = (name: string): Matrix => {
    const { shape: [n, d], data } = get(name);
    return Array.from({ length: n! }, (_, i) => [...data.subarray(i * d!, (i + 1) * d!)]);
  };
  const affine = (x: Matrix, name: string): Matrix => {
    const w = rows(`${name}.weight`), b = row(`${name}.bias`);
    return x.map((v) => b.map((c, j) => v.reduce((sum, u, i) => sum + u * w[i]![j]!, c)));
  };
  const norm = (x: Matrix, name: string): Matrix =>
    x.map((v) => {
      const mean = v.reduce((a, b) => a + b) / v.length;
      const variance = v.reduce((a, b) => a + (b - mean) ** 2, 0) / v.length;
      const g = row(`${name}.weight`), b = row(`${name}.bias`);
      return v.map((u, i) => (u - mean) / Math.sqrt(variance + 1e-5) * g[i]! + b[i]!);
    });
  const gelu = (u: number) =>
    0.5 * u * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (u + 0.044715 * u ** 3)));
  const plus = (x: Matrix, y: Matrix) => x.map((v, i) => v.map((u, j) => u + y[i]![j]!));
  const wte = rows("wte.weight"), wpe = rows("wpe.weight"), d = wte[0]!.length, size = d / heads;
  let x = text.map((t, i) => wte[t]!.map((v, j) => v + wpe[i]![j]!));
  for (let layer = 0; file.has(`h.${layer}.ln_1.weight`); layer++) {
    const h = `h.${layer}`;
    const qkv = affine(norm(x, `${h}.ln_1`), `${h}.attn.c_attn`);
    const found = x.map((_, i) =>
      Array.from({ length: d }, (_, c) => {
        const head = Math.floor(c / size), from = head * size;
        const scores = qkv.slice(0, i + 1).map((other) => {
          let sum = 0;
          for (let k = from; k < from + size; k++) sum += qkv[i]![k]! * other[d + k]!;
          return Math.exp(sum / Math.sqrt(size));
        });
        const total = scores.reduce((a, b) => a + b);
        return scores.reduce((sum, w, j) => sum + w / total * qkv[j]![2 * d + c]!, 0);
      })
    );
    x = plus(x, affine(found, `${h}.attn.c_proj`));
    const inner = affine(norm(x, `${h}.ln_2`), `${h}.mlp.c_fc`).map((v) => v.map(gelu));
    x = plus(x, affine(inner, `${h}.mlp.c_proj`));
  }
  return norm(x, "ln_f").map((v) => wte.map((w) => w.reduce((sum, u, i) => sum + u * v[i]!, 0)));
}

/** A checkpoint of GPT-2's names and shapes with random values. */
function checkpoint(d: number, layers: number, prefix: string): Map<string, HostTensor> {
  const random = randomOf(7), file = new Map<string, HostTensor>();
  const add = (name: string, ...shape: number[]) => {
    const data = Float32Array.from(
      { length: shape.reduce((a, b) => a * b) },
      () => random() - 0.5,
    );
    file.set(prefix + name, { dtype: "f32", shape, data });
  };
  const pair = (name: string, inputs: number, outputs: number) => {
    add(`${name}.weight`, inputs, outputs);
    add(`${name}.bias`, outputs);
  };
  add("wte.weight", 11, d);
  add("wpe.weight", 6, d);
  for (let i = 0; i < layers; i++) {
    add(`h.${i}.ln_1.weight`, d);
    add(`h.${i}.ln_1.bias`, d);
    pair(`h.${i}.attn.c_attn`, d, 3 * d);
    pair(`h.${i}.attn.c_proj`, d, d);
    add(`h.${i}.ln_2.weight`, d);
    add(`h.${i}.ln_2.bias`, d);
    pair(`h.${i}.mlp.c_fc`, d, 4 * d);
    pair(`h.${i}.mlp.c_proj`, 4 * d, d);
    add(`h.${i}.attn.bias`, 1, 1, 6, 6);
  }
  add("ln_f.weight", d);
  add("ln_f.bias", d);
  return file;
}

Deno.test("a GPT-2 checkpoint is loaded by its names, and computes what GPT-2 does", async () => {
  for (const prefix of ["", "transformer."]) {
    const file = checkpoint(8, 2, prefix);
    const options = nn.gpt2Options(file, { heads: 2 });
    assertEquals(options, { ...sizes, layers: 2, hidden: 32 });
    const model = nn.gpt(options), fresh = model.init(random.key(0));
    const name = nn.gpt2Name(file);
    assertThrows(() => assign(fresh, file, { name }), TypeError, "attn.bias");
    const params = assign(fresh, file, { name, unused: "allow" });
    const text = [3, 1, 4, 1, 5];
    const plain = new Map([...file].map(([name, x]) => [name.slice(prefix.length), x]));
    await assertValues(
      model.apply(params, tensor(text, { dtype: "i32" })),
      gpt2(plain, text, 2),
      1e-5,
    );
  }
});

Deno.test("gpt2Options() says what a checkpoint lacks", () => {
  assertThrows(() => nn.gpt2Options(new Map()), TypeError, "it has no wte.weight");
  const file = checkpoint(8, 1, "");
  assertThrows(() => nn.gpt2Options(file), TypeError, "a multiple of 64");
  file.delete("wpe.weight");
  assertThrows(() => nn.gpt2Options(file), TypeError, "wpe.weight is missing");
  assertThrows(() => nn.gpt2Name(file)("head.weight"), TypeError, "Cannot name head.weight");
});

Deno.test("assign() checks shapes, transposes, and says everything that is wrong at once", async () => {
  const file = new Map<string, HostTensor>([
    ["w", { dtype: "f32", shape: [1, 2], data: Float32Array.of(3, 4) }],
    ["b", { dtype: "i32", shape: [1], data: Int32Array.of(5) }],
  ]);
  const layer = nn.linear(2, 1), fresh = layer.init(random.key(0));
  const name = (path: string) => ({ name: path[0]!, transpose: path === "weight" });
  const params = assign(fresh, file, { name });
  await assertValues(layer.apply(params, tensor([1, 10])), [48]);
  const wrong = assertThrows(() => assign(fresh, file, { name: (path) => path[0]! + path[0] }));
  for (const part of ["ww is missing", "bb is missing", "nobody asks for w, b"]) {
    assert((wrong as Error).message.includes(part), (wrong as Error).message);
  }
  assertThrows(() => assign(fresh, file, { name: (path) => path[0]! }), TypeError, "w is [1,2]");
  const kept = assign(fresh, new Map(), { missing: "keep" });
  assertEquals(leaves(kept), leaves(fresh));
  const host = await toHost(params);
  assertEquals([...host.get("weight")!.data], [3, 4]);
  assertEquals(host.get("weight")!.shape, [2, 1]);
});
