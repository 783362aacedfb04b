/**
 * Values for lazy tensors. The expression is compiled like a function of its leaves; expressions
 * of one structure (operations, shapes, attributes and how they are connected, whatever the data)
 * share a program, so that repeating an expression in a loop compiles once.
 *
 * @module
 */
import { closedLeaves, compileGraph } from "../compile/compile.ts";
import type { TypedArray } from "../graph/dtype.ts";
import type { Executor } from "../graph/executor.ts";
import { attributeKey, type Graph, is, type Node } from "../graph/node.ts";
import type { Storage } from "../graph/storage.ts";
import { topological } from "../graph/walk.ts";
import type { Context } from "./context.ts";
import { printStages, verifying } from "./debug.ts";
import { LoadedProgram } from "./loaded.ts";
import { read } from "./queue.ts";

/** A program, and which of an expression's leaves are its arguments. */
interface Entry {
  readonly loaded: LoadedProgram;
  readonly leaves: readonly number[];
}

/** Programs kept for expressions that come again. */
const programsKept = 256;

/** The executor of one device. */
export class DeviceExecutor implements Executor {
  readonly #programs = new Map<string, Entry>();
  #hits = 0;

  /** An executor that has compiled nothing yet. */
  constructor(private readonly context: Context) {}

  /** Programs kept, and how often one served again. */
  get statistics(): { readonly programs: number; readonly hits: number } {
    return { programs: this.#programs.size, hits: this.#hits };
  }

  /** See {@linkcode Executor}. */
  realize(nodes: readonly Node[]): Storage[] {
    const wanted = [...new Set(nodes.filter((node) => !is(node, "leaf")))];
    const values = new Map<Node, Storage>();
    if (wanted.length > 0) {
      const { key, leaves } = structureOf(wanted);
      const entry = this.#programs.get(key);
      if (entry !== undefined) this.#hits++;
      const { loaded, leaves: used } = entry ?? this.#compile(wanted, leaves);
      this.#programs.delete(key);
      this.#programs.set(key, { loaded, leaves: used });
      for (const [oldest, { loaded }] of this.#programs) {
        if (this.#programs.size <= programsKept) break;
        this.#programs.delete(oldest);
        loaded.dispose();
      }
      const results = loaded.run(used.map((i) => leaves[i]!.attributes.storage));
      wanted.forEach((node, i) => values.set(node, results[i]!));
    }
    return nodes.map((node) => is(node, "leaf") ? node.attributes.storage : values.get(node)!);
  }

  #compile(nodes: readonly Node[], leaves: readonly Node[]): Entry {
    const graph: Graph = { name: nameOf(nodes), parameters: [], results: nodes };
    const program = compileGraph(graph, { verify: verifying() }, this.context.device.target);
    printStages(program);
    const loaded = new LoadedProgram(this.context, program, { keepWorkspace: false });
    return { loaded, leaves: closedLeaves(graph).map((leaf) => leaves.indexOf(leaf)) };
  }

  /** See {@linkcode Executor}. */
  read(storages: readonly Storage[]): Promise<TypedArray[]> {
    return read(this.context, storages);
  }

  /** See {@linkcode Executor}. */
  release(storage: Storage, reason: string): void {
    this.context.release(storage, reason);
  }
}

/**
 * An expression's structure as text, and its leaves in the order of their first use. Nodes are
 * numbered in topological order, leaves are known by shape and dtype.
 */
function structureOf(
  roots: readonly Node[],
): { readonly key: string; readonly leaves: Node<"leaf">[] } {
  const numbers = new Map<Node, number>();
  const leaves: Node<"leaf">[] = [];
  const parts: string[] = [];
  for (const node of topological(roots)) {
    const { op, dtype, shape, inputs } = node;
    let part = op + dtype + shape.join();
    if (is(node, "leaf")) leaves.push(node);
    else if (op !== "mark") part += "|" + attributeKey(node.attributes);
    for (const input of inputs) part += "," + numbers.get(input);
    numbers.set(node, numbers.size);
    parts.push(part);
  }
  const results = roots.map((root) => numbers.get(root)).join();
  return { key: parts.join("\n") + "\n" + results, leaves };
}

/** A name for messages: what the last operation is. */
function nameOf(nodes: readonly Node[]): string {
  const last = nodes.at(-1)!;
  return nodes.length === 1 ? last.op : `${last.op} and ${nodes.length - 1} more`;
}
