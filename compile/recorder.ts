/**
 * What a loop with a tape runs after a step, on its way forward and on its way back: the inverse, on
 * the new state and beside it, and what records how that differs from the state before the step. Or,
 * for a state that was inverted: what puts it right. The inverse is one program that leaves the
 * state it starts from as it was, and runs on the same bits both times.
 *
 * @module
 */
import type { Aval } from "../graph/node.ts";
import { movePart, type Mover, type Stage } from "./movers.ts";
import type { Target } from "./program.ts";
import { assemble, type Make, type Names, onlyResults, type Part, placeStep } from "./steps.ts";
import { LoopTape } from "./tape.ts";
import { type Effort, effortOf, repeated, sumOf } from "./work.ts";

/** What is recorded. */
export interface Taped {
  /** The parts of a state. */
  readonly state: readonly Aval[];
  /** The memory of the tape. */
  readonly memory: readonly Aval[];
  readonly segment: number;
  readonly length: number;
}

/** See the top of the file. */
export class Recorder {
  readonly tape: LoopTape;
  readonly #inverse: Mover;

  /** Records with an inverse, in memory that is among the names. */
  constructor(
    { state, memory, segment, length }: Taped,
    inverse: Mover,
    private readonly names: Names,
    private readonly make: Make,
    target: Target,
  ) {
    this.tape = new LoopTape(state, memory, segment, length, names, target);
    // Which step it is, is known: who records has counted it.
    const { steps } = inverse, results = steps.results.map((_, i) => i).slice(1);
    this.#inverse = { ...inverse, steps: onlyResults(steps, results, false) };
  }

  /** What recording so many steps takes: the inverse, and what packs the differences. */
  effort(steps: number): Effort {
    const { program, script } = this.#inverse.steps, { recording } = this.tape;
    return sumOf([
      effortOf(program, script, steps),
      repeated(recording, steps),
    ]);
  }

  /**
   * Records the step between two states, each with its counter first; the memory that it needs is
   * named at once.
   */
  after(
    before: readonly string[],
    after: readonly string[],
  ): (stage: Stage) => Part {
    const { names, tape, make } = this, inverse = this.#inverse;
    const beside = (carry: number): string =>
      names.of(`guess ${carry}`, names.all.get(after[carry]!)!);
    const placed = placeStep(inverse.steps, names, "guess", after, beside);
    return (stage) => {
      const { at } = stage, lie = (name: string): number => at(name);
      return assemble([
        movePart(inverse, placed, stage),
        ...tape.record(
          { at, make, counter: at(before[0]!) },
          before.slice(1).map(lie),
          placed.next.slice(1).map(lie),
        ),
      ]);
    };
  }

  /** Puts a state right that the inverse has given, its counter first. */
  mend(names: readonly string[], { at }: Stage): Part {
    const [counter, ...guess] = names.map((name) => at(name));
    return assemble(this.tape.restore({ at, make: this.make, counter: counter! }, guess));
  }
}
