/**
 * A program on a device: its pipelines, its uniforms, its workspace and its bind groups, made once
 * and replayed. A run is one encoder, one pass and one submit, and returns at once; what it takes
 * from arguments and gives to results changes hands on the host in that moment, since the queue
 * keeps the order.
 *
 * @module
 */
import type { CostModel } from "../checkpoint/cost.ts";
import { showShape } from "../graph/shape.ts";
import type { Storage } from "../graph/storage.ts";
import { type Dispatch, type OutsidePlan, type Program, uniformsOf } from "../compile/program.ts";
import { type Course, isSteered, played, type Script } from "../compile/script.ts";
import type { Lease } from "./collect.ts";
import type { Context } from "./context.ts";
import { Bindings, LoadedDispatch } from "./dispatch.ts";
import { DeviceError } from "./errors.ts";
import { Exchange } from "./exchange.ts";
import { counted, type Frame, predicted, type RunMemory } from "./frame.ts";
import { type Block, Holding } from "./memory.ts";
import { write } from "./queue.ts";
import { Scratch } from "./scratch.ts";
import { coursesOf, steer } from "./steer.ts";

/** How a program is loaded. */
export interface LoadOptions {
  /**
   * Whether the workspace stays with the program between runs, so that bind groups stay as well.
   *
   * @default {true}
   */
  readonly keepWorkspace?: boolean;
}

/** Dispatches in one submit: a long loop goes out in several, so that none keeps the device for long. */
const dispatchesASubmit = 4096;
/** A program ready to run on a device. */
export class LoadedProgram {
  /** What the program keeps between runs. */
  readonly holding = new Holding();
  readonly #dispatches: readonly LoadedDispatch[];
  readonly #uniforms: Block | undefined;
  readonly #bindings: Bindings;
  /** What a run dispatches, if that is settled and goes out in one submit. */
  readonly #course: readonly (readonly number[])[] | undefined;
  readonly #workspaceSlots: readonly number[];
  /** What it keeps of these between runs. */
  readonly #workspace = new Map<number, Block>();
  /** Given up with the program: a function made in a loop need not wait for the job's end. */
  readonly #leases: readonly Lease[] = [];
  readonly #keep: boolean;
  /** Whether the course of a run is decided while it runs, so that it is a task in the line. */
  readonly isSteered: boolean;
  readonly #exchange: Exchange;
  /** What its regions were expected to cost when it was compiled. */
  readonly costs: CostModel;
  /** Seconds of each dispatch, where the program was profiled. */
  measured: readonly number[] | undefined;
  #last: Frame | undefined;
  /** What the last run kept outside of the device at the fullest moment; undefined before it ended. */
  outside: OutsidePlan | undefined;
  #disposed = false;

