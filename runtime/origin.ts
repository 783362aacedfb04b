/**
 * Which operation a value that is not finite comes from. A region computes many operations and
 * shows only what it writes; so the operations of the function are computed once more, each as a
 * result of its own, and the bad value is followed back through its operands to the first
 * operation that made it from finite ones. What an operation hides (`where`) is not followed.
 *
 * @module
 */
import { closedLeaves, compileGraph } from "../compile/compile.ts";
import { isFloat, storageBytes, type TypedArray } from "../graph/dtype.ts";
import type { Aval, Graph, Node } from "../graph/node.ts";
import { expression } from "../graph/print.ts";
import type { Primitive } from "../graph/primitive.ts";
import { sizeOf } from "../graph/shape.ts";
import { topological } from "../graph/walk.ts";
import type { Prepared } from "./compile.ts";
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

/** What computes nothing, or has several results and is looked through. */
const passive: ReadonlySet<Primitive> = new Set(["leaf", "parameter", "fill", "iota", "call"]);
/** Operations and bytes computed at a time, so that not all of a model is kept at once. */
const mostNodes = 16, mostBytes = 64 * 2 ** 20;

/**
 * The operation that the bad values of a tensor come from; undefined if the tensor is none of the
 * function's own operations, which a rewrite may bring about.
 */
export async function originOf(
  owner: Context,
  call: Prepared,
  bad: Bad,
  { dtype, shape }: Aval,
  scan: (data: TypedArray, aval: Aval) => Bad | undefined,
): Promise<Operation | undefined> {
  const nodes = topological(call.signature.graph.results)
    .filter((node) => isFloat(node.dtype) && !passive.has(node.op) && sizeOf(node.shape) > 0);
  const found = new Set<Node>();
  let start: Node | undefined;
  // Operands come before what uses them, so nothing after the tensor itself needs to be known.
  for (const some of portions(nodes)) {
    const values = await compute(owner, call, some);
    some.forEach((node, i) => {
      const here = scan(values[i]!, node);
      if (here === undefined) return;
      found.add(node);
      const same = here.at === bad.at && here.count === bad.count && node.dtype === dtype &&
        sizeOf(node.shape) === sizeOf(shape);
      if (same) start ??= node;
    });
    if (start !== undefined) break;
  }
  if (start === undefined) return undefined;
  let at = start;
  for (let from: Node | undefined = start; from !== undefined;) {
    at = from;
    const operands: readonly Node[] = at.inputs.flatMap((x) => x.op === "call" ? x.inputs : [x]);
    from = operands.find((x) => found.has(x));
  }
  return { expression: expression(at), source: at.source };
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

/** The values of some nodes of a function, by a program of their own. */
async function compute(owner: Context, call: Prepared, nodes: Node[]): Promise<TypedArray[]> {
  const { parameters } = call.signature.graph;
  const graph: Graph = { name: "operations", parameters, results: nodes };
  const program = compileGraph(graph, { verify: verifying() }, owner.device.target);
  const loaded = new LoadedProgram(owner, program, { keepWorkspace: false });
  const storages = call.storages.slice(0, parameters.length);
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
