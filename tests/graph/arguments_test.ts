/**
 * Arguments that types would keep out, and plain JavaScript lets in: each is an error at the call
 * that says what was given and what was expected.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as create from "../../graph/create.ts";
import { describe } from "../../graph/describe.ts";
import * as operations from "../../graph/operations.ts";
import * as random from "../../graph/random.ts";
import type { Tensor } from "../../graph/tensor.ts";
import * as transforms from "../../graph/transforms.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const rg: Any = { ...create, ...operations, ...transforms, random };
const x: Any = create.ones([2, 3]), i: Any = create.zeros([2], { dtype: "i32" });
const t: Any = create.tensor([true, false]);

const sum = (x: Tensor): Tensor => x.sum();

/** What is called, and a part of what it has to say. */
const mistakes: readonly (readonly [string, () => unknown, string])[] = [
  ["add() of text", () => x.add("1"), 'is "1", expected a tensor or a number'],
  ["add() of nothing", () => x.add(undefined), "is undefined, expected a tensor or a number"],
  ["add() of a boolean", () => x.add(true), "is true, expected a tensor or a number"],
  ["add() of an array", () => x.add([1, 2, 3]), "is an array of 3, expected a tensor or a number"],
  ["clip() to text", () => x.clip("a"), 'is "a", expected a tensor or a number'],
  ["sub() of shapes", () => x.sub(i), "Cannot sub: shapes are"],
  ["logicalAnd() of shapes", () => t.logicalAnd(x), "Cannot logicalAnd: shapes are"],
  ["logicalOr() of text", () => t.logicalOr("a"), "Cannot logicalOr: an operand is"],
  ["bitwiseXor() of floats", () => x.bitwiseXor(x), "Cannot bitwiseXor: operand is f32"],
  ["bitwiseNot() of floats", () => x.bitwiseNot(), "Cannot bitwiseNot: operand is f32"],
  ["leftShift() of floats", () => x.leftShift(1), "Cannot leftShift: operand is f32"],
  ["greater() of nothing", () => x.greater(null), "Cannot greater: an operand is null"],
  ["transpose() with an axis twice", () => x.transpose([0, 0]), "Cannot transpose: order is [0,0]"],
  ["std() along too much", () => x.std(2), "Cannot std: "],
  ["argmax() along a tensor", () => x.argmax(i), "Cannot argmax: axis is Tensor i32[2], expected"],
  ["swapAxes() by tensors", () => x.swapAxes(i, i), "Cannot swapAxes: axis is Tensor i32[2]"],
  [
    "jvp() of no list",
    () => rg.jvp(sum, x, x),
    "Cannot take the jvp of sum: primals is Tensor f32",
  ],
  [
    "jvp() along no list",
    () => rg.jvp(sum, [x], x),
    "tangents is Tensor f32[2,3], expected a list",
  ],
  ["dot() by text", () => x.dot("a"), "Cannot dot: an operand is"],
  ["dot() of shapes", () => x.dot(i), "Cannot dot: shapes are"],
  ["take() by nothing", () => x.take(null), "Cannot take: an operand is null"],
  ["atan2() of shapes", () => x.atan2(i), "Cannot atan2: shapes are"],
  ["remainder() of shapes", () => x.remainder(i), "Cannot remainder: shapes are"],
  ["expandDims() of nothing", () => x.expandDims(null), "Cannot expandDims: the axis is null"],
  ["split() into nothing", () => x.split(null), "Cannot split: parts are null"],
  ["matmul() by a number", () => x.matmul(2), "is 2, expected a tensor"],
  ["outer() by a number", () => x.outer(2), "is 2, expected a tensor"],
  ["take() by an array", () => x.take([0]), "is an array of 1, expected a tensor or a number"],
  ["take() of a fraction", () => x.take(1.5), "the index is 1.5, expected an integer"],
  ["takeAlongAxis() by an array", () => x.takeAlongAxis([0], 0), "expected a tensor"],
  ["scatterAdd() by a number", () => x.scatterAdd(0, 1), "is 0, expected a tensor"],
  ["where() by a boolean", () => rg.where(true, x, x), "is true, expected a tensor"],
  ["concatenate() of a tensor", () => rg.concatenate(x), "Tensor f32[2,3], expected an array"],
  ["concatenate() with a number", () => rg.concatenate([x, 1]), "is 1, expected a tensor"],
  ["stack() of numbers", () => rg.stack([1, 2]), "is 1, expected a tensor"],
  ["sum() along text", () => x.sum("0"), 'the axis is "0", expected a number'],
  ["sum() along null", () => x.sum(null), "the axis is null, expected a number"],
  ["sum() along options", () => x.sum({ keepDims: true }), "the axis is an object, expected"],
  ["sum() along a tensor", () => x.sum(i), "the axis is Tensor i32[2], expected a number"],
  ["variance() with text", () => x.variance(0, { correction: "a" }), 'is "a", expected a finite'],
  ["transpose() by numbers", () => x.transpose(1, 0), "the order is 1, expected an array of 2"],
  ["slice() by text", () => x.slice("0"), 'spec "0" on axis 0 of [2,3], expected an index'],
  ["slice() by an object", () => x.slice({ start: 0 }), "spec an object on axis 0"],
  ["slice() by a list of four", () => x.slice([0, 1, 1, 1]), "spec an array of 4 on axis 0"],
  ["slice() by a tensor", () => x.slice(i), "spec Tensor i32[2] on axis 0"],
  ["pad() by nothing", () => x.pad(undefined), "widths are undefined"],
  ["pad() with text", () => x.pad(1, "a"), 'f32 with "a", expected a value of it'],
  ["pad() of i32 with a fraction", () => i.pad(1, 1.5), "i32 with 1.5, expected a value of it"],
  ["broadcastTo() a number", () => x.broadcastTo(3), "the shape is 3, expected an array of sizes"],
  ["cast() to f64", () => x.cast("f64"), "Cannot cast: dtype is f64, expected one of f32, f16"],
  ["bitcast() to f64", () => x.bitcast("f64"), "Cannot bitcast: dtype is f64, expected one of"],
  ["oneHot() of f64", () => i.oneHot(2, "f64"), "Cannot oneHot: dtype is f64, expected one of"],
  ["oneHot() of a size below 0", () => i.oneHot(-1), "Cannot oneHot: shape is [2,-1], expected"],
  ["zeros() of a number", () => rg.zeros(3), "the shape is 3, expected an array of sizes"],
  ["zeros() of nothing", () => rg.zeros(), "the shape is undefined, expected an array of sizes"],
  ["full() of text", () => rg.full([1], "a"), 'the value is "a", expected a number or a boolean'],
  ["tensor() with a number as shape", () => rg.tensor([1], { shape: 1 }), "the shape is 1"],
  ["linspace() from NaN", () => rg.linspace(NaN, 1, 3), "from NaN to 1, expected finite numbers"],
  ["normal() with a number as key", () => rg.random.normal(1, [2]), "is 1, expected a key"],
  ["normal() of a number", () => rg.random.normal(rg.random.key(1), 2), "the shape is 2, expected"],
  ["grad() of a number", () => rg.grad(3)(x), "Cannot differentiate: 3, expected a function"],
  [
    "zeros() of a dtype",
    () => rg.zeros([2], "i32"),
    'Cannot fill: the options are "i32", expected',
  ],
  ["onesLike() of a dtype", () => rg.onesLike(x, "i32"), 'the options are "i32", expected'],
  ["tensor() of a dtype", () => rg.tensor([1], "i32"), 'the options are "i32", expected'],
  ["arange() of a dtype", () => rg.arange(3, "u32"), 'Cannot arange: the options are "u32"'],
  ["linspace() of a dtype", () => rg.linspace(0, 1, 3, "f16"), 'the options are "f16", expected'],
  ["eye() of nothing", () => rg.eye(2, 2, null), "Cannot eye: the options are null, expected"],
  [
    "normal() of a dtype",
    () => rg.random.normal(rg.random.key(1), [2], "f16"),
    'the options are "f16", expected an object such as { dtype: … }',
  ],
  ["gelu() of null", () => x.gelu(null), "Cannot gelu: the options are null, expected an object"],
  ["gelu() by text", () => x.gelu({ approximate: "x" }), 'is "x", expected "none" or "tanh"'],
  ["elu() by text", () => x.elu("a"), 'Cannot elu: alpha is "a", expected a number'],
  ["leakyRelu() by NaN", () => x.leakyRelu(NaN), "Cannot leakyRelu: slope is NaN, expected a"],
  ["trace() of a vector", () => i.trace(), "Cannot trace: the tensor is [2], expected matrices"],
  ["tril() by text", () => x.tril("a"), 'Cannot tril: the diagonal is "a", expected an integer'],
  ["triu() by a fraction", () => x.triu(0.5), "Cannot triu: the diagonal is 0.5, expected an"],
  [
    "triangularMask() by text",
    () => rg.triangularMask(2, 2, "a"),
    'Cannot triangularMask: the diagonal is "a", expected an integer',
  ],
  ["logicalAnd() with text", () => t.logicalAnd("a"), 'is "a", expected a tensor or a number'],
];

for (const [name, call, part] of mistakes) {
  Deno.test(`${name} says what it got and what it wants`, () => {
    const { message } = assertThrows(call, Error);
    assert(message.includes(part), message);
    assert(/^Cannot [^:]+: .+, expected .+[^.]$/s.test(message), message);
  });
}

Deno.test("describe() finds words for any value", () => {
  assertEquals(describe("a"), '"a"');
  assertEquals(describe(null), "null");
  assertEquals(describe([1, 2]), "an array of 2");
  assertEquals(describe(new Map()), "a Map");
  assertEquals(describe(new ArrayBuffer(1)), "an ArrayBuffer");
  assertEquals(describe(Object.create(null)), "an object");
  assertEquals(describe(() => 1), "a function");
  assertEquals(describe(x as Tensor), "Tensor f32[2,3]");
});
