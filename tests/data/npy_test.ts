import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { decodeNpy, decodeNpz, encodeNpy, encodeNpz } from "../../data/npy.ts";
import type { HostTensor } from "../../data/safetensors.ts";
import { crc32 } from "../../data/zip.ts";
import { randomOf } from "../gpu.ts";

const samples: ReadonlyMap<string, HostTensor> = new Map<string, HostTensor>([
  ["flags", { dtype: "bool", shape: [3], data: Uint32Array.of(1, 0, 1) }],
  ["half", { dtype: "f16", shape: [3], data: Float16Array.of(1, -0, Infinity) }],
  ["weight", { dtype: "f32", shape: [2, 2], data: Float32Array.of(1, -0, NaN, 1e-45) }],
  ["scalar", { dtype: "u32", shape: [], data: Uint32Array.of(4294967295) }],
  ["signed", { dtype: "i32", shape: [1, 1, 1], data: Int32Array.of(-5) }],
  ["empty", { dtype: "f32", shape: [0, 4], data: new Float32Array(0) }],
  ["long", {
    dtype: "i32",
    shape: [1000],
    data: Int32Array.from({ length: 1000 }, (_, i) => i % 7),
  }],
]);

/** A file with a header as written. */
function file(header: string, body: ArrayBuffer | number[] = [], version = 1) {
  const text = new TextEncoder().encode(header), begin = version === 1 ? 10 : 12;
  const data = new Uint8Array(body), bytes = new Uint8Array(begin + text.length + data.length);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), version, 0]);
  const view = new DataView(bytes.buffer);
  if (version === 1) view.setUint16(8, text.length, true);
  else view.setUint32(8, text.length, true);
  bytes.set(text, begin);
  bytes.set(data, begin + text.length);
  return bytes;
}

