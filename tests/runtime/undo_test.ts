/**
 * A step back as one program: what was compiled before anything was tried, with inverse and pull
 * apart, and what is compiled once they were seen to have the same bits as one, agree in every bit;
 * and what has other bits is not used.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { compileGraph } from "../../compile/compile.ts";
import type { Probe, Program } from "../../compile/program.ts";
import * as build from "../../graph/build.ts";
import { currentContext } from "../../runtime/context.ts";
import { load } from "../../runtime/probes.ts";
import { isTensor } from "../../graph/transforms/trace.ts";
import { flatten } from "../../graph/tree.ts";
import * as rg from "../../mod.ts";
import { seed } from "../seed.ts";

await rg.init({ software: "allow" });

type T = rg.Tensor;
type Motion = { x: T; v: T };

const normal = (seed: number, shape: readonly number[]): T =>
  rg.random.normal(rg.random.key(seed), shape).mul(0.5);

const leavesOf = (tree: unknown): T[] => flatten(tree, isTensor).leaves;

async function bitsOf(tree: unknown): Promise<string> {
  const all: string[] = [];
  for (const x of leavesOf(tree)) {
    const data = await x.data();
    all.push([...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)].join());
  }
  return all.join("; ");
}

const joined =
  /inverse and pull of a step are one program: (\d+) dispatch(?:es)? in place of (\d+)/;

/** Runs until what was tried is used, and demands that nothing else changes. */
async function assertSame(
  f: (...args: T[]) => unknown,
  args: readonly T[],
  name: string,
): Promise<{ readonly one: number; readonly two: number } | undefined> {
  const run = rg.compile(f as (...args: T[]) => T, { name });
  const apart = await bitsOf(run(...args));
  // What was met before may have been tried then.
  const before = run.explain();
  assertEquals(await bitsOf(run(...args)), apart, name);
  const after = run.explain(), found = after.match(joined);
  const peak = after.match(/peak +(\d+) +(\d+)/)!;
  assertEquals(peak[1], peak[2], `${name}: memory as predicted`);
  const twice = run.programs().length;
  await bitsOf(run(...args));
  assertEquals(run.programs().length, twice);
  assertEquals(run.explain(), after, `${name}: nothing more is compiled`);
  run.dispose();
  if (found === null) return undefined;
  assert(joined.test(before) || before.includes("used from the next call on"), before);
  return { one: Number(found[1]), two: Number(found[2]) };
}

const h = 0.05;
const swing = ({ x, v }: Motion): Motion => {
  const next = v.sub(x.sin().mul(h));
  return { x: x.add(next.mul(h)), v: next };
};
const unswing = ({ x, v }: Motion): Motion => {
  const before = x.sub(v.mul(h));
  return { x: before, v: v.add(before.sin().mul(h)) };
};

/** Gradients of where a pair ends after so many steps. */
function gradient<C extends rg.Tree>(
  { step, inverse }: Pick<rg.steps.ReversibleStep<C>, "step" | "inverse">,
  start: (x: T) => C,
  { length = 9, exact = false as false | "grid", segment = undefined as number | undefined } = {},
): (x: T) => T {
  const leaf = rg.reverse({ inverse, exact } as rg.ReverseOptions<C, T>);
  const backward = segment === undefined ? leaf : rg.revolve({ snapshots: 2, segment, leaf });
  return rg.grad((x: T) => {
    const end = rg.loop(step, start(x), { length, backward });
    return leavesOf(end).reduce((sum, y) => sum.add(y.square().sum()), rg.tensor(0));
  });
}

Deno.test("leapfrogs, grids, couplings and pairs have the bits of inverse and pull apart", async () => {
  const [x] = await rg.realize([normal(1, [33])]), [one] = await rg.realize([normal(2, [])]);
  const force = (x: T): T => x.sin().neg();
  const field = (y: T, t: T): T => y.sin().mul(-0.7).add(t.mul(2).sin());
  const still = (x: T): Motion => ({ x, v: x.mul(0.25) });
  const exact = rg.steps.exactLeapfrog({ force, h, range: 64 });
  const asynchronous = rg.steps.asynchronousLeapfrog({ field, h });
  const heun = rg.steps.reversibleHeun({ field, h });
  const pair = rg.steps.coupled({ field, h, coupling: 0.99 });
  const cases: readonly [string, (x: T) => T][] = [
    ["swing", gradient({ step: swing, inverse: unswing }, still)],
    ["swing over segments", gradient({ step: swing, inverse: unswing }, still, { segment: 4 })],
    [
      "grid over segments",
      gradient(exact, (x) => exact.start(still(x)), { exact: "grid", segment: 3 }),
    ],
    ["asynchronous leapfrog", gradient(asynchronous, (x) => asynchronous.start(x))],
    ["Heun", gradient(heun, (x) => heun.start(x))],
    ["McCallum–Foster pair", gradient(pair, (x) => pair.start(x))],
  ];
  for (const [name, f] of cases) {
    for (const at of name === "swing" ? [x!, one!] : [x!]) {
      const found = await assertSame(f, [at], `${name} of ${at.shape}`);
      assert(found !== undefined, `${name} of ${at.shape}: inverse and pull are not one program`);
      assert(found.one < found.two, name);
    }
  }
});

