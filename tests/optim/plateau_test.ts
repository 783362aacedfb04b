import { assertEquals, assertThrows } from "@std/assert";
import { plateau, type PlateauOptions, type PlateauState } from "../../optim/plateau.ts";

/** The rates after each of the measures. */
function rates(rate: number, options: PlateauOptions, measures: number[]): number[] {
  const schedule = plateau(rate, options);
  let state = schedule.init();
  return measures.map((measure) => {
    // Through text each time, as a saved run does.
    state = schedule.observe(JSON.parse(JSON.stringify(state)) as PlateauState, measure);
    return state.rate;
  });
}

Deno.test("plateau() falls after more than patience measures that are no better", () => {
  const measures = [1, 0.9, 0.9, 0.95, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8];
  assertEquals(rates(1, { factor: 0.5, patience: 2 }, measures), [
    ...[1, 1, 1, 1, 0.5],
    ...[0.5, 0.5, 0.5, 0.25, 0.25],
  ]);
});

Deno.test("plateau() rests after a fall", () => {
  const same = [1, 1, 1, 1, 1, 1, 1];
  assertEquals(rates(8, { factor: 0.5, patience: 0 }, same), [8, 4, 2, 1, 0.5, 0.25, 0.125]);
  assertEquals(rates(8, { factor: 0.5, patience: 0, cooldown: 2 }, same), [8, 4, 4, 4, 2, 2, 2]);
});

Deno.test("plateau() wants a better measure to be better by the threshold", () => {
  const options = { factor: 0.5, patience: 0, threshold: 0.1 };
  assertEquals(rates(1, options, [10, 9.5, 8.9]), [1, 0.5, 0.5]);
  assertEquals(rates(1, { ...options, better: "more" }, [10, 10.5, 11.5]), [1, 0.5, 0.5]);
  assertEquals(rates(1, options, [-10, -10.5, -11.5]), [1, 0.5, 0.5]);
});

Deno.test("plateau() falls to the least and never rises to it", () => {
  assertEquals(rates(1, { patience: 0, least: 0.05 }, [1, 1, 1, 1]), [1, 0.1, 0.05, 0.05]);
  assertEquals(rates(0.01, { patience: 0, least: 0.05 }, [1, 1]), [0.01, 0.01]);
});

Deno.test("plateau() counts NaN as no better, from the first measure on", () => {
  assertEquals(rates(1, { factor: 0.5, patience: 1 }, [NaN, NaN, 3, NaN, NaN]), [
    ...[1, 0.5, 0.5, 0.5, 0.25],
  ]);
});

Deno.test("plateau() refuses numbers out of range", () => {
  assertThrows(() => plateau(-1), RangeError, "rate is -1");
  assertThrows(() => plateau(1, { factor: 1 }), RangeError, "factor is 1, expected");
  assertThrows(() => plateau(1, { patience: 0.5 }), RangeError, "patience is 0.5");
  const schedule = plateau(1);
  assertThrows(
    () => schedule.observe(schedule.init(), "1" as unknown as number),
    TypeError,
    "it is a string",
  );
});
