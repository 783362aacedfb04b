/**
 * Loops against the same steps written out: values, gradients of every order, batches, and what
 * simplification makes of them. Values come from the oracle; no device is needed.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { online, reverse, revolve } from "../../checkpoint/strategy.ts";
import { parameter } from "../../graph/build.ts";
import { collectChecks } from "../../graph/check.ts";
import { ones, tensor, zeros } from "../../graph/create.ts";
import { is, type Node } from "../../graph/node.ts";
import { stack } from "../../graph/operations.ts";
import { printGraph } from "../../graph/print.ts";
import { type Backward, loop, scan } from "../../graph/scan.ts";
import { simplify } from "../../graph/simplify.ts";
import { Tensor } from "../../graph/tensor.ts";
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
import { verify } from "../../graph/verify.ts";
import { topological } from "../../graph/walk.ts";
import { evaluate } from "../oracle.ts";
import { assertValues, installHost, sequence } from "./host.ts";

installHost();

const random = (seed: number, shape: number[]): Tensor => {
  const next = sequence(seed), size = shape.reduce((a, b) => a * b, 1);
  return tensor(Float32Array.from({ length: size }, () => next() * 2 - 1), { shape });
};

/** What scan does, written out. */
function unrolled<C, X, Y>(
  body: (carry: C, x: X) => readonly [C, Y],
  carry: C,
  xs: X | null,
  { length, reverse = false }: { length?: number; reverse?: boolean; backward?: Backward } = {},
): [C, Y] {
  const rows = xs instanceof Tensor ? xs.shape[0]! : length!;
  const ys = new Array<Y>(rows);
  for (let i = 0; i < rows; i++) {
    const at = reverse ? rows - 1 - i : i;
    const x = (xs instanceof Tensor ? xs.slice(at) : null) as X;
    [carry, ys[at]] = body(carry, x);
  }
  const first = ys[0];
  return [carry, (first instanceof Tensor ? stack(ys as Tensor[]) : null) as Y];
}

/** The values of both, before and after simplification, are equal. */
function assertSame(
  actual: readonly Tensor[],
  expected: readonly Tensor[],
  tolerance = 1e-9,
): void {
  const nodes = actual.map((x) => x.node), simple = simplify(nodes);
  verify(nodes);
  verify(simple);
  assertEquals(simplify(simple), simple, "simplified once is simplified for good");
  const wanted = evaluate(expected.map((x) => x.node));
  for (const [name, roots] of [["plain", nodes], ["simplified", simple]] as const) {
    evaluate(roots).forEach(({ shape, data }, k) => {
      assertEquals(shape, wanted[k]!.shape);
      data.forEach((x, i) => {
        const y = wanted[k]!.data[i]!;
        assert(
          Math.abs(x - y) <= tolerance * Math.max(1, Math.abs(y)) || Object.is(x, y),
          `${name} result ${k}[${i}] is ${x}, expected ${y}`,
        );
      });
    });
  }
}

const loopsIn = (nodes: readonly Node[]): Node<"loop">[] =>
  topological(nodes).filter((node) => is(node, "loop"));

/** A small recurrent cell, closing over nothing. */
type Cell = { w: Tensor; u: Tensor };
const cell = (): Cell => ({ w: random(1, [3, 3]), u: random(2, [2, 3]) });
const recurrent = (p: Cell) => (h: Tensor, x: Tensor): [Tensor, Tensor] => {
  const next = h.matmul(p.w).add(x.matmul(p.u)).tanh();
  return [next, next.mul(x.sum())];
};
const inputs = (): [Tensor, Tensor] => [random(3, [3]), random(4, [5, 2])];

type Run = typeof unrolled;
const scanned = scan as unknown as Run;
const lossOf = (run: Run, reverse = false) => (p: Cell, h: Tensor, xs: Tensor): Tensor => {
  const [last, ys] = run(recurrent(p), h, xs, { reverse });
  return last.square().sum().add(ys.mul(0.3).sin().sum());
};

