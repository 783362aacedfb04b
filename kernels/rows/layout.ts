/**
 * What the ways of working through rows share: the frame, the order of phases, and the outputs,
 * which have one value per element or one per row.
 *
 * @module
 */
import type { Node } from "../../graph/node.ts";
import { kinds } from "../../graph/primitive.ts";
import { sizeOf } from "../../graph/shape.ts";
import { flatten, type Index } from "../index.ts";
import { footprintOf, frameSize, phasesAmong, placeIn, type Places } from "../region.ts";
import type { Job } from "../shader.ts";

/** Partial sums of a row. */
export const interleave = 32;

/** The frame of a region of rows. */
export type RowsFrame = Extract<Job["frame"], { is: "rows" }>;

/** Reductions of a region by phase: a reduction comes after those that its operand rests on. */
export function phasesOf(job: Job): Node[][] {
  return phasesAmong(footprintOf(job.region).body.keys());
}

/** The frame, which must be one of rows. */
export function rowsFrame({ frame }: Pick<Job, "frame">): RowsFrame {
  if (frame.is !== "rows") throw new Error(`Cannot write rows: the frame is ${frame.is}`);
  return frame;
}

/** True if the node has one value per element. */
function isFull(job: Job, node: Node): boolean {
  return sizeOf(node.shape) === frameSize(job.frame) && kinds[node.op] !== "reduce";
}

/** Outputs with one value per element. */
export function hasFullOutputs(job: Job): boolean {
  return job.region.outputs.some((node) => isFull(job, node));
}

/** Writes the outputs that have one value per element, at the places given. */
export function writeFullOutputs(job: Job, places: Places): void {
  const { emitter } = job;
  const full = job.region.outputs.map((node, i) => ({ node, buffer: job.outputs[i]! }))
    .filter(({ node }) => isFull(job, node));
  const { shape } = rowsFrame(job);
  emitter.storeAll(
    full.map(({ node, buffer }) => ({
      buffer,
      value: () => emitter.value(node, places.full(node.shape)),
    })),
    flatten(places.full(shape), shape),
  );
}

/** Writes the outputs that have one value per row. */
export function writeRowOutputs(job: Job, row: Index, places: Places): void {
  const { emitter } = job;
  const rows = job.region.outputs.map((node, i) => ({ node, buffer: job.outputs[i]! }))
    .filter(({ node }) => !isFull(job, node));
  emitter.storeAll(
    rows.map(({ node, buffer }) => ({
      buffer,
      value: () => emitter.value(node, placeIn(job.frame, places, node)!),
    })),
    row,
  );
}
