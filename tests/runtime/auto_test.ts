/**
 * Loops whose way back the compiler chooses: whatever the budget, the gradient has the bits of
 * `"store"`, what was predicted is what is counted, and more memory is never slower.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import * as rg from "../../mod.ts";
import "../seed.ts";
import { bitsOf, normal } from "./bits.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;
type Motion = { x: T; v: T };

const pair = rg.steps.leapfrog({ force: (x: T) => x.sin().neg(), h: 0.05 });

/** Two loops of unlike lengths, one after the other; the second has parameters and rows. */
const loss = (backward: rg.Backward, other: rg.Backward = backward) => (x: T, w: T, rows: T): T => {
  const end: Motion = rg.loop(pair.step, { x, v: x.mul(0.5) }, { length: 40, backward });
  const step = (y: T, row: T): [T, null] => [y.mul(w).add(row).tanh(), null];
  return rg.scan(step, end.x.add(end.v), rows, { backward: other })[0].square().sum();
};

const args = [normal(1, [512]), normal(2, [512]), normal(3, [17, 1])] as const;

function compiled(f: ReturnType<typeof loss>, memory?: number) {
  return rg.compile(
    (...args: T[]) => {
      const [value, gradients] = rg.valueAndGrad(f, { argnums: [0, 1, 2] })(
        ...args as [T, T, T],
      );
      return [value, ...gradients as T[]];
    },
    { name: "auto", ...(memory !== undefined && { memory }) },
  );
}

/** Microseconds that the latest program is expected to take. */
const timeOf = (f: ReturnType<typeof compiled>): number =>
  f.programs().at(-1)!.steps().reduce((sum, { time }) => sum + time, 0);

Deno.test("every budget gives the bits of store, and what is predicted is counted", async () => {
  const expected = await bitsOf(compiled(loss("store"))(...args));
  const free = compiled(loss("auto"));
  assertEquals(await bitsOf(free(...args)), expected);
  const { peak, arguments: given } = free.programs()[0]!.memory;
  assertEquals(free.programs()[0]!.choices?.map((choice) => choice.split(": ")[1]), [
    "store",
    "store",
  ]);
  const chosen = new Set<string>();
  let before = 0;
  for (const share of [1, 0.6, 0.4, 0.25, 0.15]) {
    const memory = Math.ceil(given + share * (peak - given));
    const run = compiled(loss("auto"), memory);
    assertEquals(await bitsOf(run(...args)), expected, `${memory} bytes`);
    const text = run.explain();
    const [, predicted, counted] = text.match(/peak +(\d+) +(\d+)/)!;
    assertEquals(predicted, counted);
    assert(Number(counted) <= memory);
    for (const choice of run.programs()[0]!.choices!) chosen.add(choice);
    assertStringIncludes(text, "chosen to go back over");
    // Less memory is no faster, but for what stores all, which is taken for the fastest.
    if (share < 1) assert(timeOf(run) >= before, `${memory} bytes`);
    if (share < 1) before = timeOf(run);
    run.dispose();
  }
  assert(chosen.size > 3, [...chosen].join("\n"));
});

