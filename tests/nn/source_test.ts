/** The lines of the user's code that nodes come from, which are made deep inside the library. */
import { assertEquals } from "@std/assert";
import * as rg from "../../mod.ts";
import { withSources } from "../../graph/source.ts";
import { topological } from "../../graph/walk.ts";

await rg.init({ software: "allow" });

const file = (await Deno.readTextFile(new URL(import.meta.url))).split("\n");

/** The lines of this file, and the traces, that all new nodes come from which a function makes. */
function linesOf(f: () => readonly rg.Tensor[]): { lines: (string | undefined)[]; traces: number } {
  const nodes = topological(withSources(f).map(({ node }) => node));
  const sources = nodes.flatMap(({ source }) => source === undefined ? [] : [source]);
  const lines = sources.map(({ line }) => {
    const number = /source_test\.ts:(\d+)/.exec(line ?? "")?.[1];
    return number === undefined ? line : file[Number(number) - 1]!.trim();
  });
  return { lines: [...new Set(lines)], traces: new Set(sources).size };
}

Deno.test("a model's nodes come from the line that applies it, by one trace", async () => {
  const model = rg.nn.gpt({ vocabulary: 8, length: 8, features: 8, layers: 2, heads: 2 });
  const params = await rg.realize(model.init(rg.random.key(0)));
  const tokens = await rg.realize(rg.zeros([2, 8], { dtype: "i32" }));
  const { lines, traces } = linesOf(() => {
    const logits = model.apply(params, tokens);
    return [logits];
  });
  assertEquals(lines, ["const logits = model.apply(params, tokens);"]);
  assertEquals(traces, 1);
});

Deno.test("an optimizer's nodes come from the line that updates, a rate's from its own", async () => {
  const rate = (step: rg.Tensor) => step.mul(-1e-3).add(1).minimum(0.5);
  const optimizer = rg.optim.adamw({ rate });
  const traces = [];
  for (const count of [1, 9]) {
    const params = Object.fromEntries(
      Array.from({ length: count }, (_, i) => [`w${i}`, rg.full([3], i)]),
    );
    const state = await rg.realize(optimizer.init(params)), gradient = await rg.realize(params);
    const found = linesOf(() => {
      const next = optimizer.update(state, gradient);
      return Object.values(next.params);
    });
    assertEquals(found.lines.toSorted(), [
      "const next = optimizer.update(state, gradient);",
      "const rate = (step: rg.Tensor) => step.mul(-1e-3).add(1).minimum(0.5);",
    ]);
    traces.push(found.traces);
  }
  assertEquals(traces[1], traces[0]);
});
