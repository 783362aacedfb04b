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
import type { Access, Kernel } from "../kernel.ts";
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

/** The functions for words one by one, or by fours. */
function helpers(word: "u32" | "vec4<u32>"): string[] {
  const [integer, shift] = word === "u32" ? ["i32", "u32"] : ["vec4<i32>", "vec4<u32>"];
  const by = (places: number): string => `${shift}(${places}u)`;
  const f = (name: string, body: string): string => `fn ${name}(x: ${word}) -> ${word} { ${body} }`;
  const arithmetic = (x: string, places: number): string =>
    `bitcast<${word}>(bitcast<${integer}>(${x}) >> ${by(places)})`;
  const negative = (places: number): string => `(x >> ${by(places)}) == ${by(1)}`;
  return [
    f("ordered32", `return select(x | ${by(0x80000000)}, ~x, ${negative(31)});`),
    f("unordered32", `return select(~x, x & ${by(0x7fffffff)}, ${negative(31)});`),
    f("ordered16", `return select(x | ${by(0x8000)}, ~x & ${by(0xffff)}, ${negative(15)});`),
    f("unordered16", `return select(~x & ${by(0xffff)}, x & ${by(0x7fff)}, ${negative(15)});`),
    f("zigzag", `return (x << ${by(1)}) ^ ${arithmetic("x", 31)};`),
    f("unzigzag", `return (x >> ${by(1)}) ^ (${by(0)} - (x & ${by(1)}));`),
    f("narrow", `return ${arithmetic(`x << ${by(16)}`, 16)};`),
  ];
}

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

/** True where four codes at a time are those of one carry, at a multiple of four. */
function isByFours({ carries }: TapeShape): boolean {
  return carries.every(({ dtype, size }) => dtype !== "f16" && size % 4 === 0);
}

/** A kernel over the words of some carries; `line` writes what happens to each. */
function elementKernel(
  name: string,
  shape: TapeShape,
  picked: readonly number[],
  buffers: readonly { readonly name: string; readonly access: Access }[],
  line: (carry: Carry, k: number, first: string) => readonly string[],
): Kernel {
  const wide = isByFours(shape) ? 4 : 1;
  const type = wide === 4 ? "vec4<u32>" : "u32";
  const own = picked.map((i) => shape.carries[i]!);
  const words = own.map((carry) => Math.ceil(bytesOf(carry) / 4 / wide));
  const most = Math.max(...words);
  const starts = offsets(shape);
  return wordKernel({
    label: `${name} ${own.reduce((sum, { size }) => sum + size, 0)}`,
    buffers: buffers.map((buffer) => buffer.name === "counter" ? buffer : { ...buffer, type }),
    uniforms: stepUniforms(shape),
    globals: helpers(type),
    workgroupSize,
    workgroups: Math.ceil(most / workgroupSize),
    lines: [
      ...stepLines,
      `let v = number * ${workgroupSize}u + local;`,
      ...own.flatMap((carry, k) => {
        const start = `row * (elements / ${wide}u) + ${starts[picked[k]!]! / wide}u`;
        const first = carry.dtype === "f16" ? `${start} + 2u * v` : `${start} + v`;
        return [`if (v < ${words[k]}u) {`, ...line(carry, k, first), "}"];
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
  return elementKernel("code", shape, picked, buffers, ({ dtype, size }, k, first) => {
    const [truth, guess] = [`truth${k}[v]`, `guess${k}[v]`];
    if (dtype !== "f16") return [`codes[${first}] = ${codeText(dtype, truth, guess)};`];
    const [low, high] = [`(${truth} & 0xffffu)`, `(${guess} & 0xffffu)`];
    return [
      `codes[${first}] = ${codeText(dtype, low, high)};`,
      `if (2u * v + 1u < ${size}u) {`,
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
  return elementKernel("patch", shape, picked, buffers, ({ dtype, size }, k, first) => {
    const guess = `guess${k}[v]`;
    if (dtype !== "f16") return [`${guess} = ${patchText(dtype, guess, `codes[${first}]`)};`];
    return [
      `let low = ${patchText(dtype, `(${guess} & 0xffffu)`, `codes[${first}]`)};`,
      `var high = ${guess} >> 16u;`,
      `if (2u * v + 1u < ${size}u) {`,
      `high = ${patchText(dtype, "high", `codes[${first} + 1u]`)};`,
      "}",
      `${guess} = low | high << 16u;`,
    ];
  });
}
