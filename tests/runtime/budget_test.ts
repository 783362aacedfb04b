/**
 * `compile` with a budget of bytes, as a user meets it: how it is said, what is counted, what
 * `explain` and `chart` tell, and what is wrong with it.
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { compile, init, profile, random, realize, type Tensor, valueAndGrad } from "../../mod.ts";
import { parseBytes } from "../../runtime/bytes.ts";
import { firstDifference } from "../gpu.ts";

const depth = 12, width = 64;

type Weights = readonly Tensor[];

function loss(weights: Weights, x: Tensor): Tensor {
  let h = x;
  for (const w of weights) h = h.add(h.matmul(w).tanh());
  return h.square().mean();
}

async function inputs(): Promise<{ weights: Weights; x: Tensor }> {
  await init({ software: "allow" });
  const weights = Array.from(
    { length: depth },
    (_, i) => random.normal(random.key(i), [width, width]).mul(0.1),
  );
  return await realize({ weights, x: random.normal(random.key(99), [width, width]) });
}

const step = (weights: Weights, x: Tensor): [Tensor, Weights] => valueAndGrad(loss)(weights, x);

/** What would be predicted for other budgets. */
function sizes(f: { programs(): { sweep(): { bytes: number }[] }[] }): number[] {
  return f.programs()[0]!.sweep().map(({ bytes }) => bytes);
}

Deno.test("compile() within a budget gives the same bits in the bytes it said", async () => {
  const { weights, x } = await inputs();
  const free = compile(step);
  const [value, gradient] = free(weights, x);
  const budgets = sizes(free);
  assert(budgets.length > 4);
  for (const memory of [budgets[2]!, budgets.at(-1)!]) {
    const f = compile(step, { memory });
    const [again, other] = f(weights, x);
    assertEquals(firstDifference(await again.data(), await value.data()), undefined);
    for (let i = 0; i < depth; i++) {
      assertEquals(firstDifference(await other[i]!.data(), await gradient[i]!.data()), undefined);
    }
    const { peak } = f.programs()[0]!.memory;
    assert(peak <= memory);
    assertMatch(f.explain(), new RegExp(`peak +${peak} +${peak}`), "counted as predicted");
  }
});

Deno.test("compile() within a budget updates donated weights in place", async () => {
  const { weights, x } = await inputs();
  const update = (weights: Weights, x: Tensor): Weights => {
    const [, gradient] = step(weights, x);
    return weights.map((w, i) => w.sub(gradient[i]!.mul(0.1)));
  };
  const copy = async (): Promise<Weights> => await realize(weights.map((w) => w.add(0)));
  const free = compile(update, { donate: [0] });
  let expected = await copy();
  for (let i = 0; i < 3; i++) expected = free(expected, x);
  for (const memory of sizes(free).filter((_, i, all) => i === 1 || i === all.length - 1)) {
    const f = compile(update, { donate: [0], memory });
    let state = await copy();
    for (let i = 0; i < 3; i++) state = f(state, x);
    assertEquals(f.programs()[0]!.memory.results, 0);
    for (let i = 0; i < depth; i++) {
      assertEquals(firstDifference(await state[i]!.data(), await expected[i]!.data()), undefined);
    }
  }
});

Deno.test("explain() tells what is computed again, and what other budgets would give", async () => {
  const { weights, x } = await inputs();
  const free = compile(step);
  assertThrows(() => free.chart(), Error, "not called yet");
  free(weights, x);
  assertMatch(free.explain(), /plan: no budget, everything is kept; .* predicted/);
  const f = compile(step, { memory: sizes(free).at(-1)! });
  f(weights, x);
  assertMatch(f.explain(), /plan: a budget of \d+ bytes \(.*\), \d+ steps, \d+ of them again/);
  assertMatch(f.explain(), /region \d+(–\d+)?: made again, .* predicted\n/);
  assert(!f.explain().includes("of fastest"));
  const table = f.explain({ sweep: true });
  assertMatch(table, /of fastest {2}regions run again/);
  assertMatch(table, new RegExp(`\n> +${f.programs()[0]!.memory.peak} `), "its own line is marked");
  await profile(f as never, [weights, x], { runs: 1 });
  assertMatch(f.explain(), / predicted, .* measured/);
});

Deno.test("chart() is a picture that stands alone", async () => {
  const { weights, x } = await inputs();
  const free = compile(step, { name: "a<b>" });
  free(weights, x);
  const f = compile(step, { name: "a<b>", memory: sizes(free).at(-1)! });
  f(weights, x);
  for (const svg of [free.chart(), f.chart()]) {
    assert(svg.startsWith("<svg xmlns=") && svg.trimEnd().endsWith("</svg>"));
    assert(svg.includes("a&lt;b&gt;") && !svg.includes("a<b>") && !svg.includes("NaN"));
    for (const name of ["arguments", "results", "stored", "made again", "workspace"]) {
      assert(svg.includes(`>${name}<`), name);
    }
  }
  assertMatch(free.chart(), /<title>made again: at most 0 B/);
  assert(!/<title>made again: at most 0 B/.test(f.chart()));
});

Deno.test("a budget that nothing meets is an error that names the least", async () => {
  const { weights, x } = await inputs();
  const f = compile(step, { memory: "1 kB", name: "step" });
  const error = assertThrows(() => f(weights, x), RangeError, "Cannot compile step");
  const least = Number(error.message.match(/at least (\d+)/)![1]);
  compile(step, { memory: least })(weights, x);
  assertThrows(() => compile(step, { memory: least - 1 })(weights, x), RangeError, `${least}`);
});

Deno.test("parseBytes() reads numbers and text with units", () => {
  const cases: [number | string, number][] = [
    [1, 1],
    [2 ** 40, 2 ** 40],
    ["64 MiB", 64 * 2 ** 20],
    ["64mib", 64 * 2 ** 20],
    ["1.5 GB", 1.5e9],
    [" 100 kB ", 1e5],
    ["12", 12],
    [".5 GiB", 2 ** 29],
  ];
  for (const [text, bytes] of cases) assertEquals(parseBytes(text, "test"), bytes, `${text}`);
  for (const bad of ["", "MiB", "64 miles", "1,5 GB", "-1 MB", "1 MB 2"]) {
    assertThrows(
      () => parseBytes(bad, "compile f"),
      TypeError,
      `Cannot compile f: memory is "${bad}"`,
    );
  }
  for (const bad of [0, -5, NaN, "0 MB"]) {
    assertThrows(() => parseBytes(bad, "compile f"), RangeError, "Cannot compile f: memory is");
  }
  assertThrows(() => compile((x: Tensor) => x, { memory: true as never }), TypeError, "a boolean");
});
