/**
 * Tuning: the kernels of a program, each written in every way that its frame has, compared with the
 * plain one to the bit, and measured. Ways compete in turns within one submit, in bursts short enough
 * that whatever else the machine does hits all alike; all stamps of a submit are read in one wait.
 * Where the device has no timestamps, bursts of two lengths are timed from outside and the difference
 * counts, so that the eleven milliseconds of a wait cancel.
 *
 * What wins is used by every program compiled from then on, and remembered for the adapter
 * ({@link ./choices.ts}).
 *
 * @module
 */
import { type DType, dtypes, storageBytes, type TypedArray } from "../graph/dtype.ts";
import { sizeOf } from "../graph/shape.ts";
import { compareKernel } from "../kernels/copy.ts";
import type { Kernel } from "../kernels/kernel.ts";
import { fingerprint, type Tunable, writeWay } from "../kernels/tuning.ts";
import { saveChoices } from "./choices.ts";
import { type Context, context } from "./context.ts";
import type { Block } from "./memory.ts";
import type { Pipeline } from "./pipelines.ts";
import { finish, readBlock, write } from "./queue.ts";

/** One way of a kernel, as measured. Times are in seconds. */
export interface TunedWay {
  /** Its name. */
  readonly name: string;
  /** Undefined where it was left out: too slow to bother, refused by the driver, or not the same. */
  readonly time: number | undefined;
  /** False if its results differ from those of the plain kernel in any bit: it is never used. */
  readonly agrees: boolean;
}

/** What tuning found for one kernel. Times are in seconds. */
export interface TunedKernel {
  /** What the plain kernel is called. */
  readonly label: string;
  /** The way by rule of thumb. */
  readonly plain: string;
  /** Its time. */
  readonly plainTime: number;
  /** The way that is used from now on. */
  readonly chosen: string;
  /** Its time. */
  readonly time: number;
  /** All that were tried. */
  readonly ways: readonly TunedWay[];
}

/** What tuning found. */
export interface TuneReport {
  /** The device it holds for. */
  readonly device: string;
  /** Kernels for which there was a choice, those that gained most first. */
  readonly kernels: readonly TunedKernel[];
  /** Kernels that were left alone, and why. */
  readonly skipped: readonly string[];
  /** Where it is remembered; undefined without permission to write there. */
  readonly path: string | undefined;
  /** A table. */
  toString(): string;
}

/** A way has to be faster than the plain kernel by so much to be used. */
const gain = 0.95;
/** Bytes that the values of one kernel may take while it is tuned. */
const mostBytes = 2 ** 30;

/**
 * Tunes all kernels of the programs that a function runs: they are compiled anew, measured, and used
 * in their fastest ways from then on. Results do not change, not in one bit; only times do. What was
 * found is kept in the folder `tuning` of `init`, for programs that run later on the same adapter.
 *
 * @param run What runs the programs, on arguments of the shapes to tune for. Donated arguments are
 * given up as in any call.
 *
 * @throws {Error} Before `init`, or while tuning is under way already.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow", tuning: false });
 * const f = rg.compile((x: rg.Tensor) => x.softmax(-1));
 * const report = await rg.tune(() => f(rg.ones([128, 64])));
 * console.log(`${report}`);
 * ```
 */
export async function tune(run: () => unknown): Promise<TuneReport> {
  const owner = context("tune");
  const { tuning, info, options, identity } = owner.device;
  const recorded = await tuning.record(async () => {
    await run();
    await finish(owner);
  });
  const kernels: TunedKernel[] = [], skipped: string[] = [];
  for (const [key, tunable] of recorded) {
    const outcome = await compete(owner, tunable);
    if (typeof outcome === "string") {
      skipped.push(`${tunable.plain.kernel.label}: ${outcome}`);
      continue;
    }
    const { found, text } = outcome;
    kernels.push(found);
    const { chosen, plain, label, time, plainTime } = found;
    const measurement = { way: chosen, text, label, plain: 1e6 * plainTime, time: 1e6 * time };
    tuning.learn(key, chosen === plain ? undefined : measurement);
  }
  kernels.sort((a, b) => b.plainTime / b.time - a.plainTime / a.time);
  const path = await saveChoices(options.tuning, identity, tuning);
  const device = info.name;
  return { device, kernels, skipped, path, toString: () => table(device, kernels, skipped, path) };
}

/**
 * The ways that programs of this process use instead of the plain ones, by what they compute: what
 * was found by `tune`, now or in an earlier process. It is kept with checkpoints.
 *
 * @throws {Error} Before `init`.
 */
export function tunedWays(): Readonly<Record<string, string>> {
  return context("list what was tuned").device.tuning.used;
}

