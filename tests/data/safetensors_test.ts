import {
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { encodeNpy, encodeNpz } from "../../data/npy.ts";
import { decodeSafetensors, encodeSafetensors, type HostTensor } from "../../data/safetensors.ts";
import { Generator } from "../../data/shuffle.ts";
import { tensor } from "../../graph/create.ts";

const samples: ReadonlyMap<string, HostTensor> = new Map<string, HostTensor>([
  ["flags", { dtype: "bool", shape: [3], data: Uint32Array.of(1, 0, 1) }],
  ["half", { dtype: "f16", shape: [3], data: Float16Array.of(1, -0, Infinity) }],
  ["weight", { dtype: "f32", shape: [2, 2], data: Float32Array.of(1, -0, NaN, 1e-45) }],
  ["step", { dtype: "u32", shape: [], data: Uint32Array.of(4294967295) }],
  ["signed", { dtype: "i32", shape: [1], data: Int32Array.of(-5) }],
  ["empty", { dtype: "f32", shape: [0, 4], data: new Float32Array(0) }],
  ['odd "name" {:}\\ ü', { dtype: "f32", shape: [1], data: Float32Array.of(2) }],
]);

/** A file with a header as written. */
function file(header: string, body = 0): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + body);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

Deno.test("decodeSafetensors() reads back what encodeSafetensors() wrote, to the bit", () => {
  const metadata = { epoch: "3", note: '{"x":[1]}' };
  const read = decodeSafetensors(encodeSafetensors(samples, metadata));
  assertEquals(read.metadata, metadata);
  assertEquals([...read.tensors.keys()].sort(), [...samples.keys()].sort());
  for (const [name, { dtype, shape, data }] of samples) {
    const found = read.tensors.get(name)!;
    assertEquals([found.dtype, found.shape], [dtype, shape]);
    assertEquals(new Uint8Array(found.data.buffer), new Uint8Array(data.buffer), name);
  }
});

Deno.test("encodeSafetensors() aligns every tensor to its elements and ends the header at 8", () => {
  const bytes = encodeSafetensors(samples);
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  assertEquals(length % 8, 0);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  for (const [name, { dtype }] of samples) {
    const width = { f32: 4, i32: 4, u32: 4, f16: 2, bool: 1 }[dtype];
    assertEquals(header[name].data_offsets[0] % width, 0);
  }
});

Deno.test("encodeSafetensors() refuses data that does not fit its shape, and the reserved name", () => {
  const wrong: HostTensor = { dtype: "f32", shape: [3], data: new Float32Array(2) };
  assertThrows(() => encodeSafetensors(new Map([["w", wrong]])), TypeError, "it has 2 values");
  const right: HostTensor = { ...wrong, shape: [2] };
  assertThrows(
    () => encodeSafetensors(new Map([["__metadata__", right]])),
    TypeError,
    "expected another",
  );
});

Deno.test("files are not written of data that are not their dtype's", async () => {
  const found = [
    [
      { dtype: "f32", data: new Float64Array(2) },
      "its data are a Float64Array of 2, expected a Float32Array for f32",
    ],
    [{ dtype: "f32", data: new Int32Array(2) }, "expected a Float32Array for f32"],
    [{ dtype: "bool", data: new Uint8Array(2) }, "expected a Uint32Array for bool"],
    [
      { dtype: "f64", data: new Float64Array(2) },
      'its dtype is "f64", expected f32, f16, i32, u32',
    ],
    [tensor([1, 2]), "its data are a function, expected a Float32Array"],
  ] as const;
  for (const [wrong, message] of found) {
    const x = Object.assign(wrong, { shape: [2] }) as never, named = new Map([["w", x]]);
    assertThrows(() => encodeSafetensors(named), TypeError, "Cannot encode tensor w: ");
    assertThrows(() => encodeSafetensors(named), TypeError, message);
    assertThrows(() => encodeNpy(x), TypeError, message);
    await assertRejects(() => encodeNpz(named), TypeError, message);
  }
  const record = { w: 1 } as never;
  assertThrows(() => encodeSafetensors(record), TypeError, "they are an object, expected a Map");
  await assertRejects(() => encodeNpz(record), TypeError, "they are an object, expected a Map");
});

Deno.test("decodeSafetensors() reads a file as the reference implementation writes it", () => {
  // Members in no particular order, spaces at the end, offsets far apart in the text.
  const bytes = file(
    '{"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},' +
      '"a":{"dtype":"I32","shape":[],"data_offsets":[0,4]}}   ',
    8,
  );
  new DataView(bytes.buffer).setInt32(bytes.length - 8, 7, true);
  const { tensors } = decodeSafetensors(bytes);
  assertEquals([...tensors.keys()], ["a", "b"]);
  assertEquals([...tensors.get("a")!.data], [7]);
});

