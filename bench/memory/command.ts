/**
 * The command around experiments: reads the arguments, runs what is asked for by name, prints what
 * was found, and writes it with its pictures.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import * as rg from "../../mod.ts";
import { type Experiment, type Findings, showClaims, showTable } from "./experiment.ts";
import { keptIn } from "./kept.ts";
import { drawPicture } from "./picture.ts";

/** Experiments under one task. */
export interface Command {
  /** What is typed after `deno task`. */
  readonly task: string;
  /** What it does, in a few sentences. */
  readonly about: string;
  /** Where findings go by default. */
  readonly out: string;
  /** Every experiment by its name on the command line. */
  readonly experiments: Readonly<Record<string, Experiment>>;
}

interface Options {
  readonly names: readonly string[];
  readonly scale: number;
  readonly seeds: number | undefined;
  readonly resume: boolean;
  readonly out: string;
}

function helpFor({ task, about, out, experiments }: Command): string {
  const list = Object.entries(experiments).map(([name, { title }]) =>
    `  ${name.padEnd(16)} ${title}`
  );
  return `Usage: deno task ${task} NAME... [OPTION...]

${about}

  --scale N   share of the full size, above 0 and at most 1 [default: 1]
  --seeds N   how many seeds, where chance plays a part [default: the experiment's own]
  --resume    go on with the parts of a long experiment that an earlier run kept in DIR
  --out DIR   where tables and pictures go [default: ${out}]
  --help

${list.join("\n")}`;
}

function read(args: readonly string[], { experiments, out }: Command): Options | undefined {
  const fail = (what: string, expected: string): never => {
    throw new TypeError(`Cannot run experiments: ${what}, expected ${expected}`);
  };
  const flags = parseArgs([...args], {
    boolean: ["help", "resume"],
    string: ["scale", "seeds", "out", "_"],
    default: { scale: "1", out },
    unknown: (arg) => arg.startsWith("-") ? fail(`${arg} is unknown`, "what --help lists") : true,
  });
  const names = flags._.map(String);
  if (flags.help || names.length === 0) return undefined;
  for (const name of names) {
    if (name in experiments) continue;
    fail(`${name} is unknown`, `one of ${Object.keys(experiments).join(", ")}`);
  }
  const scale = Number(flags.scale);
  if (!(scale > 0 && scale <= 1)) fail(`--scale is ${flags.scale}`, "a number above 0, at most 1");
  const seeds = flags.seeds === undefined ? undefined : Number(flags.seeds);
  if (seeds !== undefined && !(Number.isSafeInteger(seeds) && seeds >= 1)) {
    fail(`--seeds is ${flags.seeds}`, "a positive integer");
  }
  return { names, scale, seeds, resume: flags.resume, out: flags.out };
}

function document(
  task: string,
  name: string,
  { title, about }: Experiment,
  { scale, seeds }: Options,
  { tables, pictures = [], files = {}, claims }: Findings,
): string {
  const { name: device } = rg.deviceInfo();
  const command = `deno task ${task} ${name}${scale < 1 ? ` --scale ${scale}` : ""}${
    seeds === undefined ? "" : ` --seeds ${seeds}`
  }`;
  return [
    `## ${title}`,
    about,
    `\`${command}\` on ${device}, Deno ${Deno.version.deno}${
      scale < 1 ? `, at ${scale} of the full size` : ""
    }.`,
    ...tables.map(showTable),
    ...pictures.map((picture) => `![${picture.title}](${picture.name}.svg)`),
    ...Object.keys(files).map((file) => `![${file}](${file})`),
    showClaims(claims),
  ].join("\n\n") + "\n";
}

/** Runs what the arguments ask for; the number of claims that were missed. */
async function run(args: readonly string[], command: Command): Promise<number> {
  const options = read(args, command);
  if (options === undefined) {
    console.log(helpFor(command));
    return 0;
  }
  await rg.init({ software: "allow" });
  await Deno.mkdir(options.out, { recursive: true });
  let missed = 0;
  for (const name of options.names) {
    const experiment = command.experiments[name]!;
    const { scale, seeds } = options;
    const findings = await experiment.run({
      scale,
      ...seeds !== undefined && { seeds },
      kept: await keptIn(`${options.out}/${name}.json`, rg.deviceInfo().name, options.resume),
      progress: (text) => console.error(`${name}: ${text}`),
    });
    const text = document(command.task, name, experiment, options, findings);
    console.log(text);
    await Deno.writeTextFile(`${options.out}/${name}.md`, text);
    for (const picture of findings.pictures ?? []) {
      await Deno.writeTextFile(`${options.out}/${picture.name}.svg`, drawPicture(picture));
    }
    for (const [file, text] of Object.entries(findings.files ?? {})) {
      await Deno.writeTextFile(`${options.out}/${file}`, text);
    }
    missed += findings.claims.filter(({ met }) => !met).length;
  }
  return missed;
}

/** Runs the command and ends the process: with 1 if something was missed, with 2 for an error. */
export async function main(command: Command): Promise<never> {
  try {
    Deno.exit(await run(Deno.args, command) === 0 ? 0 : 1);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(2);
  }
}
