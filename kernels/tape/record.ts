/**
 * Recording on the device: codes, and a workgroup packs those of a block. The packing is chosen from
 * a histogram as the oracle does, all candidates at once; what goes where is known from two prefix
 * sums; one integer `atomicAdd` reserves room in the arena, and the words are put together there.
 * Past the end of the arena a block is only counted.
 *
 * Most codes are 0. Those that are not are picked first, and all the rest of the work is about them.
 *
 * @module
 */
import { blockSize } from "../../checkpoint/tape.ts";
import type { Kernel } from "../kernel.ts";
import { fieldText, headerText, partLines, scanText } from "./blocks.ts";
import {
  codeBuffers,
  codeFunction,
  codeLines,
  codeText,
  shareLine,
  typeOf,
  widthOf,
} from "./codes.ts";
import {
  isDirect,
  type Picked,
  stepLines,
  stepUniforms,
  type TapeShape,
  type WordBuffer,
  wordKernel,
} from "./layout.ts";

/** Candidates for a packing: every width of the base below the largest, every width of the rest. */
const restWidths = 17;

/**
 * Records some carries of one step, and packs the codes of the steps that share blocks if this step
 * is the last of them. Buffers: for each carry what it was and what the inverse says it was; codes,
 * where they have to wait; if it packs, arena, headers, cursor and most; the counter.
 */
export function recordKernel(shape: TapeShape, picked: Picked, lanes: number): Kernel {
  const direct = isDirect(shape, picked), { packs } = picked, width = widthOf(shape);
  const waiting = width === 4 ? "codes[(first + i) / 4u][i % 4u]" : "codes[first + i]";
  const update = (name: string, type = "u32"): WordBuffer => ({ name, access: "update", type });
  const elements = picked.carries.reduce((sum, k) => sum + shape.carries[k]!.size, 0);
  return wordKernel({
    label: `${packs ? "record" : "code"} ${elements}`,
    buffers: [
      ...codeBuffers(shape, picked),
      ...direct ? [] : [update("codes", typeOf(width))],
      ...packs
        ? [
          update("arena", "atomic<u32>"),
          update("headers"),
          update("cursor", "atomic<u32>"),
          update("most", "atomic<u32>"),
        ]
        : [],
      { name: "counter", access: "read" },
    ],
    globals: [
      ...codeText,
      ...direct ? codeFunction("code_of", shape, picked) : [],
      ...packs ? packGlobals(lanes) : [],
    ],
    uniforms: stepUniforms(shape, picked),
    workgroupSize: lanes,
    workgroups: shape.blocks,
    bytes: 8 * elements,
    lines: [
      ...stepLines,
      ...packs
        ? [
          `let count = min(${blockSize}u, (row + 1u) * elements - first);`,
          shareLine(lanes),
          "let begin = local * share;",
          "var found = vec4<u32>();",
        ]
        : [],
      ...codeLines(
        shape,
        picked,
        lanes,
        direct
          ? ["let i = p - first;", ...findLines(width)]
          : [`codes[(row * elements + p) / ${width}u] = code;`],
      ),
      ...packs && !direct
        ? [
          "if (!due) { return; }",
          "storageBarrier();",
          `for (var i = begin; i < min(begin + share, count); i = i + ${width}u) {`,
          `let code = codes[(first + i) / ${width}u];`,
          ...findLines(width),
          "}",
        ]
        : [],
      ...packs ? packLines(lanes, direct ? "code_of(first + i)" : waiting) : [],
    ],
  });
}

/** Notes in the bits of `found` that code i, or those from i on, are not 0. */
function findLines(width: 1 | 4): string[] {
  const place = "[(i - begin) / 32u] |=";
  if (width === 1) return [`found${place} select(0u, 1u, code != 0u) << ((i - begin) % 32u);`];
  return [
    "let ones = select(vec4<u32>(), vec4<u32>(1u, 2u, 4u, 8u), code != vec4<u32>());",
    `found${place} (ones.x | ones.y | ones.z | ones.w) << ((i - begin) % 32u);`,
  ];
}

