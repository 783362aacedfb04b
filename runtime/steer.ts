/**
 * Running what decides while it runs: a steered program is a task in the line, which hands the
 * device one piece of its course after the other and asks in between. A question is a copy of a few
 * bytes and a wait, during which the device works on what was handed to it before.
 *
 * @module
 */
import type { OutsidePlan } from "../compile/program.ts";
import { type Course, type Host, type Script, steered } from "../compile/script.ts";
import type { Context } from "./context.ts";
import { DeviceError } from "./errors.ts";
import type { Block } from "./memory.ts";
import { Outside } from "./outside.ts";
import type { Scratch } from "./scratch.ts";

/** A run, as far as its course needs it. */
export interface Steering {
  readonly script: Script;
  /** The memory of its slots. */
  readonly blocks: readonly Block[];
  /** The file for what it keeps on disk, if it does. */
  readonly scratch: Scratch | undefined;
  /** Is told what it kept outside of the device at the fullest moment. */
  ended(outside: OutsidePlan): void;
}

/** A run as a task in the line. */
export interface SteeredRun extends Steering {
  readonly name: string;
  /** Hands a piece of the course to the device. */
  submit(course: Course): void;
}

/** Bytes of one answer: a word, in as much as a buffer has at least. */
const answerBytes = 16;

/**
 * Runs a steered program to its end.
 *
 * @throws {DeviceError} if the device was lost, or refused something: then it may never end.
 */
export async function steer(context: Context, run: SteeredRun): Promise<void> {
  const { errors } = context.device;
  try {
    for await (const course of coursesOf(context, run)) {
      errors.throwFirst();
      run.submit(course);
    }
  } catch (error) {
    errors.throwFirst();
    const { message } = error as Error;
    throw new DeviceError(`Cannot run ${run.name}: ${message}`, { cause: error });
  }
}

/**
 * The pieces of a course, for who hands each to the device before asking for the next, and has no
 * one in between. What the run keeps outside of the device is gone when the last was asked for, or
 * no more are wanted.
 */
export async function* coursesOf(
  context: Context,
  run: Steering,
): AsyncGenerator<Course, void, undefined> {
  const outside = new Outside(context, run.blocks, run.scratch);
  const host: Host = {
    outside,
    read: (slots) => {
      const answers = ask(context, slots.map((slot) => run.blocks[slot]!));
      // Whoever asked may have failed before it awaits the answer.
      answers.catch(() => {});
      return answers;
    },
    notes: new Map(),
  };
  try {
    yield* steered(run.script, host);
  } finally {
    run.ended(outside.peak);
    await outside.close();
    await run.scratch?.close();
  }
}

/** The first words of blocks, past the line: only for the task that stands in it. */
async function ask(context: Context, blocks: readonly Block[]): Promise<readonly number[]> {
  const { ledger, collector, device: { gpu, errors } } = context;
  const bytes = answerBytes * blocks.length;
  const staging = ledger.take(bytes, "staging", "staging");
  try {
    const encoder = gpu.createCommandEncoder({ label: "ask" });
    blocks.forEach((block, i) =>
      encoder.copyBufferToBuffer(block.gpu, 0, staging.gpu, answerBytes * i, answerBytes)
    );
    gpu.queue.submit([encoder.finish()]);
    collector.refill();
    await staging.gpu.mapAsync(GPUMapMode.READ, 0, bytes);
    collector.jobEnded();
    const words = new Uint32Array(staging.gpu.getMappedRange(0, bytes));
    return blocks.map((_, i) => words[answerBytes / 4 * i]!);
  } finally {
    if (staging.gpu.mapState === "mapped" && !errors.lost) staging.gpu.unmap();
    ledger.release(staging);
  }
}
