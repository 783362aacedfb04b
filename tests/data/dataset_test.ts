import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { tensor } from "../../graph/create.ts";
import { byteColumn, packWords, tensorColumn } from "../../data/column.ts";
import { Dataset } from "../../data/dataset.ts";
import { assertValues, installHost } from "../graph/host.ts";

installHost();

/** n samples of one byte each, whose target is the same number. */
function numbered(n: number): Dataset {
  const values = Uint8Array.from({ length: n }, (_, i) => i);
  return new Dataset(
    byteColumn(values, [1], { scale: 1 }),
    tensorColumn(tensor(Int32Array.from(values))),
  );
}

/** The targets of all batches. */
async function targets(batches: Iterable<{ y: { data(): Promise<ArrayLike<number>> } }>) {
  const result: number[][] = [];
  for (const { y } of batches) result.push(Array.from(await y.data()));
  return result;
}

Deno.test("packWords() puts the first byte lowest and fills rows up with zeros", () => {
  assertEquals(packWords(Uint8Array.of(1, 2, 3, 4), 4), Uint32Array.of(0x04030201));
  assertEquals(packWords(Uint8Array.of(1, 2, 3, 255, 5, 6), 3), Uint32Array.of(0x030201, 0x0605ff));
  assertEquals(packWords(Uint8Array.of(1, 2, 3, 4, 255), 5), Uint32Array.of(0x04030201, 255));
});

Deno.test("packWords() reads bytes at an odd offset", () => {
  const bytes = Uint8Array.of(9, 1, 2, 3, 4).subarray(1);
  assertEquals(packWords(bytes, 4), Uint32Array.of(0x04030201));
});

Deno.test("byteColumn() reads rows as floats, whatever their width", async () => {
  for (const width of [1, 2, 3, 4, 5, 7, 8, 13]) {
    const bytes = Uint8Array.from({ length: 6 * width }, (_, i) => (i * 37) % 256);
    const column = byteColumn(bytes, [width], { scale: 0.5 });
    assertEquals([column.size, column.shape], [6, [width]]);
    const rows = [5, 0, 5, 2];
    const expected = rows.map((r) =>
      [...bytes.subarray(r * width, (r + 1) * width)].map((v) => v / 2)
    );
    await assertValues(column.take(tensor(rows, { dtype: "u32" })), expected, 0, `width ${width}`);
  }
});

Deno.test("byteColumn() shapes samples and scales to [0, 1]", async () => {
  const column = byteColumn(Uint8Array.of(0, 51, 102, 255), [2, 2, 1]);
  const x = column.take(tensor([0], { dtype: "i32" }));
  assertEquals(x.shape, [1, 2, 2, 1]);
  await assertValues(x, [0, 0.2, 0.4, 1], 1e-7);
});

Deno.test("columns refuse what has no samples", () => {
  assertThrows(
    () => byteColumn(new Uint8Array(5), [2]),
    TypeError,
    "5 bytes for samples of shape [2]",
  );
  assertThrows(() => byteColumn(new Uint8Array(0), [2]), TypeError, "a positive multiple of 2");
  assertThrows(() => tensorColumn(tensor(1)), TypeError, "expected an axis of samples");
  assertThrows(
    () => new Dataset(tensorColumn(tensor([1])), tensorColumn(tensor([1, 2]))),
    TypeError,
    "1 inputs and 2 targets",
  );
});

Deno.test("Dataset.batches() goes through in order without a seed, and drops the rest", async () => {
  const data = numbered(7);
  assertEquals(await targets(data.batches({ size: 3 })), [[0, 1, 2], [3, 4, 5]]);
  assertEquals(await targets(data.batches({ size: 3, rest: true })), [[0, 1, 2], [3, 4, 5], [6]]);
  assertEquals(await targets(data.batches({ size: 9, rest: true })), [[0, 1, 2, 3, 4, 5, 6]]);
});

Deno.test("Dataset.batches() gives inputs with their own targets, each sample once an epoch", async () => {
  const data = numbered(100);
  for (const epoch of [0, 1]) {
    const seen: number[] = [];
    for (const { x, y } of data.batches({ size: 20, seed: 3, epoch })) {
      assertEquals(Array.from(await x.data()), Array.from(await y.data()));
      seen.push(...await y.data());
    }
    assertEquals(seen.toSorted((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i));
  }
  const [a, b, c] = [
    await targets(data.batches({ size: 20, seed: 3, epoch: 0 })),
    await targets(data.batches({ size: 20, seed: 3, epoch: 1 })),
    await targets(data.batches({ size: 20, seed: 4, epoch: 0 })),
  ];
  assertNotEquals(a, b);
  assertNotEquals(a, c);
  assertEquals(a, await targets(data.batches({ size: 20, seed: 3 })));
});

Deno.test("Dataset.batches() refuses sizes that give no batch", () => {
  for (const size of [0, 1.5, 8]) {
    assertThrows(() => [...numbered(7).batches({ size })], RangeError, `size is ${size}`);
  }
});

Deno.test("Dataset.split() gives disjoint parts that do not depend on the order of epochs", () => {
  const data = numbered(100);
  const { a, b } = data.split({ a: 0.9, b: 0.1 }, { seed: 5 });
  assertEquals([a.size, b.size], [90, 10]);
  assertEquals([...a.rows, ...b.rows].toSorted((x, y) => x - y), [...data.rows]);
  assertEquals(data.split({ a: 0.9, b: 0.1 }, { seed: 5 }).b.rows, b.rows);
  assertNotEquals(data.split({ a: 0.9, b: 0.1 }, { seed: 6 }).b.rows, b.rows);
  const { c, d, e } = data.split({ c: 33, d: 33, e: 33 });
  assertEquals([c.size, d.size, e.size], [33, 33, 33]);
  assertEquals(new Set([...c.rows, ...d.rows, ...e.rows]).size, 99);
});

Deno.test("Dataset.split() uses up the set where fractions add up to 1", () => {
  const parts = numbered(10).split({ a: 1 / 3, b: 1 / 3, c: 1 / 3 });
  assertEquals(parts.a.size + parts.b.size + parts.c.size, 10);
});

Deno.test("Dataset.split() splits a part again", async () => {
  const { a } = numbered(20).split({ a: 10, b: 10 });
  const { c } = a.split({ c: 5 });
  assertEquals(c.rows.every((row) => a.rows.includes(row)), true);
  const [batch] = await targets(c.batches({ size: 5 }));
  assertEquals(batch, [...c.rows]);
});

Deno.test("Dataset.split() refuses parts that are too many or mixed", () => {
  for (const [a, b] of [[11, 0], [0.5, 0.6], [0.5, 3], [-1, 1]] as const) {
    assertThrows(() => numbered(10).split({ a, b }), RangeError, "Cannot split 10 samples");
  }
});
