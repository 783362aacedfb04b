import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { Generator, shuffled } from "../../data/shuffle.ts";

Deno.test("Generator() gives the same numbers for the same seed and stream, others for others", () => {
  const take = (seed: number, stream?: number) => {
    const generator = new Generator(seed, stream);
    return Array.from({ length: 8 }, () => generator.next());
  };
  assertEquals(take(1), take(1, 0));
  assertNotEquals(take(1), take(2));
  assertNotEquals(take(1), take(1, 1));
  // Seeds and streams count beyond 32 bits, and are not exchangeable.
  assertNotEquals(take(1), take(1 + 2 ** 32));
  assertNotEquals(take(1, 2), take(2, 1));
  // Pinned: an order must not change between versions, or a resumed run would change with it.
  assertEquals(take(42, 7).slice(0, 4), [3540382080, 3806275963, 2280573709, 955555207]);
});

Deno.test("Generator() goes on from a saved state", () => {
  const generator = new Generator(3);
  generator.next();
  const saved = Uint32Array.from(generator.state);
  const expected = [generator.next(), generator.next()];
  const other = new Generator(0);
  other.state.set(saved);
  assertEquals([other.next(), other.next()], expected);
});

Deno.test("Generator() refuses seeds that are no non-negative safe integers", () => {
  for (const seed of [-1, 0.5, NaN, 2 ** 53]) {
    assertThrows(() => new Generator(seed), RangeError, "expected a non-negative safe integer");
  }
});

Deno.test("Generator.below() is uniform, also where the bound does not divide 2^32", () => {
  const bound = 3 * 2 ** 30; // a quarter of the raw numbers is rejected; by remainder alone the
  const generator = new Generator(5); // first third would come twice as often
  let low = 0;
  const draws = 30_000;
  for (let i = 0; i < draws; i++) if (generator.below(bound) < bound / 3) low++;
  assert(Math.abs(low / draws - 1 / 3) < 0.015, `${low} of ${draws}`);
  assertEquals(generator.below(1), 0);
});

Deno.test("shuffled() permutes a copy", () => {
  const rows = Uint32Array.from({ length: 1000 }, (_, i) => i * 2);
  const result = shuffled(rows, 9, 4);
  assertEquals(rows[1], 2);
  assertNotEquals(result, rows);
  assertEquals(Uint32Array.from(result).sort(), rows);
  assertEquals(shuffled(new Uint32Array(0), 9), new Uint32Array(0));
});

Deno.test("shuffled() gives all orders equally often", () => {
  const counts = new Map<string, number>();
  const draws = 12_000;
  for (let stream = 0; stream < draws; stream++) {
    const key = shuffled(Uint32Array.of(0, 1, 2, 3), 11, stream).join("");
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  assertEquals(counts.size, 24);
  // Chi-squared with 23 degrees of freedom is above 49.7 once in a thousand seeds.
  const expected = draws / 24;
  const chi = [...counts.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
  assert(chi < 49.7, `seed 11: chi-squared is ${chi}`);
});
