/**
 * A program on a device: its pipelines, its uniforms, its workspace and its bind groups, made once
 * and replayed. A run is one encoder, one pass and one submit, and returns at once; what it takes
 * from arguments and gives to results changes hands on the host in that moment, since the queue
 * keeps the order.
 *
 * @module
 */
import type { CostModel } from "../checkpoint/cost.ts";
import { dtypes } from "../graph/dtype.ts";
import { showShape, sizeOf } from "../graph/shape.ts";
import { Storage } from "../graph/storage.ts";
import { type Dispatch, type OutsidePlan, type Program, uniformsOf } from "../compile/program.ts";
import { type Course, isSteered, played } from "../compile/script.ts";
import type { Context } from "./context.ts";
import { LoadedDispatch } from "./dispatch.ts";
import { DeviceError } from "./errors.ts";
import { counted, type Frame, predicted, type RunMemory } from "./frame.ts";
import { type Block, Holding } from "./memory.ts";
import type { Pipeline } from "./pipelines.ts";
import { place, write } from "./queue.ts";
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

/** Dispatches in one submit: a loop goes out in several. */
const dispatchesASubmit = 4096;
/** A program ready to run on a device. */
export class LoadedProgram {
  /** What the program keeps between runs. */
  readonly holding = new Holding();
  readonly #dispatches: readonly LoadedDispatch[];
  readonly #uniforms: Block | undefined;
  readonly #workspace = new Map<number, Block>();
  readonly #keep: boolean;
  /** Whether the course of a run is decided while it runs, so that it is a task in the line. */
  readonly isSteered: boolean;
  readonly #isDonated: readonly boolean[];
  /** For each result the argument whose kind of memory it continues, or -1. */
  readonly #heirs: readonly number[];
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
    this.#isDonated = program.arguments.map((_, i) => program.donated.includes(i));
    this.#heirs = heirs(program);
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
    if (keepWorkspace) {
      this.#takeWorkspace(
        this.#workspace,
        (bytes) => this.holding.take(ledger, bytes, "activations"),
      );
    }
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

  #takeWorkspace(into: Map<number, Block>, take: (bytes: number) => Block): void {
    this.program.slots.forEach(({ role, bytes }, slot) => {
      if (role.is === "workspace") into.set(slot, take(bytes));
    });
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
      line.pass(() => this.#submit(frame, played(this.program.script)));
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
          this.#submit({ ...frame, copies }, watched(course, watch));
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

  /** One submit, or for long loops several, so that none keeps the device for long. */
  #submit(frame: Frame, steps: Iterator<number>): void {
    const { gpu } = this.context.device, label = this.program.name;
    let encoder = gpu.createCommandEncoder({ label });
    this.encodeCopies(encoder, frame);
    for (;;) {
      const pass = encoder.beginComputePass({ label });
      const rest = this.encode(pass, frame, steps, dispatchesASubmit);
      pass.end();
      gpu.queue.submit([encoder.finish()]);
      if (!rest) return;
      encoder = gpu.createCommandEncoder({ label });
    }
  }

  /** First part of a run: the memory it works on. */
  begin(args: readonly Storage[]): Frame {
    const { context, program } = this;
    const action = `run ${program.name}`;
    if (this.#disposed) {
      throw new Error(`Cannot ${action}: it was disposed of, expected one that was not`);
    }
    context.device.errors.throwIfLost();
    this.#checkArguments(args, action);
    // Fails before anything changed hands.
    const given = args.map((storage) =>
      storage.size > 0 ? place(context, [storage], action)[0] : undefined
    );
    const { ledger } = context;
    const leased = this.#keep ? this.#workspace : new Map<number, Block>();
    if (!this.#keep) this.#takeWorkspace(leased, (bytes) => ledger.take(bytes, "activations"));
    // Of arguments that are the same, all of them given up, the last takes the memory.
    const takers = new Map<Storage, number>();
    args.forEach((storage, i) => {
      takers.set(storage, this.#isDonated[i] && takers.get(storage) !== -1 ? i : -1);
    });
    const frame: Frame = { given, blocks: [], copies: [], donated: new Map() };
    program.slots.forEach(({ role, bytes }, slot) => {
      if (role.is === "workspace") frame.blocks[slot] = leased.get(slot)!;
      else if (role.is === "result") frame.blocks[slot] = ledger.take(bytes, "results");
      else if (bytes > 0 && !this.#isDonated[role.index]) {
        frame.blocks[slot] = given[role.index]!;
      } else if (bytes > 0) {
        const storage = args[role.index]!;
        const isShared = takers.get(storage) !== role.index;
        const block = this.#receive(storage, isShared, action, frame);
        frame.blocks[slot] = block;
        frame.donated.set(role.index, block);
      }
    });
    return frame;
  }

  /**
   * The block of a donated argument, or a copy where someone may still need the original: an
   * unread value computed from it, another argument (trees begin with equal zeros in many places),
   * or a result that shares its memory.
   */
  #receive(storage: Storage, isShared: boolean, action: string, frame: Frame): Block {
    const { context } = this;
    const from = context.blockOf(storage, action);
    const reason = `it was donated to ${this.program.name}`;
    if (!isShared && !storage.used && from.owners === 1) {
      return context.take(storage, action, reason);
    }
    const to = context.ledger.take(from.bytes, storage.kind);
    frame.copies.push({ from, to });
    if (!isShared && !storage.used) context.release(storage, reason);
    return to;
  }

  #checkArguments(args: readonly Storage[], action: string): void {
    const expected = this.program.arguments;
    if (args.length !== expected.length) {
      throw new TypeError(
        `Cannot ${action}: ${args.length} arguments, expected ${expected.length}`,
      );
    }
    for (let i = 0; i < args.length; i++) {
      const { dtype, size } = args[i]!, wanted = expected[i]!;
      if (dtype !== wanted.dtype || size !== sizeOf(wanted.shape)) {
        throw new TypeError(
          `Cannot ${action}: argument ${i} is ${size} × ${dtype}, expected ${wanted.dtype}${
            showShape(wanted.shape)
          }`,
        );
      }
    }
  }

  /** Second part of a run: what must be copied first. */
  encodeCopies(encoder: GPUCommandEncoder, { copies }: Frame): void {
    for (const { from, to } of copies) {
      encoder.copyBufferToBuffer(from.gpu, 0, to.gpu, 0, from.bytes);
    }
  }

  /** Third part of a run: at most so many dispatches into a pass; true if there may be more. */
  encode(
    pass: GPUComputePassEncoder,
    { blocks }: Frame,
    dispatches: Iterator<number>,
    most: number,
  ): boolean {
    let pipeline: Pipeline | undefined;
    for (let i = 0; i < most; i++) {
      const next = dispatches.next();
      if (next.done) return false;
      const loaded = this.#dispatches[next.value]!;
      if (loaded.pipeline !== pipeline) {
        pipeline = loaded.pipeline;
        pass.setPipeline(pipeline.gpu);
      }
      pass.setBindGroup(0, loaded.group(blocks, this.#uniforms));
      const { workgroups } = loaded.dispatch.kernel;
      pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2]);
    }
    return true;
  }

  /** Last part of a run: the results take over their blocks. */
  end(args: readonly Storage[], frame: Frame): Storage[] {
    const { context, program } = this;
    const { blocks, donated } = frame;
    this.#last = frame;
    const bySlot = new Map<number, Storage>();
    const fresh: Storage[] = [], taken: Block[] = [];
    const results = program.results.map(({ dtype, shape, slot }, i) => {
      const size = sizeOf(shape);
      if (slot < 0) {
        return new Storage(dtype, size, { at: "host", data: new dtypes[dtype].array(0) });
      }
      const known = bySlot.get(slot);
      if (known?.dtype === dtype && known.size === size) return known;
      const block = blocks[slot]!;
      const role = program.slots[slot]!.role;
      if (role.is === "argument" && !this.#isDonated[role.index]) {
        const argument = args[role.index]!;
        if (argument.dtype === dtype && argument.size === size) return argument;
        context.ledger.retain(block);
      } else if (known !== undefined) context.ledger.retain(block);
      else if (role.is === "argument") donated.delete(role.index);
      const storage = new Storage(dtype, size, { at: "device", handle: block });
      const heir = this.#heirs[i]!;
      storage.kind = heir < 0 ? "results" : args[heir]!.kind;
      context.ledger.relabel(block, storage.kind);
      bySlot.set(slot, storage);
      fresh.push(storage);
      taken.push(block);
      return storage;
    });
    context.adopt(fresh, taken);
    for (const block of donated.values()) context.ledger.release(block);
    if (!this.#keep) {
      program.slots.forEach(({ role }, slot) => {
        if (role.is === "workspace") context.ledger.release(blocks[slot]!);
      });
    }
    return results;
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
  }
}

/**
 * For each result the donated argument that it replaces: the one whose memory it took over, else
 * the next one of its shape and dtype. What was counted as parameters stays so from step to step.
 */
function heirs({ results, slots, arguments: args, donated }: Program): number[] {
  const free = new Set(donated);
  const found = results.map(({ slot }) => {
    const role = slots[slot]?.role;
    if (role?.is !== "argument") return -1;
    free.delete(role.index);
    return role.index;
  });
  return found.map((index, i) => {
    if (index >= 0) return index;
    const { dtype, shape } = results[i]!;
    for (const candidate of free) {
      const aval = args[candidate]!;
      if (aval.dtype !== dtype || showShape(aval.shape) !== showShape(shape)) continue;
      free.delete(candidate);
      return candidate;
    }
    return -1;
  });
}

function* watched(course: Course, watch: (dispatch: number) => void): Generator<number> {
  for (const dispatch of course) {
    watch(dispatch);
    yield dispatch;
  }
}
