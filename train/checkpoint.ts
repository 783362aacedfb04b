/**
 * Trees of tensors in files: every leaf under its path, `optimizer.params.0.weight`, in the
 * safetensors format, written durably. What is read must fit the tree that it is read for, leaf by
 * leaf; nothing is guessed, cast or left out.
 *
 * @module
 */
import { writeDurably } from "../data/durable.ts";
import { decodeSafetensors, encodeSafetensors, type HostTensor } from "../data/safetensors.ts";
import { tensor } from "../graph/create.ts";
import { sameShape } from "../graph/shape.ts";
import { readAll } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { flatten, leafPaths, unflatten } from "../graph/tree.ts";
import type { Tree } from "../optim/tree.ts";
import { elsewhere, encodePlace, placeKey } from "./place.ts";

/**
 * Writes the tensors of a tree to a file, all read from the device in one wait, with the adapter and
 * the ways of kernels that were tuned for it.
 *
 * @param path The file; what is there is replaced, at once and whole.
 * @param tree What to save. Numbers and other static values in it are not saved.
 * @param metadata Text to keep beside the tensors.
 *
 * @throws {TypeError} If two tensors have the same path, as in `{ "a.b": x, a: { b: y } }`, or the
 * metadata has `sha256` or `retrograd.place`, which every file has.
 * @throws {Deno.errors.NotCapable} If the permission to write is missing.
 *
 * @example Usage
 * ```ts ignore
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init();
 * const model = rg.nn.mlp([784, 512, 10]);
 * const params = model.init(rg.random.key(0));
 * await rg.train.saveTree("runs/model.safetensors", params);
 * const { tree } = await rg.train.loadTree("runs/model.safetensors", params);
 * ```
 */
export async function saveTree(
  path: string,
  tree: Tree,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const taken = [digestKey, placeKey].find((key) => Object.hasOwn(metadata, key));
  if (taken !== undefined) {
    throw new TypeError(
      `Cannot save a tree: its metadata has ${taken}, which the file keeps for itself, expected ` +
        "another key",
    );
  }
  const { leaves, structure } = flatten(tree, isTensor, "what is saved");
  const data = await readAll(leaves);
  const tensors = new Map<string, HostTensor>();
  leafPaths(structure).forEach((path, i) => {
    const { dtype, shape } = leaves[i]!;
    const name = path || "value"; // a tree that is one tensor has no path to it
    if (tensors.has(name)) {
      throw new TypeError(
        `Cannot save a tree: two of its tensors are at ${name}, expected another key for one`,
      );
    }
    tensors.set(name, { dtype, shape, data: data[i]! });
  });
  const file = encodeSafetensors(tensors, {
    ...metadata,
    ...encodePlace(),
    [digestKey]: noDigest,
  });
  placeDigest(file, noDigest, await digestOf(file));
  await writeDurably(path, file);
}

/** Where the metadata keeps the SHA-256 of the file. */
const digestKey = "sha256";
/** What stands there while the digest is taken. */
const noDigest = "0".repeat(64);

/** SHA-256 in hexadecimal. */
async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** Writes another digest over one that the header of a file holds; false if it is not there. */
function placeDigest(file: Uint8Array, before: string, after: string): boolean {
  const header = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const text = new TextDecoder("latin1").decode(file.subarray(8, 8 + header)); // a byte a letter
  const at = text.lastIndexOf(`"${digestKey}":"${before}"`);
  if (at < 0) return false;
  file.set(new TextEncoder().encode(after), 8 + at + digestKey.length + 4);
  return true;
}

/** Whether a file is to the byte what was saved with this digest. */
async function isWhole(file: Uint8Array<ArrayBuffer>, digest: string): Promise<boolean> {
  const blank = file.slice();
  return placeDigest(blank, digest, noDigest) && await digestOf(blank) === digest;
}

/** A tree read from a file. */
export interface LoadedTree<T extends Tree> {
  /** Of the structure, shapes and dtypes of the tree that was given. */
  readonly tree: T;
  /** The text beside the tensors. */
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * Says so where it was saved on another adapter, driver or Deno: whoever goes on from it may get
   * other bits than there.
   */
  readonly elsewhere: string | undefined;
}

/**
 * Reads a tree from a file that `saveTree` wrote.
 *
 * @param path The file.
 * @param like A tree of the structure, shapes and dtypes that are expected.
 * @param check Looks at the metadata before the tensors are compared, and may throw.
 *
 * @throws {Deno.errors.NotFound} If there is no such file.
 * @throws {RangeError} If the file is damaged or cut short.
 * @throws {TypeError} If it is a folder, or holds other tensors than expected; the message names
 * one.
 */
export async function loadTree<T extends Tree>(
  path: string,
  like: T,
  check: (metadata: Readonly<Record<string, string>>) => void = () => {},
): Promise<LoadedTree<T>> {
  const file = await Deno.readFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) {
      throw new Deno.errors.NotFound(
        `Cannot load ${path}: there is no such file, expected one that saveTree wrote`,
        { cause: error },
      );
    }
    if (!(error instanceof Deno.errors.IsADirectory)) throw error;
    throw new TypeError(`Cannot load ${path}: it is a folder, expected a file`, { cause: error });
  });
  const { tensors, metadata: found } = decodeSafetensors(file, path);
  const { [digestKey]: digest, [placeKey]: place, ...metadata } = found;
  if (digest !== undefined && !await isWhole(file, digest)) {
    throw new RangeError(
      `Cannot load ${path}: it is not what was saved, expected an undamaged file`,
    );
  }
  check(metadata);
  const { leaves, structure } = flatten(like, isTensor, "what is loaded");
  const paths = leafPaths(structure).map((name) => name || "value");
  const loaded = leaves.map(({ dtype, shape }, i) => {
    const found = tensors.get(paths[i]!);
    const expected = `${dtype}[${shape.join(",")}]`;
    if (found === undefined) {
      throw new TypeError(`Cannot load ${path}: it has no ${paths[i]}, expected ${expected}`);
    }
    if (found.dtype !== dtype || !sameShape(found.shape, shape)) {
      throw new TypeError(
        `Cannot load ${path}: its ${paths[i]} is ${found.dtype}[${
          found.shape.join(",")
        }], expected ${expected}`,
      );
    }
    return tensor(found.data, { shape, dtype });
  });
  const surplus = [...tensors.keys()].find((name) => !paths.includes(name));
  if (surplus !== undefined) {
    throw new TypeError(`Cannot load ${path}: it has a tensor ${surplus}, expected none`);
  }
  return { tree: unflatten(structure, loaded) as T, metadata, elsewhere: elsewhere(place) };
}
