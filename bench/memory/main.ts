/**
 * `deno task bench:memory NAME`: what the ways back cost in bytes and time, one experiment by name,
 * with tables, pictures and whether it showed what it must.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import * as rg from "../../mod.ts";
import { chain } from "./chain.ts";
import { type Experiment, type Findings, showClaims, showTable } from "./experiment.ts";
import { drawPicture } from "./picture.ts";

/** Every experiment by its name on the command line. */
export const experiments: Readonly<Record<string, Experiment>> = { chain };

const list = Object.entries(experiments).map(([name, { title }]) =>
  `  ${name.padEnd(16)} ${title}`
);

const help = `Usage: deno task bench:memory NAME... [OPTION...]

Runs experiments on what the ways back cost in bytes and time; prints tables and what was to be
shown, and writes both, with pictures, to runs/memory. Ends with 1 if something was not shown.

  --scale N   share of the full size, above 0 and at most 1 [default: 1]
  --out DIR   where tables and pictures go [default: runs/memory]
  --help

${list.join("\n")}`;

interface Options {
  readonly names: readonly string[];
  readonly scale: number;
  readonly out: string;
}

function read(args: readonly string[]): Options | undefined {
  const fail = (what: string, expected: string): never => {
    throw new TypeError(`Cannot run experiments: ${what}, expected ${expected}`);
  };
  const flags = parseArgs([...args], {
    boolean: ["help"],
    string: ["scale", "out", "_"],
    default: { scale: "1", out: "runs/memory" },
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
  return { names, scale, out: flags.out };
}

function document(
  name: string,
  { title, about }: Experiment,
  scale: number,
  { tables, pictures = [], claims }: Findings,
): string {
  const { name: device } = rg.deviceInfo();
  const command = `deno task bench:memory ${name}${scale < 1 ? ` --scale ${scale}` : ""}`;
  return [
    `## ${title}`,
    about,
    `\`${command}\` on ${device}, Deno ${Deno.version.deno}${
      scale < 1 ? `, at ${scale} of the full size` : ""
    }.`,
    ...tables.map(showTable),
    ...pictures.map((picture) => `![${picture.title}](${picture.name}.svg)`),
    showClaims(claims),
  ].join("\n\n") + "\n";
}

async function main(): Promise<number> {
  const options = read(Deno.args);
  if (options === undefined) {
    console.log(help);
    return 0;
  }
  await rg.init({ software: "allow" });
  await Deno.mkdir(options.out, { recursive: true });
  let missed = 0;
  for (const name of options.names) {
    const experiment = experiments[name]!;
    const { scale } = options;
    const findings = await experiment.run({
      scale,
      progress: (text) => console.error(`${name}: ${text}`),
    });
    const text = document(name, experiment, scale, findings);
    console.log(text);
    await Deno.writeTextFile(`${options.out}/${name}.md`, text);
    for (const picture of findings.pictures ?? []) {
      await Deno.writeTextFile(`${options.out}/${picture.name}.svg`, drawPicture(picture));
    }
    missed += findings.claims.filter(({ met }) => !met).length;
  }
  return missed === 0 ? 0 : 1;
}

if (import.meta.main) {
  try {
    Deno.exit(await main());
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(2);
  }
}
