/**
 * Between states and codes, element by element: the code of what a guess is wrong by, and a guess
 * put right by its code. Everything is read and written as words, whatever the dtype: no arithmetic
 * of floats, so NaN's payloads, −0 and denormals come back on every device.
 *
 * Integers and bool differ modulo 2^32; floats as integers in the order of the floats, those of f16
 * in 16 bits, two to a word.
 *
 * @module
 */
import { blockSize } from "../../checkpoint/tape.ts";
import type { DType } from "../../graph/dtype.ts";
import type { Picked, TapeShape, WordBuffer } from "./layout.ts";

/** Text of a number in the order of the values, of bits x, and back. */
interface Order {
  readonly ordered: (x: string) => string;
  readonly unordered: (x: string) => string;
}

const asInteger: Order = { ordered: (x) => x, unordered: (x) => x };
const orders: { readonly [D in DType]: Order } = {
  f32: { ordered: (x) => `ordered32(${x})`, unordered: (x) => `unordered32(${x})` },
  f16: { ordered: (x) => `ordered16(${x})`, unordered: (x) => `unordered16(${x})` },
  i32: asInteger,
  u32: asInteger,
  bool: asInteger,
};

/** Text of the functions that codes are made of. */
export const codeText: readonly string[] = [
  "fn ordered32(x: u32) -> u32 { return select(x | 0x80000000u, ~x, x >> 31u == 1u); }",
  "fn unordered32(x: u32) -> u32 { return select(~x, x & 0x7fffffffu, x >> 31u == 1u); }",
  "fn ordered16(x: u32) -> u32 { return select(x | 0x8000u, ~x & 0xffffu, x >> 15u == 1u); }",
  "fn unordered16(x: u32) -> u32 {",
  "return select(~x & 0xffffu, x & 0x7fffu, x >> 15u == 1u);",
  "}",
  "fn zigzag(x: u32) -> u32 { return (x << 1u) ^ bitcast<u32>(bitcast<i32>(x) >> 31u); }",
  "fn unzigzag(x: u32) -> u32 { return (x >> 1u) ^ (0u - (x & 1u)); }",
  "fn half_of(word: u32, j: u32) -> u32 { return (word >> (16u * (j % 2u))) & 0xffffu; }",
  "fn narrow(x: u32) -> u32 { return bitcast<u32>(bitcast<i32>(x << 16u) >> 16u); }",
];

/** A carry of a dispatch: its number there, and its dtype. */
interface Bound {
  readonly k: number;
  readonly dtype: DType;
}

function boundOf({ carries }: TapeShape, picked: Picked): Bound[] {
  return picked.carries.map((number, k) => ({ k, dtype: carries[number]!.dtype }));
}

/** The first element of a carry of a dispatch among those of a state, and how many there are. */
const [startOf, sizeOf] = ["x", "y"].map((part) => (k: number) => `sizes[${k + 2}].${part}`) as [
  (k: number) => string,
  (k: number) => string,
];

/** The elements of a block that an invocation has, from `count` of them: whole fours. */
export function shareLine(lanes: number): string {
  return `let share = 4u * ((count + ${4 * lanes - 1}u) / ${4 * lanes}u);`;
}

/**
 * Goes through the elements of some carries that this invocation has in its block, in order, `by` so
 * many: `p` is the place among all elements of a state, `j` that within the carry. An invocation has
 * neighbours, so that what comes before an element is known from the invocations before this one.
 */
function eachElement(
  bound: readonly Bound[],
  lanes: number,
  by: 1 | 4,
  body: (one: Bound) => readonly string[],
): string[] {
  return [
    "{",
    `let count = min(${blockSize}u, elements - first);`,
    shareLine(lanes),
    "let start = first + local * share;",
    "let stop = min(start + share, first + count);",
    ...bound.flatMap((one) => [
      "{",
      `let origin = ${startOf(one.k)};`,
      `let end = min(stop, origin + ${sizeOf(one.k)});`,
      `for (var p = max(start, origin); p < end; p = p + ${by}u) {`,
      "let j = p - origin;",
      ...body(one),
      "}",
      "}",
    ]),
    "}",
  ];
}

/** 4 where four elements at a time are those of one carry, at a multiple of four; else 1. */
export function widthOf({ carries }: TapeShape): 1 | 4 {
  return carries.every(({ dtype, size }) => dtype !== "f16" && size % 4 === 0) ? 4 : 1;
}

/** The type of what is read at once. */
export function typeOf(width: 1 | 4): string {
  return width === 4 ? "vec4<u32>" : "u32";
}

