/**
 * Jacobians by columns and by rows, and gradients of every example of a batch, through functions of
 * every kind.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import * as linalg from "../../graph/linalg.ts";
import { einsum } from "../../graph/operations.ts";
import { averagePool, conv, maxPool } from "../../graph/spatial.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad, jacfwd, jacobian, jacrev, vmap } from "../../graph/transforms.ts";
import { scan } from "../../graph/scan.ts";
import { assertValues, installHost, sequence } from "./host.ts";

installHost();

function some(shape: number[], seed = 1): Tensor {
  const next = sequence(seed), size = shape.reduce((n, k) => n * k, 1);
  return tensor(Array.from({ length: size }, () => next() * 2 - 1), { shape });
}

const kernel = some([3, 2, 2], 7), table = some([5, 4], 8);
const index = tensor([3, 0, 3, 1], { dtype: "i32" });

/** Functions of a [4, 2] tensor. */
const functions: { readonly [name: string]: (x: Tensor) => Tensor } = {
  elementwise: (x) => x.asinh().mul(x.exp2()).atan2(2),
  reductions: (x) => x.softmax(0).mul(x.logSumExp(1, { keepDims: true })),
  products: (x) => table.matmul(x).tanh(),
  einsum: (x) => einsum("ij,kj->ik", x, x),
  convolution: (x) => conv(x.expandDims(0), kernel, { padding: "same" }),
  pooling: (x) => averagePool(maxPool(x.expandDims(0), 2, { stride: 1 }), 2, { stride: 1 }),
  "running sums": (x) => x.cumsum(0).cumprod(1),
  sorting: (x) => x.sort(0).mul(tensor([1, 2])),
  indexing: (x) => x.take(index).index(tensor([0, 2], { dtype: "i32" })),
  scatter: (x) => x.scatter(index, x.mul(2), "max"),
  scans: (x) => scan((c: Tensor, row: Tensor) => [c.mul(row).sin(), c] as const, x.slice(0), x)[1],
  "linear algebra": (x) => linalg.solve(x.T.matmul(x).add(linalg.inverse(some([2, 2]))), x.T),
};

for (const [name, f] of Object.entries(functions)) {
  Deno.test(`jacfwd() and jacrev() agree through ${name}`, async () => {
    const x = some([4, 2]);
    const [columns, rows] = [jacfwd(f)(x), jacrev(f)(x)];
    assertEquals(columns.shape, [...f(x).shape, 4, 2]);
    assertEquals(rows.shape, columns.shape);
    await assertValues(columns, [...await rows.data()], 1e-5);
  });

  Deno.test(`gradients of every example are those of each through ${name}`, async () => {
    const examples = some([3, 4, 2], 5);
    const loss = (x: Tensor): Tensor => f(x).square().sum();
    const all = await vmap(grad(loss))(examples).data();
    const each = await Promise.all([0, 1, 2].map((i) => grad(loss)(examples.slice(i)).data()));
    await assertValues(tensor(all), each.flatMap((g) => [...g]), 1e-5);
  });
}

Deno.test("jacobian() refuses modes that there are not", () => {
  assertThrows(
    () => jacobian((x: Tensor) => x, { mode: "sideways" as "forward" }),
    TypeError,
    'the mode is sideways, expected "forward" or "reverse"',
  );
});
