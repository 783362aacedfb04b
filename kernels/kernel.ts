/**
 * A kernel is the text of one dispatch: WGSL, how its buffers are bound, how many workgroups, and
 * what it is expected to cost. It knows no device; equal text is compiled once.
 *
 * @module
 */

/** How a kernel uses one of its buffers. */
export type Access = "read" | "write" | "update";

/** One dispatch as text. Bindings: group 0; buffer i is binding i; the uniforms, if any, come last. */
export interface Kernel {
  /** What it does in a few words, for errors and profiles: `dot+add+max 128×512×784`. */
  readonly label: string;
  /** The shader; its entry point is `main`. Equal text is one pipeline. */
  readonly wgsl: string;
  /** Of each storage buffer, in the order of the bindings. */
  readonly access: readonly Access[];
  /** Contents of the uniform buffer (whole vec4s), bound after the storage buffers. */
  readonly uniforms?: Uint32Array;
  /** Workgroups in x, y, z; each at most 65 535. */
  readonly workgroups: readonly [number, number, number];
  /** Floating-point operations. */
  readonly flops: number;
  /** Bytes of device memory, if everything is read and written once. */
  readonly bytes: number;
  /** The text is a user's: nothing in it may be rewritten. */
  readonly fixed?: boolean;
  /** The shader uses f16. */
  readonly f16: boolean;
}
