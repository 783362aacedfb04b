/**
 * A user's own way back: a function with a rule for its derivative. The function is recorded behind
 * a boundary (a `call`), which differentiation meets before it meets what is inside.
 *
 * @module
 */
import { avalOf, call, parameter } from "../build.ts";
import { collectChecks, noteCheck } from "../check.ts";
import { closeOver } from "../close.ts";
import { checkNames, describe } from "../describe.ts";
import { isFloat } from "../dtype.ts";
import { type Node, showAval } from "../node.ts";
import { sameShape } from "../shape.ts";
import { asWritten } from "../source.ts";
import type { Structure } from "../tree.ts";
import type { CustomPull } from "../vjp.ts";
import { isTensor, nameOf, partsOf, resultsOf, run, treeOf } from "./trace.ts";

/**
 * Cotangents of the arguments, one each; null or undefined, for an argument or for anything inside
 * it, stands for zero.
 */
export type Cotangents<A extends readonly unknown[]> = {
  readonly [K in keyof A]: A[K] | null | undefined;
};

/** How a function with its own rule is differentiated otherwise. */
export interface CustomOptions {
  /**
   * What forward mode uses: the transpose of the rule, or the function itself, as if it had no rule.
   *
   * @default {"rule"}
   */
  readonly forward?: "rule" | "function";
}

/**
 * The function with a derivative of its own: `pull` gets the cotangent of the result, the result,
 * and the arguments, and returns one cotangent for each argument. It must be linear in the
 * cotangent; forward mode uses its transpose, or `f` itself if it is told to. What `pull` computes again as `f` did costs nothing:
 * equal expressions are one.
 *
 * Values that `f` closes over are constants to it; asking for their derivative is an error.
 *
 * @throws {TypeError} if one of the two is no function; on differentiation, if `pull` returns what
 * does not fit the arguments.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * // The gradient is held within [-1, 1] on its way back.
 * const clipped = rg.customVjp((x: rg.Tensor) => x.mul(1), (g) => [g.clip(-1, 1)]);
 * const f = (x: rg.Tensor) => clipped(x).mul(5).sum();
 * assertEquals(await rg.grad(f)(rg.tensor([1, 2])).array(), [1, 1]);
 * ```
 */
export function customVjp<A extends readonly unknown[], R>(
  f: (...args: A) => R,
  pull: (cotangent: R, result: R, ...args: A) => Cotangents<A>,
  options: CustomOptions = {},
): (...args: A) => R {
  checkNames(options, { forward: true }, "give a function its own vjp");
  const { forward = "rule" } = options;
  if (forward !== "rule" && forward !== "function") {
    throw new TypeError(
      `Cannot give a function its own vjp: forward is ${describe(forward)}, expected "rule" or ` +
        '"function"',
    );
  }
  for (const [what, given] of Object.entries({ "the function": f, "its rule": pull })) {
    if (typeof given === "function") continue;
    throw new TypeError(
      `Cannot give a function its own vjp: ${what} is ${describe(given)}, expected a function`,
    );
  }
  const name = nameOf(f);
  return (...args: A): R => {
    const given = partsOf(args, `arguments of ${name}`);
    const parameters = given.nodes.map((node, i) => parameter(i, avalOf(node)));
    const { value: returned, checks } = collectChecks(() =>
      run("trace", f, treeOf(given.structure, parameters) as unknown[])
    );
    const results = resultsOf("trace", f, returned), count = results.nodes.length;
    // Flags are results after the user's own, which the rule does not see.
    const { graph, captured } = closeOver(name, parameters, [
      ...results.nodes,
      ...checks.map(({ flag }) => flag),
    ]);
    const rule: CustomPull = (inputs, values, cotangents) => {
      const own = inputs.slice(0, parameters.length);
      const [g, y] = [cotangents, values].map((nodes) =>
        treeOf(results.structure, nodes.slice(0, count))
      ) as [R, R];
      const pulled = asWritten(() => pull(g, y, ...treeOf(given.structure, own) as unknown as A));
      if (!Array.isArray(pulled)) {
        throw new TypeError(
          `Cannot pull back through ${name}: the rule returned no array, expected one cotangent ` +
            "for each argument",
        );
      }
      if (pulled.length !== args.length) {
        throw new TypeError(
          `Cannot pull back through ${name}: the rule returned ${pulled.length} cotangents, ` +
            `expected one for each of ${args.length} arguments`,
        );
      }
      return collect(pulled, given.structure, own, name);
    };
    const nodes = call(graph, [...given.nodes, ...captured], {
      name,
      pull: rule,
      ...(forward === "function" && { open: true }),
    });
    checks.forEach(({ message }, i) => noteCheck({ flag: nodes[count + i]!, message }));
    return treeOf(results.structure, nodes.slice(0, count)) as R;
  };
}

/** The cotangent of each tensor of the arguments, undefined for zero. */
function collect(
  pulled: unknown,
  structure: Structure,
  inputs: readonly Node[],
  name: string,
): (Node | undefined)[] {
  const cotangents: (Node | undefined)[] = [];
  const misfit = (what: string, wanted: string): never => {
    throw new TypeError(
      `Cannot pull back through ${name}: the rule returned ${what}, expected ${wanted}`,
    );
  };
  const visit = (at: unknown, part: Structure, zero: boolean): void => {
    zero ||= at === null || at === undefined;
    switch (part.kind) {
      case "static":
        return;
      case "leaf": {
        const x = inputs[cotangents.length]!;
        if (zero || !isFloat(x.dtype)) {
          cotangents.push(undefined);
          return;
        }
        const wanted = `${showAval(x)} for argument tensor ${cotangents.length}`;
        if (!isTensor(at)) return misfit(`${typeof at}`, wanted);
        if (at.dtype !== x.dtype || !sameShape(at.shape, x.shape)) misfit(`${at}`, wanted);
        cotangents.push(at.node);
        return;
      }
      case "list":
      case "record": {
        const keys = part.kind === "record" ? part.keys : part.items.map((_, i) => String(i));
        if (!zero && (typeof at !== "object" || isTensor(at))) misfit("a tensor", "a tree");
        part.items.forEach((item, i) =>
          visit(zero ? null : (at as Record<string, unknown>)[keys[i]!], item, zero)
        );
        return;
      }
    }
  };
  visit(pulled, structure, false);
  return cotangents;
}
