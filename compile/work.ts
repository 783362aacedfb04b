/**
 * What a region does, in bytes and operations, for the model of costs. Loops count every step.
 *
 * @module
 */
import type { CostModel, Work } from "../checkpoint/cost.ts";
import type { Outside } from "../graph/loops/replay.ts";
import { is, type Node, showAval } from "../graph/node.ts";
import { kinds } from "../graph/primitive.ts";
import { sizeOf } from "../graph/shape.ts";
import { footprintOf, type Region } from "../kernels/region.ts";
import { bytesMoved, isMove } from "./moves.ts";
import { bytesOf } from "./order.ts";
import type { Program } from "./program.ts";
import type { Script } from "./script.ts";
import { costOf } from "./store.ts";

/** Values that go to a store outside of the device or come from it, one by one. */
export interface Transfers {
  /** Where they go, or come from. */
  readonly store: Outside;
  /** Of one of them. */
  readonly bytes: number;
  /** How many there are. */
  readonly times: number;
}

/** Work without a name. */
export interface Effort extends Required<Omit<Work, "key" | "like">> {
  /** What is waited for besides. @default nothing */
  readonly transfers?: readonly Transfers[];
}

/** No work at all. */
export const idle: Effort = { bytes: 0, flops: 0, dispatches: 0 };

/** Work of what runs that often: a compiled body, as far as its script says. */
export function effortOf({ dispatches }: Program, script: Script, times: number): Effort {
  const once = (script: Script): Effort =>
    sumOf(script.map((entry): Effort => {
      if (typeof entry === "number") {
        const { kernel: { bytes, flops } } = dispatches[entry]!;
        return { bytes, flops, dispatches: 1 };
      }
      if ("steer" in entry) return entry.effort;
      const parts = "rounds" in entry ? entry.rounds : entry.parts;
      const counts = parts.map(() => 0);
      if ("rounds" in entry) {
        const { length } = parts;
        counts.forEach((_, i) => counts[i] = Math.ceil(Math.max(0, entry.length - i) / length));
      } else for (const part of entry.order()) counts[part]!++;
      return sumOf(parts.map((part, i) => repeated(once(part), counts[i]!)));
    }));
  return repeated(once(script), times);
}

/** The same work so many times. */
export function repeated({ bytes, flops, dispatches, transfers }: Effort, times: number): Effort {
  return {
    bytes: times * bytes,
    flops: times * flops,
    dispatches: times * dispatches,
    ...transfers !== undefined && {
      transfers: transfers.map((one) => ({ ...one, times: times * one.times })),
    },
  };
}

/** Microseconds of some work that has a name, what it waits for among them. */
export function timeOfWork(
  work: Work,
  { transfers = [] }: Partial<Effort>,
  costs: CostModel,
): number {
  return transfers.reduce(
    (sum, { store, bytes, times }) => sum + times * costs.transfer(store, bytes),
    costs.time(work),
  );
}

/**
 * Steps that a loop is expected to take; where only its data know, a number of the order at which
 * it matters how many snapshots there are.
 */
export function expectedSteps(length: number, open: boolean): number {
  return open ? Math.min(length, 1024) : length;
}

/** Everything together. */
export function sumOf(efforts: readonly Effort[]): Effort {
  const sum = (part: "bytes" | "flops" | "dispatches"): number =>
    efforts.reduce((n, effort) => n + effort[part], 0);
  const transfers = efforts.flatMap(({ transfers = [] }) => transfers);
  return {
    bytes: sum("bytes"),
    flops: sum("flops"),
    dispatches: sum("dispatches"),
    ...transfers.length > 0 && { transfers },
  };
}

/** Work of the dispatches of one region; that of a loop is known to whoever has compiled it. */
export function workOf(region: Region, ofLoop?: Effort): Work {
  const key = keyOf(region);
  const { frame, inputs, outputs } = region;
  if (isMove(region)) return { key, ...idle };
  if (frame.is === "loop") {
    // The same loop may run in more memory or in less, which is other work.
    const { bytes, flops, dispatches } = ofLoop ?? idle;
    const how = `${dispatches} kernels, ${bytes} bytes, ${flops} operations`;
    return { key: `${key} in ${how}`, like: key, bytes, flops, dispatches };
  }
  const isInput = new Set(inputs);
  const { body } = footprintOf(region);
  let bytes = outputs.reduce((sum, x) => sum + bytesOf(x), 0), flops = 0;
  for (const x of inputs) bytes += bytesOf(x);
  for (const node of body.keys()) {
    if (is(node, "dot")) flops += 2 * sizeOf(node.shape) * node.inputs[0]!.shape[2]!;
    else if (is(node, "scatterAdd")) {
      const { sorted } = node.attributes, [updates, index] = node.inputs;
      flops += sorted ? sizeOf(updates!.shape) : sizeOf(node.shape) * sizeOf(index!.shape);
    } else if (kinds[node.op] === "reduce") flops += sizeOf(node.inputs[0]!.shape);
    else flops += costOf(node) * sizeOf(node.shape);
    // Of what is gathered, only the rows that are found.
    if (is(node, "gather") && isInput.has(node.inputs[0]!)) {
      bytes -= Math.max(0, bytesOf(node.inputs[0]!) - bytesOf(node));
    }
  }
  return { key, bytes: Math.max(0, bytes), flops };
}

/** Regions with equal keys take equal times: frame, operations and shapes. */
function keyOf(region: Region): string {
  const { frame, inputs, outputs } = region;
  const show = (x: Node): string => `${x.op} ${showAval(x)}`;
  if (isMove(region)) return `${frame.is} ${region.frame.store} ${bytesMoved(region)}`;
  const layout = frame.is === "loop"
    ? `loop ${frame.loop.attributes.length} ${frame.loop.attributes.body.name}`
    : frame.is;
  return `${layout}: ${outputs.map(show)} of ${inputs.map(showAval)}`;
}
