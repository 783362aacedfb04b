import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { parameter } from "../../graph/build.ts";
import { arange, eye, full, linspace, ones, onesLike, tensor, zeros } from "../../graph/create.ts";
import type { TensorData } from "../../graph/create.ts";
import { installExecutor } from "../../graph/executor.ts";
import { realize } from "../../graph/realize.ts";
import { readAll, Tensor } from "../../graph/tensor.ts";
import { assertValues, installHost, realized } from "./host.ts";

installHost();

Deno.test("tensor() takes shape and dtype from nested arrays", async () => {
  const cases: [TensorData, number[], string][] = [
    [3, [], "f32"],
    [true, [], "bool"],
    [[], [0], "f32"],
    [[[], []], [2, 0], "f32"],
    [[1, 2, 3], [3], "f32"],
    [[[1], [2]], [2, 1], "f32"],
    [[[true, false]], [1, 2], "bool"],
    [[true, 2], [2], "f32"],
  ];
  for (const [data, shape, dtype] of cases) {
    const x = tensor(data);
    assertEquals([x.shape, x.dtype, x.size, x.rank], [
      shape,
      dtype,
      shape.reduce((a, b) => a * b, 1),
      shape.length,
    ]);
  }
  assertEquals(await tensor([[1, 2], [3, 4]]).array(), [[1, 2], [3, 4]]);
  assertEquals(await tensor([[true], [false]]).array(), [[true], [false]]);
});

Deno.test("tensor() takes the dtype from typed arrays and copies them", async () => {
  const cases = [
    [new Float32Array([1.5]), "f32"],
    [new Float64Array([1.5]), "f32"],
    [new Float16Array([1.5]), "f16"],
    [new Int32Array([-1]), "i32"],
    [new Uint32Array([4294967295]), "u32"],
    [new Int8Array([-1]), "i32"],
    [new Int16Array([-1]), "i32"],
    [new Uint8Array([255]), "i32"],
    [new Uint8ClampedArray([255]), "i32"],
    [new Uint16Array([65535]), "i32"],
  ] as const;
  for (const [data, dtype] of cases) {
    const x = tensor(data), value = data[0]!;
    data[0] = 0;
    assertEquals([x.dtype, await x.item()], [dtype, value]);
  }
});

Deno.test("tensor() rounds to a dtype as cast() does", async () => {
  const values = [1.7, -1.7, 3e9, -3e9, NaN, 0, 0.1];
  await assertValues(tensor(values, { dtype: "i32" }), [1, -1, 2147483647, -2147483648, 0, 0, 0]);
  await assertValues(tensor(values, { dtype: "u32" }), [1, 0, 3000000000, 0, 0, 0, 0]);
  await assertValues(tensor(values, { dtype: "bool" }), [1, 1, 1, 1, 1, 0, 1]);
  await assertValues(
    tensor(values, { dtype: "f16" }),
    [1.7, -1.7, Infinity, -Infinity, NaN, 0, 0.1].map(Math.f16round),
  );
  await assertValues(tensor(new Uint32Array([5, 0]), { dtype: "bool" }), [1, 0]);
});

Deno.test("tensor() says where the data is wrong", () => {
  const cases: [unknown, string][] = [
    [[[1, 2], [3]], "data[1] has 1 elements, expected 2, as data[0] has"],
    [[[1, 2], 3], "data[1] is the single value 3, expected an array of 2"],
    [[1, [2]], "data[1] is an array of 1, expected a number or a boolean"],
    [[[1], ["2"]], "data[1][0] is a string, expected a number or a boolean"],
    [[1, undefined], "data[1] is undefined"],
    [null, "data is null"],
    [[ones([2])], "data[0] is Tensor f32[2] (stack() joins tensors)"],
    [new BigInt64Array(1), "data is a BigInt64Array"],
  ];
  for (const [data, message] of cases) {
    assertThrows(() => tensor(data as TensorData), TypeError, `Cannot make a tensor: ${message}`);
  }
  assertThrows(
    () => tensor([1, 2, 3], { shape: [2, 2] }),
    TypeError,
    "3 values for shape [2,2], expected 4 values",
  );
  assertThrows(() => tensor([1], { shape: [-1] }), RangeError, "expected non-negative integers");
  assertThrows(() => tensor(1, { dtype: "float32" as "f32" }), TypeError, "dtype is float32");
});

