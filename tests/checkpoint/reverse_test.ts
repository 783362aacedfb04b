/** Running backwards, and schedules within schedules. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import "../seed.ts";
import {
  keeping,
  nest,
  reverse,
  reversing,
  segments,
  taping,
  withinTape,
} from "../../checkpoint/reverse.ts";
import { leastAdvances, revolve } from "../../checkpoint/revolve.ts";
import { type Action, simulate } from "../../checkpoint/schedule.ts";

Deno.test("reverse() keeps one state and runs each step once in either direction", () => {
  for (const length of [0, 1, 2, 100]) {
    for (const tape of [false, true]) {
      const account = simulate(reverse(length, tape), length, { snapshots: 0 });
      assertEquals([account.advances, account.inversions], [length, length]);
      assertEquals(account.taped, tape ? length : 0);
    }
  }
});

Deno.test("segments() ends with the length", () => {
  assertEquals(segments(7, 3), [0, 3, 6, 7]);
  assertEquals(segments(6, 3), [0, 3, 6]);
  assertEquals(segments(0, 3), [0]);
});

Deno.test("nest() reverses the leaves of an outer Revolve by the tape", () => {
  const [length, leaf, snapshots] = [10_000, 100, 5];
  const bounds = segments(length, leaf);
  const schedule = nest(revolve(bounds.length - 1, snapshots), bounds, reversing(true));
  const account = simulate(schedule, length, { snapshots });
  assertEquals(account.taped, leaf);
  assertEquals(account.inversions, length);
  // Each leaf runs forward once more than Revolve counts: its pull does not contain it.
  assertEquals(account.advances, leaf * leastAdvances(100, snapshots) + length);
});

Deno.test("withinTape() goes back over a leaf in pieces where its tape is too small", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 90 }),
    fc.integer({ min: 1, max: 30 }),
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 0, max: 12 }),
    fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 7 }),
    (length, groups, pace, room, costs) => {
      // What each step takes, of which a tape holds that of one group of steps at least.
      const cost = (step: number): number => costs[step % costs.length]!;
      const leaf = groups * pace, words = 9 * pace + room;
      let used = 0;
      const forward: Action[] = [], back: Action[] = [];
      let turned = false;
      const bounds = segments(length, leaf);
      for (const action of nest(revolve(bounds.length - 1, 2), bounds, taping(2))) {
        (turned ? back : forward).push(action);
        turned ||= action.do === "turn";
      }
      const played: Action[] = [];
      const play = (actions: Iterable<Action>): void => {
        for (const action of actions) {
          played.push(action);
          if (action.do !== "advance" || !action.tape) continue;
          used = 0;
          for (let step = action.from; step < action.to; step++) used += cost(step);
          if (action.from % leaf % pace > 0) throw new Error("a piece begins within a group");
        }
      };
      play(forward);
      const last = bounds.at(-2)!;
      const recorded = { from: last, to: length, slot: 2 };
      let fits = true;
      const watched = withinTape(back, recorded, pace, () => ({ used, words }));
      for (const action of watched) {
        play([action]);
        if (action.do === "invert") fits &&= used <= words;
      }
      assert(fits, "something was taken back that had not fitted");
      // What was recorded in vain is not taken back: the tape of the rules is left out here.
      const plain = played.map((action) =>
        action.do === "advance" || action.do === "invert" ? { ...action, tape: undefined } : action
      );
      simulate(plain as Action[], length, { snapshots: 3 });
    },
  ));
});

Deno.test("nest() takes any outer schedule and any leaf", () => {
  fc.assert(fc.property(
    fc.nat(60),
    fc.integer({ min: 1, max: 12 }),
    fc.integer({ min: 1, max: 5 }),
    fc.constantFrom("tape", "drift", "keep"),
    (length, leaf, snapshots, kind) => {
      const bounds = segments(length, leaf);
      const slots = Array.from({ length: 4 }, (_, i) => snapshots + i);
      const inner = kind === "keep" ? keeping(slots) : reversing(kind === "tape");
      const account = simulate(nest(revolve(bounds.length - 1, snapshots), bounds, inner), length);
      assert(account.snapshots <= snapshots + (kind === "keep" ? 4 : 0));
      assert(account.taped <= leaf);
    },
  ));
});

Deno.test("nest() refuses an outer schedule that it cannot follow", () => {
  const bounds = segments(6, 2);
  assertThrows(
    () => [...nest(reverse(3, false), bounds, reversing(false))],
    Error,
    "it inverts, expected one that keeps snapshots",
  );
  const actions = [...revolve(3, 2)];
  const at = actions.findIndex((action) => action.do === "turn");
  const late = actions.toSpliced(at + 1, 0, { do: "flush", store: "host" });
  assertThrows(() => [...nest(late, bounds, reversing(false))], Error, "flush follows its turn");
});
