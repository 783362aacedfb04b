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
import { handle, leafName, type Parts, partsOf, run, treeOf } from "../graph/transforms/trace.ts";
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

/** Throws unless a rate of change has the structure and the shapes of a state, and is of floats. */
function checkRate(action: string, name: string, y: Parts, rate: Parts): void {
  const found = difference(y.structure, rate.structure);
  if (found !== undefined) {
    throw new TypeError(
      `Cannot ${action}: y0 and what the ${name} returned differ ${found}, expected the same ` +
        "structure",
    );
  }
  y.nodes.forEach(({ shape }, i) => {
    const { shape: given, dtype } = rate.nodes[i]!;
    if (sameShape(given, shape) && isFloat(dtype)) return;
    throw new TypeError(
      `Cannot ${action}: the ${name} returned ${dtype}${showShape(given)} for ${
        leafName("y", y, i)
      }, expected floats of ${showShape(shape)} as y0 has`,
    );
  });
}

/** The field, with what it returns looked at. */
export function checkedField<Y extends Tree>(
  field: Field<Y>,
  action = "solve an ODE",
  name = "field",
): Field<Y> {
  return (y, t) => {
    const rate = field(y, t);
    checkRate(action, name, partsOf(y, "y"), partsOf(rate, "the rate"));
    return rate;
  };
}

/**
 * Records a field once for values like y at times like t.
 *
 * @throws {TypeError} if it returns anything but a tree like y, of floats.
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
  checkRate("solve an ODE", "field", given, slope);
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
