/**
 * Runs an ONNX graph on tensors: every operator through the tables, by name.
 *
 * @module
 */
import type { Operator } from "./call.ts";
import { Call } from "./call.ts";
import { elementwise } from "./elementwise.ts";
import { control } from "./control.ts";
import { movement } from "./movement.ts";
import { network } from "./network.ts";
import type { GraphProto, ModelProto } from "./proto.ts";
import { reductions } from "./reductions.ts";
import { training } from "./training.ts";
import { fromProto, numberOf, Unsupported, type Value } from "./values.ts";

/** Every operator that maps onto ours. */
export const operators: { readonly [name: string]: Operator } = {
  ...elementwise,
  ...reductions,
  ...movement,
  ...network,
  ...control,
  ...training,
};

/** The outputs of a model, as expressions; throws {@linkcode Unsupported} with the reason. */
export function runModel({ graph, opsetImport }: ModelProto, inputs: readonly Value[]): Value[] {
  const versions = opsetImport.map(({ version }) => numberOf(version));
  return runGraph(graph, inputs, new Map(), versions[0]!);
}

/** The outputs of a graph that sees the values around it. */
function runGraph(
  graph: GraphProto,
  inputs: readonly Value[],
  around: ReadonlyMap<string, Value>,
  version: number,
): Value[] {
  const values = new Map<string, Value>(around);
  for (const proto of graph.initializer) values.set(proto.name, fromProto(proto));
  graph.input.forEach(({ name }, i) => {
    if (inputs[i] !== undefined) values.set(name, inputs[i]!);
  });
  for (const node of graph.node) {
    const operator = operators[node.opType];
    if (operator === undefined) throw new Unsupported(`operator ${node.opType}`);
    const operands = node.input.map((name) => {
      if (name !== "" && !values.has(name)) throw new Unsupported(`no value ${name}`);
      return values.get(name);
    });
    const call = new Call(
      node,
      operands,
      version,
      (body, given) => runGraph(body, given, values, version),
    );
    const results = [operator(call)].flat() as Value[];
    node.output.forEach((name, i) => {
      if (name === "") return;
      const result = results[i];
      if (result === undefined) throw new Unsupported(`output ${i} of ${node.opType}`);
      values.set(name, result);
    });
  }
  return graph.output.map(({ name }) => values.get(name)!);
}
