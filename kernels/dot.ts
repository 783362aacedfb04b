/**
 * Batched products [b,m,k] × [b,k,n] with what follows them element by element. Every result is one
 * accumulator, started at 0 and fed `acc = fma(a, b, acc)` with k ascending; all ways keep to that
 * order and so agree to the bit. Operands are read in place, whatever their layout: in vectors along
 * the axis that is contiguous in memory, else one by one, a step of k at a time with neighbouring
 * columns in neighbouring lanes. Nothing guards the loads: past the edge they feed only results that
 * are not stored. Several products of one shape are computed side by side, by workgroups of their
 * own.
 *
 * Ways differ in who holds which part of the results:
 *
 * - `registers`: a few invocations side by side along n, each with `rows` × `cols` results, without
 *   workgroup memory. One row of results (vector × matrix) is computed so everywhere.
 * - `shuffle`, for software adapters with subgroups of 8: the same, but a row of the left operand is
 *   loaded by one lane and broadcast to all.
 * - `blocks`, for hardware: operands staged in workgroup memory.
 *
 * @module
 */
import { type BlockShape, bytesOfBlock, invocationsOf, writeBlocks } from "./dot/blocks.ts";
import {
  contiguousAlong,
  neighboursAlong,
  type Part,
  partsOf,
  type Product,
  sideBySide,
} from "./dot/product.ts";
import { type TileShape, writeTile } from "./dot/tile.ts";
import { elementFlops, type Job, type Way } from "./shader.ts";

/** The ways of a product, first that by rule of thumb. */
export function waysOfDot(job: Job): readonly Way[] {
  const parts = partsOf(job), [{ product }] = parts as [Part];
  const { batch, m, n, k } = product;
  const flops = parts.length * 2 * batch * m * n * k + elementFlops(job.region);
  const tile = (shape: TileShape): Way => ({
    name: `${
      shape.shuffle ? "shuffle" : "registers"
    } ${shape.rows}×${shape.cols} by ${shape.lanes}`,
    write: () => ({
      ...sideBySide(parts, ({ job, product }) => writeTile(job, product, shape)),
      flops,
    }),
  });
  const blocks = (shape: BlockShape): Way => ({
    name: `blocks ${shape.down}×${shape.across}×${shape.deep} of ${shape.rows}×${shape.cols}` +
      (shape.stages === 2 ? ", twice" : ""),
    write: () => ({
      ...sideBySide(parts, ({ job, product }) => writeBlocks(job, product, shape)),
      flops,
    }),
  });
  const shape = usualShape(job, product);
  const ways: Way[] = ["down" in shape ? blocks(shape) : tile(shape)];
  // What is over before it has begun needs no other way.
  if (batch * m * n * k >= 1 << 16) {
    ways.push(...tilesFor(job, product).map(tile), ...blocksFor(job, product).map(blocks));
  }
  return ways.filter(({ name }, i) => ways.findIndex((way) => way.name === name) === i);
}

/** What to use where nothing has been measured. */
function usualShape(job: Job, product: Product): TileShape | BlockShape {
  const { batch, m, n, k, left, right, isInput } = product, { adapter } = job;
  if (adapter.kind !== "software") {
    if (m <= 8) return { shuffle: false, rows: m, cols: 4, lanes: 64 };
    const blocks = blocksFor(job, product);
    // The largest blocks that still give every core something to do.
    const busy = blocks.find(({ down, across }) =>
      batch * Math.ceil(m / down) * Math.ceil(n / across) >= 256
    );
    return busy ?? blocks.at(-1)!;
  }
  if (m <= 8 && contiguousAlong(right, 2, isInput)) return wideTile(job, product);
  if (m === 1) {
    // Rows of odd lengths are read one by one, but in stretches all the same.
    const cols = n >= 512 && neighboursAlong(right, 2, isInput) ? 16 : 4;
    return { shuffle: false, rows: 1, cols, lanes: 8 };
  }
  if (adapter.shuffle) {
    // Of a transposed left operand every step of k is in another cache line, so the more of a line
    // is used the better. Else large products gain a fifth from more rows, which take the driver
    // half as long again to compile.
    const many = contiguousAlong(left, 1, isInput) && n % 4 === 0
      ? m > 16
      : m >= 256 && n * k >= 1 << 18;
    const rows = m <= 8 ? 8 : many ? 32 : 16;
    return { shuffle: true, rows, cols: 4, lanes: 8 };
  }
  return { shuffle: false, rows: Math.min(8, m), cols: 8, lanes: 8 };
}

