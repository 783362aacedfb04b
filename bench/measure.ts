/**
 * Counts what a contestant does with the device, and times it. Every contestant is counted alike:
 * the WebGPU classes themselves are wrapped, before the contestant's library is loaded.
 *
 * @module
 */

import { bareCalls } from "./bare.ts";

/** What was done with the device so far. */
export interface Counts {
  dispatches: number;
  submits: number;
  pipelines: number;
  /** Bytes of buffers that are neither destroyed nor collected: now, and at their fullest. */
  liveBytes: number;
  peakBytes: number;
}

/** The counts of this process. */
export const counts: Counts = {
  dispatches: 0,
  submits: 0,
  pipelines: 0,
  liveBytes: 0,
  peakBytes: 0,
};

/** The first error that the device reported and the contestant did not catch in a scope. */
export const device: { error?: string } = {};

/** Makes a method do something more, after it has returned. */
function extend<T, K extends keyof T>(
  prototype: T,
  method: K,
  then: T[K] extends (...args: infer A) => infer R ? (self: T, args: A, result: R) => void : never,
): void {
  const original = prototype[method] as (...args: unknown[]) => unknown;
  const more = then as (self: T, args: unknown[], result: unknown) => void;
  prototype[method] = function (this: T, ...args: unknown[]): unknown {
    const result = original.apply(this, args);
    more(this, args, result);
    return result;
  } as T[K];
}

/** Wraps the WebGPU classes; to be called once, before any library is loaded. */
export function countEverything(): void {
  // A buffer may also be dropped without being destroyed: then it lives until it is collected.
  const alive = new Map<number, number>();
  const numbers = new WeakMap<GPUBuffer, number>();
  let created = 0;
  const end = (number: number | undefined): void => {
    if (number === undefined) return;
    counts.liveBytes -= alive.get(number) ?? 0;
    alive.delete(number);
  };
  const collected = new FinalizationRegistry<number>(end);
  extend(GPUDevice.prototype, "createBuffer", (_, [{ size }], buffer) => {
    created++;
    alive.set(created, size);
    numbers.set(buffer, created);
    collected.register(buffer, created);
    counts.liveBytes += size;
    counts.peakBytes = Math.max(counts.peakBytes, counts.liveBytes);
  });
  extend(GPUBuffer.prototype, "destroy", (buffer) => end(numbers.get(buffer)));
  extend(GPUComputePassEncoder.prototype, "dispatchWorkgroups", () => counts.dispatches++);
  extend(GPUComputePassEncoder.prototype, "dispatchWorkgroupsIndirect", () => counts.dispatches++);
  extend(GPUQueue.prototype, "submit", () => counts.submits++);
  extend(GPUDevice.prototype, "createComputePipeline", () => counts.pipelines++);
  extend(GPUDevice.prototype, "createComputePipelineAsync", () => counts.pipelines++);
  extend(GPUAdapter.prototype, "requestDevice", (_adapter, _descriptor, promise) => {
    promise.then((opened) =>
      opened.addEventListener("uncapturederror", (event) => {
        device.error ??= (event as GPUUncapturedErrorEvent).error.message;
      }), () => {});
  });
}

/** Values that must agree between contestants, by name. */
export type Checks = Readonly<Record<string, readonly number[]>>;

/** A workload made ready: the data is on the device, nothing has been compiled. */
export interface Case {
  /** Does so many runs; resolves when the device has done them all. */
  runs(count: number): Promise<void>;
  /** Milliseconds in which the host is done with one run, while the device is idle. */
  host?(): Promise<number>;
  /** Results to compare, after at least one run. */
  checks(): Promise<Checks>;
}

/** How a single result is made, waited for, freed and read. */
export interface Operation<T> {
  run(): T;
  /** Waits until the device has done everything that was asked of it. */
  wait(results: readonly T[]): Promise<unknown>;
  free(result: T): void;
  read(result: T): Promise<Checks>;
}

