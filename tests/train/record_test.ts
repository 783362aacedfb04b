import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  checkSettings,
  curveOf,
  decodeRecord,
  encodeRecord,
  isBetter,
  meanOf,
  type RunRecord,
} from "../../train/record.ts";
import { paceOf } from "../../train/task.ts";

const record: RunRecord = {
  settings: { rate: 0.1, model: "m", flag: true },
  epochs: 1,
  steps: 5,
  stepSeconds: 0.25,
  history: [{
    epoch: 1,
    train: { loss: NaN, accuracy: 0.1 + 0.2 },
    validation: { loss: Infinity, accuracy: 0 },
    curve: { loss: [1e-45, -Infinity], accuracy: [1 / 3] },
    seconds: 2,
  }],
  best: null,
  plateau: { rate: 0.1, best: -Infinity, waited: 2, resting: 0 },
  seconds: 2.25,
};

Deno.test("decodeRecord() reads back what encodeRecord() wrote, NaN and infinities included", () => {
  assertEquals(decodeRecord("file", encodeRecord(record)), record);
});

Deno.test("decodeRecord() refuses what is no record", () => {
  for (const text of [undefined, "", "{", "null", '{"version":0,"history":[]}', '{"version":1}']) {
    const metadata = text === undefined ? {} : { "retrograd.run": text };
    assertThrows(() => decodeRecord("file", metadata), TypeError, "Cannot resume file");
  }
});

Deno.test("decodeRecord() refuses a record with a member that cannot be", () => {
  const wrong = [
    { epochs: "1" },
    { epochs: 2 },
    { steps: -5 },
    { steps: 0.5 },
    { settings: undefined },
    { history: [{}] },
    { history: [{ ...record.history[0]!, curve: { loss: [1], accuracy: "x" } }] },
    { best: {} },
    { best: { epoch: 2, loss: 0, accuracy: 1 } },
    { plateau: undefined },
    { plateau: { rate: "x" } },
    { seconds: null },
  ];
  for (const members of wrong) {
    const metadata = encodeRecord({ ...record, ...members } as RunRecord);
    const expected = "it has no record of a run";
    assertThrows(() => decodeRecord("file", metadata), TypeError, expected, Deno.inspect(members));
  }
});

Deno.test("checkSettings() names the first setting that differs", () => {
  checkSettings("f", { a: 1, b: "x" }, { b: "x", a: 1 });
  assertThrows(() => checkSettings("f", { a: 1 }, { a: 2 }), TypeError, "a is 2, expected 1");
  assertThrows(() => checkSettings("f", {}, { a: 2 }), TypeError, "a is 2, expected undefined");
});

Deno.test("isBetter() prefers accuracy, then a lower loss", () => {
  const score = (accuracy: number, loss: number) => ({ accuracy, loss });
  assert(isBetter(score(0, 9), null));
  assert(isBetter(score(0.9, 2), score(0.8, 1)));
  assert(isBetter(score(0.9, 1), score(0.9, 2)));
  assert(!isBetter(score(0.9, 2), score(0.9, 2)));
  assert(!isBetter(score(NaN, NaN), score(0, 1)));
});

Deno.test("curveOf() averages stretches of slots, the last ones shorter", () => {
  assertEquals(curveOf([1, 2, 3], 1, 3), [1, 2, 3]);
  assertEquals(curveOf([2, 4, 3], 2, 5), [1, 2, 3]);
  assertEquals(curveOf([1, 2, 3, 4, 5], 1, 5, 2), [2, 4.5]);
  // Whatever the stretches, together they have the mean of the whole.
  const { steps, stride, slots } = paceOf(5000 * 3, 3);
  assertEquals([steps, stride, slots], [5000, 5, 1000]);
  const sums = Array.from({ length: slots }, (_, i) => Math.sin(i));
  const curve = curveOf(sums, stride, steps, 50);
  assertEquals(curve.length, 50);
  assertAlmostEquals(curve.reduce((a, b) => a + b) / 50, meanOf(sums, steps), 1e-12);
});
