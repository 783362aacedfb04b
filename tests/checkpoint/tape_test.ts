/** The difference tape's codec: every bit pattern comes back, and few bits are needed. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import "../seed.ts";
import { get, mask, put, wordsOf } from "../../checkpoint/bits.ts";
import {
  blockSize,
  choosePacking,
  codeOf,
  decode,
  encode,
  headerWords,
  makeArena,
  ordered,
  overflowed,
  patch,
  unordered,
} from "../../checkpoint/tape.ts";
import { normal, sequence } from "./random.ts";

const seed = 160607;
console.log(`tape_test: seed ${seed}`);

const hostile = [NaN, 0, -0, Infinity, -Infinity, 1e-45, -1e-45, 1.1754942e-38, 1, -1, 3.4e38]
  .map((x) => bitsOf(Float32Array.of(x))[0]!)
  // NaNs of either sign with payloads, quiet and signalling.
  .concat([0x7f800001, 0xffc12345, 0xffffffff, 0x7fffffff, 0x80000000]);

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

Deno.test("put() and get() keep fields of any width apart", () => {
  const field = fc.integer({ min: 0, max: 32 }).chain((width) =>
    fc.tuple(fc.constant(width), fc.integer({ min: 0, max: mask(width) >>> 0 }))
  );
  fc.assert(fc.property(fc.array(field), (fields) => {
    const words = new Uint32Array(wordsOf(fields.reduce((sum, [width]) => sum + width, 0)));
    let at = 0;
    for (const [width, value] of fields) {
      put(words, at, width, value);
      at += width;
    }
    at = 0;
    for (const [width, value] of fields) {
      assertEquals(get(words, at, width), value);
      at += width;
    }
  }));
});

Deno.test("ordered() is the order of the floats", () => {
  const values = [-Infinity, -3.4e38, -1, -1e-45, -0, 0, 1e-45, 1, 3.4e38, Infinity];
  const orders = values.map((x) => ordered(bitsOf(Float32Array.of(x))[0]!));
  assertEquals(orders, orders.toSorted((a, b) => a - b));
  assertEquals(orders[5]! - orders[4]!, 1);
  for (const bits of hostile) assertEquals(unordered(ordered(bits)), bits);
});

Deno.test("codeOf() is small for neighbours, and patch() undoes it for any bits", () => {
  assertEquals(codeOf(0x3f800000, 0x3f800000), 0);
  assertEquals([codeOf(0x3f800001, 0x3f800000), codeOf(0x3f7fffff, 0x3f800000)], [2, 1]);
  for (const truth of hostile) {
    for (const guess of hostile) assertEquals(patch(guess, codeOf(truth, guess)), truth);
  }
});

/** Encodes and decodes; gives the words that it took, headers included. */
function roundTrip(truth: Uint32Array, guess: Uint32Array): number {
  const arena = makeArena(truth.length + 64);
  arena.cursor = 3;
  const headers = encode(truth, guess, arena);
  const words = arena.cursor - 3 + headers.length;
  assertEquals(decode(headers, guess, arena), truth);
  assertEquals(arena.cursor, headers.length > 0 ? 3 : arena.cursor);
  assert(arena.words.every((word) => word === 0), "what was taken out is still there");
  return words;
}

Deno.test("decode() gives back what encode() was given, whatever it is", () => {
  const bits = fc.oneof(fc.constantFrom(...hostile), fc.integer({ min: 0, max: 0xffffffff }));
  /** Differences of every kind, from all equal to all random, so that every packing is met. */
  const pairs = fc.tuple(
    fc.array(bits, { minLength: 1, maxLength: 40 }),
    fc.nat(2500),
    fc.integer({ min: 0, max: 32 }),
    fc.integer({ min: 1, max: 400 }),
    fc.nat(2 ** 31),
  );
  const seen = new Set<string>();
  fc.assert(
    fc.property(pairs, ([base, count, width, rarity, seed]) => {
      const random = sequence(seed);
      const guess = Uint32Array.from({ length: count }, (_, i) => base[i % base.length]!);
      const truth = guess.map((bits) => {
        const rare = random() * rarity < 1;
        const size = rare ? width : Math.max(0, width - 12);
        return patch(bits, Math.floor(random() * 2 ** size));
      });
      const words = roundTrip(truth, guess);
      const blocks = Math.ceil(count / blockSize);
      assert(words <= count + (headerWords + 1) * blocks, `${words} words for ${count}`);
      const lengths = new Uint32Array(33);
      truth.forEach((bits, i) => lengths[32 - Math.clz32(codeOf(bits, guess[i]!))]!++);
      const { w, g, v } = choosePacking(lengths, count);
      seen.add(w === 0 ? g === 0 ? "marks" : "gaps" : g === 0 ? "base" : "both");
      assert(w + v <= 32);
    }),
    { numRuns: 300 },
  );
  assert(seen.has("gaps") && seen.has("base"), [...seen].join());
  assertEquals(
    roundTrip(Uint32Array.from(hostile), Uint32Array.from(hostile.toReversed())) > 0,
    true,
  );
  assertEquals(roundTrip(new Uint32Array(0), new Uint32Array(0)), 0);
});

Deno.test("encode() spends nothing but headers on a perfect inverse", () => {
  const state = bitsOf(Float32Array.from({ length: 5000 }, (_, i) => Math.sin(i)));
  assertEquals(roundTrip(state, state), headerWords * 5);
});

