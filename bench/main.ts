/**
 * `deno task bench`: the workloads on our side and on the peers', side by side, and whether the
 * bars are met.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import config from "../deno.json" with { type: "json" };
import type { ContestantName } from "./contestants/contestant.ts";
import { judge, judgeFamilies, type Row, table } from "./report.ts";
import { canPin, measureAll } from "./runner.ts";
import { workloads } from "./workloads.ts";
import { toEnd } from "./end.ts";

const peers = { jax: "@jax-js/jax", tfjs: "@tensorflow/tfjs" } as const;

const help = `Usage: deno task bench [OPTION...]

Runs the workloads on retrograd and its peers, in turns, and prints the medians, the ratios to the
peers and whether the bars are met. The peers come from npm at their first run (300 MB). Ends with
1 if a bar is missed, something fails or results do not agree.

  --only NAMES     the workloads that begin with one of these, with commas between them
  --rounds N       rounds per workload [default: 9]
  --peers NAMES    of ${Object.keys(peers)}; "none" for none [default: jax,tfjs]
  --chain          the residual chains too, which take minutes
  --core N         the core that all processes share [default: 0]
  --json           everything measured, as JSON
  --help

Workloads: ${Object.keys(workloads).join(", ")}`;

/** What the command line asks for. */
interface Options {
  readonly only: readonly string[];
  readonly rounds: number;
  readonly contestants: readonly ContestantName[];
  readonly core: number;
  readonly json: boolean;
}

function read(args: readonly string[]): Options | undefined {
  const fail = (what: string, expected: string): never => {
    throw new TypeError(`Cannot run the benchmarks: ${what}, expected ${expected}`);
  };
  const flags = parseArgs([...args], {
    boolean: ["chain", "json", "help"],
    string: ["only", "rounds", "peers", "core"],
    default: { rounds: "9", peers: Object.keys(peers).join(), core: "0" },
    unknown: (arg) => fail(`${arg} is unknown`, "what --help lists"),
  });
  if (flags.help) return undefined;
  const integer = (name: string, text: string, least: number): number =>
    /^\d+$/.test(text) && Number(text) >= least
      ? Number(text)
      : fail(`--${name} is "${text}"`, `an integer of at least ${least}`);

  const wanted = flags.only?.split(",");
  const every = Object.keys(workloads);
  for (const name of wanted ?? []) {
    if (name !== "" && every.some((known) => known.startsWith(name))) continue;
    fail(`--only has "${name}"`, `the beginning of one of ${every.join(", ")}`);
  }
  const isPeer = (name: string): name is keyof typeof peers => name in peers;
  const named = flags.peers === "none"
    ? []
    : flags.peers.split(",").map((name) =>
      isPeer(name) ? name : fail(`--peers has "${name}"`, Object.keys(peers).join(" or "))
    );
  return {
    only: every.filter((name) =>
      wanted === undefined
        ? flags.chain || !workloads[name]!.optional
        : wanted.some((start) => name.startsWith(start))
    ),
    rounds: integer("rounds", flags.rounds, 1),
    contestants: ["retrograd", ...new Set(named)],
    core: integer("core", flags.core, 0),
    json: flags.json,
  };
}

/** What a figure is worth nothing without. */
interface Circumstances {
  readonly command: string;
  readonly date: string;
  readonly adapter: string;
  readonly deno: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly core: number | undefined;
  readonly rounds: number;
}

async function look({ rounds, contestants, core }: Options): Promise<Circumstances> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new Error("Cannot run the benchmarks: there is no WebGPU adapter, expected one");
  }
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info;
  const imports: Readonly<Record<string, string>> = config.imports;
  const versionOf = (who: ContestantName) =>
    who === "retrograd" ? config.version : imports[peers[who]]!.split("@").at(-1)!;
  // Some drivers give numbers for names.
  const names = [description, device, architecture, vendor].filter((text) => /[a-z]/i.test(text));
  return {
    command: ["deno task bench", ...Deno.args].join(" "),
    date: new Date().toISOString().slice(0, 10),
    adapter: [...new Set(names)].join(", ") + (isFallbackAdapter ? " (software)" : ""),
    deno: Deno.version.deno,
    versions: Object.fromEntries(contestants.map((who) => [who, versionOf(who)])),
    core: await canPin(core) ? core : undefined,
    rounds,
  };
}

function describe({ command, date, adapter, deno, versions, core, rounds }: Circumstances): string {
  const named = Object.entries(versions).map(([who, version]) => `${who} ${version}`);
  return [
    `${command}`,
    `${date}, Deno ${deno}, adapter: ${adapter}`,
    `${named.join(", ")}; medians of ${rounds} rounds in turns; ` +
    (core === undefined ? "not bound to a core" : `core ${core}`),
  ].join("\n");
}

async function main(): Promise<number> {
  const options = read(Deno.args);
  if (options === undefined) {
    console.log(help);
    return 0;
  }
  const circumstances = await look(options);
  if (!options.json) console.log(describe(circumstances) + "\n");
  const rows: Row[] = [];
  for (const name of options.only) {
    const workload = workloads[name]!;
    console.error(`[${rows.length + 1}/${options.only.length}] ${workload.title}`);
    const { contestants, rounds } = options;
    const outcomes = await measureAll(contestants, name, workload, rounds, circumstances);
    rows.push(judge(name, workload, outcomes));
  }
  rows.push(...judgeFamilies(rows));
  const problems = rows.flatMap(({ workload, problems }) =>
    problems.map((problem) => `${workload.title}: ${problem}`)
  );
  const judged = rows.flatMap(({ lines }) => lines).filter(({ met }) => met !== undefined);
  const missed = judged.filter(({ met }) => !met).length;
  if (options.json) console.log(JSON.stringify({ ...circumstances, rows, problems }, null, 2));
  else {
    console.log(table(rows, options.contestants));
    console.log(`\n${judged.length - missed} bars met, ${missed} missed`);
    for (const problem of problems) console.log(problem);
  }
  return missed + problems.length === 0 ? 0 : 1;
}

if (import.meta.main) await toEnd(main);
