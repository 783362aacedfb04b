/**
 * Loops: the body compiles once, whatever the length, and the host replays it. A body becomes a
 * program over a step counter and the carries, which it may overwrite; rows of stacked operands are
 * gathered by the counter inside the kernels that use them, and rows of stacked results are copied
 * to their place after each step. Nothing is asked of the device while a loop runs.
 *
 * Where a body can't overwrite a carry it writes beside it, and the two take turns. Which memory is
 * whose in which step is played through here: after a few rounds it is as in the beginning, so the
 * script has that many rounds, and the last step ends in the memory of the result.
 *
 * @module
 */
import * as build from "../graph/build.ts";
import type { Graph, Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { substitute } from "../graph/substitute.ts";
import { copyKernel, placeKernel, zeroKernel } from "../kernels/copy.ts";
import type { Kernel } from "../kernels/kernel.ts";
import type { Dispatch, Program } from "./program.ts";
import { renumber, type Script, type Steered } from "./script.ts";
import { isArgument, withoutReshapes } from "./store.ts";

/** Dispatches and the order in which they run; numbers in the script count from 0. */
export interface Part {
  readonly dispatches: readonly Dispatch[];
  readonly script: Script;
}

/** A loop whose body is compiled, before it has its memory. */
export interface PreparedLoop {
  /** Bytes of what it needs while it runs. */
  readonly scratch: readonly number[];
  /** Its dispatches in the memory given. */
  place(memory: {
    readonly slotOf: (node: Node) => number;
    readonly scratch: readonly number[];
  }): Part;
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
      dispatches.push(...part.dispatches);
    }
  }
  return { dispatches, script };
}