Deno.test("a full arena says what it would have needed, and decodes nothing", () => {
  const random = sequence(seed);
  const truth = Uint32Array.from({ length: 3000 }, () => random() * 2 ** 32);
  const guess = new Uint32Array(3000);
  const small = makeArena(1500);
  const headers = encode(truth, guess, small);
  assert(overflowed(small));
  assertThrows(
    () => decode(headers, guess, small),
    Error,
    `Cannot decode a tape: its arena of 1500 words overflowed, expected ${small.cursor} at least`,
  );
  const enough = makeArena(small.cursor);
  const again = encode(truth, guess, enough);
  assert(!overflowed(enough));
  assertEquals(decode(again, guess, enough), truth);
});

/** A reversible step in f32 on a state, and its inverse. */
interface Step {
  advance(state: Float32Array, step: number): void;
  invert(state: Float32Array, step: number): void;
}

/** Runs there with the tape and back without the states; gives bits an element and step. */
function run(state: Float32Array, { advance, invert }: Step, steps: number): number {
  const arena = makeArena(state.length * steps);
  const headers: Uint32Array[] = [];
  const states: Uint32Array[] = [];
  for (let step = 0; step < steps; step++) {
    const truth = bitsOf(state.slice());
    advance(state, step);
    const guess = state.slice();
    invert(guess, step);
    headers.push(encode(truth, bitsOf(guess), arena));
    states.push(truth);
  }
  const words = arena.cursor + headers.length * headers[0]!.length;
  for (let step = steps - 1; step >= 0; step--) {
    invert(state, step);
    state.set(new Float32Array(decode(headers[step]!, bitsOf(state), arena).buffer));
    assertEquals(bitsOf(state), states[step]);
  }
  return 32 * words / (state.length * steps);
}

const f = Math.fround;

/** Kick–drift–kick; positions in the first half of the state, velocities in the second. */
function leapfrog(h: number, field: (x: Float32Array, out: Float32Array) => void): Step {
  const half = f(h / 2);
  const kick = (state: Float32Array, sign: number): void => {
    const n = state.length / 2;
    const force = new Float32Array(n);
    field(state.subarray(0, n), force);
    for (let i = 0; i < n; i++) state[n + i] = f(state[n + i]! + sign * f(half * force[i]!));
  };
  const drift = (state: Float32Array, sign: number): void => {
    const n = state.length / 2;
    for (let i = 0; i < n; i++) state[i] = f(state[i]! + sign * f(f(h) * state[n + i]!));
  };
  const both = (state: Float32Array, sign: number): void => {
    kick(state, sign);
    drift(state, sign);
    kick(state, sign);
  };
  return { advance: (state) => both(state, 1), invert: (state) => both(state, -1) };
}

/** Couplings y1 = x1 + F(x2), y2 = x2 + G(y1), F and G being two random layers with tanh. */
function coupling(width: number, blocks: number, gain: number, random: () => number): Step {
  const half = width / 2;
  const matrix = (scale: number): Float32Array =>
    Float32Array.from({ length: half * half }, () => scale * normal(random) / Math.sqrt(half));
  const nets = Array.from({ length: 2 * blocks }, () => [matrix(1), matrix(gain)] as const);
  const add = (state: Float32Array, to: number, net: number, sign: number): void => {
    const [first, second] = nets[net]!;
    for (let row = 0; row < state.length; row += width) {
      const input = state.subarray(row + half - to, row + width - to);
      const hidden = multiply(first, input).map(Math.tanh);
      multiply(second, hidden).forEach((y, i) => {
        state[row + to + i] = f(state[row + to + i]! + sign * y);
      });
    }
  };
  return {
    advance: (state, step) => {
      add(state, 0, 2 * step, 1);
      add(state, half, 2 * step + 1, 1);
    },
    invert: (state, step) => {
      add(state, half, 2 * step + 1, -1);
      add(state, 0, 2 * step, -1);
    },
  };
}

function multiply(matrix: Float32Array, vector: Float32Array): Float32Array {
  return vector.map((_, j) => {
    let sum = 0;
    for (let k = 0; k < vector.length; k++) {
      sum = f(sum + f(matrix[j * vector.length + k]! * vector[k]!));
    }
    return sum;
  });
}

Deno.test("the tape of leapfrog takes less than .9 bits an element and step", () => {
  const random = sequence(seed);
  const pendulums = (x: Float32Array, out: Float32Array): void =>
    x.forEach((angle, i) => out[i] = -f(Math.sin(angle)));
  const chain = (x: Float32Array, out: Float32Array): void =>
    x.forEach((angle, i) => {
      const [left, right] = [x[(i || x.length) - 1]!, x[(i + 1) % x.length]!];
      out[i] = f(f(f(left - angle) + f(right - angle)) - f(Math.sin(angle)));
    });
  for (const [name, field] of Object.entries({ pendulums, chain })) {
    const state = Float32Array.from({ length: 4096 }, () => normal(random));
    const bits = run(state, leapfrog(0.05, field), 300);
    console.log(`leapfrog, ${name}, h = .05: ${bits.toFixed(3)} bits an element and step`);
    assert(bits <= 0.9);
  }
});

Deno.test("the tape of additive couplings takes less than 1.5 bits an element and step", () => {
  const [width, rows, blocks] = [64, 64, 12];
  const rates: string[] = [];
  for (const [gain, most] of [[0.03, 0.7], [0.1, 1.5], [0.3, 2]] as const) {
    const random = sequence(seed);
    const state = Float32Array.from({ length: width * rows }, () => normal(random));
    const bits = run(state, coupling(width, blocks, gain, random), blocks);
    rates.push(`${bits.toFixed(3)} at gain ${gain}`);
    assert(bits <= most, rates.at(-1));
  }
  console.log(`couplings, bits an element and block: ${rates.join(", ")}`);
});
