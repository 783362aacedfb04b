/**
 * Tracing: a function is run on placeholders for one signature of its arguments, and what it recorded
 * is compiled and loaded.
 *
 * @module
 */
import { recordSketched } from "../checkpoint/sketch.ts";
import { closedLeaves, compileGraph, type CompileOptions } from "../compile/compile.ts";
import { BudgetError } from "../compile/planning.ts";
import type { OutsidePlan } from "../compile/program.ts";
import { apply, parameter } from "../graph/build.ts";
import { collectChecks } from "../graph/check.ts";
import { tracedFor } from "../graph/loops/identity.ts";
import { type Aval, forgetNodes, type Graph, type Node } from "../graph/node.ts";
import { type Shape, showShape } from "../graph/shape.ts";
import { withSources } from "../graph/source.ts";
import type { Storage } from "../graph/storage.ts";
import { Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { countLeaves, flatten, type Structure, unflatten } from "../graph/tree.ts";
import type { Context } from "./context.ts";
import { beginTrace, endTrace, type Print, printable, printStages, verifying } from "./debug.ts";
import { type Flag, makeFlag } from "./flags.ts";
import type { LoadedProgram } from "./loaded.ts";
import { load } from "./probes.ts";

/** One signature: its program, and how results become a tree again. */
export interface Signature {
  readonly context: Context;
  /** What had been learned when it was compiled. */
  readonly lessons: string;
  readonly loaded: LoadedProgram;
  /** What was traced, compiled again with what was found out since. */
  again(): Signature;
  readonly graph: Graph;
  /** Data that the function closes over: further arguments. */
  readonly closed: readonly Storage[];
  /** Of the arguments. */
  readonly given: Structure;
  /** Of the tensors in them; undefined for numbers. */
  readonly avals: readonly (Aval | undefined)[];
  /** Of what it returns. */
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

/** A function as it is traced: of any arguments. */
export type Traced = (...args: unknown[]) => unknown;
/** A signature before it is compiled. */
type Recorded = Omit<Signature, "loaded" | "unshared" | "again" | "closed">;

/** What an argument is made of; a number is a scalar that may change from call to call. */
export type Leaf = Tensor | number;
type Rest<T> = T extends [unknown, ...infer R] ? R : never;

/**
 * Traces a function; where no exact plan fits its budget, once more, with what it allows to be
 * estimated.
 */
export function traceWithin(f: Traced, ...how: Rest<Parameters<typeof trace>>): Signature {
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
  // What is recorded does not depend on how much data was made before.
  forgetNodes();
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
  const what: Recorded = {
    context,
    lessons: context.lessons,
    graph,
    given: structure,
    avals: leaves.map((x) => typeof x === "number" ? undefined : avalOf(x)),
    structure: shape,
    shapes: tensors.map((x) => x.shape),
    prints,
    flags: checks.map(({ message }) => makeFlag(`run ${name}`, message)),
    scalars: new Map(),
  };
  return compiled(what, { donate: donated, outside, ...(memory !== undefined && { memory }) });
}

/** Compiles what was traced. Of the arguments it was traced with, nothing is kept. */
function compiled(what: Recorded, options: CompileOptions): Signature {
  const { context, graph } = what;
  const program = compileGraph(
    graph,
    { ...options, verify: verifying(), costs: context.costs },
    context.device.target,
  );
  printStages(program);
  forgetNodes();
  const unshared = new Set(program.donated);
  for (const { slot } of program.results) {
    const role = program.slots[slot]?.role;
    if (role?.is === "argument") unshared.add(role.index);
  }
  const loaded = load(context, program);
  const closed = closedLeaves(graph).map((node) => node.attributes.storage);
  return { ...what, closed, loaded, unshared, again: () => compiled(what, options) };
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
