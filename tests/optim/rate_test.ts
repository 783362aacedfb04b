import { assertThrows } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import { plateau } from "../../optim/plateau.ts";
import {
  constant,
  cosine,
  exponential,
  inverse,
  join,
  type Schedule,
  stepDecay,
  warmup,
} from "../../optim/rate.ts";
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

Deno.test("exponential() takes its decay as an exponent", () =>
  follows(exponential(0.3, { alpha: 0.01 }), (t) => 0.3 * Math.exp(-0.01 * t)));

Deno.test("stepDecay() falls at multiples", () =>
  follows(stepDecay(2, { every: 5, factor: 0.5 }), (t) => 2 * 0.5 ** Math.floor(t / 5)));

Deno.test("inverse() halves at 1/alpha", () =>
  follows(inverse(0.4, { alpha: 0.1 }), (t) => 0.4 / (1 + 0.1 * t)));

Deno.test("cosine() begins anew at restarts", async () => {
  const wave = (share: number) => 0.1 + 0.9 * (1 + Math.cos(Math.PI * share)) / 2;
  await follows(cosine(1, { steps: 10, end: 0.1, restarts: 1 }), (t) => wave(t % 10 / 10));
  await follows(cosine(1, { steps: 10, end: 0.1, restarts: 2 }), (t) => {
    let length = 10;
    for (; t >= length; length *= 2) t -= length;
    return wave(t / length);
  });
});

Deno.test("join() hands over at boundaries, each rate with its own count", async () => {
  await follows(join([0.3, 0.2, 0.1], [2, 10]), (t) => t < 2 ? 0.3 : t < 10 ? 0.2 : 0.1);
  await follows(
    join([1, inverse(2, { alpha: 1 })], [3]),
    (t) => t < 3 ? 1 : 2 / (1 + t - 3),
  );
});

Deno.test("schedules refuse lengths that are not positive", () => {
  assertThrows(() => cosine(1, { steps: 0 }), RangeError, "expected a positive number");
  assertThrows(() => warmup({ steps: -1, then: 1 }), RangeError, "steps is -1");
  assertThrows(() => exponential(1, { decay: 0 }), RangeError, "decay is 0");
  assertThrows(() => stepDecay(1, { every: 0 }), RangeError, "every is 0");
  assertThrows(() => inverse(1, { alpha: -1 }), RangeError, "alpha is -1");
  assertThrows(() => inverse(NaN, { alpha: 1 }), RangeError, "rate is NaN");
  assertThrows(() => stepDecay(NaN, { every: 1 }), RangeError, "rate is NaN");
  assertThrows(() => cosine(-1, { steps: 3 }), RangeError, "rate is -1");
  assertThrows(() => cosine(1, { steps: 3, end: NaN }), RangeError, "end is NaN");
  assertThrows(() => warmup({ steps: 3, then: NaN }), RangeError, "rate is NaN");
  assertThrows(() => warmup({ steps: 3, then: 1, from: -1 }), RangeError, "from is -1");
  assertThrows(() => cosine(1, { steps: 2.5, restarts: 1 }), RangeError, "steps is 2.5");
  assertThrows(() => join([1, 2], []), RangeError, "0 boundaries for 2 rates");
  assertThrows(
    () => join([1, 2, 3], [5, 5]),
    RangeError,
    "boundary 1 is 5, expected an integer >= 6",
  );
});

Deno.test("exponential() wants one of decay and alpha", () => {
  assertThrows(() => exponential(1, {}), TypeError, "neither of decay and alpha");
  assertThrows(
    () => exponential(1, { decay: 0.5, alpha: 1 }),
    TypeError,
    "both of decay and alpha",
  );
});

Deno.test("rates refuse options that nobody would read", () => {
  const wrong = { wrong: 1 } as never;
  for (
    const make of [
      () => exponential(1, wrong),
      () => stepDecay(1, wrong),
      () => inverse(1, wrong),
      () => cosine(1, wrong),
      () => warmup(wrong),
      () => plateau(1, wrong),
    ]
  ) assertThrows(make, TypeError, "there is an option wrong");
  assertThrows(() => cosine(1, 100 as never), TypeError, "the options are 100");
});