  /** Compiles the shaders and takes the memory that every run needs. */
  constructor(
    private readonly context: Context,
    readonly program: Program,
    { keepWorkspace = true }: LoadOptions = {},
  ) {
    const { ledger, device } = context;
    this.costs = context.costs;
    this.#keep = keepWorkspace;
    this.isSteered = isSteered(program.script);
    this.#exchange = new Exchange(context, program);
    this.#course = this.isSteered ? undefined : shortCourse(program.script);
    this.#workspaceSlots = program.slots.flatMap(({ role }, slot) =>
      role.is === "workspace" ? [slot] : []
    );
    const { offsets, bytes: end } = uniformsOf(program.dispatches);
    this.#dispatches = program.dispatches.map((dispatch, i) => {
      const { kernel, expression, source } = dispatch;
      device.errors.describe(kernel.label, { expression, source });
      this.#check(dispatch);
      const size = kernel.uniforms?.byteLength, offset = offsets[i];
      const uniforms = size === undefined || offset === undefined ? undefined : { offset, size };
      return new LoadedDispatch(context, dispatch, uniforms);
    });
    if (end > 0) {
      const words = new Uint32Array(end / 4);
      for (const { dispatch, uniforms } of this.#dispatches) {
        if (uniforms !== undefined) words.set(dispatch.kernel.uniforms!, uniforms.offset / 4);
      }
      this.#uniforms = this.holding.take(ledger, end, "workspace", "uniform");
      write(context, this.#uniforms, words);
    }
    this.#bindings = new Bindings(this.#dispatches, this.#uniforms);
    if (!keepWorkspace) return;
    for (const slot of this.#workspaceSlots) {
      const { bytes } = program.slots[slot]!;
      this.#workspace.set(slot, ledger.take(bytes, "activations"));
    }
    this.#leases = context.collector.watch([...this.#workspace.values()]);
  }

  /** What the device would refuse, or silently not do, is refused here. */
  #check({ kernel, slots }: Dispatch): void {
    const { limits } = this.context.device.info;
    const fail = (what: string, expected: string) => {
      throw new DeviceError(`Cannot load ${kernel.label}: ${what}, expected ${expected}`);
    };
    const most = limits.maxComputeWorkgroupsPerDimension;
    if (kernel.workgroups.some((n) => !Number.isInteger(n) || n < 1 || n > most)) {
      fail(`workgroups are ${showShape(kernel.workgroups)}`, `1 to ${most} each`);
    }
    const bindings = limits.maxStorageBuffersPerShaderStage;
    if (slots.length > bindings) fail(`it binds ${slots.length} buffers`, `at most ${bindings}`);
    const bytes = limits.maxStorageBufferBindingSize;
    for (const slot of slots) {
      const { bytes: size } = this.program.slots[slot]!;
      if (size > bytes) {
        fail(`it binds a buffer of ${size} bytes`, `at most ${bytes} on this device`);
      }
    }
  }

  /** True if what it would be faster with was tried since, and had the same bits. */
  get isOutdated(): boolean {
    return this.program.probes.some(({ key }) => this.context.device.probes.same(key));
  }

  /**
   * Runs the program. Donated arguments are gone afterwards.
   *
   * @throws {TypeError} if an argument does not fit.
   * @throws {Error} if an argument has no data any more.
   */
  run(args: readonly Storage[]): Storage[] {
    const { line } = this.context;
    if (this.isSteered) {
      const { frame, steer } = this.beginSteered(args);
      line.task(steer);
      return this.end(args, frame);
    }
    const frame = this.begin(args);
    if (this.#dispatches.length > 0 || frame.copies.length > 0) {
      line.pass(() => this.#submit(frame, this.#course ?? partsOf(played(this.program.script))));
    }
    return this.end(args, frame);
  }

  /** First part of a run that is steered, and its task; `watch` sees what runs. */
  beginSteered(
    args: readonly Storage[],
    watch: (dispatch: number) => void = () => {},
  ): { readonly frame: Frame; readonly steer: () => Promise<void> } {
    const { name, script, outside: { disk } } = this.program;
    // Where there can be no file, that is an error now.
    const scratch = disk > 0 ? new Scratch(`run ${name}`) : undefined;
    let frame: Frame;
    try {
      frame = this.begin(args);
    } catch (error) {
      scratch?.close();
      throw error;
    }
    let copies = frame.copies;
    const steered = () =>
      steer(this.context, {
        name,
        script,
        blocks: frame.blocks,
        scratch,
        ended: (outside) => this.outside = outside,
        submit: (course) => {
          this.#submit({ ...frame, copies }, partsOf(watched(course, watch)));
          copies = [];
        },
      });
    return { frame, steer: steered };
  }

  /**
   * What a run does, piece by piece, for who hands it to the device himself, outside of the line: when
   * the next piece is asked for, the last one and whatever else was called have reached the device.
   */
  async *courses({ blocks }: Frame): AsyncGenerator<Course, void, undefined> {
    const { name, script, outside: { disk } } = this.program;
    if (!this.isSteered) {
      yield played(script);
      return;
    }
    const scratch = disk > 0 ? new Scratch(`run ${name}`) : undefined;
    yield* coursesOf(this.context, { script, blocks, scratch, ended: () => {} });
  }

  /** One submit for each part of what is dispatched. */
  #submit(frame: Frame, parts: Iterable<readonly number[]>): void {
    const { gpu } = this.context.device, label = this.program.name;
    let first = true;
    for (const part of parts) {
      const encoder = gpu.createCommandEncoder({ label });
      if (first) this.encodeCopies(encoder, frame);
      first = false;
      const pass = encoder.beginComputePass({ label });
      this.encode(pass, frame, part);
      pass.end();
      gpu.queue.submit([encoder.finish()]);
    }
  }

  /** First part of a run: the memory it works on. */
  begin(args: readonly Storage[]): Frame {
    const { context, program: { name, slots } } = this;
    const action = `run ${name}`;
    if (this.#disposed) {
      throw new Error(`Cannot ${action}: it was disposed of, expected one that was not`);
    }
    context.device.errors.throwIfLost();
    const frame = this.#exchange.take(args, action);
    for (const slot of this.#workspaceSlots) {
      frame.blocks[slot] = this.#workspace.get(slot) ??
        context.ledger.take(slots[slot]!.bytes, "activations");
    }
    return frame;
  }

  /** Second part of a run: what must be copied first. */
  encodeCopies(encoder: GPUCommandEncoder, { copies }: Frame): void {
    for (const { from, to } of copies) {
      encoder.copyBufferToBuffer(from.gpu, 0, to.gpu, 0, from.bytes);
    }
  }

  /** Third part of a run: dispatches, by number, into a pass. */
  encode(pass: GPUComputePassEncoder, { blocks }: Frame, course: readonly number[]): void {
    const groups = this.#bindings.of(blocks), dispatches = this.#dispatches;
    let last = -1, pipeline: GPUComputePipeline | undefined;
    for (const number of course) {
      const dispatch = dispatches[number]!;
      if (dispatch.gpu !== pipeline) pass.setPipeline(pipeline = dispatch.gpu);
      if (number !== last) pass.setBindGroup(0, groups[last = number]!);
      pass.dispatchWorkgroups(dispatch.x, dispatch.y, dispatch.z);
    }
  }

  /** Last part of a run: the results take over their blocks. */
  end(args: readonly Storage[], frame: Frame): Storage[] {
    this.#last = frame;
    const results = this.#exchange.give(args, frame);
    if (!this.#keep) {
      for (const slot of this.#workspaceSlots) this.context.ledger.release(frame.blocks[slot]!);
    }
    return results;
  }

  /** For each result whether its storage is new in every run. */
  get owned(): readonly boolean[] {
    return this.#exchange.owned;
  }

  /** Bytes that the last run had to take; undefined before the first. */
  get predicted(): RunMemory | undefined {
    return this.#last && predicted(this.program, this.#last);
  }

  /** Bytes of the buffers that the last run really bound; undefined before the first. */
  get counted(): RunMemory | undefined {
    return this.#last && counted(this.program, this.#last, this.#uniforms);
  }

  /** Gives the memory back; the program cannot run any more. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.holding.release();
    for (const lease of this.#leases) this.context.end(lease);
  }
}

/** A course in parts that go out in one submit each; without dispatches, one that is empty. */
function* partsOf(course: Course): Generator<readonly number[], void, undefined> {
  let part: number[] = [], first = true;
  for (const dispatch of course) {
    if (part.length === dispatchesASubmit) {
      yield part;
      part = [];
      first = false;
    }
    part.push(dispatch);
  }
  if (first || part.length > 0) yield part;
}

/** What a script dispatches, if that goes out in one submit. */
function shortCourse(script: Script): (readonly number[])[] | undefined {
  const parts = partsOf(played(script)), first = parts.next();
  return first.done || !parts.next().done ? undefined : [first.value];
}

function* watched(course: Course, watch: (dispatch: number) => void): Generator<number> {
  for (const dispatch of course) {
    watch(dispatch);
    yield dispatch;
  }
}