Deno.test("decodeSafetensors() refuses files that are not exactly right", () => {
  const f32 = (begin: number, end: number, shape = "[1]") =>
    `{"dtype":"F32","shape":${shape},"data_offsets":[${begin},${end}]}`;
  const huge = file("{}");
  new DataView(huge.buffer).setBigUint64(0, 2n ** 63n, true);
  const refused: [Uint8Array<ArrayBuffer>, string][] = [
    [new Uint8Array(7), "it has 7 bytes"],
    [huge, "its header has"],
    [file("{"), "is no JSON"],
    [file('"x"'), "is no JSON object"],
    [file("[]"), "is no JSON object"],
    [file(" {}"), "is no JSON object"],
    [file("\xff\xfe"), "is no JSON"],
    [file(`{"a":${f32(0, 4)},"a":${f32(0, 4)}}`, 4), 'has "a" twice'],
    [file(`{"a":${f32(0, 4)},"\\u0061":${f32(0, 4)}}`, 4), 'has "a" twice'],
    [
      file('{"a":{"dtype":"I32","dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4),
      '"dtype" twice',
    ],
    [file('{"__metadata__":{"x":"1","x":"2"}}'), 'has "x" twice'],
    [file('{"__metadata__":{"x":1}}'), "its metadata is no object of texts"],
    [file('{"a":null}'), "a is no JSON object"],
    [file('{"a":{"dtype":"F8","shape":[],"data_offsets":[0,1]}}', 1), 'the dtype "F8"'],
    [file('{"a":{"dtype":"toString","shape":[],"data_offsets":[0,1]}}', 1), "the dtype"],
    [file(`{"a":${f32(0, 4, "[-1]")}}`, 4), "the shape [-1]"],
    [file(`{"a":${f32(0, 4, "[0.5]")}}`, 4), "the shape [0.5]"],
    [file(`{"a":${f32(0, 4, "4")}}`, 4), "the shape 4"],
    [file('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}', 4), "the offsets [0]"],
    [file(`{"a":${f32(4, 0)}}`, 4), "has -4 bytes"],
    [file(`{"a":${f32(0, 8)}}`, 8), "has 8 bytes, expected 4"],
    [file(`{"a":${f32(0, 4, "[9007199254740991,9007199254740991]")}}`, 4), "expected"],
    [file(`{"a":${f32(4, 8)}}`, 8), "begins at byte 4, expected 0"],
    [file(`{"a":${f32(0, 4)},"b":${f32(0, 4)}}`, 4), "begins at byte 0, expected 4"],
    [file(`{"a":${f32(0, 4)}}`, 3), "is it cut short?"],
    [file(`{"a":${f32(0, 4)}}`, 5), "1 bytes follow the last tensor"],
    [file('{"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}', 1), ""],
  ];
  const last = refused.pop()![0];
  last[last.length - 1] = 2;
  refused.push([last, "holds the bool 2"]);
  for (const [bytes, message] of refused) {
    assertThrows(() => decodeSafetensors(bytes, "model"), RangeError, message);
  }
});

Deno.test("decodeSafetensors() survives truncation anywhere and any damaged byte", () => {
  const whole = encodeSafetensors(samples, { epoch: "3" });
  const attempt = (bytes: Uint8Array<ArrayBuffer>, what: string): boolean => {
    try {
      decodeSafetensors(bytes, "damaged");
      return true;
    } catch (error) {
      assertInstanceOf(error, RangeError, what);
      assertStringIncludes(error.message, "Cannot read damaged: ", what);
      return false;
    }
  };
  for (let length = 0; length < whole.length; length++) {
    assertEquals(attempt(whole.slice(0, length), `cut to ${length}`), false);
  }
  const seed = Number(Deno.env.get("RETROGRAD_SEED") ?? Math.floor(Math.random() * 2 ** 32));
  const generator = new Generator(seed);
  console.log(`seed ${seed}`);
  for (let i = 0; i < 5000; i++) {
    const bytes = whole.slice();
    for (let n = generator.below(4); n >= 0; n--) {
      bytes[generator.below(bytes.length)] = generator.below(256);
    }
    attempt(bytes, `seed ${seed}, attempt ${i}`);
  }
});

Deno.test("decodeSafetensors() reads element types that we lack", () => {
  const read = (dtype: string, bytes: Uint8Array) => {
    const size = bytes.length / { F64: 8, BF16: 2, I64: 8, I16: 2, U8: 1 }[dtype]!;
    const entry = { dtype, shape: [size], data_offsets: [0, bytes.length] };
    const whole = file(JSON.stringify({ x: entry }), bytes.length);
    whole.set(bytes, whole.length - bytes.length);
    return decodeSafetensors(whole).tensors.get("x")!;
  };
  const raw = (data: ArrayBufferView) => new Uint8Array(data.buffer);
  assertEquals(read("F64", raw(Float64Array.of(0.1))).data, Float32Array.of(0.1));
  assertEquals(read("BF16", raw(Uint16Array.of(0x3f80, 0xc040))), {
    dtype: "f32",
    shape: [2],
    data: Float32Array.of(1, -3),
  });
  assertEquals(read("I64", raw(BigInt64Array.of(-7n))).data, Int32Array.of(-7));
  assertEquals(read("I16", raw(Int16Array.of(-7))).data, Int32Array.of(-7));
  assertEquals(read("U8", Uint8Array.of(200)).data, Int32Array.of(200));
  assertThrows(
    () => read("I64", raw(BigInt64Array.of(2n ** 40n))),
    RangeError,
    "32 bits do not hold",
  );
});
