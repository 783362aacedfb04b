/**
 * The way back on a device: whatever is kept and whatever is computed again, the gradient has the
 * bits that it has with every state stored; and memory is as predicted.
 *
 * @module
 */
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import * as rg from "../../mod.ts";
import { seed } from "../seed.ts";

await rg.init({ software: "allow" });

const normal = (seed: number, shape: readonly number[]): rg.Tensor =>
  rg.random.normal(rg.random.key(seed), shape).mul(0.5);

/** Bits of all tensors of a tree. */
async function bitsOf(tree: readonly rg.Tensor[]): Promise<string[]> {
  const all: string[] = [];
  for (const x of tree) {
    const data = await x.data();
    all.push([...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)].join());
  }
  return all;
}

const peakOf = (text: string): RegExpMatchArray | null => text.match(/peak +(\d+) +(\d+)/);

interface Case {
  readonly length: number;
  readonly reverse: boolean;
  readonly choices: readonly number[];
  readonly backward: rg.Backward;
}

type Carry = { h: rg.Tensor; n: rg.Tensor; k: rg.Tensor; half: rg.Tensor };
type Args = [w: rg.Tensor, h: rg.Tensor, xs: rg.Tensor];

/** A loop with several carries of several dtypes, rows in and out, and a tensor that it closes over. */
function lossOf({ reverse, choices, backward }: Case): (...args: Args) => rg.Tensor {
  return (w, h, xs) => {
    const step = ({ h, n, k, half }: Carry, x: rg.Tensor): [Carry, rg.Tensor[]] => {
      let at = 0;
      const next = (): number => choices[at++ % choices.length]!;
      const mixed = (y: rg.Tensor): rg.Tensor => {
        switch (next() % 5) {
          case 0:
            return y.matmul(w).add(x).tanh();
          case 1:
            return y.mul(x).add(n).sin();
          case 2:
            return y.add(k.cast("f32").mul(0.125)).mul(0.5);
          case 3:
            return rg.where(x.greater(0), y, n.mul(y).cos());
          default:
            return y.sub(y.mean(-1, { keepDims: true })).mul(half.cast("f32"));
        }
      };
      const after = mixed(mixed(h));
      const carry = {
        h: after,
        n: next() % 2 === 0 ? n : after.mul(0.25).add(n.mul(0.5)),
        k: k.add(next() % 2 === 0 ? 1 : 2),
        half: next() % 3 === 0 ? half : half.mul(0.75),
      };
      return [carry, next() % 2 === 0 ? [after.sum(-1)] : [h.mul(n), k.cast("f32")]];
    };
    const start: Carry = {
      h,
      n: h.mul(0.5),
      k: rg.tensor(1, { dtype: "i32" }),
      half: rg.ones([3], { dtype: "f32" }),
    };
    const [last, ys] = rg.scan(step, start, xs, { reverse, backward });
    const all = [last.h.square(), last.n, last.half, ...ys.map((y) => y.mul(0.3))];
    return all.reduce((sum, y) => sum.add(y.sum()), rg.tensor(0));
  };
}

const strategies: fc.Arbitrary<rg.Backward> = fc.oneof(
  fc.integer({ min: 1, max: 5 }).map((snapshots) => rg.revolve({ snapshots })),
  fc.integer({ min: 1, max: 5 }).map((snapshots) => rg.online({ snapshots })),
  fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 4 }))
    .map(([snapshots, segment]) => rg.revolve({ snapshots, segment })),
);

