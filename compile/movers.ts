/**
 * What moves the working state of a way back, and the cotangents with it: the steps of its loop,
 * their inverse, and what pulls. Each may leave what it changes in other memory than it found it in;
 * every place where all of it can come to lie is played through at compile time, and each has its own
 * dispatches.
 *
 * @module
 */
import type { Node } from "../graph/node.ts";
import { bodyPart, type Names, type Part, type Placed, placeStep, type Steps } from "./steps.ts";

/** A program that changes parts of what lies somewhere. */
export interface Mover {
  readonly steps: Steps;
  /** For each of its carries the part that it is; undefined if it is none. */
  readonly parts: readonly (number | undefined)[];
  /** What it reads besides, its arguments after the carries: values, or parts by number. */
  readonly operands: readonly (Node | number)[];
}

/** The values among what movers read. */
export function valuesRead(movers: readonly Mover[]): Node[] {
  return movers.flatMap(({ operands }) => operands.filter((x) => typeof x !== "number"));
}

/** An inverse, whose carries are the parts of a state in their order. */
export function inverseMover(steps: Steps, operands: readonly Node[]): Mover {
  return { steps, parts: steps.program.results.map((_, i) => i), operands };
}

/** How a mover runs at a place, and the number of the place where that ends. */
export interface Moved {
  readonly placed: Placed;
  readonly to: number;
}

/** A place: memory of each part. */
export interface Place<M extends string> {
  readonly names: readonly string[];
  readonly moves: { readonly [K in M]?: Moved };
}

/** The places that movers go through. */
export class Places<M extends string> {
  readonly #all: Place<M>[] = [];
  readonly #numbers = new Map<string, number>();

  /** Begins with the first place, whose number is 0. */
  constructor(
    readonly movers: { readonly [K in M]?: Mover },
    private readonly names: Names,
    private readonly first: readonly string[],
  ) {
    this.of(first);
  }

  /** All of them. */
  get all(): readonly Place<M>[] {
    return this.#all;
  }

  /** The number of the place where the parts lie there; those reached from it are played through. */
  of(parts: readonly string[]): number {
    const known = this.#numbers.get(parts.join());
    if (known !== undefined) return known;
    const number = this.#all.length, moves: { [K in M]?: Moved } = {};
    this.#numbers.set(parts.join(), number);
    this.#all.push({ names: parts, moves });
    for (const [name, mover] of Object.entries(this.movers) as [M, Mover][]) {
      const { placed, next } = this.#move(name, mover, parts);
      moves[name] = { placed, to: this.of(next) };
    }
    return number;
  }

  #move(name: M, { steps, parts }: Mover, here: readonly string[]) {
    const { names, first } = this;
    const other = (carry: number): string => {
      const part = parts[carry]!, home = first[part]!;
      return here[part] === home ? names.of(`${home} beside`, names.all.get(home)!) : home;
    };
    const current = parts.map((part) => part === undefined ? undefined : here[part]);
    const placed = placeStep(steps, names, name, current, other);
    const next = here.map((memory, part) => {
      const carry = parts.indexOf(part);
      return carry < 0 ? memory : placed.next[carry]!;
    });
    return { placed, next };
  }
}

/** What the parts of a way back are placed by. */
export interface Stage {
  readonly at: (name: string) => number;
  readonly slotOf: (node: Node) => number;
  readonly counter: Steps["program"]["arguments"][number];
  /** Where it is written what was found out about states that were inverted. */
  readonly found: Node | undefined;
}

/** Where the slots of a mover lie that is placed `here`. */
export function slotsOf(
  { steps, operands }: Mover,
  { slots }: Placed,
  { at, slotOf }: Stage,
  here: readonly string[] = [],
): (slot: number) => number {
  return (slot) => {
    const where = slots[slot]!;
    if (typeof where === "string") return at(where);
    const operand = operands[where - steps.carries]!;
    return typeof operand === "number" ? at(here[operand]!) : slotOf(operand);
  };
}

/** The dispatches of a mover that is placed `here`. */
export function movePart(
  mover: Mover,
  placed: Placed,
  stage: Stage,
  here?: readonly string[],
): Part {
  return bodyPart(mover.steps, slotsOf(mover, placed, stage, here));
}
