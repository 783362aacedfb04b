/**
 * Scripts: in which order the dispatches of a program run. Most of it is settled by the compiler:
 * numbers, and loops over them. Where the course depends on the device or on what lies outside of
 * it, a script has a **steered** part: a coroutine that says what runs next, and may ask the host
 * what a buffer holds before it goes on. It is written here and in loops, without a device; whoever
 * runs the program plays it.
 *
 * @module
 */
import type { Outside } from "../graph/loops/replay.ts";
import type { Effort } from "./work.ts";

/**
 * In which order dispatches run: by number; loops, whose rounds take turns (a body that leaves its
 * results where its arguments were has one round, others go back and forth); schedules, whose parts
 * come in an order of their own; and steered parts.
 */
export type Script = readonly (number | ScriptLoop | ScriptSchedule | Steered)[];

/** Rounds run in turn, `length` in all. */
export interface ScriptLoop {
  /** Steps. */
  readonly length: number;
  /** What runs in step 0, 1 …, and then from the first again. */
  readonly rounds: readonly Script[];
}

/** Parts in an order that is made while it is played: it may be long, and is the same every time. */
export interface ScriptSchedule {
  /** What can run. */
  readonly parts: readonly Script[];
  /** The numbers of the parts in the order in which they run. */
  readonly order: () => Iterable<number>;
}

/** Dispatches by number, in order: what reaches the device in one go. */
export type Course = Iterable<number>;

/** A value by its ticket, and the slot that it goes to or comes from. */
export interface Move {
  /** What it is known by outside of the device. */
  readonly ticket: number;
  /** Where it lies on the device. */
  readonly slot: number;
  /** Its bytes, from the beginning of the slot. */
  readonly bytes: number;
}

/** What slots held, outside of the device. A ticket is a slot, too, of which only the number counts. */
export interface OutsideMemory {
  /** Keeps what slots hold after everything that has run so far, instead of what was kept before. */
  save(store: Outside, moves: readonly Move[]): Promise<void>;
  /** Gives slots what is kept, for everything that runs from here on. It stays kept. */
  load(moves: readonly Move[]): Promise<void>;
  /** Lets go of what is kept. */
  drop(tickets: readonly number[]): void;
  /** Says what is loaded soon. */
  prefetch(tickets: readonly number[]): void;
  /** Begins to move what was saved, for which saving alone waits until there is more. */
  flush(): Promise<void>;
}

/** What a steered part may ask while the program runs. */
export interface Host {
  /** The first words of slots, after everything that has run so far. */
  read(slots: readonly number[]): Promise<readonly number[]>;
  /** What the run keeps outside of the device. */
  readonly outside: OutsideMemory;
  /** What one steered part leaves for another, by a slot that both know. */
  readonly notes: Map<number, unknown>;
}

/** A part of a script that decides while it runs. */
export interface Steered {
  /** What it may run. */
  readonly parts: readonly Script[];
  /** Slots that it asks for. */
  readonly slots: readonly number[];
  /** What it is expected to do, all in all: who counts can't know what it decides. */
  readonly effort: Effort;
  /**
   * Yields what runs next, until it is done. What was yielded has been handed to the device when
   * the next is asked for. `play` runs parts in an order that is made meanwhile.
   */
  readonly steer: (
    play: (order: Iterable<number>) => AsyncIterable<Course>,
    host: Host,
    slots: readonly number[],
  ) => AsyncIterable<Course>;
}

/** Every entry of a script, and of what it contains, with its dispatches and slots renumbered. */
export function renumber(
  script: Script,
  dispatch: (number: number) => number,
  slot: (number: number) => number = (number) => number,
): Script {
  const parts = (scripts: readonly Script[]): Script[] =>
    scripts.map((part) => renumber(part, dispatch, slot));
  return script.map((entry) => {
    if (typeof entry === "number") return dispatch(entry);
    if ("rounds" in entry) return { ...entry, rounds: parts(entry.rounds) };
    if ("order" in entry) return { ...entry, parts: parts(entry.parts) };
    return { ...entry, parts: parts(entry.parts), slots: entry.slots.map(slot) };
  });
}

function decides(entry: Script[number]): boolean {
  if (typeof entry === "number") return false;
  if ("steer" in entry) return true;
  return ("rounds" in entry ? entry.rounds : entry.parts).some(isSteered);
}

const steeredScripts = new WeakMap<Script, boolean>();

/** True if something in the script is decided while it runs. */
export function isSteered(script: Script): boolean {
  const known = steeredScripts.get(script);
  if (known !== undefined) return known;
  const found = script.some(decides);
  steeredScripts.set(script, found);
  return found;
}

/**
 * The numbers of the dispatches in the order in which they run, every step of every loop.
 *
 * @throws {Error} where the order is decided while the program runs.
 */
export function* played(script: Script): Generator<number, void, undefined> {
  for (const entry of script) {
    if (typeof entry === "number") {
      yield entry;
      continue;
    }
    if ("order" in entry) {
      for (const part of entry.order()) yield* played(entry.parts[part]!);
      continue;
    }
    if (!("rounds" in entry)) {
      throw new Error("Cannot play a script: a part of it is steered, expected a host");
    }
    for (let step = 0; step < entry.length; step++) {
      yield* played(entry.rounds[step % entry.rounds.length]!);
    }
  }
}

/** What a script runs, with a host that its steered parts may ask. */
export async function* steered(
  script: Script,
  host: Host,
): AsyncGenerator<Course, void, undefined> {
  if (!isSteered(script)) {
    yield played(script);
    return;
  }
  let plain: Script[number][] = [];
  for (const entry of script) {
    if (typeof entry === "number" || !decides(entry)) {
      plain.push(entry);
      continue;
    }
    if (plain.length > 0) yield played(plain);
    plain = [];
    if ("rounds" in entry) {
      for (let step = 0; step < entry.length; step++) {
        yield* steered(entry.rounds[step % entry.rounds.length]!, host);
      }
    } else if ("order" in entry) {
      for (const part of entry.order()) yield* steered(entry.parts[part]!, host);
    } else {
      const { parts, slots } = entry;
      yield* entry.steer((order) => steered([{ parts, order: () => order }], host), host, slots);
    }
  }
  if (plain.length > 0) yield played(plain);
}