for (const reverse of [false, true]) {
  const how = reverse ? "in reverse" : "forwards";
  Deno.test(`scan() gives the values of the steps written out, ${how}`, () => {
    const [h, xs] = inputs();
    const body = recurrent(cell());
    assertSame(scan(body, h, xs, { reverse }), unrolled(body, h, xs, { reverse }));
  });

  Deno.test(`scan() has the gradients of the steps written out, ${how}`, () => {
    const [h, xs] = inputs(), p = cell();
    const all = (run: Run): Tensor[] => {
      const [value, [dp, dh, dx]] = valueAndGrad(lossOf(run, reverse), { argnums: [0, 1, 2] })(
        p,
        h,
        xs,
      );
      return [value, dp.w, dp.u, dh, dx];
    };
    assertSame(all(scanned), all(unrolled));
  });

  Deno.test(`scan() has the second derivatives of the steps written out, ${how}`, () => {
    const [h, xs] = inputs(), p = cell();
    const twice = (run: Run): Tensor[] => {
      const inner = (p: Cell, h: Tensor, xs: Tensor): Tensor => {
        const [dp, dh, dx] = grad(lossOf(run, reverse), { argnums: [0, 1, 2] })(p, h, xs);
        return dp.w.square().sum().add(dh.sin().sum()).add(dx.pow(3).sum()).add(dp.u.sum());
      };
      const [dp, dh, dx] = grad(inner, { argnums: [0, 1, 2] })(p, h, xs);
      return [dp.w, dp.u, dh, dx];
    };
    assertSame(twice(scanned), twice(unrolled), 1e-8);
  });
}

Deno.test("scan() has the gradient of finite differences", () => {
  const [h, xs] = inputs(), p = cell(), eps = 1e-5;
  const w = parameter(0, p.w.node);
  const at = (run: Run): Tensor => lossOf(run)({ ...p, w: new Tensor(w) }, h, xs);
  const g = grad((w: Tensor) => lossOf(scanned)({ ...p, w }, h, xs))(p.w);
  const [slope] = evaluate([g.node]), [start] = evaluate([p.w.node]);
  const loss = at(scanned).node;
  start!.data.forEach((_, i) => {
    const value = (sign: number): number => {
      const moved = start!.data.slice();
      moved[i]! += sign * eps;
      return evaluate([loss], new Map([[w as Node, moved]]))[0]!.data[0]!;
    };
    const difference = (value(1) - value(-1)) / (2 * eps);
    assert(Math.abs(difference - slope!.data[i]!) < 1e-7, `${difference} and ${slope!.data[i]}`);
  });
});

Deno.test("scan() pushes forward what it pulls back", () => {
  const [h, xs] = inputs(), p = cell();
  const f = (run: Run) => (h: Tensor, xs: Tensor) => run(recurrent(p), h, xs);
  const t = [random(7, [3]), random(8, [5, 2])] as [Tensor, Tensor];
  const [values, tangents] = jvp(f(scanned), [h, xs], t);
  const [wanted, wantedTangents] = jvp(f(unrolled), [h, xs], t);
  assertSame([...values, ...tangents], [...wanted, ...wantedTangents]);
  // ⟨g, J t⟩ = ⟨Jᵀ g, t⟩
  const g = [random(9, [3]), random(10, [5, 3])] as [Tensor, Tensor];
  const [, pull] = vjp(f(scanned), h, xs);
  const pulled = pull(g);
  const inner = (a: readonly Tensor[], b: readonly Tensor[]): Tensor =>
    a.map((x, i) => x.mul(b[i]!).sum()).reduce((x, y) => x.add(y));
  assertSame([inner(g, tangents)], [inner(pulled, t)]);
});

Deno.test("scan() computes forwards once for value, gradient and tangent", () => {
  const [h, xs] = inputs(), p = cell();
  const [value, g] = valueAndGrad(lossOf(scanned))(p, h, xs);
  const loops = loopsIn(simplify([value.node, g.w.node, g.u.node]));
  assertEquals(loops.map((node) => node.attributes.reverse), [false, true]);
  const [y, dy] = jvp((h: Tensor) => lossOf(scanned)(p, h, xs), [h], [ones([3])]);
  assertEquals(loopsIn(simplify([y.node, dy.node])).length, 1);
});

