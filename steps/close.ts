/**
 * Fields without an outside: what a field closes over made an argument of it, so that functions with
 * a way back of their own can give it cotangents.
 *
 * @module
 */
import { avalOf, parameter } from "../graph/build.ts";
import { collectChecks, noteCheck } from "../graph/check.ts";
import { closeOver } from "../graph/close.ts";
import { isFloat } from "../graph/dtype.ts";
import type { Node } from "../graph/node.ts";
import { sameShape, showShape } from "../graph/shape.ts";
import { substitute } from "../graph/substitute.ts";
import type { Tensor } from "../graph/tensor.ts";
import { difference } from "../graph/tree.ts";
import { handle, leafName, partsOf, run, treeOf } from "../graph/transforms/trace.ts";
import type { Field } from "./leapfrog.ts";
import type { Tree } from "./tree.ts";

/** A field apart from the tensors that it closes over. */
export interface ClosedField<Y extends Tree> {
  readonly captured: readonly Tensor[];
  /** The field over others in their places. */
  readonly fieldOf: (captured: readonly Tensor[]) => Field<Y>;
}

/** True for what has cotangents. */
export function varies(x: Tensor): boolean {
  return isFloat(x.dtype);
}

/**
 * Tensors with those that vary replaced, in their order: by others, or by cotangents (nobody looks at
 * cotangents of integers).
 */
export function merged(captured: readonly Tensor[], varying: readonly Tensor[]): Tensor[] {
  let next = 0;
  return captured.map((x) => varies(x) ? varying[next++]! : x);
}

/**
 * Records a field once for values like y at times like t.
 *
 * @throws {TypeError} if it returns anything but a tree like y.
 */
export function closeField<Y extends Tree>(field: Field<Y>, y: Y, t: Tensor): ClosedField<Y> {
  const given = partsOf(y, "y0");
  const parameters = [...given.nodes, t.node].map((node, i) => parameter(i, avalOf(node)));
  const { value: slope, checks } = collectChecks(() => {
    const args = [treeOf(given.structure, parameters.slice(0, -1)), handle(parameters.at(-1)!)];
    return partsOf(
      run("solve an ODE with", field as (...args: never[]) => unknown, args),
      "the rate",
    );
  });
  const found = difference(given.structure, slope.structure);
  if (found !== undefined) {
    throw new TypeError(
      `Cannot solve an ODE: y0 and what the field returned differ ${found}, expected the same ` +
        "structure",
    );
  }
  given.nodes.forEach(({ shape }, i) => {
    if (sameShape(slope.nodes[i]!.shape, shape)) return;
    throw new TypeError(
      `Cannot solve an ODE: the field returned ${showShape(slope.nodes[i]!.shape)} for ${
        leafName("y", given, i)
      }, expected ${showShape(shape)} as y0 has`,
    );
  });
  const flags = checks.map(({ flag }) => flag);
  const { graph, captured } = closeOver("field", parameters, [...slope.nodes, ...flags]);
  const fieldOf = (others: readonly Tensor[]): Field<Y> => (y, t) => {
    const nodes = [...partsOf(y, "y").nodes, t.node, ...others.map((x) => x.node)];
    const replaced = new Map<Node, Node>(graph.parameters.map((p, i) => [p, nodes[i]!]));
    const results = substitute(graph.results, replaced);
    const count = slope.nodes.length;
    checks.forEach(({ message }, i) => noteCheck({ flag: results[count + i]!, message }));
    return treeOf(slope.structure, results.slice(0, count)) as Y;
  };
  return { captured: captured.map(handle), fieldOf };
}
