/** Loops that end when their data say so, gone back over in segments: one gradient, to the bit. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as rg from "../../mod.ts";
import "../gpu.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;
type State = rg.steps.Companions<T>;
type Inverse = (carry: State, step: T) => State;
type Way = (inverse: Inverse) => rg.Strategy;

const x = rg.random.normal(rg.random.key(1), [2, 3]);
const weights = rg.random.normal(rg.random.key(2), [3, 3]);

/** So many steps of reversible Heun, as many as `count` says when it runs. */
const loss = (way: Way) => (x: T, w: T, count: T): T => {
  const heun = rg.steps.reversibleHeun({ field: (y: T) => y.matmul(w).tanh(), h: 0.1 });
  const [last] = rg.whileLoop(
    (_: State, step) => step.less(count),
    (carry: State, step) => heun.step(carry, step),
    heun.start(x),
    { backward: way((carry, step) => heun.inverse(carry, step)), name: "heun" },
  );
  return last.y.square().sum();
};

const usual: Way = () => rg.online({ snapshots: 16 });
const counts = [0, 1, 5, 6, 45].map((n) => rg.tensor(n, { dtype: "u32" }));

async function gradients(way: Way): Promise<unknown[]> {
  const run = rg.compile((x: T, w: T, count: T) =>
    rg.grad(loss(way), { argnums: [0, 1] })(x, w, count)
  );
  const all = [];
  for (const count of counts) {
    all.push(await Promise.all(run(x, weights, count).map((g) => g.data())));
  }
  return all;
}

Deno.test("a loop of unknown length is gone back over in segments with the bits of online()", async () => {
  const ways: Way[] = [
    () => rg.revolve({ snapshots: 3 }),
    () => rg.revolve({ snapshots: 3, segment: 4 }),
    (inverse) => {
      const leaf = rg.reverse({ inverse, exact: "tape" });
      return rg.revolve({ snapshots: 2, segment: 5, leaf });
    },
    (inverse) => {
      const leaf = rg.reverse({ inverse, exact: "tape", tape: { bits: 1e-3 } });
      return rg.revolve({ snapshots: 1, segment: 64, leaf });
    },
  ];
  const expected = await gradients(usual);
  for (const [i, way] of ways.entries()) assertEquals(await gradients(way), expected, `way ${i}`);
});

Deno.test("without a tape states drift, no further than over a segment, and it is told", async () => {
  const run = rg.compile((x: T) =>
    rg.grad(
      loss((inverse) => rg.revolve({ snapshots: 4, segment: 8, leaf: rg.reverse({ inverse }) })),
    )(x, weights, rg.tensor(40, { dtype: "u32" }))
  );
  const found = await run(x).data();
  const wanted = await rg.grad(loss(usual))(x, weights, rg.tensor(40, { dtype: "u32" })).data();
  found.forEach((g, i) => assert(Math.abs(g - wanted[i]!) < 1e-3 * (1 + Math.abs(wanted[i]!))));
  const drifts = run.measured().filter(({ label }) => label.startsWith("drift of heun"));
  assert(drifts.length > 0 && drifts.every(({ value }) => value! < 1e-5), JSON.stringify(drifts));
  assert(drifts.some(({ value }) => value! > 0));
});

Deno.test("batches and second derivatives of a loop with an inverse", async () => {
  const taped: Way = (inverse) =>
    rg.revolve({ snapshots: 2, segment: 5, leaf: rg.reverse({ inverse, exact: "tape" }) });
  const each = rg.tensor([3, 0], { dtype: "u32" });
  const both = async (f: (way: Way) => T): Promise<void> => {
    assertEquals(await f(taped).data(), await f(usual).data());
  };
  await both((way) => rg.vmap((count: T) => rg.grad(loss(way))(x, weights, count))(each));
  await both((way) => rg.hvp((x: T) => loss(way)(x, weights, counts[3]!), x, x.neg()));
});

Deno.test("an inverse that gives something else is refused, and a plan that cannot begin", async () => {
  const run = (backward: unknown) =>
    rg.whileLoop((x: T) => x.less(9), (x: T) => x.add(1), rg.zeros([]), {
      backward: backward as rg.Strategy,
    });
  const reversed = rg.reverse({ inverse: (x: T) => x.sub(1) });
  assertThrows(
    () => run(reversed),
    TypeError,
    "backward is reverse, expected online({ snapshots }) or revolve({ snapshots, segment, leaf })",
  );
  assertThrows(() => run(null as unknown as rg.Strategy), TypeError, "backward is null, expected");
  const leaf = rg.reverse({ inverse: (x: T) => rg.stack([x, x]) });
  assertThrows(
    () => run(rg.revolve({ snapshots: 2, segment: 3, leaf })),
    TypeError,
    "expected the same shape and dtype",
  );
  // On a grid an inverse that is wrong is an error.
  const wrong = rg.reverse({ inverse: (x: T) => x.sub(1.5), exact: "grid" });
  await assertRejects(
    () =>
      rg.grad((y: T) =>
        rg.whileLoop((x: T) => x.less(9), (x: T) => x.mul(x).add(1), y, {
          backward: rg.revolve({ snapshots: 2, segment: 3, leaf: wrong }),
        })[0]
      )(rg.tensor(0.5)).item(),
    rg.CheckError,
    "gave other bits than the state had",
  );
});

