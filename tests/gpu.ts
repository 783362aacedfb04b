/**
 * What tests need of a device: one that is opened once, and three ways to values. `run` goes the way
 * of every user, through the executor; `runWith` compiles for a target and with options of the
 * test's choosing; `runUnfused` gives every operation a kernel of its own.
 *
 * @module
 */
import { closedLeaves, compileGraph, type CompileOptions } from "../compile/compile.ts";
import type { Program, Target } from "../compile/program.ts";
import { leaf } from "../graph/build.ts";
import { type DType, dtypes, type TypedArray } from "../graph/dtype.ts";
import { executor } from "../graph/executor.ts";
import type { Graph, Node } from "../graph/node.ts";
import { type Shape, sizeOf } from "../graph/shape.ts";
import { Storage } from "../graph/storage.ts";
import { type Context, context } from "../runtime/context.ts";
import { init } from "../runtime/init.ts";
import { LoadedProgram } from "../runtime/loaded.ts";
import { read } from "../runtime/queue.ts";
import { evaluate } from "./oracle.ts";

/** The device's context, opened by the first who asks. */
export async function gpu(): Promise<Context> {
  await init({ software: "allow" });
  return context("test");
}

/** A leaf over values on the host; NaN and the like included. */
export function constantOf(values: Iterable<number>, shape: Shape, dtype: DType = "f32"): Node {
  const data = new dtypes[dtype].array(sizeOf(shape));
  let i = 0;
  for (const value of values) data[i++] = dtype === "bool" ? Number(value !== 0) : value;
  if (i !== data.length) throw new RangeError(`Cannot make a leaf: ${i} values for ${data.length}`);
  return leaf(new Storage(dtype, data.length, { at: "host", data }), shape);
}

/** Values through the executor. */
export async function run(nodes: readonly Node[]): Promise<TypedArray[]> {
  await gpu();
  const storages = executor("test").realize(nodes);
  return await executor("test").read(storages);
}

/** A target like the device's, but for what is given. */
export type TargetPart = Partial<Target>;

/** A graph compiled as it would be for the target. */
export async function compileFor(
  graph: Graph,
  options: CompileOptions = {},
  part: TargetPart = {},
): Promise<Program> {
  const { device } = await gpu();
  return compileGraph(graph, { verify: true, ...options }, { ...device.target, ...part });
}

/** Results of a graph of leaves, compiled with options for a target, and the program. */
export async function runWith(
  nodes: readonly Node[],
  options: CompileOptions = {},
  part: TargetPart = {},
): Promise<{ values: TypedArray[]; program: Program }> {
  const open = await gpu();
  const graph: Graph = { name: "test", parameters: [], results: nodes };
  const program = await compileFor(graph, options, part);
  const loaded = new LoadedProgram(open, program, { keepWorkspace: false });
  const storages = loaded.run(closedLeaves(graph).map((x) => x.attributes.storage));
  const values = await read(open, storages);
  for (const storage of new Set(storages)) {
    if (!closedLeaves(graph).some((x) => x.attributes.storage === storage)) {
      open.release(storage, "the test is over");
    }
  }
  loaded.dispose();
  return { values, program };
}

/** Results with every operation in a kernel of its own. */
export async function runUnfused(nodes: readonly Node[]): Promise<TypedArray[]> {
  return (await runWith(nodes, { maxOperations: 1 })).values;
}

/** Results of a graph with parameters, some of them donated. */
export async function runGraph(
  graph: Graph,
  args: readonly TypedArray[],
  options: CompileOptions = {},
  part: TargetPart = {},
): Promise<{ values: TypedArray[]; program: Program }> {
  const open = await gpu();
  const program = await compileFor(graph, options, part);
  const loaded = new LoadedProgram(open, program, { keepWorkspace: false });
  const storages = args.map((data, i) => {
    const { dtype } = graph.parameters[i]!;
    return new Storage(dtype, data.length, { at: "host", data: data.slice() });
  });
  const results = loaded.run(storages);
  const values = await read(open, results);
  loaded.dispose();
  for (const storage of new Set([...storages, ...results])) {
    open.release(storage, "the test is over");
  }
  return { values, program };
}

