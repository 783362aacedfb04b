/**
 * A step back as one program: the inverse and the pull of a step traced into one body, over the
 * state after it and the cotangents, which compiles like any other. So what is inverted goes from
 * one to the other in registers where both fit one region, and is written once, for the next step,
 * and read by nobody in between.
 *
 * Drivers contract and rewrite float algebra within a kernel, so that the one may have other bits
 * than the two: it is used where it was tried on the device, and had the same (see {@linkcode Probe}).
 *
 * @module
 */
import * as build from "../graph/build.ts";
import { replayInputs } from "../graph/loops/replay.ts";
import type { Node } from "../graph/node.ts";
import { substitute } from "../graph/substitute.ts";
import { fingerprint } from "../kernels/tuning.ts";
import type { Mover } from "./movers.ts";
import type { Probe, Program } from "./program.ts";
import { isSteered, played } from "./script.ts";
import { type Body, type Compile, compileSteps, type Steps, withoutIdleCounter } from "./steps.ts";

/** A step back as one program, and what has to be tried before it is used. */
export interface Undo {
  readonly mover: Mover;
  readonly probe: Probe;
}

/** A value that both bodies or one of them read, as a whole or in rows. */
interface Read {
  readonly value: Node;
  readonly isRow: boolean;
  /** The parameter that it is there. */
  readonly of: Node;
  readonly by: "pull" | "invert";
}

/**
 * What pulls a step of a way back and what inverts it as one, if that takes fewer dispatches. A step
 * that asks the host while it runs stays as it is.
 */
export function undoOf(
  node: Node<"loop">,
  forward: Node<"loop">,
  pull: Mover,
  invert: Mover,
  compile: Compile,
): Undo | undefined {
  const { carries, reverse, replay, stacked, body } = node.attributes, { states } = replay!;
  const rowsOut = body.results.length > carries;
  // The state's counter says which row it is, unless nobody knows how many steps there will be.
  if (replay!.open && (stacked > 0 || rowsOut)) return undefined;
  if (reverse === forward.attributes.reverse) return undefined;
  if ([pull, invert].some(({ steps }) => isSteered(steps.program.script))) return undefined;
  const reads = readsOf(node);
  const steps = withoutIdleCounter(
    compileSteps(bodyOf(node, forward, reads), compile),
    rowsOut,
  );
  if (isSteered(steps.program.script)) return undefined;
  if (dispatchesOf(steps) >= dispatchesOf(pull.steps) + dispatchesOf(invert.steps)) {
    return undefined;
  }
  const state = Array.from({ length: states }, (_, i) => i + 1);
  const operands = shared(reads).map(({ value }) => value);
  const mover: Mover = { steps, parts: [0, ...pull.parts.slice(1), ...state], operands };
  return { mover, probe: probeOf(node, reads, { pull, invert, undo: mover }) };
}

/** How many dispatches a step has. */
export function dispatchesOf({ script }: Steps): number {
  let count = 0;
  for (const _ of played(script)) count++;
  return count;
}

/** What pull and inverse read, rows first. */
function readsOf(back: Node<"loop">): Read[] {
  const { body, carries, stacked, replay } = back.attributes;
  const { states, invert, invertedRows } = replay!, { own, inverse } = replayInputs(back);
  const reads: Read[] = [
    ...own.slice(carries).map((value, i): Read => ({
      value,
      isRow: i < stacked,
      of: body.parameters[carries + i]!,
      by: "pull",
    })),
    ...inverse.map((value, i): Read => ({
      value,
      isRow: i < invertedRows,
      of: invert!.parameters[states + i]!,
      by: "invert",
    })),
  ];
  return [...reads.filter(({ isRow }) => isRow), ...reads.filter(({ isRow }) => !isRow)];
}

const isSame = (a: Read, b: Read): boolean => a.value === b.value && a.isRow === b.isRow;

