/**
 * Functions that are traced once and replayed. The first call with arguments of a new signature
 * (the structure of the trees, shapes, dtypes, static values) runs the function on placeholders,
 * compiles what it recorded and loads the program; every other call only looks the program up and
 * submits it. Numbers are inputs, not constants, so that a rate may change from call to call.
 *
 * @module
 */
import { recordSketched } from "../checkpoint/sketch.ts";
import { closedLeaves, compileGraph } from "../compile/compile.ts";
import { BudgetError } from "../compile/planning.ts";
import type { OutsidePlan, Program } from "../compile/program.ts";
import { apply, fill, leaf, parameter } from "../graph/build.ts";
import { collectChecks } from "../graph/check.ts";
import { describe } from "../graph/describe.ts";
import { tracedFor } from "../graph/loops/identity.ts";
import { type Aval, forgetNodes, type Graph, is, type Node } from "../graph/node.ts";
import { insideTransform } from "../graph/scope.ts";
import { type Shape, showShape } from "../graph/shape.ts";
import { withSources } from "../graph/source.ts";
import { Storage } from "../graph/storage.ts";
import { Tensor } from "../graph/tensor.ts";
import type { Tree } from "../graph/transforms.ts";
import {
  countLeaves,
  flatten,
  type Static,
  type Structure,
  structureKey,
  unflatten,
} from "../graph/tree.ts";
import { type Flag, makeFlag, type Measured, measuredBy } from "./flags.ts";
import { type Context, context } from "./context.ts";
import { beginTrace, endTrace, type Print, printable, printStages, verifying } from "./debug.ts";
import { parseBytes } from "./bytes.ts";
import { explain, type ExplainOptions } from "./explain.ts";
import { LoadedProgram } from "./loaded.ts";
import type { Holding } from "./memory.ts";
import { write } from "./queue.ts";

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
   * it is read on the way back, if that is predicted to be faster than computing it again. Without
   * `memory` everything fits. The program waits for its transfers, and what is called after it waits
   * behind it.
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

/** One signature: its program, and how results become a tree again. */
export interface Signature {
  readonly context: Context;
  /** What had been learned when it was compiled. */
  readonly lessons: string;
  readonly loaded: LoadedProgram;
  readonly graph: Graph;
  /** Data that the function closes over: further arguments. */
  readonly closed: readonly Storage[];
  readonly structure: Structure;
  readonly shapes: readonly Shape[];
  /** Hidden results that are printed when they have been computed. */
  readonly prints: readonly Print[];
  /** What it demands of the device: arguments after the user's own, and the last results. */
  readonly flags: readonly Flag[];
  /** Device memory for arguments passed as numbers, and the number in it. */
  readonly scalars: Map<number, { readonly storage: Storage; value: number }>;
  /** Numbers that must not share memory between calls, since results do. */
  readonly unshared: ReadonlySet<number>;
}

type Traced = (...args: unknown[]) => unknown;
type Leaf = Tensor | number;
type Rest<T> = T extends [unknown, ...infer R] ? R : never;
const isLeaf = (value: unknown): value is Leaf =>
  value instanceof Tensor || typeof value === "number";
const isTensor = (value: unknown): value is Tensor => value instanceof Tensor;

/**
 * Programs of functions that nobody can call any more give their memory back. The graphs remember
 * who called, and so the function itself: what is kept here must not know them.
 */
const forgotten = new FinalizationRegistry<Set<Holding>>((holdings) => {
  for (const holding of holdings) holding.release();
});

/** What {@linkcode withCall} needs to know of a compiled function. */
/** How many functions there have been. */
let functions = 0;

const insides = new WeakMap<object, (args: readonly unknown[]) => Prepared>();

/** A call made ready: the program and its arguments. */
export interface Prepared {
  readonly signature: Signature;
  readonly storages: readonly Storage[];
  readonly finish: (results: readonly Storage[]) => unknown;
}

/**
 * Compiles a function of trees of tensors. It must be pure but for what it records: it is run once
 * for each signature (twice where a `sketch` turns out to be needed), and never again.
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
    const isUsable = signature?.context === owner && signature.lessons === owner.lessons;
    if (signature === undefined || !isUsable) {
      if (signature?.context === owner) signature.loaded.dispose();
      signature = traceWithin(f as unknown as Traced, leaves, structure, owner, {
        name,
        identity: `${number} ${key}`,
        donate: options.donate ?? [],
        memory,
        outside,
      });
      signatures.set(key, signature);
      holdings.add(signature.loaded.holding);
    }
    const storages = leaves.map((x, i) =>
      typeof x === "number" ? scalar(signature, i, x) : storageOf(x)
    );
    storages.push(...signature.flags.map((flag) => flag.storage), ...signature.closed);
    const finish = (results: readonly Storage[]) => treeOf(signature, results, storages);
    return { signature, storages, finish };
  };

  const compiled = (...args: unknown[]): unknown => {
    const { leaves, structure } = flatten(args, isLeaf, name);
    if (insideTransform() || leaves.some((x) => isTensor(x) && x.node.traced)) {
      // Inside another trace, or a function being differentiated, it is simply part of it.
      return f(...unflatten(structure, leaves.map(asTensor)) as unknown as A);
    }
    const { signature, storages, finish } = prepared(context(`run ${name}`), leaves, structure);
    return finish(signature.loaded.run(storages));
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

function storageOf({ node }: Tensor): Storage {
  if (!is(node, "leaf")) throw new Error("Cannot run: a tensor has no data, expected a leaf");
  return node.attributes.storage;
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

/**
 * Traces a function; where no exact plan fits its budget, once more, with what it allows to be
 * estimated.
 */