Deno.test("scan() does not grow with its length", () => {
  const w = random(1, [3, 3]);
  const nodesFor = (length: number): number => {
    const loss = (w: Tensor): Tensor =>
      scan((h: Tensor) => [h.matmul(w).tanh(), null], ones([3]), null, { length })[0].sum();
    const [value, g] = valueAndGrad(loss)(w);
    return topological(simplify([value.node, g.node])).length;
  };
  assertEquals(nodesFor(1000), nodesFor(10));
});

Deno.test("loop() runs a thousand steps, and back", async () => {
  const f = (x: Tensor): Tensor => loop((y: Tensor) => y.mul(0.999), x, { length: 1000 });
  await assertValues(f(tensor(1)), 0.999 ** 1000, 1e-4);
  await assertValues(grad(f)(tensor(1)), 0.999 ** 1000, 1e-4);
});

Deno.test("loop() tells the step and carries integers, which take no cotangent", async () => {
  type State = { sum: Tensor; count: Tensor; odd: Tensor };
  const f = (x: Tensor): State =>
    loop(
      ({ sum, count, odd }: State, step) => ({
        sum: sum.add(x.mul(step.cast("f32")).mul(count.cast("f32"))),
        count: count.add(2),
        odd: odd.logicalNot(),
      }),
      { sum: zeros([2]), count: tensor(1, { dtype: "i32" }), odd: tensor(false) },
      { length: 5 },
    );
  const x = tensor([1, 2]);
  // 0·1 + 1·3 + 2·5 + 3·7 + 4·9
  await assertValues(f(x).sum, [70, 140]);
  await assertValues(f(x).count, 11);
  await assertValues(f(x).odd, true);
  await assertValues(grad((x: Tensor) => f(x).sum.sum())(x), [70, 70]);
  assertEquals(f(x).count.dtype, "i32");
  const loops = loopsIn(simplify([grad((x: Tensor) => f(x).sum.sum())(x).node]));
  verify(loops);
});

Deno.test("scan() of a counter alone knows the index of stacked operands", () => {
  const xs = random(5, [6, 2]);
  const f = (run: Run) => (xs: Tensor): Tensor => {
    const step = (i: Tensor, x: Tensor): [Tensor, Tensor] => [
      i.add(1),
      xs.take(i).mul(x).mul(i.cast("f32")),
    ];
    return run(step, tensor(0, { dtype: "i32" }), xs, {})[1].sum();
  };
  assertSame([f(scanned)(xs), grad(f(scanned))(xs)], [f(unrolled)(xs), grad(f(unrolled))(xs)]);
});

for (const length of [0, 1, 2]) {
  Deno.test(`scan() of length ${length}`, async () => {
    const step = (c: Tensor, x: Tensor): [Tensor, Tensor] => [c.mul(x), c.add(x)];
    const xs = random(1, [2, 3]).slice([0, length]), c = random(2, [3]);
    const [last, ys] = scan(step, c, xs);
    assertEquals(ys.shape, [length, 3]);
    if (length > 0) assertSame([last, ys], unrolled(step, c, xs));
    else await assertValues(last, await c.array());
    const loss = (run: Run) => (c: Tensor, xs: Tensor): Tensor => {
      const [last, ys] = run(step, c, xs, {});
      return last.square().sum().add(length > 0 ? ys.square().sum() : 0);
    };
    const gradients = (run: Run): Tensor[] =>
      grad(loss(run), { argnums: [0, 1] })(c, xs) as unknown as Tensor[];
    const [dc, dx] = gradients(scanned);
    if (length > 0) assertSame([dc!, dx!], gradients(unrolled));
    else assertSame([dc!, dx!], [c.mul(2), zeros([0, 3])]);
    if (length < 2) assertEquals(loopsIn(simplify([last.node, ys.node, dc!.node])), []);
  });
}

