/**
 * What a compiled function does, in words: its memory as predicted and as counted, what its plan
 * keeps and computes again, what other budgets would give, and its regions.
 *
 * @module
 */
import type { Program, Step } from "../compile/program.ts";
import { Gauge } from "../graph/check.ts";
import { checkNames } from "../graph/describe.ts";
import { showBytes, showMicroseconds } from "./bytes.ts";
import type { Flag } from "./flags.ts";
import type { RunMemory } from "./frame.ts";
import type { LoadedProgram } from "./loaded.ts";

/** What `explain` tells besides. */
export interface ExplainOptions {
  /**
   * A table of budgets against time, predicted: from what is fastest to the least memory that any
   * plan takes.
   *
   * @default {false}
   */
  readonly sweep?: boolean;
}

const rows: readonly (keyof RunMemory)[] = [
  "arguments",
  "results",
  "workspace",
  "uniforms",
  "copied",
  "peak",
];

/** The text of `explain()`. */
export function explain(
  name: string,
  signatures: readonly { readonly loaded: LoadedProgram; readonly flags: readonly Flag[] }[],
  options: ExplainOptions = {},
): string {
  checkNames(options, { sweep: "flag" }, `explain ${name}`);
  const { sweep = false } = options;
  if (signatures.length === 0) return `${name}: not called yet`;
  return signatures.map(({ loaded, flags }, i) => {
    const { program, counted } = loaded;
    const predicted = loaded.predicted ?? { ...program.memory, copied: 0 };
    const avals = program.arguments.map(({ dtype, shape }) => `${dtype}[${shape.join(",")}]`);
    const lines = [
      `${name}, signature ${i + 1} of ${signatures.length}: ${avals.length} arguments ` +
      `(${avals.slice(0, 8).join(" ")}${avals.length > 8 ? " …" : ""}), ` +
      `${program.results.length} results, ${program.dispatches.length} dispatches`,
      "",
      "memory        predicted      counted",
    ];
    for (const row of rows) {
      const seen = counted === undefined ? "not run" : String(counted[row]);
      lines.push(row.padEnd(10) + String(predicted[row]).padStart(13) + seen.padStart(13));
    }
    for (const store of ["host", "disk"] as const) {
      if (program.outside[store] === 0) continue;
      const seen = String(loaded.outside?.[store] ?? "not run");
      lines.push(
        store.padEnd(10) + String(program.outside[store]).padStart(13) + seen.padStart(13),
      );
    }
    lines.push(
      ...flags.flatMap(({ message }) => message instanceof Gauge ? [message.text] : []),
    );
    lines.push("", ...planLines(loaded), ...holdLines(program));
    if (sweep) lines.push("", ...sweepLines(program));
    lines.push("", program.print("regions"));
    return lines.join("\n");
  }).join("\n\n");
}

/** Stretches of steps that compute again, one line each, up to so many. */
const mostSegments = 40;

