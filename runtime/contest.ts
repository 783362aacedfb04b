/**
 * A contest between the ways in which a kernel can be written: the memory that they work on, whether
 * they give the bits of the first, and how long they take. They compete in turns within one submit,
 * in bursts short enough that whatever else the machine does hits all alike; all stamps of a submit
 * are read in one wait. Where the device has no timestamps, bursts of two lengths are timed from
 * outside and the difference counts, so that the eleven milliseconds of a wait cancel.
 *
 * @module
 */
import { storageBytes } from "../graph/dtype.ts";
import { sizeOf } from "../graph/shape.ts";
import { compareKernel } from "../kernels/copy.ts";
import type { Kernel } from "../kernels/kernel.ts";
import type { Tunable } from "../kernels/tuning.ts";
import type { Context } from "./context.ts";
import type { Block } from "./memory.ts";
import type { Pipeline } from "./pipelines.ts";
import { finish, readBlock, write } from "./queue.ts";
import { sampleOf } from "./samples.ts";

/** A way on the device. */
export interface Entrant {
  readonly name: string;
  readonly kernel: Kernel;
  readonly pipeline: Pipeline;
  readonly group: GPUBindGroup;
}

/** Memory and measuring for the ways of one kernel. */
export class Contest {
  readonly #blocks: Block[] = [];
  /** By binding: what ways work on, what it holds at first, and what the plain kernel made of it. */
  readonly #work: Block[];
  readonly #given: (Block | undefined)[];
  readonly #expected: (Block | undefined)[];