/**
 * All rows of a few, over wide strips, so that the right operand is read once and in whole
 * stretches: from memory that is what counts. As many columns as there are registers for results, or
 * as there is work for eight lanes.
 */
function wideTile({ adapter }: Job, { m, n }: Product): TileShape {
  const shuffle = adapter.shuffle && m > 4, rows = shuffle ? 8 : m;
  const cols = [64, 32, 16, 8].find((cols) => rows * cols <= 128 && 8 * cols <= n) ?? 4;
  return { shuffle, rows, cols, lanes: 8 };
}

/** Tiles in registers that are worth a try. */
function tilesFor({ adapter }: Job, { m, n, right, isInput }: Product): TileShape[] {
  const software = adapter.kind === "software";
  const tile = (rows: number, cols: number, lanes: number, shuffle = false): TileShape => ({
    rows,
    cols,
    lanes,
    shuffle,
  });
  if (m === 1 && contiguousAlong(right, 2, isInput)) {
    const wide = [4, 8, 16, 32, 64, 128, 256].filter((cols) => cols <= Math.max(4, n / 8));
    return software
      ? wide.map((cols) => tile(1, cols, 8))
      : wide.slice(0, 3).flatMap((cols) => [32, 64, 128].map((lanes) => tile(1, cols, lanes)));
  }
  if (!software) {
    const few = m > 16 ? [] : [2, 4, 8].filter((rows) => rows <= m);
    return few.flatMap((rows) => [64, 128].map((lanes) => tile(rows, 4, lanes)));
  }
  return [
    ...(adapter.shuffle ? [tile(8, 4, 8, true), tile(16, 4, 8, true), tile(32, 4, 8, true)] : []),
    ...(adapter.shuffle ? [tile(8, 8, 8, true), tile(16, 8, 8, true)] : []),
    ...[tile(4, 16, 8), tile(8, 8, 8), tile(8, 16, 8)].filter(({ rows }) => rows <= m),
  ];
}

/** Blocks: down, across, deep, rows, cols; from the largest to the smallest. */
const blockSizes: readonly (readonly [number, number, number, number, number])[] = [
  [128, 128, 16, 8, 8],
  [128, 128, 8, 8, 8],
  [128, 64, 16, 8, 8],
  [128, 64, 16, 8, 4],
  [64, 64, 16, 8, 8],
  [64, 64, 16, 4, 4],
  [64, 64, 8, 8, 4],
  [64, 32, 16, 4, 4],
  [32, 32, 16, 4, 4],
];

/** Blocks for which the adapter has room, with two stages if it can be; on software they crawl. */
function blocksFor({ adapter }: Job, { m, n }: Product): BlockShape[] {
  if (adapter.kind === "software") return [];
  const room = adapter.maxWorkgroupBytes ?? 16384;
  return blockSizes.flatMap(([down, across, deep, rows, cols]): BlockShape[] => {
    const fits = [2, 1].map((stages) => ({ down, across, deep, rows, cols, stages } as BlockShape))
      .find((shape) => bytesOfBlock(shape) <= room && invocationsOf(shape) <= 256);
    const useful = (down < 2 * m || down === 32) && (across < 2 * n || across === 32);
    return fits !== undefined && useful ? [fits] : [];
  });
}
