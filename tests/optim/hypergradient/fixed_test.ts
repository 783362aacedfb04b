/**
 * Fixed-point state: exactly undone, what leaves the range is found, buffers agree with the oracle
 * of checkpoint/buffer.ts and spill before they could overflow.
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import "../../seed.ts";
import { scaleWords, stepsPerSpill } from "../../../checkpoint/buffer.ts";
import { full, tensor } from "../../../graph/create.ts";
import type { Tensor } from "../../../graph/tensor.ts";
import {
  fromFixed,
  isOut,
  lowHalves,
  minus,
  plus,
  scaled,
  toFixed,
  unitFor,
  withLowHalves,
} from "../../../optim/hypergradient/fixed.ts";
import { bitsKept, segmentsOf } from "../../../optim/hypergradient/spills.ts";
import { gpu } from "../../gpu.ts";

await gpu();

const words = (values: readonly number[], dtype: "i32" | "u32" = "i32"): Tensor =>
  tensor(dtype === "i32" ? Int32Array.from(values) : Uint32Array.from(values));

Deno.test("unitFor() is a power of two that reaches the range", () => {
  assertEquals(unitFor(64), 2 ** -25);
  assertEquals(unitFor(65), 2 ** -24);
  assertEquals(unitFor(1), 2 ** -31);
});

Deno.test("toFixed() rounds to the unit, and marks what it cannot hold", async () => {
  const unit = unitFor(4), x = tensor([0, 1, -1.5, 3.99, 4, -5, NaN, Infinity, -Infinity, 1e-10]);
  const fixed = toFixed(x, unit);
  const back = [...await fromFixed(fixed, unit).data()];
  assertEquals(back.slice(0, 4), [0, 1, -1.5, Math.fround(3.99)]);
  assertEquals(back[9], 0);
  assertEquals(
    await isOut(fixed).array(),
    [false, false, false, false, true, true, true, true, true, false],
  );
});

Deno.test("minus() undoes plus() to the bit", async () => {
  const whole = fc.integer({ min: -(2 ** 30), max: 2 ** 30 });
  const by = fc.float({ min: -7, max: 7, noNaN: true });
  const cases = fc.array(fc.tuple(whole, by), { minLength: 1, maxLength: 200 });
  await fc.assert(
    fc.asyncProperty(cases, async (cases) => {
      const unit = unitFor(16);
      const x = words(cases.map(([x]) => x)), by = tensor(cases.map(([, by]) => by));
      const there = plus(x, by, unit), back = minus(there, by, unit);
      assertEquals(await back.array(), await x.array());
      const moved = [...await there.data()];
      cases.forEach(([x, by], i) => assertEquals(moved[i], x + Math.round(by / unit)));
    }),
    { numRuns: 10 },
  );
});

Deno.test("plus() marks what leaves the range, and leaves marks alone", async () => {
  const unit = unitFor(1);
  const x = words([2 ** 30, -(2 ** 30), 0, 0, 5, 2 ** 30]);
  const far = plus(x, tensor([0.6, -0.6, NaN, Infinity, 0.25, 0.4]), unit);
  const expected = [true, true, true, true, false, false];
  assertEquals(await isOut(far).array(), expected);
  const again = plus(far, tensor([-0.5, 0.9, 0, 0.5, 0, 0]), unit);
  assertEquals(await isOut(again).array(), expected);
  const held = scaled(
    { value: far, buffer: words([0, 0, 0, 0, 0, 0], "u32") },
    full([], 9, { dtype: "i32" }),
    full([], 10, { dtype: "i32" }),
  );
  assertEquals(await isOut(held.value).array(), expected);
});

Deno.test("scaled() computes what the oracle computes, and is undone by its inverse", async () => {
  const ratio = fc.integer({ min: 1, max: 65535 }).chain((d) =>
    fc.record({ n: fc.integer({ min: Math.ceil(d / 8), max: d }), d: fc.constant(d) })
  );
  const value = fc.integer({ min: -(2 ** 31) + 2 ** 17, max: 2 ** 31 - 2 ** 17 });
  const buffer = fc.integer({ min: 0, max: 2 ** 28 });
  const cases = fc.array(fc.tuple(value, buffer, ratio), { minLength: 1, maxLength: 300 });
  await fc.assert(
    fc.asyncProperty(cases, async (cases) => {
      const values = cases.map(([v]) => v), buffers = cases.map(([, b]) => b);
      const held = { value: words(values), buffer: words(buffers, "u32") };
      const n = words(cases.map(([, , r]) => r.n)), d = words(cases.map(([, , r]) => r.d));
      const there = scaled(held, n, d), back = scaled(there, d, n);
      const v = Int32Array.from(values), b = Uint32Array.from(buffers);
      cases.forEach(([, , r], i) => scaleWords(v.subarray(i, i + 1), b.subarray(i, i + 1), r));
      assertEquals(await there.value.array(), [...v]);
      assertEquals(await there.buffer.array(), [...b]);
      assertEquals(await back.value.array(), values);
      assertEquals(await back.buffer.array(), buffers);
    }),
    { numRuns: 10 },
  );
});

Deno.test("withLowHalves() brings back what lowHalves() took out", async () => {
  for (const shape of [[], [0], [1], [2], [7], [3, 5], [4, 4]]) {
    const size = shape.reduce((a, b) => a * b, 1);
    const buffer = words(Array.from({ length: size }, (_, i) => i * 2654435761 >>> 0), "u32")
      .reshape(shape);
    const low = lowHalves(buffer);
    assertEquals(low.shape, [Math.ceil(size / 2)]);
    const back = withLowHalves(buffer.rightShift(16), low);
    assertEquals(back.shape, shape);
    assertEquals(await back.array(), await buffer.array());
  }
});

Deno.test("segmentsOf() cuts a run where buffers are nearly full", () => {
  const nine = { n: 9, d: 10 };
  const fit = stepsPerSpill(nine);
  assert(fit === 105 || fit === 104, `${fit}`);
  assertEquals(stepsPerSpill({ n: 1, d: 1 }), Infinity);
  assertEquals(stepsPerSpill({ n: 1, d: 65535 }), 1);
  for (const steps of [0, 1, fit - 1, fit, fit + 1, 2 * fit, 2 * fit + 1, 1000]) {
    const { length, count, rest } = segmentsOf(steps, nine);
    assertEquals(length * count + rest, steps);
    assert(rest <= fit && (steps === 0 || rest > 0));
  }
  assertEquals(segmentsOf(1000, { n: 1, d: 1 }), { length: 1000, count: 0, rest: 1000 });
});

Deno.test("stepsPerSpill() leaves room for the worst that values can do", () => {
  const ratio = fc.integer({ min: 2, max: 65535 }).chain((d) =>
    fc.record({
      n: fc.integer({ min: Math.ceil(d / 16), max: Math.max(1, Math.floor(d * 0.999)) }),
      d: fc.constant(d),
    })
  );
  fc.assert(fc.property(ratio, (ratio) => {
    const steps = stepsPerSpill(ratio), buffer = Uint32Array.of(2 ** 16 - 1);
    const { n, d } = ratio;
    for (let step = 0; step < steps; step++) {
      const exact = Math.floor((buffer[0]! * d + d - 1) / n);
      // A value of -1 leaves the largest remainder there is.
      scaleWords(Int32Array.of(-1), buffer, ratio);
      assertEquals(buffer[0], exact);
    }
    assert(Math.floor((buffer[0]! * d + d - 1) / n) >= 2 ** 32);
  }));
});

Deno.test("bitsKept() is within 2 % of log2(d/n) a step over 10^5 steps", () => {
  for (const ratio of [{ n: 9, d: 10 }, { n: 49, d: 50 }]) {
    const ideal = Math.log2(ratio.d / ratio.n), bits = bitsKept(segmentsOf(1e5, ratio)) / 1e5;
    assert(Math.abs(bits / ideal - 1) < 0.02, `${bits} against ${ideal}`);
  }
});
