/**
 * Tuning: what it measures is used, changes no bit, and is remembered; and a memory that is missing,
 * damaged or of another adapter is as none.
 *
 * @module
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import * as rg from "../../mod.ts";
import {
  Choices,
  choicesPath,
  type Identity,
  loadChoices,
  type Measurement,
  saveChoices,
} from "../../runtime/choices.ts";
import { context } from "../../runtime/context.ts";
import { gpu } from "../gpu.ts";

const identity: Identity = { adapter: "A (1.2) / b", driver: "", deno: "2.9.6" };
const measurement: Measurement = {
  way: "alone, 8 by 1",
  text: "0123456789abcdef",
  label: "rows sum 3×4",
  plain: 2,
  time: 1,
};

async function inFolder(f: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await f(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What is warned of while a function runs. */
async function warnings(f: () => Promise<unknown>): Promise<string[]> {
  const { warn } = console, seen: string[] = [];
  console.warn = (text: string) => seen.push(text);
  try {
    await f();
  } finally {
    console.warn = warn;
  }
  return seen;
}

Deno.test("choices come back from their file, one for each adapter", async () => {
  await inFolder(async (root) => {
    const folder = join(root, "made", "on demand");
    assertEquals((await loadChoices(folder, identity)).known.size, 0);
    const path = await saveChoices(folder, identity, new Choices(new Map([["k", measurement]])));
    assertEquals(path, choicesPath(folder, identity));
    const other = { ...identity, adapter: "B" };
    assert(choicesPath(folder, other) !== path);
    const silent = await warnings(async () => {
      assertEquals([...(await loadChoices(folder, identity)).known], [["k", measurement]]);
      assertEquals((await loadChoices(folder, other)).known.size, 0);
      assertEquals((await loadChoices(false, identity)).known.size, 0);
      const told = { ...identity, driver: "nvidia 550" };
      assertEquals((await loadChoices(folder, told)).known.size, 1);
    });
    assertEquals(silent, []);
    assertEquals([...Deno.readDirSync(folder)].length, 1, "nothing temporary is left");
  });
});

Deno.test("a file of choices that is damaged or stale is ignored, and says so", async () => {
  await inFolder(async (folder) => {
    const path = choicesPath(folder, identity);
    const whole = { format: 1, ...identity, choices: { k: measurement } };
    const wrong: readonly (readonly [string, string])[] = [
      ["", "it is damaged"],
      [JSON.stringify(whole).slice(0, -9), "it is damaged"],
      ["null", "it is damaged"],
      [JSON.stringify({ ...whole, format: 2 }), "it is damaged"],
      [JSON.stringify({ ...whole, choices: [] }), "it is damaged"],
      [JSON.stringify({ ...whole, choices: { k: { ...measurement, text: 1 } } }), "it is damaged"],
      [JSON.stringify({ ...whole, choices: { k: null } }), "it is damaged"],
      [JSON.stringify({ ...whole, deno: "1.0.0" }), 'its deno is "1.0.0" and this one is "2.9.6"'],
      [JSON.stringify({ ...whole, adapter: "B" }), 'its adapter is "B"'],
    ];
    for (const [text, reason] of wrong) {
      await Deno.writeTextFile(path, text);
      const seen = await warnings(async () => {
        assertEquals((await loadChoices(folder, identity)).known.size, 0, text);
      });
      assertEquals(seen.length, 1, text);
      assertStringIncludes(seen[0]!, `${path} is ignored: ${reason}`);
    }
    await Deno.writeTextFile(path, JSON.stringify(whole));
    const told = { ...whole, driver: "nvidia 550" };
    await Deno.writeTextFile(path, JSON.stringify(told));
    const seen = await warnings(async () => {
      await loadChoices(folder, { ...identity, driver: "nvidia 560" });
    });
    assertStringIncludes(seen[0]!, 'its driver is "nvidia 550"');
  });
});

Deno.test("without permissions nothing is asked, read or written", async () => {
  const { code, stdout } = await new Deno.Command("deno", {
    args: ["run", "-q", fromFileUrl(new URL("./tuning.ts", import.meta.url))],
    stdin: "null",
  }).output();
  assertEquals([code, new TextDecoder().decode(stdout)], [0, "1 undefined\n"]);
});

/** A program with an element-wise kernel, rows and a product, and its arguments. */
async function subject() {
  await gpu();
  const f = rg.compile((x: rg.Tensor, w: rg.Tensor) =>
    [x.matmul(w).softmax(-1), x.mul(x).add(1).sqrt(), x.sum(0)] as const
  );
  const x = await rg.realize(rg.random.normal(rg.random.key(1), [70, 132]));
  const w = await rg.realize(rg.random.normal(rg.random.key(2), [132, 68]));
  const bits = async () => {
    const results = await Promise.all(f(x, w).map((y) => y.data()));
    return results.map((data) => [...new Uint32Array((data as Float32Array<ArrayBuffer>).buffer)]);
  };
  return { f, x, w, bits };
}

