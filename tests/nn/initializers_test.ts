import { assert, assertEquals, assertThrows } from "@std/assert";
import * as random from "../../graph/random.ts";
import * as nn from "../../nn/mod.ts";
import { installHost } from "../graph/host.ts";

installHost();

Deno.test("fansOf() reads inputs and outputs off the last axes", () => {
  assertEquals(nn.fansOf([3, 5]), { in: 3, out: 5 });
  assertEquals(nn.fansOf([2, 2, 3, 5]), { in: 12, out: 20 });
  assertThrows(() => nn.fansOf([3]), TypeError, "the shape is [3]");
});

const cases: [string, nn.Initializer, number, "normal" | "uniform"][] = [
  ["glorotUniform", nn.glorotUniform, 2 / (80 + 40), "uniform"],
  ["glorotNormal", nn.glorotNormal, 2 / (80 + 40), "normal"],
  ["heUniform", nn.heUniform, 2 / 80, "uniform"],
  ["heNormal", nn.heNormal, 2 / 80, "normal"],
  ["lecunUniform", nn.lecunUniform, 1 / 80, "uniform"],
  ["lecunNormal", nn.lecunNormal, 1 / 80, "normal"],
];
for (const [name, initializer, variance, distribution] of cases) {
  Deno.test(`${name}() has mean 0, its variance and its bounds`, async () => {
    const values = [...await initializer(random.key(3), [80, 40]).data()];
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const square = values.reduce((a, b) => a + b * b, 0) / values.length;
    assert(Math.abs(mean) < 4 * Math.sqrt(variance / values.length), `mean ${mean}`);
    assert(Math.abs(square / variance - 1) < 0.1, `variance ${square}, expected ${variance}`);
    // Uniform ends at √3 deviations, the normal is cut at 2 and widened by 1/.8796.
    const bound = Math.sqrt(variance) * (distribution === "uniform" ? Math.sqrt(3) : 2 / 0.8796);
    const largest = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    assert(largest <= bound * 1.0001 && largest > bound * 0.9, `${largest} against ${bound}`);
  });
}

Deno.test("varianceScaling() can divide by the outputs", async () => {
  const values = [...await nn.varianceScaling({ mode: "out" })(random.key(4), [80, 40]).data()];
  const square = values.reduce((a, b) => a + b * b, 0) / values.length;
  assert(Math.abs(square * 40 - 1) < 0.1, `variance ${square}`);
});

Deno.test("normal() has its deviation, whatever the shape", async () => {
  const values = [...await nn.normal(3)(random.key(5), [2000]).data()];
  const square = values.reduce((a, b) => a + b * b, 0) / values.length;
  assert(Math.abs(square / 9 - 1) < 0.1, `variance ${square}`);
});
