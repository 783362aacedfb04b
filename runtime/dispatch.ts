/**
 * A dispatch on a device: its pipeline, its sizes, and a bind group for the buffers of each run. In
 * a steady state the buffers of one run are those of the one before, or take turns with them, so
 * that groups are found and not made.
 *
 * @module
 */
import type { Dispatch } from "../compile/program.ts";
import type { Context } from "./context.ts";
import { DeviceError } from "./errors.ts";
import type { Block } from "./memory.ts";
import type { Pipeline } from "./pipelines.ts";

/** Bind groups kept for a dispatch. */
const groupsKept = 8;

/** The part of the uniform buffer that holds the sizes of a dispatch. */
export interface UniformPart {
  /** In bytes. */
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
}

/** A dispatch with everything but its buffers. */
export class LoadedDispatch {
  /** Of its kernel, compiled. */
  readonly pipeline: Pipeline;
  /** The blocks and the bind group of the last run: in a steady state also those of the next. */
  #last: { readonly blocks: readonly Block[]; readonly group: GPUBindGroup } | undefined;
  /** Groups by the blocks they bind: results and arguments take turns. */
  readonly #groups = new Map<string, GPUBindGroup>();

  /** Compiles its kernel. */
  constructor(
    private readonly context: Context,
    readonly dispatch: Dispatch,
    /** Its part of the uniform buffer, where it has sizes. */
    readonly uniforms: UniformPart | undefined,
  ) {
    const { kernel, slots } = dispatch;
    this.pipeline = context.pipelines.of(kernel);
    if (slots.length !== kernel.access.length) {
      throw new DeviceError(
        `Cannot load ${kernel.label}: ${slots.length} buffers, expected ${kernel.access.length}`,
      );
    }
  }

  /** The bind group for the blocks of a run, which are by slot, and the program's uniforms. */
  group(blocks: readonly Block[], uniforms: Block | undefined): GPUBindGroup {
    const { slots } = this.dispatch, last = this.#last;
    if (last !== undefined) {
      let i = 0;
      while (i < slots.length && blocks[slots[i]!] === last.blocks[i]) i++;
      if (i === slots.length) return last.group;
    }
    const bound = slots.map((slot) => blocks[slot]!);
    const key = bound.map((block) => block.id).join();
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = this.#make(bound, uniforms);
      if (this.#groups.size >= groupsKept) {
        const [oldest] = this.#groups.keys();
        this.#groups.delete(oldest!);
      }
      this.#groups.set(key, group);
    }
    this.#last = { blocks: bound, group };
    return group;
  }

  #make(blocks: readonly Block[], uniforms: Block | undefined): GPUBindGroup {
    const entries: GPUBindGroupEntry[] = blocks.map((block, binding) => ({
      binding,
      resource: { buffer: block.gpu },
    }));
    if (this.uniforms !== undefined) {
      entries.push({
        binding: blocks.length,
        resource: { buffer: uniforms!.gpu, ...this.uniforms },
      });
    }
    const { label } = this.dispatch.kernel, { layout } = this.pipeline;
    return this.context.device.gpu.createBindGroup({ label, layout, entries });
  }
}
