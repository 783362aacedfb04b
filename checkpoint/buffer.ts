/**
 * The information buffer of Maclaurin, Duvenaud & Adams 2015: exact multiplication of an integer by
 * a rational n/d, undone by dividing. The remainder that the division by d would lose goes into a
 * buffer as a digit of base d, and a digit of base n, which the product has room for, comes out of
 * it, so that the buffer grows by log2(d/n) bits a step and nothing is lost.
 *
 * Two forms: the oracle, whose buffer is a BigInt that never overflows, and what a device without
 * 64-bit integers runs, an i32 value and a u32 buffer of which 16 low bits are moved to a tape
 * before any could overflow. When that is depends on the ratios alone and not on the data, so the
 * schedule is known without reading anything back. Invariant: division is floor division and
 * remainders are not negative; truncating would not reverse for negative values.
 *
 * @module
 */

/** A factor n/d, both whole and positive; for the u32 form less than 2^16. */
export interface Ratio {
  /** Numerator. */
  readonly n: number;
  /** Denominator. */
  readonly d: number;
}

/** A value and the buffer that holds what its products have lost. */
export interface Buffered {
  /** The value, a whole number. */
  readonly value: bigint;
  /** What it has lost, not negative. */
  readonly buffer: bigint;
}

/** Floor quotient and non-negative remainder. */
function divide(a: bigint, by: bigint): readonly [quotient: bigint, remainder: bigint] {
  const remainder = ((a % by) + by) % by;
  return [(a - remainder) / by, remainder];
}

/** The value times n/d, about; exactly undone by the ratio upside down. */
export function scale({ value, buffer }: Buffered, n: bigint, d: bigint): Buffered {
  const [quotient, lost] = divide(value, d);
  const [rest, digit] = divide(buffer * d + lost, n);
  return { value: quotient * n + digit, buffer: rest };
}

/** Bits moved from every buffer to the tape at a time. */
const spilled = 16;

/** The largest that a buffer can be after a multiplication. */
function after(bound: number, { n, d }: Ratio): number {
  return Math.floor((bound * d + d - 1) / n);
}

/**
 * How many multiplications by factors of at least n/d fit between two spills, whatever the data;
 * Infinity for 1, which loses nothing.
 */
export function stepsPerSpill(least: Ratio): number {
  if (least.n === least.d) return Infinity;
  let steps = 0;
  for (let bound = 2 ** spilled - 1;; steps++) {
    bound = after(bound, least);
    if (bound >= 2 ** 32) return steps;
  }
}

/**
 * How large a buffer can be, as the host knows it without looking at one.
 *
 * @example Which of 1000 multiplications by 9/10 spill first
 * ```ts
 * import { BufferBound } from "./buffer.ts";
 * const bound = new BufferBound();
 * const spills = Array.from({ length: 1000 }, () => bound.multiply({ n: 9, d: 10 }));
 * ```
 */
export class BufferBound {
  #bound = 0;

  /** The largest value that any buffer can have. */
  get bound(): number {
    return this.#bound;
  }

  /**
   * Takes a multiplication into account. True if 16 bits of every buffer must go to the tape first.
   *
   * @throws {RangeError} If the ratio is not one of whole numbers with 0 < n <= d < 2^16.
   */
  multiply({ n, d }: Ratio): boolean {
    if (!(Number.isInteger(n) && Number.isInteger(d) && 0 < n && n <= d && d < 2 ** 16)) {
      throw new RangeError(
        `Cannot multiply by ${n}/${d}, expected whole numbers with 0 < n <= d < 65536`,
      );
    }
    const ratio = { n, d };
    let next = after(this.#bound, ratio);
    const spills = next >= 2 ** 32;
    if (spills) next = after(Math.floor(this.#bound / 2 ** spilled), ratio);
    // Always fits: what is left of a spill is less than 2^16, and so is d.
    this.#bound = next;
    return spills;
  }
}

/**
 * Multiplies every value by n/d in place, in 32-bit arithmetic that does not overflow: the buffer
 * is divided before it is multiplied. The buffers must have room; see {@linkcode BufferBound}.
 */
export function scaleWords(values: Int32Array, buffers: Uint32Array, { n, d }: Ratio): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    let quotient = (value / d) | 0;
    let lost = value - Math.imul(quotient, d);
    if (lost < 0) {
      lost += d;
      quotient--;
    }
    // With B = q·n + r: ⌊(B·d + lost)/n⌋ = q·d + ⌊(r·d + lost)/n⌋, and r·d + lost < n·d < 2^32.
    const buffer = buffers[i]!;
    const q = Math.floor(buffer / n);
    const low = (Math.imul(buffer - q * n, d) + lost) >>> 0;
    const carry = Math.floor(low / n);
    values[i] = Math.imul(quotient, n) + (low - carry * n);
    buffers[i] = Math.imul(q, d) + carry;
  }
}

/** Buffers for an array of values, with the tape they spill to: the device's scheme on the host. */
export class InformationBuffer {
  readonly #buffers: Uint32Array;
  readonly #bound: BufferBound = new BufferBound();
  readonly #tape: Uint16Array[] = [];
  readonly #history: { readonly ratio: Ratio; readonly spills: boolean }[] = [];

  /** Empty buffers for so many values. */
  constructor(count: number) {
    this.#buffers = new Uint32Array(count);
  }

  /** Multiplies the values by n/d, in place. */
  multiply(values: Int32Array, ratio: Ratio): void {
    const spills = this.#bound.multiply(ratio);
    this.#history.push({ ratio, spills });
    if (spills) {
      this.#tape.push(Uint16Array.from(this.#buffers));
      this.#buffers.forEach((buffer, i) => this.#buffers[i] = buffer >>> spilled);
    }
    scaleWords(values, this.#buffers, ratio);
  }

  /**
   * Undoes the last multiplication that is not undone yet, in place, to the bit.
   *
   * @throws {Error} If there is none.
   */
  undo(values: Int32Array): void {
    const last = this.#history.pop();
    if (last === undefined) {
      throw new Error("Cannot undo a multiplication: none is left, expected one");
    }
    scaleWords(values, this.#buffers, { n: last.ratio.d, d: last.ratio.n });
    if (!last.spills) return;
    const low = this.#tape.pop()!;
    this.#buffers.forEach((buffer, i) => this.#buffers[i] = buffer << spilled | low[i]!);
  }

  /** Bits per value: what is allocated, and what the buffers' sizes amount to, log2 B. */
  bits(): { readonly allocated: number; readonly information: number } {
    const tape = this.#tape.length * spilled;
    let information = 0;
    for (const buffer of this.#buffers) information += Math.log2(buffer + 1);
    return { allocated: 32 + tape, information: information / this.#buffers.length + tape };
  }
}
