/**
 * How derivatives are tested, in float64: reverse mode against finite differences and against
 * forward mode, both of them again on the gradients, batching against a loop. Of primitives and of
 * what is composed of them alike.
 *
 * @module
 */
import { assert, assertAlmostEquals } from "@std/assert";
import * as b from "../../graph/build.ts";
import { isFloat } from "../../graph/dtype.ts";
import { pushforward } from "../../graph/jvp.ts";
import type { Node } from "../../graph/node.ts";
import { sizeOf } from "../../graph/shape.ts";
import { verify } from "../../graph/verify.ts";
import { pullback } from "../../graph/vjp.ts";
import { batch } from "../../graph/vmap.ts";
import { evaluate } from "../oracle.ts";
import { anywhere, type Case, drawn, graphOf, random } from "./cases.ts";

const seed = 20240607;

type Values = readonly (readonly number[])[];

function inner(a: ArrayLike<number>, c: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * c[i]!;
  return sum;
}

function feedOf(parameters: readonly Node[], values: Values): Map<Node, readonly number[]> {
  return new Map(parameters.map((p, i) => [p, values[i]!]));
}

/**
 * Checks J of results with respect to the float parameters among `parameters`, at a point, along
 * random directions: ⟨v, J u⟩ by differences, by forward mode, and as ⟨Jᵀ v, u⟩.
 */
function checkDerivative(
  results: readonly Node[],
  parameters: readonly Node[],
  point: Values,
  uniform: () => number,
  label: string,
  differences = true,
): { readonly pulled: Node[]; readonly cotangents: Node[]; readonly sources: Node[] } {
  const sources = parameters.filter((p) => isFloat(p.dtype));
  const outputs = results.filter((r) => isFloat(r.dtype));
  const cotangents = outputs.map((r, i) => b.parameter(1000 + i, r));
  const tangents = sources.map((p, i) => b.parameter(2000 + i, p));
  const pulled = pullback(outputs, sources, cotangents);
  const pushed = pushforward(outputs, sources, tangents);
  verify([...pulled, ...pushed], [...parameters, ...cotangents, ...tangents]);
  pulled.forEach((g, i) => assert(g.dtype === sources[i]!.dtype, `${label}: dtype of gradient`));

  const u = sources.map((p) => Array.from({ length: sizeOf(p.shape) }, () => uniform() - 0.5));
  const v = outputs.map((r) => Array.from({ length: sizeOf(r.shape) }, () => uniform() - 0.5));
  const feed = new Map([
    ...feedOf(parameters, point),
    ...feedOf(cotangents, v),
    ...feedOf(tangents, u),
  ]);
  const g = evaluate(pulled, feed).reduce((sum, { data }, i) => sum + inner(data, u[i]!), 0);
  const t = evaluate(pushed, feed).reduce((sum, { data }, i) => sum + inner(data, v[i]!), 0);
  const scale = 1 + Math.abs(t);
  assertAlmostEquals(g, t, 1e-7 * scale, `${label}: reverse against forward`);
  if (differences) {
    const h = 1e-5;
    const moved = (step: number): number => {
      const at = parameters.map((p, i) => {
        const k = sources.indexOf(p);
        return k < 0 ? point[i]! : point[i]!.map((x, j) => x + step * u[k]![j]!);
      });
      return evaluate(outputs, feedOf(parameters, at))
        .reduce((sum, { data }, i) => sum + inner(data, v[i]!), 0);
    };
    // The fourth-order formula: what it leaves is far below a wrong derivative.
    const slope = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h);
    assertAlmostEquals(g, slope, 2e-6 * scale, `${label}: reverse against differences`);
  }
  return { pulled, cotangents, sources };
}

/** Derivatives of every case, and of its gradients: reverse mode against forward mode and differences. */
export function checkDerivatives(name: string, list: readonly Case[]): void {
  list.forEach((example, number) => {
    const uniform = random(seed + number);
    const { parameters, results } = graphOf(example, name);
    const point = example.operands.map((operand) => drawn(operand, uniform));
    const label = `${name} case ${number}`;
    const smooth = !example.flat;
    const first = checkDerivative(results, parameters, point, uniform, label, smooth);
    if (first.pulled.length === 0 || first.cotangents.length === 0) return;
    const inputs = [...parameters, ...first.cotangents];
    const at = [
      ...point,
      ...first.cotangents.map(({ shape }) => drawn({ shape, draw: anywhere }, uniform)),
    ];
    checkDerivative(first.pulled, inputs, at, uniform, `gradient of ${label}`, smooth);
  });
}

/** Batching of every case, each subset of operands, against a loop over examples. */
export function checkBatching(name: string, list: readonly Case[]): void {
  list.forEach((example, number) => {
    const uniform = random(seed + 31 * number);
    const { parameters, results } = graphOf(example, name);
    const n = parameters.length, size = 3;
    for (let mask = 1; mask < 2 ** n; mask++) {
      const isBatched = (i: number): boolean => (mask >> i & 1) === 1;
      const wide = parameters.map((p, i) =>
        isBatched(i) ? b.parameter(100 + i, { shape: [size, ...p.shape], dtype: p.dtype }) : p
      );
      const operands = wide.map((node, i) => ({ node, batched: isBatched(i) }));
      const [result] = batch(results, parameters, operands, size);
      verify([result!.node], wide);
      const draws = example.operands.map((operand, i) =>
        Array.from({ length: isBatched(i) ? size : 1 }, () => drawn(operand, uniform))
      );
      const [all] = evaluate([result!.node], feedOf(wide, draws.map((d) => d.flat())));
      const rows = Array.from({ length: size }, (_, k) => {
        const at = draws.map((d) => d[d.length === 1 ? 0 : k]!);
        return [...evaluate(results, feedOf(parameters, at))[0]!.data];
      });
      const expected = result!.batched ? rows.flat() : rows[0]!;
      const label = `${name} case ${number}, batched ${mask.toString(2)}`;
      assert(all!.data.length === expected.length, `${label}: size`);
      expected.forEach((x, i) => {
        if (Object.is(x, all!.data[i])) return;
        assertAlmostEquals(all!.data[i]!, x, 1e-12 * (1 + Math.abs(x)), label);
      });
    }
  });
}
