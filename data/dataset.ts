/**
 * Data sets: two columns, inputs and targets, and the rows of them that belong to the set. Splits
 * share the columns, so they cost nothing. The order of an epoch is a permutation made on the host
 * from seed and epoch; the samples themselves never leave the device.
 *
 * @module
 */
import { tensor } from "../graph/create.ts";
import { checkNames, describe } from "../graph/describe.ts";
import type { Shape } from "../graph/shape.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Column } from "./column.ts";
import { shuffled } from "./shuffle.ts";

/** Inputs and targets of some samples. */
export type Batch = {
  /** Inputs, [n, ...]. */
  readonly x: Tensor;
  /** Targets, [n, ...]. */
  readonly y: Tensor;
};

/** Options for {@linkcode Dataset.batches}. */
export interface BatchesOptions {
  /** Samples in a batch. */
  size: number;
  /** Seed of the order; without one the samples come as they lie. */
  seed?: number;
  /** Which of the seed's orders. @default {0} */
  epoch?: number;
  /** Also yield the smaller batch at the end, if there is one. @default {false} */
  rest?: boolean;
}

/**
 * Samples on the device.
 *
 * @example Usage
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const x = rg.data.byteColumn(Uint8Array.of(0, 51, 102, 153, 204, 255), [2]);
 * const y = rg.data.tensorColumn(rg.tensor([0, 1, 0], { dtype: "i32" }));
 * const samples = new rg.data.Dataset(x, y);
 * for (const batch of samples.batches({ size: 2, seed: 1 })) {
 *   assertEquals(batch.x.shape, [2, 2]);
 *   assertEquals(batch.y.shape, [2]);
 * }
 * ```
 */
export class Dataset {
  /** Rows of the columns that belong to this set, in the order of unshuffled batches. */
  readonly rows: Uint32Array;

  /**
   * A data set of two columns.
   *
   * @throws {TypeError} If the columns are not equally long.
   * @throws {RangeError} If a row lies outside.
   */
  constructor(readonly x: Column, readonly y: Column, rows?: Uint32Array) {
    for (const [name, column] of Object.entries({ x, y })) {
      if (typeof column?.take === "function") continue;
      throw new TypeError(
        `Cannot make a data set: ${name} is ${describe(column)}, expected a column`,
      );
    }
    if (x.size !== y.size) {
      throw new TypeError(
        `Cannot make a data set: ${x.size} inputs and ${y.size} targets, expected as many`,
      );
    }
    const outside = rows?.find((row) => row >= x.size);
    if (outside !== undefined) {
      throw new RangeError(
        `Cannot make a data set: row ${outside} of ${x.size}, expected one inside`,
      );
    }
    this.rows = rows ?? Uint32Array.from({ length: x.size }, (_, i) => i);
  }

  /** Number of samples. */
  get size(): number {
    return this.rows.length;
  }

  /** Shape of one input. */
  get shape(): Shape {
    return this.x.shape;
  }

  /**
   * The samples in rows of the columns (values of {@linkcode Dataset.rows}, not positions in it).
   * Works on rows that are traced: this is how a compiled step gets its own batch.
   */
  at(rows: Tensor): Batch {
    return { x: this.x.take(rows), y: this.y.take(rows) };
  }

  /** The rows in the order of an epoch; each once. */
  order(seed: number, epoch: number): Uint32Array<ArrayBuffer> {
    return shuffled(this.rows, seed, epoch);
  }

  /**
   * Batches of one epoch, each sample at most once.
   *
   * @throws {RangeError} If `size` is not a positive integer, or larger than the set.
   */
  *batches(options: BatchesOptions): Generator<Batch, void, undefined> {
    checkNames(
      options,
      { size: true, seed: true, epoch: true, rest: "flag" },
      `make batches of ${this.size} samples`,
    );
    const { size, seed, epoch = 0, rest = false } = options;
    if (!Number.isSafeInteger(size) || size < 1 || (size > this.size && !rest)) {
      throw new RangeError(
        `Cannot make batches of ${this.size} samples: size is ${size}, expected an integer in [1, ${this.size}]`,
      );
    }
    const rows = seed === undefined ? this.rows : this.order(seed, epoch);
    for (let at = 0; at + (rest ? 1 : size) <= rows.length; at += size) {
      yield this.at(tensor(rows.slice(at, at + size), { dtype: "u32" }));
    }
  }

  /**
   * Disjoint parts of the samples, chosen at random.
   *
   * @param parts Names and sizes: either all fractions below 1, or all numbers of samples. They
   * need not use up the set.
   * @param seed Seed of the choice.
   *
   * @throws {RangeError} If the parts are neither, or more than there is.
   *
   * @example Usage
   * ```ts ignore
   * import * as rg from "@retrograd/retrograd";
   *
   * const { train } = await rg.data.mnist();
   * const { fit, validation } = train.split({ fit: 50_000, validation: 10_000 });
   * ```
   */
  split<K extends string>(
    parts: { readonly [N in K]: number },
    options: { seed?: number } = {},
  ): { [N in K]: Dataset } {
    checkNames(options, { seed: true }, `split ${this.size} samples`);
    const { seed = 0 } = options;
    const names = Object.keys(parts) as K[], sizes = names.map((name) => parts[name]);
    const total = sizes.reduce((a, b) => a + b, 0);
    const fractions = sizes.every((n) => n > 0 && n < 1) && total <= 1 + 1e-9;
    const counts = sizes.every((n) => Number.isSafeInteger(n) && n >= 0) && total <= this.size;
    if (!fractions && !counts) {
      throw new RangeError(
        `Cannot split ${this.size} samples: the parts are ${
          sizes.join(", ")
        }, expected fractions ` +
          "adding up to at most 1, or numbers of samples adding up to at most all",
      );
    }
    // A stream of its own: the split has nothing to do with any epoch's order.
    const rows = shuffled(this.rows, seed, SPLIT_STREAM);
    const result = {} as { [N in K]: Dataset };
    let sum = 0;
    names.forEach((name, i) => {
      const scale = fractions ? this.size : 1;
      const begin = Math.round(sum * scale);
      sum += sizes[i]!;
      const own = rows.slice(begin, Math.round(sum * scale)).sort();
      result[name] = new Dataset(this.x, this.y, own);
    });
    return result;
  }
}

const SPLIT_STREAM = Number.MAX_SAFE_INTEGER;
