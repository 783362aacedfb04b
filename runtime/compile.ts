/**
 * Functions that are traced once and replayed. The first call with arguments of a new signature
 * (the structure of the trees, shapes, dtypes, static values) runs the function on placeholders,
 * compiles what it recorded and loads the program; every other call only looks the program up and
 * submits it. Numbers are inputs, not constants, so that a rate may change from call to call.
 *
 * @module
 */
import type { OutsidePlan, Program } from "../compile/program.ts";
import { fill, leaf } from "../graph/build.ts";
import { checkNames, describe } from "../graph/describe.ts";
import { is } from "../graph/node.ts";
import { sameShape } from "../graph/shape.ts";
import { insideTransform } from "../graph/scope.ts";
import { Storage } from "../graph/storage.ts";
import { Tensor } from "../graph/tensor.ts";
import type { Tree } from "../graph/transforms.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import {
  flatten,
  leavesOf,
  type Static,
  type Structure,
  structureKey,
  unflatten,
} from "../graph/tree.ts";
import { parseBytes } from "./bytes.ts";
import { type Context, context, currentContext } from "./context.ts";
import { explain, type ExplainOptions } from "./explain.ts";
import { type Measured, measuredBy } from "./flags.ts";
import type { Holding } from "./memory.ts";
import { probe } from "./probes.ts";
import { write } from "./queue.ts";
import { type Leaf, type Signature, type Traced, traceWithin } from "./trace.ts";

/** How a function is compiled. */
export interface CompileOptions {
  /**
   * Positions of arguments that the caller gives up: their memory may be overwritten by the
   * results, and reading them afterwards is an error.
   *
   * @default {[]}
   */
  readonly donate?: readonly number[];
  /**
   * Device memory that a run may take, all in all: arguments, results, what lies between, sizes.
   * In bytes, or as text with a unit: `"64 MiB"`, `"1.5 GB"`. What does not fit is let go of and
   * computed again by the kernels that computed it before, so results are the same to the bit.
   *
   * @default {as much as is fastest}
   */
  readonly memory?: number | string;
  /**
   * What may wait outside of the device where it does not fit in there: bytes of the host's memory,
   * and of a file. A value goes there after it was last read on the way there, and comes back before
   * it is read on the way back, if that is predicted to be faster than computing it again. So do
   * states of loops with `backward: "auto"`, unless `auto` says otherwise, and what lies within a step
   * of a loop. Without `memory` everything fits. The program waits for its transfers, and what is
   * called after it waits behind it.
   *
   * @default {nothing}
   */
  readonly offload?: OffloadBudget;
  /**
   * What the program is called in errors and profiles.
   *
   * @default {"the name of the function"}
   */
  readonly name?: string;
}

/** Bytes, or text with a unit, that values may take outside of the device at once. */
export interface OffloadBudget {
  /** In the host's memory. */
  readonly host?: number | string;
  /** On disk, in a file that is gone from its folder as soon as it is open. */
  readonly disk?: number | string;
}

/**
 * What may be passed where a traced function takes T: numbers will do for scalar tensors. A number
 * becomes an f32 scalar of its own, so that another number is no recompile; where it shall follow
 * the dtype of the other operand, as a number written in the function does, cast it there.
 */
export type Passed<T> = [Tree] extends [T] ? T // any tree at all, numbers included
  : T extends Tensor ? Tensor | number
  : T extends Static ? T
  : { [K in keyof T]: Passed<T[K]> };

/** A compiled function. */
export interface Compiled<A extends readonly unknown[], R> {
  /** Runs the program for the arguments' signature, after tracing and compiling it if it is new. */
  (...args: { [K in keyof A]: A[K] | Passed<A[K]> }): R;
  /**
   * What was compiled: for each signature memory predicted and counted, what the plan for a budget
   * keeps and computes again, and the regions.
   */
  explain(options?: ExplainOptions): string;
  /**
   * What is alive in device memory while the program of the latest signature runs: an SVG picture
   * that stands alone, coloured by what was decided.
   *
   * @throws {Error} before the first call.
   */
  chart(): string;
  /**
   * What runs found out on the device and an await brought back, the largest value so far: how far
   * states drifted that the inverse of a loop's step computed, see `reverse`.
   */
  measured(): Measured[];
  /** The programs compiled so far, in the order of their signatures' first calls. */
  programs(): Program[];
  /** Gives back what the programs hold; the next call compiles anew. Never necessary. */
  dispose(): void;
}

const isLeaf = (value: unknown): value is Leaf =>
  value instanceof Tensor || typeof value === "number";

/**
 * Programs of functions that nobody can call any more give their memory back. The graphs remember
 * who called, and so the function itself: what is kept here must not know them.
 */
