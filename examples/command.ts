/**
 * The command line of an example: a table of options, from which come the values, the help, and
 * one sentence for whoever mistypes.
 *
 * @module
 */
import { parseArgs } from "@std/cli";

/** One option. */
export interface Option<T> {
  /** What it is, in the help. */
  readonly about: string;
  /** Its value where nobody gives it. */
  readonly value: T;
  /** What stands for a value in the help; an option without is there or not. */
  readonly sign?: string;
  /** What a text has to be. */
  readonly expected?: string;
  /** The value of a text, or undefined if it has none. */
  readonly read: (text: string) => T | undefined;
}

/** Options by name. */
export type Options = Readonly<Record<string, Option<unknown>>>;

/** The values of options. */
export type Values<O extends Options> = {
  readonly [N in keyof O]: O[N] extends Option<infer T> ? T : never;
};

/** A whole number from `least`. */
export function count<D extends number | undefined>(
  about: string,
  value: D,
  least: number = 1,
): Option<D | number> {
  const expected = least === 1 ? "a positive integer" : `an integer from ${least}`;
  const read = (text: string) => {
    const n = Number(text);
    return text.trim() !== "" && Number.isSafeInteger(n) && n >= least ? n : undefined;
  };
  return { about, value, sign: "N", expected, read };
}

/** A seed of random numbers: 32 bits. */
export function seed(about: string): Option<number> {
  const read = (text: string) => /^\d+$/.test(text) && Number(text) < 2 ** 32 ? +text : undefined;
  return { about, value: 0, sign: "N", expected: "an integer in [0, 2^32)", read };
}

/** A positive number. */
export function positive(about: string, value: number): Option<number> {
  const read = (text: string) => {
    const x = Number(text);
    return text.trim() !== "" && x > 0 && x < Infinity ? x : undefined;
  };
  return { about, value, sign: "X", expected: "a positive number", read };
}

/** A text that is not empty, such as a path. */
export function text(about: string, value: string, sign: string): Option<string> {
  const read = (text: string) => text === "" ? undefined : text;
  return { about, value, sign, expected: "a name", read };
}

/** One of some words. */
export function oneOf<W extends string>(about: string, words: readonly [W, ...W[]]): Option<W> {
  const read = (text: string) => words.find((word) => word === text);
  return { about, value: words[0], sign: "NAME", expected: words.join(" or "), read };
}

/** Something that is there or not. */
export function flag(about: string): Option<boolean> {
  return { about, value: false, read: () => true };
}

/** An example as a command. */
export interface Command<O extends Options> {
  /** What is typed after `./dev`: a task, and words that have to follow it. */
  readonly name: string;
  /** What it does, in a sentence or two. */
  readonly about: string;
  readonly options: O;
  /** What the help ends with. */
  readonly notes?: string;
  /** What it does with the values. */
  readonly main: (values: Values<O>) => Promise<void>;
}

/** The help. */
export function help<O extends Options>({ name, about, options, notes }: Command<O>): string {
  const line = (name: string, { about, value, sign }: Omit<Option<unknown>, "read">): string => {
    const initially = sign === undefined || value === "" || value === undefined
      ? ""
      : ` (default ${value})`;
    return `  --${`${name} ${sign ?? ""}`.padEnd(14)}${about}${initially}`;
  };
  return [
    `Usage: ./dev ${name} [options]`,
    about,
    [
      ...Object.entries(options).map(([name, option]) => line(name, option)),
      line("help", { about: "this text", value: false }),
    ].join("\n"),
    ...notes === undefined ? [] : [notes],
  ].join("\n\n");
}

/**
 * The values of the options on a command line, or undefined where it asks for help.
 *
 * @throws {TypeError} If there is anything on it that should not be.
 */
export function valuesOf<O extends Options>(
  { name, options }: Command<O>,
  args: readonly string[],
): Values<O> | undefined {
  const wrong = (is: string, expected: string): never => {
    throw new TypeError(`Cannot ${name}: ${is}, expected ${expected}`);
  };
  const isFlag = (name: string) => options[name]!.sign === undefined;
  const parsed = parseArgs([...args], {
    string: [...Object.keys(options).filter((name) => !isFlag(name)), "_"],
    boolean: [...Object.keys(options).filter(isFlag), "help"],
    unknown: (arg, key) =>
      key === undefined || wrong(`there is no option ${arg}`, "what --help lists"),
  });
  if (parsed.help) return undefined;
  const words = name.split(" ").slice(1), given = parsed._.map(String);
  if (given.join(" ") !== words.join(" ")) {
    wrong(
      given.length === 0 ? `${words.join(" ")} is missing` : `there is ${given.join(" ")}`,
      words.length === 0 ? "options alone" : words.join(" "),
    );
  }
  const values = Object.entries(options).map(([name, option]) => {
    const text: unknown = parsed[name];
    if (isFlag(name)) return [name, text === true];
    if (text === undefined) return [name, option.value];
    return [name, option.read(text as string) ?? wrong(`--${name} is "${text}"`, option.expected!)];
  });
  return Object.fromEntries(values);
}

/** Runs an example with the arguments of this process; ends it with 2 if they are wrong. */
export async function run<O extends Options>(command: Command<O>): Promise<void> {
  let values: Values<O> | undefined;
  try {
    values = valuesOf(command, Deno.args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${help(command)}`);
    Deno.exit(2);
  }
  if (values === undefined) return console.log(help(command));
  try {
    await command.main(values);
  } catch (error) {
    // What the user can do something about is one sentence; what is a bug keeps its stack.
    const known = error instanceof Error &&
      (error.message.startsWith("Cannot ") || error instanceof Deno.errors.NotCapable);
    if (!known) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}

/** A word as a shell reads it. */
export function quoted(word: string): string {
  return /^[\w./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The command line that goes on where a run was stopped. */
export function resuming<O extends Options>(command: Command<O>, values: Values<O>): string {
  const given = Object.entries(command.options).flatMap(([name, { sign, value }]) => {
    const own = values[name];
    return sign === undefined || own === value ? [] : [`--${name} ${quoted(String(own))}`];
  });
  return [`./dev ${command.name} --resume`, ...given].join(" ");
}