Deno.test("a step of pendulums goes back in one dispatch", async () => {
  const [x] = await rg.realize([normal(3, [257])]);
  const start = (x: T): Motion => ({ x, v: x.mul(0) });
  const f = gradient({ step: swing, inverse: unswing }, start);
  assertEquals(await assertSame(f, [x!], "pendulums"), { one: 1, two: 2 });
});

Deno.test("layers of couplings: rows, constants and results of steps", async () => {
  const [w, x, rows] = await rg.realize([normal(4, [8, 8]), normal(5, [3, 8]), normal(6, [6, 8])]);
  const push = (y: T, row: T, w: T): T => y.matmul(w).add(row).tanh();
  for (const [reverse, segment] of [[false, undefined], [true, 4]] as const) {
    const loss = (w: T, x: T, rows: T): T => {
      const step = ({ x, v }: Motion, row: T): [Motion, T] => {
        rg.check(row.less(100), "a row is large, expected less than 100");
        const next = v.add(push(x, row, w));
        const after = { x: x.add(next.mul(w.mean()).sin()), v: next };
        return [after, after.x.mul(row)];
      };
      const inverse = ({ x, v }: Motion, row: T): Motion => {
        const before = x.sub(v.mul(w.mean()).sin());
        return { x: before, v: v.sub(push(before, row, w)) };
      };
      const leaf = rg.reverse({ inverse });
      const backward = segment === undefined ? leaf : rg.revolve({ snapshots: 2, segment, leaf });
      const [end, ys] = rg.scan(step, { x, v: x.mul(0.5) }, rows, { reverse, backward });
      return end.x.square().sum().add(end.v.sum()).add(ys.sin().sum());
    };
    const all = rg.grad(loss, { argnums: [0, 1, 2] });
    const name = `couplings, reverse ${reverse}, segments ${segment}`;
    const found = await assertSame(all, [w!, x!, rows!], name);
    assert(found !== undefined && found.one < found.two, name);
  }
});

Deno.test("bodies on a grid of many bodies, with loops in them, in batches, of unknown length", async () => {
  const [bodies, x] = await rg.realize([normal(7, [16, 3]), normal(8, [5])]);
  const attraction = (x: T): T => {
    const n = x.shape[0]!, sizes = x.square().sum(1, { keepDims: true });
    const near = sizes.add(sizes.reshape(1, n)).sub(x.matmul(x.transpose()).mul(2)).add(0.05);
    const weights = near.mul(near.sqrt()).reciprocal();
    return weights.matmul(x).sub(x.mul(weights.sum(1, { keepDims: true }))).div(n);
  };
  const many = rg.steps.exactLeapfrog({ force: attraction, h, range: 64 });
  const start = (x: T): Motion => ({ x, v: x.mul(0.5) });
  await assertSame(
    gradient(many, (x) => many.start(start(x)), { exact: "grid" }),
    [bodies!],
    "many",
  );

  // Each step's force is the end of a loop, which has a way back within the step back.
  const settled = (x: T): T => rg.loop((y: T) => y.mul(0.5).add(x.sin()), x, { length: 3 });
  const inner = rg.steps.leapfrog({ force: settled, h });
  await assertSame(gradient(inner, start), [x!], "a loop within");

  const swings = gradient({ step: swing, inverse: unswing }, start);
  const batch = await rg.realize([normal(9, [4, 5])]);
  const found = await assertSame((x: T) => rg.vmap(swings)(x), [batch[0]!], "a batch");
  assertEquals(found, { one: 1, two: 2 });

  // Cotangents that take turns, over an even number of steps and an odd one.
  const [w] = await rg.realize([normal(14, [5, 5])]);
  type Timed = Motion & { t: T };
  const force = (x: T): T => x.sin().matmul(w!).mul(h);
  const step = ({ x, v, t }: Timed): Timed => ({ x: v.add(force(x)), v: x, t: t.add(0.25) });
  const inverse = ({ x, v, t }: Timed): Timed => ({ x: v, v: x.sub(force(v)), t: t.sub(0.25) });
  const leaf = rg.reverse({ inverse });
  for (const limit of [3, 3.2]) {
    const timed = rg.grad((x: T): T =>
      rg.whileLoop(({ t }: Timed) => t.less(limit), step, { ...start(x), t: rg.tensor(0) }, {
        maximum: 40,
        backward: rg.revolve({ snapshots: 2, segment: 5, leaf }),
      })[0].x.square().sum()
    );
    const open = await assertSame(timed, [x!], `while below ${limit}`);
    assert(open !== undefined && open.one < open.two);
  }
});