Deno.test("scan() nests, closing over outer carries, rows and constants", () => {
  const w = random(1, [3]), xs = random(2, [4, 3]), zs = random(3, [2, 3]);
  const f = (run: Run) => (w: Tensor, xs: Tensor, zs: Tensor): Tensor => {
    const outer = (c: Tensor, x: Tensor): [Tensor, Tensor] => {
      const inner = (d: Tensor, z: Tensor): [Tensor, Tensor] => [
        d.mul(w).add(z.mul(x)).add(c.mul(0.1)).sin(),
        d.mul(z),
      ];
      const [d, ys] = run(inner, c, zs, {});
      return [d.mul(x), ys.sum(0)];
    };
    const [c, ys] = run(outer, w, xs, {});
    return c.sum().add(ys.square().sum());
  };
  const all = (run: Run): Tensor[] => [
    f(run)(w, xs, zs),
    ...grad(f(run), { argnums: [0, 1, 2] })(w, xs, zs) as unknown as Tensor[],
    hvp((w: Tensor) => f(run)(w, xs, zs), w, random(9, [3])),
  ];
  assertSame(all(scanned), all(unrolled), 1e-8);
});

Deno.test("grad() inside a scan, and scan inside that", () => {
  const data = random(4, [3, 4]), w = random(5, [4]);
  const train = (run: Run) => (w: Tensor, rate: Tensor): Tensor => {
    const loss = (w: Tensor, x: Tensor): Tensor => w.mul(x).sum().sin();
    const step = (w: Tensor, x: Tensor): [Tensor, Tensor] => {
      const [value, g] = valueAndGrad(loss)(w, x);
      return [w.sub(g.mul(rate)), value];
    };
    const [last, losses] = run(step, w, data, {});
    return last.square().sum().add(losses.sum());
  };
  const all = (run: Run): Tensor[] => [
    train(run)(w, tensor(0.1)),
    ...grad(train(run), { argnums: [0, 1] })(w, tensor(0.1)) as unknown as Tensor[],
  ];
  assertSame(all(scanned), all(unrolled));
});

Deno.test("scan() sums cotangents of what it closes over, once for each step", async () => {
  const a = tensor([2, 3]);
  const f = (a: Tensor): Tensor =>
    scan((c: Tensor) => [c.add(a), null], zeros([2]), null, { length: 7 })[0].sum();
  await assertValues(grad(f)(a), [7, 7]);
  const g = (a: Tensor): Tensor =>
    scan((c: Tensor) => [c, a], tensor(0), null, { length: 7 })[1]!.sum();
  await assertValues(grad(g)(a), [7, 7]);
  const stopped = (a: Tensor): Tensor => f(stopGradient(a)).add(a.sum());
  await assertValues(grad(stopped)(a), [1, 1]);
});

Deno.test("vmap() of a scan batches what must be, and no more", () => {
  const w = random(1, [3]), cs = random(2, [4, 3]), xs = random(3, [4, 5, 3]);
  const f = (run: Run) => (c: Tensor, xs: Tensor): Tensor[] => {
    type C = [Tensor, Tensor, Tensor];
    const step = ([c, plain, count]: C, x: Tensor): [C, Tensor] => [
      [c.mul(w).add(x), plain.mul(2), count.add(1)],
      c.mul(plain).sum(),
    ];
    const [[last, plain, count], ys] = run(step, [c, ones([3]), tensor(0)] as C, xs, {});
    return [last, ys, plain.add(count).add(c.mul(0))];
  };
  const cases = [[0, 0], [0, null], [null, 0]] as const;
  for (const [a, b] of cases) {
    const args = [a === null ? cs.slice(0) : cs, b === null ? xs.slice(0) : xs] as const;
    const all = (run: Run): Tensor[] => vmap(f(run), { inAxes: [a, b] })(...args);
    assertSame(all(scanned), all(unrolled));
    const by = (run: Run): Tensor => {
      const loss = (c: Tensor, xs: Tensor): Tensor =>
        f(run)(c, xs).reduce((s, x) => s.add(x.sum()), tensor(0));
      return vmap(grad(loss), { inAxes: [a, b] })(...args);
    };
    assertSame([by(scanned)], [by(unrolled)]);
  }
  const [, , plain] = vmap(f(scanned))(cs, xs);
  const node = loopsIn([plain!.node])[0]!;
  assertEquals(node.inputs.slice(0, 3).map((x) => x.shape), [[4, 3], [3], []]);
});

