import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { decodeNpy, decodeNpz } from "../../data/npy.ts";
import { decodeSafetensors } from "../../data/safetensors.ts";
import { readIdx } from "../../data/idx.ts";

/** An IDX file of bytes. */
function idx(type: number, shape: number[], body: number[]): Uint8Array<ArrayBuffer> {
  const sizes = shape.flatMap((n) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]);
  return Uint8Array.from([0, 0, type, shape.length, ...sizes, ...body]);
}

Deno.test("readIdx() reads unsigned bytes without a copy", () => {
  const file = idx(8, [2, 3], [1, 2, 3, 4, 5, 6]);
  const { type, shape, data } = readIdx(file);
  assertEquals(type, "u8");
  assertEquals(shape, [2, 3]);
  assertEquals([...data], [1, 2, 3, 4, 5, 6]);
  assertEquals(data.buffer, file.buffer);
});

Deno.test("readIdx() reads every element type, big-endian", () => {
  const cases: [number, string, number[], number][] = [
    [0x09, "i8", [0xfe], -2],
    [0x0b, "i16", [0xff, 0xfe], -2],
    [0x0c, "i32", [0, 0, 1, 2], 258],
    [0x0d, "f32", [0x3f, 0xc0, 0, 0], 1.5],
    [0x0e, "f64", [0x3f, 0xf8, 0, 0, 0, 0, 0, 0], 1.5],
  ];
  for (const [byte, name, body, value] of cases) {
    const { type, data } = readIdx(idx(byte, [1], body));
    assertEquals(type, name);
    assertEquals([...data], [value]);
  }
});

Deno.test("readIdx() reads a file that begins inside a larger buffer", () => {
  const file = idx(0x0c, [1], [0, 0, 0, 7]);
  const larger = new Uint8Array(file.length + 5);
  larger.set(file, 3);
  assertEquals([...readIdx(larger.subarray(3, 3 + file.length)).data], [7]);
});

Deno.test("readIdx() reads no axes and empty axes", () => {
  assertEquals([...readIdx(idx(8, [], [9])).data], [9]);
  assertEquals([...readIdx(idx(8, [0, 5], [])).data], []);
});

Deno.test("readIdx() refuses what is no IDX file", () => {
  const refused: [Uint8Array<ArrayBuffer>, string][] = [
    [new Uint8Array(3), "it has 3 bytes"],
    [Uint8Array.of(0x1f, 0x8b, 8, 0), "is it compressed?"],
    [idx(7, [1], [1]), "the byte of the element type is 7"],
    [Uint8Array.of(0, 0, 8, 2, 0, 0, 0, 1), "a header of 12 for 2 axes"],
    [idx(8, [4], [1, 2, 3]), "it is cut short, with 11 bytes, expected 12 for shape [4] of u8"],
    [idx(8, [2], [1, 2, 3]), "bytes follow its end"],
    [idx(0x0d, [2], [1, 2, 3, 4]), "expected 16 for shape [2] of f32"],
    [idx(8, [0xffffffff, 0xffffffff, 0xffffffff], []), "it is cut short"],
  ];
  for (const [file, message] of refused) {
    assertThrows(() => readIdx(file, { name: "the file" }), RangeError, message);
  }
});

Deno.test("readIdx() refuses another type or shape than demanded", () => {
  const file = idx(8, [2, 3], [1, 2, 3, 4, 5, 6]);
  readIdx(file, { type: "u8", shape: [null, 3] });
  assertThrows(
    () => readIdx(file, { type: "f32" }),
    RangeError,
    "its elements are u8, expected f32",
  );
  assertThrows(() => readIdx(file, { shape: [2, 4] }), RangeError, "[2,3], expected [2,4]");
  assertThrows(() => readIdx(file, { shape: [6] }), RangeError, "expected [6]");
});

Deno.test("files are read from bytes, and nothing else is taken for them", async () => {
  const buffer = idx(8, [1], [7]).buffer as unknown as Uint8Array<ArrayBuffer>;
  const message = "it is an ArrayBuffer, expected a Uint8Array";
  for (const read of [readIdx, decodeSafetensors, decodeNpy]) {
    assertThrows(() => void read(buffer), TypeError, message);
  }
  await assertRejects(() => decodeNpz(buffer), TypeError, message);
});