Deno.test("the gradient has the same bits with every strategy, and memory is as predicted", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        length: fc.constantFrom(0, 1, 2, 3, 7, 13),
        reverse: fc.boolean(),
        choices: fc.array(fc.nat({ max: 29 }), { minLength: 3, maxLength: 7 }),
        backward: strategies,
      }),
      async (given) => {
        const args = await rg.realize([
          normal(1, [3, 3]),
          normal(2, [2, 3]),
          normal(3, [given.length, 2, 3]),
        ]) as Args;
        const run = (backward: rg.Backward) => {
          const both = rg.compile((...args: Args) =>
            rg.valueAndGrad(lossOf({ ...given, backward }), { argnums: [0, 1, 2] })(...args)
          );
          const [value, gradient] = both(...args);
          return { results: [value, ...gradient as rg.Tensor[]], text: both.explain() };
        };
        const stored = run("store"), other = run(given.backward);
        assertEquals(await bitsOf(other.results), await bitsOf(stored.results));
        for (const { text } of [stored, other]) {
          const [, predicted, counted] = peakOf(text)!;
          assertEquals(predicted, counted, text);
        }
      },
    ),
    { seed: seed(), numRuns: 10 },
  );
});

const cell = (w: rg.Tensor) => (h: rg.Tensor, x: rg.Tensor): [rg.Tensor, rg.Tensor] => {
  const next = h.matmul(w).add(x).tanh();
  return [next, next.sum(1)];
};

/** Functions of a 4 × 4 tensor that go back over a loop in one of many ways. */
type Way = (backward: rg.Backward) => (w: rg.Tensor) => readonly rg.Tensor[];

const [h0, rows] = await rg.realize([normal(2, [2, 4]), normal(3, [11, 2, 4])]);
const last = (backward: rg.Backward) => (w: rg.Tensor): rg.Tensor =>
  rg.scan(cell(w), h0!, rows!, { backward })[0];
const loss = (backward: rg.Backward) => (w: rg.Tensor): rg.Tensor =>
  last(backward)(w).square().sum();

const ways: { readonly [name: string]: Way } = {
  "two pulls of one loop": (backward) => (w) => {
    const [y, pull] = rg.vjp(last(backward), w);
    return [y, ...pull(rg.ones([2, 4])), ...pull(h0!)];
  },
  "a Jacobian": (backward) => (w) => [rg.jacobian(last(backward))(w)],
  "a Hessian-vector product": (backward) => (w) => [rg.hvp(loss(backward), w, w.mul(2))],
  "the gradient of a gradient": (backward) => (w) => [
    rg.grad((w: rg.Tensor) => rg.grad(loss(backward))(w).square().sum())(w),
  ],
  "gradients of examples": (backward) => (w) => [
    rg.vmap(rg.grad(loss(backward)))(rg.stack([w, w.mul(0.5), w.neg()])),
  ],
  "Hessian-vector products of examples": (backward) => (w) => [
    rg.vmap((w: rg.Tensor) => rg.hvp(loss(backward), w, w))(rg.stack([w, w.mul(0.5)])),
  ],
  "carries of every dtype, and of none": (backward) => (w) => [
    rg.grad((w: rg.Tensor) => {
      type C = { x: rg.Tensor; flag: rg.Tensor; n: rg.Tensor; none: rg.Tensor; half: rg.Tensor };
      const step = ({ x, flag, n, none, half }: C, i: rg.Tensor): C => ({
        x: rg.where(flag, x.sin().mul(1.25), x.cos().add(n.cast("f32").mul(0.125))),
        flag: flag.logicalNot(),
        n: n.add(i.cast("i32")),
        none: none.mul(2),
        half: half.sin().add(x.sum().cast("f16")),
      });
      const start: C = {
        x: w,
        flag: rg.tensor(1, { dtype: "bool" }),
        n: rg.tensor(3, { dtype: "i32" }),
        none: rg.zeros([0, 3]),
        half: rg.ones([3]).cast("f16"),
      };
      const { x, half } = rg.loop(step, start, { length: 9, backward });
      return x.square().sum().add(half.cast("f32").sum());
    })(w),
  ],
  "carries that change places": (backward) => (w) => [
    rg.grad((w: rg.Tensor) => {
      type C = { a: rg.Tensor; b: rg.Tensor; c: rg.Tensor };
      const step = ({ a, b, c }: C): C => ({ a: b, b: a.sin().add(c), c: a });
      const { a, b, c } = rg.loop(step, { a: w, b: w.mul(2), c: w.mul(3) }, {
        length: 8,
        backward,
      });
      return a.mul(b).add(c).sum();
    })(w),
  ],
  "a loop that begins where another ended": (backward) => (w) => [
    rg.grad((w: rg.Tensor) => {
      const y = rg.loop((y) => y.sin().mul(1.25), w, { length: 7, backward });
      return rg.loop((y) => y.cos().mul(1.125), y, { length: 7, backward }).square().sum();
    })(w),
  ],
  "checks in the body": (backward) => (w) => [
    rg.grad((w: rg.Tensor) =>
      rg.loop(
        (y) => {
          rg.check(y.less(100), "a value is large");
          return y.sin().mul(1.5);
        },
        w,
        { length: 6, backward },
      ).sum()
    )(w),
  ],
};