Deno.test("jacobian() and hessian() go through scans", () => {
  const w = random(1, [3]), xs = random(3, [4, 3]);
  const f = (run: Run) => (c: Tensor): Tensor =>
    run((c: Tensor, x: Tensor) => [c.mul(w).add(x).sin(), null], c, xs, {})[0];
  const c = random(4, [3]);
  assertSame([jacobian(f(scanned))(c)], [jacobian(f(unrolled))(c)]);
  const loss = (run: Run) => (c: Tensor): Tensor => f(run)(c).square().sum();
  assertSame([hessian(loss(scanned))(c)], [hessian(loss(unrolled))(c)]);
});

Deno.test("scan() respects rules inside its body", async () => {
  const clipped = customVjp((x: Tensor) => x.mul(3), (g) => [g.mul(10)]);
  const f = (x: Tensor): Tensor =>
    scan((c: Tensor) => [clipped(c), null], x, null, { length: 2 })[0];
  await assertValues(f(tensor(1)), 9);
  await assertValues(grad(f)(tensor(1)), 100);
  await assertValues(jvp(f, [tensor(1)], [tensor(1)])[1], 100);
});

Deno.test("simplify() drops what no one reads of a loop and reads once what does not change", () => {
  type C = { used: Tensor; idle: Tensor; fixed: Tensor };
  const start = { used: random(1, [2]), idle: random(2, [2]), fixed: random(3, [2]) };
  const step = (c: C, x: Tensor): [C, Tensor[]] => [
    { used: c.used.mul(c.fixed).add(x), idle: c.idle.add(c.used), fixed: c.fixed },
    [c.idle, c.used, c.used],
  ];
  const [last, ys] = scan(step, start, zeros([3, 2]));
  const [simple, a, b] = simplify([last.used.node, ys[1]!.node, ys[2]!.node]);
  assert(a === b);
  const [node] = loopsIn([simple!]);
  assertEquals(node!.results!.map((r) => r.shape), [[2], [3, 2]]);
  assertEquals(node!.inputs.length, 2);
  assertEquals([node!.attributes.carries, node!.attributes.stacked], [1, 0]);
  assert(simplify([last.fixed.node])[0] === start.fixed.node);
});

Deno.test("simplify() drops what no one reads of a loop within a loop", () => {
  const inner = ([a, b]: Tensor[]): [Tensor[], null] => [[a!.sin(), b!.add(a!)], null];
  const outer = (carry: Tensor[]): [Tensor[], null] => scan(inner, carry, null, { length: 3 });
  const start = [random(1, [2]), random(2, [5, 2])];
  const [[a, b]] = scan(outer, start, null, { length: 4 });
  const carries = (roots: readonly Node[]): number[] =>
    loopsIn(roots).flatMap(({ attributes: { carries: n, body } }) => [n, ...carries(body.results)]);
  assertEquals(carries(simplify([a!.node])), [1, 1]);
  assertEquals(carries(simplify([b!.node])), [2, 2]);
});

Deno.test("equal loops are one node, and print their body", () => {
  const x = random(1, [2]);
  const f = (): Tensor =>
    loop(
      function twice(c: Tensor) {
        return c.add(x);
      },
      x,
      { length: 3 },
    );
  assert(f().node === f().node);
  const text = printGraph({ name: "f", parameters: [], results: [f().node] });
  assert(
    text.includes("body=twice") && text.includes("\ntwice(%0: f32[2], %1: u32[], %2: f32[2])"),
    text,
  );
});

Deno.test("a way back prints its strategy and its inverse", () => {
  const x = random(1, [2]);
  const halve = (c: Tensor): Tensor => c.mul(0.5);
  const f = (x: Tensor): Tensor =>
    loop(
      function twice(c: Tensor) {
        return c.mul(2).add(c.sin().mul(0));
      },
      x,
      { length: 9, backward: reverse({ inverse: halve }) },
    ).square().sum();
  const { value: g } = collectChecks(() => grad(f)(x));
  verify([g.node]);
  const text = printGraph({ name: "f", parameters: [], results: [g.node] });
  for (const part of ["plan=reverse", "replay=reverse", "body=twice back", "\ntwice inverse(%0"]) {
    assert(text.includes(part), `${text}, expected ${part}`);
  }
  const simple = printGraph({ name: "f", parameters: [], results: simplify([g.node]) });
  assert(!simple.includes("plan="), "what is simplified is not differentiated any more");
});

