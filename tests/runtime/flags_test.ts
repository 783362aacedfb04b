/** Checks on the device: where they may stand, when they are told, and what they cost. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import { noteCheck } from "../../graph/check.ts";
import { context } from "../../runtime/context.ts";

await rg.init({ software: "allow" });

const positive = (x: rg.Tensor): rg.Tensor => {
  rg.check(x.greater(0), "a value is not positive");
  return x.mul(2);
};

/** Fails with the message, once, and then no more. */
async function failsOnce(name: string, f: () => Promise<unknown>): Promise<void> {
  await assertRejects(f, rg.CheckError, `${name}: a value is not positive`);
  await rg.synchronize();
}

Deno.test("check() is told at the next await, with the name of the program", async () => {
  const step = rg.compile(positive, { name: "step" });
  assertEquals(await step(rg.tensor([1, 2])).array(), [2, 4]);
  const y = step(rg.tensor([1, -2, NaN]));
  await failsOnce("Cannot run step", () => y.data());
  assertEquals(await y.array(), [2, -4, NaN]);
  step(rg.tensor([1, 0]));
  await failsOnce("Cannot run step", () => rg.synchronize());
  step(rg.tensor([1, 0]));
  await failsOnce("Cannot run step", () => rg.tensor([3]).add(1).data());
  assertEquals(await step(rg.tensor([[3]])).array(), [[6]]);
});

Deno.test("check() outside of a function is computed with what is computed next", async () => {
  const x = rg.tensor([1, -1]);
  await failsOnce("Cannot compute", () => positive(x).data());
  positive(x);
  await failsOnce("Cannot compute", () => rg.synchronize());
  positive(x);
  await failsOnce("Cannot compute", () => rg.ones([2]).add(1).data());
  positive(x); // What is demanded of a tensor holds though it is disposed of.
  x.dispose();
  await failsOnce("Cannot compute", () => rg.synchronize());
  rg.check(rg.zeros([0]).greater(0), "nothing is everything");
  await rg.synchronize();
});

Deno.test("check() keeps its flag over runs without an await, in no more memory", async () => {
  const step = rg.compile((x: rg.Tensor) => positive(x).mul(0.5), { donate: [0] });
  let x = step(rg.tensor([1, 2]));
  await x.data();
  x = step(x);
  step(rg.tensor([-1, 1]));
  const { buffers } = rg.memory();
  for (let i = 0; i < 500; i++) x = step(x);
  await assertRejects(() => x.data(), rg.CheckError);
  assert(rg.memory().buffers <= buffers + 1, `${rg.memory().buffers} after ${buffers}`);
  await x.data();
});

Deno.test("check() holds in every step of loops, nested and of no step", async () => {
  for (const length of [0, 1, 2, 7]) {
    const f = (x: rg.Tensor): rg.Tensor =>
      rg.loop(
        (x: rg.Tensor) => {
          rg.check(x.less(5), "a value is not positive");
          return x.add(1);
        },
        x,
        { length },
      );
    const run = rg.compile(f, { name: "counting" });
    const fits = 5 - length; // x, x + 1 … x + length - 1 < 5
    assertEquals(await run(rg.tensor(fits)).item(), 5);
    if (length === 0) {
      await run(rg.tensor(50)).item();
      continue;
    }
    await failsOnce("Cannot run counting", () => run(rg.tensor(fits + 1)).item());
    await failsOnce("Cannot compute", () => f(rg.tensor(fits + 1)).item());
  }
  const nested = rg.compile((x: rg.Tensor) =>
    rg.loop(
      (x: rg.Tensor) =>
        rg.scan((c: rg.Tensor) => [positive(c).sub(6), null], x, null, { length: 3 })[0],
      x,
      { length: 2 },
    ), { name: "nested" }); // x → 2x - 6, six times: the last x is -0.4
  await nested(rg.tensor(6)).item();
  await failsOnce("Cannot run nested", () => nested(rg.tensor(5.8)).item());
});

