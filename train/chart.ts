/**
 * Line charts as SVG text: no script, no library, colours from the page's CSS variables so that
 * they follow a light or a dark scheme. Points carry their values as titles, which browsers show.
 *
 * @module
 */

/** One line of a chart. */
export interface Series {
  /** What the legend calls it. */
  readonly name: string;
  /** Points from left to right; those that are not finite leave a gap. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Whether every point gets a mark: for few points. */
  readonly marks?: boolean;
}

/** A chart. */
export interface Chart {
  readonly title: string;
  /** What runs to the right. */
  readonly xName: string;
  readonly series: readonly Series[];
  /** How values are written. */
  readonly show: (y: number) => string;
  /** Values that have to be in sight. */
  readonly include?: readonly number[];
  /** Equal ratios take equal room; only positive values are shown. */
  readonly log?: boolean;
}

const WIDTH = 640, HEIGHT = 300;
const LEFT = 64, RIGHT = 16, TOP = 16, BOTTOM = 40;

/** The chart as a `figure` element: title, legend, SVG. */
export function drawChart(chart: Chart): string {
  const { log = false } = chart;
  const isShown = ([x, y]: readonly [number, number]) =>
    Number.isFinite(x) && Number.isFinite(y) && (!log || y > 0);
  const series = chart.series.map((s) => ({ ...s, points: s.points.filter(isShown) }));
  const all = series.flatMap((s) => s.points);
  const title = `<figcaption>${escapeText(chart.title)}${legend(chart.series)}</figcaption>`;
  if (all.length === 0) return `<figure>${title}<p>Nothing to show yet.</p></figure>`;
  const xs = range(all.map(([x]) => x)), x = ticks(xs.low, xs.high, 9, true);
  const ys = range([...all.map(([, y]) => y), ...(chart.include ?? [])]);
  const y = log ? decades(ys.low, ys.high) : ticks(ys.low, ys.high, 5);
  const scale = log ? Math.log10 : (v: number) => v;
  const low = scale(Math.min(y.at(0)!, ys.low)), high = scale(Math.max(y.at(-1)!, ys.high));
  const width = WIDTH - LEFT - RIGHT, height = HEIGHT - TOP - BOTTOM;
  const toX = (v: number) => round(LEFT + (v - xs.low) / (xs.high - xs.low) * width);
  const toY = (v: number) => round(HEIGHT - BOTTOM - (scale(v) - low) / (high - low) * height);
  const grid = y.map((v) =>
    `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${toY(v)}" y2="${toY(v)}"/>` +
    `<text x="${LEFT - 8}" y="${toY(v) + 4}" text-anchor="end">${escapeText(chart.show(v))}</text>`
  );
  const steps = x.map((v) =>
    `<text x="${toX(v)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${showTick(v)}</text>`
  );
  const lines = series.map((s, i) => {
    const path = s.points.map(([a, b], k) => `${k === 0 ? "M" : "L"}${toX(a)} ${toY(b)}`).join("");
    const marks = !s.marks
      ? ""
      : s.points.map(([a, b]) =>
        `<circle class="s${i}" cx="${toX(a)}" cy="${toY(b)}" r="3.5"><title>${
          escapeText(`${s.name}, ${chart.xName} ${showTick(a)}: ${chart.show(b)}`)
        }</title></circle>`
      ).join("");
    return `<path class="s${i}" d="${path}"/>${marks}`;
  });
  const label = `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 4}" text-anchor="middle">${
    escapeText(chart.xName)
  }</text>`;
  return `<figure>${title}<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${
    escapeText(chart.title)
  }">${[...grid, ...steps, label, ...lines].join("")}</svg></figure>`;
}

/** CSS of the charts; the page defines --line, --text, --muted and --s0, --s1 … */
export const chartStyle = `
figure { margin: 0; }
figcaption { font-weight: 600; margin-bottom: .5rem; }
.legend { float: right; font-weight: 400; color: var(--muted); }
.legend i { display: inline-block; width: 1.2em; height: 3px; margin: 0 .4em .25em 1em; border-radius: 2px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--muted); font: 12px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--line); }
svg path { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg circle { stroke: var(--card); stroke-width: 1.5; }
${
  [0, 1, 2, 3, 4, 5].map((i) =>
    `svg path.s${i} { stroke: var(--s${i}); } svg circle.s${i} { fill: var(--s${i}); } i.s${i} { background: var(--s${i}); }`
  ).join("\n")
}`;

function legend(series: readonly Series[]): string {
  const items = series.map(({ name }, i) => `<i class="s${i}"></i>${escapeText(name)}`);
  return `<span class="legend">${items.join("")}</span>`;
}

/** At most `count` round numbers in and around a range. */
export function ticks(low: number, high: number, count: number, inside = false): number[] {
  const raw = (high - low) / Math.max(1, count - 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((s) => s >= raw * (1 - 1e-9))!;
  const first = inside ? Math.ceil(low / step - 1e-9) : Math.floor(low / step + 1e-9);
  const last = inside ? Math.floor(high / step + 1e-9) : Math.ceil(high / step - 1e-9);
  // Multiples are rounded to the step's digits: 3 · 0.1 is not what a label should say.
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  return Array.from(
    { length: last - first + 1 },
    (_, i) => Number(((first + i) * step).toFixed(Math.min(digits, 100))),
  );
}

/** 1, 2, 5, 10 … around a range of positive numbers; powers of ten alone where that is many. */
export function decades(low: number, high: number): number[] {
  const all: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    all.push(...[1, 2, 5].map((n) => Number(`${n}e${power}`)));
  }
  const first = all.findLastIndex((v) => v <= low * (1 + 1e-9));
  const last = all.findIndex((v) => v >= high * (1 - 1e-9));
  const chosen = all.slice(first, last + 1);
  return chosen.length <= 8
    ? chosen
    : chosen.filter((v, i) =>
      i === 0 || i === chosen.length - 1 || Number.isInteger(Math.log10(v))
    );
}

/** Ends of the values, a little apart where they are one. */
function range(values: readonly number[]): { low: number; high: number } {
  let low = Infinity, high = -Infinity;
  for (const v of values) [low, high] = [Math.min(low, v), Math.max(high, v)];
  const pad = low === high ? Math.max(Math.abs(low) * 0.05, 1e-6) : 0;
  return { low: low - pad, high: high + pad };
}

function showTick(v: number): string {
  return Number(v.toPrecision(6)).toString();
}

function round(v: number): number {
  return Math.round(v * 10) / 10;
}

/** Text that means itself in HTML, attributes included. */
export function escapeText(text: string): string {
  const names: Record<string, string> = {
    "&": "amp",
    "<": "lt",
    ">": "gt",
    '"': "quot",
    "'": "#39",
  };
  return text.replace(/[&<>"']/g, (c) => `&${names[c]};`);
}
