/**
 * Where the time of a program goes: for each region the time on the device, bytes moved and
 * arithmetic done against it. Times come from timestamp queries around every dispatch, the median
 * of several runs; where the device has none, only the time of the whole is known.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { type Prepared, withCall } from "./compile.ts";
import { type Context, context } from "./context.ts";
import { saveChoices } from "./choices.ts";
import { courseOf, sparing } from "./course.ts";
import type { LoadedProgram } from "./loaded.ts";
import { finish, readBlock } from "./queue.ts";
import type { Storage } from "../graph/storage.ts";

/** How a program is measured. */
export interface ProfileOptions {
  /**
   * Runs whose median counts; two more come before them.
   *
   * @default {5}
   */
  readonly runs?: number;
  /**
   * Whether plans for budgets rest on the times from now on in other processes, too, on this adapter:
   * they are kept in the folder `tuning` of `init`, where permission for that was given. In this
   * process programs compiled later do in any case.
   *
   * @default {false}
   */
  readonly remember?: boolean;
}

/** One region of a profile. Times are in seconds. */
export interface ProfiledRegion {
  /** What the kernel is called. */
  readonly label: string;
  /** What it computes. */
  readonly expression: string;
  /** Where the user wrote it. */
  readonly source: string | undefined;
  /** Undefined where the device cannot tell. */
  readonly time: number | undefined;
  /** Of the time of all regions, from 0 to 1. */
  readonly share: number | undefined;
  /** Bytes read and written, once each. */
  readonly bytes: number;
  /** Floating-point operations. */
  readonly flops: number;
}

/** Where the time of a program goes. Times are in seconds. */
export interface Profile {
  /** The function. */
  readonly name: string;
  /** The device it was measured on. */
  readonly device: string;
  /** One run on the device: the sum of the regions, or measured from outside. */
  readonly time: number;
  /** The host's part of a run: recording and submitting it. */
  readonly host: number;
  /** In the order of execution. */
  readonly regions: readonly ProfiledRegion[];
  /** A table, the slowest regions first. */
  toString(): string;
}

/** Timestamps in one query set. */
const mostQueries = 4096;

/**
 * Measures a function, compiled or not, on arguments. Donated arguments keep their data.
 *
 * @throws {TypeError} if the function cannot be compiled.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.ones([64, 64]);
 * const profile = await rg.profile((x: rg.Tensor) => x.matmul(x).relu(), [x]);
 * console.log(`${profile}`);
 * ```
 */
export function profile(
  f: (...args: never[]) => unknown,
  args: readonly unknown[],
  options: ProfileOptions = {},
): Promise<Profile> {
  checkNames(options, { runs: true, remember: "flag" }, "profile");
  const { runs = 5, remember = false } = options;
  if (!Number.isSafeInteger(runs) || runs < 1) {
    throw new RangeError(`Cannot profile: runs is ${runs}, expected a positive integer`);
  }
  return withCall(f, args, async (call) => {
    const owner = context("profile"), { tuning, options, identity } = owner.device;
    const found = await measure(owner, call, runs);
    if (remember) await saveChoices(options.tuning, identity, tuning);
    return found;
  });
}

async function measure(owner: Context, call: Prepared, runs: number): Promise<Profile> {
  const { loaded } = call.signature;
  const { dispatches, name } = loaded.program;
  const { outside } = loaded.program;
  // What waits for transfers cannot be replayed dispatch by dispatch.
  const timed = owner.device.info.features.includes("timestamp-query") &&
    outside.host + outside.disk === 0;
  const course = await courseOf(owner, loaded, call.storages);
  const samples: number[][] = [], hosts: number[] = [];
  for (let i = 0; i < runs + 2; i++) {
    const start = performance.now();
    const results = sparing(loaded, call.storages, () => loaded.run(call.storages));
    hosts.push((performance.now() - start) / 1e3);
    for (const result of results) discard(owner, result, call.storages);
    await finish(owner);
    if (timed) samples.push(await timestamps(owner, loaded, call.storages, course));
  }
  const times = timed
    ? dispatches.map((_, i) => median(samples.slice(2).map((sample) => sample[i]!)))
    : undefined;
  if (times !== undefined) note(owner, loaded, times);
  const time = times?.reduce((a, b) => a + b, 0) ?? await wallTime(owner, loaded, call.storages);
  const runsOf = dispatches.map(() => 0);
  for (const i of course) runsOf[i]!++;
  const regions = dispatches.map(({ kernel, expression, source }, i): ProfiledRegion => ({
    label: kernel.label,
    expression,
    source,
    time: times?.[i],
    share: times === undefined ? undefined : times[i]! / Math.max(time, 1e-12),
    bytes: kernel.bytes * runsOf[i]!,
    flops: kernel.flops * runsOf[i]!,
  }));
  const host = median(hosts.slice(2));
  const device = owner.device.info.name;
  return {
    name,
    device,
    time,
    host,
    regions,
    toString: () => table(name, device, time, host, regions),
  };
}

