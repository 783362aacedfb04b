/**
 * From measurements to a verdict: ratios to the peers, what the bars say, and the table.
 *
 * @module
 */
import type { ContestantName } from "./contestants/contestant.ts";
import { distances, type Outcome, type Outcomes, type Result } from "./runner.ts";
import { type Bar, families, type Workload } from "./workloads.ts";

/** One line of the table: a quantity of a workload. */
export interface Line {
  readonly workload: string;
  readonly quantity: string;
  readonly unit: string;
  /** Medians, by contestant; absent where the library cannot. */
  readonly values: Readonly<Partial<Record<ContestantName, number>>>;
  /** Peer over ours, by peer: above 1 we need less. */
  readonly ratios: Readonly<Partial<Record<ContestantName, number>>>;
  /** What is asked for, in words. */
  readonly bar: string;
  /** Whether it is reached; undefined where nothing is asked for, or nobody is there to compare. */
  readonly met: boolean | undefined;
}

/** What came out of one workload. */
export interface Row {
  readonly name: string;
  readonly workload: Workload;
  readonly outcomes: Outcomes;
  readonly lines: readonly Line[];
  /** What is wrong: contestants that failed, and results that do not agree. */
  readonly problems: readonly string[];
  /** The relative distance of our values from each peer's, and from what is known, by name. */
  readonly distances: Readonly<Record<string, Record<string, number>>>;
}

/** The peer that the bars speak of. */
const rival: ContestantName = "jax";

/** The number in the middle, or the mean of the two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
}

const isResult = (outcome: Outcome | undefined): outcome is Result =>
  outcome !== undefined && "rounds" in outcome;

/** A quantity, how it is found, and its bar. */
interface Quantity {
  readonly name: string;
  readonly unit: string;
  /** One number for each round or process: ratios are taken pairwise, and then the median. */
  values(result: Result): readonly number[];
  bar(bar: Bar): Asked | undefined;
  /** Only measured where this is asked for. */
  onlyAsked?(bar: Bar): boolean;
}

interface Asked {
  readonly text: string;
  reached(ours: number, ratio: number | undefined): boolean | undefined;
}

const atMost = (bound: number | undefined, text: string): Asked | undefined =>
  bound === undefined ? undefined : { text: `≤ ${text}`, reached: (ours) => ours <= bound };
const ratioAtLeast = (bound: number, text: string): Asked => ({
  text,
  reached: (_, ratio) => ratio === undefined ? undefined : ratio >= bound,
});

const quantities: readonly Quantity[] = [
  {
    name: "time",
    unit: "ms",
    values: ({ rounds }) => rounds,
    bar: ({ faster }) => faster === undefined ? undefined : ratioAtLeast(faster, `≥ ${faster}×`),
  },
  {
    name: "first call",
    unit: "ms",
    values: ({ firsts }) => firsts,
    bar: ({ firstShare, firstMs }) =>
      firstShare === undefined
        ? atMost(firstMs, `${firstMs} ms`)
        : ratioAtLeast(1 / firstShare, `≥ ${number(1 / firstShare)}×`),
  },
  {
    name: "host",
    unit: "ms",
    values: ({ hosts }) => hosts,
    bar: ({ hostMs }) => atMost(hostMs, `${hostMs} ms`),
    onlyAsked: ({ hostMs }) => hostMs !== undefined,
  },
  {
    name: "the same calls alone",
    unit: "ms",
    values: ({ bares }) => bares,
    bar: () => undefined,
    onlyAsked: ({ hostMs }) => hostMs !== undefined,
  },
  {
    name: "as many dispatches of one kind",
    unit: "ms",
    values: ({ leasts }) => leasts,
    bar: () => undefined,
    onlyAsked: ({ hostMs }) => hostMs !== undefined,
  },
  {
    name: "dispatches",
    unit: "",
    values: ({ dispatches }) => [dispatches],
    bar: ({ dispatches }) => atMost(dispatches, String(dispatches)),
  },
  {
    name: "peak",
    unit: "MB",
    values: ({ peakBytes }) => [peakBytes / 1e6],
    bar: ({ peakBytes, peakShare }) => {
      if (peakShare !== undefined) {
        return ratioAtLeast(1 / peakShare, `≥ ${number(1 / peakShare)}×`);
      }
      return peakBytes === undefined ? undefined : atMost(peakBytes / 1e6, `${peakBytes / 1e6} MB`);
    },
  },
];

