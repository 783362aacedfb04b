/**
 * Packing on the device: a workgroup for each block. The packing is chosen from a histogram as the
 * oracle does, all candidates at once; what goes where is known from two prefix sums; one
 * integer `atomicAdd` reserves room in the arena, and the words are put together there.
 * Past the end of the arena a block is only counted.
 *
 * @module
 */
import { blockSize, headerWords } from "../../checkpoint/tape.ts";
import type { Kernel } from "../kernel.ts";
import { stepLines, stepUniforms, type TapeShape, wordKernel } from "./layout.ts";

/** Candidates for a packing: every width of the base below the largest, every width of the rest. */
const restWidths = 17;

/** Text of a scan over the workgroup: what comes of all invocations before this one. */
export function scanText(
  name: string,
  lanes: number,
  combine: (a: string, b: string) => string,
): string {
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
 * arena, headers, counter.
 */
export function packKernel(shape: TapeShape, lanes: number): Kernel {
  const perLane = blockSize / 4 / lanes;
  /** Goes through the codes of this invocation that are not 0; they are i and code. */
  const eachCode = (lines: readonly string[]): string[] => [
    "for (var k = 0u; k < mine; k++) {",
    `let i = found[local * ${4 * perLane}u + k];`,
    "let code = codes[first / 4u + i / 4u][i % 4u];",
    "let bits = length_of(code);",
    ...lines,
    "}",
  ];
  return wordKernel({
    label: `pack ${shape.codeWords}`,
    buffers: [
      { name: "codes", access: "read", type: "vec4<u32>" },
      { name: "arena", access: "update", type: "atomic<u32>" },
      { name: "headers", access: "update" },
      { name: "cursor", access: "update", type: "atomic<u32>" },
      { name: "most", access: "update", type: "atomic<u32>" },
      { name: "counter", access: "read" },
    ],
    globals: [
      "var<workgroup> lengths: array<atomic<u32>, 33>;",
      "var<workgroup> above: array<u32, 33>;",
      "var<workgroup> best: atomic<u32>;",
      `var<workgroup> found: array<u32, ${blockSize}>;`,
      `var<workgroup> scanned: array<u32, ${lanes}>;`,
      "var<workgroup> sums: u32;",
      "var<workgroup> reserved: u32;",
      ...fieldText,
      scanText("largest_before", lanes, (a, b) => `max(${a}, ${b})`),
      scanText("sum_before", lanes, (a, b) => `${a} + ${b}`),
      "fn codes_at(place: u32, end: u32) -> vec4<u32> {",
      "let at = vec4<u32>(4u * place) + vec4<u32>(0u, 1u, 2u, 3u);",
      "return select(vec4<u32>(), codes[place], at < vec4<u32>(end));",
      "}",
      "fn put(place: u32, bit: u32, width: u32, value: u32) {",
      "if (width == 0u || value == 0u) { return; }",
      "let word = place + bit / 32u;",
      "let shift = bit % 32u;",
      "atomicOr(&arena[word], value << shift);",
      "if (shift + width > 32u) { atomicOr(&arena[word + 1u], value >> (32u - shift)); }",
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
      `let begin = min(local * ${perLane}u, (count + 3u) / 4u);`,
      `let end = min(begin + ${perLane}u, (count + 3u) / 4u);`,
      // Where its codes are that are not 0: few, as a rule, and all that is looked at from here on.
      "var mine = 0u;",
      "for (var q = begin; q < end; q++) {",
      "let quad = codes_at(first / 4u + q, first + count);",
      "if (all(quad == vec4<u32>())) { continue; }",
      "for (var k = 0u; k < 4u; k++) {",
      "if (quad[k] == 0u) { continue; }",
      "atomicAdd(&lengths[length_of(quad[k])], 1u);",
      `found[local * ${4 * perLane}u + mine] = 4u * q + k;`,
      "mine = mine + 1u;",
      "}",
      "}",
      "workgroupBarrier();",
      `for (var k = local; k < 33u; k = k + ${lanes}u) {`,
      "var more = 0u;",
      "for (var j = k + 1u; j < 33u; j++) { more = more + atomicLoad(&lengths[j]); }",
      "above[k] = more;",
      "}",
      "workgroupBarrier();",
      // The packing of the fewest words; among equals the first in the order of the oracle.
      "var e = 32u;",
      "while (e > 0u && above[e - 1u] == 0u) { e = e - 1u; }",
      "if (local == 0u) { atomicStore(&best, words_of(e * count) << 10u); }",
      "workgroupBarrier();",
      "var least = 0xffffffffu;",
      `for (var c = local; c < e * ${restWidths}u; c = c + ${lanes}u) {`,
      `let w = e - 1u - c / ${restWidths}u;`,
      `let v = c % ${restWidths}u;`,
      "if (v <= e - w) {",
      "let entries = above[w];",
      "let wide = length_of(count / entries) + 1u;",
      "let g = select(0u, wide, entries * wide < count);",
      "let parts = words_of(w * count) + select(0u, words_of(count), g == 0u) +",
      "words_of(entries * (g + v)) + words_of(e * above[w + v]);",
      "least = min(least, (parts << 10u) | (c + 1u));",
      "}",
      "}",
      "atomicMin(&best, least);",
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
      ...eachCode(["if (bits > w) { last = i + 1u; }"]),
      "let previous = largest_before(local, last);",
      "let longest = mask(g);",
      "var entered = 0u;",
      "var escaped = 0u;",
      "var after = previous;",
      ...eachCode([
        "if (bits > w) {",
        "if (g > 0u) { entered = entered + (i - after) / longest; }",
        "entered = entered + 1u;",
        "if (bits > w + v) { escaped = escaped + 1u; }",
        "after = i + 1u;",
        "}",
      ]),
      "let before = sum_before(local, entered | (escaped << 16u));",
      `if (local == ${lanes - 1}u) { sums = before + (entered | (escaped << 16u)); }`,
      "let totals = workgroupUniformLoad(&sums);",
      "let all_entries = totals & 0xffffu;",
      "let marks_at = words_of(w * count);",
      "let entries_at = marks_at + select(0u, words_of(count), g == 0u && all_entries > 0u);",
      "let escapes_at = entries_at + words_of((g + v) * all_entries);",
      "let size = escapes_at + words_of(e * (totals >> 16u));",
      "if (local == 0u) {",
      // Far past the end the cursor stands still: it must not come round.
      "var at = atomicLoad(&cursor[0]);",
      "if (at < 0x80000000u) { at = atomicAdd(&cursor[0], size); }",
      "atomicMax(&most[0], at + size);",
      "headers[header] = at;",
      "headers[header + 1u] = w | g << 6u | v << 10u | e << 15u | all_entries << 21u;",
      "reserved = at;",
      "}",
      "let place = workgroupUniformLoad(&reserved);",
      "if (size == 0u || place + size > arrayLength(&arena)) { return; }",
      // The words: fields of several invocations meet in one, so they are added to zeros.
      `for (var i = local; i < size; i = i + ${lanes}u) { atomicStore(&arena[place + i], 0u); }`,
      "storageBarrier();",
      "let low = mask(w);",
      "var entry = before & 0xffffu;",
      "var escape = before >> 16u;",
      "after = previous;",
      ...eachCode([
        "put(place, i * w, w, code & low);",
        "if (bits > w) {",
        "var gap = 0u;",
        "if (g > 0u) {",
        "gap = i - after;",
        "while (gap >= longest) {",
        "put(place, entries_at * 32u + entry * (g + v), g, longest);",
        "entry = entry + 1u;",
        "gap = gap - longest;",
        "}",
        "} else {",
        "put(place, marks_at * 32u + i, 1u, 1u);",
        "}",
        "let bit = entries_at * 32u + entry * (g + v);",
        "put(place, bit, g, gap);",
        "put(place, bit + g, v, min((code >> w) - 1u, mask(v)));",
        "entry = entry + 1u;",
        "if (bits > w + v) {",
        "put(place, escapes_at * 32u + escape * e, e, code);",
        "escape = escape + 1u;",
        "}",
        "after = i + 1u;",
        "}",
      ]),
    ],
  });
}
