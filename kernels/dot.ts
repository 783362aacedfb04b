/**
 * Batched products [b,m,k] × [b,k,n] with what follows them element by element. Every result is one
 * accumulator, started at 0 and fed `acc = fma(a, b, acc)` with k ascending; all variants keep to
 * that order and so agree to the bit. Operands are read in place, whatever their layout: in
 * vectors along the axis that is contiguous in memory, else one by one, a step of k at a time with
 * neighbouring columns in neighbouring lanes. Nothing guards the loads:
 * past the edge they feed only results that are not stored.
 *
 * Variants differ in who holds which part of a tile:
 *
 * - `shuffle`, for software adapters with subgroups of 8: 8 invocations side by side along n, each
 *   with `rows` × 4 results; a row of the left operand is loaded by one lane and broadcast to all.
 * - `registers`: the same tile, every invocation loads what it needs.
 * - `shared`, for hardware: 64 × 64 results by 256 invocations, 16 steps of k staged in workgroup
 *   memory at a time.
 *
 * @module
 */
import { contiguousAlong, type Product, productOf } from "./dot/product.ts";
import { writeShared } from "./dot/shared.ts";
import { writeTile } from "./dot/tile.ts";
import { type Body, elementFlops, type Job } from "./shader.ts";

/** A way of computing a product; all give the same bits. */
export interface Variant {
  readonly way: "shuffle" | "registers" | "shared";
  /** Rows and columns of results that one invocation holds; columns in fours. */
  readonly rows: number;
  readonly cols: number;
}

/** What to use where nothing has been measured. */
export function chooseVariant({ adapter }: Job, { m, n, k, right }: Product): Variant {
  if (adapter.kind !== "software") return { way: "shared", rows: 4, cols: 4 };
  // One row: wide strips, so that whole cache lines of every row of the right operand are read.
  if (m === 1) return { way: "registers", rows: 1, cols: contiguousAlong(right, 2) ? 64 : 4 };
  if (adapter.shuffle) {
    // A right operand beyond the caches is read once for every so many rows: then the more the
    // better, though the driver takes half as long again to compile it.
    const rows = m <= 8 ? 8 : m >= 256 && n * k >= 1 << 19 ? 32 : 16;
    return { way: "shuffle", rows, cols: 4 };
  }
  return { way: "registers", rows: Math.min(8, m), cols: 8 };
}

/** Writes the body of a dot region. */
export function writeDot(job: Job): Body {
  const product = productOf(job);
  const variant = chooseVariant(job, product);
  const body = variant.way === "shared"
    ? writeShared(job, product)
    : writeTile(job, product, { ...variant, shuffle: variant.way === "shuffle" });
  const { batch, m, n, k } = product;
  return { ...body, flops: 2 * batch * m * n * k + elementFlops(job.region) };
}
