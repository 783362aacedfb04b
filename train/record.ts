/**
 * What is known of a run besides its tensors: where it stands, what its epochs brought, which was
 * the best. Kept as text beside the saved state, so that a resumed run goes on with the same past.
 *
 * @module
 */
import type { PlateauState } from "../optim/plateau.ts";
import type { Score } from "./task.ts";

/** What one epoch brought. */
export interface EpochRecord {
  /** From 1. */
  readonly epoch: number;
  /** Means over the epoch, while the parameters were changing. */
  readonly train: Score;
  /** On the validation set, after the epoch. */
  readonly validation: Score;
  /** Means of stretches of equal length along the epoch. */
  readonly curve: { readonly loss: readonly number[]; readonly accuracy: readonly number[] };
  /** Seconds it took, validation and saving included. */
  readonly seconds: number;
}

/** The epoch with the best score. */
export interface Best extends Score {
  /** From 1. */
  readonly epoch: number;
}

/** What a run was begun with, and must be resumed with. */
export type Settings = Readonly<Record<string, string | number | boolean>>;

/** The past of a run. */
export interface RunRecord {
  readonly settings: Settings;
  /** Epochs that are finished. */
  readonly epochs: number;
  /** Steps done in the epoch that is not, and the seconds they took. */
  readonly steps: number;
  readonly stepSeconds: number;
  readonly history: readonly EpochRecord[];
  readonly best: Best | null;
  /** What the rate that falls on plateaus remembers, if there is one. */
  readonly plateau: PlateauState | null;
  /** Seconds of training so far. */
  readonly seconds: number;
}

const VERSION = 3;
const KEY = "retrograd.run";

/** Whether a score is better: more accurate, or as accurate with a lower loss. */
export function isBetter(score: Score, best: Score | null): boolean {
  if (best === null) return true;
  return score.accuracy > best.accuracy ||
    (score.accuracy === best.accuracy && score.loss < best.loss);
}

/** The record as metadata of a file. JSON has no NaN and no infinities: they become text. */
export function encodeRecord(record: RunRecord): Record<string, string> {
  const text = JSON.stringify(
    { version: VERSION, ...record },
    (_, value) => typeof value === "number" && !Number.isFinite(value) ? String(value) : value,
  );
  return { [KEY]: text };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isNumber = (value: unknown): boolean => typeof value === "number";
const isNumbers = (value: unknown): boolean => Array.isArray(value) && value.every(isNumber);
const isScore = (value: unknown): boolean =>
  isObject(value) && isNumber(value.loss) && isNumber(value.accuracy);
const isCurve = (value: unknown): boolean =>
  isObject(value) && isNumbers(value.loss) && isNumbers(value.accuracy);

const isPlateau = (value: unknown): boolean =>
  isObject(value) && isNumber(value.rate) && (value.best === null || isNumber(value.best)) &&
  isCount(value.waited) && isCount(value.resting);

/** What every member of an epoch's record must be. */
const epochMembers: { readonly [K in keyof EpochRecord]: (value: unknown) => boolean } = {
  epoch: isCount,
  train: isScore,
  validation: isScore,
  curve: isCurve,
  seconds: isNumber,
};

/** What every member of a record must be. */
const members: { readonly [K in keyof RunRecord]: (value: unknown) => boolean } = {
  settings: isObject,
  epochs: isCount,
  steps: isCount,
  stepSeconds: isNumber,
  history: (value) => Array.isArray(value) && value.every((epoch) => hasAll(epoch, epochMembers)),
  best: (value) => value === null || (isScore(value) && isCount((value as Best).epoch)),
  plateau: (value) => value === null || isPlateau(value),
  seconds: isNumber,
};

function hasAll(
  value: unknown,
  wanted: Readonly<Record<string, (v: unknown) => boolean>>,
): boolean {
  return isObject(value) && Object.entries(wanted).every(([name, is]) => is(value[name]));
}

/** Whether a value is a record as far as it can be told from outside. */
function isRecord(value: RunRecord): boolean {
  return hasAll(value, members) && value.history.length === value.epochs &&
    (value.best === null || (value.best.epoch >= 1 && value.best.epoch <= value.epochs));
}

/**
 * The record from the metadata of a file.
 *
 * @throws {TypeError} If there is none, or one of another version.
 */
export function decodeRecord(path: string, metadata: Readonly<Record<string, string>>): RunRecord {
  let value: (RunRecord & { version: number }) | undefined;
  try {
    value = JSON.parse(
      metadata[KEY] ?? "",
      (_, v) => v === "NaN" || v === "Infinity" || v === "-Infinity" ? Number(v) : v,
    );
  } catch {
    // Said below: no text and damaged text are the same to the user.
  }
  if (value?.version !== VERSION || !isRecord(value)) {
    throw new TypeError(
      `Cannot resume ${path}: it has no record of a run, expected one of this version`,
    );
  }
  const { version: _, ...record } = value;
  return record;
}

/**
 * Throws unless a run is resumed with what it was begun with.
 *
 * @throws {TypeError} If a setting differs.
 */
export function checkSettings(path: string, before: Settings, now: Settings): void {
  for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) {
    if (before[name] !== now[name]) {
      throw new TypeError(
        `Cannot resume ${path}: ${name} is ${now[name]}, expected ${
          before[name]
        } as at its beginning`,
      );
    }
  }
}

/** Sums in slots of `stride` steps as means of at most `most` stretches, up to a number of steps. */
export function curveOf(
  sums: ArrayLike<number>,
  stride: number,
  steps: number,
  most: number = 64,
): number[] {
  const slots = Math.ceil(steps / stride), width = Math.ceil(slots / most);
  const means: number[] = [];
  for (let at = 0; at < slots; at += width) {
    const end = Math.min(slots, at + width);
    let sum = 0;
    for (let i = at; i < end; i++) sum += sums[i]!;
    means.push(sum / (Math.min(end * stride, steps) - at * stride));
  }
  return means;
}

/** The mean over the first steps of sums in slots. */
export function meanOf(sums: ArrayLike<number>, steps: number): number {
  let sum = 0;
  for (let i = 0; i < sums.length; i++) sum += sums[i]!;
  return steps === 0 ? NaN : sum / steps;
}