/** Each value once. */
function shared(reads: readonly Read[]): Read[] {
  return reads.filter((read, i) => reads.findIndex((other) => isSame(read, other)) === i);
}

/** The state before a step and the cotangents there, from those after it. */
function bodyOf(node: Node<"loop">, forward: Node<"loop">, reads: readonly Read[]): Body {
  const { body, carries, length, replay } = node.attributes, { states, invert } = replay!;
  const cotangents = body.parameters.slice(0, carries), before = body.parameters.slice(-states);
  const after = invert!.parameters.slice(0, states), operands = shared(reads);
  const parameters = [...cotangents, ...after, ...operands.map(({ of }) => of)]
    .map((p, i) => build.parameter(i, p));
  const replacements = (by: Read["by"], own: readonly Node[], from: number): [Node, Node][] => [
    ...own.map((p, i): [Node, Node] => [p, parameters[from + i]!]),
    ...reads.filter((read) => read.by === by).map((read): [Node, Node] => {
      const operand = operands.findIndex((other) => isSame(read, other));
      return [read.of, parameters[carries + states + operand]!];
    }),
  ];
  const inverted = substitute(invert!.results, new Map(replacements("invert", after, carries)));
  const pulled = substitute(
    body.results,
    new Map([
      ...replacements("pull", cotangents, 0),
      ...before.map((p, i): [Node, Node] => [p, inverted[i]!]),
    ]),
  );
  return {
    name: `${body.name}, inverse and pull`,
    parameters,
    results: [...pulled.slice(0, carries), ...inverted, ...pulled.slice(carries)],
    carries: carries + states,
    stacked: operands.filter(({ isRow }) => isRow).length,
    length,
    reverse: forward.attributes.reverse,
    backwards: true,
  };
}

/** What has to have the same bits: what the one program gives, and what the two do in turn. */
function probeOf(
  { attributes: { body, carries, length, replay } }: Node<"loop">,
  reads: readonly Read[],
  movers: { readonly [M in "pull" | "invert" | "undo"]: Mover },
): Probe {
  const { states, invert } = replay!,
    operands = shared(reads),
    rows = body.results.length - carries;
  const [pull, inverse, undo] = [movers.pull, movers.invert, movers.undo].map((m) =>
    m.steps.program
  ) as [Program, Program, Program];
  const given = [
    { shape: [], dtype: "u32" as const, counts: (sample: number) => sample % length + 1 },
    { shape: [], dtype: "u32" as const, counts: (sample: number) => length - 1 - sample % length },
    ...body.parameters.slice(0, carries).map(build.avalOf),
    ...invert!.parameters.slice(0, states).map(build.avalOf),
    ...operands.map(({ value }) => build.avalOf(value)),
  ];
  const range = (from: number, length: number) => Array.from({ length }, (_, i) => from + i);
  const cotangents = range(2, carries), after = range(2 + carries, states), made = given.length;
  const readBy = (by: Read["by"]): number[] =>
    reads.filter((read) => read.by === by).map((read) =>
      2 + carries + states + operands.findIndex((other) => isSame(read, other))
    );
  const all = range(2 + carries + states, operands.length);
  const before = range(made + 1, states), pulled = made + 1 + states;
  const ways = [
    {
      runs: [
        { program: inverse, from: [0, ...after, ...readBy("invert")] },
        { program: pull, from: [1, ...cotangents, ...readBy("pull"), ...before] },
      ],
      results: [...range(pulled + 1, carries), ...before, ...range(pulled + 1 + carries, rows)],
    },
    {
      runs: [{ program: undo, from: [0, ...cotangents, ...after, ...all] }],
      results: range(made + 1, carries + states + rows),
    },
  ];
  const texts = [pull, inverse, undo].map(({ dispatches }) =>
    dispatches.map(({ kernel, slots }) =>
      `${fingerprint(kernel)} ${kernel.uniforms ?? ""} ${slots}`
    )
      .join()
  );
  return { key: texts.join("; "), name: body.name, given, ways };
}
