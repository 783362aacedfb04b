/**
 * Loops: the body compiles once, whatever the length (steps.ts), and the host replays it. Rows of
 * stacked results are copied to their place after each step, and carries that the loop keeps before
 * the steps that they are kept of. Nothing is asked of the device while a loop runs. After one round
 * or two memory is as in the beginning, so the script has as many, and the last step ends in the
 * memory of the result.
 *
 * @module
 */
import { type Aval, is, type Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { copyKernel, fillKernel, placeKernel, type Row, setKernel } from "../kernels/copy.ts";
import { bytesOf } from "./order.ts";
import { withoutReshapes } from "./store.ts";
import type { Dispatch, OutsidePlan } from "./program.ts";
import { outsideOf } from "../graph/loops/replay.ts";
import { Pairs, runErrands } from "./errands.ts";
import { forwardOpen } from "./open.ts";
import type { Script } from "./script.ts";
import {
  assemble,
  bodyPart,
  bytesOfCarry,
  type Make,
  makerFor,
  Names,
  type Part,
  type Placed,
  placeStep,
  type Steps,
  together,
  withoutIdleCounter,
} from "./steps.ts";

/** Memory that a loop needs while it runs. */
export interface Scratch {
  readonly bytes: number;
  /** A value that may be overwritten if the loop is its last reader: what begins in this memory. */
  readonly over?: Node;
}

/** Where the values of a program lie. */
export interface Memory {
  readonly slotOf: (node: Node) => number;
  readonly scratch: readonly number[];
}

/** A loop whose body is compiled, before it has its memory. */
export interface PreparedLoop {
  readonly scratch: readonly Scratch[];
  /** Its dispatches in the memory given. */
  place(memory: Memory): Part;
  /** Lines about it for people. */
  describe?(): string[];
  /** What it keeps outside of the device. */
  readonly outside?: OutsidePlan;
}

/** A round of a loop: where its step lies, and its carries before it. */
export interface Round extends Placed {
  readonly carries: readonly string[];
}

/** Steps that run one after the other until memory is as in the beginning: one, or two. */
export function playRounds(
  steps: Steps,
  names: Names,
  prefix: string,
): { readonly rounds: readonly Round[]; readonly initial: readonly string[] } {
  const initial = Array.from(
    { length: steps.carries },
    (_, i) => names.of(`${prefix} ${i}`, bytesOfCarry(steps, i)),
  );
  const rounds: Round[] = [];
  let carries: readonly string[] = initial;
  do {
    const from = carries;
    const other = (i: number): string =>
      from[i] === initial[i]
        ? names.of(`${prefix} ${i} beside`, bytesOfCarry(steps, i))
        : initial[i]!;
    const placed = placeStep(steps, names, prefix, from, other);
    rounds.push({ ...placed, carries: from });
    carries = placed.next;
  } while (carries.join() !== initial.join());
  return { rounds, initial };
}

/** Memory that begins in that of a value, if that is no other operand of the loop, too. */
export function startingIn(value: Node, operands: readonly Node[]): { readonly over?: Node } {
  const over = withoutReshapes(value);
  const uses = operands.filter((operand) => withoutReshapes(operand) === over);
  return uses.length === 1 ? { over } : {};
}

/** Dispatches that put values where a loop begins with them. */
export function beginIn(
  places: readonly { readonly to: number; readonly value: Node }[],
  slotOf: (node: Node) => number,
  make: Make,
  maxBindings: number,
): Dispatch[] {
  const fills: Dispatch[] = [];
  const copies: { readonly from: number; readonly to: number; readonly value: Node }[] = [];
  for (const { to, value } of places) {
    const base = withoutReshapes(value), size = sizeOf(value.shape);
    if (!is(base, "fill")) copies.push({ from: slotOf(value), to, value });
    else if (size > 0) {
      fills.push(make(fillKernel(value.dtype, size, base.attributes.value), [to], [value]));
    }
  }
  return [...fills, ...copyAll(copies, make, maxBindings)];
}

/** Copies of whole buffers, as many in one dispatch as the device binds. */
export function copyAll(
  pairs: readonly { readonly from: number; readonly to: number; readonly value: Aval }[],
  make: Make,
  maxBindings: number,
): Dispatch[] {
  const apart = pairs.filter(({ from, to, value }) => from !== to && bytesOf(value) > 0);
  const most = Math.max(1, Math.floor(maxBindings / 2));
  const dispatches: Dispatch[] = [];
  for (let i = 0; i < apart.length; i += most) {
    const some = apart.slice(i, i + most);
    dispatches.push(make(
      copyKernel(some.map(({ value }) => bytesOf(value))),
      some.flatMap(({ from, to }) => [from, to]),
      some.flatMap(({ value }) => [value, value]),
    ));
  }
  return dispatches;
}

/** A loop forward; `outputs` are the results that are wanted. */
export function prepareLoop(
  loop: Node<"loop">,
  outputs: readonly Node[],
  compiled: Steps,
  maxBindings: number,
): PreparedLoop {
  const { length, reverse, kept, carries, body, running } = loop.attributes;
  const names = new Names();
  const stacks = body.results.length > carries || kept.some(([, step]) => step === "every");
  // The way back of a loop that ends early asks how many steps there were.
  const counted = stacks || running !== undefined;
  const steps = withoutIdleCounter(compiled, counted);
  const { rounds, initial } = playRounds(steps, names, "carry");
  const before = (step: number): readonly string[] => rounds[step % rounds.length]!.carries;
  const wanted = new Map(
    outputs.map((node) => [(node as Node<"project">).attributes.index, node]),
  );
  // Carries that are wanted end in the memory of the result; all else is the loop's own.
  const ends = new Map<string, Node>();
  // A loop that may end early runs all rounds or none, and so ends where it began.
  before(running === undefined ? length : 0).forEach((name, i) => {
    const result = i === 0 ? undefined : wanted.get(i - 1);
    if (result !== undefined) ends.set(name, result);
  });
  const own = [...names.all.keys()].filter((name) => !ends.has(name));
  const counter = steps.program.arguments[0]!;
  const keeps = kept.flatMap(([carry, step], i) => {
    const result = wanted.get(body.results.length + i);
    return result === undefined ? [] : [{ carry: carry + 1, step, result }];
  });
  return {
    scratch: own.map((name) => {
      const carry = initial.indexOf(name);
      const bytes = names.all.get(name)!;
      return carry < 1 ? { bytes } : { bytes, ...startingIn(loop.inputs[carry - 1]!, loop.inputs) };
    }),
    place({ slotOf, scratch }) {
      const memory = new Map(own.map((name, i) => [name, scratch[i]!]));
      for (const [name, node] of ends) memory.set(name, slotOf(node));
      const at = (name: string): number => memory.get(name)!;
      const make = makerFor(loop);
      const starts = [
        make(setKernel(0), [at(initial[0]!)], [counter]),
        ...beginIn(
          initial.slice(1).map((name, i) => ({ to: at(name), value: loop.inputs[i]! })),
          slotOf,
          make,
          maxBindings,
        ),
      ];
      if (length === 0) return assemble(starts);
      const parts = rounds.map((round): Part => {
        const slotIn = (slot: number): number => {
          const where = round.slots[slot]!;
          return typeof where === "string" ? at(where) : slotOf(loop.inputs[where - 1]!);
        };
        const save = (from: number, stack: Node, row: Row, counted: string): Dispatch[] => {
          const shape = stack.shape.slice(1), size = sizeOf(shape), { dtype } = stack;
          if (size === 0) return [];
          const slots = [from, slotOf(stack), at(counted)];
          return [make(placeKernel(dtype, size, row), slots, [{ shape, dtype }, stack, counter])];
        };
        const saves = keeps.flatMap(({ carry, step, result }) =>
          step === "every"
            ? save(at(round.carries[carry]!), result, { plus: 0 }, round.carries[0]!)
            : []
        );
        const rows = steps.program.results.slice(steps.carries).flatMap(({ slot }, r) => {
          const stack = wanted.get(carries + r);
          if (stack === undefined || slot < 0) return [];
          return save(
            slotIn(slot),
            stack,
            reverse ? { from: length } : { plus: -1 },
            round.next[0]!,
          );
        });
        return assemble([...saves, bodyPart(steps, slotIn), ...rows]);
      });
      if (running !== undefined) {
        const slots = keeps.map(({ step }) => Number(`${step}`.slice("slot ".length)));
        const most = Math.max(0, ...slots);
        // Rounds come first, then for each slot but the first, which is the beginning, each round.
        for (let slot = 1; slot <= most; slot++) {
          for (const round of rounds) {
            const pairs = keeps.filter((_, i) => slots[i] === slot).map(({ carry, result }) => ({
              from: at(round.carries[carry]!),
              to: slotOf(result),
              value: result,
            }));
            parts.push(assemble(copyAll(pairs, make, maxBindings)));
          }
        }
        const { dispatches, scripts } = together(parts);
        const steer = forwardOpen({
          most: length,
          rounds: rounds.length,
          snapshots: keeps.length === 0 ? 0 : most + 1,
          step: (round) => round,
          keep: (slot, round) => slot === 0 ? undefined : slot * rounds.length + round,
        });
        const known = [...ends.values()].map(slotOf);
        const asked = [at(initial[running + 1]!), at(initial[0]!)];
        return assemble([...starts, {
          dispatches,
          script: [{ parts: scripts, slots: [...asked, ...known], steer }],
        }]);
      }
      const { dispatches, scripts } = together(parts);
      // The steps run in stretches, from one state that is kept to the next.
      const moments = keeps.map(({ step }) => outsideOf(step)?.step ?? step);
      const stops = new Set(moments.flatMap((step) => typeof step === "number" ? [step] : []));
      const script: Script[number][] = [], all = [...dispatches];
      let done = 0;
      const runTo = (step: number): void => {
        if (step > done) script.push({ length: step - done, rounds: turned(scripts, done) });
        done = step;
      };
      for (const stop of [...stops].sort((a, b) => a - b)) {
        runTo(stop);
        const copies = copyAll(
          keeps.filter(({ step }) => step === stop).map(({ carry, result }) => ({
            from: at(before(stop)[carry]!),
            to: slotOf(result),
            value: result,
          })),
          make,
          maxBindings,
        );
        for (const copy of copies) script.push(all.push(copy) - 1);
        const away = keeps.filter(({ carry, step }, i) =>
          moments[i] === stop && typeof step === "string" &&
          sizeOf(body.parameters[carry - 1]!.shape) > 0
        );
        if (away.length === 0) continue;
        const pairs = new Pairs(), { store } = outsideOf(away[0]!.step)!;
        const moves = pairs.add(
          away.map(({ carry, result }) => ({
            ticket: slotOf(result),
            slot: at(before(stop)[carry]!),
            bytes: bytesOf(body.parameters[carry - 1]!),
          })),
        );
        script.push({
          parts: [],
          slots: pairs.slots,
          steer: runErrands(() => [(outside, slots) => outside.save(store, moves(slots))]),
        });
      }
      runTo(length);
      return assemble([...starts, { dispatches: all, script }]);
    },
  };
}

/** Rounds beginning with another than the first. */
function turned(rounds: readonly Script[], by: number): Script[] {
  return rounds.map((_, i) => rounds[(i + by) % rounds.length]!);
}
