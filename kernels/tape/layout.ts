/**
 * The difference tape on the device: what its kernels agree on. checkpoint/tape.ts is the oracle of
 * the format; a place in the arena may differ, no word does.
 *
 * A workgroup has a block. Recording is one dispatch: the codes of what a guess is wrong by, element
 * by element, and their packing into the arena. The way back is one, too: unpacking, and putting the
 * guess right. Small states are cheap because the codes of several steps share one block, so that
 * its header is paid for once; they wait in a buffer of codes, the last of these steps packs them,
 * and the last unpacks them on the way back, where it comes first. The same buffer serves states of
 * more carries than a dispatch can bind: then several dispatches write codes, or read them.
 *
 * Each kernel finds its step in a counter on the device, so that none depends on the step.
 *
 * @module
 */
import { blockSize, headerWords } from "../../checkpoint/tape.ts";
import type { DType } from "../../graph/dtype.ts";
import type { Access, Kernel } from "../kernel.ts";

/** One carry of the state whose differences are recorded. */
export interface Carry {
  readonly dtype: DType;
  /** Elements. */
  readonly size: number;
}

/** How the steps of a loop are recorded. */
export interface TapeShape {
  /** The carries in their order. */
  readonly carries: readonly Carry[];
  /** Elements of a state: all carries together. */
  readonly elements: number;
  /** Steps whose codes share blocks: one block, if they are more than one. */
  readonly pace: number;
  /** Blocks that this many steps make. */
  readonly blocks: number;
  /** Steps that are recorded before they are taken back: the tape begins anew after so many. */
  readonly segment: number;
  /** Steps of the whole loop. */
  readonly length: number;
  /** Words of the buffer of codes, where there is one. */
  readonly codeWords: number;
  /** Words of all headers. */
  readonly headerWords: number;
}

/**
 * How a loop of `length` steps is recorded if `segment` steps at a time are run forward and then
 * back.
 */
export function tapeShape(
  carries: readonly Carry[],
  length: number,
  segment: number = length,
): TapeShape {
  const elements = carries.reduce((sum, { size }) => sum + size, 0);
  const most = Math.max(1, Math.min(segment, length));
  const pace = Math.max(1, Math.min(most, Math.floor(blockSize / Math.max(1, elements))));
  const blocks = Math.ceil(pace * elements / blockSize);
  return {
    carries,
    elements,
    pace,
    blocks,
    segment: most,
    length,
    codeWords: pace * elements,
    headerWords: headerWords * blocks * Math.ceil(most / pace),
  };
}

/**
 * Words that fillers may add to a block, beyond what its best packing is expected to take: fewer
 * than 1024/7 entries of at most 19 bits.
 */
const fillerWords = 96;

/** Words of an arena that can never overflow: every element's code in full. */
export function fullWords({ elements, segment, headerWords: words }: TapeShape): number {
  return elements * segment + fillerWords * words / headerWords;
}

/**
 * Invocations of a workgroup that has a block: on a software adapter as many as one vector has,
 * since there barriers cost more than work.
 */
export function lanesOn(kind: "software" | "integrated" | "discrete"): number {
  return kind === "software" ? 8 : 64;
}

/** Some carries of a state in one dispatch. */
export interface Picked {
  /** Numbers of the carries, ascending. */
  readonly carries: readonly number[];
  /** The dispatch packs as well, or unpacks; else it is about codes in their buffer alone. */
  readonly packs: boolean;
}

/**
 * The dispatches that record a state or restore it, in the order of recording; `bound` is how many
 * buffers there are of each carry. Those before the last only write codes, or read them.
 */
export function dispatchesOf(
  { carries }: TapeShape,
  bound: 1 | 2,
  maxBindings: number,
): Picked[] {
  const fitting = (others: number): number =>
    Math.max(1, Math.floor((maxBindings - others) / bound));
  // Codes and counter; and arena, headers, cursor and most.
  const [plain, packing] = [fitting(2), fitting(6)];
  const left = carries.map((_, k) => k), dispatches: Picked[] = [];
  while (left.length > packing) {
    dispatches.push({ carries: left.splice(0, Math.min(plain, left.length - 1)), packs: false });
  }
  return [...dispatches, { carries: left, packs: true }];
}