/** What the states before a step were, and what the inverse says they were. */
export function codeBuffers(shape: TapeShape, picked: Picked): WordBuffer[] {
  const type = typeOf(widthOf(shape));
  return boundOf(shape, picked).flatMap(({ k }): WordBuffer[] => [
    { name: `truth${k}`, access: "read", type },
    { name: `guess${k}`, access: "read", type },
  ]);
}

/** Text of the code of an element, from the bits of both. */
function codeOf(dtype: DType, truth: string, guess: string): string {
  const { ordered } = orders[dtype];
  const difference = `${ordered(truth)} - ${ordered(guess)}`;
  return `zigzag(${dtype === "f16" ? `narrow(${difference})` : difference})`;
}

/** Text of the code of element j of a carry. */
function codeAt({ k, dtype }: Bound, width: 1 | 4): string {
  const [truth, guess] = [`truth${k}`, `guess${k}`].map((name) =>
    dtype === "f16"
      ? `half_of(${name}[j / 2u], j)`
      : width === 4
      ? `${name}[j / 4u][j % 4u]`
      : `${name}[j]`
  );
  return codeOf(dtype, truth!, guess!);
}

/**
 * What to do with the `code` of each element `p` of this invocation; if the states are
 * {@linkcode widthOf} 4, with the codes of `p` and the three after it.
 */
export function codeLines(
  shape: TapeShape,
  picked: Picked,
  lanes: number,
  use: readonly string[],
): string[] {
  const width = widthOf(shape);
  return eachElement(boundOf(shape, picked), lanes, width, (one) => {
    if (width === 1) return [`let code = ${codeAt(one, width)};`, ...use];
    const parts = ["x", "y", "z", "w"].map((x) => codeOf(one.dtype, `truth.${x}`, `guess.${x}`));
    return [
      `let truth = truth${one.k}[j / 4u];`,
      `let guess = guess${one.k}[j / 4u];`,
      `let code = vec4<u32>(${parts});`,
      ...use,
    ];
  });
}

/** A function that gives the code of the element `p` of a state. */
export function codeFunction(name: string, shape: TapeShape, picked: Picked): string[] {
  return [
    `fn ${name}(p: u32) -> u32 {`,
    "var code = 0u;",
    ...boundOf(shape, picked).flatMap((one) => [
      `if (p - ${startOf(one.k)} < ${sizeOf(one.k)}) {`,
      `let j = p - ${startOf(one.k)};`,
      `code = ${codeAt(one, widthOf(shape))};`,
      "}",
    ]),
    "return code;",
    "}",
  ];
}

/** The states as the inverse gives them, which are put right. */
export function patchBuffers(shape: TapeShape, picked: Picked): WordBuffer[] {
  return boundOf(shape, picked).map(({ k, dtype }) => ({
    name: `guess${k}`,
    access: "update",
    // Two elements in one word may be those of two invocations.
    ...dtype === "f16" && { type: "atomic<u32>" },
  }));
}

/** Moves element j of a carry by so many numbers of its dtype. */
function move({ k, dtype }: Bound, by: string): string[] {
  const { ordered, unordered } = orders[dtype], guess = `guess${k}`;
  if (dtype !== "f16") {
    return [`${guess}[j] = ${unordered(`(${ordered(`${guess}[j]`)} + ${by})`)};`];
  }
  const half = `half_of(atomicLoad(&${guess}[j / 2u]), j)`;
  return [
    `let half = ${half};`,
    `let right = ${unordered(`((${ordered("half")} + ${by}) & 0xffffu)`)};`,
    `atomicXor(&${guess}[j / 2u], (half ^ right) << (16u * (j % 2u)));`,
  ];
}

/** Puts each element of this invocation right; `code` is the text of what is wrong with `p`. */
export function patchLines(
  shape: TapeShape,
  picked: Picked,
  lanes: number,
  code: string,
): string[] {
  return eachElement(
    boundOf(shape, picked),
    lanes,
    1,
    (one) => [`let by = unzigzag(${code});`, ...move(one, "by")],
  );
}

/** A function that moves the element `p` of a state by so many numbers of its dtype. */
export function moveFunction(name: string, shape: TapeShape, picked: Picked): string[] {
  return [
    `fn ${name}(p: u32, by: u32) {`,
    ...boundOf(shape, picked).flatMap((one) => [
      `if (p - ${startOf(one.k)} < ${sizeOf(one.k)}) {`,
      `let j = p - ${startOf(one.k)};`,
      ...move(one, "by"),
      "}",
    ]),
    "}",
  ];
}
