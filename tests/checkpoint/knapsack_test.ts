/** The knapsack, against all subsets and under the thinning of its table. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import "../seed.ts";
import { type Item, knapsack } from "../../checkpoint/knapsack.ts";

const sum = (items: readonly Item[], chosen: readonly number[], of: keyof Item): number =>
  chosen.reduce((total, i) => total + items[i]![of], 0);

/** The most worth of any subset that fits. */
function mostWorth(items: readonly Item[], budget: number): number {
  let most = 0;
  for (let subset = 0; subset < 1 << items.length; subset++) {
    const chosen = items.flatMap((_, i) => subset >> i & 1 ? [i] : []);
    if (sum(items, chosen, "bytes") <= budget) most = Math.max(most, sum(items, chosen, "worth"));
  }
  return most;
}

Deno.test("knapsack() reaches the published sums exactly", () => {
  const published: [number[], number[]][] = [
    [[11, 3, 4, 2], [18, 17, 16, 15, 14, 13, 11, 7, 6, 5]],
    [[3, 5, 11, 17, 14], [42, 30, 19, 8, 3]],
  ];
  for (const [sizes, sums] of published) {
    for (const size of sums) {
      for (const unit of [1, 2 ** 20]) {
        const items = sizes.map((n) => ({ bytes: n * unit, worth: n }));
        assertEquals(sum(items, knapsack(items, size * unit), "bytes"), size * unit);
      }
    }
  }
});

const items = fc.array(
  fc.record({ bytes: fc.nat(50), worth: fc.nat(50) }),
  { maxLength: 9 },
);

Deno.test("knapsack() is optimal", () => {
  fc.assert(
    fc.property(items, fc.nat(200), (items, budget) => {
      const chosen = knapsack(items, budget);
      assert(sum(items, chosen, "bytes") <= budget);
      assertEquals(sum(items, chosen, "worth"), mostWorth(items, budget));
    }),
    { numRuns: 200 },
  );
});

Deno.test("knapsack() loses no more than it says when its table is too small", () => {
  fc.assert(
    fc.property(items, fc.integer({ min: 1, max: 200 }), (items, budget) => {
      const most = 8;
      const chosen = knapsack(items, budget, most);
      assert(sum(items, chosen, "bytes") <= budget);
      const sure = mostWorth(items, budget - items.length * budget / most);
      assert(sum(items, chosen, "worth") >= sure);
    }),
    { numRuns: 200 },
  );
});

Deno.test("knapsack() works on bytes as they are, and on many items", () => {
  const many = Array.from({ length: 200 }, (_, i) => ({
    bytes: 4 * (1e6 + i * i * 37 % 9973),
    worth: 1 + i * 7919 % 101,
  }));
  const chosen = knapsack(many, 4e8);
  const bytes = sum(many, chosen, "bytes");
  assert(bytes <= 4e8 && bytes > 3.95e8, `${bytes}`);
});

Deno.test("knapsack() leaves out what is worth nothing or does not fit", () => {
  assertEquals(knapsack([{ bytes: 0, worth: 0 }, { bytes: 0, worth: 1 }], 0), [1]);
  assertEquals(knapsack([{ bytes: 5, worth: 9 }], 4), []);
  assertEquals(knapsack([], 10), []);
});
