import { assertThrows } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import { constant, cosine, exponential, type Schedule, warmup } from "../../optim/rate.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

/** Compares a schedule with a function of the step. */
async function follows(schedule: Schedule, expected: (step: number) => number): Promise<void> {
  for (const step of [0, 1, 2, 3, 7, 10, 11, 100, 5000]) {
    await assertValues(schedule(tensor(step)), expected(step), 2e-6, `step ${step}`);
  }
}

Deno.test("constant() does not change", () => follows(constant(0.3), () => 0.3));

Deno.test("exponential() multiplies by the decay", async () => {
  await follows(exponential(2, { decay: 0.999 }), (t) => 2 * 0.999 ** t);
  await follows(exponential(2, { decay: 0.5, steps: 10 }), (t) => 2 * 0.5 ** (t / 10));
});

Deno.test("exponential() in a staircase falls at multiples", () =>
  follows(
    exponential(2, { decay: 0.5, steps: 10, staircase: true }),
    (t) => 2 * 0.5 ** Math.floor(t / 10),
  ));

Deno.test("cosine() falls along half a cosine and stays", () =>
  follows(
    cosine(1, { steps: 10, end: 0.2 }),
    (t) => 0.2 + 0.8 * (1 + Math.cos(Math.PI * Math.min(t, 10) / 10)) / 2,
  ));

Deno.test("warmup() rises in a line, then hands over with its own count", () =>
  follows(
    warmup({ steps: 10, from: 0.5, then: exponential(2, { decay: 0.9 }) }),
    (t) => t < 10 ? 0.5 + 1.5 * t / 10 : 2 * 0.9 ** (t - 10),
  ));

Deno.test("schedules refuse lengths that are not positive", () => {
  assertThrows(() => cosine(1, { steps: 0 }), RangeError, "steps is 0");
  assertThrows(() => warmup({ steps: -1, then: 1 }), RangeError, "steps is -1");
  assertThrows(() => exponential(1, { decay: 0 }), RangeError, "decay is 0");
});
