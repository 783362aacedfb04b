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