Deno.test("check() holds in functions that are differentiated, batched, or have a rule", async () => {
  const cubed = (x: rg.Tensor): rg.Tensor => positive(x).pow(3).sum();
  const loop = (x: rg.Tensor): rg.Tensor =>
    rg.loop((x: rg.Tensor) => positive(x).sub(1), x, { length: 3 }).sum();
  const ruled = rg.customVjp(
    (x: rg.Tensor) => positive(x),
    (g, _, x) => {
      rg.check(x.less(10), "a value is not positive, or too large");
      return [g.mul(2)];
    },
  );
  const good = [2, 3], bad = [2, -3];
  for (
    const [name, f] of Object.entries({
      cubed,
      loop,
      ruled: (x: rg.Tensor) => ruled(x).sum(),
    })
  ) {
    const transforms: Record<string, (x: rg.Tensor) => rg.Tensor> = {
      grad: rg.grad(f),
      jvp: (x: rg.Tensor) => rg.jvp(f, [x], [rg.ones([2])])[1],
      vmap: rg.vmap((x: rg.Tensor) => f(x)),
      jacobian: rg.jacobian((x: rg.Tensor) => f(x).reshape(1)) as (x: rg.Tensor) => rg.Tensor,
      hessian: rg.hessian(f) as (x: rg.Tensor) => rg.Tensor,
      looped: (x: rg.Tensor) =>
        rg.loop((x: rg.Tensor) => x.add(rg.grad(f)(x).mul(0)), x, { length: 2 }),
      batched: (x: rg.Tensor) => rg.vmap(rg.grad((x: rg.Tensor) => f(x)))(x.reshape(2, 1)),
    };
    for (const [how, transformed] of Object.entries(transforms)) {
      const run = rg.compile(transformed, { name: `${how} of ${name}` });
      await run(rg.tensor(good)).data();
      await failsOnce(`Cannot run ${how} of ${name}`, () => run(rg.tensor(bad)).data());
      await failsOnce("Cannot compute", () => transformed(rg.tensor(bad)).data());
    }
  }
  const rule = rg.compile(rg.grad((x: rg.Tensor) => ruled(x).sum()));
  await rule(rg.tensor([9, 9])).data();
  await assertRejects(() => rule(rg.tensor([9, 10])).data(), rg.CheckError, "or too large");
  const batched = rg.compile(rg.vmap(rg.grad((x: rg.Tensor) => ruled(x).sum())));
  await assertRejects(() => batched(rg.tensor([[9], [10]])).data(), rg.CheckError, "or too large");
});

Deno.test("checks of one message are one flag; several failures say so", async () => {
  const run = rg.compile((x: rg.Tensor) => {
    for (let i = 0; i < 20; i++) positive(x.add(i));
    rg.check(x.less(3).all(), "a value is large");
    return x.mul(3);
  }, { name: "run" });
  await run(rg.tensor([1])).data();
  assertEquals(run.programs()[0]!.arguments.length, 3);
  await assertRejects(
    () => run(rg.tensor([-19, 4])).data(),
    rg.CheckError,
    "(and 1 more after it)",
  );
  await rg.synchronize();
});

Deno.test("a flag's value can be part of the message", async () => {
  const run = rg.compile((x: rg.Tensor) => {
    noteCheck({
      flag: x.less(0).cast("u32").sum().node,
      message: (count) => `${count} values are negative`,
    });
    return x.add(1);
  }, { name: "run" });
  await assertRejects(() => run(rg.tensor([-1, 2, -3])).data(), rg.CheckError, "run: 2 values are");
});

Deno.test("check() neither costs a dispatch nor disturbs what only looks at a program", async () => {
  const plain = rg.compile((x: rg.Tensor) => x.mul(2).sum());
  const checked = rg.compile((x: rg.Tensor) => {
    rg.check(x.greater(0), "a value is not positive");
    return x.mul(2).sum();
  });
  const x = rg.tensor([1, 2, -3]);
  await plain(x).data();
  await assertRejects(() => checked(x).data(), rg.CheckError);
  assert(checked.programs()[0]!.dispatches.length <= plain.programs()[0]!.dispatches.length + 1);
  await rg.profile(checked, [x], { runs: 1 });
  await rg.locateNaN(checked, [x]);
  await rg.synchronize();
  await assertRejects(() => checked(x).data(), rg.CheckError);
  checked(x);
  checked.dispose();
  await assertRejects(() => rg.synchronize(), rg.CheckError);
});

Deno.test("check() refuses what is no condition", () => {
  const x = rg.tensor([1, 2]);
  assertThrows(() => rg.check(x, "a"), TypeError, "Tensor f32[2], expected bool");
  assertThrows(() => rg.check(x.less(1), ""), TypeError, "expected what is wrong where");
  assertThrows(() => rg.check(1 as never, "a"), TypeError, "an operand is");
  assertEquals(context("test").checks.pending(), []);
});
