/**
 * Steps of loops: the body as a program over a step counter and the carries, which it may overwrite.
 * Rows of stacked operands are gathered by the counter inside the kernels that use them. Where a
 * body can't overwrite a carry it writes beside it, and such a carry has two places that take turns.
 *
 * @module
 */
import * as build from "../graph/build.ts";
import type { Aval, Graph, Node } from "../graph/node.ts";
import { substitute } from "../graph/substitute.ts";
import type { Kernel } from "../kernels/kernel.ts";
import type { Dispatch, Program } from "./program.ts";
import { renumber, type Script } from "./script.ts";
import { isArgument, withoutReshapes } from "./store.ts";

/** Dispatches and the order in which they run; numbers in the script count from 0. */
export interface Part {
  readonly dispatches: readonly Dispatch[];
  readonly script: Script;
}

/** Parts one after the other. */
export function assemble(parts: readonly (Dispatch | Part)[]): Part {
  const dispatches: Dispatch[] = [], script: (Script[number])[] = [];
  for (const part of parts) {
    if ("kernel" in part) {
      script.push(dispatches.length);
      dispatches.push(part);
    } else {
      const before = dispatches.length;
      script.push(...renumber(part.script, (number) => number + before));
      for (const dispatch of part.dispatches) dispatches.push(dispatch);
    }
  }
  return { dispatches, script };
}

/** Parts among the dispatches of one: the script of each, in the numbers of all. */
export function together(parts: readonly Part[]): {
  readonly dispatches: readonly Dispatch[];
  readonly scripts: readonly Script[];
} {
  const dispatches: Dispatch[] = [];
  const scripts = parts.map((part) => {
    const before = dispatches.length;
    const script = renumber(part.script, (number) => number + before);
    for (const dispatch of part.dispatches) dispatches.push(dispatch);
    return script;
  });
  return { dispatches, scripts };
}

/** Compiles a body; the parameters of the given numbers may be overwritten. */
export type Compile = (graph: Graph, donate: readonly number[]) => Program;

/** A body to be compiled, and what its parameters are. */
export interface Body extends Graph {
  /** How many of the first parameters are carries. */
  readonly carries: number;
  /** How many after them are rows of stacks of `length`. */
  readonly stacked: number;
  readonly length: number;
  /** Steps take rows from the last to the first. */
  readonly reverse: boolean;
  /** The carry that says whether a step changes anything, and counts. */
  readonly running?: number | undefined;
  /** The counter counts down, from the number of steps that the carries have gone through. */
  readonly backwards?: boolean;
  /** A step leaves the state that it starts from as it was. @default false */
  readonly preserving?: boolean;
}

/**
 * A compiled body. Its arguments are the counter, the carries, then whole stacks and constants; its
 * results the next counter and carries, then rows.
 */
export interface Steps {
  readonly program: Program;
  /** What of the program runs. */
  readonly script: Script;
  /** Carries, the counter among them. */
  readonly carries: number;
  /** Results as the graph has them. */
  readonly results: readonly Node[];
}

/** The body as a program. */
export function compileSteps(body: Body, compile: Compile): Steps {
  const { length, stacked, reverse, backwards = false, preserving = false } = body;
  const carries = body.carries + 1;
  const counter = build.parameter(0, { shape: [], dtype: "u32" });
  const number = (n: number): Node => build.fill(n, [], "u32");
  // Going backwards, the step is the one before as many as were done.
  const step = backwards ? build.binary("sub", counter, number(1)) : counter;
  const row = reverse ? build.binary("sub", number(length - 1), step) : step;
  const replacements = new Map<Node, Node>();
  const parameters = body.parameters.map((p, i) => {
    const isRow = i >= body.carries && i < body.carries + stacked;
    const shape = isRow ? [length, ...p.shape] : p.shape;
    const own = build.parameter(i + 1, { shape, dtype: p.dtype });
    replacements.set(p, isRow ? build.gather(own, row) : own);
    return own;
  });
  const after = build.binary("add", counter, number(1));
  const next = backwards
    ? step
    : body.running === undefined
    ? after
    : build.where(parameters[body.running]!, after, counter);
  const all = [counter, ...parameters];
  const results = separate([next, ...substitute(body.results, replacements)], all, carries);
  const program = compile(
    { name: body.name, parameters: all, results },
    preserving ? [] : Array.from({ length: carries }, (_, i) => i),
  );
  return { program, script: program.script, carries, results };
}

/** The compiled bodies of a loop. */
export interface LoopSteps {
  readonly steps: Steps;
  /** The inverse of its steps, if it records what that gets wrong: it is the same on the way back. */
  readonly inverse: Steps | undefined;
}

/** The bodies of a loop as programs. */
export function compileLoop({ attributes }: Node<"loop">, compile: Compile): LoopSteps {
  const { body, length, reverse, record } = attributes;
  // What is recorded is compared with the state before the step, which is left as it was.
  const preserving = record !== undefined;
  const inverse = record && compileSteps({
    ...record.invert,
    carries: record.state.length,
    stacked: record.invertedRows,
    length,
    reverse,
    backwards: true,
    preserving,
  }, compile);
  return { steps: compileSteps({ ...attributes, ...body, preserving }, compile), inverse };
}

/**
 * The steps without what some results do not need: the same dispatches, but fewer. The counter is
 * counted only if someone reads it, be it here or elsewhere (`counted`).
 */