const forgotten = new FinalizationRegistry<Set<Holding>>((holdings) => {
  for (const holding of holdings) holding.release();
});

/** How many functions there have been. */
let functions = 0;

/** What {@linkcode withCall} needs to know of a compiled function. */
const insides = new WeakMap<object, (args: readonly unknown[]) => Prepared>();

/** A call made ready: the program and its arguments. */
export interface Prepared {
  readonly signature: Signature;
  readonly storages: readonly Storage[];
  readonly finish: (results: readonly Storage[]) => unknown;
}

/**
 * Compiles a function of trees of tensors. It must be pure but for what it records: it is run once
 * for each signature (twice where a `sketch` turns out to be needed), and again only where a run found
 * out that a tape was too small.
 *
 * @throws {TypeError} on a call, if an argument is no tree of tensors, if the function is
 * asynchronous, or if it returns anything but tensors.
 * @throws {RangeError} on the first call for a signature, if the memory given is not enough; the
 * message names the least that is.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const step = rg.compile((x: rg.Tensor, rate: rg.Tensor) => x.sub(x.mul(rate)), { donate: [0] });
 * let x = rg.tensor([1, 2]);
 * for (const rate of [0.5, 0.25]) x = step(x, rate);
 * assertEquals(await x.array(), [0.375, 0.75]);
 * ```
 */
export function compile<A extends readonly unknown[], R>(
  f: (...args: A) => R,
  options: CompileOptions = {},
): Compiled<A, R> {
  if (typeof f !== "function") {
    throw new TypeError(`Cannot compile: it is a ${typeof f}, expected a function`);
  }
  checkNames(
    options,
    { donate: true, memory: true, offload: true, name: true },
    `compile ${f.name || "a function"}`,
  );
  const { donate } = options;
  if (donate !== undefined && !Array.isArray(donate)) {
    throw new TypeError(
      `Cannot compile: donate is ${donate}, expected a list of positions of arguments`,
    );
  }
  const name = options.name ?? (f.name || "compiled function");
  const memory = options.memory === undefined
    ? undefined
    : parseBytes(options.memory, `compile ${name}`);
  const outside = parseOutside(options.offload, name);
  const signatures = new Map<string, Signature>(), number = ++functions;
  const holdings = new Set<Holding>();

  /** Of the last call: the next one has most likely the same. */
  let recent: Signature | undefined;

  const prepare = (args: readonly unknown[]): Prepared => {
    const owner = context(`run ${name}`);
    const { leaves, structure } = flatten(args, isLeaf, name);
    return prepared(owner, leaves, structure);
  };
  const prepared = (owner: Context, leaves: Leaf[], structure: Structure): Prepared => {
    Tensor.settle(leaves.filter(isTensor), `run ${name}`);
    let key = structureKey(structure);
    for (const x of leaves) key += typeof x === "number" ? ";" : ";" + x.dtype + x.shape.join();
    let signature = signatures.get(key);
    if (signature === undefined || !isUsable(signature, owner)) {
      const known = signature?.context === owner ? signature : undefined;
      known?.loaded.dispose();
      signature = known?.lessons === owner.lessons
        ? known.again()
        : traceWithin(f as unknown as Traced, leaves, structure, owner, {
          name,
          identity: `${number} ${key}`,
          donate: options.donate ?? [],
          memory,
          outside,
        });
      signatures.set(key, signature);
      holdings.add(signature.loaded.holding);
    }
    recent = signature;
    const storages = storagesOf(signature, leaves)!;
    return { signature, storages, finish: (results) => treeOf(signature, results) };
  };

  const compiled = (...args: unknown[]): unknown => {
    if (recent !== undefined && !insideTransform() && isUsable(recent, currentContext())) {
      const leaves = leavesOf(recent.given, args, isLeaf);
      const storages = leaves && storagesOf(recent, leaves);
      if (storages !== undefined) return treeOf(recent, runOf(recent, storages));
    }
    const { leaves, structure } = flatten(args, isLeaf, name);
    if (insideTransform() || leaves.some((x) => isTensor(x) && x.node.traced)) {
      // Inside another trace, or a function being differentiated, it is simply part of it.
      return f(...unflatten(structure, leaves.map(asTensor)) as unknown as A);
    }
    const { signature, storages, finish } = prepared(context(`run ${name}`), leaves, structure);
    return finish(runOf(signature, storages));
  };
  const members = {
    explain: (options?: ExplainOptions) => explain(name, [...signatures.values()], options),
    chart: () => {
      const latest = [...signatures.values()].at(-1);
      if (latest !== undefined) return latest.loaded.program.chart();
      throw new Error(`Cannot draw the memory of ${name}: not called yet, expected a call before`);
    },
    measured: () => [...signatures.values()].flatMap(({ flags }) => measuredBy(flags)),
    programs: () => [...signatures.values()].map(({ loaded }) => loaded.program),
    dispose: () => {
      for (const { loaded } of signatures.values()) loaded.dispose();
      signatures.clear();
      recent = undefined;
      holdings.clear();
    },
  };
  const result = Object.assign(compiled, members) as unknown as Compiled<A, R>;
  Object.defineProperty(result, "name", { value: name });
  insides.set(result, prepare);
  forgotten.register(result, holdings);
  return result;
}