  constructor(private readonly owner: Context, private readonly plain: Tunable["plain"]) {
    const { kernel: { access }, buffers } = plain;
    this.#work = buffers.map(({ dtype, shape }, i) => {
      const block = this.#take(storageBytes(dtype, sizeOf(shape)));
      if (access[i] !== "write") write(owner, block, sampleOf(dtype, sizeOf(shape), i));
      return block;
    });
    this.#given = buffers.map(({ dtype, shape }, i) => {
      if (access[i] !== "update") return undefined;
      const block = this.#take(storageBytes(dtype, sizeOf(shape)));
      write(owner, block, sampleOf(dtype, sizeOf(shape), i));
      return block;
    });
    this.#expected = buffers.map(({ dtype, shape }, i) =>
      access[i] === "read" ? undefined : this.#take(storageBytes(dtype, sizeOf(shape)))
    );
  }

  #take(bytes: number, use: Block["use"] = "storage"): Block {
    const block = this.owner.ledger.take(Math.max(16, bytes), "workspace", use);
    this.#blocks.push(block);
    return block;
  }

  [Symbol.dispose](): void {
    for (const block of this.#blocks) this.owner.ledger.release(block);
  }

  /** Makes a way ready, unless the driver refuses it. */
  async admit(name: string, kernel: Kernel): Promise<Entrant | undefined> {
    const { gpu } = this.owner.device;
    gpu.pushErrorScope("validation");
    const pipeline = this.owner.pipelines.of(kernel);
    const group = this.#bind(pipeline, kernel, this.#work);
    return await gpu.popErrorScope() === null ? { name, kernel, pipeline, group } : undefined;
  }

  #bind({ layout }: Pipeline, { uniforms }: Kernel, blocks: readonly Block[]): GPUBindGroup {
    const all = [...blocks];
    if (uniforms !== undefined) {
      const block = this.#take(uniforms.byteLength, "uniform");
      write(this.owner, block, uniforms);
      all.push(block);
    }
    const entries = all.map(({ gpu: buffer }, binding) => ({ binding, resource: { buffer } }));
    return this.owner.device.gpu.createBindGroup({ layout, entries });
  }

  /** Lays what is overwritten as it was. */
  #restore(encoder: GPUCommandEncoder): void {
    this.#given.forEach((given, i) => {
      const work = this.#work[i]!;
      if (given !== undefined) encoder.copyBufferToBuffer(given.gpu, 0, work.gpu, 0, given.bytes);
    });
  }

  #run(pass: GPUComputePassEncoder, { pipeline, group, kernel }: Entrant, times = 1): void {
    pass.setPipeline(pipeline.gpu);
    pass.setBindGroup(0, group);
    for (let i = 0; i < times; i++) pass.dispatchWorkgroups(...kernel.workgroups);
  }

  #submit(encoder: GPUCommandEncoder): void {
    const { line, device: { gpu } } = this.owner;
    line.pass(() => gpu.queue.submit([encoder.finish()]));
  }

  /** Whether each way gives the bits of the first; told in one wait. */
  async compare(entrants: readonly Entrant[]): Promise<boolean[]> {
    const { owner, plain: { buffers } } = this, { gpu } = owner.device;
    const flags = this.#take(4 * entrants.length);
    write(owner, flags, new Uint32Array(flags.bytes / 4));
    const encoder = gpu.createCommandEncoder({ label: "tune" });
    entrants.forEach((entrant, number) => {
      this.#restore(encoder);
      const pass = encoder.beginComputePass();
      this.#run(pass, entrant);
      if (number > 0) {
        this.#expected.forEach((expected, i) => {
          if (expected === undefined) return;
          const { dtype, shape } = buffers[i]!;
          const kernel = compareKernel(dtype, sizeOf(shape), number, true);
          const pipeline = owner.pipelines.of(kernel);
          const group = this.#bind(pipeline, kernel, [expected, this.#work[i]!, flags]);
          this.#run(pass, { name: "compare", kernel, pipeline, group });
        });
      }
      pass.end();
      if (number > 0) return;
      this.#expected.forEach((expected, i) => {
        if (expected === undefined) return;
        encoder.copyBufferToBuffer(this.#work[i]!.gpu, 0, expected.gpu, 0, expected.bytes);
      });
    });
    this.#submit(encoder);
    const found = new Uint32Array(await readBlock(owner, flags, 4 * entrants.length));
    return Array.from(found, (flag) => flag === 0);
  }

  /**
   * Seconds of one dispatch of each way: of bursts of so many, the least of all rounds, since whatever
   * else goes on can only delay.
   */
  time(entrants: readonly Entrant[], rounds: number, repeats: number): Promise<number[]> {
    return this.owner.device.info.features.includes("timestamp-query")
      ? this.#stamped(entrants, rounds, repeats)
      : this.#differenced(entrants, rounds, repeats);
  }

  async #stamped(
    entrants: readonly Entrant[],
    rounds: number,
    repeats: number,
  ): Promise<number[]> {
    const { gpu } = this.owner.device;
    const count = rounds * entrants.length;
    const querySet = gpu.createQuerySet({ type: "timestamp", count: 2 * count });
    const stamps = this.#take(16 * count, "query");
    const encoder = gpu.createCommandEncoder({ label: "tune" });
    for (let i = 0; i < count; i++) {
      this.#restore(encoder);
      const pass = encoder.beginComputePass({
        timestampWrites: {
          querySet,
          beginningOfPassWriteIndex: 2 * i,
          endOfPassWriteIndex: 2 * i + 1,
        },
      });
      this.#run(pass, entrants[i % entrants.length]!, repeats);
      pass.end();
    }
    encoder.resolveQuerySet(querySet, 0, 2 * count, stamps.gpu, 0);
    this.#submit(encoder);
    const ticks = new BigInt64Array(await readBlock(this.owner, stamps, 16 * count));
    querySet.destroy();
    return entrants.map((_, e) =>
      Math.min(...Array.from({ length: rounds }, (_, round) => {
        const i = round * entrants.length + e;
        return Math.max(1, Number(ticks[2 * i + 1]! - ticks[2 * i]!)) / 1e9 / repeats;
      }))
    );
  }

  async #differenced(
    entrants: readonly Entrant[],
    rounds: number,
    repeats: number,
  ): Promise<number[]> {
    const wall = async (entrant: Entrant, times: number): Promise<number> => {
      const encoder = this.owner.device.gpu.createCommandEncoder({ label: "tune" });
      this.#restore(encoder);
      const pass = encoder.beginComputePass();
      this.#run(pass, entrant, times);
      pass.end();
      const start = performance.now();
      this.#submit(encoder);
      await finish(this.owner);
      return (performance.now() - start) / 1e3;
    };
    const times: number[] = [];
    for (const entrant of entrants) {
      const samples: number[] = [];
      for (let round = 0; round < Math.min(rounds, 3); round++) {
        const short = await wall(entrant, repeats), long = await wall(entrant, 3 * repeats);
        samples.push(Math.max(1e-9, (long - short) / (2 * repeats)));
      }
      times.push(Math.min(...samples));
    }
    return times;
  }
}
