/**
 * Tuning: the kernels of a program, each written in every way that its frame has, compared with the
 * plain one to the bit, and measured ({@link ./contest.ts}). What wins is used by every program
 * compiled from then on, and remembered for the adapter ({@link ./choices.ts}).
 *
 * @module
 */
import { storageBytes } from "../graph/dtype.ts";
import { sizeOf } from "../graph/shape.ts";
import { fingerprint, type Tunable } from "../kernels/tuning.ts";
import { saveChoices } from "./choices.ts";
import { Contest, type Entrant } from "./contest.ts";
import { type Context, context } from "./context.ts";
import { finish } from "./queue.ts";

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

/** Measures the ways of one kernel; or says why not. */
async function compete(
  owner: Context,
  tunable: Tunable,
): Promise<{ readonly found: TunedKernel; readonly text: string } | string> {
  const { plain } = tunable;
  const sizes = plain.buffers.map(({ dtype, shape }) => storageBytes(dtype, sizeOf(shape)));
  const bytes = 3 * sizes.reduce((a, b) => a + b, 0);
  if (bytes > mostBytes) return `${bytes} bytes to be measured, expected at most ${mostBytes}`;
  using contest = new Contest(owner, plain);
  const entrants: Entrant[] = [];
  for (const name of [plain.way, ...plain.ways.filter((name) => name !== plain.way)]) {
    const entrant = await contest.admit(name, tunable.write(name));
    if (entrant !== undefined) entrants.push(entrant);
    else if (name === plain.way) return "the driver refuses it";
  }
  const agreeing = await contest.compare(entrants);
  const same = entrants.filter((_, i) => agreeing[i]);
  if (same.length === 1) return "no other way agrees";
  const first = await contest.time(same, 3, 1);
  // Who is far behind need not be measured again.
  const least = Math.min(...first);
  const close = same.filter((_, i) => i === 0 || first[i]! < 1.5 * least);
  const about = first.filter((_, i) => i === 0 || first[i]! < 1.5 * least);
  const repeats = Math.max(1, Math.min(64, Math.ceil(burst / least)));
  const rounds = Math.max(3, Math.min(9, Math.floor(patience / (repeats * sumOf(about)))));
  const times = await contest.time(close, rounds, repeats);
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
