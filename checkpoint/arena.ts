/**
 * How much memory a tape gets. Nobody knows beforehand what an inverse will get wrong, so that the
 * arena is sized by an estimate, never larger than what could be needed. A loop that needed more
 * goes back over its steps in pieces, and gets that much when it is compiled again.
 *
 * @module
 */
import { Gauge } from "../graph/check.ts";

/** How much memory a tape gets. */
export interface TapeOptions {
  /**
   * Bits an element and step, of the mean over all elements and steps.
   *
   * @default {4}
   */
  readonly bits?: number;
}

/** What a tape records. */
export interface Recorded {
  /** Elements of a state times steps. */
  readonly elements: number;
  /** Words of the headers of its blocks. */
  readonly headers: number;
  /** Words that it can need at most. */
  readonly most: number;
  /** Words that steps which share blocks can need at most: what it has at least. */
  readonly least: number;
}

/** Words that every arena has besides: the parts of blocks begin at words. */
const spare = 256;

let lessons = 0;

/** How often an arena was too small: programs compiled before that may have others. */
export function lessonsLearned(): number {
  return lessons;
}

/** The tapes of one strategy, by what they are called. */
export class TapeSizes {
  readonly #tapes = new Map<string, TapeSize>();

  /** Tapes of so many bits an element and step to begin with. */
  constructor(readonly bits: number) {}

  /** The tape of that name, of a loop called so. */
  of(tape: string, loop: string): TapeSize {
    let size = this.#tapes.get(tape);
    if (size === undefined) this.#tapes.set(tape, size = new TapeSize(loop, this.bits));
    return size;
  }
}

/**
 * How large a tape is, and how full it became, as bits an element and step with headers; learns if it
 * was too small.
 */
export class TapeSize extends Gauge {
  /** What it was given last, and at least since it last learned: programs may share a name. */
  #given: Recorded & { readonly words: number; readonly fewest: number } | undefined;
  /** Words that were needed, and words that are asked for since fewer were too few. */
  #taken: number | undefined;
  #learned = 0;

  /** A tape of so many bits, of a loop called so. */
  constructor(loop: string, private readonly bits: number) {
    super(`tape of ${loop}, bits an element and step`);
  }

  /** Words for what is recorded. */
  wordsFor(recorded: Recorded): number {
    const estimate = Math.ceil(recorded.elements * this.bits / 32) + spare;
    const wanted = Math.max(estimate, recorded.least, this.#learned);
    const words = Math.max(1, Math.min(recorded.most, wanted));
    this.#given = { ...recorded, words, fewest: Math.min(words, this.#given?.fewest ?? words) };
    return words;
  }

  override read(most: number): string | undefined {
    if (this.#given === undefined) return undefined;
    const { headers, elements, fewest } = this.#given;
    this.#taken = most;
    this.value = Number((32 * (most + headers) / elements).toFixed(4));
    if (most > fewest) {
      lessons++;
      // A little more, since the next run may go elsewhere.
      this.#learned = Math.max(this.#learned, Math.ceil(most * 1.125));
      this.#given = { ...this.#given, fewest: Infinity };
    }
    return undefined;
  }

  override get text(): string {
    if (this.#given === undefined || this.#taken === undefined) return super.text;
    const { words, headers } = this.#given;
    const [given, taken] = [4 * (words + headers), 4 * (this.#taken + headers)];
    const rest = taken > given ? ", so it was gone back over in pieces" : "";
    return `${super.text}; ${given} B predicted, ${taken} B taken${rest}`;
  }
}
