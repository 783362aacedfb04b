/**
 * An executor without a device: reading a tensor evaluates its expression by the oracle. Tests of
 * tensors install it, and so go the way of a user without WebGPU.
 *
 * @module
 */
import { AssertionError } from "@std/assert";
import { dtypes, round } from "../../graph/dtype.ts";
import { installExecutor } from "../../graph/executor.ts";
import { sizeOf } from "../../graph/shape.ts";
import { Storage } from "../../graph/storage.ts";
import { tensor } from "../../graph/create.ts";
import type { NestedArray, Tensor } from "../../graph/tensor.ts";
import { evaluate } from "../oracle.ts";

/** Storages that the executor has made, for tests that count. */
export let realized = 0;

/** Values come from the oracle from now on. */
export function installHost(): void {
  installExecutor({
    realize: (nodes) => {
      const values = evaluate(nodes, undefined, { round: true });
      return nodes.map(({ shape, dtype }, i) => {
        realized++;
        const data = new dtypes[dtype].array(sizeOf(shape));
        for (let j = 0; j < data.length; j++) data[j] = round(dtype, values[i]!.data[j]!);
        return new Storage(dtype, data.length, { at: "host", data });
      });
    },
    upload: () => {},
    read: () => Promise.reject(new Error("Cannot read: there is no device here")),
    check: () => {},
    release: () => {},
  });
}

/** Small deterministic numbers for data: not random enough for statistics, enough against luck. */
export function sequence(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9 >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
}

/** Compares nested values to a relative and absolute tolerance; NaN and infinities by identity. */
export async function assertValues(
  actual: Tensor,
  expected: NestedArray,
  tolerance: number = 0,
  what: string = "",
): Promise<void> {
  const a = [...await actual.data()], e = flat(expected);
  const same = a.length === e.length && a.every((x, i) => close(x, e[i]!, tolerance));
  if (same) return;
  throw new AssertionError(`${what} ${actual}: values are ${list(a)}, expected ${list(e)}`);
}

function close(a: number, b: number, tolerance: number): boolean {
  if (Object.is(a, b) || a === b) return true;
  return Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b));
}

function flat(x: NestedArray): number[] {
  return Array.isArray(x) ? x.flatMap(flat) : [Number(x)];
}

function list(values: readonly number[]): string {
  return `[${values.slice(0, 40).join(", ")}${values.length > 40 ? ", …" : ""}]`;
}

/** Shapes that catch most mistakes: scalars, nothing, ones, primes. */
export const shapes: readonly (readonly number[])[] = [
  [],
  [0],
  [1],
  [7],
  [3, 5],
  [1, 5],
  [5, 1],
  [0, 3],
  [2, 3, 5],
  [2, 1, 3],
];

/** A tensor of the shape with its own positions as values. */
export function counted(shape: readonly number[]): Tensor {
  return tensor(Float32Array.from({ length: sizeOf(shape) }, (_, i) => i), { shape });
}
