/**
 * The difference tape of a way back: its memory, and what runs around a step. On the way there each
 * step is undone at once, beside the working state, and what that gets wrong is recorded; on the way
 * back it is put right. The inverse is the same program in both directions, so what it gets wrong is
 * the same.
 *
 * @module
 */
import type { ArenaSizes } from "../checkpoint/arena.ts";
import type { Aval } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
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
import type { Kernel } from "../kernels/kernel.ts";
import { bytesOf } from "./order.ts";
import type { Dispatch, Target } from "./program.ts";
import type { Make, Names } from "./steps.ts";

/** What a tape is for. */
export interface Taped {
  /** What the loop is called. */
  readonly loop: string;
  /** The parts of a state. */
  readonly state: readonly Aval[];
  readonly length: number;
  /** Steps that are recorded before they are taken back. */
  readonly segment: number;
  readonly sizes: ArenaSizes;
}

const words = (count: number): Aval => ({ shape: [count], dtype: "u32" });

/** What a tape has memory for. */
type Part = "codes" | "arena" | "headers" | "cursor";

/** The memory of a tape and its kernels. */
export class LoopTape {
  readonly shape: TapeShape;
  /** Parts of the state that have elements. */
  readonly #parts: readonly number[];
  readonly #names: Readonly<Record<Part, string>>;
  readonly #avals: Readonly<Record<Part, Aval>>;

  /** A tape with its memory among the names. */
  constructor(taped: Taped, names: Names, private readonly target: Target) {
    const { state, length, segment, sizes, loop } = taped;
    const carries = state.map(({ shape, dtype }) => ({ dtype, size: sizeOf(shape) }));
    this.#parts = carries.flatMap(({ size }, i) => size > 0 ? [i] : []);
    this.shape = tapeShape(this.#parts.map((i) => carries[i]!), length, segment);
    const { elements, segment: steps, codeWords, headerWords } = this.shape;
    const recorded = {
      elements: elements * steps,
      headers: headerWords,
      most: fullWords(this.shape),
    };
    this.#avals = {
      codes: words(codeWords),
      arena: words(sizes.wordsFor(loop, recorded)),
      headers: words(headerWords),
      cursor: words(1),
    };
    const name = (part: Part): string => names.of(`tape ${part}`, bytesOf(this.#avals[part]));
    this.#names = {
      codes: name("codes"),
      arena: name("arena"),
      headers: name("headers"),
      cursor: name("cursor"),
    };
  }

  /** Memory of a number that has to be 0 before the first step. */
  get cursor(): string {
    return this.#names.cursor;
  }

  /** Records what is wrong with a guess of the state before the step in `counter`. */
  record(
    { at, make, counter, most }: TapeStage & { readonly most: number },
    truth: readonly number[],
    guess: readonly number[],
    state: readonly Aval[],
  ): Dispatch[] {
    const codes = this.#inChunks(2).map((chunk) =>
      make(
        codeKernel(this.shape, chunk),
        [
          ...chunk.flatMap((k) => [truth[this.#parts[k]!]!, guess[this.#parts[k]!]!]),
          at(this.#names.codes),
          counter,
        ],
        [
          ...chunk.flatMap((k) => [state[this.#parts[k]!]!, state[this.#parts[k]!]!]),
          this.#avals.codes,
          words(1),
        ],
      )
    );
    const kernel = packKernel(this.shape, lanesOn(this.target.kind));
    return [...codes, this.#packed(kernel, { at, make, counter }, [most])];
  }

  /** Puts the guess of a state right, in place. */
  restore(
    { at, make, counter }: TapeStage,
    guess: readonly number[],
    state: readonly Aval[],
  ): Dispatch[] {
    const patches = this.#inChunks(1).map((chunk) =>
      make(
        patchKernel(this.shape, chunk),
        [...chunk.map((k) => guess[this.#parts[k]!]!), at(this.#names.codes), counter],
        [...chunk.map((k) => state[this.#parts[k]!]!), this.#avals.codes, words(1)],
      )
    );
    const kernel = unpackKernel(this.shape, lanesOn(this.target.kind));
    return [this.#packed(kernel, { at, make, counter }, []), ...patches];
  }

  #packed(
    kernel: Kernel,
    { at, make, counter }: TapeStage,
    more: readonly number[],
  ): Dispatch {
    const parts = ["codes", "arena", "headers", "cursor"] as const;
    return make(
      kernel,
      [...parts.map((part) => at(this.#names[part])), ...more, counter],
      [...parts.map((part) => this.#avals[part]), ...more.map(() => words(1)), words(1)],
    );
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
