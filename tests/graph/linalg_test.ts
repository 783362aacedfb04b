import { assert, assertEquals, assertThrows } from "@std/assert";
import { eye, ones, tensor, zeros } from "../../graph/create.ts";
import * as linalg from "../../graph/linalg.ts";
import type { Node } from "../../graph/node.ts";
import { Tensor } from "../../graph/tensor.ts";
import { grad, vmap } from "../../graph/transforms.ts";
import type { Case, Draw } from "./cases.ts";
import { checkBatching, checkDerivatives } from "./differences.ts";
import { assertValues, installHost, sequence } from "./host.ts";

installHost();

function some(shape: number[], seed = 1): Tensor {
  const next = sequence(seed), size = shape.reduce((n, k) => n * k, 1);
  return tensor(Array.from({ length: size }, () => next() * 2 - 1), { shape });
}

const transposed = (x: Tensor): Tensor => x.swapAxes(-1, -2);
/** Symmetric and well away from singular. */
const positive = (x: Tensor): Tensor => x.matmul(transposed(x)).add(eye(x.shape.at(-2)!));

Deno.test("cholesky() gives the lower factor, of batches too", async () => {
  for (const shape of [[1, 1], [2, 2], [5, 5], [3, 4, 4], [2, 1, 3, 3], [0, 2, 2], [0, 0]]) {
    const x = positive(some(shape)), l = linalg.cholesky(x);
    assertEquals(l.shape, shape);
    await assertValues(l.matmul(transposed(l)), [...await x.data()], 1e-5, `${shape}`);
    await assertValues(l.triu(1), new Array<number>(l.size).fill(0));
  }
  // Of others than symmetric matrices the symmetric part.
  await assertValues(linalg.cholesky(tensor([[4, 4], [0, 5]])), [[2, 0], [1, 2]], 1e-6);
  const failed = await linalg.cholesky(tensor([[1, 2], [2, 1]])).data();
  assert(Number.isNaN(failed[3]));
  assertEquals(linalg.cholesky(ones([1, 1], { dtype: "f16" })).dtype, "f16");
});

Deno.test("triangularSolve() solves with either triangle, transposed, with ones on the diagonal", async () => {
  const a = some([2, 4, 4]).add(eye(4).mul(3)), b = some([4, 3], 2);
  for (const lower of [true, false]) {
    for (const transpose of [true, false]) {
      for (const unitDiagonal of [true, false]) {
        const x = linalg.triangularSolve(a, b, { lower, transpose, unitDiagonal });
        let t = lower ? a.tril() : a.triu();
        if (unitDiagonal) t = t.sub(t.diagonal().diag()).add(eye(4));
        if (transpose) t = transposed(t);
        const expected = await b.broadcastTo([2, 4, 3]).data();
        await assertValues(t.matmul(x), [...expected], 1e-4, JSON.stringify({ lower, transpose }));
      }
    }
  }
  // What lies in the other triangle is not looked at.
  const dirty = tensor([[2, NaN], [1, 4]]);
  await assertValues(linalg.triangularSolve(dirty, tensor([2, 9])), [1, 2]);
  assertEquals(linalg.triangularSolve(zeros([3, 0, 0]), zeros([0, 2])).shape, [3, 0, 2]);
});

Deno.test("qr() gives orthonormal columns and a triangle, tall, wide and square", async () => {
  for (const shape of [[1, 1], [4, 4], [5, 3], [3, 5], [2, 4, 2], [3, 1], [1, 3], [0, 2], [2, 0]]) {
    const x = some(shape, 3), { q, r } = linalg.qr(x);
    const [m, n] = shape.slice(-2) as [number, number], k = Math.min(m, n);
    assertEquals([q.shape.slice(-2), r.shape.slice(-2)], [[m, k], [k, n]]);
    await assertValues(q.matmul(r), [...await x.data()], 1e-5, `${shape}`);
    const unit = await eye(k).broadcastTo([...shape.slice(0, -2), k, k]).data();
    await assertValues(transposed(q).matmul(q), [...unit], 1e-5, `${shape}`);
    await assertValues(r.tril(-1), new Array<number>(r.size).fill(0));
  }
  // As LAPACK: numpy.linalg.qr([[3, 1], [4, 2]]).
  const { q, r } = linalg.qr(tensor([[3, 1], [4, 2]]));
  await assertValues(q, [[-0.6, -0.8], [-0.8, 0.6]], 1e-6);
  await assertValues(r, [[-5, -2.2], [0, 0.4]], 1e-6);
  // Dependent columns have factors, too.
  const flat = linalg.qr(ones([3, 2]));
  await assertValues(flat.q.matmul(flat.r), new Array<number>(6).fill(1), 1e-6);
});

