/**
 * Looking at a compile from outside and at a run from inside: `RETROGRAD_DEBUG` prints the stages
 * of every program as it is compiled, {@linkcode debugPrint} a value as it is computed.
 *
 * @module
 */
import type { Program } from "../compile/program.ts";
import type { TypedArray } from "../graph/dtype.ts";
import { type Aval, is, type Node } from "../graph/node.ts";
import { insideTransform } from "../graph/scope.ts";
import { nodeOf } from "../graph/methods/base.ts";
import { showShape } from "../graph/shape.ts";
import type { Storage } from "../graph/storage.ts";
import { readAll, Tensor } from "../graph/tensor.ts";
import { topological } from "../graph/walk.ts";
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

/**
 * Prints a tensor, also inside a function that is traced: then it becomes one more result of the
 * program, and each run prints it at the next await that reads anything. Outside of a trace it is
 * read and printed at once; inside a function being differentiated, when that has returned. Returns
 * the tensor.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 *
 * await rg.init({ software: "allow" });
 * const f = rg.compile((x: rg.Tensor) => rg.debugPrint(x.mul(2), "twice x").sum());
 * await f(rg.tensor([1, 2])).item(); // twice x: f32[2] [2, 4] min 2 mean 3 max 4
 * ```
 */
export function debugPrint(x: Tensor, label: string = "debug"): Tensor {
  const trace = traces.at(-1), node = nodeOf(x, "print");
  if (trace !== undefined) trace.push({ label, node });
  else if (node.traced) console.warn(unprintable(label));
  else {
    // A function being differentiated must not be cut off from what it is computed from: its values
    // are read, through a handle of their own, when it has returned.
    const read = insideTransform()
      ? Promise.resolve(new Tensor(node, !is(node, "leaf"))).then((later) => readAll([later]))
      : readAll([x]);
    read.then(
      ([data]) => console.log(showValue(label, node, data!)),
      (error) => console.error(`${label}: ${error}`),
    );
  }
  return x;
}

function unprintable(label: string): string {
  return `${label}: cannot be printed inside a loop, vmap or a custom rule`;
}

/** Those of a trace's prints that depend on nothing but its own parameters. */
export function printable(prints: readonly Print[], parameters: readonly Node[]): Print[] {
  const own = new Set(parameters);
  return prints.filter(({ label, node }) => {
    const foreign = topological([node]).some((n) => n.op === "parameter" && !own.has(n));
    if (foreign) console.warn(unprintable(label));
    return !foreign;
  });
}

/** Values shown of a tensor. */
const valuesShown = 8;

/** A value in one line: the first elements, and what is needed to see whether it is sane. */
export function showValue(label: string, { dtype, shape }: Aval, data: TypedArray): string {
  const few = Array.from(data.subarray(0, valuesShown), (x) => Number(x.toPrecision(5)));
  const dots = data.length > valuesShown ? ", …" : "";
  let text = `${label}: ${dtype}${showShape(shape)} [${few.join(", ")}${dots}]`;
  if (data.length < 2) return text;
  let min = Infinity, max = -Infinity, sum = 0, count = 0;
  for (const x of data) {
    if (Number.isNaN(x)) continue;
    min = Math.min(min, x);
    max = Math.max(max, x);
    sum += x;
    count++;
  }
  if (count > 0) {
    const [low, mean, high] = [min, sum / count, max].map((x) => Number(x.toPrecision(5)));
    text += ` min ${low} mean ${mean} max ${high}`;
  }
  return count === data.length ? text : `${text}, ${data.length - count} NaN`;
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
