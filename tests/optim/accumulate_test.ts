import { assert, assertEquals, assertThrows } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import { realize } from "../../graph/realize.ts";
import { key, normal } from "../../graph/random.ts";
import { readAll, type Tensor } from "../../graph/tensor.ts";
import { valueAndGrad } from "../../graph/transforms.ts";
import { accumulate, type Accumulated, microBatches } from "../../optim/accumulate.ts";
import { adam, type State } from "../../optim/optimizer.ts";
import { compile } from "../../runtime/compile.ts";
import { init, memory, resetPeak } from "../../runtime/init.ts";

await init({ software: "allow" });

type Params = { readonly w: Tensor; readonly u: Tensor; readonly scale: Tensor };
type Batch = { readonly x: Tensor; readonly y: Tensor };

const PARTS = 3, SEED = 7;

/** Two layers and a scale, whose gradients end in a product and in a sum. */
const loss = ({ w, u, scale }: Params, { x, y }: Batch): Tensor =>
  x.matmul(w).tanh().mul(scale).matmul(u).sub(y).square().mean();

function paramsOf(width: number): Params {
  return {
    w: normal(key(SEED), [5, width]),
    u: normal(key(SEED + 1), [width, 2]),
    scale: normal(key(SEED + 2), [width]),
  };
}

function batchOf(rows: number): Batch {
  return { x: normal(key(SEED + 3), [rows, 5]), y: normal(key(SEED + 4), [rows, 2]) };
}

const part = ({ x, y }: Batch, i: number): Batch => {
  const size = x.shape[0]! / PARTS;
  return { x: x.slice([i * size, (i + 1) * size]), y: y.slice([i * size, (i + 1) * size]) };
};

/** Losses and gradients of parts, each computed by itself: value, scale, u, w. */
async function separately(params: Params, batch: Batch): Promise<Float32Array[][]> {
  const both = compile(valueAndGrad<readonly [Params, Batch]>(loss));
  const found: Float32Array[][] = [];
  for (let i = 0; i < PARTS; i++) {
    const [value, { scale, u, w }] = both(params, part(batch, i));
    found.push(await readAll([value, scale, u, w]) as Float32Array[]);
  }
  return found;
}

/** The documented order: ((g₀ + g₁) + g₂), rounded to f32 each time. */
function sumOf(found: readonly Float32Array[][], parts: number): Float32Array[] {
  return found[0]!.map((first, leaf) =>
    first.map((x, i) => found.slice(1, parts).reduce((s, g) => Math.fround(s + g[leaf]![i]!), x))
  );
}

Deno.test(`microBatches() adds in the documented order, to the bit (seed ${SEED})`, async () => {
  const params = paramsOf(16), batch = batchOf(PARTS * 8);
  await realize([params, batch]);
  const share = Math.fround(1 / PARTS);
  const expected = sumOf(await separately(params, batch), PARTS)
    .map((sum) => sum.map((x) => Math.fround(x * share)));
  const both = microBatches(loss, PARTS);
  for (const f of [both, compile((params: Params, batch: Batch) => both(params, batch))]) {
    const [value, { scale, u, w }] = f(params, batch);
    assertEquals(await readAll([value, scale, u, w]), expected);
  }
});

Deno.test("microBatches() gives the gradient of the whole batch up to rounding", async () => {
  const params = paramsOf(4), batch = batchOf(PARTS * 2);
  const [a, b] = microBatches(loss, PARTS)(params, batch);
  const [c, d] = valueAndGrad<readonly [Params, Batch]>(loss)(params, batch);
  const [one, two] = [await readAll([a, b.w, b.u]), await readAll([c, d.w, d.u])];
  one.forEach((x, i) =>
    x.forEach((v, j) => assert(Math.abs(Number(v) - Number(two[i]![j])) < 1e-5))
  );
});

Deno.test("microBatches() takes the memory of one micro-batch", async () => {
  const params = paramsOf(128), batch = batchOf(PARTS * 1024);
  await realize([params, batch]);
  const peakOf = async (f: (params: Params, batch: Batch) => [Tensor, Params]) => {
    resetPeak();
    const before = memory().live;
    await f(params, batch)[0].item();
    return memory().peak - before;
  };
  const both = microBatches(loss, PARTS);
  const small = await peakOf(both);
  const inside = await peakOf(compile((params: Params, batch: Batch) => both(params, batch)));
  const whole = await peakOf(compile(valueAndGrad<readonly [Params, Batch]>(loss)));
  // Activations are half a megabyte each, a gradient a few kilobytes.
  assert(whole > 2 ** 22, `${whole} bytes`);
  assert(small < whole / PARTS + 2 ** 16, `${small} bytes against ${whole}`);
  assert(inside <= small, `${inside} bytes within a compiled function, ${small} by itself`);
});

Deno.test("microBatches() refuses batches that parts do not divide", () => {
  assertThrows(() => microBatches(loss, 0), RangeError, "parts is 0");
  assertThrows(
    () => microBatches(loss, 2)(paramsOf(2), batchOf(3)),
    RangeError,
    "in 2 parts, expected axis 0 to be a multiple of 2",
  );
});

Deno.test(`accumulate() adds in the documented order, to the bit (seed ${SEED})`, async () => {
  const params = paramsOf(16), batch = batchOf(PARTS * 8);
  await realize([params, batch]);
  const found = await separately(params, batch);
  const optimizer = accumulate(adam(), PARTS);
  const step = compile((state: State<Params>, batch: Batch) =>
    optimizer.update(state, valueAndGrad<readonly [Params, Batch]>(loss)(state.params, batch)[1])
  );
  let state = optimizer.init(params);
  for (let i = 0; i < PARTS; i++) {
    state = step(state, part(batch, i));
    const { scale, u, w } = (state.memory as Accumulated).sum as Params;
    assertEquals(await readAll([scale, u, w]), sumOf(found, i + 1).slice(1));
  }
  assertEquals(await state.step.item(), 1);
});

Deno.test("accumulate() updates at every n-th gradient, with the mean", async () => {
  const plain = adam({ rate: 0.1 }), optimizer = accumulate(adam({ rate: 0.1 }), 2);
  const step = compile((state: State<Tensor>, g: Tensor) => optimizer.update(state, g), {
    donate: [0],
  });
  let state = optimizer.init(tensor([1, -2])), expected = plain.init(tensor([1, -2]));
  for (const [a, b] of [[1, 3], [-2, 5], [0, 1]] as const) {
    state = step(state, tensor([a, 2 * a]));
    assertEquals(await state.params.array(), await expected.params.array());
    state = step(state, tensor([b, 2 * b]));
    expected = plain.update(expected, tensor([(a + b) / 2, a + b]));
    const [x, y] = await readAll([state.params, expected.params]);
    x!.forEach((v, i) => assert(Math.abs(Number(v) - Number(y![i])) < 1e-6));
  }
  assertEquals(await state.step.item(), 3);
  assertThrows(() => accumulate(plain, 1.5), RangeError, "every is 1.5");
});