/**
 * A case from one operation. All results are kept until the wait, so that nobody gets away with
 * leaving out runs whose results are never used.
 */
export function operation<T>({ run, wait, free, read }: Operation<T>): Case {
  return {
    async runs(count) {
      const results = Array.from({ length: count }, run);
      await wait(results);
      results.forEach(free);
    },
    async host() {
      const start = performance.now();
      const result = run();
      const milliseconds = performance.now() - start;
      await wait([result]);
      free(result);
      return milliseconds;
    },
    async checks() {
      const result = run();
      const checks = await read(result);
      free(result);
      return checks;
    },
  };
}

/** A case of training steps whose losses are read one by one; `step` resolves to the loss. */
export function training(step: () => Promise<number>): Case {
  const losses: number[] = [];
  const run = async () => void losses.push(await step());
  return {
    async runs(count) {
      for (let i = 0; i < count; i++) await run();
    },
    async checks() {
      while (losses.length < 10) await run();
      return { "loss at step 0": [losses[0]!], "loss at step 9": [losses[9]!] };
    },
  };
}

/** What one process found out. */
export interface Measured {
  readonly firstMs: number;
  /** Milliseconds per run, one number for each round. */
  readonly rounds: readonly number[];
  /** Milliseconds of the host's part of single runs; empty where nobody asked. */
  readonly hosts: readonly number[];
  /** Likewise of a loop of the same calls and nothing else, in turns with them. */
  readonly bares: readonly number[];
  /** Likewise of as many dispatches of one pipeline with one bind group. */
  readonly leasts: readonly number[];
  /** Per run, in the rounds. */
  readonly dispatches: number;
  readonly submits: number;
  /** Pipelines made before the rounds, and in them. */
  readonly pipelines: number;
  readonly recompiles: number;
  /** Device memory at its fullest in single runs that follow the first, and its growth per run. */
  readonly peakBytes: number;
  readonly growthBytes: number;
  readonly checks: Checks;
}

/** Runs from which the host's time is the median. */
const hostRuns = 41;

/** Runs a case: the first call, then a round whenever `next` resolves to true. */
export async function measure(
  { runs, host, checks }: Case,
  inner: number,
  next: () => Promise<boolean>,
  asksHost = false,
): Promise<Measured> {
  const timed = async (count: number): Promise<number> => {
    const start = performance.now();
    await runs(count);
    return (performance.now() - start) / count;
  };
  const firstMs = await timed(1);
  counts.peakBytes = counts.liveBytes;
  await runs(1);
  await runs(1);
  let { peakBytes } = counts;
  // So many results at once may be a new record, for which memory has to be found.
  if (inner > 1) await runs(inner);

  const rounds: number[] = [];
  const before = { ...counts };
  while (await next()) rounds.push(await timed(inner));
  const perRun = (key: keyof Counts) =>
    (counts[key] - before[key]) / Math.max(rounds.length * inner, 1);
  if (inner === 1) peakBytes = counts.peakBytes;
  const measured = {
    firstMs,
    rounds,
    dispatches: perRun("dispatches"),
    submits: perRun("submits"),
    pipelines: before.pipelines,
    recompiles: counts.pipelines - before.pipelines,
    peakBytes,
    growthBytes: perRun("liveBytes"),
  };
  // What is checked comes before, since the loop of the same calls is no run of anybody's.
  const values = await checks();
  const hosts: number[] = [], bares: number[] = [], leasts: number[] = [];
  if (asksHost && host !== undefined) {
    const bare = await bareCalls(host);
    while (hosts.length < hostRuns) {
      hosts.push(await host());
      if (bare === undefined) continue;
      bares.push(await bare.run());
      leasts.push(await bare.least());
    }
  }
  const found = { ...measured, hosts, bares, leasts, checks: values };
  if (device.error !== undefined) throw new Error(`The device reported: ${device.error}`);
  return found;
}
