/**
 * Allocation: every stored value gets a slot for the time it is alive, exactly. A region may run
 * more than once; then its values live once for each run, from there to the last who reads them
 * before the next. Lives are placed from the largest down, each into the first slot that is free
 * throughout; a region's output takes over the slot of an input that dies in it, where kernel and
 * place allow. Results lend their memory until they are written, and what a loop needs while it runs
 * may begin in the memory of a value that it is the last to read. Nothing is left to run time, so the
 * sum of the slots is the memory the program uses.
 *
 * @module
 */
import type { Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { modelOf } from "../kernels/alike.ts";
import type { Region } from "../kernels/region.ts";
import { bytesOf, overwritable } from "./order.ts";
import type { Scratch } from "./prepared.ts";
import type { Slot } from "./program.ts";
import { fewItems } from "./store.ts";

/** A value's stay in a slot. Steps count runs of regions from 0. */
export interface Stay {
  readonly node: Node;
  readonly slot: number;
  /** The step that writes it; -1 for arguments. */
  readonly from: number;
  /** The last step that reads it; the number of steps if it is there at the end. */
  readonly to: number;
}

/** Slots, and who lies where and when. */
export interface Allocation {
  readonly slots: readonly Slot[];
  /** Where arguments are, and where results are at the end. */
  readonly slotOf: ReadonlyMap<Node, number>;
  /** For each step the slots of what it reads and writes. */
  readonly bound: readonly ReadonlyMap<Node, number>[];
  /** For each step, outputs that are written over an input: output → input. */
  readonly aliases: readonly ReadonlyMap<Node, Node>[];
  /** For each step, the slots of what it needs while it runs (loops). */
  readonly scratch: readonly (readonly number[])[];
  /** Every value's stays, as they begin. */
  readonly stays: readonly Stay[];
}

/** Memory that several values use one after the other. */
interface Life {
  readonly bytes: number;
  readonly start: number;
  end: number;
  readonly result: boolean;
  slot: number;
}

/** A value from where it is written to where it is last read. */
interface Span {
  readonly node: Node;
  readonly from: number;
  to: number;
  /** There at the end, for the caller. */
  result: boolean;
  life?: Life;
  /** In the memory of an argument. */
  taken?: number;
}

/** Places the values of regions in the order in which they run. */
export function allocate(
  steps: readonly Region[],
  args: readonly Node[],
  results: readonly Node[],
  takeovers: ReadonlyMap<Node, Node>,
  scratch: readonly (readonly Scratch[])[] = steps.map(() => []),
): Allocation {
  const slots: Slot[] = [];
  const slotOf = new Map<Node, number>();
  args.forEach((node, index) => {
    slotOf.set(node, slots.length);
    slots.push({ bytes: bytesOf(node), role: { is: "argument", index } });
  });
  const { read, written, atEnd } = spansOf(steps, args, results);
  const aliases: Map<Node, Node>[] = steps.map(() => new Map());
  const lives = livesOf(steps, read, written, takeovers, aliases, slotOf);
  const scratchLives = scratch.map((needed, of) => livesInside(needed, of, steps[of]!, read[of]!));
  place([...new Set([...lives, ...scratchLives.flat()])], slots);
  const slotIn = (span: Span): number => span.taken ?? span.life!.slot;
  const bound = steps.map(({ inputs }, i) => {
    const map = new Map<Node, number>();
    inputs.forEach((x, k) => {
      const span = read[i]![k];
      map.set(x, span === undefined ? slotOf.get(x)! : slotIn(span));
    });
    for (const span of written[i]!) map.set(span.node, slotIn(span));
    return map;
  });
  const stays: Stay[] = staysOfArguments(steps, args, read, takeovers);
  for (const span of written.flat()) {
    stays.push({ node: span.node, slot: slotIn(span), from: span.from, to: span.to });
  }
  for (const span of atEnd) slotOf.set(span.node, slotIn(span));
  return {
    slots,
    slotOf,
    bound,
    aliases,
    scratch: scratchLives.map((list) => list.map(({ slot }) => slot)),
    stays,
  };
}

/** Who reads what whom wrote: `read[i][k]` is where input k of step i comes from. */
interface Spans {
  readonly read: readonly (readonly (Span | undefined)[])[];
  readonly written: readonly (readonly Span[])[];
  readonly atEnd: readonly Span[];
}

function spansOf(
  steps: readonly Region[],
  args: readonly Node[],
  results: readonly Node[],
): Spans {
  const now = new Map<Node, Span>(), given = new Set(args);
  const read: (Span | undefined)[][] = [], written: Span[][] = [];
  steps.forEach(({ inputs, outputs }, i) => {
    read.push(inputs.map((x) => {
      const span = now.get(x);
      if (span !== undefined) span.to = i;
      else if (!given.has(x)) throw new Error("Cannot allocate: a value is read before it is made");
      return span;
    }));
    written.push(outputs.map((node) => {
      const span: Span = { node, from: i, to: i, result: false };
      now.set(node, span);
      return span;
    }));
  });
  const atEnd = results.map((node) => {
    const span = now.get(node)!;
    span.to = steps.length;
    span.result = true;
    return span;
  });
  return { read, written, atEnd };
}

function livesOf(
  steps: readonly Region[],
  read: Spans["read"],
  written: Spans["written"],
  takeovers: ReadonlyMap<Node, Node>,
  aliases: readonly Map<Node, Node>[],
  slotOf: ReadonlyMap<Node, number>,
): Life[] {
  const lives: Life[] = [];
  const gone = new Set<Node>();
  /**
   * Outputs, by place, that a region or one alike has written to a place of their own. Small ones then
   * have one in all of them: the memory is worth less than a driver's time for a second text.
   */
  const apart = new Map<Region, Set<number>>();
  const apartIn = (step: Region): Set<number> => {
    const model = modelOf(step), places = apart.get(model) ?? new Set();
    apart.set(model, places);
    return places;
  };
  steps.forEach((step, i) => {
    const lost = step.inputs.find((x) => gone.has(x));
    if (lost !== undefined) throw new Error("Cannot allocate: an argument is read after its end");
    const overwritten = new Set<Node>(), own = apartIn(step);
    for (const [place, span] of written[i]!.entries()) {
      const output = span.node, argument = takeovers.get(output);
      if (argument !== undefined) {
        span.taken = slotOf.get(argument)!;
        if (step.inputs.includes(argument)) aliases[i]!.set(output, argument);
        gone.add(argument);
        continue;
      }
      const staysApart = span.result || (own.has(place) && sizeOf(output.shape) <= fewItems);
      const source = staysApart ? undefined : overwritable(step, output).find((x) => {
        const from = read[i]![step.inputs.indexOf(x)];
        return from?.life !== undefined && from.to === i && !overwritten.has(x);
      });
      if (source !== undefined) {
        const life = read[i]![step.inputs.indexOf(source)]!.life!;
        overwritten.add(source);
        aliases[i]!.set(output, source);
        life.end = span.to;
        span.life = life;
        continue;
      }
      own.add(place);
      const { from, to, result } = span;
      span.life = { bytes: bytesOf(output), start: from, end: to, result, slot: -1 };
      lives.push(span.life);
    }
  });
  return lives;
}

/** What a loop needs while it runs: memory of its own, or that of what it begins with. */
function livesInside(
  needed: readonly Scratch[],
  of: number,
  { inputs }: Region,
  read: readonly (Span | undefined)[],
): Life[] {
  const taken = new Set<Life>();
  return needed.map(({ bytes, over }) => {
    const life = over === undefined ? undefined : read[inputs.indexOf(over)]?.life;
    if (life?.end === of && life.bytes === bytes && !life.result && !taken.has(life)) {
      taken.add(life);
      return life;
    }
    return { bytes, start: of, end: of, result: false, slot: -1 };
  });
}

function staysOfArguments(
  steps: readonly Region[],
  args: readonly Node[],
  read: Spans["read"],
  takeovers: ReadonlyMap<Node, Node>,
): Stay[] {
  const last = new Map<Node, number>();
  steps.forEach(({ inputs }, i) =>
    inputs.forEach((x, k) => {
      if (read[i]![k] === undefined) last.set(x, i);
    })
  );
  const lost = new Set(takeovers.values());
  return args.map((node, slot) => ({
    node,
    slot,
    from: -1,
    to: lost.has(node) ? last.get(node) ?? -1 : steps.length,
  }));
}

function place(lives: readonly Life[], slots: Slot[]): void {
  // Largest first, so that a slot is never too small for what comes later. Among equals from the
  // end of the program backwards, results first: that takes as few slots as there can be.
  const sorted = [...lives].sort((a, b) =>
    b.bytes - a.bytes || Number(b.result) - Number(a.result) || b.end - a.end
  );
  const open: { index: number; result: boolean; bytes: number; busy: Life[] }[] = [];
  for (const life of sorted) {
    const { result, bytes, start, end } = life;
    const fits = open.find((slot) => {
      if (result && (slot.result || slot.bytes !== bytes)) return false;
      // The latest comer is the likeliest to be in the way.
      for (let i = slot.busy.length - 1; i >= 0; i--) {
        const other = slot.busy[i]!;
        if (other.end >= start && end >= other.start) return false;
      }
      return true;
    });
    const slot = fits ?? { index: slots.length, result: false, bytes, busy: [] };
    if (fits === undefined) {
      open.push(slot);
      slots.push({ bytes, role: { is: "workspace" } });
    }
    slot.busy.push(life);
    if (result) {
      slot.result = true;
      slots[slot.index] = { bytes, role: { is: "result" } };
    }
    life.slot = slot.index;
  }
}
