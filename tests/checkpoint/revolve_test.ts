/** Binomial checkpointing: the published counts, and the dynamic program that defines them. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import "../seed.ts";
import { leastAdvances, reach, repetitions, revolve, split } from "../../checkpoint/revolve.ts";
import { simulate } from "../../checkpoint/schedule.ts";

/** Advances by length and snapshots, as published. */
const published: Record<number, Record<number, number>> = {
  5: { 2: 6 },
  10: { 2: 20, 3: 15, 4: 14, 6: 12, 8: 10, 9: 9 },
  14: { 3: 27 },
  20: { 3: 45 },
  50: { 5: 122 },
  100: { 1: 4950, 2: 845, 3: 490, 5: 316, 8: 245, 10: 222 },
  1000: { 3: 12155, 5: 6284, 10: 3636, 20: 2747 },
};

Deno.test("revolve() advances exactly as often as published", () => {
  for (const [length, row] of Object.entries(published)) {
    for (const [snapshots, advances] of Object.entries(row)) {
      const [l, s] = [Number(length), Number(snapshots)];
      assertEquals(leastAdvances(l, s), advances, `t(${l}, ${s})`);
      const account = simulate(revolve(l, s), l, { snapshots: s });
      assertEquals(account.advances, advances, `t(${l}, ${s}), played`);
      assert(account.states <= s + 1);
    }
  }
});

Deno.test("revolve() is as good as the dynamic program for every small chain", () => {
  const [longest, most] = [60, 12];
  /** least[s][l] */
  const least: number[][] = [[]];
  for (let s = 1; s <= most; s++) {
    least.push([0, 0]);
    for (let l = 2; l <= longest; l++) {
      let best = l * (l - 1) / 2;
      for (let i = 1; s > 1 && i < l; i++) {
        const right = s > 2 || l - i === 1 ? least[s - 1]![l - i]! : (l - i) * (l - i - 1) / 2;
        best = Math.min(best, i + least[s]![i]! + right);
      }
      least[s]!.push(best);
      assertEquals(leastAdvances(l, s), best, `t(${l}, ${s})`);
      const account = simulate(revolve(l, s), l, { snapshots: s });
      assertEquals(account.advances, best, `t(${l}, ${s}), played`);
      assertEquals(account.repetitions <= repetitions(l, s), true);
    }
  }
});

Deno.test("revolve() keeps its promises for any length and number of snapshots", () => {
  fc.assert(fc.property(fc.nat(3000), fc.integer({ min: 1, max: 40 }), (l, s) => {
    fc.pre(s > 1 || l < 300);
    const account = simulate(revolve(l, s), l, { snapshots: s });
    assertEquals(account.advances, leastAdvances(l, s));
    assert(account.slots <= s);
  }));
});

Deno.test("revolve() gives its first actions of a very long chain at once", () => {
  const schedule = revolve(1e9, 30);
  assertEquals(schedule.next().value, { do: "snapshot", step: 0, slot: 0, store: "device" });
  assert(split(1e9, 30) > 1e8);
});

Deno.test("reach() is the binomial, and repetitions() its inverse", () => {
  assertEquals([reach(3, 2), reach(5, 0), reach(0, 7), reach(2, -1)], [10, 1, 1, 0]);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e5 }), fc.integer({ min: 2, max: 30 }), (l, s) => {
      const r = repetitions(l, s);
      assert(reach(s, r) >= l && (r === 0 || reach(s, r - 1) < l));
    }),
  );
});

Deno.test("revolve() refuses what is no length", () => {
  assertThrows(() => revolve(-1, 2), RangeError, "length is -1, expected an integer of");
  assertThrows(() => revolve(5, 0), RangeError, "snapshots is 0");
  assertThrows(() => revolve(5, 1.5), RangeError, "snapshots is 1.5");
});
