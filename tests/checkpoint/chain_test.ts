/** Chains of unlike stages: the plan against every plan there is, and what rounding costs. */
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import "../seed.ts";
import {
  type ChainAction,
  leastBudget,
  peakOf,
  planChain,
  type Stage,
} from "../../checkpoint/chain.ts";

/** Every sequence for stages s … t that keeps a checkpoint until its own stage is pulled. */
function* sequences(s: number, t: number): Generator<ChainAction[]> {
  const back: ChainAction = { do: "backward", stage: s };
  const all: ChainAction = { do: "forward", stage: s, keep: "all" };
  if (s === t) yield [all, back];
  else for (const rest of sequences(s + 1, t)) yield [all, ...rest, back];
  for (let c = s + 1; c <= t; c++) {
    const walk: ChainAction[] = [{ do: "forward", stage: s, keep: "input" }];
    for (let j = s + 1; j < c; j++) walk.push({ do: "forward", stage: j, keep: "nothing" });
    for (const right of sequences(c, t)) {
      for (const left of sequences(s, c - 1)) yield [...walk, ...right, ...left];
    }
  }
}

const timeOf = (stages: readonly Stage[], actions: readonly ChainAction[]): number =>
  actions.reduce((sum, action) => sum + stages[action.stage]![action.do], 0);

/** The least time within each budget, by playing every sequence. */
function leastTime(stages: readonly Stage[], budget: number): number {
  let least = Infinity;
  for (const actions of sequences(0, stages.length - 1)) {
    if (peakOf(stages, actions) <= budget) least = Math.min(least, timeOf(stages, actions));
  }
  return least;
}

const stage: fc.Arbitrary<Stage> = fc.record({
  forward: fc.integer({ min: 1, max: 9 }),
  backward: fc.integer({ min: 1, max: 9 }),
  output: fc.integer({ min: 1, max: 6 }),
  kept: fc.integer({ min: 0, max: 9 }),
  cotangent: fc.integer({ min: 0, max: 6 }),
  forwardWork: fc.nat(3),
  backwardWork: fc.nat(3),
}).map((s) => ({ ...s, kept: s.kept + s.output }));
const small = fc.array(stage, { minLength: 1, maxLength: 6 });

Deno.test("planChain() is exact against brute force where a unit is a byte", () => {
  fc.assert(
    fc.property(small, fc.integer({ min: 3, max: 60 }), (stages, budget) => {
      const least = leastTime(stages, budget);
      assertEquals(leastBudget(stages) <= budget, least < Infinity);
      if (least === Infinity) {
        assertThrows(() => planChain(stages, budget, { units: budget }), RangeError);
        return;
      }
      const plan = planChain(stages, budget, { units: budget });
      assertEquals(plan.time, least);
      assertEquals(timeOf(stages, plan.actions), least);
      assert(plan.peak <= budget);
    }),
    { numRuns: 150 },
  );
});

Deno.test("planChain() errs on the safe side by no more than it says", () => {
  fc.assert(
    fc.property(small, fc.integer({ min: 20, max: 80 }), (stages, budget) => {
      const units = 40;
      // At most two values, one cotangent and one kept set a stage are alive.
      const waste = (3 * stages.length + 4) * budget / units;
      const sure = leastTime(stages, budget - waste);
      if (sure === Infinity) return;
      const plan = planChain(stages, budget, { units });
      assert(plan.peak <= budget && plan.time <= sure && plan.time >= leastTime(stages, budget));
    }),
    { numRuns: 100 },
  );
});

Deno.test("planChain() trades time for bytes, step by step", () => {
  const stages = Array.from({ length: 12 }, (_, i): Stage => ({
    forward: 1 + i % 3,
    backward: 2,
    output: i % 4 === 0 ? 4000 : 1000,
    kept: 5000 + 700 * (i % 5),
  }));
  const all = planChain(stages, Infinity);
  assertEquals(all.time, all.least);
  let time = all.time;
  const least = leastBudget(stages);
  for (const part of [0.9, 0.6, 0.4, 0.2, 0]) {
    const budget = Math.ceil(least + part * (all.peak - least));
    const plan = planChain(stages, budget);
    assert(plan.peak <= budget, `${plan.peak} of ${budget}`);
    assert(plan.time >= time, `${plan.time} after ${time}`);
    time = plan.time;
  }
  assert(time > all.time);
});

Deno.test("planChain() names the least budget that could be met", () => {
  const stages = [1, 2, 3].map((n): Stage => ({
    forward: 1,
    backward: 1,
    output: 1000 * n,
    kept: 3000,
  }));
  const least = leastBudget(stages);
  assertThrows(
    () => planChain(stages, 1000),
    RangeError,
    `Cannot plan a chain of 3 stages: the budget is 1000 bytes, expected at least ${least}`,
  );
  assert(planChain(stages, least).peak <= least);
  assertThrows(() => planChain(stages, 0), RangeError, "the budget is 0 bytes");
  const odd = [{ forward: 1, backward: 1, output: 2, kept: 1 }];
  assertThrows(() => planChain(odd, 9), RangeError, "stage 0 keeps 1 bytes, expected its output");
});

Deno.test("planChain() takes an empty chain, and a long one in reasonable time", () => {
  assertEquals(planChain([], 0).actions, []);
  const stages = Array.from({ length: 100 }, (_, i): Stage => ({
    forward: 1 + i % 7,
    backward: 2,
    output: 1e6 + 1e4 * (i % 11),
    kept: 3e6,
  }));
  const start = performance.now();
  const plan = planChain(stages, 60e6, { units: 128 });
  console.log(
    `chain of 100 in 20 % of the bytes: ${(plan.time / plan.least).toFixed(3)} times the time, ` +
      `planned in ${Math.round(performance.now() - start)} ms`,
  );
  assert(plan.peak <= 60e6 && plan.time < 1.6 * plan.least);
});

Deno.test("peakOf() counts bytes as they come and go", () => {
  const stages: Stage[] = [
    { forward: 1, backward: 1, output: 10, kept: 30 },
    { forward: 1, backward: 1, output: 1, kept: 2, cotangent: 5, backwardWork: 100 },
  ];
  const all: ChainAction[] = [
    { do: "forward", stage: 0, keep: "all" },
    { do: "forward", stage: 1, keep: "all" },
    { do: "backward", stage: 1 },
    { do: "backward", stage: 0 },
  ];
  assertAlmostEquals(peakOf(stages, all), 5 + 30 + 2 + 10 + 100);
  assertThrows(() => peakOf(stages, all.slice(1)), Error, "value 1 is not there");
  assertThrows(() => peakOf(stages, all.slice(0, 3)), Error, "stage 0 was not pulled");
  assertThrows(() => peakOf(stages, [all[0]!, all[3]!]), Error, "stage 1 is next");
  assertThrows(
    () => peakOf(stages, [all[0]!, { do: "forward", stage: 1, keep: "input" }, all[2]!]),
    Error,
    "it was not kept",
  );
});
