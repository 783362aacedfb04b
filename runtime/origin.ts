/**
 * Which operation a value that is not finite comes from. A region computes many operations and
 * shows only what it writes; so the operations of the function are computed once more, each as a
 * result of its own, and the bad value is followed back through its operands to the first
 * operation that made it from finite ones. Where that is a loop, the search goes on in its body, at
 * the step that did it. What an operation hides (`where`) is not followed.
 *
 * @module
 */
import { closedLeaves, compileGraph } from "../compile/compile.ts";
import { leaf, loop, slice } from "../graph/build.ts";
import { openReplay } from "../graph/loops/replay.ts";
import { isFloat, storageBytes, type TypedArray } from "../graph/dtype.ts";
import { type Aval, type Graph, is, type Node } from "../graph/node.ts";
import { expression } from "../graph/print.ts";
import type { Primitive } from "../graph/primitive.ts";
import { sizeOf } from "../graph/shape.ts";
import { Storage } from "../graph/storage.ts";
import { inlineCalls } from "../graph/substitute.ts";
import { topological } from "../graph/walk.ts";
import type { Context } from "./context.ts";
import { verifying } from "./debug.ts";
import { LoadedProgram } from "./loaded.ts";
import { read } from "./queue.ts";

/** The values of a tensor that are not finite: how many, and where the first of them is. */
export interface Bad {
  readonly at: number;
  readonly count: number;
}

/** An operation as the user knows it. */
export interface Operation {
  readonly expression: string;
  readonly source: string | undefined;
}

/** A function with arguments. */
export interface Application {
  readonly graph: Graph;
  /** The data of its parameters. */
  readonly storages: readonly Storage[];
}

/** Tells what is not finite in some data. */
export type Scan = (data: TypedArray, aval: Aval) => Bad | undefined;

/** What computes nothing, or has several results and is looked through. */
const passive: ReadonlySet<Primitive> = new Set(["leaf", "parameter", "fill", "iota", "loop"]);
/** Operations and bytes computed at a time, so that not all of a model is kept at once. */
const mostNodes = 16, mostBytes = 64 * 2 ** 20;

/**
 * The operation that the bad values of a tensor come from; undefined if the tensor is none of the
 * function's own operations, which a rewrite may bring about.
 */
export async function originOf(
  owner: Context,
  { graph, storages }: Application,
  bad: Bad,
  aval: Aval,
  scan: Scan,
): Promise<Operation | undefined> {
  const opened = { ...graph, results: inlineCalls(graph.results, new Set(), () => true) };
  return await new Search(owner, { graph: opened, storages }, scan).find((node, here) =>
    here.at === bad.at && here.count === bad.count && node.dtype === aval.dtype &&
    sizeOf(node.shape) === sizeOf(aval.shape)
  );
}

/** The search through one function, applied to arguments. */
class Search {
  constructor(
    private readonly owner: Context,
    private readonly application: Application,
    private readonly scan: Scan,
  ) {}

  /**
   * The operation behind the first tensor that `isStart` accepts. If there is none, then it is
   * inside a loop: the first one that has a bad result.
   */
  async find(isStart: (node: Node, bad: Bad) => boolean): Promise<Operation | undefined> {
    const nodes = topological(this.application.graph.results)
      .filter((node) => isFloat(node.dtype) && !passive.has(node.op) && sizeOf(node.shape) > 0);
    const found = new Map<Node, Bad>();
    let start: Node | undefined;
    // Operands come before what uses them, so nothing after the tensor itself needs to be known.
    for (const some of portions(nodes)) {
      const values = await this.#compute(some);
      some.forEach((node, i) => {
        const here = this.scan(values[i]!, node);
        if (here === undefined) return;
        found.set(node, here);
        if (isStart(node, here)) start ??= node;
      });
      if (start !== undefined) break;
    }
    start ??= [...found.keys()].find((node) => is(node, "project"));
    if (start === undefined) return undefined;
    let at = start;
    for (let from: Node | undefined = start; from !== undefined;) {
      at = from;
      const operands: readonly Node[] = at.inputs.flatMap((x) => is(x, "loop") ? x.inputs : [x]);
      from = operands.find((x) => found.has(x));
    }
    const inside = is(at, "project") ? await this.#findInside(at, found.get(at)!) : undefined;
    return inside ?? operationOf(at);
  }