for (const [name, way] of Object.entries(ways)) {
  Deno.test(`${name}: the same bits with every strategy`, async () => {
    const [w] = await rg.realize([normal(1, [4, 4])]);
    const run = (backward: rg.Backward) => rg.compile(way(backward))(w!);
    const stored = await bitsOf(run("store"));
    assertEquals(await bitsOf(run(rg.revolve({ snapshots: 2 }))), stored);
    assertEquals(await bitsOf(run(rg.revolve({ snapshots: 2, segment: 4 }))), stored);
  });
}

Deno.test("tangents and batches of a way back take no more memory for more steps", () => {
  const peak = (way: Way): number => {
    const run = rg.compile(way(rg.revolve({ snapshots: 3 })));
    run(rg.ones([64]));
    return run.programs()[0]!.memory.workspace;
  };
  const far = (length: number): Way => (backward) => (x) => {
    const f = (x: rg.Tensor): rg.Tensor =>
      rg.loop((x) => x.sin().mul(1.25), x, { length, backward }).square().sum();
    return [rg.hvp(f, x, x), rg.vmap(rg.grad(f))(rg.stack([x, x]))];
  };
  assertEquals(peak(far(200)), peak(far(20)));
});

Deno.test("strategies nest: a loop in a loop, each with its own", async () => {
  const [w, h, xs] = await rg.realize([normal(1, [4, 4]), normal(2, [2, 4]), normal(3, [5, 2, 4])]);
  const f = (outer: rg.Backward, inner: rg.Backward) => (w: rg.Tensor): rg.Tensor =>
    rg.loop(
      (h) => rg.scan(cell(w), h, xs!, { backward: inner })[0].add(h.mul(0.25)),
      h!,
      { length: 7, backward: outer },
    ).square().sum();
  const few = rg.revolve({ snapshots: 2 });
  const bits = async (outer: rg.Backward, inner: rg.Backward) =>
    await bitsOf([rg.compile(rg.grad(f(outer, inner)))(w!)]);
  const stored = await bits("store", "store");
  assertEquals(await bits(few, "store"), stored);
  assertEquals(await bits("store", few), stored);
  assertEquals(await bits(few, few), stored);
});

Deno.test("layers stacked over depth: gradients of the rows go to their places", async () => {
  const depth = 6;
  const [ws, bs, x] = await rg.realize([
    normal(1, [depth, 4, 4]),
    normal(2, [depth, 4]),
    normal(3, [3, 4]),
  ]);
  type Layers = { ws: rg.Tensor; bs: rg.Tensor };
  const layer = (x: rg.Tensor, { ws, bs }: Layers): [rg.Tensor, null] => [
    x.matmul(ws).add(bs).tanh(),
    null,
  ];
  const scanned = (backward: rg.Backward) => (layers: Layers): rg.Tensor =>
    rg.scan(layer, x!, layers, { backward })[0].square().sum();
  const written = ({ ws, bs }: Layers): rg.Tensor => {
    let y = x!;
    for (let i = 0; i < depth; i++) y = layer(y, { ws: ws.slice(i), bs: bs.slice(i) })[0];
    return y.square().sum();
  };
  const wanted = rg.grad(written)({ ws: ws!, bs: bs! });
  for (const backward of ["store", rg.revolve({ snapshots: 2 })] as const) {
    const got = rg.compile(rg.grad(scanned(backward)))({ ws: ws!, bs: bs! });
    for (const name of ["ws", "bs"] as const) {
      const [a, b] = [await got[name].data(), await wanted[name].data()];
      b.forEach((v, i) => assertAlmostEquals(a[i]!, v, 1e-5 * (1 + Math.abs(v)), name));
    }
  }
});

