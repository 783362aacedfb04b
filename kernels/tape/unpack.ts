/**
 * Unpacking on the device: a workgroup for each block. The base is written first, then every entry
 * finds its code. Gives the words back to the arena.
 *
 * @module
 */
import { blockSize } from "../../checkpoint/tape.ts";
import type { Kernel } from "../kernel.ts";
import { stepLines, stepUniforms, type TapeShape, wordKernel } from "./layout.ts";
import { blockLines, fieldText, scanText } from "./pack.ts";

/**
 * Unpacks the codes of the steps that share blocks, if this step is the last of them. Buffers:
 * codes, arena, headers, counter.
 */
export function unpackKernel(shape: TapeShape, lanes: number): Kernel {
  const perLane = blockSize / lanes;
  return wordKernel({
    label: `unpack ${shape.codeWords}`,
    buffers: [
      { name: "codes", access: "update" },
      { name: "arena", access: "read" },
      { name: "headers", access: "read" },
      { name: "cursor", access: "update", type: "atomic<u32>" },
      { name: "counter", access: "read" },
    ],
    globals: [
      `var<workgroup> scanned: array<u32, ${lanes}>;`,
      ...fieldText,
      scanText("sum_before", lanes, (a, b) => `${a} + ${b}`),
      "fn field(place: u32, bit: u32, width: u32) -> u32 {",
      "if (width == 0u) { return 0u; }",
      "let word = place + bit / 32u;",
      "let shift = bit % 32u;",
      "var value = arena[word] >> shift;",
      "if (shift + width > 32u) { value = value | (arena[word + 1u] << (32u - shift)); }",
      "return value & mask(width);",
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
      "let place = headers[header];",
      "let packing = headers[header + 1u];",
      "let w = packing & 63u;",
      "let g = (packing >> 6u) & 15u;",
      "let v = (packing >> 10u) & 31u;",
      "let e = (packing >> 15u) & 63u;",
      "let entries = packing >> 21u;",
      "let marks_at = words_of(w * count);",
      "let entries_at = marks_at + select(0u, words_of(count), g == 0u && entries > 0u);",
      "let escapes_at = entries_at + words_of((g + v) * entries);",
      "let wide = g + v;",
      "let most = mask(v);",
      `let begin = min(local * ${perLane}u, count);`,
      `let end = min(begin + ${perLane}u, count);`,
      `for (var i = local; i < count; i = i + ${lanes}u) {`,
      "codes[first + i] = field(place, i * w, w);",
      "}",
      "storageBarrier();",
      // The entries of this invocation: those of its own codes where there are marks, else its share
      // of all, which may lie anywhere.
      "let marked = g == 0u;",
      `let share = (entries + ${lanes - 1}u) / ${lanes}u;`,
      "var lower = min(local * share, entries);",
      "var upper = min(lower + share, entries);",
      "if (marked) {",
      "var mine = 0u;",
      "if (entries > 0u) {",
      "for (var i = begin; i < end; i++) { mine = mine + field(place, marks_at * 32u + i, 1u); }",
      "}",
      "lower = mine;",
      "}",
      "let entry_before = sum_before(local, lower);",
      "if (marked) { upper = entry_before + lower; lower = entry_before; }",
      // How far they reach, and how many of them are escapes.
      "var reach = 0u;",
      "var escaped = 0u;",
      "for (var k = lower; k < upper; k++) {",
      "let bit = entries_at * 32u + k * wide;",
      "let gap = field(place, bit, g);",
      "let real = marked || gap != mask(g);",
      "reach = reach + gap + select(0u, 1u, real);",
      "if (real && field(place, bit + g, v) == most) { escaped = escaped + 1u; }",
      "}",
      "let before = sum_before(local, reach | (escaped << 16u));",
      "var at = before & 0xffffu;",
      "var escape = before >> 16u;",
      "if (marked) { at = begin; }",
      "for (var k = lower; k < upper; k++) {",
      "let bit = entries_at * 32u + k * wide;",
      "if (marked) {",
      "while (at < end && field(place, marks_at * 32u + at, 1u) == 0u) { at = at + 1u; }",
      "} else {",
      "let gap = field(place, bit, g);",
      "at = at + gap;",
      "if (gap == mask(g)) { continue; }",
      "}",
      "let i = first + min(at, count - 1u);",
      "let rest = field(place, bit + g, v);",
      "if (rest == most) {",
      "codes[i] = field(place, escapes_at * 32u + escape * e, e);",
      "escape = escape + 1u;",
      "} else {",
      "codes[i] = codes[i] | ((rest + 1u) << w);",
      "}",
      "at = at + 1u;",
      "}",
      "if (local == 0u) { atomicMin(&cursor[0], place); }",
    ],
  });
}
