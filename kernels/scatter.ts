/**
 * Scatter-add: rows of updates summed into rows of the result by index. Each invocation owns a
 * vector of four results (or one, where rows are ragged) and adds its updates in ascending order, so
 * the order of every sum is that of the updates and no atomics are needed. Every so many updates the
 * sum so far is put aside, and the next begins at 0.
 *
 * Whose updates are whose is found by looking through all indices; or, where those were sorted
 * (compile/scatter.ts), known from where a row's begin in their order.
 *
 * What follows a sum element by element is done while it is at hand: so what is scattered is added to
 * a running sum where that lies, and a table needs no memory for a gradient of its own.
 *
 * @module
 */
import { dtypes } from "../graph/dtype.ts";
import { is, type Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { lane } from "./emit.ts";
import { add, div, type Index, mod, offset, scale, unflatten, variable } from "./index.ts";
import { footprintOf, placesOf, type Region } from "./region.ts";
import { type Body, elementFlops, groupNumber, type Job, type Way } from "./shader.ts";
import { typeName } from "./wgsl.ts";

/** Updates that are summed up before the sum is put aside; and indices looked through, at most. */
export const longestScatter = 16384;

/** Steps that a loop of a sorted scatter may take: rows may have any number of the updates. */
const mostSteps = 49152;

/** Updates that one kernel takes in order, at most: so many in a step of its loop are written out. */
export const longestSorted = 8 * mostSteps;

const workgroupSize = 64;

/** The one way of a scatter region. */
export function waysOfScatter(job: Job): readonly Way[] {
  return [{ name: "plain", write: () => writeScatter(job) }];
}

/** What an invocation works on. */
interface Own {
  readonly job: Job;
  readonly node: Node<"scatterAdd">;
  /** Its row, and its (first) element in there; four lanes, or one. */
  readonly row: Index;
  readonly column: Index;
  readonly step: 1 | 4;
  /** The type of its sums. */
  readonly type: string;
}

/** Writes the body of a scatter region. */
function writeScatter(job: Job): Body {
  const { region, frame, emitter, outputs, adapter } = job;
  const node = scatterOf(region);
  const width = sizeOf(node.shape.slice(1)), step = width % 4 === 0 ? 4 : 1;
  const across = width / step, units = node.shape[0]! * across;
  const unit = variable("v", units), row = div(unit, across), part = mod(unit, across);
  const column = step === 4 ? add(scale(part, 4), lane) : part;
  const dtype = node.dtype === "f16" ? "f32" : node.dtype, type = typeName(dtype, step);
  emitter.open("v");
  emitter.declare("total");
  emitter.line(`var total = ${type}(0);`);
  const own: Own = { job, node, row, column, step, type };
  if (node.attributes.sorted) addSorted(own);
  else addFound(own);
  const result = dtype === node.dtype ? "total" : `${typeName(node.dtype, step)}(total)`;
  emitter.computed.set(node, { text: result, dtype: node.dtype, width: step });
  const position = add(scale(row, width), column), places = placesOf(frame, { position });
  emitter.storeAll(
    region.outputs.map((output, o) => ({
      buffer: outputs[o]!,
      value: () => emitter.value(output, places.full(output.shape)),
    })),
    position,
  );
  const lines = emitter.close();
  const hoisted = emitter.close();
  const groups = Math.ceil(units / workgroupSize);
  return {
    name: "scatter",
    workgroupSize,
    workgroups: groups,
    lines: [
      `let v = ${groupNumber(groups, adapter)} * ${workgroupSize} + i32(local);`,
      `if (v >= ${units}) { return; }`,
      ...hoisted,
      ...lines,
    ],
    flops: (dtypes[node.dtype].float ? sizeOf(node.inputs[0]!.shape) : 0) + elementFlops(region),
  };
}

/** The scatter of a region; what else it has follows element by element. */
function scatterOf(region: Region): Node<"scatterAdd"> {
  for (const node of footprintOf(region).body.keys()) if (is(node, "scatterAdd")) return node;
  throw new Error("Cannot write a scatter: there is none");
}

/** Text of an element of an operand, at leading places and the invocation's column. */
function element({ job: { emitter }, column, step, type }: Own, x: Node, lead: readonly Index[]) {
  const place = [...lead, ...unflatten(column, x.shape.slice(lead.length))];
  const value = emitter.splat(emitter.value(x, place), step);
  return typeName(value.dtype, step) === type ? value.text : `${type}(${value.text})`;
}

/** Looks through all indices for the row's updates. */
function addFound(own: Own): void {
  const { job: { emitter }, node, row } = own;
  const [updates, index] = node.inputs as [Node, Node];
  const count = sizeOf(index.shape), wanted = emitter.index(row);
  emitter.open("n");
  const found = emitter.value(index, unflatten(variable("n", count), index.shape));
  emitter.open("m");
  const text = element(own, updates, unflatten(variable("m", count), index.shape));
  const matched = emitter.close();
  emitter.line(
    `if (i32(${found.text}) == ${wanted}) {`,
    "let m = n;",
    ...matched,
    `total = total + ${text};`,
    "}",
  );
  emitter.line(`for (var n = 0; n < ${count}; n++) {`, ...emitter.close(), "}");
}

/** Goes through the row's updates as they are in order. */
function addSorted(own: Own): void {
  const { job: { emitter }, node, row, type } = own;
  const [updates, order, starts, onto] = node.inputs as [Node, Node, Node, Node?];
  const count = order.shape[0]!, apart = count > longestScatter || onto !== undefined;
  const turns = Math.ceil(count / mostSteps);
  const [first, end] = [row, offset(row, 1)].map((at) => emitter.value(starts, [at]).text);
  if (onto !== undefined) emitter.line(`total = ${element(own, onto, [row])};`);
  if (apart) emitter.line(`var part = ${type}(0);`, `var whole = ${longestScatter};`);
  const body = Array.from({ length: turns }, (_, i) => {
    emitter.open("s");
    const found = emitter.value(order, [variable("s", count)]).text;
    emitter.open("m");
    const text = element(own, updates, [variable("m", count)]);
    const one = emitter.close();
    emitter.line(
      `let m = ${found};`,
      ...one,
      ...(apart
        ? [
          "if (m >= whole) {",
          "total = total + part;",
          `part = ${type}(0);`,
          `whole = (m / ${longestScatter} + 1) * ${longestScatter};`,
          "}",
          `part = part + ${text};`,
        ]
        : [`total = total + ${text};`]),
    );
    const lines = emitter.close();
    return i === 0
      ? ["{", "let s = at;", ...lines, "}"]
      : [`if (at + ${i} < ${end}) {`, `let s = at + ${i};`, ...lines, "}"];
  });
  emitter.line(
    `for (var turn = 0; turn < ${Math.ceil(count / turns)}; turn++) {`,
    `let at = ${first} + turn * ${turns};`,
    `if (at >= ${end}) { break; }`,
    ...body.flat(),
    "}",
  );
  if (apart) emitter.line("total = total + part;");
}