/** The body as a graph over [counter, carries, stacked operands, constants]. */
function bodyGraph(loop: Node<"loop">): { graph: Graph; carries: number } {
  const { body, length, carries, stacked, reverse } = loop.attributes;
  const counter = build.parameter(0, { shape: [], dtype: "u32" });
  const parameters = loop.inputs.map((x, i) => build.parameter(i + 1, x));
  const step = reverse ? build.binary("sub", build.fill(length - 1, [], "u32"), counter) : counter;
  const replacements = new Map<Node, Node>();
  body.parameters.forEach((p, i) => {
    const own: Node = parameters[i]!;
    const isRow = i >= carries && i < carries + stacked;
    replacements.set(p, isRow ? build.gather(own, step) : own);
  });
  const results = substitute(body.results, replacements);
  const next = [build.binary("add", counter, build.fill(1, [], "u32")), ...results];
  return {
    graph: {
      name: body.name,
      parameters: [counter, ...parameters],
      results: separate(next, [counter, ...parameters], carries + 1),
    },
    carries: carries + 1,
  };
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

/** Compiles the body of a loop; `outputs` are the results that are wanted. */
export function prepareLoop(
  loop: Node<"loop">,
  outputs: readonly Node[],
  compile: (graph: Graph, donate: readonly number[]) => Program,
): PreparedLoop {
  const { graph, carries } = bodyGraph(loop);
  const inner = compile(graph, Array.from({ length: carries }, (_, i) => i));
  const { length, reverse, running } = loop.attributes, source = loop.source?.line;
  const { rounds, buffers, initial, final } = playThrough(inner, carries, length);
  // A loop that may end early runs all rounds or none, and so ends where it began.
  const last = running === undefined ? final : initial;
  const wanted = new Map(
    outputs.map((node) => [(node as Node<"project">).attributes.index, node]),
  );
  // Carries that are wanted end in the memory of the result; all else is the loop's own.
  const ends = new Map(last.map((name, i) => [name, wanted.get(i - 1)] as const));
  const own = [...buffers.keys()].filter((name) => ends.get(name) === undefined);
  return {
    scratch: own.map((name) => buffers.get(name)!),
    place({ slotOf, scratch }) {
      const memory = new Map(own.map((name, i) => [name, scratch[i]!]));
      for (const [name, node] of ends) if (node !== undefined) memory.set(name, slotOf(node));
      const dispatch = (
        kernel: Kernel,
        slots: readonly number[],
        nodes: readonly Node[],
      ): Dispatch => ({
        kernel,
        slots,
        avals: nodes.map(build.avalOf),
        expression: `loop ${loop.attributes.body.name}`,
        ...(source !== undefined && { source }),
      });
      const counter = graph.parameters[0]!;
      const starts = initial.flatMap((name, i) => {
        const slot = memory.get(name)!;
        if (i === 0) return [dispatch(zeroKernel(), [slot], [counter])];
        const input = loop.inputs[i - 1]!, size = sizeOf(input.shape);
        if (size === 0) return [];
        return [dispatch(copyKernel(input.dtype, size), [slotOf(input), slot], [input, input])];
      });
      if (length === 0) return assemble(starts);
      const parts = rounds.map((round, i): Part => {
        const slotIn = (slot: number): number => {
          const where = round.slots[slot]!;
          return typeof where === "string" ? memory.get(where)! : slotOf(loop.inputs[where - 1]!);
        };
        const body = inner.dispatches.map((d) => ({ ...d, slots: d.slots.map(slotIn) }));
        const places = graph.results.slice(carries).flatMap((row, r) => {
          const stack = wanted.get(carries - 1 + r), from = inner.results[carries + r]!.slot;
          if (stack === undefined || from < 0) return [];
          const kernel = placeKernel(row.dtype, sizeOf(row.shape), length, reverse);
          const done = rounds[(i + 1) % rounds.length]!.carries[0]!;
          const slots = [slotIn(from), slotOf(stack), memory.get(done)!];
          return [dispatch(kernel, slots, [row, stack, counter])];
        });
        const script = renumber(inner.script, (number) => number, slotIn);
        return assemble([{ dispatches: body, script }, ...places]);
      });
      const dispatches = parts.flatMap((part) => part.dispatches);
      let start = 0;
      const scripts = parts.map((part) => {
        const before = start;
        start += part.dispatches.length;
        return renumber(part.script, (number) => number + before);
      });
      const steps: Script = running === undefined ? [{ length, rounds: scripts }] : [{
        parts: [[{ length: rounds.length, rounds: scripts }]],
        slots: [memory.get(initial[1 + running]!)!],
        steer: untilDone(length, rounds.length),
      }];
      return assemble([...starts, { dispatches, script: steps }]);
    },
  };
}

/** Steps that run before the device is asked for the first time whether it was enough. */
const firstChunk = 4;
/** Milliseconds, about what an answer takes: as long as a chunk and its answer take less, it grows. */
const shortChunk = 25;

/**
 * Runs a part, which is so many steps, until the device says that no further step changes anything.
 * It is asked after every chunk of steps, and the next chunk is under way before it answers: so
 * one chunk runs too much, which is short, or no longer than what ran before.
 */
function untilDone(most: number, steps: number): Steered["steer"] {
  return async function* (play, host, [running]) {
    let chunk = Math.ceil(firstChunk / steps), left = Math.ceil(most / steps);
    let answer: Promise<number> | undefined;
    while (left > 0) {
      const start = performance.now(), times = Math.min(chunk, left);
      yield* play(0, times);
      left -= times;
      if (answer !== undefined && await answer === 0) return;
      answer = host.read(running!);
      if (performance.now() - start < shortChunk) chunk *= 2;
    }
    await answer;
  };
}

interface Round {
  /** For each slot of the body its memory: a name, or the number of the body's argument. */
  readonly slots: readonly (string | number)[];
  /** Memory of the carries before the step. */
  readonly carries: readonly string[];
}

interface Played {
  readonly rounds: readonly Round[];
  /** Bytes by name. */
  readonly buffers: ReadonlyMap<string, number>;
  /** Memory of the carries before the first step and after the last. */
  readonly initial: readonly string[];
  readonly final: readonly string[];
}

/** Who has which memory in which step, until it is as in the beginning. */
function playThrough(inner: Program, carries: number, length: number): Played {
  const buffers = new Map<string, number>();
  const name = (text: string, bytes: number): string => {
    buffers.set(text, bytes);
    return text;
  };
  const argumentSlot = new Map<number, number>();
  inner.slots.forEach(({ role }, slot) => {
    if (role.is === "argument") argumentSlot.set(role.index, slot);
  });
  const bytesOfSlot = (slot: number): number => inner.slots[slot]!.bytes;
  const initial = Array.from(
    { length: carries },
    (_, i) => name(`carry ${i}`, bytesOfSlot(argumentSlot.get(i)!)),
  );
  const fixed = inner.slots.map(({ role, bytes }, slot): string | number | undefined => {
    if (role.is === "workspace") return name(`work ${slot}`, bytes);
    if (role.is === "argument") return role.index < carries ? undefined : role.index;
    const carry = inner.results.findIndex((r, i) => i < carries && r.slot === slot);
    return carry < 0 ? name(`row ${slot}`, bytes) : undefined;
  });
  const resultSlots = inner.slots.map((_, slot) => slot)
    .filter((slot) => inner.slots[slot]!.role.is === "result" && fixed[slot] === undefined);
  let spares = resultSlots.map((slot) => name(`spare ${slot}`, bytesOfSlot(slot)));
  let current = initial;
  const rounds: Round[] = [], states: string[][] = [];
  for (;;) {
    states.push(current);
    const slots = [...fixed] as (string | number)[];
    for (let i = 0; i < carries; i++) slots[argumentSlot.get(i)!] = current[i]!;
    resultSlots.forEach((slot, k) => slots[slot] = spares[k]!);
    rounds.push({ slots, carries: current });
    const next = current.map((own, i) => {
      const { slot } = inner.results[i]!;
      return slot < 0 ? own : slots[slot] as string;
    });
    const free = [...current, ...spares].filter((b) => !next.includes(b));
    spares = resultSlots.map((slot) => {
      const at = free.findIndex((b) => buffers.get(b) === bytesOfSlot(slot));
      return free.splice(at, 1)[0]!;
    });
    current = next;
    if (current.join() === initial.join()) break;
    if (rounds.length > 4 * carries + 4) {
      throw new Error("Cannot compile a loop: its carries never come back to their memory");
    }
  }
  return { rounds, buffers, initial, final: states[length % states.length]! };
}