/** Keeps the times of regions for plans that are made later, and of dispatches for `explain`. */
function note(context: Context, loaded: LoadedProgram, times: readonly number[]): void {
  loaded.measured = times;
  for (const { work, first, count } of loaded.program.steps()) {
    const seconds = times.slice(first, first + count).reduce((a, b) => a + b, 0);
    if (seconds > 0) context.device.tuning.times.set(work.key, { work, time: 1e6 * seconds });
  }
}

/** Results of a measurement are nobody's, unless they are arguments. */
function discard(context: Context, result: Storage, args: readonly Storage[]): void {
  if (!args.includes(result)) context.release(result, "it was only measured");
}

/** Seconds for each dispatch of one run, all steps of its loop together: every one is a pass of its own between two stamps. */
async function timestamps(
  context: Context,
  loaded: LoadedProgram,
  args: readonly Storage[],
  order: readonly number[],
): Promise<number[]> {
  const { gpu } = context.device, { ledger } = context;
  const count = order.length;
  const frame = sparing(loaded, args, () => loaded.begin(args));
  const encoder = gpu.createCommandEncoder({ label: "profile" });
  loaded.encodeCopies(encoder, frame);
  const stamps = ledger.take(Math.max(16, 16 * count), "workspace", "query");
  const sets: GPUQuerySet[] = [];
  for (let first = 0; first < count; first += mostQueries / 2) {
    const size = Math.min(count - first, mostQueries / 2);
    const querySet = gpu.createQuerySet({ type: "timestamp", count: 2 * size });
    sets.push(querySet);
    for (let i = 0; i < size; i++) {
      const pass = encoder.beginComputePass({
        timestampWrites: {
          querySet,
          beginningOfPassWriteIndex: 2 * i,
          endOfPassWriteIndex: 2 * i + 1,
        },
      });
      loaded.encode(pass, frame, [order[first + i]!]);
      pass.end();
    }
    encoder.resolveQuerySet(querySet, 0, 2 * size, stamps.gpu, 16 * first);
  }
  context.line.pass(() => gpu.queue.submit([encoder.finish()]));
  for (const result of loaded.end(args, frame)) discard(context, result, args);
  const nanoseconds = new BigUint64Array(await readBlock(context, stamps, 16 * count));
  ledger.release(stamps);
  for (const set of sets) set.destroy();
  const times = loaded.program.dispatches.map(() => 0);
  order.forEach((dispatch, i) => {
    // Some drivers let the clock step back by a tick.
    const ticks = nanoseconds[2 * i + 1]! - nanoseconds[2 * i]!;
    times[dispatch]! += Math.max(0, Number(BigInt.asIntN(64, ticks))) / 1e9;
  });
  return times;
}

/** Seconds of one run seen from outside, from as many as make the waiting for them small. */
async function wallTime(
  context: Context,
  loaded: LoadedProgram,
  args: readonly Storage[],
): Promise<number> {
  for (let runs = 4;; runs *= 4) {
    const start = performance.now();
    for (let i = 0; i < runs; i++) {
      const results = sparing(loaded, args, () => loaded.run(args));
      for (const result of results) discard(context, result, args);
    }
    await finish(context);
    const time = performance.now() - start;
    if (time > 500 || runs > 4096) return time / runs / 1e3;
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

/** Rows shown: those that matter. */
const shown = 30;

function table(
  name: string,
  device: string,
  time: number,
  host: number,
  regions: readonly ProfiledRegion[],
): string {
  const lines = [
    `${name} on ${device}: ${showTime(time)} in ${regions.length} dispatches, ` +
    `host ${showTime(host)}`,
    "     time   share     GB/s   GFLOP/s  region",
  ];
  const sorted = [...regions].sort((a, b) => (b.time ?? 0) - (a.time ?? 0));
  for (const { time, share, bytes, flops, label, source } of sorted.slice(0, shown)) {
    const columns = time === undefined ? ["?", "?", "?", "?"] : [
      showTime(time),
      `${(100 * share!).toFixed(1)} %`,
      (bytes / Math.max(time, 1e-9) / 1e9).toFixed(2),
      (flops / Math.max(time, 1e-9) / 1e9).toFixed(2),
    ];
    const widths = [9, 8, 9, 10];
    const cells = columns.map((text, i) => text.padStart(widths[i]!)).join("");
    lines.push(`${cells}  ${label}${source === undefined ? "" : `  (${source})`}`);
  }
  const rest = sorted.slice(shown);
  if (rest.length > 0) {
    const sum = rest.reduce((n, region) => n + (region.time ?? 0), 0);
    lines.push(`${showTime(sum).padStart(9)}  in ${rest.length} more`);
  }
  return lines.join("\n");
}

function showTime(seconds: number): string {
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  if (seconds >= 1e-3) return `${(1e3 * seconds).toFixed(2)} ms`;
  return `${(1e6 * seconds).toFixed(1)} µs`;
}