Deno.test("random couplings agree in every bit, whatever becomes one kernel", async () => {
  const [w, x, rows] = await rg.realize([
    normal(10, [4, 4]),
    normal(11, [2, 4]),
    normal(12, [5, 4]),
  ]);
  let used = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(5), { minLength: 2, maxLength: 3 }),
      fc.boolean(),
      async (choices, isNested) => {
        const mixed = (choice: number, y: T, row: T, w: T): T =>
          [
            () => y.matmul(w).tanh(),
            () => y.mul(row).sin(),
            () => y.sub(y.mean(-1, { keepDims: true })),
            () => rg.where(row.greater(0), y, y.mul(y)),
            () => y.mul(0.7).add(row).mul(w.sum(0)),
            () => y.square().add(1).sqrt().reciprocal(),
          ][choice]!();
        const loss = (w: T, x: T, rows: T): T => {
          const step = (c: Motion, row: T): [Motion, T] => {
            let { x, v } = c;
            choices.forEach((choice, i) => {
              if (i % 2 === 0) v = v.add(mixed(choice, x, row, w));
              else x = x.add(mixed(choice, v, row, w));
            });
            return [{ x, v }, x.sum()];
          };
          const inverse = (c: Motion, row: T): Motion => {
            let { x, v } = c;
            choices.map((choice, i) => [choice, i] as const).reverse().forEach(([choice, i]) => {
              if (i % 2 === 0) v = v.sub(mixed(choice, x, row, w));
              else x = x.sub(mixed(choice, v, row, w));
            });
            return { x, v };
          };
          const leaf = rg.reverse({ inverse });
          const backward = isNested ? rg.revolve({ snapshots: 2, segment: 2, leaf }) : leaf;
          const [end, ys] = rg.scan(step, { x, v: x.mul(0.5) }, rows, { backward });
          return end.x.square().sum().add(end.v.sin().sum()).add(ys.sum());
        };
        const all = rg.grad(loss, { argnums: [0, 1, 2] });
        const found = await assertSame(all, [w!, x!, rows!], `couplings ${choices}`);
        if (found !== undefined) used++;
      },
    ),
    { seed: seed(), numRuns: 4 },
  );
  assert(used > 0, "inverse and pull were never one program");
});

Deno.test("what is compiled again is what was traced, and not traced again", async () => {
  const [x] = await rg.realize([normal(15, [71])]);
  const pendulums = gradient({ step: swing, inverse: unswing }, (x) => ({ x, v: x.mul(3) }));
  let traced = 0, scale = 1;
  const f = rg.compile((x: T) => {
    traced++;
    return pendulums(x).mul(scale);
  });
  const first = await bitsOf(f(x!));
  scale = 10;
  assertEquals(await bitsOf(f(x!)), first);
  assert(joined.test(f.explain()), f.explain());
  assertEquals(traced, 1);
  f.dispose();
});

Deno.test("what was seen to have other bits is not used", async () => {
  const { device } = currentContext()!;
  const [x] = await rg.realize([normal(13, [41])]);
  const f = rg.compile(gradient({ step: swing, inverse: unswing }, (x) => ({ x, v: x.mul(2) })));
  const apart = await bitsOf(f(x!));
  const { probes } = f.programs()[0]!;
  assertEquals(probes.length, 1);
  assertEquals(device.probes.same(probes[0]!.key), true);
  // As if the driver had contracted something.
  device.probes.learn(probes[0]!.key, false);
  assertEquals(await bitsOf(f(x!)), apart);
  assert(f.explain().includes("are two programs: 2 dispatches"), f.explain());
  f.dispose();
  const again = rg.compile(
    gradient({ step: swing, inverse: unswing }, (x) => ({ x, v: x.mul(2) })),
  );
  await bitsOf(again(x!));
  assertEquals(await bitsOf(again(x!)), apart);
  assert(again.explain().includes("as one 1, which has other bits on this device"));
  assertEquals(device.probes.same(probes[0]!.key), false);
  // Bits that differed once are not the same later.
  device.probes.learn(probes[0]!.key, true);
  assertEquals(device.probes.same(probes[0]!.key), false);
});

