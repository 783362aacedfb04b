/** Ways back of loops that end when their data say so: those of loops of as many steps. */
import { assert, assertAlmostEquals, assertEquals, assertMatch, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";

await rg.init({ software: "allow" });

type Carry = { readonly a: rg.Tensor; readonly b: rg.Tensor; readonly n: rg.Tensor };
type Loss = (w: rg.Tensor, a: rg.Tensor, b: rg.Tensor, n: rg.Tensor) => rg.Tensor;
const argnums = [0, 1, 2] as const;

const cell = (w: rg.Tensor) => ({ a, b, n }: Carry, step: rg.Tensor): Carry => ({
  a: b,
  b: a.matmul(w).add(step.cast("f32").mul(0.01)).tanh().add(b.mul(0.3)),
  n: n.sub(1),
});
const lossOf = ({ a, b }: Carry): rg.Tensor => a.sum().add(b.square().sum());
const open = (snapshots?: number): Loss => (w, a, b, n) =>
  lossOf(
    rg.whileLoop(({ n }: Carry) => n.greater(0), cell(w), { a, b, n }, {
      ...(snapshots !== undefined && { backward: rg.online({ snapshots }) }),
    })[0],
  );
const closed = (length: number): Loss => (w, a, b, n) =>
  lossOf(rg.loop(cell(w), { a, b, n }, { length }));
const i32 = (x: number): rg.Tensor => rg.tensor(x, { dtype: "i32" });
const given = await rg.realize({
  w: rg.random.normal(rg.random.key(1), [4, 4]).mul(0.7),
  a: rg.random.normal(rg.random.key(2), [3, 4]),
  b: rg.random.normal(rg.random.key(3), [3, 4]),
});

async function sameBits(actual: rg.Tensor[], expected: rg.Tensor[], what: string): Promise<void> {
  const count = actual.length, values = await rg.readAll([...actual, ...expected]);
  for (let i = 0; i < count; i++) assertEquals(values[i], values[count + i], `${what}, part ${i}`);
}

Deno.test("the gradient of whileLoop() is that of loop(), bit for bit, whatever it keeps", async () => {
  const { w, a, b } = given;
  const want = new Map(
    [0, 1, 2, 13, 40].map((length) => {
      const [value, gradient] = rg.compile(rg.valueAndGrad(closed(length), { argnums }))(
        w,
        a,
        b,
        i32(length),
      );
      return [length, [value, ...gradient]];
    }),
  );
  for (const snapshots of [1, 3, undefined]) {
    const run = rg.compile(rg.valueAndGrad(open(snapshots), { argnums }));
    for (const [length, expected] of want) {
      const [value, gradient] = run(w, a, b, i32(length));
      const what = `${length} steps with ${snapshots} snapshots`;
      await sameBits([value, ...gradient], expected, what);
    }
    assertEquals(run.programs().length, 1);
  }
});

Deno.test("derivatives of whileLoop() to the second order are those of loop()", async () => {
  const { w, a, b } = given, length = 6;
  const direction = rg.random.normal(rg.random.key(9), [4, 4]);
  const ways: Record<string, (f: Loss) => (n: rg.Tensor) => rg.Tensor> = {
    hvp: (f) => (n) => rg.hvp((w: rg.Tensor) => f(w, a, b, n), w, direction),
    "reverse over reverse": (f) => (n) =>
      rg.grad((w: rg.Tensor) => rg.grad(f)(w, a, b, n).mul(direction).sum())(w),
    "reverse over forward": (f) => (n) =>
      rg.grad((w: rg.Tensor) =>
        rg.jvp((w: rg.Tensor) => f(w, a, b, n), [w], [direction])[1] as rg.Tensor
      )(w),
    "a batch of gradients": (f) => (n) =>
      rg.vmap((a: rg.Tensor) => rg.grad(f)(w, a.reshape(1, 4), b.slice([0, 1]), n))(a),
    "the gradient of a batch": (f) => (n) =>
      rg.grad((w: rg.Tensor) =>
        rg.vmap((a: rg.Tensor) => f(w, a.reshape(1, 4), b.slice([0, 1]), n))(a).sum()
      )(w),
  };
  for (const [name, way] of Object.entries(ways)) {
    const got = await rg.compile(way(open(3)))(i32(length)).data();
    const want = await rg.compile(way(closed(length)))(i32(length)).data();
    got.forEach((x, i) => assertAlmostEquals(x, want[i]!, 1e-4 * (1 + Math.abs(want[i]!)), name));
  }
});

Deno.test("a gradient through whileLoop() agrees with differences where lengths differ", async () => {
  /** Halved until it is small, which takes each example its own number of steps. */
  const f = (x: rg.Tensor, rate: rg.Tensor): rg.Tensor => {
    const each = rg.vmap((x: rg.Tensor) => {
      const [last, steps] = rg.whileLoop(
        (x: rg.Tensor) => x.greater(1),
        (x: rg.Tensor) => x.mul(rate).add(x.sin().mul(0.1)),
        x,
        { backward: rg.online({ snapshots: 2 }) },
      );
      return last.mul(steps.cast("f32"));
    });
    return each(x).sum();
  };
  const x = rg.tensor([0.5, 1.5, 3.1, 20.3]), rate = rg.tensor(0.53);
  await rg.checkGradients(f, [x, rate], { step: 1e-3 });
});

Deno.test("whileLoop() in the body of a loop, and a loop in its body, have gradients", async () => {
  const inner = (x: rg.Tensor, w: rg.Tensor, length?: number): rg.Tensor => {
    const body = (x: rg.Tensor): rg.Tensor =>
      rg.loop((x: rg.Tensor) => x.mul(w).sin(), x, { length: 2 }).add(0.4);
    if (length !== undefined) return rg.loop(body, x, { length });
    return rg.whileLoop(
      ({ n }: { x: rg.Tensor; n: rg.Tensor }) => n.less(4),
      ({ x, n }: { x: rg.Tensor; n: rg.Tensor }) => ({ x: body(x), n: n.add(1) }),
      { x, n: rg.tensor(0) },
      { backward: rg.online({ snapshots: 2 }) },
    )[0].x;
  };
  for (const backward of ["store", rg.revolve({ snapshots: 2 })] as const) {
    const f = (length?: number) => (w: rg.Tensor, x: rg.Tensor): rg.Tensor =>
      rg.loop((x: rg.Tensor) => inner(x, w, length), x, { length: 5, backward }).sum();
    const x = rg.tensor([0.3, 0.8, 1.9]), w = rg.tensor(1.3);
    const got = rg.compile(rg.grad(f(), { argnums: [0, 1] }))(w, x);
    const want = rg.compile(rg.grad(f(4), { argnums: [0, 1] }))(w, x);
    await sameBits(got, want, backward === "store" ? backward : backward.plan.name);
  }
});

Deno.test("whileLoop() of one step at most, and with carries that stay, has a gradient", async () => {
  const once = (x: rg.Tensor): rg.Tensor =>
    rg.whileLoop((x: rg.Tensor) => x.less(2), (x: rg.Tensor) => x.mul(3), x, { maximum: 1 })[0];
  assertEquals(await rg.grad(once)(rg.tensor(1)).item(), 3);
  assertEquals(await rg.grad(once)(rg.tensor(2)).item(), 1);
  type Held = { readonly x: rg.Tensor; readonly k: rg.Tensor; readonly n: rg.Tensor };
  const body = ({ x, k, n }: Held): Held => ({ x: x.mul(k).sin(), k, n: n.add(1) });
  const start = (x: rg.Tensor, k: rg.Tensor): Held => ({ x, k, n: rg.tensor(0) });
  const open = (x: rg.Tensor, k: rg.Tensor): rg.Tensor =>
    rg.whileLoop(({ n }: Held) => n.less(6), body, start(x, k))[0].x.sum();
  const closed = (x: rg.Tensor, k: rg.Tensor): rg.Tensor =>
    rg.loop(body, start(x, k), { length: 6 }).x.sum();
  const x = rg.tensor([0.3, 0.7]), k = rg.tensor([1.1, 1.2]);
  await sameBits(
    rg.grad(open, { argnums: [0, 1] })(x, k),
    rg.grad(closed, { argnums: [0, 1] })(x, k),
    "carries that stay",
  );
});

Deno.test("two ways back of one whileLoop() share its way forward", async () => {
  const { w, a, b } = given;
  const run = rg.compile((w: rg.Tensor, n: rg.Tensor) => {
    const [, pull] = rg.vjp((w: rg.Tensor) => open(3)(w, a, b, n), w);
    return [pull(rg.tensor(1)), pull(rg.tensor(-2))];
  });
  const [[one], [two]] = run(w, i32(20)) as unknown as [[rg.Tensor], [rg.Tensor]];
  const [x, y] = await rg.readAll([one, two]);
  x!.forEach((value, i) => assertAlmostEquals(y![i]!, -2 * value, 1e-4 * (1 + Math.abs(value))));
  const forward = run.explain().match(/runs +while$/gm) ?? [];
  assertEquals(forward.length, 1, run.explain());
  // What it is expected to take is for some number of steps, and that is said.
  assertMatch(run.explain(), /region \d+: its data say how long it runs; predicted for 1024 steps/);
});

Deno.test("the memory of whileLoop() and its gradient does not grow with the steps", async () => {
  const { w, a, b } = given;
  const run = rg.compile(rg.grad(open(4), { argnums }));
  await rg.readAll(run(w, a, b, i32(3)));
  const [program] = run.programs();
  rg.resetPeak();
  const before = rg.memory().live;
  const results = run(w, a, b, i32(300));
  await rg.readAll(results);
  assertEquals(run.programs(), [program!]);
  assert(rg.memory().peak <= before + program!.memory.results + 4096, "it grew");
});

Deno.test("whileLoop() refuses a backward that must know the length", () => {
  const f = (backward: unknown) => () =>
    rg.whileLoop((x: rg.Tensor) => x.less(1), (x: rg.Tensor) => x.add(1), rg.tensor(0), {
      backward: backward as rg.Strategy,
      name: "climb",
    });
  assertThrows(
    f(rg.offload({ device: 1, host: 3 })),
    TypeError,
    "Cannot loop climb: backward is offload(1, 3, 0), expected online({ snapshots }) or revolve(",
  );
  assertThrows(f("store"), TypeError, 'backward is "store", expected online({ snapshots })');
});
