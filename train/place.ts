/**
 * Where a run was: the adapter, its driver, Deno, and the ways that kernels were tuned to. It is kept
 * beside the saved state. Every sum has one order and tuned kernels have the plain ones' bits, so on
 * the same adapter a resumed run gives what one in one piece would have given, tuned or not. Another
 * adapter rounds the functions that no standard fixes (exp, tanh, division) in its own way.
 *
 * @module
 */
import { deviceInfo } from "../runtime/init.ts";
import { tunedWays } from "../runtime/tune.ts";

const KEY = "retrograd.place";

/** What bits depend on. */
function place(): Readonly<Record<string, string>> {
  const { name, driver } = deviceInfo();
  return { adapter: name, driver, deno: Deno.version.deno };
}

/** Metadata that says where a run is. */
export function encodePlace(): Record<string, string> {
  return { [KEY]: JSON.stringify({ ...place(), ways: tunedWays() }) };
}

/** A sentence for whoever resumes a run in another place than it was saved in. */
export function elsewhere(metadata: Readonly<Record<string, string>>): string | undefined {
  let then: unknown;
  try {
    then = JSON.parse(metadata[KEY] ?? "null");
  } catch {
    return undefined; // It was only ever said for information.
  }
  if (typeof then !== "object" || then === null) return undefined;
  const now = place(), before = then as typeof now;
  // A version that nobody may ask for says nothing.
  const moved = Object.keys(now).filter((key) =>
    before[key] !== now[key] && before[key] && now[key]
  );
  if (moved.length === 0) return undefined;
  const list = moved.map((key) => `${key} ${before[key]}, now ${now[key]}`);
  return `resumed elsewhere (${list.join("; ")}): sums keep their order, but other drivers round ` +
    "functions otherwise, so bits may differ from those of a run in one piece";
}