/**
 * Goes through the codes of this invocation that are not 0, in order; they are i and code, of `bits`
 * bits. That they are read again is cheaper than any memory they could be kept in.
 */
const eachCode = (codeAt: string, lines: readonly string[]): string[] => [
  "left = found;",
  "for (var k = 0u; k < mine; k++) {",
  "let word = select(select(select(3u, 2u, left.z != 0u), 1u, left.y != 0u), 0u, left.x != 0u);",
  "let i = begin + 32u * word + firstTrailingBit(left[word]);",
  "left[word] &= left[word] - 1u;",
  `let code = ${codeAt};`,
  "let bits = length_of(code);",
  ...lines,
  "}",
];

function packGlobals(lanes: number): string[] {
  return [
    "var<workgroup> lengths: array<atomic<u32>, 33>;",
    "var<workgroup> above: array<u32, 33>;",
    "var<workgroup> largest: atomic<u32>;",
    "var<workgroup> best: atomic<u32>;",
    `var<workgroup> scanned: array<u32, ${lanes}>;`,
    "var<workgroup> sums: u32;",
    "var<workgroup> reserved: u32;",
    ...fieldText,
    scanText("largest_before", lanes, (a, b) => `max(${a}, ${b})`),
    scanText("sum_before", lanes, (a, b) => `${a} + ${b}`),
    "fn put(place: u32, bit: u32, width: u32, value: u32) {",
    "if (width == 0u || value == 0u) { return; }",
    "let word = place + bit / 32u;",
    "let shift = bit % 32u;",
    "atomicOr(&arena[word], value << shift);",
    "if (shift + width > 32u) { atomicOr(&arena[word + 1u], value >> (32u - shift)); }",
    "}",
  ];
}

function packLines(lanes: number, codeAt: string): string[] {
  return [
    "let ones = countOneBits(found);",
    "let mine = ones.x + ones.y + ones.z + ones.w;",
    "var left = found;",
    "var widest = 0u;",
    ...eachCode(codeAt, ["atomicAdd(&lengths[bits], 1u);", "widest = max(widest, bits);"]),
    "atomicMax(&largest, widest);",
    "workgroupBarrier();",
    "let e = atomicLoad(&largest);",
    "if (local == 0u) {",
    "var more = 0u;",
    "for (var k = e; k > 0u; k--) {",
    "more = more + atomicLoad(&lengths[k]);",
    "above[k - 1u] = more;",
    "}",
    "}",
    "workgroupBarrier();",
    // The packing of the fewest words; among equals the first in the order of the oracle.
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
    "let wide = length_of(count / above[w]) + 1u;",
    "g = select(0u, wide, above[w] * wide < count);",
    "}",
    // Where the entries and escapes of this invocation go.
    "var last = 0u;",
    ...eachCode(codeAt, ["if (bits > w) { last = i + 1u; }"]),
    "let previous = largest_before(local, last);",
    "let longest = mask(g);",
    "var entered = 0u;",
    "var escaped = 0u;",
    "var after = previous;",
    ...eachCode(codeAt, [
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
    "let entries = totals & 0xffffu;",
    ...partLines,
    "let size = escapes_at + words_of(e * (totals >> 16u));",
    "if (local == 0u) {",
    // Far past the end the cursor stands still: it must not come round.
    "var at = atomicLoad(&cursor[0]);",
    "if (at < 0x80000000u) { at = atomicAdd(&cursor[0], size); }",
    "atomicMax(&most[0], at + size);",
    "headers[header] = at;",
    `headers[header + 1u] = ${headerText};`,
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
    ...eachCode(codeAt, [
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
      "atomicOr(&arena[place + marks_at + i / 32u], 1u << (i % 32u));",
      "}",
      "let bit = entries_at * 32u + entry * (g + v);",
      "put(place, bit, g + v, gap | min((code >> w) - 1u, mask(v)) << g);",
      "entry = entry + 1u;",
      "if (bits > w + v) {",
      "put(place, escapes_at * 32u + escape * e, e, code);",
      "escape = escape + 1u;",
      "}",
      "after = i + 1u;",
      "}",
    ]),
  ];
}
