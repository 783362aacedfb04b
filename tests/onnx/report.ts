/**
 * What of the ONNX node tests is not supported, by name and reason: the part of docs/onnx.md that
 * is a list. Run as a program, it writes that list anew.
 *
 * @module
 */
import { caseNames, prepare, type Ready } from "./suite.ts";
import { Unsupported } from "./values.ts";

/** Cases that are ready to be run, and names of the others by reason. */
export interface Sorted {
  readonly ready: readonly Ready[];
  readonly unsupported: ReadonlyMap<string, readonly string[]>;
}

/** All cases, sorted. */
export function sortCases(): Sorted {
  const ready: Ready[] = [], unsupported = new Map<string, string[]>();
  for (const name of caseNames()) {
    try {
      ready.push(prepare(name));
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error;
      const list = unsupported.get(error.message) ?? [];
      unsupported.set(error.message, list);
      list.push(name.replace(/^test_/, ""));
    }
  }
  return { ready, unsupported };
}

/** The list as Markdown. */
export function listOf({ unsupported }: Sorted): string {
  const reasons = [...unsupported].sort(([a], [b]) => a < b ? -1 : 1);
  return reasons.map(([reason, names]) =>
    `- ${reason}: ${names.map((name) => `\`${name}\``).join(", ")}`
  ).join("\n");
}

/** The page that holds the list, after this line. */
export const page: URL = new URL("../../docs/onnx.md", import.meta.url);

/** The line after which the list begins. */
export const heading = "## Not supported";

/** The list that the page holds, a line for each reason, however it was wrapped. */
export function listIn(text: string): string {
  const list = text.slice(text.indexOf(heading) + heading.length);
  return list.trim().replaceAll(/\n {2}/g, " ");
}

if (import.meta.main) {
  const text = await Deno.readTextFile(page), sorted = sortCases();
  const end = text.indexOf(heading) + heading.length;
  await Deno.writeTextFile(page, `${text.slice(0, end)}\n\n${listOf(sorted)}\n`);
}
