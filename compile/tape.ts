/**
 * The difference tape of a loop: its memory, and what runs around a step. On the way there each step
 * is undone at once, beside the working state, and what that gets wrong is recorded; on the way back
 * it is put right. The inverse is the same program in both directions, so what it gets wrong is the
 * same.
 *
 * @module
 */
import type { TapePlan } from "../checkpoint/plan.ts";
import type { Aval } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import type { Kernel } from "../kernels/kernel.ts";
import {
  carriesADispatch,
  codeKernel,
  fullWords,
  lanesOn,
  packKernel,
  patchKernel,
  type TapeShape,
  tapeShape,
  unpackKernel,
} from "../kernels/tape.ts";
import { bytesOf } from "./order.ts";
import type { Dispatch, Target } from "./program.ts";
import type { Make, Names } from "./steps.ts";
import type { Effort } from "./work.ts";

/** What a tape has memory for, and the loop forward leaves for the way back. */
const parts = ["arena", "headers", "cursor", "most"] as const;

const words = (count: number): Aval => ({ shape: [count], dtype: "u32" });

/** How the steps of a loop with such states are recorded. */
export function tapeShapeOf(state: readonly Aval[], segment: number, length: number): TapeShape {
  const carries = state.map(({ shape, dtype }) => ({ dtype, size: sizeOf(shape) }));
  return tapeShape(carries.filter(({ size }) => size > 0), length, segment);
}

/** The memory of a tape, part by part; what the loop is called names what was learned of it. */
export function tapeMemory(
  loop: string,
  state: readonly Aval[],
  length: number,
  { sizes, segment }: TapePlan,
): Aval[] {
  const shape = tapeShapeOf(state, segment(length), length);
  const { elements, pace, segment: steps, headerWords } = shape;
  const arena = sizes.wordsFor(loop, {
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
  readonly #codes: string;

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
    this.#codes = names.of("tape codes", bytesOf(this.#codeWords));
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

  /** What recording a step takes, or taking it back. */
  get recording(): Effort {
    const { codeWords } = this.shape, chunks = this.#inChunks(2).length;
    return { bytes: 16 * codeWords, flops: 0, dispatches: chunks + 1 };
  }

  get #codeWords(): Aval {
    return words(this.shape.codeWords);
  }

  /** Records what is wrong with a guess of the state before the step in `counter`. */
  record(stage: TapeStage, truth: readonly number[], guess: readonly number[]): Dispatch[] {
    const { at, make, counter } = stage;
    const codes = this.#inChunks(2).map((chunk) =>
      make(
        codeKernel(this.shape, chunk),
        [...this.#of(chunk, (i) => [truth[i]!, guess[i]!]), at(this.#codes), counter],
        [...this.#of(chunk, (i) => [this.state[i]!, this.state[i]!]), this.#codeWords, words(1)],
      )
    );
    const kernel = packKernel(this.shape, lanesOn(this.target.kind));
    return [...codes, this.#packed(kernel, stage, [0, 1, 2, 3])];
  }

  /** Puts the guess of a state right, in place. */
  restore(stage: TapeStage, guess: readonly number[]): Dispatch[] {
    const { at, make, counter } = stage;
    const patches = this.#inChunks(1).map((chunk) =>
      make(
        patchKernel(this.shape, chunk),
        [...this.#of(chunk, (i) => [guess[i]!]), at(this.#codes), counter],
        [...this.#of(chunk, (i) => [this.state[i]!]), this.#codeWords, words(1)],
      )
    );
    const kernel = unpackKernel(this.shape, lanesOn(this.target.kind));
    return [this.#packed(kernel, stage, [0, 1, 2]), ...patches];
  }

  /** A kernel over the codes, some parts of the tape, and the counter. */
  #packed(kernel: Kernel, { at, make, counter }: TapeStage, used: readonly number[]): Dispatch {
    return make(
      kernel,
      [at(this.#codes), ...used.map((part) => at(this.names[part]!)), counter],
      [this.#codeWords, ...used.map((part) => this.memory[part]!), words(1)],
    );
  }

  /** Something of the parts of the state that carries of the tape are. */
  #of<T>(chunk: readonly number[], of: (part: number) => readonly T[]): T[] {
    return chunk.flatMap((k) => of(this.#parts[k]!));
  }

  /** Numbers of carries of the tape, as many together as a dispatch binds. */
  #inChunks(bound: 1 | 2): number[][] {
    const most = carriesADispatch(this.target.maxBindings, bound);
    const all = this.#parts.map((_, k) => k), chunks: number[][] = [];
    for (let i = 0; i < all.length; i += most) chunks.push(all.slice(i, i + most));
    return chunks;
  }
}

/** What the dispatches of a tape are placed by. */
export interface TapeStage {
  readonly at: (name: string) => number;
  readonly make: Make;
  /** Memory of the number of the step. */
  readonly counter: number;
}