/**
 * The program and the arguments of a call, for whoever wants to run it in another way. What was not
 * compiled before is compiled for this occasion.
 */
export async function withCall<R>(
  f: (...args: never[]) => unknown,
  args: readonly unknown[],
  use: (call: Prepared) => Promise<R>,
): Promise<R> {
  const prepare = insides.get(f);
  if (prepare !== undefined) return await use(prepare(args));
  const compiled = compile(f);
  try {
    return await use(insides.get(compiled)!(args));
  } finally {
    compiled.dispose();
  }
}

function parseOutside(offload: OffloadBudget | undefined, name: string): OutsidePlan {
  if (offload !== undefined && (typeof offload !== "object" || offload === null)) {
    throw new TypeError(
      `Cannot compile ${name}: offload is ${describe(offload)}, expected bytes by store, as in ` +
        '{ host: "1 GiB" }',
    );
  }
  const { host, disk, ...rest } = offload ?? {};
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    throw new TypeError(
      `Cannot compile ${name}: offload has ${unknown}, expected host, disk or both`,
    );
  }
  const bytes = (given: number | string | undefined): number =>
    given === undefined ? 0 : parseBytes(given, `compile ${name}`, "offload");
  return { host: bytes(host), disk: bytes(disk) };
}

function asTensor(x: Leaf): Tensor {
  return typeof x === "number" ? new Tensor(fill(x)) : x;
}

/** Runs a program; what it would be faster with is tried before, if there was no room so far. */
function runOf({ context, loaded }: Signature, storages: readonly Storage[]): Storage[] {
  probe(context, loaded.program);
  return loaded.run(storages);
}

function isUsable(signature: Signature, owner: Context | undefined): boolean {
  return signature.context === owner && signature.lessons === owner.lessons &&
    !signature.loaded.isOutdated;
}

/**
 * The arguments of a program, its own and those it closes over; undefined where leaves are no
 * tensors with data, or numbers, of the signature.
 */
function storagesOf(signature: Signature, leaves: readonly Leaf[]): Storage[] | undefined {
  const { avals, flags, closed } = signature;
  const storages = new Array<Storage>(leaves.length);
  for (let i = 0; i < leaves.length; i++) {
    const x = leaves[i]!, aval = avals[i];
    if (typeof x === "number") {
      if (aval !== undefined) return undefined;
      storages[i] = scalar(signature, i, x);
      continue;
    }
    if (aval?.dtype !== x.dtype || !sameShape(aval.shape, x.shape)) return undefined;
    const { node } = x;
    if (!is(node, "leaf")) return undefined;
    storages[i] = node.attributes.storage;
  }
  for (const { storage } of flags) storages.push(storage);
  for (const storage of closed) storages.push(storage);
  return storages;
}

/** A number as data on the device, in memory that every call writes anew. */
function scalar(signature: Signature, index: number, value: number): Storage {
  const data = Float32Array.of(value);
  const fresh = (): Storage => new Storage("f32", 1, { at: "host", data });
  if (signature.unshared.has(index)) return fresh();
  const { scalars, context } = signature;
  const known = scalars.get(index);
  if (known === undefined) {
    const storage = fresh();
    scalars.set(index, { storage, value });
    return storage;
  }
  if (!Object.is(known.value, value)) {
    write(context, context.blockOf(known.storage, "pass a number"), data);
    known.value = value;
  }
  return known.storage;
}

/** The results as the function returned them; what came in as an argument stays its owner's. */
function treeOf(signature: Signature, results: readonly Storage[]): unknown {
  const { shapes, structure, prints, flags, context, loaded: { owned } } = signature;
  prints.forEach((print, i) =>
    context.prints.push({ ...print, storage: results[shapes.length + i]! })
  );
  const first = results.length - flags.length;
  flags.forEach((flag, i) => context.checks.note(flag, results[first + i]!));
  const tensors = shapes.map((shape, i) => new Tensor(leaf(results[i]!, shape), owned[i]));
  return unflatten(structure, tensors);
}
