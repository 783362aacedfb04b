/**
 * Derivatives of functions on trees of tensors, checked in float64 by the oracle, without a device:
 * the way back against central differences and against forward mode, along random directions.
 *
 * @module
 */
import { AssertionError } from "@std/assert";
import * as b from "../graph/build.ts";
import { isFloat } from "../graph/dtype.ts";
import type { Node } from "../graph/node.ts";
import { sizeOf } from "../graph/shape.ts";
import { readAll, Tensor } from "../graph/tensor.ts";
import { isTensor } from "../graph/transforms/trace.ts";
import { pushforward } from "../graph/jvp.ts";
import { pullback } from "../graph/vjp.ts";
import { flatten, unflatten } from "../graph/tree.ts";
import { randomOf } from "./gpu.ts";
import { evaluate, type Value } from "./oracle.ts";

/** Fails unless ⟨v, J u⟩ is the same by differences, by forward mode and as ⟨Jᵀ v, u⟩. */
export async function assertDerivatives(
  f: (...args: never[]) => unknown,
  args: readonly unknown[],
  { seed = 1, tolerance = 2e-6 }: { seed?: number; tolerance?: number } = {},
): Promise<void> {
  const { leaves, structure } = flatten(args, isTensor);
  const point = (await readAll(leaves)).map((data) => [...data]);
  const parameters = leaves.map((x, i) => b.parameter(i, x));
  const returned = f(...unflatten(structure, parameters.map((p) => new Tensor(p))) as never[]);
  const outputs = flatten(returned, isTensor).leaves.map(({ node }) => node)
    .filter(({ dtype }) => isFloat(dtype));
  const sources = parameters.filter((p) => isFloat(p.dtype));
  const random = randomOf(seed);
  const draw = (node: Node) => Array.from({ length: sizeOf(node.shape) }, () => random() - 0.5);
  const cotangents = outputs.map((node, i) => b.parameter(1000 + i, node));
  const tangents = sources.map((node, i) => b.parameter(2000 + i, node));
  const u = sources.map(draw), v = outputs.map(draw);
  const feeds = (at: readonly number[][]) =>
    new Map<Node, number[]>([
      ...parameters.map((p, i) => [p, at[i]!] as const),
      ...cotangents.map((p, i) => [p, v[i]!] as const),
      ...tangents.map((p, i) => [p, u[i]!] as const),
    ]);
  const inner = (values: readonly Value[], w: readonly number[][]) =>
    values.reduce((sum, { data }, i) => data.reduce((s, x, j) => s + x * w[i]![j]!, sum), 0);
  const moved = (step: number) => {
    const at = parameters.map((p, i) => {
      const k = sources.indexOf(p);
      return k < 0 ? point[i]! : point[i]!.map((x, j) => x + step * u[k]![j]!);
    });
    return inner(evaluate(outputs, feeds(at)), v);
  };
  const back = inner(evaluate(pullback(outputs, sources, cotangents), feeds(point)), u);
  const forth = inner(evaluate(pushforward(outputs, sources, tangents), feeds(point)), v);
  const h = 1e-5;
  const slope = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h);
  const scale = 1 + Math.abs(slope);
  if (Math.abs(back - forth) <= 1e-7 * scale && Math.abs(back - slope) <= tolerance * scale) return;
  throw new AssertionError(
    `Derivatives are ${back} backwards, ${forth} forwards and ${slope} by differences`,
  );
}