const header = (descr: string, shape: string, fortran = "False") =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }\n`;

Deno.test("decodeNpy() reads back what encodeNpy() wrote, to the bit", () => {
  for (const [name, { dtype, shape, data }] of samples) {
    const bytes = encodeNpy({ dtype, shape, data }), found = decodeNpy(bytes);
    assertEquals([found.dtype, found.shape], [dtype, shape], name);
    assertEquals(new Uint8Array(found.data.buffer), new Uint8Array(data.buffer), name);
    const length = new DataView(bytes.buffer).getUint16(8, true);
    assertEquals((10 + length) % 64, 0);
    assertEquals(bytes[9 + length], 10);
  }
});

Deno.test("decodeNpy() reads element types that we lack", () => {
  const read = (descr: string, body: ArrayBuffer, n: number) =>
    decodeNpy(file(header(descr, `(${n},)`), body));
  assertEquals(read("<f8", Float64Array.of(0.1, 1e300).buffer, 2), {
    dtype: "f32",
    shape: [2],
    data: Float32Array.of(0.1, Infinity),
  });
  assertEquals(
    read("<i8", BigInt64Array.of(-3n, 2n ** 31n - 1n).buffer, 2).data,
    Int32Array.of(-3, 2 ** 31 - 1),
  );
  assertEquals(
    read("<u8", BigUint64Array.of(2n ** 32n - 1n).buffer, 1).data,
    Uint32Array.of(2 ** 32 - 1),
  );
  assertEquals(read("|u1", Uint8Array.of(255).buffer, 1), {
    dtype: "i32",
    shape: [1],
    data: Int32Array.of(255),
  });
  assertEquals(read("|i1", Int8Array.of(-1).buffer, 1).data, Int32Array.of(-1));
  assertEquals(read("<u2", Uint16Array.of(65535).buffer, 1).data, Int32Array.of(65535));
  assertEquals(read("<i2", Int16Array.of(-2).buffer, 1).data, Int32Array.of(-2));
  assertEquals(read(">i4", Uint8Array.of(0, 0, 1, 2).buffer, 1).data, Int32Array.of(258));
  assertEquals(read(">f4", Uint8Array.of(0x3f, 0x80, 0, 0).buffer, 1).data, Float32Array.of(1));
  assertThrows(() => read("<i8", BigInt64Array.of(2n ** 31n).buffer, 1), RangeError, "2147483648");
  assertThrows(() => read("|b1", Uint8Array.of(2).buffer, 1), RangeError, "the bool 2");
  for (const descr of ["<c8", "|S3", "|O", "<U2", "<f1", "<b4"]) {
    assertThrows(() => read(descr, new ArrayBuffer(0), 0), RangeError, "its elements are");
  }
});

Deno.test("decodeNpy() turns Fortran's order into ours", () => {
  const bytes = file(header("<i4", "(2, 3)", "True"), Int32Array.of(1, 4, 2, 5, 3, 6).buffer);
  assertEquals(decodeNpy(bytes).data, Int32Array.of(1, 2, 3, 4, 5, 6));
  const cube = file(header("<i4", "(2, 1, 2)", "True"), Int32Array.of(1, 3, 2, 4).buffer);
  assertEquals(decodeNpy(cube).data, Int32Array.of(1, 2, 3, 4));
});

Deno.test("decodeNpy() reads later versions and headers written otherwise", () => {
  const body = Int32Array.of(7).buffer;
  assertEquals(decodeNpy(file(header("<i4", "(1,)"), body, 2)).data, Int32Array.of(7));
  assertEquals(decodeNpy(file(header("<i4", "()"), body, 3)).shape, []);
  const odd = " { 'shape':( 1 , ),'fortran_order' :False, 'descr':'<i4' }  ";
  assertEquals(decodeNpy(file(odd, body)).shape, [1]);
});

Deno.test("decodeNpy() refuses what is damaged, with the reason", () => {
  const fails = (bytes: Uint8Array<ArrayBuffer>, reason: string) =>
    assertThrows(() => decodeNpy(bytes, "x.npy"), RangeError, reason);
  const good = encodeNpy(samples.get("weight")!);
  for (let length = 0; length < good.length; length++) {
    assertThrows(() => decodeNpy(good.slice(0, length)), RangeError, "Cannot read npy");
  }
  fails(new Uint8Array([...good, 0]), "it has 17 bytes of data, expected 16");
  fails(good.slice(0, -1), "is it cut short?");
  fails(file(header("<f4", "(1,)"), [0, 0, 0, 0], 4), "its version is 4");
  fails(
    file("{'descr': '<f4', 'fortran_order': False, }"),
    "expected descr, fortran_order and shape",
  );
  fails(file("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (), }"), "twice");
  fails(file("__import__('os')"), "its header is no dict");
  fails(file(header("<f4", "[1]"), [0, 0, 0, 0]), "expected a tuple");
  fails(file(header("<f4", "(1 1)"), [0, 0, 0, 0]), "its shape is (1 1), expected a tuple");
  // Not in time that doubles with every digit.
  const began = performance.now();
  fails(file(header("<f4", `(${"1".repeat(30)}?)`)), "its header is");
  fails(file(header("<f4", `(${"1".repeat(5000)})`)), "expected sizes below 2^53");
  assert(performance.now() - began < 1000);
  fails(file(header("<f4", "(99999999999, 99999999999)")), "expected");
  fails(file(header("<f4", "(1,)", "Maybe"), [0, 0, 0, 0]), "Cannot read x.npy");
  fails(file(header("<f4", "(1,,)"), [0, 0, 0, 0]), "expected a tuple");
  fails(file(header("<f4", "(1 1)"), [0, 0, 0, 0]), "expected a tuple");
  // Nobody shall wait for a header that nobody can read.
  fails(file(header("<f4", `(${"1".repeat(60_000)}`)), "Cannot read x.npy: its header is");
  fails(file(header("<f4", `(${"1, ".repeat(20_000)}x)`)), "Cannot read x.npy: its header is");
  assertThrows(
    () => encodeNpy({ dtype: "f32", shape: [3], data: new Float32Array(2) }),
    TypeError,
    "it has 2 values",
  );
});

Deno.test("decodeNpz() reads back what encodeNpz() wrote, stored and deflated", async () => {
  const sizes: number[] = [];
  for (const compress of [false, true]) {
    const bytes = await encodeNpz(samples, { compress });
    sizes.push(bytes.length);
    const found = await decodeNpz(bytes);
    assertEquals([...found.keys()], [...samples.keys()]);
    for (const [name, { data }] of samples) {
      assertEquals(new Uint8Array(found.get(name)!.data.buffer), new Uint8Array(data.buffer));
    }
    assertEquals(bytes, await encodeNpz(samples, { compress }), "no clock in it");
  }
  assert(sizes[1]! < sizes[0]! / 2);
  assertEquals((await decodeNpz(await encodeNpz(new Map()))).size, 0);
});

Deno.test("decodeNpz() refuses damaged archives, wherever the damage is", async () => {
  const arrays = new Map([...samples].slice(0, 3)), random = randomOf(1);
  for (const compress of [false, true]) {
    const good = await encodeNpz(arrays, { compress });
    for (let length = 0; length < good.length; length += 7) {
      await assertRejects(() => decodeNpz(good.slice(0, length)), RangeError);
    }
    for (let i = 0; i < 200; i++) {
      const bad = good.slice();
      bad[Math.floor(random() * bad.length)]! ^= 1 + Math.floor(random() * 255);
      // Damage to what nobody reads (times, flags' spare bits) may go unnoticed; to values never.
      const read = await decodeNpz(bad).catch((error) => {
        assert(error instanceof RangeError, `${error}`);
      });
      for (const [name, { data }] of read ?? []) {
        const own = arrays.get(name);
        if (own === undefined) continue; // a name in the directory
        assertEquals(new Uint8Array(data.buffer), new Uint8Array(own.data.buffer));
      }
    }
  }
  await assertRejects(() => decodeNpz(new Uint8Array(100)), RangeError, "it has no directory");
});

Deno.test("crc32() is the one of zip", () => {
  assertEquals(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
  assertEquals(crc32(new Uint8Array(0)), 0);
});

/** NumPy 2.4's savez and savez_compressed of a = arange(3), b = float32 [[.5], [2]]. */
const written = [
  "UEsDBC0AAAAAAAAAIQD3QBLq//////////8FABQAYS5ucHkBABAAmAAAAAAAAACYAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxpOCcsICdmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgzLCksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAKAAAAAAAAAAABAAAAAAAAAAIAAAAAAAAAUEsDBC0AAAAAAAAAIQBy7gsC//////////8FABQAYi5ucHkBABAAiAAAAAAAAACIAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxmNCcsICdmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgyLCAxKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAKAAAAPwAAAEBQSwECLQMtAAAAAAAAACEA90AS6pgAAACYAAAABQAAAAAAAAAAAAAAgAEAAAAAYS5ucHlQSwECLQMtAAAAAAAAACEAcu4LAogAAACIAAAABQAAAAAAAAAAAAAAgAHPAAAAYi5ucHlQSwUGAAAAAAIAAgBmAAAAjgEAAAAA",
  "UEsDBC0AAAAIAAAAIQD3QBLq//////////8FABQAYS5ucHkBABAAmAAAAAAAAABMAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6TaaGuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GsY6mjoKtQoUAC4GKGCE0kxQGgBQSwMELQAAAAgAAAAhAHLuCwL//////////wUAFABiLm5weQEAEACIAAAAAAAAAE0AAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNmoq6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkaRjoKhpo6CrUKZAMuBgYGeyB2AABQSwECLQMtAAAACAAAACEA90AS6kwAAACYAAAABQAAAAAAAAAAAAAAgAEAAAAAYS5ucHlQSwECLQMtAAAACAAAACEAcu4LAk0AAACIAAAABQAAAAAAAAAAAAAAgAGDAAAAYi5ucHlQSwUGAAAAAAIAAgBmAAAABwEAAAAA",
];

Deno.test("decodeNpz() reads what NumPy writes", async () => {
  for (const text of written) {
    const arrays = await decodeNpz(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
    assertEquals(arrays.get("a"), { dtype: "i32", shape: [3], data: Int32Array.of(0, 1, 2) });
    assertEquals(arrays.get("b"), { dtype: "f32", shape: [2, 1], data: Float32Array.of(0.5, 2) });
  }
});
