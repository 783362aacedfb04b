/**
 * Regions of rows: reductions along rows of `cols` elements, in phases, with what feeds and follows
 * them. A phase runs over the row once for all reductions whose operands are known by then; a last
 * phase writes the outputs that have one value per element.
 *
 * The order of every sum is fixed: 32 interleaved partial sums, p[c mod 32], each taken in
 * ascending order, then p0 + p1 + … + p31 from left to right. All ways of working agree on it to
 * the bit:
 *
 * - *serial*, for software adapters: an invocation has a row to itself, or four neighbouring rows
 *   where rows are contiguous in memory (sums over the outer axes), and runs over the partial sums
 *   one after the other;
 * - in a *team*: 32 invocations share a row, one per partial sum (hardware), or 8 lanes of one
 *   subgroup, four partial sums each (software with subgroups).
 *
 * @module
 */
import { rowsAreInner } from "./region.ts";
import { interleave, rowsFrame } from "./rows/layout.ts";
import { writeSerial } from "./rows/serial.ts";
import { writeTeam } from "./rows/team.ts";
import { sizeOf } from "../graph/shape.ts";
import { type Body, type Job, operationsOf } from "./shader.ts";

/** Writes the body of a rows region. */
export function writeRows(job: Job): Body {
  const frame = rowsFrame(job);
  const { kind, shuffle } = job.adapter;
  if (kind !== "software") {
    return writeTeam(job, {
      lanes: 32,
      vector: false,
      shuffle: false,
      together: Math.min(8, frame.rows),
      abreast: 1,
    });
  }
  // Short rows are not worth sharing, nor are rows whose neighbours lie side by side in memory.
  if (!shuffle || frame.cols < 2 * interleave || rowsAreInner(frame)) return writeSerial(job);
  return writeTeam(job, {
    lanes: 8,
    vector: frame.cols % 4 === 0,
    shuffle: true,
    together: 1,
    abreast: rowsAbreast(job),
  });
}

/** Four rows at a time where they have a row of operands in common, as in scale and shift. */
function rowsAbreast({ region, frame }: Job): number {
  const { rows, cols } = rowsFrame({ frame });
  const shared = region.inputs.some(({ shape }) => sizeOf(shape) === cols && rows > 1);
  return shared && rows % 4 === 0 && rows >= 256 && operationsOf(region) <= 32 ? 4 : 1;
}