Deno.test("a probe that a budget has no room for is made as soon as it has", async () => {
  const { device: { probes } } = currentContext()!, memory = 2 ** 25;
  const [x, other] = await rg.realize([normal(17, [4099]), rg.full([memory / 4], 1)]);
  const pendulums = gradient({ step: swing, inverse: unswing }, (x) => ({ x, v: x.mul(2) }));
  const f = rg.compile(pendulums, { memory });
  const apart = await bitsOf(f(x!)), { key } = f.programs()[0]!.probes[0]!;
  assertEquals(await bitsOf(f(x!)), apart);
  assertEquals(probes.isBegun(key), false, "beside the other tensor there is no room");
  other!.dispose();
  assertEquals(await bitsOf(f(x!)), apart);
  assertEquals(probes.same(key), true);
  assertEquals(await bitsOf(f(x!)), apart);
  assert(joined.test(f.explain()), f.explain());
  f.dispose();
});

Deno.test("without a budget a probe takes 256 MiB at most", () => {
  const owner = currentContext()!, x = build.parameter(0, { shape: [4], dtype: "f32" });
  const graph = { name: "copy", parameters: [x], results: [build.binary("add", x, 1)] };
  const program = compileGraph(graph, {}, owner.device.target);
  // Two ways, each with samples of its own, and a result.
  const probe = (elements: number): Probe => ({
    key: `${elements} elements`,
    name: "copies",
    given: [{ shape: [elements], dtype: "f32" }],
    ways: [1, 2].map(() => ({ runs: [{ program, from: [0] }], results: [1] })),
  });
  const { probes } = owner.device;
  load(owner, { ...program, probes: [probe(2 ** 25)] }).dispose();
  assertEquals(probes.isBegun(`${2 ** 25} elements`), false, "256 MiB and the results");
  load(owner, { ...program, probes: [probe(4)] }).dispose();
  assertEquals(probes.isBegun("4 elements"), true);
});

Deno.test("a probe finds bits that differ, in any of the values and in few samples", async () => {
  const owner = currentContext()!, size = 5;
  const program = (name: string, body: (x: T, k: T) => T[]): Program => {
    const parameters = [[size], []].map((shape, i) => build.parameter(i, { shape, dtype: "f32" }));
    const [x, k] = parameters.map((node) => new rg.Tensor(node));
    const results = body(x!, k!).map(({ node }) => node);
    return compileGraph({ name, parameters, results }, { donate: [0] }, owner.device.target);
  };
  const verdict = async (key: string, other: (x: T, k: T) => T[]): Promise<boolean | undefined> => {
    const probe: Probe = {
      key,
      name: key,
      given: [{ shape: [size], dtype: "f32" }, { shape: [], dtype: "f32" }],
      ways: [(x: T, k: T) => [x.mul(k), x.mul(k).add(1)], other].map((body) => ({
        runs: [{ program: program(key, body), from: [0, 1] }],
        results: [2, 3],
      })),
    };
    const asking: Program = { ...program("asking", (x) => [x.mul(2)]), probes: [probe] };
    load(owner, asking).dispose();
    assertEquals(owner.device.probes.same(key), undefined, "nothing is known before it is read");
    await rg.tensor([1]).add(1).data();
    return owner.device.probes.same(key);
  };
  assertEquals(await verdict("the same", (x, k) => [k.mul(x), x.mul(k).add(1)]), true);
  // A product that is rounded once more, a sign, and what is made of zero.
  assertEquals(
    await verdict("rounded", (x, k) => [x.mul(k.mul(1.0000001)), x.mul(k).add(1)]),
    false,
  );
  assertEquals(await verdict("sign", (x, k) => [x.mul(k), x.mul(k).add(1).neg()]), false);
  const elsewhere = (x: T, k: T): T => rg.where(x.equal(0), k.mul(0).add(1), x.mul(k));
  assertEquals(await verdict("zero", (x, k) => [elsewhere(x, k), x.mul(k).add(1)]), false);
});
