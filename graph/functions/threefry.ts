/**
 * Threefry-2x32 with 20 rounds, on nodes: a keyed bijection of pairs of words, good enough that a
 * plain counter comes out as independent random numbers. Additions, rotations and exclusive ors
 * only, so it fuses into whatever uses the numbers and gives the same again when recomputed.
 *
 * Salmon, Moraes, Dror, Shaw, Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011.
 *
 * @module
 */
import { binary, fill } from "../build.ts";
import type { Node } from "../node.ts";
import { add, and, mul, or, xor } from "./operators.ts";

const PARITY = 0x1bd11bda;
const rotations = [[13, 15, 26, 6], [17, 29, 16, 24]] as const;
/** Groups of four rounds; the key goes in before, between and after them. */
const GROUPS = 5;

const word = (value: number): Node => fill(value, [], "u32");

function rotate(x: Node, places: number): Node {
  return or(
    binary("shiftLeft", x, word(places)),
    binary("shiftRight", x, word(32 - places)),
  );
}

/** Two words by a key of two words; u32, broadcast. */
export function threefry(
  key: readonly [Node, Node],
  counter: readonly [Node, Node],
): [Node, Node] {
  const schedule = [key[0], key[1], xor(xor(key[0], key[1]), word(PARITY))];
  let x = add(counter[0], schedule[0]!), y = add(counter[1], schedule[1]!);
  for (let group = 0; group < GROUPS; group++) {
    for (const places of rotations[group % 2]!) {
      x = add(x, y);
      y = xor(rotate(y, places), x);
    }
    x = add(x, schedule[(group + 1) % 3]!);
    y = add(y, add(schedule[(group + 2) % 3]!, word(group + 1)));
  }
  return [x, y];
}

/** Two words, on the host. */
export type Words = readonly [number, number];

/** The same of numbers, on the host. */
export function threefryOf(key: Words, counter: Words): Words {
  const schedule = [key[0], key[1], key[0] ^ key[1] ^ PARITY];
  let x = counter[0] + schedule[0]! | 0, y = counter[1] + schedule[1]! | 0;
  for (let group = 0; group < GROUPS; group++) {
    for (const places of rotations[group % 2]!) {
      x = x + y | 0;
      y = (y << places | y >>> 32 - places) ^ x;
    }
    x = x + schedule[(group + 1) % 3]! | 0;
    y = y + schedule[(group + 2) % 3]! + group + 1 | 0;
  }
  return [x >>> 0, y >>> 0];
}

/** The upper word of the 64-bit product of a word and a constant, and the lower one. */
export function multiplyWide(a: Node, constant: number): { high: Node; low: Node } {
  const mask = word(0xffff), half = word(16);
  const lower = (x: Node) => and(x, mask);
  const upper = (x: Node) => binary("shiftRight", x, half);
  const times = (x: Node, n: number) => mul(x, word(n));
  const bl = constant & 0xffff, bh = constant >>> 16;
  // No sum below exceeds 2^32 - 1: (2^16 - 1)² + 2·(2^16 - 1) is exactly that.
  const mid = add(times(upper(a), bl), upper(times(lower(a), bl)));
  const cross = add(times(lower(a), bh), lower(mid));
  return {
    high: add(add(times(upper(a), bh), upper(mid)), upper(cross)),
    low: times(a, constant),
  };
}
