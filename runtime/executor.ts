/**
 * Values for lazy tensors. The expression is compiled like a function of its leaves; expressions
 * of one structure (operations, shapes, attributes and how they are connected, whatever the data)
 * share a program, so that repeating an expression in a loop compiles once.
 *
 * @module
 */
import { compileGraph } from "../compile/compile.ts";
import { storageBytes, type TypedArray } from "../graph/dtype.ts";
import type { Executor } from "../graph/executor.ts";
import type { Check } from "../graph/check.ts";
import {
  attributeKey,
  becomeLeaf,
  forgetNodes,
  type Graph,
  is,
  mayBecomeLeaf,
  type Node,
} from "../graph/node.ts";
import { insideTransform } from "../graph/scope.ts";
import { sizeOf } from "../graph/shape.ts";
import type { Storage } from "../graph/storage.ts";
import { topological } from "../graph/walk.ts";
import type { Context } from "./context.ts";
import { printStages, showValue, verifying } from "./debug.ts";
import type { LoadedProgram } from "./loaded.ts";
import { read, upload } from "./queue.ts";
import { load } from "./probes.ts";

/** Programs kept for expressions that come again. */
const programsKept = 256;

/** Operations that an evaluation may repeat, about, and the bytes it may keep to end that. */
const mostRepeated = 256, mostKept = 256 * 2 ** 20;

/** The executor of one device. */
export class DeviceExecutor implements Executor {
  readonly #programs = new Map<string, LoadedProgram>();
  #hits = 0;
  /** Nodes that some evaluation computed, for others or for themselves. */
  readonly #computed = new WeakSet<Node>();

  /** An executor that has compiled nothing yet. */
  constructor(private readonly context: Context) {}

  /** Programs kept, and how often one served again. */
  get statistics(): { readonly programs: number; readonly hits: number } {
    return { programs: this.#programs.size, hits: this.#hits };
  }

  /** See {@linkcode Executor}. */
  realize(nodes: readonly Node[]): Storage[] {
    const checks = this.context.checks.take();
    const wanted = [
      ...new Set([...nodes.filter((node) => !is(node, "leaf")), ...checks.nodes]),
    ];
    const values = new Map<Node, Storage>();
    if (wanted.length > 0) {
      const kept = this.#repeated(wanted), computed = [...wanted, ...kept];
      const { key: structure, leaves } = structureOf(computed);
      const key = `${this.context.lessons} ${structure}`;
      let known = this.#programs.get(key);
      if (known?.isOutdated) {
        known.dispose();
        known = undefined;
      }
      if (known !== undefined) this.#hits++;
      const loaded = known ?? this.#compile(computed);
      this.#keep(key, loaded);
      const results = loaded.run(leaves.map((leaf) => leaf.attributes.storage));
      forgetNodes();
      wanted.forEach((node, i) => values.set(node, results[i]!));
      kept.forEach((node, i) => becomeLeaf(node, results[wanted.length + i]!));
      checks.done(checks.nodes.map((node) => values.get(node)!));
    }
    return nodes.map((node) => is(node, "leaf") ? node.attributes.storage : values.get(node)!);
  }

  /**
   * What is to be kept of an expression that would repeat much of what was computed for others: the
   * values among that which the rest is computed from. A loop that reads its losses and never its
   * parameters would go back to its first step in every one, and hold on to the data of all.
   */
  #repeated(wanted: readonly Node[]): Node[] {
    const order = topological(wanted);
    // Not what is older: parameters that are made before a batch is realized are computed after it.
    const old = new Set(
      order.filter((node) => node.inputs.length > 0 && this.#computed.has(node)),
    );
    for (const node of order) this.#computed.add(node);
    // What a transform is at work on has derivatives.
    if (insideTransform() || old.size < mostRepeated) return [];
    const kept = new Set<Node>();
    const reached = new Set(order.filter((node) => !old.has(node)).flatMap(({ inputs }) => inputs));
    for (const node of reached) {
      if (!old.has(node)) continue;
      // Views are computed again: what they show is smaller, or as large.
      const isView = node.op === "broadcast" || node.op === "reshape";
      if (!isView && mayBecomeLeaf(node)) kept.add(node);
      else for (const input of node.inputs) reached.add(input);
    }
    for (const node of wanted) kept.delete(node);
    const bytes = [...kept].reduce(
      (sum, { dtype, shape }) => sum + storageBytes(dtype, sizeOf(shape)),
      0,
    );
    return bytes <= mostKept ? [...kept] : [];
  }

  #compile(nodes: readonly Node[]): LoadedProgram {
    const graph: Graph = { name: nameOf(nodes), parameters: [], results: nodes };
    const program = compileGraph(graph, { verify: verifying() }, this.context.device.target);
    printStages(program);
    return load(this.context, program, { keepWorkspace: false });
  }

  /** Remembers a program as the one used last, and forgets the one not used for longest. */
  #keep(key: string, loaded: LoadedProgram): void {
    this.#programs.delete(key);
    this.#programs.set(key, loaded);
    for (const [oldest, unused] of this.#programs) {
      if (this.#programs.size <= programsKept) return;
      this.#programs.delete(oldest);
      unused.dispose();
    }
  }

  /** See {@linkcode Executor}. */
  upload(storages: readonly Storage[]): void {
    this.context.device.errors.throwIfLost();
    for (const storage of storages) if (storage.size > 0) upload(this.context, storage);
  }

  /** See {@linkcode Executor}. */
  async read(storages: readonly Storage[]): Promise<TypedArray[]> {
    const { checks } = this.context;
    this.realize([]); // Checks that nothing has computed yet.
    const prints = this.context.prints.splice(0), flags = checks.pending();
    const all = [...storages, ...prints.map((p) => p.storage), ...flags.map((f) => f.storage)];
    const values = await read(this.context, all).catch((error) => {
      checks.again(flags);
      throw error;
    });
    prints.forEach(({ label, node }, i) =>
      console.log(showValue(label, node, values[storages.length + i]!))
    );
    checks.judge(flags, values.slice(all.length - flags.length).map(([value]) => value!));
    return values.slice(0, storages.length);
  }

  /** See {@linkcode Executor}. */
  check(check: Check): void {
    if (this.context.checks.await(check)) this.realize([]);
  }

  /** See {@linkcode Executor}. */
  release(storage: Storage, reason: string): void {
    this.context.release(storage, reason);
  }
}

/**
 * An expression's structure as text, and its leaves in topological order, which is that of
 * `closedLeaves`. Nodes are numbered in this order, leaves are known by shape and dtype.
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
    else if (op !== "mark" && op !== "again") part += "|" + attributeKey(node.attributes);
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
