/**
 * Conjugate gradients, Gauss-Newton products and Newton's method, without a device.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import "../seed.ts";
import { ones, tensor, zeros } from "../../graph/create.ts";
import { key, normal } from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { grad, hessian, hvp, jacobian } from "../../graph/transforms.ts";
import { conjugateGradient, gaussNewtonProduct, newtonStep } from "../../optim/mod.ts";
import { installHost } from "../graph/host.ts";

installHost();

const close = (a: number, b: number, tolerance: number, what = ""): void =>
  assert(Math.abs(a - b) <= tolerance, `${what}: ${a}, expected ${b} within ${tolerance}`);

/** A symmetric matrix with eigenvalues between 0.5 and about 5. */
const spd = (seed: number, n: number): Tensor => {
  const a = normal(key(seed), [n, n]).mul(1 / Math.sqrt(n));
  return a.matmul(a.T).add(
    tensor(Float32Array.from({ length: n * n }, (_, i) => i % (n + 1) === 0 ? 0.5 : 0), {
      shape: [n, n],
    }),
  );
};

Deno.test("conjugateGradient() solves what its products say", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 13 }), fc.nat(1000), async (n, seed) => {
      const a = spd(seed, n), b = normal(key(seed + 1), [n]);
      const { x, residual, iterations, indefinite } = conjugateGradient(
        (v: Tensor) => a.matmul(v),
        b,
      );
      const left = [...await a.matmul(x).sub(b).data()];
      for (const r of left) close(r, 0, 2e-4 * (1 + await b.abs().max().item()), `n = ${n}`);
      assert(await residual.item() <= 1e-5);
      assert(await iterations.item() <= 3 * n + 2);
      assert(!await indefinite.item());
    }),
    { numRuns: 8 },
  );
});

Deno.test("conjugateGradient() takes trees, and stops where it is told", async () => {
  const product = (v: { a: Tensor; b: Tensor }) => ({ a: v.a.mul(2), b: v.b.mul(tensor([1, 4])) });
  const b = { a: tensor(3), b: tensor([1, 2]) };
  const exact = conjugateGradient(product, b);
  close(await exact.x.a.item(), 1.5, 1e-5);
  assertEquals((await exact.x.b.array() as number[]).map((v) => Math.round(1e4 * v) / 1e4), [
    1,
    0.5,
  ]);
  assertEquals(await exact.iterations.item(), 3);
  const early = conjugateGradient(product, b, { tolerance: 0.5 });
  assertEquals(await early.iterations.item(), 1);
  assert(await early.residual.item() <= 0.5);
  assertEquals(await conjugateGradient(product, b, { iterations: 2 }).iterations.item(), 2);
});

Deno.test("conjugateGradient() of nothing is nothing, and of a singular matrix is finite", async () => {
  const none = conjugateGradient((v: Tensor) => v.mul(2), zeros([3]));
  assertEquals(await none.x.array(), [0, 0, 0]);
  assertEquals([await none.residual.item(), await none.iterations.item()], [0, 0]);
  const flat = conjugateGradient((v: Tensor) => v.mul(0), ones([2]));
  assertEquals(await flat.x.array(), [1, 1]);
  assert(await flat.indefinite.item());
});

Deno.test("conjugateGradient() keeps what it found before a downward curve", async () => {
  const curve = tensor([1, 2, -3]);
  const first = conjugateGradient((v: Tensor) => v.mul(curve), tensor([0, 0, 1]));
  assertEquals(await first.x.array(), [0, 0, 1]);
  const b = tensor([1, 1, 0.1]), later = conjugateGradient((v: Tensor) => v.mul(curve), b);
  assert(await later.indefinite.item());
  assert(await later.iterations.item() > 0);
  // A direction along which the quadratic model falls.
  assert(await later.x.mul(b).sum().item() > 0);
});

const net = (x: Tensor) => (p: { w: Tensor; v: Tensor }): Tensor =>
  x.matmul(p.w).tanh().matmul(p.v);

Deno.test("gaussNewtonProduct() is Jᵀ·H·J, as the dense matrices have it", async () => {
  const x = normal(key(1), [5, 3]), w = normal(key(2), [3, 4]), t = normal(key(3), [5, 4]);
  const f = (w: Tensor) => x.matmul(w).tanh();
  const loss = (y: Tensor) => y.sub(t).square().sum().mul(0.5).add(y.exp().sum());
  const v = normal(key(4), [3, 4]);
  const found = await gaussNewtonProduct(f, loss, w, v).data();
  const j = (jacobian(f)(w) as Tensor).reshape([20, 12]), y = f(w);
  const h = (hessian(loss)(y) as Tensor).reshape([20, 20]);
  const expected = await j.T.matmul(h.matmul(j.matmul(v.reshape([12])))).data();
  found.forEach((a, i) => close(a, expected[i]!, 1e-4 * (1 + Math.abs(expected[i]!))));
});