/** Gradients through so many steps on many values, within a budget or without one. */
function many(way: Way, memory?: number) {
  const run = rg.compile(
    (x: T, w: T, count: T) => rg.grad(loss(way), { argnums: [0, 1] })(x, w, count),
    memory === undefined ? {} : { memory },
  );
  const data = [rg.random.normal(rg.random.key(3), [512, 3]), weights] as const;
  return {
    bits: async (count: T) => await Promise.all(run(...data, count).map((g) => g.data())),
    program: () => run.programs()[0]!,
    time: () => run.programs()[0]!.steps().reduce((sum, { time }) => sum + time, 0),
    peaks: () => run.explain().match(/peak +(\d+) +(\d+)/)!.slice(1).map(Number),
  };
}

const left: Way = () => rg.auto();
const undone: Way = (inverse) =>
  rg.auto({ reverse: rg.reverse({ inverse, exact: "tape", tape: { bits: 0.5 } }) });

Deno.test("how many snapshots a loop of unknown length keeps is as many as a budget has room for", async () => {
  const expected = await many(usual).bits(counts[4]!);
  const free = many(left);
  assertEquals(await free.bits(counts[4]!), expected);
  assertEquals(free.program().choices, ["heun, any number of steps: online(64)"]);
  for (const snapshots of [8, 1]) {
    const asked = many(() => rg.online({ snapshots }));
    await asked.bits(counts[4]!);
    const memory = asked.program().memory.peak, run = many(left, memory);
    assertEquals(await run.bits(counts[4]!), expected);
    assertEquals(run.program().choices, [`heun, any number of steps: online(${snapshots})`]);
    assertEquals(run.peaks(), [memory, memory]);
  }
  const least = free.program().sweep().at(-1)!.bytes;
  await assertRejects(() => many(left, least - 1).bits(counts[0]!), RangeError, `least ${least} `);
});

Deno.test("with an inverse that is exact, little memory is for segments that go back by it", async () => {
  const kept = many(usual), free = many(undone);
  assertEquals(await free.bits(counts[4]!), await kept.bits(counts[4]!));
  const offers = free.program().sweep();
  const offer = offers.find(({ loops }) => loops![0]!.includes("over segments"))!;
  assert(offer !== undefined, JSON.stringify(offers));
  const run = many(undone, offer.bytes), plain = many(left, offer.bytes);
  for (const count of counts) assertEquals(await run.bits(count), await kept.bits(count));
  await plain.bits(counts[0]!);
  assert(
    /online\(\d+\) over segments of \d+: reverse with a tape/.test(`${run.program().choices}`),
  );
  assertEquals(run.peaks(), [offer.bytes, offer.bytes]);
  assert(run.time() < plain.time(), `${run.time()} and ${plain.time()}`);

  // On a grid no step runs often, with a snapshot of the beginning alone.
  type Motion = { x: T; v: T };
  const exact = rg.steps.exactLeapfrog({ force: (x: T) => x.sin().neg(), h: 0.05, range: 8 });
  const swing = (backward: rg.Strategy, memory?: number) =>
    rg.compile(
      rg.grad((x: T) =>
        rg.whileLoop(
          (_: Motion, step) => step.less(300),
          (carry: Motion, step) => exact.step(carry, step),
          exact.start({ x: x.mul(0.25), v: x.mul(0) }),
          { backward },
        )[0].x.sum()
      ),
      memory === undefined ? {} : { memory },
    );
  const y = rg.random.normal(rg.random.key(5), [1024]);
  const few = swing(rg.online({ snapshots: 2 })), wanted = await few(y).data();
  const inverse = (carry: Motion, step: T): Motion => exact.inverse(carry, step);
  const grid = rg.auto({ reverse: rg.reverse({ inverse, exact: "grid" }) });
  const back = swing(grid, few.programs()[0]!.memory.peak);
  assertEquals(await back(y).data(), wanted);
  assert(`${back.programs()[0]!.choices}`.endsWith(": reverse on a grid"), back.explain());
});
