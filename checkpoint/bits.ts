/**
 * Fields of 0 to 32 bits in an array of words, from the low bits of the first word up.
 *
 * @module
 */

/** The lowest bits set: 2^width − 1. */
export function mask(width: number): number {
  return width === 32 ? 0xffffffff : (1 << width) - 1;
}

/** Words that hold so many bits. */
export function wordsOf(bits: number): number {
  return Math.ceil(bits / 32);
}

/** Sets `width` bits from bit `at` on, which are 0, to a value that fits. */
export function put(words: Uint32Array, at: number, width: number, value: number): void {
  if (width === 0) return;
  const word = at >>> 5;
  const shift = at & 31;
  words[word] = words[word]! | value << shift;
  // A shift by 32 is none at all, hence the second condition.
  if (shift + width > 32 && shift > 0) words[word + 1] = words[word + 1]! | value >>> (32 - shift);
}

/** The `width` bits from bit `at` on. */
export function get(words: Uint32Array, at: number, width: number): number {
  if (width === 0) return 0;
  const word = at >>> 5;
  const shift = at & 31;
  let value = words[word]! >>> shift;
  if (shift + width > 32) value |= words[word + 1]! << (32 - shift);
  return (value & mask(width)) >>> 0;
}