/** Judges a workload. */
export function judge(name: string, workload: Workload, outcomes: Outcomes): Row {
  const entries = Object.entries(outcomes) as [ContestantName, Outcome][];
  const results = entries.filter((entry): entry is [ContestantName, Result] => isResult(entry[1]));
  const ours = isResult(outcomes.retrograd) ? outcomes.retrograd : undefined;
  const problems = entries.flatMap(([who, outcome]) =>
    "failed" in outcome ? [`${who} failed: ${outcome.failed}`] : []
  );

  const apart: Record<string, Record<string, number>> = {};
  if (ours !== undefined) {
    const { expected } = workload;
    const others = results.filter(([who]) => who !== "retrograd");
    for (const [who, { checks }] of others) apart[who] = distances(ours.checks, checks);
    if (expected !== undefined) apart["float64"] = distances(ours.checks, expected());
  }
  for (const [who, byName] of Object.entries(apart)) {
    for (const [what, distance] of Object.entries(byName)) {
      const allowed = workload.tolerances[what] ?? 0;
      if (distance <= allowed) continue;
      problems.push(`${what} is ${number(distance)} from ${who}'s, expected at most ${allowed}`);
    }
  }
  if (ours !== undefined && !Object.values(ours.checks).flat().every(Number.isFinite)) {
    problems.push("our values are not finite");
  }

  const wanted = quantities.filter(({ onlyAsked }) => onlyAsked?.(workload.bar) ?? true);
  const lines = wanted.map((quantity): Line => {
    const { name, unit, values, bar } = quantity;
    const ratioTo = (theirs: Result) =>
      median(values(theirs).map((value, i) => value / values(ours!)[i]!));
    const ratios: Line["ratios"] = ours === undefined ? {} : Object.fromEntries(
      results.filter(([who]) => who !== "retrograd").map(([who, theirs]) => [who, ratioTo(theirs)]),
    );
    const medians: Line["values"] = Object.fromEntries(
      results.flatMap(([who, result]) =>
        values(result).length > 0 ? [[who, median(values(result))] as const] : []
      ),
    );
    const asked = bar(workload.bar);
    const own = medians.retrograd;
    return {
      workload: workload.title,
      quantity: name,
      unit,
      values: medians,
      ratios,
      bar: asked?.text ?? "",
      met: asked === undefined ? undefined : own === undefined ? false : asked.reached(
        own,
        ratios[rival],
      ),
    };
  });
  return { name, workload, outcomes, lines, problems, distances: apart };
}

/** Judges families as a whole: a row for each, of the median of its members' ratios. */
export function judgeFamilies(rows: readonly Row[]): Row[] {
  return (Object.keys(families) as (keyof typeof families)[]).flatMap((name): Row[] => {
    const members = rows.filter(({ workload }) => workload.family === name);
    const ratios = members.flatMap(({ lines }) =>
      lines.flatMap(({ quantity, ratios }) => quantity === "time" ? ratios[rival] ?? [] : [])
    );
    if (members.length < 2) return [];
    const { title, faster } = families[name], { workload } = members[0]!;
    const ratio = ratios.length === 0 ? undefined : median(ratios);
    const line: Line = {
      workload: title,
      quantity: "time",
      unit: "",
      values: {},
      ratios: ratio === undefined ? {} : { [rival]: ratio },
      bar: `≥ ${faster}×`,
      met: ratio === undefined ? undefined : ratio >= faster,
    };
    return [{ name, workload, outcomes: {}, lines: [line], problems: [], distances: {} }];
  });
}

/** Three digits, more only before the point. */
export function number(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** The table in Markdown, in columns that are aligned for a terminal too. */
export function table(rows: readonly Row[], contestants: readonly ContestantName[]): string {
  const peers = contestants.filter((who) => who !== "retrograd");
  const head = ["workload", "", ...contestants, ...peers.map((who) => `${who} / ours`), "bar", ""];
  const body = rows.flatMap(({ lines, outcomes }) =>
    lines.map(({ workload, quantity, unit, values, ratios, bar, met }, i) => [
      i === 0 ? workload : "",
      unit === "" ? quantity : `${quantity}, ${unit}`,
      ...contestants.map((who) => cell(values[who], outcomes[who])),
      ...peers.map((who) => ratios[who] === undefined ? "" : `${number(ratios[who])}×`),
      bar,
      bar === "" ? "" : met === undefined ? "no peer" : met ? "met" : "**missed**",
    ])
  );
  const cells = [head, ...body];
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]!.length), 3));
  const isText = (column: number) => column < 2 || column === head.length - 1;
  const render = (row: readonly string[]) =>
    `| ${
      row.map((text, column) =>
        isText(column) ? text.padEnd(widths[column]!) : text.padStart(widths[column]!)
      ).join(" | ")
    } |`;
  const rule = widths.map((width, column) =>
    isText(column) ? "-".repeat(width) : "-".repeat(width - 1) + ":"
  );
  return [render(head), `| ${rule.join(" | ")} |`, ...body.map(render)].join("\n");
}

function cell(value: number | undefined, outcome: Outcome | undefined): string {
  if (value !== undefined) return number(value);
  return outcome !== undefined && "failed" in outcome ? "failed" : "-";
}
