/**
 * The seed of every property test that does not choose its own: the same in every run, so that a
 * change is judged by what it changes, and another with RETROGRAD_SEED, to look for more.
 *
 * @module
 */
import fc from "fast-check";

/** RETROGRAD_SEED, or a fixed number. */
export function seed(): number {
  return Number(Deno.env.get("RETROGRAD_SEED") ?? 20240607);
}

fc.configureGlobal({ seed: seed() });
