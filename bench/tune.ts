/**
 * `deno task tune`: measures the ways of the kernels of a program, or of the benchmarks, on this
 * machine's adapter, and remembers the fastest for every program to come.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { resolve, toFileUrl } from "@std/path";
import * as rg from "../mod.ts";
import { contestants } from "./contestants/contestant.ts";
import type { Case } from "./measure.ts";
import { workloads } from "./workloads.ts";
import { toEnd } from "./end.ts";

const help = `Usage: deno task tune [OPTION...] [PROGRAM]

Runs a program of yours, a module that does its work when it is imported, and tunes the kernels of
all that it computes; without one, those of the benchmarks. Every way of writing a kernel is compared
with the plain one to the bit, so results never change. What is fastest is remembered in
.retrograd/tuning, for this adapter, this driver and this Deno; programs started in this folder with
permission to read it use it from then on. Deleting the folder forgets it.

  --only NAMES   of the benchmarks, those that begin with one of these, with commas between them
  --dir FOLDER   where to remember [default: .retrograd/tuning]
  --json         everything measured, as JSON
  --help

Benchmarks: ${Object.keys(workloads).join(", ")}`;

async function main(args: readonly string[]): Promise<void> {
  const fail = (what: string, expected: string): never => {
    throw new TypeError(`Cannot tune: ${what}, expected ${expected}`);
  };
  const flags = parseArgs([...args], {
    boolean: ["json", "help"],
    string: ["only", "dir"],
    stopEarly: true,
    unknown: (arg) => arg.startsWith("-") ? fail(`${arg} is unknown`, "what --help lists") : true,
  });
  if (flags.help) return console.log(help);
  const [program] = flags._.map(String);
  const every = Object.keys(workloads);
  const wanted = flags.only?.split(",");
  for (const name of wanted ?? []) {
    if (name !== "" && every.some((known) => known.startsWith(name))) continue;
    fail(`--only has "${name}"`, `the beginning of one of ${every.join(", ")}`);
  }
  if (program !== undefined && wanted !== undefined) {
    fail("--only is for the benchmarks", "either it or a program");
  }
  await rg.init({ ...(flags.dir !== undefined && { tuning: flags.dir }) });
  const tell = (report: rg.TuneReport, name: string): void => {
    if (flags.json) console.log(JSON.stringify({ name, ...report }));
    else console.log(`${name}: ${report}\n`);
  };
  if (program !== undefined) {
    const url = toFileUrl(resolve(program)).href;
    tell(await rg.tune(() => import(url)), program);
    return;
  }
  const ours = await contestants.retrograd();
  for (const name of every) {
    const { kind, sizes, optional } = workloads[name]!;
    const chosen = wanted?.some((start) => name.startsWith(start)) ?? !optional;
    if (!chosen) continue;
    const prepare = ours[kind] as ((...sizes: readonly number[]) => Promise<Case>) | undefined;
    const ready = await prepare!(...sizes);
    tell(await rg.tune(() => ready.runs(1)), name);
  }
}

if (import.meta.main) await toEnd(() => main(Deno.args));
