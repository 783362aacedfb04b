/**
 * Allocation: every stored value gets a slot for the time it is alive, exactly. Values are placed
 * from the largest down, each into the first slot that is free for its whole life; a region's
 * output takes over the slot of an input that dies in it, where kernel and place allow. Results
 * lend their memory until they are written, and what a loop needs while it runs may begin in the
 * memory of a value that it is the last to read. Nothing is left to run time, so the sum of the slots is
 * the memory the program uses.
 *
 * @module
 */
import type { Node } from "../graph/node.ts";
import type { Region } from "../kernels/region.ts";
import { bytesOf, overwritable } from "./order.ts";
import type { Scratch } from "./loop.ts";
import type { Slot } from "./program.ts";

/** Slots, and who lies where. */
export interface Allocation {
  readonly slots: readonly Slot[];
  readonly slotOf: ReadonlyMap<Node, number>;
  /** For each region, outputs that are written over an input: output → input. */
  readonly aliases: readonly ReadonlyMap<Node, Node>[];
  /** For each region, the slots of what it needs while it runs (loops). */
  readonly scratch: readonly (readonly number[])[];
}

interface Life {
  /** Values that share the memory one after the other. */
  readonly values: Node[];
  readonly bytes: number;
  readonly start: number;
  end: number;
  readonly result: boolean;
  /** Where the slot is told, for memory that holds no value of the graph. */
  readonly scratch?: { readonly of: number; readonly index: number };
}

/** Places the values of ordered regions. */
export function allocate(
  regions: readonly Region[],
  args: readonly Node[],
  results: readonly Node[],
  takeovers: ReadonlyMap<Node, Node>,
  scratch: readonly (readonly Scratch[])[] = regions.map(() => []),
): Allocation {
  const slots: Slot[] = [];
  const slotOf = new Map<Node, number>();
  args.forEach((node, index) => {
    slotOf.set(node, slots.length);
    slots.push({ bytes: bytesOf(node), role: { is: "argument", index } });
  });
  const aliases: Map<Node, Node>[] = regions.map(() => new Map());
  const lives = livesOf(regions, results, takeovers, aliases, slotOf);
  const scratchSlots = scratch.map((needed) => new Array<number>(needed.length));
  const begins: (() => void)[] = [];
  scratch.forEach((needed, of) => {
    const taken = new Set<Life>();
    needed.forEach(({ bytes, over }, index) => {
      const life = lives.find((l) => over !== undefined && l.values.at(-1) === over);
      if (life?.end === of && life.bytes === bytes && !life.result && !taken.has(life)) {
        taken.add(life);
        begins.push(() => scratchSlots[of]![index] = slotOf.get(over!)!);
        return;
      }
      lives.push({ values: [], bytes, start: of, end: of, result: false, scratch: { of, index } });
    });
  });
  place(lives, regions.length, slots, slotOf, scratchSlots);
  for (const begin of begins) begin();
  return { slots, slotOf, aliases, scratch: scratchSlots };
}

function livesOf(
  regions: readonly Region[],
  results: readonly Node[],
  takeovers: ReadonlyMap<Node, Node>,
  aliases: readonly Map<Node, Node>[],
  slotOf: Map<Node, number>,
): Life[] {
  const wanted = new Set(results);
  const last = new Map<Node, number>();
  regions.forEach((r, i) => r.inputs.forEach((x) => last.set(x, i)));
  const life = new Map<Node, Life>();
  const lives: Life[] = [];
  regions.forEach((region, i) => {
    const overwritten = new Set<Node>();
    for (const output of region.outputs) {
      const argument = takeovers.get(output);
      if (argument !== undefined) {
        slotOf.set(output, slotOf.get(argument)!);
        if (region.inputs.includes(argument)) aliases[i]!.set(output, argument);
        continue;
      }
      const end = wanted.has(output) ? regions.length : last.get(output) ?? i;
      const source = overwritable(region, output).find((x) =>
        last.get(x) === i && !wanted.has(x) && life.has(x) && !overwritten.has(x)
      );
      if (source !== undefined && !wanted.has(output)) {
        const shared = life.get(source)!;
        overwritten.add(source);
        aliases[i]!.set(output, source);
        shared.values.push(output);
        shared.end = end;
        life.set(output, shared);
        continue;
      }
      const own: Life = {
        values: [output],
        bytes: bytesOf(output),
        start: i,
        end,
        result: wanted.has(output),
      };
      life.set(output, own);
      lives.push(own);
    }
  });
  return lives;
}

function place(
  lives: readonly Life[],
  steps: number,
  slots: Slot[],
  slotOf: Map<Node, number>,
  scratchSlots: number[][],
): void {
  // Largest first, so that a slot is never too small for what comes later. Among equals from the
  // end of the program backwards, results first: that takes as few slots as there can be.
  const sorted = [...lives].sort((a, b) =>
    b.bytes - a.bytes || Number(b.result) - Number(a.result) || b.end - a.end
  );
  const open: { index: number; result: boolean; bytes: number; busy: Life[] }[] = [];
  for (const life of sorted) {
    const fits = open.find((slot) =>
      !(life.result && (slot.result || slot.bytes !== life.bytes)) &&
      slot.busy.every((other) => other.end < life.start || life.end < other.start)
    );
    const slot = fits ?? { index: slots.length, result: false, bytes: life.bytes, busy: [] };
    if (fits === undefined) {
      open.push(slot);
      slots.push({ bytes: life.bytes, role: { is: "workspace" } });
    }
    slot.busy.push(life);
    if (life.result) {
      slot.result = true;
      slots[slot.index] = { bytes: life.bytes, role: { is: "result" } };
    }
    for (const node of life.values) slotOf.set(node, slot.index);
    if (life.scratch !== undefined) {
      scratchSlots[life.scratch.of]![life.scratch.index] = slot.index;
    }
  }
  for (const slot of open) {
    if (slot.busy.some((life) => life.end > steps)) {
      throw new Error("Cannot allocate: a life too long");
    }
  }
}
