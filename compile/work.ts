/**
 * What a region does, in bytes and operations, for the model of costs. Loops count every step.
 *
 * @module
 */
import type { Work } from "../checkpoint/cost.ts";
import { is, type Node } from "../graph/node.ts";
import { kinds } from "../graph/primitive.ts";
import { showShape, sizeOf } from "../graph/shape.ts";
import { footprint, type Region } from "../kernels/region.ts";
import { bytesMoved, isMove } from "./moves.ts";
import { bytesOf } from "./order.ts";
import type { Program } from "./program.ts";
import { isSteered, played, type Script } from "./script.ts";
import { costOf } from "./store.ts";

/** Work without a name. */
export type Effort = Required<Omit<Work, "key" | "like">>;

/** Work of what runs that often: a compiled body, as far as its script says. */
export function effortOf(
  { dispatches: all }: Program,
  script: Script,
  times: number,
): Effort {
  let [bytes, flops, dispatches] = [0, 0, 0];
  // What is decided while it runs is taken to run once.
  for (const i of isSteered(script) ? all.keys() : played(script)) {
    const { kernel } = all[i]!;
    bytes += times * kernel.bytes;
    flops += times * kernel.flops;
    dispatches += times;
  }
  return { bytes, flops, dispatches };
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
  const sum = (part: keyof Effort): number => efforts.reduce((n, effort) => n + effort[part], 0);
  return { bytes: sum("bytes"), flops: sum("flops"), dispatches: sum("dispatches") };
}

/** Work of the dispatches of one region; that of a loop is known to whoever has compiled it. */
export function workOf(region: Region, ofLoop?: Effort): Work {
  const key = keyOf(region);
  const { frame, inputs, outputs } = region;
  if (isMove(region)) return { key, ...sumOf([]) };
  if (frame.is === "loop") {
    // The same loop may run in more memory or in less, which is other work.
    const effort = ofLoop ?? sumOf([]);
    const how = `${effort.dispatches} kernels, ${effort.bytes} bytes, ${effort.flops} operations`;
    return { key: `${key} in ${how}`, like: key, ...effort };
  }
  const isInput = new Set(inputs);
  const found = footprint(frame, outputs, (x) => isInput.has(x), 1 << 20);
  let bytes = outputs.reduce((sum, x) => sum + bytesOf(x), 0), flops = 0;
  for (const x of inputs) bytes += bytesOf(x);
  for (const node of found?.body.keys() ?? []) {
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
export function keyOf(region: Region): string {
  const { frame, inputs, outputs } = region;
  const show = (x: Node): string => `${x.op} ${x.dtype}${showShape(x.shape)}`;
  if (isMove(region)) return `${frame.is} ${region.frame.store} ${bytesMoved(region)}`;
  const layout = frame.is === "loop"
    ? `loop ${frame.loop.attributes.length} ${frame.loop.attributes.body.name}`
    : frame.is;
  return `${layout}: ${outputs.map(show)} of ${inputs.map((x) => x.dtype + showShape(x.shape))}`;
}