/** Carries up to which it is faster to look for an element's carry than to write down its code. */
const fewCarries = 4;

/** True if no code has to wait: the dispatch has all of its block at hand. */
export function isDirect({ pace, carries }: TapeShape, picked: Picked): boolean {
  return pace === 1 && picked.carries.length === carries.length && carries.length <= fewCarries;
}

/** Workgroups along x before the rest goes along y. */
const alongX = 32768;

/**
 * `row`, `group` and `due` of the step whose number is in the buffer `counter`, which are the same
 * for a whole dispatch, and the block of this workgroup: `first`, where it begins among the codes of
 * all that share blocks, and where its header is. The numbers are uniforms, so that equal kernels
 * serve loops of all lengths and sizes.
 */
export const stepLines: readonly string[] = [
  "let within = counter[0] % sizes[0].x;",
  "let row = within % sizes[0].y;",
  "let group = within / sizes[0].y;",
  "let due = row == sizes[0].y - 1u || within == sizes[0].x - 1u ||",
  "counter[0] == sizes[0].z - 1u;",
  "let elements = sizes[1].x;",
  "let blocks = sizes[1].y;",
  `let first = number * ${blockSize}u;`,
  `let header = (group * blocks + number) * ${headerWords}u;`,
];

/** The uniforms that {@linkcode stepLines} reads, and the start and size of each carry picked. */
export function stepUniforms(shape: TapeShape, picked: Picked): Uint32Array {
  const { pace, segment, length, elements, blocks, carries } = shape;
  let end = 0;
  const starts = carries.map(({ size }) => (end += size) - size);
  return Uint32Array.of(
    ...[segment, pace, length, 0, elements, blocks, 0, 0],
    ...picked.carries.flatMap((k) => [starts[k]!, carries[k]!.size, 0, 0]),
  );
}

/** A storage buffer of a kernel over words. */
export interface WordBuffer {
  readonly name: string;
  readonly access: Access;
  /** Type of an element. @default "u32" */
  readonly type?: string;
}

/** A kernel over words, which uses no float anywhere. */
export function wordKernel(
  { label, buffers, uniforms, globals = [], workgroupSize, workgroups, lines, bytes }: {
    readonly label: string;
    readonly buffers: readonly WordBuffer[];
    readonly uniforms: Uint32Array;
    readonly globals?: readonly string[];
    readonly workgroupSize: number;
    readonly workgroups: number;
    readonly lines: readonly string[];
    readonly bytes: number;
  },
): Kernel {
  const isFolded = workgroups > alongX;
  return {
    label,
    wgsl: [
      ...buffers.map(({ name, access, type = "u32" }, i) =>
        `@group(0) @binding(${i}) var<storage, ${
          access === "read" ? "read" : "read_write"
        }> ${name}: array<${type}>;`
      ),
      `@group(0) @binding(${buffers.length}) var<uniform> sizes: ` +
      `array<vec4<u32>, ${uniforms.length / 4}>;`,
      ...globals,
      `@compute @workgroup_size(${workgroupSize})`,
      "fn main(@builtin(workgroup_id) folded: vec3<u32>, " +
      "@builtin(local_invocation_index) local: u32) {",
      `let number = folded.x${isFolded ? ` + folded.y * ${alongX}u` : ""};`,
      ...(isFolded ? [`if (number >= ${workgroups}u) { return; }`] : []),
      ...lines,
      "}",
      "",
    ].join("\n"),
    access: buffers.map(({ access }) => access),
    uniforms,
    workgroups: isFolded ? [alongX, Math.ceil(workgroups / alongX), 1] : [workgroups, 1, 1],
    flops: 0,
    bytes,
    f16: false,
  };
}
