/**
 * What the experiments about memory write: tables, claims and pictures.
 */
import { join } from "@std/path";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { showClaims, showTable } from "../../bench/memory/experiment.ts";
import * as rg from "../../mod.ts";
import { keptIn } from "../../bench/memory/kept.ts";
import { experiments } from "../../bench/memory/main.ts";
import { experiments as papers } from "../../examples/papers/main.ts";
import { drawPicture } from "../../bench/memory/picture.ts";

Deno.test("showTable() aligns names to the left and numbers to the right", () => {
  const table = { title: "T", columns: ["name", "MB"], rows: [["a", 1], ["longer", 12.5]] };
  assertEquals(
    showTable(table),
    "**T**\n\n| name   |   MB |\n| ------ | ---: |\n| a      |    1 |\n| longer | 12.5 |",
  );
});

Deno.test("showClaims() says what was missed", () => {
  const claims = [{ text: "a", met: true }, { text: "b", met: false }];
  assertEquals(showClaims(claims), "- met: a\n- MISSED: b");
});

Deno.test("drawPicture() puts larger values higher and to the right, on both kinds of axes", () => {
  for (const log of ["", "xy"] as const) {
    const svg = drawPicture({
      name: "p",
      title: "a < b",
      xName: "x",
      yName: "y",
      lines: [{ name: "l", points: [[1, 10], [10, 100], [100, 1000]] }],
      log,
    });
    const marks = [...svg.matchAll(/cx="([\d.]+)" cy="([\d.]+)"/g)].map((m) =>
      m.slice(1).map(Number)
    );
    assertEquals(marks.length, 3);
    assert(marks[0]![0]! < marks[1]![0]! && marks[1]![0]! < marks[2]![0]!);
    assert(marks[0]![1]! > marks[1]![1]! && marks[1]![1]! > marks[2]![1]!);
    // On logarithmic axes equal ratios take equal room.
    const middle = Math.abs(2 * marks[1]![0]! - marks[0]![0]! - marks[2]![0]!);
    assertEquals(middle < 1, log === "xy");
    assert(svg.includes("a &lt; b") && !svg.includes("a < b"));
  }
});

Deno.test("drawPicture() refuses what has no points to show", () => {
  const picture = { name: "p", title: "t", xName: "x", yName: "y", log: "y" } as const;
  assertThrows(
    () => drawPicture({ ...picture, lines: [{ name: "l", points: [[1, 0]] }] }),
    RangeError,
    'Cannot draw "t"',
  );
});

Deno.test("every experiment says what it is", () => {
  for (const { title, about } of Object.values({ ...experiments, ...papers })) {
    assert(title.length > 0 && about.endsWith("."));
  }
});

Deno.test("what an experiment keeps is there when it goes on, on the same device", async () => {
  const path = join(await Deno.makeTempDir(), "e.json");
  const first = await keptIn(path, "a", true);
  await first.put("seed 0", { x: 1 });
  await first.put("seed 1", 2);
  await first.put("other", 3);
  const again = await keptIn(path, "a", true);
  assertEquals([...again.get("seed ")], [["0", { x: 1 }], ["1", 2]]);
  await assertRejects(() => keptIn(path, "b", true), TypeError, "it was measured on a, expected b");
  assertEquals((await keptIn(path, "b", false)).get("").size, 0);
  await Deno.writeTextFile(path, "{");
  await assertRejects(() => keptIn(path, "a", true), TypeError, "it is damaged");
});

Deno.test("the experiment on revolve shows what it must", async () => {
  await rg.init({ software: "allow" });
  const kept = await keptIn(join(await Deno.makeTempDir(), "e.json"), "a", false);
  const { claims, tables } = await experiments.revolve!.run({
    scale: 0.01,
    kept,
    progress: () => {},
  });
  assertEquals(tables[0]!.rows.length, 9);
  for (const { text, met } of claims) assert(met, text);
});