Deno.test("reverse() inverts the steps, alone and as leaves of revolve()", async () => {
  const [x, v, k] = await rg.realize([normal(1, [5]), normal(2, [5]), normal(3, [40, 5])]);
  type State = { x: rg.Tensor; v: rg.Tensor };
  const h = 0.125;
  const step = ({ x, v }: State, k: rg.Tensor): [State, null] => {
    const next = v.sub(x.sin().mul(k.square()).mul(h));
    return [{ x: x.add(next.mul(h)), v: next }, null];
  };
  const inverse = ({ x, v }: State, k: rg.Tensor): State => {
    const before = x.sub(v.mul(h));
    return { x: before, v: v.add(before.sin().mul(k.square()).mul(h)) };
  };
  for (const reverse of [false, true]) {
    const f = (backward: rg.Backward) => (x: rg.Tensor, v: rg.Tensor, k: rg.Tensor): rg.Tensor =>
      rg.scan(step, { x, v }, k, { backward, reverse })[0].x.square().sum();
    const gradient = (backward: rg.Backward) => {
      const run = rg.compile((x: rg.Tensor, v: rg.Tensor, k: rg.Tensor) =>
        rg.grad(f(backward), { argnums: [0, 1, 2] })(x, v, k)
      );
      const results = run(x!, v!, k!) as rg.Tensor[];
      const [, predicted, counted] = peakOf(run.explain())!;
      assertEquals(predicted, counted);
      return results;
    };
    const stored = gradient("store");
    const reversed = rg.reverse({ inverse });
    const batched = (backward: rg.Backward) =>
      rg.vmap((x: rg.Tensor) => rg.grad(f(backward))(x, v!, k!))(rg.stack([x!, v!])).data();
    const [some, others] = [await batched("store"), await batched(reversed)];
    some.forEach((want, j) => assertAlmostEquals(others[j]!, want, 1e-4 * (1 + Math.abs(want))));
    for (
      const backward of [reversed, rg.revolve({ snapshots: 2, segment: 7, leaf: reversed })]
    ) {
      const other = gradient(backward);
      for (const [i, y] of stored.entries()) {
        const [a, b] = [await y.data(), await other[i]!.data()];
        a.forEach((want, j) => assertAlmostEquals(b[j]!, want, 1e-4 * (1 + Math.abs(want))));
      }
    }
  }
});

/** Kicks and drifts whose every sum is a multiple of 2^-12, so that it can be undone to the bit. */
const onGrid = (x: rg.Tensor): rg.Tensor => x.mul(4096).round().mul(1 / 4096);