function traceWithin(f: Traced, ...how: Rest<Parameters<typeof trace>>): Signature {
  let mayEstimate = false;
  const attempt = (estimates: boolean): Signature => {
    const record: Traced = (...args) => {
      const { value, met } = recordSketched(estimates, () => f(...args));
      mayEstimate = met;
      return value;
    };
    return trace(record, ...how);
  };
  try {
    return attempt(false);
  } catch (exact) {
    if (!(exact instanceof BudgetError) || !mayEstimate) throw exact;
    try {
      return attempt(true);
    } catch (estimated) {
      // Both name what they would take.
      const isLess = estimated instanceof BudgetError && estimated.least > exact.least;
      throw isLess ? exact : estimated;
    }
  }
}

/** Runs a function on placeholders, and compiles what it recorded. */
function trace(
  f: Traced,
  leaves: readonly Leaf[],
  structure: Structure,
  context: Context,
  { name, identity, donate, memory, outside }: {
    readonly name: string;
    /** Tells functions and their signatures apart. */
    readonly identity: string;
    readonly donate: readonly number[];
    readonly memory: number | undefined;
    readonly outside: OutsidePlan;
  },
): Signature {
  const parameters = leaves.map((x, i) => parameter(i, avalOf(x)));
  const args = unflatten(structure, parameters.map((node) => new Tensor(node))) as unknown[];
  const noted = beginTrace();
  let recorded: ReturnType<typeof collectChecks>;
  try {
    recorded = tracedFor(identity, () => collectChecks(() => withSources(() => f(...args))));
  } finally {
    endTrace();
  }
  const { value: returned, checks } = recorded;
  const { leaves: tensors, structure: shape } = flattenResult(returned, name);
  const prints = printable(noted, parameters);
  const flags = checks.map(({ flag }, i) => parameter(leaves.length + i, flag));
  const results: Node[] = [
    ...tensors.map((x) => x.node),
    ...prints.map(({ node }) => node),
    ...checks.map(({ flag }, i) => apply("max", [flags[i]!, flag], {})),
  ];
  const graph: Graph = { name, parameters: [...parameters, ...flags], results };
  const donated = [
    ...donatedLeaves(structure, donate, name),
    ...flags.map(({ attributes }) => attributes.index),
  ];
  const program = compileGraph(
    graph,
    {
      donate: donated,
      verify: verifying(),
      costs: context.costs,
      outside,
      ...(memory !== undefined && { memory }),
    },
    context.device.target,
  );
  printStages(program);
  forgetNodes();
  const unshared = new Set(donated);
  for (const { slot } of program.results) {
    const role = program.slots[slot]?.role;
    if (role?.is === "argument") unshared.add(role.index);
  }
  return {
    context,
    lessons: context.lessons,
    loaded: new LoadedProgram(context, program),
    graph,
    closed: closedLeaves(graph).map((node) => node.attributes.storage),
    structure: shape,
    shapes: tensors.map((x) => x.shape),
    prints,
    flags: checks.map(({ message }) => makeFlag(`run ${name}`, message)),
    scalars: new Map(),
    unshared,
  };
}

function avalOf(x: Leaf): Aval {
  return typeof x === "number" ? { shape: [], dtype: "f32" } : { shape: x.shape, dtype: x.dtype };
}

function flattenResult(
  returned: unknown,
  name: string,
): { readonly leaves: Tensor[]; readonly structure: Structure } {
  const fail = (what: string) => {
    throw new TypeError(
      `Cannot compile ${name}: it returned ${what}, expected a tensor or a tree of tensors`,
    );
  };
  if (returned instanceof Promise) {
    returned.catch(() => {});
    fail("a promise (what is traced cannot wait for values)");
  }
  if (returned === null || (typeof returned !== "object" && typeof returned !== "function")) {
    fail(String(returned));
  }
  return flatten(returned, isTensor, `what ${name} returned`);
}

/** Leaves that belong to donated arguments. */
function donatedLeaves(
  structure: Structure,
  donate: readonly number[],
  name: string,
): number[] {
  if (donate.length === 0) return [];
  const items = structure.kind === "list" ? structure.items : [];
  const donated: number[] = [];
  for (const position of donate) {
    if (items[position] === undefined) {
      throw new RangeError(
        `Cannot compile ${name}: donate is ${showShape(donate)} with ${items.length} arguments, ` +
          `expected positions of arguments`,
      );
    }
    let first = 0;
    for (let i = 0; i < position; i++) first += countLeaves(items[i]!);
    const count = countLeaves(items[position]);
    for (let i = 0; i < count; i++) donated.push(first + i);
  }
  return [...new Set(donated)].sort((a, b) => a - b);
}

/** The results as the function returned them; what came in as an argument stays its owner's. */
function treeOf(
  signature: Signature,
  results: readonly Storage[],
  given: readonly Storage[],
): unknown {
  const { shapes, structure, prints, flags, context } = signature;
  prints.forEach((print, i) =>
    context.prints.push({ ...print, storage: results[shapes.length + i]! })
  );
  const first = results.length - flags.length;
  flags.forEach((flag, i) => context.checks.note(flag, results[first + i]!));
  const seen = new Set<Storage>(given);
  const tensors = shapes.map((shape, i) => {
    const storage = results[i]!;
    const owns = !seen.has(storage);
    seen.add(storage);
    return new Tensor(leaf(storage, shape), owns);
  });
  return unflatten(structure, tensors);
}
