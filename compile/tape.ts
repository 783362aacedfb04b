/**
 * The difference tape of a loop: its memory, and what runs around a step. On the way there each step
 * is undone at once, beside the working state, and what that gets wrong is recorded; on the way back
 * it is put right. The inverse is the same program in both directions, so what it gets wrong is the
 * same.
 *
 * @module
 */
import type { TapeSize } from "../checkpoint/arena.ts";
import type { Aval } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import {
  dispatchesOf,
  fullWords,
  isDirect,
  lanesOn,
  type Picked,
  recordKernel,
  restoreKernel,
  type TapeShape,
  tapeShape,
} from "../kernels/tape.ts";
import { bytesOf } from "./order.ts";
import type { Dispatch, Target } from "./program.ts";
import type { Make, Names } from "./steps.ts";
import type { Effort } from "./work.ts";

/** What a tape has memory for, and the loop forward leaves for the way back. */
const parts = ["arena", "headers", "cursor", "most"] as const;

/**
 * Operations on an element, about: those that are not 0 are gone through several times to be packed,
 * each time by itself. Measured beside copies of as many bytes, where one element in 16 differs.
 */
const operations = { record: 200, restore: 50 };

const words = (count: number): Aval => ({ shape: [count], dtype: "u32" });

/** How the steps of a loop with such states are recorded. */
export function tapeShapeOf(state: readonly Aval[], segment: number, length: number): TapeShape {
  const carries = state.map(({ shape, dtype }) => ({ dtype, size: sizeOf(shape) }));
  return tapeShape(carries.filter(({ size }) => size > 0), length, segment);
}

/** The memory of a tape, part by part. */
export function tapeMemory(
  size: TapeSize,
  state: readonly Aval[],
  length: number,
  segment: number,
): Aval[] {
  const shape = tapeShapeOf(state, segment, length);
  const { elements, pace, segment: steps, headerWords } = shape;
  const arena = size.wordsFor({
    elements: elements * steps,
    headers: headerWords,
    most: fullWords(shape),
    least: fullWords({
      ...shape,
      segment: pace,
      headerWords: headerWords / Math.ceil(steps / pace),
    }),
  });
  return [words(arena), words(headerWords), words(1), words(1)];
}

/** A tape in memory. */
export class LoopTape {
  readonly shape: TapeShape;
  /** Memory of the tape by part, in the order of {@linkcode tapeMemory}. */
  readonly names: readonly string[];
  /** Words of the arena. */
  readonly words: number;
  /** Parts of the state that have elements. */
  readonly #parts: readonly number[];
  /** The dispatches that record a step, and those that restore it. */
  readonly #record: readonly Picked[];
  readonly #restore: readonly Picked[];
  /** Where codes wait. */
  readonly #codes = "tape codes";

  /** A tape with its memory among the names. */
  constructor(
    private readonly state: readonly Aval[],
    private readonly memory: readonly Aval[],
    segment: number,
    length: number,
    names: Names,
    private readonly target: Target,
  ) {
    this.shape = tapeShapeOf(state, segment, length);
    this.#parts = state.flatMap(({ shape }, i) => sizeOf(shape) > 0 ? [i] : []);
    this.names = parts.map((part, i) => names.of(`tape ${part}`, bytesOf(memory[i]!)));
    this.words = memory[0]!.shape[0]!;
    this.#record = dispatchesOf(this.shape, 2, target.maxBindings);
    this.#restore = dispatchesOf(this.shape, 1, target.maxBindings).reverse();
    const waits = (picked: Picked): boolean => !isDirect(this.shape, picked);
    if ([...this.#record, ...this.#restore].some(waits)) {
      names.of(this.#codes, bytesOf(words(this.shape.codeWords)));
    }
  }

  /** Memory of how many words are taken; 0 before the first step. */
  get cursor(): string {
    return this.names[2]!;
  }

  /** Memory of the most words that were taken at any time. */
  get most(): string {
    return this.names[3]!;
  }

  /** True if steps may need more than there is. */
  get mayOverflow(): boolean {
    return this.words < fullWords(this.shape);
  }

  /** What recording a step takes. */
  get recording(): Effort {
    return this.#effort(this.#record, operations.record);
  }

  /** What taking a step back takes. */
  get restoring(): Effort {
    return this.#effort(this.#restore, operations.restore);
  }

  #effort(dispatches: readonly Picked[], each: number): Effort {
    const { elements } = this.shape;
    return { bytes: 8 * elements, flops: each * elements, dispatches: dispatches.length };
  }

  /** Records what is wrong with a guess of the state before the step in `counter`. */
  record(stage: TapeStage, truth: readonly number[], guess: readonly number[]): Dispatch[] {
    return this.#record.map((picked) =>
      stage.make(
        recordKernel(this.shape, picked, lanesOn(this.target.kind)),
        ...this.#bound(stage, picked, [truth, guess], 4),
      )
    );
  }

  /** Puts the guess of a state right, in place. */
  restore(stage: TapeStage, guess: readonly number[]): Dispatch[] {
    return this.#restore.map((picked) =>
      stage.make(
        restoreKernel(this.shape, picked, lanesOn(this.target.kind)),
        ...this.#bound(stage, picked, [guess], 3),
      )
    );
  }

  /** What a dispatch is bound to: some of the state, codes that wait, the tape, the counter. */
  #bound(
    { at, counter }: TapeStage,
    picked: Picked,
    states: readonly (readonly number[])[],
    used: number,
  ): [slots: number[], values: Aval[]] {
    const { shape, names, memory, state } = this;
    const carries = picked.carries.map((k) => this.#parts[k]!);
    const codes = isDirect(shape, picked) ? [] : [words(shape.codeWords)];
    const tape = picked.packs ? Array.from({ length: used }, (_, part) => part) : [];
    return [
      [
        ...carries.flatMap((part) => states.map((slots) => slots[part]!)),
        ...codes.map(() => at(this.#codes)),
        ...tape.map((part) => at(names[part]!)),
        counter,
      ],
      [
        ...carries.flatMap((part) => states.map(() => state[part]!)),
        ...codes,
        ...tape.map((part) => memory[part]!),
        words(1),
      ],
    ];
  }
}

/** What the dispatches of a tape are placed by. */
export interface TapeStage {
  readonly at: (name: string) => number;
  readonly make: Make;
  /** Memory of the number of the step. */
  readonly counter: number;
}
