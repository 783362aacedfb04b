/**
 * What a way back with a tape runs around its steps. On the way there: the state is put aside if the
 * step overwrites it; after the step the inverse runs on the new state, beside it; the difference is
 * recorded. On the way back: the inverse takes the working state, which is then put right. It is the
 * same program on the same bits both times.
 *
 * @module
 */
import { copyAll } from "./loop.ts";
import { movePart, type Mover, type Place, type Stage } from "./movers.ts";
import type { Target } from "./program.ts";
import {
  assemble,
  bytesOfCarry,
  type Make,
  type Names,
  overwrites,
  type Part,
  type Placed,
  placeStep,
} from "./steps.ts";
import { LoopTape, type Taped } from "./tape.ts";

/** Where the step from a place is recorded. */
interface Recording {
  /** For each part of the state where it lies when it is compared. */
  readonly truth: readonly string[];
  /** Where the inverse runs, and from where. */
  readonly guess: Placed;
  readonly from: readonly string[];
  /** The place after the step. */
  readonly to: Place;
}

/** Records the steps of a way back, and puts states right. */
export class Recorder {
  readonly #tape: LoopTape;
  readonly #recordings: readonly Recording[];
  readonly #unasked: string;

  constructor(
    private readonly taped: Taped,
    private readonly movers: readonly Mover[],
    private readonly places: readonly Place[],
    names: Names,
    private readonly target: Target,
  ) {
    this.#tape = new LoopTape(taped, names, target);
    this.#unasked = names.of("tape unasked", 16);
    const [advance, inverse] = movers as readonly [Mover, Mover];
    const bytes = (name: string): number => names.all.get(name)!;
    const beside = (carry: number): string =>
      names.of(`guess ${carry} beside`, bytesOfCarry(inverse.steps, carry));
    this.#recordings = places.map((place) => {
      const to = places[place.moves[0]!.to]!;
      const truth = place.names.slice(1).map((name, i) => {
        const moved = overwrites(advance.steps, advance.parts.indexOf(i + 1));
        return moved ? names.of(`truth ${i}`, bytes(name)) : name;
      });
      const from = to.names.map((name, i) =>
        overwrites(inverse.steps, i) ? names.of(`guess ${i}`, bytes(name)) : name
      );
      return { truth, from, to, guess: placeStep(inverse.steps, names, "guess", from, beside) };
    });
  }

  /** Memory of the number that has to be 0 before the first step. */
  get cursor(): string {
    return this.#tape.cursor;
  }

  /** Memory of how full the arena became; of its own where nobody asks. */
  #most({ at, slotOf, found }: Stage): number {
    return found === undefined ? at(this.#unasked) : slotOf(found);
  }

  /** What runs before and after the step from a place, so that it is recorded. */
  record(place: number, stage: Stage, make: Make): { readonly before: Part; readonly after: Part } {
    const { truth, guess, from, to } = this.#recordings[place]!;
    const { state } = this.taped, { at } = stage;
    const aside = (here: readonly string[], there: readonly string[], first: number): Part =>
      assemble(copyAll(
        here.map((name, i) => ({
          from: at(name),
          to: at(there[i]!),
          value: first + i === 0 ? stage.counter : state[first + i - 1]!,
        })),
        make,
        this.target.maxBindings,
      ));
    return {
      before: aside(this.places[place]!.names.slice(1), truth, 1),
      after: assemble([
        aside(to.names, from, 0),
        movePart(this.movers[1]!, guess, stage),
        ...this.#tape.record(
          { at, make, counter: at(guess.next[0]!), most: this.#most(stage) },
          truth.map(at),
          guess.next.slice(1).map(at),
          state,
        ),
      ]),
    };
  }

  /** What puts a state right that the inverse has brought to a place. */
  mend(place: number, { at }: Stage, make: Make): Part {
    const { names } = this.places[place]!;
    return assemble(this.#tape.restore(
      { at, make, counter: at(names[0]!) },
      names.slice(1).map(at),
      this.taped.state,
    ));
  }
}