Deno.test("full() and its kin make constants", async () => {
  assertEquals(await zeros([2, 1]).array(), [[0], [0]]);
  assertEquals(await ones([2], { dtype: "i32" }).array(), [1, 1]);
  assertEquals(await full([1], true).array(), [true]);
  assertEquals(await full([2], -0.5).array(), [-0.5, -0.5]);
  assertEquals(onesLike(tensor([1], { dtype: "u32" })).dtype, "u32");
  assertThrows(() => zeros([2.5]), RangeError, "Cannot fill");
  assertThrows(() => zeros([65536, 65536]), RangeError, "more than 2^31-1 elements");
});

Deno.test("arange() counts like NumPy", async () => {
  assertEquals(await arange(4).array(), [0, 1, 2, 3]);
  assertEquals(arange(4).dtype, "i32");
  assertEquals(await arange(2, 9, 3).array(), [2, 5, 8]);
  assertEquals(await arange(3, -2, -2).array(), [3, 1, -1]);
  assertEquals(await arange(3, 3).array(), []);
  assertEquals(await arange(0, 1, 0.25).array(), [0, 0.25, 0.5, 0.75]);
  assertEquals(arange(0, 1, 0.25).dtype, "f32");
  assertEquals(arange(3, { dtype: "f32" }).dtype, "f32");
  assertEquals(await arange(3e9, 3e9 + 3, { dtype: "u32" }).array(), [3e9, 3e9 + 1, 3e9 + 2]);
  assertEquals(await arange(3e9, 0, -1.5e9, { dtype: "u32" }).array(), [3e9, 1.5e9]);
  assertEquals(await arange(-(2 ** 31), 2 ** 31, 2 ** 32 - 1).array(), [-(2 ** 31), 2 ** 31 - 1]);
  assertEquals(await arange(0, 5e9, 2.5e9, { dtype: "f32" }).array(), [0, 2.5e9]);
  assertThrows(() => arange(0, 5e9, 1e9), RangeError, "expected values from -2147483648");
  assertThrows(() => arange(-1, 2, { dtype: "u32" }), RangeError, "from 0 to 4294967295");
  assertThrows(() => arange(0, 1, 0), RangeError, "Cannot arange");
  assertThrows(() => arange(Infinity), RangeError, "Cannot arange");
});

Deno.test("linspace() ends exactly at its ends", async () => {
  const x = await linspace(0.1, 0.7, 7).data();
  assertEquals([x[0], x[6]], [Math.fround(0.1), Math.fround(0.7)]);
  await assertValues(linspace(0, 1, 5), [0, 0.25, 0.5, 0.75, 1], 1e-6);
  await assertValues(linspace(0, 1, 4, { endpoint: false }), [0, 0.25, 0.5, 0.75], 1e-6);
  assertEquals(await linspace(3, 9, 1).array(), [3]);
  assertEquals(await linspace(3, 9, 0).array(), []);
});

Deno.test("eye() has ones on the diagonal", async () => {
  assertEquals(await eye(2).array(), [[1, 0], [0, 1]]);
  assertEquals(await eye(2, 3, { dtype: "i32" }).array(), [[1, 0, 0], [0, 1, 0]]);
});

Deno.test("data() computes once and leaves a leaf", async () => {
  const x = tensor([1, 2]).add(1);
  assertEquals(x.node.op, "add");
  assertEquals(await x.data(), new Float32Array([2, 3]));
  assertEquals(x.node.op, "leaf");
  const before = realized;
  (await x.data())[0] = 99;
  assertEquals(await x.array(), [2, 3]);
  assertEquals(realized, before);
});

