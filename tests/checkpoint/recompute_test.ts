/**
 * What of a graph is kept: the outcomes of PyTorch's test_ac.py, and every subset of small graphs.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import "../seed.ts";
import {
  corners,
  fastest,
  select,
  type Selection,
  selectWithin,
  smallest,
  type Value,
} from "../../checkpoint/recompute.ts";

const MiB = 2 ** 20;

/** `x.cos()`, then five times a matrix product and a cosine; all of 1 MiB, a product 1 unit. */
function evenChain(): Value[] {
  const values: Value[] = [{ bytes: MiB, time: 0, inputs: [], given: true, needed: true }];
  values.push({ bytes: MiB, time: 0, inputs: [0], needed: true });
  for (let i = 0; i < 5; i++) {
    const last = values.length - 1;
    // A cosine's derivative reads what it was taken of, a product's reads its operands.
    values.push({ bytes: MiB, time: 1, inputs: [last], needed: true });
    values.push({ bytes: MiB, time: 0, inputs: [last + 1], needed: i < 4 });
  }
  return values;
}

Deno.test("selectWithin() of an even chain keeps what PyTorch keeps", () => {
  const values = evenChain();
  for (let budget = 0; budget < 10; budget++) {
    const { bytes, time } = selectWithin(values, budget * MiB);
    assertEquals([bytes / MiB, time], budget <= 5 ? [budget, 5 - budget] : [5, 0]);
  }
  // PyTorch keeps 10 MiB when it may; a cosine that is run again inside its reader costs nothing.
  assertEquals(selectWithin(values, 10 * MiB).bytes, 5 * MiB);
});

Deno.test("selectWithin() recomputes a cheap value for nothing", () => {
  const values: Value[] = [
    { bytes: MiB, time: 0, inputs: [], given: true },
    { bytes: MiB, time: 0, inputs: [0], needed: true },
  ];
  const nothing = { kept: [], fetched: [], rerun: [1], bytes: 0, time: 0 };
  assertEquals(selectWithin(values, MiB), nothing);
});

/** Products side by side, each followed by a cosine: sizes in MiB and times. */
function products(shapes: readonly (readonly [size: number, time: number])[]): Value[] {
  const x: Value = { bytes: MiB, time: 0, inputs: [], given: true, needed: true };
  return [
    x,
    ...shapes.map(([n, time]) => ({ bytes: n * MiB, time, inputs: [0], needed: true })),
  ];
}

Deno.test("selectWithin() of an uneven chain reaches the sums that PyTorch reaches", () => {
  const cases: [number[], number[]][] = [
    [[11, 3, 4, 2], [20, 18, 17, 16, 15, 14, 13, 11, 7, 6, 5]],
    [[3, 5, 11, 17, 14], [42, 30, 19, 8, 3]],
  ];
  for (const [sizes, sums] of cases) {
    const values = products(sizes.map((n) => [n, n]));
    for (const sum of sums) assertEquals(selectWithin(values, sum * MiB).bytes, sum * MiB);
  }
});

Deno.test("selectWithin() runs the cheaper of two products again", () => {
  const { bytes, time } = selectWithin(products([[4, 4], [4, 8]]), 4 * MiB);
  assertEquals([bytes / MiB, time], [4, 4]);
});

Deno.test("selectWithin() prefers time saved to a budget used", () => {
  // Inputs of a × a, outputs of a × b: a·b MiB and a·a·b units.
  const values = products([[4, 4], [6, 2], [2, 6]].map(([a, b]) => [a! * b!, a! * a! * b!]));
  const at = (budget: number): number[] => {
    const { bytes, time } = selectWithin(values, budget * MiB);
    return [bytes / MiB, time];
  };
  assertEquals(at(40), [40, 0]);
  assertEquals(at(28), [28, 24]);
  assertEquals(at(16), [12, 24 + 64]);
});

Deno.test("selectWithin() weighs attention against a linear layer by their work", () => {
  const cases: [number, number, "linear" | "attention"][] = [
    [1, 1, "linear"],
    [1, 3, "attention"],
    [2, 2, "linear"],
    [2, 1, "linear"],
    [2, 5, "attention"],
    [4, 7, "linear"],
    [4, 9, "attention"],
  ];
  for (const [s, d, again] of cases) {
    const values: Value[] = [
      { bytes: s * d * MiB, time: 0, inputs: [], given: true, needed: true },
      { bytes: s * d * MiB, time: 2 * s * s * d, inputs: [0], needed: true },
      { bytes: s * d * MiB, time: s * d * d, inputs: [1], needed: true },
    ];
    const { rerun } = selectWithin(values, Math.floor(1.2 * s * d * MiB));
    assertEquals(rerun, [again === "attention" ? 1 : 2], `${s}, ${d}`);
  }
});

