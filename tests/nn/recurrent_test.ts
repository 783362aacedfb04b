import { assertEquals, assertThrows } from "@std/assert";
import { ones, tensor, zeros } from "../../graph/create.ts";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { Tree } from "../../graph/transforms.ts";
import * as nn from "../../nn/mod.ts";
import { map } from "../../optim/tree.ts";
import { assertDerivatives } from "../derivatives.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
type Matrix = number[][];

/** x·W + b for a row. */
function affine(x: readonly number[], w: Matrix, b: readonly number[] = []): number[] {
  return w[0]!.map((_, j) => x.reduce((sum, v, i) => sum + v * w[i]![j]!, b[j] ?? 0));
}

async function setUp<P extends { readonly [name: string]: Tensor }>(
  cell: { init(key: Tensor): P },
  t: number,
  inputs: number,
) {
  const fresh = cell.init(random.key(1));
  const params: Record<string, Tensor> = {}, host: Record<string, Matrix> = {};
  let seed = 10;
  for (const name of Object.keys(fresh).sort()) {
    // Biases too are drawn, lest zeros hide one that is not used.
    params[name] = random.normal(random.key(seed++), fresh[name]!.shape).mul(0.5);
    host[name] = await params[name]!.array() as Matrix;
  }
  const x = random.normal(random.key(2), [t, inputs]);
  return { params: params as P, host, x, rows: await x.array() as Matrix };
}

Deno.test("recurrent(lstmCell()) is an LSTM, step by step", async () => {
  const cell = nn.lstmCell(3, 2), { params, host, x, rows } = await setUp(cell, 5, 3);
  let h = [0, 0], c = [0, 0];
  const wanted = rows.map((row) => {
    const a = affine(row, host.input!, host.bias as unknown as number[]);
    const z = affine(h, host.hidden!).map((v, i) => v + a[i]!);
    c = c.map((v, j) => sigmoid(z[2 + j]!) * v + sigmoid(z[j]!) * Math.tanh(z[4 + j]!));
    h = c.map((v, j) => sigmoid(z[6 + j]!) * Math.tanh(v));
    return h;
  });
  const layer = nn.recurrent(cell);
  const [state, ys] = layer.run(params, x);
  await assertValues(ys, wanted, 1e-5);
  await assertValues(state.hidden, h, 1e-5);
  await assertValues(state.cell, c, 1e-5);
});

Deno.test("recurrent(gruCell()) is a GRU, step by step", async () => {
  const cell = nn.gruCell(3, 2), { params, host, x, rows } = await setUp(cell, 5, 3);
  const inner = host.candidateBias as unknown as number[];
  let h = [0, 0];
  const wanted = rows.map((row) => {
    const a = affine(row, host.input!, host.bias as unknown as number[]);
    const b = affine(h, host.hidden!);
    h = h.map((v, j) => {
      const r = sigmoid(a[j]! + b[j]!), z = sigmoid(a[2 + j]! + b[2 + j]!);
      const n = Math.tanh(a[4 + j]! + r * (b[4 + j]! + inner[j]!));
      return (1 - z) * n + z * v;
    });
    return h;
  });
  await assertValues(nn.recurrent(cell).apply(params, x), wanted, 1e-5);
});

Deno.test("recurrent() goes backwards, batched, from a given state", async () => {
  const cell = nn.gruCell(3, 2), { params, x } = await setUp(cell, 4, 3);
  const back = nn.recurrent(cell, { reverse: true }), forth = nn.recurrent(cell);
  await assertValues(
    back.apply(params, x),
    await forth.apply(params, x.flip(0)).flip(0).array(),
    1e-6,
  );
  const two = ones([2, 1, 1]).mul(x), ys = forth.apply(params, two);
  assertEquals(ys.shape, [2, 4, 2]);
  await assertValues(ys.slice(1), await forth.apply(params, x).array(), 1e-6);
  // In two halves, the state handed on.
  const [state, first] = forth.run(params, x.slice([0, 2]));
  const second = forth.apply(params, x.slice([2]), { state });
  await assertValues(first, await forth.apply(params, x).slice([0, 2]).array(), 1e-6);
  await assertValues(second, await forth.apply(params, x).slice([2]).array(), 1e-6);
  assertEquals(forth.apply(params, ones([0, 3])).shape, [0, 2]);
});

Deno.test("recurrent() leaves the dtype of its state to the cell", async () => {
  // A sum of f16 stops at 2048, where 1 is half of the distance between neighbours.
  const sum: nn.Cell<Record<string, never>, { sum: Tensor }> = {
    name: "sum",
    inputs: 1,
    hidden: 1,
    init: () => ({}),
    initState: (batch) => ({ sum: zeros([...batch, 1]) }),
    project: (_params, x) => x,
    step(_params, state, x) {
      const sum = (state as { sum: Tensor }).sum.add(x.cast("f32"));
      return [{ sum }, sum.cast("f16")];
    },
  };
  const [last, ys] = nn.recurrent(sum).run({}, ones([2100, 1]).cast("f16"));
  assertEquals([last.sum.dtype, ys.dtype], ["f32", "f16"]);
  await assertValues(last.sum, [2100]);
  const cell = nn.lstmCell(1, 2), half = ones([3, 1]).cast("f16");
  const params = map((p) => p.cast("f16"), cell.init(random.key(0)));
  assertEquals(nn.recurrent(cell).apply(params, half).dtype, "f16");
});

Deno.test("cells begin with an open forget gate and orthogonal weights", async () => {
  const params = nn.lstmCell(3, 2).init(random.key(0));
  await assertValues(params.bias, [0, 0, 1, 1, 0, 0, 0, 0]);
  const gate = params.hidden.slice(null, [2, 4]);
  await assertValues(gate.T.matmul(gate), [[1, 0], [0, 1]], 1e-5);
});

Deno.test("cells name themselves in errors", () => {
  const cell = nn.lstmCell(3, 2), layer = nn.recurrent(cell), params = cell.init(random.key(0));
  assertThrows(() => nn.gruCell(0, 2), RangeError, "Cannot make gruCell(0, 2)");
  assertThrows(() => layer.apply(params, ones([3])), TypeError, "recurrent(lstmCell(3, 2))");
  assertThrows(() => layer.apply(params, ones([4, 2])), TypeError, "a last axis of 3");
  assertThrows(() => layer.apply({ bias: tensor(1) }, ones([4, 3])), TypeError, "parameter input");
  const state = cell.initState([2]);
  assertThrows(() => layer.apply(params, ones([4, 3]), { state }), TypeError, "cell of the state");
});

Deno.test("cells and what runs them have the right derivatives", async () => {
  for (const cell of [nn.lstmCell(3, 2), nn.gruCell(3, 2)] as nn.Cell[]) {
    const layer = nn.recurrent(cell);
    const x = random.normal(random.key(2), [2, 4, 3]);
    const args = [cell.init(random.key(3)), x, cell.initState([2])];
    await assertDerivatives(
      (p: Tree, x: Tensor, state: Tree) => layer.run(p, x, { state }),
      args,
    );
  }
});