Deno.test("a budget that no choice keeps to is an error that names the least, which does", async () => {
  const expected = await bitsOf(compiled(loss("store"))(...args));
  const error = assertThrows(() => compiled(loss("auto"), 10_000)(...args), RangeError);
  const [, least] = error.message.match(
    /^Cannot compile auto: the budget is 10000 bytes, expected at least (\d+) \(arguments/,
  )!;
  const run = compiled(loss("auto"), Number(least));
  assertEquals(await bitsOf(run(...args)), expected);
  assertThrows(() => compiled(loss("auto"), Number(least) - 1)(...args), RangeError, `${least}`);
});

Deno.test("what is allowed besides is chosen where it pays", async () => {
  const wave = (backward: rg.Backward) => (x: T): T =>
    rg.loop(pair.step, { x, v: x.mul(0.5) }, { length: 400, backward, name: "wave" }).x.sum();
  const x = normal(4, [2048]);
  const expected = await bitsOf([rg.grad(wave("store"))(x)]);
  const exact = rg.steps.exactLeapfrog({ force: (x: T) => x.sin().neg(), h: 0.05, range: 8 });
  const taped = rg.auto({
    reverse: rg.reverse({ ...pair, exact: "tape", tape: { bits: 0.6 } }),
  });
  const chosen = (backward: rg.Backward, memory: number | undefined, f = wave) =>
    rg.compile((x: T) => rg.grad(f(backward))(x), {
      name: "wave",
      ...(memory !== undefined && { memory }),
    });
  const small = chosen("auto", 220_000), tape = chosen(taped, 1_000_000);
  assertEquals(await bitsOf([small(x)]), expected);
  assertEquals(await bitsOf([tape(x)]), expected);
  assertStringIncludes(small.programs()[0]!.choices![0]!, "wave, 400 steps: revolve(");
  assert(timeOf(small as never) > 0);
  // On a grid nothing is stored at all.
  const gridded = (backward: rg.Backward) => (x: T): T =>
    rg.loop(exact.step, exact.start({ x: x.mul(0.25), v: x.mul(0) }), {
      length: 400,
      backward,
      name: "wave",
    })
      .x.sum();
  const grid = chosen(
    rg.auto({ reverse: rg.reverse({ ...exact, exact: "grid" }) }),
    150_000,
    gridded,
  );
  assertEquals(await bitsOf([grid(x)]), await bitsOf([rg.grad(gridded("store"))(x)]));
  assertStringIncludes(grid.programs()[0]!.choices![0]!, "reverse on a grid");
  // With many states in the host's memory there is nothing left but the first on the device.
  const away = chosen(rg.auto({ host: 400 }), 110_000);
  assertEquals(await bitsOf([away(x)]), expected);
  assertStringIncludes(away.programs()[0]!.choices![0]!, "wave, 400 steps: ");
});

/** An implicit step, solved by iteration: far more work than undoing it, which is one evaluation. */
const implicit = (() => {
  const w = normal(5, [16, 16]).mul(0.25);
  const slope = (y: T): T => y.matmul(w).tanh().mul(0.05);
  const step = (y: T): T => {
    let z = y;
    for (let i = 0; i < 8; i++) z = y.add(slope(z));
    return z;
  };
  const inverse = (z: T): T => z.sub(slope(z));
  return { step, leaf: rg.reverse({ inverse, exact: "tape", tape: { bits: 0.3 } }) };
})();

/** The gradient through so many such steps. */
const settling = (length: number, backward: rg.Backward, memory?: number) =>
  rg.compile(
    rg.grad((x: T) =>
      rg.loop(implicit.step, x, { length, backward, name: "settle" }).square().mean()
    ),
    memory === undefined ? {} : { memory },
  );

Deno.test("segments go back by tape under an outer schedule where that is the fastest", async () => {
  const x = normal(6, [64, 16]), length = 800, { leaf } = implicit;
  const expected = await bitsOf([settling(length, "store")(x)]);
  const asked = settling(length, rg.revolve({ snapshots: 3, segment: 170, leaf }));
  assertEquals(await bitsOf([asked(x)]), expected);
  // Where the whole tape does not fit, and few snapshots by themselves would run steps often.
  const memory = asked.programs()[0]!.memory.peak;
  const run = settling(length, rg.auto({ reverse: leaf }), memory);
  assertEquals(await bitsOf([run(x)]), expected);
  assertMatch(
    run.programs()[0]!.choices![0]!,
    /^settle, 800 steps: revolve\(\d\) over segments of/,
  );
  const [, predicted, counted] = run.explain().match(/peak +(\d+) +(\d+)/)!;
  assertEquals(predicted, counted);
  assert(Number(counted) <= memory);
  assert(timeOf(run as never) <= 1.1 * timeOf(asked as never));
  const none = settling(length, "auto", memory);
  assertEquals(await bitsOf([none(x)]), expected);
  assert(timeOf(run as never) < 0.9 * timeOf(none as never), "slower without the inverse");
});

Deno.test("what is chosen is about as fast as the best number of snapshots that fits", async () => {
  const x = normal(6, [64, 16]), length = 200;
  const all = Array.from({ length: 8 }, (_, i) => {
    const f = settling(length, rg.revolve({ snapshots: i + 2 }));
    f(x);
    return { bytes: f.programs()[0]!.memory.peak, time: timeOf(f as never) };
  });
  for (const { bytes, time } of all.slice(1).filter((_, i) => i % 3 === 0)) {
    const f = settling(length, "auto", bytes);
    f(x);
    assert(
      timeOf(f as never) <= 1.06 * time,
      `${bytes} bytes: ${timeOf(f as never)} after ${time}`,
    );
  }
  await rg.synchronize();
});

Deno.test("explain({ sweep: true }) shows the trade, with what loops would do", async () => {
  const run = compiled(loss("auto"));
  await bitsOf(run(...args));
  const offers = run.programs()[0]!.sweep();
  assert(offers.length > 2);
  offers.forEach(({ bytes, time }, i) => {
    if (i > 0) assert(bytes < offers[i - 1]!.bytes && time >= offers[i - 1]!.time);
  });
  assert(offers.some(({ loops }) => loops!.some((loop) => loop.includes("revolve("))));
  const { bytes } = offers.at(-1)!;
  const least = compiled(loss("auto"), bytes);
  await bitsOf(least(...args));
  assert(least.programs()[0]!.memory.peak <= bytes);
  assertStringIncludes(run.explain({ sweep: true }), "revolve(");
});

Deno.test("batches, tangents, second derivatives and nested loops may be left to the compiler", async () => {
  const inner = (backward: rg.Backward) => (x: T): T =>
    rg.loop(
      (x: T) => rg.loop((x: T) => x.mul(1.1).sin(), x, { length: 5, backward, name: "in" }),
      x,
      { length: 6, backward, name: "out" },
    ).square().sum();
  const all = (backward: rg.Backward) =>
    rg.compile((x: T) => [
      rg.grad(inner(backward))(x),
      rg.vmap(rg.grad(inner(backward)))(rg.stack([x, x.mul(2)])),
      rg.hvp(inner(backward), x, x.cos()),
      rg.grad((x: T) => rg.grad(inner(backward))(x).square().sum())(x),
    ])(normal(6, [7]));
  const [a, b] = [all("auto"), all("store")];
  assertEquals(await bitsOf(a.slice(0, 2)), await bitsOf(b.slice(0, 2)));
  for (const i of [2, 3]) {
    const [x, y] = [await a[i]!.data(), await b[i]!.data()];
    x.forEach((value, k) => assert(Math.abs(value - y[k]!) <= 1e-4 * (1 + Math.abs(y[k]!))));
  }
});

Deno.test("short loops, unread states and any budget come out as stored", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(0, 1, 2, 3, 9),
      fc.constantFrom(1, 4, 33),
      fc.boolean(),
      fc.integer({ min: 0, max: 100 }),
      async (length, size, taped, percent) => {
        type Two = { x: T; n: T };
        const step = ({ x, n }: Two, r: T): [Two, T] => [
          { x: x.mul(r).sin(), n: n.add(1) },
          x.mul(n),
        ];
        const inverse = ({ x, n }: Two): Two => ({ x: x.mul(2), n: n.sub(1) });
        const f = (backward: rg.Backward) => (x: T, rows: T): T => {
          const [end, ys] = rg.scan(step, { x, n: rg.zeros([]) }, rows, { backward });
          return end.x.sum().add(ys.sum());
        };
        const own = taped
          ? rg.auto({ reverse: rg.reverse({ inverse, exact: "tape", tape: { bits: 8 } }) })
          : "auto";
        const of = (backward: rg.Backward, memory?: number) =>
          rg.compile(
            (x: T, rows: T) => rg.grad(f(backward), { argnums: [0, 1] })(x, rows),
            memory === undefined ? {} : { memory },
          );
        const data = [normal(1, [size]), normal(2, [length, size])] as const;
        const expected = await bitsOf(of("store")(...data));
        const free = of(own);
        assertEquals(await bitsOf(free(...data)), expected);
        const { peak, arguments: given } = free.programs()[0]!.memory;
        const memory = Math.round(given + (peak - given) * percent / 100);
        try {
          assertEquals(await bitsOf(of(own, memory)(...data)), expected);
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
          const least = Number(error.message.match(/at least (\d+)/)![1]);
          assert(least > memory);
          assertEquals(await bitsOf(of(own, least)(...data)), expected);
        }
      },
    ),
    { numRuns: 6 },
  );
});

Deno.test("auto() refuses what is not exact, and counts that are none", () => {
  const inverse = (x: T): T => x;
  assertThrows(
    () => rg.auto({ reverse: rg.reverse({ inverse }) }),
    TypeError,
    'Cannot make auto: reverse is reverse, expected reverse({ inverse, exact: "tape" or "grid" })',
  );
  assertThrows(() => rg.auto({ reverse: rg.revolve({ snapshots: 2 }) }), TypeError);
  for (const [reverse, what] of [[null, "null"], [{}, "an object"]] as const) {
    assertThrows(
      () => rg.auto({ reverse: reverse as never }),
      TypeError,
      `Cannot make auto: reverse is ${what}, expected reverse({`,
    );
  }
  assertThrows(
    () => rg.auto({ host: -1 }),
    RangeError,
    "Cannot make auto: host is -1, expected an integer of at least 0",
  );
});
