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
import { sizeOf } from "../graph/shape.ts";
import { rowsAreInner } from "./region.ts";
import { interleave, rowsFrame } from "./rows/layout.ts";
import { inFours, partialsOf, type Serial, writeSerial } from "./rows/serial.ts";
import { canStagger, type Team, writeTeam } from "./rows/team.ts";
import { type Job, operationsOf, type Way } from "./shader.ts";

/** The ways of a rows region, first that by rule of thumb. */
export function waysOfRows(job: Job): readonly Way[] {
  const frame = rowsFrame(job), { rows, cols } = frame;
  const software = job.adapter.kind === "software", { shuffle } = job.adapter;
  const serial = (serial: Serial): Way => ({
    name: `alone, ${serial.turns} by ${serial.abreast}`,
    write: () => writeSerial(job, serial),
  });
  const team = (team: Team): Way => ({
    name: `team of ${team.lanes}${team.vector ? " in vectors" : ""}, ${team.together} together, ` +
      `${team.abreast} abreast`,
    write: () => writeTeam(job, team),
  });
  const inMemory = (together: number): Way =>
    team({ lanes: 32, vector: false, shuffle: false, together, abreast: 1 });
  const inSubgroup = (abreast: number): Way =>
    team({ lanes: 8, vector: cols % 4 === 0, shuffle: true, together: 1, abreast });
  const staggered = team({ lanes: 8, vector: true, shuffle: true, together: 1, abreast: 4 });
  const stagger = cols % 4 !== 0 && canStagger(cols) && rows >= 4 && !rowsAreInner(frame) &&
    operationsOf(job.region) <= 32;

  const abreast = rowsAbreast(job);
  const ways: Way[] = [];
  if (!software) ways.push(inMemory(Math.min(8, rows)));
  else if (shuffle && stagger) ways.push(staggered);
  // Short rows are not worth sharing, nor are rows whose neighbours lie side by side in memory.
  else if (!shuffle || cols < 2 * interleave || rowsAreInner(frame)) {
    ways.push(serial(usualSerial(job)));
  } else ways.push(inSubgroup(abreast));

  // What is over before it has begun needs no other way.
  if (rows * cols < 4096) return ways;
  ways.push(...serialsOf(job).map(serial));
  for (const together of [1, 2, 4, 8, 16]) if (together <= rows) ways.push(inMemory(together));
  if (software && shuffle && !rowsAreInner(frame)) {
    ways.push(inSubgroup(1));
    if (stagger) ways.push(staggered);
    if (rows % 4 === 0 && operationsOf(job.region) <= 32) ways.push(inSubgroup(4));
  }
  return ways.filter(({ name }, i) => ways.findIndex((way) => way.name === name) === i);
}

/** Ways for one invocation, of few enough statements to be compiled in no time. */
function serialsOf(job: Job): Serial[] {
  const frame = rowsFrame(job), partials = partialsOf(frame), operations = operationsOf(job.region);
  const inFoursAbreast = [1, 2, 4, 8].filter((n) =>
    n === 1 || inFours(frame) && frame.rows % (4 * n) === 0
  );
  return [1, 4, 8, 32].filter((turns) => partials % turns === 0).flatMap((turns) =>
    inFoursAbreast.map((abreast) => ({ turns, abreast }))
  ).filter(({ turns, abreast }) => turns * abreast * (operations + 1) <= mostStatements);
}

const mostStatements = 64;

/** Many rows next to each other in memory are read in long stretches. */
function usualSerial(job: Job): Serial {
  const frame = rowsFrame(job);
  const plain: Serial = { turns: 1, abreast: 1 };
  // What is over in a moment is compiled for much longer than it runs.
  if (!inFours(frame) || frame.rows * frame.cols <= 1 << 17) return plain;
  const all = serialsOf(job).filter(({ turns, abreast }) =>
    turns <= 8 && abreast <= 4 && (abreast === 1 || frame.rows >= 512 * abreast)
  );
  const size = ({ turns, abreast }: Serial): number => turns * abreast;
  return all.reduce((a, b) => size(b) > size(a) ? b : a, plain);
}

/**
 * Four rows at a time where they have a row of operands in common, as in scale and shift. Not where
 * totals are written, too: every site of a store takes a driver its time.
 */
function rowsAbreast({ region, frame }: Job): number {
  const { rows, cols } = rowsFrame({ frame });
  const shared = region.inputs.some(({ shape }) => sizeOf(shape) === cols && rows > 1);
  const alone = region.outputs.length === 1;
  return shared && alone && rows % 4 === 0 && rows >= 256 && operationsOf(region) <= 12 ? 4 : 1;
}
