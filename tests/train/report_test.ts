import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { decades, drawChart, escapeText, ticks } from "../../train/chart.ts";
import { renderReport, type Report } from "../../train/report.ts";

const report: Report = {
  title: "A <run> & more",
  device: "some adapter",
  settings: { rate: 0.001, model: "mlp([2, 3])" },
  history: [1, 2].map((epoch) => ({
    epoch,
    train: { loss: 0.5 / epoch, accuracy: 0.9 },
    validation: { loss: 0.6 / epoch, accuracy: 0.9 + epoch / 100 },
    curve: { loss: [1 / epoch, 0.5 / epoch], accuracy: [0.8, 0.9] },
    seconds: 3,
  })),
  best: { epoch: 2, loss: 0.3, accuracy: 0.92 },
  test: { loss: 0.31, accuracy: 0.9163 },
  seconds: 75,
  memory: [{ seconds: 0, live: 1e6, peak: 2e6 }, { seconds: 9, live: 1e6, peak: 3e6 }],
  kinds: [{ kind: "data", live: 1, peak: 2 }, { kind: "staging", live: 0, peak: 0 }],
  profile: {
    name: "step",
    device: "some adapter",
    time: 0.003,
    host: 0.001,
    regions: [1, 2].map((i) => ({
      label: `kernel ${i}`,
      expression: "",
      source: undefined,
      time: i / 1000,
      share: i / 3,
      bytes: 1e6,
      flops: 1e6,
    })),
  },
};

Deno.test("renderReport() needs nothing from outside and runs nothing", () => {
  const html = renderReport(report);
  for (const forbidden of ["<script", "http:", "https:", "src=", "url(", "@import", "<link"]) {
    assert(!html.includes(forbidden), forbidden);
  }
  assertStringIncludes(html, "prefers-color-scheme: dark");
});

Deno.test("renderReport() tells the run, the slowest kernel first", () => {
  const html = renderReport(report);
  for (const text of ["91.63 %", "1 min 15 s", "3.00 MB", "2 (best)", "mlp([2, 3])"]) {
    assertStringIncludes(html, text);
  }
  assertStringIncludes(html, "A &lt;run&gt; &amp; more");
  assert(html.indexOf("kernel 2") < html.indexOf("kernel 1"));
  assert(!html.includes("<td>staging</td>"));
  assertEquals(html.match(/NaN|undefined/g), null);
});

Deno.test("renderReport() has every element closed", () => {
  const open: string[] = [];
  const empty = new Set(["meta", "!doctype"]);
  for (
    const [, close, name, end] of renderReport(report).matchAll(/<(\/?)([a-z!0-9]+)[^>]*?(\/?)>/g)
  ) {
    if (close) assertEquals(open.pop(), name);
    else if (!end && !empty.has(name!)) open.push(name!);
  }
  assertEquals(open, []);
});

Deno.test("renderReport() of a run without an epoch is a page all the same", () => {
  const html = renderReport({
    title: "t",
    device: "d",
    settings: {},
    history: [],
    best: null,
    seconds: 0,
    memory: [],
  });
  assertStringIncludes(html, "Nothing to show yet.");
  assertEquals(html.match(/NaN|Infinity|undefined/g), null);
});

Deno.test("drawChart() leaves out what is not finite, and on a log axis what is not positive", () => {
  const chart = { title: "t", xName: "x", show: String };
  const points = [[0, 1], [1, NaN], [2, 0], [3, 10], [4, Infinity]] as const;
  const linear = drawChart({ ...chart, series: [{ name: "a", points, marks: true }] });
  assertEquals(linear.match(/<circle/g)?.length, 3);
  const log = drawChart({ ...chart, log: true, series: [{ name: "a", points, marks: true }] });
  assertEquals(log.match(/<circle/g)?.length, 2);
  const flat = drawChart({ ...chart, series: [{ name: "a", points: [[1, 5], [2, 5]] }] });
  assertEquals(flat.match(/NaN/), null);
  const single = drawChart({ ...chart, series: [{ name: "a", points: [[0, 0]] }] });
  assertEquals(single.match(/NaN/), null);
});

Deno.test("ticks() are round numbers around the range, or inside it", () => {
  assertEquals(ticks(0.03, 0.96, 5), [0, 0.5, 1]);
  assertEquals(ticks(0, 6, 9, true), [0, 1, 2, 3, 4, 5, 6]);
  assertEquals(ticks(0.1, 0.35, 6, true), [0.1, 0.15, 0.2, 0.25, 0.3, 0.35]);
  assertEquals(ticks(-1e-7, 1e-7, 5), [-1e-7, -5e-8, 0, 5e-8, 1e-7]);
});

Deno.test("decades() go around the range", () => {
  assertEquals(decades(0.04, 1.9), [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]);
  assertEquals(decades(1, 10), [1, 2, 5, 10]);
  assertEquals(decades(2e-6, 3), [2e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 5]);
});

Deno.test("escapeText() makes text harmless in elements and attributes", () => {
  assertEquals(escapeText(`<a b="c">&'`), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;");
});