/** What was decided, stretch by stretch. */
function planLines({ program, measured, costs }: LoadedProgram): string[] {
  const steps = program.steps();
  const timeOf = (list: readonly Step[]): string => {
    const known = list.filter(({ work }) => costs.isMeasured(work)).length;
    const basis = known === 0 ? "" : ` (${known} of ${list.length} steps measured before)`;
    const predicted = showMicroseconds(sumOf(list)) + basis;
    if (measured === undefined) return `${predicted} predicted`;
    const seconds = list.reduce((sum, { first, count }) => {
      for (let i = first; i < first + count; i++) sum += measured[i]!;
      return sum;
    }, 0);
    return `${predicted} predicted, ${showMicroseconds(1e6 * seconds)} measured`;
  };
  const chosen = [
    ...(program.choices ?? []).map((choice) => `chosen to go back over ${choice}`),
    ...weighedLines(program),
  ];
  const besides = steps.flatMap(({ besides }) =>
    besides === undefined ? [] : [
      `for the way back of ${besides.of}: ${besides.dispatches} dispatches besides its steps, ` +
      `${showMicroseconds(besides.time)} predicted`,
    ]
  );
  const open = steps.flatMap(({ expected }, i) =>
    expected === undefined
      ? []
      : [`  region ${i}: its data say how long it runs; predicted for ${expected} steps`]
  );
  const repeated = steps.filter(({ again }) => again), moves = steps.filter(({ move }) => move);
  const budget = program.budget === undefined
    ? "no budget"
    : `a budget of ${program.budget} bytes (${showBytes(program.budget)})`;
  const within = steps.flatMap(({ within, work }, i) =>
    within === undefined ? [] : [
      `  region ${i}: ${within} regions made again within each step of its ${
        work.key.split(":", 1)[0]
      }`,
    ]
  );
  if (repeated.length + moves.length === 0) {
    const kept = within.length === 0 ? "everything is kept" : "everything between loops is kept";
    return [
      `plan: ${budget}, ${kept}; ${timeOf(steps)}`,
      ...within,
      ...open,
      ...chosen,
      ...besides,
    ];
  }
  const first = steps.filter(({ again, move }) => !again && move === undefined);
  const moved = moves.length === 0 ? "" : `, ${moves.length} moves to and from outside`;
  const lines = [
    `plan: ${budget}, ${
      steps.length - moves.length
    } steps, ${repeated.length} of them again${moved}`,
    `  once   ${timeOf(first)}`,
    `  again  ${timeOf(repeated)}`,
    ...moves.length === 0 ? [] : [`  moves  ${showMicroseconds(sumOf(moves))} predicted`],
    ...within,
    ...open,
    ...chosen,
    ...besides,
  ];
  const segments: { readonly from: number; readonly list: Step[] }[] = [];
  steps.forEach((step, i) => {
    if (!step.again) return;
    if (steps[i - 1]?.again) segments.at(-1)!.list.push(step);
    else segments.push({ from: i, list: [step] });
  });
  for (const { from, list } of segments.slice(0, mostSegments)) {
    const where = list.length === 1 ? `${from}` : `${from}–${from + list.length - 1}`;
    lines.push(`  region ${where}: made again, ${timeOf(list)}`);
  }
  const rest = segments.slice(mostSegments);
  if (rest.length > 0) {
    lines.push(`  and ${rest.length} more places: ${timeOf(rest.flatMap(({ list }) => list))}`);
  }
  const places = steps.flatMap(({ move }, i) =>
    move === undefined ? [] : [
      `  region ${i}: ${move.bytes} bytes ` +
      (move.is === "save" ? `wait in the store ${move.store}` : `back from ${move.store}`),
    ]
  );
  lines.push(...places.slice(0, mostSegments));
  if (places.length > mostSegments) lines.push(`  and ${places.length - mostSegments} more moves`);
  return lines;
}

/** Microseconds predicted. */
function sumOf(steps: readonly Step[]): number {
  return steps.reduce((sum, { time }) => sum + time, 0);
}

/** Why loops are gone back over like this: what else there was, if anything was weighed. */
function weighedLines({ budget, weighed, choices }: Program): string[] {
  if (budget === undefined || weighed === undefined) return [];
  const chosen = choices!.join("; ");
  return [
    "weighed, each with nothing else made again:",
    ...weighed().map(({ bytes, time, loops }) => {
      const names = loops!.map((loop) => loop.slice(loop.indexOf(" steps: ") + 8)).join("; ");
      const fits = bytes <= budget ? "" : ", does not fit as it is";
      const mark = loops!.join("; ") === chosen ? "> " : "  ";
      return `${mark}${names}: ${showMicroseconds(time)} predicted, ${bytes} bytes${fits}`;
    }),
  ];
}

/** What is held for ways back in place of what it was made from, alike ones in one line. */
function holdLines({ holds }: Program): string[] {
  const list = (estimate: boolean, title: string): string[] => {
    const counts = new Map<string, number>();
    for (const { label, dtype, shape, steps, estimate: is } of holds) {
      if (is !== estimate) continue;
      const each = steps === 1 ? "" : ` in each of ${steps} steps`;
      const line = `  ${label}: ${dtype}[${shape.join(",")}]${each}`;
      counts.set(line, (counts.get(line) ?? 0) + 1);
    }
    const lines = [...counts].map(([line, n]) => n === 1 ? line : `${line}, ${n} times`);
    return lines.length === 0 ? [] : [title, ...lines];
  };
  return [
    ...list(false, "held for the way back:"),
    ...list(true, "held for the way back, so that the gradient is an estimate:"),
  ];
}

/** The trade of bytes against time. */
function sweepLines(program: Program): string[] {
  const offers = program.sweep();
  const fastest = offers[0]!.time;
  return [
    "       memory, bytes    predicted time  of fastest  regions run again",
    ...offers.map(({ bytes, time, again, outside, loops }) => {
      const now = bytes === program.memory.peak ? "> " : "  ";
      const share = `${(time / fastest).toFixed(3)}×`;
      return now + String(bytes).padStart(18) + showMicroseconds(time).padStart(18) +
        share.padStart(12) + String(again).padStart(19) +
        (outside === undefined ? "" : `  ${outside.host + outside.disk} bytes outside`) +
        (loops === undefined ? "" : `  ${loops.join("; ")}`);
    }),
  ];
}
