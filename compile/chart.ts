/**
 * What is alive in device memory while a program runs, as a picture: bytes stacked by what was
 * decided about them, over the time that the steps are expected to take. An SVG file that stands
 * alone, readable on light and dark pages.
 *
 * @module
 */
import type { Node } from "../graph/node.ts";
import type { Laid } from "./layout.ts";
import { bytesOf } from "./order.ts";

/** What is drawn. */
export interface Drawn {
  readonly laid: Laid;
  readonly again: readonly boolean[];
  /** Microseconds of each step. */
  readonly times: readonly number[];
  readonly results: readonly Node[];
  readonly budget: number | undefined;
}

/** What was decided about a value, from the bottom of the picture to its top. */
const decisions = [
  { name: "arguments", colour: "#64748b" },
  { name: "results", colour: "#059669" },
  { name: "stored", colour: "#2563eb" },
  { name: "made again", colour: "#d97706" },
  { name: "brought back", colour: "#db2777" },
  { name: "workspace", colour: "#a78bfa" },
] as const;
type Decision = typeof decisions[number]["name"];

const width = 900, height = 420;
const left = 72, right = 150, top = 40, bottom = 44;

/** Bytes alive in each step, by decision. */
function bytesByDecision({ laid, again, results }: Drawn): Map<Decision, Float64Array> {
  const { stays, bound, aliases } = laid.allocation;
  const steps = bound.length, wanted = new Set(results);
  // Stored is what lies idle for long; what comes and goes is workspace.
  const long = Math.max(4, steps / 50);
  const isIdle = ({ node, from, to }: typeof stays[number]): boolean => {
    for (let i = from, last = from; i <= to; i++) {
      if (i < steps && !bound[i]!.has(node)) continue;
      if (i - last > long) return true;
      last = i;
    }
    return false;
  };
  const decide = (stay: typeof stays[number]): Decision => {
    if (stay.from < 0) return "arguments";
    if (stay.to === steps && wanted.has(stay.node)) return "results";
    if (again[stay.from]) return "made again";
    if (laid.steps[stay.from]!.region.frame.is === "load") return "brought back";
    return isIdle(stay) ? "stored" : "workspace";
  };
  const bytes = new Map(decisions.map(({ name }) => [name as Decision, new Float64Array(steps)]));
  for (const stay of stays) {
    const row = bytes.get(decide(stay))!;
    // Where an output is written over the value, both are one.
    const over = stay.to < steps && [...aliases[stay.to]?.values() ?? []].includes(stay.node);
    for (let i = Math.max(0, stay.from); i <= Math.min(steps, stay.to) - Number(over); i++) {
      if (i < steps) row[i]! += bytesOf(stay.node);
    }
  }
  return bytes;
}

/** The picture. */
export function drawMemory(name: string, drawn: Drawn): string {
  const { laid: { memory }, times, budget } = drawn;
  const bytes = bytesByDecision(drawn);
  const ends: number[] = [0];
  for (const time of times) ends.push(ends.at(-1)! + time);
  const duration = ends.at(-1)! || 1, most = Math.max(memory.peak, budget ?? 0, 1) * 1.04;
  const round = (v: number): number => Math.round(10 * v) / 10;
  const toX = (t: number): number => round(left + (width - left - right) * t / duration);
  const toY = (b: number): number => round(height - bottom - (height - top - bottom) * b / most);
  const floor = new Float64Array(times.length);
  const areas = decisions.map(({ name, colour }) => {
    const own = bytes.get(name)!;
    const under = Float64Array.from(floor);
    own.forEach((b, i) => floor[i]! += b);
    const line = (heights: Float64Array): [number, number][] =>
      [...heights].flatMap((b, i) => [[toX(ends[i]!), toY(b)], [toX(ends[i + 1]!), toY(b)]]);
    // Points on a level stretch but for its ends say nothing.
    const path = [...line(floor), ...line(under).reverse()]
      .filter(([, y], i, all) => y !== all[i - 1]?.[1] || y !== all[i + 1]?.[1])
      .map(([x, y]) => `${x} ${y}`);
    const peak = own.reduce((a, b) => Math.max(a, b), 0);
    return `<path fill="${colour}" d="M${path.join("L")}Z"><title>${name}: at most ${
      show(peak)
    }</title></path>`;
  });
  const text = (x: number, y: number, what: string, rest = ""): string =>
    `<text x="${x}" y="${y}"${rest}>${escape(what)}</text>`;
  const mark = (b: number, what: string, colour: string): string =>
    `<path stroke="${colour}" stroke-dasharray="6 4" d="M${left} ${toY(b)}H${width - right}"/>` +
    text(width - right + 8, toY(b) + 4, `${what} ${show(b)}`);
  const middle = ' text-anchor="middle"';
  const edge = width - right;
  // Two lines that nearly meet would write over each other.
  const apart = budget !== undefined && Math.abs(toY(budget) - toY(memory.peak)) >= 14;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" ` +
    `aria-label="${escape(`Device memory of ${name}`)}">`,
    "<style>text{font:12px system-ui,sans-serif;fill:#555}.title{font-size:14px;font-weight:600}" +
    ".grid{stroke:#8884}@media(prefers-color-scheme:dark){text{fill:#bbb}}</style>",
    text(left, 22, `Device memory of ${name} over one run`, ' class="title"'),
    ...areas,
    ...steps(most, 6).map((b) =>
      `<path class="grid" d="M${left} ${toY(b)}H${edge}"/>` +
      text(left - 8, toY(b) + 4, show(b), ' text-anchor="end"')
    ),
    ...steps(duration, 7).map((t) => text(toX(t), height - bottom + 18, showTime(t), middle)),
    text((left + edge) / 2, height - 8, "predicted time", middle),
    mark(memory.peak, "peak", "#dc2626"),
    ...apart ? [mark(budget, "budget", "#555")] : [],
    ...decisions.map(({ name, colour }, i) => {
      const y = height - bottom - 20 * i - 12;
      return `<rect x="${edge + 8}" y="${y - 10}" width="12" height="12" fill="${colour}"/>` +
        text(edge + 26, y, name);
    }),
    "</svg>",
    "",
  ].join("\n");
}

/** Round numbers from 0 to `end`, about `count`. */
function steps(end: number, count: number): number[] {
  const power = 10 ** Math.floor(Math.log10(end / count));
  const step = [1, 2, 5, 10].map((n) => n * power).find((s) => s * count >= end)!;
  return Array.from({ length: Math.floor(end / step) + 1 }, (_, i) => i * step);
}

function show(bytes: number): string {
  const digits = (v: number): string => String(Number(v.toPrecision(4)));
  if (bytes >= 1e9) return `${digits(bytes / 1e9)} GB`;
  if (bytes >= 1e6) return `${digits(bytes / 1e6)} MB`;
  return bytes >= 1e3 ? `${digits(bytes / 1e3)} kB` : `${bytes} B`;
}

function showTime(us: number): string {
  const digits = (v: number): string => String(Number(v.toPrecision(4)));
  return us >= 1e6
    ? `${digits(us / 1e6)} s`
    : us >= 1e3
    ? `${digits(us / 1e3)} ms`
    : `${digits(us)} µs`;
}

function escape(text: string): string {
  const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (c) => names[c]!);
}