export function onlyResults(steps: Steps, wanted: readonly number[], counted: boolean): Steps {
  const { program } = steps;
  const others = wanted.filter((i) => i > 0);
  const script = program.partial(others);
  const counter = program.slots.findIndex(({ role }) => role.is === "argument" && role.index === 0);
  const needed = counted || touchedBy(program, script).has(counter);
  return { ...steps, script: needed ? program.partial([0, ...others]) : script };
}

/** All that steps compute, but the counter only if someone reads it. */
export function withoutIdleCounter(steps: Steps, counted: boolean): Steps {
  return onlyResults(steps, steps.results.map((_, i) => i), counted);
}

/** Carries that are handed on as other carries, or twice, are copied: each has memory of its own. */
function separate(results: readonly Node[], own: readonly Node[], carries: number): Node[] {
  const seen = new Set<Node>();
  return results.map((result, i) => {
    if (i >= carries) return result;
    let node = result;
    const base = withoutReshapes(node);
    if ((isArgument(base) && base !== own[i]) || seen.has(base)) {
      node = build.unary("barrier", result);
      while (seen.has(node)) node = build.unary("barrier", node);
    }
    seen.add(withoutReshapes(node));
    return node;
  });
}

/** Memory by name: the bytes of each. */
export class Names {
  readonly #bytes = new Map<string, number>();

  /** All names with their bytes. */
  get all(): ReadonlyMap<string, number> {
    return this.#bytes;
  }

  /** Memory of that name, of as many bytes at least. */
  of(name: string, bytes: number): string {
    this.#bytes.set(name, Math.max(bytes, this.#bytes.get(name) ?? 0));
    return name;
  }
}

/** Who lies where for one step: memory by name, or the number of the program's argument. */
export interface Placed {
  /** For each slot of the program; undefined where what runs does not touch it. */
  readonly slots: readonly (string | number | undefined)[];
  /** Memory of the carries after the step. */
  readonly next: readonly string[];
}

/**
 * Where a program's slots lie when its carries lie there; those that are not there are garbage that
 * nobody wants. A carry that is not written over goes to its `other` memory; `prefix` names what
 * belongs to this program alone; what it needs within a step it shares with all programs that run in
 * turn with it.
 */
export function placeStep(
  { program, carries, script }: Steps,
  names: Names,
  prefix: string,
  current: readonly (string | undefined)[],
  other: (carry: number) => string,
): Placed {
  const touched = touchedBy(program, script);
  const workspace = rankOf(program, touched);
  const slots = program.slots.map(({ role, bytes }, slot): string | number | undefined => {
    if (!touched.has(slot)) return undefined;
    if (role.is === "argument") {
      if (role.index >= carries) return role.index;
      return current[role.index] ?? names.of(`${prefix} idle ${role.index}`, bytes);
    }
    if (role.is === "workspace") return names.of(`work ${workspace.indexOf(slot)}`, bytes);
    const carry = program.results.findIndex((r, i) => i < carries && r.slot === slot);
    return current[carry] === undefined
      ? names.of(`${prefix} result ${slot}`, bytes)
      : other(carry);
  });
  const next = current.map((own, i) => {
    const { slot } = program.results[i]!;
    return own === undefined || slot < 0 ? own : slots[slot] as string | undefined ?? own;
  });
  return { slots, next: next as string[] };
}

/** The slots that a script's dispatches read and write. */
function touchedBy({ dispatches }: Program, script: Script): Set<number> {
  const touched = new Set<number>();
  const visit = (part: Script): void => {
    for (const entry of part) {
      if (typeof entry === "number") dispatches[entry]!.slots.forEach((slot) => touched.add(slot));
      else {
        if ("slots" in entry) entry.slots.forEach((slot) => touched.add(slot));
        ("parts" in entry ? entry.parts : entry.rounds).forEach(visit);
      }
    }
  };
  visit(script);
  return touched;
}

/** Workspace slots by size, the largest first: programs that run in turn share what is alike. */
function rankOf({ slots }: Program, touched: ReadonlySet<number>): number[] {
  const workspace = [...touched].filter((slot) => slots[slot]!.role.is === "workspace");
  return workspace.sort((a, b) => slots[b]!.bytes - slots[a]!.bytes || a - b);
}

/** Bytes of a program's carry. */
export function bytesOfCarry({ program }: Steps, carry: number): number {
  const found = program.slots.find(({ role }) => role.is === "argument" && role.index === carry);
  return found!.bytes;
}

/** Makes dispatches of what a loop adds to its bodies. */
export type Make = (kernel: Kernel, slots: readonly number[], values: readonly Aval[]) => Dispatch;

/** {@linkcode Make} for a loop. */
export function makerFor(loop: Node<"loop">): Make {
  const source = loop.source?.line;
  return (kernel, slots, values) => ({
    kernel,
    slots,
    avals: values.map(build.avalOf),
    expression: `loop ${loop.attributes.body.name}`,
    ...(source !== undefined && { source }),
  });
}

/** The dispatches of steps in the memory given. */
export function bodyPart(
  { program, script }: Steps,
  slotOf: (slot: number) => number,
): Part {
  const used = new Map<number, number>();
  const dispatches: Dispatch[] = [];
  const numberOf = (entry: number): number => {
    let number = used.get(entry);
    if (number === undefined) {
      used.set(entry, number = dispatches.length);
      const dispatch = program.dispatches[entry]!;
      dispatches.push({ ...dispatch, slots: dispatch.slots.map(slotOf) });
    }
    return number;
  };
  return { script: renumber(script, numberOf, slotOf), dispatches };
}