Deno.test("reverse() says how far states drifted, or demands the bits of the initial state", async () => {
  type State = { x: rg.Tensor; v: rg.Tensor };
  const step = (round: (x: rg.Tensor) => rg.Tensor) => ({ x, v }: State): State => {
    const next = v.sub(round(x.sin().mul(0.125)));
    return { x: x.add(round(next.mul(0.125))), v: next };
  };
  const inverse = (round: (x: rg.Tensor) => rg.Tensor) => ({ x, v }: State): State => {
    const before = x.sub(round(v.mul(0.125)));
    return { x: before, v: v.add(round(before.sin().mul(0.125))) };
  };
  const plain = (x: rg.Tensor): rg.Tensor => x;
  const [x] = await rg.realize([normal(1, [33])]);
  const [grid] = await rg.realize([onGrid(x!)]);
  const gradient = (
    round: (x: rg.Tensor) => rg.Tensor,
    undo: (x: rg.Tensor) => rg.Tensor,
    backward: "store" | { exact: false | "grid"; segment?: number },
  ) =>
    rg.compile(rg.grad((x: rg.Tensor) => {
      const how = backward === "store" ? backward : ((): rg.Backward => {
        const leaf = rg.reverse({ inverse: inverse(undo), exact: backward.exact });
        const { segment } = backward;
        return segment === undefined ? leaf : rg.revolve({ snapshots: 3, segment, leaf });
      })();
      return rg.loop(step(round), { x, v: x.mul(0) }, { length: 200, backward: how, name: "swing" })
        .x.square().sum();
    }));
  // Plain arithmetic drifts a little; with rounding left out of the inverse, a lot.
  for (const [undo, least, most] of [[plain, 1e-9, 1e-4], [onGrid, 1e-3, 1]] as const) {
    const run = gradient(plain, undo, { exact: false });
    assertEquals(run.measured(), []);
    await run(x!).data();
    const drifts = run.measured();
    assertEquals(drifts.length, 2);
    for (const { label, value } of drifts) {
      assert(label.startsWith("drift of swing on the way back, carry "), label);
      assert(value! >= least && value! <= most, `${label}: ${value}, expected ${least} to ${most}`);
      assert(run.explain().includes(`${label}: ${value}`));
    }
  }
  // On the grid the inverse gives the state back to the bit, and so the gradient.
  const stored = await bitsOf([gradient(onGrid, onGrid, "store")(grid!)]);
  for (const segment of [undefined, 7]) {
    const how = { exact: "grid", ...(segment && { segment }) } as const;
    assertEquals(await bitsOf([gradient(onGrid, onGrid, how)(grid!)]), stored);
    await assertRejects(
      () => gradient(plain, plain, how)(x!).data(),
      rg.CheckError,
      "going back over swing, the inverse gave other bits than the state had, carry ",
    );
  }
});

Deno.test("strategies say what does not fit", () => {
  const x = rg.zeros([2]);
  assertThrows(
    () => rg.revolve({ snapshots: 0 }),
    RangeError,
    "Cannot make revolve: snapshots is 0, expected an integer of at least 1",
  );
  assertThrows(() => rg.online({ snapshots: 1.5 }), RangeError, "snapshots is 1.5");
  assertThrows(
    () => rg.reverse(undefined as never),
    TypeError,
    "Cannot make reverse: the options are undefined, expected an object such as { inverse }",
  );
  for (const [length, is] of [["3", '"3"'], [2 ** 31, "2147483648"], [-1, "-1"]]) {
    assertThrows(
      () => rg.loop((x: rg.Tensor) => x, x, { length: length as number }),
      RangeError,
      `the length is ${is}, expected an integer from 0 to 2^31 - 1`,
    );
  }
  assertThrows(
    () => rg.revolve({ snapshots: 2, segment: 0 }),
    RangeError,
    "segment is 0",
  );
  assertThrows(
    () => rg.revolve({ snapshots: 2, segment: 3, leaf: rg.revolve({ snapshots: 2 }) }),
    TypeError,
    'leaf is revolve(2), expected "store" or reverse({ inverse })',
  );
  assertThrows(
    () => rg.reverse({ inverse: 3 as unknown as () => unknown }),
    TypeError,
    "inverse is 3, expected a function",
  );
  assertThrows(
    () => rg.loop((c) => c.add(1), x, { length: 3, backward: "all" as "store" }),
    TypeError,
    'backward is "all", expected "store", "auto" or what revolve, online, offload, reverse or auto returns',
  );
  const { message } = assertThrows(
    () =>
      rg.loop((c) => c.add(1), x, {
        length: 3,
        backward: rg.reverse({ inverse: (c: rg.Tensor) => c.sum() }),
      }),
    TypeError,
  );
  assert(message.includes("inverse") && message.includes("returned f32[]"), message);
});
