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
import type { DType } from "../../graph/dtype.ts";
import type { Kernel } from "../kernel.ts";
import {
  bytesOf,
  type Carry,
  stepLines,
  stepUniforms,
  type TapeShape,
  wordKernel,
} from "./layout.ts";

const workgroupSize = 64;

/** Text of a number in the order of the values, of bits x, and back. */
interface Order {
  readonly bits: 16 | 32;
  readonly ordered: (x: string) => string;
  readonly unordered: (x: string) => string;
}

const asInteger: Order = { bits: 32, ordered: (x) => x, unordered: (x) => x };
const orders: { readonly [D in DType]: Order } = {
  f32: { bits: 32, ordered: (x) => `ordered32(${x})`, unordered: (x) => `unordered32(${x})` },
  f16: { bits: 16, ordered: (x) => `ordered16(${x})`, unordered: (x) => `unordered16(${x})` },
  i32: asInteger,
  u32: asInteger,
  bool: asInteger,
};

const helpers = [
  "fn ordered32(x: u32) -> u32 { return select(x | 0x80000000u, ~x, (x >> 31u) == 1u); }",
  "fn unordered32(x: u32) -> u32 { return select(~x, x & 0x7fffffffu, (x >> 31u) == 1u); }",
  "fn ordered16(x: u32) -> u32 { return select(x | 0x8000u, ~x & 0xffffu, (x >> 15u) == 1u); }",
  "fn unordered16(x: u32) -> u32 { return select(~x & 0xffffu, x & 0x7fffu, (x >> 15u) == 1u); }",
  "fn zigzag(d: u32) -> u32 { return (d << 1u) ^ bitcast<u32>(bitcast<i32>(d) >> 31u); }",
  "fn unzigzag(c: u32) -> u32 { return (c >> 1u) ^ (0u - (c & 1u)); }",
  "fn narrow(d: u32) -> u32 { return bitcast<u32>(bitcast<i32>(d << 16u) >> 16u); }",
];

/** Text of the code of one element, from the bits of both. */
function codeText(dtype: DType, truth: string, guess: string): string {
  const { bits, ordered } = orders[dtype];
  const difference = `${ordered(truth)} - ${ordered(guess)}`;
  return `zigzag(${bits === 16 ? `narrow(${difference})` : difference})`;
}

/** Text of the bits of one element, from the bits of a guess and the code. */
function patchText(dtype: DType, guess: string, code: string): string {
  const { bits, ordered, unordered } = orders[dtype];
  const sum = `${ordered(guess)} + unzigzag(${code})`;
  return unordered(bits === 16 ? `((${sum}) & 0xffffu)` : `(${sum})`);
}

/** Carries that one dispatch can bind, beside the codes and the counter. */
export function carriesADispatch(maxBindings: number, bound: 1 | 2): number {
  return Math.max(1, Math.floor((maxBindings - 2) / bound));
}

/** Places of carries within a row of codes. */
function offsets(shape: TapeShape): number[] {
  let end = 0;
  return shape.carries.map(({ size }) => (end += size) - size);
}

/** A kernel over the words of some carries; `line` writes what happens to each. */
function elementKernel(
  name: string,
  shape: TapeShape,
  picked: readonly number[],
  buffers: Parameters<typeof wordKernel>[0]["buffers"],
  line: (carry: Carry, k: number, word: string, first: string) => readonly string[],
): Kernel {
  const own = picked.map((i) => shape.carries[i]!);
  const words = own.map((carry) => Math.ceil(bytesOf(carry) / 4));
  const most = Math.max(...words);
  const starts = offsets(shape);
  return wordKernel({
    label: `${name} ${own.reduce((sum, { size }) => sum + size, 0)}`,
    buffers,
    uniforms: stepUniforms(shape),
    globals: helpers,
    workgroupSize,
    workgroups: Math.ceil(most / workgroupSize),
    lines: [
      ...stepLines,
      `let v = number * ${workgroupSize}u + local;`,
      ...own.flatMap((carry, k) => {
        const start = `row * elements + ${starts[picked[k]!]}u`;
        const first = carry.dtype === "f16" ? `${start} + 2u * v` : `${start} + v`;
        return [`if (v < ${words[k]}u) {`, ...line(carry, k, "v", first), "}"];
      }),
    ],
    bytes: own.reduce((sum, carry) => sum + 2 * bytesOf(carry) + 4 * carry.size, 0),
  });
}

/**
 * The codes of some carries of one step. Buffers: for each carry what it was and what the inverse
 * says it was, then the codes, then the counter.
 */
export function codeKernel(shape: TapeShape, picked: readonly number[]): Kernel {
  const buffers = [
    ...picked.flatMap((_, k) => [
      { name: `truth${k}`, access: "read" as const },
      { name: `guess${k}`, access: "read" as const },
    ]),
    { name: "codes", access: "update" as const },
    { name: "counter", access: "read" as const },
  ];
  return elementKernel("code", shape, picked, buffers, ({ dtype, size }, k, v, first) => {
    const [truth, guess] = [`truth${k}[${v}]`, `guess${k}[${v}]`];
    if (dtype !== "f16") return [`codes[${first}] = ${codeText(dtype, truth, guess)};`];
    const [low, high] = [`(${truth} & 0xffffu)`, `(${guess} & 0xffffu)`];
    return [
      `codes[${first}] = ${codeText(dtype, low, high)};`,
      `if (2u * ${v} + 1u < ${size}u) {`,
      `codes[${first} + 1u] = ${codeText(dtype, `(${truth} >> 16u)`, `(${guess} >> 16u)`)};`,
      "}",
    ];
  });
}

/**
 * Puts some carries right, in place. Buffers: the carries as the inverse gives them, then the codes,
 * then the counter.
 */
export function patchKernel(shape: TapeShape, picked: readonly number[]): Kernel {
  const buffers = [
    ...picked.map((_, k) => ({ name: `guess${k}`, access: "update" as const })),
    { name: "codes", access: "read" as const },
    { name: "counter", access: "read" as const },
  ];
  return elementKernel("patch", shape, picked, buffers, ({ dtype, size }, k, v, first) => {
    const guess = `guess${k}[${v}]`;
    if (dtype !== "f16") return [`${guess} = ${patchText(dtype, guess, `codes[${first}]`)};`];
    return [
      `let low = ${patchText(dtype, `(${guess} & 0xffffu)`, `codes[${first}]`)};`,
      `var high = ${guess} >> 16u;`,
      `if (2u * ${v} + 1u < ${size}u) {`,
      `high = ${patchText(dtype, "high", `codes[${first} + 1u]`)};`,
      "}",
      `${guess} = low | high << 16u;`,
    ];
  });
}
