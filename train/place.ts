/**
 * Where a run was: the adapter, its driver, Deno, and the ways that kernels were tuned to. It is kept
 * beside the saved state. Every sum has one order and tuned kernels have the plain ones' bits, so on
 * the same adapter a resumed run gives what one in one piece would have given, tuned or not. Another
 * adapter rounds the functions that no standard fixes (exp, tanh, division) in its own way.
 *
 * @module
 */
import { currentContext } from "../runtime/context.ts";
import { deviceInfo } from "../runtime/init.ts";
import { tunedWays } from "../runtime/tune.ts";

/** Where the metadata of a file keeps it. */
export const placeKey = "retrograd.place";

/** What bits depend on. */
function place(): Readonly<Record<string, string>> {
  const { name, driver } = deviceInfo();
  return { adapter: name, driver, deno: Deno.version.deno };
}

/** Metadata that says where a run is; nothing where there is no device. */
export function encodePlace(): Record<string, string> {
  if (currentContext() === undefined) return {};
  return { [placeKey]: JSON.stringify({ ...place(), ways: tunedWays() }) };
}

/** A sentence for whoever goes on in another place than it was saved in. */
export function elsewhere(saved: string = "null"): string | undefined {
  if (currentContext() === undefined) return undefined;
  let then: unknown;
  try {
    then = JSON.parse(saved);
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