Deno.test("gaussNewtonProduct() is the Hessian's where the model is linear", async () => {
  const x = normal(key(1), [6, 3]), p = { w: normal(key(2), [3]) }, v = { w: normal(key(3), [3]) };
  const f = ({ w }: typeof p) => x.matmul(w), loss = (y: Tensor) => y.softplus().sum();
  const a = await gaussNewtonProduct(f, loss, p, v).w.data();
  const b = await hvp((p: { w: Tensor }) => loss(f(p)), p, v).w.data();
  a.forEach((a, i) => close(a, b[i]!, 1e-5));
});

Deno.test("products with Hessian and Gauss-Newton matrix are symmetric, the latter not negative", async () => {
  const x = normal(key(1), [7, 3]), t = normal(key(9), [7, 2]);
  const p = { w: normal(key(2), [3, 4]), v: normal(key(3), [4, 2]) };
  const [a, b] = [4, 6].map((seed) => ({
    w: normal(key(seed), [3, 4]),
    v: normal(key(seed + 1), [4, 2]),
  })) as [typeof p, typeof p];
  const loss = (y: Tensor) => y.sub(t).square().mean();
  const dot = (a: typeof p, b: typeof p) => a.w.mul(b.w).sum().add(a.v.mul(b.v).sum());
  for (
    const product of [
      (u: typeof p) => hvp((p: { w: Tensor; v: Tensor }) => loss(net(x)(p)), p, u),
      (u: typeof p) => gaussNewtonProduct(net(x), loss, p, u),
    ]
  ) {
    const ab = await dot(a, product(b)).item(), ba = await dot(b, product(a)).item();
    close(ab, ba, 2e-6 * (1 + Math.abs(ab)));
  }
  assert(await dot(a, gaussNewtonProduct(net(x), loss, p, a)).item() > 0);
});

Deno.test("newtonStep() reaches the bottom of a bowl in one step", async () => {
  const a = spd(5, 6), b = normal(key(6), [6]);
  const bowl = (x: Tensor) => x.mul(a.matmul(x)).sum().mul(0.5).sub(x.mul(b).sum());
  const { params, rate, norm, iterations } = newtonStep(bowl, zeros([6]), { tolerance: 1e-6 });
  for (const g of await grad(bowl)(params).data()) close(g, 0, 1e-4);
  close(await rate.item(), 1, 0);
  close(await norm.item(), Math.hypot(...await b.data()), 1e-5);
  assert(await iterations.item() >= 5);
});

Deno.test("newtonStep() goes down where the curve is downwards, and takes other products", async () => {
  const saddle = (x: Tensor) =>
    x.square().mul(tensor([1, -1])).sum().add(x.square().square().sum());
  let x = tensor([0.5, 0.01]);
  const step = (x: Tensor) => newtonStep(saddle, x);
  let before = await saddle(x).item();
  for (let i = 0; i < 12; i++) {
    const { params, value } = step(x);
    x = params;
    const now = await value.item();
    assert(now <= before);
    before = now;
  }
  close(before, -0.25, 1e-6);
  const slow = newtonStep(saddle, tensor([0.5, 0.5]), { product: (v) => v.mul(1e3) });
  const moved = await slow.params.sub(0.5).abs().max().item();
  assert(moved > 0 && moved < 0.01, `${moved}`);
  const damped = newtonStep((x: Tensor) => x.square().sum(), tensor([1]), { damping: 2 });
  close((await damped.params.data())[0]!, 0.5, 1e-6);
});

Deno.test("curvature functions refuse numbers out of range", () => {
  const v = ones([2]), same = (v: Tensor) => v;
  assertThrows(() => conjugateGradient(same, v, { iterations: 0 }), RangeError, "iterations is 0");
  assertThrows(() => conjugateGradient(same, v, { tolerance: -1 }), RangeError, "tolerance is -1");
  const f = (x: Tensor) => x.square().sum();
  assertThrows(() => newtonStep(f, v, { damping: -1 }), RangeError, "damping is -1");
});