Deno.test("item() wants exactly one element", async () => {
  assertEquals(await tensor([[4]]).item(), 4);
  assertEquals(await tensor([true]).item(), 1);
  await assertRejects(
    () => tensor([1, 2]).item(),
    TypeError,
    "Cannot read an item: the shape is [2], expected one element",
  );
});

Deno.test("array() nests a scalar and empty axes rightly", async () => {
  assertEquals(await tensor(2).array(), 2);
  assertEquals(await tensor(true).array(), true);
  assertEquals(await zeros([2, 0]).array(), [[], []]);
  assertEquals(await zeros([0, 2]).array(), []);
});

Deno.test("data() of a traced tensor is an error that names the expression", async () => {
  const x = new Tensor(parameter(0, { shape: [2], dtype: "f32" }));
  for (const read of [() => x.add(1).data(), () => x.sum().item(), () => realize([x.neg()])]) {
    await assertRejects(
      read,
      Error,
      "belongs to a function that compile(), vmap() or a loop traces, expected to",
    );
  }
  await assertRejects(() => x.add(1).data(), Error, "Cannot read a value: add(arg0, 1)");
});

Deno.test("realize() computes a tree in one go and returns it", async () => {
  const a = tensor([1, 2]);
  const tree = { sum: a.sum(), list: [a.mul(2), a.mul(2)], n: 3 };
  const before = realized;
  assertStrictEquals(await realize(tree), tree);
  // The two equal products are one expression.
  assertEquals(realized - before, 2);
  assertEquals(tree.list.map((x) => x.node.op), ["leaf", "leaf"]);
  assertEquals(await tree.sum.item(), 3);
});

Deno.test("readAll() gives every tensor an array of its own", async () => {
  const a = tensor([1, 2]), b = a.add(1), c = a.add(1);
  const [x, y, z] = await readAll([b, c, a]);
  assertEquals([x, y, z], [
    new Float32Array([2, 3]),
    new Float32Array([2, 3]),
    new Float32Array([1, 2]),
  ]);
  assert(x !== y);
});

Deno.test("dispose() makes a tensor unusable, but not the owner of its data", async () => {
  const x = tensor([1, 2]);
  {
    using alias = x.reshape(2);
    assertStrictEquals(alias.node, x.node);
  }
  assertEquals(await x.array(), [1, 2]);
  x.dispose();
  x.dispose();
  assertThrows(() => x.add(1), Error, "Cannot use a tensor: Tensor f32[2] was disposed of");
  await assertRejects(() => x.data(), Error, "was disposed of");
  const traced = new Tensor(parameter(0, { shape: [], dtype: "f32" }));
  traced.dispose();
  assertEquals(traced.node.op, "parameter");
});

Deno.test("dispose() leaves unread values what they are computed from", async () => {
  let sum;
  {
    using x = tensor([1, 2]);
    using doubled = x.mul(2);
    sum = doubled.add(x);
  }
  assertEquals(await sum.array(), [3, 6]);
});

Deno.test("data() without a device says what to do", async () => {
  installExecutor(undefined);
  try {
    assertEquals(await tensor([1]).array(), [1]);
    await assertRejects(() => tensor([1]).add(1).data(), Error, "expected `await init()` before");
  } finally {
    installHost();
  }
});

Deno.test("Tensor in an operator is an error, in a string its type", () => {
  const x = ones([2, 3]);
  assertEquals(`${x}`, "Tensor f32[2,3]");
  assertEquals(Deno.inspect(x), "Tensor f32[2,3]");
  // @ts-expect-error JavaScript lets one write this
  assertThrows(() => x * 2, TypeError, "Cannot use Tensor f32[2,3] with an operator");
});
