/**
 * What moves the working state of a way back: the steps of its loop and their inverse. Either may
 * leave the state in other memory than it found it in; every place where it can come to lie is
 * played through at compile time, and each has its own dispatches.
 *
 * @module
 */
import type { Node } from "../graph/node.ts";
import { bodyPart, type Names, type Part, type Placed, placeStep, type Steps } from "./steps.ts";

/** A program that changes the working state. */
export interface Mover {
  readonly steps: Steps;
  /** For each of its carries the part of the state, 0 being the counter; undefined if it is none. */
  readonly parts: readonly (number | undefined)[];
  /** What it reads besides: its arguments after the carries. */
  readonly operands: readonly Node[];
}

/** An inverse, whose carries are the parts of a state in their order. */
export function inverseMover(steps: Steps, operands: readonly Node[]): Mover {
  return { steps, parts: steps.program.results.map((_, i) => i), operands };
}

/** A place of the working state: memory of the counter and of each of its parts. */
export interface Place {
  readonly names: readonly string[];
  /** For each mover, how it runs from here, and the number of the place where it ends. */
  readonly moves: readonly { readonly placed: Placed; readonly to: number }[];
}

/** Every place where the working state can come to lie, the first first. */
export function placesOf(
  movers: readonly Mover[],
  names: Names,
  first: readonly string[],
): Place[] {
  const numbers = new Map([[first.join(), 0]]);
  const waiting = [first], places: Place[] = [];
  for (const here of waiting) {
    const moves = movers.map(({ steps, parts }, m) => {
      const other = (carry: number): string => {
        const part = parts[carry]!, home = first[part]!;
        return here[part] === home ? names.of(`${home} beside`, names.all.get(home)!) : home;
      };
      const current = parts.map((part) => part === undefined ? undefined : here[part]);
      const placed = placeStep(steps, names, `mover ${m}`, current, other);
      const next = here.map((name, part) => {
        const carry = parts.indexOf(part);
        return carry < 0 ? name : placed.next[carry]!;
      });
      let to = numbers.get(next.join());
      if (to === undefined) {
        numbers.set(next.join(), to = waiting.length);
        waiting.push(next);
      }
      return { placed, to };
    });
    places.push({ names: here, moves });
  }
  return places;
}

/** What the parts of a way back are placed by. */
export interface Stage {
  readonly at: (name: string) => number;
  readonly slotOf: (node: Node) => number;
  readonly counter: Steps["program"]["arguments"][number];
  /** Where it is written what was found out about states that were inverted. */
  readonly found: Node | undefined;
}

/** The dispatches of a mover that is placed. */
export function movePart({ steps, operands }: Mover, placed: Placed, stage: Stage): Part {
  return bodyPart(steps, (slot) => {
    const where = placed.slots[slot]!;
    if (typeof where === "string") return stage.at(where);
    return stage.slotOf(operands[where - steps.carries]!);
  });
}
