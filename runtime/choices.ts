/**
 * What was measured on an adapter, the ways of kernels and the times of regions, and the file in
 * which it is remembered: `.retrograd/tuning/<adapter>.json`. The file is only ever a help. Without permission to read, there
 * is none; one that is damaged, or was measured with another driver or another Deno, is ignored and
 * says so once. Nothing in it can change a result, since a choice counts only for a kernel whose text
 * is the one that was compared with the plain one, see kernels/tuning.ts.
 *
 * @module
 */
import type { Timing } from "../checkpoint/cost.ts";
import type { Choice, Tunable, Tuning } from "../kernels/tuning.ts";

/** An adapter as its driver describes it. */
export interface Identity {
  /** Name, maker and numbers of the adapter. */
  readonly adapter: string;
  /** The version of its driver, where the system tells; Mesa has it in the name. */
  readonly driver: string;
  /** The version of Deno, and so of what stands between it and the driver. */
  readonly deno: string;
}

/** A choice with what was measured, for readers of the file. */
export interface Measurement extends Choice {
  /** What the kernel does. */
  readonly label: string;
  /** Microseconds of the plain kernel, and of this one. */
  readonly plain: number;
  readonly time: number;
}

/** What is known of one adapter. */
export class Choices implements Tuning {
  #version = 0;
  #recorded: Map<string, Tunable> | undefined;
  readonly #used = new Map<string, string>();

  /** Choices measured earlier, and times of what was profiled, by what it does. */
  constructor(
    readonly known: Map<string, Measurement> = new Map(),
    readonly times: Map<string, Timing> = new Map(),
  ) {}

  /** See {@linkcode Tuning}. */
  get active(): boolean {
    return this.known.size > 0 || this.#recorded !== undefined;
  }

  /** Another number whenever programs should be compiled again. */
  get version(): number {
    return this.#version;
  }

  /** The ways chosen so far that are not the plain ones, by what they compute. */
  get used(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.#used].sort());
  }

  /** See {@linkcode Tuning}. */
  choice(key: string, tunable: Tunable): Choice | undefined {
    this.#recorded?.set(key, tunable);
    const choice = this.known.get(key);
    if (choice !== undefined) this.#used.set(choice.label, choice.way);
    return choice;
  }

  /** Kernels that are compiled, or compiled again, while a function runs. */
  async record(f: () => unknown): Promise<Map<string, Tunable>> {
    if (this.#recorded !== undefined) {
      throw new Error("Cannot tune: it is under way already, expected one call at a time");
    }
    const recorded = this.#recorded = new Map<string, Tunable>();
    this.#version++;
    try {
      await f();
    } finally {
      this.#recorded = undefined;
    }
    return recorded;
  }

  /**
   * Takes a measurement over; programs that rest on an older one are compiled again. Times of what ran
   * in another way than it will are forgotten.
   */
  learn(key: string, found: Measurement | undefined): void {
    if (this.known.get(key)?.way !== found?.way) this.times.clear();
    if (found === undefined) this.known.delete(key);
    else this.known.set(key, found);
    this.#version++;
  }
}

const format = 1;

/** The file of an adapter. */
export function choicesPath(folder: string, { adapter }: Identity): string {
  return `${folder}/${adapter.replace(/[^\w.]+/g, "-").replace(/^-|-$/g, "")}.json`;
}

/** Whether a permission was given already: nobody is asked. */
function granted(name: "read" | "write", path: string): boolean {
  try {
    return Deno.permissions.querySync({ name, path }).state === "granted";
  } catch {
    return false;
  }
}

/** What was remembered of an adapter, or nothing. */
export async function loadChoices(folder: string | false, identity: Identity): Promise<Choices> {
  if (folder === false) return new Choices();
  const path = choicesPath(folder, identity);
  if (!granted("read", path)) return new Choices();
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new Choices();
    warn(path, error instanceof Error ? error.message : String(error));
    return new Choices();
  }
  const read = decode(text, identity);
  if (typeof read !== "string") return read;
  warn(path, read);
  return new Choices();
}

function warn(path: string, reason: string): void {
  console.warn(
    `init: ${path} is ignored: ${reason}, expected what \`rg.tune()\` wrote for this adapter ` +
      "(kernels are chosen by rule of thumb)",
  );
}

/** What is in a file, or why it can't be used. */
function decode(text: string, identity: Identity): Choices | string {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return "it is damaged";
  }
  if (!isObject(file) || file.format !== format || !isObject(file.choices)) return "it is damaged";
  const { times = {} } = file;
  if (!isObject(times)) return "it is damaged";
  for (const name of ["adapter", "driver", "deno"] as const) {
    const then = file[name], now = identity[name];
    // A driver whose version can't be asked for may be any.
    if (then === now || (name === "driver" && (then === "" || now === ""))) continue;
    return `its ${name} is ${JSON.stringify(then)} and this one is ${JSON.stringify(now)}`;
  }
  const entries = Object.entries(file.choices), timings = Object.entries(times);
  return entries.every((entry): entry is [string, Measurement] => isMeasurement(entry[1])) &&
      timings.every((entry): entry is [string, Timing] => isTiming(entry))
    ? new Choices(new Map(entries), new Map(timings))
    : "it is damaged";
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isTime = (value: unknown): boolean => Number.isFinite(value) && (value as number) >= 0;

function isTiming([key, value]: readonly [string, unknown]): boolean {
  if (!isObject(value) || !isTime(value.time) || !isObject(value.work)) return false;
  const { key: of, like = key, bytes, flops, dispatches = 1 } = value.work;
  return of === key && typeof like === "string" && isTime(bytes) && isTime(flops) &&
    isTime(dispatches);
}

function isMeasurement(value: unknown): value is Measurement {
  return isObject(value) && typeof value.way === "string" && typeof value.label === "string" &&
    /^[0-9a-f]{16}$/.test(String(value.text)) && isTime(value.plain) && isTime(value.time);
}

/**
 * Remembers choices and times, whole or not at all; the path of the file, or undefined where permission to
 * write (and to read, for the renaming) was not given.
 */
export async function saveChoices(
  folder: string | false,
  identity: Identity,
  { known, times: timings }: Choices,
): Promise<string | undefined> {
  if (folder === false) return undefined;
  const path = choicesPath(folder, identity);
  if (!granted("write", folder) || !granted("read", folder)) return undefined;
  const sorted = <T>(map: ReadonlyMap<string, T>): { readonly [key: string]: T } =>
    Object.fromEntries([...map].sort(([a], [b]) => a < b ? -1 : 1));
  const choices = sorted(known), times = sorted(timings);
  const temporary = `${path}.${crypto.randomUUID()}`;
  await Deno.mkdir(folder, { recursive: true });
  try {
    const text = JSON.stringify({ format, ...identity, choices, times }, null, 1);
    await Deno.writeTextFile(temporary, text + "\n");
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  return path;
}

/** The version of the driver, where the system tells it and we may look. */
export async function driverVersion(): Promise<string> {
  for (const name of ["nvidia", "amdgpu", "i915"]) {
    const path = `/sys/module/${name}/version`;
    if (!granted("read", path)) continue;
    try {
      return `${name} ${(await Deno.readTextFile(path)).trim()}`;
    } catch {
      // Another driver, or one that has no version of its own.
    }
  }
  return "";
}
