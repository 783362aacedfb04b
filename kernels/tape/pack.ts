/**
 * Packing on the device: a workgroup for each block. The packing is chosen from a histogram as the
 * oracle does, all candidates at once; what goes where is known from two prefix sums; the words are
 * put together in workgroup memory, and one integer `atomicAdd` reserves their place in the arena.
 * Past the end of the arena a block is only counted.
 *
 * @module
 */
import { blockSize, headerWords } from "../../checkpoint/tape.ts";
import type { Kernel } from "../kernel.ts";
import {
  lanes,
  perLane,
  stepLines,
  stepUniforms,
  tally,
  type TapeShape,
  wordKernel,
} from "./layout.ts";

/**
 * Words of the largest block: the plain codes, which the best packing is never expected to exceed,
 * and what fillers may add to that: fewer than 1024/7 entries of at most 19 bits.
 */
const mostWords = blockSize + 96;
/** Candidates for a packing: every width of the base below the largest, every width of the rest. */
const restWidths = 17;

/** Text of a scan over the workgroup: what comes of all invocations before this one. */
export function scanText(name: string, combine: (a: string, b: string) => string): string {
  return [
    `fn ${name}(local: u32, value: u32) -> u32 {`,
    "workgroupBarrier();",
    "scanned[local] = value;",
    "workgroupBarrier();",
    `for (var reach = 1u; reach < ${lanes}u; reach = reach * 2u) {`,
    "var sum = scanned[local];",
    `if (local >= reach) { sum = ${combine("sum", "scanned[local - reach]")}; }`,
    "workgroupBarrier();",
    "scanned[local] = sum;",
    "workgroupBarrier();",
    "}",
    "if (local == 0u) { return 0u; }",
    "return scanned[local - 1u];",
    "}",
  ].join("\n");
}

/** Small functions that both directions use. */
export const fieldText = [
  "fn mask(width: u32) -> u32 { return select((1u << (width & 31u)) - 1u, 0xffffffffu, width >= 32u); }",
  "fn words_of(bits: u32) -> u32 { return (bits + 31u) / 32u; }",
  "fn length_of(code: u32) -> u32 { return 32u - countLeadingZeros(code); }",
];

/** `count`, the codes of this block; `first`, where they begin in the buffer. */
export const blockLines: readonly string[] = [
  `let first = number * ${blockSize}u;`,
  `let count = min(${blockSize}u, (row + 1u) * elements - first);`,
  `let header = (group * blocks + number) * ${headerWords}u;`,
];

/**
 * Packs the codes of the steps that share blocks, if this step is the last of them. Buffers: codes,
 * arena, headers, tally, counter.
 */
