/**
 * Linear algebra on the device: factors and gradients against the oracle, and programs that do not
 * grow with the matrices.
 *
 * @module
 */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { eye, tensor } from "../../graph/create.ts";
import * as linalg from "../../graph/linalg.ts";
import { Tensor } from "../../graph/tensor.ts";
import { grad } from "../../graph/transforms.ts";
import { compile } from "../../runtime/compile.ts";
import { assertOracle, constantOf, gpu, randomOf } from "../gpu.ts";

function some(shape: number[], seed: number): Tensor {
  const uniform = randomOf(seed), size = shape.reduce((n, k) => n * k, 1);
  return new Tensor(constantOf(Array.from({ length: size }, () => uniform() * 2 - 1), shape));
}

const positive = (x: Tensor): Tensor => x.matmul(x.swapAxes(-1, -2)).add(eye(x.shape.at(-2)!));
const shifted = (x: Tensor): Tensor => x.add(eye(x.shape.at(-1)!).mul(3));

Deno.test("linear algebra and its gradients agree with the oracle", async () => {
  const x = some([2, 5, 5], 1), b = some([5, 3], 2), tall = some([7, 4], 3), wide = some([3, 5], 4);
  const weights = some([2, 5, 5], 5);
  const factors = linalg.qr(tall), broad = linalg.qr(wide);
  const gradients = [
    grad((x: Tensor) => linalg.cholesky(positive(x)).mul(weights).sum())(x),
    grad((x: Tensor) => linalg.qr(shifted(x)).q.mul(weights).sum())(x),
    grad((x: Tensor) => linalg.triangularSolve(shifted(x), b).square().sum())(x),
    grad((x: Tensor) => linalg.solve(shifted(x), b).square().sum())(x),
    grad((x: Tensor) => linalg.slogdet(shifted(x)).logDeterminant.sum())(x),
  ];
  const results = [
    linalg.cholesky(positive(x)),
    ...[factors.q, factors.r, broad.q, broad.r],
    linalg.triangularSolve(shifted(x), b, { lower: false }),
    linalg.solve(shifted(x), b),
    linalg.inverse(shifted(x)),
    linalg.determinant(shifted(x)),
  ];
  await assertOracle(
    [...results, ...gradients].map(({ node }) => node),
    () => ({ ulp: 512, absolute: 1e-4 }),
    (_, i) => `result ${i}`,
  );
});

Deno.test("matrices whose squares are no floats are factorized and solved as others are", async () => {
  await gpu();
  const a = [[2, 1, 0], [-1, 3, 1], [2, 2, -4]], b = [3, 3, 0];
  for (const size of [1e-25, 1e-20, 1e18, 1e25]) {
    const x = tensor(a).mul(size), { q, r } = linalg.qr(x);
    const [back, unit, solved, mixed] = await Promise.all([
      q.matmul(r).div(size).data(),
      q.T.matmul(q).data(),
      linalg.solve(x, tensor(b).mul(size)).data(),
      // One column of this size, the others of another.
      linalg.solve(tensor(a).mul(tensor([size, 1, 1])), tensor(b)).data(),
    ]);
    const near = (found: ArrayLike<number>, expected: number[]) =>
      expected.forEach((value, i) => assertAlmostEquals(found[i]!, value, 1e-5, `${size}`));
    near(back, a.flat());
    near(unit, [1, 0, 0, 0, 1, 0, 0, 0, 1]);
    near(solved, [1, 1, 1]);
    near([mixed[0]! * size, mixed[1]!, mixed[2]!], [1, 1, 1]);
  }
  const broken = await linalg.solve(tensor([[NaN, 1], [2, 3]]), tensor([1, 1])).data();
  assertEquals([...broken], [NaN, NaN]);
});

Deno.test("a factorization of a large matrix takes few kernels", async () => {
  await gpu();
  const kernels = (n: number): number => {
    const f = compile((x: Tensor) => linalg.cholesky(x));
    f(eye(n));
    const count = new Set(f.programs()[0]!.dispatches.map(({ kernel }) => kernel.wgsl)).size;
    f.dispose();
    return count;
  };
  assert(kernels(128) <= 12, `${kernels(128)} kernels`);
});

Deno.test("f16 is factorized in f32", async () => {
  await gpu();
  const x = tensor([[4, 2], [2, 5]], { dtype: "f16" }), l = linalg.cholesky(x);
  assertEquals(l.dtype, "f16");
  assertEquals(await l.array(), [[2, 0], [1, 2]]);
});
