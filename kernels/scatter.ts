/**
 * Scatter-add: rows of updates summed into rows of the result by index. Each invocation owns a
 * vector of four results (or one, where rows are ragged) and looks through all indices in ascending
 * order, so the order of every sum is that of the updates and no atomics are needed.
 *
 * @module
 */
import { dtypes } from "../graph/dtype.ts";
import { is } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { lane } from "./emit.ts";
import { add, div, mod, scale, unflatten, variable } from "./index.ts";
import { type Body, groupNumber, type Job, type Way } from "./shader.ts";
import { typeName } from "./wgsl.ts";

/** Indices that one kernel looks through, at most: lowering splits longer lists. */
export const longestScatter = 16384;

const workgroupSize = 64;

/** The one way of a scatter region. */
export function waysOfScatter(job: Job): readonly Way[] {
  return [{ name: "plain", write: () => writeScatter(job) }];
}

/** Writes the body of a scatter region. */
function writeScatter(job: Job): Body {
  const { region, emitter, outputs, adapter } = job;
  const [node] = region.outputs;
  if (node === undefined || !is(node, "scatterAdd")) {
    throw new Error(`Cannot write a scatter: the output is ${node?.op}`);
  }
  const [updates, index] = node.inputs as [typeof node, typeof node];
  const rest = node.shape.slice(1), width = sizeOf(rest), count = sizeOf(index.shape);
  const vector = width % 4 === 0;
  const step = vector ? 4 : 1, across = width / step, units = node.shape[0]! * across;
  const unit = variable("v", units);
  const row = div(unit, across);
  const part = mod(unit, across);
  const column = vector ? add(scale(part, 4), lane) : part;
  const type = node.dtype === "f16" ? "f32" : node.dtype;
  const sum = typeName(type, step);
  emitter.open("v");
  const wanted = emitter.index(row);
  emitter.line(`var total = ${sum}(0);`);
  emitter.open("n");
  const found = emitter.value(index, unflatten(variable("n", count), index.shape));
  emitter.open("m");
  const at = unflatten(variable("m", count), index.shape);
  const value = emitter.value(updates, [...at, ...unflatten(column, rest)]);
  const text = emitter.splat(value, step).text;
  const matched = emitter.close();
  emitter.line(
    `if (i32(${found.text}) == ${wanted}) {`,
    "let m = n;",
    ...matched,
    `total = total + ${type === updates.dtype ? text : `${sum}(${text})`};`,
    "}",
  );
  const loop = emitter.close();
  emitter.line(`for (var n = 0; n < ${count}; n++) {`, ...loop, "}");
  const result = type === node.dtype ? "total" : `${typeName(node.dtype, step)}(total)`;
  const address = add(scale(row, width), column);
  emitter.line(
    emitter.store(outputs[0]!, { text: result, dtype: node.dtype, width: step }, address),
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
    flops: dtypes[node.dtype].float ? sizeOf(updates.shape) : 0,
  };
}
