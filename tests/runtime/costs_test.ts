/** Times that were measured, in the costs of plans that are made later, and in later processes. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import * as rg from "../../mod.ts";
import { Choices, choicesPath, loadChoices, saveChoices } from "../../runtime/choices.ts";

const identity = { adapter: "An Adapter", driver: "1", deno: "2" };
const timing = { work: { key: "map: add", bytes: 12, flops: 3 }, time: 4.5 };

Deno.test("times are remembered beside choices, and damaged ones are not", async () => {
  const folder = await Deno.makeTempDir();
  const { warn } = console, warnings: string[] = [];
  console.warn = (text: string) => warnings.push(text);
  try {
    const times = new Map([[timing.work.key, timing]]);
    await saveChoices(folder, identity, new Choices(new Map(), times));
    assertEquals([...(await loadChoices(folder, identity)).times], [...times]);
    // A file from before there were times has none.
    const path = choicesPath(folder, identity), whole = { format: 1, ...identity, choices: {} };
    await Deno.writeTextFile(path, JSON.stringify(whole));
    assertEquals((await loadChoices(folder, identity)).times.size, 0);
    assertEquals(warnings, []);
    for (
      const bad of [
        [],
        { k: timing },
        { "map: add": { ...timing, time: -1 } },
        { "map: add": { time: 3 } },
        { "map: add": { time: 3, work: { ...timing.work, bytes: "12" } } },
      ]
    ) {
      await Deno.writeTextFile(path, JSON.stringify({ ...whole, times: bad }));
      assertEquals((await loadChoices(folder, identity)).times.size, 0);
      assertMatch(warnings.pop() ?? "", /is ignored: it is damaged/);
    }
    // What ran in another way than it will says nothing.
    const choices = new Choices(new Map(), new Map(times));
    choices.learn("kernel", undefined);
    assertEquals(choices.times.size, 1);
    choices.learn("kernel", { way: "tile", text: "0", label: "dot", plain: 2, time: 1 });
    assertEquals(choices.times.size, 0);
  } finally {
    console.warn = warn;
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("profile() with remember has later processes plan with what it measured", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const options = { software: "allow", tuning: folder } as const;
    const f = (x: rg.Tensor): rg.Tensor => x.matmul(x).tanh().matmul(x).sum();
    const told = async (profiled: boolean): Promise<[string, rg.Program]> => {
      rg.shutdown();
      await rg.init(options);
      const x = rg.ones([64, 64]);
      const g = rg.compile(rg.grad(f));
      if (profiled) await rg.profile(g as never, [x], { runs: 1, remember: true });
      else await g(x).data();
      return [g.explain(), g.programs()[0]!];
    };
    const [before, first] = await told(false);
    assert(!before.includes("measured"));
    const [during] = await told(true);
    assertMatch(during, /predicted, .* measured/);
    const [after, last] = await told(false);
    const steps = last.steps();
    assertMatch(after, new RegExp(`${steps.length} of ${steps.length} steps measured before`));
    assertEquals(steps.map(({ work }) => work), first.steps().map(({ work }) => work));
    assert(steps.every(({ time }) => time > 0));
    assert(steps.some(({ time }, i) => time !== first.steps()[i]!.time));
  } finally {
    rg.shutdown();
    await Deno.remove(folder, { recursive: true });
  }
});
