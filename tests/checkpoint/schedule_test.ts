/** What a legal schedule is, and what is counted of it. */
import { assertEquals, assertThrows } from "@std/assert";
import {
  type Action,
  advance,
  drop,
  invert,
  pull,
  restore,
  show,
  simulate,
  snapshot,
  turn,
} from "../../checkpoint/schedule.ts";

/** Two steps with one snapshot: the shortest schedule that does everything. */
const two: readonly Action[] = [
  snapshot(0, 0),
  advance(0, 1),
  turn(1, 2),
  pull(1),
  restore(0, 0),
  pull(0),
  drop(0),
];

Deno.test("simulate() counts what a schedule costs", () => {
  const account = simulate(two, 2, { snapshots: 1 });
  assertEquals(account.advances, 1);
  assertEquals(account.pulls, 2);
  assertEquals(account.snapshots, 1);
  assertEquals(account.states, 2);
  assertEquals(account.slots, 1);
  assertEquals(account.repetitions, 1);
  assertEquals(account.traffic.device, { writes: 1, reads: 1, transfers: 2, peak: 1 });
  assertEquals(account.traffic.host, { writes: 0, reads: 0, transfers: 0, peak: 0 });
});

Deno.test("simulate() counts a batch as one transfer", () => {
  const schedule: Action[] = [
    snapshot(0, 0, "host"),
    advance(0, 1),
    snapshot(1, 1, "host"),
    { do: "flush", store: "host" },
    advance(1, 2),
    turn(2, 3),
    pull(2),
    { do: "prefetch", slots: [1, 0] },
    restore(1, 1),
    drop(1),
    pull(1),
    restore(0, 0),
    pull(0),
    drop(0),
  ];
  assertEquals(simulate(schedule, 3).traffic.host, { writes: 2, reads: 2, transfers: 2, peak: 2 });
});

Deno.test("simulate() follows a tape, last in, first out", () => {
  const steps = [advance(0, 3, true), turn(3, 3)];
  for (const step of [2, 1, 0]) steps.push(invert(step + 1, step, true), pull(step));
  const account = simulate(steps, 3);
  assertEquals([account.taped, account.inversions, account.states], [3, 3, 1]);
});

Deno.test("simulate() takes a chain of no steps", () => {
  assertEquals(simulate([turn(0, 0)], 0).advances, 0);
});

Deno.test("simulate() refuses what could not run, naming the action", () => {
  /** The schedule of two steps with actions `at` replaced. */
  const spoilt = (at: number, ...actions: Action[]): Action[] => two.toSpliced(at, 1, ...actions);
  const cases: [Action[], string][] = [
    [spoilt(1, advance(1, 2)), "Cannot advance(1, 2): the working state is 0, expected state 1"],
    [spoilt(1, advance(0, 0)), "steps 0 to 0, expected some within 0 to 2"],
    [spoilt(1, advance(0, 3)), "steps 0 to 3"],
    [spoilt(0, snapshot(1, 0)), "the working state is 0, expected state 1"],
    [spoilt(1, advance(0, 1), snapshot(1, 0)), "slot 0 is taken, expected an empty slot"],
    [spoilt(4, restore(1, 0)), "slot 0 holds state 0, expected state 1"],
    [spoilt(4, restore(0, 1)), "slot 1 holds nothing"],
    [spoilt(6, drop(1)), "slot 1 is empty"],
    [spoilt(2), "the result is not known yet, expected a turn before it"],
    [spoilt(2, turn(1, 2), turn(1, 2)), "the schedule has turned"],
    [spoilt(2, turn(1, 1)), "it is for 1 steps, expected a turn at the end, step 2"],
    [spoilt(3), "step 1 is next, expected each step once, backwards"],
    [spoilt(3, pull(1), pull(1)), "step 0 is next"],
    [spoilt(5), "Cannot end the schedule: step 0 was not pulled"],
    [spoilt(6), "1 snapshots are alive, expected none"],
    [spoilt(3, pull(1), invert(1, 0, true)), "the tape ends with step undefined, expected step 0"],
    [spoilt(1, advance(0, 1, true)), "1 steps are on the tape, expected none"],
    [spoilt(4, { do: "prefetch", slots: [3] }), "Cannot prefetch(3): slot 3 is empty"],
    [[], "it never turned"],
  ];
  for (const [schedule, message] of cases) {
    assertThrows(() => simulate(schedule, 2), Error, message);
  }
  const more = spoilt(1, advance(0, 1), snapshot(1, 1));
  assertThrows(() => simulate(more, 2, { snapshots: 1 }), Error, "2 snapshots are alive");
});

Deno.test("show() writes an action as it would be called", () => {
  assertEquals(show(advance(0, 5)), "advance(0, 5)");
  assertEquals(show(advance(0, 5, true)), "advance(0, 5, tape)");
  assertEquals(show(snapshot(3, 1, "host")), "snapshot(3, 1, host)");
});