Deno.test("solve(), inverse() and determinants", async () => {
  const a = some([2, 4, 4], 5).add(eye(4).mul(2)), b = some([4], 6);
  const x = linalg.solve(a, b);
  assertEquals(x.shape, [2, 4]);
  await assertValues(
    a.matmul(x.expandDims(2)).squeeze(2),
    [...await b.broadcastTo([2, 4]).data()],
    1e-4,
  );
  await assertValues(
    a.matmul(linalg.inverse(a)),
    [...await eye(4).broadcastTo([2, 4, 4]).data()],
    1e-4,
  );
  await assertValues(linalg.determinant(tensor([[0, 2], [1, 1]])), -2, 1e-6);
  await assertValues(linalg.determinant(tensor([[1, 2], [2, 4]])), 0, 1e-6);
  await assertValues(linalg.determinant(zeros([3, 0, 0])), [1, 1, 1]);
  await assertValues(linalg.determinant(tensor([[2, 0, 0], [0, 0, 3], [0, 4, 0]])), -24, 1e-5);
  const { sign, logDeterminant } = linalg.slogdet(eye(50).mul(-1e3));
  await assertValues(sign, 1);
  await assertValues(logDeterminant, 50 * Math.log(1e3), 1e-5);
  const singular = linalg.slogdet(zeros([2, 2]));
  await assertValues(singular.sign, 0);
  await assertValues(singular.logDeterminant, -Infinity);
});

Deno.test("matrixNorm() sums columns or rows", async () => {
  const x = tensor([[1, -2], [3, 4]]);
  const expected: readonly (readonly [number, number])[] = [[1, 6], [-1, 4], [Infinity, 7], [
    -Infinity,
    3,
  ]];
  for (const [norm, value] of expected) await assertValues(linalg.matrixNorm(x, norm), value);
  await assertValues(linalg.matrixNorm(x), Math.sqrt(30), 1e-6);
  assertThrows(() => linalg.matrixNorm(x, 2), RangeError, "the norm is 2");
});

Deno.test("linear algebra refuses what does not fit", () => {
  assertThrows(() => linalg.cholesky(ones([2, 3])), TypeError, "expected square matrices");
  assertThrows(
    () => linalg.qr(ones([3])),
    TypeError,
    "Cannot qr: the tensor is [3], expected matrices",
  );
  assertThrows(() => linalg.solve(eye(3), ones([2])), TypeError, "the right side is [2] for [3,3]");
  assertThrows(
    () => linalg.triangularSolve(ones([2, 3, 3]), ones([3, 3, 1])),
    TypeError,
    "expected [..., 3, m] or [3], batches broadcast",
  );
});

const near: Draw = (uniform) => uniform() * 1.6 - 0.8;
const of = (f: (...x: Tensor[]) => Tensor, ...shapes: number[][]): Case => ({
  operands: shapes.map((shape) => ({ shape, draw: near })),
  build: (...x: Node[]) => f(...x.map((node) => new Tensor(node))).node,
});
const shifted = (x: Tensor): Tensor => x.add(eye(x.shape.at(-1)!).mul(2));

const derivatives: { readonly [name: string]: readonly Case[] } = {
  cholesky: [
    of((x) => linalg.cholesky(positive(x)), [3, 3]),
    of((x) => linalg.cholesky(positive(x)), [2, 2, 2]),
  ],
  triangularSolve: [
    of((a, b) => linalg.triangularSolve(shifted(a), b), [3, 3], [3, 2]),
    of((a, b) => linalg.triangularSolve(shifted(a), b, { lower: false, transpose: true }), [3, 3], [
      3,
    ]),
    of((a, b) => linalg.triangularSolve(a, b, { unitDiagonal: true, transpose: true }), [2, 2], [
      2,
      1,
    ]),
  ],
  qr: [
    of((x) => linalg.qr(shifted(x)).q, [3, 3]),
    of((x) => linalg.qr(shifted(x)).r, [3, 3]),
    of((x) => linalg.qr(x.add(tensor([[2, 0], [0, 2], [1, 1]]))).q, [3, 2]),
    of((x) => {
      const { q, r } = linalg.qr(x.add(tensor([[2, 0, 1], [0, 2, 1]])));
      return q.matmul(r.sin());
    }, [2, 3]),
  ],
  solve: [of((a, b) => linalg.solve(shifted(a), b), [3, 3], [3, 2])],
  inverse: [of((a) => linalg.inverse(shifted(a)), [2, 2, 2])],
  determinant: [of((a) => linalg.determinant(shifted(a)), [3, 3])],
  slogdet: [of((a) => linalg.slogdet(shifted(a)).logDeterminant, [3, 3])],
};

for (const [name, cases] of Object.entries(derivatives)) {
  Deno.test(`derivatives of ${name} agree with differences, twice; batching is a loop`, () => {
    checkDerivatives(name, cases);
    checkBatching(name, cases);
  });
}

Deno.test("vmap() over linear algebra is a batch", async () => {
  const x = positive(some([3, 4, 4], 9));
  await assertValues(vmap(linalg.cholesky)(x), [...await linalg.cholesky(x).data()], 1e-6);
  const g = vmap(grad((a: Tensor) => linalg.slogdet(a).logDeterminant))(x);
  await assertValues(g, [...await transposed(linalg.inverse(x)).data()], 1e-4);
});
