/** Checkpointing without knowing the length, against those who know it and those who do not. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import "../seed.ts";
import { Online, type Segments } from "../../checkpoint/online.ts";
import { keeping, taping } from "../../checkpoint/reverse.ts";
import { leastAdvances } from "../../checkpoint/revolve.ts";
import { type Account, simulate } from "../../checkpoint/schedule.ts";

/** A chain that ends after `length` steps, noticed `late` steps after its last but one state. */
function play(length: number, snapshots: number, { every = 1, late = 0, chunk = 1 } = {}): Account {
  const online = new Online({ snapshots, every });
  const actions = [];
  for (let left = length - 1 + late; left > 0; left -= chunk) {
    actions.push(...online.forward(Math.min(left, chunk)));
  }
  actions.push(...online.back(length));
  return simulate(actions, length, { snapshots });
}

/** Advances of Wang, Moin & Iaccarino's algorithm: levels, and the dispensable one is let go. */
function wang(length: number, snapshots: number): number {
  const live = [{ step: 0, level: Infinity }];
  for (let step = 1; step < length; step++) {
    if (live.length < snapshots) {
      live.push({ step, level: 0 });
      continue;
    }
    let highest = -1;
    let dispensable = live.length - 1;
    for (; dispensable >= 0 && live[dispensable]!.level >= highest; dispensable--) {
      highest = live[dispensable]!.level;
    }
    const level = dispensable >= 0 ? 0 : live.at(-1)!.level + 1;
    live.splice(dispensable >= 0 ? dispensable : live.length - 1, 1);
    live.push({ step, level });
  }
  let advances = live.at(-1)!.step;
  live.forEach(({ step }, k) => {
    const end = live[k + 1]?.step ?? length;
    if (end > step) advances += leastAdvances(end - step, snapshots - k);
  });
  return advances;
}

Deno.test("Online costs a few per cent more advances than knowing the length", () => {
  const rows: string[] = [];
  for (const snapshots of [3, 5, 8, 12]) {
    let [worst, at, sum, others, copies, count] = [0, 0, 0, 0, 0, 0];
    for (let length = 2; length <= 500; length += length < 60 ? 1 : 11) {
      const least = leastAdvances(length, snapshots);
      const { advances, traffic } = play(length, snapshots);
      sum += advances / least;
      others += wang(length, snapshots) / least;
      copies = traffic.device.writes / length;
      if (advances / least > worst) [worst, at] = [advances / least, length];
      count++;
    }
    rows.push(
      `${snapshots} snapshots: mean ${(sum / count).toFixed(3)}, worst ${worst.toFixed(3)} at ` +
        `${at} steps, Wang ${(others / count).toFixed(3)}; ${copies.toFixed(2)} copies a step`,
    );
    assert(sum / count < 1.06 && sum < others, rows.at(-1));
    assert(worst < 1.35, rows.at(-1));
  }
  console.log(`advances of online checkpointing over the offline optimum\n  ${rows.join("\n  ")}`);
});

Deno.test("Online is right whenever and however late the end is noticed", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 200 }),
    fc.integer({ min: 1, max: 8 }),
    fc.integer({ min: 1, max: 7 }),
    fc.nat(1),
    fc.integer({ min: 1, max: 50 }),
    (length, snapshots, every, late, chunk) => {
      const account = play(length, snapshots, { every, late, chunk });
      assert(account.slots <= snapshots);
      assert(account.advances >= leastAdvances(length, snapshots));
    },
  ));
});

Deno.test("Online goes back over fewer steps than it went", () => {
  const online = new Online({ snapshots: 4 });
  const forward = [...online.forward(50)];
  assertEquals(online.at, 50);
  const actions = [...forward, ...online.back(41)];
  // The steps past the end are legal only in a chain that has them.
  const end = actions.findIndex((action) => action.do === "turn");
  assertEquals(actions[end], { do: "turn", from: 40, to: 41 });
  const pulls = actions.flatMap((action) => action.do === "pull" ? [action.step] : []);
  assertEquals(pulls, Array.from({ length: 41 }, (_, i) => 40 - i));
});

Deno.test("Online takes a chain of no steps", () => {
  assertEquals([...new Online({ snapshots: 2 }).back(0)], [{ do: "turn", from: 0, to: 0 }]);
});

Deno.test("Online refuses to go back before the end", () => {
  const online = new Online({ snapshots: 3 });
  Array.from(online.forward(5));
  assertThrows(() => online.back(9).next(), RangeError, "the chain is at 5, expected 8 at least");
  assertThrows(() => new Online({ snapshots: 0 }), RangeError, "snapshots is 0");
});

Deno.test("Online goes back over segments, with a tape or with states, and every state is right", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 150 }),
    fc.integer({ min: 1, max: 6 }),
    fc.integer({ min: 1, max: 20 }),
    fc.boolean(),
    (length, snapshots, steps, taped) => {
      const own = Array.from({ length: Math.max(1, steps - 1) }, (_, i) => snapshots + i);
      const within: Segments = taped
        ? { steps, leaf: taping(snapshots), slots: 1 }
        : { steps, leaf: keeping(own), slots: own.length };
      const online = new Online({ snapshots });
      const actions = [...online.forward(length), ...online.back(length, within)];
      const account = simulate(actions, length, { snapshots: snapshots + within.slots });
      assertEquals(account.inversions, taped ? length : 0);
      assert(actions.every((action) =>
        action.do !== "advance" || !action.tape ||
        action.to - action.from <= steps
      ));
    },
  ));
});
