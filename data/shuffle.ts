/**
 * Seeded permutations on the host, for the order in which samples are seen. The generator is sfc32
 * (Doty-Humphrey, PractRand), bounded integers come without bias by rejection, and the shuffle is
 * Fisher and Yates's. A permutation is a function of its seed and its stream (the epoch) alone: a
 * run that resumes needs to know these two numbers and nothing else.
 *
 * @module
 */

/** A generator of 32-bit integers whose whole state can be saved. */
export class Generator {
  /** The state, four 32-bit words. Copy it to save it. */
  readonly state: Uint32Array<ArrayBuffer>;

  /**
   * A generator at the start of a stream.
   *
   * @param seed A non-negative safe integer.
   * @param stream Which of the seed's streams; a non-negative safe integer.
   */
  constructor(seed: number, stream = 0) {
    for (const [name, value] of [["seed", seed], ["stream", stream]] as const) {
      if (!Number.isSafeInteger(value) || value < 0) {
        throw new RangeError(
          `Cannot make a generator: the ${name} is ${value}, expected a non-negative safe integer`,
        );
      }
    }
    // Absorbs the four halves one after the other, with rounds between, so that neighbouring seeds
    // and streams have nothing in common.
    this.state = new Uint32Array([0x9e3779b9, 0x243f6a88, 0xb7e15162, 1]);
    for (const half of [seed, seed / 2 ** 32, stream, stream / 2 ** 32]) {
      this.state[0]! ^= Math.floor(half) >>> 0;
      for (let i = 0; i < 12; i++) this.next();
    }
  }

  /** The next integer in [0, 2³²). */
  next(): number {
    const s = this.state;
    const result = (s[0]! + s[1]! + s[3]!) >>> 0;
    s[3]! += 1;
    s[0] = s[1]! ^ (s[1]! >>> 9);
    s[1] = s[2]! + (s[2]! << 3);
    s[2] = ((s[2]! << 21) | (s[2]! >>> 11)) + result;
    return result;
  }

  /** An integer in [0, bound), each as likely as the others; `bound` is in [1, 2³²]. */
  below(bound: number): number {
    const end = 2 ** 32 - 2 ** 32 % bound; // past it, the small remainders would come once more
    let x: number;
    do x = this.next(); while (x >= end);
    return x % bound;
  }
}

/**
 * The values in a random order.
 *
 * @param values What to permute; left as it is.
 * @param seed A non-negative safe integer.
 * @param stream Which of the seed's permutations, the epoch for instance.
 * @returns A permuted copy, the same for the same arguments on every machine.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import * as rg from "@retrograd/retrograd";
 *
 * const rows = Uint32Array.of(0, 1, 2, 3, 4);
 * const { shuffled } = rg.data;
 * assertEquals(shuffled(rows, 7, 0), shuffled(rows, 7, 0));
 * assertEquals(shuffled(rows, 7, 0).sort(), rows);
 * ```
 */
export function shuffled(
  values: Uint32Array,
  seed: number,
  stream = 0,
): Uint32Array<ArrayBuffer> {
  const generator = new Generator(seed, stream);
  const result = Uint32Array.from(values);
  for (let i = result.length - 1; i > 0; i--) {
    const j = generator.below(i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}
