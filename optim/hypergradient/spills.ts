/**
 * When information buffers spill. A buffer of 32 bits fills by log2(d/n) bits a step; before any
 * could overflow, the 16 low bits of every one are moved out. How many steps that takes follows from
 * the smallest momentum alone and not from data, so a run is cut into segments of one length.
 *
 * @module
 */
import { type Ratio, stepsPerSpill } from "../../checkpoint/buffer.ts";

/** A run in segments, after each of which buffers spill, and steps after the last spill. */
export interface Segments {
  /** Steps in a segment. */
  readonly length: number;
  /** How many segments there are. */
  readonly count: number;
  /** Steps after them. */
  readonly rest: number;
}

/** The segments of a run whose momenta are at least n/d. */
export function segmentsOf(steps: number, least: Ratio): Segments {
  const length = Math.min(steps, stepsPerSpill(least));
  // A spill after the last step would be for nothing.
  const count = steps === 0 ? 0 : Math.ceil(steps / length) - 1;
  return { length, count, rest: steps - count * length };
}

/** Bits per parameter that a run keeps for the way back: the buffer itself and what it spilled. */
export function bitsKept({ count }: Segments): number {
  return 32 + 16 * count;
}
