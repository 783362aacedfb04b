/**
 * Line charts that stand alone: one SVG file with its own colours for light and dark pages, legend
 * included, readable where it is put into a document.
 *
 * @module
 */
import { decades, escapeText, ticks } from "../../train/chart.ts";

/** A line of a picture, or points alone. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** A picture: numbers against numbers. */
export interface Picture {
  /** Name of the file, without its ending. */
  readonly name: string;
  readonly title: string;
  readonly xName: string;
  readonly yName: string;
  readonly lines: readonly Line[];
  /** Equal ratios take equal room along these axes. @default "" */
  readonly log?: "" | "x" | "y" | "xy";
}

const width = 720, height = 400;
const left = 72, right = 16, top = 36, bottom = 48, legendWidth = 170;
const colours = [
  "#2563eb",
  "#dc2626",
  "#059669",
  "#d97706",
  "#7c3aed",
  "#0891b2",
  "#be185d",
  "#65a30d",
  "#78716c",
  "#1e3a8a",
];

interface Axis {
  readonly ticks: readonly number[];
  /** From 0 to 1 along the axis. */
  at(value: number): number;
}

function axis(values: readonly number[], log: boolean): Axis {
  let low = Infinity, high = -Infinity;
  for (const v of values) [low, high] = [Math.min(low, v), Math.max(high, v)];
  if (!log) low = Math.min(low, 0);
  if (low === high) high = low === 0 ? 1 : low * 1.1;
  const marks = log ? decades(low, high) : ticks(low, high, 6);
  const scale = log ? Math.log10 : (v: number) => v;
  const from = scale(Math.min(low, marks[0]!)), to = scale(Math.max(high, marks.at(-1)!));
  return { ticks: marks, at: (v) => (scale(v) - from) / (to - from) };
}

function show(v: number): string {
  const size = Math.abs(v);
  if (size >= 1e5 || (size > 0 && size < 1e-3)) return v.toExponential().replace("e+", "e");
  return String(Number(v.toPrecision(4)));
}

/** The picture as the text of an SVG file. */
export function drawPicture({ title, xName, yName, lines, log = "" }: Picture): string {
  const logs = { x: log.includes("x"), y: log.includes("y") };
  const isShown = ([x, y]: readonly [number, number]): boolean =>
    Number.isFinite(x) && Number.isFinite(y) && !(logs.x && x <= 0) && !(logs.y && y <= 0);
  const shown = lines.map((line) => ({ ...line, points: line.points.filter(isShown) }));
  const all = shown.flatMap(({ points }) => points);
  if (all.length === 0) throw new RangeError(`Cannot draw "${title}": it has no points`);
  const [x, y] = [axis(all.map((p) => p[0]), logs.x), axis(all.map((p) => p[1]), logs.y)];
  const round = (v: number): number => Math.round(10 * v) / 10;
  const end = width - right - legendWidth;
  const toX = (v: number): number => round(left + x.at(v) * (end - left));
  const toY = (v: number): number => round(height - bottom - y.at(v) * (height - top - bottom));
  const text = (at: readonly [number, number], what: string, rest = ""): string =>
    `<text x="${at[0]}" y="${at[1]}"${rest}>${escapeText(what)}</text>`;
  const middle = ' text-anchor="middle"';
  const body = [
    text([left, 20], title, ' class="title"'),
    ...y.ticks.flatMap((v) => [
      `<path class="grid" d="M${left} ${toY(v)}H${end}"/>`,
      text([left - 8, toY(v) + 4], show(v), ' text-anchor="end"'),
    ]),
    ...x.ticks.map((v) => text([toX(v), height - bottom + 18], show(v), middle)),
    text([(left + end) / 2, height - 8], xName, middle),
    text(
      [16, (top + height - bottom) / 2],
      yName,
      `${middle} transform="rotate(-90 16 ${(top + height - bottom) / 2})"`,
    ),
    ...shown.flatMap(({ name, points }, i) => {
      const colour = colours[i % colours.length]!;
      const path = points.map(([a, b], k) => `${k === 0 ? "M" : "L"}${toX(a)} ${toY(b)}`).join("");
      const row = top + 8 + 20 * i;
      return [
        `<path class="line" stroke="${colour}" d="${path}"/>`,
        ...points.length > 40
          ? []
          : points.map(([a, b]) =>
            `<circle fill="${colour}" cx="${toX(a)}" cy="${toY(b)}" r="3"><title>${
              escapeText(`${name}: ${show(a)}, ${show(b)}`)
            }</title></circle>`
          ),
        `<path class="line" stroke="${colour}" d="M${end + 16} ${row}h18"/>`,
        text([end + 40, row + 4], name),
      ];
    }),
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${
      escapeText(title)
    }">`,
    "<style>text{font:12px system-ui,sans-serif;fill:#555}.title{font-size:14px;font-weight:600}" +
    ".grid{stroke:#8884;fill:none}.line{fill:none;stroke-width:2;stroke-linejoin:round}" +
    "@media(prefers-color-scheme:dark){text{fill:#bbb}}</style>",
    ...body,
    "</svg>",
    "",
  ].join("\n");
}