Deno.test("selectWithin() moves away what is cheaper to fetch than to run again", () => {
  const values = products([[4, 9], [4, 2], [4, 7]]).map((value) => ({ ...value, fetch: 3 }));
  const { kept, fetched, rerun, bytes, time } = selectWithin(values, 4 * MiB);
  // Three is what each of the two costs; the one that is kept is any of them.
  assertEquals([kept.length, fetched.length, rerun, bytes / MiB, time], [1, 1, [2], 4, 5]);
  assertEquals(selectWithin(values, 0), {
    kept: [],
    fetched: [1, 3],
    rerun: [2],
    bytes: 0,
    time: 8,
  });
});

/** Small graphs: each value reads one or two before it. */
const graphs: fc.Arbitrary<Value[]> = fc.array(
  fc.record({
    bytes: fc.integer({ min: 1, max: 9 }),
    time: fc.nat(9),
    reads: fc.tuple(fc.nat(99), fc.nat(99), fc.boolean()),
    needed: fc.boolean(),
    given: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    once: fc.integer({ min: 0, max: 7 }).map((n) => n === 0),
    fetch: fc.option(fc.integer({ min: 1, max: 9 }), { freq: 2, nil: undefined }),
  }),
  { minLength: 1, maxLength: 7 },
).map((list) =>
  list.map(({ reads: [a, b, both], fetch, ...value }, i) => ({
    ...value,
    ...(fetch !== undefined && { fetch }),
    inputs: i === 0 ? [] : both ? [a % i, b % i] : [a % i],
    given: value.given || i === 0,
  }))
);

/** Every selection there is: each value kept, fetched or neither. */
function* all(values: readonly Value[]): Generator<Selection> {
  for (let set = 0; set < 3 ** values.length; set++) {
    const sets = [new Set<number>(), new Set<number>(), new Set<number>()] as const;
    values.forEach((_, i) => sets[Math.floor(set / 3 ** i) % 3 as 0 | 1 | 2].add(i));
    const selection = select(values, sets[1], sets[2]);
    if (selection !== undefined) yield selection;
  }
}

Deno.test("fastest(), smallest() and corners() are the best there is", () => {
  fc.assert(
    fc.property(graphs, (values) => {
      const every = [...all(values)];
      const [fast, small] = [fastest(values), smallest(values)];
      assertEquals(fast.time, 0);
      assertEquals(fast.bytes, Math.min(...every.filter((s) => s.time === 0).map((s) => s.bytes)));
      assertEquals(small.bytes, Math.min(...every.map((s) => s.bytes)));
      const line = corners(values);
      for (let k = 1; k < line.length; k++) {
        const [a, b] = [line[k - 1]!, line[k]!];
        assert(a.bytes > b.bytes && a.time < b.time);
        const price = (s: Selection): number =>
          s.bytes * (b.time - a.time) + s.time * (a.bytes - b.bytes);
        for (const s of every) assert(price(s) >= price(a) - 1e-9, "below the line");
      }
    }),
    { numRuns: 100 },
  );
});

Deno.test("smallest() chooses among values that cost no time at all", () => {
  const free = { bytes: 1, time: 0, needed: false, given: true, once: true, inputs: [] };
  const values = [free, { ...free, given: false, inputs: [0] }];
  assertEquals(smallest(values).bytes, 0);
  assertEquals(corners(values).length, 1);
});

Deno.test("selectWithin() fits, and is nearly always the best that fits", () => {
  let [runs, exact, lost] = [0, 0, 0];
  fc.assert(
    fc.property(graphs, fc.nat(30), (values, budget) => {
      let best = Infinity;
      for (const { bytes, time } of all(values)) if (bytes <= budget) best = Math.min(best, time);
      if (best === Infinity) {
        const least = smallest(values).bytes;
        assertThrows(() => selectWithin(values, budget), RangeError, `at least ${least}`);
        return;
      }
      const { bytes, time, kept, fetched } = selectWithin(values, budget);
      assert(bytes <= budget && time >= best);
      assertEquals(select(values, new Set(kept), new Set(fetched))?.time, time);
      runs++;
      if (time === best) exact++;
      else lost += (time - best) / Math.max(1, best);
    }),
    { numRuns: 300, seed: 5 },
  );
  console.log(`selectWithin(), seed 5: the best selection in ${exact} of ${runs} graphs`);
  assert(exact > 0.97 * runs && lost < 0.03 * runs, `${exact} of ${runs}, lost ${lost}`);
});

Deno.test("selectWithin() takes a deep graph", () => {
  const values: Value[] = [{ bytes: 4, time: 0, inputs: [], given: true }];
  for (let i = 0; i < 3000; i++) {
    values.push({ bytes: 4, time: i % 10 === 0 ? 1 : 0, inputs: [i], needed: true });
  }
  const { bytes, time } = selectWithin(values, 600);
  assert(bytes <= 600 && time <= 150 && time > 0, `${bytes} bytes, ${time}`);
});

Deno.test("selectWithin() names the least budget", () => {
  const values: Value[] = [{ bytes: 100, time: 1, inputs: [], needed: true, once: true }];
  assertThrows(
    () => selectWithin(values, 99),
    RangeError,
    "Cannot choose what to keep: the budget is 99 bytes, expected at least 100",
  );
});
