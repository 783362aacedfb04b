/**
 * What a contestant's process says to its parent: lines on the standard output that begin with a
 * mark, since libraries print there too.
 *
 * @module
 */
import type { Measured } from "./measure.ts";

/** One message. */
export type Message =
  /** The first call, or a round, is done. */
  | { readonly is: "ready" }
  /** The library has no such workload. */
  | { readonly is: "absent" }
  | { readonly is: "failed"; readonly reason: string }
  | { readonly is: "done"; readonly measured: Measured };

const mark = "@bench ";

/** Writes a message. */
export function say(message: Message): void {
  const bytes = new TextEncoder().encode(`\n${mark}${JSON.stringify(message)}\n`);
  for (let from = 0; from < bytes.length;) from += Deno.stdout.writeSync(bytes.subarray(from));
}

/** The message in a line, if there is one. */
export function parse(line: string): Message | undefined {
  return line.startsWith(mark) ? JSON.parse(line.slice(mark.length)) as Message : undefined;
}