/** A way on the device. */
interface Entrant {
  readonly name: string;
  readonly kernel: Kernel;
  readonly pipeline: Pipeline;
  readonly group: GPUBindGroup;
}

/** Measures the ways of one kernel; or says why not. */
async function compete(
  owner: Context,
  tunable: Tunable,
): Promise<{ readonly found: TunedKernel; readonly text: string } | string> {
  const { plain, region, aliases } = tunable;
  const sizes = plain.buffers.map(({ dtype, shape }) => storageBytes(dtype, sizeOf(shape)));
  const bytes = 3 * sizes.reduce((a, b) => a + b, 0);
  if (bytes > mostBytes) return `${bytes} bytes to be measured, expected at most ${mostBytes}`;
  using arena = new Arena(owner, plain);
  const entrants: Entrant[] = [];
  for (const name of [plain.way, ...plain.ways.filter((name) => name !== plain.way)]) {
    const { kernel } = writeWay(region, owner.device.target, aliases, name);
    const entrant = await arena.admit(name, kernel);
    if (entrant !== undefined) entrants.push(entrant);
    else if (name === plain.way) return "the driver refuses it";
  }
  const agreeing = await arena.compare(entrants);
  const same = entrants.filter((_, i) => agreeing[i]);
  if (same.length === 1) return "no other way agrees";
  const first = await arena.time(same, 3, 1);
  // Who is far behind need not be measured again.
  const least = Math.min(...first);
  const close = same.filter((_, i) => i === 0 || first[i]! < 1.5 * least);
  const about = first.filter((_, i) => i === 0 || first[i]! < 1.5 * least);
  const repeats = Math.max(1, Math.min(64, Math.ceil(burst / least)));
  const rounds = Math.max(3, Math.min(9, Math.floor(patience / (repeats * sumOf(about)))));
  const times = await arena.time(close, rounds, repeats);
  const best = times.indexOf(Math.min(...times));
  const winner = times[best]! < gain * times[0]! ? best : 0;
  const ways = plain.ways.map((name): TunedWay => {
    const entered = entrants.findIndex((entrant) => entrant.name === name);
    const finalist = close.findIndex((entrant) => entrant.name === name);
    return {
      name,
      time: finalist < 0 ? undefined : times[finalist]!,
      agrees: entered >= 0 && agreeing[entered]!,
    };
  });
  const { name, kernel } = close[winner]!;
  return {
    found: {
      label: plain.kernel.label,
      plain: plain.way,
      plainTime: times[0]!,
      chosen: name,
      time: times[winner]!,
      ways,
    },
    text: fingerprint(kernel),
  };
}

/** Seconds of one way's burst, and of all bursts of a kernel. */
const burst = 2e-4, patience = 0.4;

const sumOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** Memory and measuring for the ways of one kernel. */
class Arena {
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

/**
 * Values to compute with: floats between 1/4 and 1, whose sums tell one order from another and
 * of which roots and logarithms are finite; small whole numbers, which will do as indices.
 */
function sampleOf(dtype: DType, size: number, seed: number): TypedArray {
  const data = new dtypes[dtype].array(storageBytes(dtype, size) / dtypes[dtype].bytes);
  let state = 0x9e3779b9 ^ seed;
  for (let i = 0; i < size; i++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5 | 0;
    const bits = (state ^ (state >>> 13)) >>> 0;
    data[i] = dtypes[dtype].float
      ? 0.25 + 0.75 * (bits / 2 ** 32)
      : bits % (dtype === "bool" ? 2 : 8);
  }
  return data;
}

function table(
  device: string,
  kernels: readonly TunedKernel[],
  skipped: readonly string[],
  path: string | undefined,
): string {
  const faster = kernels.filter(({ chosen, plain }) => chosen !== plain).length;
  const show = (seconds: number): string => `${(1e6 * seconds).toFixed(1)} µs`.padStart(12);
  return [
    `${kernels.length} kernels tuned on ${device}, ${faster} of them faster than by rule of thumb`,
    "       plain        best   gain  kernel: way",
    ...kernels.map(({ label, plain, plainTime, chosen, time }) =>
      `${show(plainTime)}${show(time)}  ${(plainTime / time).toFixed(2)}×  ${label}: ${
        chosen === plain ? chosen : `${chosen} instead of ${plain}`
      }`
    ),
    ...kernels.flatMap(({ label, ways }) =>
      ways.filter(({ agrees }) => !agrees).map(({ name }) =>
        `left out: ${name} of ${label} is refused by the driver or differs from the plain kernel`
      )
    ),
    ...skipped.map((text) => `left alone: ${text}`),
    path === undefined
      ? "remembered in this process only: there is no permission to write, or no folder"
      : `remembered in ${path}`,
  ].join("\n");
}
