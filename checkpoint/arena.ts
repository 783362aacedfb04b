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

/** The sizes of the arenas of one strategy, by what their loops are called. */
export class ArenaSizes {
  readonly #learned = new Map<string, number>();
  readonly #given = new Map<string, Recorded & { readonly words: number }>();

  /** Arenas of so many bits an element and step. */
  constructor(readonly bits: number) {}

  /** Words for what a loop records. */
  wordsFor(loop: string, recorded: Recorded): number {
    const estimate = Math.ceil(recorded.elements * this.bits / 32) + spare;
    const wanted = Math.max(estimate, recorded.least, this.#learned.get(loop) ?? 0);
    const words = Math.max(1, Math.min(recorded.most, wanted));
    this.#given.set(loop, { ...recorded, words });
    return words;
  }

  /** What looks at how full the arena of a loop became. */
  gauge(loop: string): Gauge {
    return new ArenaGauge(loop, () => this.#given.get(loop), (words) => {
      lessons++;
      // A little more, since the next run may go elsewhere.
      const roomy = Math.ceil(words * 1.125);
      this.#learned.set(loop, Math.max(roomy, this.#learned.get(loop) ?? 0));
    });
  }
}

/** How full an arena became, as bits an element and step with headers; learns if it was too small. */
class ArenaGauge extends Gauge {
  constructor(
    private readonly loop: string,
    private readonly given: () => (Recorded & { readonly words: number }) | undefined,
    private readonly learn: (words: number) => void,
  ) {
    super(`tape of ${loop}, bits an element and step`);
  }

  override read(most: number): string | undefined {
    const given = this.given();
    if (given === undefined) return undefined;
    this.value = Number((32 * (most + given.headers) / given.elements).toFixed(4));
    if (most > given.words) this.learn(most);
    return undefined;
  }
}
