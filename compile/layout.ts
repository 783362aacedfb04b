/**
 * From regions in the order in which they run to dispatches in memory: the last part of a compile,
 * done for every plan that is weighed, so what a plan takes is known to the byte. Kernels are
 * written once for each region and each way in which its outputs lie over its inputs.
 *
 * @module
 */
import { avalOf } from "../graph/build.ts";
import type { Node } from "../graph/node.ts";
import { expression } from "../graph/print.ts";
import { structureOf } from "../kernels/alike.ts";
import type { Kernel } from "../kernels/kernel.ts";
import type { Region } from "../kernels/region.ts";
import { writeTuned } from "../kernels/tuning.ts";
import { wrapKernel } from "../kernels/user.ts";
import { allocate, type Allocation } from "./allocate.ts";
import { bytesOutside } from "./away.ts";
import type { Loops } from "./bodies.ts";
import { isMove, lastLoads, movePart } from "./moves.ts";
import type { Dispatch, MemoryPlan, OutsidePlan, Slot, Target } from "./program.ts";
import { uniformsOf } from "./program.ts";
import type { Script } from "./script.ts";
import { shareKernels } from "./share.ts";
import { assemble, type Part, together } from "./steps.ts";
import { withoutReshapes } from "./store.ts";

/** What is given, whatever the plan. */
export interface Given {
  readonly args: readonly Node[];
  readonly results: readonly Node[];
  readonly takeovers: ReadonlyMap<Node, Node>;
  /** Regions that are loops. */
  readonly loops: Loops;
}

/** Regions in memory. */
export interface Laid {
  readonly allocation: Allocation;
  /** In the order in which they run: a region, its dispatches, and in which order they run. */
  readonly steps: readonly {
    readonly region: Region;
    readonly first: number;
    readonly count: number;
    readonly script: Script;
  }[];
  readonly dispatches: readonly Dispatch[];
  readonly memory: MemoryPlan;
  /** What values and states take that wait outside of the device, at the fullest moment. */
  readonly outside: OutsidePlan;
}

/** A kernel, and what lies in its buffers. */
interface Bound {
  readonly kernel: Kernel;
  readonly buffers: readonly Node[];
}

/** Kernels of regions that are alike; of each buffer which input or output it is. */
export type Alike = Map<string, { readonly kernel: Kernel; readonly places: readonly number[] }>;

/** Kernels of regions, by how outputs lie over inputs, and what values are called. */
class Written {
  readonly kernels = new Map<Region, Map<string, Bound>>();
  readonly expressions = new Map<Node, string>();
}

/** Lays regions out. */
export class Layout {
  /** For a device; kernels that are `alike`, or `written` already, are not written again. */
  constructor(
    readonly given: Given,
    private readonly target: Target,
    private readonly alike: Alike = new Map(),
    private readonly written: Written = new Written(),
  ) {}

  /** The same with loops that run in other memory. */
  with(loops: Loops): Layout {
    return new Layout({ ...this.given, loops }, this.target, this.alike, this.written);
  }

  /** Who lies where and when. */
  allocate(steps: readonly Region[]): Allocation {
    const { args, results, takeovers, loops } = this.given;
    const scratch = steps.map((region) => loops.get(region)?.scratch ?? []);
    return allocate(steps, args, results, takeovers, scratch);
  }

  /** Bytes of all slots: what the regions take but for the uniforms of their kernels. */
  bytesOf(steps: readonly Region[]): number {
    return this.allocate(steps).slots.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Everything that runs and where. */
  lay(order: readonly Region[]): Laid {
    const allocation = this.allocate(order), last = lastLoads(order, allocation.stays);
    const parts = order.map((region, i): Part => {
      const loop = this.given.loops.get(region), bound = allocation.bound[i]!;
      if (isMove(region)) return movePart(region, (node) => bound.get(node)!, last[i]!);
      if (loop === undefined) {
        return assemble([this.#dispatch(region, allocation.aliases[i]!, bound)]);
      }
      return loop.place({
        slotOf: (node) => bound.get(withoutReshapes(node))!,
        scratch: allocation.scratch[i]!,
      });
    });
    const { dispatches: written, scripts } = together(parts);
    const dispatches = shareKernels(written);
    let first = 0;
    const steps = parts.map(({ dispatches: { length: count } }, i) => {
      first += count;
      return { region: order[i]!, first: first - count, count, script: scripts[i]! };
    });
    return {
      allocation,
      steps,
      dispatches,
      memory: memoryOf(allocation.slots, dispatches),
      outside: bytesOutside(order, last, allocation.stays, this.given.loops),
    };
  }

  #dispatch(
    region: Region,
    aliases: ReadonlyMap<Node, Node>,
    bound: ReadonlyMap<Node, number>,
  ): Dispatch {
    const { frame, inputs, outputs } = region;
    if (frame.is === "loop" || frame.is === "save" || frame.is === "load") {
      throw new Error(`Cannot write a ${frame.is} as one kernel`);
    }
    const key = outputs.map((o) => {
      const input = aliases.get(o);
      return input === undefined ? "" : inputs.indexOf(input);
    }).join();
    const { kernels, expressions } = this.written;
    let known = kernels.get(region);
    if (known === undefined) kernels.set(region, known = new Map());
    let written = known.get(key);
    if (written === undefined) {
      written = frame.is === "kernel" ? wrapKernel(region) : this.#write(region, aliases, key);
      known.set(key, written);
    }
    const { kernel, buffers } = written;
    const main = outputs[outputs.length - 1]!;
    // A line costs turning a stack trace into text, so no more are asked for than are needed.
    const source = outputs.find((o) => o.source?.line !== undefined)?.source?.line;
    let text = expressions.get(main);
    if (text === undefined) expressions.set(main, text = expression(main, 4));
    return {
      kernel,
      slots: buffers.map((node) => bound.get(node)!),
      avals: buffers.map(avalOf),
      expression: text,
      ...(source !== undefined && { source }),
    };
  }

  #write(region: Region, aliases: ReadonlyMap<Node, Node>, key: string): Bound {
    const values = [...region.inputs, ...region.outputs], { alike } = this;
    const structure = `${structureOf(region)}\n${key}`;
    let known = alike.get(structure);
    if (known === undefined) {
      const { kernel, buffers } = writeTuned(region, this.target, aliases);
      known = { kernel, places: buffers.map((node) => values.indexOf(node)) };
      alike.set(structure, known);
    }
    return { kernel: known.kernel, buffers: known.places.map((i) => values[i]!) };
  }
}

function memoryOf(slots: readonly Slot[], dispatches: readonly Dispatch[]): MemoryPlan {
  const sum = (role: Slot["role"]["is"]): number =>
    slots.reduce((n, slot) => n + (slot.role.is === role ? slot.bytes : 0), 0);
  const uniforms = uniformsOf(dispatches).bytes;
  const [args, results, workspace] = [sum("argument"), sum("result"), sum("workspace")];
  return {
    arguments: args,
    results,
    workspace,
    uniforms,
    peak: args + results + workspace + uniforms,
  };
}
