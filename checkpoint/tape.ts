/**
 * The codec of the difference tape ("Tricks from Deep Learning", Baydin, Pearlmutter & Siskind
 * 2016): what an inverse gets wrong, stored so that the state it gave can be put right to the bit.
 * This is the oracle for the kernels, in the same blocks and the same bits; only the places of the
 * blocks in the arena may differ.
 *
 * The bits of a float as an integer in the order of the floats (a step per representable number);
 * the difference of truth and guess modulo 2^32, so that every pattern comes back, NaN and −0 too;
 * zigzag, so that small differences of either sign are small codes. Most codes are 0, and a few are
 * large, so a block of {@linkcode blockSize} codes is patched (Zukowski, Héman, Nes & Boncz 2006):
 *
 * - base: the low w bits of every code;
 * - marks, where entries are many (g = 0): one bit for each code, set if it has more than w bits;
 * - entries, one for each code of more than w bits: the distance from the one before in g bits and
 *   the rest of the code, less one, in v bits. A distance too long is several entries, all but the
 *   last with the largest distance and no code; a rest too large has the largest v bits, and
 * - escapes: these codes in full, in e bits, which are enough for all of the block.
 *
 * Each part begins at a word. A block has a header of two words: its place in the arena, and w, g,
 * v, e and the number of entries. All fields are of fixed width within a block, so that encoding
 * and decoding are prefix sums over a workgroup. Invariant: decode(encode(truth, guess), guess) =
 * truth.
 *
 * @module
 */
import { get, mask, put, wordsOf } from "./bits.ts";

/** Codes in a block. */
export const blockSize = 1024;
/** Words of a block's header. */
export const headerWords = 2;

/** Words for the blocks of many steps, last in, first out. */
export interface Arena {
  /** The memory, zero where nothing is. */
  readonly words: Uint32Array;
  /** Words reserved so far, those past the end counted too. */
  cursor: number;
}

/** An empty arena. */
export function makeArena(words: number): Arena {
  return { words: new Uint32Array(words), cursor: 0 };
}

/**
 * True if blocks were lost because the arena was full; {@linkcode Arena.cursor} says what it needs.
 */
export function overflowed(arena: Arena): boolean {
  return arena.cursor > arena.words.length;
}

/**
 * Float bits as an integer in the order of the floats, as u32. Its own inverse is {@linkcode
 * unordered}.
 */
export function ordered(bits: number): number {
  return (bits >>> 31 === 1 ? ~bits : bits | 0x80000000) >>> 0;
}

/** Inverse of {@linkcode ordered}. */
export function unordered(order: number): number {
  return (order >>> 31 === 1 ? order & 0x7fffffff : ~order) >>> 0;
}

/** The code of the difference between two floats, given as bits: 0 if equal, small if near. */
export function codeOf(truth: number, guess: number): number {
  const difference = (ordered(truth) - ordered(guess)) | 0;
  return (difference << 1 ^ difference >> 31) >>> 0;
}

/** The bits of the float that has this code against a guess. */
export function patch(guess: number, code: number): number {
  const difference = code >>> 1 ^ -(code & 1);
  return unordered((ordered(guess) + difference) >>> 0);
}

/** How a block is packed. */
export interface Packing {
  /** Bits of each code in the base. */
  readonly w: number;
  /** Bits of an entry's distance; 0 for marks. */
  readonly g: number;
  /** Bits of an entry's rest. */
  readonly v: number;
  /** Bits of an escape. */
  readonly e: number;
}

/** Fields of the second word of a block's header: where each begins, and its bits. */
export const headerFields: {
  readonly [F in keyof Packing | "entries"]: readonly [shift: number, bits: number];
} = { w: [0, 6], g: [6, 4], v: [10, 5], e: [15, 6], entries: [21, 11] };

/** Number of bits of a code: 0 for 0. */
function bitLength(code: number): number {
  return 32 - Math.clz32(code);
}

/**
 * The packing that should take the fewest words (each part begins a word of its own), from how many codes have each number of bits
 * (`lengths[0…32]`). A function of whole numbers only, the same wherever it runs.
 */
export function choosePacking(lengths: ArrayLike<number>, count: number): Packing {
  /** Codes of more than k bits. */
  const above = new Uint32Array(34);
  for (let k = 31; k >= 0; k--) above[k] = above[k + 1]! + lengths[k + 1]!;
  let e = 32;
  while (e > 0 && lengths[e] === 0) e--;
  let best: Packing = { w: e, g: 0, v: 0, e };
  let least = wordsOf(e * count);
  for (let w = e - 1; w >= 0; w--) {
    const entries = above[w]!;
    // Twice the mean distance, rounded up to a power of 2: about one entry in seven is a filler.
    const wide = bitLength(Math.floor(count / entries)) + 1;
    const g = entries * wide < count ? wide : 0;
    const marks = wordsOf(w * count) + (g === 0 ? wordsOf(count) : 0);
    for (let v = 0; v <= Math.min(16, e - w); v++) {
      const words = marks + wordsOf(entries * (g + v)) + wordsOf(e * above[w + v]!);
      if (words < least) [least, best] = [words, { w, g, v, e }];
    }
  }
  return best;
}

/** Where the parts of a block of `count` codes lie, in words from its place. */
interface Layout {
  readonly marks: number;
  readonly entries: number;
  readonly escapes: number;
  /** Words of the block. */
  readonly words: number;
}