Deno.test("tune() measures every kernel, and what it chooses changes no bit", async () => {
  const { f, x, w, bits } = await subject();
  const before = await bits();
  const { tuning } = context("test").device;
  const report = await rg.tune(() => f(x, w));
  assert(report.kernels.length >= 3, `${report}`);
  for (const { ways, plain, chosen, time, plainTime } of report.kernels) {
    assert(ways.length > 1);
    assert(ways.every(({ agrees }) => agrees), `${report}`);
    assert(ways.some(({ name, time }) => name === plain && time! > 0));
    assert(chosen === plain ? time === plainTime : time < plainTime);
  }
  assertEquals(await bits(), before);
  // Whatever was measured: each kernel in another way than the plain one gives the same bits, too.
  const recorded = await tuning.record(() => f(x, w));
  assert(recorded.size >= report.kernels.length);
  const chosen = report.kernels.filter(({ chosen, plain }) => chosen !== plain);
  for (const { label, chosen: way } of chosen) assertEquals(rg.tunedWays()[label], way);
});

Deno.test("a way with other bits, or one that the driver refuses, is never used", async () => {
  const { device: { tuning } } = await gpu();
  const f = rg.compile((x: rg.Tensor) => x.mul(0.1).add(1).sqrt());
  const x = await rg.realize(rg.arange(4099).div(7));
  const before = await f(x).data();
  const wrong = ["off by the last bit", "no shader"];
  const { record } = tuning;
  // Besides those that it has, one that is off by the last bit of a constant, and one no shader.
  tuning.record = async (run) => {
    const found = await record.call(tuning, run);
    return new Map([...found].map(([key, { plain, write }]) => {
      const written = (way: string) => {
        const kernel = write(wrong.includes(way) ? plain.way : way);
        if (way === wrong[0]) return { ...kernel, wgsl: nextConstant(kernel.wgsl) };
        return way === wrong[1] ? { ...kernel, wgsl: "fn main() { nothing(); }" } : kernel;
      };
      return [key, { plain: { ...plain, ways: [...plain.ways, ...wrong] }, write: written }];
    }));
  };
  try {
    const report = await rg.tune(() => f(x));
    assertEquals(report.kernels.length, 1);
    const [{ chosen, ways }] = report.kernels as [rg.TunedKernel];
    assertEquals(ways.filter(({ agrees }) => !agrees).map(({ name }) => name), wrong);
    assert(ways.every(({ agrees, time }) => agrees || time === undefined));
    assert(!wrong.includes(chosen));
    for (const name of wrong) assertStringIncludes(`${report}`, `left out: ${name} of map`);
  } finally {
    tuning.record = record;
  }
  assertEquals(await f(x).data(), before);
});

/** A shader with its constant 0.1 one step of f32 higher. */
function nextConstant(wgsl: string): string {
  const [bits] = new Uint32Array(new Float32Array([0.1]).buffer);
  const [next] = new Float32Array(new Uint32Array([bits! + 1]).buffer);
  const changed = wgsl.replaceAll(/0\.1000000\d*f/g, `${next}f`);
  assert(changed !== wgsl, wgsl);
  return changed;
}

Deno.test("tune() measures without timestamps, too", async () => {
  const { info } = (await gpu()).device, features = info.features as string[];
  const at = features.indexOf("timestamp-query");
  if (at >= 0) features.splice(at, 1);
  try {
    const f = rg.compile((x: rg.Tensor) => x.sum(0));
    const x = await rg.realize(rg.ones([64, 68]));
    const { kernels } = await rg.tune(() => f(x));
    assertEquals(kernels.length, 1);
    assert(kernels[0]!.plainTime > 0);
    assertEquals(await f(x).array(), new Array(68).fill(64));
  } finally {
    if (at >= 0) features.splice(at, 0, "timestamp-query");
  }
});

Deno.test("tune() fails as what it runs fails, and can be called again", async () => {
  await gpu();
  const failing = () => Promise.reject(new TypeError("mine"));
  await assertRejects(() => rg.tune(failing), TypeError, "mine");
  const nested = () => rg.tune(() => {});
  await assertRejects(() => rg.tune(nested), Error, "Cannot tune: it is under way already");
  assertEquals((await rg.tune(() => {})).kernels, []);
});
