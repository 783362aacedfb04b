/**
 * What came of probes: whether ways of computing the same had the same bits on a device.
 *
 * @module
 */
import type { Probes } from "../compile/program.ts";

/** What came of the probes on one device, by key. */
export class Verdicts implements Probes {
  readonly #known = new Map<string, boolean>();
  readonly #begun = new Set<string>();

  /** See {@linkcode Probes}. */
  same(key: string): boolean | undefined {
    return this.#known.get(key);
  }

  /** Whether a probe was made, or is under way. */
  isBegun(key: string): boolean {
    return this.#known.has(key) || this.#begun.has(key);
  }

  /** Notes that a probe is under way. */
  begin(key: string): void {
    this.#begun.add(key);
  }

  /** Takes over what came of a probe. Bits that once differed are not the same later. */
  learn(key: string, same: boolean): void {
    this.#known.set(key, same && this.#known.get(key) !== false);
  }
}