function layout(packing: Packing, count: number, entered: number, escaped = 0): Layout {
  const { w, g, v, e } = packing;
  const marks = wordsOf(w * count);
  const entries = marks + (g === 0 && entered > 0 ? wordsOf(count) : 0);
  const escapes = entries + wordsOf((g + v) * entered);
  return { marks, entries, escapes, words: escapes + wordsOf(e * escaped) };
}

/** Packs the codes of one block; gives the second word of its header and the block's words. */
function pack(codes: Uint32Array): { shape: number; words: Uint32Array } {
  const lengths = new Uint32Array(33);
  for (const code of codes) lengths[bitLength(code)]!++;
  const packing = choosePacking(lengths, codes.length);
  const { w, g, v, e } = packing;
  const longest = mask(g);
  const entries: { readonly gap: number; readonly rest: number }[] = [];
  const marked: number[] = [];
  const escapes: number[] = [];
  let previous = -1;
  codes.forEach((code, i) => {
    if (bitLength(code) <= w) return;
    let gap = g === 0 ? 0 : i - previous - 1;
    for (; g > 0 && gap >= longest; gap -= longest) entries.push({ gap: longest, rest: 0 });
    entries.push({ gap, rest: Math.min((code >>> w) - 1, mask(v)) });
    marked.push(i);
    if (bitLength(code) > w + v) escapes.push(code);
    previous = i;
  });
  const parts = layout(packing, codes.length, entries.length, escapes.length);
  const words = new Uint32Array(parts.words);
  const low = mask(w);
  codes.forEach((code, i) => put(words, i * w, w, (code & low) >>> 0));
  if (g === 0) marked.forEach((i) => put(words, parts.marks * 32 + i, 1, 1));
  entries.forEach(({ gap, rest }, k) => {
    const bit = parts.entries * 32 + k * (g + v);
    put(words, bit, g, gap);
    put(words, bit + g, v, rest);
  });
  escapes.forEach((code, k) => put(words, parts.escapes * 32 + k * e, e, code));
  const fields = { ...packing, entries: entries.length };
  const shape = Object.entries(headerFields)
    .reduce((sum, [name, [at]]) => sum + fields[name as keyof typeof fields] * 2 ** at, 0);
  return { shape, words };
}

/** Unpacks a block of `codes.length` codes. */
function unpack(shape: number, words: Uint32Array, codes: Uint32Array): void {
  const field = (name: keyof typeof headerFields): number => {
    const [at, bits] = headerFields[name];
    return (shape >>> at & mask(bits)) >>> 0;
  };
  const packing = { w: field("w"), g: field("g"), v: field("v"), e: field("e") };
  const { w, g, v, e } = packing;
  const entries = field("entries");
  const parts = layout(packing, codes.length, entries);
  for (let i = 0; i < codes.length; i++) codes[i] = get(words, i * w, w);
  let at = -1;
  let escapes = 0;
  for (let k = 0; k < entries; k++) {
    const bit = parts.entries * 32 + k * (g + v);
    if (g === 0) { do at++; while (get(words, parts.marks * 32 + at, 1) === 0); }
    else {
      const gap = get(words, bit, g);
      at += gap;
      if (gap === mask(g)) continue;
      at++;
    }
    const rest = get(words, bit + g, v);
    codes[at] = rest === mask(v)
      ? get(words, parts.escapes * 32 + e * escapes++, e)
      : codes[at]! | (rest + 1) << w;
  }
}

/**
 * Appends to the arena what is wrong with a guess, and gives the headers of its blocks. An arena
 * that is full takes no more and counts what it would have needed: see {@linkcode overflowed}.
 *
 * @param truth Bits of the floats that were.
 * @param guess Bits of the floats that the inverse gives.
 */
export function encode(truth: Uint32Array, guess: Uint32Array, arena: Arena): Uint32Array {
  const blocks = Math.ceil(truth.length / blockSize);
  const headers = new Uint32Array(headerWords * blocks);
  for (let block = 0; block < blocks; block++) {
    const start = block * blockSize;
    const codes = truth.slice(start, start + blockSize);
    codes.forEach((bits, i) => codes[i] = codeOf(bits, guess[start + i]!));
    const { shape, words } = pack(codes);
    const place = arena.cursor;
    arena.cursor += words.length;
    if (!overflowed(arena)) arena.words.set(words, place);
    headers.set([place, shape], headerWords * block);
  }
  return headers;
}

/**
 * Puts a guess right: the bits that `encode` was given. Takes the blocks, which must be the last
 * there are, out of the arena.
 *
 * @throws {Error} If the arena had overflowed: what is in it is not all there was.
 */
export function decode(headers: Uint32Array, guess: Uint32Array, arena: Arena): Uint32Array {
  if (overflowed(arena)) {
    throw new Error(
      `Cannot decode a tape: its arena of ${arena.words.length} words overflowed, expected ` +
        `${arena.cursor} at least`,
    );
  }
  const truth = new Uint32Array(guess.length);
  for (let start = 0, h = 0; start < guess.length; start += blockSize, h += headerWords) {
    const codes = truth.subarray(start, start + blockSize);
    unpack(headers[h + 1]!, arena.words.subarray(headers[h]!), codes);
    codes.forEach((code, i) => codes[i] = patch(guess[start + i]!, code));
  }
  if (headers.length > 0) {
    arena.cursor = headers[0]!;
    // Fields are added by or: what is taken out must leave zeros, as it does on a device.
    arena.words.fill(0, arena.cursor);
  }
  return truth;
}
