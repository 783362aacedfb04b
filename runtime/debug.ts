/**
 * Looking at a compile from outside: `RETROGRAD_DEBUG=graph,regions,wgsl,memory` prints the stages
 * of every program as it is compiled.
 *
 * @module
 */
import type { Program } from "../compile/program.ts";
import type { Node } from "../graph/node.ts";
import type { Storage } from "../graph/storage.ts";
import { environment } from "./device.ts";

/** A value of a traced function that is to be printed when it has been computed. */
export interface Print {
  readonly label: string;
  readonly node: Node;
}

/** Such a value, computed. */
export interface PendingPrint extends Print {
  readonly storage: Storage;
}

/** What the traces in progress are to print, the innermost last. */
const traces: Print[][] = [];

/** Collects what a trace is to print, until {@linkcode endTrace}. */
export function beginTrace(): readonly Print[] {
  const prints: Print[] = [];
  traces.push(prints);
  return prints;
}

/** Ends the innermost trace. */
export function endTrace(): void {
  traces.pop();
}

/** True where every graph is to be checked after every pass, at some cost. */
export function verifying(): boolean {
  return environment("RETROGRAD_VERIFY") === "1";
}

const stages = ["graph", "regions", "wgsl", "memory"] as const;

/** Prints the stages of a program that `RETROGRAD_DEBUG` asks for. */
export function printStages(program: Program): void {
  const asked = environment("RETROGRAD_DEBUG");
  if (asked === undefined || asked === "") return;
  const words = asked.split(",").map((word) => word.trim());
  for (const stage of stages) {
    if (!words.includes(stage) && !words.includes("all")) continue;
    console.error(`── ${program.name}: ${stage} ──\n${program.print(stage)}`);
  }
}