export function packKernel(shape: TapeShape): Kernel {
  return wordKernel({
    label: `pack ${shape.codeWords}`,
    buffers: [
      { name: "codes", access: "read" },
      { name: "arena", access: "update" },
      { name: "headers", access: "update" },
      { name: "tally", access: "update", type: "atomic<u32>" },
      { name: "counter", access: "read" },
    ],
    globals: [
      `var<workgroup> own: array<u32, ${blockSize}>;`,
      "var<workgroup> lengths: array<atomic<u32>, 33>;",
      "var<workgroup> above: array<u32, 33>;",
      "var<workgroup> best: atomic<u32>;",
      `var<workgroup> scanned: array<u32, ${lanes}>;`,
      `var<workgroup> words: array<atomic<u32>, ${mostWords}>;`,
      "var<workgroup> sums: u32;",
      "var<workgroup> reserved: u32;",
      ...fieldText,
      scanText("largest_before", (a, b) => `max(${a}, ${b})`),
      scanText("sum_before", (a, b) => `${a} + ${b}`),
      "fn put(bit: u32, width: u32, value: u32) {",
      "if (width == 0u || value == 0u) { return; }",
      "let word = bit / 32u;",
      "let shift = bit % 32u;",
      "atomicOr(&words[word], value << shift);",
      "if (shift + width > 32u) { atomicOr(&words[word + 1u], value >> (32u - shift)); }",
      "}",
    ],
    uniforms: stepUniforms(shape),
    workgroupSize: lanes,
    workgroups: shape.blocks,
    bytes: 4 * shape.codeWords,
    lines: [
      ...stepLines,
      "if (!due) { return; }",
      ...blockLines,
      // What the block is made of.
      `let begin = min(local * ${perLane}u, count);`,
      `let end = min(begin + ${perLane}u, count);`,
      "for (var i = begin; i < end; i++) {",
      "let code = codes[first + i];",
      "own[i] = code;",
      "if (code != 0u) { atomicAdd(&lengths[length_of(code)], 1u); }",
      "}",
      "workgroupBarrier();",
      "if (local < 33u) {",
      "var more = 0u;",
      "for (var k = local + 1u; k < 33u; k++) { more = more + atomicLoad(&lengths[k]); }",
      "above[local] = more;",
      "}",
      "workgroupBarrier();",
      // The packing of the fewest words; among equals the first in the order of the oracle.
      "var e = 32u;",
      "while (e > 0u && above[e - 1u] == 0u) { e = e - 1u; }",
      "if (local == 0u) { atomicStore(&best, words_of(e * count) << 10u); }",
      "workgroupBarrier();",
      `for (var c = local; c < e * ${restWidths}u; c = c + ${lanes}u) {`,
      `let w = e - 1u - c / ${restWidths}u;`,
      `let v = c % ${restWidths}u;`,
      "if (v <= e - w) {",
      "let entries = above[w];",
      "let wide = length_of(count / entries) + 1u;",
      "let g = select(0u, wide, entries * wide < count);",
      "let parts = words_of(w * count) + select(0u, words_of(count), g == 0u) +",
      "words_of(entries * (g + v)) + words_of(e * above[w + v]);",
      "atomicMin(&best, (parts << 10u) | (c + 1u));",
      "}",
      "}",
      "workgroupBarrier();",
      "let choice = atomicLoad(&best) & 1023u;",
      "var w = e;",
      "var g = 0u;",
      "var v = 0u;",
      "if (choice > 0u) {",
      `w = e - 1u - (choice - 1u) / ${restWidths}u;`,
      `v = (choice - 1u) % ${restWidths}u;`,
      "let entries = above[w];",
      "let wide = length_of(count / entries) + 1u;",
      "g = select(0u, wide, entries * wide < count);",
      "}",
      // Where the entries and escapes of this invocation go.
      "var last = 0u;",
      "for (var i = begin; i < end; i++) { if (length_of(own[i]) > w) { last = i + 1u; } }",
      "let previous = largest_before(local, last);",
      "let longest = mask(g);",
      "var entered = 0u;",
      "var escaped = 0u;",
      "var after = previous;",
      "for (var i = begin; i < end; i++) {",
      "let bits = length_of(own[i]);",
      "if (bits > w) {",
      "if (g > 0u) { entered = entered + (i - after) / longest; }",
      "entered = entered + 1u;",
      "if (bits > w + v) { escaped = escaped + 1u; }",
      "after = i + 1u;",
      "}",
      "}",
      "let before = sum_before(local, entered | (escaped << 16u));",
      `if (local == ${lanes - 1}u) { sums = before + (entered | (escaped << 16u)); }`,
      "let all = workgroupUniformLoad(&sums);",
      "let all_entries = all & 0xffffu;",
      "let marks_at = words_of(w * count);",
      "let entries_at = marks_at + select(0u, words_of(count), g == 0u && all_entries > 0u);",
      "let escapes_at = entries_at + words_of((g + v) * all_entries);",
      "let size = escapes_at + words_of(e * (all >> 16u));",
      "if (local == 0u) {",
      // Far past the end the cursor stands still: it must not come round.
      `var at = atomicLoad(&tally[${tally.cursor}]);`,
      `if (at < 0x80000000u) { at = atomicAdd(&tally[${tally.cursor}], size); }`,
      `atomicMax(&tally[${tally.most}], at + size);`,
      "headers[header] = at;",
      "headers[header + 1u] = w | g << 6u | v << 10u | e << 15u | all_entries << 21u;",
      "reserved = at;",
      "}",
      "let place = workgroupUniformLoad(&reserved);",
      "if (size == 0u || place + size > arrayLength(&arena)) { return; }",
      // The words, and out with them.
      "let low = mask(w);",
      "var entry = before & 0xffffu;",
      "var escape = before >> 16u;",
      "after = previous;",
      "for (var i = begin; i < end; i++) {",
      "let code = own[i];",
      "if (code == 0u) { continue; }",
      "put(i * w, w, code & low);",
      "if (length_of(code) > w) {",
      "var gap = 0u;",
      "if (g > 0u) {",
      "gap = i - after;",
      "while (gap >= longest) {",
      "put(entries_at * 32u + entry * (g + v), g, longest);",
      "entry = entry + 1u;",
      "gap = gap - longest;",
      "}",
      "} else {",
      "put(marks_at * 32u + i, 1u, 1u);",
      "}",
      "let bit = entries_at * 32u + entry * (g + v);",
      "put(bit, g, gap);",
      "put(bit + g, v, min((code >> w) - 1u, mask(v)));",
      "entry = entry + 1u;",
      "if (length_of(code) > w + v) {",
      "put(escapes_at * 32u + escape * e, e, code);",
      "escape = escape + 1u;",
      "}",
      "after = i + 1u;",
      "}",
      "}",
      "workgroupBarrier();",
      `for (var i = local; i < size; i = i + ${lanes}u) {`,
      "arena[place + i] = atomicLoad(&words[i]);",
      "}",
    ],
  });
}
