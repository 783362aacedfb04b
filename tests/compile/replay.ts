/**
 * What a compile does up to the memory of values, without a device, and a replay of it: at every
 * moment each slot holds one value, and whoever reads a slot finds the value it expects there.
 */
import { assert, assertEquals } from "@std/assert";
import { allocate } from "../../compile/allocate.ts";
import { fuse } from "../../compile/fuse.ts";
import { lower } from "../../compile/lower.ts";
import { bytesOf, order, type Ordered } from "../../compile/order.ts";
import type { Target } from "../../compile/program.ts";
import { isArgument } from "../../compile/store.ts";
import { type Graph, is, type Node } from "../../graph/node.ts";
import { sizeOf } from "../../graph/shape.ts";
import { simplify } from "../../graph/simplify.ts";
import { defaultMaxOperations } from "../../kernels/legal.ts";
import type { Region } from "../../kernels/region.ts";

/** A target that needs no device. */
export const target: Target = {
  maxBindings: 8,
  maxBindingBytes: 2 ** 27,
  maxWorkgroups: 65535,
  kind: "software",
  f16: true,
  shuffle: false,
};

/** What kernels may have. */
export const limits = { maxBindings: 8, maxOperations: defaultMaxOperations };

const isNothing = (node: Node): boolean => sizeOf(node.shape) === 0;

/** A graph as regions, before they have memory. */
export interface Prepared extends Ordered {
  readonly graph: Graph;
  readonly donated: readonly Node[];
  /** Results as they are computed, arguments among them. */
  readonly roots: readonly Node[];
  readonly wanted: readonly Node[];
}

/** Compiles up to the order of regions. */
export function prepare(graph: Graph, donate: readonly number[], within = limits): Prepared {
  const { parameters, results } = graph;
  const roots = simplify(lower(simplify(results))).map((node) => {
    while (is(node, "reshape")) node = node.inputs[0]!;
    return node;
  });
  const wanted = [...new Set(roots.filter((n) => !isArgument(n) && !isNothing(n)))];
  const donated = donate.map((i) => parameters[i]!).filter((n) =>
    !isNothing(n) && !roots.includes(n)
  );
  return {
    graph,
    donated,
    roots,
    wanted,
    ...order(fuse(wanted, within, { donated }), donated, wanted),
  };
}

/** Allocates steps and replays them; returns the bytes of all slots. */
export function replay(
  { graph: { parameters }, roots, wanted, donated, takeovers }: Prepared,
  steps: readonly Region[],
): number {
  const { slots, slotOf, bound: places, aliases, stays } = allocate(
    steps,
    parameters,
    wanted,
    takeovers,
  );
  const content = new Map<number, Node>();
  parameters.forEach((p) => content.set(slotOf.get(p)!, p));
  steps.forEach(({ inputs, outputs }, i) => {
    const bound = new Map<number, Node>();
    for (const input of inputs) {
      const slot = places[i]!.get(input)!;
      assertEquals(content.get(slot), input, `step ${i} reads ${input.op} from slot ${slot}`);
      assert(!bound.has(slot), `step ${i} reads slot ${slot} as two values`);
      bound.set(slot, input);
    }
    for (const output of outputs) {
      const slot = places[i]!.get(output)!;
      const over = aliases[i]!.get(output);
      assertEquals(bound.get(slot), over, `step ${i} writes ${output.op} into what it reads`);
      if (over !== undefined) bound.delete(slot);
      assert(bytesOf(output) <= slots[slot]!.bytes, `${output.op} does not fit slot ${slot}`);
    }
    for (const output of outputs) {
      const slot = places[i]!.get(output)!;
      const { role } = slots[slot]!;
      assert(
        role.is !== "argument" || donated.includes(parameters[role.index]!),
        `step ${i} overwrites argument ${slot}, which was not donated`,
      );
      content.set(slot, output);
      const stay = stays.find(({ node, from }) => node === output && from === i);
      assertEquals(stay?.slot, slot, "every value's stay is told");
    }
    assertEquals(new Set(outputs.map((o) => places[i]!.get(o))).size, outputs.length);
  });
  for (const result of roots) {
    if (isNothing(result)) continue;
    assertEquals(content.get(slotOf.get(result)!), result, `${result.op} is gone at the end`);
  }
  for (const result of wanted) {
    const { bytes, role } = slots[slotOf.get(result)!]!;
    assert(role.is !== "workspace", `${result.op} is no workspace`);
    assertEquals(bytes, bytesOf(result), "results have memory of just their size");
  }
  return slots.reduce((sum, { bytes }) => sum + bytes, 0);
}