Deno.test("scan() says what does not fit", () => {
  const c = { h: zeros([2]) };
  const throws = (f: () => unknown, ...words: string[]): void => {
    const { message } = assertThrows(f, TypeError);
    for (const word of words) assert(message.includes(word), `${message}, expected ${word}`);
  };
  throws(
    () => scan((c: { h: Tensor }) => [{ h: c.h.cast("i32") }, null], c, null, { length: 2 }),
    "carry.h is f32[2]",
    "returned i32[2]",
  );
  throws(
    () => scan((_: { h: Tensor }) => [{ h: zeros([3]) }, null], c, null, { length: 2 }),
    "carry.h is f32[2]",
    "returned f32[3]",
  );
  throws(
    () =>
      scan((c: { h: Tensor }) => [{ k: c.h } as unknown as typeof c, null], c, null, { length: 2 }),
    'only one has the key "h"',
  );
  throws(() => scan((c: Tensor) => [c, null], zeros([]), null), "no length");
  throws(() => scan((c: Tensor, x: Tensor) => [c, x], zeros([]), zeros([])), "xs is a scalar");
  throws(
    () => scan((c: Tensor, [x]: Tensor[]) => [c, x!], zeros([]), [zeros([2]), zeros([3])]),
    "xs.1 has 3 rows, expected 2",
  );
  throws(() => scan(((c: Tensor) => c) as never, zeros([]), null, { length: 2 }), "[carry, y]");
  assertThrows(
    () => loop((c: Tensor) => c, zeros([]), { length: 1.5 }),
    RangeError,
    "length is 1.5",
  );
});

/** Four carries that read each other as `choices` say, on rows and a constant. */
function tangled(choices: readonly number[]) {
  return (w: Tensor) => (c: Tensor[], x: Tensor): [Tensor[], Tensor] => {
    const values = [...c, x, w];
    let next = 0;
    const pick = (): Tensor => values[choices[next++ % choices.length]! % values.length]!;
    const combine = (): Tensor => {
      const kind = choices[next++ % choices.length]! % 4;
      if (kind === 0) return pick();
      if (kind === 1) return pick().mul(pick()).sin();
      if (kind === 2) return pick().sub(pick()).mul(0.5);
      return zeros([2]).add(kind - 3);
    };
    const after = c.map(combine);
    return [after, combine().add(pick())];
  };
}

const strategies = ["store", revolve({ snapshots: 2 }), online({ snapshots: 1 })] as const;

Deno.test("scan() of random bodies is the steps written out, to the second derivative", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const next = sequence(seed * 977);
    const choices = Array.from({ length: 23 }, () => Math.floor(next() * 997));
    const [w, x] = [random(seed, [2]), random(seed + 1, [3, 2])];
    const same = random(seed + 2, [2]);
    const start = [same, same, zeros([2]), random(seed + 3, [2])];
    const reverse = seed % 2 === 0;
    // What is kept changes no value: the oracle checks that states are where plans say they are.
    const backward = strategies[seed % strategies.length]!;
    const f = (run: Run) => (w: Tensor, c: Tensor[], x: Tensor): Tensor => {
      const [last, ys] = run(tangled(choices)(w), c, x, { reverse, backward });
      return last[0]!.mul(last[3]!).sum().add(last[1]!.sum()).add(ys.square().sum());
    };
    const all = (run: Run): Tensor[] => {
      const [value, [dw, dc, dx]] = valueAndGrad(f(run), { argnums: [0, 1, 2] })(w, start, x);
      const [, tangent] = jvp(f(run), [w, start, x], [w, start, x]);
      const second = hvp((w: Tensor) => f(run)(w, start, x), w, same);
      return [value, dw, ...dc, dx, tangent, second];
    };
    try {
      assertSame(all(scanned), all(unrolled), 1e-8);
    } catch (error) {
      throw new Error(`Cannot agree at seed ${seed}`, { cause: error });
    }
  }
});
