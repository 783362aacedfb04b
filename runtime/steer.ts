/**
 * Running what decides while it runs: a steered program is a task in the line, which hands the
 * device one piece of its course after the other and asks in between. A question is a copy of a few
 * bytes and a wait, during which the device works on what was handed to it before.
 *
 * @module
 */
import { type Course, type Host, type Script, steered } from "../compile/script.ts";
import type { Context } from "./context.ts";
import { DeviceError } from "./errors.ts";
import type { Block } from "./memory.ts";

/** A run, as far as its course needs it. */
export interface SteeredRun {
  readonly name: string;
  readonly script: Script;
  /** The memory of its slots. */
  readonly blocks: readonly Block[];
  /** Hands a piece of the course to the device. */
  submit(course: Course): void;
}

/** Bytes that an answer takes: one word, in as much as a buffer has at least. */
const answerBytes = 16;

/**
 * Runs a steered program to its end.
 *
 * @throws {DeviceError} if the device was lost, or refused something: then it may never end.
 */
export async function steer(context: Context, run: SteeredRun): Promise<void> {
  const { errors } = context.device;
  const host: Host = {
    read: (slot) => {
      const answer = ask(context, run.blocks[slot]!);
      // Whoever asked may have failed before it awaits the answer.
      answer.catch(() => {});
      return answer;
    },
  };
  try {
    for await (const course of steered(run.script, host)) {
      errors.throwFirst();
      run.submit(course);
    }
  } catch (error) {
    errors.throwFirst();
    throw new DeviceError(`Cannot run ${run.name}: ${(error as Error).message}`);
  }
}

/** The first word of a block, past the line: only for the task that stands in it. */
async function ask(context: Context, block: Block): Promise<number> {
  const { ledger, collector, device: { gpu, errors } } = context;
  const staging = ledger.take(answerBytes, "staging", "staging");
  try {
    const encoder = gpu.createCommandEncoder({ label: "ask" });
    encoder.copyBufferToBuffer(block.gpu, 0, staging.gpu, 0, answerBytes);
    gpu.queue.submit([encoder.finish()]);
    collector.refill();
    await staging.gpu.mapAsync(GPUMapMode.READ, 0, answerBytes);
    collector.jobEnded();
    return new Uint32Array(staging.gpu.getMappedRange(0, answerBytes))[0]!;
  } finally {
    if (staging.gpu.mapState === "mapped" && !errors.lost) staging.gpu.unmap();
    ledger.release(staging);
  }
}
