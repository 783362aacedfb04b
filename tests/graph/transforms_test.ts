/**
 * The transforms as users call them: on trees of tensors, nested in each other, with errors that
 * name the function and the place. Values come from the oracle; no device is needed.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ones, tensor, zeros } from "../../graph/create.ts";
import { is } from "../../graph/node.ts";
import type { Tensor } from "../../graph/tensor.ts";
import {
  customVjp,
  grad,
  hessian,
  hvp,
  jacobian,
  jvp,
  stopGradient,
  valueAndGrad,
  vjp,
  vmap,
} from "../../graph/transforms.ts";
import { topological } from "../../graph/walk.ts";
import { simplify } from "../../graph/simplify.ts";
import { assertValues, installHost } from "./host.ts";

installHost();

type Params = { w: Tensor; layers: Tensor[]; name: string };
const params = (): Params => ({
  w: tensor([1, 2]),
  layers: [tensor(3), tensor([4, 5])],
  name: "m",
});
const sum = (x: Tensor): Tensor => x.sum();
const cube = (x: Tensor): Tensor => x.mul(x).mul(x);

function modelLoss(p: Params, x: Tensor): Tensor {
  return p.w.mul(x).mul(p.layers[0]!).add(p.layers[1]!.square()).sum();
}

Deno.test("valueAndGrad() gives a gradient of the argument's own structure", async () => {
  const [value, g] = valueAndGrad(modelLoss)(params(), tensor([10, 100]));
  await assertValues(value, 671);
  await assertValues(g.w, [30, 300]);
  await assertValues(g.layers[0]!, 210);
  await assertValues(g.layers[1]!, [8, 10]);
  assertEquals(g.name, "m");
});

Deno.test("vmap() takes a custom rule that closes over the example", async () => {
  const f = (x: Tensor, k: Tensor): Tensor => {
    const low = x.sub(1);
    const doubled = customVjp((y: Tensor) => y.mul(2), (g) => [g.mul(low).mul(k)]);
    return doubled(x).sum();
  };
  const x = tensor([[1, 2], [3, 4], [5, 6]]), k = tensor([1, 10, 100]);
  const each = grad((x: Tensor, k: Tensor) => vmap(f)(x, k).sum());
  await assertValues(each(x, k), [[0, 1], [20, 30], [400, 500]]);
  await assertValues(vmap(grad(f))(x, k), [[0, 1], [20, 30], [400, 500]]);
  // A batch of batches: the inner example belongs to the outer one.
  const rows = (x: Tensor) => vmap((row: Tensor) => f(row, row.sum()), { inAxes: [0] })(x).sum();
  const twice = tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]);
  await assertValues(grad((x: Tensor) => vmap(rows)(x).sum())(twice), [[[0, 3], [14, 21]], [
    [44, 55],
    [90, 105],
  ]]);
});

Deno.test("valueAndGrad() takes positions and hands on auxiliary results", async () => {
  const f = (x: Tensor, y: Tensor): Tensor => x.mul(y).sum();
  const [a, b] = grad(f, { argnums: [1, 0] })(tensor([1, 2]), tensor([3, 4]));
  await assertValues(a, [1, 2]);
  await assertValues(b, [3, 4]);
  await assertValues(grad(f, { argnums: 1 })(tensor([1, 2]), tensor([3, 4])), [1, 2]);
  const withAux = (x: Tensor): [Tensor, { twice: Tensor; n: number }] => [
    x.sum(),
    { twice: x.mul(2), n: 7 },
  ];
  const [[loss, aux], g] = valueAndGrad(withAux, { hasAux: true })(tensor([1, 2]));
  await assertValues(loss, 3);
  await assertValues(aux.twice, [2, 4]);
  assertEquals(aux.n, 7);
  await assertValues(g, [1, 1]);
  const [g2, aux2] = grad(withAux, { hasAux: true })(tensor([1, 2]));
  await assertValues(g2, [1, 1]);
  await assertValues(aux2.twice, [2, 4]);
});

Deno.test("grad() nests to any order", async () => {
  let f = (x: Tensor): Tensor => x.pow(6);
  for (const expected of [6 * 32, 30 * 16, 120 * 8, 360 * 4, 720 * 2, 720, 0]) {
    f = grad(f);
    await assertValues(f(tensor(2)), expected, 1e-6);
  }
  let s = (x: Tensor): Tensor => x.sin();
  for (let i = 0; i < 4; i++) s = grad(s);
  await assertValues(s(tensor(0.7)), Math.sin(0.7), 1e-6);
});

Deno.test("grad() tells its own perturbation from an outer one", async () => {
  // d/dx (x · d/dy (x + y)) = 1: an inner derivative that saw x would give 2.
  const f = (x: Tensor): Tensor => x.mul(grad((y: Tensor) => x.add(y))(tensor(1)));
  await assertValues(grad(f)(tensor(5)), 1);
  const g = (x: Tensor): Tensor => x.mul(jvp((y: Tensor) => x.mul(y), [x], [tensor(1)])[1]);
  await assertValues(grad(g)(tensor(3)), 6);
});

Deno.test("grad() of an argument used as two leaves treats them apart", async () => {
  const x = tensor(3);
  const g = grad((p: { a: Tensor; b: Tensor }) => p.a.mul(p.b).mul(p.b))({ a: x, b: x });
  await assertValues(g.a, 9);
  await assertValues(g.b, 18);
});

Deno.test("stopGradient() holds a tree constant", async () => {
  await assertValues(grad((x: Tensor) => x.mul(stopGradient(x)))(tensor(3)), 3);
  const tree = stopGradient({ a: tensor(1), n: 2 });
  assertEquals(tree.n, 2);
  const [, t] = jvp((x: Tensor) => stopGradient(x).mul(x), [tensor(3)], [tensor(1)]);
  await assertValues(t, 3);
});

Deno.test("vjp() and jvp() are transposes of each other, on trees", async () => {
  const f = (p: { a: Tensor; b: Tensor[] }): { s: Tensor; t: Tensor } => ({
    s: p.a.mul(p.b[0]!),
    t: p.b[0]!.sum(),
  });
  const p = { a: tensor([1, 2]), b: [tensor([3, 4])] };
  const u = { a: tensor([1, -1]), b: [tensor([2, 5])] };
  const [value, pull] = vjp(f, p);
  await assertValues(value.s, [3, 8]);
  const [g] = pull({ s: tensor([1, 10]), t: tensor(100) });
  await assertValues(g.a, [3, 40]);
  await assertValues(g.b[0]!, [101, 120]);
  const [, t] = jvp(f, [p], [u]);
  await assertValues(t.s, [5, 6]);
  await assertValues(t.t, 7);
});

Deno.test("hvp() is the hessian times a vector", async () => {
  const f = (x: Tensor): Tensor => cube(x).sum().mul(x.prod());
  const x = tensor([1, 2, 3]), v = tensor([1, -1, 0.5]);
  const h = hessian(f)(x);
  assertEquals(h.shape, [3, 3]);
  const product = await h.matmul(v).data();
  await assertValues(hvp(f, x, v), [...product], 1e-5);
  await assertValues(h.sub(h.T).abs().max(), 0, 1e-3);
});

Deno.test("hvp() of a tree has the tree's structure", async () => {
  const f = (p: { a: Tensor; b: Tensor }): Tensor => p.a.mul(p.b).mul(p.b);
  const h = hvp(f, { a: tensor(2), b: tensor(3) }, { a: tensor(1), b: tensor(10) });
  await assertValues(h.a, 60);
  await assertValues(h.b, 6 + 40);
});

Deno.test("jacobian() has the result's axes before the argument's, both ways", async () => {
  const wide = (x: Tensor): Tensor => x.reshape(3, 1).mul(tensor([[1, 2]]));
  const j = jacobian(wide)(tensor([1, 2, 3]));
  assertEquals(j.shape, [3, 2, 3]);
  await assertValues(j, [
    [[1, 0, 0], [2, 0, 0]],
    [[0, 1, 0], [0, 2, 0]],
    [[0, 0, 1], [0, 0, 2]],
  ]);
  const narrow = (x: Tensor): Tensor => x.square().sum(1);
  const k = jacobian(narrow)(tensor([[1, 2], [3, 4]]));
  assertEquals(k.shape, [2, 2, 2]);
  await assertValues(k, [[[2, 4], [0, 0]], [[0, 0], [6, 8]]]);
});

Deno.test("jacobian() of trees is a tree of trees", async () => {
  const f = (p: { a: Tensor; b: Tensor }): { y: Tensor; z: Tensor } => ({
    y: p.a.mul(p.b),
    z: p.a.sum(),
  });
  const j = jacobian(f)({ a: tensor([1, 2]), b: tensor([3, 4]) });
  await assertValues(j.y.a, [[3, 0], [0, 4]]);
  await assertValues(j.y.b, [[1, 0], [0, 2]]);
  await assertValues(j.z.a, [1, 1]);
  await assertValues(j.z.b, [0, 0]);
  const two = jacobian((x: Tensor, y: Tensor) => x.mul(y), { argnums: [0, 1] });
  const [jx, jy] = two(tensor([1, 2]), tensor([3, 4]));
  await assertValues(jx, [[3, 0], [0, 4]]);
  await assertValues(jy, [[1, 0], [0, 2]]);
});

Deno.test("hessian() of a scalar argument is a scalar", async () => {
  await assertValues(hessian(cube)(tensor(2)), 12);
});

Deno.test("vmap() batches arguments and results on any axes", async () => {
  const f = (x: Tensor, y: Tensor): Tensor => x.mul(y).sum();
  const x = tensor([[1, 2], [3, 4]]), y = tensor([10, 100]);
  await assertValues(vmap(f, { inAxes: [0, null] })(x, y), [210, 430]);
  await assertValues(vmap(f, { inAxes: [1, null] })(x, y), [310, 420]);
  await assertValues(vmap(f)(x, x), [5, 25]);
  const outer = vmap(vmap((a: Tensor, b: Tensor) => a.mul(b), { inAxes: [null, 0] }), {
    inAxes: [0, null],
    outAxes: 1,
  });
  await assertValues(outer(tensor([1, 2, 3]), y), [[10, 20, 30], [100, 200, 300]]);
});

Deno.test("vmap() takes trees of axes and repeats results that are the same for all", async () => {
  const f = (p: { w: Tensor; b: Tensor }, n: number): { y: Tensor; c: Tensor } => ({
    y: p.w.mul(n).add(p.b),
    c: tensor([7]),
  });
  const p = { w: tensor([1, 2]), b: tensor(5) };
  const mapped = vmap(f, { inAxes: [{ w: 0, b: null }, null] })(p, 3);
  await assertValues(mapped.y, [8, 11]);
  await assertValues(mapped.c, [[7], [7]]);
  const kept = vmap(f, { inAxes: [{ w: 0, b: null }, null], outAxes: { y: 0, c: null } })(p, 3);
  await assertValues(kept.c, [7]);
});

Deno.test("vmap() of grad() gives gradients of each example, grad() of vmap() their sum", async () => {
  const loss = (w: Tensor, x: Tensor): Tensor => w.mul(x).sum().square();
  const w = tensor([1, 2]), x = tensor([[1, 1], [2, 0], [0, 3]]);
  const each = vmap(grad(loss), { inAxes: [null, 0] })(w, x);
  await assertValues(each, [[6, 6], [8, 0], [0, 36]]);
  const total = grad((w: Tensor) => vmap(loss, { inAxes: [null, 0] })(w, x).sum())(w);
  await assertValues(total, [14, 42]);
});

Deno.test("vmap() goes through matmul, gather, softmax and sorting by index", async () => {
  const w = tensor([[1, 2], [3, 4], [5, 6]]);
  const f = (x: Tensor, i: Tensor): Tensor => x.matmul(w).softmax().take(i).add(w.take(i).sum());
  const xs = tensor([[1, 0, 0], [0, 0.5, 1]]), is = tensor([0, 1], { dtype: "i32" });
  const all = await vmap(f)(xs, is).data();
  for (let k = 0; k < 2; k++) {
    const one = f(tensor([...(await xs.data()).slice(3 * k, 3 * k + 3)]), is.slice(k));
    await assertValues(one, all[k]!, 1e-6);
  }
});

Deno.test("customVjp() replaces the derivative, on trees, in every mode", async () => {
  const f = customVjp(
    (p: { a: Tensor; b: Tensor }, i: Tensor) => ({ y: p.a.mul(p.b).take(i) }),
    (g, _, p) => [{ a: p.b.mul(g.y.sum()), b: p.a.mul(100) }, null],
  );
  const p = { a: tensor([1, 2]), b: tensor([3, 4]) }, i = tensor([1], { dtype: "i32" });
  await assertValues(f(p, i).y, [8]);
  const g = grad((q: typeof p) => f(q, i).y.sum())(p);
  await assertValues(g.a, [3, 4]);
  await assertValues(g.b, [100, 200]);
});

Deno.test("customVjp() may leave arguments or parts of them out", async () => {
  const f = customVjp(
    (p: { a: Tensor; b: Tensor }, c: Tensor) => p.a.mul(p.b).mul(c),
    (g) => [{ a: g, b: null as unknown as Tensor }, undefined],
  );
  const g = grad((p: { a: Tensor; b: Tensor }) => f(p, tensor(2)))({ a: tensor(3), b: tensor(5) });
  await assertValues(g.a, 1);
  await assertValues(g.b, 0);
});

Deno.test("customVjp() rejects more cotangents than arguments, and fewer", () => {
  for (const count of [0, 2]) {
    const f = customVjp((x: Tensor) => x.mul(2), ((g: Tensor) => Array(count).fill(g)) as never);
    assertThrows(
      () => grad((x: Tensor) => f(x).sum())(ones([2])),
      TypeError,
      `the rule returned ${count} cotangents, expected one for each of 1 arguments`,
    );
  }
});

Deno.test("customVjp() wants two functions", () => {
  const f = (x: Tensor) => x.mul(2);
  for (const [what, given] of [["the function", [3, f]], ["its rule", [f]]] as const) {
    assertThrows(() => customVjp(...given as unknown as [never, never]), TypeError, `${what} is`);
  }
});

Deno.test("customVjp() pulls through the values it had, and differentiates again", async () => {
  // exp, with a rule that uses its result.
  const exp = customVjp((x: Tensor) => x.exp(), (g: Tensor, y: Tensor) => [g.mul(y)]);
  await assertValues(grad(grad(grad(exp)))(tensor(1)), Math.E, 1e-6);
  await assertValues(jvp(exp, [tensor(1)], [tensor(2)])[1], 2 * Math.E, 1e-6);
  await assertValues(vmap(grad(exp))(tensor([0, 1])), [1, Math.E], 1e-6);
  await assertValues(grad((x: Tensor) => vmap(exp)(x).sum())(tensor([0, 1])), [1, Math.E], 1e-6);
  const [, pulled] = valueAndGrad(exp)(tensor(1));
  const [simple] = simplify([pulled.node]);
  const count = topological([simple!]).filter((node) => is(node, "exp")).length;
  assertEquals(count, 1);
});

Deno.test("customVjp() closes over values, but not over what is differentiated", async () => {
  const x = tensor([2, 3]);
  const run = (scale: Tensor): Tensor =>
    customVjp((y: Tensor) => y.mul(scale).mul(x.exp()), (g: Tensor) => [g])(x).sum();
  await assertValues(run(tensor(1)), 2 * Math.exp(2) + 3 * Math.exp(3), 1e-6);
  assertThrows(() => grad(run)(tensor(1)), TypeError, "closes over f32[2] whose derivative");
  const outer = (s: Tensor): Tensor => vmap((z: Tensor) => run(z))(s).sum();
  await assertValues(outer(tensor([1, 1])), 2 * (2 * Math.exp(2) + 3 * Math.exp(3)), 1e-6);
});

Deno.test("transforms say what was wrong with a function or its arguments", () => {
  const x = tensor([1, 2]), n = tensor([1, 2], { dtype: "i32" });
  function loss(x: Tensor): Tensor {
    return x;
  }
  const wrong: readonly (readonly [() => unknown, string])[] = [
    [() => grad(loss)(x), "Cannot differentiate loss: it returned f32[2], expected a scalar"],
    [() => grad((() => 3) as unknown as typeof sum)(x), "it returned 3, expected a scalar tensor"],
    [() => grad(sum)(n), "argument 0 of sum is i32, expected f32 or f16"],
    [
      () => grad((p: { w: Tensor[] }) => p.w[0]!.sum())({ w: [x, n] }),
      "argument 0 of the function.w.1 is i32",
    ],
    [() => grad(sum)(3 as unknown as Tensor), "has no tensors, expected at least one of floats"],
    [() => grad((x: Tensor) => x.sum().cast("i32"))(x), "it returned i32, expected f32 or f16"],
    [
      () => grad((x: Tensor) => x.sum(), { argnums: 2 as 0 })(x),
      "argnums names argument 2 of 1",
    ],
    [
      () => grad((async (x: Tensor) => await x.sum()) as unknown as typeof sum)(x),
      "it returned a promise",
    ],
    [
      () => valueAndGrad(sum as never, { hasAux: true })(x as never),
      "hasAux is set and it returned",
    ],
    [() => vjp(loss, x)[1](zeros([3])), "the cotangent is f32[3], expected f32[2]"],
    [() => vjp(loss, x)[1]([x] as never), "the cotangent: trees differ at the root"],
    [() => jvp(loss, [x], [zeros([3])]), "tangent 0 is f32[3], expected f32[2]"],
    [() => jvp(loss, [x], [] as never), "0 tangents for 1 primals"],
    [
      () => jvp((p: { a: Tensor }) => p.a, [{ a: x }], [{ b: x }] as never),
      'only one has the key "a"',
    ],
    [() => jacobian((x: Tensor) => x.cast("i32"))(x), "what the function returned is i32"],
    [() => vmap(sum)(tensor(1)), "axis is 0"],
    [() => vmap((a: Tensor, b: Tensor) => a.add(b))(x, zeros([3])), "sizes 2 and 3"],
    [() => vmap(sum, { inAxes: null })(x), "no argument is batched"],
    [() => vmap(sum, { inAxes: [0, 0] })(x), "2 entries for 1 arguments"],
    [() => vmap(sum, { outAxes: null })(ones([2, 2])), "result 0 depends on the batch"],
    [
      () => vmap((p: { a: Tensor }) => p.a, { inAxes: [{ b: 0 }] })({ a: x }),
      "the axes of the arguments do not fit",
    ],
    [
      () => grad((x: Tensor) => customVjp((y: Tensor) => y, () => [zeros([5])])(x).sum())(x),
      "the rule returned Tensor f32[5], expected f32[2] for argument tensor 0",
    ],
    [
      () => grad((x: Tensor) => customVjp((y: Tensor) => y, () => 1 as never)(x).sum())(x),
      "the rule returned no array",
    ],
  ];
  for (const [run, message] of wrong) {
    assertThrows(run, Error, message);
  }
});

Deno.test("a value inside a function being differentiated cannot be read", () => {
  let refused: Promise<unknown> | undefined;
  const f = (x: Tensor): Tensor => {
    const y = x.mul(2);
    refused = y.data().catch((error) => error.message);
    return y.sum();
  };
  grad(f)(tensor([1, 2]));
  assert(refused !== undefined);
  return refused.then((message) => {
    assert(String(message).includes("is part of a function being differentiated"), String(message));
  });
});