  /** The operation in the body of a loop whose inputs are finite and whose result is not. */
  async #findInside(result: Node<"project">, { at }: Bad): Promise<Operation | undefined> {
    const looped = result.inputs[0]!;
    if (!is(looped, "loop")) return undefined;
    const node = plainLoop(looped);
    const { body, length, carries, stacked, reverse } = node.attributes;
    const data = await this.#compute(node.inputs);
    const inputs = node.inputs.map(({ dtype, shape }, i) => leafOf(data[i]!, dtype, shape));
    /** The rows of steps from..to of the stacked operands. */
    const rows = (i: number, from: number, to: number): Node => {
      const x = inputs[i]!, first = reverse ? length - to : from;
      const start = x.shape.map((_, axis) => axis === 0 ? first : 0);
      return slice(x, start, [to - from, ...x.shape.slice(1)]);
    };
    const isRow = (i: number): boolean => i >= carries && i < carries + stacked;
    /** The carries after so many steps. */
    const after = async (steps: number): Promise<readonly TypedArray[]> => {
      if (steps === 0) return data.slice(0, carries);
      const given = inputs.map((x, i) => isRow(i) ? rows(i, 0, steps) : x);
      const how = { ...node.attributes, length: steps, kept: [] };
      return await this.#compute(loop(body, given, how).slice(0, carries));
    };
    const isBad = (values: readonly TypedArray[]): boolean =>
      values.some((x, i) => this.scan(x, body.parameters[i]!) !== undefined);

    // A bad row says which step wrote it, unless the carry was bad before; a carry that is bad at
    // the end, or where it was kept, and was not at the beginning became so in between, and halving
    // finds where.
    const { index } = result.attributes, kept = node.attributes.kept[index - body.results.length];
    let bad = length, row: number | undefined;
    if (kept !== undefined) {
      const [carry, step] = kept;
      if (step === "every") bad = Math.floor(at / sizeOf(body.parameters[carry]!.shape));
      else if (typeof step === "number") bad = step;
    } else if (index >= carries) {
      row = Math.floor(at / sizeOf(body.results[index]!.shape));
      bad = (reverse ? length - 1 - row : row) + 1;
    }
    let good = 0, state = await after(0);
    const before = bad - 1;
    if (row !== undefined) {
      const reached = await after(before);
      if (isBad(reached)) bad = before;
      else [good, state] = [before, reached];
    }
    while (bad - good > 1) {
      const middle = (good + bad) >> 1, reached = await after(middle);
      if (isBad(reached)) bad = middle;
      else [good, state] = [middle, reached];
    }
    const arrays = await this.#compute(inputs.map((x, i) => isRow(i) ? rows(i, good, bad) : x));
    const storages = body.parameters.map(({ dtype, shape }, i) =>
      storageOf(i < carries ? state[i]! : arrays[i]!, dtype, sizeOf(shape))
    );
    const results = inlineCalls(body.results, new Set(), () => true);
    const step = new Search(this.owner, { graph: { ...body, results }, storages }, this.scan);
    return await step.find((node) => results.includes(node));
  }

  /** The values of some nodes of the function, by a program of their own. */
  async #compute(nodes: readonly Node[]): Promise<TypedArray[]> {
    const { owner, application: { graph: { parameters }, storages: given } } = this;
    const graph: Graph = { name: "operations", parameters, results: nodes };
    const program = compileGraph(graph, { verify: verifying() }, owner.device.target);
    const loaded = new LoadedProgram(owner, program, { keepWorkspace: false });
    const storages = [...given.slice(0, parameters.length)];
    storages.push(...closedLeaves(graph).map((node) => node.attributes.storage));
    const results = loaded.run(storages);
    try {
      return await read(owner, results);
    } finally {
      for (const result of results) {
        if (!storages.includes(result)) owner.release(result, "it was only inspected");
      }
      loaded.dispose();
    }
  }
}

/** A way back as a loop that reads states as rows, which can be run for some of its steps. */
function plainLoop(node: Node<"loop">): Node<"loop"> {
  if (node.attributes.replay === undefined) return node;
  return openReplay(node, node.inputs)[0]!.inputs[0] as Node<"loop">;
}

/** An operation in words: a derivative by what it is the derivative of. */
function operationOf(node: Node): Operation {
  let at = node, words = "";
  for (let of = at.source?.derivativeOf; of !== undefined; of = at.source?.derivativeOf) {
    at = of;
    words += "derivative of ";
  }
  return { expression: words + expression(at), source: at.source?.line };
}

function storageOf(data: TypedArray, dtype: Aval["dtype"], size: number): Storage {
  return new Storage(dtype, size, { at: "host", data });
}

function leafOf(data: TypedArray, dtype: Aval["dtype"], shape: Aval["shape"]): Node {
  return leaf(storageOf(data, dtype, sizeOf(shape)), shape);
}

function* portions(nodes: readonly Node[]): Generator<Node[]> {
  let some: Node[] = [], bytes = 0;
  for (const node of nodes) {
    const more = storageBytes(node.dtype, sizeOf(node.shape));
    if (some.length > 0 && (some.length === mostNodes || bytes + more > mostBytes)) {
      yield some;
      some = [];
      bytes = 0;
    }
    some.push(node);
    bytes += more;
  }
  if (some.length > 0) yield some;
}
