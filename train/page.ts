/**
 * Pages that need nothing else, neither a network nor scripts, and follow a light or a dark scheme:
 * what reports are made of.
 *
 * @module
 */
import { chartStyle, escapeText } from "./chart.ts";

/** A whole page; sections that are empty are left out. */
export function page(title: string, subtitle: string, sections: readonly string[]): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${escapeText(title)}</title>
<style>${style}${chartStyle}</style>
</head>
<body>
<main>
<h1>${escapeText(title)}</h1>
<p class="muted">${escapeText(subtitle)}</p>
${sections.filter((section) => section !== "").join("\n")}
</main>
</body>
</html>
`;
}

/** Boxes side by side where there is room. */
export function grid(boxes: readonly string[]): string {
  return `<div class="grid">${boxes.join("")}</div>`;
}

const style = `
:root { --page: #f6f7f9; --card: #fff; --line: #e3e6ea; --text: #1b1f24; --muted: #66707b;
  --s0: #2563c9; --s1: #c4600c; --s2: #148068; --s3: #a0307e; --s4: #7a6a00; --s5: #5b4bb8; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171a; --card: #1d2125; --line: #32383e; --text: #e8eaed; --muted: #9aa4af;
    --s0: #6ea8ff; --s1: #f2a35e; --s2: #4fc3a1; --s3: #f08acb; --s4: #d6c34a; --s5: #b3a6ff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1rem; margin: 0 0 .5rem; }
.muted { color: var(--muted); margin: .2rem 0 1.5rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; margin-bottom: 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem; margin-bottom: 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem; overflow-x: auto; margin-bottom: 1rem; }
.grid .card, .tiles .card { margin-bottom: 0; }
.tiles b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--muted); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--muted); font-weight: 400; }
th, td { padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.bar { width: 30%; }
td.bar i { display: block; height: .7em; border-radius: 3px; background: var(--s0); }
tr.best td { font-weight: 600; }
`;

/** A box of its own. */
export function card(content: string): string {
  return `<section class="card">${content}</section>`;
}

/** A cell: a number is aligned to the right. */
export type Cell = string | { readonly n: string } | { readonly share: number };

/** A table in a box. */
export function table(title: string, head: readonly Cell[], rows: readonly Row[]): string {
  const cell = (tag: "th" | "td") => (content: Cell): string => {
    if (typeof content === "string") return `<${tag}>${escapeText(content)}</${tag}>`;
    if ("n" in content) return `<${tag} class="n">${escapeText(content.n)}</${tag}>`;
    return `<${tag} class="bar"><i style="width:${
      (content.share * 100).toFixed(1)
    }%"></i></${tag}>`;
  };
  const body = rows.map(({ cells, best = false }) =>
    `<tr${best ? ' class="best"' : ""}>${cells.map(cell("td")).join("")}</tr>`
  );
  return card(
    `<h2>${escapeText(title)}</h2><table><thead><tr>${head.map(cell("th")).join("")}</tr></thead>` +
      `<tbody>${body.join("")}</tbody></table>`,
  );
}

/** A row of a table. */
export interface Row {
  readonly cells: readonly Cell[];
  readonly best?: boolean;
}
