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

/** Bind groups kept for a dispatch. */
const groupsKept = 8;

/** The part of the uniform buffer that holds the sizes of a dispatch. */
export interface UniformPart {
  /** In bytes. */
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
}

/** A bind group, and what it binds. */
interface Group {
  readonly blocks: readonly Block[];
  readonly gpu: GPUBindGroup;
}

/** A dispatch with everything but its buffers. */
export class LoadedDispatch {
  /** Of its kernel, compiled. */
  readonly gpu: GPUComputePipeline;
  /** Workgroups. */
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly #layout: GPUBindGroupLayout;
  /** The one used last is the first: results and arguments take turns. */
  readonly #groups: Group[] = [];

  /** Compiles its kernel. */
  constructor(
    private readonly context: Context,
    readonly dispatch: Dispatch,
    /** Its part of the uniform buffer, where it has sizes. */
    readonly uniforms: UniformPart | undefined,
  ) {
    const { kernel, slots } = dispatch;
    const { gpu, layout } = context.pipelines.of(kernel);
    this.gpu = gpu;
    this.#layout = layout;
    [this.x, this.y, this.z] = kernel.workgroups;
    if (slots.length !== kernel.access.length) {
      throw new DeviceError(
        `Cannot load ${kernel.label}: ${slots.length} buffers, expected ${kernel.access.length}`,
      );
    }
  }

  /** The bind group for the blocks of a run, which are by slot, and the program's uniforms. */
  group(blocks: readonly Block[], uniforms: Block | undefined): GPUBindGroup {
    const { slots } = this.dispatch, groups = this.#groups;
    const known = groups.findIndex((group) =>
      slots.every((slot, i) => blocks[slot] === group.blocks[i])
    );
    const [group] = known < 0
      ? [this.#make(slots.map((slot) => blocks[slot]!), uniforms)]
      : groups.splice(known, 1);
    groups.unshift(group!);
    if (groups.length > groupsKept) groups.pop();
    return group!.gpu;
  }

  #make(blocks: readonly Block[], uniforms: Block | undefined): Group {
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
    const { label } = this.dispatch.kernel, { gpu } = this.context.device;
    return { blocks, gpu: gpu.createBindGroup({ label, layout: this.#layout, entries }) };
  }
}

/** The bind groups of all dispatches for the blocks of the run at hand. */
export class Bindings {
  readonly #groups: GPUBindGroup[] = [];
  /** The dispatches that bind a slot. */
  readonly #users: number[][] = [];
  #blocks: readonly Block[] = [];

  /** Groups of dispatches that share the program's uniforms. */
  constructor(
    private readonly dispatches: readonly LoadedDispatch[],
    private readonly uniforms: Block | undefined,
  ) {
    dispatches.forEach(({ dispatch }, number) => {
      for (const slot of new Set(dispatch.slots)) (this.#users[slot] ??= []).push(number);
    });
  }

  /** By dispatch: only those that bind something else than in the last run are looked for. */
  of(blocks: readonly Block[]): readonly GPUBindGroup[] {
    const last = this.#blocks;
    if (blocks === last) return this.#groups;
    const stale = new Set<number>();
    for (let slot = 0; slot < blocks.length; slot++) {
      if (blocks[slot] === last[slot]) continue;
      for (const number of this.#users[slot] ?? []) stale.add(number);
    }
    for (const number of stale) {
      this.#groups[number] = this.dispatches[number]!.group(blocks, this.uniforms);
    }
    this.#blocks = blocks;
    return this.#groups;
  }
}
