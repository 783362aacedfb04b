/**
 * The order in which regions run, and which results take over the memory of donated arguments. A
 * region that overwrites an argument has to come after everyone else who reads it: such orders are
 * edges like any other, and are added only where they close no circle.
 *
 * @module
 */
import { storageBytes } from "../graph/dtype.ts";
import type { Aval, Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { modelOf } from "../kernels/alike.ts";
import { flatten } from "../kernels/index.ts";
import { outputsByProduct } from "../kernels/legal.ts";
import {
  type Footprint,
  footprint,
  footprintOf,
  type Frame,
  placeIn,
  placesOf,
  type Region,
} from "../kernels/region.ts";
import type { Fused } from "./fuse.ts";

/** Bytes of a stored value. */
export function bytesOf({ dtype, shape }: Aval): number {
  return storageBytes(dtype, sizeOf(shape));
}

/**
 * Answers of {@linkcode overwritable}, as places of inputs by place of the output: regions are asked
 * again for every plan that is tried, and equal layers have the same answers.
 */
const known = new WeakMap<Region, Map<number, readonly number[]>>();

/** Inputs of a region that are read element by element exactly where `output` is written. */
export function overwritable(region: Region, output: Node): readonly Node[] {
  const model = modelOf(region), place = region.outputs.indexOf(output);
  let answers = known.get(model);
  if (answers === undefined) known.set(model, answers = new Map());
  let answer = answers.get(place);
  if (answer === undefined) {
    const found = findOverwritable(model, model.outputs[place]!);
    answers.set(place, answer = found.map((input) => model.inputs.indexOf(input)));
  }
  return answer.map((i) => region.inputs[i]!);
}

/** True if values of the frame have places in it. */
function elementByElement({ is }: Frame): boolean {
  return is === "map" || is === "rows" || is === "dot" || is === "scatter";
}

function findOverwritable(region: Region, output: Node): readonly Node[] {
  const { frame, outputs } = region;
  return elementByElement(frame) ? readInPlace(frame, outputs, footprintOf(region), output) : [];
}

/** What a region's footprint reads element by element exactly where it writes `output`. */
export function readInPlace(
  frame: Frame,
  outputs: readonly Node[],
  { reads }: Footprint,
  output: Node,
): readonly Node[] {
  if (!elementByElement(frame)) return [];
  // Invocations that share a row may still read what one of them writes for the row, unless rows
  // are all that is written, and so at the very end.
  const perRow = (n: Node): boolean => frame.is === "rows" && sizeOf(n.shape) === frame.rows;
  if (perRow(output) && !outputs.every(perRow)) return [];
  const places = placesOf(frame), written = placeIn(frame, places, output);
  if (written === undefined) return [];
  const address = flatten(written, output.shape).key;
  const others = readBeside(frame, outputs, reads, output);
  return [...reads].filter(([input, used]) => {
    if (others.has(input)) return false;
    if (input.dtype !== output.dtype || sizeOf(input.shape) !== sizeOf(output.shape)) return false;
    const [place, ...more] = used.values();
    return more.length === 0 && flatten(place!, input.shape).key === address;
  }).map(([input]) => input);
}

/** What is read for the outputs of other products: by workgroups that may come later. */
function readBeside(
  frame: Frame,
  outputs: readonly Node[],
  reads: Footprint["reads"],
  output: Node,
): { has(input: Node): boolean } {
  if (frame.is !== "dot") return new Set();
  const isInput = (x: Node): boolean => reads.has(x);
  const products = [...outputsByProduct(outputs, isInput).values()];
  const beside = products.filter((own) => !own.includes(output)).flat();
  return footprint(frame, beside, isInput, 1 << 20)!.reads;
}

/** Regions in the order they run, and for each result the argument whose memory it takes over. */
export interface Ordered {
  readonly regions: readonly Region[];
  readonly takeovers: ReadonlyMap<Node, Node>;
}

/**
 * Orders regions (given producers first) so that little is alive at once. `fused` says which results
 * take over which arguments in any case, since fusion has counted on it. With `heirs`, a result takes
 * over the memory of the argument that is named there, and of no other.
 */
export function order(
  { regions, takeovers: promised }: Fused,
  donated: readonly Node[],
  results: readonly Node[],
  heirs?: ReadonlyMap<Node, Node>,
): Ordered {
  const home = new Map<Node, number>();
  regions.forEach((r, i) => r.outputs.forEach((o) => home.set(o, i)));
  const before: Set<number>[] = regions.map((r) => {
    const set = new Set<number>();
    for (const input of r.inputs) {
      const producer = home.get(input);
      if (producer !== undefined) set.add(producer);
    }
    return set;
  });
  const takeovers = chooseTakeovers(regions, before, home, donated, results, promised, heirs);
  const wanted = new Set(results);
  const soon = schedule(regions, before, home, wanted, takeovers);
  return {
    regions: sunk(soon, regions, before, home, wanted, takeovers).map((i) => regions[i]!),
    takeovers,
  };
}

function chooseTakeovers(
  regions: readonly Region[],
  before: readonly Set<number>[],
  home: ReadonlyMap<Node, number>,
  donated: readonly Node[],
  results: readonly Node[],
  promised: ReadonlyMap<Node, Node>,
  heirs: ReadonlyMap<Node, Node> | undefined,
): Map<Node, Node> {
  const takeovers = new Map<Node, Node>();
  const readers = new Map<Node, number[]>();
  regions.forEach((r, i) =>
    r.inputs.forEach((input) => {
      const list = readers.get(input);
      if (list === undefined) readers.set(input, [i]);
      else list.push(i);
    })
  );
  const free = new Set(donated), after = turned(before);
  const claim = (result: Node, candidates: Iterable<Node>): void => {
    if (takeovers.has(result)) return;
    const writer = home.get(result)!;
    for (const argument of candidates) {
      if (!free.has(argument) || (heirs !== undefined && heirs.get(result) !== argument)) continue;
      const others = (readers.get(argument) ?? []).filter((r) => r !== writer);
      if (others.some((r) => leadsTo(after, writer, r))) continue;
      for (const r of others) {
        if (!before[writer]!.has(r)) after[r]!.push(writer);
        before[writer]!.add(r);
      }
      free.delete(argument);
      takeovers.set(result, argument);
      return;
    }
  };
  for (const [result, argument] of promised) claim(result, [argument]);
  const stored = results.filter((r) => home.has(r));
  // First where the result is computed from the argument in place (the nearest: a moment goes where
  // that moment was), then wherever it fits.
  for (const result of stored) {
    claim(result, nearest(result, overwritable(regions[home.get(result)!]!, result)));
  }
  for (const result of stored) {
    if (takeovers.has(result)) continue;
    const region = regions[home.get(result)!]!;
    claim(
      result,
      donated.filter((d) =>
        bytesOf(d) === bytesOf(result) && d.dtype === result.dtype && !region.inputs.includes(d)
      ),
    );
  }
  return takeovers;
}

/**
 * Candidates by the number of operations between them and the result, as far as one looks: level by
 * level, since mostly the first is taken and is near.
 */
export function* nearest(result: Node, candidates: readonly Node[]): Generator<Node, void> {
  const missing = new Set(candidates), seen = new Set([result]);
  let level = [result], visits = 256;
  while (missing.size > 1 && level.length > 0 && visits > 0) {
    const next: Node[] = [];
    for (const { inputs } of level) {
      if (visits-- === 0) break;
      for (const input of inputs) {
        if (seen.has(input)) continue;
        seen.add(input);
        next.push(input);
      }
    }
    // Those of one level come in their own order.
    for (const node of [...missing]) {
      if (seen.has(node) && missing.delete(node)) yield node;
    }
    level = next;
  }
  yield* missing;
}

/** True if `to` has to run after `from`, which has few successors where it writes a result. */
function leadsTo(after: readonly number[][], from: number, to: number): boolean {
  const seen = new Set<number>(), stack = [from];
  while (stack.length > 0) {
    const i = stack.pop()!;
    if (i === to) return true;
    if (seen.has(i)) continue;
    seen.add(i);
    stack.push(...after[i]!);
  }
  return false;
}

/** Of the regions that could run next, the one that leaves the least alive; then one that writes results. */
function schedule(
  regions: readonly Region[],
  before: readonly Set<number>[],
  home: ReadonlyMap<Node, number>,
  results: ReadonlySet<Node>,
  takeovers: ReadonlyMap<Node, Node>,
): number[] {
  const after = turned(before);
  const waiting = before.map((set) => set.size);
  const uses = new Map<Node, number>();
  for (const r of regions) for (const i of r.inputs) uses.set(i, (uses.get(i) ?? 0) + 1);
  /** Bytes alive after a region less those before; and the same but for results, which stay. */
  const growth = (i: number): readonly [all: number, passing: number] => {
    const { inputs, outputs } = regions[i]!;
    let all = 0, kept = 0;
    for (const o of outputs) {
      if (takeovers.has(o)) continue;
      all += bytesOf(o);
      if (results.has(o)) kept += bytesOf(o);
    }
    for (const x of inputs) {
      if (uses.get(x) === 1 && home.has(x) && !results.has(x)) all -= bytesOf(x);
    }
    return [all, all - kept];
  };
  const ready: number[] = [];
  waiting.forEach((n, i) => n === 0 && ready.push(i));
  const result: number[] = [];
  while (ready.length > 0) {
    let best = 0;
    let least = growth(ready[0]!);
    for (let r = 1; r < ready.length; r++) {
      const [all, passing] = growth(ready[r]!);
      const less = all - least[0] || passing - least[1] || ready[r]! - ready[best]!;
      if (less < 0) [best, least] = [r, [all, passing]];
    }
    const [next] = ready.splice(best, 1);
    result.push(next!);
    for (const x of regions[next!]!.inputs) uses.set(x, uses.get(x)! - 1);
    for (const i of after[next!]!) if (--waiting[i]! === 0) ready.push(i);
  }
  if (result.length !== regions.length) {
    throw new Error("Cannot order regions: a circle was formed");
  }
  return result;
}

/**
 * The order with every region moved down to who needs it first, if what it makes is larger than what
 * has to stay for it: nothing waits in memory that could as well have been made later.
 */
function sunk(
  soon: readonly number[],
  regions: readonly Region[],
  before: readonly Set<number>[],
  home: ReadonlyMap<Node, number>,
  results: ReadonlySet<Node>,
  takeovers: ReadonlyMap<Node, Node>,
): number[] {
  const order = [...soon], after = turned(before), readers = new Map<Node, number[]>();
  const place = new Array<number>(order.length);
  order.forEach((r, i) => place[r] = i);
  regions.forEach((r, i) => {
    for (const x of r.inputs) {
      if (!home.has(x) || results.has(x)) continue;
      const list = readers.get(x);
      if (list === undefined) readers.set(x, [i]);
      else list.push(i);
    }
  });
  /** What nobody else reads from a place on has to stay for a region that moves there. */
  const stays = (r: number, x: Node, from: number): boolean =>
    readers.get(x)?.every((other) => other === r || place[other]! <= from) ?? false;
  for (let at = order.length - 1; at >= 0; at--) {
    const r = order[at]!, { inputs, outputs } = regions[r]!;
    const to = Math.min(order.length, ...after[r]!.map((i) => place[i]!)) - 1;
    if (to === at) continue;
    const made = outputs.reduce((sum, x) => takeovers.has(x) ? sum : sum + bytesOf(x), 0);
    const longer = inputs.reduce((sum, x) => stays(r, x, to) ? sum + bytesOf(x) : sum, 0);
    if (made <= longer) continue;
    for (let i = at; i < to; i++) place[order[i] = order[i + 1]!] = i;
    place[order[to] = r] = to;
  }
  return order;
}

/** For each region those that have to come after it. */
function turned(before: readonly Set<number>[]): number[][] {
  const after: number[][] = before.map(() => []);
  before.forEach((set, i) => set.forEach((j) => after[j]!.push(i)));
  return after;
}
