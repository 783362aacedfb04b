/**
 * Restoring on the device: a workgroup unpacks the codes of its block, and puts the guess right. The
 * base is written first, then every entry finds its code. Gives the words back to the arena.
 *
 * @module
 */
import { blockSize } from "../../checkpoint/tape.ts";
import type { Kernel } from "../kernel.ts";
import { fieldText, headerLines, partLines, scanText } from "./blocks.ts";
import { codeText, moveFunction, patchBuffers, patchLines } from "./codes.ts";
import {
  isDirect,
  type Picked,
  stepLines,
  stepUniforms,
  type TapeShape,
  type WordBuffer,
  wordKernel,
} from "./layout.ts";

/**
 * Puts some carries of one step right; unpacks the codes of the steps that share blocks before, if
 * this step is the last of them. Buffers: the carries as the inverse gives them; codes, where they
 * wait; if it unpacks, arena, headers and cursor; the counter.
 */
export function restoreKernel(shape: TapeShape, picked: Picked, lanes: number): Kernel {
  const direct = isDirect(shape, picked), { packs } = picked;
  const read = (name: string): WordBuffer => ({ name, access: "read" });
  const elements = picked.carries.reduce((sum, k) => sum + shape.carries[k]!.size, 0);
  return wordKernel({
    label: `${packs ? "restore" : "patch"} ${elements}`,
    buffers: [
      ...patchBuffers(shape, picked),
      ...direct ? [] : [{ name: "codes", access: "update" } as const],
      ...packs
        ? [
          read("arena"),
          read("headers"),
          { name: "cursor", access: "update", type: "atomic<u32>" } as const,
        ]
        : [],
      read("counter"),
    ],
    globals: [
      ...codeText,
      ...direct ? moveFunction("correct", shape, picked) : [],
      ...packs ? unpackGlobals(lanes) : [],
    ],
    uniforms: stepUniforms(shape, picked),
    workgroupSize: lanes,
    workgroups: shape.blocks,
    bytes: 8 * elements,
    lines: [
      ...stepLines,
      ...direct ? unpackLines(lanes, patching(shape, picked, lanes)) : [],
      ...packs && !direct ? ["if (due) {", ...unpackLines(lanes, writing(lanes)), "}"] : [],
      ...packs && !direct ? ["storageBarrier();"] : [],
      ...direct ? [] : patchLines(shape, picked, lanes, "codes[row * elements + p]"),
    ],
  });
}

/** What becomes of the codes of a block. */
interface Use {
  /** First of the base of each code. */
  readonly bases: readonly string[];
  /** Then of each `code` i that is more than its `base`. */
  readonly code: string;
}

/** Codes that wait. */
const writing = (lanes: number): Use => ({
  bases: [
    `for (var i = local; i < count; i = i + ${lanes}u) {`,
    "codes[first + i] = field(place, i * w, w);",
    "}",
  ],
  code: "codes[first + i] = code;",
});

/** The guess put right at once: by its base, and by what the whole code is more. */
const patching = (shape: TapeShape, picked: Picked, lanes: number): Use => ({
  bases: [
    "if (w > 0u) {",
    ...patchLines(shape, picked, lanes, "field(place, (p - first) * w, w)"),
    "}",
  ],
  code: "correct(first + i, unzigzag(code) - unzigzag(base));",
});

function unpackGlobals(lanes: number): string[] {
  return [
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
  ];
}

/** Unpacks a block. */
function unpackLines(lanes: number, use: Use): string[] {
  return [
    `let count = min(${blockSize}u, (row + 1u) * elements - first);`,
    `let share = (count + ${lanes - 1}u) / ${lanes}u;`,
    "let begin = min(local * share, count);",
    "let end = min(begin + share, count);",
    "let place = headers[header];",
    "let packing = headers[header + 1u];",
    ...headerLines,
    ...partLines,
    "let wide = g + v;",
    "let most = mask(v);",
    ...use.bases,
    "storageBarrier();",
    // The entries of this invocation: those of its own codes where there are marks, else its share
    // of all, which may lie anywhere.
    "let marked = g == 0u;",
    `let piece = (entries + ${lanes - 1}u) / ${lanes}u;`,
    "var lower = min(local * piece, entries);",
    "var upper = min(lower + piece, entries);",
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
    "let both = field(place, entries_at * 32u + k * wide, wide);",
    "let gap = both & mask(g);",
    "let real = marked || gap != mask(g);",
    "reach = reach + gap + select(0u, 1u, real);",
    "if (real && both >> g == most) { escaped = escaped + 1u; }",
    "}",
    "let before = sum_before(local, reach | (escaped << 16u));",
    "var at = before & 0xffffu;",
    "var escape = before >> 16u;",
    "if (marked) { at = begin; }",
    "for (var k = lower; k < upper; k++) {",
    "let both = field(place, entries_at * 32u + k * wide, wide);",
    "let rest = both >> g;",
    "if (marked) {",
    "while (at < end && field(place, marks_at * 32u + at, 1u) == 0u) { at = at + 1u; }",
    "} else {",
    "let gap = both & mask(g);",
    "at = at + gap;",
    "if (gap == mask(g)) { continue; }",
    "}",
    "let i = min(at, count - 1u);",
    "let base = field(place, i * w, w);",
    "var code = base | ((rest + 1u) << w);",
    "if (rest == most) {",
    "code = field(place, escapes_at * 32u + escape * e, e);",
    "escape = escape + 1u;",
    "}",
    use.code,
    "at = at + 1u;",
    "}",
    "if (local == 0u) { atomicMin(&cursor[0], place); }",
  ];
}
