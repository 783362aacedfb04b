/**
 * Functions of one example as functions of many (`vmap`), and what is built on that: all rows or
 * columns of a Jacobian in one batch.
 *
 * @module
 */
import { apply, avalOf, cast, iota, parameter, permute, reshape } from "../build.ts";
import { anyFlag, collectChecks, noteCheck } from "../check.ts";
import { checkNames } from "../describe.ts";
import { pushforward } from "../jvp.ts";
import type { Aval, Node } from "../node.ts";
import { normalizeAxis, type Shape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { type MapLeaves, type Structure, unflatten } from "../tree.ts";
import { pullback } from "../vjp.ts";
import { batch, type Operand, repeat } from "../vmap.ts";
import { grad, type Gradient, markArguments } from "./differentiate.ts";
import { checkFloats, handle, nameOf, partsOf, resultsOf, run, treeOf } from "./trace.ts";

/**
 * The batch axis of a tree's tensors: one number for all of them, null for none, or a tree of these
 * that ends where one answer holds for everything below.
 */
export type Axes = number | null | readonly Axes[] | { readonly [key: string]: Axes };

/** Where the batch is. */
export interface VmapOptions {
  /**
   * The batch axis of the arguments: one for all of them, or an array with one for each.
   *
   * @default {0}
   */
  readonly inAxes?: number | null | readonly Axes[];
  /**
   * The batch axis of the results. With null a result must not depend on the batch.
   *
   * @default {0}
   */
  readonly outAxes?: Axes;
}

/** The axis for every leaf of a structure. */
function spreadAxes(axes: Axes, structure: Structure, action: string, name: string): Axes[] {
  if (structure.kind === "static") return [];
  if (axes === null || typeof axes === "number") {
    return structure.kind === "leaf"
      ? [axes]
      : structure.items.flatMap((item) => spreadAxes(axes, item, action, name));
  }
  if (structure.kind !== "leaf") {
    const parts = structure.kind === "record"
      ? structure.keys.map((key) => (axes as { readonly [key: string]: Axes })[key])
      : structure.items.map((_, i) => (axes as readonly Axes[])[i]);
    if (parts.every((part) => part !== undefined)) {
      return structure.items.flatMap((item, i) => spreadAxes(parts[i]!, item, action, name));
    }
  }
  throw new TypeError(
    `Cannot ${action}: the axes of ${name} do not fit its tree, expected a number, null, or a ` +
      "tree of these with the same keys",
  );
}

/** An axis to the front. */
function axisToFront(x: Node, axis: number): Node {
  const rest = x.shape.map((_, i) => i).filter((i) => i !== axis);
  return permute(x, [axis, ...rest]);
}

/** The front axis to its place. */
function frontToAxis(x: Node, axis: number): Node {
  const rest = x.shape.map((_, i) => i).slice(1);
  return permute(x, [...rest.slice(0, axis), 0, ...rest.slice(axis)]);
}

/**
 * The function over a batch: written for one example, called with one more axis. The graph is
 * rewritten, nothing is looped over, so a batch of products becomes one product.
 *
 * @throws {TypeError} on a call, if the sizes of the batch differ or nothing is batched.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const dot = (x: rg.Tensor, y: rg.Tensor) => x.mul(y).sum();
 * const rows = rg.vmap(dot, { inAxes: [0, null] });
 * assertEquals(await rows(rg.tensor([[1, 2], [3, 4]]), rg.tensor([1, 10])).array(), [21, 43]);
 * ```
 */
export function vmap<A extends readonly unknown[], R>(
  f: (...args: A) => R,
  options: VmapOptions = {},
): (...args: A) => R {
  const action = `vmap ${nameOf(f)}`;
  checkNames(options, { inAxes: true, outAxes: true }, action);
  const { inAxes = 0, outAxes = 0 } = options;
  return (...args: A): R => {
    if (Array.isArray(inAxes) && inAxes.length !== args.length) {
      throw new TypeError(
        `Cannot ${action}: inAxes has ${inAxes.length} entries for ${args.length} arguments, ` +
          "expected one for each",
      );
    }
    const given = partsOf(args, `arguments of ${nameOf(f)}`);
    const axes = spreadAxes(inAxes, given.structure, action, "the arguments");
    let size: number | undefined;
    const operands = given.nodes.map((node, i): Operand => {
      const axis = axes[i] as number | null;
      if (axis === null) return { node, batched: false };
      const front = axisToFront(node, normalizeAxis(axis, node.shape.length, action));
      if (size !== undefined && size !== front.shape[0]) {
        throw new TypeError(
          `Cannot ${action}: batches have sizes ${size} and ${front.shape[0]}, expected equal ones`,
        );
      }
      size = front.shape[0]!;
      return { node: front, batched: true };
    });
    if (size === undefined) {
      throw new TypeError(`Cannot ${action}: no argument is batched, expected an axis for one`);
    }
    const examples = operands.map(({ node, batched }, i) =>
      batched ? parameter(i, { shape: node.shape.slice(1), dtype: node.dtype }) : node
    );
    const { value: returned, checks } = collectChecks(() =>
      run("vmap", f, treeOf(given.structure, examples) as unknown[])
    );
    const results = resultsOf("vmap", f, returned);
    const wanted = spreadAxes(outAxes, results.structure, action, "the results");
    const live = examples.flatMap((node, i) => operands[i]!.batched ? [{ node, i }] : []);
    const batched = batch(
      [...results.nodes, ...checks.map(({ flag }) => flag)],
      live.map(({ node }) => node),
      live.map(({ i }) => operands[i]!),
      size,
    );
    checks.forEach(({ message }, i) =>
      noteCheck({ flag: anyFlag(batched[results.nodes.length + i]!.node), message })
    );
    const nodes = results.nodes.map((_, i) => {
      const { node, batched: depends } = batched[i]!;
      const axis = wanted[i] as number | null;
      if (axis === null) {
        if (!depends) return node;
        throw new TypeError(
          `Cannot ${action}: result ${i} depends on the batch, expected an axis for it instead ` +
            "of null",
        );
      }
      const full = depends ? node : repeat(node, size!);
      return frontToAxis(full, normalizeAxis(axis, full.shape.length, action));
    });
    return treeOf(results.structure, nodes) as R;
  };
}

/** All unit vectors of a space of tensors, [n, ...shape]. */
function basis({ shape, dtype }: Aval): Node {
  const n = sizeOf(shape), square: Shape = [n, n];
  const ones = apply("equal", [iota(square, 0), iota(square, 1)], {});
  return reshape(cast(ones, dtype), [n, ...shape]);
}

/** Results of a linear map, recorded from a placeholder, for every unit vector. */
function columns(record: () => readonly Node[], placeholder: Node): Node[] {
  const n = sizeOf(placeholder.shape);
  const { value: results, checks } = collectChecks(record);
  const all = batch(
    [...results, ...checks.map(({ flag }) => flag)],
    [placeholder],
    [{ node: basis(placeholder), batched: true }],
    n,
  );
  checks.forEach(({ message }, i) =>
    noteCheck({ flag: anyFlag(all[results.length + i]!.node), message })
  );
  return results.map((_, i) => all[i]!.batched ? all[i]!.node : repeat(all[i]!.node, n));
}

/** The type of a Jacobian: the tree of the results with the arguments' tree for each tensor. */
export type Jacobian<R, G> = MapLeaves<R, Tensor, MapLeaves<G, Tensor, Tensor>>;

/** Positions of arguments. */
type Argnums = number | readonly number[];

/** Which argument a Jacobian is with respect to. */
export interface JacobianOptions<N extends number | readonly number[]> {
  /**
   * Position of the argument, or positions.
   *
   * @default {0}
   */
  readonly argnums?: N;
  /**
   * By columns, one for each element of the argument, or by rows, one for each of the result; by
   * default whichever are fewer.
   */
  readonly mode?: "forward" | "reverse";
}

/**
 * A function that returns the Jacobian: for each tensor of the result and each of the argument, a
 * tensor of shape [...result, ...argument]. Reverse mode where there are fewer results than
 * arguments, else forward mode; all rows (or columns) in one batch.
 *
 * @throws {TypeError} on a call, if argument or result hold a tensor that is no float.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const f = (x: rg.Tensor) => x.mul(x);
 * assertEquals(await rg.jacobian(f)(rg.tensor([1, 2])).array(), [[2, 0], [0, 4]]);
 * ```
 */
export function jacobian<
  A extends readonly unknown[],
  R,
  const N extends number | readonly number[] = 0,
>(
  f: (...args: A) => R,
  options: JacobianOptions<N> = {},
): (...args: A) => Jacobian<R, Gradient<A, N>> {
  checkNames<JacobianOptions<Argnums>>(
    options,
    { argnums: true, mode: true },
    `take the jacobian of ${nameOf(f)}`,
  );
  const { argnums, mode } = options;
  const action = "take the jacobian of";
  if (mode !== undefined && mode !== "forward" && mode !== "reverse") {
    throw new TypeError(
      `Cannot ${action} ${nameOf(f)}: the mode is ${String(mode)}, expected "forward" or "reverse"`,
    );
  }
  const single = argnums === undefined || typeof argnums === "number";
  const positions: readonly number[] = argnums === undefined
    ? [0]
    : typeof argnums === "number"
    ? [argnums]
    : argnums;
  return (...args: A) => {
    const { args: marked, parts, marks } = markArguments(action, f, args, positions);
    const results = resultsOf(action, f, run(action, f, marked));
    checkFloats(`${action} ${nameOf(f)}`, `what ${nameOf(f)} returned`, results);
    const blocks = blocksOf(results.nodes, marks, mode);
    const rows = blocks.map((row) => {
      let next = 0;
      const trees = parts.map(({ structure, nodes: { length } }) =>
        unflatten(structure, row.slice(next, next += length).map(handle))
      );
      return single ? trees[0] : trees;
    });
    return unflatten(results.structure, rows) as Jacobian<R, Gradient<A, N>>;
  };
}

/**
 * {@linkcode jacobian} in forward mode: one column for each element of the argument, for functions
 * of few numbers that return many.
 *
 * @throws {TypeError} on a call, if argument or result hold a tensor that is no float.
 */
export function jacfwd<
  A extends readonly unknown[],
  R,
  const N extends number | readonly number[] = 0,
>(
  f: (...args: A) => R,
  options: Omit<JacobianOptions<N>, "mode"> = {},
): (...args: A) => Jacobian<R, Gradient<A, N>> {
  checkNames<Omit<JacobianOptions<Argnums>, "mode">>(
    options,
    { argnums: true },
    `take the jacobian of ${nameOf(f)}`,
  );
  return jacobian(f, { ...options, mode: "forward" });
}

/**
 * {@linkcode jacobian} in reverse mode: one row for each element of the result, for functions of
 * many numbers that return few.
 *
 * @throws {TypeError} on a call, if argument or result hold a tensor that is no float.
 */
export function jacrev<
  A extends readonly unknown[],
  R,
  const N extends number | readonly number[] = 0,
>(
  f: (...args: A) => R,
  options: Omit<JacobianOptions<N>, "mode"> = {},
): (...args: A) => Jacobian<R, Gradient<A, N>> {
  checkNames<Omit<JacobianOptions<Argnums>, "mode">>(
    options,
    { argnums: true },
    `take the jacobian of ${nameOf(f)}`,
  );
  return jacobian(f, { ...options, mode: "reverse" });
}

/** The blocks of a Jacobian, by result and by source. */
function blocksOf(
  results: readonly Node[],
  sources: readonly Node[],
  mode: "forward" | "reverse" | undefined,
): Node[][] {
  const total = (nodes: readonly Node[]): number => nodes.reduce((n, x) => n + sizeOf(x.shape), 0);
  const shapeOf = (y: Node, x: Node): Shape => [...y.shape, ...x.shape];
  if ((mode ?? (total(results) < total(sources) ? "reverse" : "forward")) === "reverse") {
    return results.map((y) => {
      const cotangent = parameter(0, avalOf(y));
      const pulled = columns(() => pullback([y], sources, [cotangent]), cotangent);
      return pulled.map((block, i) => reshape(block, shapeOf(y, sources[i]!)));
    });
  }
  const bySource = sources.map((x) => {
    const tangent = parameter(0, avalOf(x));
    const tangents = sources.map((source) => source === x ? tangent : undefined);
    const pushed = columns(() => pushforward(results, sources, tangents), tangent);
    return pushed.map((block, i) => {
      const y = results[i]!;
      const rows = permute(reshape(block, [sizeOf(x.shape), sizeOf(y.shape)]), [1, 0]);
      return reshape(rows, shapeOf(y, x));
    });
  });
  return results.map((_, i) => bySource.map((blocks) => blocks[i]!));
}

/**
 * A function that returns the Hessian of a scalar function, of shape [...x, ...x]; a tree of trees
 * where the argument is a tree. Forward mode over reverse mode.
 *
 * @throws {TypeError} on a call, if the loss is no float scalar.
 *
 * @example
 * ```ts
 * import * as rg from "@retrograd/retrograd";
 * import { assertEquals } from "@std/assert";
 *
 * await rg.init({ software: "allow" });
 * const f = (x: rg.Tensor) => x.prod();
 * const h = rg.hessian(f)(rg.tensor([2, 3, 5]));
 * assertEquals(await h.array(), [[0, 5, 3], [5, 0, 2], [3, 2, 0]]);
 * ```
 */
export function hessian<
  A extends readonly unknown[],
  const N extends number | readonly number[] = 0,
>(
  f: (...args: A) => Tensor,
  options: Omit<JacobianOptions<N>, "mode"> = {},
): (...args: A) => Jacobian<Gradient<A, N>, Gradient<A, N>> {
  checkNames<Omit<JacobianOptions<Argnums>, "mode">>(
    options,
    { argnums: true },
    `take the hessian of ${nameOf(f)}`,
  );
  const { argnums } = options;
  const chosen = argnums === undefined ? {} : { argnums };
  return jacobian(grad(f, chosen), chosen) as (
    ...args: A
  ) => Jacobian<Gradient<A, N>, Gradient<A, N>>;
}
