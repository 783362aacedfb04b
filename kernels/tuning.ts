/**
 * The ways of every frame in one table, and the choice among them. Without anything measured the
 * rule of thumb decides: the plain kernel. A {@linkcode Tuning} may know a faster way for just this
 * kernel; what it remembers of it is the text that was compared with the plain one to the bit, so a
 * way that has come to be written otherwise is not used.
 *
 * @module
 */
import type { Node } from "../graph/node.ts";
import { waysOfDot } from "./dot.ts";
import type { Kernel } from "./kernel.ts";
import { waysOfMap } from "./map.ts";
import type { Frame, Region } from "./region.ts";
import { waysOfRows } from "./rows.ts";
import { waysOfScatter } from "./scatter.ts";
import { type Adapter, type Ways, writeKernel, type Written } from "./shader.ts";

/** Frames whose kernels are written here. */
type Own = Exclude<Frame["is"], "loop" | "kernel" | "save" | "load">;

const waysOf: { readonly [F in Own]: Ways } = {
  map: waysOfMap,
  rows: waysOfRows,
  dot: waysOfDot,
  scatter: waysOfScatter,
};

/** What was found to be faster than the plain kernel. */
export interface Choice {
  /** The name of the way. */
  readonly way: string;
  /** {@linkcode fingerprint} of the kernel that was measured and compared. */
  readonly text: string;
}

/** A kernel that could be written in another way. */
export interface Tunable {
  readonly plain: Written;
  /** The kernel in one of the ways that it has. */
  write(way: string): Kernel;
}

/** Knows what was measured. */
export interface Tuning {
  /** False while it knows nothing and nobody listens: kernels need no keys. */
  readonly active: boolean;
  /** The faster way for the kernel with this key, if one is known. */
  choice(key: string, tunable: Tunable): Choice | undefined;
}

/** Writes a region in the way that was measured to be fastest, else in the plain way. */
export function writeTuned(
  region: Region,
  adapter: Adapter,
  aliases: ReadonlyMap<Node, Node>,
): Written {
  const plain = writeWay(region, adapter, aliases);
  if (!adapter.tuning?.active || plain.ways.length === 1) return plain;
  const write = (way: string): Kernel => writeWay(region, adapter, aliases, way).kernel;
  const choice = adapter.tuning.choice(tuningKey(plain), { plain, write });
  if (choice === undefined) return plain;
  const chosen = writeWay(region, adapter, aliases, choice.way);
  return fingerprint(chosen.kernel) === choice.text ? chosen : plain;
}

/** Writes a region in a way of its frame. */
export function writeWay(
  region: Region,
  adapter: Adapter,
  aliases: ReadonlyMap<Node, Node>,
  name?: string,
): Written {
  return writeKernel(region, waysOf[region.frame.is as Own], adapter, aliases, name);
}

/** Names what a kernel computes: its plain text, and the sizes of its buffers. */
function tuningKey({ kernel, buffers }: Written): string {
  return hash(`${fingerprint(kernel)} ${buffers.map(({ shape, dtype }) => dtype + shape.join())}`);
}

/** Names a kernel by its text and how many workgroups run it. */
export function fingerprint({ wgsl, workgroups }: Kernel): string {
  return hash(`${workgroups} ${wgsl}`);
}

/** 64 bits of a text: two FNV-1a hashes with unlike primes. */
function hash(text: string): string {
  let a = 0x811c9dc5, b = 0xcbf29ce4;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x5bd1e995) ^ (b >>> 15);
  }
  return [a, b].map((x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
}
