/**
 * Finding where a computation goes wrong: the first region that makes a NaN or an infinity, with
 * the user's operation and line in it. The program is run one dispatch at a time, and what each wrote is
 * read back; slow, and exactly the same kernels.
 *
 * @module
 */
import { checkNames } from "../graph/describe.ts";
import { isFloat, storageBytes, type TypedArray } from "../graph/dtype.ts";
import type { Aval } from "../graph/node.ts";
import { type Shape, showShape, sizeOf } from "../graph/shape.ts";
import type { Dispatch } from "../compile/program.ts";
import { type Prepared, withCall } from "./compile.ts";
import { type Context, context } from "./context.ts";
import { sparing } from "./course.ts";
import type { Frame } from "./frame.ts";
import { type Operation, originOf } from "./origin.ts";
import { finish, read, readBlock } from "./queue.ts";

/** What counts as wrong. */
export interface LocateOptions {
  /**
   * Whether infinities count, which masks may hold on purpose.
   *
   * @default {true}
   */
  readonly infinities?: boolean;
}

/** The first value that is not finite. */
export interface NonFinite {
  /** What it is. */
  readonly value: "NaN" | "Infinity" | "-Infinity";
  /** The region that made it; undefined if an argument had it already. */
  readonly region: number | undefined;
  /** What the kernel is called, or which argument it is. */
  readonly label: string;
  /** The operation of the region that made it, in its operands. */
  readonly expression: string | undefined;
  /** Where the user wrote that. */
  readonly source: string | undefined;
  /** Position of the first such element, a NaN where there is one. */
  readonly index: readonly number[];
  /** Shape of the tensor it is in. */
  readonly shape: Shape;
  /** How many elements are not finite. */
  readonly count: number;
  /** One sentence. */
  toString(): string;
}

/**
 * The first region of a function, compiled or not, that makes a NaN or an infinity on these
 * arguments; undefined if all values are finite. Donated arguments keep their data.
 *
 * @throws {TypeError} if the function cannot be compiled.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const f = (x: rg.Tensor) => x.sub(1).log().sum();
 * const found = await rg.locateNaN(f, [rg.tensor([2, 0.5])]);
 * assertEquals(found?.value, "NaN");
 * console.log(`${found}`);
 * ```
 */
export function locateNaN(
  f: (...args: never[]) => unknown,
  args: readonly unknown[],
  options: LocateOptions = {},
): Promise<NonFinite | undefined> {
  checkNames(options, { infinities: "flag" }, "locate a NaN");
  const { infinities = true } = options;
  return withCall(f, args, (call) => locate(context("locate a NaN"), call, infinities));
}

async function locate(
  owner: Context,
  call: Prepared,
  infinities: boolean,
): Promise<NonFinite | undefined> {
  const { loaded } = call.signature, { program } = loaded;
  const given = await read(owner, call.storages);
  for (const [i, data] of given.entries()) {
    const found = scan(data, program.arguments[i]!, infinities);
    if (found !== undefined) return describe(found, i, program.arguments[i]!);
  }
  const frame = sparing(loaded, call.storages, () => loaded.begin(call.storages));
  try {
    let first = true;
    for await (const course of loaded.courses(frame)) {
      for (const number of course) {
        const encoder = owner.device.gpu.createCommandEncoder({ label: "locate" });
        if (first) loaded.encodeCopies(encoder, frame);
        first = false;
        const pass = encoder.beginComputePass();
        loaded.encode(pass, frame, [number]);
        pass.end();
        owner.line.pass(() => owner.device.gpu.queue.submit([encoder.finish()]));
        const found = await writtenBy(owner, call, frame, number, infinities);
        if (found !== undefined) return found;
      }
      await finish(owner);
    }
    return undefined;
  } finally {
    for (const result of loaded.end(call.storages, frame)) {
      if (!call.storages.includes(result)) owner.release(result, "it was only inspected");
    }
  }
}

/** What is not finite of what a dispatch has just written. */
async function writtenBy(
  owner: Context,
  { signature: { graph, loaded: { program } }, storages }: Prepared,
  { blocks }: Frame,
  number: number,
  infinities: boolean,
): Promise<NonFinite | undefined> {
  const dispatch = program.dispatches[number]!;
  const look = (data: TypedArray, aval: Aval) => scan(data, aval, infinities);
  for (const [j, access] of dispatch.kernel.access.entries()) {
    const aval = dispatch.avals[j]!;
    if (access === "read" || !isFloat(aval.dtype)) continue;
    const size = sizeOf(aval.shape), block = blocks[dispatch.slots[j]!]!;
    const whole = await readBlock(owner, block, storageBytes(aval.dtype, size));
    const data = aval.dtype === "f16" ? new Float16Array(whole) : new Float32Array(whole);
    const found = look(data.subarray(0, size), aval);
    if (found === undefined) continue;
    const origin = await originOf(owner, { graph, storages }, found, aval, look);
    return describe(found, number, aval, dispatch, origin ?? dispatch);
  }
  return undefined;
}

interface Found {
  readonly at: number;
  readonly value: number;
  readonly count: number;
}

function scan(data: TypedArray, { dtype }: Aval, infinities: boolean): Found | undefined {
  if (!isFloat(dtype)) return undefined;
  let at = -1, count = 0;
  for (let i = 0; i < data.length; i++) {
    const value = data[i]!;
    if (infinities ? Number.isFinite(value) : !Number.isNaN(value)) continue;
    count++;
    // A NaN says more than the infinity that it often comes from in the same region.
    if (at < 0 || (Number.isNaN(value) && !Number.isNaN(data[at]!))) at = i;
  }
  return at < 0 ? undefined : { at, value: data[at]!, count };
}

function describe(
  { at, value, count }: Found,
  position: number,
  { shape, dtype }: Aval,
  dispatch?: Dispatch,
  origin?: Partial<Operation>,
): NonFinite {
  const index: number[] = [];
  let rest = at;
  for (const n of [...shape].reverse()) {
    index.unshift(rest % n);
    rest = Math.floor(rest / n);
  }
  const name = Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
  const label = dispatch?.kernel.label ?? `argument leaf ${position}`;
  const { expression, source } = origin ?? {};
  const where = `${count} of ${sizeOf(shape)} values of ${dtype}${showShape(shape)} are not ` +
    `finite, the first is ${name} at ${showShape(index)}`;
  const text = dispatch === undefined
    ? `${label}: ${where}`
    : `region ${position} (${label}): ${where}\n  in the expression ${expression}` +
      (source === undefined ? "" : `\n  at ${source}`);
  return {
    value: name,
    region: dispatch === undefined ? undefined : position,
    label,
    expression,
    source,
    index,
    shape,
    count,
    toString: () => text,
  };
}