/** How far a value may be from the oracle's, in units in the last place of the result's dtype. */
export interface Tolerance {
  readonly ulp: number;
  /** What is allowed besides, absolutely. */
  readonly absolute?: number;
}

const digits: { readonly [D in DType]: { readonly bits: number; readonly least: number } } = {
  f32: { bits: 23, least: 2 ** -149 },
  f16: { bits: 10, least: 2 ** -24 },
  i32: { bits: 0, least: 1 },
  u32: { bits: 0, least: 1 },
  bool: { bits: 0, least: 1 },
};

/** One unit in the last place of a number near x. */
export function ulpOf(x: number, dtype: DType): number {
  const { bits, least } = digits[dtype];
  if (x === 0 || !Number.isFinite(x)) return least;
  return Math.max(least, 2 ** (Math.floor(Math.log2(Math.abs(x))) - bits));
}

/**
 * The first value out of tolerance, or undefined. NaN has to be NaN; infinities have to be there,
 * but a value next to overflow may be on either side of it. Zeros have no sign.
 */
export function firstWrong(
  actual: TypedArray,
  expected: ArrayLike<number>,
  dtype: DType,
  { ulp, absolute = 0 }: Tolerance = { ulp: 0 },
): string | undefined {
  if (actual.length !== expected.length) {
    return `${actual.length} values, expected ${expected.length}`;
  }
  for (let i = 0; i < actual.length; i++) {
    const a = actual[i]!, e = rounded(expected[i]!, dtype);
    if (a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    const error = Math.abs(a - e);
    if (error <= ulp * ulpOf(e, dtype) + absolute) continue;
    const units = error / ulpOf(e, dtype);
    return `element ${i} of ${actual.length} is ${a}, expected ${e} (${units.toPrecision(3)} ulp)`;
  }
  return undefined;
}

function rounded(x: number, dtype: DType): number {
  return dtype === "f32" ? Math.fround(x) : dtype === "f16" ? Math.f16round(x) : x;
}

/** Fails unless every node's values are the oracle's, within what is allowed for the node. */
export async function assertOracle(
  nodes: readonly Node[],
  tolerance: (node: Node) => Tolerance = () => ({ ulp: 0 }),
  name: (node: Node, index: number) => string = (node) => node.op,
): Promise<void> {
  const expected = evaluate(nodes);
  const actual = await run(nodes);
  const wrong = nodes.flatMap((node, i) => {
    const what = firstWrong(actual[i]!, expected[i]!.data, node.dtype, tolerance(node));
    return what === undefined ? [] : [`${name(node, i)} ${node.dtype}[${node.shape}]: ${what}`];
  });
  if (wrong.length > 0) throw new Error(`${wrong.length} wrong:\n${wrong.slice(0, 20).join("\n")}`);
}

const words = new DataView(new ArrayBuffer(4));

/** A float's bits, with one NaN for all. */
function bits(value: number): number {
  words.setFloat32(0, Number.isNaN(value) ? NaN : value);
  return words.getUint32(0);
}

/** Where two arrays first differ by a bit (all NaN are one), or undefined. */
export function firstDifference(a: TypedArray, b: TypedArray): string | undefined {
  if (a.length !== b.length) return `${a.length} values against ${b.length}`;
  for (let i = 0; i < a.length; i++) {
    if (a[i] === b[i] && (a[i] !== 0 || !isFloats(a))) continue;
    if (isFloats(a) ? bits(a[i]!) !== bits(b[i]!) : a[i] !== b[i]) {
      return `element ${i} of ${a.length}: ${a[i]} against ${b[i]}`;
    }
  }
  return undefined;
}

function isFloats(values: TypedArray): boolean {
  return values instanceof Float32Array || values instanceof Float16Array;
}

export { seed } from "./seed.ts";

/** A generator of numbers in [0, 1) from a seed (mulberry32). */
export function randomOf(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
