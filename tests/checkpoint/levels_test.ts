/** Several stores: the plan against every way there is, and the hints that batch its transfers. */
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import "../seed.ts";
import { batchTransfers } from "../../checkpoint/hints.ts";
import { exact, type Level, offload, ranked } from "../../checkpoint/levels.ts";
import { leastAdvances } from "../../checkpoint/revolve.ts";
import { type Account, type Schedule, simulate, type Store } from "../../checkpoint/schedule.ts";

const three = (device: number, host: number, disk: number): Level[] => [
  { store: "device", slots: device, write: 0.125, read: 0.125 },
  { store: "host", slots: host, write: 1, read: 0.75 },
  { store: "disk", slots: disk, write: 5, read: 4 },
];

/** Plays a schedule, checks that each store has the room, and gives the cost that was counted. */
function costOf(schedule: Schedule, length: number, levels: readonly Level[], step = 1): number {
  const account: Account = simulate(schedule, length);
  let cost = account.advances * step;
  for (const { store, slots, write, read } of levels) {
    const { writes, reads, peak } = account.traffic[store];
    assert(peak <= slots, `${peak} snapshots on the ${store}, which has ${slots} slots`);
    cost += writes * write + reads * read;
  }
  return cost;
}

/** The least cost by Dijkstra's algorithm over everything that can be done, nested or not. */
function leastCost(length: number, levels: readonly Level[]): number {
  /** Working state, steps left to pull, and the level of the snapshot of each state or -1. */
  type State = { cost: number; at: number; left: number; kept: readonly number[] };
  const key = (s: State): string => `${s.at},${s.left},${s.kept.join("")}`;
  const best = new Map<string, number>();
  const start = { cost: 0, at: 0, left: length, kept: Array<number>(length).fill(-1) };
  const queue: State[] = [start];
  while (queue.length > 0) {
    let least = 0;
    queue.forEach((state, i) => {
      if (state.cost < queue[least]!.cost) least = i;
    });
    const [state] = queue.splice(least, 1) as [State];
    const { cost, at, left, kept } = state;
    if ((best.get(key(state)) ?? Infinity) <= cost) continue;
    best.set(key(state), cost);
    if (left === 0) return cost;
    if (at < left - 1) queue.push({ cost: cost + 1, at: at + 1, left, kept });
    if (at === left - 1) queue.push({ cost, at, left: left - 1, kept });
    levels.forEach(({ slots, write }, m) => {
      if (kept[at] !== -1) return;
      // What lies past the steps left is dropped for nothing.
      const taken = kept.filter((level, step) => level === m && step < left).length;
      if (taken < slots) queue.push({ cost: cost + write, at, left, kept: kept.with(at, m) });
    });
    kept.forEach((level, step) => {
      if (level < 0 || step >= left) return;
      queue.push({ cost: cost + levels[level]!.read, at: step, left, kept });
      queue.push({ cost, at, left, kept: kept.with(step, -1) });
    });
  }
  return Infinity;
}

Deno.test("exact() costs what it says, and no schedule at all costs less", () => {
  for (
    const [device, host, disk] of [[1, 0, 0], [1, 1, 0], [2, 1, 0], [1, 1, 1], [0, 1, 1]] as const
  ) {
    for (const length of [1, 2, 3, 4, 5, 6]) {
      const levels = three(device, host, disk);
      const plan = exact(length, levels);
      assertEquals(costOf(plan.schedule(), length, levels), plan.cost);
      assertEquals(plan.cost, leastCost(length, levels), `${length}: ${device}, ${host}, ${disk}`);
    }
  }
});

Deno.test("exact() with one free store is Revolve", () => {
  for (const slots of [1, 2, 3, 7]) {
    for (const length of [0, 1, 2, 10, 50]) {
      const plan = exact(length, [{ store: "device", slots, write: 0, read: 0 }]);
      assertEquals(plan.cost, leastAdvances(length, slots));
    }
  }
});

Deno.test("offload() is legal, and never dearer than ranking the slots", () => {
  fc.assert(
    fc.property(
      fc.nat(40),
      fc.integer({ min: 1, max: 3 }),
      fc.nat(3),
      fc.nat(3),
      (length, device, host, disk) => {
        const levels = three(device, host, disk);
        const plan = offload(length, levels);
        const rank = ranked(length, levels);
        assertAlmostEquals(costOf(plan.schedule(), length, levels), plan.cost, 1e-9);
        assertAlmostEquals(costOf(rank.schedule(), length, levels), rank.cost, 1e-9);
        assert(plan.optimal && plan.cost <= rank.cost + 1e-9);
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("offload() ranks the slots of a long chain, the hottest on the device", () => {
  const levels = three(4, 8, 64);
  const plan = offload(5000, levels);
  assert(!plan.optimal);
  const { traffic } = simulate(plan.schedule(), 5000, { snapshots: 76 });
  assertAlmostEquals(costOf(plan.schedule(), 5000, levels), plan.cost, 1e-6);
  const perSlot = (store: Store): number =>
    (traffic[store].writes + traffic[store].reads) / Math.max(1, traffic[store].peak);
  assert(perSlot("device") > perSlot("host") && perSlot("host") > perSlot("disk"));
});

Deno.test("offload() leaves a store alone that costs more than it saves", () => {
  const levels = three(2, 0, 5).map((level) => ({ ...level, write: 50 * level.write }));
  assertEquals(simulate(offload(6, levels).schedule(), 6).traffic.disk.writes, 0);
});

Deno.test("offload() refuses stores without a slot", () => {
  assertThrows(() => offload(5, three(0, 0, 0)), RangeError, "slots of all stores is 0");
  assertThrows(() => offload(5, three(1, -1, 0)), RangeError, "slots on the host is -1");
});

Deno.test("batchTransfers() moves nothing and needs fewer transfers", () => {
  const levels = three(3, 30, 0);
  const { schedule } = offload(500, levels);
  const plain = simulate(schedule(), 500);
  const batched = simulate(batchTransfers(schedule(), { batch: 8, ahead: 512 }), 500);
  assertEquals(batched.advances, plain.advances);
  assertEquals(batched.traffic.device, plain.traffic.device);
  assertEquals(batched.traffic.host.writes, plain.traffic.host.writes);
  const saved = plain.traffic.host.transfers / batched.traffic.host.transfers;
  console.log(
    `transfers to and from the host: ${plain.traffic.host.transfers} one by one, ` +
      `${batched.traffic.host.transfers} in batches of up to 8`,
  );
  assert(saved > 1.5, `${saved}`);
});

Deno.test("batchTransfers() is legal whatever it is given", () => {
  fc.assert(
    fc.property(
      fc.nat(60),
      fc.integer({ min: 1, max: 3 }),
      fc.nat(5),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 99 }),
      (length, device, host, batch, ahead) => {
        const { schedule } = ranked(length, three(device, host, 2));
        const hinted = [...batchTransfers(schedule(), { batch, ahead })];
        const account = simulate(hinted, length);
        assertEquals(
          hinted.filter((action) => action.do !== "prefetch" && action.do !== "flush"),
          [...schedule()],
        );
        for (const { writes, reads, transfers } of Object.values(account.traffic)) {
          assert(transfers <= writes + reads);
        }
      },
    ),
    { numRuns: 60 },
  );
});
