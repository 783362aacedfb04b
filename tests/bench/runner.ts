/** Runs the commands of bench/ as a user would. @module */
import { fromFileUrl } from "@std/path";

/** What a command ended with, and what it printed. */
interface Ended {
  readonly code: number;
  readonly out: string;
  readonly errors: string;
}

/** Runs the program bench/<name>.ts with the arguments given. */
export function runner(name: string): (...args: string[]) => Promise<Ended> {
  const program = fromFileUrl(new URL(`../../bench/${name}.ts`, import.meta.url));
  return async (...args) => {
    const { code, stdout, stderr } = await new Deno.Command("deno", {
      args: ["run", "-q", "-P=bench", program, ...args],
      stdin: "null",
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), errors: text(stderr) };
  };
}
