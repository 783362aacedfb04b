/**
 * The later stages of a compile as text: regions with what they read and write, and memory with
 * who lies where and when.
 *
 * @module
 */
import { type Node, showAval } from "../graph/node.ts";
import { isElementwise, kinds } from "../graph/primitive.ts";
import { footprintOf, type Region } from "../kernels/region.ts";
import type { Allocation } from "./allocate.ts";
import type { PreparedLoop } from "./prepared.ts";
import { bytesOf } from "./order.ts";
import type { MemoryPlan } from "./program.ts";

/** Names of nodes: the numbers of the printed graph. */
export type NameOf = (node: Node) => string;

function layout({ frame }: Region): string {
  switch (frame.is) {
    case "map":
      return `map ${frame.size}`;
    case "rows":
      return `rows ${frame.rows}×${frame.cols}`;
    case "dot":
      return `dot ${frame.shape.join("×")} over ${frame.k}`;
    case "loop":
      return `loop of ${
        frame.loop.attributes.running === undefined ? "" : "at most "
      }${frame.loop.attributes.length} steps`;
    case "kernel":
      return `kernel ${frame.shape.join("×")}`;
    case "scatter":
      return `scatter ${frame.shape.join("×")}`;
    case "save":
      return `save to ${frame.store}`;
    case "load":
      return `load from ${frame.store}`;
  }
}

/** One block a region: its frame, what it reads, computes and writes. */
export function printRegions(
  regions: readonly Region[],
  again: readonly boolean[],
  nameOf: NameOf,
  loops: ReadonlyMap<Region, PreparedLoop>,
): string {
  const show = (node: Node): string => `${nameOf(node)} ${showAval(node)}`;
  return regions.map((region, i) => {
    const { frame } = region;
    const title = `region ${i}: ${layout(region)}${again[i] ? ", again" : ""}`;
    if (frame.is === "loop") {
      return [
        title,
        `  reads  ${region.inputs.map(show).join(", ") || "nothing"}`,
        `  runs   ${frame.loop.attributes.body.name}`,
        ...loops.get(region)?.describe?.().map((line) => `  ${line}`) ?? [],
        `  writes ${region.outputs.map(show).join(", ")}`,
      ].join("\n");
    }
    if (frame.is === "save") return `${title} of ${region.inputs.map(show).join(", ")}`;
    if (frame.is === "load") return `${title} of ${region.outputs.map(show).join(", ")}`;
    const body = [...footprintOf(region).body.keys()].sort((a, b) => a.id - b.id)
      .filter((n) => isElementwise(n.op) || (kinds[n.op] !== "movement" && n.op !== "fill"))
      .map((n) => n.op);
    return [
      title,
      `  reads  ${region.inputs.map(show).join(", ") || "nothing"}`,
      `  does   ${body.join(" ")}`,
      `  writes ${region.outputs.map(show).join(", ")}`,
    ].join("\n");
  }).join("\n");
}

/** One line a slot: its bytes, its role, and the values that lie in it, with the steps they live. */
export function printMemory(
  { slots, stays, bound }: Allocation,
  memory: MemoryPlan,
  nameOf: NameOf,
): string {
  const values = slots.map(() => [] as string[]);
  for (const { node, slot, from, to } of stays) {
    const [start, end] = [from < 0 ? "start" : from, to >= bound.length ? "end" : to];
    values[slot]!.push(`${nameOf(node)} (${start}–${end}, ${bytesOf(node)} B)`);
  }
  const lines = slots.map(({ bytes, role }, i) =>
    `slot ${i}: ${bytes} B ${role.is} ${values[i]!.join(", ")}`
  );
  return [
    ...lines,
    `arguments ${memory.arguments} + results ${memory.results} + workspace ${memory.workspace}` +
    ` + uniforms ${memory.uniforms} = peak ${memory.peak} B`,
  ].join("\n");
}
