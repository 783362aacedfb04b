/**
 * What one run of a program works on, and the bytes that it took, by the plan and by the buffers.
 *
 * @module
 */
import type { MemoryPlan, Program } from "../compile/program.ts";
import type { Lease } from "./collect.ts";
import type { Block } from "./memory.ts";

/** What one run works on. */
export interface Frame {
  /** The blocks that the arguments came with; undefined where an argument is empty. */
  readonly given: readonly (Block | undefined)[];
  /** By slot. */
  readonly blocks: Block[];
  /** Copies to make before the first dispatch: whoever still needs the original keeps it. */
  readonly copies: { readonly from: Block; readonly to: Block }[];
  /** By argument: what was donated and not copied, until the results take it over. */
  readonly leases: (Lease | undefined)[];
}

/**
 * Bytes that one run takes, by what for. {@linkcode Program.memory} knows no arguments, and takes
 * them for distinct; this is for the arguments that were passed.
 */
export interface RunMemory extends MemoryPlan {
  /**
   * Originals of donated arguments that someone else still needs, so that the program worked on
   * copies; those that are bound as another argument count there.
   */
  readonly copied: number;
}

/** Bytes that a run has to take, by the plan and by which of its arguments are the same. */
export function predicted({ slots, memory, donated }: Program, frame: Frame): RunMemory {
  const { given, copies, blocks } = frame;
  let args = 0;
  const bound = new Set<Block>();
  slots.forEach(({ role, bytes }) => {
    if (role.is !== "argument") return;
    // What is given up is overwritten, and so alone in its memory; the rest is bound as it came.
    const block = donated.includes(role.index) ? undefined : given[role.index];
    if (block !== undefined && bound.has(block)) return;
    if (block !== undefined) bound.add(block);
    args += bytes;
  });
  // Of what was donated more than once, the last copy is the original.
  const originals = new Set(copies.map(({ from }) => from));
  let copied = 0;
  for (const from of originals) {
    if (!bound.has(from) && !blocks.includes(from)) copied += from.bytes;
  }
  const peak = memory.peak - memory.arguments + args + copied;
  return { ...memory, arguments: args, copied, peak };
}

/** Bytes of the buffers that a run really bound. */
export function counted(
  { slots }: Program,
  { blocks, copies }: Frame,
  uniforms: Block | undefined,
): RunMemory {
  const bytes = { argument: 0, result: 0, workspace: 0 };
  // Slots of no bytes have no block, and arguments passed twice are one.
  const seen = new Set<Block>();
  blocks.forEach((block, slot) => {
    if (!seen.has(block)) bytes[slots[slot]!.role.is] += block.gpu.size;
    seen.add(block);
  });
  let copied = 0;
  for (const { from } of copies) {
    if (!seen.has(from)) copied += from.gpu.size;
    seen.add(from);
  }
  const { argument, result: results, workspace } = bytes;
  const sizes = uniforms?.gpu.size ?? 0;
  const peak = argument + results + workspace + sizes + copied;
  return { arguments: argument, results, workspace, uniforms: sizes, copied, peak };
}
